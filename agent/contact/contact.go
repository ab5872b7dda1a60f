// Package contact keeps what an agent knows of the parties that it exchanges messages
// with, in records of its store: the DID that a party has rotated to, and the long form
// of a did:peer:4.
//
// An agent has a [Book] and fills it by itself. A resolver that is made by hand gets the
// long forms from the method [Book.Long]:
//
//	book := contact.New(st, contact.Config{})
//	peers := &didpeer.Resolver{LongForm: book.Long}
//	a, err := agent.New(agent.Config{Store: st, Contacts: book, ...})
//
// A protocol that must not lose a party calls [Book.Keep]. A mediator that has granted
// mediation is an example. A message that the program sends does the same for each
// recipient.
//
// # Contacts and strangers
//
// A party that the agent was asked to send to, or to keep, is a contact. All other
// parties are strangers. Anybody can write to an agent, from any number of DIDs, so the
// Book keeps only the Config.MaxStrangers strangers that it met last. A flood of
// strangers neither fills the store nor pushes out a contact.
//
// # Own DIDs are apart
//
// The Book files all that it knows under a pair of DIDs: one of ours, and one of the
// party. What one DID of ours was told changes nothing for another one, so that a party
// that knows two DIDs of ours cannot find out in this way that one agent has both. The
// long form of a did:peer:4 is the exception. It is found for every DID of ours, since a
// resolver does not know for which one it resolves.
//
// # Rotations
//
// A rotation is told by a from_prior, which is signed by the prior DID and dated (iat).
// Messages arrive in any order, so the date decides. The Book does not follow a rotation
//   - that is not newer than the last one from the same prior DID,
//   - that is older than the one by which the party came to the prior DID, or
//   - from a DID that its party has left, once the party has written from the new DID, or
//     the next, without from_prior. By then the party knows that we know its new DID, and
//     whoever finds the key of the old DID must not lead us astray.
//
// A party may go back to a DID that it has left. A from_prior without iat counts as the
// oldest possible one.
//
// A from_prior names no recipient. A party that was told the end of a relationship can
// pass it on to anybody who knows the same DID. Only a DID that is used with one party
// is safe from that. [Book.Forget] undoes an end.
//
// # Clauses
//
// Of DIDComm v2.1: DID Rotation and Ending a Relationship, for the party that is told.
// Of the Peer DID Method Specification: the receiver of a did:peer:4 keeps its long form
// (Method 4, Resolving a DID).
package contact

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/did"
	"github.com/didcomm-go/didcomm/did/lru"
)

// ErrEnded means that the party has ended the relationship (DIDComm v2.1, Ending a
// Relationship). Match it with errors.Is.
var ErrEnded = errors.New("contact: the party has ended the relationship")

// Config bounds a Book. Zero fields take the defaults.
type Config struct {
	MaxContacts  int // pairs of a DID of ours and a contact. Default 1,000,000
	MaxStrangers int // pairs of a DID of ours and a stranger, 4 KiB each at most. Default 10,000
	// Fresh is how long the Book relies on what it has read. Where several processes share
	// a store, each may act for so long on what another has changed. Default 5 s.
	Fresh  time.Duration
	Logger *slog.Logger // gets DIDs. Default: discard
}

// Book is what is known of parties. Its methods may be called from several goroutines,
// and several Books, in several processes, may share a store.
type Book struct {
	cfg Config
	st  store.Store

	mu    sync.Mutex // guards all below; not held during I/O
	cache lru.Map[key, record]
	// changed counts the changes of records, by the first byte of their keys: a record that
	// was read while another goroutine changed it is not cached.
	changed [256]int
}

// New makes a Book that keeps what it knows in the records of st.
func New(st store.Store, cfg Config) *Book {
	cfg.MaxContacts = cmp.Or(max(cfg.MaxContacts, 0), 1_000_000)
	cfg.MaxStrangers = cmp.Or(max(cfg.MaxStrangers, 0), 10_000)
	cfg.Fresh = cmp.Or(max(cfg.Fresh, 0), 5*time.Second)
	cfg.Logger = cmp.Or(cfg.Logger, slog.New(slog.DiscardHandler))
	return &Book{cfg: cfg, st: st}
}

// Current returns the DID that a party goes by now, as our DID own was told: peer itself,
// or the one that the party has rotated to since, in the form that resolves. Errors:
// ErrEnded; those of the store.
func (b *Book) Current(ctx context.Context, own, peer string) (string, error) {
	_, last, hops, err := b.follow(ctx, own, peer)
	switch {
	case err != nil:
		return "", err
	case last.Ended:
		return "", fmt.Errorf("%w: %.200s", ErrEnded, last.Peer)
	case hops == 0:
		return peer, nil
	}
	return last.Peer, nil
}

