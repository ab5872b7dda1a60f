//go:build crash

package crash_test

import (
	"context"
	"math/rand/v2"
	"testing"

	"github.com/didcomm-go/didcomm/agent/store/sqlstore"
	"github.com/didcomm-go/didcomm/agent/store/sqlstore/postgres"
	"github.com/didcomm-go/didcomm/agent/store/sqlstore/postgres/pgtest"
)

func openPostgres(ctx context.Context, dsn string, limits sqlstore.Config) (*sqlstore.Store, error) {
	return postgres.Open(ctx, dsn, limits)
}

// TestPostgres kills agents whose stores are on a PostgreSQL server, and that
// server itself.
func TestPostgres(t *testing.T) {
	server, err := pgtest.Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	var stores []string
	for _, schema := range []string{"a", "b"} {
		dsn, err := server.DSN(t.Context(), schema)
		if err != nil {
			t.Fatal(err)
		}
		stores = append(stores, dsn)
	}
	w := newWorld(t, stores...)
	w.run(t, *messages, *kills, func() {
		if i := rand.N(len(w.nodes) + 1); i < len(w.nodes) {
			w.nodes[i].kill(t)
			return
		}
		if err := server.Kill(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := server.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
}
