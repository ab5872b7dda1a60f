package did

import (
	"context"
	"fmt"
)

// Methods is a [Resolver] that selects one of several resolvers by the method name
// of the DID, for example Methods{"key": didkey.Resolver{}}. Do not change the map
// after the first call of Resolve.
type Methods map[string]Resolver

var _ Resolver = Methods(nil)

// Resolve calls the resolver of the DID's method and wraps its error. The error
// matches ErrInvalid if id is not a DID, and ErrMethod if the map has no resolver for
// its method.
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
