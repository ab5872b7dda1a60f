package agent

import (
	"context"
	"errors"
	"time"

	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/transport"
)

// Custodian is an optional interface of Config.Handler. A [Mux] implements it, with
// Protocol.Custody. A Handler that calls a Mux must implement Custodian by calling the Mux,
// or Protocol.Custody has no effect.
type Custodian interface {
	// Custody reports whether HandleMessage is durable and idempotent by itself for a
	// message. The message is then handled without the inbox, as Protocol.Custody
	// describes.
	Custody(in *Inbound) bool
}

var _ Custodian = (*Mux)(nil)

// inCustody reports whether the Handler takes custody of a message.
func (a *Agent) inCustody(in *Inbound) bool {
	c, ok := a.cfg.Handler.(Custodian)
	return ok && in.Addressed && !a.cfg.Guest && c.Custody(in) && !a.requests.waitFor(in)
}

// takeCustody calls the Handler of a message in custody. Without an error the message is
// accepted.
func (a *Agent) takeCustody(ctx context.Context, w transport.Replier, in *Inbound) error {
	k := &pending{in: in, key: in.key(in.Message.ID)}
	// A message in custody keeps no order with later messages of the connection.
	transport.TurnOf(ctx).End(ctx)
	// The message is not stored, so the wait may end with the connection.
	if !a.handlers.take(in.class, ctx.Done()) {
		if a.life.Err() != nil {
			return ErrStopped
		}
		return sessionError(w, later(ctx.Err()))
	}
	defer a.handlers.free(in.class)
	// The handler may finish even if the connection ends.
	hctx := newHandling(ctx, a.life, a.cfg.HandlerTimeout, a.cfg.MaxHandling)
	defer hctx.close()
	r := &responder{a: a, w: w, in: in, pending: k, handling: hctx, attempt: 1}
	err := r.call(hctx)
	a.note(ctx, a.cfg.Trace.Handled, "message taken into custody", in, 1, err)
	if err != nil {
		return r.refuseCustody(ctx, err)
	}
	a.settleAcked(w, in)
	a.bind(ctx, w, in)
	r.acknowledge(hctx)
	return nil
}

// refuseCustody returns the error of ServePacket for a message whose Handler has failed
// with err.
func (r *responder) refuseCustody(ctx context.Context, err error) error {
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
