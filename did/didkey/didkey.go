// Package didkey is the did:key method (W3C CCG, "The did:key Method v0.9",
// sections 2 and 3): the DID is its key, so nothing is fetched and nothing
// changes.
//
// Call [New] to make a DID of a public key and [Resolver] to get the document of
// one. Keys are Ed25519, X25519, P-256, P-384, P-521, secp256k1 and RSA; a
// BLS12-381 key is did.ErrUnsupported.
//
// Documents are rendered with JsonWebKey2020 methods, the one form that every
// DIDComm v2 peer reads (those built on the libraries of 2022 do not know
// Multikey). As in the method's test vectors, a key stands in all five
// verification relationships, with these exceptions: an Ed25519 key not in
// keyAgreement, where the X25519 key that it maps to takes its place, and an
// X25519 key in keyAgreement alone.
package didkey

import (
	"context"
	"crypto"
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/sha512"
	"encoding/json"
	"fmt"
	"strings"

	"filippo.io/edwards25519"

	"github.com/didcomm-go/didcomm/did"
)

const prefix = "did:key:"

// New is the DID of a public key: ed25519.PublicKey, *ecdh.PublicKey,
// *ecdsa.PublicKey, did.Secp256k1PublicKey or *rsa.PublicKey. Another type or
// curve is did.ErrUnsupported.
func New(pub crypto.PublicKey) (string, error) {
	mb, err := did.FormatMultikey(pub)
	if err != nil {
		return "", fmt.Errorf("did:key: %w", err)
	}
	return prefix + mb, nil
}

// Resolver makes documents of did:keys. It has no state.
type Resolver struct{}

var _ did.Resolver = Resolver{}

// Resolve gives the document of a did:key. What is malformed is did.ErrInvalid, a
// well-formed key of another type did.ErrUnsupported, another method
// did.ErrMethod.
func (Resolver) Resolve(_ context.Context, id string) (*did.Document, error) {
	mb, ok := strings.CutPrefix(id, prefix)
	if !ok {
		return nil, fmt.Errorf("%w: not a did:key", did.ErrMethod)
	}
	// The method names base58btc alone, and "z" is all that it can look like.
	if !strings.HasPrefix(mb, "z") {
		return nil, fmt.Errorf("%w: did:key is not base58btc", did.ErrInvalid)
	}
	key, err := did.ParseMultikey(mb)
	if err != nil {
		return nil, fmt.Errorf("did:key: %w", err)
	}
	return document(id, mb, key)
}

func document(id, mb string, key crypto.PublicKey) (*did.Document, error) {
	doc := &did.Document{
		Context: json.RawMessage(`["https://www.w3.org/ns/did/v1","https://w3id.org/security/suites/jws-2020/v1"]`),
		ID:      id,
	}
	add := func(mb string, key crypto.PublicKey) ([]did.Relationship, error) {
		kid := id + "#" + mb
		m, err := did.NewVerificationMethod(kid, id, did.TypeJSONWebKey2020, key)
		if err != nil {
			return nil, fmt.Errorf("did:key: %w", err)
		}
		doc.VerificationMethod = append(doc.VerificationMethod, m)
		return []did.Relationship{{ID: kid}}, nil
	}
	refs, err := add(mb, key)
	if err != nil {
		return nil, err
	}
	switch k := key.(type) {
	case *ecdh.PublicKey:
		doc.KeyAgreement = refs
	case ed25519.PublicKey:
		x, err := KeyAgreement(k)
		if err != nil {
			return nil, err
		}
		mb, err := did.FormatMultikey(x)
		if err != nil {
			return nil, err
		}
		if doc.KeyAgreement, err = add(mb, x); err != nil {
			return nil, err
		}
	default:
		doc.KeyAgreement = refs
	}
	if _, ok := key.(*ecdh.PublicKey); !ok {
		doc.Authentication, doc.AssertionMethod = refs, refs
		doc.CapabilityInvocation, doc.CapabilityDelegation = refs, refs
	}
	if err := doc.Index(); err != nil {
		return nil, err
	}
	return doc, nil
}

// KeyAgreement is the X25519 key that a did:key of an Ed25519 key lists under
// keyAgreement: the same point in Montgomery form (RFC 7748, section 4.1). A key
// that is not a point is did.ErrInvalid.
func KeyAgreement(pub ed25519.PublicKey) (*ecdh.PublicKey, error) {
	p, err := new(edwards25519.Point).SetBytes(pub)
	if err != nil {
		return nil, fmt.Errorf("%w: ed25519 key is not a point of the curve", did.ErrInvalid)
	}
	x, err := ecdh.X25519().NewPublicKey(p.BytesMontgomery())
	if err != nil {
		return nil, fmt.Errorf("%w: %w", did.ErrInvalid, err)
	}
	return x, nil
}

// KeyAgreementPrivate is the private key of KeyAgreement(priv.Public()): the
// scalar that Ed25519 derives from its seed (RFC 8032, section 5.1.5).
func KeyAgreementPrivate(priv ed25519.PrivateKey) (*ecdh.PrivateKey, error) {
	if len(priv) != ed25519.PrivateKeySize {
		return nil, fmt.Errorf("%w: ed25519 private key has %d bytes", did.ErrInvalid, len(priv))
	}
	h := sha512.Sum512(priv.Seed())
	k, err := ecdh.X25519().NewPrivateKey(h[:32]) // X25519 clamps
	if err != nil {
		return nil, fmt.Errorf("%w: %w", did.ErrInvalid, err)
	}
	return k, nil
}
