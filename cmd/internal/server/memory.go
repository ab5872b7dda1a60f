package server

import (
	"os"
	"runtime/debug"

	"github.com/didcomm-go/didcomm/transport"
)

// unreadBytes returns UnreadBytes or its default.
func (c Config) unreadBytes() int64 {
	if c.UnreadBytes != 0 {
		return c.UnreadBytes
	}
	return max(transport.DefaultBudget(), 2*c.MaxBytes)
}

// LimitMemory sets the default of UnreadBytes, and the soft memory limit of the Go runtime
// unless GOMEMLIMIT is set: half of the memory, but at most 512 MiB, or twice UnreadBytes if
// that is more. A program calls it once, before Listen. Without a limit, the runtime lets
// garbage take as much memory as all unread messages.
func (c *Config) LimitMemory() {
	c.UnreadBytes = c.unreadBytes()
	if os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	half := 4 * transport.DefaultBudget() // an eighth of the memory
	debug.SetMemoryLimit(max(min(half, 512<<20), 2*c.UnreadBytes))
}
