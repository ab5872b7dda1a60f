package did

import (
	"context"
	"errors"
)

// Errors that users of a Resolver act on; match them with errors.Is.
var (
	// ErrNotFound: the identifier is well formed, but nothing is known of it.
	ErrNotFound = errors.New("did: not found")
	// ErrInvalid: a DID, DID URL, document or key that breaks its grammar.
	ErrInvalid = errors.New("did: invalid")
	// ErrMethod: no resolver for this DID method.
	ErrMethod = errors.New("did: method not supported")
	// ErrUnsupported: something well formed that this library does not do, such
	// as a BLS12-381 key.
	ErrUnsupported = errors.New("did: unsupported")
	// ErrRefused: the DID leads to an address that the resolver does not connect to,
	// today and tomorrow.
	ErrRefused = errors.New("did: refused")
)

// Resolver turns a DID into its document (DID Core 1.0, section 7.1). id is a
// bare DID, without path, query or fragment. Errors match ErrNotFound,
// ErrInvalid, ErrMethod, ErrUnsupported or ErrRefused where one of them is the
// reason; any other is a failure that may pass. A returned Document is shared:
// treat it as read-only.
type Resolver interface {
	Resolve(ctx context.Context, id string) (*Document, error)
}

// ResolverFunc makes a Resolver of a function.
type ResolverFunc func(ctx context.Context, id string) (*Document, error)

// Resolve calls f.
func (f ResolverFunc) Resolve(ctx context.Context, id string) (*Document, error) { return f(ctx, id) }
