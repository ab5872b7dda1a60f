//go:build crash

package crash_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// node is one agent, over all lives of its process.
type node struct {
	settings
	name string
	file string // of the settings
	log  *os.File

	cmd    *exec.Cmd
	output sync.WaitGroup // the reader of this life's standard output

	accepted *times

	mu      sync.Mutex // guards all below
	away    bool       // it is not asked for anything
	stdin   io.WriteCloser
	ready   chan struct{}
	open    map[string]bool // asked for and not answered
	window  int             // how many are open at most
	sent    int             // asked for
	busy    int             // handlers that run
	refused []string
}

// newNode makes a node that is ready to be started once its settings are saved.
func newNode(t *testing.T, name string) *node {
	t.Helper()
	notes := t.TempDir()
	n := &node{name: name, away: true, accepted: newTimes(), open: map[string]bool{}, window: 64}
	n.Home, n.Listen = t.TempDir(), freeAddress(t)
	n.Handled, n.file = filepath.Join(notes, "handled"), filepath.Join(notes, "settings.json")
	var err error
	if n.log, err = os.Create(filepath.Join(notes, "log")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		n.end()
		if t.Failed() {
			text := n.said(t)
			t.Logf("end of the log of %s:\n%s", n.name, text[max(0, len(text)-4000):])
		}
		n.log.Close()
	})
	return n
}

// save writes the settings for the lives to come.
func (n *node) save(t *testing.T) {
	t.Helper()
	data, err := json.Marshal(n.settings)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(n.file, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// ports counts the ports that were given out.
var ports atomic.Int64

// freeAddress is an address of this machine that nobody listens on, and that no
// connection gets for its own end either, which would keep a node from being
// started again.
func freeAddress(t *testing.T) string {
	t.Helper()
	for range 1000 {
		// Below the ports that systems give to connections.
		address := fmt.Sprintf("127.0.0.1:%d", 10_000+(int64(os.Getpid())*61+ports.Add(1))%20_000)
		if l, err := net.Listen("tcp", address); err == nil {
			_ = l.Close()
			return address
		}
	}
	t.Fatal("no port is free")
	return ""
}

// start begins a life of the node, and waits until it is ready.
func (n *node) start(t *testing.T) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	n.cmd = exec.Command(self)
	n.cmd.Env = append(os.Environ(), nodeVariable+"="+n.file)
	n.cmd.Stderr = n.log
	stdin, err := n.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := n.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := n.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ready := make(chan struct{})
	n.mu.Lock()
	n.ready, n.stdin = ready, stdin
	n.mu.Unlock()
	ended := make(chan struct{})
	n.output.Go(func() {
		defer close(ended)
		n.read(stdout)
	})
	select {
	case <-ready:
	case <-ended:
		t.Fatalf("node %s ended: %v", n.name, n.cmd.Wait())
	case <-time.After(time.Minute):
		t.Fatalf("node %s is not ready within a minute", n.name)
	}
	n.leave(false)
}

// leave sets whether the node is away.
func (n *node) leave(away bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.away = away
}

// isAway tells whether the node is away.
func (n *node) isAway() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.away
}

// read notes what the node says.
func (n *node) read(stdout io.Reader) {
	for lines := bufio.NewScanner(stdout); lines.Scan(); {
		now := time.Now()
		what, rest, _ := strings.Cut(lines.Text(), " ")
		id, why, _ := strings.Cut(rest, " ")
		if what == "accepted" {
			n.accepted.add(id, now)
		}
		n.mu.Lock()
		switch what {
		case "ready":
			close(n.ready)
		case "begun":
			n.busy++
		case "ended":
			n.busy--
		case "accepted":
			delete(n.open, id)
		case "refused":
			n.refused = append(n.refused, why)
			delete(n.open, id)
		}
		n.mu.Unlock()
	}
}

// ask tells the node to send a message; false if it is away, or has enough to do.
func (n *node) ask(t *testing.T, way string) bool {
	t.Helper()
	id := newID(n.name + way)
	n.mu.Lock()
	stdin, ok := n.stdin, !n.away && len(n.open) < n.window
	if ok {
		n.open[id] = true
		n.sent++
	}
	n.mu.Unlock()
	if !ok {
		return false
	}
	if _, err := fmt.Fprintln(stdin, way, id); err != nil {
		if !n.isAway() {
			t.Errorf("node %s: %v", n.name, err)
		}
		return false
	}
	return true
}

// asked is how many answers are outstanding.
func (n *node) asked() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.open)
}

// handles tells whether a handler runs: the message is in the store, and leased.
func (n *node) handles() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.busy > 0
}

// kill ends a life with SIGKILL and begins the next.
func (n *node) kill(t *testing.T) {
	t.Helper()
	n.end()
	n.start(t)
}

// signal sends the process a signal.
func (n *node) signal(t *testing.T, s os.Signal) {
	t.Helper()
	if err := n.cmd.Process.Signal(s); err != nil {
		t.Fatalf("node %s: %v", n.name, err)
	}
}

func (n *node) end() {
	n.leave(true)
	if n.cmd == nil {
		return
	}
	_ = n.cmd.Process.Kill()
	n.output.Wait()
	_ = n.cmd.Wait()
	n.cmd = nil
	n.mu.Lock()
	clear(n.open) // what was not answered counts as not accepted
	n.busy = 0
	n.mu.Unlock()
}

// handled adds to all when each message was handled by this node.
func (n *node) handled(t *testing.T, all *times) {
	t.Helper()
	data, err := os.ReadFile(n.Handled)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		id, at, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		nanos, err := strconv.ParseInt(at, 10, 64)
		if err != nil {
			t.Fatalf("node %s handled %q: %v", n.name, line, err)
		}
		all.add(id, time.Unix(0, nanos))
	}
}

// said is the node's log.
func (n *node) said(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(n.log.Name())
	if err != nil {
		t.Error(err)
	}
	return string(text)
}

// hasRefused tells whether the node has refused a message for that reason.
func (n *node) hasRefused(why string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, r := range n.refused {
		if strings.Contains(r, why) {
			return true
		}
	}
	return false
}
