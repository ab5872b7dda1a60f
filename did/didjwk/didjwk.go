// Package didjwk implements the did:jwk method (github.com/quartzjer/did-jwk). A
// did:jwk contains its public key as a JSON Web Key (JWK) in base64url, so it is
// resolved without I/O and never changes.
//
// Call [New] to make the DID of a public key, and [Resolver.Resolve] to get its
// document.
//
// A document has one verification method, "#0", of type JsonWebKey2020. Its
// publicKeyJwk is the JWK from the DID, with all members. The member "use" of the JWK
// determines the verification relationships that list the key:
//   - "sig": all except keyAgreement;
//   - "enc": only keyAgreement;
//   - absent or any other value: all five.
package didjwk

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdh"
	"crypto/ed25519"
	"encoding/base64"
	stdjson "encoding/json"
	"fmt"
	"strings"

	"github.com/go-json-experiment/json"

	"github.com/didcomm-go/didcomm/did"
)

const prefix = "did:jwk:"

// maxLen is the length of the longest DID that is resolved, in bytes. An RSA key of
// 16384 bits fits, with space for other members.
const maxLen = 8192

// New returns the did:jwk of a public key, which is an ed25519.PublicKey,
// *ecdh.PublicKey, *ecdsa.PublicKey, did.Secp256k1PublicKey or *rsa.PublicKey. The JWK
// of an X25519 key has the use "enc", that of an Ed25519 key has the use "sig", and
// that of any other key has no use. The error matches did.ErrUnsupported for any other
// type or curve, and did.ErrInvalid for a key with an impossible value.
func New(pub crypto.PublicKey) (string, error) {
	jwk, err := did.FormatJWK(pub)
	if err != nil {
		return "", fmt.Errorf("did:jwk: %w", err)
	}
	var use string
	switch k := pub.(type) {
	case ed25519.PublicKey:
		use = "sig"
	case *ecdh.PublicKey:
		if k.Curve() == ecdh.X25519() {
			use = "enc"
		}
	}
	if use != "" {
		jwk = append(bytes.TrimSuffix(jwk, []byte("}")), `,"use":"`+use+`"}`...)
	}
	return prefix + base64.RawURLEncoding.EncodeToString(jwk), nil
}

// Resolver resolves did:jwk. It has no state and does no I/O.
type Resolver struct{}

var _ did.Resolver = Resolver{}

// Resolve returns the document of a did:jwk. The error matches
//   - did.ErrInvalid if the DID or its key is malformed, or if the key has a private
//     part;
//   - did.ErrUnsupported if the key has a type that is not supported;
//   - did.ErrMethod if the DID has another method.
func (Resolver) Resolve(_ context.Context, id string) (*did.Document, error) {
	encoded, ok := strings.CutPrefix(id, prefix)
	if !ok {
		return nil, fmt.Errorf("%w: not a did:jwk", did.ErrMethod)
	}
	if len(id) > maxLen {
		return nil, fmt.Errorf("%w: did:jwk of %d characters, more than %d", did.ErrInvalid, len(id), maxLen)
	}
	if _, err := did.Parse(id); err != nil {
		return nil, err
	}
	jwk, err := base64.RawURLEncoding.Strict().DecodeString(encoded)
	if err != nil {
		return nil, fmt.Errorf("%w: did:jwk is not base64url", did.ErrInvalid)
	}
	if _, err := did.ParseJWK(jwk); err != nil {
		return nil, fmt.Errorf("did:jwk: %w", err)
	}
	return document(id, jwk)
}

func document(id string, jwk stdjson.RawMessage) (*did.Document, error) {
	var member struct {
		Use string `json:"use"`
	}
	if err := json.Unmarshal(jwk, &member); err != nil {
		return nil, fmt.Errorf("%w: did:jwk: %w", did.ErrInvalid, err)
	}
	kid := id + "#0"
	doc := &did.Document{
		Context: stdjson.RawMessage(`["https://www.w3.org/ns/did/v1","https://w3id.org/security/suites/jws-2020/v1"]`),
		ID:      id,
		VerificationMethod: []did.VerificationMethod{
			{ID: kid, Type: did.TypeJSONWebKey2020, Controller: id, PublicKeyJWK: jwk},
		},
	}
	refs := []did.Relationship{{ID: kid}}
	if member.Use != "enc" {
		doc.Authentication, doc.AssertionMethod = refs, refs
		doc.CapabilityInvocation, doc.CapabilityDelegation = refs, refs
	}
	if member.Use != "sig" {
		doc.KeyAgreement = refs
	}
	if err := doc.Index(); err != nil {
		return nil, err
	}
	return doc, nil
}
