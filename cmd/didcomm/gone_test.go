package main

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/didcomm-go/didcomm/agent/agenttest"
	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/protocols/basicmessage"
)

// senders post basic messages to an agent until the agent refuses some, and note those that it
// has accepted.
type senders struct {
	t     *testing.T
	agent *agentProcess

	mu       sync.Mutex // guards all below
	accepted []string   // contents
	refused  []int      // statuses, 0 for no response
	enough   chan bool  // closed when many are accepted
}

// enough is how many messages are accepted before the files are spoiled.
const enough = 100

func (s *senders) run(name string) {
	peer := agenttest.NewParty(s.t)
	for i := 0; ; i++ {
		content := fmt.Sprintf("message %s-%d.", name, i)
		m, err := basicmessage.New(content, "")
		if err != nil {
			s.t.Error(err)
			return
		}
		m.ID, m.From, m.To = message.NewID(), peer.DID, []string{s.agent.did}
		e, err := peer.Packer.Pack(s.t.Context(), m, envelope.From(peer.DID))
		if err != nil {
			s.t.Error(err)
			return
		}
		// A message that was stored when the files were spoiled, and that cannot be marked as
		// handled, gets no response for long.
		client := &http.Client{Timeout: 5 * time.Second}
		status := 0
		resp, err := client.Post(s.agent.url, e[0].MediaType, bytes.NewReader(e[0].Data))
		switch {
		case err == nil:
			status = resp.StatusCode
			_ = resp.Body.Close()
		case !os.IsTimeout(err):
			s.t.Error(err)
			return
		}
		s.mu.Lock()
		if status/100 == 2 {
			s.accepted = append(s.accepted, content)
			if len(s.accepted) == enough {
				close(s.enough)
			}
		} else {
			s.refused = append(s.refused, status)
		}
		done := len(s.refused) > 10
		s.mu.Unlock()
		if done {
			return
		}
	}
}

// TestFilesGone spoils the database of an agent that takes messages. The agent refuses all
// messages from then on, and no message that it has accepted is lost.
func TestFilesGone(t *testing.T) {
	for name, spoil := range map[string]func(path string) error{
		"deleted": os.Remove,
		"replaced": func(path string) error {
			return errors.Join(os.WriteFile(path+".new", nil, 0o600), os.Rename(path+".new", path))
		},
	} {
		t.Run(name, func(t *testing.T) {
			agent, who := run(t)
			home := filepath.Join(who.dir, "home")
			path := filepath.Join(home, "agent.db")
			s := &senders{t: t, agent: agent, enough: make(chan bool)}
			var all sync.WaitGroup
			for i := range 4 {
				all.Go(func() { s.run(fmt.Sprint(i)) })
			}
			<-s.enough
			if err := spoil(path); err != nil {
				t.Fatal(err)
			}
			all.Wait()
			rescued := ""
			for end := time.Now().Add(30 * time.Second); rescued == ""; {
				if m := regexp.MustCompile(`another file.* file=(\S+)`).FindStringSubmatch(agent.log()); m != nil {
					rescued = m[1]
				} else if time.Now().After(end) {
					t.Fatal(agent.log())
				}
				time.Sleep(10 * time.Millisecond)
			}
			for _, status := range s.refused {
				if status != 0 && status/100 != 5 && status != http.StatusTooManyRequests {
					t.Errorf("a message was refused with status %d", status)
				}
			}
			if err := agent.stop(syscall.SIGTERM); err != nil {
				t.Error(err)
			}
			// Neither a new agent nor another one begins in the home.
			_, err := startAgent(who.program, append(os.Environ(), "GORACE="+raceOptions), who.dir, "--home", home, "--listen", "127.0.0.1:0")
			if err == nil || !strings.Contains(err.Error(), "didcomm restore") || !strings.Contains(err.Error(), rescued) {
				t.Errorf("serve without its keys: %v", err)
			}
			for _, end := range []string{"", "-wal", "-shm"} {
				_ = os.Remove(path + end)
			}
			who.run("", "restore", "--home", home, rescued)
			shown := who.run("", "inbox", "--home", home)
			for _, content := range s.accepted {
				if !strings.Contains(shown, content) {
					t.Errorf("%q was accepted and is lost", content)
				}
			}
			t.Logf("%d messages were accepted, then refused with the statuses %v", len(s.accepted), s.refused)
		})
	}
}

// TestBackupUnderLoad makes a backup of an agent that takes messages. The backup has all that
// was accepted before, and is the same agent.
func TestBackupUnderLoad(t *testing.T) {
	agent, who := run(t)
	home, other, file := filepath.Join(who.dir, "home"), filepath.Join(who.dir, "other"), filepath.Join(who.dir, "backup.db")
	s := &senders{t: t, agent: agent, enough: make(chan bool)}
	var all sync.WaitGroup
	for i := range 4 {
		all.Go(func() { s.run(fmt.Sprint(i)) })
	}
	<-s.enough
	s.mu.Lock()
	before := s.accepted
	s.mu.Unlock()
	who.run("", "backup", "--home", home, file)
	data, err := os.ReadFile(filepath.Join(home, "agent.db"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(home, "agent.db")); err != nil { // ends the load
		t.Fatal(err)
	}
	all.Wait()
	if err := agent.stop(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	who.run("", "restore", "--home", other, file)
	shown := who.run("", "inbox", "--home", other)
	for _, content := range before {
		if !strings.Contains(shown, content) {
			t.Errorf("%q is not in the backup", content)
		}
	}
	// A plain copy of agent.db alone, made under load, has the keys.
	copied := filepath.Join(who.dir, "copied")
	if err := os.Mkdir(copied, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(copied, "agent.db"), data, 0o600); err != nil {
		t.Fatal(err)
	}
	want := who.run("", "key", "list", "--home", other)
	if got := who.run("", "key", "list", "--home", copied); got != want {
		t.Errorf("the copy has the keys\n%swant\n%s", got, want)
	}
	for _, dir := range []string{other, copied} {
		env := append(os.Environ(), "GORACE="+raceOptions)
		again, err := startAgent(who.program, env, who.dir, "--home", dir, "--listen", strings.TrimPrefix(strings.TrimSuffix(agent.url, "/didcomm"), "http://"))
		if err != nil {
			t.Fatal(err)
		}
		if again.did != agent.did {
			t.Errorf("the agent is now %s, was %s", again.did, agent.did)
		}
		if err := again.stop(syscall.SIGTERM); err != nil {
			t.Error(err)
		}
	}
}
