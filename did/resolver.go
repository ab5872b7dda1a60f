package did

import (
	"context"
	"errors"
)

// Error classes of this package and of every [Resolver]; match them with errors.Is.
// All of them are final: trying again later is not expected to help. [ErrBusy] is not one of
// them.
var (
	// ErrNotFound means that a DID is well formed, but has no document.
	ErrNotFound = errors.New("did: not found")
	// ErrInvalid means that a DID, DID URL, document or key is malformed.
	ErrInvalid = errors.New("did: invalid")
	// ErrMethod means that there is no resolver for the DID's method.
	ErrMethod = errors.New("did: method not supported")
	// ErrUnsupported means that this library does not support a well-formed DID or
	// key, for example a BLS12-381 key.
	ErrUnsupported = errors.New("did: unsupported")
	// ErrRefused means that the document is at an address to which the resolver never
	// connects, such as a private IP address.
	ErrRefused = errors.New("did: refused")
)

// Resolver resolves a DID to its document (DID Core 1.0, section 7.1). It may be
// used from several goroutines.
type Resolver interface {
	// Resolve returns the document of a DID; id has no path, query or fragment. The
	// document is shared, so treat it as read-only. Final errors match ErrNotFound,
	// ErrInvalid, ErrMethod, ErrUnsupported or ErrRefused. Any other error is a
	// failure after which a later call may succeed.
	Resolve(ctx context.Context, id string) (*Document, error)
}

// Refresher is an optional interface of a [Resolver] that keeps documents. [Cache] is one.
type Refresher interface {
	Resolver
	// Refresh is Resolve, but does not return a document that was kept. The errors are
	// those of Resolve.
	Refresh(ctx context.Context, id string) (*Document, error)
}

// ResolverFunc is a function that is a [Resolver].
type ResolverFunc func(ctx context.Context, id string) (*Document, error)

// Resolve calls f.
func (f ResolverFunc) Resolve(ctx context.Context, id string) (*Document, error) { return f(ctx, id) }
