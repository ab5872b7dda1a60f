package store

import (
	"container/heap"
	"context"
	"slices"
	"sync"
	"time"
)

// OutboxConfig bounds an outbox in memory. Zero fields take the defaults.
type OutboxConfig struct {
	MaxItems int   // items in the queue; default 10,000
	MaxBytes int64 // bytes of packets in the queue; default 256 MiB
	PerPeer  int   // items for one To that are leased at a time; default 4
}

// NewOutbox makes an Outbox in memory. Leasing costs O(log n) in the number of
// lanes.
func NewOutbox(cfg OutboxConfig) Outbox {
	if cfg.MaxItems <= 0 {
		cfg.MaxItems = 10_000
	}
	if cfg.MaxBytes <= 0 {
		cfg.MaxBytes = 256 << 20
	}
	if cfg.PerPeer <= 0 {
		cfg.PerPeer = 4
	}
	return &outbox{
		cfg:   cfg,
		wake:  make(chan struct{}, 1),
		byID:  make(map[string]*lane),
		lanes: make(map[laneKey]*lane),
		peers: make(map[string]*peer),
	}
}

var _ Outbox = (*outbox)(nil)

type outbox struct {
	cfg OutboxConfig
	// wake holds a token whenever a waiting Lease should look again.
	wake chan struct{}

	mu    sync.Mutex // guards all below
	bytes int64
	token uint64
	count uint64 // of items ever queued
	byID  map[string]*lane
	lanes map[laneKey]*lane
	peers map[string]*peer
	queue laneHeap // every lane but the parked ones
}

type laneKey struct{ to, thread string }

// lane is the queue of one (To, Thread); only its head is ever leased.
type lane struct {
	key    laneKey
	items  []entry // never empty while the lane is known
	at     time.Time
	leased uint64 // token of the head's lease, 0 if it waits
	index  int    // in the heap, -1 while parked
}

// entry is an item with its number, which breaks ties between lanes.
type entry struct {
	*Item
	n uint64
}

// peer counts what is leased for one To and keeps the lanes that must wait for
// that count to fall.
type peer struct {
	lanes  int
	leased int
	parked []*lane
}

func (o *outbox) Enqueue(ctx context.Context, items ...Item) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	var size int64
	for _, it := range items {
		size += itemBytes(&it)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.byID)+len(items) > o.cfg.MaxItems || o.bytes+size > o.cfg.MaxBytes {
		return ErrFull
	}
	for i, it := range items {
		if o.byID[it.ID] != nil || slices.ContainsFunc(items[:i], func(e Item) bool { return e.ID == it.ID }) {
			return ErrExists
		}
	}
	now := time.Now()
	for _, it := range items {
		it.Attempts, it.LastError = 0, ""
		it.Routes = slices.Clone(it.Routes)
		key := laneKey{it.To, it.Thread}
		l := o.lanes[key]
		if l == nil {
			l = &lane{key: key, at: now, index: -1}
			o.lanes[key] = l
			p := o.peers[it.To]
			if p == nil {
				p = new(peer)
				o.peers[it.To] = p
			}
			p.lanes++
		}
		o.count++
		l.items = append(l.items, entry{&it, o.count})
		o.byID[it.ID] = l
		if len(l.items) == 1 {
			heap.Push(&o.queue, l)
		}
	}
	o.bytes += size
	o.signal()
	return nil
}

func (o *outbox) Lease(ctx context.Context, d time.Duration) (*Lease, error) {
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		l, wait := o.take(d)
		if l != nil {
			return l, nil
		}
		var due <-chan time.Time
		if wait > 0 {
			due = time.After(wait)
		}
		select {
		case <-ctx.Done():
			// The token may have been for this waiter; hand it on.
			o.signal()
			return nil, ctx.Err()
		case <-o.wake:
		case <-due:
		}
	}
}

// take leases the first item that is due. Without one it returns the time
// until the next is, 0 if the queue is empty.
func (o *outbox) take(d time.Duration) (*Lease, time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := time.Now()
	for len(o.queue) > 0 {
		l := o.queue[0]
		if wait := l.at.Sub(now); wait > 0 {
			return nil, wait
		}
		p := o.peers[l.key.to]
		if l.leased != 0 { // the lease ran out
			l.leased = 0
			p.leased--
		}
		if p.leased >= o.cfg.PerPeer {
			heap.Remove(&o.queue, l.index)
			p.parked = append(p.parked, l)
			continue
		}
		o.token++
		l.leased, l.at = o.token, now.Add(d)
		p.leased++
		heap.Fix(&o.queue, l.index)
		it := l.items[0]
		lease := &Lease{Item: *it.Item, Until: l.at, Token: l.leased}
		it.Attempts++
		o.signal() // for what else is due, and to watch over this lease
		return lease, 0
	}
	return nil, 0
}

func (o *outbox) Ack(ctx context.Context, l *Lease) error { return o.end(l) }

func (o *outbox) Term(ctx context.Context, l *Lease, reason string) error { return o.end(l) }

func (o *outbox) end(lease *Lease) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	l, err := o.held(lease)
	if err != nil {
		return err
	}
	it := l.items[0]
	delete(o.byID, it.ID)
	o.bytes -= itemBytes(it.Item)
	heap.Remove(&o.queue, l.index)
	l.items[0] = entry{}
	l.items = l.items[1:]
	l.leased, l.at = 0, time.Now()
	if len(l.items) == 0 {
		delete(o.lanes, l.key)
		o.peers[l.key.to].lanes--
	} else {
		heap.Push(&o.queue, l)
	}
	o.release(l.key.to)
	return nil
}

func (o *outbox) Nak(ctx context.Context, lease *Lease, delay time.Duration, reason string) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	l, err := o.held(lease)
	if err != nil {
		return err
	}
	l.items[0].LastError = reason
	l.leased, l.at = 0, time.Now().Add(delay)
	heap.Fix(&o.queue, l.index)
	o.release(l.key.to)
	return nil
}

// held returns the lane whose head is leased by that lease. A lease past its
// time is lost even if nobody has taken the item since.
func (o *outbox) held(lease *Lease) (*lane, error) {
	l := o.byID[lease.Item.ID]
	if l == nil || lease.Token == 0 || l.leased != lease.Token || !time.Now().Before(l.at) {
		return nil, ErrLease
	}
	return l, nil
}

// release counts one lease less for a peer, and lets a parked lane back.
func (o *outbox) release(to string) {
	p := o.peers[to]
	p.leased--
	if len(p.parked) > 0 {
		heap.Push(&o.queue, p.parked[0])
		p.parked[0] = nil
		p.parked = p.parked[1:]
	}
	if p.lanes == 0 {
		delete(o.peers, to)
	}
	o.signal()
}

func (o *outbox) signal() {
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

func itemBytes(it *Item) int64 {
	n := 0
	for _, r := range it.Routes {
		n += len(r.Data)
	}
	return int64(n)
}

type laneHeap []*lane

func (h laneHeap) Len() int { return len(h) }
func (h laneHeap) Less(i, j int) bool {
	if h[i].at.Equal(h[j].at) {
		return h[i].items[0].n < h[j].items[0].n
	}
	return h[i].at.Before(h[j].at)
}
func (h laneHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}
func (h *laneHeap) Push(x any) {
	l := x.(*lane)
	l.index = len(*h)
	*h = append(*h, l)
}
func (h *laneHeap) Pop() any {
	old := *h
	l := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	l.index = -1
	return l
}
