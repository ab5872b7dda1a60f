package sqlstore

import (
	"context"
	"database/sql"
	"time"

	"github.com/pressly/goose/v3"
)

// Backend is a database as Open needs it; the packages sqlite and postgres make
// one.
type Backend struct {
	// Name is how errors call it.
	Name    string
	Dialect Dialect
	// Write has the connection that all writes go through. Read serves what only
	// reads; it may be the same. Beat is for heartbeats, where Shared is set.
	Write, Read, Beat *sql.DB
	// Migrate is for changes of the schema, which may take longer than Timeout; nil
	// is Write. Open closes it.
	Migrate *sql.DB
	// Begin begins a transaction which writes. BeginLease begins one that only
	// leases: as its effect is worth nothing to the next process, it need not
	// outlive a crash of the machine.
	Begin, BeginLease string
	// Pipeline runs statements in one round trip, until one fails; nil where that
	// is no use. Notify is the statement that gives a notice, of letters and
	// digits, to other processes when the transaction commits; without a Pipeline
	// there are no notices.
	Pipeline func(ctx context.Context, c *sql.Conn, statements []Statement) error
	Notify   func(notice string) Statement
	// Timeout ends a try of a transaction, and of a query that has given no row; 0 is
	// never.
	// Patience is how long the caller of an operation waits for it, over all tries; 0
	// is until it is done.
	Timeout, Patience time.Duration
	// Renew ends c, which may be nil, at once, and keeps the connections that there are
	// now from being used again once they are idle: one of them was found dead. The
	// latter it does not do twice within a moment. Nil where connections do not die.
	Renew func(c *sql.Conn)
	// Shared tells that the database is across a network, and processes on several
	// machines write to it. They know of each other by heartbeats, and find out what
	// became of a commit that was not answered: see lives. It is for PostgreSQL.
	Shared bool
	// Fault classifies an error of the database.
	Fault func(error) Fault
	// Scrub takes away what is left of a row that was overwritten or deleted, as far
	// as it can, on a connection without a transaction; nil where that is the
	// server's affair.
	Scrub func(ctx context.Context, c *sql.Conn) error
	// Listen calls heard for each notice that another process gave, and with "" when
	// it may have missed some, until ctx ends. Nil where there are no notices:
	// then Changed tells whether another process wrote since it was last called on
	// the connection that writes.
	Listen  func(ctx context.Context, heard func(notice string)) error
	Changed func(ctx context.Context, c *sql.Conn) (bool, error)
}

// Statement is one, in the SQL of its database.
type Statement struct {
	Text string
	Args []any
}

// Dialect is the SQL that a Backend speaks.
type Dialect int

// The dialects.
const (
	SQLite Dialect = iota
	PostgreSQL
)

func (d Dialect) goose() goose.Dialect {
	if d == PostgreSQL {
		return goose.DialectPostgres
	}
	return goose.DialectSQLite3
}

// Fault is a class of errors of a database.
type Fault int

// The classes of errors.
const (
	Other     Fault = iota
	Contended       // deadlock, serialization failure, or a unique index met what another process wrote: again, as it is
	Busy            // another process holds it for long: again, later
	Lost            // the connection is gone: again, on another one
	Refused         // there is no connection to be had now: again, later
	Full            // no space is left
	Corrupt         // not a database, or a broken one
)
