package sqlstore

import (
	"context"
	"database/sql"
	"maps"
	"slices"
	"time"

	"github.com/didcomm-go/didcomm/agent/store"
)

// States of a message in the tables. From done on it is of the past.
const (
	waiting  = 0
	leased   = 1
	done     = 2
	setAside = 3
)

// messageState is a state in words; a lease that ran out is none.
func messageState(state, due, now int64) store.State {
	switch {
	case state == done:
		return store.Done
	case state == setAside:
		return store.Buried
	case state == leased && due > now:
		return store.Leased
	}
	return store.Waiting
}

// inboxTable runs the operations of the inbox.
type inboxTable struct {
	cfg store.InboxConfig
	// total counts what is to be handled; past what is remembered, and the bytes
	// that are kept with it.
	total, past *total
	purgeAfter  int64 // when to look again for what may be forgotten
}

// message is a row of inbox.
type message struct {
	id, peer, owner                        string
	seq, state, due, token, attempts, size int64
	until                                  int64
	lastError                              string
	replies                                []byte
	add                                    *addMessage // set if it is new
	changed, gone, bare                    bool        // bare: its packet goes
}

// inboxBatch is what operations of one transaction have to do with each other.
type inboxBatch struct {
	*inboxTable
	t      *tx
	rows   map[string]*message // by id
	old    []int64             // seqs of entries that others take the place of
	shares *shares             // of peers and owners
	all    share               // what is to be handled
	change share               // of that
	aside  share               // change of the past
	ready  bool                // something may have become due
}

func (d *inboxTable) run(t *tx, reqs []*request) error {
	b := &inboxBatch{inboxTable: d, t: t, rows: make(map[string]*message), shares: newShares("inbox_peer", "peer")}
	var (
		ids     []string
		seqs    []int64
		parties = make(map[string]bool)
	)
	for _, r := range reqs {
		switch body := r.body.(type) {
		case *addMessage:
			ids = append(ids, body.id)
			parties[body.peer] = true
			if body.owner != "" {
				parties[body.owner] = true
			}
		case *settleMessage:
			ids = append(ids, body.id)
		case *extendMessage:
			ids = append(ids, body.id)
		case *retryMessage:
			seqs = append(seqs, body.seq)
		case *dropMessage:
			seqs = append(seqs, body.seq)
		case *reclaim:
			if err := b.reclaim(body); err != nil {
				return err
			}
		}
	}
	if err := b.load(ids, seqs); err != nil {
		return err
	}
	if err := b.loadShares(slices.Sorted(maps.Keys(parties))); err != nil {
		return err
	}
	for _, r := range reqs {
		switch body := r.body.(type) {
		case *addMessage:
			r.err = b.add(body)
		case *settleMessage:
			r.err = b.settle(body)
		case *extendMessage:
			r.err = b.extend(body)
		case *retryMessage:
			r.err = b.retry(b.bySeq(body.seq))
		case *dropMessage:
			r.err = b.drop(b.bySeq(body.seq))
		}
	}
	if err := b.flush(); err != nil {
		return err
	}
	if err := b.purge(); err != nil {
		return err
	}
	b.shares.write(t)
	d.total.add(t, b.change)
	d.past.add(t, b.aside)
	if b.ready {
		t.notify(leaseNotice)
	}
	return nil
}

// load reads the messages that are named, and the replies of those that are done.
func (b *inboxBatch) load(ids []string, seqs []int64) error {
	const columns = "id, peer, owner, seq, state, due, token, attempts, size, until, last_error FROM inbox WHERE "
	replied := make(map[int64]*message)
	each := func(rows *sql.Rows) error {
		var m message
		err := rows.Scan(&m.id, &m.peer, &m.owner, &m.seq, &m.state, &m.due, &m.token, &m.attempts, &m.size, &m.until, &m.lastError)
		b.rows[m.id] = &m
		if m.state == done && m.size > 0 {
			replied[m.seq] = &m
		}
		return err
	}
	if err := b.t.queryRows(each, "WITH r(id TEXT) SELECT "+columns+"id IN (SELECT id FROM r) ORDER BY id FOR UPDATE", cols{ids}); err != nil {
		return err
	}
	if err := b.t.queryRows(each, "WITH r(seq BIGINT) SELECT "+columns+"seq IN (SELECT seq FROM r) ORDER BY id FOR UPDATE", cols{seqs}); err != nil {
		return err
	}
	// PostgreSQL, which waited for a lock, reads the row that it locked anew, but
	// what is joined to it as it was before: replies are read by a statement of their
	// own.
	return b.t.queryRows(func(rows *sql.Rows) error {
		var seq int64
		var data []byte
		err := rows.Scan(&seq, &data)
		replied[seq].replies = data
		return err
	}, "WITH r(seq BIGINT) SELECT seq, data FROM inbox_reply WHERE seq IN (SELECT seq FROM r)", cols{slices.Sorted(maps.Keys(replied))})
}

