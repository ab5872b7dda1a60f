package agent

import (
	"context"
	"fmt"
	"time"

	"github.com/didcomm-go/didcomm/agent/delivery"
	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/did"
	"github.com/didcomm-go/didcomm/transport"
)

// Push sends m to its one recipient by a live connection that the recipient has made a
// return route, now: no outbox has it, it is not sent again, and no ack is asked for
// but what m itself asks. Success says that it was written, not that it arrived. Options
// that say how to deliver (AwaitDelivery, Once, Outcomes, Lane) change nothing.
//
// Errors: ErrNoRoute if there is no such connection, or none that takes the message;
// ErrNotRunning and ErrStopped as for Send; those of the Packer.
func (a *Agent) Push(ctx context.Context, m *message.Message, opts ...SendOption) error {
	if len(m.To) != 1 {
		return fmt.Errorf("agent: a pushed message has one recipient, not %d", len(m.To))
	}
	if err := a.runs(); err != nil {
		return err
	}
	o, out, to := optionsOf(opts...), *m, did.Base(m.To[0])
	a.complete(&out, o)
	if !a.delivery.Connected(out.From, to, subject(&out)) {
		return fmt.Errorf("%w to %s: no live connection", ErrNoRoute, to)
	}
	e, err := a.pack(ctx, &out, to, o)
	if err != nil {
		return err
	}
	if err := a.delivery.Push(ctx, out.From, to, subject(&out), transport.Packet{MediaType: e.MediaType, Data: e.Data}); err != nil {
		return err
	}
	a.wrote(ctx, &out, to)
	return nil
}

// Relay delivers a packet that is not ours, such as the payload of a forward, to a
// DID, or to an endpoint given as a URI: it is in the outbox when Relay returns, as
// what Send is given, and tried until it expires, or for Config.MaxAge if that is
// zero. Nothing acks it, and it keeps no order with others (Routing 2.0).
//
// Errors: ErrNoRoute, store.ErrFull, ErrNotRunning and ErrStopped as for Send; those of
// the Packer, which resolves.
func (a *Agent) Relay(ctx context.Context, p Packet, to string, expires time.Time) error {
	if err := a.runs(); err != nil {
		return err
	}
	routes := []store.Route{{Endpoint: to}}
	if _, err := did.Parse(to); err == nil {
		found, err := a.routes(ctx, to)
		if err != nil {
			return err
		}
		var opts []envelope.PackOption
		if !expires.IsZero() {
			opts = append(opts, envelope.Expires(expires))
		}
		found = found[:min(len(found), delivery.MaxRoutes)]
		if routes, err = a.wrap(ctx, envelope.Envelope{MediaType: p.MediaType, Data: p.Data, To: to}, found, opts...); len(routes) == 0 {
			return fmt.Errorf("%w to %s: %w", ErrNoRoute, to, err)
		}
	} else if a.delivery.Sender(to) == nil {
		return fmt.Errorf("%w to %s: no sender for this scheme", ErrNoRoute, to)
	}
	if expires.IsZero() {
		expires = a.cfg.Now().Add(a.cfg.MaxAge)
	}
	if err := a.delivery.Relay(ctx, to, store.Packet(p), routes, expires); err != nil {
		return fmt.Errorf("outbox: %w", err)
	}
	return nil
}
