//go:build postgres

package main

import (
	"net/url"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/didcomm-go/didcomm/agent/store/sqlstore/postgres/pgtest"
)

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
	dsn, err := server.DSN(t.Context(), "mine")
	if err != nil {
		t.Fatal(err)
	}
	q := url.Values{}
	for _, field := range strings.Fields(dsn) { // as a URL
		name, value, _ := strings.Cut(field, "=")
		if name != "dbname" {
			q.Set(name, value)
		}
	}
	store := "postgres:///postgres?" + q.Encode()

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
