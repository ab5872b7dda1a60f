package fleet_test

import (
	"context"
	"errors"
	"time"

	"github.com/didcomm-go/didcomm/agent/store"
)

var errDead = errors.New("the process is dead")

// mortalOutbox is an outbox as one process has it: nothing works once that is dead.
type mortalOutbox struct {
	store.Outbox
	up context.Context
}

// mortalInbox is the same of an inbox.
type mortalInbox struct {
	store.Inbox
	up context.Context
}

// alive is ctx, which ends with the process too.
func alive(ctx, up context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(up, cancel)
	return ctx, func() { stop(); cancel() }
}

func (o mortalOutbox) Enqueue(ctx context.Context, items ...store.Item) error {
	if o.up.Err() != nil {
		return errDead
	}
	return o.Outbox.Enqueue(ctx, items...)
}

func (o mortalOutbox) Lease(ctx context.Context, d time.Duration, classes ...store.Class) (*store.Lease[store.Item], error) {
	ctx, cancel := alive(ctx, o.up)
	defer cancel()
	return o.Outbox.Lease(ctx, d, classes...)
}

func (o mortalOutbox) Ack(ctx context.Context, l *store.Lease[store.Item]) error {
	if o.up.Err() != nil {
		return errDead
	}
	return o.Outbox.Ack(ctx, l)
}

func (o mortalOutbox) Nak(ctx context.Context, l *store.Lease[store.Item], delay time.Duration, reason string) error {
	if o.up.Err() != nil {
		return errDead
	}
	return o.Outbox.Nak(ctx, l, delay, reason)
}

func (o mortalOutbox) Term(ctx context.Context, l *store.Lease[store.Item], reason string) error {
	if o.up.Err() != nil {
		return errDead
	}
	return o.Outbox.Term(ctx, l, reason)
}

func (o mortalOutbox) Aside(ctx context.Context, l *store.Lease[store.Item], delay time.Duration, reason string) error {
	if o.up.Err() != nil {
		return errDead
	}
	return o.Outbox.Aside(ctx, l, delay, reason)
}

func (o mortalOutbox) Await(ctx context.Context, l *store.Lease[store.Item]) error {
	if o.up.Err() != nil {
		return errDead
	}
	return o.Outbox.Await(ctx, l)
}

func (o mortalOutbox) Wake(ctx context.Context, to string) error {
	if o.up.Err() != nil {
		return errDead
	}
	return o.Outbox.Wake(ctx, to)
}

func (b mortalInbox) Add(ctx context.Context, m store.Received, d time.Duration) (*store.Lease[store.Received], *store.Known, error) {
	if b.up.Err() != nil {
		return nil, nil, errDead
	}
	return b.Inbox.Add(ctx, m, d)
}

func (b mortalInbox) Lease(ctx context.Context, d time.Duration) (*store.Lease[store.Received], error) {
	ctx, cancel := alive(ctx, b.up)
	defer cancel()
	return b.Inbox.Lease(ctx, d)
}

func (b mortalInbox) Ack(ctx context.Context, l *store.Lease[store.Received], replies ...store.Packet) error {
	if b.up.Err() != nil {
		return errDead
	}
	return b.Inbox.Ack(ctx, l, replies...)
}

func (b mortalInbox) Nak(ctx context.Context, l *store.Lease[store.Received], delay time.Duration, reason string) error {
	if b.up.Err() != nil {
		return errDead
	}
	return b.Inbox.Nak(ctx, l, delay, reason)
}

func (b mortalInbox) Term(ctx context.Context, l *store.Lease[store.Received], reason string) error {
	if b.up.Err() != nil {
		return errDead
	}
	return b.Inbox.Term(ctx, l, reason)
}

func (b mortalInbox) Extend(ctx context.Context, l *store.Lease[store.Received], d time.Duration) (*store.Lease[store.Received], error) {
	if b.up.Err() != nil {
		return nil, errDead
	}
	return b.Inbox.Extend(ctx, l, d)
}

func (b mortalInbox) Remembered(ctx context.Context, sender string, ids []string) ([]string, error) {
	if b.up.Err() != nil {
		return nil, errDead
	}
	return b.Inbox.Remembered(ctx, sender, ids)
}

// mortalRecords is the same of records.
type mortalRecords struct {
	store.Records
	up context.Context
}

func (r mortalRecords) Get(ctx context.Context, collection, key string) (store.Record, error) {
	if r.up.Err() != nil {
		return store.Record{}, errDead
	}
	return r.Records.Get(ctx, collection, key)
}

func (r mortalRecords) Put(ctx context.Context, rec store.Record) (uint64, error) {
	if r.up.Err() != nil {
		return 0, errDead
	}
	return r.Records.Put(ctx, rec)
}

func (r mortalRecords) Delete(ctx context.Context, collection, key string, version uint64) error {
	if r.up.Err() != nil {
		return errDead
	}
	return r.Records.Delete(ctx, collection, key, version)
}

func (r mortalRecords) List(ctx context.Context, q store.Query) ([]store.Record, error) {
	if r.up.Err() != nil {
		return nil, errDead
	}
	return r.Records.List(ctx, q)
}

// mortalMailbox is the same of a mailbox.
type mortalMailbox struct {
	store.Mailbox
	up context.Context
}

func (m mortalMailbox) Deposit(ctx context.Context, mail store.Mail, boxes ...string) error {
	if m.up.Err() != nil {
		return errDead
	}
	return m.Mailbox.Deposit(ctx, mail, boxes...)
}

func (m mortalMailbox) Lease(ctx context.Context, box string, p store.Pick, d time.Duration) ([]store.Mail, error) {
	if m.up.Err() != nil {
		return nil, errDead
	}
	return m.Mailbox.Lease(ctx, box, p, d)
}

func (m mortalMailbox) Ack(ctx context.Context, box string, ids ...string) (int, error) {
	if m.up.Err() != nil {
		return 0, errDead
	}
	return m.Mailbox.Ack(ctx, box, ids...)
}

func (m mortalMailbox) Nak(ctx context.Context, box string, ids ...string) error {
	if m.up.Err() != nil {
		return errDead
	}
	return m.Mailbox.Nak(ctx, box, ids...)
}

func (m mortalMailbox) Purge(ctx context.Context, box string, names ...string) (int, error) {
	if m.up.Err() != nil {
		return 0, errDead
	}
	return m.Mailbox.Purge(ctx, box, names...)
}

func (m mortalMailbox) Wait(ctx context.Context, box string) error {
	ctx, cancel := alive(ctx, m.up)
	defer cancel()
	return m.Mailbox.Wait(ctx, box)
}
