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

	"github.com/didcomm-go/didcomm/agent/agenttest"
	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/protocols/basicmessage"
)

// TestProblemToldAlone sends a problem report that names no thread of the agent: the log
// and the inbox show its code and its text.
func TestProblemToldAlone(t *testing.T) {
	a, who := run(t, "--log-level", "warn")
	peer := agenttest.NewParty(t)
	e, err := peer.Packer.Pack(t.Context(), &message.Message{
		ID: "alone", Type: "https://didcomm.org/report-problem/2.0/problem-report", From: peer.DID, To: []string{a.did},
		Body: []byte(`{"code":"e.p.xfer","comment":"No key of yours."}`),
	}, envelope.From(peer.DID))
	if err != nil {
		t.Fatal(err)
	}
	if status, body := post(t, a.url, e[0].MediaType, strings.NewReader(string(e[0].Data))); status != http.StatusAccepted {
		t.Fatal(status, body)
	}
	for deadline := time.Now().Add(20 * time.Second); ; {
		shown, log := who.run("", "inbox", "--home", filepath.Join(who.dir, "home")), a.log()
		if strings.Contains(shown, "report-problem/2.0/problem-report: e.p.xfer: No key of yours.") &&
			strings.Contains(log, `code=e.p.xfer text="No key of yours."`) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("inbox: %s\nlog: %s", shown, log)
		}
	}
}

// TestUnreadOutput lets the agent print more than its pipe holds, while nobody reads the
// pipe: all messages are handled nevertheless.
func TestUnreadOutput(t *testing.T) {
	program, err := exec.LookPath("didcomm")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	env := append(os.Environ(), "GORACE="+raceOptions, "DIDCOMM_HOME="+filepath.Join(dir, "home"))
	port, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "serve", "--listen", "127.0.0.1:"+port)
	cmd.Env, cmd.Stderr = env, nil
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := false
	defer func() {
		if !ended {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
	}()
	first := make([]byte, 8<<10)
	n, err := out.Read(first)
	if err != nil {
		t.Fatal(err)
	}
	did := strings.TrimSpace(string(first[:n]))
	const messages = 100 // twice as much as is kept for the pipe
	peer, text := agenttest.NewParty(t), strings.Repeat("x", 20<<10)
	for range messages {
		m, err := basicmessage.New(text, "")
		if err != nil {
			t.Fatal(err)
		}
		m.ID, m.From, m.To = message.NewID(), peer.DID, []string{did}
		e, err := peer.Packer.Pack(t.Context(), m, envelope.From(peer.DID))
		if err != nil {
			t.Fatal(err)
		}
		if status, body := post(t, "http://127.0.0.1:"+port+"/didcomm", e[0].MediaType, bytes.NewReader(e[0].Data)); status != http.StatusAccepted {
			t.Fatal(status, body)
		}
	}
	for deadline := time.Now().Add(30 * time.Second); ; {
		list := exec.Command(program, "inbox")
		list.Env = env
		shown, err := list.Output()
		if err != nil {
			t.Fatal(err)
		}
		if strings.Count(string(shown), " done, ") == messages {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d of %d messages are handled", strings.Count(string(shown), " done, "), messages)
		}
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	ended = true
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}
