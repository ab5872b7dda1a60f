package sqlstore

import (
	"context"
	"database/sql"
	"encoding/hex"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/didcomm-go/didcomm/agent/store"
)

// Mailbox is a [store.Mailbox].
type Mailbox struct {
	w     *writer
	read  *statements
	table *mailTable
	poll  bool // Wait looks every fallback, in case a notice was lost

	mu      sync.Mutex                      // guards all below
	waiters map[string]map[*mailWaiter]bool // by short hash of the box
	closed  bool
}

var _ store.Mailbox = (*Mailbox)(nil)

// mailWaiter is one call of Wait.
type mailWaiter struct{ wake chan struct{} }

// The operations of a mailTable.
type (
	deposit struct {
		box, id                 string
		received, expires, size int64
		names, data             []byte
	}
	leaseMail struct {
		box  string
		n    int
		d    time.Duration
		mail []store.Mail // the answer
	}
	ackMail struct {
		box string
		ids []string
		n   int // the answer
	}
	nakMail struct {
		box string
		ids []string
	}
)

func (d *deposit) bytes() int { return len(d.data) }

// Deposit implements store.Mailbox.
func (m *Mailbox) Deposit(ctx context.Context, p store.Mail, boxes ...string) error {
	if len(boxes) == 0 {
		return store.ErrNoBox
	}
	for _, box := range boxes {
		err := m.w.do(ctx, m.table, &deposit{
			box: key(box), id: key(p.ID), received: toMicros(p.Time), expires: toMicros(p.Expires), size: int64(len(p.Packet.Data)),
			names: encodeNames(p.ID, p.For, p.Packet.MediaType), data: orEmpty(p.Packet.Data),
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// Lease implements store.Mailbox.
func (m *Mailbox) Lease(ctx context.Context, box string, p store.Pick, d time.Duration) ([]store.Mail, error) {
	r := &leaseMail{box: key(box), n: p.N, d: d}
	// A query is cheaper than a transaction that finds no mail.
	if due, err := m.due(ctx, r.box); err != nil || p.N <= 0 || due > time.Now().UnixMicro() {
		return nil, err
	}
	if err := m.w.do(ctx, m.table, r); err != nil {
		return nil, err
	}
	return r.mail, nil
}

// Ack implements store.Mailbox.
func (m *Mailbox) Ack(ctx context.Context, box string, ids ...string) (int, error) {
	r := &ackMail{box: key(box), ids: keysOf(ids)}
	err := m.w.do(ctx, m.table, r)
	return r.n, err
}

// Nak implements store.Mailbox.
func (m *Mailbox) Nak(ctx context.Context, box string, ids ...string) error {
	return m.w.do(ctx, m.table, &nakMail{box: key(box), ids: keysOf(ids)})
}

func keysOf(names []string) []string {
	keys := make([]string, len(names))
	for i, name := range names {
		keys[i] = key(name)
	}
	return keys
}

// Status implements store.Mailbox.
func (m *Mailbox) Status(ctx context.Context, name string, names ...string) (store.MailboxStatus, error) {
	var (
		s        store.MailboxStatus
		expires  int64
		box, now = key(name), time.Now().UnixMicro()
	)
	err := m.read.query(ctx, func(rows *sql.Rows) error { return rows.Scan(&s.Count, &s.Bytes, &expires) },
		"SELECT items, bytes, expires FROM mailbox WHERE box = ?", box)
	if err == nil && s.Count > 0 && expires <= now {
		// Expired mail is still in the table, and in the counts.
		err = m.read.query(ctx, func(rows *sql.Rows) error {
			var count int
			var bytes int64
			err := rows.Scan(&count, &bytes)
			s.Count, s.Bytes = s.Count-count, s.Bytes-bytes
			return err
		}, "SELECT COUNT(*), CAST(COALESCE(SUM(size), 0) AS BIGINT) FROM mail WHERE box = ? AND expires > 0 AND expires <= ?", box, now)
	}
	if err == nil && s.Count > 0 {
		err = m.ends(ctx, box, now, &s)
	}
	if err != nil {
		return store.MailboxStatus{}, m.w.readError(ctx, err)
	}
	return s, nil
}

// ends finds the times of the oldest and the newest mail of a box.
func (m *Mailbox) ends(ctx context.Context, box string, now int64, s *store.MailboxStatus) error {
	for _, end := range []struct {
		time         *time.Time
		order, which string
	}{{&s.Oldest, "", "MIN"}, {&s.Newest, " DESC", "MAX"}} {
		err := m.read.query(ctx, func(rows *sql.Rows) error {
			var received int64
			err := rows.Scan(&received)
			*end.time = fromMicros(received)
			return err
		}, `SELECT received FROM mail WHERE seq = (SELECT `+end.which+`(seq) FROM (
			SELECT * FROM (SELECT seq FROM mail WHERE box = ? AND due = 0 AND (expires = 0 OR expires > ?) ORDER BY seq`+end.order+` LIMIT 1) f
			UNION ALL SELECT `+end.which+`(seq) FROM mail WHERE box = ? AND due > 0 AND (expires = 0 OR expires > ?)) e)`, box, now, box, now)
		if err != nil {
			return err
		}
	}
	return nil
}

// due is when the next mail of a box can be leased, or never.
func (m *Mailbox) due(ctx context.Context, box string) (int64, error) {
	now := time.Now().UnixMicro()
	var due int64
	err := m.read.query(ctx, func(rows *sql.Rows) error { return rows.Scan(&due) }, `SELECT COALESCE(
		(SELECT 0 FROM mail WHERE box = ? AND due = 0 AND (expires = 0 OR expires > ?) ORDER BY seq LIMIT 1),
		(SELECT MIN(due) FROM mail WHERE box = ? AND due > 0 AND (expires = 0 OR expires > ?)), 9223372036854775807)`, box, now, box, now)
	return due, m.w.readError(ctx, err)
}

// Boxes implements store.Mailbox.
func (m *Mailbox) Boxes(ctx context.Context, after string, n int) ([]store.BoxStatus, error) {
	return nil, errors.ErrUnsupported
}

// Purge implements store.Mailbox.
func (m *Mailbox) Purge(ctx context.Context, box string, names ...string) (int, error) {
	return 0, errors.ErrUnsupported
}

// Wait implements store.Mailbox.
func (m *Mailbox) Wait(ctx context.Context, box string) error {
	box = key(box)
	w := &mailWaiter{wake: make(chan struct{}, 1)}
	if !m.enter(shortHash(box), w) {
		return ErrClosed
	}
	defer m.leave(shortHash(box), w)
	for {
		due, err := m.due(ctx, box)
		if err != nil {
			if f := m.w.db.Fault(err); f != Lost && f != Refused || ctx.Err() != nil {
				return err
			}
			due = time.Now().Add(time.Second).UnixMicro() // the server may come back
		}
		wait := time.Duration(min(due-time.Now().UnixMicro(), time.Hour.Microseconds())) * time.Microsecond
		if wait <= 0 {
			return ctx.Err()
		}
		if m.poll {
			wait = min(wait, m.w.fallback)
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-w.wake:
		case <-timer.C:
		}
		timer.Stop()
		m.mu.Lock()
		closed := m.closed
		m.mu.Unlock()
		if closed {
			return ErrClosed
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
}

func (m *Mailbox) enter(hash string, w *mailWaiter) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return false
	}
	if m.waiters == nil {
		m.waiters = make(map[string]map[*mailWaiter]bool)
	}
	if m.waiters[hash] == nil {
		m.waiters[hash] = make(map[*mailWaiter]bool)
	}
	m.waiters[hash][w] = true
	m.w.addWaiters(1)
	return true
}

func (m *Mailbox) leave(hash string, w *mailWaiter) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.waiters[hash], w)
	if len(m.waiters[hash]) == 0 {
		delete(m.waiters, hash)
	}
	m.w.addWaiters(-1)
}

// wake wakes the calls of Wait for the boxes with these hashes.
func (m *Mailbox) wake(hashes []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, hash := range hashes {
		for w := range m.waiters[hash] {
			w.signal()
		}
	}
}

func (m *Mailbox) wakeAll() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, waiters := range m.waiters {
		for w := range waiters {
			w.signal()
		}
	}
}

func (w *mailWaiter) signal() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// A notice of mail is mailNotice followed by the short hashes of the boxes. PostgreSQL
// takes at most 8,000 bytes. If the hashes do not fit, the notice has none, and is for all
// boxes.
const (
	mailNotice = "mail"
	maxBoxes   = 800
	hashLen    = 8
)

func shortHash(box string) string { return hex.EncodeToString(hash(box)[:hashLen/2]) }

func noticeOf(hashes []string) string {
	if len(hashes) > maxBoxes {
		return mailNotice
	}
	return mailNotice + strings.Join(hashes, "")
}

// heard acts on a notice of another process.
func (m *Mailbox) heard(notice string) {
	rest, ok := strings.CutPrefix(notice, mailNotice)
	switch {
	case !ok:
	case rest == "":
		m.wakeAll()
	default:
		var hashes []string
		for ; len(rest) >= hashLen; rest = rest[hashLen:] {
			hashes = append(hashes, rest[:hashLen])
		}
		m.wake(hashes)
	}
}

// close makes all calls of Wait return ErrClosed.
func (m *Mailbox) close() {
	m.mu.Lock()
	m.closed = true
	m.mu.Unlock()
	m.wakeAll()
}
