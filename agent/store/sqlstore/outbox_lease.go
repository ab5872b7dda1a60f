package sqlstore

import (
	"cmp"
	"database/sql"
	"errors"
	"slices"
	"time"

	"github.com/didcomm-go/didcomm/agent/store"
)

// candidate is a head that is due.
type candidate struct {
	seq, due int64
	peer     string
}

// lease serves as many requests as there are heads due, the longest due first.
// The k heads that have been due the longest belong to the k peers that have been
// so, because a peer is due with its first head.
func (d *outboxTable) lease(t *tx, reqs []*request) (int, error) {
	served := 0
	for served < len(reqs) {
		n, err := d.leaseSome(t, reqs[served:])
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

func (d *outboxTable) leaseSome(t *tx, reqs []*request) (int, error) {
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
	chosen, err := d.choose(t, names, len(reqs))
	if err != nil {
		return 0, err
	}
	leases, err := d.take(t, chosen, reqs)
	if err != nil {
		return 0, err
	}
	for i, c := range chosen {
		reqs[i].body.(*leaseItem).lease = leases[c.seq]
	}
	none := make([]int64, len(names))
	return len(chosen), d.derive(t, names, none, none)
}

// firstHeads selects the first heads of each peer that are due, with how many
// leases it has. Each dialect has a way of its own to do that by an index.
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

// choose picks at most n heads of the peers, no more of one than it may have
// leased.
func (d *outboxTable) choose(t *tx, names []string, n int) ([]candidate, error) {
	var all []candidate
	running := make(map[string]int)
	err := t.queryRows(func(rows *sql.Rows) error {
		var c candidate
		var leased int
		err := rows.Scan(&c.peer, &c.seq, &c.due, &leased)
		all = append(all, c)
		running[c.peer] = leased
		return err
	}, firstHeads(t.db.Dialect), cols{names}, t.now, d.cfg.PerPeer, t.now, min(n, d.cfg.PerPeer))
	if err != nil {
		return nil, err
	}
	slices.SortFunc(all, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(a.due, b.due), cmp.Compare(a.seq, b.seq))
	})
	chosen := all[:0]
	for _, c := range all {
		if len(chosen) < n && running[c.peer] < d.cfg.PerPeer {
			running[c.peer]++
			chosen = append(chosen, c)
		}
	}
	return chosen, nil
}

// take leases the heads, each for the time that its request asks for.
func (d *outboxTable) take(t *tx, chosen []candidate, reqs []*request) (map[int64]*store.Lease[store.Item], error) {
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
