package transport

import (
	"context"
	"time"
)

// TurnTimeout bounds how long a packet waits for the one before it to be opened. The
// connection may be shared by many senders: one whose DID takes long to resolve does not
// hold up the packets of others for longer.
const TurnTimeout = time.Second

// Turn is the place of a packet among those of its connection, which are served at the
// same time. A Turn is for the goroutine that serves the packet. That of a packet with
// no place is nil.
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

// Wait is called when the packet is opened. It returns when the turn before is over, when
// the packet before is not opened within TurnTimeout, or when ctx ends. The second call
// returns at once.
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

// End is called when the packet has its place in line. It calls Wait first, since the
// packet after waits for this turn alone. The second call does nothing.
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
