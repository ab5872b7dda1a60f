package craft

import (
	"context"
	"crypto"
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/didcomm-go/didcomm/agent/keyring"
	"github.com/didcomm-go/didcomm/did"
)

// AgreeKey is a key for key agreement.
type AgreeKey struct {
	KID string
	Key ecdh.KeyExchanger
}

// RecipientKey returns a public key for JWE.To.
func RecipientKey(kid string, key *ecdh.PublicKey) AgreeKey {
	return AgreeKey{kid, publicKey{key}}
}

// publicKey stands for a key whose private part the sender does not have.
type publicKey struct{ key *ecdh.PublicKey }

func (k publicKey) PublicKey() *ecdh.PublicKey { return k.key }

func (k publicKey) Curve() ecdh.Curve { return k.key.Curve() }

func (publicKey) ECDH(*ecdh.PublicKey) ([]byte, error) { return nil, errors.New("no private key") }

// SignKey is a key that signs.
type SignKey struct {
	KID string
	Alg string
	Key crypto.Signer
}

// Party has a DID of a method without resolver, two keys for key agreement on one curve, and
// one key for each signature algorithm.
type Party struct {
	DID      string
	Document *did.Document
	Keys     *keyring.Keyring
	Agree    [2]AgreeKey        // in the order of their kids
	Sign     map[string]SignKey // EdDSA, ES256, ES256K
}

// NewParty makes a party with fresh keys.
func NewParty(id string, curve keyring.Curve) *Party {
	p := &Party{DID: id, Document: &did.Document{ID: id}, Keys: keyring.New(), Sign: map[string]SignKey{}}
	for i := range p.Agree {
		p.Agree[i] = p.addAgree("agree-"+strconv.Itoa(i+1), curve)
	}
	signing := map[string]keyring.Curve{"EdDSA": keyring.Ed25519, "ES256": keyring.P256, "ES256K": keyring.Secp256k1}
	for _, alg := range slices.Sorted(maps.Keys(signing)) {
		p.addSign(alg, signing[alg])
	}
	return p
}

func (p *Party) addAgree(name string, curve keyring.Curve) AgreeKey {
	kid := p.method(name, curve)
	p.Document.KeyAgreement = append(p.Document.KeyAgreement, did.Relationship{ID: kid})
	p.index()
	return AgreeKey{kid, must(p.Keys.KeyAgreement(context.Background(), kid))}
}

func (p *Party) addSign(alg string, curve keyring.Curve) {
	kid := p.method("sign-"+strings.ToLower(alg), curve)
	p.Document.Authentication = append(p.Document.Authentication, did.Relationship{ID: kid})
	p.index()
	p.Sign[alg] = SignKey{kid, alg, must(p.Keys.Signer(context.Background(), kid))}
}

func (p *Party) method(name string, curve keyring.Curve) string {
	kid := p.DID + "#" + name
	key := must(keyring.Generate(curve))
	check(p.Keys.Add(kid, key))
	m := must(did.NewVerificationMethod(kid, p.DID, did.TypeJSONWebKey2020, key.Public()))
	p.Document.VerificationMethod = append(p.Document.VerificationMethod, m)
	return kid
}

// raw is a public Ed25519 key's bytes.
func (p *Party) raw(kid string) []byte {
	for _, m := range p.Document.AuthenticationKeys() {
		if m.ID == kid {
			return must(m.PublicKey()).(ed25519.PublicKey)
		}
	}
	panic("no key " + kid)
}

func (p *Party) index() { check(p.Document.Index()) }

// World has three parties. Alice sends to Bob, and both know Eve.
type World struct {
	Alice, Bob, Eve *Party

	content func() string
}

// NewWorld makes three parties with keys for key agreement on that curve, X25519
// if it is "".
func NewWorld(curve keyring.Curve) *World {
	return newWorld(curve, func(string) string { return strings.ToLower(rand.Text()) }, rand.Text)
}

// NewRecordedWorld is like NewWorld, but nothing is random except for the keys and their
// results.
func NewRecordedWorld(curve keyring.Curve) *World {
	return newWorld(curve, func(name string) string { return strings.ToLower(string(curve)) + "-" + name },
		func() string { return "the same each time" })
}

func newWorld(curve keyring.Curve, id func(name string) string, content func() string) *World {
	if curve == "" {
		curve = keyring.X25519
	}
	party := func(name string) *Party { return NewParty("did:example:"+id(name), curve) }
	return &World{Alice: party("alice"), Bob: party("bob"), Eve: party("eve"), content: content}
}

// Resolve returns the documents of the World, as a did.Resolver does.
func (w *World) Resolve(_ context.Context, id string) (*did.Document, error) {
	for _, p := range []*Party{w.Alice, w.Bob, w.Eve} {
		if p.DID == id {
			return p.Document, nil
		}
	}
	return nil, did.ErrNotFound
}

// Message returns a sound message from Alice to Bob.
func (w *World) Message() Object {
	return Object{
		"id": w.content(), "typ": "application/didcomm-plain+json", "type": "https://example.org/interop/1.0/test",
		"from": w.Alice.DID, "to": []string{w.Bob.DID}, "created_time": 1516269022, "body": Object{"text": w.content()},
	}
}
