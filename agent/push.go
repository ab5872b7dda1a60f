package agent

import (
	"context"
	"fmt"

	"github.com/didcomm-go/didcomm/agent/message"
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
	o, out := optionsOf(opts...), *m
	a.complete(&out, o)
	if err := a.address(ctx, &out); err != nil {
		return err
	}
	to := did.Base(out.To[0])
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
