package envelope

import (
	"context"
	"fmt"
)

// Own returns the DID of ours that id, a DID or DID URL, names in any of its forms, in the
// form that resolves. The error matches [ErrNoKey] if id names none of ours, or if Keys
// does not tell (see [Owner]); any other error is a failure of the store behind Keys.
func (p *Packer) Own(ctx context.Context, id string) (_ string, err error) {
	defer classify(&err)
	if p.owner == nil {
		return "", ErrNoKey
	}
	return p.own(ctx, id)
}

// Relater is an optional interface of [Config.Keys] that hold the keys of parties which
// must not be known to be one, such as the tenants of a service. Without it all DIDs of
// ours are taken for one party's: a message that a key of one of them opens may name
// another one in its to.
type Relater interface {
	// Related tells whether a and b, DIDs of ours, are known to be one party's, for
	// example since one of them has followed the other. Errors are failures of the store
	// behind Keys.
	Related(ctx context.Context, a, b string) (bool, error)
}

// related tells whether two DIDs of ours may stand for each other.
func (p *Packer) related(ctx context.Context, a, b string) (bool, error) {
	r, ok := p.cfg.Keys.(Relater)
	if !ok {
		return true, nil
	}
	same, err := r.Related(ctx, a, b)
	if err != nil {
		return false, outside{fmt.Errorf("own DIDs: %w", err)}
	}
	return same, nil
}
