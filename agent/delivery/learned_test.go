package delivery_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/didcomm-go/didcomm/agent/delivery"
	"github.com/didcomm-go/didcomm/transport"
)

// memory is what a program remembers about a party: that it never acks.
type memory struct {
	told *record // calls of LearnedAcks

	mu      sync.Mutex
	silent  bool
	asked   int
	forgets bool // as for a stranger
	inside  func()
}

func (m *memory) set(silent bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.silent = silent && !m.forgets
}

func (m *memory) config(cfg delivery.Config) delivery.Config {
	cfg.NeverAcks = func(_ context.Context, own, peer string) bool {
		m.inside()
		m.mu.Lock()
		defer m.mu.Unlock()
		m.asked++
		return own == alice && peer == bob && m.silent
	}
	cfg.LearnedAcks = func(ctx context.Context, own, peer string, acks bool) {
		m.inside()
		m.told.add("%s %s %t %v", own, peer, acks, ctx.Err())
		m.set(!acks)
	}
	return cfg
}

// The lessons of an earlier process about the acks of a party hold from the first item on,
// and an ack changes it.
func TestLearned(t *testing.T) {
	const learnedNone, learnedAcks = alice + " " + bob + " false <nil>", alice + " " + bob + " true <nil>"
	type step func(t *testing.T, w *learnedTest)
	restart := func(t *testing.T, w *learnedTest) { w.restart(t) }
	written := func(t *testing.T, w *learnedTest) { w.send(t, 0) }
	waited := func(t *testing.T, w *learnedTest) { w.send(t, 30*time.Second) }
	retried := func(t *testing.T, w *learnedTest) { w.send(t, -1) }
	acked := func(_ *testing.T, w *learnedTest) { w.ack() }
	learns := func(silent bool) step { return func(_ *testing.T, w *learnedTest) { w.memory.set(silent) } }
	for name, c := range map[string]struct {
		stranger bool
		steps    []step
		learned  []string
	}{
		"never":                       {steps: []step{waited, written, written, restart, written, written}, learned: []string{learnedNone}},
		"nothing missed yet":          {steps: []step{restart, waited, written}, learned: []string{learnedNone}},
		"ack after all":               {steps: []step{waited, restart, written, acked, retried, retried, waited, written}, learned: []string{learnedNone, learnedAcks, learnedNone}},
		"ack after all, and restart":  {steps: []step{waited, written, acked, restart, waited}, learned: []string{learnedNone, learnedAcks, learnedNone}},
		"ack before anything is sent": {steps: []step{waited, restart, acked, written, acked, retried}, learned: []string{learnedNone, learnedAcks}},
		"stranger":                    {stranger: true, steps: []step{waited, written, restart, waited, written}, learned: []string{learnedNone, learnedNone}},
		"the program learns":          {steps: []step{learns(true), written, written}},
		"the program forgets":         {steps: []step{learns(true), written, learns(false), waited, written}, learned: []string{learnedNone}},
		"the program is wrong":        {steps: []step{learns(true), written, acked, retried}, learned: []string{learnedAcks}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := &learnedTest{s: newSession(), memory: &memory{told: newRecord(), forgets: c.stranger}}
				w.memory.inside = func() { // no lock is held
					w.post.Awaits(alice, bob, "x")
					w.post.Connected(alice, bob, "x")
					w.post.Settle(delivery.Response{Own: alice, Peer: alice, Acks: []string{"x"}})
				}
				w.restart(t)
				for _, f := range c.steps {
					f(t, w)
				}
				w.memory.told.want(t, c.learned...)
			})
		})
	}
}

// learnedTest sends items to a party by its connection, with restarts in between.
type learnedTest struct {
	s *session
	*memory
	post *post
	n    int
}

func (w *learnedTest) restart(t *testing.T) {
	if w.post != nil {
		w.post.stop()
	}
	w.post = run(t, w.memory.config(delivery.Config{
		Backoff: delivery.Backoff{Min: time.Hour, Max: time.Hour},
		Senders: map[string]transport.Sender{"ws": wire{w.s}},
	}))
}

// send sends an item, which counts as delivered after some time, or never.
func (w *learnedTest) send(t *testing.T, after time.Duration) {
	t.Helper()
	w.n++
	id := fmt.Sprint("m", w.n)
	w.post.deliver(ackWanted(id, "ws://b"))
	synctest.Wait()
	if after != 0 {
		time.Sleep(30*time.Second - time.Nanosecond)
		synctest.Wait()
		if !slices.Contains(w.post.queued(), id) {
			t.Errorf("%s is taken for delivered before its time", id)
		}
		time.Sleep(time.Nanosecond)
		synctest.Wait()
	}
	if left := slices.Contains(w.post.queued(), id); left != (after < 0) {
		t.Errorf("%s is queued: %t", id, left)
	}
	if err := w.post.outbox.Drop(t.Context(), "item of "+id); after < 0 && err != nil {
		t.Error(err)
	}
}

// ack acks the last item.
func (w *learnedTest) ack() {
	w.post.Settle(delivery.Response{Own: alice, Peer: bob, Acks: []string{fmt.Sprint("m", w.n)}})
	synctest.Wait()
}

// Once a party has shown whether it sends acks, the program is not asked anymore. It is never
// asked about items that ask for no ack.
func TestLearnedAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &learnedTest{s: newSession(), memory: &memory{told: newRecord(), inside: func() {}}}
		w.restart(t)
		for i := range 10 {
			w.post.deliver(item(fmt.Sprint("plain", i), "ws://b"))
		}
		synctest.Wait()
		if w.asked != 0 {
			t.Errorf("asked %d times about items that want no ack", w.asked)
		}
		w.send(t, 30*time.Second)
		for range 10 {
			w.send(t, 0)
		}
		if w.asked != 1 {
			t.Errorf("asked %d times", w.asked)
		}
	})
}
