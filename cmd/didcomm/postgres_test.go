//go:build postgres

package main

import (
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/didcomm-go/didcomm/agent/store/sqlstore/postgres/pgtest"
)

// storeURL is a database of a server, as --store takes it, with the tables in a schema
// of that name.
func storeURL(t *testing.T, server *pgtest.Server, schema string) string {
	t.Helper()
	dsn, err := server.DSN(t.Context(), schema)
	if err != nil {
		t.Fatal(err)
	}
	q := url.Values{}
	for _, field := range strings.Fields(dsn) {
		name, value, _ := strings.Cut(field, "=")
		if name != "dbname" {
			q.Set(name, value)
		}
	}
	return "postgres:///postgres?" + q.Encode()
}

// With --store an agent's messages are in PostgreSQL, and no database in its home.
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
	store := storeURL(t, server, "mine")

	// However many are the first in a database, they share the agent's keys: two.
	shared := storeURL(t, server, "shared")
	first := &peer{t: t, program: "didcomm", dir: t.TempDir()}
	var all sync.WaitGroup
	for range 6 {
		all.Go(func() { first.run("", "key", "new", "--curve", "P-256", "--store", shared) })
	}
	all.Wait()
	if out := first.run("", "key", "list", "--store", shared); strings.Count(out, "\n") != 8 || strings.Count(out, "did:peer:") != 2 {
		t.Errorf("keys:\n%s", out)
	}

	agent, peer := run(t, "--store", store)
	peer.run("", "send", agent.did, "hello")
	if _, err := agent.says(": hello$"); err != nil {
		t.Fatal(err)
	}
	home := filepath.Join(peer.dir, "home")
	dead := strings.TrimSpace(peer.run("", "did", "create", "--method", "peer", "--service", agent.url+"/nowhere"))
	id := strings.TrimSpace(peer.run("", "send", "--home", home, "--store", store, dead, "to nobody"))
	if out := peer.run("", "outbox", "--home", home, "show", "--store", store, id); !strings.Contains(out, id) {
		t.Errorf("outbox: %s", out)
	}
	if err := agent.stop(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if out := peer.run("", "inbox", "--home", home, "--store", store); !strings.Contains(out, " done, ") || !strings.Contains(out, ": hello\n") {
		t.Errorf("inbox: %s", out)
	}
	for name := range contents(t, home, 2) {
		if strings.Contains(name, "agent.db") {
			t.Errorf("there is %s", name)
		}
	}
}
