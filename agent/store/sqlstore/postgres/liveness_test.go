//go:build postgres

package postgres_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/agent/store/sqlstore"
	"github.com/didcomm-go/didcomm/agent/store/sqlstore/postgres"
)

// hour is longer than any test runs.
const hour = time.Hour

func pool(t testing.TB, dsn string) *sql.DB {
	t.Helper()
	db, err := sql.Open("pgx", dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func exec(t *testing.T, db *sql.DB, query string, args ...any) {
	t.Helper()
	if r, err := db.ExecContext(t.Context(), query, args...); err != nil {
		t.Fatal(err)
	} else if n, err := r.RowsAffected(); err != nil || n != 1 {
		t.Fatalf("%s: %d rows, %v", query, n, err)
	}
}

func message(id string) store.Received {
	return store.Received{Sender: "did:a", Peer: "did:a", ID: id, Packet: store.Packet{Data: []byte(id)}, Until: time.Now().Add(hour)}
}

func add(t *testing.T, s *sqlstore.Store, id string) *store.Lease[store.Received] {
	t.Helper()
	l, known, err := s.Inbox().Add(t.Context(), message(id), hour)
	if err != nil || l == nil {
		t.Fatalf("Add(%s) = %v, %v, %v", id, l, known, err)
	}
	return l
}

// soon is a context for a wait that must not take longer than 10 s.
func soon(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// TestDeadInstance: the leases of a dead process are given back soon, in the inbox and in the
// outbox. Those of a living process are not.
func TestDeadInstance(t *testing.T) {
	dsn := newDSN(t)
	s, db := open(t, dsn, sqlstore.Config{}), pool(t, dsn)
	kept, lost := add(t, s, "kept"), add(t, s, "lost")
	if err := s.Outbox().Enqueue(t.Context(), store.Item{ID: "kept", To: "did:a", Thread: "1"}, store.Item{ID: "lost", To: "did:a", Thread: "2"}); err != nil {
		t.Fatal(err)
	}
	var items []*store.Lease[store.Item]
	for range 2 {
		l, err := s.Outbox().Lease(t.Context(), hour)
		if err != nil {
			t.Fatal(err)
		}
		items = append(items, l)
	}
	// The row of the dead process. The number of its instance is 7.
	exec(t, db, "INSERT INTO life (id, beat, mark) VALUES (7, 1, 1)")
	exec(t, db, "UPDATE inbox SET token = (7::bigint << 32) + 1 WHERE token = $1", int64(lost.Token))
	exec(t, db, "UPDATE outbox SET token = (7::bigint << 32) + 1 WHERE id = 'lost'")

	ctx := soon(t)
	l, err := s.Inbox().Lease(ctx, hour)
	if err != nil || l.Item.ID != "lost" || l.Attempts != 1 {
		t.Fatalf("Lease of the inbox: %+v, %v", l, err)
	}
	it, err := s.Outbox().Lease(ctx, hour)
	if err != nil || it.Item.ID != "lost" || it.Attempts != 1 {
		t.Fatalf("Lease of the outbox: %+v, %v", it, err)
	}
	if err := s.Inbox().Ack(t.Context(), kept); err != nil {
		t.Errorf("Ack of a message that a living process has leased: %v", err)
	}
	for _, l := range items {
		if err := s.Outbox().Ack(t.Context(), l); (err == nil) != (l.Item.ID == "kept") {
			t.Errorf("Ack of %s: %v", l.Item.ID, err)
		}
	}
	var living, dead int
	if err := db.QueryRowContext(t.Context(), "SELECT COUNT(*) FILTER (WHERE beat > 0), COUNT(*) FILTER (WHERE beat < 0) FROM life").Scan(&living, &dead); err != nil || living != 1 || dead != 1 {
		t.Errorf("%d living, %d dead, %v, want one each", living, dead, err)
	}
}

// TestPause: a process that was marked as dead and continues counts as alive again, and keeps
// its new leases.
func TestPause(t *testing.T) {
	dsn := newDSN(t)
	a, b, db := open(t, dsn, sqlstore.Config{}), open(t, dsn, sqlstore.Config{}), pool(t, dsn)
	add(t, b, "of b")
	first := add(t, a, "1")
	instance := int64(first.Token >> 32)
	// Another process marks it as dead.
	exec(t, db, "UPDATE life SET beat = -beat WHERE id = $1", instance)
	exec(t, db, "UPDATE inbox SET state = 0, token = 0, due = 0 WHERE token = $1", int64(first.Token))
	if l, err := b.Inbox().Lease(soon(t), hour); err != nil || l.Item.ID != "1" {
		t.Fatalf("Lease: %v, %v", l, err)
	}
	if err := a.Inbox().Ack(t.Context(), first); !errors.Is(err, store.ErrLease) {
		t.Errorf("Ack of a lease that was given back: %v", err)
	}
	second := add(t, a, "2")
	ctx, cancel := context.WithTimeout(t.Context(), 6*time.Second) // longer than orphanCheckInterval
	defer cancel()
	if l, err := b.Inbox().Lease(ctx, hour); err == nil {
		t.Errorf("%s was taken from a process that lives", l.Item.ID)
	}
	if err := a.Inbox().Ack(t.Context(), second); err != nil {
		t.Errorf("Ack: %v", err)
	}
	var alive bool
	if err := db.QueryRowContext(t.Context(), "SELECT beat > 0 FROM life WHERE id = $1", instance).Scan(&alive); err != nil || !alive {
		t.Errorf("alive: %v, %v", alive, err)
	}
}

// TestOrphan: a message that a process has leased without knowing of the lease is leased to
// the next caller that adds it.
func TestOrphan(t *testing.T) {
	dsn := newDSN(t)
	s, db := open(t, dsn, sqlstore.Config{}), pool(t, dsn)
	first := add(t, s, "1")
	exec(t, db, "UPDATE inbox SET token = token + 1000 WHERE token = $1", int64(first.Token))
	l := add(t, s, "1")
	if l.Attempts != 0 {
		t.Errorf("%d attempts before", l.Attempts)
	}
	if _, known, err := s.Inbox().Add(t.Context(), message("1"), hour); err != nil || known == nil || known.State != store.Leased {
		t.Errorf("the leased message is known as %+v, %v", known, err)
	}
	if err := s.Inbox().Ack(t.Context(), first); !errors.Is(err, store.ErrLease) {
		t.Errorf("Ack of the lease that was lost: %v", err)
	}
	if err := s.Inbox().Ack(t.Context(), l); err != nil {
		t.Errorf("Ack: %v", err)
	}
}

// TestExtendedLease: an extended lease is no orphan after the time at which the lease would
// have ended without Extend.
func TestExtendedLease(t *testing.T) {
	s := open(t, newDSN(t), sqlstore.Config{})
	l, _, err := s.Inbox().Add(t.Context(), message("1"), time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if l, err = s.Inbox().Extend(t.Context(), l, hour); err != nil {
		t.Fatal(err)
	}
	// Some heartbeats longer than the first lease, since each check forgets leases that have
	// ended.
	<-time.After(2500 * time.Millisecond)
	again, known, err := s.Inbox().Add(t.Context(), message("1"), hour)
	if err != nil || again != nil || known == nil || known.State != store.Leased {
		t.Errorf("Add again = %v, %+v, %v", again, known, err)
	}
	if err := s.Inbox().Ack(t.Context(), l); err != nil {
		t.Errorf("Ack: %v", err)
	}
}

// TestManyOrphans: all leases of a dead process are given back, even if there are many.
func TestManyOrphans(t *testing.T) {
	const n = 2000
	dsn := newDSN(t)
	s, db := open(t, dsn, sqlstore.Config{}), pool(t, dsn)
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			if _, _, err := s.Inbox().Add(t.Context(), message(fmt.Sprint(i)), hour); err != nil {
				t.Errorf("Add: %v", err)
			}
		})
	}
	all.Wait()
	run(t, dsn, "UPDATE inbox SET token = (7::bigint << 32) + seq % 1000000 + 1")
	exec(t, db, "INSERT INTO life (id, beat, mark) VALUES (7, 1, 1)")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for i := range n {
		if _, err := s.Inbox().Lease(ctx, hour); err != nil {
			t.Fatalf("%d are leased again: %v", i, err)
		}
	}
}

// TestFrozenTransaction: a process that stops in the middle of a transaction blocks other
// processes for a few seconds only. Here it has locked all rows that processes share.
func TestFrozenTransaction(t *testing.T) {
	dsn := newDSN(t)
	s, db := open(t, dsn, sqlstore.Config{}), pool(t, dsn+" idle_in_transaction_session_timeout=3s")
	add(t, s, "0")
	tx, err := db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback()
	for _, table := range []string{"inbox_peer", "total", "outbox_peer"} {
		if _, err := tx.ExecContext(t.Context(), "SELECT * FROM "+table+" FOR UPDATE"); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := s.Inbox().Add(soon(t), message("1"), hour); err != nil {
		t.Errorf("Add: %v", err)
	}
	if err := tx.Commit(); err == nil {
		t.Error("the frozen transaction committed, so it has blocked no other")
	}
}

// TestManyFirstStarts: agents that start at the same time on an empty database all succeed.
// This takes about as long as for one agent. The limit is for a busy machine.
func TestManyFirstStarts(t *testing.T) {
	dsn := newDSN(t)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			s, err := postgres.Open(ctx, dsn, sqlstore.Config{})
			if err != nil {
				t.Errorf("Open %d: %v", i, err)
				return
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}
