package agent

import (
	"context"
	"fmt"

	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/did"
	"github.com/didcomm-go/didcomm/transport"
)

// Connect is [Agent.Request] by a connection that stays open, such as a WebSocket, and also
// returns the connection. The connection is opened if there is none to that endpoint of the
// recipient. Later messages of the recipient on the connection go to the Handler.
//
// The request does not use the outbox, and is sent once. Options that say how to deliver have
// no effect.
//
// Errors are those of Request, and [ErrNoRoute] if the recipient has no endpoint for such a
// connection, if none of these endpoints can be reached, or if the connection ends before the
// answer.
func (a *Agent) Connect(ctx context.Context, m *message.Message, opts ...SendOption) (*Connection, *Inbound, error) {
	if err := a.runs(); err != nil {
		return nil, nil, err
	}
	if len(m.To) != 1 {
		return nil, nil, fmt.Errorf("agent: a request has one recipient, not %d", len(m.To))
	}
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, a.cfg.RequestTimeout)
		defer cancel()
	}
	o, out := optionsOf(opts...), *m
	if o.anonymous {
		return nil, nil, ErrUnauthenticated
	}
	o.keep = m.To
	a.complete(&out, o)
	if out.ReturnRoute == "" {
		out.ReturnRoute = "all"
	}
	if err := a.address(ctx, &out); err != nil {
		return nil, nil, err
	}
	a.nameLong(ctx, &out, o)
	to := did.Base(out.To[0])
	routes, err := a.routes(ctx, to, store.ClassOwn)
	if err != nil {
		return nil, nil, err
	}
	e, err := a.pack(ctx, &out, to, o)
	if err != nil {
		return nil, nil, err
	}
	a.keepContacts(ctx, &out, o.keep)
	pair := pairOf(out.From, to)
	key := keyOf(pair, out.Thread())
	waiting := &request{
		id: out.ID, key: keyOf(pair, out.ID), acks: len(out.PleaseAck) > 0, byChild: o.byChild, answer: make(chan *Inbound, 1),
	}
	if err := a.requests.add(key, waiting); err != nil {
		return nil, nil, err
	}
	var in *Inbound
	err = fmt.Errorf("%w to %s: no endpoint for a connection that stays open", ErrNoRoute, to)
	var s transport.Session
	for _, r := range routes {
		if by, ok := a.delivery.Sender(r.URI).(transport.SessionSender); ok && len(r.RoutingKeys) == 0 {
			if s, err = by.SendOn(ctx, r.URI, transport.Packet{MediaType: e.MediaType, Data: e.Data}); err == nil {
				break
			}
			err = fmt.Errorf("%w to %s: %w", ErrNoRoute, to, err)
		}
	}
	if s != nil {
		a.traceWritten(ctx, &out, to)
		in, err = a.awaitOn(ctx, waiting, s)
	}
	if late := a.requests.end(key, waiting, in != nil); late != nil {
		in = late
	}
	if in == nil {
		return nil, nil, err
	}
	if isProblemReport(in.Message) {
		p, err := ParseProblemReport(in.Message)
		if err != nil {
			return nil, nil, err
		}
		return nil, nil, p
	}
	opened := &Inbound{Message: &message.Message{ReturnRoute: "all"}, From: to, To: out.From, Addressed: true}
	return &Connection{a: a, s: s, in: opened}, in, nil
}

// awaitOn waits for the answer to a request that was sent on a connection.
func (a *Agent) awaitOn(ctx context.Context, waiting *request, s transport.Session) (*Inbound, error) {
	select {
	case in := <-waiting.answer:
		return in, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("agent: no answer: %w", ctx.Err())
	case <-s.Done():
		return nil, fmt.Errorf("%w: the connection has ended before the answer", ErrNoRoute)
	case <-a.stopping:
		return nil, ErrStopped
	}
}
