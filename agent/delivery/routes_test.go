package delivery_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/didcomm-go/didcomm/agent/delivery"
	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/transport"
)

// A connection is a return route for one pair of DIDs, on one thread or on all.
func TestPairs(t *testing.T) {
	const carol = "did:example:carol"
	// All spellings of a DID are one party. Party is only called with DIDs.
	names := map[string]string{alice: alice, bob: bob, carol: carol, "did:example:long-bob": bob, "": ""}
	d := newPost(t, delivery.Config{Party: func(did string) string {
		name, ok := names[did]
		if !ok {
			t.Errorf("party of %q", did)
		}
		return name
	}})
	all, thread := newSession(), newSession()
	for _, b := range []delivery.Binding{
		{Own: alice, Peer: bob, Session: all},
		{Own: alice, Peer: carol, Thread: "T one", Session: thread},
	} {
		if err := d.Bind(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		own, peer, thread string
		want              bool
	}{
		{alice, bob, "", true},
		{alice, bob, "t", true},
		{alice, "did:example:long-bob", "t", true},
		{bob, alice, "", false},
		{carol, bob, "", false},
		{"", bob, "", false},
		{alice, carol, "", false},
		{alice, carol, "t one", true},
		{alice, carol, "T ONE", true},
		{alice, carol, "t", false},
		{bob, carol, "t one", false},
	} {
		if got := d.Connected(c.own, c.peer, c.thread); got != c.want {
			t.Errorf("%+v: %t", c, got)
		}
		err := d.Push(t.Context(), c.own, c.peer, c.thread, transport.Packet{})
		if (err == nil) != c.want || err != nil && !errors.Is(err, delivery.ErrNoRoute) {
			t.Errorf("%+v: push: %v", c, err)
		}
	}
	d.Unbind(alice, bob, newSession()) // another one
	if !d.Connected(alice, bob, "") {
		t.Error("unbound by another connection")
	}
	d.Unbind(alice, "did:example:long-bob", all)
	d.Unbind(alice, bob, all)
	if d.Connected(alice, bob, "") {
		t.Error("bound still")
	}
	thread.end()
	if d.Connected(alice, carol, "t one") {
		t.Error("connected by a connection that has ended")
	}
}

// Connections are used in this order: those for the thread before those for all threads,
// the highest rank first, the last bound first. The next one is used if one fails or has
// ended.
func TestRank(t *testing.T) {
	type step struct {
		bind, end, fail, unbind string
		rank                    int
		thread                  string
		want                    string // goes first then
	}
	for name, steps := range map[string][]step{
		"newest first":  {{bind: "a", want: "a"}, {bind: "b", want: "b"}, {bind: "c", want: "c"}},
		"bound anew":    {{bind: "a", want: "a"}, {bind: "b", want: "b"}, {bind: "a", want: "a"}, {end: "a", want: "b"}},
		"older again":   {{bind: "a", want: "a"}, {bind: "b", want: "b"}, {bind: "c", want: "c"}, {end: "b", want: "c"}, {end: "c", want: "a"}, {end: "a", want: "none"}},
		"failing":       {{bind: "a", want: "a"}, {bind: "b", want: "b"}, {fail: "b", want: "a"}, {fail: "a", want: "none"}},
		"rank":          {{bind: "a", rank: 1, want: "a"}, {bind: "b", want: "a"}, {bind: "c", rank: 1, want: "c"}, {bind: "d", rank: -1, want: "c"}, {end: "c", want: "a"}, {end: "a", want: "b"}, {end: "b", want: "d"}},
		"rank changed":  {{bind: "a", rank: 1, want: "a"}, {bind: "b", want: "a"}, {bind: "a", rank: -1, want: "b"}},
		"unbound":       {{bind: "a", want: "a"}, {bind: "b", want: "b"}, {unbind: "b", want: "a"}, {unbind: "a", want: "none"}},
		"thread first":  {{bind: "a", thread: "m", want: "a"}, {bind: "b", rank: 9, want: "a"}, {end: "a", want: "b"}},
		"thread stays":  {{bind: "a", thread: "m", want: "a"}, {bind: "a", want: "a"}, {unbind: "a", want: "a"}},
		"other thread":  {{bind: "a", thread: "n", want: "none"}, {bind: "b", want: "b"}, {bind: "a", thread: "n", want: "b"}},
		"ended already": {{bind: "a", want: "a"}, {end: "b", want: "a"}, {bind: "b", want: "a"}},
	} {
		t.Run(name, func(t *testing.T) {
			d := newPost(t, delivery.Config{})
			sessions := make(map[string]*session)
			used := ""
			for _, id := range []string{"a", "b", "c", "d"} {
				s := newSession()
				s.take = func(context.Context, string) error { used = id; return nil }
				sessions[id] = s
			}
			for i, st := range steps {
				switch {
				case st.bind != "":
					b := delivery.Binding{Own: alice, Peer: bob, Thread: st.thread, Session: sessions[st.bind], Rank: st.rank}
					if err := d.Bind(t.Context(), b); err != nil {
						t.Fatal(err)
					}
				case st.end != "":
					sessions[st.end].end()
				case st.fail != "":
					sessions[st.fail].take = func(context.Context, string) error { return errDown }
				case st.unbind != "":
					d.Unbind(alice, bob, sessions[st.unbind])
				}
				used = "none"
				err := d.Push(t.Context(), alice, bob, "m", transport.Packet{})
				if used != st.want || (err == nil) != (used != "none") {
					t.Errorf("step %d: by %s: %v", i, used, err)
				}
				if st.fail != "" && used == "none" && !errors.Is(err, errDown) {
					t.Errorf("step %d: %v", i, err)
				}
			}
		})
	}
}

// The limits hold for one connection, for one party, and for all connections together.
// Connections that have ended do not count.
func TestRouteLimits(t *testing.T) {
	bind := func(d *post, peer, thread string, s *session) error {
		return d.Bind(t.Context(), delivery.Binding{Own: alice, Peer: peer, Thread: thread, Session: s})
	}
	t.Run("share", func(t *testing.T) {
		d, s := newPost(t, delivery.Config{MaxReturnRoutes: 3000}), newSession()
		for i, want := range []error{nil, nil, nil, delivery.ErrTooMany} {
			if err := bind(d, bob, fmt.Sprint(i), s); !errors.Is(err, want) {
				t.Errorf("route %d: %v", i, err)
			}
		}
		if err := bind(d, bob, "0", s); err != nil { // has it already
			t.Errorf("bound anew: %v", err)
		}
		if err := bind(d, bob, "3", newSession()); err != nil {
			t.Errorf("another connection: %v", err)
		}
	})
	t.Run("total", func(t *testing.T) {
		d := newPost(t, delivery.Config{MaxReturnRoutes: 150})
		var list []*session
		for i := range 150 {
			list = append(list, newSession())
			if err := bind(d, fmt.Sprint("did:example:", i), "", list[i]); err != nil {
				t.Fatal(err)
			}
		}
		if err := bind(d, bob, "", newSession()); !errors.Is(err, delivery.ErrTooMany) {
			t.Errorf("one too many: %v", err)
		}
		if err := bind(d, "did:example:7", "", list[7]); err != nil {
			t.Errorf("bound anew: %v", err)
		}
		list[3].end()
		if err := bind(d, bob, "", newSession()); err != nil {
			t.Errorf("in the place of one that has ended: %v", err)
		}
		if !d.Connected(alice, "did:example:149", "") || d.Connected(alice, "did:example:3", "") {
			t.Error("others are gone")
		}
	})
	t.Run("rivals", func(t *testing.T) {
		d, used := newPost(t, delivery.Config{}), make(map[int]bool)
		for i := range 20 {
			s := newSession()
			s.take = func(context.Context, string) error { used[i] = true; return errDown }
			rank := 0
			if i == 2 {
				rank = 1
			}
			if err := d.Bind(t.Context(), delivery.Binding{Own: alice, Peer: bob, Session: s, Rank: rank}); err != nil {
				t.Fatal(err)
			}
		}
		if err := d.Push(t.Context(), alice, bob, "", transport.Packet{}); err == nil {
			t.Error("pushed")
		}
		for i := range 20 {
			if used[i] != (i == 2 || i >= 13) {
				t.Errorf("connection %d used: %t", i, used[i])
			}
		}
	})
}

// slow is an outbox in which something happens before an item is given back.
type slow struct {
	outbox
	meanwhile func()
}

func (s slow) Nak(ctx context.Context, l *store.Lease[store.Item], delay time.Duration, reason string) error {
	s.meanwhile()
	return s.outbox.Nak(ctx, l, delay, reason)
}

// A connection that is bound after an item was tried, and before the item is given
// back, wakes the item too.
func TestBoundMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p *post
		s := newSession()
		p = run(t, delivery.Config{Outbox: slow{store.NewOutbox(store.OutboxConfig{}).(outbox), func() { p.bind(s) }}})
		p.deliver(item("m"))
		synctest.Wait()
		s.got.want(t, "m")
	})
}

