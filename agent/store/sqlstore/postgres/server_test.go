//go:build postgres

package postgres_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/agent/store/sqlstore"
	"github.com/didcomm-go/didcomm/agent/store/sqlstore/internal/sqlsuite"
	"github.com/didcomm-go/didcomm/agent/store/sqlstore/postgres"
	"github.com/didcomm-go/didcomm/agent/store/sqlstore/postgres/pgtest"
)

// run runs SQL on a database.
func run(t testing.TB, dsn, query string) {
	t.Helper()
	db, err := sql.Open("pgx", dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.ExecContext(t.Context(), query); err != nil {
		t.Fatal(err)
	}
}

func TestNewerSchema(t *testing.T) {
	dsn := newDSN(t)
	if err := open(t, dsn, sqlstore.Config{}).Close(); err != nil {
		t.Fatal(err)
	}
	run(t, dsn, "INSERT INTO "+sqlstore.VersionTable+" (version_id, is_applied) VALUES (1000, true)")
	_, err := postgres.Open(t.Context(), dsn, sqlstore.Config{})
	if !errors.Is(err, sqlstore.ErrNewerSchema) || !strings.Contains(err.Error(), "version 1000") || strings.Contains(err.Error(), "\n") {
		t.Errorf("Open: %v", err)
	}
}

// TestOwnSchema: without a search_path, the tables are in a schema that Open makes. Several
// processes may make it at the same time.
func TestOwnSchema(t *testing.T) {
	dsn, _, _ := strings.Cut(newDSN(t), " search_path=")
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			s, err := postgres.Open(t.Context(), dsn, sqlstore.Config{})
			if err != nil {
				t.Errorf("Open: %v", err)
				return
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	run(t, dsn, "SELECT id FROM "+postgres.Schema+".outbox")
	run(t, dsn, "DROP SCHEMA "+postgres.Schema+" CASCADE")
}

// TestServerCrash: accepted entries survive a crash of the server. The store, and the calls
// that wait in it, work again when the server does.
func TestServerCrash(t *testing.T) {
	server, err := pgtest.Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	dsn, err := server.DSN(t.Context(), "crash")
	if err != nil {
		t.Fatal(err)
	}
	s := open(t, dsn, sqlstore.Config{})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()

	waiting := make(chan error, 1)
	go func() { waiting <- s.Mailbox().Wait(ctx, "box") }()
	var accepted []string
	var mu sync.Mutex
	stop, grown := make(chan struct{}), make(chan struct{}, 1)
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				id := fmt.Sprint(w, "-", i)
				if s.Outbox().Enqueue(ctx, store.Item{ID: id, To: "did:a", Thread: id, Owner: "did:us"}) == nil {
					mu.Lock()
					accepted = append(accepted, id)
					mu.Unlock()
					select {
					case grown <- struct{}{}:
					default:
					}
				}
			}
		})
	}
	// more waits until that many more items are accepted.
	more := func(n int) {
		t.Helper()
		count := func() int {
			mu.Lock()
			defer mu.Unlock()
			return len(accepted)
		}
		for want := count() + n; count() < want; {
			select {
			case <-grown:
			case <-ctx.Done():
				t.Fatalf("%d are accepted, %d wanted", count(), want)
			}
		}
	}
	for range 3 {
		more(50)
		if err := server.Kill(ctx); err != nil {
			t.Fatal(err)
		}
		if err := server.Restart(ctx); err != nil {
			t.Fatal(err)
		}
	}
	more(50)
	close(stop)
	wg.Wait()
	if err := s.Mailbox().Deposit(ctx, store.Mail{ID: "1"}, "box"); err != nil {
		t.Fatal(err)
	}
	if err := <-waiting; err != nil {
		t.Errorf("Wait: %v", err)
	}
	for _, id := range accepted {
		if _, err := s.Outbox().(store.OutboxAdmin).Get(ctx, id); err != nil {
			t.Errorf("%s was accepted: %v", id, err)
		}
	}
	sqlsuite.CheckShares(t, pool(t, dsn))
}
