package sqlstore

import (
	"cmp"
	"database/sql"
	"math"
	"slices"

	"github.com/didcomm-go/didcomm/agent/store"
)

// dueMail is mail that can be leased.
type dueMail struct {
	seq, size, turn, deliveries, received, expires int64
	recipient                                      string
}

func byTurn(x, y dueMail) int { return cmp.Or(cmp.Compare(x.turn, y.turn), cmp.Compare(x.seq, y.seq)) }

// lease leases packets. Packets whose delay or lease has run out are made free first, so that
// all are in the order of their turns.
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
		// Another process may have put the first mail into a box since lock. The batch has not
		// locked and counted that mail: the next lease gets it.
		if in := b.boxes[l.box]; in.has.items+in.change.items == 0 {
			continue
		}
		picked, err := b.pick(l)
		if err == nil {
			err = b.deliver(l, picked)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// pick chooses the mail for a lease.
func (b *mailBatch) pick(l *leaseMail) ([]dueMail, error) {
	tries := int64(math.MaxInt64)
	if l.pick.Tries > 0 {
		tries = int64(l.pick.Tries)
	}
	found, err := b.candidates(l, tries)
	if err != nil {
		return nil, err
	}
	if len(found) == 0 && l.pick.Tries > 0 {
		return b.suspect(l, tries)
	}
	slices.SortFunc(found, byTurn)
	var bytes int64
	for i, c := range found {
		bytes += c.size
		if i == l.pick.N || i > 0 && l.pick.Bytes > 0 && bytes > l.pick.Bytes {
			found = found[:i]
			break
		}
	}
	if len(found) > 0 {
		in := b.boxes[l.box]
		in.turn, in.changed = found[len(found)-1].turn, true
	}
	return found, nil
}

// candidates finds the mail with fewer deliveries than tries that comes first: as much as the
// lease may have of each recipient and each number of deliveries.
func (b *mailBatch) candidates(l *leaseMail, tries int64) (found []dueMail, err error) {
	if in := b.boxes[l.box]; in.tried+in.triedChange == 0 {
		tries = 1
	}
	for _, recipient := range l.each() {
		for from := int64(0); from < tries; {
			some, err := b.deliverable(l, recipient, from, l.pick.N)
			if err != nil {
				return nil, err
			}
			next := tries
			if len(some) == l.pick.N {
				// There may be more mail with as many deliveries as the last one has.
				next = max(from+1, some[len(some)-1].deliveries)
				if next == some[0].deliveries {
					next++
				}
			}
			if l.pick.Held && from == 0 {
				next = 1 // from there on, with the mail that is leased
			}
			for _, c := range some {
				if c.deliveries < min(next, tries) {
					found = append(found, c)
				}
			}
			from = next
		}
	}
	return found, nil
}

// suspect finds the mail with the fewest deliveries, and at least as many as tries.
func (b *mailBatch) suspect(l *leaseMail, tries int64) (first []dueMail, err error) {
	for _, recipient := range l.each() {
		some, err := b.deliverable(l, recipient, tries, 1)
		if err != nil {
			return nil, err
		}
		if len(first) == 0 || len(some) > 0 && cmp.Or(cmp.Compare(some[0].deliveries, first[0].deliveries), byTurn(some[0], first[0])) < 0 {
			first = some
		}
	}
	return first, nil
}

// each returns the recipients of a lease, or one name that is not looked at if the lease is for
// all of them.
func (l *leaseMail) each() []string {
	if len(l.recipients) == 0 {
		return []string{""}
	}
	return l.recipients
}

// deliverable finds mail with at least that many deliveries, that with the fewest first. The
// query reads no more than it finds, from an index in this order.
func (b *mailBatch) deliverable(l *leaseMail, recipient string, deliveries int64, n int) (found []dueMail, err error) {
	// Mail that is not due has no deliveries if it is delayed. If it is leased, it has some.
	where, args := "due = 0", []any{l.box, deliveries, b.t.now}
	if l.pick.Held && deliveries > 0 {
		where = "deliveries <> 0"
	}
	if len(l.recipients) > 0 {
		where, args = where+" AND recipient = ?", append(args, recipient)
	}
	err = b.t.query(func(rows *sql.Rows) error {
		var c dueMail
		err := rows.Scan(&c.seq, &c.size, &c.turn, &c.deliveries, &c.received, &c.expires, &c.recipient)
		found = append(found, c)
		return err
	}, "SELECT seq, size, turn, deliveries, received, expires, recipient FROM mail WHERE box = ? AND deliveries >= ? AND (expires = 0 OR expires > ?) AND "+
		where+" ORDER BY deliveries, turn, seq LIMIT ? + 0", append(args, n)...)
	return found, err
}

// deliver leases the mail that was picked.
func (b *mailBatch) deliver(l *leaseMail, picked []dueMail) error {
	var seqs []int64
	bySeq := make(map[int64]*store.Mail)
	for i := range picked {
		seqs = append(seqs, picked[i].seq)
	}
	err := b.t.queryRows(func(rows *sql.Rows) error {
		var seq int64
		var names []byte
		var m store.Mail
		if err := rows.Scan(&seq, &names, &m.Packet.Data); err != nil {
			return err
		}
		if err := decodeOwned(names, &m.Sender, &m.ID, &m.For, &m.Packet.MediaType); err != nil {
			b.t.unreadable("mail", seq, err)
		}
		bySeq[seq] = &m
		return nil
	}, "WITH r(seq BIGINT) SELECT p.seq, p.names, p.data FROM r JOIN mail_packet p ON p.seq = r.seq", cols{seqs})
	if err != nil {
		return err
	}
	in := b.boxes[l.box]
	for _, c := range picked {
		if c.deliveries == 0 {
			in.triedChange++
			in.changed = true
			b.party(l.box, recipientParty(c.recipient)).tried++
		}
		if m := bySeq[c.seq]; m != nil {
			m.Time, m.Expires, m.Deliveries = fromMicros(c.received), fromMicros(c.expires), int(c.deliveries)+1
			l.mail = append(l.mail, *m)
		}
	}
	return b.t.execRows("WITH r(seq BIGINT) UPDATE mail SET due = ?, deliveries = deliveries + 1 WHERE box = ? AND seq IN (SELECT seq FROM r)",
		cols{seqs}, max(1, b.t.now+l.d.Microseconds()), l.box)
}
