//go:build postgres

package postgres_test

import (
	"database/sql"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/agent/store/sqlstore"
)

// slowCommits makes each transaction that changes the inbox, or adds to the outbox, wait in
// its COMMIT, even if a client gives up and cancels the COMMIT.
func slowCommits(t *testing.T, dsn string, d time.Duration) {
	t.Helper()
	run(t, dsn, fmt.Sprintf(`CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS $$
		DECLARE ends timestamptz := clock_timestamp() + make_interval(secs => %f);
		BEGIN
			WHILE clock_timestamp() < ends LOOP
				BEGIN
					PERFORM pg_sleep(extract(epoch from ends - clock_timestamp()));
				EXCEPTION WHEN query_canceled THEN NULL;
				END;
			END LOOP;
			RETURN NULL;
		END $$;
		CREATE CONSTRAINT TRIGGER wait AFTER INSERT OR UPDATE ON inbox DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION wait();
		CREATE CONSTRAINT TRIGGER wait AFTER INSERT ON outbox DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION wait()`, d.Seconds()))
}

// committing waits until a session waits in its COMMIT, and returns its process.
func committing(t *testing.T, db *sql.DB) (pid int) {
	t.Helper()
	for began := time.Now(); time.Since(began) < time.Minute; {
		err := db.QueryRowContext(t.Context(), "SELECT pid FROM pg_stat_activity WHERE wait_event = 'PgSleep'").Scan(&pid)
		if err == nil {
			return pid
		}
		if !errors.Is(err, sql.ErrNoRows) {
			t.Fatal(err)
		}
	}
	t.Fatal("no session commits")
	return 0
}

type added struct {
	lease *store.Lease[store.Received]
	known *store.Known
	err   error
}

func addLater(t *testing.T, s *sqlstore.Store, id string) <-chan added {
	done := make(chan added, 1)
	go func() {
		l, known, err := s.Inbox().Add(t.Context(), message(id), hour)
		done <- added{l, known, err}
	}()
	return done
}

// TestUnclearCommit: a connection is lost while its transaction commits. The store looks up
// the outcome, and the caller gets the lease, exactly once.
func TestUnclearCommit(t *testing.T) {
	for name, strike := range map[string]func(p *proxy, db *sql.DB, pid int) error{
		"committed": func(p *proxy, _ *sql.DB, _ int) error { p.cut(); return nil },
		"aborted": func(_ *proxy, db *sql.DB, pid int) error {
			_, err := db.Exec("SELECT pg_terminate_backend($1)", pid)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			dsn := newDSN(t)
			p, db := newProxy(t, dsn), pool(t, dsn)
			s := open(t, p.dsn, sqlstore.Config{})
			slowCommits(t, dsn, 500*time.Millisecond)
			done := addLater(t, s, "1")
			if err := strike(p, db, committing(t, db)); err != nil {
				t.Fatal(err)
			}
			got := <-done
			if got.err != nil || got.lease == nil {
				t.Fatalf("Add = %v, %v, %v", got.lease, got.known, got.err)
			}
			if again := <-addLater(t, s, "1"); again.err != nil || again.known == nil || again.known.State != store.Leased {
				t.Errorf("Add again = %v, %v, %v", again.lease, again.known, again.err)
			}
			l, _, err := s.Inbox().Add(t.Context(), message("2"), hour)
			if err != nil {
				t.Fatal(err)
			}
			changes := &store.Changes{Put: []store.Record{{Key: "1"}}, Enqueue: []store.Item{{ID: "2", To: "did:a"}}, Ack: l}
			for what, do := range map[string]func() error{
				"Commit":  func() error { return s.Commit(t.Context(), changes) },
				"Enqueue": func() error { return s.Outbox().Enqueue(t.Context(), store.Item{ID: "1", To: "did:a"}) },
				"Ack":     func() error { return s.Inbox().Ack(t.Context(), got.lease) },
			} {
				done := make(chan error, 1)
				go func() { done <- do() }()
				if err := strike(p, db, committing(t, db)); err != nil {
					t.Fatal(err)
				}
				if err := <-done; err != nil {
					t.Errorf("%s: %v", what, err)
				}
			}
			if r, err := s.Records().Get(t.Context(), "", "1"); err != nil || r.Version != changes.Put[0].Version {
				t.Errorf("record %+v, %v, want version %d", r, err, changes.Put[0].Version)
			}
			if _, err := s.Outbox().(store.OutboxAdmin).Get(t.Context(), "2"); err != nil {
				t.Errorf("item: %v", err)
			}
			if err := s.Inbox().Ack(t.Context(), l); !errors.Is(err, store.ErrLease) {
				t.Errorf("Ack of what was acked: %v", err)
			}
		})
	}
}

