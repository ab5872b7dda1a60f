package store

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"
)

// NewOutbox makes an Outbox in memory, which is an OutboxAdmin too. A call costs O(log n)
// in the number n of lanes. Calls of OutboxAdmin cost O(m) in the number m of items.
func NewOutbox(cfg OutboxConfig) Outbox { return newOutbox(cfg, new(sync.Mutex)) }

func newOutbox(cfg OutboxConfig, mu *sync.Mutex) *outbox {
	cfg.SetDefaults(10_000, 256<<20, 1000)
	o := &outbox{
		cfg:   cfg,
		mu:    mu,
		byID:  make(map[string]*entry),
		lanes: make(map[laneKey]*lane),
		peers: make(map[peerKey]*peer),
		owned: make(map[string]share),
	}
	for i := range o.classes {
		o.classes[i].wake = newSignal()
	}
	return o
}

var (
	_ Outbox      = (*outbox)(nil)
	_ OutboxAdmin = (*outbox)(nil)
)

type outbox struct {
	cfg OutboxConfig

	mu      *sync.Mutex // guards all below; New shares it with other parts
	token   uint64
	seq     uint64
	byID    map[string]*entry // in the queue, or buried
	lanes   map[laneKey]*lane
	peers   map[peerKey]*peer
	owned   map[string]share // by Owner
	classes [3]class         // by Class.Number
}

// class has the items of one Class.
type class struct {
	wake   signal             // sent whenever a waiting Lease should look again
	has    share              // queued
	queue  indexedHeap[*lane] // every lane but the parked ones
	buried []*entry           // oldest first
}

// peerKey names a To, by Class.Number.
type peerKey struct {
	to    string
	class int
}

// laneKey names a lane. If single is set, the lane is for one item that was set aside, and
// name is the ID of this item.
type laneKey struct {
	peerKey
	name   string
	single bool
}

// entry is an item with its state.
type entry struct {
	Item
	seq       uint64
	aside     bool  // set aside: in a lane of its own
	lane      *lane // nil when buried
	attempts  int
	lastError string
}

func (it *Item) peer() peerKey { return peerKey{it.To, it.Class.Number()} }

func (e *entry) key() laneKey {
	if e.aside {
		return laneKey{peerKey: e.peer(), name: e.ID, single: true}
	}
	return laneKey{peerKey: e.peer(), name: cmp.Or(e.Lane, e.Thread)}
}

// lane is a queue of items; only its head is ever leased.
type lane struct {
	peer   *peer
	key    laneKey
	items  []*entry  // never empty while the lane is in outbox.lanes
	at     time.Time // when the head is due, or its lease ends
	leased uint64    // token of the lease of the head, 0 if there is none
	awaits bool      // the head awaits an acknowledgement
	index  int       // in the queue of its class, -1 while parked
}

func (l *lane) place() *int { return &l.index }

func (l *lane) before(other *lane) bool {
	if l.at.Equal(other.at) {
		return l.items[0].seq < other.items[0].seq
	}
	return l.at.Before(other.at)
}

// peer is the state of one To, for one class.
type peer struct {
	class    *class
	lanes    map[*lane]struct{}
	has      share   // queued
	leased   int     // lanes whose head is leased and does not await
	awaiting int     // lanes whose head awaits an acknowledgement
	parked   []*lane // lanes that are due, and wait until leased is below PerPeer
}

func (o *outbox) Enqueue(ctx context.Context, items ...Item) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if err := o.check(items); err != nil {
		return err
	}
	o.enqueue(items)
	return nil
}

// check returns the error of Enqueue for the items.
func (o *outbox) check(items []Item) error {
	if o.full(items) {
		return ErrFull
	}
	for i, it := range items {
		if o.byID[it.ID] != nil || slices.ContainsFunc(items[:i], func(e Item) bool { return e.ID == it.ID }) {
			return ErrExists
		}
	}
	return nil
}

// enqueue stores items that check has passed.
func (o *outbox) enqueue(items []Item) {
	for _, it := range items {
		it.Class = Classes()[it.Class.Number()]
		it.Endpoints, it.OwnerShare = slices.Clone(it.Endpoints), Share{}
		o.seq++
		e := &entry{Item: it, seq: o.seq}
		o.byID[it.ID] = e
		o.push(e, time.Now())
	}
}

