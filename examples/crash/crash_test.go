//go:build crash

package crash_test

import (
	"flag"
	"math/rand/v2"
	"testing"
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
