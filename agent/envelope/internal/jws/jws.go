// Package jws writes and reads the JSON Web Signature that DIDComm v2.1
// (Message Signing) uses, and the compact form that from_prior (DID Rotation)
// needs.
//
// Sign writes General JSON serialization with an unprotected kid, as in Appendix C.2 of the
// specification. Parse reads General, Flattened and Compact serialization, with the kid in
// either header. Verify checks a signature; the caller checks that the key may sign.
//
// EdDSA, ES256, ES384 and ES512 come from jwx. ES256K uses decred's secp256k1, since jwx has
// it only with a build tag.
package jws

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/decred/dcrd/dcrec/secp256k1/v4"
	secpecdsa "github.com/decred/dcrd/dcrec/secp256k1/v4/ecdsa"
	"github.com/lestrrat-go/jwx/v2/jwa"
	jwxjws "github.com/lestrrat-go/jwx/v2/jws"

	"github.com/didcomm-go/didcomm/agent/envelope/internal/jose"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/did"
)

// Type is the typ header that Sign writes.
const Type = "application/didcomm-signed+json"

// Errors that only a JWS can have, beside those of package jose; package
// envelope exports and explains them.
var (
	ErrTooManySignatures = errors.New("too many signatures")
	ErrSignature         = errors.New("signature does not verify")
)

// DevHighS is the code of a secp256k1 signature with a high S, the larger of the two valid
// values.
const DevHighS message.DeviationCode = "es256k-high-s"

// Algorithm returns the JWS algorithm for a public key: EdDSA, ES256, ES384,
// ES512 or ES256K.
func Algorithm(pub crypto.PublicKey) (string, error) {
	switch k := pub.(type) {
	case ed25519.PublicKey:
		return "EdDSA", nil
	case did.Secp256k1PublicKey:
		return "ES256K", nil
	case *ecdsa.PublicKey:
		switch k.Curve {
		case elliptic.P256():
			return "ES256", nil
		case elliptic.P384():
			return "ES384", nil
		case elliptic.P521():
			return "ES512", nil
		}
	}
	return "", fmt.Errorf("%w: no signature algorithm for a key of type %T", jose.ErrUnsupportedAlg, pub)
}

// sign makes the raw JWS signature of input.
func sign(key crypto.Signer, alg string, input []byte) ([]byte, error) {
	if alg != "ES256K" {
		s, err := jwxjws.NewSigner(jwa.SignatureAlgorithm(alg))
		if err != nil {
			return nil, err
		}
		return s.Sign(input, opaque{key})
	}
	digest := sha256.Sum256(input)
	der, err := key.Sign(rand.Reader, digest[:], crypto.SHA256)
	if err != nil {
		return nil, err
	}
	sig, err := secpecdsa.ParseDERSignature(der)
	if err != nil {
		return nil, fmt.Errorf("signer returned no ASN.1 signature: %w", err)
	}
	r, s := sig.R(), sig.S()
	if s.IsOverHalfOrder() {
		s.Negate()
	}
	rb, sb := r.Bytes(), s.Bytes()
	return append(rb[:], sb[:]...), nil
}

// opaque hides all methods except those of crypto.Signer, so that jwx treats a software key
// like a handle of a hardware key.
type opaque struct{ crypto.Signer }

// verify checks the raw JWS signature of input.
func verify(pub crypto.PublicKey, alg string, input, sig []byte) error {
	want, err := Algorithm(pub)
	if err != nil {
		return err
	}
	// Ed25519 is the fully specified name of EdDSA with this curve (RFC 9864).
	if alg != want && !(alg == "Ed25519" && want == "EdDSA") {
		return fmt.Errorf("%w: alg %.200q with a key for %s", jose.ErrUnsupportedAlg, alg, want)
	}
	if want != "ES256K" {
		v, err := jwxjws.NewVerifier(jwa.SignatureAlgorithm(want))
		if err != nil {
			return err
		}
		if v.Verify(input, sig, pub) != nil {
			return ErrSignature
		}
		return nil
	}
	key := pub.(did.Secp256k1PublicKey)
	point, err := secp256k1.ParsePubKey(key[:])
	if err != nil {
		return fmt.Errorf("secp256k1 key: %w", err)
	}
	var r, s secp256k1.ModNScalar
	if len(sig) != 64 || r.SetByteSlice(sig[:32]) || s.SetByteSlice(sig[32:]) || r.IsZero() || s.IsZero() {
		return ErrSignature
	}
	digest := sha256.Sum256(input)
	if !secpecdsa.NewSignature(&r, &s).Verify(digest[:], point) {
		return ErrSignature
	}
	return nil
}

// isHighS reports whether a raw secp256k1 signature has a high S.
func isHighS(sig []byte) bool {
	var s secp256k1.ModNScalar
	return len(sig) == 64 && !s.SetByteSlice(sig[32:]) && s.IsOverHalfOrder()
}

func signingInput(protected, payload []byte) []byte {
	return bytes.Join([][]byte{protected, payload}, []byte{'.'})
}
