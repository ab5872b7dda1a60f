// Package store defines the contracts for the data that an agent keeps between two
// messages: small interfaces, each implemented by each back end on its own. It also has
// the implementations in memory.
//
// The contracts are:
//
//   - [Outbox]: packets to deliver, in order per recipient and lane.
//   - [Inbox]: received messages, each handled once, and the replies to them.
//   - [Mailbox]: packets that a mediator holds until their owner picks them up.
//   - [Records]: the state of protocols and of the agent, by collection and key.
//   - [SealedKeys]: private keys, sealed by package agent/keyring.
//
// A [Store] has an outbox, an inbox and records. [Store.Commit] changes all three
// together, so that the state of a handler and its answer cannot part in a crash.
// [OutboxAdmin] and [InboxAdmin] are for the operator of an agent. An outbox or inbox may
// implement them; all implementations of this module do.
//
// # Back ends
//
// [New] makes a Store in memory. [NewOutbox], [NewInbox], [NewRecords], [NewMailbox] and
// [NewSealedKeys] make one part each. Their data ends with the process. Package
// agent/store/sqlstore keeps the same data in SQLite and PostgreSQL. Package
// agent/store/storetest is the test suite that every implementation passes.
//
// # Leases
//
// Outbox, Inbox and Mailbox are work queues. A worker leases an item for a time, works on
// it, and ends the lease with one of these calls, named as in NATS JetStream:
//
//   - Ack: the work is done.
//   - Nak, a negative acknowledgement: the item can be leased again, after a delay in an
//     Outbox or an Inbox, and at once in a Mailbox.
//   - Term: the work has failed for good. The item is [Buried]: it is never leased again,
//     and kept for the operator, who can retry or drop it. A Mailbox has no Term.
//
// An Outbox has two more calls. [Outbox.Aside] is a Nak that lets the next item of the
// lane go ahead. [Outbox.Await] keeps the lease of an item that was sent and waits for an
// acknowledgement of its recipient.
//
// A lease that is not ended runs out, and the item can be leased again. So another worker
// takes over the work of a process that died, and the work on an item may be done more
// than once. A call that names a lease that has run out fails with [ErrLease]. [Settle]
// repeats such a call while the store fails.
//
// # Data
//
// A store keeps strings, bytes and times. It knows nothing of DIDs or message formats. It
// gets neither plaintext messages nor unsealed private keys. Values of records are stored
// as they are given.
package store

import (
	"errors"
	"time"
)

// Errors of stores; match them with errors.Is. After each of them, nothing was changed.
var (
	// ErrFull tells that a limit of the store is reached, or a limit of one party in it,
	// or that the disk is full.
	ErrFull = errors.New("store: full")
	// ErrExists tells that the name or ID of a new entry is taken.
	ErrExists = errors.New("store: already exists")
	// ErrNotFound tells that there is no entry of that name or ID.
	ErrNotFound = errors.New("store: not found")
	// ErrLease tells that the lease has run out, was ended before, or is of an item that
	// was removed.
	ErrLease = errors.New("store: lease lost")
	// ErrVersion tells that the record does not have the version that the call names.
	ErrVersion = errors.New("store: record changed")
	// ErrIndex tells that the Index of a record has more than MaxIndex names.
	ErrIndex = errors.New("store: record has too many index names")
)

// Packet is a message as a transport carries it.
type Packet struct {
	MediaType string
	Data      []byte
}

// Lease gives its holder the right to work on an item until a time.
type Lease[T any] struct {
	Item  T
	Until time.Time // the end of the lease
	// Attempts counts the earlier leases of the item, without those that ended in a Nak
	// with an empty reason. LastError is the last reason given to Nak.
	Attempts  int
	LastError string
	// Token tells this lease from other leases of the same item. Only the store uses it.
	Token uint64
}

// State is the state of an item in an Outbox or an Inbox.
type State string

// The states of an item.
const (
	Waiting State = "waiting" // can be leased, now or later
	Leased  State = "leased"
	Done    State = "done"   // acked; an Inbox remembers the message
	Buried  State = "buried" // ended by Term; kept for the operator
)

// Entry is an item as an operator sees it.
type Entry[T any] struct {
	// Seq numbers the entries of an Outbox or of an Inbox in the order in which they were
	// added, with gaps.
	Seq       uint64
	Item      T
	State     State
	Due       time.Time // when a waiting item can be leased, or when the lease ends
	Attempts  int       // leases so far, counted as for Lease.Attempts
	LastError string    // the reason of the last Nak, or of Term
}
