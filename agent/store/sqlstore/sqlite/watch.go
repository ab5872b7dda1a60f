package sqlite

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"sync"
)

// watch tells whether the files of an open store are still those that SQLite has open.
type watch struct {
	path string
	// file is opened before SQLite opens the file, and closed after that: when a process
	// closes any descriptor of a file, it loses all its POSIX locks on the file.
	file *os.File
	info fs.FileInfo // of file
	keep *sql.DB     // has a connection open, so that no other process deletes the log

	id uint32 // of the database

	mu     sync.Mutex             // guards all below
	size   int64                  // the largest that was seen: the file does not shrink
	named  bool                   // the id was seen in the file, and not in the log only
	beside map[string]fs.FileInfo // log and shared memory, by path
}

// newWatch begins to watch a file. The caller opens connections of the store after that.
func newWatch(path string) (*watch, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("sqlite: %w", err)
	}
	info, err := f.Stat()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("sqlite: %w", err), f.Close())
	}
	return &watch{path: path, file: f, info: info, beside: map[string]fs.FileInfo{path + "-wal": nil, path + "-shm": nil}}, nil
}

// pin opens the connection that keeps the log.
func (w *watch) pin(ctx context.Context) (err error) {
	if w.keep, err = pool(w.path, 1); err != nil {
		return err
	}
	c, err := w.keep.Conn(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	w.id, err = identify(ctx, c)
	return err
}

// identify returns the application id of a database, a random number that tells it from
// other databases of stores and from its copies. A database without a number gets one.
func identify(ctx context.Context, c *sql.Conn) (id uint32, err error) {
	get := func() error { return c.QueryRowContext(ctx, "PRAGMA application_id").Scan(&id) }
	if err := get(); err != nil || id != 0 {
		return id, err
	}
	if _, err := c.ExecContext(ctx, "BEGIN IMMEDIATE"); err != nil {
		return 0, err
	}
	if err = get(); err == nil && id == 0 { // no other process was faster
		id = newID()
		_, err = c.ExecContext(ctx, fmt.Sprint("PRAGMA application_id = ", id))
	}
	_, failed := c.ExecContext(ctx, "COMMIT")
	return id, errors.Join(err, failed)
}

func (w *watch) close() error {
	var err error
	if w.keep != nil {
		err = w.keep.Close()
	}
	return errors.Join(err, w.file.Close())
}

// intact returns an error if the file, its log or its shared memory was deleted or replaced,
// or if the file was cut off or overwritten. It does not find that the file was overwritten
// with an earlier copy that is not smaller.
func (w *watch) intact() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	info, err := same(w.path, w.info)
	if err != nil {
		return err
	}
	if info.Size() < w.size {
		return fmt.Errorf("%s was cut off: it has %d bytes instead of %d", w.path, info.Size(), w.size)
	}
	w.size = info.Size()
	for path, old := range w.beside {
		if w.beside[path], err = same(path, old); err != nil {
			return err
		}
	}
	for try := 1; ; try++ {
		// SQLite may write the header at the same time, so a failure needs a second look.
		if err := w.readHeader(); err == nil || try == 3 {
			return err
		}
	}
}

// same returns the FileInfo of a file, which is the file of old, if old is not nil.
func same(path string, old fs.FileInfo) (fs.FileInfo, error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%s was deleted", path)
	case err != nil:
		return nil, err
	case old != nil && !os.SameFile(info, old):
		return nil, fmt.Errorf("%s was replaced by another file", path)
	}
	return info, nil
}

func newID() uint32 { return 1 + rand.Uint32N(1<<31-1) }

// Parts of the header of a file: https://www.sqlite.org/fileformat2.html#the_database_header
const (
	magic = "SQLite format 3\x00"
	idAt  = 68
)

// readHeader checks the header of the file.
func (w *watch) readHeader() error {
	var header [idAt + 4]byte
	if _, err := w.file.ReadAt(header[:], 0); errors.Is(err, io.EOF) {
		return fmt.Errorf("%s was cut off", w.path)
	} else if err != nil {
		return err
	}
	id := binary.BigEndian.Uint32(header[idAt:])
	switch {
	case !bytes.HasPrefix(header[:], []byte(magic)):
		return fmt.Errorf("%s was overwritten: it is no database now", w.path)
	case id != w.id && (w.named || id != 0):
		return fmt.Errorf("%s was overwritten with another database", w.path)
	}
	w.named = w.named || id == w.id
	return nil
}
