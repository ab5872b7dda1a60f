package agent

import (
	"context"
	"fmt"

	"github.com/didcomm-go/didcomm/agent/delivery"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/transport"
)

// Connection is an open connection to the sender of a received message, which can be used
// after the message is handled, for example a WebSocket. A [Handler] gets the Connection
// from its Responder, and may keep it. A Connection may be used from several goroutines.
type Connection struct {
	a  *Agent
	s  transport.Session
	in *Inbound // the message that arrived by the connection
}

// Push packs m for the peer of the connection, and writes it to the connection now. Push
// does not use the outbox, does not try again, and adds no please_ack. Success means that
// the message was written. It does not mean that the message arrived.
//
// In the pushed message, Push sets to, and it sets id, typ, from and created_time if they
// are empty. It does not change m. The default of from is the DID of ours that the
// received message was sent to. Options that say how to deliver ([AwaitDelivery], [Once],
// [Outcomes], [Lane]) have no effect.
//
// Errors are [ErrStopped] after Run, errors of the Packer, and [ErrNoRoute] in these cases:
//   - The connection has ended or does not accept the message.
//   - The return_route of the received message does not allow messages of m's thread on the
//     connection.
//   - m is from another DID of ours, which the peer must not link to the first.
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
		return fmt.Errorf("%w to %s: the connection is for another DID of ours than %s", ErrNoRoute, in.From, out.From)
	}
	if in.asksReturn(&out) == returnNo {
		return fmt.Errorf("%w to %s: the peer does not accept this thread on the connection", ErrNoRoute, in.From)
	}
	in.nameKeys(o)
	a.nameLong(ctx, &out, o)
	e, err := a.pack(ctx, &out, out.To[0], o)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, a.cfg.SendTimeout)
	defer cancel()
	if err := c.s.Reply(ctx, transport.Packet{MediaType: e.MediaType, Data: e.Data}); err != nil {
		return fmt.Errorf("%w to %s: %w", ErrNoRoute, in.From, err)
	}
	a.traceWritten(ctx, &out, in.From)
	return nil
}

// Bind makes the connection a return route of the peer for all threads, as a message with
// return_route "all" does. If the peer has several return routes that are proven to be its
// own, or none is proven, the one with the highest rank is used, and among equals the one
// that was bound last. A return route that comes from a return_route header has rank 0. If
// the peer has an endpoint, only a proven one is used, as package delivery describes.
//
// The error matches delivery.ErrTooMany if there are too many return routes
// (Config.MaxSessions).
func (c *Connection) Bind(ctx context.Context, rank int) error {
	return c.a.delivery.Bind(ctx, delivery.Binding{Own: c.in.To, Peer: c.in.From, Session: c.s, Rank: rank})
}

// Relay writes a packet of another party to the connection now, unchanged. Errors are
// [ErrStopped] after Run, and [ErrNoRoute] if the connection has ended or does not accept the
// packet.
func (c *Connection) Relay(ctx context.Context, p transport.Packet) error {
	if c.a.life.Err() != nil {
		return ErrStopped
	}
	ctx, cancel := context.WithTimeout(ctx, c.a.cfg.SendTimeout)
	defer cancel()
	if err := c.s.Reply(ctx, p); err != nil {
		return fmt.Errorf("%w to %s: %w", ErrNoRoute, c.in.From, err)
	}
	return nil
}

// Done returns a channel that is closed when the connection has ended. Two Connections with
// the same channel are the same connection.
func (c *Connection) Done() <-chan struct{} { return c.s.Done() }

// AfterEnd calls f in a goroutine of its own after the connection has ended. Until then a
// WebSocket costs no goroutine for that. The function stop undoes AfterEnd, and reports
// whether f will not be called.
func (c *Connection) AfterEnd(f func()) (stop func() bool) {
	if s, ok := c.s.(interface {
		AfterEnd(f func()) (stop func() bool)
	}); ok {
		return s.AfterEnd(f)
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		select {
		case <-c.s.Done():
			cancel()
		case <-ctx.Done():
		}
	}()
	undo := context.AfterFunc(ctx, f)
	return func() bool {
		defer cancel()
		return undo()
	}
}

// Connection implements [Responder].
func (r *responder) Connection() *Connection {
	if s := r.a.connection(r.w, r.in); s != nil {
		return &Connection{a: r.a, s: s, in: r.in}
	}
	return nil
}

// connection returns w as the connection of the sender of in. It returns nil if w cannot
// be used after the message, or if w may belong to another party. To prove that w belongs
// to its sender, a message must be authenticated, sent to us, and not older than the
// replay window. Anybody could pass on or replay any other message on a connection of
// their own.
func (a *Agent) connection(w transport.Replier, in *Inbound) transport.Session {
	s, ok := w.(transport.Session)
	if !ok || !in.fromPeer() {
		return nil
	}
	if t := createdTime(in.Message); !t.IsZero() && a.cfg.Now().Sub(t) > a.cfg.ReplayWindow {
		return nil
	}
	return s
}

// bind makes w a return route of the sender of in, if in asks for that and w belongs to the
// sender.
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

// probe packs an empty message that asks for an ack of itself, and says that the ack may come
// back on the connection.
func (a *Agent) probe(ctx context.Context, id, own, peer string, hide bool) (transport.Packet, error) {
	o, m := optionsOf(), &message.Message{ID: id, Type: emptyType, From: own, To: []string{peer}, PleaseAck: []string{id}, ReturnRoute: "all"}
	o.protect = hide
	a.complete(m, o)
	a.nameLong(ctx, m, o)
	e, err := a.pack(ctx, m, m.To[0], o)
	return transport.Packet{MediaType: e.MediaType, Data: e.Data}, err
}