// TestUnclearForLong: the outcome of a commit stays unclear for longer than its caller waits.
// If the commit takes effect, its lease is given back.
func TestUnclearForLong(t *testing.T) {
	dsn := newDSN(t)
	s := open(t, dsn+" statement_timeout=0", sqlstore.Config{})
	slowCommits(t, dsn, 9*time.Second)
	began := time.Now()
	got := <-addLater(t, s, "1")
	if !errors.Is(got.err, sqlstore.ErrUnavailable) || got.lease != nil || got.known != nil {
		t.Fatalf("Add = %v, %v, %v after %s", got.lease, got.known, got.err, time.Since(began))
	}
	run(t, dsn, "DROP TRIGGER wait ON inbox") // as soon as the commit is over
	if l, err := s.Inbox().Lease(soon(t), hour); err != nil || l.Item.ID != "1" {
		t.Errorf("Lease: %+v, %v", l, err)
	}
}

// TestUnclearCommitForLong: the outcome of a Commit stays unclear for longer than its caller
// waits. All of its changes are done, or none. The caller keeps the lease that Commit was to
// end until then.
func TestUnclearCommitForLong(t *testing.T) {
	for name, aborted := range map[string]bool{"committed": false, "aborted": true} {
		t.Run(name, func(t *testing.T) {
			dsn := newDSN(t)
			db := pool(t, dsn)
			s := open(t, dsn+" statement_timeout=0", sqlstore.Config{})
			l, _, err := s.Inbox().Add(t.Context(), message("1"), hour)
			if err != nil {
				t.Fatal(err)
			}
			slowCommits(t, dsn, 9*time.Second)
			done := make(chan error, 1)
			go func() {
				done <- s.Commit(t.Context(), &store.Changes{Put: []store.Record{{Key: "1"}}, Enqueue: []store.Item{{ID: "1", To: "did:a"}}, Ack: l})
			}()
			pid := committing(t, db)
			if err := <-done; !errors.Is(err, sqlstore.ErrUnavailable) {
				t.Fatalf("Commit: %v", err)
			}
			run(t, dsn, fmt.Sprintf("SELECT pg_terminate_backend(%d) WHERE %v", pid, aborted))
			run(t, dsn, "DROP TRIGGER wait ON inbox; DROP TRIGGER wait ON outbox") // as soon as the commit is over
			_, get := s.Records().Get(soon(t), "", "1")
			_, find := s.Outbox().(store.OutboxAdmin).Get(soon(t), "1")
			ack := s.Inbox().Ack(soon(t), l)
			if (get == nil) != (find == nil) || (get == nil) == (ack == nil) {
				t.Errorf("record: %v; item: %v; Ack: %v", get, find, ack)
			}
		})
	}
}

// TestSilentConnections: all open connections drop their packets. Within seconds, writes,
// reads and notices work again, on new connections.
func TestSilentConnections(t *testing.T) {
	dsn := newDSN(t)
	p := newProxy(t, dsn)
	s, other := open(t, p.dsn, sqlstore.Config{Fallback: hour}), open(t, dsn, sqlstore.Config{})
	for i := range 2 {
		add(t, s, fmt.Sprint(i))
		if ids, err := s.Inbox().Remembered(soon(t), "did:a", []string{fmt.Sprint(i)}); err != nil || len(ids) != 1 {
			t.Errorf("Remembered = %q, %v", ids, err)
		}
		p.silence()
	}
	if ids, err := s.Inbox().Remembered(soon(t), "did:a", []string{"0", "1"}); err != nil || len(ids) != 2 {
		t.Errorf("Remembered = %q, %v", ids, err)
	}
	leased := make(chan error, 1)
	go func() {
		_, err := s.Outbox().Lease(soon(t), hour)
		leased <- err
	}()
	p.silence()
	if err := other.Outbox().Enqueue(t.Context(), store.Item{ID: "1", To: "did:a"}); err != nil {
		t.Fatal(err)
	}
	if err := <-leased; err != nil {
		t.Errorf("Lease of what another process queued: %v", err)
	}
}
