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
	last int64 // time told
	seq  int64 // allotted or seen, without low bits
	node int64
}

func newClock() *clock { return &clock{node: rand.Int64N(1 << nodeBits)} }

// now is the time, and not before any stamp.
func (c *clock) now() int64 { return max(c.last, time.Now().UnixMicro()) }

// stamp is a time after all stamps before.
func (c *clock) stamp() int64 {
	c.last = max(c.last+1, time.Now().UnixMicro())
	return c.last
}

// next allots a seq.
func (c *clock) next() int64 {
	c.seq = max(c.seq+1, time.Now().UnixMicro())
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
