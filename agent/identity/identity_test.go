package identity_test

import (
	"context"
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/identity"
	"github.com/didcomm-go/didcomm/agent/keyring"
	"github.com/didcomm-go/didcomm/agent/keyring/keyringtest"
	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/did"
	"github.com/didcomm-go/didcomm/did/didjwk"
	"github.com/didcomm-go/didcomm/did/didkey"
	"github.com/didcomm-go/didcomm/did/didpeer"
)

// kms is a service whose keys are used by name, as long as the context lasts that a
// handle was asked for with.
type kms struct{ keys map[string]*keyring.Key }

func newKMS() *kms { return &kms{keys: make(map[string]*keyring.Key)} }

func (s *kms) create(t testing.TB, name string, curve keyring.Curve) *keyring.Key {
	t.Helper()
	s.keys[name] = generate(t, curve)
	return s.keys[name]
}

func (s *kms) KeyAgreement(ctx context.Context, name string) (ecdh.KeyExchanger, error) {
	key := s.keys[name]
	if key == nil || key.PublicKey() == nil {
		return nil, envelope.ErrNoKey
	}
	return remoteExchanger{ctx, key}, nil
}

func (s *kms) Signer(ctx context.Context, name string) (crypto.Signer, error) {
	key := s.keys[name]
	if key == nil || key.Type() == keyring.X25519 {
		return nil, envelope.ErrNoKey
	}
	return remoteSigner{ctx, key}, nil
}

type remoteExchanger struct {
	ctx context.Context
	ecdh.KeyExchanger
}

func (e remoteExchanger) ECDH(remote *ecdh.PublicKey) ([]byte, error) {
	if err := e.ctx.Err(); err != nil {
		return nil, err
	}
	return e.KeyExchanger.ECDH(remote)
}

type remoteSigner struct {
	ctx context.Context
	crypto.Signer
}

func (g remoteSigner) Sign(rand io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	if err := g.ctx.Err(); err != nil {
		return nil, err
	}
	return g.Signer.Sign(rand, digest, opts)
}

