//go:build postgres

package postgres_test

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"sync/atomic"
	"testing"

	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/agent/store/sqlstore"
	"github.com/didcomm-go/didcomm/agent/store/sqlstore/internal/sqlsuite"
	"github.com/didcomm-go/didcomm/agent/store/sqlstore/postgres"
	"github.com/didcomm-go/didcomm/agent/store/sqlstore/postgres/pgtest"
	"github.com/didcomm-go/didcomm/agent/store/storetest"
)

var (
	server  *pgtest.Server
	schemas atomic.Int64
)

func TestMain(m *testing.M) {
	var err error
	if server, err = pgtest.Start(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	if err := server.Close(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// newDSN returns the DSN of an empty schema.
func newDSN(t testing.TB) string {
	t.Helper()
	dsn, err := server.DSN(t.Context(), fmt.Sprint("test", schemas.Add(1)))
	if err != nil {
		t.Fatal(err)
	}
	return dsn
}

// open opens the store at a DSN, until the test ends.
func open(t testing.TB, dsn string, cfg sqlstore.Config) *sqlstore.Store {
	t.Helper()
	s, err := postgres.Open(t.Context(), dsn, cfg)
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

// used are the DSNs of stores of tests that are over.
var used []string

const emptyTables = `DO $$ DECLARE name text; BEGIN
	FOR name IN SELECT tablename FROM pg_tables WHERE schemaname = current_schema() AND tablename <> '` + sqlstore.VersionTable + `' LOOP
		EXECUTE 'DELETE FROM ' || quote_ident(name);
	END LOOP;
END $$`

// emptyDSN returns the DSN of an empty store. To empty the store of another test is much
// cheaper than to make a schema, which TestManyFirstStarts, TestOwnSchema and others do.
func emptyDSN(t testing.TB) string {
	t.Helper()
	var dsn string
	if last := len(used) - 1; last >= 0 {
		dsn, used = used[last], used[:last]
		run(t, dsn, emptyTables)
	} else {
		dsn = newDSN(t)
	}
	t.Cleanup(func() {
		if !t.Failed() {
			used = append(used, dsn)
		}
	})
	return dsn
}

// opened opens an empty store, until the test ends.
func opened(t testing.TB, cfg sqlstore.Config) *sqlstore.Store {
	t.Helper()
	return open(t, emptyDSN(t), cfg)
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

// dsn is a sqlsuite.Database.
type dsn string

func (d dsn) Open(t testing.TB, cfg sqlstore.Config) *sqlstore.Store { return open(t, string(d), cfg) }

func (d dsn) SQL(t testing.TB) *sql.DB { return pool(t, string(d)) }

func TestSuite(t *testing.T) {
	sqlsuite.Run(t, func(t *testing.T) sqlsuite.Database { return dsn(emptyDSN(t)) })
}
