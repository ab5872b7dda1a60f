package main

import (
	"bytes"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
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
	send := func(args ...string) (stdout, stderr string, err error) {
		cmd := exec.Command(who.program, append([]string{"send", peer.DID, "hello"}, args...)...)
		cmd.Env = append(os.Environ(), "GORACE="+raceOptions, "DIDCOMM_HOME="+filepath.Join(who.dir, "home"))
		var out, complaint bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &complaint
		err = cmd.Run()
		return out.String(), complaint.String(), err
	}
	if stdout, stderr, err := send(); err != nil || stdout == "" {
		t.Fatalf("%v: %q, %q", err, stdout, stderr)
	}
	end, err := peer.Packer.FromPrior(t.Context(), peer.DID, "", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	said(empty.TypeEmpty, "", end)
	for _, args := range [][]string{nil, {"--no-queue"}, {"--ack"}} {
		stdout, stderr, err := send(args...)
		if err == nil || stdout != "" || strings.Count(stderr, "\n") != 1 || !strings.Contains(stderr, "the party has ended the relationship") {
			t.Errorf("send %v: %v: %q, %q", args, err, stdout, stderr)
		}
	}
	said(basicmessage.TypeMessage, peer.DID, "", envelope.From(peer.DID))
	if stdout, stderr, err := send(); err != nil || stdout == "" {
		t.Errorf("%v: %q, %q", err, stdout, stderr)
	}
}
