package fleet_test

import (
	"flag"
	"fmt"
	"log/slog"
	"testing"
	"testing/synctest"
)

var (
	seeds = flag.Int("seeds", 300, "how many worlds")
	seed  = flag.Int("seed", -1, "the only world, with a log")
)

// TestFleet lives through one world after the other.
func TestFleet(t *testing.T) {
	if *seed >= 0 {
		live1(t, uint64(*seed), slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug})))
		return
	}
	n := *seeds
	if testing.Short() {
		n = min(n, 30)
	}
	for s := range n {
		t.Run(fmt.Sprint(s), func(t *testing.T) {
			t.Parallel()
			live1(t, uint64(s), slog.New(slog.DiscardHandler))
		})
	}
}

// live1 lives through one world.
func live1(t *testing.T, seed uint64, log *slog.Logger) {
	synctest.Test(t, func(t *testing.T) { newWorld(t, seed, log).run() })
}
