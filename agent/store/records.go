package store

import (
	"context"
	"slices"
	"time"
)

// Records keeps the knowledge that protocols and the agent need between two messages,
// such as the state of an exchange, a contact or an identity. A collection and a key name
// a record; the value of the record is opaque. Collections, keys and values may be any
// bytes, or empty.
//
// After the time of Expires, a record is gone for all methods. The store removes such
// records bit by bit.
//
// All methods may be called at the same time from many goroutines, and, where the back
// end is shared, from many processes.
type Records interface {
	// Get returns the record of that name. Errors: ErrNotFound.
	Get(ctx context.Context, collection, key string) (Record, error)
	// Put stores a record and returns its new version. When Put returns, the record is as
	// durable as the back end makes it. r.Version makes Put a compare-and-set:
	//
	//   - If r.Version is 0, there must be no record of that name yet.
	//   - Otherwise r.Version must be the version of the stored record. Put replaces this
	//     record.
	//
	// Errors: ErrVersion if the stored record does not have that version; ErrIndex;
	// ErrFull.
	Put(ctx context.Context, r Record) (version uint64, err error)
	// Delete removes a record if it has that version. A version of 0 stands for any
	// version. Errors: ErrNotFound if there is no record of that name; ErrVersion if the
	// record has another version.
	Delete(ctx context.Context, collection, key string, version uint64) error
	// List returns at most q.N records in the order of their versions: the order in which
	// the records were last put. To read the next page, set q.After to the Version of the
	// last record of this page.
	//
	//   - A record that does not change meanwhile is on exactly one page.
	//   - A record that is put meanwhile moves to the end, so it may be on two pages.
	//   - Where several processes write, a record that is put meanwhile may be on no page.
	List(ctx context.Context, q Query) ([]Record, error)
}

// Record is a value with its name, its version and the names that List finds it by.
type Record struct {
	Collection, Key string
	Value           []byte
	// Version tells this state of the record from all other states. The store sets the
	// version: each Put sets a higher version than all earlier Puts in the store, with
	// gaps. A record that is not stored yet has version 0.
	Version uint64
	// Index are names by which List finds the record, at most MaxIndex different ones.
	// Empty names do not count.
	Index []string
	// Expires is when the store drops the record. A record with a zero Expires stays.
	Expires time.Time
	// Limit bounds the records of the collection, for the Put of a new record: Put fails
	// with ErrFull if the collection has that many records already. A Limit of 0 or less
	// sets no bound. The store does not keep Limit.
	Limit int
}

// Bytes is the size of the record in bytes: of its value, collection, key and index names.
func (r *Record) Bytes() int64 {
	n := len(r.Collection) + len(r.Key) + len(r.Value)
	for _, name := range r.Index {
		n += len(name)
	}
	return int64(n)
}

// Names returns the names in r.Index, in that order, without empty names and without
// duplicates. Errors: ErrIndex.
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

// MaxIndex is the largest number of different names in the Index of a record.
const MaxIndex = 8

// Query selects records of a collection.
type Query struct {
	Collection string
	Index      string // only records with this name in their Index; empty: all records
	After      uint64 // only records with a higher version
	N          int    // the largest number of records that List returns
}
