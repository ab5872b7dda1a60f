package main

import (
	"bytes"
	"context"
	"database/sql"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/didcomm-go/didcomm/agent/message"
)

// credoLike is a peer that answers pings of version 1.0 and takes basic messages. It reports
// anything else as not supported, as Credo does. The channel gets the types of its messages.
func credoLike(t *testing.T) (*complainer, chan string) {
	t.Helper()
	got := make(chan string, 100)
	return newComplainer(t, func(m *message.Message) *message.Message {
		got <- m.Type
		switch m.Type {
		case "https://didcomm.org/trust_ping/1.0/ping":
			return &message.Message{Type: m.Type + "_response", ThreadID: m.ID, Body: []byte(`{}`)}
		case "https://didcomm.org/basicmessage/2.0/message":
			return nil
		}
		return &message.Message{
			Type: "https://didcomm.org/notification/1.0/problem-report", ParentThreadID: m.ID,
			Body: []byte(`{"description":{"en":"Error handling message x with type ` + m.Type + `. The message type is not supported","code":"message-parse-failure"}}`),
		}
	}), got
}

// runner returns a function that runs didcomm with a home in a directory.
func runner(program, dir string) func(home string, args ...string) (stdout, stderr string, status int) {
	return func(home string, args ...string) (string, string, int) {
		cmd := exec.Command(program, args...)
		cmd.Env = append(os.Environ(), "GORACE="+raceOptions, "DIDCOMM_HOME="+filepath.Join(dir, home))
		var stdout, stderr bytes.Buffer
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		_ = cmd.Run() // the status says it
		return stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()
	}
}

// A home remembers what another agent speaks, while it is served and later, under the DID
// that serve uses. A home without keys remembers nothing.
func TestPeer(t *testing.T) {
	served, who := run(t)
	didcomm := runner(who.program, who.dir)
	const ping, ping1 = "https://didcomm.org/trust-ping/2.0/ping", "https://didcomm.org/trust_ping/1.0/ping"
	for _, stopped := range []bool{false, true} {
		if stopped {
			if err := served.stop(os.Interrupt); err != nil {
				t.Fatal(err)
			}
		}
		credo, got := credoLike(t)
		types := func() (list []string) {
			for len(got) > 0 {
				list = append(list, <-got)
			}
			return list
		}
		pings := func(home string, want ...string) {
			t.Helper()
			stdout, stderr, status := didcomm(home, "ping", "--count", "2", credo.DID)
			if status != 0 || strings.Count(stdout, ", by trust ping 1.0\n") != 2 {
				t.Errorf("ping in %s: %d, %q, %q", home, status, stdout, stderr)
			}
			if list := types(); !slices.Equal(list, want) {
				t.Errorf("ping in %s sent %q", home, list)
			}
		}
		unknown := func(home, want string) {
			t.Helper()
			stdout, stderr, status := didcomm(home, "peer", credo.DID)
			if status != 1 || stdout != "" || strings.Count(stderr, "\n") != 1 || !strings.Contains(stderr, want) {
				t.Errorf("peer in %s: %d, %q, %q", home, status, stdout, stderr)
			}
		}
		pings("nowhere", ping, ping1, ping1)
		pings("nowhere", ping, ping1, ping1)
		unknown("nowhere", "no agent was served from")
		unknown("home", " is not known")
		pings("home", ping, ping1, ping1)
		pings("home", ping1, ping1)
		for _, args := range [][]string{{"peer"}, {"peer", "--from", served.did}} {
			stdout, stderr, status := didcomm("home", append(args, credo.DID)...)
			want := "own:    " + served.did + "\ndid:    " + credo.DID + "\nstate:  contact\n" +
				"speaks: https://didcomm.org/trust_ping/1.0\nlacks:  https://didcomm.org/trust-ping/2.0\nacks:   no\n"
			if status != 0 || stdout != want {
				t.Errorf("peer: %d, %q, %q", status, stdout, stderr)
			}
		}
		stdout, stderr, status := didcomm("home", "peer", "--json", credo.DID)
		want := `{"own":"` + served.did + `","did":"` + credo.DID + `","state":"contact",` +
			`"speaks":["https://didcomm.org/trust_ping/1.0"],"lacks":["https://didcomm.org/trust-ping/2.0"],"acks":"no"}` + "\n"
		if status != 0 || stdout != want {
			t.Errorf("peer --json: %d, %q, %q", status, stdout, stderr)
		}
		stdout, stderr, status = didcomm("home", "peer", "--from", "did:web:nobody.example", credo.DID)
		if status != 1 || stdout != "" || stderr != "didcomm: peer: did:web:nobody.example is no DID of this home; see didcomm did list\n" {
			t.Errorf("peer --from: %d, %q, %q", status, stdout, stderr)
		}
		// A ping has shown that the agent gives no acks.
		for _, way := range []string{"--ws=false", "--ws"} {
			stdout, stderr, status = didcomm("home", "send", "--ack", way, "--timeout", "4s", credo.DID, "hello")
			if status != 1 || stdout != "" || stderr != "didcomm: send: sent, but the agent acknowledges no messages; see didcomm peer\n" {
				t.Errorf("send --ack %s: %d, %q, %q", way, status, stdout, stderr)
			}
			if list := types(); !slices.Equal(list, []string{"https://didcomm.org/basicmessage/2.0/message"}) {
				t.Errorf("send --ack %s sent %q", way, list)
			}
		}
	}
}

// A home remembers an agent that gave no ack on an open connection, but not one whose
// connection has ended with the message.
func TestNoAckRemembered(t *testing.T) {
	served, who := run(t)
	if err := served.stop(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	didcomm := runner(who.program, who.dir)
	for way, remembered := range map[string]bool{"--ws=false": false, "--ws": true} {
		t.Run(way, func(t *testing.T) {
			credo, _ := credoLike(t)
			const first, then = "sent, but not acknowledged: context deadline exceeded (waited 2s, see --timeout)", "acknowledges no messages"
			want := []string{first, first}
			if remembered {
				want[1] = then
			}
			for _, want := range want {
				stdout, stderr, status := didcomm("home", "send", "--ack", way, "--timeout", "2s", credo.DID, "hello")
				if status != 1 || stdout != "" || !strings.Contains(stderr, want) {
					t.Errorf("%d, %q, %q, want %q", status, stdout, stderr, want)
				}
			}
		})
	}
}

// A home that another process writes makes a ping neither fail nor hang.
func TestPingBusyHome(t *testing.T) {
	served, who := run(t)
	if err := served.stop(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", "file:"+filepath.Join(who.dir, "home", "agent.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	conn, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	locked := make(chan error, 1)
	pinged := newComplainer(t, func(m *message.Message) *message.Message {
		_, err := conn.ExecContext(context.Background(), "BEGIN IMMEDIATE")
		locked <- err
		return &message.Message{Type: "https://didcomm.org/trust-ping/2.0/ping-response", ThreadID: m.ID, Body: []byte(`{}`)}
	})
	start := time.Now()
	stdout, stderr, status := runner(who.program, who.dir)("home", "ping", pinged.DID)
	if status != 0 || strings.Count(stdout, "answer 1 from ") != 1 || stderr != "" {
		t.Errorf("%d, %q, %q", status, stdout, stderr)
	}
	if d := time.Since(start); d > 9*time.Second { // SQLite would wait for 10 seconds
		t.Errorf("ping has taken %v", d)
	}
	if err := <-locked; err != nil {
		t.Error(err)
	}
}