// loadShares reads what parties have already, and all.
func (b *inboxBatch) loadShares(parties []string) (err error) {
	if len(parties) == 0 {
		return nil
	}
	if b.all, err = b.total.read(b.t); err != nil {
		return err
	}
	return b.shares.read(b.t, parties)
}

func (b *inboxBatch) bySeq(seq int64) *message {
	for _, m := range b.rows {
		if m.seq == seq {
			return m
		}
	}
	return nil
}

func (b *inboxBatch) add(a *addMessage) error {
	a.lease, a.known = nil, nil
	if old := b.rows[a.id]; old != nil {
		if old.state < done || old.until > b.t.now {
			a.known = &store.Known{State: messageState(old.state, old.due, b.t.now)}
			if a.d > 0 && a.known.State == store.Leased && old.add == nil && !old.changed && b.t.orphaned(old.token) {
				a.known = nil
				b.again(old, a)
				return nil
			}
			var err error
			a.known.Replies, err = decodePackets(old.replies)
			return err
		}
		b.forget(old)
	}
	m := &message{id: a.id, peer: a.peer, owner: a.owner, add: a, until: toMicros(a.m.Until), size: int64(len(a.data))}
	if a.d <= 0 {
		m.seq, m.state = b.t.next(), done
		b.rows[m.id] = m
		b.aside.add(1, m.size)
		return nil
	}
	peer, owner := b.shares.of(m.peer), b.shares.of(m.owner)
	peer.add(1, m.size)
	owner.add(1, m.size)
	if b.all.items+b.change.items+1 > int64(b.cfg.MaxItems) || b.all.bytes+b.change.bytes+m.size > b.cfg.MaxBytes ||
		peer.items > int64(b.cfg.MaxPeerItems) || peer.bytes > b.cfg.MaxPeerBytes ||
		!peer.within(a.peerShare) || m.owner != "" && !owner.within(a.ownerShare) {
		if old := b.rows[a.id]; old != nil && old.gone {
			// What it would have taken the place of is forgotten all the same.
			delete(b.rows, a.id)
		}
		return store.ErrFull
	}
	m.seq, m.state, m.token, m.due, m.attempts = b.t.next(), leased, b.t.token(), b.t.now+a.d.Microseconds(), 1
	b.rows[m.id] = m
	b.count(m, 1)
	a.lease = &store.Lease[store.Received]{Item: *a.m, Until: time.UnixMicro(m.due), Token: uint64(m.token)}
	return nil
}

// again leases a message that came before to the caller: this life has leased it then,
// and the caller was told of an error.
func (b *inboxBatch) again(m *message, a *addMessage) {
	m.changed, m.token, m.due = true, b.t.token(), b.t.now+a.d.Microseconds()
	a.lease = &store.Lease[store.Received]{
		Item: *a.m, Until: time.UnixMicro(m.due), Token: uint64(m.token), Attempts: int(m.attempts) - 1, LastError: m.lastError,
	}
}

// forget removes a message of the past.
func (b *inboxBatch) forget(m *message) {
	m.gone = true
	b.old = append(b.old, m.seq)
	b.aside.add(-1, -m.size)
}

func (b *inboxBatch) count(m *message, sign int64) {
	b.shares.add(m.peer, sign, sign*m.size)
	if m.owner != "" {
		b.shares.add(m.owner, sign, sign*m.size)
	}
	b.change.add(sign, sign*m.size)
}

func (b *inboxBatch) settle(s *settleMessage) error {
	m, err := b.held(s.id, s.token)
	if err != nil {
		return err
	}
	m.changed, m.token = true, 0
	switch s.how {
	case store.Waiting:
		m.state, m.due, b.ready = waiting, b.t.now+s.delay.Microseconds(), true
		m.attempts, m.lastError = tried(m.attempts, m.lastError, s.reason)
	case store.Buried:
		b.pass(m, setAside)
		m.lastError = s.reason
	default:
		m.replies = s.replies
		b.pass(m, done)
	}
	return nil
}

