package client

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/cmd/internal/home"
	"github.com/didcomm-go/didcomm/did"
	"github.com/didcomm-go/didcomm/protocols/empty"
	"github.com/didcomm-go/didcomm/protocols/report"
	"github.com/didcomm-go/didcomm/transport"
)

// PostConfig says how Post sends.
type PostConfig struct {
	Config // Home is the agent's
	// Timeout is how long delivery is tried before the message is left in the
	// outbox.
	Timeout time.Duration
	// NoQueue makes Post deliver the message itself, or fail.
	NoQueue bool
	// Ack is NoQueue, and waits until the recipient has acknowledged the message,
	// which asks for that.
	Ack bool
}

// Posted is what became of a message: it was delivered, or the outbox has it.
type Posted struct {
	Queued bool
	// Served tells that an agent serves the home, which delivers what is queued.
	Served bool
	// Err is why Post could not deliver what is queued; nil if it did not try.
	Err error
}

// Post sends a message as the agent of a home. While that is served, the message
// goes into its outbox, unless it is to go by WebSocket. While it is not, Post
// delivers the message itself, and leaves it in the outbox where that fails for
// now. After an error the message was not kept.
func Post(ctx context.Context, cfg PostConfig, m *message.Message) (posted Posted, err error) {
	served, err := home.Served(cfg.Home.Dir)
	if err != nil {
		return Posted{}, err
	}
	h, err := home.Open(ctx, cfg.Home)
	if err != nil {
		return Posted{}, err
	}
	defer func() { err = errors.Join(err, h.Close()) }()
	id, err := h.Sender()
	if err != nil {
		return Posted{}, err
	}

	try := newAttempt(m, h.Store.Outbox())
	if !served || cfg.NoQueue || cfg.Ack || cfg.WebSocket {
		try.Outbox = store.NewOutbox(store.OutboxConfig{})
	}
	c, err := start(cfg.Config, id, func(c *Client, senders map[string]transport.Sender) agent.Config {
		c.sent = m
		return agent.Config{
			Handler: c.unserved(), Senders: senders,
			Outbox: try, Inbox: unserved{h.Store.Inbox()},
			AckTimeout: cfg.Timeout / 2,
		}
	})
	if err != nil {
		return Posted{}, err
	}
	defer func() { err = errors.Join(err, c.Close()) }()

	failed := c.post(ctx, cfg, m, try)
	var refused *refusedError
	switch {
	case errors.As(failed, &refused):
		return Posted{}, failed
	case failed == nil && try.Outbox == nil:
		return Posted{Queued: true, Served: true}, nil
	case failed == nil:
		_ = c.Close() // its error is joined above
		return Posted{Served: served}, c.problem()
	case cfg.NoQueue || cfg.Ack:
		return Posted{}, failed
	}
	if err := c.Close(); err != nil { // before another sends it
		return Posted{}, err
	}
	switch items, delivered := try.held(); {
	case delivered: // at the last moment
		return Posted{Served: served}, c.problem()
	case len(items) == 0:
		return Posted{}, failed
	default:
		err = h.Store.Outbox().Enqueue(context.WithoutCancel(ctx), items...)
	}
	if err != nil {
		return Posted{}, err
	}
	return Posted{Queued: true, Served: served, Err: failed}, nil
}

// Once delivers a message, or fails, as an agent that only the message needs: of
// the keys of Home if that has any, else of new ones that are forgotten. It does
// not touch the outbox of a home.
func Once(ctx context.Context, cfg PostConfig, m *message.Message) error {
	keys, err := cfg.keys(ctx)
	if err != nil {
		return err
	}
	id, err := keys.Peer(did.QueueURI)
	if err != nil {
		return err
	}
	outbox := store.NewOutbox(store.OutboxConfig{})
	try := newAttempt(m, outbox)
	try.Outbox = outbox
	c, err := start(cfg.Config, id, func(c *Client, senders map[string]transport.Sender) agent.Config {
		c.sent = m
		return agent.Config{Handler: c.mux(), Senders: senders, Outbox: try, AckTimeout: cfg.Timeout / 2}
	})
	if err != nil {
		return err
	}
	failed := c.post(ctx, cfg, m, try)
	if err := errors.Join(failed, c.Close()); err != nil {
		return err
	}
	return c.problem()
}

