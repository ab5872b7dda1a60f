package sqlstore

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/didcomm-go/didcomm/agent/store"
)

// Outbox is a [store.Outbox] and a [store.OutboxAdmin].
type Outbox struct {
	w     *writer
	read  *statements
	table *outboxTable
}

var (
	_ store.Outbox      = (*Outbox)(nil)
	_ store.OutboxAdmin = (*Outbox)(nil)
)

// The operations of an outboxTable.
type (
	enqueue struct{ items []newItem }
	settle  struct {
		id, peer string
		token    int64
		how      store.State // Done, Waiting or Buried
		aside    bool        // see Aside
		delay    time.Duration
		reason   string
	}
	awaitItem struct {
		id, peer string
		token    int64
	}
	wakePeer  struct{ peers []string } // one for each class
	retryItem struct {
		id       string
		deadline time.Time
	}
	dropItem  struct{ id string }
	leaseItem struct {
		d       time.Duration
		classes classSet
		lease   *store.Lease[store.Item] // the answer
	}
)

func (e *enqueue) bytes() (n int) {
	for i := range e.items {
		n += len(e.items[i].data)
	}
	return n
}

var (
	_ leasing  = (*leaseItem)(nil)
	_ settling = (*settle)(nil)
)

func (l *leaseItem) leased() (int64, time.Time) { return tokenOf(l.lease) }

func (l *leaseItem) wants() classSet { return l.classes }

func (s *settle) settled() int64 { return s.token }

// newItem is an item as the tables store it.
type newItem struct {
	id, peer, lane, owner   string
	ownerShare              store.Share
	created, deadline, size int64
	names, data             []byte
}

// Enqueue implements store.Outbox.
func (o *Outbox) Enqueue(ctx context.Context, items ...store.Item) error {
	if len(items) == 0 {
		return ctx.Err()
	}
	return o.w.do(ctx, o.table, newEnqueue(items))
}

func newEnqueue(items []store.Item) *enqueue {
	ready := make([]newItem, len(items))
	for i := range items {
		it := &items[i]
		ready[i] = newItem{
			id: key(it.ID), peer: peerKey(it.To, it.Class.Number()), lane: key(cmp.Or(it.Lane, it.Thread)), owner: ownerKey(it.Owner), ownerShare: it.OwnerShare,
			created: toMicros(it.Created), deadline: toMicros(it.Deadline), size: it.Bytes(),
			names: encodeItemNames(it), data: encodeItem(it),
		}
	}
	return &enqueue{ready}
}

// Lease implements store.Outbox.
func (o *Outbox) Lease(ctx context.Context, d time.Duration, classes ...store.Class) (*store.Lease[store.Item], error) {
	r := &leaseItem{d: d, classes: setOf(classes)}
	if err := o.w.lease(ctx, o.table, r); err != nil {
		return nil, err
	}
	return r.lease, nil
}

// Ack implements store.Outbox.
func (o *Outbox) Ack(ctx context.Context, l *store.Lease[store.Item]) error {
	return o.settle(ctx, l, settle{how: store.Done})
}

// Nak implements store.Outbox.
func (o *Outbox) Nak(ctx context.Context, l *store.Lease[store.Item], delay time.Duration, reason string) error {
	return o.settle(ctx, l, settle{how: store.Waiting, delay: delay, reason: clean(reason)})
}

// Aside implements store.Outbox.
func (o *Outbox) Aside(ctx context.Context, l *store.Lease[store.Item], delay time.Duration, reason string) error {
	return o.settle(ctx, l, settle{how: store.Waiting, aside: true, delay: delay, reason: clean(reason)})
}

// Await implements store.Outbox.
func (o *Outbox) Await(ctx context.Context, l *store.Lease[store.Item]) error {
	if l.Token == 0 {
		return store.ErrLease
	}
	return o.w.do(ctx, o.table, &awaitItem{id: key(l.Item.ID), peer: peerKey(l.Item.To, l.Item.Class.Number()), token: int64(l.Token)})
}

