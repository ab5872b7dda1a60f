//go:build !interop

package interop_test

import (
	"context"
	"strings"
	"testing"
	"time"
)

// TestCredoLike exchanges messages with an agent that behaves as Credo does. The interop
// suite has these exchanges among its live agents.
func TestCredoLike(t *testing.T) {
	path := buildProgram(t)
	c := &credo{path, serveProgram(t, path)}
	all := append(c.exchanges(), credoTalk{"reports about reports", c.storm(t, 2*time.Second)})
	for _, m := range c.mediations() {
		all = append(all, credoTalk{m.String(), func(ctx context.Context, t *testing.T) (string, error) { return "yes", m.run(ctx, t) }})
	}
	t.Run("exchanges", func(t *testing.T) {
		for _, e := range all {
			t.Run(strings.ReplaceAll(e.what, " ", "_"), func(t *testing.T) {
				t.Parallel()
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				if _, err := e.run(ctx, t); err != nil {
					t.Error(err)
				}
			})
		}
	})
}
