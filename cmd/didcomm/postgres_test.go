//go:build postgres

package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/didcomm-go/didcomm/agent/store/sqlstore"
	"github.com/didcomm-go/didcomm/agent/store/sqlstore/postgres"
	"github.com/didcomm-go/didcomm/agent/store/sqlstore/postgres/pgtest"
	"github.com/didcomm-go/didcomm/cmd/internal/home"
	"github.com/didcomm-go/didcomm/transport"
)

// With --store an agent's messages are in PostgreSQL, and no database in its home.
func TestPostgres(t *testing.T) {
	pg := startPostgres(t)
	store := storeOf(t, pg, "mine")

	// However many are the first in a database, they share the agent's keys: two.
	shared := storeOf(t, pg, "shared")
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
	for name := range contents(t, home, 1) {
		if strings.Contains(name, "agent.db") {
			t.Errorf("there is %s", name)
		}
	}
}

// Agents that share a database answer for all DIDs in it, those that are made and retired
// while they run as well, and each knows its own from those of the others.
func TestPostgresDIDs(t *testing.T) {
	store := storeOf(t, startPostgres(t), "shared")
	first, peer := run(t, "--store", store)
	second, _ := run(t, "--store", store)
	list := func() string { return peer.run("", "did", "list", "--store", store) }
	if out := list(); strings.Count(out, "\n") != 2 || !strings.Contains(out, first.did+" in use, ") || !strings.Contains(out, second.did+" in use, ") {
		t.Errorf("two agents:\n%s", out)
	}
	for _, a := range []*agentProcess{first, second} {
		if strings.Contains(a.log(), "DID changed") {
			t.Errorf("an agent says that its DID changed:\n%s", a.log())
		}
	}

	made := strings.TrimSpace(peer.run("", "did", "create", "--store", store, "--service", first.url))
	sender := strings.TrimSpace(peer.run("", "did", "create", "--method", "key", "--secrets-out", "sender.json"))
	n := 0
	says := func(a *agentProcess, to string, opens bool) {
		t.Helper()
		n++
		m := fmt.Sprintf(`{"id":"%d","type":"https://didcomm.org/basicmessage/2.0/message","body":{"content":"text %[1]d"}}`, n)
		sealed := peer.run(m, "pack", "--secrets", "sender.json", "--from", sender, "--to", to)
		status, body := post(t, a.url, transport.MediaTypeEncrypted, strings.NewReader(sealed))
		if opens != (status/100 == 2) {
			t.Errorf("message %d: %d %s", n, status, body)
		}
		if !opens || status/100 != 2 {
			return
		}
		want := fmt.Sprintf("^message from %s to %s: text %d$", regexp.QuoteMeta(sender), regexp.QuoteMeta(to), n)
		if to == a.did {
			want = fmt.Sprintf("^message from %s: text %d$", regexp.QuoteMeta(sender), n)
		}
		if _, err := a.says(want); err != nil {
			t.Error(err)
		}
	}
	for _, a := range []*agentProcess{first, second} {
		for _, to := range []string{made, first.did, second.did} {
			says(a, to, true)
		}
	}
	peer.run("", "did", "retire", "--store", store, "--for", "0s", made)
	says(first, made, false)
	says(second, made, false)

	// An agent that stops is not taken for one that runs.
	if err := first.stop(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if out := list(); !strings.Contains(out, first.did+" former, ") || !strings.Contains(out, second.did+" in use, ") || !strings.Contains(out, made+" retired, ") {
		t.Errorf("one of the agents has stopped:\n%s", out)
	}
	env := append(os.Environ(), "GORACE="+raceOptions, "DIDCOMM_HOME="+filepath.Join(peer.dir, "home"))
	moved, err := startAgent(peer.program, env, peer.dir, "--listen", "127.0.0.1:0", "--store", store)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(moved.kill)
	if want := "The agent's DID changed from " + first.did + " to " + moved.did + ";"; !strings.Contains(moved.log(), want) {
		t.Errorf("no %q in\n%s", want, moved.log())
	}
	says(moved, first.did, true)
	says(second, moved.did, true)
	peer.run("", "did", "retire", "--store", store, "--for", "0s", first.did)
	says(second, first.did, false)
}

// startPostgres starts a PostgreSQL server for a test.
func startPostgres(t *testing.T) *pgtest.Server {
	t.Helper()
	pg, err := pgtest.Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := pg.Close(); err != nil {
			t.Error(err)
		}
	})
	return pg
}

// storeOf is the URL of a schema.
func storeOf(t *testing.T, pg *pgtest.Server, name string) string {
	t.Helper()
	dsn, err := pg.DSN(t.Context(), name)
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

// A list whose database goes away midway says that the list is not complete.
func TestCutOffPostgres(t *testing.T) {
	const many = 1200 // more than a pipe holds, and than two pages
	pg, dir := startPostgres(t), t.TempDir()
	at := storeOf(t, pg, "mine")
	fill(t, home.Config{Dir: dir, URL: at}, many, many, func(ctx context.Context) (*sqlstore.Store, error) {
		return postgres.Open(ctx, at, sqlstore.Config{})
	})
	for _, args := range lists {
		t.Run(strings.Join(args, " "), func(t *testing.T) {
			cmd := listing(t, dir, append(slices.Clone(args), "--store", at))
			stderr := new(bytes.Buffer)
			cmd.Stderr = stderr
			stdout, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			lines := bufio.NewReader(stdout)
			out, err := lines.ReadString('\n')
			if err != nil {
				_ = cmd.Wait()
				t.Fatalf("%v, %s", err, stderr)
			}
			// The command cannot come to its end before the pipe is read.
			if err := pg.Kill(t.Context()); err != nil {
				t.Fatal(err)
			}
			rest, err := io.ReadAll(lines)
			if err != nil {
				t.Fatal(err)
			}
			out += string(rest)
			wantCutOff(t, args, cmd.Wait(), out, stderr.String())
			if n := strings.Count(out, "\n"); n >= many {
				t.Errorf("all %d were listed", n)
			}
			if err := pg.Restart(t.Context()); err != nil {
				t.Fatal(err)
			}
		})
	}
}
