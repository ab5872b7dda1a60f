package agent

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/didcomm-go/didcomm/transport"
)

// handling is the context of one call of a Handler. It ends at a deadline that can be
// moved, or with the life of the agent.
type handling struct {
	context.Context // for its values only; it does not end
	ended           context.Context
	end             context.CancelCauseFunc
	limit           time.Time // of the deadline

	mu       sync.Mutex // guards all below
	deadline time.Time
	timer    *time.Timer
}

var _ context.Context = (*handling)(nil)

// newHandling makes a context with the values of ctx that ends after d, and can be
// made to end as late as after limit. The caller calls end.
func newHandling(ctx, life context.Context, d, limit time.Duration) *handling {
	now := time.Now()
	// What a handler sends has no place among the packets of the connection.
	ctx = transport.WithTurn(context.WithoutCancel(ctx), nil)
	h := &handling{Context: ctx, limit: now.Add(limit), deadline: now.Add(d)}
	h.ended, h.end = context.WithCancelCause(life)
	h.timer = time.AfterFunc(d, func() { h.end(context.DeadlineExceeded) })
	return h
}

// close ends the context for good.
func (h *handling) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.timer.Stop()
	h.end(nil)
}

func (h *handling) Deadline() (time.Time, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.deadline, true
}

func (h *handling) Done() <-chan struct{} { return h.ended.Done() }

// Err is the cause: the ways to end are those of any context.
func (h *handling) Err() error { return context.Cause(h.ended) }

// AfterFunc lets package context end the contexts that are made of this one without
// a goroutine for each.
func (h *handling) AfterFunc(f func()) func() bool { return context.AfterFunc(h.ended, f) }

// extend moves the deadline to d from now, if that is later.
func (h *handling) extend(d time.Duration) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := h.Err(); err != nil {
		return err
	}
	deadline := time.Now().Add(d)
	if deadline.Before(h.deadline) {
		return nil
	}
	if !h.timer.Stop() { // the deadline passes at this moment
		return context.DeadlineExceeded
	}
	h.deadline = deadline
	h.timer.Reset(d)
	return nil
}

// Extend implements Responder.
func (r *responder) Extend(ctx context.Context, d time.Duration) error {
	h := r.handling
	if err := h.Err(); err != nil {
		return fmt.Errorf("agent: extend: %w", err)
	}
	if time.Now().Add(d).After(h.limit) {
		return fmt.Errorf("%w: a message is handled for %v at most", ErrBusy, r.a.cfg.MaxHandling)
	}
	// The lease goes on for a while, in which the message is settled.
	if err := r.a.keepLease(ctx, r.pending, d+r.a.cfg.HandlerTimeout); err != nil {
		return fmt.Errorf("agent: extend: %w", err)
	}
	if err := h.extend(d); err != nil {
		return fmt.Errorf("agent: extend: %w", err)
	}
	return nil
}
