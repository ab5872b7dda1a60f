package delivery

import (
	"context"
	"slices"
	"sync"

	"github.com/didcomm-go/didcomm/transport"
)

// Binding makes a live connection a return route: what the DID Own of ours has for
// the DID Peer, on Thread or, if that is empty, on any, goes by it. Nothing that
// another DID of ours sends goes by it, or the peer could tell that both are one.
type Binding struct {
	Own, Peer, Thread string
	Session           transport.Session
	// Rank says which of several connections wins: the highest, and of equals the
	// one that was bound last. The others are used when it has ended.
	Rank int
}

// routes are the return routes.
type routes struct {
	max int

	mu      sync.Mutex // guards all below
	bound   map[key][]route
	count   int                       // of all in bound
	held    map[transport.Session]int // how many of bound each session has
	sweepAt int                       // count at which dead sessions are removed
}

// route is a live connection; those of one key stand in the order in which they are
// used.
type route struct {
	session transport.Session
	rank    int
}

const (
	minSweep = 64
	// maxRivals bounds the connections of one party for one pair of DIDs and
	// thread; the oldest of the lowest rank go.
	maxRivals = 8
)

func newRoutes(max int) routes {
	return routes{max: max, sweepAt: minSweep, bound: make(map[key][]route), held: make(map[transport.Session]int)}
}

// share is the part of all return routes that one connection may have, so that no
// peer can take all with one.
func (t *routes) share() int { return max(1, t.max/100) }

// pair names the conversation of a DID of ours with a peer.
func (d *Dispatcher) pair(own, peer, thread string) key {
	return digest(d.cfg.Party(own)+" "+d.cfg.Party(peer), thread)
}

// Bind makes a connection a return route. The caller has proof that the connection is
// Peer's. Items that wait for a connection of the peer then leave.
//
// Errors: ErrTooMany.
func (d *Dispatcher) Bind(ctx context.Context, b Binding) error {
	fresh, err := d.routes.bind(d.pair(b.Own, b.Peer, b.Thread), route{b.Session, b.Rank})
	if err != nil || !fresh {
		return err
	}
	d.wake(ctx, b.Peer)
	return nil
}

// Unbind takes a connection back as return route for any thread.
func (d *Dispatcher) Unbind(own, peer string, s transport.Session) {
	t, k := &d.routes, d.pair(own, peer, "")
	t.mu.Lock()
	defer t.mu.Unlock()
	t.keep(k, func(r route) bool { return r.session != s })
}

// Connected tells whether there is a live connection that own may send to peer by.
func (d *Dispatcher) Connected(own, peer, thread string) bool {
	return len(d.sessions(own, peer, thread)) > 0
}

// sessions are the live connections that own may send to peer by, the best first.
func (d *Dispatcher) sessions(own, peer, thread string) (list []transport.Session) {
	keys := [...]key{d.pair(own, peer, thread), d.pair(own, peer, "")}
	t := &d.routes
	t.mu.Lock()
	defer t.mu.Unlock()
	for i, k := range keys {
		if i > 0 && thread == "" {
			break
		}
		t.keep(k, func(r route) bool { return !transport.Ended(r.session) })
		for _, r := range t.bound[k] {
			if !slices.Contains(list, r.session) {
				list = append(list, r.session)
			}
		}
	}
	return list
}

// bind reports whether the route is new, or the first of its key now and was not before.
func (t *routes) bind(k key, r route) (fresh bool, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	has := func(other route) bool { return other.session == r.session }
	if list := t.bound[k]; len(list) > 0 && list[0] == r {
		return false, nil
	}
	known := slices.ContainsFunc(t.bound[k], has)
	if !known && t.held[r.session] >= t.share() {
		return false, ErrTooMany
	}
	if !known && t.count >= min(t.sweepAt, t.max) {
		for k := range t.bound {
			t.keep(k, func(r route) bool { return !transport.Ended(r.session) })
		}
		if t.count >= t.max {
			return false, ErrTooMany
		}
		t.sweepAt = max(minSweep, 2*t.count)
	}
	t.keep(k, func(other route) bool { return !has(other) && !transport.Ended(other.session) })
	list := t.bound[k]
	at := slices.IndexFunc(list, func(other route) bool { return other.rank <= r.rank })
	if at < 0 {
		at = len(list)
	}
	t.bound[k] = slices.Insert(list, at, r)
	t.count++
	t.held[r.session]++
	if len(t.bound[k]) > maxRivals {
		last := t.bound[k][maxRivals]
		t.keep(k, func(r route) bool { return r != last })
	}
	return !known || at == 0, nil
}

// keep removes the routes of a key that are not to stay. The caller holds mu.
func (t *routes) keep(k key, stays func(route) bool) {
	list := slices.DeleteFunc(t.bound[k], func(r route) bool {
		if stays(r) {
			return false
		}
		t.count--
		if t.held[r.session]--; t.held[r.session] == 0 {
			delete(t.held, r.session)
		}
		return true
	})
	if len(list) == 0 {
		delete(t.bound, k)
		return
	}
	t.bound[k] = list
}
