package store

import (
	"context"
	"time"
)

// Mailbox holds the packets that a mediator received for others. Each packet is in the box
// of its owner until the owner picks it up (Pickup 3.0 and 4.0).
//
// Packets of a box are leased in the order of [Mailbox.Deposit]. A packet whose lease runs
// out before an Ack keeps its place: it is leased again before later packets.
//
// All methods may be called at the same time from many goroutines, and, where the back
// end is shared, from many processes.
type Mailbox interface {
	// Deposit puts a packet into a box. The box need not exist before. When Deposit
	// returns, the packet is as durable as the back end makes it. Errors: ErrFull;
	// ErrExists if the box has a packet with that ID.
	Deposit(ctx context.Context, box string, m Mail) error
	// Lease leases at most n packets of a box for d: the oldest packets that are not
	// leased. It does not wait: if there is no such packet, it returns an empty list.
	Lease(ctx context.Context, box string, n int, d time.Duration) ([]Mail, error)
	// Ack removes the packets with these IDs from a box, whether they are leased or not.
	// It returns how many packets it has removed.
	Ack(ctx context.Context, box string, ids ...string) (int, error)
	// Nak ends the leases of the packets with these IDs at once. The packets keep their
	// places.
	Nak(ctx context.Context, box string, ids ...string) error
	// Status counts the packets of a box. A box that does not exist is empty.
	Status(ctx context.Context, box string) (MailboxStatus, error)
	// Wait returns nil when the box has a packet that can be leased. It returns ctx.Err()
	// if ctx ends first.
	Wait(ctx context.Context, box string) error
}

// Mail is one packet in a box.
type Mail struct {
	// ID is unique in its box.
	ID string
	// For is the DID, or the DID URL of the key, that the packet was forwarded to.
	For    string
	Packet Packet
	Time   time.Time // when the mediator received the packet
	// Expires is when the store drops the packet. A packet with a zero Expires stays
	// until an Ack.
	Expires time.Time
}

// MailboxStatus tells what a box holds, leased packets included.
type MailboxStatus struct {
	Count          int
	Bytes          int64     // of the packets
	Oldest, Newest time.Time // Time of the first and of the last packet; zero for an empty box
}
