package did

import (
	"context"
	"fmt"
)

// Methods picks the resolver by the DID's method name:
// Methods{"key": didkey.Resolver{}, ...}. It is read-only once in use.
type Methods map[string]Resolver

var _ Resolver = Methods(nil)

// Resolve asks the resolver of the method. An id that is no bare DID is
// ErrInvalid, a method without a resolver ErrMethod.
func (m Methods) Resolve(ctx context.Context, id string) (*Document, error) {
	d, err := Parse(id)
	if err != nil {
		return nil, err
	}
	r := m[d.Method]
	if r == nil {
		return nil, fmt.Errorf("%w: did:%s", ErrMethod, abbreviate(d.Method))
	}
	doc, err := r.Resolve(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("resolve %s: %w", abbreviate(id), err)
	}
	return doc, nil
}
