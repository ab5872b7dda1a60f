package identity

import (
	"context"
	"crypto"
	"crypto/ecdh"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/didcomm-go/didcomm/agent/keyring"
	"github.com/didcomm-go/didcomm/did"
	"github.com/didcomm-go/didcomm/did/didjwk"
	"github.com/didcomm-go/didcomm/did/didkey"
	"github.com/didcomm-go/didcomm/did/didpeer"
	"github.com/didcomm-go/didcomm/did/didweb"
)

// Peer2 makes a did:peer:2 of two keys and of endpoints. Senders try the endpoints in the order
// given. An endpoint is a URL, the DID of a mediator, or did.QueueURI. An agent without an
// endpoint gets messages only on connections that it has opened (return_route).
//
// #key-1 is the key for signatures, and #key-2 the key for encryption. If the latter is the image
// of the former (see Pair.Image), the order is the other way round, as in the routing DIDs of
// Credo.
//
// Errors: ErrHandle if the Pair lacks a key, or has a key that does not fit; ErrEndpoint;
// did.ErrInvalid if the DID would be too long.
func Peer2(p Pair, endpoints ...string) (*Identity, error) {
	sign, agree, err := p.both()
	if err != nil {
		return nil, err
	}
	services, err := services("", endpoints)
	if err != nil {
		return nil, err
	}
	keys := []didpeer.Key{
		{Purpose: didpeer.Authentication, Public: sign},
		{Purpose: didpeer.KeyAgreement, Public: agree},
	}
	if isImage(sign, agree) {
		slices.Reverse(keys)
	}
	id, err := didpeer.New2(keys, services...)
	if err != nil {
		return nil, err
	}
	return resolved(didpeer.NewResolver(), id, p)
}

// Peer4 makes a did:peer:4 in long form, of two keys and of endpoints. Endpoints and errors
// are those of Peer2.
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

// Web makes the document of a did:web, of two keys and of endpoints. Endpoints are those of
// Peer2. didweb.New makes a did:web of a domain name. Publish the document with
// didweb.Handler.
//
// Errors: ErrHandle if the Pair lacks a key, or has a key that does not fit; ErrEndpoint;
// did.ErrInvalid if id is not a did:web.
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

// Key makes a did:key of the public key of Pair.Sign. If Sign is nil, Key uses the public key of
// Pair.Agree. A did:key has no endpoint. Pair.Agree must fit the document, which depends on
// the type of the key:
//
//   - P-256, P-384, P-521: the document lists the key for encryption too. Agree is the same
//     key.
//   - Ed25519: the document also lists the X25519 key that is derived from the key, for
//     encryption. Agree is that X25519 key.
//   - secp256k1: the document lists no key for encryption that can be used. Agree is nil.
//   - X25519: the document lists no key for signatures. Sign is nil.
//
// If Sign is in software and Agree is nil, Key derives Agree from Sign. Keys in software are a
// *keyring.Key and the private keys of the standard library. The error matches ErrHandle if
// the Pair does not fit.
func Key(p Pair) (*Identity, error) {
	return single(p, didkey.Resolver{}, didkey.New)
}

// JWK makes a did:jwk of one key, as Key makes a did:key. The exception is an Ed25519 key: the
// document of the did:jwk lists no key for encryption, and Agree is nil. Nobody can encrypt for
// such a DID. The error matches ErrHandle if the Pair does not fit.
func JWK(p Pair) (*Identity, error) {
	return single(p, didjwk.Resolver{}, didjwk.New)
}

// single makes a DID of one public key.
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

// first returns the public key for a DID of one key.
func (p Pair) first() (crypto.PublicKey, error) {
	if p.Sign == nil && p.Agree != nil {
		return p.agreement()
	}
	return p.signing()
}

// complete sets Agree if it is nil, doc lists a key for encryption, and Sign is in software.
// Agree is then Sign itself, or the X25519 key that is derived from Sign.
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

// resolved makes the identity of a DID whose document follows from the DID.
func resolved(r did.Resolver, id string, p Pair) (*Identity, error) {
	doc, err := r.Resolve(context.Background(), id)
	if err != nil {
		return nil, err
	}
	return FromDocument(doc, p)
}

// document makes a document with #key-1 for signatures and #key-2 for encryption.
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

// services makes one service for each endpoint. If id is empty, the services have no ids.
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

// checkEndpoint refuses an endpoint that no agent could send to.
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
