package did

import (
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/asn1"
	"fmt"
	"math/big"

	"filippo.io/edwards25519"
	"github.com/decred/dcrd/dcrec/secp256k1/v4"

	"github.com/didcomm-go/didcomm/did/internal/multikey"
)

// Secp256k1PublicKey is a public key on the curve secp256k1, as a compressed point
// (SEC 1, section 2.3.3). Use [NewSecp256k1PublicKey], which checks the point.
type Secp256k1PublicKey [33]byte

// NewSecp256k1PublicKey returns the key of a SEC 1 point, which is compressed (33
// bytes) or uncompressed (65 bytes). The error matches ErrInvalid if the bytes are
// not a point of the curve.
func NewSecp256k1PublicKey(sec1 []byte) (Secp256k1PublicKey, error) {
	// SEC 1 version 2 has no hybrid form (first byte 6 or 7).
	if len(sec1) == 65 && sec1[0] != 4 {
		return Secp256k1PublicKey{}, fmt.Errorf("%w: secp256k1 point in hybrid form", ErrInvalid)
	}
	p, err := secp256k1.ParsePubKey(sec1)
	if err != nil {
		return Secp256k1PublicKey{}, fmt.Errorf("%w: secp256k1 point: %w", ErrInvalid, err)
	}
	return Secp256k1PublicKey(p.SerializeCompressed()), nil
}

// Equal reports whether x is a Secp256k1PublicKey with the same value.
func (k Secp256k1PublicKey) Equal(x crypto.PublicKey) bool {
	o, ok := x.(Secp256k1PublicKey)
	return ok && o == k
}

// uncompressed returns the uncompressed point of 65 bytes.
func (k Secp256k1PublicKey) uncompressed() ([]byte, error) {
	p, err := secp256k1.ParsePubKey(k[:])
	if err != nil {
		return nil, fmt.Errorf("%w: secp256k1 point: %w", ErrInvalid, err)
	}
	return p.SerializeUncompressed(), nil
}

// ParseMultikey parses a public key from a multibase string (base58btc or base64url)
// with a multicodec prefix, the form of did:key and publicKeyMultibase (Controlled
// Identifiers v1.0, section 2.2.2). The key has one of these types: ed25519.PublicKey,
// *ecdsa.PublicKey (P-256, P-384, P-521), *ecdh.PublicKey (X25519),
// Secp256k1PublicKey or *rsa.PublicKey. The error matches
//   - ErrInvalid if the key is malformed or is not a point of its curve;
//   - ErrUnsupported if the key has another type, for example BLS12-381.
func ParseMultikey(s string) (crypto.PublicKey, error) {
	code, raw, err := multikey.Decode(s)
	if err != nil {
		return nil, fmt.Errorf("%w: multikey: %w", ErrInvalid, err)
	}
	return keyOf(code, raw)
}

// FormatMultikey returns a public key as a base58btc multibase string with a
// multicodec prefix. The key has a type that [ParseMultikey] returns, or is an
// *ecdh.PublicKey of a NIST curve. The error matches ErrUnsupported for any other
// type, and ErrInvalid for a key with an impossible value.
func FormatMultikey(key crypto.PublicKey) (string, error) {
	code, raw, err := rawOf(key)
	if err != nil {
		return "", err
	}
	return multikey.Encode(code, raw), nil
}

// keyOf parses the bytes that follow a multicodec prefix. This function and its
// helpers return the interface type, so that the key is nil, and not a nil pointer,
// if there is an error.
func keyOf(code multikey.Code, raw []byte) (crypto.PublicKey, error) {
	if want := code.Size(); want != 0 && len(raw) != want {
		return nil, fmt.Errorf("%w: %v key has %d bytes, not %d", ErrInvalid, code, len(raw), want)
	}
	switch code {
	case multikey.Ed25519:
		if _, err := new(edwards25519.Point).SetBytes(raw); err != nil {
			return nil, fmt.Errorf("%w: ed25519 key is not a point of the curve", ErrInvalid)
		}
		return ed25519.PublicKey(raw), nil
	case multikey.X25519:
		return x25519Of(raw)
	case multikey.Secp256k1:
		k, err := NewSecp256k1PublicKey(raw)
		if err != nil {
			return nil, err
		}
		return k, nil
	case multikey.P256:
		return decompress(elliptic.P256(), raw)
	case multikey.P384:
		return decompress(elliptic.P384(), raw)
	case multikey.P521:
		return decompress(elliptic.P521(), raw)
	case multikey.RSA:
		return rsaOfDER(raw)
	}
	return nil, fmt.Errorf("%w: key type %v", ErrUnsupported, code)
}

