package home

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/contact"
	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/identity"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/agent/store/sqlstore"
	"github.com/didcomm-go/didcomm/cmd/internal/network"
	"github.com/didcomm-go/didcomm/did"
)

// Inbox is what an agent has received, to see and to change, also while it is
// served. Close it.
type Inbox struct {
	store *sqlstore.Store
	cfg   Config
}

// Letters are the entries of an Inbox, opened.
type Letters struct {
	inbox  store.InboxAdmin
	packer *envelope.Packer
}

// Letter is one of them; Err is why it cannot be opened. Of a parked message
// (agent.IsParked) that can be opened, Item has the sender and the type.
type Letter struct {
	store.Entry[store.Received]
	Message *message.Message
	Err     error
	// PassedOn means that the message was not sent to us (agent.Inbound.Addressed). Signer
	// is the DID that has signed it, empty if none has.
	PassedOn bool
	Signer   string
}

// OpenInbox opens the inbox of the agent of a home.
func OpenInbox(ctx context.Context, cfg Config) (*Inbox, error) {
	s, err := cfg.openOld(ctx)
	if err != nil {
		return nil, err
	}
	return &Inbox{s, cfg}, nil
}

func (b *Inbox) admin() store.InboxAdmin { return b.store.Inbox().(store.InboxAdmin) }

// Letters opens what is in the inbox with the agent's keys.
// The DIDs of their senders resolve within reach.
func (b *Inbox) Letters(ctx context.Context, reach network.Reach) (*Letters, error) {
	h, err := b.cfg.unseal(ctx, b.store)
	if err != nil {
		return nil, err
	}
	resolver, err := reach.Resolver(did.CacheConfig{}, contact.New(b.store, contact.Config{Logger: b.cfg.Logger}).Long)
	if err != nil {
		return nil, err
	}
	packer, err := envelope.New(envelope.Config{Keys: inboxKeys{&allKeys{h.Set, h.Ring}}, Resolver: identity.Before(h.Set, resolver)})
	if err != nil {
		return nil, err
	}
	return &Letters{b.admin(), packer}, nil
}

// inboxKeys are the keys that open messages in the inbox. A message opens as it did for the agent
// that has accepted it: what concerns two DIDs of different parties does not open.
type inboxKeys struct{ *allKeys }

var _ envelope.Relater = inboxKeys{}

// Related reports whether two DIDs of ours belong to the same party.
func (k inboxKeys) Related(ctx context.Context, a, b string) (bool, error) {
	return k.set.Related(ctx, a, b)
}

// Retry makes the messages of an id that wait, or were set aside, due for their
// handlers now.
func (b *Inbox) Retry(ctx context.Context, id string) error {
	return b.change(ctx, id, "no message %s in the inbox waits or was set aside", b.admin().Retry)
}

// Drop removes the messages of an id; that they came stays remembered.
func (b *Inbox) Drop(ctx context.Context, id string) error {
	return b.change(ctx, id, "no message %s in the inbox", b.admin().Drop)
}

// change does something to each message of an id: several senders may use the same.
func (b *Inbox) change(ctx context.Context, id, none string, f func(context.Context, uint64) error) error {
	entries, err := b.admin().Find(ctx, strings.ToLower(id)) // as the agent stores ids
	if err != nil {
		return err
	}
	found := false
	for _, e := range entries {
		err := f(ctx, e.Seq)
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		found = true
	}
	if !found {
		return fmt.Errorf(none, id)
	}
	return nil
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
func (l *Letters) Each(ctx context.Context, f func(Letter) error) error {
	return each(ctx, inboxPage, l.inbox.List, func(e store.Entry[store.Received]) error {
		if isDuplicate(e) {
			return nil
		}
		return f(l.open(ctx, e))
	})
}

// isDuplicate reports whether an entry is a message that was parked and is opened by now:
// the message is in the inbox a second time, under its own id.
func isDuplicate(e store.Entry[store.Received]) bool {
	return agent.IsParked(e.Item) && e.State == store.Done
}

// Follow is Each, and goes on with what comes in until ctx ends.
func (l *Letters) Follow(ctx context.Context, f func(Letter) error) error {
	var after uint64
	shown := map[uint64]bool{} // those above after
	for {
		now := time.Now()
		still := map[uint64]bool{}
		list := func(ctx context.Context, seq uint64, n int) ([]store.Entry[store.Received], error) {
			return l.inbox.List(ctx, max(seq, after), n)
		}
		err := each(ctx, inboxPage, list, func(e store.Entry[store.Received]) error {
			if len(still) == 0 && now.Sub(e.Item.Time) > settled {
				after = e.Seq
			} else {
				still[e.Seq] = true
			}
			if shown[e.Seq] || isDuplicate(e) {
				return nil
			}
			return f(l.open(ctx, e))
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

func (l *Letters) open(ctx context.Context, e store.Entry[store.Received]) Letter {
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	parked := agent.IsParked(e.Item)
	if parked {
		e.Item.Peer = "" // that is no party
	}
	u, err := l.packer.Unpack(ctx, e.Item.Packet.Data)
	if err != nil {
		return Letter{Entry: e, Err: err}
	}
	if parked {
		e.Item.Peer = u.Sender()
		e.Item.Type, e.Item.Thread = u.Message.Type, u.Message.Thread()
	}
	letter := Letter{Entry: e, Message: u.Message}
	if !parked && !u.SentTo(e.Item.To) {
		letter.PassedOn, letter.Signer = true, did.Base(u.Metadata.SignFrom)
	}
	return letter
}
