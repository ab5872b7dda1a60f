package identity

import (
	"context"
	"crypto"
	"crypto/ecdh"
	"fmt"
	"net/url"
	"strings"

	"github.com/didcomm-go/didcomm/agent/keyring"
	"github.com/didcomm-go/didcomm/did"
	"github.com/didcomm-go/didcomm/did/didjwk"
	"github.com/didcomm-go/didcomm/did/didkey"
	"github.com/didcomm-go/didcomm/did/didpeer"
	"github.com/didcomm-go/didcomm/did/didweb"
)

// Peer2 makes the did:peer:2 of a Pair that has both handles, and of endpoints in the
// order in which senders shall try them. An endpoint is a URL, the DID of a mediator, or
// did.QueueURI. Without an endpoint, others reach the agent only by what it sends to them
// (return_route).
//
// Errors: ErrHandle, ErrEndpoint, and did.ErrInvalid for a DID that gets too long.
func Peer2(p Pair, endpoints ...string) (*Identity, error) {
	sign, agree, err := p.both()
	if err != nil {
		return nil, err
	}
	services, err := services("", endpoints)
	if err != nil {
		return nil, err
	}
	id, err := didpeer.New2([]didpeer.Key{
		{Purpose: didpeer.Authentication, Public: sign},
		{Purpose: didpeer.KeyAgreement, Public: agree},
	}, services...)
	if err != nil {
		return nil, err
	}
	return resolved(didpeer.NewResolver(), id, p)
}

// Peer4 makes the did:peer:4, in long form, of a Pair that has both handles, and of
// endpoints as of Peer2. Errors are those of Peer2.
func Peer4(p Pair, endpoints ...string) (*Identity, error) {
	doc, err := document("did:example:input", did.TypeMultikey, p, endpoints)
	if err != nil {
		return nil, err
	}
	id, err := didpeer.New4(doc)
	if err != nil {
		return nil, err
	}
	return resolved(didpeer.NewResolver(), id, p)
}

// Web makes the document of a did:web, of a Pair that has both handles and of endpoints as
// of Peer2. The document has to be published (see didweb.Handler); didweb.New makes the
// DID of a domain.
//
// Errors: ErrHandle, ErrEndpoint, and did.ErrInvalid for an id that is not a did:web.
func Web(id string, p Pair, endpoints ...string) (*Identity, error) {
	if _, err := didweb.PathOf(id); err != nil {
		return nil, err
	}
	doc, err := document(id, did.TypeJSONWebKey2020, p, endpoints)
	if err != nil {
		return nil, err
	}
	return FromDocument(doc, p)
}

// Key makes the did:key of one key, which has no endpoint: that of Pair.Sign, or of
// Pair.Agree if there is no Sign. What the document lists besides depends on the curve:
//
//   - A P-256, P-384 or P-521 key agrees on keys too. Agree is a handle of the same key.
//   - An Ed25519 key brings the X25519 key that is derived from it. Agree is a handle of
//     the X25519 key.
//   - A secp256k1 key signs and an X25519 key agrees on keys, and nothing else.
//
// Agree may be missing if Sign is a software key, a *keyring.Key or a private key of the
// standard library: Key makes it then. The error matches ErrHandle.
func Key(p Pair) (*Identity, error) {
	return single(p, didkey.Resolver{}, didkey.New)
}

// JWK makes the did:jwk of one key, which has no endpoint, as Key makes a did:key. An
// Ed25519 key only signs: with such a DID nobody can encrypt for us. The error matches
// ErrHandle.
func JWK(p Pair) (*Identity, error) {
	return single(p, didjwk.Resolver{}, didjwk.New)
}

// single makes a DID of one public key, and of the private keys that it needs.
func single(p Pair, r did.Resolver, name func(crypto.PublicKey) (string, error)) (*Identity, error) {
	public, err := p.first()
	if err != nil {
		return nil, err
	}
	id, err := name(public)
	if err != nil {
		return nil, err
	}
	doc, err := r.Resolve(context.Background(), id)
	if err != nil {
		return nil, err
	}
	if p, err = p.complete(doc); err != nil {
		return nil, err
	}
	return FromDocument(doc, p)
}

// first is the public key that a DID of one key is made of.
func (p Pair) first() (crypto.PublicKey, error) {
	if p.Sign == nil && p.Agree != nil {
		return p.agreement()
	}
	return p.signing()
}

