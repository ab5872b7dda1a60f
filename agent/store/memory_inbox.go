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

// InboxConfig bounds an inbox. Zero fields take the defaults. What waits to be
// handled counts towards the first four, what was handled towards the others.
type InboxConfig struct {
	MaxItems     int   // messages that wait; default 1,000,000 (in memory 10,000)
	MaxBytes     int64 // bytes of messages that wait; default 4 GiB (in memory 256 MiB)
	MaxPeerItems int   // messages of one peer that wait; default a quarter of MaxItems
	MaxPeerBytes int64 // bytes of messages of one peer that wait; default a quarter of MaxBytes
	// MaxRemembered is how many handled messages are remembered at most, the
	// youngest; default 10,000,000 (in memory 65,536).
	MaxRemembered int
	// MaxKept is how many bytes of handled messages are kept with them, the
	// youngest; default 4 GiB (in memory 64 MiB).
	MaxKept int64
}

// NewInbox makes an Inbox in memory, which is an InboxAdmin too. Each operation
// costs O(log n) in the number of messages that wait, but those of InboxAdmin.
func NewInbox(cfg InboxConfig) Inbox { return newInbox(cfg, new(sync.Mutex)) }

func newInbox(cfg InboxConfig, mu *sync.Mutex) *inbox {
	cfg.MaxItems = cmp.Or(max(cfg.MaxItems, 0), 10_000)
	cfg.MaxBytes = cmp.Or(max(cfg.MaxBytes, 0), 256<<20)
	cfg.MaxPeerItems = cmp.Or(max(cfg.MaxPeerItems, 0), max(1, cfg.MaxItems/peerShare))
	cfg.MaxPeerBytes = cmp.Or(max(cfg.MaxPeerBytes, 0), max(1, cfg.MaxBytes/peerShare))
	cfg.MaxRemembered = cmp.Or(max(cfg.MaxRemembered, 0), 1<<16)
	cfg.MaxKept = cmp.Or(max(cfg.MaxKept, 0), 64<<20)
	return &inbox{
		cfg:   cfg,
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

	mu    *sync.Mutex // guards all below; New shares it with other parts
	seq   uint64
	token uint64
	byKey map[inboxKey]*received
	bySeq map[uint64]*received
	queue indexedHeap[*received] // what is to be handled
	all   share                  // of that
	peers map[string]share
	owned map[string]share
	past  list.List // of *received that are done or buried, oldest first
	kept  int64     // bytes of packets of past
	bare  *list.Element
}

// inboxKey is a digest, so that an entry costs the same however long an id is.
type inboxKey [sha256.Size]byte

// share is a part of the inbox.
type share struct {
	items int
	bytes int64
}

type received struct {
	Received
	key       inboxKey
	seq       uint64
	state     State
	at        time.Time // due, or the lease's end
	token     uint64    // of the lease, 0 if it waits
	attempts  int
	lastError string
	replies   []Packet
	index     int           // in queue, -1 when past
	past      *list.Element // nil when in queue
}

func (r *received) place() *int { return &r.index }

func (r *received) before(other *received) bool {
	if r.at.Equal(other.at) {
		return r.seq < other.seq
	}
	return r.at.Before(other.at)
}

// keyOf hashes both parts with the length of the first before them, so that no
// two pairs run together.
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
		m.Owner != "" && !ofOwner.Allows(owner.items+1, owner.bytes+n) {
		return nil, nil, ErrFull
	}
	b.enter(r)
	b.push(r, now)
	return b.lease(r, now, d), nil, nil
}

// enter gives an entry its number and name.
func (b *inbox) enter(r *received) {
	b.seq++
	r.seq = b.seq
	b.byKey[r.key], b.bySeq[r.seq] = r, r
}

// push makes an entry one to be handled.
func (b *inbox) push(r *received, at time.Time) {
	b.count(r, 1)
	r.state, r.at = Waiting, at
	b.queue.add(r)
}

func (b *inbox) count(r *received, sign int) {
	n := int64(sign * len(r.Packet.Data))
	b.all.items, b.all.bytes = b.all.items+sign, b.all.bytes+n
	tally(b.peers, r.Peer, sign, n)
	if r.Owner != "" {
		tally(b.owned, r.Owner, sign, n)
	}
}

