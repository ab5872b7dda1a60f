package sqlite_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/agent/store/sqlstore"
	"github.com/didcomm-go/didcomm/agent/store/sqlstore/sqlite"
)

// rescues is a handler of a log that passes on what became of the content of a store.
type rescues chan slog.Record

func (rescues) Enabled(context.Context, slog.Level) bool { return true }
func (r rescues) WithAttrs([]slog.Attr) slog.Handler     { return r }
func (r rescues) WithGroup(string) slog.Handler          { return r }
func (r rescues) Handle(_ context.Context, rec slog.Record) error {
	if strings.HasPrefix(rec.Message, "sqlstore: the content of the database") {
		r <- rec
	}
	return nil
}

// rescuedFile is the attribute of a record that names the rescued file, or is empty.
func rescuedFile(rec slog.Record) (path string) {
	rec.Attrs(func(a slog.Attr) bool {
		if a.Key == "file" {
			path = a.Value.String()
		}
		return true
	})
	return path
}

// enqueued enqueues n items. Half of them are in the file, and the others in its log.
func enqueued(t *testing.T, s *sqlstore.Store, n int) {
	t.Helper()
	var items []store.Item
	for i := range n {
		items = append(items, store.Item{ID: fmt.Sprint(i), To: "did:example:b", Direct: store.Packet{Data: make([]byte, 1000)}})
	}
	for _, err := range []error{
		s.Outbox().Enqueue(t.Context(), items[:n/2]...),
		s.Checkpoint(t.Context()),
		s.Outbox().Enqueue(t.Context(), items[n/2:]...),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
}

func count(t *testing.T, path string) (n int) {
	t.Helper()
	s := open(t, path, sqlstore.Config{Reclaim: true})
	for after := uint64(0); ; {
		list, err := s.Outbox().(store.OutboxAdmin).List(t.Context(), after, 100)
		if err != nil {
			t.Fatal(err)
		}
		if len(list) == 0 {
			return n
		}
		n += len(list)
		after = list[len(list)-1].Seq
	}
}

// TestGone: when the files of an open store are deleted, replaced or damaged, the next call
// that writes fails, and all calls after that. The content that was acknowledged is in a new
// file.
func TestGone(t *testing.T) {
	const items = 200
	must := func(t *testing.T, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for name, tt := range map[string]struct {
		spoil func(t *testing.T, path string)
		lost  bool // the content may be lost
	}{
		"deleted": {spoil: func(t *testing.T, path string) { must(t, os.Remove(path)) }},
		"all deleted": {spoil: func(t *testing.T, path string) {
			for _, end := range []string{"", "-wal", "-shm"} {
				must(t, os.Remove(path+end))
			}
		}},
		"directory deleted": {spoil: func(t *testing.T, path string) { must(t, os.RemoveAll(filepath.Dir(path))) }},
		"moved away":        {spoil: func(t *testing.T, path string) { must(t, os.Rename(path, path+".old")) }},
		"replaced":          {spoil: func(t *testing.T, path string) { must(t, os.Rename(filled(t), path)) }},
		"log deleted": {spoil: func(t *testing.T, path string) {
			must(t, os.Remove(path+"-wal"))
		}},
		"log emptied": {spoil: func(t *testing.T, path string) { must(t, os.Truncate(path+"-wal", 0)) }, lost: true},
		"log overwritten": {spoil: func(t *testing.T, path string) {
			write(t, path+"-wal", []byte(strings.Repeat("these are my notes\n", 1000)))
		}, lost: true},
		"shared memory deleted": {spoil: func(t *testing.T, path string) { must(t, os.Remove(path+"-shm")) }},
		"emptied":               {spoil: func(t *testing.T, path string) { must(t, os.Truncate(path, 0)) }, lost: true},
		"cut off":               {spoil: func(t *testing.T, path string) { must(t, os.Truncate(path, 3*pageSize)) }, lost: true},
		"overwritten": {spoil: func(t *testing.T, path string) {
			write(t, path, []byte(strings.Repeat("these are my notes\n", 100_000)))
		}, lost: true},
		"overwritten with another store": {spoil: func(t *testing.T, path string) {
			f, err := os.OpenFile(path, os.O_WRONLY, 0)
			must(t, err)
			_, err = f.Write(read(t, filled(t))) // and as long as before
			must(t, errors.Join(err, f.Close()))
		}, lost: true},
		"overwritten with a backup": {spoil: func(t *testing.T, path string) {
			must(t, sqlite.Copy(t.Context(), path, path+".backup"))
			write(t, path, append(read(t, path+".backup"), make([]byte, 1<<20)...))
		}, lost: true},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "home", "store.db")
			must(t, os.Mkdir(filepath.Dir(path), 0o700))
			log := make(rescues, 1)
			s, err := sqlite.Open(t.Context(), path, sqlstore.Config{Logger: slog.New(log)})
			must(t, err)
			defer s.Close()
			enqueued(t, s, items)
			must(t, s.Check(t.Context()))
			tt.spoil(t, path)
			next := s.Outbox().Enqueue(t.Context(), store.Item{ID: "next", To: "did:example:b"})
			_, read := s.SealedKeys().All(t.Context())
			for i, err := range []error{
				next, s.Check(t.Context()), read,
				s.SealedKeys().Put(t.Context(), store.SealedKey{KID: "did:example:us#new"}),
				s.Outbox().Enqueue(t.Context(), store.Item{ID: "more", To: "did:example:b"}),
			} {
				if !errors.Is(err, sqlstore.ErrGone) || !errors.Is(err, sqlstore.ErrUnavailable) || !strings.Contains(err.Error(), path) {
					t.Errorf("call %d: %v", i, err)
				}
			}
			if t.Failed() {
				return
			}
			rescued := rescuedFile(<-log)
			if rescued == "" {
				if !tt.lost {
					t.Error("the content was lost")
				}
				return
			}
			info, err := os.Stat(rescued)
			must(t, err)
			if info.Mode().Perm() != 0o600 || !strings.Contains(rescued, path+".rescued-") {
				t.Errorf("the content is in %s, mode %v", rescued, info.Mode())
			}
			if n := count(t, rescued); n < items || n > items+1 {
				t.Errorf("%d items of %d were rescued", n, items)
			}
		})
	}
}

