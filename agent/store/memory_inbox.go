package store

import (
	"cmp"
	"container/list"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"sync"
	"time"
)

// NewInbox makes an Inbox in memory, which is an InboxAdmin too. A call costs O(log n) in
// the number n of pending messages. Calls of InboxAdmin cost O(n).
func NewInbox(cfg InboxConfig) Inbox { return newInbox(cfg, new(sync.Mutex)) }

func newInbox(cfg InboxConfig, mu *sync.Mutex) *inbox {
	cfg.SetDefaults(10_000, 256<<20, 1<<16, 64<<20)
	return &inbox{
		cfg:   cfg,
		past:  newPast(),
		wake:  newSignal(),
		mu:    mu,
		byKey: make(map[inboxKey]*received),
		bySeq: make(map[uint64]*received),
		peers: make(map[string]share),
		owned: make(map[string]share),
	}
}

var (
	_ Inbox      = (*inbox)(nil)
	_ InboxAdmin = (*inbox)(nil)
)

type inbox struct {
	cfg  InboxConfig
	wake signal // sent whenever a waiting Lease should look again

	mu        *sync.Mutex // guards all below; New shares it with other parts
	seq       uint64
	token     uint64
	byKey     map[inboxKey]*received
	bySeq     map[uint64]*received
	queue     indexedHeap[*received] // pending: waiting or leased
	all       share                  // of the queue
	strangers share                  // of those of ClassStranger
	peers     map[string]share
	owned     map[string]share
	past      past // settled: done or buried
}

// inboxKey is a digest, so that the size of an entry does not depend on the length of its
// id.
type inboxKey [sha256.Size]byte

// share is a number of items and the bytes of their packets.
type share struct {
	items int
	bytes int64
}

func (s *share) add(items int, bytes int64) {
	s.items += items
	s.bytes += bytes
}

type received struct {
	Received
	key       inboxKey
	seq       uint64
	state     State
	at        time.Time // when the message is due, or its lease ends
	token     uint64    // of the lease, 0 if there is none
	attempts  int
	lastError string
	replies   []Packet
	index     int           // in queue, -1 when past
	party     *party        // nil when in queue
	past      *list.Element // in the list of all settled messages, nil when in queue
	ofParty   *list.Element // in the list of party
}

func (r *received) stranger() bool { return r.Class.Number() == ClassStranger.Number() }

func (r *received) place() *int { return &r.index }

func (r *received) before(other *received) bool {
	if r.at.Equal(other.at) {
		return r.seq < other.seq
	}
	return r.at.Before(other.at)
}

// keyOf hashes the length of sender, sender and id, so that different pairs never have
// the same input.
func keyOf(sender, id string) inboxKey {
	b := make([]byte, 0, 256)
	b = binary.AppendUvarint(b, uint64(len(sender)))
	b = append(append(b, sender...), id...)
	return sha256.Sum256(b)
}

func (b *inbox) Add(ctx context.Context, m Received, d time.Duration) (*Lease[Received], *Known, error) {
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	key, now := keyOf(m.Sender, m.ID), time.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	if r := b.byKey[key]; r != nil {
		if r.past == nil || now.Before(r.Until) {
			return nil, r.known(), nil
		}
		b.forget(r)
	}
	ofPeer, ofOwner := m.PeerShare, m.OwnerShare
	m.PeerShare, m.OwnerShare = Share{}, Share{}
	m.Class = Classes()[m.Class.Number()]
	r := &received{Received: m, key: key, index: -1}
	if d <= 0 {
		b.enter(r)
		b.settle(r, Done)
		return nil, nil, nil
	}
	peer, owner, n := b.peers[m.Peer], b.owned[m.Owner], int64(len(m.Packet.Data))
	if b.all.items+1 > b.cfg.MaxItems || b.all.bytes+n > b.cfg.MaxBytes ||
		peer.items+1 > b.cfg.MaxPeerItems || peer.bytes+n > b.cfg.MaxPeerBytes ||
		!ofPeer.Allows(peer.items+1, peer.bytes+n) ||
		r.stranger() && !b.cfg.Stranger.Allows(b.strangers.items+1, b.strangers.bytes+n) ||
		m.Owner != "" && !ofOwner.Allows(owner.items+1, owner.bytes+n) {
		return nil, nil, ErrFull
	}
	b.enter(r)
	b.push(r, now)
	return b.lease(r, now, d), nil, nil
}

