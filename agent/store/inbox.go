package store

import (
	"context"
	"time"
)

// Inbox is what was taken in: each message is stored before the peer is told
// that we have it, handled, and remembered for a time with what was replied, so
// that it is handled once even if it comes again.
//
// A message is known by its Sender and ID. Messages are leased in the order of Add, those that are
// due at the same time, and do not wait for each other.
//
// All methods may be called at the same time from many goroutines, and, where
// the back end is shared, from many processes.
type Inbox interface {
	// Add takes a message in and leases it to the caller for d; with d of 0 it
	// is done at once and only remembered. It is durable, as far as the back end
	// goes, when Add returns. Of several calls for one message, also at the same
	// time, exactly one gets a lease (or, with d of 0, neither lease nor known);
	// the others get what is known of it. Errors: ErrFull, also where m.PeerShare or
	// m.OwnerShare has no room for m. With d of 0 the message takes no share.
	Add(ctx context.Context, m Received, d time.Duration) (*Lease[Received], *Known, error)
	// Lease waits for a message that is due, because its lease ran out or its
	// delay has passed, and hands it out for d. It returns ctx.Err() when ctx
	// ends first.
	Lease(ctx context.Context, d time.Duration) (*Lease[Received], error)
	// Extend makes a lease end d from now. The lease that it returns takes the place
	// of l and has its token, so l can still end it. Errors: ErrLease.
	Extend(ctx context.Context, l *Lease[Received], d time.Duration) (*Lease[Received], error)
	// Ack marks a message as handled, and keeps the packets that were sent in
	// reply on the connection that it came by. Errors: ErrLease.
	Ack(ctx context.Context, l *Lease[Received], replies ...Packet) error
	// Nak gives the message back, to be due again after delay; reason becomes
	// its LastError. With no reason it is given back untried: LastError stays,
	// and the lease is not counted as an attempt. Errors: ErrLease.
	Nak(ctx context.Context, l *Lease[Received], delay time.Duration, reason string) error
	// Term sets the message aside, for the reason given: it is handled no more,
	// but remembered. Errors: ErrLease.
	Term(ctx context.Context, l *Lease[Received], reason string) error
	// Remembered returns those of ids that are known of a sender, in the order in
	// which they came.
	Remembered(ctx context.Context, sender string, ids []string) ([]string, error)
}

// InboxAdmin is what a person can do with an Inbox.
type InboxAdmin interface {
	// List returns at most n entries with a Seq above after, in that order,
	// whole. What is remembered without its packet is left out.
	List(ctx context.Context, after uint64, n int) ([]Entry[Received], error)
	// Retry makes a message due now that waits or was set aside, with no
	// attempts. Errors: ErrNotFound.
	Retry(ctx context.Context, seq uint64) error
	// Drop forgets a message's packet; the message itself stays remembered.
	// Errors: ErrNotFound.
	Drop(ctx context.Context, seq uint64) error
}

// Received is a message that was taken in.
type Received struct {
	// Sender names who sent the message, and to whom; ID is the id of the message.
	Sender, ID string
	// Peer is the party whose share of the inbox it takes; the sender, usually.
	Peer string
	// Owner is a second party that has the message in its share of the inbox, such as
	// the DID of ours that the message came to. Where Owner is empty, there is no
	// second party. An Owner and a Peer of the same name have a share each.
	Owner string
	// PeerShare and OwnerShare bound what waits or is leased of Peer and of Owner, this
	// message included. They hold for the Add of this message only, besides the bounds
	// of the inbox itself. Messages that are done or buried are in no share. Retry looks
	// at no bound. A Received that a store returns has its Owner, and no bounds.
	PeerShare, OwnerShare Share
	// To is the DID of ours that it came to, Type and Thread are what the
	// message says.
	To, Type, Thread string
	// Packet is the message as it came; its Data is empty for one that needs no
	// handling and is not to be shown.
	Packet Packet
	// Time is when it came, Until how long it is remembered at least.
	Time, Until time.Time
}

// Known is what an Inbox remembers of a message.
type Known struct {
	State   State
	Replies []Packet // as Ack has them
}
