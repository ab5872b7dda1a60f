package sqlstore

import (
	"context"
	"database/sql"
	"maps"
	"slices"
	"time"

	"github.com/didcomm-go/didcomm/agent/store"
)

// States of a message in the tables. From stateDone on, the message is settled.
const (
	stateWaiting = 0
	stateLeased  = 1
	stateDone    = 2
	stateBuried  = 3
)

// messageState is a state as the store returns it. A message whose lease has run out is
// waiting.
func messageState(state, due, now int64) store.State {
	switch {
	case state == stateDone:
		return store.Done
	case state == stateBuried:
		return store.Buried
	case state == stateLeased && due > now:
		return store.Leased
	}
	return store.Waiting
}

// inboxTable runs the operations of the inbox.
type inboxTable struct {
	cfg store.InboxConfig
	// total counts pending messages. past counts settled messages, and the bytes of the
	// packets and replies that are kept with them. Each has the messages of strangers
	// apart, too.
	total, past                   *total
	totalStrangers, pastStrangers *total
	purgeAfter                    int64 // when to look again for messages to forget
}

// message is a row of inbox.
type message struct {
	id, peer, party, owner                 string
	seq, state, due, token, attempts, size int64
	until                                  int64
	lastError                              string
	replies                                []byte
	add                                    *addMessage // set for a new message
	changed, gone, bare                    bool        // bare: the packet and the replies are removed
}

// inboxBatch is the state that the operations of one transaction share.
type inboxBatch struct {
	*inboxTable
	t             *tx
	rows          map[string]*message // by id
	old           []int64             // seqs of messages that were removed
	shares        *shares             // of peers and owners
	parties       *shares             // of settled messages of parties; only changes of the strangers
	all           share               // pending messages, before
	strangers     share               // those of strangers, before
	change        share               // of all
	strangeChange share               // of strangers
	pastChange    share               // of settled messages
	ready         bool                // a message may have become due
}

func (tab *inboxTable) run(t *tx, reqs []*request) error {
	b := &inboxBatch{inboxTable: tab, t: t, rows: make(map[string]*message), shares: newShares("inbox_peer", "peer"), parties: newShares("inbox_party", "party")}
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
	tab.total.add(t, b.change)
	tab.totalStrangers.add(t, b.strangeChange)
	tab.past.add(t, b.pastChange)
	tab.pastStrangers.add(t, b.parties.change[strangers])
	delete(b.parties.change, strangers)
	b.parties.write(t)
	if b.ready {
		t.notify(leaseNotice)
	}
	return nil
}

