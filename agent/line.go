package agent

import (
	"context"
	"sync"

	"github.com/didcomm-go/didcomm/transport"
)

// lines are the messages of each session that wait for their handler.
type lines struct {
	max int // messages of one session

	mu       sync.Mutex // guards all below
	sessions map[transport.Session]*waiting
}

// waiting are the messages of one session that were not handled yet, in a line
// for each thread, so that a handler which waits for another message of the same
// session does not wait in vain. lines.mu guards all but slots.
type waiting struct {
	slots chan struct{} // one per message in a line whose ServePacket need not wait
	users int           // messages in a line
	lines map[threadKey][]func()
}

func newLines(max int) lines {
	return lines{max: max, sessions: make(map[transport.Session]*waiting)}
}

// place gives a message its place, and returns before it is handled: a place in the
// line of its thread where it came by a session, else a slot to run its handler.
// handled is closed when the message was handled, or given back to the inbox.
//
// The handler never runs in the caller's goroutine. That may be one of our own
// workers, whose packet began the exchange: if the handler sends in its turn, it
// must not take one worker more each time.
func (a *Agent) place(ctx context.Context, w transport.Replier, k *task) (handled <-chan struct{}, err error) {
	done := make(chan struct{})
	if s, ok := w.(transport.Session); ok {
		a.line(ctx, s, k, done)
		return done, nil
	}
	if err := a.detach(ctx, w, k, done); err != nil {
		return nil, err
	}
	return done, nil
}

// detach runs the handler for one message once there is a free slot, and closes
// handled after that.
func (a *Agent) detach(ctx context.Context, w transport.Replier, k *task, handled chan<- struct{}) error {
	if !a.handlers.take(a.life.Done()) {
		return a.giveUp(ctx, k)
	}
	a.work.Add(1) // in time, since the caller's own entry still counts
	go func() {
		defer a.leave()
		defer close(handled)
		defer a.handlers.free()
		a.run(ctx, w, k)
	}()
	return nil
}

// line puts a message in its line, and then waits while its session has too many.
func (a *Agent) line(ctx context.Context, s transport.Session, k *task, handled chan<- struct{}) {
	t, key := &a.lines, a.lineOf(k.in)
	t.mu.Lock()
	w := t.sessions[s]
	if w == nil {
		w = &waiting{slots: make(chan struct{}, t.max), lines: make(map[threadKey][]func())}
		t.sessions[s] = w
	}
	w.users++
	line, running := w.lines[key]
	w.lines[key] = append(line, func() {
		defer close(handled)
		if !a.handlers.take(a.life.Done()) {
			k.in.log(a.cfg.Logger).WarnContext(ctx, "message not handled", "error", a.giveUp(ctx, k))
			return
		}
		defer a.handlers.free()
		a.run(ctx, s, k)
	})
	t.mu.Unlock()
	if !running {
		a.work.Add(1) // in time, since the caller's own entry still counts
		go a.drain(s, w, key)
	}
	// Not before that, or those that wait here would lose their order.
	transport.TurnOf(ctx).End(ctx)
	select {
	case w.slots <- struct{}{}:
	case <-a.life.Done():
	}
}

// drain handles what stands in one line until nothing does.
func (a *Agent) drain(s transport.Session, w *waiting, key threadKey) {
	defer a.leave()
	t := &a.lines
	t.mu.Lock()
	defer t.mu.Unlock()
	for len(w.lines[key]) > 0 {
		next := w.lines[key][0]
		w.lines[key] = w.lines[key][1:]
		t.mu.Unlock()
		next()
		select {
		case <-w.slots:
		case <-a.life.Done():
		}
		t.mu.Lock()
		t.quit(s, w)
	}
	delete(w.lines, key)
}

// quit counts one message of a session less, and forgets what has none. The
// caller holds mu.
func (t *lines) quit(s transport.Session, w *waiting) {
	if w.users--; w.users == 0 {
		delete(t.sessions, s)
	}
}

// lineOf names the line in which a message waits for its handler. Those who did not
// authenticate are no party: their messages do not wait for each other's.
func (a *Agent) lineOf(in *Inbound) threadKey {
	if o, ok := a.cfg.Handler.(Orderer); ok && in.Authenticated() {
		if line := o.Line(in); line != "" {
			return keyOf(in.From, " "+line) // a thread of that name would wait with them, no more
		}
	}
	return keyOf(in.From, in.Message.Thread())
}
