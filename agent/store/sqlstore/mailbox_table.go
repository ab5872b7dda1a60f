package sqlstore

import (
	"database/sql"
	"maps"
	"slices"

	"github.com/didcomm-go/didcomm/agent/store"
)

// mailTable runs the operations of the mailboxes.
type mailTable struct {
	cfg   store.MailboxConfig
	total *total
	wake  func(hashes []string)

	purgeAfter int64 // when to look again for boxes with expired mail
}

// mailBatch is the state that the operations of one transaction share.
type mailBatch struct {
	*mailTable
	t      *tx
	boxes  map[string]*box
	mail   map[mailKey]*mailRow
	change share // of the total
}

type mailKey struct{ box, id string }

// mailRow is a row of mail.
type mailRow struct {
	seq, size  int64
	gone, free bool // gone: removed; free: the lease ends
}

// box is a row of mailbox.
type box struct {
	has, change share
	expires     int64 // when the first mail expires; 0 if there is no row
	ready       bool  // there may be mail to lease now
}

func (tab *mailTable) run(t *tx, reqs []*request) error {
	b := &mailBatch{mailTable: tab, t: t, boxes: make(map[string]*box), mail: make(map[mailKey]*mailRow)}
	var (
		boxes, ids []string
		deposits   []*request
		leases     []*leaseMail
	)
	name := func(name string, of ...string) {
		b.boxes[name] = new(box)
		for _, id := range of {
			boxes, ids = append(boxes, name), append(ids, id)
		}
	}
	for _, r := range reqs {
		switch body := r.body.(type) {
		case *deposit:
			name(body.box, body.id)
			deposits = append(deposits, r)
		case *leaseMail:
			name(body.box)
			leases = append(leases, body)
		case *ackMail:
			name(body.box, body.ids...)
		case *nakMail:
			name(body.box, body.ids...)
		case *reclaim:
			if err := t.exec("UPDATE mail SET due = 0 WHERE due > 0"); err != nil {
				return err
			}
		}
	}
	if err := b.lock(); err != nil {
		return err
	}
	if err := b.load(boxes, ids); err != nil {
		return err
	}
	if err := b.expire(); err != nil {
		return err
	}
	for _, r := range reqs {
		switch body := r.body.(type) {
		case *ackMail:
			body.n = 0
			for _, id := range body.ids {
				if m := b.mail[mailKey{body.box, id}]; m != nil && !m.gone {
					body.n++
					b.remove(body.box, m)
				}
			}
		case *nakMail:
			for _, id := range body.ids {
				if m := b.mail[mailKey{body.box, id}]; m != nil && !m.gone {
					m.free, b.boxes[body.box].ready = true, true
				}
			}
		}
	}
	if err := b.flush(); err != nil {
		return err
	}
	if err := b.deposit(deposits); err != nil {
		return err
	}
	if err := b.lease(leases); err != nil {
		return err
	}
	if err := b.count(); err != nil {
		return err
	}
	b.announce()
	return nil
}

// lock reads and locks the rows of the boxes of the batch, and of a few boxes with expired
// mail. All processes lock in the same order, which prevents deadlocks.
func (b *mailBatch) lock() error {
	if b.t.now >= b.purgeAfter {
		var some []string
		err := b.t.query(func(rows *sql.Rows) error {
			var name string
			err := rows.Scan(&name)
			some = append(some, name)
			return err
		}, "SELECT box FROM mailbox WHERE expires <= ? ORDER BY expires LIMIT 8", b.t.now)
		if err != nil {
			return err
		}
		for _, name := range some {
			b.boxes[name] = new(box)
		}
		if len(some) == 0 {
			again := b.t.now + 1_000_000
			b.t.onCommit = append(b.t.onCommit, func() { b.purgeAfter = again })
		}
	}
	return b.t.queryRows(func(rows *sql.Rows) error {
		var name string
		var found box
		err := rows.Scan(&name, &found.has.items, &found.has.bytes, &found.expires)
		b.boxes[name] = &found
		return err
	}, "WITH r(box TEXT) SELECT box, items, bytes, expires FROM mailbox WHERE box IN (SELECT box FROM r) ORDER BY box FOR UPDATE",
		cols{slices.Sorted(maps.Keys(b.boxes))})
}

