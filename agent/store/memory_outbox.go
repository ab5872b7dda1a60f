package store

import (
	"cmp"
	"container/heap"
	"context"
	"slices"
	"sync"
	"time"
)

// OutboxConfig bounds an outbox. Zero fields take the defaults.
type OutboxConfig struct {
	MaxItems     int   // items in the queue; default 1,000,000 (in memory 10,000)
	MaxBytes     int64 // bytes of packets in the queue; default 4 GiB (in memory 256 MiB)
	MaxPeerItems int   // items in the queue for one To; default a quarter of MaxItems
	MaxPeerBytes int64 // bytes of packets in the queue for one To; default a quarter of MaxBytes
	MaxBuried    int   // buried items that are kept, the youngest; default 10,000 (in memory 1,000)
	PerPeer      int   // items for one To that are leased at a time; default 8
}

// peerShare is the part of all that one peer may have where none is set.
const peerShare = 4

func orDefault[T int | int64 | time.Duration](n *T, def T) {
	if *n <= 0 {
		*n = def
	}
}

// NewOutbox makes an Outbox in memory, which is an OutboxAdmin too. Each
// operation costs O(log n) in the number of lanes, but those of OutboxAdmin.
func NewOutbox(cfg OutboxConfig) Outbox {
	orDefault(&cfg.MaxItems, 10_000)
	orDefault(&cfg.MaxBytes, 256<<20)
	orDefault(&cfg.MaxPeerItems, max(1, cfg.MaxItems/peerShare))
	orDefault(&cfg.MaxPeerBytes, max(1, cfg.MaxBytes/peerShare))
	orDefault(&cfg.MaxBuried, 1000)
	orDefault(&cfg.PerPeer, 8)
	return &outbox{
		cfg:   cfg,
		wake:  newSignal(),
		byID:  make(map[string]*entry),
		lanes: make(map[laneKey]*lane),
		peers: make(map[string]*peer),
	}
}

var (
	_ Outbox      = (*outbox)(nil)
	_ OutboxAdmin = (*outbox)(nil)
)

type outbox struct {
	cfg  OutboxConfig
	wake signal // sent whenever a waiting Lease should look again

	mu     sync.Mutex // guards all below
	bytes  int64
	token  uint64
	seq    uint64
	byID   map[string]*entry // in the queue, or buried
	lanes  map[laneKey]*lane
	peers  map[string]*peer
	queue  laneHeap // every lane but the parked ones
	buried []*entry // oldest first
}

type laneKey struct{ to, thread string }

// entry is an item with what the outbox knows of it.
type entry struct {
	Item
	seq       uint64
	lane      *lane // nil when buried
	attempts  int
	lastError string
}

// lane is the queue of one (To, Thread); only its head is ever leased.
type lane struct {
	peer   *peer
	key    laneKey
	items  []*entry // never empty while the lane is known
	at     time.Time
	leased uint64 // token of the head's lease, 0 if it waits
	index  int    // in the heap, -1 while parked
}

// peer is one To: its lanes, what it has in the queue, how many lanes are
// leased, and those that must wait for that count to fall.
type peer struct {
	lanes  map[*lane]struct{}
	items  int
	bytes  int64
	leased int
	parked []*lane
}

func (o *outbox) Enqueue(ctx context.Context, items ...Item) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.full(items) {
		return ErrFull
	}
	for i, it := range items {
		if o.byID[it.ID] != nil || slices.ContainsFunc(items[:i], func(e Item) bool { return e.ID == it.ID }) {
			return ErrExists
		}
	}
	for _, it := range items {
		it.Routes = slices.Clone(it.Routes)
		o.seq++
		e := &entry{Item: it, seq: o.seq}
		o.byID[it.ID] = e
		o.push(e)
	}
	return nil
}