// Items that wait for a connection are sent when one is bound, under any name of the
// party. After a connection has ended, only the items without an ack are sent again.
func TestBindWakes(t *testing.T) {
	const long = "did:example:bob:long"
	for name, c := range map[string]struct {
		to, as string
		first  func(s *session) // what is bound before
		rank   int              // of that
	}{
		"no connection yet": {to: bob, as: bob},
		"item to long name": {to: long, as: bob},
		"bound long name":   {to: bob, as: long},
		"both long":         {to: long, as: long},
		"one that fails":    {to: bob, as: bob, first: func(s *session) { s.take = func(context.Context, string) error { return errDown } }},
		"one that fails, of higher rank": {to: bob, as: bob, rank: 1,
			first: func(s *session) { s.take = func(context.Context, string) error { return errDown } }},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := run(t, delivery.Config{
					Backoff: delivery.Backoff{Min: time.Hour, Max: time.Hour},
					Party: func(did string) string {
						if did == long {
							return bob
						}
						return did
					},
					Senders: senders(newFault(errDown).web(), "http"),
				})
				if c.first != nil {
					s := newSession()
					c.first(s)
					if err := p.Bind(t.Context(), delivery.Binding{Own: alice, Peer: bob, Session: s, Rank: c.rank}); err != nil {
						t.Fatal(err)
					}
				}
				for i := range 20 {
					it := item(fmt.Sprint(i))
					it.To = c.to
					p.deliver(it)
				}
				time.Sleep(time.Second)
				s := newSession()
				if err := p.Bind(t.Context(), delivery.Binding{Own: alice, Peer: c.as, Session: s}); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				if n := len(s.got.list()); n != 20 || len(p.queued()) != 0 {
					t.Errorf("%d left by the connection; %q did not", n, p.queued())
				}
			})
		})
	}
}

