package identity_test

import (
	"context"
	"crypto/ecdh"
	"crypto/ed25519"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/identity"
	"github.com/didcomm-go/didcomm/agent/keyring"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/did"
	"github.com/didcomm-go/didcomm/did/didkey"
	"github.com/didcomm-go/didcomm/did/didpeer"
)

// multikeys returns the public keys of an identity: the key for signatures and the key for
// encryption.
func multikeys(t testing.TB, id *identity.Identity) (sign, agree string) {
	t.Helper()
	for _, h := range id.Handles() {
		m, _ := id.Document().Method(h.KID)
		key, err := m.PublicKey()
		if err != nil {
			t.Fatal(err)
		}
		text, err := did.FormatMultikey(key)
		if err != nil {
			t.Fatal(err)
		}
		if h.Use == identity.ToSign {
			sign = text
		} else {
			agree = text
		}
	}
	return sign, agree
}

// finds holds that the Set finds a key under a key id. Without a key id the key is not ours.
func finds(t testing.TB, when string, s *identity.Set, multikey, want string) {
	t.Helper()
	kid, err := s.FindKey(t.Context(), multikey)
	if kid != want || (want == "") != errors.Is(err, envelope.ErrNoKey) || want != "" && err != nil {
		t.Errorf("%s: FindKey(%.60s) = %q, %v; want %q", when, multikey, kid, err, want)
	}
}

