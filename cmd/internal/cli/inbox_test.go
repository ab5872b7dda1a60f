package cli_test

import (
	"bytes"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/agent/store/sqlstore"
	"github.com/didcomm-go/didcomm/agent/store/sqlstore/sqlite"
	"github.com/didcomm-go/didcomm/cmd/internal/cli"
	"github.com/didcomm-go/didcomm/cmd/internal/server"
)

// What has become of each message is told, and what nobody can open stays
// visible, whatever its sender wrote.
func TestInboxStates(t *testing.T) {
	ctx, home := t.Context(), t.TempDir()
	ring, err := server.OpenRing(ctx, server.StoreConfig{Home: home})
	if err != nil {
		t.Fatal(err)
	}
	if err := ring.Close(); err != nil {
		t.Fatal(err)
	}
	s, err := sqlite.Open(ctx, filepath.Join(home, "agent.db"), sqlstore.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	box := s.Inbox()
	for _, m := range []struct {
		id     string
		settle func(l *store.Lease[store.Received]) error
	}{
		{"1", func(l *store.Lease[store.Received]) error { return box.Ack(ctx, l) }},
		{"2", func(l *store.Lease[store.Received]) error { return box.Nak(ctx, l, time.Hour, "no room") }},
		{"3", func(l *store.Lease[store.Received]) error { return box.Term(ctx, l, "handler\nfailed") }},
		{"4", func(*store.Lease[store.Received]) error { return nil }},
	} {
		l, _, err := box.Add(ctx, store.Received{
			Sender: "did:example:\x1b[31malice", ID: m.id, Peer: "did:example:alice", Type: "https://example.org/chess/1.0/move",
			Packet: store.Packet{Data: []byte("{}")}, Time: time.Now(), Until: time.Now().Add(time.Hour),
		}, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		if err := m.settle(l); err != nil {
			t.Fatal(err)
		}
	}

	out := didcomm(t, "inbox", "--home", home)
	lines := strings.Split(strings.TrimSpace(out), "\n")
	for i, want := range []string{"done", "waiting (no room)", "set aside (handler; failed)", "handling"} {
		tail := " " + want + `, from did:example:\x1b[31malice, chess/1.0/move: cannot be opened: `
		if len(lines) != 4 || !strings.Contains(lines[i], tail) {
			t.Fatalf("line %d has no %q:\n%s", i, tail, out)
		}
	}
	out = didcomm(t, "inbox", "--home", home, "--json")
	for i, line := range strings.Split(strings.TrimSpace(out), "\n") {
		var v struct{ State, Error, From, ID, Unopened string }
		if err := json.Unmarshal([]byte(line), &v); err != nil {
			t.Fatal(err)
		}
		want := []string{"done", "waiting", "set aside", "handling"}[i]
		if v.State != want || v.From != "did:example:\x1b[31malice" || v.Unopened == "" || (v.Error != "") != (i == 1 || i == 2) {
			t.Errorf("line %d: %+v, want %s", i, v, want)
		}
	}
}

// didcomm runs a command that has to succeed, silently on standard error.
func didcomm(t *testing.T, args ...string) string {
	t.Helper()
	var stdout, stderr bytes.Buffer
	status := cli.Main(args, cli.IO{Stdin: strings.NewReader(""), Stdout: &stdout, Stderr: &stderr, LookupEnv: noEnv})
	if status != 0 || stderr.Len() > 0 {
		t.Fatalf("%v: status %d, %s", args, status, stderr.String())
	}
	return stdout.String()
}
