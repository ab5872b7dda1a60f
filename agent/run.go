package agent

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"

	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/transport"
)

// run calls the Handler of a message in the slot of the caller, and settles the message.
func (a *Agent) run(ctx context.Context, w transport.Replier, k *pending) {
	if !a.begin(ctx, k) {
		return
	}
	hctx := newHandling(ctx, a.life, a.cfg.HandlerTimeout, a.cfg.MaxHandling)
	defer hctx.close()

	r := &responder{a: a, w: w, in: k.in, pending: k, handling: hctx, attempt: 1}
	if l := k.held(); l != nil {
		r.attempt += l.Attempts
	}
	defer func() { a.replyToLateDuplicate(hctx, k, r.kept()) }()
	err := r.call(hctx)
	if k.returned != nil {
		k.returned()
	}
	if err != nil && a.postpone(ctx, r, k, err) {
		a.note(ctx, a.cfg.Trace.Parked, "message to be handled later", k.in, r.attempt, err)
		return
	}
	a.note(ctx, a.cfg.Trace.Handled, "message handled", k.in, r.attempt, err)
	if retry := (*retryError)(nil); errors.As(err, &retry) { // the last try
		err = message.NewProblem(message.CodeInternal, fmt.Errorf("%w: %w", errForGood, err))
	}
	if err != nil {
		r.report(hctx, err)
	}
	r.acknowledge(hctx)
	a.settle(ctx, k, err, r.kept())
}

// maxConflicts is how often a Handler is called again at once because another has changed
// the records that it changes. A later call may find no connection for its reply.
const maxConflicts = 10

// call calls the Handler, and calls it again if its Commit failed with store.ErrVersion.
func (r *responder) call(ctx context.Context) error {
	err := r.callOnce(ctx)
	for range maxConflicts {
		if !errors.As(err, new(*retryError)) || !errors.Is(err, store.ErrVersion) || r.isDone() || ctx.Err() != nil {
			break
		}
		r.attempt++
		err = r.callOnce(ctx)
	}
	return err
}

// callOnce calls the Handler. After a panic, it returns a Problem of an internal error.
func (r *responder) callOnce(ctx context.Context) (err error) {
	defer func() {
		if v := recover(); v != nil {
			r.in.log(r.a.cfg.Logger).ErrorContext(ctx, "handler panicked", "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
			err = message.NewProblem(message.CodeInternal, fmt.Errorf("%w: panic", errForGood))
		}
	}()
	return r.a.cfg.Handler.HandleMessage(ctx, r, r.in)
}
