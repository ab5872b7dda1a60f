package storetest

import (
	"context"
	"slices"
	"time"

	"github.com/didcomm-go/didcomm/agent/store"
)

type faultyOutbox struct {
	store.Outbox
	f *Faults
}

func (o faultyOutbox) Enqueue(ctx context.Context, items ...store.Item) error {
	return o.f.call(ctx, func() error { return o.Outbox.Enqueue(ctx, items...) })
}

func (o faultyOutbox) Lease(ctx context.Context, d time.Duration, classes ...store.Class) (*store.Lease[store.Item], error) {
	return await(o.f, ctx, func(ctx context.Context) (*store.Lease[store.Item], error) { return o.Outbox.Lease(ctx, d, classes...) })
}

func (o faultyOutbox) Ack(ctx context.Context, l *store.Lease[store.Item]) error {
	return o.f.call(ctx, func() error { return o.Outbox.Ack(ctx, l) })
}

func (o faultyOutbox) Nak(ctx context.Context, l *store.Lease[store.Item], delay time.Duration, reason string) error {
	return o.f.call(ctx, func() error { return o.Outbox.Nak(ctx, l, delay, reason) })
}

func (o faultyOutbox) Aside(ctx context.Context, l *store.Lease[store.Item], delay time.Duration, reason string) error {
	return o.f.call(ctx, func() error { return o.Outbox.Aside(ctx, l, delay, reason) })
}

func (o faultyOutbox) Await(ctx context.Context, l *store.Lease[store.Item]) error {
	return o.f.call(ctx, func() error { return o.Outbox.Await(ctx, l) })
}

func (o faultyOutbox) Term(ctx context.Context, l *store.Lease[store.Item], reason string) error {
	return o.f.call(ctx, func() error { return o.Outbox.Term(ctx, l, reason) })
}

func (o faultyOutbox) Wake(ctx context.Context, to string) error {
	return o.f.call(ctx, func() error { return o.Outbox.Wake(ctx, to) })
}

type faultyInbox struct {
	store.Inbox
	f *Faults
}