// enter numbers an entry, and makes it known by its key and its number.
func (b *inbox) enter(r *received) {
	b.seq++
	r.seq = b.seq
	b.byKey[r.key], b.bySeq[r.seq] = r, r
}

// push puts an entry into the queue.
func (b *inbox) push(r *received, at time.Time) {
	b.count(r, 1)
	r.state, r.at = Waiting, at
	b.queue.add(r)
}

func (b *inbox) count(r *received, sign int) {
	n := int64(sign * len(r.Packet.Data))
	b.all.add(sign, n)
	if r.stranger() {
		b.strangers.add(sign, n)
	}
	tally(b.peers, r.Peer, sign, n)
	if r.Owner != "" {
		tally(b.owned, r.Owner, sign, n)
	}
}

// tally adds to what a party has, and forgets a party that has nothing left.
func tally[K comparable](shares map[K]share, party K, items int, bytes int64) {
	s := shares[party]
	if s.add(items, bytes); s.items == 0 {
		delete(shares, party)
	} else {
		shares[party] = s
	}
}

// lease leases an entry of the queue.
func (b *inbox) lease(r *received, now time.Time, d time.Duration) *Lease[Received] {
	b.token++
	r.state, r.token, r.at = Leased, b.token, now.Add(d)
	b.queue.fix(r)
	l := &Lease[Received]{Item: r.Received, Until: r.at, Attempts: r.attempts, LastError: r.lastError, Token: r.token}
	r.attempts++
	b.wake.send() // another entry may be due, and the end of this lease is a new time to wait for
	return l
}

func (b *inbox) Lease(ctx context.Context, d time.Duration) (*Lease[Received], error) {
	return await(ctx, func() (*Lease[Received], time.Duration) {
		b.mu.Lock()
		defer b.mu.Unlock()
		if len(b.queue) == 0 {
			return nil, 0
		}
		r, now := b.queue[0], time.Now()
		if wait := r.at.Sub(now); wait > 0 {
			return nil, wait
		}
		return b.lease(r, now, d), 0
	}, b.wake)
}

func (b *inbox) Extend(ctx context.Context, l *Lease[Received], d time.Duration) (*Lease[Received], error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	r, err := b.held(l)
	if err != nil {
		return nil, err
	}
	r.at = time.Now().Add(d)
	b.queue.fix(r)
	b.wake.send()
	extended := *l
	extended.Until = r.at
	return &extended, nil
}

func (b *inbox) Ack(ctx context.Context, l *Lease[Received], replies ...Packet) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	r, err := b.held(l)
	if err != nil {
		return err
	}
	b.done(r, replies)
	return nil
}

// done marks an entry as handled.
func (b *inbox) done(r *received, replies []Packet) {
	r.replies = slices.Clone(replies)
	b.settle(r, Done)
}

func (b *inbox) Term(ctx context.Context, l *Lease[Received], reason string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	r, err := b.held(l)
	if err != nil {
		return err
	}
	r.lastError = reason
	b.settle(r, Buried)
	return nil
}

func (b *inbox) Nak(ctx context.Context, l *Lease[Received], delay time.Duration, reason string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	r, err := b.held(l)
	if err != nil {
		return err
	}
	if reason != "" {
		r.lastError = reason
	} else {
		r.attempts--
	}
	r.state, r.token, r.at = Waiting, 0, time.Now().Add(delay)
	b.queue.fix(r)
	b.wake.send()
	return nil
}