// full tells whether the items would go over a limit.
func (o *outbox) full(items []Item) bool {
	var all share
	var classes [3]share
	shares := make(map[peerKey]share)
	var owned map[string]share
	for i := range items {
		n := items[i].Bytes()
		tally(shares, items[i].peer(), 1, n)
		if items[i].Owner != "" {
			if owned == nil {
				owned = make(map[string]share)
			}
			tally(owned, items[i].Owner, 1, n)
		}
		all.add(1, n)
		classes[items[i].Class.Number()].add(1, n)
	}
	for i := range o.classes {
		all.add(o.classes[i].has.items, o.classes[i].has.bytes)
	}
	if all.items > o.cfg.MaxItems || all.bytes > o.cfg.MaxBytes {
		return true
	}
	for i, class := range Classes() {
		has := o.classes[i].has
		bound, _ := o.cfg.Bounds(class)
		if classes[i].items > 0 && !bound.Allows(has.items+classes[i].items, has.bytes+classes[i].bytes) {
			return true
		}
	}
	for key, s := range shares {
		if p := o.peers[key]; p != nil {
			s.add(p.has.items, p.has.bytes)
		}
		if _, bound := o.cfg.Bounds(Classes()[key.class]); !bound.Allows(s.items, s.bytes) {
			return true
		}
	}
	for i := range items {
		if items[i].Owner == "" {
			continue
		}
		has, more := o.owned[items[i].Owner], owned[items[i].Owner]
		if !items[i].OwnerShare.Allows(has.items+more.items, has.bytes+more.bytes) {
			return true
		}
	}
	return false
}

// push puts an entry at the end of its lane. If the lane was empty, the entry is due at
// that time.
func (o *outbox) push(e *entry, at time.Time) {
	key := e.key()
	l := o.lanes[key]
	if l == nil {
		p := o.peers[key.peerKey]
		if p == nil {
			p = &peer{class: &o.classes[key.class], lanes: make(map[*lane]struct{})}
			o.peers[key.peerKey] = p
		}
		l = &lane{peer: p, key: key, at: at, index: -1}
		o.lanes[key] = l
		p.lanes[l] = struct{}{}
	}
	e.lane = l
	l.items = append(l.items, e)
	l.peer.count(1, e.Bytes())
	if e.Owner != "" {
		tally(o.owned, e.Owner, 1, e.Bytes())
	}
	if len(l.items) == 1 {
		l.peer.class.queue.add(l)
		l.peer.class.wake.send()
	}
}

func (p *peer) count(items int, bytes int64) {
	p.has.add(items, bytes)
	p.class.has.add(items, bytes)
}

func (o *outbox) Lease(ctx context.Context, d time.Duration, classes ...Class) (*Lease[Item], error) {
	if len(classes) == 0 {
		classes = Classes()
	}
	var from []*class
	var signals []signal
	for i, c := range Classes() {
		if slices.ContainsFunc(classes, func(wanted Class) bool { return wanted.Number() == c.Number() }) {
			from, signals = append(from, &o.classes[i]), append(signals, o.classes[i].wake)
		}
	}
	return await(ctx, func() (*Lease[Item], time.Duration) { return o.take(d, from) }, signals...)
}

// take leases the first item of the classes that is due. If no item is due, it returns the
// time until the next item is, or 0 if the queues are empty.
func (o *outbox) take(d time.Duration, from []*class) (*Lease[Item], time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := time.Now()
	for {
		var l *lane
		for _, c := range from {
			if len(c.queue) > 0 && (l == nil || c.queue[0].before(l)) {
				l = c.queue[0]
			}
		}
		if l == nil {
			return nil, 0
		}
		if wait := l.at.Sub(now); wait > 0 {
			return nil, wait
		}
		if l.leased != 0 { // the lease ran out
			l.free()
		}
		if l.peer.leased >= o.cfg.PerPeer {
			l.peer.class.queue.remove(l)
			l.peer.parked = append(l.peer.parked, l)
			continue
		}
		o.token++
		l.leased, l.at = o.token, now.Add(d)
		l.peer.leased++
		l.peer.class.queue.fix(l)
		e := l.items[0]
		lease := &Lease[Item]{Item: e.Item, Until: l.at, Attempts: e.attempts, LastError: e.lastError, Token: l.leased}
		e.attempts++
		// Another item may be due, and the end of this lease is a new time to wait for.
		for _, c := range from {
			c.wake.send()
		}
		return lease, 0
	}
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
	c := o.class(e)
	c.buried = append(c.buried, e)
	for i, class := range slices.Backward(Classes()) { // own items take what the others leave
		o.trim(&o.classes[i], class)
	}
	return nil
}

func (o *outbox) class(e *entry) *class { return &o.classes[e.Class.Number()] }

// trim drops the oldest buried items of a class beyond its share.
func (o *outbox) trim(c *class, name Class) {
	others := -len(c.buried)
	for i := range o.classes {
		others += len(o.classes[i].buried)
	}
	for len(c.buried) > o.cfg.Buried(name, others) {
		delete(o.byID, c.buried[0].ID)
		c.buried[0] = nil
		c.buried = c.buried[1:]
	}
}

// unbury takes an entry out of the buried ones.
func (o *outbox) unbury(e *entry) {
	c := o.class(e)
	c.buried = slices.DeleteFunc(c.buried, func(other *entry) bool { return other == e })
}

