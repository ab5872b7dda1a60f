package sqlstore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"
)

// ErrGone tells that the files of a SQLite database were deleted, replaced or cut off while
// the store was open. From then on, each call fails with ErrGone, and the store writes
// nothing more to these files. The call that returned ErrGone first may have taken effect
// there. The log names the file to which the store has written its content, if it could.
// ErrGone matches [ErrUnavailable], too.
var ErrGone error = goneError{}

type goneError struct{}

func (goneError) Error() string        { return "sqlstore: the files of the database are gone or damaged" }
func (goneError) Is(target error) bool { return target == ErrUnavailable }

// files watches over the files of a database.
type files struct {
	db   *Backend
	log  *slog.Logger
	wake func() // wakes the writer, which rescues the content

	lost atomic.Pointer[error] // why; nil as long as the files are intact
}

// err is an ErrGone if the files were found to be gone. A nil f has no files.
func (f *files) err() error {
	if f == nil {
		return nil
	}
	if lost := f.lost.Load(); lost != nil {
		return *lost
	}
	return nil
}

// verify looks at the files. It returns an ErrGone if they are gone.
func (f *files) verify() error {
	if f.db.Intact == nil || f.lost.Load() != nil {
		return f.err()
	}
	cause := f.db.Intact()
	if cause == nil {
		return nil
	}
	lost := fmt.Errorf("%w: %w", ErrGone, cause)
	if f.lost.CompareAndSwap(nil, &lost) {
		f.log.Error("sqlstore: the files of the database are gone or damaged; nothing more is accepted", "database", f.db.Name, "error", cause)
		f.wake()
	}
	return f.err()
}

// rescueEvery is the time between two tries to rescue the content, for example while the
// disk is full.
const rescueEvery = 10 * time.Second

// rescue writes the content of a database whose files are gone to another file. It returns
// when to try again, or 0. After a try that failed, the next is due after rescueEvery, or when
// the writer is closed.
func (w *writer) rescue() time.Duration {
	if w.rescued || w.files.err() == nil {
		return 0
	}
	if left := time.Until(w.rescueAt); left > 0 && !w.isClosed() {
		return left
	}
	ctx := context.Background()
	err := w.connect(ctx)
	var path string
	if err == nil {
		path, err = w.db.Rescue(ctx, w.raw)
	}
	switch {
	case err == nil:
		w.rescued = true
		w.log.Error("sqlstore: the content of the database was written to another file; stop this program and restore the database from that file", "database", w.db.Name, "file", path)
	case errors.Is(err, ErrCorrupt) || w.db.Fault(err) == Corrupt:
		w.rescued = true
		w.log.Error("sqlstore: the content of the database is lost; stop this program and restore the database from a backup", "database", w.db.Name, "error", err)
	default:
		w.log.Error("sqlstore: the content of the database could not be written to another file yet; it is lost when this program ends", "database", w.db.Name, "error", err)
		w.rescueAt = time.Now().Add(rescueEvery)
		return rescueEvery
	}
	return 0
}

// Checkpoint moves what was committed from the log of a SQLite database into its file, so that
// also a copy of the file alone has it. It is an error if a query of another process runs for
// longer than a second. A database on a server has no such log.
func (s *Store) Checkpoint(ctx context.Context) error {
	if s.db.Scrub == nil {
		return nil
	}
	c, err := s.db.Read.Conn(ctx)
	if err == nil {
		err = errors.Join(s.db.Scrub(ctx, c), c.Close())
	}
	return s.w.readError(ctx, err)
}

// Check returns an error if the store cannot work: ErrGone, ErrCorrupt, ErrUnavailable, or
// the error of ctx.
func (s *Store) Check(ctx context.Context) error {
	if err := s.w.files.verify(); err != nil {
		return s.storeError(err)
	}
	_, err := number(ctx, s.read, "SELECT COUNT(*) FROM keyring")
	return s.w.readError(ctx, err)
}
