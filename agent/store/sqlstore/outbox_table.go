package sqlstore

import (
	"context"
	"database/sql"
	"iter"
	"maps"
	"slices"

	"github.com/didcomm-go/didcomm/agent/store"
)

// Places of an item. Of the items of a lane that are not buried, exactly one is the head,
// and only the head is leased.
const (
	placeBehind = 0
	placeHead   = 1
	placeBuried = 2
)

// leaseNotice tells other processes that an item or a message may have become due.
const leaseNotice = "lease"

// outboxTable runs the operations of the outbox. They first lock the rows of the peers that
// they touch, so that no other process changes the items of these peers. Then they write
// to outbox_peer.due when the next item of each peer can be leased. So a lease looks only
// at the first peers of an index, even if many other peers have as many leases as they may
// have.
type outboxTable struct {
	cfg           store.OutboxConfig
	total, buried []*total // by class
}

// row is an item of the tables.
type row struct {
	id, peer, lane, owner                                    string
	seq, place, due, token, awaits, attempts, size, deadline int64
	lastError                                                string

	oldSeq        int64 // the seq in the tables
	changed, gone bool
}

// outboxBatch is the state that the operations of one transaction share.
type outboxBatch struct {
	*outboxTable
	t            *tx
	peers        map[string]*peer
	owners       *shares
	rows         map[string]*row // by id
	lanes        map[lane]bool   // lanes that may need a new head
	all          []share         // change of the totals, by class
	buriedChange []share         // of buried items, by class
}

type lane struct{ peer, name string }

// peer is a row of outbox_peer.
type peer struct {
	has, change share
	awaiting    int   // awaiting items; set only for the peers of an awaitItem
	due         int64 // as read from the table
	first       int64 // due of the first new head, 0 for none
	moved       bool  // a head is another item now, or is due at another time
}

func (tab *outboxTable) run(t *tx, reqs []*request) error {
	b := &outboxBatch{outboxTable: tab, t: t, peers: make(map[string]*peer), owners: newShares("outbox_owner", "owner"), rows: make(map[string]*row), lanes: make(map[lane]bool),
		all: make([]share, len(classes)), buriedChange: make([]share, len(classes))}
	var ids, awaiting []string
	var enqueues []*request
	var found []orphans
	for _, r := range reqs {
		switch body := r.body.(type) {
		case *enqueue:
			enqueues = append(enqueues, r)
			for i := range body.items {
				b.peers[body.items[i].peer] = new(peer)
			}
		case *settle:
			ids = append(ids, body.id)
			b.peers[body.peer] = new(peer)
		case *awaitItem:
			ids, awaiting = append(ids, body.id), append(awaiting, body.peer)
			b.peers[body.peer] = new(peer)
		case *wakePeer:
			for _, name := range body.peers {
				b.peers[name] = new(peer)
			}
		case *retryItem:
			ids = append(ids, body.id)
		case *dropItem:
			ids = append(ids, body.id)
		case *reclaim:
			some, err := body.find(t, "outbox", "token <> 0")
			if err != nil {
				return err
			}
			for _, name := range some.peers {
				b.peers[name] = new(peer)
			}
			found = append(found, some)
		}
	}
	if err := b.lock(reqs); err != nil {
		return err
	}
	for _, o := range found {
		if err := b.reclaim(o); err != nil {
			return err
		}
	}
	if err := b.load(ids); err != nil {
		return err
	}
	if err := b.countAwaiting(awaiting); err != nil {
		return err
	}
	if err := b.follow(reqs); err != nil {
		return err
	}
	var woken []string
	for _, r := range reqs {
		switch body := r.body.(type) {
		case *settle:
			r.err = b.settle(body)
		case *awaitItem:
			r.err = b.await(body)
		case *retryItem:
			r.err = b.retry(body)
		case *dropItem:
			r.err = b.drop(body)
		case *wakePeer:
			for _, name := range body.peers {
				woken = append(woken, name)
				b.moved(name)
			}
		}
	}
	if err := b.flush(); err != nil {
		return err
	}
	if len(woken) > 0 {
		err := t.execRows(`WITH r(peer TEXT)
			UPDATE outbox SET due = ? WHERE place = 1 AND token = 0 AND due > ? AND peer IN (SELECT peer FROM r)`, cols{woken}, t.now, t.now)
		if err != nil {
			return err
		}
	}
	if err := b.enqueue(enqueues); err != nil {
		return err
	}
	if err := b.rest(); err != nil {
		return err
	}
	t.notify(leaseNotice)
	return nil
}

