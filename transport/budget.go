package transport

import (
	"cmp"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// budgetSmall is the length of a small message, in bytes. A small message is refused
	// only when others are not enough to make room for it.
	budgetSmall = 16 << 10
	// budgetChunk is the size of the largest piece of memory that waits for bytes.
	budgetChunk = 64 << 10
	// budgetWork is how many times its length a message takes while a Handler opens it:
	// the message, its decoded ciphertext, its plaintext and the parsed form.
	budgetWork = 4
	// budgetGrace is the age from which the rate of a message counts, and the shortest
	// time over which the rate is measured. It is longer for a small message, which may
	// be complete and only wait for a processor that is busy with others.
	budgetGrace      = time.Second
	budgetSmallGrace = 5 * time.Second
)

// Budget limits the memory of all messages that are being read, and of those that a Handler
// opens. It counts a message that is being opened four times, unless the message is small.
// The receivers and senders of a process share one Budget, so that many connections that
// each send a part of a message do not fill the memory. It may be used from several
// goroutines. Use [NewBudget] to make one.
//
// Memory is taken as the bytes of a message arrive, never in advance. If the Budget is used
// up, the messages that arrive slowest are given up until there is room. Those that a Handler
// opens are not given up. They leave a quarter of the Budget to small messages.
type Budget struct {
	limit int64 // static

	// guarded by mu
	mu      sync.Mutex
	used    int64      // bytes taken
	opening int64      // the part of used for messages that are read and not small
	reading []*reading // messages that are being read
}

// NewBudget returns a Budget of n bytes. 0 means [DefaultBudget]. It should have room for
// several messages of the largest size.
func NewBudget(n int64) *Budget {
	if n <= 0 {
		n = DefaultBudget()
	}
	return &Budget{limit: n}
}

// Used returns how many bytes are taken.
func (b *Budget) Used() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.used
}

// ReadAll reads r to its end. size is the expected number of bytes, such as a
// Content-Length, or -1. If the Budget needs the memory for faster messages, it calls
// interrupt, which has to end a running Read of r, and must not block. interrupt is not
// called after ReadAll has returned.
//
// The caller calls release once, when the data is not needed anymore or has been opened.
// The error matches
//   - ErrTooLarge if r has more than limit bytes;
//   - ErrBudget if the message was given up;
//   - else the error of r.
//
// If there is an error, release is nil.
func (b *Budget) ReadAll(r io.Reader, size, limit int64, interrupt func()) (data []byte, release func(), err error) {
	m := &reading{interrupt: interrupt, begun: time.Now()}
	m.before.at, m.recent.at = m.begun, m.begun
	chunk := int64(4 << 10)
	if size >= 0 {
		chunk = min(size+1, budgetSmall) // one more, in which the end is found
	}
	for total := int64(0); ; {
		if err := b.grow(m, min(chunk, limit+1-total)); err != nil {
			return nil, nil, err
		}
		total, err = m.fill(r)
		switch {
		case total > limit:
			b.drop(m)
			return nil, nil, ErrTooLarge
		case err == io.EOF:
			return b.finish(m, total)
		case err != nil:
			if b.drop(m) {
				err = ErrBudget
			}
			return nil, nil, err
		}
		chunk = min(total, budgetChunk)
	}
}

// reading is a message that is being read.
type reading struct {
	interrupt func()
	begun     time.Time
	got       atomic.Int64 // bytes that were read
	chunk     []byte       // memory that is being filled; owned by ReadAll

	// guarded by Budget.mu
	index          int   // in Budget.reading
	taken          int64 // bytes of the Budget
	chunks         [][]byte
	evicted        bool
	before, recent sample // of got, for rate
}

type sample struct {
	at  time.Time
	got int64
}

// fill reads until the last chunk is full, and returns how many bytes of the message were
// read in all.
func (m *reading) fill(r io.Reader) (total int64, err error) {
	total = m.got.Load()
	for empty := 0; len(m.chunk) > 0; {
		n, err := r.Read(m.chunk)
		m.chunk = m.chunk[n:]
		total = m.got.Add(int64(n))
		if err != nil {
			return total, err
		}
		if n > 0 {
			empty = 0
		} else if empty++; empty == 100 {
			return total, io.ErrNoProgress
		}
	}
	return total, nil
}

