// Package contact keeps what an agent knows about the parties that it exchanges messages
// with: the DID that a party has rotated to, and the long form of a did:peer:4. It keeps
// these facts in records of the agent's store.
//
// An agent makes a [Book] and fills it. If you make the resolver of did:peer yourself, make
// the Book too, and give the method [Book.Long] to the resolver:
//
//	book := contact.New(st, contact.Config{})
//	peers := &didpeer.Resolver{LongForm: book.Long}
//	a, err := agent.New(agent.Config{Store: st, Contacts: book, ...})
//
// A protocol calls [Book.Keep] for a party that it must not lose, for example a mediator
// for a party to which it has granted mediation. When a program sends a message, the agent
// calls Keep for each recipient.
//
// # Contacts and strangers
//
// A party is a contact after Keep. All other parties are strangers. Anybody can write to an
// agent, from any number of DIDs, so the Book keeps only Config.MaxStrangers strangers.
// For a new stranger it forgets one of those that it has recorded first, even if that one
// still writes. A flood of strangers can neither fill the store nor displace a contact.
//
// # DIDs of ours are kept apart
//
// Everything in the Book belongs to a pair of DIDs: one of ours, and one of the party. A
// message to one DID of ours changes nothing for another DID of ours. Otherwise a party
// that knows two DIDs of ours could find out that both belong to one agent.
//
// There is one exception: [Book.Long] finds the long form of a did:peer:4 for every DID of
// ours, since a resolver does not know for which DID of ours it resolves. Therefore an
// agent refuses a message from a short form that the DID of ours does not know (see
// [Book.Knows]), as if the short form did not resolve.
//
// # Rotations
//
// A rotation is announced by a from_prior, which the prior DID signs and dates (iat).
// Messages arrive in any order, so the date decides. The Book does not follow a rotation
// in these cases:
//
//   - It is not newer than the last rotation from the same prior DID.
//   - It is older than the rotation by which the party came to the prior DID.
//   - The party has left the prior DID, and has sent a message without from_prior from the
//     new DID, or from a DID that it has rotated to from there. The party then knows that
//     we know its new DID. A further rotation from the old DID may come from somebody who
//     has found the key of the old DID.
//
// A party may rotate back to a DID that it has left. A from_prior without iat counts as
// older than any other.
//
// A message may be authenticated by the prior DID alone, although its from_prior names a new DID.
// Anybody can announce any DID so. The Book follows such a rotation when the new DID has
// authenticated a message that agents do not send by themselves ([Book.Announce]).
//
// # Ends
//
// A from_prior without a new DID ends the relationship. Until the party returns, messages to
// it fail with [ErrEnded]. Messages in the outbox are still tried.
//
// A from_prior names no recipient. A party that receives the end of a relationship can
// therefore pass it on to others that know the same DID, at any time. So the Book does not
// follow an end that is older than the last message of a contact, and the party returns with
// any later message ([Book.Reopen]). Then the same end has no effect any more. [Book.Forget]
// undoes an end, too. Empty messages and problem reports do not count, since agents send them
// by themselves.
//
// The Book compares whole seconds: the iat of the end with the created_time of a message. For a
// message without created_time, the time of receipt counts, and any such message that arrives after
// the end is a return. The Book knows the time of the last message exactly if the same Book was
// told of the message, and otherwise to the minute, since it does not write a record for each
// message.
//
// # Dialects
//
// Agents differ in the messages that they speak: the version of a protocol, the name of an
// answer, acks. The [Dialect] of a contact has the forms that the contact has shown to speak or
// to lack, and the capability that the contact has given us for its mediator. [Book.Learn] adds
// to the Dialect, and [Book.Dialect] returns it.
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

// ErrLeft means that a message is from a DID that its party has left for another one, or
// without another one (DIDComm v2.1, DID Rotation). Match it with errors.Is.
var ErrLeft = errors.New("contact: the party has left the DID")

// ErrEnded means that the party has ended the relationship (DIDComm v2.1, Ending a
// Relationship). Match it with errors.Is.
var ErrEnded = errors.New("contact: the party has ended the relationship")

// Config configures a [Book]. A zero in a field means the default.
type Config struct {
	// MaxContacts is how many contacts are kept. A party counts once for each DID of ours
	// that knows it. The default is 1,000,000.
	MaxContacts int
	// MaxStrangers is how many strangers are kept, with 4 KiB each at most. A party counts
	// once for each DID of ours that knows it. The default is 10,000.
	MaxStrangers int
	// Fresh is how long the Book uses a record in memory before it reads the record again.
	// If several processes share a store, each can miss the changes of the others for so
	// long. The default is 5 seconds.
	Fresh time.Duration
	// Logger logs DIDs. The default discards logs.
	Logger *slog.Logger
}

// Book has what an agent knows about other parties. It may be used from several goroutines.
// Several Books, in several processes, may share a store. Make a Book with [New].
type Book struct {
	cfg Config
	st  store.Store

	mu    sync.Mutex // guards all below; not held during I/O
	cache lru.Map[key, record]
	// heard has the times of the last messages of contacts: records may have earlier ones.
	heard lru.Map[key, time.Time]
	// changed counts the changes of records, by the first byte of their keys. A record is
	// not cached if the count changes while it is read.
	changed [256]int
}