// full tells whether the items would go over a limit.
func (o *outbox) full(items []Item) bool {
	type share struct {
		items int
		bytes int64
	}
	var all share
	shares := make(map[string]share)
	for i := range items {
		to, n := items[i].To, items[i].Bytes()
		s := shares[to]
		shares[to] = share{s.items + 1, s.bytes + n}
		all = share{all.items + 1, all.bytes + n}
	}
	if len(o.byID)-len(o.buried)+all.items > o.cfg.MaxItems || o.bytes+all.bytes > o.cfg.MaxBytes {
		return true
	}
	for to, s := range shares {
		if p := o.peers[to]; p != nil {
			s.items, s.bytes = s.items+p.items, s.bytes+p.bytes
		}
		if s.items > o.cfg.MaxPeerItems || s.bytes > o.cfg.MaxPeerBytes {
			return true
		}
	}
	return false
}

// push puts an entry at the end of its lane.
func (o *outbox) push(e *entry) {
	key := laneKey{e.To, e.Thread}
	l := o.lanes[key]
	if l == nil {
		p := o.peers[e.To]
		if p == nil {
			p = &peer{lanes: make(map[*lane]struct{})}
			o.peers[e.To] = p
		}
		l = &lane{peer: p, key: key, at: time.Now(), index: -1}
		o.lanes[key] = l
		p.lanes[l] = struct{}{}
	}
	e.lane = l
	l.items = append(l.items, e)
	l.peer.items++
	l.peer.bytes += e.Bytes()
	o.bytes += e.Bytes()
	if len(l.items) == 1 {
		heap.Push(&o.queue, l)
		o.wake.send()
	}
}

func (o *outbox) Lease(ctx context.Context, d time.Duration) (*Lease[Item], error) {
	return await(ctx, o.wake, func() (*Lease[Item], time.Duration) { return o.take(d) })
}

// take leases the first item that is due. Without one it returns the time
// until the next is, 0 if the queue is empty.
func (o *outbox) take(d time.Duration) (*Lease[Item], time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := time.Now()
	for len(o.queue) > 0 {
		l := o.queue[0]
		if wait := l.at.Sub(now); wait > 0 {
			return nil, wait
		}
		if l.leased != 0 { // the lease ran out
			l.leased = 0
			l.peer.leased--
		}
		if l.peer.leased >= o.cfg.PerPeer {
			heap.Remove(&o.queue, l.index)
			l.peer.parked = append(l.peer.parked, l)
			continue
		}
		o.token++
		l.leased, l.at = o.token, now.Add(d)
		l.peer.leased++
		heap.Fix(&o.queue, l.index)
		e := l.items[0]
		lease := &Lease[Item]{Item: e.Item, Until: l.at, Attempts: e.attempts, LastError: e.lastError, Token: l.leased}
		e.attempts++
		o.wake.send() // for what else is due, and to watch over this lease
		return lease, 0
	}
	return nil, 0
}

func (o *outbox) Ack(ctx context.Context, l *Lease[Item]) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	e, err := o.held(l)
	if err != nil {
		return err
	}
	o.pull(e)
	delete(o.byID, e.ID)
	return nil
}

func (o *outbox) Term(ctx context.Context, l *Lease[Item], reason string) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	e, err := o.held(l)
	if err != nil {
		return err
	}
	o.pull(e)
	e.lastError = reason
	o.buried = append(o.buried, e)
	if len(o.buried) > o.cfg.MaxBuried {
		delete(o.byID, o.buried[0].ID)
		o.buried[0] = nil
		o.buried = o.buried[1:]
	}
	return nil
}

func (o *outbox) Nak(ctx context.Context, lease *Lease[Item], delay time.Duration, reason string) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	e, err := o.held(lease)
	if err != nil {
		return err
	}
	if reason != "" {
		e.lastError = reason
	} else {
		e.attempts--
	}
	l := e.lane
	l.leased, l.at = 0, time.Now().Add(delay)
	heap.Fix(&o.queue, l.index)
	o.release(l.peer)
	return nil
}

func (o *outbox) Wake(ctx context.Context, to string) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	p := o.peers[to]
	if p == nil {
		return nil
	}
	now := time.Now()
	for l := range p.lanes {
		if l.leased == 0 && l.index >= 0 && l.at.After(now) {
			l.at = now
			heap.Fix(&o.queue, l.index)
		}
	}
	o.wake.send()
	return nil
}

