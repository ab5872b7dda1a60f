package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/agent/store/sqlstore"
)

// Copy writes the content of the store in the file at path to a new file with mode 0600, also
// while programs have the store open: the copy has all that was committed before. Copy checks
// the copy for damage. The copy is complete and on the disk, or there is none. Copy does not
// change the store.
//
// The error matches fs.ErrNotExist if there is no store, and fs.ErrExist if there is a file
// at to. Other errors: [sqlstore.ErrCorrupt], store.ErrFull.
func Copy(ctx context.Context, path, to string) error {
	path, err := filepath.Abs(path)
	if err != nil {
		return fmt.Errorf("sqlite: %w", err)
	}
	if _, err := os.Stat(path); err != nil {
		return fmt.Errorf("sqlite: %w", err)
	}
	if err := check(ctx, path, "ro", false, 0); err != nil {
		return err
	}
	db, err := sql.Open("sqlite", dsn(path, "ro", "busy_timeout("+busy+")"))
	if err != nil {
		return fmt.Errorf("sqlite: %w", err)
	}
	defer db.Close()
	c, err := db.Conn(ctx)
	if err != nil {
		return fmt.Errorf("sqlite: %w", err)
	}
	defer c.Close()
	if err := copyInto(ctx, c, to); err != nil {
		return classified(path, err)
	}
	return nil
}

// classified adds the class of an error of SQLite.
func classified(path string, err error) error {
	switch fault(err) {
	case sqlstore.Corrupt:
		return fmt.Errorf("%w: sqlite %s: %w", sqlstore.ErrCorrupt, path, err)
	case sqlstore.Full:
		return fmt.Errorf("%w: sqlite %s: %w", store.ErrFull, path, err)
	}
	return fmt.Errorf("sqlite %s: %w", path, err)
}

// copyInto writes what a connection reads to a new file.
func copyInto(ctx context.Context, c *sql.Conn, to string) error {
	to, err := filepath.Abs(to)
	if err != nil {
		return err
	}
	if _, err := os.Lstat(to); err == nil {
		return fmt.Errorf("%s: %w", to, fs.ErrExist)
	}
	part, err := fill(ctx, c, to)
	if err == nil {
		err = place(part, to)
	}
	if err != nil {
		if part != "" {
			_ = os.Remove(part)
		}
		return err
	}
	return syncDir(filepath.Dir(to))
}

// place gives a file another name, which no file has.
func place(from, to string) error {
	err := os.Link(from, to)
	switch {
	case err == nil:
		return os.Remove(from)
	case errors.Is(err, fs.ErrExist):
		return err
	}
	// The file system has no links.
	if _, err := os.Lstat(to); err == nil {
		return fmt.Errorf("%s: %w", to, fs.ErrExist)
	}
	return os.Rename(from, to)
}

// fill writes what a connection reads to a new file beside to, and returns its name.
func fill(ctx context.Context, c *sql.Conn, to string) (part string, err error) {
	f, err := os.CreateTemp(filepath.Dir(to), filepath.Base(to)+".part-*") // mode 0600
	if err != nil {
		return "", err
	}
	part = f.Name()
	if err := f.Close(); err != nil {
		return part, err
	}
	if _, err := c.ExecContext(ctx, "VACUUM INTO ?", part); err != nil {
		return part, err
	}
	if err := reidentify(ctx, part); err != nil {
		return part, err
	}
	info, err := os.Stat(part)
	if err != nil {
		return part, err
	}
	if err := check(ctx, part, "ro", true, info.Size()); err != nil {
		return part, err
	}
	if f, err = os.OpenFile(part, os.O_RDWR, 0); err != nil {
		return part, err
	}
	return part, errors.Join(f.Sync(), f.Close())
}

// reidentify gives a copy another application id than the original has.
func reidentify(ctx context.Context, path string) error {
	db, err := sql.Open("sqlite", dsn(path, "rw"))
	if err != nil {
		return err
	}
	defer db.Close()
	_, err = db.ExecContext(ctx, fmt.Sprint("PRAGMA application_id = ", newID()))
	return err
}

// syncDir makes a new name in a directory survive a crash of the machine.
func syncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil // a directory cannot be synced there
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// rescue writes what the connection of a store whose files are gone still reads to a new
// file beside, and returns its name. If the directory is gone, too, rescue makes it.
func rescue(ctx context.Context, path string, c *sql.Conn) (string, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return "", err
	}
	for n := 0; ; n++ {
		to := path + ".rescued-" + time.Now().UTC().Format("20060102T150405Z")
		if n > 0 {
			to += fmt.Sprint("-", n)
		}
		err := copyInto(ctx, c, to)
		if !errors.Is(err, fs.ErrExist) {
			return to, err
		}
	}
}
