package agent

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/didcomm-go/didcomm/agent/delivery"
	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/did"
	"github.com/didcomm-go/didcomm/transport"
)

// Send sends m to each DID of its To, packed for each on its own, through the
// outbox: it holds the packets when Send returns, as durably as the outbox
// does, and Run delivers them from it, by the return route to the recipient if one
// is open, else to an endpoint of it. By default the message is authcrypted from
// Config.DID.
//
// Send fills what m leaves empty of id, typ, from and created_time in what it
// sends; m itself is not changed. Where the way is a connection that gives no
// receipt, such as a WebSocket, the message also gets please_ack, and
// return_route if it has none, and is sent again until the ack has come or the
// recipient turns out to give none. Delivery is tried again, at every endpoint of
// the recipient that a Sender speaks, until expires_time, or for Config.MaxAge.
//
// Errors: ErrNoRoute, at once, if a recipient has neither return route nor endpoint;
// store.ErrFull; with AwaitDelivery or Once a *delivery.Error, which matches
// ErrUndelivered; ErrNotRunning before Run and ErrStopped after; those of the Packer.
// After an error from before the outbox nothing is sent to anyone.
func (a *Agent) Send(ctx context.Context, m *message.Message, opts ...SendOption) error {
	if err := a.runs(); err != nil {
		return err
	}
	o, out := optionsOf(opts...), *m
	a.complete(&out, o)
	o.keep = out.To
	if err := a.address(ctx, &out); err != nil {
		return err
	}
	sent, err := a.send(ctx, &out, o)
	if err != nil {
		return err
	}
	defer sent.forget()
	if !o.awaited {
		return nil
	}
	for range sent.items {
		select {
		case o := <-sent.left:
			if !o.Arrived() && !o.Awaits {
				return &delivery.Error{Outcome: o}
			}
		case <-ctx.Done():
			return fmt.Errorf("agent: await delivery: %w", errors.Join(ctx.Err(), sent.lastError()))
		case <-a.stopping:
			return ErrStopped
		}
	}
	return nil
}

// sending is a message on its way.
type sending struct {
	items  int
	left   chan Outcome // takes one of each item: when it has left, or ended
	forget func()

	mu   sync.Mutex
	done map[string]bool // items of which left has one
	last error           // of a try that will be followed by another
}

// note is called with each outcome.
func (s *sending) note(o Outcome) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if o.State == delivery.Queued {
		s.last = o.Err
		return
	}
	if !s.done[o.ID] {
		s.done[o.ID] = true
		s.left <- o
	}
}

func (s *sending) lastError() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last
}

// send packs m for each recipient and puts it into the outbox, or with Once sends it.
// The caller calls forget.
func (a *Agent) send(ctx context.Context, m *message.Message, o *sendOptions) (*sending, error) {
	items, err := a.items(ctx, m, o)
	if err != nil {
		return nil, err
	}
	a.keep(ctx, m, o.keep)
	s := &sending{items: len(items), left: make(chan Outcome, len(items)), forget: func() {}, done: make(map[string]bool)}
	var notify func(Outcome)
	if o.awaited || o.outcomes != nil {
		notify = func(out Outcome) {
			if o.outcomes != nil {
				o.outcomes(out)
			}
			s.note(out)
		}
	}
	if o.once {
		return s, a.sendOnce(ctx, items, notify)
	}
	forget, err := a.delivery.Deliver(ctx, notify, items...)
	if err != nil {
		return nil, fmt.Errorf("outbox: %w", err)
	}
	s.forget = forget
	return s, nil
}

// items packs m for each recipient.
func (a *Agent) items(ctx context.Context, m *message.Message, o *sendOptions) ([]store.Item, error) {
	if len(m.To) == 0 {
		return nil, errors.New("agent: message without a recipient")
	}
	var items []store.Item
	for i, to := range m.To {
		if slices.ContainsFunc(m.To[:i], func(t string) bool { return party(t) == party(to) }) {
			continue
		}
		item, err := a.item(ctx, m, did.Base(to), o)
		if err != nil {
			return nil, err
		}
		items = append(items, item)
	}
	return items, nil
}

// sendOnce sends items past the outbox.
func (a *Agent) sendOnce(ctx context.Context, items []store.Item, notify func(Outcome)) error {
	for _, item := range items {
		if o := a.delivery.Try(ctx, notify, item); !o.Arrived() {
			return &delivery.Error{Outcome: o}
		}
	}
	return nil
}

// Relay delivers a packet that is not ours, such as the payload of a forward, to a
// DID, or DID URL of a key, or to an endpoint given as a URI. The packet is in the outbox
// when Relay returns, as durably as a message of Send, and tried until expires, or for
// Config.MaxAge if that is sooner or expires is zero. Nothing acks the packet, and the
// packet keeps no order with others (Routing 2.0).
//
// Errors: ErrNoRoute, store.ErrFull, ErrNotRunning and ErrStopped as for Send; those of
// the Packer, which resolves.
func (a *Agent) Relay(ctx context.Context, p transport.Packet, to string, expires time.Time) error {
	if err := a.runs(); err != nil {
		return err
	}
	routes, last := []store.Endpoint{{URI: to}}, a.cfg.Now().Add(a.cfg.MaxAge)
	if expires.IsZero() || expires.After(last) {
		expires = last
	}
	if _, err := did.Parse(did.Base(to)); err == nil {
		found, err := a.routes(ctx, did.Base(to))
		if err != nil {
			return err
		}
		found = found[:min(len(found), delivery.MaxEndpoints)]
		payload := envelope.Envelope{MediaType: p.MediaType, Data: p.Data, To: to}
		if routes, err = a.wrap(ctx, payload, found, envelope.Expires(expires)); len(routes) == 0 {
			return fmt.Errorf("%w to %s: %w", ErrNoRoute, to, err)
		}
		to = did.Base(to)
	} else if a.delivery.Sender(to) == nil {
		return fmt.Errorf("%w to %s: no sender for this scheme", ErrNoRoute, to)
	}
	if err := a.delivery.Relay(ctx, to, store.Packet(p), routes, expires); err != nil {
		return fmt.Errorf("outbox: %w", err)
	}
	return nil
}
