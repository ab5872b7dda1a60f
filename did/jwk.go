package did

import (
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/base64"
	stdjson "encoding/json"
	"fmt"
	"math/big"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/didcomm-go/didcomm/did/internal/multikey"
)

// jwk is the public part of a JSON Web Key (RFC 7517; RFC 7518, section 6; RFC
// 8037; RFC 8812).
type jwk struct {
	Kty string `json:"kty"`
	Crv string `json:"crv,omitzero"`
	N   string `json:"n,omitzero"`
	E   string `json:"e,omitzero"`
	X   string `json:"x,omitzero"`
	Y   string `json:"y,omitzero"`
	// Private members, which a public key must not have.
	D jsontext.Value `json:"d,omitzero"`
	K jsontext.Value `json:"k,omitzero"`
}

// ParseJWK parses a public key from a JSON Web Key (RFC 7517; RFC 7518, section 6;
// RFC 8037; RFC 8812). The key has one of the Go types that [ParseMultikey] returns.
// EC coordinates without leading zeros are accepted, because peers write them. The
// error matches
//   - ErrInvalid if the key is malformed, is not a point of its curve, or has a
//     private part;
//   - ErrUnsupported if the key has another type or curve.
func ParseJWK(data []byte) (crypto.PublicKey, error) {
	var k jwk
	if err := json.Unmarshal(data, &k); err != nil {
		return nil, fmt.Errorf("%w: jwk: %w", ErrInvalid, err)
	}
	if k.D != nil || k.K != nil {
		return nil, fmt.Errorf("%w: jwk has a private part", ErrInvalid)
	}
	switch k.Kty {
	case "OKP":
		return k.okp()
	case "EC":
		return k.ec()
	case "RSA":
		return k.rsa()
	case "":
		return nil, fmt.Errorf("%w: jwk without kty", ErrInvalid)
	}
	return nil, fmt.Errorf("%w: jwk of kty %q", ErrUnsupported, abbreviate(k.Kty))
}

// FormatJWK returns a public key as a JSON Web Key that has only the required
// members, in the order of RFC 7638. Types and errors are those of [FormatMultikey].
func FormatJWK(key crypto.PublicKey) (stdjson.RawMessage, error) {
	k, err := newJWK(key)
	if err != nil {
		return nil, err
	}
	switch k.Kty {
	case "RSA":
		return stdjson.RawMessage(`{"e":"` + k.E + `","kty":"RSA","n":"` + k.N + `"}`), nil
	case "OKP":
		return stdjson.RawMessage(`{"crv":"` + k.Crv + `","kty":"OKP","x":"` + k.X + `"}`), nil
	}
	return stdjson.RawMessage(`{"crv":"` + k.Crv + `","kty":"EC","x":"` + k.X + `","y":"` + k.Y + `"}`), nil
}

func newJWK(key crypto.PublicKey) (jwk, error) {
	b64 := base64.RawURLEncoding.EncodeToString
	ec := func(crv string, point []byte) jwk {
		n := (len(point) - 1) / 2
		return jwk{Kty: "EC", Crv: crv, X: b64(point[1 : 1+n]), Y: b64(point[1+n:])}
	}
	switch k := key.(type) {
	case ed25519.PublicKey:
		if len(k) == ed25519.PublicKeySize {
			return jwk{Kty: "OKP", Crv: "Ed25519", X: b64(k)}, nil
		}
		return jwk{}, fmt.Errorf("%w: ed25519 key has %d bytes", ErrInvalid, len(k))
	case *ecdh.PublicKey:
		if k.Curve() == ecdh.X25519() {
			return jwk{Kty: "OKP", Crv: "X25519", X: b64(k.Bytes())}, nil
		}
		return ec(nistName(len(k.Bytes())), k.Bytes()), nil
	case *ecdsa.PublicKey:
		point, err := pointOf(k)
		if err != nil {
			return jwk{}, err
		}
		return ec(nistName(len(point)), point), nil
	case Secp256k1PublicKey:
		point, err := k.uncompressed()
		if err != nil {
			return jwk{}, err
		}
		return ec("secp256k1", point), nil
	case *rsa.PublicKey:
		return jwk{Kty: "RSA", N: b64(k.N.Bytes()), E: b64(big.NewInt(int64(k.E)).Bytes())}, nil
	}
	return jwk{}, fmt.Errorf("%w: key of type %T", ErrUnsupported, key)
}

func nistName(pointLen int) string {
	switch pointLen {
	case 65:
		return "P-256"
	case 97:
		return "P-384"
	}
	return "P-521"
}

func (k jwk) okp() (crypto.PublicKey, error) {
	var code multikey.Code
	switch k.Crv {
	case "Ed25519":
		code = multikey.Ed25519
	case "X25519":
		code = multikey.X25519
	default:
		return nil, fmt.Errorf("%w: jwk of curve %q", ErrUnsupported, abbreviate(k.Crv))
	}
	x, err := decodeMember("x", k.X)
	if err != nil {
		return nil, err
	}
	return keyOf(code, x)
}

func (k jwk) ec() (crypto.PublicKey, error) {
	var curve elliptic.Curve
	switch k.Crv {
	case "P-256":
		curve = elliptic.P256()
	case "P-384":
		curve = elliptic.P384()
	case "P-521":
		curve = elliptic.P521()
	case "secp256k1":
	default:
		return nil, fmt.Errorf("%w: jwk of curve %q", ErrUnsupported, abbreviate(k.Crv))
	}
	x, err := decodeMember("x", k.X)
	if err != nil {
		return nil, err
	}
	y, err := decodeMember("y", k.Y)
	if err != nil {
		return nil, err
	}
	if curve != nil {
		return newECDSA(curve, x, y)
	}
	if len(x) > 32 || len(y) > 32 {
		return nil, fmt.Errorf("%w: secp256k1 coordinate of more than 32 bytes", ErrInvalid)
	}
	key, err := NewSecp256k1PublicKey(joinPoint(32, x, y))
	if err != nil {
		return nil, err
	}
	return key, nil
}

func (k jwk) rsa() (crypto.PublicKey, error) {
	n, err := decodeMember("n", k.N)
	if err != nil {
		return nil, err
	}
	e, err := decodeMember("e", k.E)
	if err != nil {
		return nil, err
	}
	exp := new(big.Int).SetBytes(e)
	if exp.BitLen() > 31 {
		return nil, fmt.Errorf("%w: rsa exponent of %d bits", ErrInvalid, exp.BitLen())
	}
	return newRSA(new(big.Int).SetBytes(n), int(exp.Int64()))
}

// decodeMember decodes a base64url member. It accepts padding, which RFC 7515
// forbids, because some peers write it.
func decodeMember(name, value string) ([]byte, error) {
	if value == "" {
		return nil, fmt.Errorf("%w: jwk without %s", ErrInvalid, name)
	}
	if len(value) > multikey.MaxLen {
		return nil, fmt.Errorf("%w: jwk member %s of %d characters", ErrInvalid, name, len(value))
	}
	b, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(value, "="))
	if err != nil {
		return nil, fmt.Errorf("%w: jwk member %s is not base64url", ErrInvalid, name)
	}
	return b, nil
}
