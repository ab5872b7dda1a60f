package keyring

import (
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha512"
	"fmt"
	"io"
	"log/slog"

	"github.com/decred/dcrd/dcrec/secp256k1/v4"

	"github.com/didcomm-go/didcomm/agent/internal/x25519"
	"github.com/didcomm-go/didcomm/did"
)

// Curve is a key type. Its value is that of crv in a JWK.
type Curve string

// Key types of this package.
const (
	Ed25519   Curve = "Ed25519"   // signatures
	X25519    Curve = "X25519"    // key agreement
	P256      Curve = "P-256"     // both
	P384      Curve = "P-384"     // both
	P521      Curve = "P-521"     // both
	Secp256k1 Curve = "secp256k1" // signatures
)

// Key is a private key that is parsed and checked. No method of Key returns its bytes, and a
// Key prints as "REDACTED". A Key is a handle: it signs and agrees on shared secrets, as far as
// its key type can.
type Key struct {
	curve     Curve
	public    crypto.PublicKey
	private   func() []byte // d of the JWK, of full length; a function hides it from reflection
	exchanger *exchanger    // nil if the key does not agree on keys
	signer    *signer       // nil if the key does not sign
}

var (
	_ crypto.Signer     = (*Key)(nil)
	_ ecdh.KeyExchanger = (*Key)(nil)
)

// Generate makes a new private key. The error matches ErrInvalid if curve is not one of the
// constants of type Curve.
func Generate(curve Curve) (*Key, error) {
	switch curve {
	case Ed25519:
		seed := make([]byte, ed25519.SeedSize)
		rand.Read(seed)
		return newEd25519(seed)
	case X25519:
		key, err := ecdh.X25519().GenerateKey(rand.Reader)
		if err != nil {
			return nil, err
		}
		return NewKey(key)
	case P256, P384, P521:
		key, err := ecdsa.GenerateKey(ellipticCurve(curve), rand.Reader)
		if err != nil {
			return nil, err
		}
		return NewKey(key)
	case Secp256k1:
		key, err := secp256k1.GeneratePrivateKey()
		if err != nil {
			return nil, err
		}
		return newSecp256k1(key.Serialize())
	}
	return nil, fmt.Errorf("%w: no curve %q", ErrInvalid, clip(string(curve)))
}

// NewKey makes a Key of a private key of the standard library:
//
//   - ed25519.PrivateKey
//   - *ecdsa.PrivateKey of P-256, P-384 or P-521
//   - *ecdh.PrivateKey of X25519, P-256, P-384 or P-521; the last three also sign
//
// NewKey returns a *Key as it is. For a key of secp256k1 use ParseKey. The error matches
// ErrInvalid.
func NewKey(key crypto.PrivateKey) (*Key, error) {
	switch key := key.(type) {
	case *Key:
		if key != nil && key.private != nil {
			return key, nil
		}
	case ed25519.PrivateKey:
		if len(key) == ed25519.PrivateKeySize {
			return newEd25519(key.Seed())
		}
	case *ecdsa.PrivateKey:
		//lint:ignore SA1019 Bytes needs a D to be there
		if key != nil && key.Curve != nil && key.D != nil {
			curve := Curve(key.Curve.Params().Name)
			if d, err := key.Bytes(); err == nil {
				return ParseKey(curve, d)
			}
		}
	case *ecdh.PrivateKey:
		if key != nil {
			return ParseKey(curveOf(key.Curve()), key.Bytes())
		}
	}
	return nil, fmt.Errorf("%w: private key of type %T", ErrInvalid, key)
}

// ParseKey makes a Key of the bytes that d of a JWK encodes. For Ed25519 and X25519 these are
// the 32 bytes of the private key (RFC 8037). For the other curves they are the scalar,
// big-endian and of the full length of the curve (RFC 7518, section 6.2.2). The error matches
// ErrInvalid if the curve is unknown, the length is wrong, or the scalar is zero or not less
// than the order of the curve.
func ParseKey(curve Curve, d []byte) (*Key, error) {
	switch curve {
	case Ed25519:
		return newEd25519(d)
	case X25519:
		key, err := ecdh.X25519().NewPrivateKey(d)
		if err != nil {
			return nil, badScalar(curve)
		}
		fast, err := x25519.NewKey(d)
		if err != nil {
			return nil, badScalar(curve)
		}
		return &Key{curve: curve, public: key.PublicKey(), private: key.Bytes, exchanger: &exchanger{fast}}, nil
	case P256, P384, P521:
		key, err := ecdsa.ParseRawPrivateKey(ellipticCurve(curve), d)
		if err != nil {
			return nil, badScalar(curve)
		}
		exchange, err := key.ECDH()
		if err != nil {
			return nil, badScalar(curve)
		}
		return &Key{curve: curve, public: &key.PublicKey, private: exchange.Bytes, exchanger: &exchanger{exchange}, signer: &signer{key}}, nil
	case Secp256k1:
		return newSecp256k1(d)
	}
	return nil, fmt.Errorf("%w: no curve %q", ErrInvalid, clip(string(curve)))
}

