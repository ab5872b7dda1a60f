package store

import (
	"context"
	"time"
)

// Outbox is a queue of packets to deliver.
//
// Class, To and Lane of an item name its lane. Items of one lane are leased in the order of
// [Outbox.Enqueue], one at a time: an item waits until all earlier items of its lane are
// acked, buried or set aside. Items of different lanes do not wait for each other, so an
// item of the owner never waits for an answer to a stranger. But the outbox bounds how many
// items of one class for one To are leased at a time, so that one unreachable peer does not
// occupy all workers.
//
// All methods may be called at the same time from many goroutines, and, where the back
// end is shared, from many processes.
type Outbox interface {
	// Enqueue stores the items, all or none. When Enqueue returns, the items are as
	// durable as the back end makes them. Errors: ErrExists if the ID of an item is taken;
	// ErrFull, also if the class of an item has no room in its share, or the OwnerShare of
	// an item none for all items of the call that have the same Owner.
	Enqueue(ctx context.Context, items ...Item) error
	// Lease waits for an item of one of the classes that is due, and leases it for d. No
	// classes means all of them. An item that is not acked, nacked or buried within d is
	// due again. Lease returns ctx.Err() if ctx ends first.
	Lease(ctx context.Context, d time.Duration, classes ...Class) (*Lease[Item], error)
	// Ack removes a delivered item. Errors: ErrLease.
	Ack(ctx context.Context, l *Lease[Item]) error
	// Nak returns an item to its lane. The item is due again after delay, and reason
	// becomes its LastError. With an empty reason the item counts as untried: LastError
	// stays, and the lease is not counted in Attempts. Errors: ErrLease.
	Nak(ctx context.Context, l *Lease[Item], delay time.Duration, reason string) error
	// Aside sets an item aside: it does what Nak does, and takes the item out of its lane.
	// The next item of the lane is due at once. From then on, the item that was set aside
	// is alone in a lane of its own. Errors: ErrLease.
	Aside(ctx context.Context, l *Lease[Item], delay time.Duration, reason string) error
	// Await marks an item as sent, while the caller waits for an acknowledgement of the
	// recipient. Until the lease ends, for whatever reason, the item still blocks its
	// lane, but does not count as a leased item of its class and To. Awaiting items have a limit of
	// their own: [OutboxConfig.PerPeerAwaiting]. Errors: ErrLease; ErrFull above the
	// limit, and then the item still counts as leased.
	Await(ctx context.Context, l *Lease[Item]) error
	// Term buries an item that could not be delivered: the item is never leased again,
	// and does not block its lane. reason becomes its LastError. Errors: ErrLease.
	Term(ctx context.Context, l *Lease[Item], reason string) error
	// Wake is for a To that can be reached again: it ends the delays of all items for
	// that To, so that the first item of each of their lanes is due now.
	Wake(ctx context.Context, to string) error
}

// OutboxAdmin is what an operator can do with an Outbox.
type OutboxAdmin interface {
	// List returns at most n entries with a Seq above after, in the order of Seq, without
	// the data of their packets.
	List(ctx context.Context, after uint64, n int) ([]Entry[Item], error)
	// Get returns the entry of the item with that ID, with its packets. Errors:
	// ErrNotFound.
	Get(ctx context.Context, id string) (Entry[Item], error)
	// Retry makes an item due now:
	//
	//   - A buried item is queued again, at the end of its lane, with no attempts. If
	//     deadline is not zero, it becomes the Deadline of the item.
	//   - The delay of a waiting item ends. An item that waits for earlier items of its
	//     lane still waits for them.
	//   - A leased item stays leased.
	//
	// Errors: ErrNotFound.
	Retry(ctx context.Context, id string, deadline time.Time) error
	// Drop removes an item in any state. A lease of the item is lost. Errors: ErrNotFound.
	Drop(ctx context.Context, id string) error
}

// Item is one message to deliver to one party.
type Item struct {
	// ID is unique in the outbox.
	ID string
	// MessageID and Thread are the id and the thread id of the message. From and To are
	// the DIDs of its sender and its recipient. From is empty for an anonymous message.
	MessageID, Thread, From, To string
	// Owner is a second party that has the item in its share of the queue, besides To,
	// such as the DID of ours that the item is from. If Owner is empty, there is no second
	// party. An Owner and a To of the same name have a share each.
	Owner string
	// OwnerShare bounds the queued items of Owner, this item included. It holds only for
	// the Enqueue of this item. Buried items are in no share. Retry checks no bound. An
	// Item that a store returns has no bound.
	OwnerShare Share
	// Lane names the lane of the item, together with Class and To. If Lane is empty, Thread takes
	// its place.
	Lane string
	// Direct is the packet that the recipient opens itself: there is no envelope for a
	// mediator around it.
	Direct Packet
	// Endpoints are the alternatives for delivery, best first. Delivery to one of them is
	// enough. If there are none, the item can only be delivered on a connection that the
	// recipient opens.
	Endpoints []Endpoint
	// AskAck tells that the message asks the recipient for an acknowledgement. If the item
	// goes out on a connection without receipts, the item is delivered when the
	// acknowledgement arrives.
	AskAck bool
	// NeedsReceipt tells that the message asks for no acknowledgement, and must not be
	// lost all the same. A connection without receipts may be used only if the recipient
	// offers no other way, and the item is delivered only when the connection has proved
	// to be alive after the send.
	NeedsReceipt bool
	// HidesSender tells that the packet does not show mediators from whom it is, although From
	// is not empty. Nothing else that is sent because of the item may show that.
	HidesSender bool
	// Class says on whose behalf the item is sent. The classes have shares of the outbox of
	// their own, and are leased apart: see [Outbox.Lease].
	Class Class
	// Created is when the item was made. After Deadline, the item need not be delivered
	// any more.
	Created, Deadline time.Time
	// Expires is the expires_time of the message, or zero. It is for the forwards in which
	// the Direct packet is wrapped, since mediators may keep these beyond Deadline.
	Expires time.Time
}

// Bytes is the size of the packet of the item.
func (it *Item) Bytes() int64 { return int64(len(it.Direct.Data)) }

// Endpoint is one address of a recipient.
type Endpoint struct {
	URI string
	// RoutingKeys are the keys of the mediators in front of the recipient, the outermost
	// first. The Direct packet is wrapped in a forward for each of them when it is sent.
	RoutingKeys []string
}
