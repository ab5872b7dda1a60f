package store

import (
	"context"
	"time"
)

// Records keeps what protocols and the agent know between two messages, such as the
// state of an exchange, a contact or an identity. A record is known by its collection
// and its key; its value is opaque.
//
// All methods may be called at the same time from many goroutines, and, where the back
// end is shared, from many processes.
type Records interface {
	// Get returns a record. Errors: ErrNotFound, also for a record that has expired.
	Get(ctx context.Context, collection, key string) (Record, error)
	// Put stores a record in place of the one whose Version r has, or as a new record
	// where r.Version is 0, and returns the new version. The record is durable, as far
	// as the back end goes, when Put returns. Errors: ErrVersion if the record there has
	// another version, is gone, or is there where r.Version is 0; ErrFull.
	Put(ctx context.Context, r Record) (version uint64, err error)
	// Delete removes the record of that version; 0 stands for any. Errors: ErrNotFound
	// where there is no such record, ErrVersion where the record has another version.
	Delete(ctx context.Context, collection, key string, version uint64) error
	// List returns at most q.N records in the order of their versions, which is the
	// order in which they were last put.
	List(ctx context.Context, q Query) ([]Record, error)
}

// Record is one value that is kept.
type Record struct {
	Collection, Key string
	Value           []byte
	// Version tells this state of the record from all others, and grows with each Put in
	// the store, with gaps. It belongs to the store. 0 is that of a record that is not
	// stored yet.
	Version uint64
	// Index are names under which List finds the record, at most MaxIndex different ones.
	Index []string
	// Expires is when the record is worth nothing any more, and is dropped; zero is
	// never.
	Expires time.Time
	// Limit, if not 0, makes Put of a new record fail with ErrFull where its collection
	// has that many already.
	Limit int
}

// MaxIndex is how many names a record may be found by.
const MaxIndex = 8

// Query says which records of a collection to list.
type Query struct {
	Collection string
	Index      string // a name that the records have in their Index; empty for all of the collection
	After      uint64 // only records with a higher version
	N          int    // at most so many
}

// Changes are what Store.Commit makes durable together. The zero value changes nothing.
type Changes struct {
	// Put are records as of Records.Put. Commit sets their Version.
	Put []Record
	// Delete are records as of Records.Delete, named by Collection, Key and Version.
	Delete []Record
	// Enqueue are items as of Outbox.Enqueue.
	Enqueue []Item
	// Ack, if not nil, is the lease of a message of the inbox that is acked, with
	// Replies as of Inbox.Ack.
	Ack     *Lease[Received]
	Replies []Packet
}

// Store is one back end with all that an agent keeps.
type Store interface {
	Outbox() Outbox
	Inbox() Inbox
	Records() Records
	// Commit makes all of c durable, or nothing of it. Errors: those of the methods that
	// Changes names, the first that applies; nothing was changed then. A Store made by
	// Join commits the parts one after the other.
	Commit(ctx context.Context, c *Changes) error
}
