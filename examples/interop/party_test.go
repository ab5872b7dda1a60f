//go:build interop

package interop_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/keyring"
	"github.com/didcomm-go/didcomm/did"
	"github.com/didcomm-go/didcomm/examples/interop/internal/peer"
)

// signatures are the algorithms, in the order of the table.
var signatures = []string{"EdDSA", "ES256", "ES256K"}

// signing is the key type of each signature algorithm.
var signing = map[string]keyring.Curve{
	"EdDSA":  keyring.Ed25519,
	"ES256":  keyring.P256,
	"ES256K": keyring.Secp256k1,
}

// party is somebody with a DID, its document and its private keys. Which side
// holds the keys depends on the cell: the other side gets the document alone.
type party struct {
	doc   *did.Document
	ring  *keyring.Keyring
	agree []string          // kids, in the document's order
	sign  map[string]string // algorithm -> kid
}

// DID is the party's identifier.
func (p *party) DID() string { return p.doc.ID }

// newParty makes a party with n fresh keys for key agreement and one for each
// signature algorithm. Its document is one that peers are given, of a method
// that nobody resolves.
func newParty(t testing.TB, curve keyring.Curve, n int) *party {
	t.Helper()
	return newPartyAs(t, curve, n, did.TypeJSONWebKey2020, nil)
}

// newPartyAs is newParty with a choice of the verification methods' types:
// agreement for the key agreement keys, and types for the keys that sign, by
// algorithm. Only algorithms that types names get a key, all if it is nil.
func newPartyAs(t testing.TB, curve keyring.Curve, n int, agreement string, types map[string]string) *party {
	t.Helper()
	return newPartyNamed(t, "did:example:"+strings.ToLower(rand.Text()), curve, n, agreement, types)
}

// newPartyNamed is newPartyAs with a given DID.
func newPartyNamed(t testing.TB, id string, curve keyring.Curve, n int, agreement string, types map[string]string) *party {
	t.Helper()
	if types == nil {
		types = map[string]string{}
		for _, alg := range signatures {
			types[alg] = did.TypeJSONWebKey2020
		}
	}
	p := &party{doc: &did.Document{ID: id}, ring: keyring.New(), sign: map[string]string{}}
	add := func(name, typ string, curve keyring.Curve) did.Relationship {
		kid := id + "#" + name
		p.method(t, kid, typ, newKey(t, p.ring, kid, curve))
		return did.Relationship{ID: kid}
	}
	for i := range n {
		r := add("agree-"+strconv.Itoa(i+1), agreement, curve)
		p.agree = append(p.agree, r.ID)
		p.doc.KeyAgreement = append(p.doc.KeyAgreement, r)
	}
	for _, alg := range signatures {
		typ, ok := types[alg]
		if !ok {
			continue
		}
		r := add("sign-"+strings.ToLower(alg), typ, signing[alg])
		p.sign[alg] = r.ID
		p.doc.Authentication = append(p.doc.Authentication, r)
	}
	p.index(t)
	return p
}

func (p *party) method(t testing.TB, kid, typ string, key *keyring.Key) {
	t.Helper()
	m, err := did.NewVerificationMethod(kid, p.doc.ID, typ, key.Public())
	if err != nil {
		t.Fatal(err)
	}
	p.doc.VerificationMethod = append(p.doc.VerificationMethod, m)
}

func (p *party) index(t testing.TB) {
	t.Helper()
	if err := p.doc.Index(); err != nil {
		t.Fatal(err)
	}
}

// document is the party's document on the wire.
func (p *party) document(t testing.TB) json.RawMessage {
	t.Helper()
	data, err := json.Marshal(p.doc)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// only is the party with no more private keys than those.
func (p *party) only(t testing.TB, kids ...string) *party {
	t.Helper()
	c := *p
	c.ring = keyring.New()
	for _, kid := range kids {
		key, err := p.ring.Key(kid)
		if err != nil {
			t.Fatal(err)
		}
		hold(t, c.ring, kid, key)
	}
	return &c
}

// packer is our side of the exchange: it holds own's keys and knows the
// documents of all.
func packer(t testing.TB, own *party, others ...*party) *envelope.Packer {
	t.Helper()
	return newPacker(t, own.ring, documents(append(others, own)))
}

// documents resolves the parties' DIDs.
func documents(parties []*party) did.Resolver {
	docs := map[string]*did.Document{}
	for _, p := range parties {
		docs[p.DID()] = p.doc
	}
	return did.ResolverFunc(func(_ context.Context, id string) (*did.Document, error) {
		if doc, ok := docs[id]; ok {
			return doc, nil
		}
		return nil, did.ErrNotFound
	})
}

func newPacker(t testing.TB, keys envelope.Keys, resolver did.Resolver) *envelope.Packer {
	t.Helper()
	p, err := envelope.New(envelope.Config{Keys: keys, Resolver: resolver})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// known is the peer's side of it.
func known(t testing.TB, own *party, others ...*party) peer.Known {
	t.Helper()
	k := peer.Known{Secrets: secrets(t, own.ring)}
	for _, p := range slices.Concat([]*party{own}, others) {
		k.Documents = append(k.Documents, p.document(t))
	}
	return k
}

func secrets(t testing.TB, ring *keyring.Keyring) []json.RawMessage {
	t.Helper()
	data, err := ring.MarshalSecrets()
	if err != nil {
		t.Fatal(err)
	}
	var jwks []json.RawMessage
	if err := json.Unmarshal(data, &jwks); err != nil {
		t.Fatal(err)
	}
	return jwks
}

func generate(t testing.TB, curve keyring.Curve) *keyring.Key {
	t.Helper()
	key, err := keyring.Generate(curve)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func newKey(t testing.TB, ring *keyring.Keyring, kid string, curve keyring.Curve) *keyring.Key {
	t.Helper()
	key := generate(t, curve)
	hold(t, ring, kid, key)
	return key
}

func hold(t testing.TB, ring *keyring.Keyring, kid string, key *keyring.Key) {
	t.Helper()
	if err := ring.Add(kid, key); err != nil {
		t.Fatal(err)
	}
}
