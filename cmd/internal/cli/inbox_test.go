package cli_test

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/agent/store/sqlstore"
	"github.com/didcomm-go/didcomm/agent/store/sqlstore/sqlite"
	"github.com/didcomm-go/didcomm/cmd/internal/home"
)

// What has become of each message is told, and what nobody can open stays
// visible, whatever its sender wrote.
func TestInboxStates(t *testing.T) {
	ctx, dir := t.Context(), t.TempDir()
	h, err := home.Open(ctx, home.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	s, err := sqlite.Open(ctx, filepath.Join(dir, "agent.db"), sqlstore.Config{})
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
		{"c", func(l *store.Lease[store.Received]) error { return box.Term(ctx, l, "handler\nfailed") }},
		{"4", func(*store.Lease[store.Received]) error { return nil }},
	} {
		l, _, err := box.Add(ctx, store.Received{
			Sender: "did:example:bob did:example:alice", ID: m.id, Peer: "did:example:\x1b[31malice", Type: "https://example.org/chess/1.0/move",
			Packet: store.Packet{Data: []byte("{}")}, Time: time.Now(), Until: time.Now().Add(time.Hour),
		}, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		if err := m.settle(l); err != nil {
			t.Fatal(err)
		}
	}

	out := didcomm(t, "inbox", "--home", dir)
	lines := strings.Split(strings.TrimSpace(out), "\n")
	for i, want := range []string{"done", "waiting (no room)", "set aside (handler; failed)", "handling"} {
		tail := " " + want + `, from did:example:\x1b[31malice, chess/1.0/move`
		if want != "done" {
			tail += ", id " + []string{"1", "2", "c", "4"}[i]
		}
		tail += ": cannot be opened: "
		if len(lines) != 4 || !strings.Contains(lines[i], tail) {
			t.Fatalf("line %d has no %q:\n%s", i, tail, out)
		}
	}
	out = didcomm(t, "inbox", "--home", dir, "--json")
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

	// Tried again, or dropped, it is so for the agent that serves.
	didcomm(t, "inbox", "retry", "--home", dir, "C")
	l, err := box.Lease(ctx, time.Hour)
	if err != nil || l.Item.ID != "c" || l.Attempts != 0 {
		t.Errorf("leased %+v, %v", l, err)
	}
	didcomm(t, "inbox", "drop", "--home", dir, "2")
	if out := didcomm(t, "inbox", "--home", dir); strings.Count(out, "\n") != 3 || strings.Contains(out, "no room") {
		t.Errorf("after drop:\n%s", out)
	}
	for _, args := range [][]string{{"retry", "1"}, {"retry", "2"}, {"drop", "2"}, {"retry", "none"}} {
		status, _, stderr := run("", append([]string{"inbox", "--home", dir}, args...)...)
		if want := "no message " + args[1] + " in the inbox"; status != 1 || !strings.Contains(stderr, want) {
			t.Errorf("%s: status %d, %s", args, status, stderr)
		}
	}
}

// didcomm runs a command that has to succeed, silently on standard error.
func didcomm(t *testing.T, args ...string) string {
	t.Helper()
	status, stdout, stderr := run("", args...)
	if status != 0 || stderr != "" {
		t.Fatalf("%v: status %d, %s", args, status, stderr)
	}
	return stdout
}