// An item that has no endpoint waits for a connection until its deadline.
func TestWaitForConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := run(t, delivery.Config{})
		it := item("m")
		it.Deadline = it.Created.Add(95 * time.Minute)
		p.deliver(it)
		time.Sleep(94 * time.Minute)
		if !slices.Equal(p.queued(), []string{"m"}) {
			t.Fatalf("queued: %q", p.queued())
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		list := p.told.list()
		if got := list[len(list)-1]; got != fmt.Sprintf("m %d: expired: no further try before its deadline: no route", len(list)) {
			t.Errorf("told of %q", got)
		}
		if o := delivery.OutcomeOf(p.entry("m")); o.State != delivery.Expired {
			t.Errorf("outcome %v", o)
		}
	})
}

// An item that needs a receipt is not sent on a return route, and binding one does not make
// it retry in a loop.
func TestReceiptOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, s := run(t, delivery.Config{Senders: senders(newFault(nil).web(), "http")}), newSession()
		p.bind(s)
		receipt := func(it *store.Item) { it.NeedsReceipt = true }
		p.deliver(with(item("connection"), receipt), with(item("both", "http://b"), receipt))
		time.Sleep(time.Hour)
		s.got.want(t)
		if n := len(p.told.list()); !slices.Equal(p.queued(), []string{"connection"}) || n > 20 {
			t.Errorf("queued: %q, %d outcomes", p.queued(), n)
		}
	})
}

// If the recipient has moved to an endpoint that gives no receipts, an item that needs a
// receipt counts as delivered when the connection stays open for AckTimeout, and is sent
// again if the connection ends before. This does not count as a missing ack.
func TestReceiptMoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first, second, i := newSession(), newSession(), 0
		p := run(t, delivery.Config{
			Senders: map[string]transport.Sender{
				"http": newFault(errDown).web(),
				"ws":   dialing{func() *session { i++; return []*session{first, second, second}[i-1] }},
			},
			Moved: func(context.Context, *store.Item) []store.Endpoint {
				return []store.Endpoint{{URI: "ws://b"}}
			},
		})
		p.deliver(with(item("m", "http://b"), func(it *store.Item) { it.NeedsReceipt = true }))
		time.Sleep(10 * time.Second)
		first.end()
		time.Sleep(20 * time.Second)
		second.got.want(t, "m")
		if len(p.queued()) == 0 {
			t.Error("taken for delivered at once")
		}
		time.Sleep(20 * time.Second)
		if len(p.queued()) != 0 {
			t.Error("does not count as delivered")
		}
		p.deliver(ackWanted("n", "http://b"))
		time.Sleep(time.Second)
		if !p.Awaits(alice, bob, "n") {
			t.Error("the party is taken for one that does not ack")
		}
	})
}