// lock locks the rows of all peers of the batch, and makes the rows that are missing. All
// processes lock in the same order, which prevents deadlocks.
func (b *outboxBatch) lock(reqs []*request) error {
	// An operator names an item by its ID. The peer of an item never changes, so it can be
	// read before the lock.
	var named []string
	for _, r := range reqs {
		switch body := r.body.(type) {
		case *retryItem:
			named = append(named, body.id)
		case *dropItem:
			named = append(named, body.id)
		}
	}
	err := b.t.queryRows(func(rows *sql.Rows) error {
		var name string
		err := rows.Scan(&name)
		b.peers[name] = new(peer)
		return err
	}, "WITH r(id TEXT) SELECT DISTINCT peer FROM outbox WHERE id IN (SELECT id FROM r)", cols{named})
	if err != nil {
		return err
	}
	missing := slices.Sorted(maps.Keys(b.peers))
	for {
		found := make(map[string]bool, len(missing))
		err := b.t.queryRows(func(rows *sql.Rows) error {
			var name string
			var p peer
			err := rows.Scan(&name, &p.has.items, &p.has.bytes, &p.due)
			found[name] = true
			*b.peers[name] = p
			return err
		}, lockPeers(b.t.db.Dialect), cols{missing, classCol(missing)})
		if err != nil || b.t.db.Dialect == SQLite {
			return err
		}
		// Another process may just have removed or made a row.
		missing = slices.DeleteFunc(missing, func(name string) bool { return found[name] })
		if len(missing) == 0 {
			return nil
		}
	}
}

// lockPeers selects and locks the rows of peers. On PostgreSQL it also makes the missing
// rows, which locks them too. SQLite has one transaction that writes at a time, and needs
// no row to lock.
func lockPeers(d Dialect) string {
	const lock = "SELECT peer, items, bytes, due FROM outbox_peer WHERE peer IN (SELECT peer FROM r) ORDER BY peer FOR UPDATE"
	if d == SQLite {
		return "WITH r(peer TEXT, class BIGINT) " + lock
	}
	return `WITH r(peer TEXT, class BIGINT), made AS (INSERT INTO outbox_peer (peer, class, due, items, bytes)
			SELECT peer, class, 0, 0, 0 FROM r ORDER BY peer ON CONFLICT (peer) DO NOTHING RETURNING peer)
		SELECT * FROM (` + lock + `) l UNION ALL SELECT peer, 0, 0, 0 FROM made`
}

// load reads items by id.
func (b *outboxBatch) load(ids []string) error {
	return b.t.queryRows(func(rows *sql.Rows) error {
		var r row
		err := rows.Scan(&r.id, &r.peer, &r.lane, &r.owner, &r.seq, &r.place, &r.due, &r.token, &r.awaits, &r.attempts, &r.lastError, &r.deadline, &r.size)
		r.oldSeq = r.seq
		if b.peers[r.peer] != nil {
			b.rows[r.id] = &r
		}
		return err
	}, `WITH r(id TEXT) SELECT id, peer, lane, owner, seq, place, due, token, awaits, attempts, last_error, deadline, size
		FROM outbox WHERE id IN (SELECT id FROM r)`, cols{ids})
}

// countAwaiting counts the items of the peers that wait for an acknowledgement.
func (b *outboxBatch) countAwaiting(peers []string) error {
	slices.Sort(peers)
	return b.t.queryRows(func(rows *sql.Rows) error {
		var name string
		var n int
		err := rows.Scan(&name, &n)
		b.peers[name].awaiting = n
		return err
	}, `WITH r(peer TEXT) SELECT peer, (SELECT COUNT(*) FROM outbox o
		WHERE o.peer = r.peer AND o.awaits = 1 AND o.token <> 0 AND o.due > ?) FROM r`, cols{slices.Compact(peers)}, b.t.now)
}

// follow makes the clock follow the items of lanes in which a buried item is queued again,
// so that the head of each lane has its lowest seq.
func (b *outboxBatch) follow(reqs []*request) error {
	lanes := make(map[lane]bool)
	for _, r := range reqs {
		if q, ok := r.body.(*retryItem); ok && b.rows[q.id] != nil {
			lanes[lane{b.rows[q.id].peer, b.rows[q.id].lane}] = true
		}
	}
	_, err := b.live(lanes)
	return err
}

func (b *outboxBatch) settle(s *settle) error {
	r, err := b.held(s.id, s.token)
	if err != nil {
		return err
	}
	b.free(r)
	switch s.how {
	case store.Waiting:
		if s.aside {
			b.lanes[lane{r.peer, r.lane}] = true
			r.lane = ownLane(r.id)
		}
		r.changed, r.due = true, b.t.now+s.delay.Microseconds()
		r.attempts, r.lastError = tried(r.attempts, r.lastError, s.reason)
		b.moved(r.peer)
	case store.Buried:
		b.leave(r)
		r.changed, r.place, r.due, r.lastError = true, placeBuried, 0, s.reason
		b.buriedChange[classOf(r.peer)].add(1, r.size)
	default:
		b.leave(r)
		r.gone = true
	}
	return nil
}

