// Package x25519 is the key agreement of RFC 7748 for keys in software. Most of the time for
// an envelope goes into two operations, and both are faster than in crypto/ecdh
// (BenchmarkX25519):
//
//   - Key agreement uses circl, and takes about 0.7 of the time.
//   - A new key uses the base point of edwards25519, and takes about 0.4 of the time.
//
// A Key is a crypto/ecdh.KeyExchanger, so it can take the place of a key of crypto/ecdh.
package x25519

import (
	"crypto/ecdh"
	"crypto/rand"
	"errors"
	"fmt"

	"filippo.io/edwards25519"
	"github.com/cloudflare/circl/dh/x25519"
)

// Size is the size of a private key, of a public key and of a shared secret, in bytes.
const Size = x25519.Size

// ErrLowOrder is the error for a public key of low order: the shared secret would be all
// zeros for every private key (RFC 7748, section 6.1).
var ErrLowOrder = errors.New("x25519: public key of low order")

// Key is a private key. It must not be copied or printed.
type Key struct {
	secret x25519.Key
	public *ecdh.PublicKey
}

var _ ecdh.KeyExchanger = (*Key)(nil)

// GenerateKey makes a new key.
func GenerateKey() (*Key, error) {
	var secret [Size]byte
	if _, err := rand.Read(secret[:]); err != nil {
		return nil, err
	}
	defer clear(secret[:])
	return NewKey(secret[:])
}

// NewKey makes a Key of a private key of Size bytes.
func NewKey(secret []byte) (*Key, error) {
	if len(secret) != Size {
		return nil, fmt.Errorf("x25519: private key of %d bytes", len(secret))
	}
	k := new(Key)
	copy(k.secret[:], secret)
	// The base point of RFC 7748 on the birationally equivalent curve (section 4.1), for
	// which there is a table of multiples.
	scalar, err := new(edwards25519.Scalar).SetBytesWithClamping(secret)
	if err != nil {
		return nil, err
	}
	public := new(edwards25519.Point).ScalarBaseMult(scalar).BytesMontgomery()
	k.public, err = ecdh.X25519().NewPublicKey(public)
	return k, err
}

// PublicKey implements ecdh.KeyExchanger.
func (k *Key) PublicKey() *ecdh.PublicKey { return k.public }

// Curve implements ecdh.KeyExchanger.
func (k *Key) Curve() ecdh.Curve { return ecdh.X25519() }

// ECDH implements ecdh.KeyExchanger. The error matches ErrLowOrder if the public key has low
// order. A public key of another curve is an error, too.
func (k *Key) ECDH(remote *ecdh.PublicKey) ([]byte, error) {
	if remote.Curve() != ecdh.X25519() {
		return nil, errors.New("x25519: public key of another curve")
	}
	public := x25519.Key(remote.Bytes())
	var shared x25519.Key
	if !x25519.Shared(&shared, &k.secret, &public) {
		return nil, ErrLowOrder
	}
	return append([]byte(nil), shared[:]...), nil
}

// Clear overwrites the private key. The Key must not be used afterwards.
func (k *Key) Clear() { clear(k.secret[:]) }