// post hands a message to the outbox and, if that is one in memory, waits for the
// outcome. A failure that is a refusedError is final.
func (c *Client) post(ctx context.Context, cfg PostConfig, m *message.Message, try *attempt) error {
	ctx, cancel := context.WithTimeout(ctx, cfg.Timeout)
	defer cancel()
	done := make(chan error, 1)
	go func() {
		if cfg.Ack {
			_, err := c.agent.Request(ctx, m)
			if p := (*message.Problem)(nil); errors.As(err, &p) {
				err = reported(p)
			}
			done <- refused(err)
			return
		}
		err := c.agent.Send(ctx, m, agent.ReturnRoute("all"))
		if err != nil || try.Outbox == nil {
			done <- refused(err)
		}
	}()
	timeout := ctx.Done()
	if try.Outbox == nil {
		timeout = nil // Send knows whether it was in time
	}
	for {
		select {
		case err := <-done:
			return err
		case err := <-try.outcome:
			if err != nil || !cfg.Ack {
				return err
			}
		case <-timeout:
			return ctx.Err()
		}
	}
}

// refusedError is a failure that the outbox would not mend.
type refusedError struct{ error }

func (e *refusedError) Unwrap() error { return e.error }

func refused(err error) error {
	if err == nil {
		return nil
	}
	return &refusedError{err}
}

// attempt is the outbox of a process that delivers one message and ends. It holds
// that in memory, if it has one, and tells how its first delivery went; all else
// is left to the agent that serves the home.
type attempt struct {
	store.Outbox // nil if that is to have the message, too
	kept         store.Outbox
	id           string     // of the message
	outcome      chan error // takes one

	mu    sync.Mutex   // guards all below
	items []store.Item // of the message
	acked bool
}

var _ store.Outbox = (*attempt)(nil)

// newAttempt leaves all to an outbox, until it is given one of its own.
func newAttempt(m *message.Message, kept store.Outbox) *attempt {
	return &attempt{kept: kept, id: m.ID, outcome: make(chan error, 1)}
}

func (a *attempt) Enqueue(ctx context.Context, items ...store.Item) error {
	other := func(it store.Item) bool { return it.MessageID != a.id }
	if a.Outbox == nil || slices.ContainsFunc(items, other) {
		return a.kept.Enqueue(ctx, items...)
	}
	a.mu.Lock()
	a.items = append(a.items, items...)
	a.mu.Unlock()
	return a.Outbox.Enqueue(ctx, items...)
}

// held is what there is of the message, and whether it was delivered.
func (a *attempt) held() (items []store.Item, delivered bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.items, a.acked
}

func (a *attempt) Lease(ctx context.Context, d time.Duration) (*store.Lease[store.Item], error) {
	if a.Outbox == nil {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return a.Outbox.Lease(ctx, d)
}

func (a *attempt) Ack(ctx context.Context, l *store.Lease[store.Item]) error {
	a.mu.Lock()
	a.acked = true
	a.mu.Unlock()
	a.tell(nil)
	return a.Outbox.Ack(ctx, l)
}

func (a *attempt) Nak(ctx context.Context, l *store.Lease[store.Item], delay time.Duration, reason string) error {
	if reason != "" { // else it was not tried
		a.tell(errors.New(reason))
	}
	return a.Outbox.Nak(ctx, l, delay, reason)
}

func (a *attempt) Aside(ctx context.Context, l *store.Lease[store.Item], delay time.Duration, reason string) error {
	if reason != "" {
		a.tell(errors.New(reason))
	}
	return a.Outbox.Aside(ctx, l, delay, reason)
}

func (a *attempt) Term(ctx context.Context, l *store.Lease[store.Item], reason string) error {
	a.tell(refused(errors.New(reason)))
	return a.Outbox.Term(ctx, l, reason)
}

func (a *attempt) Wake(ctx context.Context, to string) error { return a.kept.Wake(ctx, to) }

func (a *attempt) tell(outcome error) {
	select {
	case a.outcome <- outcome:
	default: // the first one counts
	}
}

// unserved is an agent's inbox in a process that does not handle what is in it.
// What a peer has for the agent, and sends on our connection, goes there.
type unserved struct{ store.Inbox }

func (u unserved) Lease(ctx context.Context, _ time.Duration) (*store.Lease[store.Received], error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// unserved handles what belongs to a message that was sent, and leaves all else
// to the agent that serves the home.
func (c *Client) unserved() agent.Handler {
	left := agent.Retry(0, errors.New("left to the agent that serves"))
	own := agent.NewMux(empty.Handle(), report.Handle(func(_ context.Context, _ agent.Responder, in *agent.Inbound, p *message.Problem) error {
		if !c.report(in, p) {
			return left
		}
		return nil
	}))
	return agent.HandlerFunc(func(ctx context.Context, w agent.Responder, in *agent.Inbound) error {
		err := own.HandleMessage(ctx, w, in)
		if p := (*message.Problem)(nil); errors.As(err, &p) && p.Code == message.CodeUnsupported {
			return left
		}
		return err
	})
}
