package store

import "context"

// SealedKeys holds the private keys of one keyring, each sealed by a key of the
// keyring's own, which stands beside them, wrapped. What is in them is
// agent/keyring's affair.
type SealedKeys interface {
	// Wrapping returns the wrapped key of the keyring. Errors: ErrNotFound where
	// there is none yet.
	Wrapping(ctx context.Context) ([]byte, error)
	// SetWrapping replaces the wrapped key at once, if it still is old; nil
	// stands for none. Errors: ErrExists if it is another by now.
	//
	// What a back end that is not in memory still holds of the old one: SQLite
	// nothing in its files once SetWrapping returns, if old has no more than 4,000
	// bytes and nobody reads for long just then, else when the store is closed;
	// PostgreSQL what it keeps of the row until VACUUM has removed it and the page and
	// the write-ahead log are used again. The disk beneath, and copies, are out of
	// their reach.
	SetWrapping(ctx context.Context, old, wrapped []byte) error
	// Put stores keys, all or none. Errors: ErrExists for a kid that is taken.
	Put(ctx context.Context, keys ...SealedKey) error
	// All returns all keys, in the order in which they were put.
	All(ctx context.Context) ([]SealedKey, error)
	// Delete removes a key. Errors: ErrNotFound.
	Delete(ctx context.Context, kid string) error
}

// SealedKey is one private key that only its keyring can read.
type SealedKey struct {
	KID    string // DID URL of the key
	Sealed []byte
}