// held returns the entry that is leased by that lease. A lease past its time is
// lost even if nobody has taken the item since.
func (o *outbox) held(lease *Lease[Item]) (*entry, error) {
	e := o.byID[lease.Item.ID]
	if e == nil || e.lane == nil || e.lane.items[0] != e || lease.Token == 0 || e.lane.leased != lease.Token || !time.Now().Before(e.lane.at) {
		return nil, ErrLease
	}
	return e, nil
}

// pull takes an entry out of its lane, whose next item is due then.
func (o *outbox) pull(e *entry) {
	l := e.lane
	p := l.peer
	e.lane = nil
	p.items--
	p.bytes -= e.Bytes()
	o.bytes -= e.Bytes()
	i := slices.Index(l.items, e)
	l.items = slices.Delete(l.items, i, i+1)
	if i > 0 {
		return
	}
	if l.index >= 0 {
		heap.Remove(&o.queue, l.index)
	} else {
		p.parked = slices.DeleteFunc(p.parked, func(other *lane) bool { return other == l })
	}
	leased := l.leased != 0
	l.leased, l.at = 0, time.Now()
	if len(l.items) == 0 {
		delete(o.lanes, l.key)
		delete(p.lanes, l)
	} else {
		heap.Push(&o.queue, l)
		o.wake.send()
	}
	if leased {
		o.release(p)
	}
	if len(p.lanes) == 0 {
		delete(o.peers, l.key.to)
	}
}

// release counts one lease less for a peer, and lets a parked lane back.
func (o *outbox) release(p *peer) {
	p.leased--
	if len(p.parked) > 0 {
		heap.Push(&o.queue, p.parked[0])
		p.parked[0] = nil
		p.parked = p.parked[1:]
	}
	o.wake.send()
}

func (o *outbox) List(ctx context.Context, after uint64, n int) ([]Entry[Item], error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	var list []Entry[Item]
	for _, e := range o.byID {
		if e.seq > after {
			list = append(list, e.show())
		}
	}
	slices.SortFunc(list, func(a, b Entry[Item]) int { return cmp.Compare(a.Seq, b.Seq) })
	list = list[:min(max(n, 0), len(list))]
	for i := range list {
		it := &list[i].Item
		it.Direct.Data = nil
		it.Routes = slices.Clone(it.Routes)
		for k := range it.Routes {
			it.Routes[k].Packet.Data = nil
		}
	}
	return list, nil
}

func (o *outbox) Get(ctx context.Context, id string) (Entry[Item], error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	e := o.byID[id]
	if e == nil {
		return Entry[Item]{}, ErrNotFound
	}
	return e.show(), nil
}

func (o *outbox) Retry(ctx context.Context, id string, deadline time.Time) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	e := o.byID[id]
	switch {
	case e == nil:
		return ErrNotFound
	case e.lane == nil:
		o.buried = slices.DeleteFunc(o.buried, func(other *entry) bool { return other == e })
		e.attempts, e.lastError = 0, ""
		if !deadline.IsZero() {
			e.Deadline = deadline
		}
		o.push(e)
	case e.lane.items[0] == e && e.lane.leased == 0 && e.lane.index >= 0:
		e.lane.at = time.Now()
		heap.Fix(&o.queue, e.lane.index)
		o.wake.send()
	}
	return nil
}

func (o *outbox) Drop(ctx context.Context, id string) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	e := o.byID[id]
	if e == nil {
		return ErrNotFound
	}
	if e.lane == nil {
		o.buried = slices.DeleteFunc(o.buried, func(other *entry) bool { return other == e })
	} else {
		o.pull(e)
	}
	delete(o.byID, id)
	return nil
}

// show is the entry as OutboxAdmin has it.
func (e *entry) show() Entry[Item] {
	s := Entry[Item]{Seq: e.seq, Item: e.Item, State: Buried, Attempts: e.attempts, LastError: e.lastError}
	if l := e.lane; l != nil {
		s.State, s.Due = Waiting, l.at
		if l.items[0] == e && l.leased != 0 && time.Now().Before(l.at) {
			s.State = Leased
		}
	}
	return s
}

type laneHeap []*lane

func (h laneHeap) Len() int { return len(h) }
func (h laneHeap) Less(i, j int) bool {
	if h[i].at.Equal(h[j].at) {
		return h[i].items[0].seq < h[j].items[0].seq
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
