package store

import (
	"context"
	"sync"
)

// Config has the limits of a Store in memory. Zero fields take the defaults.
type Config struct {
	Outbox  OutboxConfig
	Inbox   InboxConfig
	Records RecordsConfig
}

// New makes a Store in memory. Its parts share one lock, under which Commit makes all
// changes at once.
func New(cfg Config) Store {
	m := new(memory)
	m.outbox, m.inbox, m.records = newOutbox(cfg.Outbox, &m.mu), newInbox(cfg.Inbox, &m.mu), newRecords(cfg.Records, &m.mu)
	return m
}

type memory struct {
	mu      sync.Mutex // guards what is in the parts
	outbox  *outbox
	inbox   *inbox
	records *records
}

func (m *memory) Outbox() Outbox   { return m.outbox }
func (m *memory) Inbox() Inbox     { return m.inbox }
func (m *memory) Records() Records { return m.records }

func (m *memory) Commit(ctx context.Context, c *Changes) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	changes, err := m.records.check(c.Delete, c.Put)
	if err != nil {
		return err
	}
	if err := m.outbox.check(c.Enqueue); err != nil {
		return err
	}
	if c.Ack != nil {
		message, err := m.inbox.held(c.Ack)
		if err != nil {
			return err
		}
		m.inbox.done(message, c.Replies)
	}
	m.records.change(changes, c.Put)
	m.outbox.enqueue(c.Enqueue)
	return nil
}