// TestGoneNoticed: a store that nobody writes to notices the loss while a call waits.
func TestGoneNoticed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	log := make(rescues, 1)
	s, err := sqlite.Open(t.Context(), path, sqlstore.Config{Logger: slog.New(log)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	waited := make(chan error)
	go func() {
		_, err := s.Inbox().Lease(ctx, 1)
		waited <- err
	}()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if rescuedFile(<-log) == "" {
		t.Error("the content was lost")
	}
	cancel()
	if err := <-waited; !errors.Is(err, context.Canceled) {
		t.Errorf("Lease: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("the file is there again")
	}
}

// TestIntact: the files of a store may change as they do in use.
func TestIntact(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	s := open(t, path, sqlstore.Config{})
	for i := range 10 {
		other, err := sqlite.Open(t.Context(), path, sqlstore.Config{})
		if err != nil {
			t.Fatal(err)
		}
		it := store.Item{ID: fmt.Sprint(i), To: "did:example:b", Direct: store.Packet{Data: make([]byte, 1<<20)}}
		for _, err := range []error{
			other.Outbox().Enqueue(t.Context(), it),
			s.Check(t.Context()),
			other.Outbox().(store.OutboxAdmin).Drop(t.Context(), it.ID),
			other.Close(),
			s.SealedKeys().Put(t.Context(), store.SealedKey{KID: fmt.Sprint("did:example:us#", i)}),
			s.Check(t.Context()),
		} {
			if err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestIntactLink: the file may be named by a link.
func TestIntactLink(t *testing.T) {
	path, link := empty(t), filepath.Join(t.TempDir(), "link.db")
	if err := os.Symlink(path, link); err != nil {
		t.Skip(err)
	}
	s := open(t, link, sqlstore.Config{})
	if err := s.Check(t.Context()); err != nil {
		t.Error(err)
	}
	if err := os.Remove(path + "-wal"); err != nil {
		t.Fatal(err)
	}
	if err := s.Check(t.Context()); !errors.Is(err, sqlstore.ErrGone) {
		t.Errorf("after the log was deleted: %v", err)
	}
}

// TestIntactMadeSmaller: another program may make the file smaller.
func TestIntactMadeSmaller(t *testing.T) {
	path := empty(t)
	s := open(t, path, sqlstore.Config{})
	db := file(path).SQL(t)
	sizes := make([]int64, 2)
	for i, statements := range [][]string{
		{"CREATE TABLE large (b BLOB)", "INSERT INTO large VALUES (zeroblob(1000000))", "DROP TABLE large"},
		{"VACUUM"},
	} {
		for _, statement := range append(statements, "PRAGMA wal_checkpoint(TRUNCATE)") {
			if _, err := db.Exec(statement); err != nil {
				t.Fatal(err)
			}
		}
		err := s.Outbox().Enqueue(t.Context(), store.Item{ID: fmt.Sprint(i), To: "did:example:b"})
		info, missing := os.Stat(path)
		if err := errors.Join(err, missing, s.Checkpoint(t.Context()), s.Check(t.Context())); err != nil {
			t.Fatal(err)
		}
		sizes[i] = info.Size()
	}
	if sizes[1] >= sizes[0] {
		t.Errorf("the sizes are %v", sizes)
	}
	if err := os.Truncate(path, sizes[1]/2); err != nil {
		t.Fatal(err)
	}
	if err := s.Check(t.Context()); !errors.Is(err, sqlstore.ErrGone) {
		t.Errorf("after the file was cut off: %v", err)
	}
}

// TestCopy: a copy has what was committed before, also beside a program that writes.
func TestCopy(t *testing.T) {
	dir := t.TempDir()
	path, to := filepath.Join(dir, "store.db"), filepath.Join(dir, "copy.db")
	s := open(t, path, sqlstore.Config{})
	enqueued(t, s, 100)
	stop, stopped := make(chan bool), make(chan error)
	go func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				stopped <- nil
				return
			default:
			}
			it := store.Item{ID: fmt.Sprint("more ", i), To: "did:example:b", Direct: store.Packet{Data: make([]byte, 10_000)}}
			if err := s.Outbox().Enqueue(context.Background(), it); err != nil {
				stopped <- err
				return
			}
		}
	}()
	err := sqlite.Copy(t.Context(), path, to)
	close(stop)
	if err := errors.Join(err, <-stopped, s.Check(t.Context())); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(to)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("copy: %v, %v", info, err)
	}
	if n := count(t, to); n < 100 {
		t.Errorf("the copy has %d items", n)
	}
	before := read(t, path)
	for _, tt := range []struct {
		from, to string
		want     error
	}{
		{path, to, os.ErrExist},
		{filepath.Join(dir, "none.db"), filepath.Join(dir, "new.db"), os.ErrNotExist},
		{path, filepath.Join(dir, "none", "new.db"), os.ErrNotExist},
	} {
		if err := sqlite.Copy(t.Context(), tt.from, tt.to); !errors.Is(err, tt.want) {
			t.Errorf("Copy from %s to %s: %v", tt.from, tt.to, err)
		}
	}
	damaged := filled(t)
	write(t, damaged, spoiled(read(t, damaged), 2))
	if err := sqlite.Copy(t.Context(), damaged, filepath.Join(dir, "new.db")); !errors.Is(err, sqlstore.ErrCorrupt) {
		t.Errorf("Copy of a damaged file: %v", err)
	}
	if string(read(t, path)) != string(before) {
		t.Error("Copy has changed the store")
	}
	names, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range names {
		if strings.Contains(e.Name(), "new") || strings.Contains(e.Name(), "part") {
			t.Errorf("%s was left behind", e.Name())
		}
	}
}
