package store

import (
	"context"
	"time"
)

// Outbox is a queue of packets to deliver.
//
// Order: items of one lane, which To and Lane name, are leased in the order of
// Enqueue, and never two at a time: an item waits until all earlier ones of its
// lane are acked, ended or set aside. Items of different lanes are independent,
// but a store holds back the items for one To while many of them are leased, so
// that one dead peer does not take every worker.
//
// All methods may be called at the same time from many goroutines, and, where
// the back end is shared, from many processes.
type Outbox interface {
	// Enqueue stores the items, all or none. They are durable, as far as the
	// back end goes, when it returns. Errors: ErrExists; ErrFull, also where the
	// OwnerShare of an item has no room for all items of the call that have its Owner.
	Enqueue(ctx context.Context, items ...Item) error
	// Lease waits for an item that is due and hands it out for d. An item that
	// is neither acked, naked nor ended when d has passed is due again. It
	// returns ctx.Err() when ctx ends first.
	Lease(ctx context.Context, d time.Duration) (*Lease[Item], error)
	// Ack removes a delivered item. Errors: ErrLease.
	Ack(ctx context.Context, l *Lease[Item]) error
	// Nak gives the item back, to be due again after delay; reason becomes its
	// LastError. With no reason it is given back untried: LastError stays, and
	// the lease is not counted as an attempt. Errors: ErrLease.
	Nak(ctx context.Context, l *Lease[Item], delay time.Duration, reason string) error
	// Aside is Nak, and takes the item out of its lane: what stands behind it goes
	// on at once, and the item is leased by itself from then on. Errors: ErrLease.
	Aside(ctx context.Context, l *Lease[Item], delay time.Duration, reason string) error
	// Await says that the item has left and waits for an acknowledgement: until
	// the lease ends, in whatever way, the item still holds up its lane, but does
	// not count any more among those for its To that are leased. Items that wait
	// so have a limit of their own. Errors: ErrLease; ErrFull above the limit, and
	// the item counts as before.
	Await(ctx context.Context, l *Lease[Item]) error
	// Term buries the item undelivered, for the reason given: it is leased no
	// more and no longer holds up its lane. Errors: ErrLease.
	Term(ctx context.Context, l *Lease[Item], reason string) error
	// Wake makes the items due now that wait for one To after a Nak: it can be
	// reached again.
	Wake(ctx context.Context, to string) error
}

// OutboxAdmin is what a person can do with an Outbox. Buried items count towards
// no limit; a store may drop the oldest of them when there are too many.
type OutboxAdmin interface {
	// List returns at most n entries with a Seq above after, in that order, the
	// packets left out.
	List(ctx context.Context, after uint64, n int) ([]Entry[Item], error)
	// Get returns one entry by the item's ID, whole. Errors: ErrNotFound.
	Get(ctx context.Context, id string) (Entry[Item], error)
	// Retry makes an item due now. One that is buried is queued again, behind
	// what its lane has, with no attempts and the deadline given if that is not
	// zero. One that is leased stays so. Errors: ErrNotFound.
	Retry(ctx context.Context, id string, deadline time.Time) error
	// Drop removes an item, whatever its state; a lease of it is lost. Errors:
	// ErrNotFound.
	Drop(ctx context.Context, id string) error
}

// Item is one message on its way to one party.
type Item struct {
	// ID is unique in the outbox.
	ID string
	// MessageID and Thread are the id and thread of the message, From and To
	// the DIDs it goes between; From is empty for an anonymous message.
	MessageID, Thread, From, To string
	// Owner is a second party that has the item in its share of the queue, besides To,
	// such as the DID of ours that the item is from. Where Owner is empty, there is no
	// second party. An Owner and a To of the same name have a share each.
	Owner string
	// OwnerShare bounds what Owner may have in the queue, this item included. It holds
	// for the Enqueue of this item only. Buried items are in no share. Retry looks at no
	// bound. An Item that a store returns has its Owner, and no bound.
	OwnerShare Share
	// Lane names the lane, together with To; where it is empty, Thread does.
	Lane string
	// Direct is the packet as its recipient opens it, for a connection that it
	// has to us; its Data may be empty.
	Direct Packet
	// Endpoints are the alternatives, best first. Delivery by one is enough. There
	// may be none: then only a connection that the recipient makes will do.
	Endpoints []Endpoint
	// AskAck tells that the message asks for an acknowledgement: where a
	// connection gives no receipt, it is delivered when that has come.
	AskAck bool
	// NeedsReceipt tells that it asks for none and yet must not be lost: a way that gives
	// no receipt will do only if the recipient has no other, and once the connection
	// was seen to live on.
	NeedsReceipt bool
	// Created is when the item was made, Deadline when it is worth nothing any
	// more.
	Created, Deadline time.Time
}

// Bytes is the size of the item's packets.
func (it *Item) Bytes() int64 {
	n := len(it.Direct.Data)
	for _, r := range it.Endpoints {
		n += len(r.Packet.Data)
	}
	return int64(n)
}

// Endpoint is one way to a recipient, with the packet that goes that way to the recipient.
type Endpoint struct {
	URI    string
	Packet Packet // Data is empty where it is the item's Direct
}
