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

// maxWhole is how large a file may be, in bytes, to be checked whole: in some two
// seconds where the machine has it in memory. In a larger one the tables of
// packets, which are most of it, are left out.
const maxWhole = 1 << 30

// examine makes the file where there is none, and refuses one that holds
// something else, or, when all of it is to be checked, is damaged, before anything
// is written to it.
func examine(ctx context.Context, path string, all bool) error {
	size, err := create(path)
	if err != nil {
		return err
	}
	err = look(ctx, path, "ro", all, size)
	var e *driver.Error
	if errors.As(err, &e) && e.Code() == sqlite3.SQLITE_READONLY_ROLLBACK {
		// Who made it died at the first page, and that has to be rolled back.
		err = look(ctx, path, "rw", all, size)
	}
	return err
}

// create makes the file where there is none, and returns its size.
func create(path string) (size int64, err error) {
	// A log belongs to a file that is not empty: SQLite writes the first page
	// before it. It would take the file for new and the log for a relic.
	log, err := sizeOf(path + "-wal")
	if err == nil {
		size, err = sizeOf(path)
	}
	if err == nil && log > 0 && size == 0 {
		return 0, fmt.Errorf("%w: sqlite %s: it is empty, and its log %s-wal is not", sqlstore.ErrCorrupt, path, path)
	}
	if err == nil {
		// SQLite would make the file, and the log beside it takes its mode.
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

// sizeOf is the size of a file, 0 of none.
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

// look reads a file. With mode ro nothing is written to it, nor its log back.
func look(ctx context.Context, path, mode string, all bool, size int64) error {
	db, err := sql.Open("sqlite", dsn(path, mode, "busy_timeout("+busy+")", "query_only(true)"))
	if err != nil {
		return fmt.Errorf("sqlite: %w", err)
	}
	defer db.Close()
	var tables, ours int
	err = db.QueryRowContext(ctx, "SELECT COUNT(*), COUNT(*) FILTER (WHERE name = ?) FROM sqlite_schema", sqlstore.VersionTable).Scan(&tables, &ours)
	said := "ok"
	switch {
	case err == nil && tables > 0 && ours == 0:
		said = "it is the database of another program"
	case err == nil && all && size <= maxWhole:
		err = db.QueryRowContext(ctx, "PRAGMA quick_check(1)").Scan(&said)
	case err == nil && all:
		// An answer comes only where something is wrong.
		err = db.QueryRowContext(ctx, `SELECT COALESCE(MAX(q.quick_check), 'ok') FROM sqlite_schema s, pragma_quick_check(s.name) q
			WHERE s.type = 'table' AND s.name NOT LIKE '%\_packet' ESCAPE '\' AND q.quick_check <> 'ok'`).Scan(&said)
	}
	switch {
	case err != nil && fault(err) == sqlstore.Corrupt:
		return fmt.Errorf("%w: sqlite %s: %w", sqlstore.ErrCorrupt, path, err)
	case err != nil:
		return fmt.Errorf("sqlite %s: %w", path, err)
	case said != "ok":
		return fmt.Errorf("%w: sqlite %s: %s", sqlstore.ErrCorrupt, path, strings.ReplaceAll(said, "\n", " "))
	}
	return nil
}