// New returns a Book that is kept in the records of st.
func New(st store.Store, cfg Config) *Book {
	cfg.MaxContacts = cmp.Or(max(cfg.MaxContacts, 0), 1_000_000)
	cfg.MaxStrangers = cmp.Or(max(cfg.MaxStrangers, 0), 10_000)
	cfg.Fresh = cmp.Or(max(cfg.Fresh, 0), 5*time.Second)
	cfg.Logger = cmp.Or(cfg.Logger, slog.New(slog.DiscardHandler))
	return &Book{cfg: cfg, st: st}
}

// Current returns the DID that a party uses now with our DID own: peer, or the DID that
// the party has rotated to from peer, in the form that resolves. The error matches
// [ErrEnded] if the party has ended the relationship. Other errors are those of the
// store.
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

// Keep makes a party a contact of our DID own, both under the DID peer and under the DID
// that the party uses now. Errors are store.ErrFull if there are Config.MaxContacts
// contacts, [ErrTooLong], and other errors of the store.
func (b *Book) Keep(ctx context.Context, own, peer string) error {
	return b.change(ctx, func() (list []record, err error) {
		first, last, hops, err := b.follow(ctx, own, peer)
		if err != nil {
			return nil, err
		}
		before := first.entry
		if !first.Contact { // a party of its own, whatever another one has announced
			first.Prior, first.PriorAt = "", time.Time{}
		}
		first.Peer, first.Contact = longest(first.Peer, peer), true
		if hops > 1 && last.Confirmed { // so that later calls follow one rotation only
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

// Forget removes what our DID own knows about the DID peer. Messages to peer are sent to
// peer again, even if the party has rotated to another DID or has ended the relationship,
// until another from_prior arrives. Other DIDs of the party are not forgotten. Errors are
// those of the store.
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

// Knows reports whether the Book has anything about the DID peer for our DID own, for
// example because own has got a message from the long form of peer, or has sent one to
// peer. Errors are those of the store.
func (b *Book) Knows(ctx context.Context, own, peer string) (bool, error) {
	r, err := b.load(ctx, own, peer)
	return r.version != 0, err
}

// IsContact reports whether a party is a contact of our DID own under the DID peer: see
// [Book.Keep]. Errors are those of the store.
func (b *Book) IsContact(ctx context.Context, own, peer string) (bool, error) {
	r, err := b.load(ctx, own, peer)
	return r.Contact, err
}

// Long returns the long form of a did:peer:4 for its short form, or "" if it is not known.
// It can be the LongForm of a didpeer.Resolver. Errors are those of the store.
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

// Met records an authenticated message from the DID peer to our DID own. If peer is the
// long form of a did:peer:4, the Book keeps that form. The caller sets rotating if the
// message has a from_prior, or may have been passed on by another party: such a message does
// not confirm a rotation. at is when the party has sent the message, but no time to come. It
// is zero for a message that agents send by themselves, such as an ack: that counts neither for
// the end of a relationship nor for a rotation that was announced ([Book.Announce]).
//
// Met reports whether the party has left peer, by a rotation or by the end of the
// relationship. If so, the message must be ignored (DID Rotation), and nothing is recorded.
// Nothing is recorded either for a stranger for whom there is no room. Errors are those of
// the store.
func (b *Book) Met(ctx context.Context, own, peer string, at time.Time, rotating bool) (left bool, err error) {
	at = at.UTC().Truncate(time.Second)
	timeOnly := false // nothing but the time is to be stored
	err = b.change(ctx, func() ([]record, error) {
		timeOnly = false
		r, err := b.load(ctx, own, peer)
		if err != nil {
			return nil, err
		}
		if left = r.left(); !left && !rotating && !at.IsZero() && r.Prior != "" {
			return b.arrived(ctx, r)
		}
		longer := (r.Peer != peer || r.version == 0) && did.Canonical(peer) != peer
		confirms := !rotating && !r.Since.IsZero() && !r.Confirmed
		due := !left && b.hear(&r, at)
		if left || !longer && !confirms && !due {
			return nil, nil
		}
		if due {
			r.Heard, timeOnly = at, !longer && !confirms
		}
		r.Peer, r.Confirmed = longest(r.Peer, peer), r.Confirmed || confirms
		return []record{r}, nil
	})
	if err != nil && timeOnly {
		b.cfg.Logger.InfoContext(ctx, "time of a message not recorded", "own", own, "did", peer, "error", err)
		return left, nil
	}
	return left, b.passOver(ctx, err, own, peer)
}

// Rotation is the content of a from_prior whose signature was checked.
type Rotation struct {
	Prior    string    // the DID that the party leaves
	DID      string    // the DID that the party uses from now on; empty ends the relationship
	IssuedAt time.Time // iat of the from_prior; zero if it has none
}

// Rotate records a rotation that our DID own was told about. It reports whether the Book
// follows the rotation, from now on or already before. The package documentation says which
// rotations are not followed. The rotation of a stranger for whom there is no room is not
// followed either. Errors are those of the store.
func (b *Book) Rotate(ctx context.Context, own string, r Rotation) (holds bool, err error) {
	r.IssuedAt = clamp(r.IssuedAt)
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
		log.WarnContext(ctx, "rotation not followed: the party has left the prior did, or has rotated too often")
	case v == news && r.DID == "":
		log.InfoContext(ctx, "a party has ended the relationship")
	case v == news:
		log.InfoContext(ctx, "a party has rotated to another did")
	}
	return v == news || v == known, nil
}
