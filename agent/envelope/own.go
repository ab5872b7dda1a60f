package envelope

import (
	"context"
	"errors"
	"fmt"
)

// Own returns the DID of ours that id, a DID or DID URL, names, in the form that resolves. With a
// [KeyFinder], id may also be the did:key of a key of ours, for encryption or for signatures. For
// the did:key of an Ed25519 key, the key of ours may be the X25519 key that is derived from it. The
// next member of a forward has any of these forms.
//
// The error matches [ErrNoKey] if id names no DID of ours, or if Keys is not an [Owner]. Any other
// error means that the key store failed.
func (p *Packer) Own(ctx context.Context, id string) (_ string, err error) {
	defer classify(&err)
	own, err := p.own(ctx, id)
	if errors.Is(err, ErrNoKey) {
		return p.ownByKey(ctx, id)
	}
	return own, err
}

// Relater is an optional interface of [Config].Keys. It is for keys of several parties that
// peers must not be able to link, such as the tenants of a service.
//
// A message may be for one DID of ours and concern another DID of ours: its to header names the
// other DID, or a forward or another layer around the message is encrypted for the other DID.
// Unpack opens such a message only if both DIDs belong to the same party. Without a Relater all
// DIDs of ours count as DIDs of the same party.
type Relater interface {
	// Related reports whether a and b, two DIDs of ours, belong to the same party and peers
	// may know that, for example because b has replaced a. An error means that the key store
	// failed.
	Related(ctx context.Context, a, b string) (bool, error)
}

// related reports whether a message for one of two DIDs of ours may name the other.
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
