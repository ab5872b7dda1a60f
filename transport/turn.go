package transport

import (
	"context"
	"time"
)

// TurnTimeout bounds how long a packet waits for one before it that is not opened yet:
// where the sender of that takes long to be found, it holds up what came after it on the
// same connection, which may be shared, no longer.
const TurnTimeout = time.Second

// Turn is the place of a packet among those of its connection, which may be served at
// the same time. It is for the goroutine that serves the packet. A nil Turn is that of a
// packet with no place.
type Turn struct {
	before *Turn         // nil for the first, and once the turn is waited for
	ready  chan struct{} // closed when the turn is waited for
	over   chan struct{}

	waited, ended bool
}

// Next makes the Turn of the packet that came next.
func (t *Turn) Next() *Turn {
	return &Turn{before: t, ready: make(chan struct{}), over: make(chan struct{})}
}

// Wait is called when the packet is opened, and returns when the turn before is over, or
// is not waited for within TurnTimeout, or ctx ends. The second call returns at once.
func (t *Turn) Wait(ctx context.Context) {
	if t == nil || t.waited {
		return
	}
	t.waited = true
	close(t.ready)
	b := t.before
	t.before = nil // or it would live as long as the connection
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

// End is called when the packet has its place. It waits if nobody has: the packet after
// waits for this one alone. The second call does nothing.
func (t *Turn) End(ctx context.Context) {
	if t == nil || t.ended {
		return
	}
	t.Wait(ctx)
	t.ended = true
	close(t.over)
}

type turnKey struct{}

// WithTurn is ctx for a packet with a Turn.
func WithTurn(ctx context.Context, t *Turn) context.Context {
	return context.WithValue(ctx, turnKey{}, t)
}

// TurnOf is the Turn of the packet that ServePacket was given with ctx, nil if the
// transport keeps no order.
func TurnOf(ctx context.Context) *Turn {
	t, _ := ctx.Value(turnKey{}).(*Turn)
	return t
}
