package store

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"
	"time"
)

// MailboxConfig has the limits of a Mailbox. Fields of 0 or less take the defaults.
type MailboxConfig struct {
	MaxItems    int   // packets in all boxes; default 10,000,000 (in memory 100,000)
	MaxBytes    int64 // bytes in all boxes; default 64 GiB (in memory 256 MiB)
	MaxBoxItems int   // packets in one box; default 10,000
	MaxBoxBytes int64 // bytes in one box; default 256 MiB (in memory 64 MiB)
}

// NewMailbox makes a Mailbox in memory.
func NewMailbox(cfg MailboxConfig) Mailbox {
	cfg.MaxItems = cmp.Or(max(cfg.MaxItems, 0), 100_000)
	cfg.MaxBytes = cmp.Or(max(cfg.MaxBytes, 0), 256<<20)
	cfg.MaxBoxItems = cmp.Or(max(cfg.MaxBoxItems, 0), 10_000)
	cfg.MaxBoxBytes = cmp.Or(max(cfg.MaxBoxBytes, 0), 64<<20)
	return &mailbox{cfg: cfg, boxes: make(map[string]*box), senders: make(map[string]share)}
}

var _ Mailbox = (*mailbox)(nil)

type mailbox struct {
	cfg MailboxConfig

	mu      sync.Mutex // guards all below
	all     share
	senders map[string]share
	boxes   map[string]*box // with mail, or with a Wait
	seq     uint64          // of the last deposit
	expires time.Time       // no mail expires before; zero if no mail expires
}

