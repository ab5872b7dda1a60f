package sqlstore

import (
	"cmp"
	"database/sql"
	"errors"
	"slices"
	"time"

	"github.com/didcomm-go/didcomm/agent/store"
)

// candidate is the head of a lane, and due.
type candidate struct {
	seq, due int64
	peer     string
}

// lease leases the heads that are due, one for each request, in the order in which they
// became due. A peer is due with its first head, so the first k heads of a class belong to
// the first k peers of the class.
func (tab *outboxTable) lease(t *tx, reqs []*request) (int, error) {
	served, most := 0, min(len(reqs), maxBatch)
	for served < most {
		n, err := tab.leaseSome(t, reqs[served:], most-served)
		if err != nil {
			return 0, err
		}
		if n == 0 {
			break
		}
		served += n
	}
	return served, nil
}

// leaseSome leases heads for at most n of the requests, and moves these requests to the
// front.
func (tab *outboxTable) leaseSome(t *tx, reqs []*request, n int) (int, error) {
	var names []string
	err := t.queryRows(func(rows *sql.Rows) error {
		var name string
		err := rows.Scan(&name)
		names = append(names, name)
		return err
	}, duePeers(t.db.Dialect), cols{wants(reqs).numbers()}, t.now, n)
	if err != nil || len(names) == 0 {
		return 0, err
	}
	chosen, err := tab.choose(t, names, reqs, n)
	if err != nil {
		return 0, err
	}
	leases, err := tab.take(t, chosen, reqs)
	if err != nil {
		return 0, err
	}
	for i, c := range chosen {
		reqs[i].body.(*leaseItem).lease = leases[c.seq]
	}
	none := make([]int64, len(names))
	return len(chosen), tab.derive(t, names, none, none)
}

// duePeers selects and locks the first peers of each class that are due. Each dialect needs
// another form to use an index.
func duePeers(d Dialect) string {
	const first = "FROM outbox_peer d WHERE d.class = r.class AND d.due <= ? ORDER BY d.due, d.peer LIMIT ? + 0"
	if d == PostgreSQL {
		return "WITH r(class BIGINT) SELECT p.peer FROM r CROSS JOIN LATERAL (SELECT d.peer " + first + " FOR UPDATE SKIP LOCKED) p"
	}
	return "WITH r(class BIGINT) SELECT p.peer FROM r CROSS JOIN outbox_peer p ON p.peer IN (SELECT d.peer " + first + ")"
}

// firstHeads selects, for each peer, the first heads that are due, and the number of leases
// of the peer. Each dialect needs another form to use an index.
func firstHeads(d Dialect) string {
	const (
		columns = `WITH r(peer TEXT) SELECT r.peer, o.seq, o.due,
			(SELECT COUNT(*) FROM (SELECT 1 FROM outbox l WHERE l.peer = r.peer AND l.awaits = 0 AND l.token <> 0 AND l.due > ? LIMIT ? + 0) m) FROM r `
		heads = "FROM outbox h WHERE h.peer = r.peer AND h.place = 1 AND h.due <= ? ORDER BY h.due, h.seq LIMIT ? + 0"
	)
	if d == PostgreSQL {
		return columns + "CROSS JOIN LATERAL (SELECT h.seq, h.due " + heads + ") o"
	}
	return columns + "CROSS JOIN outbox o ON o.seq IN (SELECT h.seq " + heads + ")"
}

// choose picks at most n heads of the peers for the requests, within the limit of leases of
// each peer. The first head is for the first request, and so on: choose sorts the requests.
func (tab *outboxTable) choose(t *tx, names []string, reqs []*request, n int) ([]candidate, error) {
	var all []candidate
	running := make(map[string]int)
	err := t.queryRows(func(rows *sql.Rows) error {
		var c candidate
		var leased int
		err := rows.Scan(&c.peer, &c.seq, &c.due, &leased)
		all = append(all, c)
		running[c.peer] = leased
		return err
	}, firstHeads(t.db.Dialect), cols{names}, t.now, tab.cfg.PerPeer, t.now, min(n, tab.cfg.PerPeer))
	if err != nil {
		return nil, err
	}
	slices.SortFunc(all, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(a.due, b.due), cmp.Compare(a.seq, b.seq))
	})
	chosen := all[:0]
	for _, c := range all {
		if len(chosen) < n && running[c.peer] < tab.cfg.PerPeer && serve(reqs[len(chosen):], classOf(c.peer)) {
			running[c.peer]++
			chosen = append(chosen, c)
		}
	}
	return chosen, nil
}

// take leases the chosen heads, each for the time of its request.
func (tab *outboxTable) take(t *tx, chosen []candidate, reqs []*request) (map[int64]*store.Lease[store.Item], error) {
	var seqs, tokens, untils []int64
	leases := make(map[int64]*store.Lease[store.Item], len(chosen))
	for i, c := range chosen {
		token, until := t.token(), t.now+reqs[i].body.(*leaseItem).d.Microseconds()
		seqs, tokens, untils = append(seqs, c.seq), append(tokens, token), append(untils, until)
		leases[c.seq] = &store.Lease[store.Item]{Token: uint64(token), Until: time.UnixMicro(until)}
	}
	err := t.queryRows(func(rows *sql.Rows) error {
		var (
			seq, class, created, deadline int64
			attempts                      int
			lastError                     string
			names, data                   []byte
		)
		if err := rows.Scan(&seq, &class, &attempts, &lastError, &created, &deadline, &names, &data); err != nil {
			return err
		}
		l := leases[seq]
		l.Attempts, l.LastError = attempts, lastError
		l.Item.Class, l.Item.Created, l.Item.Deadline = classes[class], fromMicros(created), fromMicros(deadline)
		err := decodeItemNames(names, &l.Item)
		if err = errors.Join(err, decodeItem(data, &l.Item)); err != nil {
			t.unreadable("outbox", seq, err)
		}
		return nil
	}, `WITH r(seq BIGINT) SELECT o.seq, o.class, o.attempts, o.last_error, o.created, o.deadline, p.names, p.data
		FROM r JOIN outbox o ON o.seq = r.seq JOIN outbox_packet p ON p.seq = r.seq`, cols{seqs})
	if err != nil {
		return nil, err
	}
	err = t.execRows(`WITH r(seq BIGINT, token BIGINT, due BIGINT)
		UPDATE outbox SET token = r.token, awaits = 0, due = r.due, attempts = attempts + 1 FROM r WHERE outbox.seq = r.seq`, cols{seqs, tokens, untils})
	return leases, err
}
