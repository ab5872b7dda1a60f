package sqlstore

import (
	"database/sql"
	"maps"
	"slices"
)

// flush writes the changes of the rows, and makes the first item of a lane without a head
// its head.
func (b *outboxBatch) flush() error {
	var (
		gone, seqs, olds, places, dues, tokens, awaits, attempts, deadlines []int64
		from, to                                                            []int64
		lanes, lastErrors                                                   []string
	)
	for _, r := range b.rows {
		switch {
		case r.gone:
			gone = append(gone, r.oldSeq)
		case r.changed:
			seqs, olds, places, dues = append(seqs, r.seq), append(olds, r.oldSeq), append(places, r.place), append(dues, r.due)
			tokens, awaits = append(tokens, r.token), append(awaits, r.awaits)
			attempts, deadlines = append(attempts, r.attempts), append(deadlines, r.deadline)
			lanes, lastErrors = append(lanes, r.lane), append(lastErrors, r.lastError)
			if r.seq != r.oldSeq {
				from, to = append(from, r.oldSeq), append(to, r.seq)
			}
		}
	}
	for _, table := range []string{"outbox", "outbox_packet"} {
		if err := b.t.execRows("WITH r(seq BIGINT) DELETE FROM "+table+" WHERE seq IN (SELECT seq FROM r)", cols{gone}); err != nil {
			return err
		}
	}
	err := b.t.execRows(`WITH r(old BIGINT, seq BIGINT, lane TEXT, place BIGINT, due BIGINT, token BIGINT, awaits BIGINT, attempts BIGINT, last_error TEXT, deadline BIGINT)
		UPDATE outbox SET seq = r.seq, lane = r.lane, place = r.place, due = r.due, token = r.token, awaits = r.awaits,
			attempts = r.attempts, last_error = r.last_error, deadline = r.deadline FROM r WHERE outbox.seq = r.old`,
		cols{olds, seqs, lanes, places, dues, tokens, awaits, attempts, lastErrors, deadlines})
	if err != nil {
		return err
	}
	if err := b.t.execRows("WITH r(old BIGINT, seq BIGINT) UPDATE outbox_packet SET seq = r.seq FROM r WHERE outbox_packet.seq = r.old", cols{from, to}); err != nil {
		return err
	}
	if err := b.bury(); err != nil {
		return err
	}
	peers, names := laneCols(maps.Keys(b.lanes))
	err = b.t.execRows(`WITH r(peer TEXT, lane TEXT)
		UPDATE outbox SET place = 1, due = ? WHERE place = 0 AND seq IN (SELECT (SELECT MIN(o.seq) FROM outbox o
			WHERE o.peer = r.peer AND o.lane = r.lane AND o.place < 2) FROM r)`, cols{peers, names}, b.t.now)
	return err
}

// bury drops the oldest buried items of each class beyond its share.
func (b *outboxBatch) bury() error {
	if !slices.ContainsFunc(b.buriedChange, func(change share) bool { return change.items > 0 }) {
		return nil
	}
	var all int64
	buried := make([]int64, len(classes))
	for class, n := range b.buried {
		has, err := n.read(b.t)
		if err != nil {
			return err
		}
		buried[class] = has.items + b.buriedChange[class].items
		all += buried[class]
	}
	for class, name := range slices.Backward(classes) { // own items take what the others leave
		excess := buried[class] - int64(b.cfg.Buried(name, int(all-buried[class])))
		if excess <= 0 {
			continue
		}
		n, err := b.dropBuried(class, min(excess, 2*maxBatch))
		if err != nil {
			return err
		}
		all -= n
	}
	return nil
}

// dropBuried drops the oldest n buried items of a class, and returns how many there were.
func (b *outboxBatch) dropBuried(class int, n int64) (int64, error) {
	var seqs []int64
	err := b.t.query(func(rows *sql.Rows) error {
		var seq, size int64
		err := rows.Scan(&seq, &size)
		seqs = append(seqs, seq)
		b.buriedChange[class].add(-1, -size)
		return err
	}, "SELECT seq, size FROM outbox WHERE place = 2 AND class = ? ORDER BY seq LIMIT ? + 0", class, n)
	if err != nil {
		return 0, err
	}
	for _, table := range []string{"outbox", "outbox_packet"} {
		if err := b.t.execRows("WITH r(seq BIGINT) DELETE FROM "+table+" WHERE seq IN (SELECT seq FROM r)", cols{seqs}); err != nil {
			return 0, err
		}
	}
	return int64(len(seqs)), nil
}

