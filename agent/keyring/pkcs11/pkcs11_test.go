//go:build pkcs11

package pkcs11_test

import (
	"bytes"
	"crypto"
	"crypto/ecdh"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	p11 "github.com/miekg/pkcs11"

	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/identity"
	"github.com/didcomm-go/didcomm/agent/keyring"
	"github.com/didcomm-go/didcomm/agent/keyring/keyringtest"
	"github.com/didcomm-go/didcomm/agent/keyring/pkcs11"
	"github.com/didcomm-go/didcomm/agent/keyring/pkcs11/pkcs11test"
	"github.com/didcomm-go/didcomm/agent/store"
)

// newToken makes an empty token.
func newToken(t *testing.T) pkcs11.Config {
	t.Helper()
	cfg, err := pkcs11test.SoftHSM(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

func open(t *testing.T, cfg pkcs11.Config) *pkcs11.Token {
	t.Helper()
	tok, err := pkcs11.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := tok.Close(); err != nil {
			t.Error(err)
		}
	})
	return tok
}

func TestKeys(t *testing.T) {
	tok := open(t, newToken(t))
	var held []keyringtest.Held
	for _, key := range []struct {
		curve keyring.Curve
		use   pkcs11.Use
	}{
		{keyring.P256, pkcs11.Agreement},
		{keyring.P256, pkcs11.Signatures},
		{keyring.P256, pkcs11.Agreement | pkcs11.Signatures},
		{keyring.P384, pkcs11.Agreement | pkcs11.Signatures},
		{keyring.P521, pkcs11.Agreement | pkcs11.Signatures},
		{keyring.X25519, pkcs11.Agreement},
		{keyring.Ed25519, pkcs11.Signatures},
	} {
		label := fmt.Sprintf("%s-%d", key.curve, key.use)
		public, err := tok.Generate(label, key.curve, key.use)
		if err != nil {
			t.Fatal(err)
		}
		h := keyringtest.Held{KID: "did:example:" + label + "#key-1", Public: public, Agrees: key.use&pkcs11.Agreement != 0, Signs: key.use&pkcs11.Signatures != 0}
		if err := tok.Bind(h.KID, label); err != nil {
			t.Fatal(err)
		}
		held = append(held, h)
	}
	keyringtest.TestKeys(t, tok, held...)
}

// TestStays checks that the token does not reveal a private key.
func TestStays(t *testing.T) {
	cfg := newToken(t)
	tok := open(t, cfg)
	if _, err := tok.Generate("stays", keyring.P256, pkcs11.Agreement); err != nil {
		t.Fatal(err)
	}
	module := p11.New(cfg.Module)
	slots, err := module.GetSlotList(true)
	if err != nil {
		t.Fatal(err)
	}
	s, err := module.OpenSession(slots[0], p11.CKF_SERIAL_SESSION)
	if err != nil {
		t.Fatal(err)
	}
	defer module.CloseSession(s)
	if err := module.FindObjectsInit(s, []*p11.Attribute{p11.NewAttribute(p11.CKA_CLASS, p11.CKO_PRIVATE_KEY), p11.NewAttribute(p11.CKA_LABEL, "stays")}); err != nil {
		t.Fatal(err)
	}
	found, _, err := module.FindObjects(s, 10)
	if err != nil || len(found) != 1 {
		t.Fatalf("%d keys, %v", len(found), err)
	}
	if _, err := module.GetAttributeValue(s, found[0], []*p11.Attribute{p11.NewAttribute(p11.CKA_VALUE, nil)}); !errors.Is(err, p11.Error(p11.CKR_ATTRIBUTE_SENSITIVE)) {
		t.Errorf("the private key can be read: %v", err)
	}
	for what, attribute := range map[string]uint{"sensitive": p11.CKA_SENSITIVE, "always sensitive": p11.CKA_ALWAYS_SENSITIVE, "never extractable": p11.CKA_NEVER_EXTRACTABLE} {
		got, err := module.GetAttributeValue(s, found[0], []*p11.Attribute{p11.NewAttribute(attribute, nil)})
		if err != nil || !bytes.Equal(got[0].Value, []byte{1}) {
			t.Errorf("the key is not %s: %v", what, err)
		}
	}
}

