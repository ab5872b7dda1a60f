package envelope_test

import (
	"context"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/decred/dcrd/dcrec/secp256k1/v4"

	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/keyring"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/did"
)

// now is the clock of every packer of a world.
var now = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

const testType = "https://didcomm.org/basicmessage/2.0/message"

// agent is one party of a world, with a key of each type: #x25519, #p256,
// #p384 and #p521 to agree on keys, #ed25519, #es256, #es384, #es512 and #es256k
// to sign. Peers are built from the raw private keys here.
type agent struct {
	did  string
	doc  *did.Document
	keys *keyring.Keyring
	ecdh map[string]*ecdh.PrivateKey // by name of the key
	sign map[string]any              // ed25519.PrivateKey, *ecdsa.PrivateKey, *secp256k1.PrivateKey
}

var (
	agreementNames = []string{"x25519", "p256", "p384", "p521"}
	signerNames    = []string{"ed25519", "es256", "es384", "es512", "es256k"}
)

// newAgent makes an agent with the keys named, or with one of each.
func newAgent(t testing.TB, id string, names ...string) *agent {
	t.Helper()
	if names == nil {
		names = slices.Concat(agreementNames, signerNames)
	}
	a := &agent{
		did: id, doc: &did.Document{ID: id}, keys: keyring.New(),
		ecdh: map[string]*ecdh.PrivateKey{}, sign: map[string]any{},
	}
	for _, name := range names {
		a.add(t, name)
	}
	return a
}

// add makes a key and lists it in the document, behind those already there. Its
// type is the name up to a dash: "x25519-2" is a second key.
func (a *agent) add(t testing.TB, name string) {
	t.Helper()
	typ := name
	if i := slices.Index([]byte(name), '-'); i >= 0 {
		typ = name[:i]
	}
	kid := a.did + "#" + name
	var public any
	hold := func(key any) {
		if err := a.keys.Add(kid, key); err != nil {
			t.Fatal(err)
		}
	}
	switch typ {
	case "x25519", "p256", "p384", "p521":
		curve := map[string]ecdh.Curve{"x25519": ecdh.X25519(), "p256": ecdh.P256(), "p384": ecdh.P384(), "p521": ecdh.P521()}[typ]
		key, err := curve.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		a.ecdh[name], public = key, key.PublicKey()
		hold(key)
		a.doc.KeyAgreement = append(a.doc.KeyAgreement, did.Relationship{ID: kid})
	case "ed25519":
		_, key, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		a.sign[name], public = key, key.Public()
		hold(key)
	case "es256", "es384", "es512":
		curve := map[string]elliptic.Curve{"es256": elliptic.P256(), "es384": elliptic.P384(), "es512": elliptic.P521()}[typ]
		key, err := ecdsa.GenerateKey(curve, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		a.sign[name], public = key, key.Public()
		hold(key)
	case "es256k":
		key, err := secp256k1.GeneratePrivateKey()
		if err != nil {
			t.Fatal(err)
		}
		held, err := keyring.ParseKey(keyring.Secp256k1, key.Serialize())
		if err != nil {
			t.Fatal(err)
		}
		a.sign[name], public = key, held.Public()
		hold(held)
	default:
		t.Fatalf("no type of key %q", name)
	}
	if a.ecdh[name] == nil {
		a.doc.Authentication = append(a.doc.Authentication, did.Relationship{ID: kid})
	}
	m, err := did.NewVerificationMethod(kid, a.did, did.TypeJSONWebKey2020, public)
	if err != nil {
		t.Fatal(err)
	}
	a.doc.VerificationMethod = append(a.doc.VerificationMethod, m)
	a.index(t)
}

func (a *agent) index(t testing.TB) {
	t.Helper()
	if err := a.doc.Index(); err != nil {
		t.Fatal(err)
	}
}

// serve gives the agent a DIDComm service.
func (a *agent) serve(t testing.TB, endpoints ...did.Endpoint) *agent {
	t.Helper()
	a.doc.Service = append(a.doc.Service, did.Service{Type: []string{did.TypeDIDCommMessaging}, Endpoints: endpoints})
	a.index(t)
	return a
}

func (a *agent) kid(name string) string { return a.did + "#" + name }

// recipient is the agent's key as a peer encrypts for it.
func (a *agent) recipient(name string) peerRecipient {
	return peerRecipient{a.kid(name), a.ecdh[name].PublicKey()}
}

// sender is the agent's key as a peer encrypts with it.
func (a *agent) sender(name string) *peerSender { return &peerSender{a.kid(name), a.ecdh[name]} }

// signer is the agent's key as a peer signs with it.
func (a *agent) signer(name string) peerSigner {
	return peerSigner{kid: a.kid(name), key: a.sign[name]}
}

// world is a Resolver of the documents of some agents. It records the DIDs that it resolves.
type world struct {
	alice, bob, carol, eve *agent

	mu    sync.Mutex
	docs  map[string]*did.Document
	asked []string
	other did.Resolver // for DIDs of no agent
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{
		alice: newAgent(t, aliceDID), bob: newAgent(t, bobDID),
		carol: newAgent(t, "did:example:carol"), eve: newAgent(t, "did:example:eve"),
		docs: map[string]*did.Document{},
	}
	w.add(w.alice, w.bob, w.carol, w.eve)
	return w
}

func (w *world) add(agents ...*agent) {
	for _, a := range agents {
		w.docs[a.did] = a.doc
	}
}

func (w *world) Resolve(ctx context.Context, id string) (*did.Document, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asked = append(w.asked, id)
	if doc, ok := w.docs[id]; ok {
		return doc, nil
	}
	if w.other != nil {
		return w.other.Resolve(ctx, id)
	}
	return nil, did.ErrNotFound
}

// took returns what was resolved since the last call.
func (w *world) took() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	asked := w.asked
	w.asked = nil
	return asked
}

