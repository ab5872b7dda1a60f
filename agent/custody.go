package agent

import (
	"context"
	"errors"
	"time"

	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/transport"
)

// Custodian is an optional power of Config.Handler, which a Mux has. A Handler around
// a Mux passes the question on to the Mux, or the Mux has no custody.
type Custodian interface {
	// Custody tells whether HandleMessage is durable by itself for a message: see
	// Protocol.Custody.
	Custody(in *Inbound) bool
}

var _ Custodian = (*Mux)(nil)

// inCustody tells whether a message is taken in by its handler.
func (a *Agent) inCustody(in *Inbound) bool {
	c, ok := a.cfg.Handler.(Custodian)
	return ok && !a.cfg.Guest && c.Custody(in) && !a.requests.waitFor(in)
}

// takeIn has a message taken in by its handler, whose success is the acceptance. The
// inbox is not involved, since the handler is durable and idempotent.
func (a *Agent) takeIn(ctx context.Context, w transport.Replier, in *Inbound) error {
	k := &pending{in: in, key: in.key(in.Message.ID)}
	// A message in custody keeps no order with what comes after on the connection.
	transport.TurnOf(ctx).End(ctx)
	// Nothing has the message yet, so it need not outlive the connection of its peer.
	if !a.handlers.take(ctx.Done()) {
		if a.life.Err() != nil {
			return ErrStopped
		}
		return untold(w, later(ctx.Err()))
	}
	defer a.handlers.free()
	// If the connection ends meanwhile, the handler need not be cut short for that.
	hctx := newHandling(ctx, a.life, a.cfg.HandlerTimeout, a.cfg.MaxHandling)
	defer hctx.close()
	r := &responder{a: a, w: w, in: in, pending: k, handling: hctx, attempt: 1}
	err := r.call(hctx)
	a.note(ctx, a.cfg.Trace.Handled, "message taken into custody", in, 1, err)
	if err != nil {
		return r.untaken(ctx, err)
	}
	a.hear(in)
	a.bind(ctx, w, in)
	r.acknowledge(hctx)
	return nil
}

// untaken is what becomes of a message that its handler does not take in.
func (r *responder) untaken(ctx context.Context, err error) error {
	var again *retryError
	var problem *message.Problem
	switch {
	case errors.As(err, &again), !errors.As(err, &problem), errors.Is(err, errForGood):
		delay := busyDelay
		if again != nil {
			delay = max(again.after, time.Second)
		}
		return r.a.busyFor(ctx, r.w, r.in, delay, err)
	}
	r.report(ctx, err)
	return &transport.RejectError{Reason: "message refused: " + problem.Code, Err: err}
}
