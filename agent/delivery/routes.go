package delivery

import (
	"context"
	"slices"
	"sync"

	"github.com/didcomm-go/didcomm/transport"
)

// Binding is an open connection that is used as a return route: items from our DID Own to
// the DID Peer are sent on it. Items from other DIDs of ours are not, because the peer
// could then link these DIDs.
type Binding struct {
	Own, Peer string
	// Thread restricts the return route to items of a thread. "" means all threads.
	Thread  string
	Session transport.Session
	// Rank orders the connections of a peer: among those that are proven, and among the
	// others, the highest rank comes first, and among equals the one that was bound last.
	Rank int
}

// routes are the return routes.
type routes struct {
	max int

	mu      sync.Mutex // guards all below
	bound   map[key][]route
	count   int                                  // of all in bound
	held    map[transport.Session]int            // number of entries in bound, by session
	proofs  map[transport.Session]map[key]*proof // by pair of DIDs; only for sessions in held
	sweepAt int                                  // count at which ended sessions are removed
}

// route is a connection. The routes of a key are in the order in which they are used.
type route struct {
	session transport.Session
	rank    int
}

const (
	minSweep = 64
	// maxPerKey is the largest number of connections for one pair of DIDs and thread. Those
	// that are not proven are dropped first, and among them the oldest of the lowest rank.
	maxPerKey = 8
)

func newRoutes(max int) routes {
	return routes{max: max, sweepAt: minSweep, bound: make(map[key][]route), held: make(map[transport.Session]int), proofs: make(map[transport.Session]map[key]*proof)}
}

// share is the largest number of return routes of one connection. It is so small that a peer
// with many connections, as many as package gate permits an address, cannot use up all.
func (t *routes) share() int { return max(1, t.max/1000) }

// pair returns the key of a thread between a DID of ours and a peer.
func (d *Dispatcher) pair(own, peer, thread string) key {
	return digest(d.cfg.Party(own)+" "+d.cfg.Party(peer), thread)
}

// Bind adds a return route. The caller must have got a new message of Peer on the connection.
// If the peer has an endpoint, the return route is used when it is proven. Items for the peer
// that are delayed are tried again at once.
//
// The error matches [ErrTooMany] if a limit is reached.
func (d *Dispatcher) Bind(ctx context.Context, b Binding) error {
	fresh, err := d.routes.bind(d.pair(b.Own, b.Peer, b.Thread), d.pair(b.Own, b.Peer, ""), route{b.Session, b.Rank})
	if err != nil || !fresh {
		return err
	}
	d.wake(ctx, b.Peer)
	return nil
}

// Unbind removes a return route for all threads. Return routes for one thread stay.
func (d *Dispatcher) Unbind(own, peer string, s transport.Session) {
	t, k := &d.routes, d.pair(own, peer, "")
	t.mu.Lock()
	defer t.mu.Unlock()
	t.retain(k, func(r route) bool { return r.session != s })
}

// Connected reports whether there is a return route for items from our DID own to peer on
// a thread.
func (d *Dispatcher) Connected(own, peer, thread string) bool {
	return len(d.sessions(own, peer, thread)) > 0
}

// link is a return route of a peer.
type link struct {
	session transport.Session
	proven  bool // to lead to the peer
	dialed  bool // opened to an endpoint of the peer
}

// provenFirst sorts the proven return routes to the front, and returns them.
func provenFirst(list []link) (proven []link) {
	slices.SortStableFunc(list, func(a, b link) int {
		switch {
		case a.proven == b.proven:
			return 0
		case a.proven:
			return -1
		}
		return 1
	})
	n := slices.IndexFunc(list, func(l link) bool { return !l.proven })
	if n < 0 {
		return list
	}
	return list[:n:n]
}

// sessions returns the open return routes from own to peer, in the order in which they are
// used.
func (d *Dispatcher) sessions(own, peer, thread string) (list []link) {
	pair := d.pair(own, peer, "")
	keys := []key{pair}
	if thread != "" {
		keys = []key{d.pair(own, peer, thread), pair}
	}
	t := &d.routes
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, k := range keys {
		t.retain(k, func(r route) bool { return !transport.Ended(r.session) })
		for _, r := range t.bound[k] {
			if !slices.ContainsFunc(list, func(l link) bool { return l.session == r.session }) {
				list = append(list, t.link(r.session, pair))
			}
		}
	}
	return list
}

// bind adds a route of a pair of DIDs. It reports whether the route is new, or has become
// the first of its key.
func (t *routes) bind(k, pair key, r route) (fresh bool, err error) {
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
			t.retain(k, func(r route) bool { return !transport.Ended(r.session) })
		}
		if t.count >= t.max {
			return false, ErrTooMany
		}
		t.sweepAt = max(minSweep, 2*t.count)
	}
	t.retain(k, func(other route) bool { return !has(other) && !transport.Ended(other.session) })
	list := t.bound[k]
	at := slices.IndexFunc(list, func(other route) bool { return other.rank <= r.rank })
	if at < 0 {
		at = len(list)
	}
	t.bound[k] = slices.Insert(list, at, r)
	t.count++
	t.held[r.session]++
	if len(t.bound[k]) > maxPerKey {
		last := t.bound[k][maxPerKey]
		for _, r := range slices.Backward(t.bound[k]) {
			if !t.isProven(r.session, pair) {
				last = r
				break
			}
		}
		t.retain(k, func(r route) bool { return r != last })
	}
	return !known || at == 0, nil
}

// retain removes the routes of a key for which ok returns false. The caller holds mu.
func (t *routes) retain(k key, ok func(route) bool) {
	list := slices.DeleteFunc(t.bound[k], func(r route) bool {
		if ok(r) {
			return false
		}
		t.count--
		if t.held[r.session]--; t.held[r.session] == 0 {
			delete(t.held, r.session)
			delete(t.proofs, r.session)
		}
		return true
	})
	if len(list) == 0 {
		delete(t.bound, k)
		return
	}
	t.bound[k] = list
}
