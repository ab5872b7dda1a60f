package transport

import (
	"context"
	"time"
)

// TurnTimeout is how long [Turn.Wait] waits until the previous packet is opened. Many
// senders may share a connection, and a sender whose DID takes long to resolve must not
// delay the packets of other senders for longer.
const TurnTimeout = time.Second

// Turn restores the order of packets that came on the same connection and are opened
// concurrently. Each packet has its own Turn. A Handler uses it as follows:
//
//  1. Get the Turn from the context of ServePacket with [TurnOf].
//  2. Open the packet.
//  3. Call [Turn.Wait], which waits for the previous packet.
//  4. Put the packet into the queue whose order matters.
//  5. Call [Turn.End].
//
// Only the goroutine that serves the packet may use the Turn. All methods can be called on
// a nil Turn, which means that the packet has no order.
type Turn struct {
	before *Turn         // of the previous packet; nil for the first packet, and after Wait
	ready  chan struct{} // closed by Wait
	over   chan struct{} // closed by End

	waited, ended bool
}

// Next returns the Turn of the next packet. Transports call it in the order in which they
// read the packets.
func (t *Turn) Next() *Turn {
	return &Turn{before: t, ready: make(chan struct{}), over: make(chan struct{})}
}

// Wait returns when End has been called for the previous packet, when the previous packet
// is not opened within [TurnTimeout], or when ctx ends. Only the first call waits.
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

// End lets the next packet go on. It calls Wait first, because the next packet only waits
// for this one, and not for those before. Only the first call has an effect.
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
