// Package sqlite opens an agent's store in a SQLite file, by the pure Go
// modernc.org/sqlite: no server, no cgo. See sqlstore for what holds.
//
// Several processes of one machine may have the file open at the same time. It
// must be on a local disk: the write-ahead log needs shared memory.
package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"

	driver "modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/didcomm-go/didcomm/agent/store/sqlstore"
)

// busy is how long, in milliseconds, a transaction waits for one of another
// process.
const busy = "10000"

// patience is how long, in milliseconds, a checkpoint waits for those who read.
const patience = "1000"

// readers is how many connections read beside the one that writes.
const readers = 4

// Open opens the store in the file of that name, and makes it where there is
// none, for its owner alone (mode 0600). A file that holds anything else than
// such a store is refused and left as it is. Errors: sqlstore.ErrCorrupt,
// sqlstore.ErrNewerSchema, store.ErrFull.
//
// With Config.Reclaim, which is for who serves, the file is read and checked for
// damage first (PRAGMA quick_check): whole up to 1 GiB, above that without the
// tables of packets. Others find damage where they come across it: in the first
// pages at once, elsewhere as the ErrCorrupt of an operation. What cannot be found
// is damage within a value, as of a packet, which then does not open; a row that an
// index misses; and a log (the file with -wal) that is gone, or damaged at its end:
// what was in it was then never there.
func Open(ctx context.Context, path string, cfg sqlstore.Config) (*sqlstore.Store, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("sqlite: %w", err)
	}
	if err := examine(ctx, path, cfg.Reclaim); err != nil {
		return nil, err
	}
	write, err := pool(path, 1, "query_only(false)",
		// What is deleted within a page is written over, not what is on pages that
		// become free: these would be written once more for each message.
		"secure_delete(FAST)")
	if err != nil {
		return nil, err
	}
	read, err := pool(path, readers, "query_only(true)")
	if err != nil {
		return nil, errors.Join(err, write.Close())
	}
	return sqlstore.Open(ctx, &sqlstore.Backend{
		Name:    "sqlite " + path,
		Dialect: sqlstore.SQLite,
		Write:   write, Read: read,
		Begin: "PRAGMA synchronous = FULL; BEGIN IMMEDIATE",
		// This survives a killed process. What the machine loses in a crash is
		// who held a lease, and that process is gone with it.
		BeginLease: "PRAGMA synchronous = NORMAL; BEGIN IMMEDIATE",
		Fault:      fault,
		Scrub:      scrub,
		Changed:    new(dataVersion).changed,
	}, cfg)
}

func pool(path string, conns int, pragmas ...string) (*sql.DB, error) {
	db, err := sql.Open("sqlite", dsn(path, "rwc", append([]string{
		"busy_timeout(" + busy + ")", // first: the others may have to wait
		"journal_mode(WAL)",
		"synchronous(FULL)",
		"foreign_keys(ON)",
		"cache_size(-65536)",          // KiB
		"journal_size_limit(8388608)", // bytes that the log keeps of the disk when it is written back
	}, pragmas...)...))
	if err != nil {
		return nil, fmt.Errorf("sqlite: %w", err)
	}
	db.SetMaxOpenConns(conns)
	db.SetMaxIdleConns(conns)
	return db, nil
}

func dsn(path, mode string, pragmas ...string) string {
	q := url.Values{"mode": {mode}, "_txlock": {"immediate"}, "_pragma": pragmas}
	// The path is one of a URI: what is special there is escaped.
	return (&url.URL{Scheme: "file", OmitHost: true, Path: filepath.ToSlash(path), RawQuery: q.Encode()}).String()
}

// fault classifies by the extended result code, and by the primary one.
func fault(err error) sqlstore.Fault {
	var e *driver.Error
	if !errors.As(err, &e) {
		return sqlstore.Other
	}
	switch e.Code() {
	case sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY:
		return sqlstore.Contended
	case sqlite3.SQLITE_IOERR_SHMSIZE:
		return sqlstore.Full
	}
	switch e.Code() & 0xff {
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED:
		return sqlstore.Busy
	case sqlite3.SQLITE_FULL:
		return sqlstore.Full
	case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
		return sqlstore.Corrupt
	}
	return sqlstore.Other
}

// scrub writes the log back and empties it: only there an overwritten row still
// stands.
func scrub(ctx context.Context, c *sql.Conn) error {
	if _, err := c.ExecContext(ctx, "PRAGMA busy_timeout = "+patience); err != nil {
		return err
	}
	var blocked, frames, written int
	err := c.QueryRowContext(ctx, "PRAGMA wal_checkpoint(TRUNCATE)").Scan(&blocked, &frames, &written)
	if err == nil && blocked != 0 {
		err = errors.New("sqlite: the log is being read")
	}
	_, reset := c.ExecContext(ctx, "PRAGMA busy_timeout = "+busy)
	return errors.Join(err, reset)
}

// watch looks at a number that is another one whenever another connection has
// written.
type dataVersion struct{ last int64 }

func (v *dataVersion) changed(ctx context.Context, c *sql.Conn) (bool, error) {
	before := v.last
	err := c.QueryRowContext(ctx, "PRAGMA data_version").Scan(&v.last)
	return v.last != before, err
}