func generate(t testing.TB, curve keyring.Curve) *keyring.Key {
	t.Helper()
	key, err := keyring.Generate(curve)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func software(t testing.TB, curve keyring.Curve) identity.Pair {
	t.Helper()
	p, err := identity.Generate(curve)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// found is what a Pair of a curve is found in, with the names.
func found(t testing.TB, keys envelope.Keys, sign, agree string) identity.Pair {
	t.Helper()
	// The handles of this context are worth nothing once the Pair is there.
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	p, err := identity.Find(ctx, keys, sign, agree)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// pairs make two keys of a curve in each place where keys are kept.
var pairs = map[string]func(t testing.TB, curve keyring.Curve) identity.Pair{
	"software": software,
	"standard library": func(t testing.TB, curve keyring.Curve) identity.Pair {
		t.Helper()
		if curve == keyring.Ed25519 {
			_, sign, err := ed25519.GenerateKey(nil)
			if err != nil {
				t.Fatal(err)
			}
			agree, err := ecdh.X25519().GenerateKey(rand.Reader)
			if err != nil {
				t.Fatal(err)
			}
			return identity.Pair{Sign: sign, Agree: agree}
		}
		sign, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		agree, err := ecdh.P256().GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return identity.Pair{Sign: sign, Agree: agree}
	},
	"sealed": func(t testing.TB, curve keyring.Curve) identity.Pair {
		t.Helper()
		ring, err := keyring.Create(t.Context(), store.NewSealedKeys(), keyring.None())
		if err != nil {
			t.Fatal(err)
		}
		made, err := identity.Peer2(software(t, curve))
		if err != nil {
			t.Fatal(err)
		}
		keys, err := made.Keyring()
		if err != nil {
			t.Fatal(err)
		}
		if err := ring.AddAll(t.Context(), keys); err != nil {
			t.Fatal(err)
		}
		kids := made.KIDs()
		return found(t, ring, kids[0], kids[1])
	},
	"kms": func(t testing.TB, curve keyring.Curve) identity.Pair {
		t.Helper()
		service := newKMS()
		service.create(t, "signing", curve)
		agreement := curve
		if curve == keyring.Ed25519 {
			agreement = keyring.X25519
		}
		service.create(t, "agreement", agreement)
		return found(t, service, "signing", "agreement")
	},
}

// methods make an identity of a Pair with two keys.
var methods = []struct {
	name   string
	prefix string
	make   func(identity.Pair, ...string) (*identity.Identity, error)
}{
	{"peer 2", "did:peer:2.Vz", identity.Peer2},
	{"peer 4", "did:peer:4z", identity.Peer4},
	{"web", "did:web:example.org:tenants:1", func(p identity.Pair, endpoints ...string) (*identity.Identity, error) {
		return identity.Web("did:web:example.org:tenants:1", p, endpoints...)
	}},
}

// resolver resolves the DIDs that are their documents.
func resolver() did.Resolver {
	return did.Methods{"key": didkey.Resolver{}, "jwk": didjwk.Resolver{}, "peer": didpeer.NewResolver()}
}

// check runs the suite of envelope.Keys on an identity, and holds its document to be what
// the DID resolves to.
func check(t *testing.T, id *identity.Identity, endpoints ...string) {
	t.Helper()
	doc := id.Document()
	if doc.ID != id.DID() {
		t.Errorf("document of %s", doc.ID)
	}
	if !strings.HasPrefix(id.DID(), "did:web:") {
		resolved, err := resolver().Resolve(t.Context(), id.DID())
		if err != nil {
			t.Fatal(err)
		}
		a, errA := doc.MarshalJSON()
		b, errB := resolved.MarshalJSON()
		if errA != nil || errB != nil || string(a) != string(b) {
			t.Errorf("document %s, %v; resolved %s, %v", a, errA, b, errB)
		}
	}
	var got []string
	for _, e := range doc.DIDCommServices() {
		got = append(got, e.URI)
	}
	if !slices.Equal(got, endpoints) {
		t.Errorf("endpoints %q, want %q", got, endpoints)
	}

	byKID := make(map[string]*keyringtest.Held)
	var kids []string
	for _, list := range [][]*did.VerificationMethod{doc.AuthenticationKeys(), doc.KeyAgreementKeys()} {
		for _, m := range list {
			public, err := m.PublicKey()
			if err != nil {
				t.Fatal(err)
			}
			if byKID[m.ID] == nil {
				byKID[m.ID] = &keyringtest.Held{KID: m.ID, Public: public}
				kids = append(kids, m.ID)
			}
		}
	}
	for _, m := range doc.AuthenticationKeys() {
		byKID[m.ID].Signs = true
	}
	for _, m := range doc.KeyAgreementKeys() {
		_, err := m.ECDH()
		byKID[m.ID].Agrees = err == nil
	}
	if got := id.KIDs(); !slices.Equal(got, kids) {
		t.Errorf("KIDs() = %q, want %q", got, kids)
	}
	var held []keyringtest.Held
	for _, kid := range kids {
		held = append(held, *byKID[kid])
	}
	keyringtest.TestKeys(t, id, held...)
}

func TestPair(t *testing.T) {
	for place, pair := range pairs {
		for _, curve := range []keyring.Curve{keyring.Ed25519, keyring.P256} {
			for _, m := range methods {
				t.Run(fmt.Sprint(m.name, "/", place, "/", curve), func(t *testing.T) {
					endpoints := []string{"https://a.example/didcomm", "wss://b.example", "did:web:mediator.example", did.QueueURI}
					id, err := m.make(pair(t, curve), endpoints...)
					if err != nil {
						t.Fatal(err)
					}
					if !strings.HasPrefix(id.DID(), m.prefix) {
						t.Errorf("%s, want %s...", id.DID(), m.prefix)
					}
					check(t, id, endpoints...)
				})
			}
		}
	}
}

// An identity without an endpoint is reached by return routes.
func TestNoEndpoint(t *testing.T) {
	for _, m := range methods {
		id, err := m.make(software(t, keyring.P384))
		if err != nil {
			t.Fatal(err)
		}
		if n := len(id.Document().DIDCommServices()); n != 0 {
			t.Errorf("%s: %d endpoints", m.name, n)
		}
	}
}

func TestOneKey(t *testing.T) {
	service := newKMS()
	ed := service.create(t, "ed", keyring.Ed25519)
	x, err := ed.X25519()
	if err != nil {
		t.Fatal(err)
	}
	service.keys["x of ed"] = x
	service.create(t, "p", keyring.P256)
	standard, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	single := func(curve keyring.Curve) identity.Pair { return identity.Single(generate(t, curve)) }
	for name, tt := range map[string]struct {
		pair identity.Pair
		key  bool // did:key serves
		jwk  bool // did:jwk serves
	}{
		"Ed25519":             {single(keyring.Ed25519), true, true},
		"X25519":              {single(keyring.X25519), true, true},
		"P-256":               {single(keyring.P256), true, true},
		"P-384":               {single(keyring.P384), true, true},
		"P-521":               {single(keyring.P521), true, true},
		"secp256k1":           {single(keyring.Secp256k1), true, true},
		"P-256 to sign":       {identity.Pair{Sign: generate(t, keyring.P256)}, true, true},
		"standard library":    {identity.Pair{Sign: standard}, true, true},
		"kms Ed25519":         {found(t, service, "ed", "x of ed"), true, false},
		"kms Ed25519 alone":   {found(t, service, "ed", ""), false, true},
		"kms P-256":           {found(t, service, "p", "p"), true, true},
		"kms P-256 to sign":   {found(t, service, "p", ""), false, false},
		"two keys of Ed25519": {software(t, keyring.Ed25519), false, false},
		"two keys of P-256":   {software(t, keyring.P256), false, false},
		"nothing":             {identity.Pair{}, false, false},
	} {
		for _, m := range []struct {
			name   string
			make   func(identity.Pair) (*identity.Identity, error)
			serves bool
		}{
			{"key", identity.Key, tt.key},
			{"jwk", identity.JWK, tt.jwk},
		} {
			t.Run(m.name+"/"+name, func(t *testing.T) {
				id, err := m.make(tt.pair)
				if !m.serves {
					if !errors.Is(err, identity.ErrHandle) || id != nil {
						t.Errorf("%v, want ErrHandle", err)
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				if !strings.HasPrefix(id.DID(), "did:"+m.name+":") {
					t.Error(id.DID())
				}
				check(t, id)
			})
		}
	}
}

type badSigner struct{ public crypto.PublicKey }

func (b badSigner) Public() crypto.PublicKey { return b.public }
func (badSigner) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	return nil, errors.New("not asked for")
}

func TestRefused(t *testing.T) {
	good := software(t, keyring.Ed25519)
	sign, agree := generate(t, keyring.Ed25519), generate(t, keyring.X25519)
	p224, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		pair      identity.Pair
		endpoints []string
		err       error
	}{
		"empty":                     {identity.Pair{}, nil, identity.ErrHandle},
		"no signer":                 {identity.Pair{Agree: agree}, nil, identity.ErrHandle},
		"no agreement":              {identity.Pair{Sign: sign}, nil, identity.ErrHandle},
		"signs by an agreement key": {identity.Pair{Sign: agree, Agree: agree}, nil, identity.ErrHandle},
		"agrees by a signing key":   {identity.Pair{Sign: sign, Agree: sign}, nil, identity.ErrHandle},
		"RSA":                       {identity.Pair{Sign: badSigner{&rsa.PublicKey{}}, Agree: agree}, nil, identity.ErrHandle},
		"no public key":             {identity.Pair{Sign: badSigner{}, Agree: agree}, nil, identity.ErrHandle},
		"P-224":                     {identity.Pair{Sign: p224, Agree: agree}, nil, identity.ErrHandle},
		"no endpoint":               {good, []string{""}, identity.ErrEndpoint},
		"a path":                    {good, []string{"/didcomm"}, identity.ErrEndpoint},
		"a host":                    {good, []string{"example.org"}, identity.ErrEndpoint},
		"a URL without host":        {good, []string{"https:///didcomm"}, identity.ErrEndpoint},
		"a blank":                   {good, []string{"https://a.example/a b"}, identity.ErrEndpoint},
		"a key for a mediator":      {good, []string{"did:web:mediator.example#key-1"}, identity.ErrEndpoint},
		"half a DID":                {good, []string{"https://a.example", "did:web:"}, identity.ErrEndpoint},
		"too long":                  {good, []string{"https://a.example/" + strings.Repeat("a", didpeer.MaxLength)}, did.ErrInvalid},
	} {
		for _, m := range methods {
			if name == "too long" && m.name == "web" {
				continue // its document may be
			}
			if id, err := m.make(tt.pair, tt.endpoints...); !errors.Is(err, tt.err) || id != nil {
				t.Errorf("%s, %s: %v, want %v", m.name, name, err, tt.err)
			}
		}
	}
	for _, id := range []string{"", "example.org", "did:web:", "did:peer:2", "did:web:example.org#key-1", "did:web:a/b"} {
		if _, err := identity.Web(id, good); !errors.Is(err, did.ErrInvalid) {
			t.Errorf("Web(%q): %v, want did.ErrInvalid", id, err)
		}
	}
	for _, curve := range []keyring.Curve{keyring.X25519, keyring.Secp256k1, "none"} {
		if _, err := identity.Generate(curve); !errors.Is(err, keyring.ErrInvalid) {
			t.Errorf("Generate(%s): %v", curve, err)
		}
	}
	for _, names := range [][2]string{{"none", ""}, {"", "none"}} {
		if _, err := identity.Find(t.Context(), newKMS(), names[0], names[1]); !errors.Is(err, envelope.ErrNoKey) {
			t.Errorf("Find %q: %v", names, err)
		}
	}
}

// A document that was kept and the handles make the same identity again.
func TestFromDocument(t *testing.T) {
	for _, m := range methods {
		pair := pairs["kms"](t, keyring.P256)
		made, err := m.make(pair, "https://a.example")
		if err != nil {
			t.Fatal(err)
		}
		data, err := made.Document().MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		doc, err := did.ParseDocument(data)
		if err != nil {
			t.Fatal(err)
		}
		again, err := identity.FromDocument(doc, pair)
		if err != nil {
			t.Fatal(err)
		}
		if again.DID() != made.DID() || !slices.Equal(again.Handles(), made.Handles()) {
			t.Errorf("%s: %v, was %v", m.name, again.Handles(), made.Handles())
		}
		for _, h := range made.Handles() {
			if want := map[identity.Use]string{identity.ToSign: "signing", identity.ToAgree: "agreement"}[h.Use]; h.Name != want {
				t.Errorf("%s: %s is %q", m.name, h.KID, h.Name)
			}
		}
		for what, p := range map[string]identity.Pair{
			"another key that signs":  {Sign: generate(t, keyring.P256), Agree: pair.Agree},
			"another key that agrees": {Sign: pair.Sign, Agree: generate(t, keyring.P256)},
			"keys the wrong way":      software(t, keyring.P256),
			"nothing":                 {},
		} {
			if _, err := identity.FromDocument(doc, p); !errors.Is(err, identity.ErrHandle) {
				t.Errorf("%s, %s: %v", m.name, what, err)
			}
		}
		// One of the two will do: a device that signs, say.
		if id, err := identity.FromDocument(doc, identity.Pair{Sign: pair.Sign}); err != nil || len(id.KIDs()) != 1 {
			t.Errorf("%s: %v", m.name, err)
		}
	}
}

func TestForms(t *testing.T) {
	id, err := identity.Peer4(software(t, keyring.Ed25519))
	if err != nil {
		t.Fatal(err)
	}
	short, ok := didpeer.Short(id.DID())
	if !ok {
		t.Fatalf("%s is not a long form", id.DID())
	}
	for _, form := range []string{id.DID(), short} {
		if own, err := id.Own(t.Context(), form); err != nil || own != id.DID() {
			t.Errorf("Own(%s) = %s, %v", form, own, err)
		}
	}
	r := didpeer.NewResolver()
	if _, err := r.Resolve(t.Context(), id.DID()); err != nil {
		t.Fatal(err)
	}
	doc, err := r.Resolve(t.Context(), short)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := identity.FromDocument(doc, software(t, keyring.Ed25519)); !errors.Is(err, did.ErrInvalid) {
		t.Errorf("short form: %v", err)
	}
	// A key id is exact: a Packer turns its other forms into this one.
	if _, err := id.Signer(t.Context(), short+"#key-1"); !errors.Is(err, envelope.ErrNoKey) {
		t.Errorf("Signer by the short form: %v", err)
	}
}

func TestKeyring(t *testing.T) {
	for place, pair := range pairs {
		id, err := identity.Peer2(pair(t, keyring.Ed25519))
		if err != nil {
			t.Fatal(err)
		}
		ring, err := id.Keyring()
		if soft := place == "software" || place == "standard library"; !soft {
			if !errors.Is(err, identity.ErrHandle) {
				t.Errorf("%s: %v, want ErrHandle", place, err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(ring.KIDs(), id.KIDs()) {
			t.Errorf("%s: %q, want %q", place, ring.KIDs(), id.KIDs())
		}
	}
}

// The handles of a KMS work for the time of a message: an identity asks for them anew.
func TestContext(t *testing.T) {
	id, err := identity.Peer2(pairs["kms"](t, keyring.Ed25519))
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	signer, err := id.Signer(ctx, id.KIDs()[0])
	if err != nil {
		t.Fatal(err)
	}
	if _, err := signer.Sign(nil, []byte("message"), crypto.Hash(0)); err != nil {
		t.Errorf("in time: %v", err)
	}
	stop()
	if _, err := signer.Sign(nil, []byte("message"), crypto.Hash(0)); !errors.Is(err, context.Canceled) {
		t.Errorf("too late: %v", err)
	}
}

// Nothing prints a private key, also not one of the standard library.
func TestRedacted(t *testing.T) {
	pair := pairs["standard library"](t, keyring.Ed25519)
	id, err := identity.Peer2(pair)
	if err != nil {
		t.Fatal(err)
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d"} {
		if got := fmt.Sprintf(verb, pair); got != "Pair(private keys REDACTED)" {
			t.Errorf("%s: %s", verb, got)
		}
		if got := fmt.Sprintf(verb, id); got != id.DID() {
			t.Errorf("%s: %s", verb, got)
		}
	}
	if got := pair.LogValue().String() + id.LogValue().String(); got != "Pair(private keys REDACTED)"+id.DID() {
		t.Error(got)
	}
}
