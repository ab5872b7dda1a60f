// Package store defines what an agent keeps between two messages, as small
// contracts that each back end implements on its own, and the in-memory
// implementation of each.
//
// An Outbox is the queue of packets on their way out, in the words of a work
// queue: Enqueue, Lease, Ack, Nak with a delay, Term with a reason. A Replay
// remembers which messages were taken in. NewOutbox and NewReplay make the
// ones in memory, which live as long as the process; agent/store/storetest is
// the suite that every implementation passes.
//
// Values in this package are strings, bytes and times: a store knows nothing
// of DIDs, keys or message formats, and never sees plaintext.
package store

import (
	"context"
	"errors"
	"time"
)

// Errors that users of a store act on; match them with errors.Is.
var (
	// ErrFull: the store holds as much as it may. Nothing was stored.
	ErrFull = errors.New("store: full")
	// ErrExists: an item of that ID is queued already. Nothing was stored.
	ErrExists = errors.New("store: already there")
	// ErrLease: the lease ran out, or its item is gone. Nothing was changed.
	ErrLease = errors.New("store: lease lost")
)

// Outbox is a queue of packets to deliver.
//
// Order: items of one lane, which is one (To, Thread) pair, are leased in the
// order of Enqueue, and never two at a time: an item waits until all earlier
// ones of its lane are acked or ended. Items of different lanes are
// independent, but a store may hold back the items for one To while many of
// them are leased, so that one dead peer does not take every worker.
//
// All methods may be called at the same time from many goroutines.
type Outbox interface {
	// Enqueue stores the items, all or none. They are durable, as far as the
	// back end goes, when it returns. Errors: ErrFull, ErrExists.
	Enqueue(ctx context.Context, items ...Item) error
	// Lease waits for an item that is due and hands it out for d. An item that
	// is neither acked, naked nor ended when d has passed is due again. It
	// returns ctx.Err() when ctx ends first.
	Lease(ctx context.Context, d time.Duration) (*Lease, error)
	// Ack removes a delivered item. Errors: ErrLease.
	Ack(ctx context.Context, l *Lease) error
	// Nak gives the item back, to be due again after delay; reason becomes its
	// LastError. Errors: ErrLease.
	Nak(ctx context.Context, l *Lease, delay time.Duration, reason string) error
	// Term ends the item undelivered, for the reason given. Errors: ErrLease.
	Term(ctx context.Context, l *Lease, reason string) error
}

// Item is one message on its way to one party.
type Item struct {
	// ID is unique in the outbox.
	ID string
	// MessageID and Thread are the id and thread of the message, From and To
	// the DIDs it goes between; From is empty for an anonymous message. To and
	// Thread name the lane.
	MessageID, Thread, From, To string
	// Routes are the alternatives, best first. Delivery by one is enough.
	Routes []Route
	// Created is when the item was made, Deadline when it is worth nothing any
	// more.
	Created, Deadline time.Time

	// Attempts counts the leases before this one, LastError is the reason of
	// the last Nak. The store keeps both.
	Attempts  int
	LastError string
}

// Route is a packet, packed for one way to the recipient.
type Route struct {
	Endpoint  string // URI
	MediaType string
	Data      []byte
}

// Lease is an item handed out until a time.
type Lease struct {
	Item  Item
	Until time.Time
	// Token tells this lease from earlier ones of the same item. It belongs to
	// the store.
	Token uint64
}

// Replay remembers messages by sender and id. The empty sender stands for all
// who did not authenticate.
type Replay interface {
	// Add records a message until a time, and reports whether it was new: of
	// several calls for one message, also at the same time, exactly one gets
	// true.
	Add(ctx context.Context, sender, id string, until time.Time) (bool, error)
	// Forget takes an Add back: the message was not taken in after all.
	Forget(ctx context.Context, sender, id string) error
	// Received returns those of ids that are recorded for a sender, in the order
	// in which they were added.
	Received(ctx context.Context, sender string, ids []string) ([]string, error)
}
