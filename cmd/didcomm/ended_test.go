package main

import (
	"bytes"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/protocols/basicmessage"
	"github.com/didcomm-go/didcomm/protocols/empty"
)

// TestSendToEnded sends to an agent that has ended the relationship: send fails with that reason,
// until a message of that agent comes.
func TestSendToEnded(t *testing.T) {
	a, who := run(t)
	peer := newComplainer(t, func(*message.Message) *message.Message { return nil })
	said := func(typ, from, fromPrior string, opts ...envelope.PackOption) {
		t.Helper()
		m, err := message.New(typ, basicmessage.Body{Content: "hello"})
		if err != nil {
			t.Fatal(err)
		}
		m.From, m.To, m.FromPrior, m.CreatedTime = from, []string{a.did}, fromPrior, time.Now()
		e, err := peer.Packer.Pack(t.Context(), m, opts...)
		if err != nil {
			t.Fatal(err)
		}
		if status, body := post(t, a.url, e[0].MediaType, bytes.NewReader(e[0].Data)); status != http.StatusAccepted {
			t.Fatal(status, body)
		}
	}
	didcomm := runner(who.program, who.dir)
	send := func(args ...string) (stdout, stderr string, status int) {
		return didcomm("home", append([]string{"send", peer.DID, "hello"}, args...)...)
	}
	if stdout, stderr, status := send(); status != 0 || stdout == "" {
		t.Fatalf("%d: %q, %q", status, stdout, stderr)
	}
	end, err := peer.Packer.FromPrior(t.Context(), peer.DID, "", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	said(empty.TypeEmpty, "", end)
	for _, args := range [][]string{nil, {"--no-queue"}, {"--ack"}} {
		stdout, stderr, status := send(args...)
		if status != 1 || stdout != "" || strings.Count(stderr, "\n") != 1 || !strings.Contains(stderr, "not sent: the agent has ended the relationship") {
			t.Errorf("send %v: %d: %q, %q", args, status, stdout, stderr)
		}
	}
	said(basicmessage.TypeMessage, peer.DID, "", envelope.From(peer.DID))
	if stdout, stderr, status := send(); status != 0 || stdout == "" {
		t.Errorf("%d: %q, %q", status, stdout, stderr)
	}
}
