package transport

import (
	"context"
	"time"
)

// TurnTimeout is how long [Turn.Wait] waits until the packet before is opened. Many
// senders may share a connection. With the timeout, a sender whose DID takes long to
// resolve does not delay the packets of other senders any longer.
const TurnTimeout = time.Second

// Turn restores the order of packets that came on the same connection and are opened
// concurrently. Each packet has its own Turn, which is used only by the goroutine that
// serves the packet. The Handler gets it from the context with [TurnOf]. It calls
// [Turn.Wait] when it has opened the packet, then puts the packet into a queue, and then
// calls [Turn.End].
//
// All methods can be called on a nil Turn, which belongs to a packet without an order.
type Turn struct {
	before *Turn         // nil for the first packet, and after Wait
	ready  chan struct{} // closed by Wait
	over   chan struct{} // closed by End

	waited, ended bool
}

// Next returns the Turn of the packet after that of t. Transports call it in the order
// in which they read the packets.
func (t *Turn) Next() *Turn {
	return &Turn{before: t, ready: make(chan struct{}), over: make(chan struct{})}
}

// Wait returns when the Turn before t has ended, when the packet before is not opened
// within TurnTimeout, or when ctx ends. Only the first call waits.
func (t *Turn) Wait(ctx context.Context) {
	if t == nil || t.waited {
		return
	}
	t.waited = true
	close(t.ready)
	b := t.before
	t.before = nil // lets the garbage collector free the Turns before
	if b == nil {
		return
	}
	timeout := time.NewTimer(TurnTimeout)
	defer timeout.Stop()
	select {
	case <-b.ready:
	case <-timeout.C:
		return
	case <-ctx.Done():
		return
	}
	select {
	case <-b.over:
	case <-ctx.Done():
	}
}

// End lets the packet after that of t go on. It first calls Wait, because the next
// packet only waits for t and not for the packets before t. Only the first call has an
// effect.
func (t *Turn) End(ctx context.Context) {
	if t == nil || t.ended {
		return
	}
	t.Wait(ctx)
	t.ended = true
	close(t.over)
}

type turnKey struct{}

// WithTurn returns a context for [Handler.ServePacket] that carries t. Transports call
// it.
func WithTurn(ctx context.Context, t *Turn) context.Context {
	return context.WithValue(ctx, turnKey{}, t)
}

// TurnOf returns the Turn in the context of [Handler.ServePacket]. It returns nil if the
// transport does not define an order.
func TurnOf(ctx context.Context) *Turn {
	t, _ := ctx.Value(turnKey{}).(*Turn)
	return t
}
