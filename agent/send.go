package agent

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/didcomm-go/didcomm/agent/delivery"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/did"
	"github.com/didcomm-go/didcomm/transport"
)

// Send sends a message to each DID in m.To. It packs the message for each recipient
// separately, and stores the packets in the outbox of Config.Store. When Send returns,
// the packets are as durable as the Store makes them. [Agent.Run] delivers them, by a
// return route of the recipient if there is one, or else to an endpoint of the recipient,
// wrapped for the mediators in front of the endpoint.
// By default the message is authcrypted and sent from Config.DID.
//
// Send names each did:peer:4 by its long form, if that is known, since a peer need not know the
// short one. Only a [Responder] uses a short form, if the message that it answers has used it.
//
// In the sent message, Send sets id, typ, from and created_time if they are empty. It
// does not change m. If the message can leave by a transport without receipts, such as a
// WebSocket, Send also adds please_ack, and return_route if it is empty. The message is
// then sent again until its ack arrives, or until the recipient proves to send no acks.
//
// Delivery is retried, at all endpoints of the recipient for which there is a Sender, until
// expires_time, or for Config.MaxAge if the message has no expires_time. A message that the
// recipient refuses again and again, while it accepts others, is given up sooner: see
// Config.RefusedTries.
//
// Errors before the message is stored; none of the recipients is sent anything:
//   - [ErrNoRoute] if a recipient has neither a return route nor a usable endpoint;
//   - contact.ErrEnded if a recipient has ended the relationship;
//   - store.ErrFull, and other errors of the Store;
//   - [ErrNotRunning] before Run, and [ErrStopped] after Run;
//   - errors of the Packer.
//
// With the option [AwaitDelivery] or [Once], the error is a *delivery.Error, which
// matches [ErrUndelivered], if delivery has failed. AwaitDelivery also returns the error
// of ctx, and ErrStopped if the Agent stops; the message then stays in the outbox.
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
	a.nameLong(ctx, &out, o)
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

// sending is a message that is being sent to its recipients.
type sending struct {
	items  int
	left   chan Outcome // gets one outcome of each item: the first that is not Queued
	forget func()

	mu   sync.Mutex      // guards all below
	done map[string]bool // the ids of items whose outcome was put into left
	last error           // of the last try after which the item was queued again
}

// note is called with each outcome of each item.
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

// send packs m for each recipient and stores the items in the outbox, or with Once sends
// them. The caller must call forget.
func (a *Agent) send(ctx context.Context, m *message.Message, o *sendOptions) (*sending, error) {
	items, err := a.items(ctx, m, o)
	if err != nil {
		return nil, err
	}
	a.keepContacts(ctx, m, o.keep)
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
		o.allowance.giveBack(sizeOf(items))
		return nil, fmt.Errorf("outbox: %w", err)
	}
	s.forget = forget
	return s, nil
}

// items returns an item for each recipient of m.
func (a *Agent) items(ctx context.Context, m *message.Message, o *sendOptions) ([]store.Item, error) {
	if len(m.To) == 0 {
		return nil, errors.New("agent: message without a recipient")
	}
	var items []store.Item
	for i, to := range m.To {
		if slices.ContainsFunc(m.To[:i], func(t string) bool { return party(t) == party(to) }) {
			continue
		}
		o, err := a.optionsFor(ctx, m, to, o)
		if err != nil {
			return nil, err
		}
		item, err := a.item(ctx, m, did.Base(to), o)
		if err != nil {
			return nil, err
		}
		items = append(items, item)
	}
	if !o.allowance.take(sizeOf(items)) {
		return nil, fmt.Errorf("%w to %s", ErrAnswerLimit, m.To[0])
	}
	return items, nil
}

// optionsFor returns the options for one of the recipients of m. If m is for a stranger, and
// another recipient is a contact, that one does not get it as a stranger.
func (a *Agent) optionsFor(ctx context.Context, m *message.Message, to string, o *sendOptions) (*sendOptions, error) {
	if o.class != store.ClassStranger || len(m.To) == 1 {
		return o, nil
	}
	class, err := a.classOf(ctx, m.From, did.Base(to))
	each := *o
	each.class = class
	return &each, err
}

// sendOnce sends items without the outbox.
func (a *Agent) sendOnce(ctx context.Context, items []store.Item, notify func(Outcome)) error {
	for _, item := range items {
		if o := a.delivery.Try(ctx, notify, item); !o.Arrived() {
			return &delivery.Error{Outcome: o}
		}
	}
	return nil
}

// Relay delivers a packet of another party unchanged, for example the payload of a
// forward (Routing 2.0). The recipient to is a DID, the DID URL of a key, or the URI of
// an endpoint. The packet counts as one for a contact (store.ClassKnown): a mediator knows
// its clients.
//
// When Relay returns, the packet is in the outbox, as durable as the Store makes it.
// Delivery is retried until expires, but for Config.MaxAge at most. If expires is zero,
// delivery is retried for Config.MaxAge. There is no ack for the packet, and no order
// with other packets.
//
// Errors are [ErrNoRoute], store.ErrFull, [ErrNotRunning] and [ErrStopped], in the same
// cases as for [Agent.Send], and errors of the Packer if the DID cannot be resolved.
func (a *Agent) Relay(ctx context.Context, p transport.Packet, to string, expires time.Time) error {
	if err := a.runs(); err != nil {
		return err
	}
	list, last := []store.Endpoint{{URI: to}}, a.cfg.Now().Add(a.cfg.MaxAge)
	if expires.IsZero() || expires.After(last) {
		expires = last
	}
	if _, err := did.Parse(did.Base(to)); err == nil {
		to = did.Base(to)
		routes, err := a.routes(ctx, to, store.ClassKnown)
		if err != nil {
			return err
		}
		list = endpoints(routes, store.ClassKnown)
	} else if a.delivery.Sender(to) == nil {
		return fmt.Errorf("%w to %s: no sender for this scheme", ErrNoRoute, to)
	}
	if err := a.delivery.Relay(ctx, to, store.Packet(p), list, expires); err != nil {
		return fmt.Errorf("outbox: %w", err)
	}
	return nil
}
