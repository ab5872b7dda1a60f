package contact

import (
	"context"
	"time"

	"github.com/didcomm-go/didcomm/did"
)

const (
	// maxRotations bounds the rotations of one contact, each of which makes another
	// contact.
	maxRotations = 1000
	// maxHops bounds the rotations that are followed from one DID on, to send.
	maxHops = maxRotations
	// maxUnconfirmed bounds those that are looked at for a message that comes.
	maxUnconfirmed = 8
)

// verdict is what becomes of a rotation.
type verdict int

const (
	stale   verdict = iota // a later rotation is known
	refused                // not followed, and somebody should know
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
	case !r.IssuedAt.After(prior.IssuedAt), r.IssuedAt.Before(prior.Since):
		return stale, nil, nil
	case again:
		v = known // but for its time
	case prior.Next != "":
		if firm, err := b.isFirm(ctx, own, prior.Next); firm || err != nil {
			return refused, nil, err
		}
	}
	prior.Peer = longest(prior.Peer, r.Prior)
	prior.Next, prior.Ended, prior.IssuedAt = "", r.DID == "", r.IssuedAt
	if prior.Ended {
		return v, []record{prior}, nil
	}
	next, err := b.load(ctx, own, r.DID)
	switch {
	case err != nil:
		return stale, nil, err
	case next.left() && next.IssuedAt.Equal(r.IssuedAt): // of two at one time, the first counts
		return stale, nil, nil
	case prior.Contact && prior.Rotations >= maxRotations:
		return refused, nil, nil
	}
	next.Peer = longest(next.Peer, r.DID)
	next.arrive(r.IssuedAt)
	next.Confirmed = next.Confirmed && again
	next.Rotations = max(next.Rotations, prior.Rotations+1)
	if prior.Contact { // even where there are too many contacts
		next.Contact, next.unbounded = true, true
	}
	prior.Next = next.Peer
	return v, []record{next, prior}, nil
}

// isFirm tells whether the rotation to a DID stays, whatever the DID before says: the
// party knows that we know this DID, or one of the next that it has rotated to from there.
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

// left tells whether the party does not go by Peer any more.
func (e *entry) left() bool { return e.Next != "" || e.Ended }

// leadsTo tells whether the last rotation from Peer was to a DID, or ended the
// relationship if that is empty.
func (e *entry) leadsTo(id string) bool {
	if id == "" {
		return e.Ended
	}
	return e.Next != "" && did.Canonical(e.Next) == did.Canonical(id)
}

// arrive notes a rotation to Peer. A rotation from Peer that was issued later stays.
func (e *entry) arrive(at time.Time) {
	if at.After(e.Since) {
		e.Since = at
	}
	if e.IssuedAt.Before(at) {
		e.Next, e.Ended = "", false
	}
}

// follow returns what is known of peer, and of the DID that the party goes by now, which
// is as many rotations away as hops says.
func (b *Book) follow(ctx context.Context, own, peer string) (first, last record, hops int, err error) {
	first, err = b.load(ctx, own, peer)
	for last = first; err == nil && last.Next != "" && hops < maxHops; hops++ {
		last, err = b.load(ctx, own, last.Next)
	}
	return first, last, hops, err
}
