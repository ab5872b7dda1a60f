package sqlite_test

import (
	"database/sql"
	"path/filepath"
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

func fresh(t *testing.T) *sqlstore.Store {
	return open(t, filepath.Join(t.TempDir(), "store.db"), sqlstore.Config{})
}

func TestOutbox(t *testing.T) {
	storetest.TestOutbox(t, func(t *testing.T) store.Outbox { return fresh(t).Outbox() })
}

func TestOutboxLimits(t *testing.T) {
	storetest.TestOutboxLimits(t, func(t *testing.T, cfg store.OutboxConfig) store.Outbox {
		return open(t, filepath.Join(t.TempDir(), "store.db"), sqlstore.Config{Outbox: cfg}).Outbox()
	})
}

func TestInboxLimits(t *testing.T) {
	storetest.TestInboxLimits(t, func(t *testing.T, cfg store.InboxConfig) store.Inbox {
		return open(t, filepath.Join(t.TempDir(), "store.db"), sqlstore.Config{Inbox: cfg}).Inbox()
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
		return open(t, filepath.Join(t.TempDir(), "store.db"), sqlstore.Config{Records: cfg}).Records()
	})
}

func TestStore(t *testing.T) {
	storetest.TestStore(t, func(t *testing.T, cfg store.Config) store.Store {
		return open(t, filepath.Join(t.TempDir(), "store.db"), sqlstore.Config{Outbox: cfg.Outbox, Inbox: cfg.Inbox, Records: cfg.Records})
	})
}

func TestMailbox(t *testing.T) {
	storetest.TestMailbox(t, func(t *testing.T) store.Mailbox { return fresh(t).Mailbox() })
}

func TestMailboxLimits(t *testing.T) {
	storetest.TestMailboxLimits(t, func(t *testing.T, cfg store.MailboxConfig) store.Mailbox {
		return open(t, filepath.Join(t.TempDir(), "store.db"), sqlstore.Config{Mailbox: cfg}).Mailbox()
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
	sqlsuite.Run(t, func(t *testing.T) sqlsuite.Database { return file(filepath.Join(t.TempDir(), "store.db")) })
}
