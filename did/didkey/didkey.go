// Package didkey implements the did:key method (W3C CCG, "The did:key Method v0.9",
// sections 2 and 3). A did:key contains its public key, so it is resolved without
// I/O and never changes.
//
// Call [New] to make the DID of a public key, and [Resolver.Resolve] to get its
// document. The key types are Ed25519, X25519, P-256, P-384, P-521, secp256k1 and
// RSA. A BLS12-381 key is not supported.
//
// The verification methods of a document have the type JsonWebKey2020, which every
// DIDComm v2 peer reads. (Peers with the libraries of 2022 do not read Multikey.) As
// in the test vectors of the method, a key is listed under all five verification
// relationships, with two exceptions:
//   - An Ed25519 key is not listed under keyAgreement. The X25519 key that is derived
//     from it is listed there instead.
//   - An X25519 key is only listed under keyAgreement.
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

// New returns the did:key of a public key, which is an ed25519.PublicKey,
// *ecdh.PublicKey, *ecdsa.PublicKey, did.Secp256k1PublicKey or *rsa.PublicKey. The
// error matches did.ErrUnsupported for any other type or curve, and did.ErrInvalid
// for a key with an impossible value.
func New(pub crypto.PublicKey) (string, error) {
	mb, err := did.FormatMultikey(pub)
	if err != nil {
		return "", fmt.Errorf("did:key: %w", err)
	}
	return prefix + mb, nil
}

// Resolver resolves did:key. It has no state and does no I/O.
type Resolver struct{}

var _ did.Resolver = Resolver{}

// Resolve returns the document of a did:key. The error matches
//   - did.ErrInvalid if the DID or its key is malformed;
//   - did.ErrUnsupported if the key has a type that is not supported;
//   - did.ErrMethod if the DID has another method.
func (Resolver) Resolve(_ context.Context, id string) (*did.Document, error) {
	mb, ok := strings.CutPrefix(id, prefix)
	if !ok {
		return nil, fmt.Errorf("%w: not a did:key", did.ErrMethod)
	}
	// The specification allows only base58btc, whose multibase prefix is "z".
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

// KeyAgreement returns the X25519 key that the document of an Ed25519 did:key lists
// under keyAgreement. It is the same point in Montgomery form (RFC 7748, section 4.1).
// The error matches did.ErrInvalid if pub is not a point of the curve.
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

// KeyAgreementPrivate returns the private key of the X25519 key that [KeyAgreement]
// derives from the public key of priv. It is the scalar that Ed25519 derives from its
// seed (RFC 8032, section 5.1.5). The error matches did.ErrInvalid if priv does not
// have the size of a private key.
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
