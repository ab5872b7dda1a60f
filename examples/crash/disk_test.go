//go:build crash && linux

package crash_test

import (
	"os"
	"os/exec"
	"path/filepath"
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
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", small.Home).CombinedOutput(); err != nil {
		t.Fatalf("mount: %v: %s", err, out)
	}
	t.Cleanup(func() {
		small.end()
		if out, err := exec.Command("umount", small.Home).CombinedOutput(); err != nil {
			t.Errorf("umount: %v: %s", err, out)
		}
	})
	filler := filepath.Join(small.Home, "filler")
	if err := os.WriteFile(filler, make([]byte, 13<<20), 0o600); err != nil {
		t.Fatal(err)
	}

	small.start(t) // its peer is down: what it sends stays with it
	if !until(t, w, func() bool {
		small.ask(t, "http")
		return small.hasRefused("store: full")
	}) {
		t.Fatalf("the disk did not fill up: %q", small.refused)
	}
	before := small.accepted.len()

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
	room := time.Now() // no limit holds while the disk is full
	if !until(t, w, func() bool {
		small.ask(t, "ws")
		return small.accepted.len() > before+50
	}) {
		t.Error("nothing is accepted though there is room again")
	}
	// A peer that was refused last was told to come again in 10 s.
	f := figuresOf(small.sent+other.sent, w.settle(t), w.handled(t), room, span{room, room.Add(10 * time.Second)})
	t.Logf("%s, since there is room; %d accepted before the disk was full, %d refused", f, before, len(small.refused))
	f.check(t, "messages", limit)
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