func badScalar(curve Curve) error {
	return fmt.Errorf("%w: not a private key of %s", ErrInvalid, curve)
}

func newEd25519(seed []byte) (*Key, error) {
	if len(seed) != ed25519.SeedSize {
		return nil, badScalar(Ed25519)
	}
	key := ed25519.NewKeyFromSeed(seed)
	return &Key{curve: Ed25519, public: key.Public(), private: key.Seed, signer: &signer{key}}, nil
}

func newSecp256k1(d []byte) (*Key, error) {
	var scalar secp256k1.ModNScalar
	if len(d) != 32 || scalar.SetByteSlice(d) || scalar.IsZero() {
		return nil, badScalar(Secp256k1)
	}
	key := secp256k1.NewPrivateKey(&scalar)
	public, err := did.NewSecp256k1PublicKey(key.PubKey().SerializeCompressed())
	if err != nil {
		return nil, badScalar(Secp256k1)
	}
	return &Key{curve: Secp256k1, public: public, private: key.Serialize, signer: &signer{&secp256k1Signer{key, public}}}, nil
}

// Type returns the key type.
func (k *Key) Type() Curve { return k.curve }

// Public returns the public key, from which a DID can be made. Its type is ed25519.PublicKey,
// *ecdsa.PublicKey (P-256, P-384 and P-521), *ecdh.PublicKey (X25519) or
// did.Secp256k1PublicKey.
func (k *Key) Public() crypto.PublicKey { return k.public }

// Sign signs a digest, or for Ed25519 the message itself, as crypto.Signer describes. The
// error matches ErrInvalid if the key cannot sign.
func (k *Key) Sign(rand io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	if k.signer == nil {
		return nil, fmt.Errorf("%w: a key of type %s does not sign", ErrInvalid, k.curve)
	}
	return k.signer.Sign(rand, digest, opts)
}

// PublicKey returns the public key for ECDH, or nil if the key can only sign.
func (k *Key) PublicKey() *ecdh.PublicKey {
	if k.exchanger == nil {
		return nil
	}
	return k.exchanger.PublicKey()
}

// Curve returns the curve for ECDH, or nil if the key can only sign.
func (k *Key) Curve() ecdh.Curve {
	if k.exchanger == nil {
		return nil
	}
	return k.exchanger.Curve()
}

// ECDH returns the secret that the key shares with the private key of remote. The error matches
// ErrInvalid if the key can only sign.
func (k *Key) ECDH(remote *ecdh.PublicKey) ([]byte, error) {
	if k.exchanger == nil {
		return nil, fmt.Errorf("%w: a key of type %s does not agree on keys", ErrInvalid, k.curve)
	}
	return k.exchanger.ECDH(remote)
}

// X25519 derives the key agreement key of an Ed25519 key (did:key Method, Derive Encryption
// Key Algorithm). The error matches ErrInvalid if k is not an Ed25519 key.
func (k *Key) X25519() (*Key, error) {
	if k.curve != Ed25519 {
		return nil, fmt.Errorf("%w: X25519 is derived from Ed25519, not from %s", ErrInvalid, k.curve)
	}
	h := sha512.Sum512(k.private()) // the first half is the scalar: RFC 8032, section 5.1.5
	return ParseKey(X25519, h[:32])
}

// Format prints the key type, with each verb.
func (k Key) Format(s fmt.State, _ rune) { io.WriteString(s, string(k.curve)+" private key REDACTED") }

// LogValue returns the key type.
func (k Key) LogValue() slog.Value {
	return slog.StringValue(string(k.curve) + " private key REDACTED")
}

// equal compares public keys. Each type of public key has a method Equal.
func equal(a, b crypto.PublicKey) bool {
	k, ok := a.(interface{ Equal(crypto.PublicKey) bool })
	return ok && k.Equal(b)
}

func ellipticCurve(c Curve) elliptic.Curve {
	switch c {
	case P256:
		return elliptic.P256()
	case P384:
		return elliptic.P384()
	default:
		return elliptic.P521()
	}
}

func curveOf(c ecdh.Curve) Curve {
	switch c {
	case ecdh.X25519():
		return X25519
	case ecdh.P256():
		return P256
	case ecdh.P384():
		return P384
	case ecdh.P521():
		return P521
	}
	return ""
}
