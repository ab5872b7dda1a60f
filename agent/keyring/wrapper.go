package keyring

import (
	"context"
	"errors"
	"fmt"

	"github.com/didcomm-go/didcomm/agent/store"
)

// Wrapper protects the key that seals the keys of a Sealed. Passphrase and None
// make the two that are here; a KMS is an embedder's own, of a name of its own.
type Wrapper interface {
	// Name tells what wrapped a key, such as "passphrase". It is kept beside the
	// wrapped key, in clear: 1 to 64 letters, digits, hyphens and dots.
	Name() string
	// Wrap returns the 32 bytes of key in a form that says nothing about them,
	// of at most 64 KiB, with all that Unwrap needs besides the secret.
	Wrap(ctx context.Context, key []byte) (wrapped []byte, err error)
	// Unwrap returns the key of wrapped, what Wrap of the same Name returned, or
	// what somebody put in its place. Errors: ErrPassphrase for the wrong secret,
	// ErrInvalid for a form that is damaged; others are the wrapper's own.
	Unwrap(ctx context.Context, wrapped []byte) (key []byte, err error)
}

// NoneName and PassphraseName are the names of the wrappers that are here.
const (
	NoneName       = "none"
	PassphraseName = "passphrase"
)

// None wraps nothing: who can read the store has the keys.
func None() Wrapper { return none{} }

type none struct{}

func (none) Name() string                                             { return NoneName }
func (none) Wrap(_ context.Context, key []byte) ([]byte, error)       { return key, nil }
func (none) Unwrap(_ context.Context, wrapped []byte) ([]byte, error) { return wrapped, nil }

// WrappedBy returns the name of the wrapper that a Sealed in keys was created
// with, or rewrapped last, so that a program knows what to ask for. It is what the
// store says: who can write to that can make it None. Errors: store.ErrNotFound
// where there is none, ErrInvalid.
func WrappedBy(ctx context.Context, keys store.SealedKeys) (name string, err error) {
	stored, err := keys.Wrapping(ctx)
	if err != nil {
		return "", err
	}
	name, _, err = parseWrapping(stored)
	return name, err
}

// A wrapping, as it is stored, is its version, the length of the wrapper's name,
// the name, and what that wrapper returned.
const (
	wrappingVersion = 1
	maxName         = 64
	maxWrapped      = 64 << 10
	keySize         = 32
)

// wrap returns the wrapping of key, as it is stored.
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

// unwrap returns the key of a stored wrapping.
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
