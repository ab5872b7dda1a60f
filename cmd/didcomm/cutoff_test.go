package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/agent/store/sqlstore"
	"github.com/didcomm-go/didcomm/agent/store/sqlstore/sqlite"
	"github.com/didcomm-go/didcomm/cmd/internal/home"
)

// lists are the commands that list messages as they read them.
var lists = [][]string{
	{"inbox"}, {"inbox", "--json"}, {"inbox", "--follow"}, {"inbox", "--follow", "--json"},
	{"outbox", "list"}, {"outbox", "list", "--json"},
}

// An error midway is told from one before the list, and from its end.
func TestCutOff(t *testing.T) {
	const inbox, outbox = 60, 600
	dir := t.TempDir()
	cfg := home.Config{Dir: dir}
	path := filepath.Join(dir, "agent.db")
	fill(t, cfg, inbox, outbox, func(ctx context.Context) (*sqlstore.Store, error) {
		return sqlite.Open(ctx, path, sqlstore.Config{})
	})
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, args := range lists {
		t.Run(strings.Join(args, " "), func(t *testing.T) {
			late, page := fmt.Sprintf("received-%d|", inbox/2), 16
			if args[0] == "outbox" {
				late, page = fmt.Sprintf("sent-%d|", outbox-50), 500
			}
			early := late[:strings.Index(late, "-")+1] + "1|"
			for _, tt := range []struct {
				damaged string
				listed  int
			}{{late, page}, {early, 0}} {
				if err := os.WriteFile(path, spoiled(good, tt.damaged), 0o600); err != nil {
					t.Fatal(err)
				}
				cmd, out, stderr := listing(t, dir, args), new(bytes.Buffer), new(bytes.Buffer)
				cmd.Stdout, cmd.Stderr = out, stderr
				wantCutOff(t, args, cmd.Run(), out.String(), stderr.String())
				if got := strings.Count(out.String(), "\n"); got != tt.listed {
					t.Errorf("%d messages were listed, want %d", got, tt.listed)
				}
			}
		})
	}
}

// spoiled has nothing sensible on the pages that name a message.
func spoiled(good []byte, message string) []byte {
	const pageSize = 4096
	data := bytes.Clone(good)
	for page := data; len(page) >= pageSize; page = page[pageSize:] {
		if bytes.Contains(page[:pageSize], []byte(message)) {
			copy(page[:pageSize], bytes.Repeat([]byte{0xa5}, pageSize))
		}
	}
	return data
}

// fill makes the keys of an agent, and messages in its store: received-0| and on,
// which nobody can open, and sent-0| and on.
func fill(t *testing.T, cfg home.Config, inbox, outbox int, open func(context.Context) (*sqlstore.Store, error)) {
	t.Helper()
	ctx := t.Context()
	h, err := home.Open(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	s, err := open(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for i := range inbox {
		id := fmt.Sprintf("received-%d|", i)
		if _, _, err := s.Inbox().Add(ctx, store.Received{
			ID: id, Sender: "did:example:alice", Peer: "did:example:alice", Type: "https://example.org/chess/1.0/move",
			Packet: store.Packet{Data: []byte(strings.Repeat(id, 100))}, Time: time.Now(), Until: time.Now().Add(time.Hour),
		}, time.Hour); err != nil {
			t.Fatal(err)
		}
	}
	items := make([]store.Item, outbox)
	for i := range items {
		id := fmt.Sprintf("sent-%d|", i)
		items[i] = store.Item{
			ID: id, MessageID: id, Thread: id, From: "did:example:bob", To: "did:example:alice",
			Direct: store.Packet{Data: []byte(id)}, Created: time.Now(), Deadline: time.Now().Add(time.Hour),
		}
	}
	if err := s.Outbox().Enqueue(ctx, items...); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// listing is a command on a home, killed where it does not end, as with --follow.
func listing(t *testing.T, home string, args []string) *exec.Cmd {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, "didcomm", args...)
	cmd.Env = append(os.Environ(), "GORACE="+raceOptions, "DIDCOMM_HOME="+home)
	return cmd
}

var cutOffLine = regexp.MustCompile(`^didcomm: (inbox|outbox list): (cut off after (\d+) messages?: )?.+\n$`)

// wantCutOff asserts that a list failed, and that its error says how many messages
// are in the output, if any.
func wantCutOff(t *testing.T, args []string, err error, stdout, stderr string) {
	t.Helper()
	exit, m := new(exec.ExitError), cutOffLine.FindStringSubmatch(stderr)
	if !errors.As(err, &exit) || exit.ExitCode() != 1 || m == nil {
		t.Fatalf("%v: %v, %s", args, err, stderr)
	}
	want := ""
	if n := strings.Count(stdout, "\n"); n > 0 {
		want = fmt.Sprint(n)
	}
	if m[3] != want {
		t.Errorf("%v: %q messages were listed: %s", args, want, stderr)
	}
}
