// Package multikey encodes and decodes public keys as multibase strings with a
// multicodec prefix (Controlled Identifiers v1.0, sections 2.2.2 Multikey and 2.4
// Multibase; the multicodec table). did:key, did:peer and publicKeyMultibase use this
// form. Call [Decode] and [Encode].
//
// The package knows the codes and sizes of the key types. It does not check that the
// bytes are a point of the curve. Package did does.
package multikey

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/multiformats/go-multibase"
)

// Code is a multicodec code of a public key type.
type Code uint64

// The public key types of the multicodec table that DID methods use.
const (
	Secp256k1    Code = 0xe7 // compressed point, 33 bytes
	BLS12381G1   Code = 0xea
	BLS12381G2   Code = 0xeb
	X25519       Code = 0xec // 32 bytes
	Ed25519      Code = 0xed // 32 bytes
	BLS12381G1G2 Code = 0xee
	P256         Code = 0x1200 // compressed point, 33 bytes
	P384         Code = 0x1201 // compressed point, 49 bytes
	P521         Code = 0x1202 // compressed point, 67 bytes
	RSA          Code = 0x1205 // DER of an RSAPublicKey (RFC 8017, appendix A.1.1)
)

// MaxLen is the length of the longest multibase string that is decoded, because
// decoding base58 takes time quadratic in the length. An RSA key of 16384 bits fits.
const MaxLen = 3072

// Size returns the length of a key of type c in bytes, or 0 if the length varies or
// is not known.
func (c Code) Size() int {
	switch c {
	case Ed25519, X25519:
		return 32
	case Secp256k1, P256:
		return 33
	case P384:
		return 49
	case P521:
		return 67
	}
	return 0
}

// String returns the name of c in the multicodec table.
func (c Code) String() string {
	switch c {
	case Secp256k1:
		return "secp256k1-pub"
	case BLS12381G1:
		return "bls12_381-g1-pub"
	case BLS12381G2:
		return "bls12_381-g2-pub"
	case X25519:
		return "x25519-pub"
	case Ed25519:
		return "ed25519-pub"
	case BLS12381G1G2:
		return "bls12_381-g1g2-pub"
	case P256:
		return "p256-pub"
	case P384:
		return "p384-pub"
	case P521:
		return "p521-pub"
	case RSA:
		return "rsa-pub"
	}
	return fmt.Sprintf("multicodec 0x%x", uint64(c))
}

// Encode returns a key as a base58btc multibase string, with the multicodec prefix c.
func Encode(c Code, key []byte) string {
	s, _ := multibase.Encode(multibase.Base58BTC, append(binary.AppendUvarint(nil, uint64(c)), key...)) // base58btc never fails
	return s
}

// Decode returns the multicodec prefix and the key of a multibase string. It returns
// an error if the base is neither base58btc nor base64url (the bases of Multikey), if
// the prefix is not the shortest varint, or if the key's size does not fit its type.
func Decode(s string) (Code, []byte, error) {
	b, err := DecodeMultibase(s)
	if err != nil {
		return 0, nil, err
	}
	code, n := binary.Uvarint(b)
	if n <= 0 {
		return 0, nil, errors.New("multicodec prefix is cut off")
	}
	if n > 1 && b[n-1] == 0 {
		return 0, nil, errors.New("multicodec prefix is not the shortest varint")
	}
	c, key := Code(code), b[n:]
	if want := c.Size(); want != 0 && len(key) != want {
		return 0, nil, fmt.Errorf("%v key has %d bytes, not %d", c, len(key), want)
	}
	return c, key, nil
}

// DecodeMultibase returns the bytes of a base58btc or base64url multibase string.
func DecodeMultibase(s string) ([]byte, error) {
	if len(s) > MaxLen {
		return nil, fmt.Errorf("multibase string of %d characters, more than %d", len(s), MaxLen)
	}
	if s == "" || s[0] != multibase.Base58BTC && s[0] != multibase.Base64url {
		return nil, errors.New("neither base58btc (z) nor base64url (u) multibase")
	}
	_, b, err := multibase.Decode(s)
	if err != nil {
		return nil, fmt.Errorf("multibase: %w", err)
	}
	return b, nil
}