// Term implements store.Outbox.
func (o *Outbox) Term(ctx context.Context, l *store.Lease[store.Item], reason string) error {
	return o.settle(ctx, l, settle{how: store.Buried, reason: clean(reason)})
}

func (o *Outbox) settle(ctx context.Context, l *store.Lease[store.Item], s settle) error {
	s.id, s.peer, s.token = key(l.Item.ID), peerKey(l.Item.To, l.Item.Class.Number()), int64(l.Token)
	if s.token == 0 {
		return store.ErrLease
	}
	return o.w.do(ctx, o.table, &s)
}

// Wake implements store.Outbox.
func (o *Outbox) Wake(ctx context.Context, to string) error {
	var w wakePeer
	for class := range classes {
		w.peers = append(w.peers, peerKey(to, class))
	}
	return o.w.do(ctx, o.table, &w)
}

// Retry implements store.OutboxAdmin.
func (o *Outbox) Retry(ctx context.Context, id string, deadline time.Time) error {
	return o.w.do(ctx, o.table, &retryItem{key(id), deadline})
}

// Drop implements store.OutboxAdmin.
func (o *Outbox) Drop(ctx context.Context, id string) error {
	return o.w.do(ctx, o.table, &dropItem{key(id)})
}

// entryColumns are the columns that showItem reads.
const entryColumns = "o.seq, o.class, o.place, o.due, o.token, o.attempts, o.last_error, o.created, o.deadline, p.names"

// List implements store.OutboxAdmin.
func (o *Outbox) List(ctx context.Context, after uint64, n int) ([]store.Entry[store.Item], error) {
	var list []store.Entry[store.Item]
	err := o.read.query(ctx, func(rows *sql.Rows) error {
		e, err := showItem(rows)
		list = append(list, e)
		return err
	}, "SELECT "+entryColumns+" FROM outbox o JOIN outbox_packet p ON p.seq = o.seq WHERE o.seq > ? ORDER BY o.seq LIMIT ? + 0",
		int64(min(after, never)), max(n, 0))
	return list, o.w.readError(ctx, err)
}

// Get implements store.OutboxAdmin.
func (o *Outbox) Get(ctx context.Context, id string) (store.Entry[store.Item], error) {
	var (
		e     store.Entry[store.Item]
		found bool
	)
	err := o.read.query(ctx, func(rows *sql.Rows) error {
		found = true
		var data []byte
		var err error
		if e, err = showItem(rows, &data); err != nil {
			return err
		}
		return decodeItem(data, &e.Item)
	}, "SELECT "+entryColumns+", p.data FROM outbox o JOIN outbox_packet p ON p.seq = o.seq WHERE o.id = ?", key(id))
	if err == nil && !found {
		return e, store.ErrNotFound
	}
	return e, o.w.readError(ctx, err)
}

func showItem(rows *sql.Rows, more ...any) (e store.Entry[store.Item], err error) {
	var (
		seq, class, place, due, token, created, deadline int64
		names                                            []byte
	)
	err = rows.Scan(append([]any{&seq, &class, &place, &due, &token, &e.Attempts, &e.LastError, &created, &deadline, &names}, more...)...)
	if err != nil {
		return e, err
	}
	e.Seq, e.State, e.Item.Class = uint64(seq), store.Waiting, classes[class]
	switch {
	case place == placeBuried:
		e.State = store.Buried
	case token != 0 && due > time.Now().UnixMicro():
		e.State = store.Leased
	}
	if place == placeHead {
		e.Due = fromMicros(due)
	}
	e.Item.Created, e.Item.Deadline = fromMicros(created), fromMicros(deadline)
	return e, decodeItemNames(names, &e.Item)
}

// readError returns the error of a query to the caller. If ctx has ended, the driver may
// have an error of its own for this, and readError returns the error of ctx.
func (w *writer) readError(ctx context.Context, err error) error {
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	}
	return w.storeError(fmt.Errorf("read: %w", err), w.db.Fault(err))
}