// rest writes the counts, and when the next item of each peer can be leased.
func (b *outboxBatch) rest() error {
	b.owners.write(b.t)
	for class := range classes {
		b.total[class].add(b.t, b.all[class])
		b.buried[class].add(b.t, b.buriedChange[class])
	}
	var (
		empty, back       []string
		fresh, same, rest peerCols
	)
	for _, name := range slices.Sorted(maps.Keys(b.peers)) {
		switch p := b.peers[name]; {
		case p.has.items+p.change.items == 0:
			empty = append(empty, name)
		case p.has.items == 0 && !p.moved:
			fresh.add(name, p)
		case p.due <= b.t.now && !p.moved:
			// A new item is due after the items that are due already.
			same.add(name, p)
		default:
			if p.has.items == 0 { // a buried item is queued again
				back = append(back, name)
			}
			rest.add(name, p)
		}
	}
	if err := b.t.execRows("WITH r(peer TEXT) DELETE FROM outbox_peer WHERE peer IN (SELECT peer FROM r)", cols{empty}); err != nil {
		return err
	}
	err := b.t.execRows(`WITH r(peer TEXT, class BIGINT) INSERT INTO outbox_peer (peer, class, due, items, bytes)
		SELECT peer, class, 0, 0, 0 FROM r WHERE true ON CONFLICT (peer) DO NOTHING`, cols{back, classCol(back)})
	if err != nil {
		return err
	}
	err = b.t.execRows(`WITH r(peer TEXT, class BIGINT, due BIGINT, items BIGINT, bytes BIGINT) INSERT INTO outbox_peer (peer, class, due, items, bytes)
		SELECT peer, class, due, items, bytes FROM r WHERE true
		ON CONFLICT (peer) DO UPDATE SET due = excluded.due, items = excluded.items, bytes = excluded.bytes`,
		cols{fresh.names, classCol(fresh.names), fresh.dues, fresh.items, fresh.bytes})
	if err != nil {
		return err
	}
	err = b.t.execRows(`WITH r(peer TEXT, items BIGINT, bytes BIGINT) UPDATE outbox_peer
		SET items = outbox_peer.items + r.items, bytes = outbox_peer.bytes + r.bytes FROM r WHERE outbox_peer.peer = r.peer`,
		cols{same.names, same.items, same.bytes})
	if err != nil {
		return err
	}
	return b.derive(b.t, rest.names, rest.items, rest.bytes)
}

// peerCols are changes of peers as columns.
type peerCols struct {
	names              []string
	dues, items, bytes []int64
}

func (c *peerCols) add(name string, p *peer) {
	c.names, c.dues = append(c.names, name), append(c.dues, p.first)
	c.items, c.bytes = append(c.items, p.change.items), append(c.bytes, p.change.bytes)
}

// derive adds to the counts of peers, and sets when the next item of each peer can be
// leased: when the first of its heads is due, or, while the peer has PerPeer leases, when
// the first of these leases ends.
func (tab *outboxTable) derive(t *tx, names []string, items, bytes []int64) error {
	err := t.execRows(`WITH r(peer TEXT, items BIGINT, bytes BIGINT)
		UPDATE outbox_peer SET items = outbox_peer.items + r.items, bytes = outbox_peer.bytes + r.bytes,
			due = COALESCE(CASE WHEN (SELECT COUNT(*) FROM (SELECT 1 FROM outbox o WHERE o.peer = r.peer AND o.awaits = 0 AND o.token <> 0 AND o.due > ? LIMIT ? + 0) l) >= ?
				THEN (SELECT MIN(o.due) FROM outbox o WHERE o.peer = r.peer AND o.awaits = 0 AND o.token <> 0 AND o.due > ?)
				ELSE (SELECT MIN(o.due) FROM outbox o WHERE o.peer = r.peer AND o.place = 1) END, 9223372036854775807)
		FROM r WHERE outbox_peer.peer = r.peer`,
		cols{names, items, bytes}, t.now, tab.cfg.PerPeer, tab.cfg.PerPeer, t.now)
	return err
}
