package keyring_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/keyring"
	"github.com/didcomm-go/didcomm/agent/store"
)

// cheap is a passphrase that takes no time.
func cheap(secret string) keyring.Wrapper {
	return keyring.Passphrase([]byte(secret), keyring.Argon2id{Time: 1, Memory: 8, Threads: 1})
}

func generate(t testing.TB, curve keyring.Curve) *keyring.Key {
	t.Helper()
	key, err := keyring.Generate(curve)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func create(t testing.TB, keys store.SealedKeys, w keyring.Wrapper, kids ...string) *keyring.Sealed {
	t.Helper()
	s, err := keyring.Create(t.Context(), keys, w)
	if err != nil {
		t.Fatal(err)
	}
	for _, kid := range kids {
		if err := s.Add(t.Context(), kid, generate(t, keyring.Ed25519)); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func TestSealedLife(t *testing.T) {
	ctx := t.Context()
	keys := store.NewSealedKeys()
	if _, err := keyring.Open(ctx, keys, cheap("a")); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("Open of nothing: %v", err)
	}
	if _, err := keyring.WrappedBy(ctx, keys); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("WrappedBy of nothing: %v", err)
	}
	s := create(t, keys, cheap("a"), "did:example:a#1", "did:example:b#1", "did:example:a#2")
	if _, err := keyring.Create(ctx, keys, cheap("a")); !errors.Is(err, store.ErrExists) {
		t.Errorf("second Create: %v", err)
	}
	secrets, err := s.MarshalSecrets()
	if err != nil {
		t.Fatal(err)
	}
	same := func(w keyring.Wrapper, want []byte) {
		t.Helper()
		opened, err := keyring.Open(ctx, keys, w)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := opened.MarshalSecrets(); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%v: other keys, or in another order", err)
		}
	}
	same(cheap("a"), secrets)

	// Adding again, and another under the same id; from the store's view too.
	key, err := s.Key("did:example:a#1")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Add(ctx, "did:example:a#1", key); err != nil {
		t.Error(err)
	}
	if err := s.Add(ctx, "did:example:a#1", generate(t, keyring.P256)); !errors.Is(err, keyring.ErrDuplicate) {
		t.Error(err)
	}
	if err := s.Add(ctx, "did:example:a", key); !errors.Is(err, keyring.ErrInvalid) {
		t.Error(err)
	}
	other, err := keyring.Open(ctx, keys, cheap("a"))
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Add(ctx, "did:example:c#1", generate(t, keyring.X25519)); err != nil {
		t.Fatal(err)
	}
	late, err := other.Key("did:example:c#1")
	if err != nil {
		t.Fatal(err)
	}
	ring := keyring.New()
	if err := errors.Join(ring.Add("did:example:d#1", key), ring.Add("did:example:c#1", key)); err != nil {
		t.Fatal(err)
	}
	if err := s.AddAll(ctx, ring); !errors.Is(err, keyring.ErrDuplicate) {
		t.Errorf("a kid that another process took: %v", err)
	}
	if err := s.Add(ctx, "did:example:c#1", late); err != nil {
		t.Errorf("the key that another process added: %v", err)
	}
	if all, err := keys.All(ctx); err != nil || len(all) != 4 {
		t.Errorf("%d keys are stored: %v", len(all), err)
	}

	// Delete.
	if err := s.Delete(ctx, "did:example:b#1"); err != nil {
		t.Error(err)
	}
	for _, s := range []*keyring.Sealed{s, other} {
		if err := s.Delete(ctx, "did:example:b#1"); !errors.Is(err, envelope.ErrNoKey) {
			t.Errorf("second Delete: %v", err)
		}
		if _, err := s.Signer(ctx, "did:example:b#1"); !errors.Is(err, envelope.ErrNoKey) {
			t.Errorf("Signer of a deleted key: %v", err)
		}
	}
	if dids, err := s.DIDs(ctx, 10); err != nil || !slices.Equal(dids, []string{"did:example:a", "did:example:c"}) {
		t.Errorf("%q, %v", dids, err)
	}
	if secrets, err = s.MarshalSecrets(); err != nil {
		t.Fatal(err)
	}
	same(cheap("a"), secrets)

	// Rewrap, and the sealed keys stay as they are.
	before, err := keys.All(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Rewrap(ctx, keyring.None()); err != nil {
		t.Fatal(err)
	}
	same(keyring.None(), secrets)
	if err := s.Rewrap(ctx, cheap("b")); err != nil {
		t.Fatal(err)
	}
	same(cheap("b"), secrets)
	if _, err := keyring.Open(ctx, keys, cheap("a")); !errors.Is(err, keyring.ErrPassphrase) || err.Error() != "keyring: wrong passphrase" {
		t.Errorf("the old passphrase: %v", err)
	}
	if after, err := keys.All(ctx); err != nil || fmt.Sprint(after) != fmt.Sprint(before) {
		t.Errorf("Rewrap changed sealed keys: %v", err)
	}
	if err := other.Rewrap(ctx, cheap("c")); !errors.Is(err, store.ErrExists) {
		t.Errorf("Rewrap of what another process rewrapped: %v", err)
	}
	if by, err := keyring.WrappedBy(ctx, keys); err != nil || by != keyring.PassphraseName {
		t.Errorf("WrappedBy = %s, %v", by, err)
	}
	if _, err := keyring.Open(ctx, keys, keyring.None()); !errors.Is(err, keyring.ErrWrapper) {
		t.Errorf("Open by none: %v", err)
	}
}

// A Sealed finds what another process has added when it is refreshed, whatever opens the
// keyring by then.
func TestSealedRefresh(t *testing.T) {
	ctx, keys := t.Context(), store.NewSealedKeys()
	s := create(t, keys, cheap("a"), "did:example:a#1")
	other, err := keyring.Open(ctx, keys, cheap("a"))
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Rewrap(ctx, cheap("b")); err != nil {
		t.Fatal(err)
	}
	if err := other.Add(ctx, "did:example:b#1", generate(t, keyring.Ed25519)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Signer(ctx, "did:example:b#1"); !errors.Is(err, envelope.ErrNoKey) {
		t.Errorf("before Refresh: %v", err)
	}
	if err := s.Add(ctx, "did:example:c#1", generate(t, keyring.Ed25519)); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := s.Refresh(ctx); err != nil {
			t.Fatal(err)
		}
		if want := []string{"did:example:a#1", "did:example:c#1", "did:example:b#1"}; !slices.Equal(s.KIDs(), want) {
			t.Errorf("keys %q, want %q", s.KIDs(), want)
		}
	}
	mine, err := s.Key("did:example:b#1")
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := other.Key("did:example:b#1")
	if err != nil || fmt.Sprint(mine.Public()) != fmt.Sprint(theirs.Public()) {
		t.Errorf("another key: %v", err)
	}

	if err := keys.Put(ctx, store.SealedKey{KID: "did:example:d#1", Sealed: []byte("damaged")}); err != nil {
		t.Fatal(err)
	}
	if err := s.Refresh(ctx); !errors.Is(err, keyring.ErrInvalid) || !strings.Contains(err.Error(), "did:example:d#1") {
		t.Errorf("a damaged key: %v", err)
	}
}

// cutOff is a store that fails from a certain write on, like the store of a process that dies.
type cutOff struct {
	store.SealedKeys
	left int
}

var errCut = errors.New("cut off")

func (c *cutOff) write() error {
	c.left--
	if c.left < 0 {
		return errCut
	}
	return nil
}

func (c *cutOff) SetWrapping(ctx context.Context, old, wrapped []byte) error {
	if err := c.write(); err != nil {
		return err
	}
	return c.SealedKeys.SetWrapping(ctx, old, wrapped)
}

func (c *cutOff) Put(ctx context.Context, keys ...store.SealedKey) error {
	if err := c.write(); err != nil {
		return err
	}
	return c.SealedKeys.Put(ctx, keys...)
}

func (c *cutOff) Delete(ctx context.Context, kid string) error {
	if err := c.write(); err != nil {
		return err
	}
	return c.SealedKeys.Delete(ctx, kid)
}

// TestRewrapCutOff stops a Rewrap before and after each write that it makes: the
// keys open by the old or by the new passphrase, whole.
func TestRewrapCutOff(t *testing.T) {
	for writes := range 3 {
		keys := store.NewSealedKeys()
		create(t, keys, cheap("old"), "did:example:a#1", "did:example:a#2")
		s, err := keyring.Open(t.Context(), &cutOff{keys, writes}, cheap("old"))
		if err != nil {
			t.Fatal(err)
		}
		failed := s.Rewrap(t.Context(), cheap("new"))
		secret := "new"
		if failed != nil {
			secret = "old"
		}
		if (failed == nil) != (writes >= 1) {
			t.Errorf("Rewrap made more than one write: %v", failed)
		}
		again, err := keyring.Open(t.Context(), keys, cheap(secret))
		if err != nil || len(again.KIDs()) != 2 {
			t.Errorf("after %d writes: %v", writes, err)
		}
	}
}

func TestWriteFails(t *testing.T) {
	keys := store.NewSealedKeys()
	create(t, keys, cheap("a"), "did:example:a#1")
	s, err := keyring.Open(t.Context(), &cutOff{SealedKeys: keys}, cheap("a"))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Add(t.Context(), "did:example:a#2", generate(t, keyring.P256)); !errors.Is(err, errCut) {
		t.Error(err)
	}
	if err := s.Delete(t.Context(), "did:example:a#1"); !errors.Is(err, errCut) {
		t.Error(err)
	}
	if got := fmt.Sprint(s.KIDs()); got != "[did:example:a#1]" {
		t.Errorf("what was not written is there: %s", got)
	}
}

func TestAddAtOnce(t *testing.T) {
	keys := store.NewSealedKeys()
	create(t, keys, cheap("a"))
	var group sync.WaitGroup
	for i := range 4 {
		s, err := keyring.Open(t.Context(), keys, cheap("a"))
		if err != nil {
			t.Fatal(err)
		}
		for j := range 4 {
			group.Go(func() {
				if err := s.Add(t.Context(), fmt.Sprintf("did:example:a#%d-%d", i, j), generate(t, keyring.X25519)); err != nil {
					t.Error(err)
				}
			})
		}
	}
	group.Wait()
	s, err := keyring.Open(t.Context(), keys, cheap("a"))
	if err != nil || len(s.KIDs()) != 16 {
		t.Errorf("%d keys, %v", len(s.KIDs()), err)
	}
}

// TestSealedDamage changes each byte in the store. The result must never be another key.
func TestSealedDamage(t *testing.T) {
	ctx := t.Context()
	keys := store.NewSealedKeys()
	create(t, keys, keyring.None(), "did:example:alice#1", "did:example:alice#2")
	all, err := keys.All(ctx)
	if err != nil {
		t.Fatal(err)
	}
	wrapping, err := keys.Wrapping(ctx)
	if err != nil {
		t.Fatal(err)
	}
	open := func(w keyring.Wrapper, wrapping []byte, all ...store.SealedKey) error {
		keys := store.NewSealedKeys()
		if err := errors.Join(keys.SetWrapping(ctx, nil, wrapping), keys.Put(ctx, all...)); err != nil {
			t.Fatal(err)
		}
		_, err := keyring.Open(ctx, keys, w)
		return err
	}
	if err := open(keyring.None(), wrapping, all...); err != nil {
		t.Fatal(err)
	}
	bad := func(what, sealed string) {
		t.Helper()
		key := store.SealedKey{KID: "did:example:alice#2", Sealed: []byte(sealed)}
		if err := open(keyring.None(), wrapping, all[0], key); !errors.Is(err, keyring.ErrInvalid) || !strings.Contains(err.Error(), key.KID) {
			t.Errorf("%s: %v", what, err)
		}
	}
	sealed := string(all[1].Sealed)
	for i := range sealed {
		bad(fmt.Sprintf("byte %d changed", i), sealed[:i]+string([]byte{sealed[i] ^ 1})+sealed[i+1:])
		bad(fmt.Sprintf("cut at %d", i), sealed[:i])
	}
	bad("longer", sealed+"x")
	bad("of another kid", string(all[0].Sealed))
	if err := open(keyring.None(), wrapping, store.SealedKey{KID: "did:example:alice", Sealed: all[0].Sealed}); !errors.Is(err, keyring.ErrInvalid) {
		t.Error(err)
	}
	// A key cannot get another purpose, since its type is authenticated.
	ed := store.NewSealedKeys()
	create(t, ed, keyring.None(), "did:example:alice#1")
	one, err := ed.All(ctx)
	if err != nil {
		t.Fatal(err)
	}
	otherWrapping, err := ed.Wrapping(ctx)
	if err != nil {
		t.Fatal(err)
	}
	posed := bytes.Replace(one[0].Sealed, []byte("\x07Ed25519"), []byte("\x06X25519"), 1)
	if err := open(keyring.None(), otherWrapping, store.SealedKey{KID: one[0].KID, Sealed: posed}); !errors.Is(err, keyring.ErrInvalid) {
		t.Errorf("a signing key as an agreement key: %v", err)
	}
	if err := open(keyring.None(), otherWrapping, all...); !errors.Is(err, keyring.ErrInvalid) || !strings.Contains(err.Error(), all[0].KID) {
		t.Errorf("keys of another keyring: %v", err)
	}
	// Without its wrapping, a keyring is not made anew over the keys.
	orphans := store.NewSealedKeys()
	if err := orphans.Put(ctx, all...); err != nil {
		t.Fatal(err)
	}
	if _, err := keyring.Create(ctx, orphans, keyring.None()); !errors.Is(err, store.ErrExists) {
		t.Errorf("Create over sealed keys: %v", err)
	}
}

// wrappingOf returns the stored wrapping of a passphrase, and the offset of its cost.
func wrappingOf(t testing.TB, secret string) (wrapping []byte, cost int) {
	t.Helper()
	keys := store.NewSealedKeys()
	create(t, keys, cheap(secret))
	wrapping, err := keys.Wrapping(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return wrapping, 2 + len(keyring.PassphraseName)
}

// TestWrappingDamage checks that a forged wrapping neither exhausts memory nor opens.
func TestWrappingDamage(t *testing.T) {
	good, at := wrappingOf(t, "secret")
	cost := func(passes, memory uint32, threads byte) []byte {
		w := bytes.Clone(good)
		binary.BigEndian.PutUint32(w[at:], passes)
		binary.BigEndian.PutUint32(w[at+4:], memory)
		w[at+8] = threads
		return w
	}
	flip := func(i int) []byte {
		w := bytes.Clone(good)
		w[i] ^= 1
		return w
	}
	for name, test := range map[string]struct {
		wrapping []byte
		want     error
	}{
		"empty":           {[]byte{}, keyring.ErrInvalid},
		"version":         {flip(0), keyring.ErrInvalid},
		"name":            {append([]byte{1, 4}, "a b!"...), keyring.ErrInvalid},
		"name too long":   {[]byte{1, 200, 'a'}, keyring.ErrInvalid},
		"no name":         {[]byte{1, 0}, keyring.ErrInvalid},
		"other wrapper":   {append([]byte{1, 3}, "kms..."...), keyring.ErrWrapper},
		"huge":            {append(bytes.Clone(good), make([]byte, 1<<20)...), keyring.ErrInvalid},
		"shorter":         {good[:len(good)-1], keyring.ErrInvalid},
		"longer":          {append(bytes.Clone(good), 0), keyring.ErrInvalid},
		"4 TiB":           {cost(1, 1<<32-1, 1), keyring.ErrInvalid},
		"257 MiB":         {cost(1, 257<<10, 1), keyring.ErrInvalid},
		"years":           {cost(1<<32-1, 8, 1), keyring.ErrInvalid},
		"no pass":         {cost(0, 8, 1), keyring.ErrInvalid},
		"no memory":       {cost(1, 0, 1), keyring.ErrInvalid},
		"no lane":         {cost(1, 8, 0), keyring.ErrInvalid},
		"lanes":           {cost(1, 256<<10, 255), keyring.ErrInvalid},
		"memory of lanes": {cost(1, 8, 2), keyring.ErrInvalid},
		"other cost":      {cost(2, 8, 1), keyring.ErrPassphrase},
		"salt":            {flip(at + 9), keyring.ErrPassphrase},
		"nonce":           {flip(at + 9 + 16), keyring.ErrPassphrase},
		"key":             {flip(len(good) - 17), keyring.ErrPassphrase},
		"tag":             {flip(len(good) - 1), keyring.ErrPassphrase},
	} {
		keys := store.NewSealedKeys()
		if err := keys.SetWrapping(t.Context(), nil, test.wrapping); err != nil {
			t.Fatal(err)
		}
		if s, err := keyring.Open(t.Context(), keys, cheap("secret")); !errors.Is(err, test.want) || s != nil {
			t.Errorf("%s: %v, want %v", name, err, test.want)
		}
	}
	for i := range good {
		keys := store.NewSealedKeys()
		if err := keys.SetWrapping(t.Context(), nil, flip(i)); err != nil {
			t.Fatal(err)
		}
		s, err := keyring.Open(t.Context(), keys, cheap("secret"))
		if s != nil || !errors.Is(err, keyring.ErrInvalid) && !errors.Is(err, keyring.ErrWrapper) && !errors.Is(err, keyring.ErrPassphrase) {
			t.Errorf("byte %d changed: %v", i, err)
		}
	}
	none := store.NewSealedKeys()
	if err := none.SetWrapping(t.Context(), nil, append([]byte{1, 4}, "none and a short key"...)); err != nil {
		t.Fatal(err)
	}
	if _, err := keyring.Open(t.Context(), none, keyring.None()); !errors.Is(err, keyring.ErrInvalid) {
		t.Errorf("short key: %v", err)
	}
}

func TestPassphraseCost(t *testing.T) {
	for name, w := range map[string]keyring.Wrapper{
		"empty":   cheap(""),
		"memory":  keyring.Passphrase([]byte("x"), keyring.Argon2id{Memory: 1 << 30}),
		"time":    keyring.Passphrase([]byte("x"), keyring.Argon2id{Time: 17}),
		"threads": keyring.Passphrase([]byte("x"), keyring.Argon2id{Threads: 17}),
		"lanes":   keyring.Passphrase([]byte("x"), keyring.Argon2id{Memory: 8}),
	} {
		keys := store.NewSealedKeys()
		if _, err := keyring.Create(t.Context(), keys, w); !errors.Is(err, keyring.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := keys.Wrapping(t.Context()); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("%s: something was stored", name)
		}
	}
	// The default is RFC 9106's, and stands in the wrapping.
	keys := store.NewSealedKeys()
	if _, err := keyring.Create(t.Context(), keys, keyring.Passphrase([]byte("x"), keyring.Argon2id{})); err != nil {
		t.Fatal(err)
	}
	w, err := keys.Wrapping(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprintf("%x", w[12:21]); got != "000000030001000004" {
		t.Errorf("cost %s", got)
	}
	if _, err := keyring.Open(t.Context(), keys, cheap("x")); err != nil {
		t.Errorf("opened by a Passphrase of another cost: %v", err)
	}
}

// kms is an embedder's own wrapper.
type kms struct {
	name string
	err  error
}

func (k kms) Name() string { return k.name }
func (k kms) Wrap(_ context.Context, key []byte) ([]byte, error) {
	out := []byte("kms:")
	for _, b := range key {
		out = append(out, b^0x5a)
	}
	return out, k.err
}
func (k kms) Unwrap(_ context.Context, wrapped []byte) ([]byte, error) {
	var out []byte
	for _, b := range bytes.TrimPrefix(wrapped, []byte("kms:")) {
		out = append(out, b^0x5a)
	}
	return out, k.err
}

func TestHook(t *testing.T) {
	keys := store.NewSealedKeys()
	create(t, keys, kms{name: "kms.example.org"}, "did:example:a#1")
	if s, err := keyring.Open(t.Context(), keys, kms{name: "kms.example.org"}); err != nil || len(s.KIDs()) != 1 {
		t.Error(err)
	}
	down := errors.New("kms is down")
	if _, err := keyring.Open(t.Context(), keys, kms{"kms.example.org", down}); !errors.Is(err, down) || errors.Is(err, keyring.ErrInvalid) {
		t.Error(err)
	}
	if _, err := keyring.Open(t.Context(), keys, kms{name: "other"}); !errors.Is(err, keyring.ErrWrapper) {
		t.Error(err)
	}
	if by, err := keyring.WrappedBy(t.Context(), keys); err != nil || by != "kms.example.org" {
		t.Error(by, err)
	}
	for _, w := range []keyring.Wrapper{kms{name: ""}, kms{name: "a b"}, kms{name: strings.Repeat("a", 65)}, kms{"kms", down}} {
		if _, err := keyring.Create(t.Context(), store.NewSealedKeys(), w); err == nil {
			t.Errorf("Create by %q: no error", w.Name())
		}
	}
}

// TestSealedNothingPrints plants a passphrase and keys and looks for them in all
// that is printed and stored.
func TestSealedNothingPrints(t *testing.T) {
	const secret = "correct horse battery staple"
	ctx := t.Context()
	keys := store.NewSealedKeys()
	w := cheap(secret)
	s := create(t, keys, w)
	planted := bytes.Repeat([]byte{0x5a}, 32)
	key, err := keyring.ParseKey(keyring.Ed25519, planted)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Add(ctx, "did:example:alice#1", key); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	text, js := slog.New(slog.NewTextHandler(&out, nil)), slog.New(slog.NewJSONHandler(&out, nil))
	show := func(values ...any) {
		for _, v := range values {
			for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
				fmt.Fprintf(&out, verb+"\n", v)
			}
			text.Info("x", "v", v)
			js.Info("x", "v", v)
		}
	}
	show(s, w, []any{s, w}, struct{ S, W any }{s, w}, struct {
		s *keyring.Sealed
		w keyring.Wrapper
	}{s, w})
	fails := func(_ any, err error) {
		t.Helper()
		if err == nil {
			t.Fatal("no error")
		}
		show(err)
	}
	_, err = keyring.Open(ctx, keys, cheap(secret+"!"))
	fails(nil, err)
	_, err = keyring.Open(ctx, keys, kms{name: "kms"})
	fails(nil, err)
	fails(nil, s.Add(ctx, "did:example:alice#1", generate(t, keyring.P256)))
	fails(nil, s.Delete(ctx, "did:example:alice#2"))
	if err := keys.Put(ctx, store.SealedKey{KID: "did:example:alice#3", Sealed: []byte("x")}); err != nil {
		t.Fatal(err)
	}
	_, err = keyring.Open(ctx, keys, w)
	fails(nil, err)
	all, err := keys.All(ctx)
	if err != nil {
		t.Fatal(err)
	}
	wrapping, err := keys.Wrapping(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(all[0].Sealed, planted[:4]) || bytes.Contains(wrapping, []byte("horse")) {
		t.Error("a secret is stored in clear")
	}
	for _, secret := range []string{"horse", "686f727365", "686F727365", "104 111 114", "104, 111, 114", "0x68, 0x6f", "aG9yc2", "5a5a5a", "5A5A5A", "90 90 90", "90, 90, 90", "Wlpa", "ZZZ"} {
		if strings.Contains(out.String(), secret) {
			t.Errorf("prints %q", secret)
		}
	}
	if !strings.Contains(out.String(), "REDACTED") {
		t.Error(out.String())
	}
}

// FuzzOpen opens forged data in a store. The result must be a keyring, or an error of the right
// class.
func FuzzOpen(f *testing.F) {
	keys := store.NewSealedKeys()
	create(f, keys, keyring.None(), "did:example:alice#1")
	wrapping, err := keys.Wrapping(context.Background())
	if err != nil {
		f.Fatal(err)
	}
	all, err := keys.All(context.Background())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(wrapping, all[0].KID, all[0].Sealed)
	pass, at := wrappingOf(f, "secret")
	f.Add(pass, all[0].KID, all[0].Sealed)
	f.Fuzz(func(t *testing.T, wrapping []byte, kid string, sealed []byte) {
		if len(wrapping) == len(pass) && binary.BigEndian.Uint32(wrapping[at+4:]) > 64 {
			t.Skip("allowed, and slow")
		}
		for _, w := range []keyring.Wrapper{keyring.None(), cheap("secret")} {
			keys := store.NewSealedKeys()
			if err := errors.Join(keys.SetWrapping(t.Context(), nil, wrapping), keys.Put(t.Context(), store.SealedKey{KID: kid, Sealed: sealed})); err != nil {
				t.Fatal(err)
			}
			s, err := keyring.Open(t.Context(), keys, w)
			if (err == nil) == (s == nil) {
				t.Errorf("%v, %v", s, err)
			}
			if err != nil && !errors.Is(err, keyring.ErrInvalid) && !errors.Is(err, keyring.ErrWrapper) && !errors.Is(err, keyring.ErrPassphrase) && !errors.Is(err, store.ErrNotFound) {
				t.Errorf("no class: %v", err)
			}
		}
	})
}
