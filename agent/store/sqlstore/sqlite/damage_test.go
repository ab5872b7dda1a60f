package sqlite_test

import (
	"bytes"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/agent/store/sqlstore"
	"github.com/didcomm-go/didcomm/agent/store/sqlstore/sqlite"
)

// TestRefused: Open refuses a file that is no store, or damaged, and leaves it as it is.
func TestRefused(t *testing.T) {
	for name, spoil := range map[string]func(t *testing.T, path string){
		"text": func(t *testing.T, path string) {
			write(t, path, []byte(strings.Repeat("these are my notes\n", 1000)))
		},
		"noise": func(t *testing.T, path string) {
			random, noise := rand.NewChaCha8([32]byte{}), make([]byte, 1<<16)
			if _, err := random.Read(noise); err != nil {
				t.Fatal(err)
			}
			write(t, path, noise)
		},
		"cut off": func(t *testing.T, path string) {
			if err := os.Truncate(path, 5000); err != nil {
				t.Fatal(err)
			}
		},
		"a page overwritten": func(t *testing.T, path string) {
			data := read(t, path)
			for i := 100; i < 4096; i++ {
				data[i] = 0xa5
			}
			write(t, path, data)
		},
		"of another program": func(t *testing.T, path string) {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			exec1(t, path, "CREATE TABLE outbox (letter TEXT); INSERT INTO outbox VALUES ('dear')")
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := filled(t)
			spoil(t, path)
			refused(t, path, sqlstore.Config{})
		})
	}
}

// refused asserts that Open returns ErrCorrupt for a file, and changes neither the file nor
// its log.
func refused(t *testing.T, path string, cfg sqlstore.Config) {
	t.Helper()
	files := make(map[string][]byte)
	for _, name := range []string{path, path + "-wal"} {
		if data, err := os.ReadFile(name); err == nil {
			files[name] = data
		}
	}
	s, err := sqlite.Open(t.Context(), path, cfg)
	if err == nil {
		_ = s.Close()
	}
	if !errors.Is(err, sqlstore.ErrCorrupt) || !strings.Contains(err.Error(), path) || strings.Contains(err.Error(), "\n") {
		t.Errorf("Open: %v", err)
	}
	for name, before := range files {
		if !bytes.Equal(read(t, name), before) {
			t.Errorf("%s was changed", filepath.Base(name))
		}
	}
}

// spoiled returns a copy of data in which one page is overwritten.
func spoiled(data []byte, page int) []byte {
	data = bytes.Clone(data)
	for i := range pageSize {
		data[page*pageSize+i] = 0xa5
	}
	return data
}

const pageSize = 4096

// TestDamaged: Open with Reclaim finds damage of any page, with and without a log.
func TestDamaged(t *testing.T) {
	serve := sqlstore.Config{Reclaim: true}
	path := filled(t)
	good := read(t, path)
	for page := range len(good) / pageSize {
		t.Run(fmt.Sprint("page ", page), func(t *testing.T) {
			write(t, path, spoiled(good, page))
			refused(t, path, serve)
		})
	}
	t.Run("beside a log", func(t *testing.T) {
		write(t, path, good)
		copied := filepath.Join(t.TempDir(), "store.db")
		s := open(t, path, sqlstore.Config{})
		if _, err := s.Records().Put(t.Context(), store.Record{Collection: "in the log"}); err != nil {
			t.Fatal(err)
		}
		write(t, copied+"-wal", read(t, path+"-wal"))
		bad := good
		for page := 1; page < len(good)/pageSize; page++ {
			bad = spoiled(bad, page)
		}
		write(t, copied, bad)
		refused(t, copied, serve)
		write(t, copied, nil)
		refused(t, copied, sqlstore.Config{})
		if err := os.Remove(copied); err != nil {
			t.Fatal(err)
		}
		refused(t, copied, sqlstore.Config{})
		if _, err := os.Stat(copied); err == nil {
			t.Error("the file was made beside its log")
		}
	})
}

