package contact

import (
	"context"
	"time"

	"github.com/didcomm-go/didcomm/did"
)

const (
	// maxRotations is how often one contact can rotate, since each rotation makes another
	// contact.
	maxRotations = 1000
	// maxHops is how many rotations are followed to send a message.
	maxHops = maxRotations
	// maxUnconfirmed is how many rotations are followed for a received message.
	maxUnconfirmed = 8
)

// verdict says whether a rotation is followed.
type verdict int

const (
	stale   verdict = iota // a later rotation is known
	refused                // not followed, and logged as a warning
	known                  // followed already
	news                   // followed from now on
)

// judge decides about a rotation, and returns the records that it changes.
func (b *Book) judge(ctx context.Context, own string, r Rotation) (verdict, []record, error) {
	if did.Canonical(r.Prior) == did.Canonical(r.DID) {
		return stale, nil, nil
	}
	prior, err := b.load(ctx, own, r.Prior)
	if err != nil {
		return stale, nil, err
	}
	v, again := news, prior.leadsTo(r.DID)
	switch {
	case again && !r.IssuedAt.After(prior.IssuedAt):
		return known, nil, nil
	case !r.IssuedAt.After(prior.IssuedAt), r.IssuedAt.Before(prior.Since), r.DID == "" && r.IssuedAt.Before(b.lastHeard(&prior)):
		return stale, nil, nil
	case again:
		v = known // only its iat is new
	case prior.Next != "":
		if firm, err := b.isFirm(ctx, own, prior.Next); firm || err != nil {
			return refused, nil, err
		}
	}
	prior.Peer = longest(prior.Peer, r.Prior)
	prior.Next, prior.Ended, prior.IssuedAt = "", r.DID == "", r.IssuedAt
	if prior.Ended {
		list, err := b.endAnnouncer(ctx, prior)
		return v, append(list, prior), err
	}
	next, err := b.load(ctx, own, r.DID)
	switch {
	case err != nil:
		return stale, nil, err
	case next.left() && next.IssuedAt.Equal(r.IssuedAt): // of two with one iat, the first counts
		return stale, nil, nil
	case prior.Contact && prior.Rotations >= maxRotations:
		return refused, nil, nil
	}
	next.Peer, next.Prior, next.PriorAt = longest(next.Peer, r.DID), "", time.Time{}
	next.arrive(r.IssuedAt)
	next.Confirmed = next.Confirmed && again
	next.Rotations = max(next.Rotations, prior.Rotations+1)
	if next.Dialect == nil {
		next.Dialect = prior.Dialect
	}
	if prior.Contact { // even if there are too many contacts
		next.Contact, next.unbounded = true, true
	}
	prior.Next = next.Peer
	return v, []record{next, prior}, nil
}

// isFirm reports whether the prior DID can no longer change the rotation to peer. That is
// so if the rotation to peer is Confirmed, or one of the rotations that follow it.
func (b *Book) isFirm(ctx context.Context, own, peer string) (bool, error) {
	for n := 0; peer != "" && n < maxUnconfirmed; n++ {
		r, err := b.load(ctx, own, peer)
		if err != nil || r.Confirmed {
			return err == nil, err
		}
		peer = r.Next
	}
	return false, nil
}

// left reports whether the party does not use Peer any more.
func (e *entry) left() bool { return e.Next != "" || e.Ended }

// leadsTo reports whether the last rotation from Peer was to the DID id. With an empty
// id, it reports whether the relationship was ended.
func (e *entry) leadsTo(id string) bool {
	if id == "" {
		return e.Ended
	}
	return e.Next != "" && did.Canonical(e.Next) == did.Canonical(id)
}

// arrive records a rotation to Peer that was issued at a time. It removes an earlier
// rotation from Peer, but not a later one.
func (e *entry) arrive(at time.Time) {
	if at.After(e.Since) {
		e.Since = at
	}
	if e.IssuedAt.Before(at) {
		e.Next, e.Ended = "", false
	}
}

// follow returns the record of peer, the record of the DID that the party uses now, and how
// many rotations are between them.
func (b *Book) follow(ctx context.Context, own, peer string) (first, last record, hops int, err error) {
	first, err = b.load(ctx, own, peer)
	for last = first; err == nil && last.Next != "" && hops < maxHops; hops++ {
		last, err = b.load(ctx, own, last.Next)
	}
	return first, last, hops, err
}

// clamp returns the time of a rotation as it is kept. A from_prior without iat counts as older
// than any other.
func clamp(at time.Time) time.Time {
	if oldest := time.Unix(0, 0).UTC(); at.Before(oldest) {
		return oldest
	}
	return at
}