func (b faultyInbox) Add(ctx context.Context, m store.Received, d time.Duration) (l *store.Lease[store.Received], known *store.Known, err error) {
	err = b.f.call(ctx, func() (err error) {
		l, known, err = b.Inbox.Add(ctx, m, d)
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	return l, known, nil
}

func (b faultyInbox) Lease(ctx context.Context, d time.Duration) (*store.Lease[store.Received], error) {
	return await(b.f, ctx, func(ctx context.Context) (*store.Lease[store.Received], error) { return b.Inbox.Lease(ctx, d) })
}

func (b faultyInbox) Extend(ctx context.Context, l *store.Lease[store.Received], d time.Duration) (*store.Lease[store.Received], error) {
	return ask(b.f, ctx, func() (*store.Lease[store.Received], error) { return b.Inbox.Extend(ctx, l, d) })
}

func (b faultyInbox) Ack(ctx context.Context, l *store.Lease[store.Received], replies ...store.Packet) error {
	return b.f.call(ctx, func() error { return b.Inbox.Ack(ctx, l, replies...) })
}

func (b faultyInbox) Nak(ctx context.Context, l *store.Lease[store.Received], delay time.Duration, reason string) error {
	return b.f.call(ctx, func() error { return b.Inbox.Nak(ctx, l, delay, reason) })
}

func (b faultyInbox) Term(ctx context.Context, l *store.Lease[store.Received], reason string) error {
	return b.f.call(ctx, func() error { return b.Inbox.Term(ctx, l, reason) })
}

func (b faultyInbox) Remembered(ctx context.Context, sender string, ids []string) ([]string, error) {
	return ask(b.f, ctx, func() ([]string, error) { return b.Inbox.Remembered(ctx, sender, ids) })
}

type faultyRecords struct {
	store.Records
	f *Faults
}

func (r faultyRecords) Get(ctx context.Context, collection, key string) (store.Record, error) {
	return ask(r.f, ctx, func() (store.Record, error) { return r.Records.Get(ctx, collection, key) })
}

func (r faultyRecords) Put(ctx context.Context, rec store.Record) (uint64, error) {
	return ask(r.f, ctx, func() (uint64, error) { return r.Records.Put(ctx, rec) })
}

func (r faultyRecords) Delete(ctx context.Context, collection, key string, version uint64) error {
	return r.f.call(ctx, func() error { return r.Records.Delete(ctx, collection, key, version) })
}

func (r faultyRecords) List(ctx context.Context, q store.Query) ([]store.Record, error) {
	return ask(r.f, ctx, func() ([]store.Record, error) { return r.Records.List(ctx, q) })
}

type faultyStore struct {
	store.Store
	f *Faults
}

func (s faultyStore) Outbox() store.Outbox   { return s.f.Outbox(s.Store.Outbox()) }
func (s faultyStore) Inbox() store.Inbox     { return s.f.Inbox(s.Store.Inbox()) }
func (s faultyStore) Records() store.Records { return s.f.Records(s.Store.Records()) }

func (s faultyStore) Commit(ctx context.Context, c *store.Changes) error {
	done := *c
	done.Put = slices.Clone(c.Put) // the caller does not see the versions of a call that fails
	err := s.f.call(ctx, func() error { return s.Store.Commit(ctx, &done) })
	if err == nil {
		copy(c.Put, done.Put)
	}
	return err
}

type faultyMailbox struct {
	store.Mailbox
	f *Faults
}

func (m faultyMailbox) Deposit(ctx context.Context, p store.Mail, boxes ...string) error {
	return m.f.call(ctx, func() error { return m.Mailbox.Deposit(ctx, p, boxes...) })
}

func (m faultyMailbox) Lease(ctx context.Context, box string, p store.Pick, d time.Duration) ([]store.Mail, error) {
	return ask(m.f, ctx, func() ([]store.Mail, error) { return m.Mailbox.Lease(ctx, box, p, d) })
}

func (m faultyMailbox) Ack(ctx context.Context, box string, ids ...string) (int, error) {
	return ask(m.f, ctx, func() (int, error) { return m.Mailbox.Ack(ctx, box, ids...) })
}

func (m faultyMailbox) Nak(ctx context.Context, box string, ids ...string) error {
	return m.f.call(ctx, func() error { return m.Mailbox.Nak(ctx, box, ids...) })
}

func (m faultyMailbox) Status(ctx context.Context, box string, names ...string) (store.MailboxStatus, error) {
	return ask(m.f, ctx, func() (store.MailboxStatus, error) { return m.Mailbox.Status(ctx, box, names...) })
}

func (m faultyMailbox) Wait(ctx context.Context, box string) error {
	_, err := await(m.f, ctx, func(ctx context.Context) (struct{}, error) { return struct{}{}, m.Mailbox.Wait(ctx, box) })
	return err
}

func (m faultyMailbox) Boxes(ctx context.Context, after string, n int) ([]store.BoxStatus, error) {
	return ask(m.f, ctx, func() ([]store.BoxStatus, error) { return m.Mailbox.Boxes(ctx, after, n) })
}

func (m faultyMailbox) Purge(ctx context.Context, box string, names ...string) (int, error) {
	return ask(m.f, ctx, func() (int, error) { return m.Mailbox.Purge(ctx, box, names...) })
}

type faultyKeys struct {
	store.SealedKeys
	f *Faults
}

func (k faultyKeys) Wrapping(ctx context.Context) ([]byte, error) {
	return ask(k.f, ctx, func() ([]byte, error) { return k.SealedKeys.Wrapping(ctx) })
}

func (k faultyKeys) SetWrapping(ctx context.Context, old, wrapped []byte) error {
	return k.f.call(ctx, func() error { return k.SealedKeys.SetWrapping(ctx, old, wrapped) })
}

func (k faultyKeys) Put(ctx context.Context, keys ...store.SealedKey) error {
	return k.f.call(ctx, func() error { return k.SealedKeys.Put(ctx, keys...) })
}

func (k faultyKeys) All(ctx context.Context) ([]store.SealedKey, error) {
	return ask(k.f, ctx, func() ([]store.SealedKey, error) { return k.SealedKeys.All(ctx) })
}

func (k faultyKeys) Delete(ctx context.Context, kid string) error {
	return k.f.call(ctx, func() error { return k.SealedKeys.Delete(ctx, kid) })
}
