package contact

import (
	"context"
	"time"

	"github.com/didcomm-go/didcomm/did"
)

// Announce records a rotation that is proven by the prior DID alone: the message with the
// from_prior was authenticated by a key of the prior DID, and not of the new one. Anybody can
// announce any DID, so the Book does not follow the rotation yet. It does when a message that
// the new DID has authenticated is Met, also if that message has no from_prior: some agents
// write none after an answer to the new DID. Acks and problem reports do not count: a third party
// may send them, too, since it has got a reply from own.
//
// Nothing is recorded if the party is no contact under the prior DID, or if own knows the new
// DID already: that may be a third party. A later Keep of the new DID ends the announcement. If
// the new DID ends the relationship, the prior DID has ended it, too.
// Errors are those of the store.
func (b *Book) Announce(ctx context.Context, own string, r Rotation) error {
	r.IssuedAt = clamp(r.IssuedAt)
	err := b.change(ctx, func() ([]record, error) {
		prior, err := b.load(ctx, own, r.Prior)
		if err != nil || !prior.Contact || prior.left() || did.Canonical(r.Prior) == did.Canonical(r.DID) {
			return nil, err
		}
		next, err := b.load(ctx, own, r.DID)
		if err != nil {
			return nil, err
		}
		again := did.Canonical(next.Prior) == did.Canonical(r.Prior)
		if next.version != 0 && !(again && r.IssuedAt.After(next.PriorAt)) {
			return nil, nil
		}
		next.Peer, next.Prior, next.PriorAt = longest(next.Peer, r.DID), longest(prior.Peer, r.Prior), r.IssuedAt
		return []record{next}, nil
	})
	return b.passOver(ctx, err, own, r.DID)
}

// endAnnouncer returns the record of the DID that has announced a rotation to the DID of ended, if
// the end holds for that DID as well. A party that has announced the DID of a third party ends
// nothing but its own relationship.
func (b *Book) endAnnouncer(ctx context.Context, ended record) ([]record, error) {
	if ended.Prior == "" {
		return nil, nil
	}
	r, err := b.load(ctx, ended.Own, ended.Prior)
	if err != nil || r.left() || !ended.IssuedAt.After(r.IssuedAt) || ended.IssuedAt.Before(b.lastHeard(&r)) {
		return nil, err
	}
	r.Ended, r.IssuedAt = true, ended.IssuedAt
	return []record{r}, nil
}

// arrived returns the records that change when a message of the DID of r is Met that was
// announced: the rotation is followed, or forgotten.
func (b *Book) arrived(ctx context.Context, r record) ([]record, error) {
	_, list, err := b.judge(ctx, r.Own, Rotation{Prior: r.Prior, DID: r.Peer, IssuedAt: r.PriorAt})
	if err != nil {
		return nil, err
	}
	if len(list) == 0 {
		r.Prior, r.PriorAt = "", time.Time{}
		return []record{r}, nil
	}
	list[0].Confirmed = true    // the message has no from_prior
	list[0].Dialect = r.Dialect // the prior DID alone says that it is this party
	return list, nil
}
