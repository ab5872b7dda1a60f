package store

import (
	"context"
	"errors"
	"time"
)

// Mailbox holds the packets that a mediator received for others. Each packet is in the boxes
// of its owner, one for each device, until the device picks it up (Pickup 3.0 and 4.0).
//
// # Order
//
// The packets of one sender are leased in the order of [Mailbox.Deposit]. Senders take turns,
// so that a sender with many packets does not hold up a sender with one: a new packet gets the
// turn after that of the packet that its sender has in the box already, or the turn of the packet
// that was leased last if that turn is later. The packets of a box are leased by their turns,
// and in the order of Deposit within a turn.
//
// A packet whose lease runs out before an Ack keeps its turn: it is leased again before later
// packets. A packet that was leased [Pick.Tries] times is a suspect: a device may fail, or end,
// whenever it gets the packet. Suspects come last, those with fewer deliveries first, and each
// alone: a Lease that has any other packet returns no suspect, and else it returns one suspect.
//
// # Clocks
//
// A clock that is set back ends leases and delays early rather than late, so that no mail is
// hidden. Mail then stays longer until it expires.
//
// All methods may be called at the same time from many goroutines, and, where the back
// end is shared, from many processes.
type Mailbox interface {
	// Deposit puts a packet into boxes, in one durable write: into all of them, or into
	// none. The boxes need not exist before. The bytes of the packet are stored once,
	// whatever the number of boxes, but each box counts them. A box that has a packet with
	// that ID already is left as it is. Errors:
	//
	//   - ErrExists if all boxes have a packet with that ID.
	//   - ErrNoBox if there is no box.
	//   - *LimitError, which matches ErrFull, if a limit has no room.
	Deposit(ctx context.Context, m Mail, boxes ...string) error
	// Lease leases packets of a box for d. It does not wait: if there is no packet to
	// lease, it returns an empty list. Each lease counts in Mail.Deliveries.
	Lease(ctx context.Context, box string, p Pick, d time.Duration) ([]Mail, error)
	// Ack removes the packets with these IDs from a box, whether they are leased or not.
	// It returns how many packets it has removed.
	Ack(ctx context.Context, box string, ids ...string) (int, error)
	// Nak ends the leases of the packets with these IDs at once, or of all packets of the
	// box if there is no ID. The packets keep their places, and their deliveries stay
	// counted.
	Nak(ctx context.Context, box string, ids ...string) error
	// Status counts the packets of a box: all, or with names those whose For is one of
	// them. A box that does not exist is empty.
	Status(ctx context.Context, box string, names ...string) (MailboxStatus, error)
	// Wait returns nil when the box has a packet that is due and not leased. It returns
	// ctx.Err() if ctx ends first.
	Wait(ctx context.Context, box string) error
	// Boxes returns at most n boxes with mail, for an operator. They are in an order that
	// the back end chooses and keeps, which for names of a few characters is that of their
	// letters. The first is the one after the name after, which need not be the name of a
	// box; with an empty name, it is the first of all. A box with an empty name is left out.
	Boxes(ctx context.Context, after string, n int) ([]BoxStatus, error)
	// Purge removes packets of a box: all, or with names those whose For is one of them. It
	// removes packets that are in the box when it is called, in steps, and returns how many
	// it has removed, also with an error.
	Purge(ctx context.Context, box string, names ...string) (int, error)
}

// Pick chooses packets to lease.
type Pick struct {
	N     int      // at most so many packets; required
	Bytes int64    // at most so many bytes of packets, but always one packet; 0 or less for no limit
	For   []string // only packets with one of these For; empty for all
	Held  bool     // packets that are leased already, too
	// Tries makes suspects of packets that were leased so often without an Ack: see
	// Mailbox. With 0 or less there are no suspects.
	Tries int
}

// Mail is one packet in a box.
type Mail struct {
	// ID is unique in its box.
	ID string
	// For is the DID that the packet is for. Names are compared as they are, byte by byte.
	For string
	// Sender is the party whose turns and shares count. All mail with an empty Sender is of
	// one party.
	Sender string
	Packet Packet
	Time   time.Time // when the mediator received the packet
	// Due is when the packet can be leased first. Zero is at once.
	Due time.Time
	// Expires is when the store drops the packet. It is not leased from then on, and may
	// count in the limits for some seconds more. A packet with a zero Expires stays until an
	// Ack.
	Expires time.Time
	// Deliveries is how often the packet was leased from this box, with the lease that
	// returns it. Deposit does not look at it.
	Deliveries int

	// Bounds for this Deposit, besides those of MailboxConfig: of each box, of Sender in
	// each box, and of Sender in all boxes. Lease returns neither them nor Due.
	BoxShare, PairShare, SenderShare Share
}

// MailboxStatus tells what a box holds, leased packets and packets that are not due included.
type MailboxStatus struct {
	Count          int
	Bytes          int64     // of the packets
	Oldest, Newest time.Time // Time of the first and of the last Deposit; zero for an empty box
	Leased         int       // packets that were leased at least once, and not acked
}

// BoxStatus is a box as an operator sees it.
type BoxStatus struct {
	Box string
	MailboxStatus
}

// ErrNoBox tells that a Deposit names no box.
var ErrNoBox = errors.New("store: a deposit needs a box")

// The limits of a Mailbox, by the names that a LimitError has.
const (
	LimitStore  = "store"  // of all boxes together
	LimitBox    = "box"    // of one box
	LimitPair   = "pair"   // of one sender in one box
	LimitSender = "sender" // of one sender in all boxes
)

// LimitError tells which limit of a Mailbox has no room for a packet. If several have none,
// the error names one of them, and the narrowest first: LimitPair, LimitSender, LimitBox,
// LimitStore. It matches ErrFull.
type LimitError struct{ Limit string }

// Error implements error.
func (e *LimitError) Error() string { return "store: full: limit of the " + e.Limit }

// Is tells that a LimitError is ErrFull.
func (e *LimitError) Is(target error) bool { return target == ErrFull }
