package agent

import (
	"context"
	"errors"
	"time"

	"github.com/didcomm-go/didcomm/agent/envelope"
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
// with err. An authenticated sender gets a problem report as for any other message.
func (r *responder) refuseCustody(ctx context.Context, err error) error {
	var problem *message.Problem
	if busy := askAgain(err, &problem); busy != nil {
		return r.a.busyFor(ctx, r.w, r.in, busy)
	}
	if r.in.Authenticated() {
		r.report(ctx, err)
	} else {
		r.reportSigned(ctx, problem)
	}
	return &transport.RejectError{Reason: "message refused: " + problem.Code, Err: err}
}

// askAgain returns the BusyError for an error of a Handler that has custody, or nil if the error
// is the problem for which the packet is refused.
func askAgain(err error, problem **message.Problem) *transport.BusyError {
	busy := &transport.BusyError{RetryAfter: busyDelay, Err: err}
	var again *retryError
	switch {
	case errors.As(err, &again):
		busy.RetryAfter, busy.Rate = max(again.after, time.Second), again.rate
		if again.limit != "" {
			busy.Reason = "limit reached: " + again.limit
		}
	case errors.As(err, problem) && !errors.Is(err, errForGood):
		return nil
	}
	return busy
}

// reportSigned reports a problem to the sender of an anonymous message, by the connection of the
// message. The report is signed, since there is nobody to encrypt it for. It names no recipient,
// so that nobody else takes it for a message to itself.
func (r *responder) reportSigned(ctx context.Context, p *message.Problem) {
	log := r.in.log(r.a.cfg.Logger)
	log.InfoContext(ctx, "anonymous message not handled", "error", p)
	if !r.in.Addressed || r.in.Message.ReturnRoute == "none" || isProblemReport(r.in.Message) {
		return
	}
	report, err := ProblemReport(p, r.in.Message)
	if err == nil {
		report.Ack, report.From = nil, r.in.To // since the message is not accepted
		err = r.sendSigned(ctx, report)
	}
	if err != nil {
		log.InfoContext(ctx, "could not report a problem", "code", p.Code, "error", err)
	}
}

// sendSigned signs a report and writes it to the connection of the message.
func (r *responder) sendSigned(ctx context.Context, report *message.Message) error {
	r.refusing = true
	if l := r.limit(report, true); l != nil && !l.take(r.in) {
		return errOverLimit
	}
	r.a.complete(report, optionsOf())
	list, err := r.a.cfg.Packer.Pack(ctx, report, envelope.SignBy(report.From), envelope.Signed())
	if err != nil {
		return err
	}
	return r.w.Reply(ctx, transport.Packet{MediaType: list[0].MediaType, Data: list[0].Data})
}
