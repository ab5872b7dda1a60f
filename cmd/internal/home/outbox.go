package home

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/agent/store/sqlstore"
)

// Outbox shows what an agent has to deliver, and what it gave up, also while it
// is served. Close it.
type Outbox struct{ store *sqlstore.Store }

const outboxPage = 500 // entries that are read at a time, without packets

// OpenOutbox opens the outbox of the agent of a home.
func OpenOutbox(ctx context.Context, cfg Config) (*Outbox, error) {
	s, err := cfg.openOld(ctx)
	if err != nil {
		return nil, err
	}
	return &Outbox{s}, nil
}

// Close closes the outbox.
func (o *Outbox) Close() error { return o.store.Close() }

func (o *Outbox) admin() store.OutboxAdmin { return o.store.Outbox().(store.OutboxAdmin) }

// Each calls f for what is in the outbox, in the order in which it came, the
// packets left out.
func (o *Outbox) Each(ctx context.Context, f func(store.Entry[store.Item]) error) error {
	return each(ctx, outboxPage, o.admin().List, f)
}

// Find returns the entry of an id, or those of the message that has it: one for
// each of its recipients.
func (o *Outbox) Find(ctx context.Context, id string) ([]store.Entry[store.Item], error) {
	box := o.admin()
	one, err := box.Get(ctx, id)
	if err == nil {
		return []store.Entry[store.Item]{one}, nil
	}
	if !errors.Is(err, store.ErrNotFound) {
		return nil, err
	}
	var found []store.Entry[store.Item]
	err = o.Each(ctx, func(e store.Entry[store.Item]) error {
		if !strings.EqualFold(e.Item.MessageID, id) {
			return nil
		}
		whole, err := box.Get(ctx, e.Item.ID)
		if errors.Is(err, store.ErrNotFound) {
			return nil // delivered meanwhile
		}
		found = append(found, whole)
		return err
	})
	if err == nil && len(found) == 0 {
		err = fmt.Errorf("no message %s in the outbox: it was delivered or dropped, or never was there", id)
	}
	return found, err
}

// Retry makes entries due now; what was given up is tried again within a time.
func (o *Outbox) Retry(ctx context.Context, entries []store.Entry[store.Item], within time.Duration) error {
	return o.all(entries, func(id string) error {
		return o.admin().Retry(ctx, id, time.Now().Add(within))
	})
}

// Drop removes entries for good.
func (o *Outbox) Drop(ctx context.Context, entries []store.Entry[store.Item]) error {
	return o.all(entries, func(id string) error { return o.admin().Drop(ctx, id) })
}

func (o *Outbox) all(entries []store.Entry[store.Item], f func(id string) error) error {
	for _, e := range entries {
		err := f(e.Item.ID)
		if errors.Is(err, store.ErrNotFound) {
			err = fmt.Errorf("message %s was delivered or dropped meanwhile", e.Item.MessageID)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
