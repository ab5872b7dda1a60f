package contact

import (
	"context"
	"time"
)

// Party is what a DID of ours knows about another party.
type Party struct {
	Own     string // our DID
	DID     string // the DID that the party uses now, in the longest form that is known
	Contact bool   // false for a stranger
	Ended   bool   // whether the party has ended the relationship
	// Since is the iat of the from_prior by which the party has come to DID, or has ended the
	// relationship. It is zero if there is no such from_prior, or if that has no iat.
	Since   time.Time
	Dialect Dialect
}

// About returns what our DID own knows about the party that uses the DID peer, or has rotated
// to another DID from there. It reports whether there is anything. Errors are those of the
// store.
func (b *Book) About(ctx context.Context, own, peer string) (p Party, known bool, err error) {
	first, last, _, err := b.follow(ctx, own, peer)
	if err != nil || first.version == 0 {
		return Party{}, false, err
	}
	p = Party{Own: own, DID: last.Peer, Contact: last.Contact, Ended: last.Ended, Since: last.Since}
	if last.Ended {
		p.Since = last.IssuedAt
	}
	if p.Since.Unix() <= 0 { // as Rotate records a from_prior without iat
		p.Since = time.Time{}
	}
	if last.Dialect != nil {
		p.Dialect = *last.Dialect
	}
	return p, true, nil
}
