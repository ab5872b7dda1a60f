// Package sqlite opens the store of an agent in a SQLite file, with [Open]. The driver is
// modernc.org/sqlite, which is pure Go: there is no server and no cgo. Package sqlstore
// tells what a store guarantees.
//
// Several processes of one machine may have the file open at the same time. The file must
// be on a local disk, because the write-ahead log needs shared memory.
//
// If the file or its log is deleted, replaced or cut off while the store is open, the store
// notices that at the next commit, or within a quarter of a second while a call waits for an
// item. From then on each call fails with sqlstore.ErrGone. The store writes the content that
// can still be read to a new file beside, path.rescued-TIME, and logs the name of this file.
//
// [Copy] makes a backup, also while the store is open. A plain copy of the file has not what
// is in the log.
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

// busy is how long, in milliseconds, a transaction waits for a transaction of another
// process.
const busy = "10000"

// patience is how long, in milliseconds, a checkpoint waits for queries.
const patience = "1000"

// maxLog is the largest size of the log, in bytes, after a checkpoint.
const maxLog = 8 << 20

// readers is the number of connections for queries, besides the connection that writes.
const readers = 4

// Open opens the store in the file at path. If there is no file, Open makes one with mode
// 0600. Open refuses a file that holds anything else than such a store, and leaves it as it
// is. Errors: [sqlstore.ErrCorrupt], [sqlstore.ErrNewerSchema], store.ErrFull.
//
// With the Reclaim of cfg, Open reads the file first and checks it for damage (PRAGMA
// quick_check). In a file above 1 GiB, it leaves out the tables of packets. Without Reclaim,
// damage in the first pages makes Open fail, and damage elsewhere makes a later call fail
// with sqlstore.ErrCorrupt. Three kinds of damage are not found:
//
//   - Damage within a value. For example, a damaged packet cannot be decrypted.
//   - A row that an index does not have.
//   - A write-ahead log (the file path-wal) that is missing, or damaged at its end. The
//     transactions in the lost part are lost.
func Open(ctx context.Context, path string, cfg sqlstore.Config) (*sqlstore.Store, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("sqlite: %w", err)
	}
	// SQLite keeps the log beside the file that a link names.
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target
	}
	if err := examine(ctx, path, cfg.Reclaim); err != nil {
		return nil, err
	}
	w, err := newWatch(path)
	if err != nil {
		return nil, err
	}
	if err := w.pin(ctx); err != nil {
		return nil, errors.Join(classified(path, err), w.close())
	}
	write, err := pool(path, 1, "query_only(false)",
		// Deleted content is overwritten, but not on pages that become free: to overwrite
		// these, too, would cost more writes for each message.
		"secure_delete(FAST)")
	if err != nil {
		return nil, errors.Join(err, w.close())
	}
	read, err := pool(path, readers, "query_only(true)")
	if err != nil {
		return nil, errors.Join(err, write.Close(), w.close())
	}
	return sqlstore.Open(ctx, &sqlstore.Backend{
		Name:    "sqlite " + path,
		Dialect: sqlstore.SQLite,
		Write:   write, Read: read,
		Begin: "PRAGMA synchronous = FULL; BEGIN IMMEDIATE",
		// This survives a killed process. A crash of the machine may lose leases, but it
		// also ends the processes that held them.
		BeginLease: "PRAGMA synchronous = NORMAL; BEGIN IMMEDIATE",
		Fault:      fault,
		Scrub:      scrub,
		Changed:    new(dataVersion).changed,
		Intact:     w.intact,
		Rescue:     func(ctx context.Context, c *sql.Conn) (string, error) { return rescue(ctx, path, c) },
		Release:    w.close,
	}, cfg)
}

func pool(path string, conns int, pragmas ...string) (*sql.DB, error) {
	db, err := sql.Open("sqlite", dsn(path, "rwc", append([]string{
		"busy_timeout(" + busy + ")", // first, because the other pragmas may have to wait
		"journal_mode(WAL)",
		"synchronous(FULL)",
		"foreign_keys(ON)",
		"cache_size(-65536)", // KiB
		fmt.Sprintf("journal_size_limit(%d)", maxLog),
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
	// Special characters of the path are escaped for the URI.
	return (&url.URL{Scheme: "file", OmitHost: true, Path: filepath.ToSlash(path), RawQuery: q.Encode()}).String()
}

// fault classifies an error by its extended result code, then by its primary code.
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

// scrub checkpoints and truncates the log, the only file that still has overwritten rows.
func scrub(ctx context.Context, c *sql.Conn) error {
	if _, err := c.ExecContext(ctx, "PRAGMA busy_timeout = "+patience); err != nil {
		return err
	}
	var blocked, frames, written int
	err := c.QueryRowContext(ctx, "PRAGMA wal_checkpoint(TRUNCATE)").Scan(&blocked, &frames, &written)
	if err == nil && blocked != 0 {
		err = errors.New("sqlite: another connection is reading, so the log cannot be truncated")
	}
	_, reset := c.ExecContext(ctx, "PRAGMA busy_timeout = "+busy)
	return errors.Join(err, reset)
}

// dataVersion is the last PRAGMA data_version, a number that changes when another
// connection writes.
type dataVersion struct{ last int64 }

func (v *dataVersion) changed(ctx context.Context, c *sql.Conn) (bool, error) {
	before := v.last
	err := c.QueryRowContext(ctx, "PRAGMA data_version").Scan(&v.last)
	return v.last != before, err
}
