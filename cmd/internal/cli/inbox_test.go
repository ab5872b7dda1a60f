package cli_test

import (
	"context"
	"encoding/json"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/agenttest"
	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/agent/store/sqlstore"
	"github.com/didcomm-go/didcomm/agent/store/sqlstore/sqlite"
	"github.com/didcomm-go/didcomm/cmd/internal/home"
	"github.com/didcomm-go/didcomm/cmd/internal/network"
	"github.com/didcomm-go/didcomm/protocols/basicmessage"
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

// A signed message that was sent to another party is shown as such, and not as a message
// from its signer.
func TestInboxPassedOn(t *testing.T) {
	ctx, dir := t.Context(), t.TempDir()
	h, err := home.Open(ctx, home.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	own, err := h.Sender(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	alice := agenttest.NewParty(t)
	s, err := sqlite.Open(ctx, filepath.Join(dir, "agent.db"), sqlstore.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, p := range []struct{ id, to, peer string }{{"cc01", "did:example:carol", ""}, {"cc02", own, alice.DID}} {
		m, err := basicmessage.New("hello", "")
		if err != nil {
			t.Fatal(err)
		}
		m.From, m.To = alice.DID, []string{p.to}
		packed, err := alice.Packer.Pack(ctx, m, envelope.SignBy(alice.DID), envelope.Signed())
		if err != nil {
			t.Fatal(err)
		}
		l, _, err := s.Inbox().Add(ctx, store.Received{
			Sender: own + " " + alice.DID, ID: p.id, Peer: p.peer, To: own, Type: m.Type,
			Packet: store.Packet{Data: packed[0].Data}, Time: time.Now(), Until: time.Now().Add(time.Hour),
		}, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Inbox().Term(ctx, l, "failed"); err != nil {
			t.Fatal(err)
		}
	}
	lines := strings.Split(strings.TrimSpace(didcomm(t, "inbox", "--home", dir)), "\n")
	objects := strings.Split(strings.TrimSpace(didcomm(t, "inbox", "--home", dir, "--json")), "\n")
	if len(lines) != 2 || len(objects) != 2 {
		t.Fatalf("%d lines, %d objects", len(lines), len(objects))
	}
	for i, tt := range []struct {
		line         string
		from, signer string
	}{
		{", not sent to us, signed by did:peer:2", "", alice.DID},
		{", from did:peer:2", alice.DID, ""},
	} {
		if !strings.Contains(lines[i], tt.line) || !strings.HasSuffix(lines[i], ": hello") {
			t.Errorf("line %d has no %q: %s", i, tt.line, lines[i])
		}
		var v struct {
			From   string
			Signer string `json:"signed_by"`
			Passed bool   `json:"passed_on"`
		}
		if err := json.Unmarshal([]byte(objects[i]), &v); err != nil || v.From != tt.from || v.Signer != tt.signer || v.Passed != (i == 0) {
			t.Errorf("object %d: %+v, %v", i, v, err)
		}
	}
}

// A message that cannot be opened yet is listed with the reason, and once: not any more
// when it is opened, and in the inbox under its own id.
func TestInboxParked(t *testing.T) {
	ctx, dir := t.Context(), t.TempDir()
	h, err := home.Open(ctx, home.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	own, err := h.Sender(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	alice := agenttest.NewParty(t)
	m, err := basicmessage.New("hello", "")
	if err != nil {
		t.Fatal(err)
	}
	m.From, m.To = alice.DID, []string{own}
	packed, err := alice.Packer.Pack(ctx, m, envelope.From(alice.DID))
	if err != nil {
		t.Fatal(err)
	}
	s, err := sqlite.Open(ctx, filepath.Join(dir, "agent.db"), sqlstore.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	box := s.Inbox()
	for _, p := range []struct {
		id, data string
		settle   func(l *store.Lease[store.Received]) error
	}{
		{"cc01", "{}", func(l *store.Lease[store.Received]) error { return box.Nak(ctx, l, time.Hour, "") }},
		{"cc02", "{}", func(l *store.Lease[store.Received]) error { return box.Term(ctx, l, "not opened: too late") }},
		{"cc03", "{}", func(l *store.Lease[store.Received]) error { return box.Ack(ctx, l) }},
		{"cc04", string(packed[0].Data), func(l *store.Lease[store.Received]) error { return box.Nak(ctx, l, time.Hour, "") }},
	} {
		l, _, err := box.Add(ctx, store.Received{
			Sender: "parked", ID: p.id, Peer: "parked example.org", Owner: "parked",
			Packet: store.Packet{Data: []byte(p.data)}, Time: time.Now(), Until: time.Now().Add(time.Hour),
		}, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		if !agent.IsParked(l.Item) {
			t.Fatal("the message is not parked")
		}
		if err := p.settle(l); err != nil {
			t.Fatal(err)
		}
	}
	out := didcomm(t, "inbox", "--home", dir)
	lines := strings.Split(strings.TrimSpace(out), "\n")
	for i, want := range []string{
		`^[-0-9]+ [:0-9]+ waiting: cannot be opened: .*, id cc01$`,
		`^[-0-9]+ [:0-9]+ set aside \(not opened: too late\): cannot be opened: .*, id cc02$`,
		`^[-0-9]+ [:0-9]+ waiting, from did:peer:2.*, basicmessage/2.0/message, id cc04: hello$`, // the DID can be reached by now
	} {
		if len(lines) != 3 || !regexp.MustCompile(want).MatchString(lines[i]) {
			t.Fatalf("line %d is not %s:\n%s", i, want, out)
		}
	}
	out = didcomm(t, "inbox", "--home", dir, "--json")
	for i, line := range strings.Split(strings.TrimSpace(out), "\n") {
		var v struct{ State, From, ID, Type, Unopened string }
		if err := json.Unmarshal([]byte(line), &v); err != nil {
			t.Fatal(err)
		}
		from, typ := "", ""
		if i == 2 {
			from, typ = alice.DID, m.Type
		}
		if v.From != from || v.Type != typ || (v.Unopened == "") != (i == 2) {
			t.Errorf("line %d: %+v", i, v)
		}
	}
	b, err := home.OpenInbox(ctx, home.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	letters, err := b.Letters(ctx, network.Reach{})
	if err != nil {
		t.Fatal(err)
	}
	followed, stop := context.WithCancel(ctx)
	defer stop()
	var ids []string
	if err := letters.Follow(followed, func(l home.Letter) error {
		if ids = append(ids, l.Item.ID); l.Item.ID == "cc04" {
			stop()
		}
		return nil
	}); err != nil || !slices.Equal(ids, []string{"cc01", "cc02", "cc04"}) {
		t.Errorf("followed %q, %v", ids, err)
	}
	didcomm(t, "inbox", "retry", "--home", dir, "CC02")
	l, err := box.Lease(ctx, time.Hour)
	if err != nil || l.Item.ID != "cc02" {
		t.Errorf("%v, %v", l, err)
	}
}