// load reads mail by box and id.
func (b *mailBatch) load(boxes, ids []string) error {
	return b.t.queryRows(func(rows *sql.Rows) error {
		var k mailKey
		var m mailRow
		err := rows.Scan(&k.box, &k.id, &m.seq, &m.size)
		b.mail[k] = &m
		return err
	}, "WITH r(box TEXT, id TEXT) SELECT m.box, m.id, m.seq, m.size FROM r JOIN mail m ON m.box = r.box AND m.id = r.id", cols{boxes, ids})
}

// remove takes a packet out of its box.
func (b *mailBatch) remove(name string, m *mailRow) {
	m.gone = true
	b.boxes[name].change.add(-1, -m.size)
	b.change.add(-1, -m.size)
}

// expireStep is how many expired packets of one box a transaction drops at most.
const expireStep = 256

// expire drops expired mail of the boxes of the batch.
func (b *mailBatch) expire() error {
	for name, has := range b.boxes {
		if has.expires == 0 || has.expires > b.t.now {
			continue
		}
		err := b.t.query(func(rows *sql.Rows) error {
			k := mailKey{box: name}
			var m mailRow
			if err := rows.Scan(&k.id, &m.seq, &m.size); err != nil {
				return err
			}
			b.mail[k] = &m
			b.remove(name, &m)
			return nil
		}, "SELECT id, seq, size FROM mail WHERE box = ? AND expires > 0 AND expires <= ? ORDER BY expires LIMIT ? + 0", name, b.t.now, expireStep)
		if err != nil {
			return err
		}
	}
	return nil
}

// flush writes the changes of the mail.
func (b *mailBatch) flush() error {
	var gone, free []int64
	for _, m := range b.mail {
		switch {
		case m.gone:
			gone = append(gone, m.seq)
		case m.free:
			free = append(free, m.seq)
		}
	}
	for _, table := range []string{"mail", "mail_packet"} {
		if err := b.t.execRows("WITH r(seq BIGINT) DELETE FROM "+table+" WHERE seq IN (SELECT seq FROM r)", cols{gone}); err != nil {
			return err
		}
	}
	err := b.t.execRows("WITH r(seq BIGINT) UPDATE mail SET due = 0 WHERE due > 0 AND seq IN (SELECT seq FROM r)", cols{free})
	return err
}

func (b *mailBatch) deposit(reqs []*request) error {
	if len(reqs) == 0 {
		return nil
	}
	all, err := b.total.read(b.t)
	if err != nil {
		return err
	}
	var (
		boxes, ids                     []string
		seqs, receives, expires, sizes []int64
		names, data                    [][]byte
	)
	for _, r := range reqs {
		d := r.body.(*deposit)
		in, k := b.boxes[d.box], mailKey{d.box, d.id}
		switch old := b.mail[k]; {
		case old != nil && !old.gone:
			r.err = store.ErrExists
			continue
		case all.items+b.change.items+1 > int64(b.cfg.MaxItems), all.bytes+b.change.bytes+d.size > b.cfg.MaxBytes,
			in.has.items+in.change.items+1 > int64(b.cfg.MaxBoxItems), in.has.bytes+in.change.bytes+d.size > b.cfg.MaxBoxBytes:
			r.err = store.ErrFull
			continue
		}
		m := &mailRow{seq: b.t.next(), size: d.size}
		b.mail[k] = m
		in.change.add(1, m.size)
		b.change.add(1, m.size)
		in.ready = true
		boxes, ids, seqs = append(boxes, d.box), append(ids, d.id), append(seqs, m.seq)
		receives, expires, sizes = append(receives, d.received), append(expires, d.expires), append(sizes, d.size)
		names, data = append(names, d.names), append(data, d.data)
	}
	err = b.t.execRows(`WITH r(box TEXT, id TEXT, seq BIGINT, received BIGINT, expires BIGINT, size BIGINT)
		INSERT INTO mail (box, id, seq, due, received, expires, size) SELECT box, id, seq, 0, received, expires, size FROM r`,
		cols{boxes, ids, seqs, receives, expires, sizes})
	if err != nil {
		return err
	}
	err = b.t.execRows("WITH r(seq BIGINT, names BYTEA, data BYTEA) INSERT INTO mail_packet (seq, names, data) SELECT seq, names, data FROM r",
		cols{seqs, names, data})
	return err
}

