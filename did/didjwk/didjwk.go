// Package didjwk is the did:jwk method (github.com/quartzjer/did-jwk): the DID is
// a JSON Web Key in base64url, so nothing is fetched and nothing changes.
//
// Call [New] to make a DID of a public key and [Resolver] to get the document of
// one. The document has one JsonWebKey2020 method, "#0", whose publicKeyJwk is
// the JWK of the DID with every member; its "use" decides where it stands: "sig"
// keeps it out of keyAgreement, "enc" out of everything else.
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

// maxLen is the length of the longest DID that is read; a 16384-bit RSA key with
// room for members beside it.
const maxLen = 8192

// New is the DID of a public key: ed25519.PublicKey, *ecdh.PublicKey,
// *ecdsa.PublicKey, did.Secp256k1PublicKey or *rsa.PublicKey. X25519 keys get the
// use "enc" and Ed25519 keys "sig", which is all they can do. Another type or
// curve is did.ErrUnsupported.
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

// Resolver makes documents of did:jwks. It has no state.
type Resolver struct{}

var _ did.Resolver = Resolver{}

// Resolve gives the document of a did:jwk. What is malformed, and a key with its
// private part, is did.ErrInvalid, a well-formed key of another type
// did.ErrUnsupported, another method did.ErrMethod.
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
