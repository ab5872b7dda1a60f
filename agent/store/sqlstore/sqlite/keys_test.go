package sqlite_test

import (
	"bytes"
	"database/sql"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/agent/store/sqlstore"
)

// holds tells whether a database's file or log has these bytes.
func holds(t *testing.T, path string, secret []byte) bool {
	t.Helper()
	for _, name := range []string{path, path + "-wal"} {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(data, secret) {
			return true
		}
	}
	return false
}

func setWrapping(t *testing.T, s *sqlstore.Store, old, wrapped []byte) {
	t.Helper()
	if err := s.SealedKeys().SetWrapping(t.Context(), old, wrapped); err != nil {
		t.Fatal(err)
	}
}

// TestOldWrappingGone: after SetWrapping, no file has the old wrapped key, even if another
// process has the store open.
func TestOldWrappingGone(t *testing.T) {
	clear := []byte("\x01\x04none the key of the keyring in clear")
	for name, wrapped := range map[string][]byte{
		"none":    nil,
		"shorter": []byte("short"),
		"as long": bytes.Repeat([]byte("x"), len(clear)),
		"longer":  bytes.Repeat([]byte("x"), 3*len(clear)),
		"longest": bytes.Repeat([]byte("x"), 10_000),
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "store.db")
			first := open(t, path, sqlstore.Config{})
			setWrapping(t, first, nil, clear)
			if err := first.Close(); err != nil { // from the log into the file
				t.Fatal(err)
			}
			serving := open(t, path, sqlstore.Config{Reclaim: true})
			if err := serving.SealedKeys().Put(t.Context(), store.SealedKey{KID: "did:example:us#1"}); err != nil {
				t.Fatal(err)
			}
			if !holds(t, path, clear[7:]) {
				t.Fatal("the wrapping is nowhere")
			}
			setWrapping(t, open(t, path, sqlstore.Config{}), clear, wrapped)
			if holds(t, path, clear[7:]) {
				t.Error("the old wrapping is still there")
			}
			// In the log alone, and by the process that serves.
			if wrapped != nil {
				setWrapping(t, serving, wrapped, nil)
			}
			setWrapping(t, serving, nil, clear)
			if !holds(t, path, clear[7:]) {
				t.Fatal("the wrapping is nowhere")
			}
			setWrapping(t, serving, clear, []byte("another"))
			if holds(t, path, clear[7:]) {
				t.Error("the old wrapping is still there, from the log")
			}
		})
	}
}

// TestOldWrappingRead: while a connection reads, the log is not truncated. It is truncated
// when the store is closed.
func TestOldWrappingRead(t *testing.T) {
	old := []byte(strings.Repeat("old", 10))
	path := filepath.Join(t.TempDir(), "store.db")
	open(t, path, sqlstore.Config{}) // it does not end with the other
	s := open(t, path, sqlstore.Config{})
	setWrapping(t, s, nil, old)
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	reader, err := db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Rollback()
	var n int
	if err := reader.QueryRow("SELECT COUNT(*) FROM keyring").Scan(&n); err != nil {
		t.Fatal(err)
	}
	setWrapping(t, s, old, []byte("new"))
	if !holds(t, path, old) {
		t.Error("the log was emptied though somebody reads")
	}
	if err := reader.Rollback(); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if holds(t, path, old) {
		t.Error("the old wrapping is still there")
	}
}
