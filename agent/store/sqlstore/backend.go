package sqlstore

import (
	"context"
	"database/sql"
	"time"

	"github.com/pressly/goose/v3"
)

// Backend is a database for [Open]. The packages sqlite and postgres make one.
type Backend struct {
	// Name names the database in errors and logs, such as "sqlite /var/lib/agent.db".
	Name    string
	Dialect Dialect
	// Write has the connection for all transactions that write. Read is for queries, and
	// may be the same pool. Heartbeat is for heartbeats, if Shared is set.
	Write, Read, Heartbeat *sql.DB
	// Migrate is for migrations of the schema, which may take longer than Timeout. If it
	// is nil, Write is used. Open closes Migrate when the migrations are done.
	Migrate *sql.DB
	// Begin is the statement that begins a transaction that writes. BeginLease begins a
	// transaction that only leases. A lease is of no use after a crash of the machine, so
	// the second transaction need not survive one.
	Begin, BeginLease string
	// Pipeline runs statements in one round trip, until one fails. It is nil for a
	// database in the same process. Notify is the statement that sends a notice, made of
	// letters and digits, to other processes when the transaction commits. Without a
	// Pipeline there are no notices.
	Pipeline func(ctx context.Context, c *sql.Conn, statements []Statement) error
	Notify   func(notice string) Statement
	// Timeout bounds one try of a transaction, and the wait for the first row of a query.
	// Patience bounds how long a caller waits for a transaction, over all tries. A value
	// of 0 sets no bound.
	Timeout, Patience time.Duration
	// Renew is called when a connection was found dead. It closes c, if c is not nil, at
	// once. It also makes the pool close all connections of now instead of using them
	// again, but not more than once a second. Renew is nil if connections do not die.
	Renew func(c *sql.Conn)
	// Shared tells that the database is across a network, and that processes on several
	// machines write to it, as with PostgreSQL. Then the processes send heartbeats, and
	// the store looks up the outcome of a commit that was not answered.
	Shared bool
	// Fault classifies an error of the database.
	Fault func(error) Fault
	// Scrub moves what was committed from the log of the database into its file, and
	// empties the log. So it removes, as far as possible, the remains of rows that were
	// overwritten or deleted. It runs on a connection without a
	// transaction. It is nil if the files belong to a server.
	Scrub func(ctx context.Context, c *sql.Conn) error
	// Intact returns an error if the files of the database were deleted, replaced or cut
	// off since they were opened. It is called after each commit, and must be fast. Then
	// Rescue writes the content that c can still read to a new file, and returns its name.
	// Release is called when all connections are closed. They are nil if the files belong
	// to a server.
	Intact  func() error
	Rescue  func(ctx context.Context, c *sql.Conn) (path string, err error)
	Release func() error
	// Listen calls heard for each notice of another process until ctx ends or an error
	// occurs. When notices may have been missed, it calls heard with "". Listen is nil if
	// there are no notices. Then Changed tells whether another process has written since
	// the last call of Changed; c is the connection that writes.
	Listen  func(ctx context.Context, heard func(notice string)) error
	Changed func(ctx context.Context, c *sql.Conn) (bool, error)
}

// Statement is a statement with its arguments, in the SQL of its database.
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

// Fault is a class of errors of a database. It tells what to do after an error.
type Fault int

// The classes of errors. A transaction that fails with Contended, Busy, Lost or Refused is
// tried again.
const (
	Other     Fault = iota
	Contended       // deadlock, serialization failure, or a unique key that another process has just written
	Busy            // another process holds a lock for long
	Lost            // the connection is broken; the next try uses another one
	Refused         // a connection cannot be made now
	Full            // no space is left on the disk
	Corrupt         // the database is damaged, or is no database
)
