package agent

import (
	"context"
	"fmt"

	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/did"
	"github.com/didcomm-go/didcomm/transport"
)

// Push writes m now to an open connection that is a return route of the recipient. m must
// have one recipient. Push does not use the outbox, does not try again, and adds no
// please_ack. Success means that the message was written to the connection. It does not
// mean that the message arrived.
//
// Options that say how to deliver ([AwaitDelivery], [Once], [Outcomes], [Lane]) have no
// effect.
//
// Errors are [ErrNoRoute] if there is no such connection, or if none accepts the message;
// [ErrNotRunning] before Run, and [ErrStopped] after Run; contact.ErrEnded if the recipient
// has ended the relationship; and errors of the Packer.
func (a *Agent) Push(ctx context.Context, m *message.Message, opts ...SendOption) error {
	if len(m.To) != 1 {
		return fmt.Errorf("agent: a pushed message has one recipient, not %d", len(m.To))
	}
	if err := a.runs(); err != nil {
		return err
	}
	o, out := optionsOf(opts...), *m
	a.complete(&out, o)
	if err := a.address(ctx, &out); err != nil {
		return err
	}
	a.nameLong(ctx, &out, o)
	to := did.Base(out.To[0])
	if !a.delivery.Connected(out.From, to, subject(&out)) {
		return fmt.Errorf("%w to %s: no open connection", ErrNoRoute, to)
	}
	e, err := a.pack(ctx, &out, to, o)
	if err != nil {
		return err
	}
	if err := a.delivery.Push(ctx, out.From, to, subject(&out), transport.Packet{MediaType: e.MediaType, Data: e.Data}); err != nil {
		return err
	}
	a.traceWritten(ctx, &out, to)
	return nil
}