// tally adds to what a party has, and forgets a party that has nothing left.
func tally(shares map[string]share, party string, items int, bytes int64) {
	s := shares[party]
	if s.items, s.bytes = s.items+items, s.bytes+bytes; s.items == 0 {
		delete(shares, party)
	} else {
		shares[party] = s
	}
}

// lease hands out an entry of the queue.
func (b *inbox) lease(r *received, now time.Time, d time.Duration) *Lease[Received] {
	b.token++
	r.state, r.token, r.at = Leased, b.token, now.Add(d)
	b.queue.fix(r)
	l := &Lease[Received]{Item: r.Received, Until: r.at, Attempts: r.attempts, LastError: r.lastError, Token: r.token}
	r.attempts++
	b.wake.send() // for what else is due, and to watch over this lease
	return l
}

func (b *inbox) Lease(ctx context.Context, d time.Duration) (*Lease[Received], error) {
	return await(ctx, b.wake, func() (*Lease[Received], time.Duration) {
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
	})
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

// done ends the lease of an entry that was handled.
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

// held returns the entry that is leased by that lease. A lease past its time is
// lost even if nobody has taken the entry since.
func (b *inbox) held(l *Lease[Received]) (*received, error) {
	r := b.byKey[keyOf(l.Item.Sender, l.Item.ID)]
	if r == nil || l.Token == 0 || r.token != l.Token || !time.Now().Before(r.at) {
		return nil, ErrLease
	}
	return r, nil
}

// settle moves an entry to the past, and forgets what has no place there.
func (b *inbox) settle(r *received, s State) {
	if r.index >= 0 {
		b.queue.remove(r)
		b.count(r, -1)
	}
	r.state, r.token = s, 0
	r.past = b.past.PushBack(r)
	b.kept += r.kept()
	now := time.Now()
	for e := b.past.Front(); e != nil; e = b.past.Front() {
		oldest := e.Value.(*received)
		if b.past.Len() <= b.cfg.MaxRemembered && now.Before(oldest.Until) {
			break
		}
		b.forget(oldest)
	}
	// bare is the youngest entry that has lost its packets, and so have all
	// before it.
	for b.kept > b.cfg.MaxKept {
		if b.bare == nil {
			b.bare = b.past.Front()
		} else {
			b.bare = b.bare.Next()
		}
		b.strip(b.bare.Value.(*received))
	}
}

// kept is what an entry of the past holds besides its name.
func (r *received) kept() int64 {
	n := len(r.Packet.Data)
	for _, p := range r.replies {
		n += len(p.Data)
	}
	return int64(n)
}

func (b *inbox) strip(r *received) {
	b.kept -= r.kept()
	r.Packet.Data, r.replies = nil, nil
}

// leave takes an entry out of the past.
func (b *inbox) leave(r *received) {
	if b.bare == r.past {
		b.bare = r.past.Prev()
	}
	b.kept -= r.kept()
	b.past.Remove(r.past)
	r.past = nil
}

// forget removes an entry of the past.
func (b *inbox) forget(r *received) {
	b.leave(r)
	delete(b.byKey, r.key)
	delete(b.bySeq, r.seq)
}

func (r *received) known() *Known { return &Known{State: r.state, Replies: slices.Clone(r.replies)} }

func (b *inbox) List(ctx context.Context, after uint64, n int) ([]Entry[Received], error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var list []Entry[Received]
	for _, r := range b.byKey {
		if r.seq > after && len(r.Packet.Data) > 0 {
			list = append(list, Entry[Received]{
				Seq: r.seq, Item: r.Received, State: r.state, Due: r.at, Attempts: r.attempts, LastError: r.lastError,
			})
		}
	}
	slices.SortFunc(list, func(a, b Entry[Received]) int { return cmp.Compare(a.Seq, b.Seq) })
	return list[:min(max(n, 0), len(list))], nil
}

func (b *inbox) Retry(ctx context.Context, seq uint64) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	r := b.bySeq[seq]
	switch {
	case r == nil, r.state == Done, len(r.Packet.Data) == 0:
		return ErrNotFound
	case r.state == Buried:
		b.leave(r)
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
		b.strip(r)
	}
	return nil
}
