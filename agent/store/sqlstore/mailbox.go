package sqlstore

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/hex"
	"slices"
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

// The operations of a mailTable. Names are keys.
type (
	deposit struct {
		boxes                        []boxName
		id, sender, recipient        string
		received, due, expires, size int64
		ofBox, ofPair, ofSender      store.Share
		names, data                  []byte
	}
	leaseMail struct {
		box        string
		recipients []string // none for all
		pick       store.Pick
		d          time.Duration
		mail       []store.Mail // the answer
	}
	ackMail struct {
		box string
		ids []string
		n   int // the answer
	}
	nakMail struct {
		box string
		ids []string // none for all
	}
	purgeMail struct {
		box        string
		recipients []string // none for all
		last       int64    // the seq of the last packet
		n          int      // the answer
		more       bool     // there may be more packets to remove
	}
)

// boxName is a box, by its key. name is the name of the box if the key is a hash.
type boxName struct {
	key  string
	name []byte
}

func (d *deposit) bytes() int { return len(d.data) }

// Deposit implements store.Mailbox.
func (m *Mailbox) Deposit(ctx context.Context, p store.Mail, boxes ...string) error {
	if len(boxes) == 0 {
		return store.ErrNoBox
	}
	d := &deposit{
		id: key(p.ID), sender: key(p.Sender), recipient: key(p.For),
		received: toMicros(p.Time), due: toMicros(p.Due), expires: toMicros(p.Expires), size: int64(len(p.Packet.Data)),
		ofBox: p.BoxShare, ofPair: p.PairShare, ofSender: p.SenderShare,
		names: encodeOwned(p.Sender, p.ID, p.For, p.Packet.MediaType), data: orEmpty(p.Packet.Data),
	}
	for _, name := range slices.Compact(slices.Sorted(slices.Values(boxes))) {
		b := boxName{key: key(name)}
		if b.key != name {
			b.name = []byte(name)
		}
		d.boxes = append(d.boxes, b)
	}
	return m.w.do(ctx, m.table, d)
}

