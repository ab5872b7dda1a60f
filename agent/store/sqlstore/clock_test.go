package sqlstore

import (
	"testing"
	"time"
)

func TestClock(t *testing.T) {
	c := newClock()
	wall := time.UnixMicro(1e15)
	c.wall = func() time.Time { return wall }
	var stamp, seq int64
	ordered := func() {
		t.Helper()
		for range 100 {
			s, n := c.stamp(), c.next()
			if s <= stamp || n <= seq {
				t.Fatalf("stamp %d after %d, seq %d after %d", s, stamp, n, seq)
			}
			stamp, seq = s, n
		}
		if c.now() < stamp {
			t.Errorf("stamped %d at %d", stamp, c.now())
		}
	}
	ordered()
	// The clock was an hour ahead for a moment. Time continues from the right time.
	wall = wall.Add(time.Hour)
	ordered()
	wall = wall.Add(-time.Hour)
	for range 3 {
		wall = wall.Add(time.Minute)
		if got := c.now(); got != wall.UnixMicro() {
			t.Fatalf("it is %v, not %v", time.UnixMicro(got), wall)
		}
	}
	stamp = 0
	ordered()
	if ahead := stamp - wall.UnixMicro(); ahead > maxAhead {
		t.Errorf("stamps are %d µs ahead", ahead)
	}
	c.observe(seq + 1<<40) // of another process, whose clock is ahead
	seq += 1 << 40
	ordered()
}