func (o *outbox) Nak(ctx context.Context, lease *Lease[Item], delay time.Duration, reason string) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	e, err := o.held(lease)
	if err != nil {
		return err
	}
	e.tried(reason)
	e.lane.at = time.Now().Add(delay)
	e.lane.peer.class.queue.fix(e.lane)
	e.lane.free()
	e.lane.peer.unpark(o.cfg.PerPeer)
	return nil
}

func (o *outbox) Aside(ctx context.Context, lease *Lease[Item], delay time.Duration, reason string) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	e, err := o.held(lease)
	if err != nil {
		return err
	}
	e.tried(reason)
	o.pull(e)
	e.aside = true
	o.push(e, time.Now().Add(delay))
	return nil
}

func (o *outbox) Await(ctx context.Context, lease *Lease[Item]) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	e, err := o.held(lease)
	if err != nil || e.lane.awaits {
		return err
	}
	p := e.lane.peer
	if p.awaiting >= o.cfg.PerPeerAwaiting {
		now := time.Now()
		for l := range p.lanes {
			if l.awaits && !now.Before(l.at) { // the lease ran out
				l.free()
			}
		}
		if p.awaiting >= o.cfg.PerPeerAwaiting {
			return ErrFull
		}
	}
	e.lane.awaits = true
	p.leased--
	p.awaiting++
	p.unpark(o.cfg.PerPeer)
	return nil
}

func (o *outbox) Wake(ctx context.Context, to string) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := time.Now()
	for i := range o.classes {
		p := o.peers[peerKey{to, i}]
		if p == nil {
			continue
		}
		for l := range p.lanes {
			if l.leased == 0 && l.index >= 0 && l.at.After(now) {
				l.at = now
				p.class.queue.fix(l)
			}
		}
		p.class.wake.send()
	}
	return nil
}

// held returns the entry that a lease is for. A lease that has run out is lost even if the
// item was not leased again.
func (o *outbox) held(lease *Lease[Item]) (*entry, error) {
	e := o.byID[lease.Item.ID]
	if e == nil || e.lane == nil || e.lane.items[0] != e || lease.Token == 0 || e.lane.leased != lease.Token || !time.Now().Before(e.lane.at) {
		return nil, ErrLease
	}
	return e, nil
}

// pull takes an entry out of its lane. If the entry was the head, the next item of the lane
// is due now.
func (o *outbox) pull(e *entry) {
	l := e.lane
	p := l.peer
	e.lane = nil
	p.count(-1, -e.Bytes())
	if e.Owner != "" {
		tally(o.owned, e.Owner, -1, -e.Bytes())
	}
	i := slices.Index(l.items, e)
	l.items = slices.Delete(l.items, i, i+1)
	if i > 0 {
		return
	}
	if l.index >= 0 {
		p.class.queue.remove(l)
	} else {
		p.parked = slices.DeleteFunc(p.parked, func(other *lane) bool { return other == l })
	}
	l.at = time.Now()
	if len(l.items) == 0 {
		delete(o.lanes, l.key)
		delete(p.lanes, l)
	} else {
		p.class.queue.add(l)
	}
	if l.leased != 0 {
		l.free()
	}
	p.unpark(o.cfg.PerPeer)
	if len(p.lanes) == 0 {
		delete(o.peers, l.key.peerKey)
	}
}

// tried notes the reason of a Nak. With an empty reason, the lease is not counted.
func (e *entry) tried(reason string) {
	if reason == "" {
		e.attempts--
	} else {
		e.lastError = reason
	}
}

// free ends the lease of a lane.
func (l *lane) free() {
	if l.awaits {
		l.peer.awaiting--
	} else {
		l.peer.leased--
	}
	l.leased, l.awaits = 0, false
}

// unpark puts a parked lane of a peer back into the queue if the peer may have another
// lease, and wakes a waiting Lease.
func (p *peer) unpark(perPeer int) {
	if p.leased < perPeer && len(p.parked) > 0 {
		p.class.queue.add(p.parked[0])
		p.parked[0] = nil
		p.parked = p.parked[1:]
	}
	p.class.wake.send()
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
		o.unbury(e)
		e.attempts, e.lastError = 0, ""
		if !deadline.IsZero() {
			e.Deadline = deadline
		}
		o.push(e, time.Now())
	case e.lane.items[0] == e && e.lane.leased == 0 && e.lane.index >= 0:
		e.lane.at = time.Now()
		e.lane.peer.class.queue.fix(e.lane)
		e.lane.peer.class.wake.send()
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
		o.unbury(e)
	} else {
		o.pull(e)
	}
	delete(o.byID, id)
	return nil
}

// show is the entry as OutboxAdmin returns it.
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