// complete gives the Pair a handle of the key agreement key of doc, if there is one and
// the Pair has none: Sign itself, or the X25519 key that is derived from Sign.
func (p Pair) complete(doc *did.Document) (Pair, error) {
	var listed *ecdh.PublicKey
	for _, m := range doc.KeyAgreementKeys() {
		if key, err := m.ECDH(); err == nil {
			listed = key
		}
	}
	if listed == nil {
		if p.Agree != nil {
			return Pair{}, fmt.Errorf("%w: %.200s lists no key for key agreement, and Pair.Agree is given", ErrHandle, doc.ID)
		}
		return p, nil
	}
	if p.Agree != nil {
		if given, err := p.agreement(); err != nil {
			return Pair{}, err
		} else if given.Equal(listed) {
			return p, nil
		}
	} else if key, err := keyring.NewKey(p.Sign); err == nil {
		p.Agree, p.AgreeName = key, p.SignName
		if key.Type() == keyring.Ed25519 {
			p.AgreeName = ""
			p.Agree, err = key.X25519()
		}
		return p, err
	}
	which := "its key"
	if listed.Curve() == ecdh.X25519() {
		which = "the X25519 key that is derived from its Ed25519 key"
	}
	return Pair{}, fmt.Errorf("%w: %.200s lists %s for key agreement too: Pair.Agree must be a handle of that key, or be missing and Pair.Sign a software key", ErrHandle, doc.ID, which)
}

// resolved is the identity of a DID whose document follows from it.
func resolved(r did.Resolver, id string, p Pair) (*Identity, error) {
	doc, err := r.Resolve(context.Background(), id)
	if err != nil {
		return nil, err
	}
	return FromDocument(doc, p)
}

// document is a document of id with the keys #key-1, which signs, and #key-2.
func document(id, keyType string, p Pair, endpoints []string) (*did.Document, error) {
	sign, agree, err := p.both()
	if err != nil {
		return nil, err
	}
	doc := &did.Document{ID: id, Context: []byte(`["https://www.w3.org/ns/did/v1","https://w3id.org/security/suites/jws-2020/v1"]`)}
	if keyType == did.TypeMultikey {
		doc.Context = []byte(`["https://www.w3.org/ns/did/v1","https://w3id.org/security/multikey/v1"]`)
	}
	for i, public := range []crypto.PublicKey{sign, agree} {
		m, err := did.NewVerificationMethod(fmt.Sprintf("%s#key-%d", id, i+1), id, keyType, public)
		if err != nil {
			return nil, err
		}
		doc.VerificationMethod = append(doc.VerificationMethod, m)
	}
	doc.Authentication = []did.Relationship{{ID: id + "#key-1"}}
	doc.AssertionMethod = []did.Relationship{{ID: id + "#key-1"}}
	doc.KeyAgreement = []did.Relationship{{ID: id + "#key-2"}}
	if doc.Service, err = services(id, endpoints); err != nil {
		return nil, err
	}
	return doc, doc.Index()
}

// services are one for each endpoint; without an id they have no ids.
func services(id string, endpoints []string) ([]did.Service, error) {
	services := make([]did.Service, len(endpoints))
	for i, uri := range endpoints {
		if err := checkEndpoint(uri); err != nil {
			return nil, err
		}
		var fragment string
		switch {
		case id == "":
		case i == 0:
			fragment = "#service"
		default:
			fragment = fmt.Sprintf("#service-%d", i)
		}
		services[i] = did.NewDIDCommService(id+fragment, uri)
	}
	return services, nil
}

// checkEndpoint finds what no agent could send to.
func checkEndpoint(s string) error {
	if strings.HasPrefix(s, "did:") {
		if _, err := did.Parse(s); err != nil {
			return fmt.Errorf("%w: %w", ErrEndpoint, err)
		}
		return nil
	}
	u, err := url.Parse(s)
	if err != nil || u.Scheme == "" || u.Opaque == "" && u.Host == "" || strings.ContainsAny(s, " \t\r\n") {
		return fmt.Errorf("%w: %.200q is neither a URL nor a DID", ErrEndpoint, s)
	}
	return nil
}

func isPeer4(id string) bool { return strings.HasPrefix(id, "did:peer:4") }
