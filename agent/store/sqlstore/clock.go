package sqlstore

import (
	"math/rand/v2"
	"time"
)

// nodeBits is the number of low bits of a seq that hold the number of the process. The
// other bits are microseconds since 1970, which fit until the year 2112.
const nodeBits = 11

// clock tells the time in microseconds, and allots seqs. Seqs grow, and roughly follow the
// time across processes. They are unique without a look at the database, because
// processes differ in the low bits. If two processes have the same low bits and allot the
// same seq, the insert meets a unique index, and the transaction is tried again. Only the
// writer uses the clock.
type clock struct {
	wall func() time.Time
	last int64 // the last stamp
	seq  int64 // the last seq that was allotted or observed, without low bits
	node int64 // the low bits

	instance int64 // number of this opening of the store, never 0
	leases   int64 // number of tokens allotted
}

func newClock() *clock {
	return &clock{wall: time.Now, node: rand.Int64N(1 << nodeBits), instance: 1 + rand.Int64N(1<<31-2)}
}

// instanceShift is the position of the number of the instance in a token.
const instanceShift = 32

// token allots the token of a lease, which has the number of the instance that leases.
func (c *clock) token() int64 {
	c.leases++
	return c.instance<<instanceShift | c.leases&(1<<instanceShift-1)
}

// maxAhead is how far, in microseconds, stamps may run ahead of the time when many are
// made at once. If the last stamp is further ahead, the clock of the machine was set back.
const maxAhead = 1_000_000

// now is the time, and not before the last stamp, so that an item that is due at its stamp
// is due at once. It is at most maxAhead from the clock of the machine, so that a clock
// that was wrong for a moment does not delay items.
func (c *clock) now() int64 {
	wall := c.wall().UnixMicro()
	if c.last > wall+maxAhead {
		return wall
	}
	return max(c.last, wall)
}

// stamp is a time after all earlier stamps, unless the clock was set back.
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

// observe makes the next seq higher than one that is stored already, even if this clock is
// behind the clock of the process that has allotted it.
func (c *clock) observe(seq int64) { c.seq = max(c.seq, seq>>nodeBits) }

// toMicros and fromMicros convert the zero time to 0 and back.
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
