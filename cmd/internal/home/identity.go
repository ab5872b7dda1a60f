package home

import (
	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/identity"
	"github.com/didcomm-go/didcomm/agent/keyring"
	"github.com/didcomm-go/didcomm/cmd/internal/network"
	"github.com/didcomm-go/didcomm/did"
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
	pair, err := identity.Generate(curve)
	if err != nil {
		return Keys{}, err
	}
	a, err := keyring.NewKey(pair.Sign)
	if err != nil {
		return Keys{}, err
	}
	e, err := keyring.NewKey(pair.Agree)
	return Keys{a, e}, err
}

func (k Keys) pair() identity.Pair { return identity.Pair{Sign: k.Authentication, Agree: k.Agreement} }

// Peer is the did:peer:2 of the keys and of endpoints, URLs or mediators' DIDs.
func (k Keys) Peer(endpoints ...string) (*Identity, error) {
	return withKeys(identity.Peer2(k.pair(), endpoints...))
}

// Peer4 is the did:peer:4, in long form, of the keys and of endpoints.
func (k Keys) Peer4(endpoints ...string) (*Identity, error) {
	return withKeys(identity.Peer4(k.pair(), endpoints...))
}

// Web is the did:web id with the keys and endpoints.
func (k Keys) Web(id string, endpoints ...string) (*Identity, error) {
	return withKeys(identity.Web(id, k.pair(), endpoints...))
}

// NewKeyDID makes a did:key of a new key.
func NewKeyDID(curve keyring.Curve) (*Identity, error) { return single(curve, identity.Key) }

// NewJWKDID makes a did:jwk of a new key.
func NewJWKDID(curve keyring.Curve) (*Identity, error) { return single(curve, identity.JWK) }

func single(curve keyring.Curve, name func(identity.Pair) (*identity.Identity, error)) (*Identity, error) {
	key, err := keyring.Generate(curve)
	if err != nil {
		return nil, err
	}
	return withKeys(name(identity.Single(key)))
}

// identify is the identity of a document that lists keys.
func identify(doc *did.Document, keys Keys) (*Identity, error) {
	return withKeys(identity.FromDocument(doc, keys.pair()))
}

// withKeys takes the private keys of an identity, which are software keys here.
func withKeys(id *identity.Identity, err error) (*Identity, error) {
	if err != nil {
		return nil, err
	}
	ring, err := id.Keyring()
	if err != nil {
		return nil, err
	}
	return &Identity{Document: id.Document(), Keys: ring}, nil
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