// TestDamagedLarge: a file that is too large to be checked as a whole is checked without its
// tables of packets.
func TestDamagedLarge(t *testing.T) {
	path := filled(t)
	good := read(t, path)
	found := 0
	for page := range len(good) / pageSize {
		write(t, path, spoiled(good, page))
		if err := os.Truncate(path, 1<<30+pageSize); err != nil {
			t.Fatal(err)
		}
		s, err := sqlite.Open(t.Context(), path, sqlstore.Config{Reclaim: true})
		switch {
		case errors.Is(err, sqlstore.ErrCorrupt):
			found++
		case err != nil:
			t.Errorf("page %d: %v", page, err)
		default:
			if err := s.Close(); err != nil {
				t.Errorf("page %d: %v", page, err)
			}
		}
	}
	// Each table of packets, and its index, but for the index of mail_packet, in which Open finds
	// the last seq. One table has two indexes.
	if unseen := len(good)/pageSize - found; unseen != 2*3+1-1 {
		t.Errorf("damage of %d pages was not seen", unseen)
	}
}

// TestMadeInPart: if a process dies while it makes the file, the next Open rolls its write
// back.
func TestMadeInPart(t *testing.T) {
	path, copied := filepath.Join(t.TempDir(), "store.db"), filepath.Join(t.TempDir(), "store.db")
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	// More than the cache holds, so that it is written before the commit.
	if _, err := db.Exec("PRAGMA cache_size = 1; BEGIN; CREATE TABLE t (b BLOB)"); err != nil {
		t.Fatal(err)
	}
	for range 100 {
		if _, err := db.Exec("INSERT INTO t VALUES (randomblob(1000))"); err != nil {
			t.Fatal(err)
		}
	}
	write(t, copied, read(t, path))
	write(t, copied+"-journal", read(t, path+"-journal"))
	s := open(t, copied, sqlstore.Config{Reclaim: true})
	if err := s.SealedKeys().Put(t.Context(), store.SealedKey{KID: "did:example:us#1"}); err != nil {
		t.Error(err)
	}
}

// TestDamageMet: a call that meets damage returns ErrCorrupt, and other calls still work.
func TestDamageMet(t *testing.T) {
	path := filled(t)
	good := read(t, path)
	met := 0
	for page := 1; page < len(good)/pageSize; page++ {
		write(t, path, spoiled(good, page))
		s, err := sqlite.Open(t.Context(), path, sqlstore.Config{})
		if err != nil {
			if !errors.Is(err, sqlstore.ErrCorrupt) {
				t.Errorf("page %d: %v", page, err)
			}
			continue
		}
		ctx := t.Context()
		_, listed := s.Outbox().(store.OutboxAdmin).List(ctx, 0, 10)
		_, got := s.Outbox().(store.OutboxAdmin).Get(ctx, "waiting")
		_, seen := s.Inbox().(store.InboxAdmin).List(ctx, 0, 10)
		_, counted := s.Mailbox().Status(ctx, "did:example:box")
		_, all := s.SealedKeys().All(ctx)
		for _, err := range []error{
			listed, got, seen, counted, all,
			s.Outbox().Enqueue(ctx, store.Item{ID: "new", To: "did:example:b", Thread: "t"}),
			s.Outbox().(store.OutboxAdmin).Drop(ctx, "behind"),
			s.SealedKeys().Delete(ctx, "did:example:us#1"),
			s.Mailbox().Deposit(ctx, store.Mail{ID: "4"}, "did:example:box"),
		} {
			if errors.Is(err, sqlstore.ErrCorrupt) {
				met++
			} else if err != nil {
				t.Errorf("page %d: %v", page, err)
			}
		}
		_ = s.Close()
	}
	if met == 0 {
		t.Error("no operation came across the damage")
	}
}
