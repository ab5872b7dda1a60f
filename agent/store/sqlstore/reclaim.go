package sqlstore

import "database/sql"

// reclaim makes a table give back leases: all leases, or only orphans. Orphans are the
// leases of instances that are gone, and the leases of this instance that no caller knows
// of: see heldLeases.
type reclaim struct {
	all  bool
	more bool // the answer: there may be more leases to give back
}

// reclaimStep is how many leases are given back in one transaction.
const reclaimStep = 2 * maxBatch

// orphans are leases to give back.
type orphans struct {
	seqs, tokens []int64
	peers        []string
}

func (o *orphans) len() int { return len(o.seqs) }

// find finds up to reclaimStep leases to give back. leased is the condition for a row of
// the table to be leased.
func (r *reclaim) find(t *tx, table, leased string) (o orphans, err error) {
	each := func(rows *sql.Rows) error {
		var seq, token int64
		var peer string
		err := rows.Scan(&seq, &token, &peer)
		if r.all || token>>instanceShift != t.instance || t.orphaned(token) {
			o.seqs, o.tokens, o.peers = append(o.seqs, seq), append(o.tokens, token), append(o.peers, peer)
		}
		return err
	}
	text := "SELECT seq, token, peer FROM " + table + " WHERE " + leased + " AND due > ?"
	if r.all {
		err = t.query(each, text+" LIMIT ? + 0", t.now, reclaimStep)
	} else {
		err = t.query(each, text+" AND token >> 32 <> ? AND "+withoutInstance(table)+" LIMIT ? + 0",
			t.now, t.instance, reclaimStep)
		if err == nil {
			err = t.query(each, text+" AND token >> 32 = ?", t.now, t.instance)
		}
	}
	r.more = o.len() >= reclaimStep
	return o, err
}

func (b *inboxBatch) reclaim(r *reclaim) error {
	o, err := r.find(b.t, "inbox", "state = 1")
	if err != nil {
		return err
	}
	b.ready = b.ready || o.len() > 0
	return b.t.execRows("WITH r(seq BIGINT, token BIGINT) UPDATE inbox SET state = 0, token = 0, due = ? FROM r WHERE inbox.seq = r.seq AND inbox.token = r.token",
		cols{o.seqs, o.tokens}, b.t.now)
}

// reclaim gives orphans back. The peers of the batch are locked.
func (b *outboxBatch) reclaim(o orphans) error {
	for _, name := range o.peers {
		b.moved(name)
	}
	return b.t.execRows("WITH r(seq BIGINT, token BIGINT) UPDATE outbox SET token = 0, awaits = 0, due = ? FROM r WHERE outbox.seq = r.seq AND outbox.token = r.token",
		cols{o.seqs, o.tokens}, b.t.now)
}
