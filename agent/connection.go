package agent

import (
	"context"
	"fmt"

	"github.com/didcomm-go/didcomm/agent/delivery"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/transport"
)

// Connection is one that outlives the message which came by it, such as a WebSocket:
// the way to the sender of that message as long as it lives. It may be kept when the
// Handler has returned.
type Connection struct {
	a  *Agent
	s  transport.Session
	in *Inbound // the message
}

// Push packs a message for the party that the connection is to, and writes it to the
// connection now: no outbox has it, it is not sent again, and no ack is asked for but
// what m itself asks. Success says that it was written, not that it arrived.
//
// Push fills what m leaves empty of id, typ, from and created_time, and sets to; m
// itself is not changed. The sender is the DID that the message came to. Options that say
// how to deliver (AwaitDelivery, Once, Outcomes, Lane) change nothing.
//
// Errors: ErrNoRoute if the connection has ended or cannot take the message, if the
// message that came by it said, by its return_route, that nothing of m's thread shall
// go back, or if m is from another DID of ours, which the peer must not learn of;
// ErrStopped; those of the Packer.
func (c *Connection) Push(ctx context.Context, m *message.Message, opts ...SendOption) error {
	a, in := c.a, c.in
	if a.life.Err() != nil {
		return ErrStopped
	}
	if transport.Ended(c.s) {
		return fmt.Errorf("%w to %s: the connection has ended", ErrNoRoute, in.From)
	}
	o, out := optionsOf(opts...), *m
	out.To = []string{in.From}
	if out.From == "" {
		out.From = in.To
	}
	a.complete(&out, o)
	if out.From != "" && party(out.From) != party(in.To) {
		return fmt.Errorf("%w to %s: the connection is not one of %s", ErrNoRoute, in.From, out.From)
	}
	if in.asksReturn(&out) == returnNo {
		return fmt.Errorf("%w to %s: not asked for on the connection", ErrNoRoute, in.From)
	}
	in.nameKeys(o)
	e, err := a.pack(ctx, &out, in.From, o)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, a.cfg.SendTimeout)
	defer cancel()
	if err := c.s.Reply(ctx, transport.Packet{MediaType: e.MediaType, Data: e.Data}); err != nil {
		return fmt.Errorf("%w to %s: %w", ErrNoRoute, in.From, err)
	}
	a.wrote(ctx, &out, in.From)
	return nil
}

// Bind makes the connection a return route to the party for all threads, as
// return_route "all" does, with a rank: of several live connections of a party the one
// with the highest wins, and of equals the one that was bound last. Return_route binds
// with rank 0.
//
// Errors: delivery.ErrTooMany.
func (c *Connection) Bind(ctx context.Context, rank int) error {
	return c.a.delivery.Bind(ctx, delivery.Binding{Own: c.in.To, Peer: c.in.From, Session: c.s, Rank: rank})
}

// Done is closed when the connection has ended.
func (c *Connection) Done() <-chan struct{} { return c.s.Done() }

// Connection implements Responder.
func (r *responder) Connection() *Connection {
	if s := r.a.connection(r.w, r.in); s != nil {
		return &Connection{a: r.a, s: s, in: r.in}
	}
	return nil
}

// connection is w as the connection of the sender of in, nil if it ends with the message
// or may be another's: only a sender that has authenticated has one, and only by a message
// to us that is no older than the replay window. Anybody could pass on or replay another
// message, on a connection of their own.
func (a *Agent) connection(w transport.Replier, in *Inbound) transport.Session {
	s, ok := w.(transport.Session)
	if !ok || !in.Authenticated() || !in.addressed() {
		return nil
	}
	if t := in.Message.CreatedTime; !t.IsZero() && a.cfg.Now().Sub(t) > a.cfg.ReplayWindow {
		return nil
	}
	return s
}

// bind makes w the return route to the sender of in, if in asks for that and w is the
// sender's. Messages that wait for a connection of the sender then leave.
func (a *Agent) bind(ctx context.Context, w transport.Replier, in *Inbound) {
	s := a.connection(w, in)
	if s == nil {
		return
	}
	b := delivery.Binding{Own: in.To, Peer: in.From, Session: s}
	switch in.Message.ReturnRoute {
	case "all":
	case "thread":
		b.Thread = in.returnThread()
	case "none":
		a.delivery.Unbind(in.To, in.From, s)
		return
	default:
		return
	}
	if err := a.delivery.Bind(ctx, b); err != nil {
		in.log(a.cfg.Logger).WarnContext(ctx, "return route not bound", "error", err)
	}
}
