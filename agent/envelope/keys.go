package envelope

import (
	"context"
	"crypto"
	"crypto/ecdh"
	"errors"
)

// ErrNoKey is the error of Keys for a key that Keys does not hold, and of Owner for a DID
// that is not ours. Unpack returns ErrNoKey if we hold none of the keys that an envelope
// names.
var ErrNoKey = errors.New("no key")

// Keys gives access to private keys by key id. It hands out operations, never the bytes
// of a key, so that keys in memory, in an HSM or in a KMS can be used alike. A key id (kid)
// is a DID URL with a fragment, as the owner's DID document lists it.
//
// One message makes Unpack ask for at most 4 times Config.MaxRecipients keys.
//
// Both methods return an error that matches ErrNoKey for a key that Keys does not hold. Any
// other error means that the key store failed, and ends the operation of the Packer. The
// error of the Packer then matches ErrTryLater, unless the error of Keys matches another
// class.
//
// Implementations are in agent/keyring and agent/keyring/pkcs11. The package
// agent/keyring/keyringtest tests an implementation.
type Keys interface {
	// KeyAgreement returns the private key for ECDH: X25519, P-256, P-384 or P-521.
	KeyAgreement(ctx context.Context, kid string) (ecdh.KeyExchanger, error)
	// Signer returns the private key for signatures: Ed25519, P-256, P-384, P-521 or
	// secp256k1. The Public method of a secp256k1 key returns a did.Secp256k1PublicKey. An
	// ECDSA signature is in ASN.1 DER, as crypto.Signer demands.
	Signer(ctx context.Context, kid string) (crypto.Signer, error)
}

// Owner is an optional interface of [Config].Keys. It says which DIDs are ours. With an
// Owner, Unpack also opens these messages:
//
//   - an envelope whose kid is an alias of one of our keys, such as the short form of a
//     did:peer:4 or #6LS... of a did:peer:2;
//   - an envelope whose kid is relative, such as "#key-1";
//   - a message whose to header names another DID of ours than the DID whose key opened
//     the envelope (see Relater).
//
// Unpack asks about at most Config.MaxRecipients DIDs for each layer of encryption, and
// about as many for the to header. Both methods should take the same time with one DID and
// with many.
type Owner interface {
	// Own returns the DID of ours that id names. id is a DID in any of its forms, such as
	// the long or the short form of a did:peer:4. The result is the form that resolves. An
	// error that matches ErrNoKey says that id names no DID of ours. Any other error means
	// that the key store failed.
	Own(ctx context.Context, id string) (string, error)
	// DIDs returns at most n DIDs of ours, those that were added first. Unpack uses DIDs
	// for a relative kid, which names no DID, with an n of MaxRelativeDIDs.
	DIDs(ctx context.Context, n int) ([]string, error)
}

// KeyFinder is an optional interface of [Config].Keys, beside Owner. It finds our keys by what
// they are. Some peers name a key of ours by a did:key, and not as our DID document does. With a
// KeyFinder, Unpack opens an envelope whose kid is a did:key of one of our keys: bare, such as
// did:key:z6LS..., or with the fragment of the key. Such a kid may also be the did:key of an
// Ed25519 key. It then means the X25519 key that is derived from the Ed25519 key.
//
// Any message but a forward must name in its to header that did:key, or a DID of ours that has
// the key. With a KeyFinder, Packer.Own also finds DIDs by a did:key.
//
// Unpack asks for at most Config.MaxRecipients keys for each layer of encryption.
type KeyFinder interface {
	// FindKey returns the id of our key that has a public key. multikey is the public key in
	// the form of did.FormatMultikey, such as "z6LS...", or any text of a stranger. FindKey
	// compares forms only, and should take the same time with one key and with many. If
	// several DIDs of ours have the key, the result belongs to the one that was added first.
	//
	// An Ed25519 key and the X25519 key that is derived from it are two keys. An error that
	// matches ErrNoKey says that the key is not ours. Any other error means that the key
	// store failed.
	FindKey(ctx context.Context, multikey string) (string, error)
}

// MaxRelativeDIDs is the number of our DIDs among which Unpack looks for the key of a
// relative kid, such as "#key-1". They are the DIDs that were added first (see
// [Owner].DIDs). An envelope with a relative kid for any other DID of ours does not open.
const MaxRelativeDIDs = 8