// held returns the item that is leased with that token.
func (b *outboxBatch) held(id string, token int64) (*row, error) {
	r := b.rows[id]
	if r == nil || r.gone || r.token != token || r.due <= b.t.now {
		return nil, store.ErrLease
	}
	return r, nil
}

// free ends the lease of an item, if there is one.
func (b *outboxBatch) free(r *row) {
	if r.awaits != 0 && r.due > b.t.now {
		b.peers[r.peer].awaiting--
	}
	r.token, r.awaits = 0, 0
}

func (b *outboxBatch) await(a *awaitItem) error {
	r, err := b.held(a.id, a.token)
	if err != nil || r.awaits != 0 {
		return err
	}
	if b.peers[r.peer].awaiting >= b.cfg.PerPeerAwaiting {
		return store.ErrFull
	}
	b.moved(r.peer).awaiting++
	r.changed, r.awaits = true, 1
	return nil
}

// tried returns the attempts and the last error of an item after a Nak. With an empty
// reason, the lease is not counted.
func tried(attempts int64, lastError, reason string) (int64, string) {
	if reason == "" {
		return attempts - 1, lastError
	}
	return attempts, reason
}

// leave takes an item that is not buried out of its lane.
func (b *outboxBatch) leave(r *row) {
	if r.place == placeHead {
		b.lanes[lane{r.peer, r.lane}] = true
	}
	b.moved(r.peer)
	b.count(r.peer, r.owner, -1, -r.size)
}

// moved notes that a head of a peer changes, and returns the peer.
func (b *outboxBatch) moved(name string) *peer {
	b.peers[name].moved = true
	return b.peers[name]
}

// count adds to the shares of a peer and of an owner, if there is one, and to the total.
func (b *outboxBatch) count(peer, owner string, items, bytes int64) {
	b.peers[peer].change.add(items, bytes)
	b.all[classOf(peer)].add(items, bytes)
	if owner != "" {
		b.owners.add(owner, items, bytes)
	}
}

func (b *outboxBatch) retry(q *retryItem) error {
	r := b.rows[q.id]
	switch {
	case r == nil || r.gone:
		return store.ErrNotFound
	case r.place == placeBuried:
		// The item goes to the end of its lane. If the lane is empty, flush makes it the head.
		r.changed, r.place, r.attempts, r.lastError, r.seq = true, placeBehind, 0, "", b.t.next()
		if !q.deadline.IsZero() {
			r.deadline = toMicros(q.deadline)
		}
		b.buriedChange[classOf(r.peer)].add(-1, -r.size)
		b.moved(r.peer)
		b.count(r.peer, r.owner, 1, r.size)
		b.lanes[lane{r.peer, r.lane}] = true
	case r.place == placeHead && r.token == 0:
		r.changed, r.due = true, b.t.now
		b.moved(r.peer)
	}
	return nil
}

func (b *outboxBatch) drop(q *dropItem) error {
	r := b.rows[q.id]
	if r == nil || r.gone {
		return store.ErrNotFound
	}
	if r.place == placeBuried {
		b.buriedChange[classOf(r.peer)].add(-1, -r.size)
	} else {
		b.free(r)
		b.leave(r)
	}
	r.gone = true
	return nil
}

// laneCols are lanes as columns.
func laneCols(lanes iter.Seq[lane]) (peers, names []string) {
	for l := range lanes {
		peers, names = append(peers, l.peer), append(names, l.name)
	}
	return peers, names
}

// classCol are the classes of peers as a column.
func classCol(peers []string) []int64 {
	col := make([]int64, len(peers))
	for i, name := range peers {
		col[i] = int64(classOf(name))
	}
	return col
}

// due is when the next item of any peer can be leased by one of the requests.
func (tab *outboxTable) due(ctx context.Context, c *statements, reqs []*request) (int64, error) {
	first := int64(never)
	err := c.queryRows(ctx, func(rows *sql.Rows) error {
		var due int64
		err := rows.Scan(&due)
		first = min(first, due)
		return err
	}, "WITH r(class BIGINT) SELECT COALESCE((SELECT MIN(p.due) FROM outbox_peer p WHERE p.class = r.class), 9223372036854775807) FROM r",
		cols{wants(reqs).numbers()})
	return first, err
}
