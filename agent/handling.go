package agent

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/didcomm-go/didcomm/transport"
)

// handling is the context of one call of a Handler. It ends at a deadline that can be
// moved, and when the Agent's life ends.
type handling struct {
	context.Context                 // for its values; never ends
	ended           context.Context // ends when the handling ends
	end             context.CancelCauseFunc
	limit           time.Time // the latest possible deadline

	mu       sync.Mutex // guards all below
	deadline time.Time
	timer    *time.Timer
}

var _ context.Context = (*handling)(nil)

// newHandling returns a context with the values of ctx, which ends after d. Its deadline
// can be moved, to a time after limit at most. The caller must call close.
func newHandling(ctx, life context.Context, d, limit time.Duration) *handling {
	now := time.Now()
	// The order of packets on the connection does not apply to messages of the Handler.
	ctx = transport.WithTurn(context.WithoutCancel(ctx), nil)
	h := &handling{Context: ctx, limit: now.Add(limit), deadline: now.Add(d)}
	h.ended, h.end = context.WithCancelCause(life)
	h.timer = time.AfterFunc(d, func() { h.end(context.DeadlineExceeded) })
	return h
}

// close ends the context and stops its timer.
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

// Err returns the cause, which is context.Canceled or context.DeadlineExceeded.
func (h *handling) Err() error { return context.Cause(h.ended) }

// AfterFunc lets package context derive contexts from this one without a goroutine for
// each.
func (h *handling) AfterFunc(f func()) func() bool { return context.AfterFunc(h.ended, f) }

// extend moves the deadline to d from now, if that is later than the deadline.
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
	if !h.timer.Stop() { // the deadline has passed just now
		return context.DeadlineExceeded
	}
	h.deadline = deadline
	h.timer.Reset(d)
	return nil
}

// Extend implements [Responder].
func (r *responder) Extend(ctx context.Context, d time.Duration) error {
	h := r.handling
	if err := h.Err(); err != nil {
		return fmt.Errorf("agent: extend: %w", err)
	}
	if time.Now().Add(d).After(h.limit) {
		return fmt.Errorf("%w: a message is handled for %v at most", ErrBusy, r.a.cfg.MaxHandling)
	}
	// The lease ends later than the deadline, so that there is time to settle the message.
	if err := r.a.keepLease(ctx, r.pending, d+r.a.cfg.HandlerTimeout); err != nil {
		return fmt.Errorf("agent: extend: %w", err)
	}
	if err := h.extend(d); err != nil {
		return fmt.Errorf("agent: extend: %w", err)
	}
	return nil
}
