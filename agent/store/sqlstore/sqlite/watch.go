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
	"syscall"
)

// watch tells whether the files of an open store are still those that SQLite has open.
type watch struct {
	path string
	// file is opened before SQLite opens the file, and closed after that: when a process
	// closes any descriptor of a file, it loses all its POSIX locks on the file.
	file *os.File
	info fs.FileInfo // of file
	keep *sql.DB     // has a connection open, so that no other process deletes the log
	log  *os.File    // opened once keep has a connection

	id uint32 // of the database

	mu     sync.Mutex             // guards all below
	size   int64                  // when it was seen last
	named  bool                   // the id was seen in the file, and not in the log only
	beside map[string]fs.FileInfo // log and shared memory, by path
	logged int64                  // size of the log
	salt   uint64                 // of the log, another one each time that SQLite begins it anew
}

// newWatch begins to watch a file. The caller opens connections of the store after that.
func newWatch(path string) (*watch, error) {
	// Open for writing, because overlayfs then makes the copy of the file that SQLite will have
	// open, too.
	f, err := os.OpenFile(path, os.O_RDWR, 0)
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
	if w.id, err = identify(ctx, c); err != nil {
		return err
	}
	w.log, err = os.Open(w.path + "-wal")
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
	if w.log != nil {
		err = w.log.Close()
	}
	if w.keep != nil {
		err = errors.Join(err, w.keep.Close())
	}
	return errors.Join(err, w.file.Close())
}

// intact returns an error if the file, its log or its shared memory was deleted or replaced,
// or if the file or its log was cut off or overwritten. It does not find that the file was
// overwritten with an earlier copy that is not smaller. It does not find that the end of the
// log was cut off if a commit follows at once.
func (w *watch) intact() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, err := same(w.path, w.info); err != nil {
		return err
	}
	for path, old := range w.beside {
		info, err := same(path, old)
		if err != nil {
			return err
		}
		w.beside[path] = info
	}
	for try := 1; ; try++ {
		// SQLite may write to the file at the same time, so a failure needs a second look.
		err := w.examine()
		if err == nil {
			err = w.examineLog()
		}
		if err == nil || try == 3 {
			return err
		}
	}
}

// same returns the FileInfo of a file, which is the file of old, if old is not nil. While the
// file cannot be looked at, for example because of the mode of its directory, it is taken to
// be the same.
func same(path string, old fs.FileInfo) (fs.FileInfo, error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR):
		return nil, fmt.Errorf("%s was deleted", path)
	case err != nil:
		return old, nil
	case old != nil && !os.SameFile(info, old):
		return nil, fmt.Errorf("%s was replaced by another file", path)
	}
	return info, nil
}

func newID() uint32 { return 1 + rand.Uint32N(1<<31-1) }

// Parts of the header of a file: https://www.sqlite.org/fileformat2.html#the_database_header
const (
	magic      = "SQLite format 3\x00"
	pageSizeAt = 16 // bytes of a page, a multiple of 256 or 1 for 65536
	pagesAt    = 28 // pages of the file
	idAt       = 68
)

// examine checks the size of the file and its header.
func (w *watch) examine() error {
	info, err := w.file.Stat()
	if err != nil {
		return err
	}
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
	// A VACUUM by another program makes the file smaller, and its header says so.
	pageSize := int64(binary.BigEndian.Uint16(header[pageSizeAt:]))
	if pageSize == 1 {
		pageSize = 1 << 16
	}
	if full := int64(binary.BigEndian.Uint32(header[pagesAt:])) * pageSize; info.Size() < w.size && info.Size() < full {
		return fmt.Errorf("%s was cut off: it has %d bytes instead of %d", w.path, info.Size(), full)
	}
	w.size, w.named = info.Size(), w.named || id == w.id
	return nil
}

// Parts of the header of a log: https://www.sqlite.org/fileformat2.html#the_write_ahead_log
const (
	logMagic = 0x377f0682 // or one more
	saltAt   = 16
)

// examineLog checks the size of the log and its header. A checkpoint may have emptied the
// log. SQLite may then cut it down to maxLog, but not further.
func (w *watch) examineLog() error {
	info, err := w.log.Stat()
	if err != nil {
		return err
	}
	var header [saltAt + 8]byte
	if n, err := w.log.ReadAt(header[:], 0); err != nil && !errors.Is(err, io.EOF) {
		return err
	} else if n == 0 {
		w.logged = 0
		return nil
	}
	salt := binary.BigEndian.Uint64(header[saltAt:])
	if binary.BigEndian.Uint32(header[:])&^1 != logMagic || salt == w.salt && info.Size() < min(w.logged, maxLog) {
		return fmt.Errorf("%s-wal was cut off or overwritten", w.path)
	}
	w.logged, w.salt = info.Size(), salt
	return nil
}
