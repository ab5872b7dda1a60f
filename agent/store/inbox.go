package store

import (
	"context"
	"time"
)

// Inbox keeps received messages. A message is stored before its sender is told that it
// was received. Then the message is handled. After that the inbox remembers the message
// for a time, with the replies to it, so that a message that arrives again is not handled
// again.
//
// Sender and ID identify a message. Messages are leased in the order in which they become
// due; messages that are due at the same time, in the order of [Inbox.Add]. No message
// waits for another one to be handled.
//
// All methods may be called at the same time from many goroutines, and, where the back
// end is shared, from many processes.
type Inbox interface {
	// Add stores a message and leases it to the caller for d. When Add returns, the
	// message is as durable as the back end makes it. The results are:
	//
	//   - A lease, if the message is new.
	//   - What the inbox knows of the message, if the message is not new. Of several calls
	//     for one new message at the same time, exactly one gets a lease.
	//   - Neither, if the message is new and d is 0. Then the message is done at once: the
	//     inbox only remembers it, and it takes no share.
	//
	// Errors: ErrFull, also if m.PeerShare, m.OwnerShare or the share of strangers has no
	// room for m.
	Add(ctx context.Context, m Received, d time.Duration) (*Lease[Received], *Known, error)
	// Lease waits for a message that is due and leases it for d. A message is due when
	// its former lease has run out, or when the delay of a Nak has passed. Lease returns
	// ctx.Err() if ctx ends first.
	Lease(ctx context.Context, d time.Duration) (*Lease[Received], error)
	// Extend sets the end of a lease to d from now. The lease that it returns takes the
	// place of l and has the same token, so l can still end it. Errors: ErrLease.
	Extend(ctx context.Context, l *Lease[Received], d time.Duration) (*Lease[Received], error)
	// Ack marks a message as handled, and stores the replies that were sent on the
	// connection by which the message came. Errors: ErrLease.
	Ack(ctx context.Context, l *Lease[Received], replies ...Packet) error
	// Nak returns a message to the inbox. The message is due again after delay, and reason
	// becomes its LastError. With an empty reason the message counts as untried: LastError
	// stays, and the lease is not counted in Attempts. Errors: ErrLease.
	Nak(ctx context.Context, l *Lease[Received], delay time.Duration, reason string) error
	// Term buries a message: the inbox remembers the message, and never leases it again.
	// reason becomes its LastError. Errors: ErrLease.
	Term(ctx context.Context, l *Lease[Received], reason string) error
	// Remembered returns those of ids that the inbox knows as messages of sender, in the
	// order in which the messages were added.
	Remembered(ctx context.Context, sender string, ids []string) ([]string, error)
}

// InboxAdmin is what an operator can do with an Inbox.
type InboxAdmin interface {
	// List returns at most n entries with a Seq above after, in the order of Seq, with
	// their packets. Messages without a packet are left out, such as those that are only
	// remembered.
	List(ctx context.Context, after uint64, n int) ([]Entry[Received], error)
	// Find returns the entries that List returns of messages with that ID, in the order of
	// Seq. Several senders may use the same ID.
	Find(ctx context.Context, id string) ([]Entry[Received], error)
	// Retry makes a waiting or buried message due now, with no attempts. A leased message
	// stays leased. Errors: ErrNotFound, also for a message that is done or has no packet.
	Retry(ctx context.Context, seq uint64) error
	// Drop removes the packet of a message. The inbox still remembers the message. A
	// lease of the message is lost. Errors: ErrNotFound.
	Drop(ctx context.Context, seq uint64) error
}

// Received is a received message.
type Received struct {
	// Sender names the sender and the recipient of the message, and for an anonymous message
	// its content. ID is the id of the message. Together they identify the message in the
	// inbox.
	Sender, ID string
	// Peer is the party whose share of the inbox the message takes. Usually this is the
	// sender.
	Peer string
	// Class tells whether Peer is a stranger. All strangers together have a share of the
	// inbox: see [InboxConfig].
	Class Class
	// Owner is a second party that has the message in its share of the inbox, such as
	// the DID of ours that the message came to. If Owner is empty, there is no second
	// party. An Owner and a Peer of the same name have a share each.
	Owner string
	// PeerShare and OwnerShare bound the waiting and leased messages of Peer and of Owner,
	// this message included. They hold only for the Add of this message, besides the
	// bounds of the inbox. Messages that are done or buried are in no share. Retry checks
	// no bound. A Received that a store returns has no bounds.
	PeerShare, OwnerShare Share
	// To is the DID of ours that the message came to. Type and Thread are the type and
	// the thread id of the message.
	To, Type, Thread string
	// Packet is the message as it arrived. Its Data is empty for a message that needs no
	// handling and is not shown to an operator.
	Packet Packet
	// Time is when the message arrived. The inbox remembers the message at least until
	// Until, unless its party has more than its share: see [InboxConfig.MaxRemembered].
	Time, Until time.Time
}

// Known is what an Inbox remembers of a message.
type Known struct {
	State   State
	Replies []Packet // the replies that Ack stored; empty if the inbox has dropped them
}
