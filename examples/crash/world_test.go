//go:build crash

package crash_test

import (
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// world is nodes that know each other.
type world struct {
	nodes []*node
	// again is after how long a peer may come again that a node has refused for now. The limit
	// of a wait then holds from that long after the last strike, since each strike may lead to
	// another refusal. 0 means that it holds always.
	again time.Duration
	limit time.Duration // of a wait and of a gap
}

// newWorld makes two nodes with the stores given.
func newWorld(t *testing.T, stores ...string) *world {
	t.Helper()
	w := &world{limit: limit}
	dids := make([]map[string]string, len(stores))
	for i, s := range stores {
		n := newNode(t, string(rune('a'+i)))
		n.Store = s
		var err error
		if dids[i], n.Secrets, err = identities(n.Listen); err != nil {
			t.Fatal(err)
		}
		n.DID = dids[i]["http"]
		w.nodes = append(w.nodes, n)
	}
	for i, n := range w.nodes {
		n.Peer = dids[(i+1)%len(dids)]
		n.save(t)
	}
	return w
}

// run sends n messages, as many from each node that has peers, and by each way, and calls
// strike that many times while they are on their way. At the end all must have
// been handled in time, where the time of the strikes does not count: one comes so
// soon after the other that a message may meet many.
func (w *world) run(t *testing.T, n, strikes int, strike func()) {
	t.Helper()
	began := time.Now()
	for _, node := range w.nodes {
		node.start(t)
	}
	var away []span
	hit := func() {
		begin := time.Now()
		strike()
		away = append(away, span{begin, time.Now()})
	}
	for sent := 0; sent < n; {
		for _, node := range w.nodes {
			for _, way := range slices.Sorted(maps.Keys(node.Peer)) {
				if sent < n && node.ask(t, way) {
					sent++
				}
			}
		}
		// The strikes are spread over the messages, each at a moment of its own.
		if len(away) < strikes && sent >= (len(away)+1)*n/(strikes+1) {
			w.wait(t, time.Duration(rand.N(300))*time.Millisecond)
			hit()
		}
		w.wait(t, 0)
	}
	for len(away) < strikes {
		hit()
	}
	accepted, handled := w.settle(t), w.handled(t)
	f := figuresOf(n, accepted, handled, time.Time{}, away...)
	t.Logf("%s, %d strikes, %s", f, len(away), time.Since(began).Round(time.Second))
	if w.again > 0 {
		last := away[len(away)-1].end
		late := figuresOf(n, accepted, handled, last, append(away, span{last, last.Add(w.again)})...)
		f.wait, f.late = late.wait, late.late
	}
	f.check(t, "messages", w.limit)
	if f.accepted < n/2 {
		t.Errorf("only %d of %d messages were accepted", f.accepted, n)
	}
}

// wait lets the nodes work for a while.
func (w *world) wait(t *testing.T, d time.Duration) {
	t.Helper()
	time.Sleep(max(d, time.Millisecond))
}

// settle waits until all that was asked for is answered and handled, or nothing
// has moved for too long, and returns what was accepted.
func (w *world) settle(t *testing.T) *times {
	t.Helper()
	last, moved := -1, time.Now()
	for {
		accepted, open := newTimes(), 0
		for _, n := range w.nodes {
			open += n.asked()
			for id, at := range n.accepted.all() {
				accepted.add(id, at)
			}
		}
		handled := w.handled(t)
		if open == 0 && len(figuresOf(0, accepted, handled, time.Time{}).lost) == 0 {
			return accepted
		}
		if now := handled.len() + accepted.len(); now != last {
			last, moved = now, time.Now()
		}
		if time.Since(moved) > patience {
			return accepted
		}
		w.wait(t, 100*time.Millisecond)
	}
}

// handled is when handlers were given messages.
func (w *world) handled(t *testing.T) *times {
	t.Helper()
	all := newTimes()
	for _, n := range w.nodes {
		n.handled(t, all)
	}
	return all
}
