package store

import (
	"context"
	"slices"
	"time"
)

// Records keeps what protocols and the agent know between two messages, such as the
// state of an exchange, a contact or an identity. A record is known by its collection
// and its key; its value is opaque. All three may be any bytes, and empty.
//
// A record whose Expires has passed is gone for all methods; the store removes it some
// time later.
//
// All methods may be called at the same time from many goroutines, and, where the back
// end is shared, from many processes.
type Records interface {
	// Get returns a record. Errors: ErrNotFound.
	Get(ctx context.Context, collection, key string) (Record, error)
	// Put stores a record in place of the one whose Version r has, or as a new record
	// where r.Version is 0, and returns the new version. The record is durable, as far
	// as the back end goes, when Put returns. Errors: ErrVersion if the record there has
	// another version, is gone, or is there where r.Version is 0; ErrIndex; ErrFull.
	Put(ctx context.Context, r Record) (version uint64, err error)
	// Delete removes the record of that version; 0 stands for any. Errors: ErrNotFound
	// where there is no such record, ErrVersion where the record has another version.
	Delete(ctx context.Context, collection, key string, version uint64) error
	// List returns at most q.N records in the order of their versions, which is the
	// order in which they were last put. With the Version of the last of them as q.After
	// it returns the next page. A record that stays as it is while the pages are read is
	// on exactly one of them. A record that is put meanwhile moves to the end, and may be
	// on two pages; where several processes write, it may be on none.
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
	// Index are names under which List finds the record, at most MaxIndex different
	// ones; an empty name is none.
	Index []string
	// Expires is when the record is worth nothing any more, and is dropped; zero is
	// never.
	Expires time.Time
	// Limit, if not 0, makes Put of a new record fail with ErrFull where its collection
	// has that many already. It is not stored.
	Limit int
}

// Bytes is the size of the record: its value and its names.
func (r *Record) Bytes() int64 {
	n := len(r.Collection) + len(r.Key) + len(r.Value)
	for _, name := range r.Index {
		n += len(name)
	}
	return int64(n)
}

// Names returns the different names of r.Index, in that order, without an empty one.
// Errors: ErrIndex.
func (r *Record) Names() ([]string, error) {
	var names []string
	for _, name := range r.Index {
		switch {
		case name == "" || slices.Contains(names, name):
		case len(names) == MaxIndex:
			return nil, ErrIndex
		default:
			names = append(names, name)
		}
	}
	return names, nil
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
