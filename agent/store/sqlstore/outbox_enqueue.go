package sqlstore

import (
	"database/sql"
	"maps"
	"slices"

	"github.com/didcomm-go/didcomm/agent/store"
)

// enqueue runs the requests to enqueue, in order, as long as there is room.
func (b *outboxBatch) enqueue(reqs []*request) error {
	if len(reqs) == 0 {
		return nil
	}
	known, err := b.known(reqs)
	if err != nil {
		return err
	}
	lanes := make(map[lane]bool)
	for _, r := range reqs {
		for _, it := range r.body.(*enqueue).items {
			// The lanes of a peer without items are empty, and need no look.
			if p := b.peers[it.peer]; p.has.items+p.change.items > 0 {
				lanes[lane{it.peer, it.lane}] = true
			}
		}
	}
	live, err := b.live(lanes)
	if err != nil {
		return err
	}
	all := make([]share, len(classes))
	for class, n := range b.total {
		if all[class], err = n.read(b.t); err != nil {
			return err
		}
	}
	if err := b.owners.read(b.t, owners(reqs)); err != nil {
		return err
	}
	var (
		ids, peers, laneNames, owners                 []string
		seqs, places, dues, created, deadlines, sizes []int64
		names, data                                   [][]byte
	)
	for _, r := range reqs {
		body := r.body.(*enqueue)
		if r.err = b.admit(body.items, known, all); r.err != nil {
			continue
		}
		for i := range body.items {
			it := &body.items[i]
			place, due := int64(placeHead), b.t.stamp()
			if l := (lane{it.peer, it.lane}); live[l] {
				place = placeBehind
			} else {
				live[l] = true
				if p := b.peers[it.peer]; p.first == 0 {
					p.first = due
				}
			}
			ids, peers, laneNames = append(ids, it.id), append(peers, it.peer), append(laneNames, it.lane)
			owners = append(owners, it.owner)
			seqs, places, dues = append(seqs, b.t.next()), append(places, place), append(dues, due)
			created, deadlines, sizes = append(created, it.created), append(deadlines, it.deadline), append(sizes, it.size)
			names, data = append(names, it.names), append(data, it.data)
		}
	}
	err = b.t.execRows(`WITH r(id TEXT, seq BIGINT, peer TEXT, class BIGINT, lane TEXT, place BIGINT, due BIGINT, created BIGINT, deadline BIGINT, size BIGINT, owner TEXT)
		INSERT INTO outbox (id, seq, peer, class, lane, place, due, token, awaits, attempts, last_error, created, deadline, size, owner)
		SELECT id, seq, peer, class, lane, place, due, 0, 0, 0, '', created, deadline, size, owner FROM r`,
		cols{ids, seqs, peers, classCol(peers), laneNames, places, dues, created, deadlines, sizes, owners})
	if err != nil {
		return err
	}
	err = b.t.execRows("WITH r(seq BIGINT, names BYTEA, data BYTEA) INSERT INTO outbox_packet (seq, names, data) SELECT seq, names, data FROM r",
		cols{seqs, names, data})
	return err
}

// owners returns the owners of the items.
func owners(reqs []*request) []string {
	owners := make(map[string]bool)
	for _, r := range reqs {
		for _, it := range r.body.(*enqueue).items {
			if it.owner != "" {
				owners[it.owner] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(owners))
}

// known returns the ids of the items that are taken. The first try of a transaction takes
// all ids for new: if one is taken, the insert fails by a unique index, and the next try
// looks.
func (b *outboxBatch) known(reqs []*request) (map[string]bool, error) {
	if !b.t.again {
		return make(map[string]bool), nil
	}
	var ids []string
	for _, r := range reqs {
		for _, it := range r.body.(*enqueue).items {
			ids = append(ids, it.id)
		}
	}
	known := make(map[string]bool)
	err := b.t.queryRows(func(rows *sql.Rows) error {
		var id string
		err := rows.Scan(&id)
		known[id] = true
		return err
	}, "WITH r(id TEXT) SELECT id FROM outbox WHERE id IN (SELECT id FROM r)", cols{ids})
	return known, err
}

// live returns which of the lanes have a head. It makes the clock follow the items of the
// lanes.
func (b *outboxBatch) live(lanes map[lane]bool) (map[lane]bool, error) {
	peers, names := laneCols(maps.Keys(lanes))
	live := make(map[lane]bool)
	err := b.t.queryRows(func(rows *sql.Rows) error {
		var l lane
		var last sql.NullInt64
		err := rows.Scan(&l.peer, &l.name, &last)
		if last.Valid {
			live[l] = true
			b.t.observe(last.Int64)
		}
		return err
	}, `WITH r(peer TEXT, lane TEXT) SELECT peer, lane, (SELECT MAX(o.seq) FROM outbox o
		WHERE o.peer = r.peer AND o.lane = r.lane AND o.place < 2) FROM r`, cols{peers, names})
	return live, err
}

// admit counts the items of one request, if their ids are new and there is room for all.
func (b *outboxBatch) admit(items []newItem, known map[string]bool, has []share) error {
	for i := range items {
		it := &items[i]
		if known[it.id] {
			b.refuse(items[:i], known)
			return store.ErrExists
		}
		known[it.id] = true
		b.count(it.peer, it.owner, 1, it.size)
		if !b.room(it.peer, has) {
			b.refuse(items[:i+1], known)
			return store.ErrFull
		}
	}
	for i := range items {
		// The bound of one item holds for all items of the request with this owner.
		if it := &items[i]; it.owner != "" && !b.owners.of(it.owner).within(it.ownerShare) {
			b.refuse(items, known)
			return store.ErrFull
		}
	}
	return nil
}

// room tells whether what is counted for a peer, for its class and in all is within the
// bounds. has are the totals before, by class.
func (b *outboxBatch) room(name string, has []share) bool {
	class := classOf(name)
	var all, ofClass share
	for i := range classes {
		of := has[i]
		of.add(b.all[i].items, b.all[i].bytes)
		all.add(of.items, of.bytes)
		if i == class {
			ofClass = of
		}
	}
	p := b.peers[name]
	ofPeer := p.has
	ofPeer.add(p.change.items, p.change.bytes)
	bound, peerBound := b.cfg.Bounds(classes[class])
	return all.within(store.Share{Items: b.cfg.MaxItems, Bytes: b.cfg.MaxBytes}) && ofClass.within(bound) && ofPeer.within(peerBound)
}

// refuse undoes the counts of items.
func (b *outboxBatch) refuse(items []newItem, known map[string]bool) {
	for i := range items {
		it := &items[i]
		delete(known, it.id)
		b.count(it.peer, it.owner, -1, -it.size)
	}
}
