package sqlite_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/agent/store/sqlstore"
	"github.com/didcomm-go/didcomm/agent/store/sqlstore/internal/sqlsuite"
	"github.com/didcomm-go/didcomm/agent/store/sqlstore/sqlite"
)

// exec1 runs SQL on a file that no process has open.
func exec1(t *testing.T, path, query string) {
	t.Helper()
	db, err := sql.Open("sqlite", (&url.URL{Scheme: "file", OmitHost: true, Path: path}).String())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec(query); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

// filled returns the path of a store with the entries of sqlsuite.Fill, closed.
func filled(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "a b?c#d.db") // a name that is no URI
	write(t, path, read(t, empty(t)))
	s := open(t, path, sqlstore.Config{})
	sqlsuite.Fill(t, s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestNewerSchema(t *testing.T) {
	path := filled(t)
	exec1(t, path, "INSERT INTO didcomm_schema (version_id, is_applied) VALUES (1000, 1)")
	_, err := sqlite.Open(t.Context(), path, sqlstore.Config{})
	if !errors.Is(err, sqlstore.ErrNewerSchema) || !strings.Contains(err.Error(), "version 1000") || strings.Contains(err.Error(), "\n") {
		t.Errorf("Open: %v", err)
	}
}

func read(t testing.TB, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func write(t testing.TB, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestMode(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	open(t, path, sqlstore.Config{})
	for _, name := range []string{path, path + "-wal"} {
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", filepath.Base(name), info.Mode())
		}
	}
}

// TestOpenAtOnce: several goroutines may make one store at the same time.
func TestOpenAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	opened := make(chan *sqlstore.Store)
	for range 8 {
		go func() {
			s, err := sqlite.Open(t.Context(), path, sqlstore.Config{})
			if err != nil {
				t.Errorf("Open: %v", err)
			}
			opened <- s
		}()
	}
	for range 8 {
		if s := <-opened; s != nil {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}

// second names the file for a run of this test as a second process.
const second = "SQLITE_TEST_SECOND_PROCESS"

// TestSecondProcess: this process has the store open and waits for an item. Another process
// queues the item, and dies with a lease.
func TestSecondProcess(t *testing.T) {
	if path := os.Getenv(second); path != "" {
		s := open(t, path, sqlstore.Config{})
		for i := range 3 {
			it := store.Item{ID: fmt.Sprint(i), To: fmt.Sprint("did:", i)}
			if err := s.Outbox().Enqueue(t.Context(), it); err != nil {
				t.Fatal(err)
			}
		}
		os.Exit(0) // without Close
	}
	path := filepath.Join(t.TempDir(), "store.db")
	s := open(t, path, sqlstore.Config{})
	got := make(chan string, 3)
	for range cap(got) {
		go func() {
			l, err := s.Outbox().Lease(t.Context(), time.Hour)
			if err != nil {
				t.Errorf("Lease: %v", err)
				got <- ""
				return
			}
			got <- l.Item.ID
		}()
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestSecondProcess$")
	cmd.Env = append(os.Environ(), second+"="+path)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("second process: %v\n%s", err, out)
	}
	for range cap(got) {
		select {
		case <-got:
		case <-ctx.Done():
			t.Fatal("what the other process queued did not come")
		}
	}
}
