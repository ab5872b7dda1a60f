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
// became due. A peer is due with its first head, so the first k heads belong to the first k
// peers.
func (tab *outboxTable) lease(t *tx, reqs []*request) (int, error) {
	served := 0
	for served < len(reqs) {
		n, err := tab.leaseSome(t, reqs[served:])
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

func (tab *outboxTable) leaseSome(t *tx, reqs []*request) (int, error) {
	var names []string
	err := t.query(func(rows *sql.Rows) error {
		var name string
		err := rows.Scan(&name)
		names = append(names, name)
		return err
	}, "SELECT peer FROM outbox_peer WHERE due <= ? ORDER BY due, peer LIMIT ? + 0 FOR UPDATE SKIP LOCKED", t.now, len(reqs))
	if err != nil || len(names) == 0 {
		return 0, err
	}
	chosen, err := tab.choose(t, names, len(reqs))
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

// choose picks at most n heads of the peers, within the limit of leases of each peer.
func (tab *outboxTable) choose(t *tx, names []string, n int) ([]candidate, error) {
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
		if len(chosen) < n && running[c.peer] < tab.cfg.PerPeer {
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
			seq, created, deadline int64
			attempts               int
			lastError              string
			names, data            []byte
		)
		if err := rows.Scan(&seq, &attempts, &lastError, &created, &deadline, &names, &data); err != nil {
			return err
		}
		l := leases[seq]
		l.Attempts, l.LastError = attempts, lastError
		l.Item.Created, l.Item.Deadline = fromMicros(created), fromMicros(deadline)
		err := decodeItemNames(names, &l.Item)
		if err = errors.Join(err, decodeItem(data, &l.Item)); err != nil {
			t.unreadable("outbox", seq, err)
		}
		return nil
	}, `WITH r(seq BIGINT) SELECT o.seq, o.attempts, o.last_error, o.created, o.deadline, p.names, p.data
		FROM r JOIN outbox o ON o.seq = r.seq JOIN outbox_packet p ON p.seq = r.seq`, cols{seqs})
	if err != nil {
		return nil, err
	}
	err = t.execRows(`WITH r(seq BIGINT, token BIGINT, due BIGINT)
		UPDATE outbox SET token = r.token, awaits = 0, due = r.due, attempts = attempts + 1 FROM r WHERE outbox.seq = r.seq`, cols{seqs, tokens, untils})
	return leases, err
}
