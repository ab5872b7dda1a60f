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

// Owner is an optional interface of [Config.Keys]: it tells which DIDs are ours. With
// it a Packer opens an envelope whose kid is relative ("#key-1") or an alias of one of
// our keys, and a message whose to names another DID of ours than the one whose key
// opened it.
//
// A Packer asks for each message that it opens, and at most [Config.MaxRecipients]
// times. Both methods should take the same time with one DID and with many.
type Owner interface {
	// Own returns the DID of ours that id, a DID, names in any of its forms (as the
	// long and the short form of a did:peer:4), in the form that resolves. An error
	// that matches ErrNoKey says that id names none of ours; any other error is a
	// failure of the store behind Keys.
	Own(ctx context.Context, id string) (string, error)
	// DIDs returns at most n DIDs of ours, those that were added first, for a kid that
	// is relative and so names no DID. Unpack asks for [MaxRelativeDIDs].
	DIDs(ctx context.Context, n int) ([]string, error)
}

// MaxRelativeDIDs is how many DIDs of ours Unpack searches for the key of a relative
// kid ("#key-1"): those that were added first. A key of any other DID of ours is not
// found by a relative kid.
const MaxRelativeDIDs = 8