// rawOf returns the multicodec code of a key, and the bytes that follow the code.
func rawOf(key crypto.PublicKey) (multikey.Code, []byte, error) {
	switch k := key.(type) {
	case ed25519.PublicKey:
		if len(k) != ed25519.PublicKeySize {
			return 0, nil, fmt.Errorf("%w: ed25519 key has %d bytes", ErrInvalid, len(k))
		}
		return multikey.Ed25519, k, nil
	case Secp256k1PublicKey:
		if _, err := k.uncompressed(); err != nil {
			return 0, nil, err
		}
		return multikey.Secp256k1, k[:], nil
	case *ecdh.PublicKey:
		if k.Curve() == ecdh.X25519() {
			return multikey.X25519, k.Bytes(), nil
		}
		if code, ok := codeOfPoint(k.Bytes()); ok {
			return code, compress(k.Bytes()), nil
		}
	case *ecdsa.PublicKey:
		point, err := pointOf(k)
		if err != nil {
			return 0, nil, err
		}
		if code, ok := codeOfPoint(point); ok {
			return code, compress(point), nil
		}
	case *rsa.PublicKey:
		der, err := asn1.Marshal(rsaPublicKey{k.N, k.E})
		if err != nil {
			return 0, nil, fmt.Errorf("%w: rsa key: %w", ErrInvalid, err)
		}
		return multikey.RSA, der, nil
	}
	return 0, nil, fmt.Errorf("%w: key of type %T", ErrUnsupported, key)
}

func x25519Of(raw []byte) (crypto.PublicKey, error) {
	k, err := ecdh.X25519().NewPublicKey(raw)
	if err != nil {
		return nil, fmt.Errorf("%w: x25519 key: %w", ErrInvalid, err)
	}
	return k, nil
}

// pointOf returns the uncompressed point of a key on a NIST curve.
func pointOf(k *ecdsa.PublicKey) ([]byte, error) {
	switch k.Curve {
	case elliptic.P256(), elliptic.P384(), elliptic.P521():
	default:
		return nil, fmt.Errorf("%w: curve of an ecdsa key", ErrUnsupported)
	}
	b, err := k.Bytes()
	if err != nil {
		return nil, fmt.Errorf("%w: ecdsa key: %w", ErrInvalid, err)
	}
	return b, nil
}

// codeOfPoint determines the NIST curve from the size of an uncompressed point.
func codeOfPoint(point []byte) (multikey.Code, bool) {
	switch len(point) {
	case 65:
		return multikey.P256, true
	case 97:
		return multikey.P384, true
	case 133:
		return multikey.P521, true
	}
	return 0, false
}

func compress(point []byte) []byte {
	n := (len(point) - 1) / 2
	return append([]byte{2 | point[2*n]&1}, point[1:1+n]...)
}

func decompress(curve elliptic.Curve, raw []byte) (crypto.PublicKey, error) {
	x, y := elliptic.UnmarshalCompressed(curve, raw)
	if x == nil {
		return nil, fmt.Errorf("%w: not a compressed point of %s", ErrInvalid, curve.Params().Name)
	}
	return newECDSA(curve, x.Bytes(), y.Bytes())
}

// newECDSA returns the key with the given coordinates, and checks that they are a
// point of the curve.
func newECDSA(curve elliptic.Curve, x, y []byte) (crypto.PublicKey, error) {
	n := (curve.Params().BitSize + 7) / 8
	if len(x) > n || len(y) > n {
		return nil, fmt.Errorf("%w: %s coordinate of more than %d bytes", ErrInvalid, curve.Params().Name, n)
	}
	k, err := ecdsa.ParseUncompressedPublicKey(curve, joinPoint(n, x, y))
	if err != nil {
		return nil, fmt.Errorf("%w: not a point of %s", ErrInvalid, curve.Params().Name)
	}
	return k, nil
}

// joinPoint returns the uncompressed point of two coordinates, which have at most n
// bytes each.
func joinPoint(n int, x, y []byte) []byte {
	point := make([]byte, 1+2*n)
	point[0] = 4
	copy(point[1+n-len(x):], x)
	copy(point[1+2*n-len(y):], y)
	return point
}

// rsaPublicKey is RSAPublicKey of RFC 8017, appendix A.1.1.
type rsaPublicKey struct {
	N *big.Int
	E int
}

func rsaOfDER(der []byte) (crypto.PublicKey, error) {
	var k rsaPublicKey
	if rest, err := asn1.Unmarshal(der, &k); err != nil {
		return nil, fmt.Errorf("%w: rsa key: %w", ErrInvalid, err)
	} else if len(rest) > 0 {
		return nil, fmt.Errorf("%w: rsa key: trailing bytes", ErrInvalid)
	}
	return newRSA(k.N, k.E)
}

// maxRSABits bounds the cost of verifying a signature with a peer's key.
const maxRSABits = 16384

func newRSA(n *big.Int, e int) (crypto.PublicKey, error) {
	if n.Sign() <= 0 || n.BitLen() > maxRSABits || n.Bit(0) == 0 || e < 3 || e&1 == 0 {
		return nil, fmt.Errorf("%w: rsa key: modulus or exponent out of range", ErrInvalid)
	}
	return &rsa.PublicKey{N: n, E: e}, nil
}
