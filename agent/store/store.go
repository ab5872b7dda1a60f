// Package store defines what an agent keeps between two messages, as small contracts.
// Each back end implements each contract on its own. This package has the
// implementations in memory.
//
// The contracts are:
//
//   - [Outbox]: packets on their way out, in order per recipient and lane.
//   - [Inbox]: messages that were taken in, each handled once, and the replies to them.
//   - [Mailbox]: packets that wait for somebody else to pick them up.
//   - [Records]: the knowledge of protocols and of the agent, by collection and key.
//   - [SealedKeys]: private keys, sealed by agent/keyring.
//
// A [Store] has an outbox, an inbox and records, and commits changes to all three
// together: the state of a handler and its answer do not part in a crash.
// [OutboxAdmin] and [InboxAdmin] are for persons who look after an agent; an outbox or
// inbox may implement them.
//
// Outbox, Inbox and Mailbox are work queues. An item is leased for a time. The worker
// that has the lease acks the item, nacks it with a delay, or ends it ("term") with a
// reason. When the lease runs out, the item can be leased again, so that another worker
// does the work of a process that died.
//
// [New] makes a Store in memory. [NewOutbox], [NewInbox], [NewRecords], [NewMailbox] and
// [NewSealedKeys] make one part each. All of them end with the process. Package
// agent/store/sqlstore keeps the same in SQLite and PostgreSQL, and
// agent/store/storetest is the suite that every implementation passes.
//
// Values in this package are strings, bytes and times. A store knows nothing of DIDs or
// message formats, and gets neither plaintext nor unsealed private keys, but for the
// values of records, which are as their owners write them.
package store

import (
	"errors"
	"time"
)

// Errors that users of a store act on; match them with errors.Is.
var (
	// ErrFull: the store, or the share of one party in it, holds as much as it
	// may, or its disk is full. Nothing was stored.
	ErrFull = errors.New("store: full")
	// ErrExists: there is one of that name already. Nothing was stored.
	ErrExists = errors.New("store: already there")
	// ErrNotFound: there is none of that name.
	ErrNotFound = errors.New("store: not found")
	// ErrLease: the lease ran out, or its item is gone. Nothing was changed.
	ErrLease = errors.New("store: lease lost")
	// ErrVersion: the record is another by now. Nothing was changed.
	ErrVersion = errors.New("store: record changed")
	// ErrIndex: the record has more than MaxIndex names in its Index. Nothing was
	// changed.
	ErrIndex = errors.New("store: too many names of a record")
)

// Packet is a message as it travels.
type Packet struct {
	MediaType string
	Data      []byte
}

// Lease is an item handed out until a time.
type Lease[T any] struct {
	Item  T
	Until time.Time
	// Attempts counts the leases of the item before this one, but those that a
	// Nak without a reason ended, and LastError is the last reason of a Nak.
	Attempts  int
	LastError string
	// Token tells this lease from earlier ones of the same item. It belongs to
	// the store.
	Token uint64
}

// State is what has become of an item.
type State string

// The states of items.
const (
	Waiting State = "waiting" // to be leased
	Leased  State = "leased"
	Done    State = "done"   // acked: an Inbox remembers it
	Buried  State = "buried" // ended by Term: kept for a person to see
)

// Entry is an item as a person is shown it.
type Entry[T any] struct {
	// Seq numbers the entries of one store in the order in which they came. It
	// grows, with gaps.
	Seq       uint64
	Item      T
	State     State
	Due       time.Time // when it can be leased, or its lease ends
	Attempts  int       // leases so far, counted as for a Lease
	LastError string    // of the last Nak, or of Term
}