// rate returns the bytes per second of the last one to two seconds, if it is called at least
// as often. Else it returns those since an earlier call.
func (m *reading) rate(now time.Time) float64 {
	got := m.got.Load()
	if now.Sub(m.recent.at) >= budgetGrace {
		m.before, m.recent = m.recent, sample{now, got}
	}
	return float64(got-m.before.got) / max(now.Sub(m.before.at), budgetGrace).Seconds()
}

// grow takes n bytes more for m, and gives m a chunk of that size.
func (b *Budget) grow(m *reading, n int64) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if m.evicted || !b.makeRoom(m, n) {
		b.leave(m)
		return ErrBudget
	}
	if m.taken == 0 {
		m.index = len(b.reading)
		b.reading = append(b.reading, m)
	}
	b.used += n
	m.taken += n
	m.chunk = make([]byte, n)
	m.chunks = append(m.chunks, m.chunk)
	return nil
}

// finish returns the message, which is not given up from now on.
func (b *Budget) finish(m *reading, n int64) (data []byte, release func(), err error) {
	b.mu.Lock()
	var more int64
	small := n <= budgetSmall
	if !small {
		// Messages that are being opened leave a part of the Budget to small messages.
		more = max(min(budgetWork*n, b.limit/2)-m.taken, 0)
	}
	if m.evicted || !small && b.opening > 0 && b.opening+m.taken+more > b.limit/4*3 || !b.makeRoom(m, more) {
		b.leave(m)
		b.mu.Unlock()
		return nil, nil, ErrBudget
	}
	chunks, taken := m.chunks, m.taken+more
	b.leave(m)
	b.used += taken
	if !small {
		b.opening += taken
	}
	b.mu.Unlock()
	if data = chunks[0][:min(n, int64(len(chunks[0])))]; int64(len(data)) < n {
		data = slices.Concat(chunks...)[:n:n]
	}
	return data, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.used -= taken
		if !small {
			b.opening -= taken
		}
	}, nil
}

// drop ends m without a message. It reports whether m was given up before.
func (b *Budget) drop(m *reading) (evicted bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.leave(m)
	return m.evicted
}

// leave gives back everything that m has taken.
func (b *Budget) leave(m *reading) {
	if m.taken == 0 {
		return
	}
	b.used -= m.taken
	m.taken, m.chunks = 0, nil
	last := len(b.reading) - 1
	b.reading[m.index] = b.reading[last]
	b.reading[m.index].index = m.index
	b.reading[last] = nil
	b.reading = b.reading[:last]
}

// makeRoom gives up messages until n bytes are left for m. It returns false if m itself is
// the slowest.
func (b *Budget) makeRoom(m *reading, n int64) bool {
	if b.used+n <= b.limit {
		return true
	}
	now := time.Now()
	ranks := make([]rank, 0, len(b.reading)+1)
	for _, other := range b.reading {
		if other != m {
			ranks = append(ranks, other.rank(now, other.taken))
		}
	}
	if m.taken+n > budgetSmall {
		ranks = append(ranks, m.rank(now, m.taken+n))
	}
	slices.SortFunc(ranks, rank.compare)
	// A little more is given back than is needed, because the order of all messages is not
	// worth computing for each chunk.
	spare := b.limit / 64
	for _, r := range ranks {
		fits := b.used+n <= b.limit
		switch {
		case fits && (r.kind != notYoung || b.used+n+spare <= b.limit):
			return true
		case r.m == m:
			return fits
		}
		r.m.evicted = true
		b.leave(r.m)
		r.m.interrupt()
	}
	return b.used+n <= b.limit
}

// rank says how soon a message is given up: first those that are not young, then the young
// ones, and then those that are young and small. Of each kind, the slowest goes first.
type rank struct {
	m     *reading
	kind  int
	rate  float64
	taken int64
}

const (
	notYoung = iota
	young
	youngAndSmall
)

func (m *reading) rank(now time.Time, taken int64) rank {
	r := rank{m: m, rate: m.rate(now), taken: taken}
	switch age := now.Sub(m.begun); {
	case taken <= budgetSmall && age < budgetSmallGrace:
		r.kind = youngAndSmall
	case age < budgetGrace:
		r.kind = young
	}
	return r
}

func (r rank) compare(o rank) int {
	return cmp.Or(cmp.Compare(r.kind, o.kind), cmp.Compare(r.rate, o.rate), cmp.Compare(o.taken, r.taken))
}
