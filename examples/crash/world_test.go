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
	"strings"
	"sync"
	"testing"
	"time"
)

// world is two nodes that know each other.
type world struct{ nodes []*node }

// node is one agent, over all lives of its process.
type node struct {
	settings
	name string
	file string // of the settings

	cmd    *exec.Cmd
	stdin  io.WriteCloser
	output sync.WaitGroup // the reader of this life's standard output

	mu       sync.Mutex // guards all below
	ready    chan struct{}
	open     map[string]bool // asked for and not answered
	accepted map[string]bool
	refused  []string
	log      *os.File
}

// window is how many answers of one node are outstanding at most.
const window = 64

// newWorld makes two nodes with the stores given.
func newWorld(t *testing.T, stores ...string) *world {
	t.Helper()
	w := new(world)
	dids := make([]map[string]string, len(stores))
	for i, s := range stores {
		n := &node{name: string(rune('a' + i)), accepted: map[string]bool{}, open: map[string]bool{}}
		notes := t.TempDir()
		n.Home, n.Store, n.Listen = t.TempDir(), s, freeAddress(t)
		n.Handled, n.file = filepath.Join(notes, "handled"), filepath.Join(notes, "settings.json")
		var err error
		if n.log, err = os.Create(filepath.Join(notes, "log")); err != nil {
			t.Fatal(err)
		}
		if dids[i], n.Secrets, err = identities(n.Listen); err != nil {
			t.Fatal(err)
		}
		n.DID = dids[i]["http"]
		w.nodes = append(w.nodes, n)
	}
	for i, n := range w.nodes {
		n.Peer = dids[(i+1)%len(dids)]
		data, err := json.Marshal(n.settings)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(n.file, data, 0o600); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			n.end()
			if t.Failed() {
				text, _ := os.ReadFile(n.log.Name())
				t.Logf("end of the log of %s:\n%s", n.name, text[max(0, len(text)-4000):])
			}
			n.log.Close()
		})
	}
	return w
}

// freeAddress is an address of this machine that nobody listens on.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
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
	if n.stdin, err = n.cmd.StdinPipe(); err != nil {
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
	n.ready = ready
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
}

// read notes what the node says.
func (n *node) read(stdout io.Reader) {
	for lines := bufio.NewScanner(stdout); lines.Scan(); {
		what, rest, _ := strings.Cut(lines.Text(), " ")
		id, why, _ := strings.Cut(rest, " ")
		n.mu.Lock()
		switch what {
		case "ready":
			close(n.ready)
		case "accepted":
			n.accepted[id] = true
			delete(n.open, id)
		case "refused":
			n.refused = append(n.refused, why)
			delete(n.open, id)
		}
		n.mu.Unlock()
	}
}

// ask tells the node to send a message; false if it has enough to do.
func (n *node) ask(t *testing.T, way string) bool {
	t.Helper()
	id := newID(n.name + way)
	n.mu.Lock()
	full := len(n.open) >= window
	if !full {
		n.open[id] = true
	}
	n.mu.Unlock()
	if full {
		return false
	}
	if _, err := fmt.Fprintln(n.stdin, way, id); err != nil {
		t.Fatalf("node %s: %v", n.name, err)
	}
	return true
}

// kill ends a life with SIGKILL and begins the next.
func (n *node) kill(t *testing.T) {
	t.Helper()
	n.end()
	n.start(t)
}

func (n *node) end() {
	if n.cmd == nil {
		return
	}
	_ = n.cmd.Process.Kill()
	n.output.Wait()
	_ = n.cmd.Wait()
	n.cmd = nil
	n.mu.Lock()
	clear(n.open) // what was not answered counts as not accepted
	n.mu.Unlock()
}

// wait lets the nodes work for a while.
func (w *world) wait(t *testing.T, d time.Duration) {
	t.Helper()
	time.Sleep(max(d, time.Millisecond))
}

// settle waits until all that was asked for is answered and handled, or nothing
// has moved for a minute, and returns what was accepted.
func (w *world) settle(t *testing.T) map[string]bool {
	t.Helper()
	last, moved := -1, time.Now()
	for {
		accepted, open := map[string]bool{}, 0
		for _, n := range w.nodes {
			n.mu.Lock()
			open += len(n.open)
			for id := range n.accepted {
				accepted[id] = true
			}
			n.mu.Unlock()
		}
		handled, _ := w.handled(t)
		missing := 0
		for id := range accepted {
			if !handled[id] {
				missing++
			}
		}
		if open == 0 && missing == 0 {
			return accepted
		}
		if now := len(handled) + len(accepted); now != last {
			last, moved = now, time.Now()
		}
		if time.Since(moved) > time.Minute {
			return accepted
		}
		w.wait(t, 100*time.Millisecond)
	}
}

// handled are the messages that handlers were given, and how many of them more
// than once.
func (w *world) handled(t *testing.T) (ids map[string]bool, twice int) {
	t.Helper()
	ids = map[string]bool{}
	for _, n := range w.nodes {
		data, err := os.ReadFile(n.Handled)
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		for id := range strings.Lines(string(data)) {
			id = strings.TrimSuffix(id, "\n")
			if ids[id] {
				twice++
			}
			ids[id] = true
		}
	}
	return ids, twice
}