// Open binds a key whose label is a key id.
func TestLabelIsKID(t *testing.T) {
	const kid = "did:example:label#key-1"
	cfg := newToken(t)
	public, err := open(t, cfg).Generate(kid, keyring.P256, pkcs11.Agreement)
	if err != nil {
		t.Fatal(err)
	}
	tok := open(t, cfg)
	key, err := tok.KeyAgreement(t.Context(), kid)
	if err != nil {
		t.Fatal(err)
	}
	if want, err := tok.Public(kid); err != nil || fmt.Sprint(want) != fmt.Sprint(public) {
		t.Error(err)
	}
	peer, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ours, err := key.ECDH(peer.PublicKey())
	if err != nil {
		t.Fatal(err)
	}
	if theirs, err := peer.ECDH(key.PublicKey()); err != nil || !bytes.Equal(ours, theirs) {
		t.Error(err)
	}
}

func TestRefuses(t *testing.T) {
	tok := open(t, newToken(t))
	if _, err := tok.Generate("signs", keyring.P256, pkcs11.Signatures); err != nil {
		t.Fatal(err)
	}
	for name, err := range map[string]error{
		"no such key":   tok.Bind("did:example:a#1", "nothing"),
		"no key id":     tok.Bind("did:example:a", "signs"),
		"label taken":   second(tok.Generate("signs", keyring.P256, pkcs11.Signatures)),
		"no label":      second(tok.Generate("", keyring.P256, pkcs11.Signatures)),
		"no use":        second(tok.Generate("x", keyring.P256, 0)),
		"no such use":   second(tok.Generate("x", keyring.X25519, pkcs11.Signatures)),
		"no such curve": second(tok.Generate("x", keyring.Secp256k1, pkcs11.Signatures)),
		"no public key": second(tok.Public("x")),
	} {
		if !errors.Is(err, pkcs11.ErrKey) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := tok.Bind("did:example:a#1", "signs"); err != nil {
		t.Fatal(err)
	}
	if _, err := tok.KeyAgreement(t.Context(), "did:example:a#1"); !errors.Is(err, envelope.ErrNoKey) {
		t.Error(err)
	}
}

func second(_ any, err error) error { return err }

func TestOpenFails(t *testing.T) {
	token := newToken(t)
	pinFile := filepath.Join(t.TempDir(), "pin")
	if err := os.WriteFile(pinFile, []byte("77777777\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("DIDCOMM_TEST_PIN", "66666666")
	var all []string
	for name, test := range map[string]struct {
		change func(*pkcs11.Config)
		want   error
	}{
		"no module":   {func(c *pkcs11.Config) { c.Module += ".missing" }, nil},
		"no token":    {func(c *pkcs11.Config) { c.Token = "other" }, pkcs11.ErrToken},
		"PIN":         {func(c *pkcs11.Config) { c.PIN = pkcs11.PINFile(pinFile) }, pkcs11.ErrPIN},
		"PIN by env":  {func(c *pkcs11.Config) { c.PIN = pkcs11.PINEnv("DIDCOMM_TEST_PIN") }, pkcs11.ErrPIN},
		"no PIN":      {func(c *pkcs11.Config) { c.PIN = pkcs11.PINEnv("DIDCOMM_TEST_UNSET") }, nil},
		"no PIN file": {func(c *pkcs11.Config) { c.PIN = pkcs11.PINFile(pinFile + ".missing") }, os.ErrNotExist},
		"nil PIN":     {func(c *pkcs11.Config) { c.PIN = nil }, nil},
	} {
		cfg := token
		test.change(&cfg)
		tok, err := pkcs11.Open(cfg)
		if err == nil || tok != nil || test.want != nil && !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", name, err, test.want)
		}
		all = append(all, fmt.Sprintf("%v %+v %#v", err, cfg, cfg))
	}
	if err := os.WriteFile(pinFile, []byte(pkcs11test.PIN+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := token
	cfg.PIN = pkcs11.PINFile(pinFile)
	tok, err := pkcs11.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer tok.Close()
	if _, err := tok.Generate("prints", keyring.P256, pkcs11.Signatures); err != nil {
		t.Fatal(err)
	}
	if err := tok.Bind("did:example:a#prints", "prints"); err != nil {
		t.Fatal(err)
	}
	key, err := tok.Signer(t.Context(), "did:example:a#prints")
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "cfg", fmt.Sprintf("%+v", cfg), "token", fmt.Sprintf("%+v", tok), "key", fmt.Sprintf("%+v", key))
	text := strings.Join(append(all, out.String()), "\n")
	for _, pin := range []string{"77777777", "66666666", pkcs11test.PIN} {
		if strings.Contains(text, pin) {
			t.Errorf("a PIN is printed: %s", text)
		}
	}
}

func TestClose(t *testing.T) {
	tok, err := pkcs11.Open(newToken(t))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tok.Generate("closes", keyring.P256, pkcs11.Signatures); err != nil {
		t.Fatal(err)
	}
	if err := tok.Bind("did:example:a#closes", "closes"); err != nil {
		t.Fatal(err)
	}
	key, err := tok.Signer(t.Context(), "did:example:a#closes")
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(tok.Close(), tok.Close()); err != nil {
		t.Error(err)
	}
	digest := sha256.Sum256(nil)
	if _, err := key.Sign(rand.Reader, digest[:], crypto.SHA256); !errors.Is(err, pkcs11.ErrClosed) {
		t.Error(err)
	}
	if err := tok.Bind("did:example:a#closes", "closes"); !errors.Is(err, pkcs11.ErrClosed) {
		t.Error(err)
	}
}

// A DID is made of keys that are found by their labels.
func TestIdentity(t *testing.T) {
	tok := open(t, newToken(t))
	for label, key := range map[string]struct {
		curve keyring.Curve
		use   pkcs11.Use
	}{
		"signing":   {keyring.Ed25519, pkcs11.Signatures},
		"agreement": {keyring.X25519, pkcs11.Agreement},
		"both":      {keyring.P256, pkcs11.Signatures | pkcs11.Agreement},
	} {
		if _, err := tok.Generate(label, key.curve, key.use); err != nil {
			t.Fatal(err)
		}
	}
	set, err := identity.NewSet(t.Context(), identity.SetConfig{Records: store.NewRecords(store.RecordsConfig{}), Keys: tok.Labels()})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		sign, agree string
		make        func(identity.Pair) (*identity.Identity, error)
	}{
		{"signing", "agreement", func(p identity.Pair) (*identity.Identity, error) { return identity.Peer2(p, "https://a.example") }},
		{"both", "both", identity.JWK},
		{"both", "both", identity.Key},
	} {
		pair, err := identity.Find(t.Context(), tok.Labels(), tt.sign, tt.agree)
		if err != nil {
			t.Fatal(err)
		}
		id, err := tt.make(pair)
		if err != nil {
			t.Fatal(err)
		}
		var held []keyringtest.Held
		for _, kid := range id.KIDs() {
			m, ok := id.Document().Method(kid)
			if !ok {
				t.Fatalf("no key %s", kid)
			}
			public, err := m.PublicKey()
			if err != nil {
				t.Fatal(err)
			}
			h := keyringtest.Held{KID: kid, Public: public}
			for _, handle := range id.Handles() {
				h.Signs = h.Signs || handle.KID == kid && handle.Use == identity.ToSign
				h.Agrees = h.Agrees || handle.KID == kid && handle.Use == identity.ToAgree
			}
			held = append(held, h)
		}
		keyringtest.TestKeys(t, id, held...)
		if err := set.Add(t.Context(), id, identity.Settings{}); err != nil {
			t.Fatal(err)
		}
		keyringtest.TestKeys(t, set, held...)
		if err := set.Remove(t.Context(), id.DID()); err != nil {
			t.Fatal(err)
		}
	}
	for _, names := range [][2]string{{"none", ""}, {"", "none"}, {"agreement", ""}, {"", "signing"}} {
		if _, err := identity.Find(t.Context(), tok.Labels(), names[0], names[1]); !errors.Is(err, envelope.ErrNoKey) {
			t.Errorf("Find %q: %v, want ErrNoKey", names, err)
		}
	}
}
