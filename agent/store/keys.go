package store

import "context"

// SealedKeys holds the private keys of one keyring. Each private key is sealed: encrypted
// under the key of the keyring. The key of the keyring is kept beside the private keys,
// wrapped: encrypted under a key that is not in the store. Package agent/keyring defines
// the format of both.
//
// All methods may be called at the same time from many goroutines.
type SealedKeys interface {
	// Wrapping returns the wrapped key of the keyring. Errors: ErrNotFound if there is
	// none yet.
	Wrapping(ctx context.Context) ([]byte, error)
	// SetWrapping replaces the wrapped key old by wrapped, in one step. A nil old means
	// that there is no wrapped key yet. A nil wrapped removes the wrapped key. Errors:
	// ErrExists if the stored key is not old.
	//
	// The bytes of old may stay behind in a back end for some time:
	//
	//   - In memory, until the garbage collector has run.
	//   - In SQLite, the files do not hold them any more when SetWrapping returns. If old
	//     has more than 4,000 bytes, or another connection reads for long at that moment,
	//     they go when the store is closed.
	//   - In PostgreSQL, until VACUUM has removed the row, and its page and the write-ahead
	//     log are used again.
	//
	// A store cannot remove old from the disk beneath its files, or from backups.
	SetWrapping(ctx context.Context, old, wrapped []byte) error
	// Put stores keys, all or none. Errors: ErrExists if there is a key with one of the
	// KIDs, or if two of keys have the same KID.
	Put(ctx context.Context, keys ...SealedKey) error
	// All returns all keys, in the order in which they were put.
	All(ctx context.Context) ([]SealedKey, error)
	// Delete removes the key with that KID. Errors: ErrNotFound.
	Delete(ctx context.Context, kid string) error
}

// SealedKey is one private key, sealed so that only its keyring can read it.
type SealedKey struct {
	KID    string // DID URL of the key
	Sealed []byte
}
