//go:build postgres

package postgres_test

import (
	"database/sql"
	"testing"
	"time"

	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/agent/store/sqlstore"
)

// blocked waits until that many transactions wait for a lock.
func blocked(t *testing.T, db *sql.DB, n int) {
	t.Helper()
	began := time.Now()
	for got := 0; got < n; {
		err := db.QueryRowContext(t.Context(), "SELECT COUNT(*) FROM pg_locks WHERE NOT granted").Scan(&got)
		if err != nil {
			t.Fatal(err)
		}
		if time.Since(began) > time.Minute {
			t.Fatalf("%d transactions wait for a lock, %d should", got, n)
		}
	}
}

// TestReplyWhileAcked: a message arrives again at one process while another process commits
// its Ack. Then it is known with its reply.
func TestReplyWhileAcked(t *testing.T) {
	dsn := newDSN(t)
	a, b := open(t, dsn, sqlstore.Config{}), open(t, dsn, sqlstore.Config{})
	ctx := t.Context()
	m := store.Received{Sender: "did:a", Peer: "did:a", ID: "1", Packet: store.Packet{Data: []byte("x")}, Until: time.Now().Add(time.Hour)}
	first := m
	first.ID = "0"
	l, _, err := a.Inbox().Add(ctx, first, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Inbox().Ack(ctx, l); err != nil {
		t.Fatal(err)
	}
	l, _, err = a.Inbox().Add(ctx, m, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("pgx", dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	// Block the last statement of every transaction.
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback()
	if _, err := tx.ExecContext(ctx, "SELECT * FROM total FOR UPDATE"); err != nil {
		t.Fatal(err)
	}
	acked := make(chan error, 1)
	go func() { acked <- a.Inbox().Ack(ctx, l, store.Packet{MediaType: "x/y", Data: []byte("the reply")}) }()
	blocked(t, db, 1)
	type answer struct {
		known *store.Known
		err   error
	}
	added := make(chan answer, 1)
	go func() {
		_, known, err := b.Inbox().Add(ctx, m, time.Hour)
		added <- answer{known, err}
	}()
	blocked(t, db, 2)
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	if err := <-acked; err != nil {
		t.Fatal(err)
	}
	got := <-added
	if got.err != nil || got.known == nil || got.known.State != store.Done || len(got.known.Replies) != 1 || string(got.known.Replies[0].Data) != "the reply" {
		t.Errorf("known as %+v, %v", got.known, got.err)
	}
}

// TestMailThatComesDuringLease: a box becomes empty just before a lease, and gets mail of another
// process during the lease. Then the box still counts that mail, and a later lease gets it.
func TestMailThatComesDuringLease(t *testing.T) {
	dsn, ctx := newDSN(t), t.Context()
	m := open(t, dsn, sqlstore.Config{}).Mailbox()
	if err := m.Deposit(ctx, store.Mail{ID: "1", Packet: store.Packet{Data: []byte("mail")}}, "did:box"); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("pgx", dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	begin := func(statement string) *sql.Tx {
		tx, err := db.BeginTx(ctx, nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { tx.Rollback() })
		if _, err := tx.ExecContext(ctx, statement); err != nil {
			t.Fatal(err)
		}
		return tx
	}
	// To the lease, this looks as if the mail came after the box was empty.
	empties := begin("DELETE FROM mailbox")
	fills := begin("LOCK TABLE mail IN SHARE MODE")
	type answer struct {
		mail []store.Mail
		err  error
	}
	leased := make(chan answer, 1)
	go func() {
		mail, err := m.Lease(ctx, "did:box", store.Pick{N: 1}, time.Hour)
		leased <- answer{mail, err}
	}()
	blocked(t, db, 1) // by empties
	if err := empties.Commit(); err != nil {
		t.Fatal(err)
	}
	blocked(t, db, 1) // by fills
	if _, err := fills.ExecContext(ctx, "INSERT INTO mailbox (box, items, bytes, expires) VALUES ('did:box', 1, 4, 9223372036854775807)"); err != nil {
		t.Fatal(err)
	}
	if err := fills.Commit(); err != nil {
		t.Fatal(err)
	}
	if got := <-leased; got.err != nil || len(got.mail) != 0 {
		t.Errorf("leased %v, %v", got.mail, got.err)
	}
	if s, err := m.Status(ctx, "did:box"); err != nil || s.Count != 1 {
		t.Errorf("status %+v, %v", s, err)
	}
	if mail, err := m.Lease(ctx, "did:box", store.Pick{N: 1}, time.Hour); err != nil || len(mail) != 1 {
		t.Errorf("leased %v, %v", mail, err)
	}
}