// Lease implements store.Mailbox.
func (m *Mailbox) Lease(ctx context.Context, box string, p store.Pick, d time.Duration) ([]store.Mail, error) {
	r := &leaseMail{box: key(box), recipients: keysOf(p.For), pick: p, d: d}
	// A query is cheaper than a transaction that finds no mail.
	due, err := m.due(ctx, r.box, p.Held)
	if err != nil || p.N <= 0 || due > time.Now().UnixMicro() {
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

// keysOf returns the keys of names, each once.
func keysOf(names []string) []string {
	keys := make([]string, len(names))
	for i, name := range names {
		keys[i] = key(name)
	}
	slices.Sort(keys)
	return slices.Compact(keys)
}

// Purge implements store.Mailbox.
func (m *Mailbox) Purge(ctx context.Context, box string, names ...string) (int, error) {
	r := &purgeMail{box: key(box), recipients: keysOf(names)}
	last, err := number(ctx, m.read, "SELECT COALESCE(MAX(seq), 0) FROM mail WHERE box = ?", r.box)
	if err != nil {
		return 0, m.w.readError(ctx, err)
	}
	n := 0
	for r.last, r.more = last, last > 0; r.more; n += r.n {
		step := *r
		if err := m.w.do(ctx, m.table, &step); err != nil {
			return n, err
		}
		r.n, r.more = step.n, step.more
	}
	return n, nil
}

// Status implements store.Mailbox.
func (m *Mailbox) Status(ctx context.Context, box string, names ...string) (store.MailboxStatus, error) {
	return m.status(ctx, key(box), keysOf(names))
}

func (m *Mailbox) status(ctx context.Context, box string, recipients []string) (all store.MailboxStatus, err error) {
	now := time.Now().UnixMicro()
	each := func(rows *sql.Rows) error {
		var s store.MailboxStatus
		err := rows.Scan(&s.Count, &s.Bytes, &s.Leased)
		all.Count, all.Bytes, all.Leased = all.Count+s.Count, all.Bytes+s.Bytes, all.Leased+s.Leased
		return err
	}
	if len(recipients) == 0 {
		err = m.read.query(ctx, each, "SELECT items, bytes, tried FROM mailbox WHERE box = ?", box)
	} else {
		err = m.read.queryRows(ctx, each, "WITH r(party TEXT) SELECT p.items, p.bytes, p.tried FROM r JOIN mail_party p ON p.party = r.party WHERE p.box = ?",
			cols{recipientParties(recipients)}, box)
	}
	if err == nil && all.Count > 0 {
		err = m.withoutExpired(ctx, box, recipients, now, &all)
	}
	if err == nil && all.Count > 0 {
		err = m.ends(ctx, box, recipients, now, &all)
	}
	if err != nil {
		return store.MailboxStatus{}, m.w.readError(ctx, err)
	}
	return all, nil
}

// withoutExpired takes expired mail out of the counts, which is still in the table.
func (m *Mailbox) withoutExpired(ctx context.Context, box string, recipients []string, now int64, s *store.MailboxStatus) error {
	return m.read.query(ctx, func(rows *sql.Rows) error {
		var recipient string
		var count, leased int
		var bytes int64
		err := rows.Scan(&recipient, &count, &bytes, &leased)
		if len(recipients) == 0 || slices.Contains(recipients, recipient) {
			s.Count, s.Bytes, s.Leased = s.Count-count, s.Bytes-bytes, s.Leased-leased
		}
		return err
	}, `SELECT recipient, COUNT(*), CAST(SUM(size) AS BIGINT), SUM(CASE WHEN deliveries > 0 THEN 1 ELSE 0 END)
		FROM mail WHERE box = ? AND expires > 0 AND expires <= ? GROUP BY recipient`, box, now)
}

// ends finds the times of the first and the last deposit of the mail of a box.
func (m *Mailbox) ends(ctx context.Context, box string, recipients []string, now int64, s *store.MailboxStatus) error {
	var first, last int64
	look := func(recipient, where, order string, args ...any) error {
		return m.read.query(ctx, func(rows *sql.Rows) error {
			var of string
			var seq, received int64
			if err := rows.Scan(&of, &seq, &received); err != nil || len(recipients) > 0 && of != recipient {
				return err
			}
			if first == 0 || seq < first {
				first, s.Oldest = seq, fromMicros(received)
			}
			if seq > last {
				last, s.Newest = seq, fromMicros(received)
			}
			return nil
		}, "SELECT recipient, seq, received FROM mail WHERE box = ? AND (expires = 0 OR expires > ?)"+where+" ORDER BY "+order+" LIMIT 1",
			append([]any{box, now}, args...)...)
	}
	if len(recipients) == 0 {
		return cmp.Or(look("", "", "seq"), look("", "", "seq DESC"))
	}
	for _, recipient := range recipients {
		// With an order by the recipient, PostgreSQL cannot read the mail of all recipients.
		// Where a recipient has no mail, the query finds that of the next one.
		err := look(recipient, " AND (recipient, seq) >= (?, 0)", "recipient, seq", recipient)
		if err == nil {
			err = look(recipient, " AND (recipient, seq) <= (?, 9223372036854775807)", "recipient DESC, seq DESC", recipient)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Boxes implements store.Mailbox.
func (m *Mailbox) Boxes(ctx context.Context, after string, n int) ([]store.BoxStatus, error) {
	var list []store.BoxStatus
	for last := key(after); len(list) < n; {
		var names []boxName
		err := m.read.query(ctx, func(rows *sql.Rows) error {
			var b boxName
			err := rows.Scan(&b.key, &b.name)
			names = append(names, b)
			return err
		}, "SELECT box, name FROM mailbox WHERE box > ? ORDER BY box LIMIT ? + 0", last, n-len(list))
		if err != nil {
			return nil, m.w.readError(ctx, err)
		}
		if len(names) == 0 {
			break
		}
		for _, b := range names {
			s, err := m.status(ctx, b.key, nil)
			if err != nil {
				return nil, err
			}
			// A box may have only mail that has expired.
			if s.Count > 0 {
				list = append(list, store.BoxStatus{Box: cmp.Or(string(b.name), b.key), MailboxStatus: s})
			}
			last = b.key
		}
	}
	return list, nil
}

// due is when the next mail of a box can be leased, or never. With held, mail that is leased can
// be leased at once.
func (m *Mailbox) due(ctx context.Context, box string, held bool) (int64, error) {
	now := time.Now().UnixMicro()
	text := `SELECT COALESCE(
		(SELECT 0 FROM mail WHERE box = ? AND due = 0 AND deliveries >= 0 AND (expires = 0 OR expires > ?) ORDER BY deliveries LIMIT 1),
		(SELECT 0 FROM mailbox b WHERE b.box = ? AND b.written > ? AND EXISTS (SELECT 1 FROM mail m WHERE m.box = b.box AND m.due > 0)),`
	args := []any{box, now, box, now + maxSkew}
	if held {
		text += "(SELECT 0 FROM mail WHERE box = ? AND deliveries <> 0 AND (expires = 0 OR expires > ?) ORDER BY deliveries LIMIT 1),"
		args = append(args, box, now)
	}
	due, err := number(ctx, m.read, text+"(SELECT MIN(due) FROM mail WHERE box = ? AND due > 0 AND (expires = 0 OR expires > ?)), 9223372036854775807)",
		append(args, box, now)...)
	return due, m.w.readError(ctx, err)
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
		due, err := m.due(ctx, box, false)
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