// load reads messages by id and by seq, and the replies of messages that are done.
func (b *inboxBatch) load(ids []string, seqs []int64) error {
	const columns = "id, peer, party, owner, seq, state, due, token, attempts, size, until, last_error FROM inbox WHERE "
	replied := make(map[int64]*message)
	each := func(rows *sql.Rows) error {
		var m message
		err := rows.Scan(&m.id, &m.peer, &m.party, &m.owner, &m.seq, &m.state, &m.due, &m.token, &m.attempts, &m.size, &m.until, &m.lastError)
		b.rows[m.id] = &m
		if m.state == stateDone && m.size > 0 {
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
	// A statement of PostgreSQL that has waited for the lock of a row reads this row as it
	// is after the wait, but joined rows as they were before. So the replies need a
	// statement of their own.
	return b.t.queryRows(func(rows *sql.Rows) error {
		var seq int64
		var data []byte
		err := rows.Scan(&seq, &data)
		replied[seq].replies = data
		return err
	}, "WITH r(seq BIGINT) SELECT seq, data FROM inbox_reply WHERE seq IN (SELECT seq FROM r)", cols{slices.Sorted(maps.Keys(replied))})
}

// loadShares reads the shares of parties, and the total.
func (b *inboxBatch) loadShares(parties []string) (err error) {
	if len(parties) == 0 {
		return nil
	}
	if b.all, err = b.total.read(b.t); err != nil {
		return err
	}
	if b.strangers, err = b.totalStrangers.read(b.t); err != nil {
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
		if old.state < stateDone || old.until > b.t.now {
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
	m := &message{id: a.id, peer: a.peer, party: a.party, owner: a.owner, add: a, until: toMicros(a.m.Until), size: int64(len(a.data))}
	if a.d <= 0 {
		m.seq, m.state = b.t.next(), stateDone
		b.rows[m.id] = m
		b.remember(m.party, 1, m.size)
		return nil
	}
	peer, owner := b.shares.of(m.peer), b.shares.of(m.owner)
	peer.add(1, m.size)
	owner.add(1, m.size)
	strange := b.strangers
	strange.add(b.strangeChange.items+1, b.strangeChange.bytes+m.size)
	if b.all.items+b.change.items+1 > int64(b.cfg.MaxItems) || b.all.bytes+b.change.bytes+m.size > b.cfg.MaxBytes ||
		peer.items > int64(b.cfg.MaxPeerItems) || peer.bytes > b.cfg.MaxPeerBytes ||
		m.party == strangers && !strange.within(b.cfg.Stranger) ||
		!peer.within(a.peerShare) || m.owner != "" && !owner.within(a.ownerShare) {
		if old := b.rows[a.id]; old != nil && old.gone {
			// The old message, which m would have replaced, is forgotten all the same.
			delete(b.rows, a.id)
		}
		return store.ErrFull
	}
	m.seq, m.state, m.token, m.due, m.attempts = b.t.next(), stateLeased, b.t.token(), b.t.now+a.d.Microseconds(), 1
	b.rows[m.id] = m
	b.count(m, 1)
	a.lease = &store.Lease[store.Received]{Item: *a.m, Until: time.UnixMicro(m.due), Token: uint64(m.token)}
	return nil
}

// again leases an orphaned message to a caller that adds it again: an earlier Add of this
// instance has leased the message, and returned an error.
func (b *inboxBatch) again(m *message, a *addMessage) {
	m.changed, m.token, m.due = true, b.t.token(), b.t.now+a.d.Microseconds()
	a.lease = &store.Lease[store.Received]{
		Item: *a.m, Until: time.UnixMicro(m.due), Token: uint64(m.token), Attempts: int(m.attempts) - 1, LastError: m.lastError,
	}
}

// forget removes a settled message.
func (b *inboxBatch) forget(m *message) {
	m.gone = true
	b.old = append(b.old, m.seq)
	b.remember(m.party, -1, -m.size)
}

// remember counts settled messages, and what is kept with them.
func (b *inboxBatch) remember(party string, items, bytes int64) {
	b.parties.add(party, items, bytes)
	b.pastChange.add(items, bytes)
}

func (b *inboxBatch) count(m *message, sign int64) {
	b.shares.add(m.peer, sign, sign*m.size)
	if m.owner != "" {
		b.shares.add(m.owner, sign, sign*m.size)
	}
	b.change.add(sign, sign*m.size)
	if m.party == strangers {
		b.strangeChange.add(sign, sign*m.size)
	}
}

func (b *inboxBatch) settle(s *settleMessage) error {
	m, err := b.held(s.id, s.token)
	if err != nil {
		return err
	}
	m.changed, m.token = true, 0
	switch s.how {
	case store.Waiting:
		m.state, m.due, b.ready = stateWaiting, b.t.now+s.delay.Microseconds(), true
		m.attempts, m.lastError = tried(m.attempts, m.lastError, s.reason)
	case store.Buried:
		b.pass(m, stateBuried)
		m.lastError = s.reason
	default:
		m.replies = s.replies
		b.pass(m, stateDone)
	}
	return nil
}

// held returns the message that is leased with that token.
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

// pass moves a message from pending to settled.
func (b *inboxBatch) pass(m *message, state int64) {
	b.count(m, -1)
	m.size += int64(len(m.replies))
	m.changed, m.state, m.token, m.due = true, state, 0, 0
	b.remember(m.party, 1, m.size)
}

func (b *inboxBatch) retry(m *message) error {
	switch {
	case m == nil, m.gone, m.bare, m.state == stateDone, m.size == 0:
		return store.ErrNotFound
	case m.state == stateBuried:
		b.remember(m.party, -1, -m.size)
		b.count(m, 1)
		m.lastError = ""
	case m.state == stateLeased && m.due > b.t.now:
		return nil
	}
	m.changed, m.state, m.token, m.due, m.attempts = true, stateWaiting, 0, b.t.now, 0
	b.ready = true
	return nil
}

func (b *inboxBatch) drop(m *message) error {
	if m == nil || m.gone || m.bare || m.size == 0 {
		return store.ErrNotFound
	}
	if m.state < stateDone {
		b.pass(m, stateBuried)
	}
	b.remember(m.party, 0, -m.size)
	m.changed, m.bare, m.size, m.replies = true, true, 0, nil
	return nil
}

// due is when the next message is due.
func (tab *inboxTable) due(ctx context.Context, c *statements, _ []*request) (int64, error) {
	return number(ctx, c, "SELECT COALESCE(MIN(due), 9223372036854775807) FROM inbox WHERE state < 2")
}

// lease leases messages that are due, one for each request.
func (tab *inboxTable) lease(t *tx, reqs []*request) (int, error) {
	var (
		seqs []int64
		own  = make(map[int64]*store.Lease[store.Received])
	)
	err := t.query(func(rows *sql.Rows) error {
		var seq int64
		err := rows.Scan(&seq)
		seqs = append(seqs, seq)
		return err
	}, "SELECT seq FROM inbox WHERE state < 2 AND due <= ? ORDER BY due, seq LIMIT ? + 0 FOR UPDATE SKIP LOCKED", t.now, min(len(reqs), maxBatch))
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