func (m *mailbox) Deposit(ctx context.Context, p Mail, names ...string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if len(names) == 0 {
		return ErrNoBox
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	names = slices.Compact(slices.Sorted(slices.Values(names)))
	names = slices.DeleteFunc(names, func(name string) bool {
		b := m.boxes[name]
		if b == nil {
			return false
		}
		m.sweep(b)
		m.close(name, b)
		return b.byID[p.ID] != nil
	})
	if len(names) == 0 {
		return ErrExists
	}
	if m.room(&p, names) != nil {
		m.sweepAll()
		if err := m.room(&p, names); err != nil {
			return err
		}
	}
	// Times with a reading of the monotonic clock do not change when the clock is set.
	now := time.Now()
	due, expires := monotonic(now, p.Due), monotonic(now, p.Expires)
	p.Deliveries = 0
	p.Due, p.BoxShare, p.PairShare, p.SenderShare = time.Time{}, Share{}, Share{}, Share{}
	m.seq++
	for _, name := range names {
		b := m.open(name)
		m.count(b, &p, 1)
		b.add(&mail{Mail: p, seq: m.seq, until: due, expires: expires})
	}
	expect(&m.expires, expires)
	return nil
}

// room tells which limit has no room for a packet in these boxes.
func (m *mailbox) room(p *Mail, names []string) error {
	n := int64(len(p.Packet.Data))
	all := share{len(names), n * int64(len(names))}
	var fullPair, fullBox bool
	for _, name := range names {
		pair, box := share{1, n}, share{1, n}
		if b := m.boxes[name]; b != nil {
			box.add(b.items, b.bytes)
			if has := b.senders[p.Sender]; has != nil {
				pair.add(has.items, has.bytes)
			}
		}
		fullPair = fullPair || !p.PairShare.Allows(pair.items, pair.bytes)
		fullBox = fullBox || !p.BoxShare.Allows(box.items, box.bytes) || box.items > m.cfg.MaxBoxItems || box.bytes > m.cfg.MaxBoxBytes
	}
	sender := m.senders[p.Sender]
	sender.add(all.items, all.bytes)
	all.add(m.all.items, m.all.bytes)
	switch {
	case fullPair:
		return &LimitError{LimitPair}
	case !p.SenderShare.Allows(sender.items, sender.bytes):
		return &LimitError{LimitSender}
	case fullBox:
		return &LimitError{LimitBox}
	case all.items > m.cfg.MaxItems, all.bytes > m.cfg.MaxBytes:
		return &LimitError{LimitStore}
	}
	return nil
}

func (m *mailbox) Lease(ctx context.Context, name string, p Pick, d time.Duration) ([]Mail, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	b := m.boxes[name]
	if b == nil {
		return nil, nil
	}
	m.sweep(b)
	now := time.Now()
	var leased []Mail
	for _, c := range b.pick(p, now) {
		c.until = now.Add(d)
		c.Deliveries++
		leased = append(leased, c.Mail)
	}
	m.close(name, b)
	return leased, nil
}

func (m *mailbox) Ack(ctx context.Context, name string, ids ...string) (int, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	b := m.boxes[name]
	if b == nil {
		return 0, nil
	}
	gone := make(map[*mail]bool, len(ids))
	for _, id := range ids {
		if p := b.byID[id]; p != nil {
			gone[p] = true
		}
	}
	n := m.remove(b, func(p *mail) bool { return gone[p] })
	m.close(name, b)
	return n, nil
}

func (m *mailbox) Nak(ctx context.Context, name string, ids ...string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	b := m.boxes[name]
	if b == nil {
		return nil
	}
	if len(ids) == 0 {
		ids = slices.Collect(maps.Keys(b.byID))
	}
	for _, id := range ids {
		if p := b.byID[id]; p != nil && p.Deliveries > 0 {
			p.until = time.Time{}
		}
	}
	b.wake()
	return nil
}

func (m *mailbox) Status(ctx context.Context, name string, names ...string) (MailboxStatus, error) {
	if err := ctx.Err(); err != nil {
		return MailboxStatus{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.status(name, names), nil
}

func (m *mailbox) status(name string, names []string) MailboxStatus {
	b := m.boxes[name]
	if b == nil {
		return MailboxStatus{}
	}
	m.sweep(b)
	m.close(name, b)
	return b.status(names)
}

func (m *mailbox) Wait(ctx context.Context, name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	b := m.open(name)
	b.waiters++
	defer func() {
		b.waiters--
		m.close(name, b)
	}()
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		m.sweep(b)
		now, next := time.Now(), time.Time{}
		for _, p := range b.mail {
			if !now.Before(p.until) {
				return nil
			}
			if next.IsZero() || p.until.Before(next) {
				next = p.until
			}
		}
		var due <-chan time.Time
		if !next.IsZero() {
			due = time.After(next.Sub(now))
		}
		changed := b.changed
		m.mu.Unlock()
		select {
		case <-ctx.Done():
		case <-changed:
		case <-due:
		}
		m.mu.Lock()
	}
}

func (m *mailbox) Boxes(ctx context.Context, after string, n int) ([]BoxStatus, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	var list []BoxStatus
	for _, name := range slices.Sorted(maps.Keys(m.boxes)) {
		if len(list) >= n {
			break
		}
		if name <= after {
			continue
		}
		if s := m.status(name, nil); s.Count > 0 {
			list = append(list, BoxStatus{name, s})
		}
	}
	return list, nil
}

func (m *mailbox) Purge(ctx context.Context, name string, names ...string) (int, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	b := m.boxes[name]
	if b == nil {
		return 0, nil
	}
	m.sweep(b)
	n := m.remove(b, func(p *mail) bool { return p.isFor(names) })
	m.close(name, b)
	return n, nil
}

// open returns the box of that name, and makes it if there is none.
func (m *mailbox) open(name string) *box {
	b := m.boxes[name]
	if b == nil {
		b = &box{byID: make(map[string]*mail), senders: make(map[string]*pair), changed: make(chan struct{})}
		m.boxes[name] = b
	}
	return b
}

// close removes a box that is empty and has no Wait.
func (m *mailbox) close(name string, b *box) {
	if len(b.mail) == 0 && b.waiters == 0 {
		delete(m.boxes, name)
	}
}

// count adds n times a packet to what its sender has, in the box and in all boxes, and to what
// the box and the store have.
func (m *mailbox) count(b *box, p *Mail, n int) {
	bytes := int64(n) * int64(len(p.Packet.Data))
	m.all.add(n, bytes)
	b.share.add(n, bytes)
	in, all := b.senders[p.Sender], m.senders[p.Sender]
	if in == nil {
		in = new(pair)
		b.senders[p.Sender] = in
	}
	in.add(n, bytes)
	if in.items == 0 {
		delete(b.senders, p.Sender)
	}
	all.add(n, bytes)
	m.senders[p.Sender] = all
	if all.items == 0 {
		delete(m.senders, p.Sender)
	}
}

// sweep drops the expired mail of a box.
func (m *mailbox) sweep(b *box) {
	now := time.Now()
	if b.expires.IsZero() || now.Before(b.expires) {
		return
	}
	m.remove(b, func(p *mail) bool { return !p.expires.IsZero() && !now.Before(p.expires) })
	b.expires = time.Time{}
	for _, p := range b.mail {
		expect(&b.expires, p.expires)
	}
}

// sweepAll drops the expired mail of all boxes.
func (m *mailbox) sweepAll() {
	if m.expires.IsZero() || time.Now().Before(m.expires) {
		return
	}
	m.expires = time.Time{}
	for name, b := range m.boxes {
		m.sweep(b)
		expect(&m.expires, b.expires)
		m.close(name, b)
	}
}

// remove removes mail of a box, and returns how much.
func (m *mailbox) remove(b *box, gone func(*mail) bool) int {
	n := len(b.mail)
	b.mail = slices.DeleteFunc(b.mail, func(p *mail) bool {
		if !gone(p) {
			return false
		}
		delete(b.byID, p.ID)
		m.count(b, &p.Mail, -1)
		return true
	})
	if len(b.mail) == 0 {
		b.turn = 0
	}
	return n - len(b.mail)
}

// expect notes a time at which mail expires, if it is before first.
func expect(first *time.Time, at time.Time) {
	if !at.IsZero() && (first.IsZero() || at.Before(*first)) {
		*first = at
	}
}

// monotonic returns t with a reading of the monotonic clock, and the zero time as it is. Such a
// time does not move when the clock of the machine is set.
func monotonic(now, t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return now.Add(t.Sub(now))
}