func (b *inbox) Remembered(ctx context.Context, sender string, ids []string) ([]string, error) {
	type found struct {
		id  string
		seq uint64
	}
	var known []found
	now := time.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, id := range ids {
		if r := b.byKey[keyOf(sender, id)]; r != nil && (r.past == nil || now.Before(r.Until)) {
			known = append(known, found{id, r.seq})
		}
	}
	slices.SortFunc(known, func(a, b found) int { return cmp.Compare(a.seq, b.seq) })
	list := make([]string, len(known))
	for i := range known {
		list[i] = known[i].id
	}
	return list, nil
}

// held returns the entry that l leases. A lease that has run out is lost even if the entry
// was not leased again.
func (b *inbox) held(l *Lease[Received]) (*received, error) {
	r := b.byKey[keyOf(l.Item.Sender, l.Item.ID)]
	if r == nil || l.Token == 0 || r.token != l.Token || !time.Now().Before(r.at) {
		return nil, ErrLease
	}
	return r, nil
}

// settle moves an entry to past, and enforces the limits of past.
func (b *inbox) settle(r *received, s State) {
	if r.index >= 0 {
		b.queue.remove(r)
		b.count(r, -1)
	}
	r.state, r.token = s, 0
	b.past.add(r)
	now := time.Now()
	for e := b.past.all.Front(); e != nil; e = b.past.all.Front() {
		oldest := e.Value.(*received)
		if now.Before(oldest.Until) {
			break
		}
		b.forget(oldest)
	}
	for b.past.all.Len() > b.cfg.MaxRemembered {
		b.forget(b.past.mostItems(b.cfg.MaxRemembered).past.Front().Value.(*received))
	}
	for b.past.kept > b.cfg.MaxKept {
		b.past.stripOldest(b.past.mostKept(b.cfg.MaxKept))
	}
}

// kept is how many bytes of packets an entry of past has.
func (r *received) kept() int64 {
	n := len(r.Packet.Data)
	for _, p := range r.replies {
		n += len(p.Data)
	}
	return int64(n)
}

// forget removes an entry of past.
func (b *inbox) forget(r *received) {
	b.past.remove(r)
	delete(b.byKey, r.key)
	delete(b.bySeq, r.seq)
}

func (r *received) known() *Known { return &Known{State: r.state, Replies: slices.Clone(r.replies)} }

func (b *inbox) List(ctx context.Context, after uint64, n int) ([]Entry[Received], error) {
	list := b.entries(func(r *received) bool { return r.seq > after })
	return list[:min(max(n, 0), len(list))], nil
}

func (b *inbox) Find(ctx context.Context, id string) ([]Entry[Received], error) {
	return b.entries(func(r *received) bool { return r.ID == id }), nil
}

// entries returns the wanted entries that have a packet.
func (b *inbox) entries(wanted func(*received) bool) []Entry[Received] {
	b.mu.Lock()
	defer b.mu.Unlock()
	var list []Entry[Received]
	for _, r := range b.byKey {
		if wanted(r) && len(r.Packet.Data) > 0 {
			list = append(list, Entry[Received]{
				Seq: r.seq, Item: r.Received, State: r.state, Due: r.at, Attempts: r.attempts, LastError: r.lastError,
			})
		}
	}
	slices.SortFunc(list, func(a, b Entry[Received]) int { return cmp.Compare(a.Seq, b.Seq) })
	return list
}

func (b *inbox) Retry(ctx context.Context, seq uint64) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	r := b.bySeq[seq]
	switch {
	case r == nil, r.state == Done, len(r.Packet.Data) == 0:
		return ErrNotFound
	case r.state == Buried:
		b.past.remove(r)
		r.lastError = ""
		b.push(r, time.Now())
	case r.state == Waiting:
		r.at = time.Now()
		b.queue.fix(r)
	default:
		return nil
	}
	r.attempts = 0
	b.wake.send()
	return nil
}

func (b *inbox) Drop(ctx context.Context, seq uint64) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	r := b.bySeq[seq]
	if r == nil || len(r.Packet.Data) == 0 {
		return ErrNotFound
	}
	if r.past == nil {
		b.settle(r, Buried)
	}
	if r.past != nil { // else its time has passed: settle forgot it
		b.past.strip(r)
	}
	return nil
}