// packer works with an agent's keys; change may adapt its configuration.
func (w *world) packer(t testing.TB, a *agent, change ...func(*envelope.Config)) *envelope.Packer {
	t.Helper()
	cfg := envelope.Config{Keys: a.keys, Resolver: w, Now: func() time.Time { return now }}
	for _, f := range change {
		f(&cfg)
	}
	return newPacker(t, cfg)
}

func strict(cfg *envelope.Config) { cfg.Strict = true }

// message is one from one agent to others, as JSON; set adds members or, with
// nil, takes them away.
func text(t testing.TB, from *agent, to []*agent, set map[string]any) []byte {
	t.Helper()
	m := map[string]any{"id": "1", "typ": message.MediaType, "type": testType, "body": map[string]any{"content": "hello"}}
	if from != nil {
		m["from"] = from.did
	}
	if to != nil {
		ids := make([]string, len(to))
		for i, a := range to {
			ids[i] = a.did
		}
		m["to"] = ids
	}
	for name, v := range set {
		if m[name] = v; v == nil {
			delete(m, name)
		}
	}
	return toJSON(t, m)
}

// newMessage is that message for our own Pack.
func newMessage(t testing.TB, from *agent, to ...*agent) *message.Message {
	t.Helper()
	m, _, err := message.Parse(text(t, from, to, nil))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func toJSON(t testing.TB, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// pack1 packs a message that must make a single envelope.
func pack1(t testing.TB, p *envelope.Packer, m *message.Message, opts ...envelope.PackOption) envelope.Envelope {
	t.Helper()
	sealed, err := p.Pack(t.Context(), m, opts...)
	if err != nil {
		t.Fatal(err)
	}
	if len(sealed) != 1 {
		t.Fatalf("%d envelopes, want 1", len(sealed))
	}
	return sealed[0]
}

func unpack(t testing.TB, p *envelope.Packer, data []byte) *envelope.Unpacked {
	t.Helper()
	u, err := p.Unpack(t.Context(), data)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// refused demands an error of a class and no result.
func refused(t testing.TB, p *envelope.Packer, data []byte, want error) error {
	t.Helper()
	u, err := p.Unpack(t.Context(), data)
	if !errors.Is(err, want) || u != nil {
		t.Fatalf("got %v, %v; want the error %v", u, err, want)
	}
	if got := classes(err); !slices.Equal(got, []error{classOf(err, want)}) {
		t.Errorf("%v has the classes %v, want %v", err, got, classOf(err, want))
	}
	return err
}

func codes(list []message.Deviation) []message.DeviationCode {
	var out []message.DeviationCode
	for _, d := range list {
		out = append(out, d.Code)
	}
	slices.Sort(out)
	return out
}

// rawNull is a JSON null where nil means absence.
var rawNull = json.RawMessage("null")

func sha256Sum(s string) []byte {
	sum := sha256.Sum256([]byte(s))
	return sum[:]
}

// deepJSON is n arrays in one another.
func deepJSON(n int) json.RawMessage {
	return json.RawMessage(strings.Repeat("[", n) + strings.Repeat("]", n))
}
