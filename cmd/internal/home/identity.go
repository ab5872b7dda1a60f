package home

import (
	"context"
	"crypto"
	"fmt"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/keyring"
	"github.com/didcomm-go/didcomm/cmd/internal/network"
	"github.com/didcomm-go/didcomm/did"
	"github.com/didcomm-go/didcomm/did/didjwk"
	"github.com/didcomm-go/didcomm/did/didkey"
	"github.com/didcomm-go/didcomm/did/didpeer"
)

// Identity is who an agent is: a DID document and the private keys of it.
type Identity struct {
	Document *did.Document
	Keys     *keyring.Keyring
	// former are documents that it went by before, of the same private keys:
	// Keys has them under those names, too.
	former []*did.Document
}

// Keys are the private keys that DIDs are made of: one to prove who we are, one
// to encrypt for us.
type Keys struct {
	Authentication *keyring.Key
	Agreement      *keyring.Key
}

// NewKeys makes keys of a curve; with Ed25519 the agreement key is X25519. A
// curve that does not serve both purposes is keyring.ErrInvalid.
func NewKeys(curve keyring.Curve) (Keys, error) {
	agreement := curve
	switch curve {
	case keyring.Ed25519:
		agreement = keyring.X25519
	case keyring.P256, keyring.P384, keyring.P521:
	default:
		return Keys{}, fmt.Errorf("%w: %s does not both sign and agree on keys", keyring.ErrInvalid, curve)
	}
	a, err := keyring.Generate(curve)
	if err != nil {
		return Keys{}, err
	}
	e, err := keyring.Generate(agreement)
	return Keys{a, e}, err
}

func services(uris []string) []did.Service {
	services := make([]did.Service, len(uris))
	for i, uri := range uris {
		services[i] = did.NewDIDCommService("", uri)
	}
	return services
}

func (k Keys) peerKeys() []didpeer.Key {
	return []didpeer.Key{
		{Purpose: didpeer.Authentication, Public: k.Authentication.Public()},
		{Purpose: didpeer.KeyAgreement, Public: k.Agreement.Public()},
	}
}

// Peer is the did:peer:2 of the keys and of endpoints, URLs or mediators' DIDs.
func (k Keys) Peer(endpoints ...string) (*Identity, error) {
	id, err := didpeer.New2(k.peerKeys(), services(endpoints)...)
	if err != nil {
		return nil, err
	}
	return resolved(didpeer.NewResolver(), id, k.Authentication, k.Agreement)
}

// Peer4 is the did:peer:4, in long form, of the keys and of endpoints.
func (k Keys) Peer4(endpoints ...string) (*Identity, error) {
	doc, err := k.document("did:example:input", did.TypeMultikey, endpoints)
	if err != nil {
		return nil, err
	}
	id, err := didpeer.New4(doc)
	if err != nil {
		return nil, err
	}
	return resolved(didpeer.NewResolver(), id, k.Authentication, k.Agreement)
}

// Web is the did:web id with the keys and endpoints.
func (k Keys) Web(id string, endpoints ...string) (*Identity, error) {
	doc, err := k.document(id, did.TypeJSONWebKey2020, endpoints)
	if err != nil {
		return nil, err
	}
	return identify(doc, k.Authentication, k.Agreement)
}

// document is a document of id with the keys #key-1 and #key-2.
func (k Keys) document(id, keyType string, endpoints []string) (*did.Document, error) {
	doc := &did.Document{ID: id, Context: []byte(`["https://www.w3.org/ns/did/v1","https://w3id.org/security/suites/jws-2020/v1"]`)}
	for i, key := range []*keyring.Key{k.Authentication, k.Agreement} {
		m, err := did.NewVerificationMethod(fmt.Sprintf("%s#key-%d", id, i+1), id, keyType, key.Public())
		if err != nil {
			return nil, err
		}
		doc.VerificationMethod = append(doc.VerificationMethod, m)
	}
	doc.Authentication = []did.Relationship{{ID: id + "#key-1"}}
	doc.AssertionMethod = []did.Relationship{{ID: id + "#key-1"}}
	doc.KeyAgreement = []did.Relationship{{ID: id + "#key-2"}}
	for i, uri := range endpoints {
		fragment := "#service"
		if i > 0 {
			fragment = fmt.Sprintf("#service-%d", i)
		}
		doc.Service = append(doc.Service, did.NewDIDCommService(id+fragment, uri))
	}
	return doc, doc.Index()
}

// NewKeyDID makes a did:key of a new key.
func NewKeyDID(curve keyring.Curve) (*Identity, error) {
	return single(curve, didkey.New, didkey.Resolver{})
}

// NewJWKDID makes a did:jwk of a new key.
func NewJWKDID(curve keyring.Curve) (*Identity, error) {
	return single(curve, didjwk.New, didjwk.Resolver{})
}

func single(curve keyring.Curve, name func(crypto.PublicKey) (string, error), resolver did.Resolver) (*Identity, error) {
	key, err := keyring.Generate(curve)
	if err != nil {
		return nil, err
	}
	id, err := name(key.Public())
	if err != nil {
		return nil, err
	}
	keys := []*keyring.Key{key}
	if curve == keyring.Ed25519 { // a did:key lists its X25519 form as well
		derived, err := key.X25519()
		if err != nil {
			return nil, err
		}
		keys = append(keys, derived)
	}
	return resolved(resolver, id, keys...)
}

// resolved is the identity of a DID whose document follows from it.
func resolved(r did.Resolver, id string, keys ...*keyring.Key) (*Identity, error) {
	doc, err := r.Resolve(context.Background(), id)
	if err != nil {
		return nil, err
	}
	return identify(doc, keys...)
}

// identify puts each key under the ids by which doc lists it.
func identify(doc *did.Document, keys ...*keyring.Key) (*Identity, error) {
	ring := keyring.New()
	for i := range doc.VerificationMethod {
		m := &doc.VerificationMethod[i]
		public, err := m.PublicKey()
		if err != nil {
			return nil, err
		}
		for _, key := range keys {
			if p, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool }); ok && p.Equal(public) {
				if err := ring.Add(m.ID, key); err != nil {
					return nil, err
				}
			}
		}
	}
	if len(ring.KIDs()) == 0 {
		return nil, fmt.Errorf("%s lists none of its keys", doc.ID)
	}
	return &Identity{Document: doc, Keys: ring}, nil
}

// packer packs and opens as an identity, messages of maxBytes bytes at most.
func (id *Identity) packer(reach network.Reach, maxBytes int64) (*envelope.Packer, error) {
	resolver, err := reach.Resolver(id.docs())
	if err != nil {
		return nil, err
	}
	return envelope.New(envelope.Config{Keys: id.Keys, Resolver: resolver, MaxBytes: int(maxBytes)})
}

// Agent makes an agent of an identity and of cfg, but for who it is. It opens
// messages of maxBytes bytes at most, and resolves DIDs within reach.
func (id *Identity) Agent(reach network.Reach, maxBytes int64, cfg agent.Config) (*agent.Agent, error) {
	packer, err := id.packer(reach, maxBytes)
	if err != nil {
		return nil, err
	}
	cfg.DID, cfg.Packer = id.Document.ID, packer
	return agent.New(cfg)
}
