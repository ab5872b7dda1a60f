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
	found, err := b.candidates(l, 0, tries, l.pick.N)
	if err != nil {
		return nil, err
	}
	if len(found) == 0 && l.pick.Tries > 0 {
		found, err = b.candidates(l, tries, math.MaxInt64, 1)
		if len(found) == 0 {
			return nil, err
		}
		return []dueMail{slices.MinFunc(found, func(x, y dueMail) int { return cmp.Or(cmp.Compare(x.deliveries, y.deliveries), byTurn(x, y)) })}, err
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

// candidates finds mail with least to below deliveries: the first n for each recipient and each
// number of deliveries. Each query reads only what it finds, from an index that has these
// numbers before the turns. With n = 1, candidates stops at the first number.
func (b *mailBatch) candidates(l *leaseMail, least, below int64, n int) (found []dueMail, err error) {
	in, recipients := b.boxes[l.box], l.recipients
	if len(recipients) == 0 {
		recipients = []string{""}
	}
	for _, recipient := range recipients {
		for from := least; from < below; {
			to := below
			if from == 0 && (l.pick.Held || in.tried+in.triedChange == 0) {
				to = 1
			}
			some, err := b.level(l, recipient, from, n)
			if err != nil {
				return nil, err
			}
			if len(some) > 0 && some[0].deliveries >= to {
				some = nil
			}
			found = append(found, some...)
			switch {
			case to == 1 && in.tried+in.triedChange > 0:
				from = 1
			case len(some) == 0, to == 1, least > 0 && n == 1:
				from = below
			default:
				from = some[0].deliveries + 1
			}
		}
	}
	return found, nil
}

// level finds mail with the smallest number of deliveries that is at least least.
func (b *mailBatch) level(l *leaseMail, recipient string, least int64, n int) (found []dueMail, err error) {
	// Mail without deliveries that is not due is delayed. Held mail has deliveries.
	where, args := "box = ? AND due = 0", []any{l.box}
	if l.pick.Held && least > 0 {
		where = "box = ? AND deliveries <> 0"
	}
	if len(l.recipients) > 0 {
		where, args = where+" AND recipient = ?", append(args, recipient)
	}
	where += " AND (expires = 0 OR expires > ?)"
	args = append(args, b.t.now)
	args = append(slices.Concat(args, args), least, n)
	err = b.t.query(func(rows *sql.Rows) error {
		var c dueMail
		err := rows.Scan(&c.seq, &c.size, &c.turn, &c.deliveries, &c.received, &c.expires, &c.recipient)
		found = append(found, c)
		return err
	}, "SELECT seq, size, turn, deliveries, received, expires, recipient FROM mail WHERE "+where+
		" AND deliveries = (SELECT deliveries FROM mail WHERE "+where+" AND deliveries >= ? ORDER BY deliveries LIMIT 1)"+
		" ORDER BY turn, seq LIMIT ? + 0", args...)
	return found, err
}

// deliver leases the mail that was picked.
func (b *mailBatch) deliver(l *leaseMail, picked []dueMail) error {
	l.mail = nil
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
