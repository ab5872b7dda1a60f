package sqlstore

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"slices"
	"time"

	"github.com/didcomm-go/didcomm/agent/store"
)

// Inbox is a [store.Inbox] and a [store.InboxAdmin].
type Inbox struct {
	w     *writer
	read  *statements
	table *inboxTable
}

var (
	_ store.Inbox      = (*Inbox)(nil)
	_ store.InboxAdmin = (*Inbox)(nil)
)

// The operations of an inboxTable.
type (
	addMessage struct {
		id, peer, owner       string // keys
		party, message        string
		peerShare, ownerShare store.Share
		m                     *store.Received
		names, data           []byte
		d                     time.Duration
		lease                 *store.Lease[store.Received] // the answer: lease or known
		known                 *store.Known
	}
	settleMessage struct {
		id      string
		token   int64
		how     store.State // Done, Waiting or Buried
		delay   time.Duration
		reason  string
		replies []byte
	}
	extendMessage struct {
		id    string
		token int64
		d     time.Duration
		until time.Time // the answer
	}
	retryMessage struct{ seq int64 }
	dropMessage  struct{ seq int64 }
	leaseMessage struct {
		d     time.Duration
		lease *store.Lease[store.Received] // the answer
	}
)

func (a *addMessage) bytes() int { return len(a.data) }

var (
	_ leasing  = (*addMessage)(nil)
	_ leasing  = (*leaseMessage)(nil)
	_ leasing  = (*extendMessage)(nil)
	_ settling = (*settleMessage)(nil)
)

func (a *addMessage) leased() (int64, time.Time) { return tokenOf(a.lease) }

func (l *leaseMessage) leased() (int64, time.Time) { return tokenOf(l.lease) }

func (l *leaseMessage) wants() classSet { return 0 }

func (e *extendMessage) leased() (int64, time.Time) { return e.token, e.until }

// tokenOf returns the token and the end of a lease, zero for a nil lease.
func tokenOf[T any](l *store.Lease[T]) (token int64, until time.Time) {
	if l == nil {
		return 0, time.Time{}
	}
	return int64(l.Token), l.Until
}

func (s *settleMessage) settled() int64 { return s.token }

// Add implements store.Inbox.
func (b *Inbox) Add(ctx context.Context, m store.Received, d time.Duration) (*store.Lease[store.Received], *store.Known, error) {
	r := &addMessage{
		id: messageKey(m.Sender, m.ID), peer: key(m.Peer), party: partyKey(key(m.Peer), m.Class), message: key(m.ID), owner: ownerKey(m.Owner), peerShare: m.PeerShare, ownerShare: m.OwnerShare, m: &m, d: d,
		names: encodeOwned(m.Owner, m.Sender, m.ID, m.Peer, m.To, m.Type, m.Thread, m.Packet.MediaType), data: orEmpty(m.Packet.Data),
	}
	m.PeerShare, m.OwnerShare, m.Class = store.Share{}, store.Share{}, classes[m.Class.Number()]
	if err := b.w.do(ctx, b.table, r); err != nil {
		return nil, nil, err
	}
	return r.lease, r.known, nil
}

// Lease implements store.Inbox.
func (b *Inbox) Lease(ctx context.Context, d time.Duration) (*store.Lease[store.Received], error) {
	r := &leaseMessage{d: d}
	if err := b.w.lease(ctx, b.table, r); err != nil {
		return nil, err
	}
	return r.lease, nil
}

// Extend implements store.Inbox.
func (b *Inbox) Extend(ctx context.Context, l *store.Lease[store.Received], d time.Duration) (*store.Lease[store.Received], error) {
	r := &extendMessage{id: messageKey(l.Item.Sender, l.Item.ID), token: int64(l.Token), d: d}
	if r.token == 0 {
		return nil, store.ErrLease
	}
	if err := b.w.do(ctx, b.table, r); err != nil {
		return nil, err
	}
	extended := *l
	extended.Until = r.until
	return &extended, nil
}

// Ack implements store.Inbox.
func (b *Inbox) Ack(ctx context.Context, l *store.Lease[store.Received], replies ...store.Packet) error {
	return b.settle(ctx, l, settleMessage{how: store.Done, replies: encodePackets(replies)})
}

// Nak implements store.Inbox.
func (b *Inbox) Nak(ctx context.Context, l *store.Lease[store.Received], delay time.Duration, reason string) error {
	return b.settle(ctx, l, settleMessage{how: store.Waiting, delay: delay, reason: clean(reason)})
}

// Term implements store.Inbox.
func (b *Inbox) Term(ctx context.Context, l *store.Lease[store.Received], reason string) error {
	return b.settle(ctx, l, settleMessage{how: store.Buried, reason: clean(reason)})
}

