package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"syscall"

	driver "modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/agent/store/sqlstore"
)

// maxWhole is the largest size of a file, in bytes, that is checked as a whole. This takes
// about two seconds if the file is in memory. In a larger file, the tables of packets, which
// are most of it, are left out.
const maxWhole = 1 << 30

// examine makes the file if there is none. It refuses a file that holds anything else than
// a store, before anything is written to the file. With all, it also checks the file for
// damage.
func examine(ctx context.Context, path string, all bool) error {
	size, err := create(path)
	if err != nil {
		return err
	}
	err = check(ctx, path, "ro", all, size)
	var e *driver.Error
	if errors.As(err, &e) && e.Code() == sqlite3.SQLITE_READONLY_ROLLBACK {
		// The process that made the file died while it wrote the first page. This write has
		// to be rolled back.
		err = check(ctx, path, "rw", all, size)
	}
	return err
}

// create makes the file if there is none, and returns its size.
func create(path string) (size int64, err error) {
	// SQLite writes the first page of a file before it makes a log, so an empty file has
	// lost its content. SQLite would take the file for a new one and drop the log.
	log, err := sizeOf(path + "-wal")
	if err == nil {
		size, err = sizeOf(path)
	}
	if err == nil && log > 0 && size == 0 {
		return 0, fmt.Errorf("%w: sqlite %s: the file is empty, but its log %s-wal is not", sqlstore.ErrCorrupt, path, path)
	}
	if err == nil && size == 0 {
		// SQLite would make the file with another mode, and gives the log the same mode.
		var f *os.File
		if f, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600); err == nil {
			err = f.Close()
		}
	}
	switch {
	case errors.Is(err, syscall.ENOSPC):
		return 0, fmt.Errorf("%w: sqlite: %w", store.ErrFull, err)
	case err != nil:
		return 0, fmt.Errorf("sqlite: %w", err)
	}
	return size, nil
}

// sizeOf is the size of a file, or 0 if there is no file.
func sizeOf(path string) (int64, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// check checks the content of a file. With mode "ro", nothing is written to the file, not
// even from its log.
func check(ctx context.Context, path, mode string, all bool, size int64) error {
	db, err := sql.Open("sqlite", dsn(path, mode, "busy_timeout("+busy+")", "query_only(true)"))
	if err != nil {
		return fmt.Errorf("sqlite: %w", err)
	}
	defer db.Close()
	var tables, ours int
	err = db.QueryRowContext(ctx, "SELECT COUNT(*), COUNT(*) FILTER (WHERE name = ?) FROM sqlite_schema", sqlstore.VersionTable).Scan(&tables, &ours)
	result := "ok"
	switch {
	case err == nil && tables > 0 && ours == 0:
		result = "it is the database of another program"
	case err == nil && all && size <= maxWhole:
		err = db.QueryRowContext(ctx, "PRAGMA quick_check(1)").Scan(&result)
	case err == nil && all:
		// MAX of no rows is NULL: no table has an error.
		err = db.QueryRowContext(ctx, `SELECT COALESCE(MAX(q.quick_check), 'ok') FROM sqlite_schema s, pragma_quick_check(s.name) q
			WHERE s.type = 'table' AND s.name NOT LIKE '%\_packet' ESCAPE '\' AND q.quick_check <> 'ok'`).Scan(&result)
	}
	switch {
	case err != nil && fault(err) == sqlstore.Corrupt:
		return fmt.Errorf("%w: sqlite %s: %w", sqlstore.ErrCorrupt, path, err)
	case err != nil:
		return fmt.Errorf("sqlite %s: %w", path, err)
	case result != "ok":
		return fmt.Errorf("%w: sqlite %s: %s", sqlstore.ErrCorrupt, path, strings.ReplaceAll(result, "\n", " "))
	}
	return nil
}
