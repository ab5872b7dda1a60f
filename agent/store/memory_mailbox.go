package store

import (
	"cmp"
	"context"
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
	return &mailbox{cfg: cfg, boxes: make(map[string]*box)}
}

var _ Mailbox = (*mailbox)(nil)

type mailbox struct {
	cfg MailboxConfig

	mu      sync.Mutex // guards all below
	all     share
	boxes   map[string]*box // with mail, or with a Wait
	expires time.Time       // no mail expires before; zero if no mail expires
}

type box struct {
	share
	mail    []*mail // oldest first
	waiters int
	changed chan struct{} // closed, and replaced, when there may be mail to lease
}

type mail struct {
	Mail
	until time.Time // end of the lease; zero if there is none
}

func (m *mailbox) Deposit(ctx context.Context, name string, p Mail) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	n := int64(len(p.Packet.Data))
	full := func() bool { return m.all.items+1 > m.cfg.MaxItems || m.all.bytes+n > m.cfg.MaxBytes }
	if full() {
		m.sweepAll()
	}
	b := m.open(name)
	m.sweep(b)
	switch {
	case slices.ContainsFunc(b.mail, func(old *mail) bool { return old.ID == p.ID }):
		return ErrExists
	case full(), b.items+1 > m.cfg.MaxBoxItems, b.bytes+n > m.cfg.MaxBoxBytes:
		m.close(name, b)
		return ErrFull
	}
	b.mail = append(b.mail, &mail{Mail: p})
	m.count(b, 1, n)
	m.expect(p.Expires)
	b.wake()
	return nil
}

func (m *mailbox) Lease(ctx context.Context, name string, n int, d time.Duration) ([]Mail, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	b := m.boxes[name]
	if b == nil {
		return nil, nil
	}
	m.sweep(b)
	now := time.Now()
	var leased []Mail
	for _, p := range b.mail {
		if len(leased) >= n {
			break
		}
		if !now.Before(p.until) {
			p.until = now.Add(d)
			leased = append(leased, p.Mail)
		}
	}
	m.close(name, b)
	return leased, nil
}

func (m *mailbox) Ack(ctx context.Context, name string, ids ...string) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	b := m.boxes[name]
	if b == nil {
		return 0, nil
	}
	n := len(b.mail)
	m.remove(b, func(p *mail) bool { return slices.Contains(ids, p.ID) })
	n -= len(b.mail)
	m.close(name, b)
	return n, nil
}

func (m *mailbox) Nak(ctx context.Context, name string, ids ...string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	b := m.boxes[name]
	if b == nil {
		return nil
	}
	for _, p := range b.mail {
		if slices.Contains(ids, p.ID) {
			p.until = time.Time{}
		}
	}
	b.wake()
	return nil
}

func (m *mailbox) Status(ctx context.Context, name string) (MailboxStatus, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	b := m.boxes[name]
	if b == nil {
		return MailboxStatus{}, nil
	}
	m.sweep(b)
	s := MailboxStatus{Count: b.items, Bytes: b.bytes}
	if len(b.mail) > 0 {
		s.Oldest, s.Newest = b.mail[0].Time, b.mail[len(b.mail)-1].Time
	}
	m.close(name, b)
	return s, nil
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

// open returns the box of that name, and makes it if there is none.
func (m *mailbox) open(name string) *box {
	b := m.boxes[name]
	if b == nil {
		b = &box{changed: make(chan struct{})}
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

func (m *mailbox) count(b *box, items int, bytes int64) {
	b.items, b.bytes = b.items+items, b.bytes+bytes
	m.all.items, m.all.bytes = m.all.items+items, m.all.bytes+bytes
}

// sweep drops the expired mail of a box.
func (m *mailbox) sweep(b *box) {
	now := time.Now()
	m.remove(b, func(p *mail) bool { return !p.Expires.IsZero() && now.After(p.Expires) })
}

// sweepAll drops the expired mail of all boxes.
func (m *mailbox) sweepAll() {
	if m.expires.IsZero() || time.Now().Before(m.expires) {
		return
	}
	m.expires = time.Time{}
	for name, b := range m.boxes {
		m.sweep(b)
		for _, p := range b.mail {
			m.expect(p.Expires)
		}
		m.close(name, b)
	}
}

// expect notes a time at which mail expires.
func (m *mailbox) expect(at time.Time) {
	if !at.IsZero() && (m.expires.IsZero() || at.Before(m.expires)) {
		m.expires = at
	}
}

func (m *mailbox) remove(b *box, gone func(*mail) bool) {
	b.mail = slices.DeleteFunc(b.mail, func(p *mail) bool {
		if !gone(p) {
			return false
		}
		m.count(b, -1, -int64(len(p.Packet.Data)))
		return true
	})
}

func (b *box) wake() {
	close(b.changed)
	b.changed = make(chan struct{})
}