func (b *Inbox) settle(ctx context.Context, l *store.Lease[store.Received], s settleMessage) error {
	s.id, s.token = messageKey(l.Item.Sender, l.Item.ID), int64(l.Token)
	if s.token == 0 {
		return store.ErrLease
	}
	return b.w.do(ctx, b.table, &s)
}

// Remembered implements store.Inbox.
func (b *Inbox) Remembered(ctx context.Context, sender string, ids []string) ([]string, error) {
	type found struct {
		id  string
		seq int64
	}
	var known []found
	byKey := make(map[string]string, len(ids))
	keys := make([]string, len(ids))
	for i, id := range ids {
		keys[i] = messageKey(sender, id)
		byKey[keys[i]] = id
	}
	err := b.read.queryRows(ctx, func(rows *sql.Rows) error {
		var id string
		var seq int64
		err := rows.Scan(&id, &seq)
		known = append(known, found{byKey[id], seq})
		return err
	}, "WITH r(id TEXT) SELECT id, seq FROM inbox WHERE id IN (SELECT id FROM r) AND (state < 2 OR until > ?)", cols{keys}, time.Now().UnixMicro())
	if err != nil {
		return nil, b.w.readError(ctx, err)
	}
	slices.SortFunc(known, func(a, b found) int { return cmp.Compare(a.seq, b.seq) })
	list := make([]string, len(known))
	for i := range known {
		list[i] = known[i].id
	}
	return list, nil
}

// List implements store.InboxAdmin.
func (b *Inbox) List(ctx context.Context, after uint64, n int) ([]store.Entry[store.Received], error) {
	return b.entries(ctx, "WHERE p.seq > ? AND LENGTH(p.data) > 0 ORDER BY p.seq LIMIT ? + 0", int64(min(after, never)), max(n, 0))
}

// Find implements store.InboxAdmin.
func (b *Inbox) Find(ctx context.Context, id string) ([]store.Entry[store.Received], error) {
	list, err := b.entries(ctx, "WHERE p.message IN (?, '') AND LENGTH(p.data) > 0 ORDER BY p.seq", key(id))
	return slices.DeleteFunc(list, func(e store.Entry[store.Received]) bool { return e.Item.ID != id }), err
}

// entries reads the entries that a condition selects.
func (b *Inbox) entries(ctx context.Context, condition string, args ...any) ([]store.Entry[store.Received], error) {
	var list []store.Entry[store.Received]
	now := time.Now().UnixMicro()
	err := b.read.query(ctx, func(rows *sql.Rows) error {
		var (
			e               store.Entry[store.Received]
			seq, state, due int64
		)
		m := messageRow{more: []any{&seq, &state, &due, &e.Attempts, &e.LastError}}
		err := m.scan(rows, &e.Item)
		e.Seq, e.State = uint64(seq), messageState(state, due, now)
		if state < stateDone {
			e.Due = fromMicros(due)
		}
		list = append(list, e)
		return errors.Join(err, m.broken)
	}, "SELECT "+messageColumns+", i.seq, i.state, i.due, i.attempts, i.last_error FROM inbox_packet p JOIN inbox i ON i.seq = p.seq "+condition, args...)
	return list, b.w.readError(ctx, err)
}

// Retry implements store.InboxAdmin.
func (b *Inbox) Retry(ctx context.Context, seq uint64) error {
	return b.w.do(ctx, b.table, &retryMessage{int64(min(seq, never))})
}

// Drop implements store.InboxAdmin.
func (b *Inbox) Drop(ctx context.Context, seq uint64) error {
	return b.w.do(ctx, b.table, &dropMessage{int64(min(seq, never))})
}

// messageColumns are the columns that a messageRow reads first.
const messageColumns = "i.class, i.received, i.until, p.names, p.data"

type messageRow struct {
	more   []any
	broken error // names cannot be decoded
}

func (r *messageRow) scan(rows *sql.Rows, m *store.Received) error {
	var (
		class, received, until int64
		names                  []byte
	)
	if err := rows.Scan(append([]any{&class, &received, &until, &names, &m.Packet.Data}, r.more...)...); err != nil {
		return err
	}
	m.Class, m.Time, m.Until = classes[class], fromMicros(received), fromMicros(until)
	r.broken = decodeOwned(names, &m.Owner, &m.Sender, &m.ID, &m.Peer, &m.To, &m.Type, &m.Thread, &m.Packet.MediaType)
	return nil
}

// orEmpty returns data, or an empty slice for a column that is NOT NULL.
func orEmpty(data []byte) []byte {
	if data == nil {
		return []byte{}
	}
	return data
}
