package sqlstore

import (
	"math/rand/v2"
	"time"
)

// nodeBits are the low bits of a seq. The others are microseconds since 1970,
// which fit until the year 2112.
const nodeBits = 11

// clock tells the time, in microseconds, and allots each seq: it grows, roughly
// follows time across processes, and is unique without asking the database,
// because processes differ in their low bits. (Should two be equal in those too,
// a unique index finds out, and the operation is done again.) A clock belongs to
// the writer.
type clock struct {
	wall func() time.Time
	last int64 // stamped
	seq  int64 // allotted or seen, without low bits
	node int64

	life   int64 // of this opening of the store, never 0
	leases int64 // tokens allotted
}

func newClock() *clock {
	return &clock{wall: time.Now, node: rand.Int64N(1 << nodeBits), life: 1 + rand.Int64N(1<<31-2)}
}

// lifeShift is where the life stands in a token.
const lifeShift = 32

// token allots the token of a lease, which names the life that has it.
func (c *clock) token() int64 {
	c.leases++
	return c.life<<lifeShift | c.leases&(1<<lifeShift-1)
}

// maxAhead is how far, in microseconds, stamps run ahead of the time when many are
// made at once. Those that are further ahead are of a time that was wrong: the
// clock was set back.
const maxAhead = 1_000_000

// now is the time, and not before the last stamp: what is due when it was made is
// due at once. It is never far from what the machine's clock says, so that what
// was wrong there for a moment does not stop it.
func (c *clock) now() int64 {
	wall := c.wall().UnixMicro()
	if c.last > wall+maxAhead {
		return wall
	}
	return max(c.last, wall)
}

// stamp is a time after all stamps before, as long as the clock is not set back.
func (c *clock) stamp() int64 {
	now := c.now()
	if now == c.last {
		now++
	}
	c.last = now
	return now
}

// next allots a seq.
func (c *clock) next() int64 {
	c.seq = max(c.seq+1, c.wall().UnixMicro())
	return c.seq<<nodeBits | c.node
}

// saw makes the next seq follow one that is there already, should this clock be
// behind the one that it came from.
func (c *clock) saw(seq int64) { c.seq = max(c.seq, seq>>nodeBits) }

// toMicros and fromMicros keep the zero time.
func toMicros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

func fromMicros(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.UnixMicro(n)
}