// Of identities with one key, FindKey finds the one that was added first and has not ended.
func TestFindKey(t *testing.T) {
	h := newHost()
	s, ctx := h.start(t), t.Context()
	first := h.peer4(t)
	moved := sameKeys(t, h, first, "did:web:moved.example")
	sign, agree := multikeys(t, first)
	finds(t, "empty", s, agree, "")
	for _, id := range []*identity.Identity{first, moved} {
		if err := s.Add(ctx, id, identity.Settings{Party: "alice"}); err != nil {
			t.Fatal(err)
		}
		h.clock.pass(time.Second)
	}
	second := h.start(t) // another process
	for name, s := range map[string]*identity.Set{"as added": s, "restarted": second} {
		finds(t, name, s, sign, first.KIDs()[0])
		finds(t, name, s, agree, first.KIDs()[1])
		finds(t, name, s, "z6Mk"+agree[4:], "")
		finds(t, name, s, "z6Mk"+strings.Repeat("1", 10_000), "")
	}
	if err := s.Add(ctx, moved, identity.Settings{Party: "alice", Shares: store.Shares{Inbox: store.Share{Items: 5}}}); err != nil { // a change is no addition
		t.Fatal(err)
	}
	finds(t, "changed", s, agree, first.KIDs()[1])
	if err := s.Retire(ctx, first.DID(), h.clock.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	finds(t, "retired", s, agree, first.KIDs()[1])
	h.clock.pass(time.Hour)
	finds(t, "ended", s, agree, moved.KIDs()[1])
	finds(t, "ended, seen by another process", second, sign, moved.KIDs()[0])
	if err := s.Remove(ctx, moved.DID()); err != nil {
		t.Fatal(err)
	}
	h.clock.pass(time.Minute)
	finds(t, "removed", s, agree, "")
	finds(t, "removed by another process", second, agree, "")
	other := h.peer2(t)
	_, theirs := multikeys(t, other)
	finds(t, "unknown", second, theirs, "")
	add(t, s, other)
	h.clock.pass(time.Minute)
	finds(t, "added by another process", second, theirs, other.KIDs()[1])
}

// An identity may have an X25519 key that is derived from its Ed25519 key. Both are found, each
// under its own key id. The derived key is not found if nobody has it.
func TestFindKeyDerived(t *testing.T) {
	h := newHost()
	s := h.start(t)
	key := generate(t, keyring.Ed25519)
	image, err := key.X25519()
	if err != nil {
		t.Fatal(err)
	}
	both, err := identity.Peer2(identity.Pair{Sign: key, Agree: image}, "https://a.example")
	both = h.made(t, both, err)
	add(t, s, both)
	sign, agree := multikeys(t, both)
	finds(t, "derived", s, sign, both.KIDs()[0])
	finds(t, "derived", s, agree, both.KIDs()[1])

	alone := h.peer2(t)
	add(t, s, alone)
	sign, _ = multikeys(t, alone)
	public, err := did.ParseMultikey(sign)
	if err != nil {
		t.Fatal(err)
	}
	x, err := didkey.KeyAgreement(public.(ed25519.PublicKey))
	if err != nil {
		t.Fatal(err)
	}
	text, err := did.FormatMultikey(x)
	if err != nil {
		t.Fatal(err)
	}
	finds(t, "nobody has it", s, text, "")
}

// countedKeys counts how often private keys are asked for.
type countedKeys struct {
	envelope.Keys
	asked int
}

func (c *countedKeys) KeyAgreement(ctx context.Context, name string) (ecdh.KeyExchanger, error) {
	c.asked++
	return c.Keys.KeyAgreement(ctx, name)
}

// Many identities with an Ed25519 key do not make it expensive to look for the X25519 key that is
// derived from it.
func TestFindKeyOfMany(t *testing.T) {
	h := newHost()
	sign := generate(t, keyring.Ed25519)
	keys := &countedKeys{Keys: h.ring}
	s, err := identity.NewSet(t.Context(), identity.SetConfig{Records: h.records, Keys: keys, Now: h.clock.Now})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 100 {
		id, err := identity.Web(fmt.Sprintf("did:web:%d.example", i), identity.Pair{Sign: sign, Agree: generate(t, keyring.X25519)}, "https://a.example")
		id = h.made(t, id, err)
		if err := s.Add(t.Context(), id, identity.Settings{Party: "alice"}); err != nil {
			t.Fatal(err)
		}
	}
	image, err := sign.X25519()
	if err != nil {
		t.Fatal(err)
	}
	text, err := did.FormatMultikey(image.Public())
	if err != nil {
		t.Fatal(err)
	}
	keys.asked = 0
	finds(t, "of nobody", s, text, "")
	if keys.asked > 8 {
		t.Errorf("%d keys asked for", keys.asked)
	}
}

// A key store that fails is not a key that is not ours.
func TestFindKeyFails(t *testing.T) {
	h, away := newHost(), errors.New("away")
	s, id := h.start(t), h.peer2(t)
	add(t, s, id)
	broken, err := identity.NewSet(t.Context(), identity.SetConfig{Records: h.records, Keys: faultyKeys{away}, Now: h.clock.Now})
	if err != nil {
		t.Fatal(err)
	}
	_, agree := multikeys(t, id)
	if kid, err := broken.FindKey(t.Context(), agree); !errors.Is(err, away) || kid != "" {
		t.Errorf("FindKey = %q, %v", kid, err)
	}
}

// A message for the did:key of a tenant's key is for that tenant. A message that names another
// tenant besides is not opened, unless the other one has the key. A forward is opened by the
// did:key, but a message inside for another tenant is not.
func TestDIDKeyOfParty(t *testing.T) {
	h := newHost()
	s, ctx := h.start(t), t.Context()
	alice, bob := h.peer2(t), h.peer2(t)
	moved := sameKeys(t, h, alice, "did:web:moved.example")
	for _, id := range []*identity.Identity{alice, moved, bob} {
		party := "alice"
		if id == bob {
			party = "bob"
		}
		if err := s.Add(ctx, id, identity.Settings{Party: party}); err != nil {
			t.Fatal(err)
		}
		h.clock.pass(time.Second)
	}
	known := did.Methods{"peer": didpeer.NewResolver(), "key": didkey.Resolver{}}
	packer, err := envelope.New(envelope.Config{Keys: s, Resolver: identity.Before(s, known)})
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := envelope.New(envelope.Config{Keys: keyring.New(), Resolver: known})
	if err != nil {
		t.Fatal(err)
	}
	_, agree := multikeys(t, alice)
	key := "did:key:" + agree
	pack := func(to ...string) envelope.Envelope {
		m := &message.Message{ID: "1", Type: "https://didcomm.org/empty/1.0/empty", To: append(to, key)}
		sealed, err := theirs.Pack(ctx, m, envelope.To(key))
		if err != nil {
			t.Fatal(err)
		}
		return sealed[0]
	}
	for _, tt := range []struct {
		to   []string
		want string
	}{
		{nil, alice.DID()},
		{[]string{alice.DID()}, alice.DID()},
		{[]string{moved.DID()}, moved.DID()},
		{[]string{bob.DID()}, alice.DID()}, // as with to of any stranger
	} {
		u, err := packer.Unpack(ctx, pack(tt.to...).Data)
		if err != nil || did.Base(u.OpenedWith) != tt.want {
			t.Errorf("to %q: %v, %v; want %s", tt.to, u, err, tt.want)
		}
	}
	forward, err := theirs.Forward(ctx, pack(), []string{bob.DID()})
	if err != nil {
		t.Fatal(err)
	}
	u, err := packer.Unpack(ctx, forward.Data)
	if err != nil || u.Metadata.ReWrappedInForward || did.Base(u.OpenedWith) != bob.DID() {
		t.Errorf("a message for the key of alice in a forward for bob: %v, %v", u, err)
	}
	forward, err = theirs.Forward(ctx, pack(), []string{key})
	if err != nil {
		t.Fatal(err)
	}
	u, err = packer.Unpack(ctx, forward.Data)
	if err != nil || !u.Metadata.ReWrappedInForward || did.Base(u.OpenedWith) != alice.DID() {
		t.Errorf("a message for the key of alice in a forward for it: %v, %v", u, err)
	}
}