// lease leases packets. Packets whose lease has run out are made free first, so that all
// are in the order of their seqs.
func (b *mailBatch) lease(leases []*leaseMail) error {
	var boxes []string
	for _, l := range leases {
		boxes = append(boxes, l.box)
	}
	err := b.t.execRows("WITH r(box TEXT) UPDATE mail SET due = 0 WHERE due > 0 AND due <= ? AND box IN (SELECT box FROM r)", cols{boxes}, b.t.now)
	if err != nil {
		return err
	}
	for _, l := range leases {
		l.mail = nil
		var seqs, dues []int64
		err := b.t.query(func(rows *sql.Rows) error {
			var (
				m                      store.Mail
				seq, received, expires int64
				names                  []byte
			)
			if err := rows.Scan(&seq, &received, &expires, &names, &m.Packet.Data); err != nil {
				return err
			}
			m.Time, m.Expires = fromMicros(received), fromMicros(expires)
			if err := decodeNames(names, &m.ID, &m.For, &m.Packet.MediaType); err != nil {
				b.t.unreadable("mail", seq, err)
			}
			l.mail = append(l.mail, m)
			seqs, dues = append(seqs, seq), append(dues, b.t.now+l.d.Microseconds())
			return nil
		}, `SELECT m.seq, m.received, m.expires, p.names, p.data FROM mail m JOIN mail_packet p ON p.seq = m.seq
			WHERE m.box = ? AND m.due = 0 AND (m.expires = 0 OR m.expires > ?) ORDER BY m.seq LIMIT ? + 0`, l.box, b.t.now, l.n)
		if err != nil {
			return err
		}
		if err := b.t.execRows("WITH r(seq BIGINT, due BIGINT) UPDATE mail SET due = r.due FROM r WHERE mail.seq = r.seq", cols{seqs, dues}); err != nil {
			return err
		}
	}
	return nil
}

// count writes the counts of the boxes, and when the first mail of each box expires.
func (b *mailBatch) count() error {
	b.total.add(b.t, b.change)
	var (
		names, empty []string
		items, bytes []int64
	)
	for _, name := range slices.Sorted(maps.Keys(b.boxes)) {
		switch in := b.boxes[name]; {
		case in.change == share{} && (in.expires == 0 || in.expires > b.t.now):
		case in.has.items+in.change.items == 0:
			empty = append(empty, name)
		default:
			names, items, bytes = append(names, name), append(items, in.change.items), append(bytes, in.change.bytes)
		}
	}
	if err := b.t.execRows("WITH r(box TEXT) DELETE FROM mailbox WHERE box IN (SELECT box FROM r)", cols{empty}); err != nil {
		return err
	}
	err := b.t.execRows(`WITH r(box TEXT, items BIGINT, bytes BIGINT) INSERT INTO mailbox (box, items, bytes, expires)
		SELECT box, items, bytes, COALESCE((SELECT MIN(m.expires) FROM mail m WHERE m.box = r.box AND m.expires > 0), 9223372036854775807) FROM r WHERE true
		ON CONFLICT (box) DO UPDATE SET items = mailbox.items + excluded.items, bytes = mailbox.bytes + excluded.bytes, expires = excluded.expires`,
		cols{names, items, bytes})
	return err
}

// announce wakes the calls of Wait for boxes with mail to lease, in all processes, when the
// transaction is committed.
func (b *mailBatch) announce() {
	var hashes []string
	for name, in := range b.boxes {
		if in.ready {
			hashes = append(hashes, shortHash(name))
		}
	}
	if len(hashes) > 0 {
		b.t.notify(noticeOf(hashes))
		b.t.onCommit = append(b.t.onCommit, func() { b.wake(hashes) })
	}
}