// held is the message that is leased by that lease.
func (b *inboxBatch) held(id string, token int64) (*message, error) {
	m := b.rows[id]
	if m == nil || m.gone || token == 0 || m.token != token || m.due <= b.t.now {
		return nil, store.ErrLease
	}
	return m, nil
}

func (b *inboxBatch) extend(e *extendMessage) error {
	m, err := b.held(e.id, e.token)
	if err != nil {
		return err
	}
	until := b.t.now + e.d.Microseconds()
	b.ready = b.ready || until < m.due
	m.changed, m.due, e.until = true, until, time.UnixMicro(until)
	return nil
}

// pass moves a message to the past.
func (b *inboxBatch) pass(m *message, state int64) {
	b.count(m, -1)
	m.size += int64(len(m.replies))
	m.changed, m.state, m.token, m.due = true, state, 0, 0
	b.aside.add(1, m.size)
}

func (b *inboxBatch) retry(m *message) error {
	switch {
	case m == nil, m.gone, m.bare, m.state == done, m.size == 0:
		return store.ErrNotFound
	case m.state == setAside:
		b.aside.add(-1, -m.size)
		b.count(m, 1)
		m.lastError = ""
	case m.state == leased && m.due > b.t.now:
		return nil
	}
	m.changed, m.state, m.token, m.due, m.attempts = true, waiting, 0, b.t.now, 0
	b.ready = true
	return nil
}

func (b *inboxBatch) drop(m *message) error {
	if m == nil || m.gone || m.bare || m.size == 0 {
		return store.ErrNotFound
	}
	if m.state < done {
		b.pass(m, setAside)
	}
	b.aside.add(0, -m.size)
	m.changed, m.bare, m.size, m.replies = true, true, 0, nil
	return nil
}

// due is when a message is next due.
func (d *inboxTable) due(ctx context.Context, c *statements) (int64, error) {
	return number(ctx, c, "SELECT COALESCE(MIN(due), 9223372036854775807) FROM inbox WHERE state < 2")
}

// lease serves as many requests as there are messages due.
func (d *inboxTable) lease(t *tx, reqs []*request) (int, error) {
	var (
		seqs []int64
		own  = make(map[int64]*store.Lease[store.Received])
	)
	err := t.query(func(rows *sql.Rows) error {
		var seq int64
		err := rows.Scan(&seq)
		seqs = append(seqs, seq)
		return err
	}, "SELECT seq FROM inbox WHERE state < 2 AND due <= ? ORDER BY due, seq LIMIT ? + 0 FOR UPDATE SKIP LOCKED", t.now, len(reqs))
	if err != nil || len(seqs) == 0 {
		return 0, err
	}
	var tokens, untils []int64
	for i, seq := range seqs {
		body := reqs[i].body.(*leaseMessage)
		token, until := t.token(), t.now+body.d.Microseconds()
		tokens, untils = append(tokens, token), append(untils, until)
		body.lease = &store.Lease[store.Received]{Token: uint64(token), Until: time.UnixMicro(until)}
		own[seq] = body.lease
	}
	err = t.queryRows(func(rows *sql.Rows) error {
		var (
			seq int64
			l   store.Lease[store.Received]
		)
		m := messageRow{more: []any{&seq, &l.Attempts, &l.LastError}}
		if err := m.scan(rows, &l.Item); err != nil {
			return err
		}
		if m.broken != nil {
			t.unreadable("inbox", seq, m.broken)
		}
		l.Token, l.Until = own[seq].Token, own[seq].Until
		*own[seq] = l
		return nil
	}, "WITH r(seq BIGINT) SELECT "+messageColumns+", i.seq, i.attempts, i.last_error FROM r JOIN inbox i ON i.seq = r.seq JOIN inbox_packet p ON p.seq = r.seq", cols{seqs})
	if err != nil {
		return 0, err
	}
	err = t.execRows(`WITH r(seq BIGINT, token BIGINT, due BIGINT)
		UPDATE inbox SET state = 1, token = r.token, due = r.due, attempts = attempts + 1 FROM r WHERE inbox.seq = r.seq`, cols{seqs, tokens, untils})
	return len(seqs), err
}
