//go:build crash

package crash_test

import (
	"flag"
	"math/rand/v2"
	"testing"
	"time"
)

var (
	messages = flag.Int("messages", 1000, "messages that are sent")
	kills    = flag.Int("kills", 20, "processes that are killed meanwhile")
)

// TestSQLite kills agents whose stores are SQLite files.
func TestSQLite(t *testing.T) {
	w := newWorld(t, "sqlite", "sqlite")
	w.run(t, *messages, *kills, func() { w.nodes[rand.N(len(w.nodes))].kill(t) })
}

// run sends n messages, half of them from each node and by each way, and calls
// strike that many times while they are on their way. At the end all must have
// been handled.
func (w *world) run(t *testing.T, n, strikes int, strike func()) {
	t.Helper()
	began := time.Now()
	for _, node := range w.nodes {
		node.start(t)
	}
	struck := 0
	for sent := 0; sent < n; {
		for _, node := range w.nodes {
			for _, way := range []string{"http", "ws"} {
				if sent < n && node.ask(t, way) {
					sent++
				}
			}
		}
		// The strikes are spread over the messages, each at a moment of its own.
		if struck < strikes && sent >= (struck+1)*n/(strikes+1) {
			w.wait(t, time.Duration(rand.N(300))*time.Millisecond)
			strike()
			struck++
		}
		w.wait(t, 0)
	}
	for ; struck < strikes; struck++ {
		strike()
	}
	accepted := w.settle(t)
	handled, twice := w.handled(t)
	lost := 0
	for id := range accepted {
		if !handled[id] {
			lost++
			if lost <= 10 {
				t.Errorf("%s was accepted and never handled", id)
			}
		}
	}
	t.Logf("%d messages asked for, %d accepted, %d lost, %d handled twice, %d strikes, %s",
		n, len(accepted), lost, twice, struck, time.Since(began).Round(time.Second))
	if lost > 0 {
		t.Errorf("%d of %d messages lost", lost, len(accepted))
	}
	if len(accepted) < n/2 {
		t.Errorf("only %d of %d messages were accepted", len(accepted), n)
	}
}
