package agent

import (
	"context"
	"slices"
	"sync"

	"github.com/didcomm-go/didcomm/transport"
)

// sessions are the connections that outlive a packet: which of them is the
// return route to whom.
type sessions struct {
	max int

	mu      sync.Mutex // guards all below
	bound   map[threadKey]binding
	held    map[transport.Session]int // how many of bound each session has
	sweepAt int                       // size of bound at which dead sessions are removed
}

// binding is a return route: the session, and our DID that the peer bound it
// for. Nothing that another DID of ours sends goes by it, or the peer could tell
// that both are one.
type binding struct {
	session transport.Session
	own     string // party
}

const minSweep = 64

// share is the part of all return routes that one session may have, so that no
// peer can take all with one connection.
func (t *sessions) share() int { return max(1, t.max/100) }

func newSessions(max int) sessions {
	return sessions{
		max: max, sweepAt: minSweep,
		bound: make(map[threadKey]binding),
		held:  make(map[transport.Session]int),
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
