package sqlite_test

import (
	"context"
	"database/sql"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/agent/store/sqlstore"
	"github.com/didcomm-go/didcomm/agent/store/sqlstore/internal/sqlsuite"
	"github.com/didcomm-go/didcomm/agent/store/sqlstore/sqlite"
	"github.com/didcomm-go/didcomm/agent/store/storetest"
)

// open opens the store in a file, until the test ends.
func open(t testing.TB, path string, cfg sqlstore.Config) *sqlstore.Store {
	t.Helper()
	s, err := sqlite.Open(t.Context(), path, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// blank is the file of an empty store. To copy the file is much cheaper than to make a
// schema, which TestMode, TestOpenAtOnce and others do.
var blank = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "blank")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "store.db")
	s, err := sqlite.Open(context.Background(), path, sqlstore.Config{})
	if err != nil {
		return nil, err
	}
	if err := s.Close(); err != nil {
		return nil, err
	}
	return os.ReadFile(path)
})

// empty returns the path of an empty store.
func empty(t testing.TB) string {
	t.Helper()
	data, err := blank()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "store.db")
	write(t, path, data)
	return path
}

// opened opens an empty store, until the test ends.
func opened(t testing.TB, cfg sqlstore.Config) *sqlstore.Store {
	t.Helper()
	return open(t, empty(t), cfg)
}

func fresh(t *testing.T) *sqlstore.Store { return opened(t, sqlstore.Config{}) }

func TestOutbox(t *testing.T) {
	storetest.TestOutbox(t, func(t *testing.T) store.Outbox { return fresh(t).Outbox() })
}

func TestOutboxLimits(t *testing.T) {
	storetest.TestOutboxLimits(t, func(t *testing.T, cfg store.OutboxConfig) store.Outbox {
		return opened(t, sqlstore.Config{Outbox: cfg}).Outbox()
	})
}

func TestInboxLimits(t *testing.T) {
	storetest.TestInboxLimits(t, func(t *testing.T, cfg store.InboxConfig) store.Inbox {
		return opened(t, sqlstore.Config{Inbox: cfg}).Inbox()
	})
}

func TestInbox(t *testing.T) {
	storetest.TestInbox(t, func(t *testing.T) store.Inbox { return fresh(t).Inbox() })
}

func TestRecords(t *testing.T) {
	storetest.TestRecords(t, func(t *testing.T) store.Records { return fresh(t).Records() })
}

func TestRecordsLimits(t *testing.T) {
	storetest.TestRecordsLimits(t, func(t *testing.T, cfg store.RecordsConfig) store.Records {
		return opened(t, sqlstore.Config{Records: cfg}).Records()
	})
}

func TestStore(t *testing.T) {
	storetest.TestStore(t, func(t *testing.T, cfg store.Config) store.Store {
		return opened(t, sqlstore.Config{Outbox: cfg.Outbox, Inbox: cfg.Inbox, Records: cfg.Records})
	})
}

func TestMailbox(t *testing.T) {
	storetest.TestMailbox(t, func(t *testing.T) store.Mailbox { return fresh(t).Mailbox() })
}

func TestMailboxLimits(t *testing.T) {
	storetest.TestMailboxLimits(t, func(t *testing.T, cfg store.MailboxConfig) store.Mailbox {
		return opened(t, sqlstore.Config{Mailbox: cfg}).Mailbox()
	})
}

func TestKeys(t *testing.T) {
	storetest.TestKeys(t, func(t *testing.T) store.SealedKeys { return fresh(t).SealedKeys() })
}

// file is a sqlsuite.Database.
type file string

func (f file) Open(t testing.TB, cfg sqlstore.Config) *sqlstore.Store { return open(t, string(f), cfg) }

func (f file) SQL(t testing.TB) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+string(f)+"?_pragma=busy_timeout(10000)")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func TestSuite(t *testing.T) {
	sqlsuite.Run(t, func(t *testing.T) sqlsuite.Database { return file(empty(t)) })
}
