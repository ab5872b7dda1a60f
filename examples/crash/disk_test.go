//go:build crash && linux

package crash_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestFullDisk runs a node on a disk that fills up: Send says so, nothing that was
// accepted is lost, and all goes on when there is room again. It mounts a small
// file system in memory, for which it has to be root.
func TestFullDisk(t *testing.T) {
	if os.Geteuid() != 0 {
		if os.Getenv("CI") != "" {
			t.Fatal("only root can mount a file system")
		}
		t.Skip("only root can mount a file system")
	}
	w := newWorld(t, "sqlite", "sqlite")
	small, other := w.nodes[0], w.nodes[1]
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", small.Home).CombinedOutput(); err != nil {
		t.Fatalf("mount: %v: %s", err, out)
	}
	t.Cleanup(func() {
		small.end()
		if out, err := exec.Command("umount", small.Home).CombinedOutput(); err != nil {
			t.Errorf("umount: %v: %s", err, out)
		}
	})
	filler := filepath.Join(small.Home, "filler")
	if err := os.WriteFile(filler, make([]byte, 3<<20), 0o600); err != nil {
		t.Fatal(err)
	}

	small.start(t) // its peer is down: what it sends stays with it
	if !until(t, w, func() bool {
		small.ask(t, "http")
		return small.said("store: full")
	}) {
		t.Fatalf("the disk did not fill up: %q", small.refused)
	}
	before := len(small.accepted)

	// What comes in has no place either. It stays with its sender.
	other.start(t)
	for range 50 {
		other.ask(t, "http")
		other.ask(t, "ws")
	}
	w.wait(t, time.Second)
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	if !until(t, w, func() bool {
		small.ask(t, "ws")
		small.mu.Lock()
		defer small.mu.Unlock()
		return len(small.accepted) > before+50
	}) {
		t.Error("nothing is accepted though there is room again")
	}
	accepted := w.settle(t)
	handled, _ := w.handled(t)
	for id := range accepted {
		if !handled[id] {
			t.Errorf("%s was accepted and never handled", id)
		}
	}
	t.Logf("%d accepted before the disk was full, %d in all, %d refused", before, len(accepted), len(small.refused))
}

// until calls what again and again until that is true; false after a minute.
func until(t *testing.T, w *world, what func() bool) bool {
	t.Helper()
	for began := time.Now(); time.Since(began) < time.Minute; w.wait(t, 0) {
		if what() {
			return true
		}
	}
	return false
}

// said tells whether the node has refused a message for that reason.
func (n *node) said(why string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, r := range n.refused {
		if strings.Contains(r, why) {
			return true
		}
	}
	return false
}
