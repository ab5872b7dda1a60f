package envelope

import (
	"context"
	"crypto"
	"crypto/ecdh"
	"errors"
)

// ErrNoKey is what Keys returns for a key that it does not hold, and what
// Unpack returns when it holds none of the keys that an envelope names.
var ErrNoKey = errors.New("no key")

// Keys hands out private-key operations by key id, never key bytes: software,
// HSM and KMS keys serve alike. kid is a DID URL with a fragment, as the DID
// document of its owner lists it.
//
// Both methods return an error that matches ErrNoKey for a kid that they do
// not hold. Any other error is a failure of the store behind them and ends the
// operation, with ErrTryLater unless it has another class.
type Keys interface {
	// KeyAgreement returns the private key for ECDH: X25519, P-256, P-384 or
	// P-521.
	KeyAgreement(ctx context.Context, kid string) (ecdh.KeyExchanger, error)
	// Signer returns the private key for signatures: Ed25519, P-256, P-384,
	// P-521 or secp256k1 (whose Public is a did.Secp256k1PublicKey). An ECDSA
	// signer yields ASN.1 DER, as crypto.Signer says.
	Signer(ctx context.Context, kid string) (crypto.Signer, error)
}

// Owner is an optional power of Keys. With it, an envelope whose kid is
// relative ("#key-1"), or an alias of one of our keys, is opened too.
type Owner interface {
	// DIDs returns the DIDs whose keys are held.
	DIDs(ctx context.Context) ([]string, error)
}
