package agent

import (
	"context"
	"slices"
	"sync"

	"github.com/didcomm-go/didcomm/transport"
)

// sessions are the connections that outlive a packet: which of them is the
// return route to whom, and the messages that each has waiting for their
// handler.
type sessions struct {
	max int

	mu      sync.Mutex // guards all below
	bound   map[threadKey]binding
	held    map[transport.Session]int // how many of bound each session has
	sweepAt int                       // size of bound at which dead sessions are removed
	waiting map[transport.Session]*waiting
}

// binding is a return route: the session, and our DID that the peer bound it
// for. Nothing that another DID of ours sends goes by it, or the peer could tell
// that both are one.
type binding struct {
	session transport.Session
	own     string // party
}

// waiting are the messages of one session that were not handled yet, in a line
// for each thread, so that a handler which waits for another message of the same
// session does not wait in vain. sessions.mu guards all but slots.
type waiting struct {
	slots chan struct{} // one per message in a line
	users int           // messages in a line or about to be
	lines map[threadKey][]func()
}

const minSweep = 64

// share is the part of all return routes that one session may have, so that no
// peer can take all with one connection.
func (t *sessions) share() int { return max(1, t.max/100) }

func newSessions(max int) sessions {
	return sessions{
		max: max, sweepAt: minSweep,
		bound:   make(map[threadKey]binding),
		held:    make(map[transport.Session]int),
		waiting: make(map[transport.Session]*waiting),
	}
}

// bind makes w the return route to the sender of in, if it asks for that. Only
// who has authenticated may, and only with a message to us that is no older than
// the replay window: another could be somebody else's to pass on or to replay, on
// a connection of his own. What waits for a connection of the sender then leaves.
func (a *Agent) bind(ctx context.Context, w transport.Replier, in *Inbound) {
	s, ok := w.(transport.Session)
	if !ok || !in.Authenticated() || !in.addressed() {
		return
	}
	m := in.Message
	if t := m.CreatedTime; !t.IsZero() && a.cfg.Now().Sub(t) > a.cfg.ReplayWindow {
		return
	}
	thread := ""
	switch m.ReturnRoute {
	case "all":
	case "thread":
		thread = in.returnThread()
	case "none":
		a.sessions.unbind(keyOf(in.From, ""), s)
		return
	default:
		return
	}
	switch a.sessions.bind(keyOf(in.From, thread), binding{s, party(in.To)}) {
	case boundNot:
		in.log(a.cfg.Logger).Warn("too many return routes, not bound")
	case boundNew:
		for _, to := range slices.Compact([]string{in.From, party(in.From)}) {
			a.wake(ctx, to)
		}
	}
}

// What bind did.
type bound int

const (
	boundNot  bound = iota // there are too many
	boundNew               // the party had another route, or none
	boundSame              // it is bound already
)

func (t *sessions) bind(key threadKey, b binding) bound {
	t.mu.Lock()
	defer t.mu.Unlock()
	old, ok := t.bound[key]
	if old == b {
		return boundSame
	}
	if old.session != b.session && t.held[b.session] >= t.share() {
		return boundNot
	}
	if !ok && len(t.bound) >= min(t.sweepAt, t.max) {
		for k, old := range t.bound {
			if ended(old.session) {
				t.remove(k)
			}
		}
		if len(t.bound) >= t.max {
			return boundNot
		}
		t.sweepAt = max(minSweep, 2*len(t.bound))
	}
	t.remove(key)
	t.bound[key] = b
	t.held[b.session]++
	return boundNew
}

func (t *sessions) unbind(key threadKey, s transport.Session) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.bound[key].session == s {
		t.remove(key)
	}
}

// remove forgets a return route, if there is one. The caller holds mu.
func (t *sessions) remove(key threadKey) {
	b, ok := t.bound[key]
	if !ok {
		return
	}
	delete(t.bound, key)
	if t.held[b.session]--; t.held[b.session] == 0 {
		delete(t.held, b.session)
	}
}

// lookup returns the live return route from one of our DIDs to a party, for a
// thread, or nil.
func (t *sessions) lookup(from, to, thread string) transport.Session {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, key := range [...]threadKey{keyOf(to, thread), keyOf(to, "")} {
		b, ok := t.bound[key]
		switch {
		case !ok:
		case ended(b.session):
			t.remove(key)
		case b.own == party(from):
			return b.session
		}
	}
	return nil
}

func ended(s transport.Session) bool {
	select {
	case <-s.Done():
		return true
	default:
		return false
	}
}

// line puts a message in its line, and waits while its session has too many.
func (a *Agent) line(ctx context.Context, s transport.Session, k *task) error {
	t := &a.sessions
	t.mu.Lock()
	w := t.waiting[s]
	if w == nil {
		w = &waiting{slots: make(chan struct{}, a.cfg.SessionQueue), lines: make(map[threadKey][]func())}
		t.waiting[s] = w
	}
	w.users++
	t.mu.Unlock()
	select {
	case w.slots <- struct{}{}:
	case <-a.life.Done():
		t.mu.Lock()
		t.quit(s, w)
		t.mu.Unlock()
		return a.giveUp(ctx, k)
	}
	key := keyOf(k.in.From, k.in.Message.Thread())
	t.mu.Lock()
	defer t.mu.Unlock()
	line, running := w.lines[key]
	w.lines[key] = append(line, func() {
		if err := a.handle(ctx, s, k); err != nil {
			k.in.log(a.cfg.Logger).WarnContext(ctx, "message not handled", "error", err)
		}
	})
	if !running {
		a.work.Add(1) // in time, since the caller's own entry still counts
		go a.drain(s, w, key)
	}
	return nil
}

// drain handles what stands in one line until nothing does.
func (a *Agent) drain(s transport.Session, w *waiting, key threadKey) {
	defer a.leave()
	t := &a.sessions
	t.mu.Lock()
	defer t.mu.Unlock()
	for len(w.lines[key]) > 0 {
		next := w.lines[key][0]
		w.lines[key] = w.lines[key][1:]
		t.mu.Unlock()
		next()
		<-w.slots
		t.mu.Lock()
		t.quit(s, w)
	}
	delete(w.lines, key)
}

// quit counts one message of a session less, and forgets what has none. The
// caller holds mu.
func (t *sessions) quit(s transport.Session, w *waiting) {
	if w.users--; w.users == 0 {
		delete(t.waiting, s)
	}
}
