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
	t       *tx
	boxes   map[string]*box
	mail    map[mailKey]*mailRow
	parties map[partyOf]*mailParty
	senders *shares
	change  share // of the total
}

type mailKey struct{ box, id string }

// mailRow is a row of mail.
type mailRow struct {
	seq, size, boxes  int64
	deliveries        int64
	sender, recipient string
	gone, free        bool // gone: removed; free: the lease ends
}

// box is a row of mailbox.
type box struct {
	has, change share
	name        []byte
	expires     int64 // when the first mail expires; 0 if there is no row
	tried       int64 // mail that was leased
	triedChange int64
	turn        int64
	written     int64
	changed     bool // the row must be written
	ready       bool // there may be mail to lease now
}

// maxSkew is how far, in microseconds, the clock may be behind the time when a box was written.
// If the clock is further behind, the clock was set back. Then the leases and delays of the box
// would last too long, so all of them are ended.
const maxSkew = 60_000_000

func (tab *mailTable) run(t *tx, reqs []*request) error {
	b := &mailBatch{
		mailTable: tab, t: t, boxes: make(map[string]*box), mail: make(map[mailKey]*mailRow),
		parties: make(map[partyOf]*mailParty), senders: newShares("mail_sender", "sender"),
	}
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
			for _, box := range body.boxes {
				name(box.key, body.id)
			}
			deposits = append(deposits, r)
		case *leaseMail:
			name(body.box)
			leases = append(leases, body)
		case *ackMail:
			name(body.box, body.ids...)
		case *nakMail:
			name(body.box, body.ids...)
		case *purgeMail:
			name(body.box)
		case *reclaim:
			if err := t.exec("UPDATE mail SET due = 0 WHERE due > 0 AND deliveries > 0"); err != nil {
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
			if err := b.nak(body); err != nil {
				return err
			}
		case *purgeMail:
			if err := b.purge(body); err != nil {
				return err
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
	var late []string
	err := b.t.queryRows(func(rows *sql.Rows) error {
		var name string
		var found box
		err := rows.Scan(&name, &found.name, &found.has.items, &found.has.bytes, &found.tried, &found.expires, &found.turn, &found.written)
		b.boxes[name] = &found
		if found.written > b.t.now+maxSkew {
			late = append(late, name)
			found.changed, found.ready = true, true
		}
		return err
	}, "WITH r(box TEXT) SELECT box, name, items, bytes, tried, expires, turn, written FROM mailbox WHERE box IN (SELECT box FROM r) ORDER BY box FOR UPDATE",
		cols{slices.Sorted(maps.Keys(b.boxes))})
	if err != nil {
		return err
	}
	return b.t.execRows("WITH r(box TEXT) UPDATE mail SET due = 0 WHERE due > 0 AND box IN (SELECT box FROM r)", cols{late})
}

// load reads mail by box and id.
func (b *mailBatch) load(boxes, ids []string) error {
	return b.t.queryRows(func(rows *sql.Rows) error {
		var k mailKey
		var m mailRow
		err := rows.Scan(&k.box, &k.id, &m.seq, &m.size, &m.boxes, &m.deliveries, &m.sender, &m.recipient)
		b.mail[k] = &m
		return err
	}, `WITH r(box TEXT, id TEXT) SELECT m.box, m.id, m.seq, m.size, m.boxes, m.deliveries, m.sender, m.recipient
		FROM r JOIN mail m ON m.box = r.box AND m.id = r.id`, cols{boxes, ids})
}

// find finds mail of a box to remove.
func (b *mailBatch) find(box, where string, args ...any) (found []*mailRow, err error) {
	err = b.t.query(func(rows *sql.Rows) error {
		k := mailKey{box: box}
		m := new(mailRow)
		if err := rows.Scan(&k.id, &m.seq, &m.size, &m.boxes, &m.deliveries, &m.sender, &m.recipient); err != nil {
			return err
		}
		if b.mail[k] != nil {
			m = b.mail[k]
		}
		b.mail[k] = m
		found = append(found, m)
		return nil
	}, "SELECT id, seq, size, boxes, deliveries, sender, recipient FROM mail WHERE box = ? AND "+where, append([]any{box}, args...)...)
	return found, err
}

// remove takes a packet out of its box.
func (b *mailBatch) remove(name string, m *mailRow) {
	m.gone = true
	b.add(name, m, -1)
}

// add counts a packet that comes into its box, with n = 1, or is removed, with n = -1.
func (b *mailBatch) add(name string, m *mailRow, n int64) {
	in := b.boxes[name]
	in.change.add(n, n*m.size)
	in.changed = true
	b.change.add(n, n*m.size)
	b.senders.add(m.sender, n, n*m.size)
	b.party(name, senderParty(m.sender)).add(n, n*m.size)
	recipient := b.party(name, recipientParty(m.recipient))
	recipient.add(n, n*m.size)
	if m.deliveries > 0 {
		in.triedChange += n
		recipient.tried += n
	}
}

// expireStep is how many expired packets of one box a transaction drops at most. emptyStep is
// how many packets of one box a transaction purges at most.
const (
	expireStep = 256
	emptyStep  = 1024
)

// expire drops expired mail of the boxes of the batch.
func (b *mailBatch) expire() error {
	for name, has := range b.boxes {
		if has.expires == 0 || has.expires > b.t.now {
			continue
		}
		found, err := b.find(name, "expires > 0 AND expires <= ? ORDER BY expires LIMIT ? + 0", b.t.now, expireStep)
		if err != nil {
			return err
		}
		has.changed = true
		for _, m := range found {
			b.remove(name, m)
		}
	}
	return nil
}

func (b *mailBatch) nak(n *nakMail) error {
	b.boxes[n.box].ready = true
	if len(n.ids) == 0 {
		return b.t.exec("UPDATE mail SET due = 0 WHERE box = ? AND due > 0 AND deliveries > 0", n.box)
	}
	for _, id := range n.ids {
		if m := b.mail[mailKey{n.box, id}]; m != nil {
			m.free = true
		}
	}
	return nil
}

func (b *mailBatch) purge(p *purgeMail) error {
	p.n, p.more = 0, false
	where, each := "", []any{nil}
	if len(p.recipients) > 0 {
		where, each = "recipient = ? AND ", nil
		for _, recipient := range p.recipients {
			each = append(each, recipient)
		}
	}
	for _, recipient := range each {
		args := []any{recipient, p.last, emptyStep}
		if recipient == nil {
			args = args[1:]
		}
		found, err := b.find(p.box, where+"seq <= ? ORDER BY seq LIMIT ? + 0", args...)
		if err != nil {
			return err
		}
		p.more = p.more || len(found) == emptyStep
		for _, m := range found {
			if !m.gone {
				p.n++
				b.remove(p.box, m)
			}
		}
	}
	return nil
}

// flush writes the changes of the mail that was there before.
func (b *mailBatch) flush() error {
	var gone, free struct {
		boxes []string
		seqs  []int64
	}
	var alone, shared []int64
	for k, m := range b.mail {
		switch {
		case m.gone:
			gone.boxes, gone.seqs = append(gone.boxes, k.box), append(gone.seqs, m.seq)
			if m.boxes == 1 {
				alone = append(alone, m.seq)
			} else {
				shared = append(shared, m.seq)
			}
		case m.free:
			free.boxes, free.seqs = append(free.boxes, k.box), append(free.seqs, m.seq)
		}
	}
	const these = "(box, seq) IN (SELECT box, seq FROM r)"
	if err := b.t.execRows("WITH r(box TEXT, seq BIGINT) DELETE FROM mail WHERE "+these, cols{gone.boxes, gone.seqs}); err != nil {
		return err
	}
	if err := b.t.execRows("WITH r(seq BIGINT) DELETE FROM mail_packet WHERE seq IN (SELECT seq FROM r)", cols{alone}); err != nil {
		return err
	}
	// Two processes may take a packet out of its last two boxes at the same time. The one that
	// gets the lock later sees that no box is left.
	slices.Sort(shared)
	shared = slices.Compact(shared)
	err := b.t.queryRows(func(*sql.Rows) error { return nil },
		"WITH r(seq BIGINT) SELECT seq FROM mail_packet WHERE seq IN (SELECT seq FROM r) ORDER BY seq FOR UPDATE", cols{shared})
	if err != nil {
		return err
	}
	err = b.t.execRows(`WITH r(seq BIGINT) DELETE FROM mail_packet WHERE seq IN (SELECT seq FROM r)
		AND NOT EXISTS (SELECT 1 FROM mail m WHERE m.seq = mail_packet.seq AND m.boxes > 1)`, cols{shared})
	if err != nil {
		return err
	}
	return b.t.execRows("WITH r(box TEXT, seq BIGINT) UPDATE mail SET due = 0 WHERE due > 0 AND deliveries > 0 AND "+these, cols{free.boxes, free.seqs})
}

// count writes the counts of the boxes, and when the first mail of each box expires.
func (b *mailBatch) count() error {
	b.total.add(b.t, b.change)
	b.senders.write(b.t)
	if err := b.writeParties(); err != nil {
		return err
	}
	var (
		names, empty               []string
		full                       [][]byte
		items, bytes, tried, turns []int64
	)
	for _, name := range slices.Sorted(maps.Keys(b.boxes)) {
		switch in := b.boxes[name]; {
		case !in.changed:
		case in.has.items+in.change.items == 0:
			empty = append(empty, name)
		default:
			names, full, tried, turns = append(names, name), append(full, orEmpty(in.name)), append(tried, in.triedChange), append(turns, in.turn)
			items, bytes = append(items, in.change.items), append(bytes, in.change.bytes)
		}
	}
	if err := b.t.execRows("WITH r(box TEXT) DELETE FROM mailbox WHERE box IN (SELECT box FROM r)", cols{empty}); err != nil {
		return err
	}
	return b.t.execRows(`WITH r(box TEXT, name BYTEA, items BIGINT, bytes BIGINT, tried BIGINT, turn BIGINT)
		INSERT INTO mailbox (box, name, items, bytes, tried, turn, written, expires)
		SELECT box, name, items, bytes, tried, turn, CAST(? AS BIGINT),
			COALESCE((SELECT MIN(m.expires) FROM mail m WHERE m.box = r.box AND m.expires > 0), 9223372036854775807) FROM r WHERE true
		ON CONFLICT (box) DO UPDATE SET items = mailbox.items + excluded.items, bytes = mailbox.bytes + excluded.bytes,
			tried = mailbox.tried + excluded.tried, turn = excluded.turn, written = excluded.written, expires = excluded.expires`,
		cols{names, full, items, bytes, tried, turns}, b.t.now)
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
