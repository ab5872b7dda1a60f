package server

import (
	"context"
	"time"

	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/agent/store/sqlstore"
)

// Inbox shows what an agent has received, also while it is served. Close it.
type Inbox struct {
	store  *sqlstore.Store
	packer *envelope.Packer
}

// Letter is an entry of an Inbox, opened; or Err is why it cannot be.
type Letter struct {
	store.Entry[store.Received]
	Message *message.Message
	Err     error
}

// OpenInbox opens the inbox of the agent of a home.
func OpenInbox(ctx context.Context, cfg StoreConfig, n Network) (*Inbox, error) {
	s, err := cfg.openOld(ctx)
	if err != nil {
		return nil, err
	}
	packer, err := cfg.packer(ctx, s, n)
	if err != nil {
		s.Close()
		return nil, err
	}
	return &Inbox{s, packer}, nil
}

// packer opens what is sealed for the agent of a store.
func (c StoreConfig) packer(ctx context.Context, s *sqlstore.Store, n Network) (*envelope.Packer, error) {
	ring, err := c.ring(ctx, s)
	if err != nil {
		return nil, err
	}
	id, err := HomeIdentity(c.Home, ring.Own)
	if err != nil {
		return nil, err
	}
	resolver, err := n.Resolver(id.docs())
	if err != nil {
		return nil, err
	}
	return envelope.New(envelope.Config{Keys: id.Keys, Resolver: resolver})
}

// Close closes the inbox.
func (b *Inbox) Close() error { return b.store.Close() }

const (
	inboxPage = 16 // entries that are read at a time, whole
	// followEvery is how often an inbox is asked for what is new, and settled
	// how long an entry may appear late, behind one that came after it.
	followEvery = 300 * time.Millisecond
	settled     = 10 * time.Second
	// openTimeout bounds how long a sender's DID may take to resolve.
	openTimeout = 10 * time.Second
)

// Each calls f for what is in the inbox, in the order in which it came.
func (b *Inbox) Each(ctx context.Context, f func(Letter) error) error {
	return each(ctx, inboxPage, b.store.Inbox().List, func(e store.Entry[store.Received]) error { return f(b.open(ctx, e)) })
}

// Follow is Each, and goes on with what comes in until ctx ends.
func (b *Inbox) Follow(ctx context.Context, f func(Letter) error) error {
	var after uint64
	shown := map[uint64]bool{} // those above after
	for {
		now := time.Now()
		still := map[uint64]bool{}
		list := func(ctx context.Context, seq uint64, n int) ([]store.Entry[store.Received], error) {
			return b.store.Inbox().List(ctx, max(seq, after), n)
		}
		err := each(ctx, inboxPage, list, func(e store.Entry[store.Received]) error {
			if len(still) == 0 && now.Sub(e.Item.Time) > settled {
				after = e.Seq
			} else {
				still[e.Seq] = true
			}
			if shown[e.Seq] {
				return nil
			}
			return f(b.open(ctx, e))
		})
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		shown = still
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(followEvery):
		}
	}
}

// each lists all entries of an inbox or outbox.
func each[T any](ctx context.Context, page int, list func(context.Context, uint64, int) ([]store.Entry[T], error), f func(store.Entry[T]) error) error {
	for after := uint64(0); ; {
		entries, err := list(ctx, after, page)
		if err != nil || len(entries) == 0 {
			return err
		}
		for _, e := range entries {
			if err := f(e); err != nil {
				return err
			}
		}
		after = entries[len(entries)-1].Seq
	}
}

func (b *Inbox) open(ctx context.Context, e store.Entry[store.Received]) Letter {
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	u, err := b.packer.Unpack(ctx, e.Item.Packet.Data)
	if err != nil {
		return Letter{Entry: e, Err: err}
	}
	return Letter{Entry: e, Message: u.Message}
}
