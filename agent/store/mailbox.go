package store

import (
	"context"
	"time"
)

// Mailbox holds packets that a mediator took in for others, each in the box of
// its owner, until the owner picks them up (Pickup 3.0 and 4.0).
//
// Mail is leased in the order of Deposit. What is not acked when its lease runs
// out is leased again, before what came later.
type Mailbox interface {
	// Deposit puts a packet into a box, which there need not have been before.
	// It is durable, as far as the back end goes, when it returns. Errors:
	// ErrFull, ErrExists for a known ID.
	Deposit(ctx context.Context, box string, m Mail) error
	// Lease hands out at most n of the oldest packets of a box that are not
	// leased, for d; none if there are none.
	Lease(ctx context.Context, box string, n int, d time.Duration) ([]Mail, error)
	// Ack removes packets from a box by ID, leased or not, and returns how many
	// there were.
	Ack(ctx context.Context, box string, ids ...string) (int, error)
	// Nak ends the leases of packets at once: they go back to their places.
	Nak(ctx context.Context, box string, ids ...string) error
	// Status counts a box.
	Status(ctx context.Context, box string) (MailboxStatus, error)
	// Wait returns when the box has a packet to lease, or ctx.Err() when ctx ends
	// first.
	Wait(ctx context.Context, box string) error
}

// Mail is one packet in a box.
type Mail struct {
	// ID is unique in its box.
	ID string
	// For is the DID, or key of it, that the packet was forwarded to.
	For    string
	Packet Packet
	Time   time.Time // when it came
	// Expires is when it is worth nothing any more and is dropped; zero is
	// never.
	Expires time.Time
}

// MailboxStatus is what a box holds, leased packets included.
type MailboxStatus struct {
	Count          int
	Bytes          int64
	Oldest, Newest time.Time // zero in an empty box
}
