package keyring

import (
	"context"
	"errors"
	"fmt"

	"github.com/didcomm-go/didcomm/agent/store"
)

// Wrapper encrypts the sealing key of a Sealed: the key that encrypts the private keys. The
// functions Passphrase and None return a Wrapper. For a KMS, implement a Wrapper with a name
// of its own.
type Wrapper interface {
	// Name returns the name of the method of encryption, such as "passphrase". The name is
	// stored in clear beside the wrapped key. It has 1 to 64 letters, digits, hyphens and
	// dots.
	Name() string
	// Wrap encrypts key, which has 32 bytes. The result has at most 64 KiB and contains
	// all that Unwrap needs besides the secret.
	Wrap(ctx context.Context, key []byte) (wrapped []byte, err error)
	// Unwrap decrypts a key that Wrap has encrypted. wrapped comes from the store and may be
	// damaged or forged. The error matches ErrPassphrase if the secret is wrong, and
	// ErrInvalid if wrapped is malformed. Other errors are those of the Wrapper.
	Unwrap(ctx context.Context, wrapped []byte) (key []byte, err error)
}

// Names of the wrappers that None and Passphrase return.
const (
	NoneName       = "none"
	PassphraseName = "passphrase"
)

// None returns a Wrapper that does not encrypt: anybody who can read the store has the keys.
func None() Wrapper { return none{} }

type none struct{}

func (none) Name() string                                             { return NoneName }
func (none) Wrap(_ context.Context, key []byte) ([]byte, error)       { return key, nil }
func (none) Unwrap(_ context.Context, wrapped []byte) ([]byte, error) { return wrapped, nil }

// WrappedBy returns the name of the Wrapper of the Sealed in keys, so that a program knows
// whether to ask for a passphrase. The name is not authenticated: a person who can write to
// the store can change it, for example to that of None.
//
// The error matches store.ErrNotFound if there is no Sealed in keys, and ErrInvalid if the
// stored data are damaged. Other errors are those of the store.
func WrappedBy(ctx context.Context, keys store.SealedKeys) (name string, err error) {
	stored, err := keys.Wrapping(ctx)
	if err != nil {
		return "", err
	}
	name, _, err = parseWrapping(stored)
	return name, err
}

// A wrapping in the store has four parts: the version, the length of the Wrapper's name, the
// name, and the key as the Wrapper has encrypted it.
const (
	wrappingVersion = 1
	maxName         = 64
	maxWrapped      = 64 << 10
	keySize         = 32
)

// wrap returns the wrapping of key for the store.
func wrap(ctx context.Context, w Wrapper, key []byte) ([]byte, error) {
	name := w.Name()
	if !validName(name) {
		return nil, fmt.Errorf("%w: %q is no name of a wrapper", ErrInvalid, clip(name))
	}
	wrapped, err := w.Wrap(ctx, key)
	if err != nil {
		return nil, fmt.Errorf("wrap the key of the keyring by %s: %w", name, err)
	}
	if len(wrapped) > maxWrapped {
		return nil, fmt.Errorf("%w: wrapper %s made %d bytes of a key, the limit is %d", ErrInvalid, name, len(wrapped), maxWrapped)
	}
	stored := append([]byte{wrappingVersion, byte(len(name))}, name...)
	return append(stored, wrapped...), nil
}

// unwrap returns the key of a wrapping from the store.
func unwrap(ctx context.Context, w Wrapper, stored []byte) ([]byte, error) {
	name, wrapped, err := parseWrapping(stored)
	if err != nil {
		return nil, err
	}
	if name != w.Name() {
		return nil, fmt.Errorf("%w: it is wrapped by %s, not by %s", ErrWrapper, name, clip(w.Name()))
	}
	key, err := w.Unwrap(ctx, wrapped)
	switch {
	case errors.Is(err, ErrPassphrase):
		return nil, err
	case err != nil:
		return nil, fmt.Errorf("unwrap the key of the keyring by %s: %w", name, err)
	case len(key) != keySize:
		return nil, fmt.Errorf("%w: the key of the keyring has %d bytes instead of %d", ErrInvalid, len(key), keySize)
	}
	return key, nil
}

func parseWrapping(stored []byte) (name string, wrapped []byte, err error) {
	if len(stored) < 2 || len(stored) > 2+maxName+maxWrapped {
		return "", nil, fmt.Errorf("%w: the wrapped key of the keyring is damaged", ErrInvalid)
	}
	if stored[0] != wrappingVersion {
		return "", nil, fmt.Errorf("%w: the wrapped key of the keyring is of version %d, known here is %d", ErrInvalid, stored[0], wrappingVersion)
	}
	n := int(stored[1])
	if len(stored) < 2+n || !validName(string(stored[2:2+n])) {
		return "", nil, fmt.Errorf("%w: the wrapped key of the keyring is damaged", ErrInvalid)
	}
	return string(stored[2 : 2+n]), stored[2+n:], nil
}

func validName(s string) bool {
	for _, c := range s {
		if c != '-' && c != '.' && (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') {
			return false
		}
	}
	return len(s) > 0 && len(s) <= maxName
}