// Keep makes a contact of a party, for our DID own: under the DID peer, and under the
// DID that the party goes by now. Errors: store.ErrFull where there are
// Config.MaxContacts; ErrTooLong; those of the store.
func (b *Book) Keep(ctx context.Context, own, peer string) error {
	return b.change(ctx, func() (list []record, err error) {
		first, last, hops, err := b.follow(ctx, own, peer)
		if err != nil {
			return nil, err
		}
		before := first.entry
		first.Peer, first.Contact = longest(first.Peer, peer), true
		if hops > 1 && last.Confirmed { // a long way is gone once
			first.Next = last.Peer
		}
		if first.entry != before || first.version == 0 {
			list = append(list, first)
		}
		if hops > 0 && !last.Contact {
			last.Contact = true
			list = append(list, last)
		}
		return list, nil
	})
}

// Forget drops what our DID own knows of the DID peer: the party goes by it again, even
// if it has rotated or ended the relationship, until a from_prior comes again. Other DIDs
// of the party are not forgotten. Errors: those of the store.
func (b *Book) Forget(ctx context.Context, own, peer string) error {
	return b.change(ctx, func() ([]record, error) {
		r, err := b.load(ctx, own, peer)
		if err != nil || r.version == 0 {
			return nil, err
		}
		r.forgotten = true
		return []record{r}, nil
	})
}

// Long returns the long form of a did:peer:4 in short form, or the empty string if none
// is known. It has the shape that didpeer.Resolver.LongForm asks for. Errors: those of
// the store.
func (b *Book) Long(ctx context.Context, short string) (string, error) {
	list, err := b.st.Records().List(ctx, store.Query{Collection: parties, Index: short, N: 1})
	switch {
	case err != nil:
		return "", fmt.Errorf("contact: %w", err)
	case len(list) == 0:
		return "", nil
	}
	e, err := decode(list[0].Value)
	return e.Peer, err
}

// Met notes that peer has proven to our DID own, by a message, that it goes by that DID,
// in the form given. Rotating tells whether the message has a from_prior. Left reports
// that the party has left this DID, by a rotation or an end that own was told of. Then
// the message is to be ignored (DID Rotation), and nothing is noted.
//
// Nothing is noted of a stranger that there is no room for. Errors: those of the store.
func (b *Book) Met(ctx context.Context, own, peer string, rotating bool) (left bool, err error) {
	err = b.change(ctx, func() ([]record, error) {
		r, err := b.load(ctx, own, peer)
		if err != nil {
			return nil, err
		}
		left = r.left()
		longer := (r.Peer != peer || r.version == 0) && did.Canonical(peer) != peer
		confirms := !rotating && !r.Since.IsZero() && !r.Confirmed
		if left || !longer && !confirms {
			return nil, nil
		}
		r.Peer, r.Confirmed = longest(r.Peer, peer), r.Confirmed || confirms
		return []record{r}, nil
	})
	return left, b.passOver(ctx, err, own, peer)
}

// Rotation is what a proven from_prior says.
type Rotation struct {
	Prior    string    // the DID that the party has gone by
	DID      string    // the DID that the party goes by now; empty ends the relationship
	IssuedAt time.Time // iat of the from_prior; zero if it has none
}

// Rotate notes that our DID own was told of a rotation. It reports whether the rotation
// holds: the Book follows it from now on, or did before, and no later one has taken its
// place.
//
// A rotation of a stranger that there is no room for is not followed. Errors: those of
// the store.
func (b *Book) Rotate(ctx context.Context, own string, r Rotation) (holds bool, err error) {
	if oldest := time.Unix(0, 0).UTC(); r.IssuedAt.Before(oldest) {
		r.IssuedAt = oldest
	}
	var v verdict
	err = b.change(ctx, func() (list []record, err error) {
		v, list, err = b.judge(ctx, own, r)
		return list, err
	})
	if err != nil {
		return false, b.passOver(ctx, err, own, r.Prior)
	}
	log := b.cfg.Logger.With("own", own, "prior", r.Prior, "did", r.DID)
	switch {
	case v == refused:
		log.WarnContext(ctx, "a rotation from a DID that its party has left, or one too many, is not followed")
	case v == news && r.DID == "":
		log.InfoContext(ctx, "a party has ended the relationship")
	case v == news:
		log.InfoContext(ctx, "a party goes by another DID")
	}
	return v == news || v == known, nil
}
