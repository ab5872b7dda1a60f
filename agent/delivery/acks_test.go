package delivery_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/didcomm-go/didcomm/agent/delivery"
	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/transport"
)

// The messages of the recipient decide the outcome of an item, unless the transport gives
// receipts.
func TestAcks(t *testing.T) {
	settle := func(r delivery.Response) func(*post, *session) {
		r.Own, r.Peer = alice, bob
		return func(p *post, _ *session) { p.Settle(r) }
	}
	thread := func(it *store.Item) { it.Thread = "Thread" }
	for name, c := range map[string]struct {
		change func(*store.Item)
		then   func(p *post, s *session) // a second after the item was sent
		wait   time.Duration             // after that; told are the outcomes until then
		told   []string
		wire   bool // only where there is a connection
	}{
		"acked":            {then: settle(delivery.Response{Acks: []string{"m"}}), told: []string{"m 1: acknowledged by WAY"}},
		"any case":         {then: settle(delivery.Response{Acks: []string{"x", "M"}}), told: []string{"m 1: acknowledged by WAY"}},
		"answered":         {then: settle(delivery.Response{Thread: "M"}), told: []string{"m 1: acknowledged by WAY"}},
		"answer of thread": {change: thread, then: settle(delivery.Response{Thread: "thread"})},
		"other acked":      {then: settle(delivery.Response{Acks: []string{"x", ""}, Thread: "y", About: "z"})},
		"reported":         {then: settle(delivery.Response{About: "M", Problem: errProblem}), told: []string{"m 1: acknowledged by WAY: e.p.me: cannot"}},
		"report of thread": {change: thread, then: settle(delivery.Response{About: "thread", Problem: errProblem}), wait: time.Minute, told: []string{"m 1: sent by WAY: e.p.me: cannot"}},
		"report of other":  {then: settle(delivery.Response{About: "m", Acks: []string{"x"}, Problem: errProblem}), wait: time.Minute, told: []string{"m 1: sent by WAY: e.p.me: cannot"}},
		"report of none":   {change: func(it *store.Item) { it.Thread = "" }, then: settle(delivery.Response{Problem: errProblem}), wait: time.Minute, told: []string{"m 1: sent by WAY"}},
		"another party":    {then: func(p *post, _ *session) { p.Settle(delivery.Response{Own: alice, Peer: alice, Acks: []string{"m"}}) }},
		"busy":             {change: thread, then: func(p *post, _ *session) { p.Busy(alice, bob, "THREAD") }, told: []string{"m 1: queued: the peer has no room for the message now"}},
		"other busy":       {then: func(p *post, _ *session) { p.Busy(alice, bob, "x"); p.Busy(alice, alice, "m") }},
		"cut":              {then: func(_ *post, s *session) { s.end() }, told: []string{"m 1: queued: the connection ended before an ack came"}, wire: true},
		"silent":           {wait: 28 * time.Second},
		"silent for long":  {wait: 29 * time.Second, told: []string{"m 1: sent by WAY"}},
		"acked twice": {then: func(p *post, _ *session) {
			for range 3 {
				p.Settle(delivery.Response{Own: alice, Peer: bob, Acks: []string{"m", "m"}, Thread: "m"})
				p.Busy(alice, bob, "m")
			}
		}, told: []string{"m 1: acknowledged by WAY"}},
		"stopped": {then: func(p *post, _ *session) { p.stop() }},
	} {
		for _, way := range []string{"http://b", "ws://b", "nats:b", delivery.ReturnRoute} {
			if c.wire && (way == "http://b" || way == "nats:b") {
				continue
			}
			t.Run(name+" "+way, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s := newSession()
					p := run(t, delivery.Config{
						Backoff: delivery.Backoff{Min: time.Hour, Max: time.Hour},
						Senders: map[string]transport.Sender{"http": newFault(nil).web(), "ws": wire{s}, "nats": cast{newFault(nil).web()}},
					})
					it := ackWanted("m", way)
					if way == delivery.ReturnRoute {
						p.bind(s)
						it.Endpoints = nil
					}
					if c.change != nil {
						c.change(&it)
					}
					p.deliver(it)
					time.Sleep(time.Second)
					if c.then != nil {
						c.then(p, s)
					}
					time.Sleep(c.wait)
					synctest.Wait()
					want := []string{"m 1: sent by " + way}
					if way != "http://b" {
						want[0] += ", not acknowledged yet"
						for _, line := range c.told {
							want = append(want, strings.Replace(line, "WAY", way, 1))
						}
					}
					p.told.want(t, want...)
					left := 0
					if len(want) == 1 && way != "http://b" || slices.ContainsFunc(c.told, func(l string) bool { return strings.Contains(l, "queued") }) && way != "http://b" {
						left = 1
					}
					if n := len(p.queued()); n != left {
						t.Errorf("%d left", n)
					}
					if p.Awaits(alice, bob, it.Thread) != (left == 1 && len(want) == 1 && name != "stopped") {
						t.Errorf("awaits: %t", p.Awaits(alice, bob, it.Thread))
					}
				})
			})
		}
	}
}

// A message that comes while an item is being sent counts, even if the route then fails.
func TestEarlyAck(t *testing.T) {
	for name, c := range map[string]struct {
		err    error
		settle delivery.Response
		told   string
	}{
		"sent":              {nil, delivery.Response{Acks: []string{"m"}}, "m 1: acknowledged by return route"},
		"failed":            {errDown, delivery.Response{Acks: []string{"m"}}, "m 1: acknowledged"},
		"failed for good":   {unwanted, delivery.Response{Thread: "m"}, "m 1: acknowledged"},
		"failed, reported":  {errDown, delivery.Response{About: "m", Problem: errProblem}, "m 1: acknowledged: e.p.me: cannot"},
		"failed, not acked": {errDown, delivery.Response{Acks: []string{"x"}}, "m 1: queued: send to return route: down"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPost(t, delivery.Config{Backoff: delivery.Backoff{Min: time.Hour, Max: time.Hour}})
				s := newSession()
				s.take = func(context.Context, string) error {
					c.settle.Own, c.settle.Peer = alice, bob
					p.Settle(c.settle)
					return c.err
				}
				p.bind(s)
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				go p.Run(ctx)
				p.deliver(ackWanted("m"))
				synctest.Wait()
				list := p.told.list()
				if len(list) == 0 || list[len(list)-1] != c.told {
					t.Errorf("told of %q", list)
				}
				if o := p.Try(t.Context(), nil, ackWanted("m")); "m 1: "+o.String() != c.told && c.err != unwanted || o.Arrived() != (name != "failed, not acked") {
					t.Errorf("tried: %v", o)
				}
			})
		})
	}
}

// A party that has never sent an ack is regarded as one that does not after one missing
// ack. A party that has sent acks is after three missing acks in a row. An ack ends this.
func TestSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSession()
		p := run(t, delivery.Config{Backoff: delivery.Backoff{Min: time.Hour, Max: time.Hour}})
		p.bind(s)
		n := 0
		next := func() string {
			n++
			id := fmt.Sprint(n)
			p.deliver(ackWanted(id))
			synctest.Wait()
			return id
		}
		// silent checks whether an item counts as delivered without an ack, and when.
		silent := func(want bool, after time.Duration) {
			t.Helper()
			start, id := time.Now(), next()
			if after > 0 && !slices.Contains(p.queued(), id) {
				t.Fatalf("%s was not waited for", id)
			}
			time.Sleep(30*time.Second - time.Since(start))
			synctest.Wait()
			if slices.Contains(p.queued(), id) == want {
				t.Fatalf("%s taken for delivered: %t", id, !want)
			}
			if want {
				i := slices.IndexFunc(p.told.list(), func(l string) bool { return l == id+" 1: sent by return route" })
				if i < 0 || p.told.at()[i] != start.Sub(p.told.start)+after {
					t.Fatalf("%s: %q at %v", id, p.told.list(), p.told.at())
				}
				return
			}
			if err := p.outbox.Drop(t.Context(), "item of "+id); err != nil {
				t.Fatal(err)
			}
		}
		ack := func(id string) {
			p.Settle(delivery.Response{Own: alice, Peer: bob, Acks: []string{id}})
			synctest.Wait()
		}

		silent(true, 30*time.Second)
		silent(true, 0)
		ack("what it never got")
		silent(false, 30*time.Second)
		silent(false, 30*time.Second)
		ack(next())
		silent(false, 30*time.Second)
		silent(false, 30*time.Second)
		silent(true, 30*time.Second)
		silent(true, 0)
		ack("1") // late
		silent(false, 30*time.Second)
	})
}

// An ack of a party that was never asked for an ack does not predict further acks.
func TestAckUnasked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := run(t, delivery.Config{})
		p.bind(newSession())
		p.Settle(delivery.Response{Own: alice, Peer: bob, Acks: []string{"what it never got"}})
		p.deliver(ackWanted("m"))
		time.Sleep(30 * time.Second)
		synctest.Wait()
		p.told.want(t, "m 1: sent by return route, not acknowledged yet", "m 1: sent by return route")
	})
}

// The missing acks of items that were sent together on a dead connection count as one.
func TestSilentTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := run(t, delivery.Config{Backoff: delivery.Backoff{Min: time.Minute, Max: time.Minute}})
		dead := newSession()
		p.bind(dead)
		p.deliver(ackWanted("0"))
		synctest.Wait()
		p.Settle(delivery.Response{Own: alice, Peer: bob, Acks: []string{"0"}})
		for i := range 50 {
			p.deliver(ackWanted(fmt.Sprint("m", i)))
			time.Sleep(10 * time.Millisecond)
		}
		time.Sleep(31 * time.Second)
		synctest.Wait()
		if n := len(p.queued()); n != 50 {
			t.Errorf("%d of 50 are taken for delivered", 50-n)
		}
	})
}

// Items that wait for acks do not delay other items, however many they are.
func TestAwaitBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSession()
		p := run(t, delivery.Config{})
		p.bind(s)
		const n = 50
		for i := range n {
			p.deliver(ackWanted(fmt.Sprint(i)))
		}
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if got := len(s.got.list()); got != n {
			t.Fatalf("%d of %d were sent", got, n)
		}
		if got := len(p.queued()); got != n {
			t.Errorf("%d of %d wait", got, n)
		}
		for i := range n {
			p.Settle(delivery.Response{Own: alice, Peer: bob, Acks: []string{fmt.Sprint(i)}})
		}
		synctest.Wait()
		if left := p.queued(); len(left) != 0 || len(s.got.list()) != n {
			t.Errorf("left: %q, %d sent", left, len(s.got.list()))
		}
	})
}

// An item whose connection ends before its ack is sent on the next connection.
func TestCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var lines []*session
		for range 3 {
			lines = append(lines, newSession())
		}
		i := 0
		p := run(t, delivery.Config{Senders: senders(dialing{func() *session { i++; return lines[i-1] }}, "ws")})
		p.deliver(ackWanted("m", "ws://b"))
		for k := range 2 {
			time.Sleep(time.Second)
			synctest.Wait()
			lines[k].got.want(t, "m")
			lines[k].end()
			time.Sleep(4 * time.Second)
		}
		synctest.Wait()
		p.Settle(delivery.Response{Own: alice, Peer: bob, Acks: []string{"m"}})
		synctest.Wait()
		sent, cut := "sent by ws://b, not acknowledged yet", "queued: the connection ended before an ack came"
		p.told.want(t, "m 1: "+sent, "m 1: "+cut, "m 2: "+sent, "m 2: "+cut, "m 3: "+sent, "m 3: acknowledged by ws://b")
	})
}

// Settle reports whether the problem is in the outcome of an item. The item has to wait for
// its ack, or has to have a notify function.
func TestProblemNoted(t *testing.T) {
	for name, c := range map[string]struct {
		follow, askAck, want bool
		about                string
	}{
		"followed":     {follow: true, want: true, about: "m"},
		"thread":       {follow: true, want: true, about: "thread"},
		"waited for":   {askAck: true, want: true, about: "m"},
		"of no matter": {about: "m"},
		"another":      {follow: true, about: "x"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var p *post
				noted, report := false, delivery.Response{Own: alice, Peer: bob, About: c.about, Problem: errProblem}
				p = run(t, delivery.Config{Senders: senders(web(func(context.Context, string, string) error {
					noted = p.Settle(report)
					return nil
				}), "http")})
				var notify func(delivery.Outcome)
				if c.follow {
					notify = func(delivery.Outcome) {}
				}
				it := with(item("m", "http://b"), func(it *store.Item) { it.Thread, it.AskAck = "thread", c.askAck })
				if _, err := p.Deliver(t.Context(), notify, it); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				want := "m 1: sent by http://b"
				if c.want {
					want += ": " + errProblem.Error()
				}
				if p.told.want(t, want); noted != c.want {
					t.Errorf("noted: %t", noted)
				}
				if p.Settle(report) {
					t.Error("noted when it was over")
				}
			})
		})
	}
}

// Party is called once for a message, however many acks it has.
func TestSettleNamesOnce(t *testing.T) {
	names := 0
	d := delivery.New(delivery.Config{Outbox: store.NewOutbox(store.OutboxConfig{}), Party: func(did string) string {
		if did == bob {
			names++
		}
		return did
	}})
	d.Settle(delivery.Response{Own: alice, Peer: bob, Acks: make([]string, 100), Thread: "1", About: "2", Problem: errProblem})
	if names != 1 {
		t.Errorf("the sender was named %d times", names)
	}
}

// watched is an outbox that passes on the items that are acked.
type watched struct {
	outbox
	acked chan store.Item
}

func (w watched) Ack(ctx context.Context, l *store.Lease[store.Item]) error {
	w.acked <- l.Item
	return w.outbox.Ack(ctx, l)
}

// The packets of items that wait for an ack are not kept in memory, because there may be
// very many.
func TestAwaitingKeepsNoPackets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		box := watched{store.NewOutbox(store.OutboxConfig{}).(outbox), make(chan store.Item, 1)}
		s := newSession()
		p := run(t, delivery.Config{Outbox: box, Senders: senders(wire{s}, "ws")})
		p.deliver(with(ackWanted("1", "ws://b"), func(it *store.Item) {
			it.Endpoints = append(it.Endpoints, store.Endpoint{URI: "ws://c"})
		}))
		synctest.Wait()
		if e := p.entry("1"); len(e.Item.Direct.Data) == 0 || len(e.Item.Endpoints) != 2 {
			t.Errorf("the outbox has %+v", e.Item)
		}
		p.Settle(delivery.Response{Own: alice, Peer: bob, Acks: []string{"1"}})
		if it := <-box.acked; it.Bytes() != 0 {
			t.Errorf("%d bytes were kept", it.Bytes())
		}
	})
}

// A recipient whose first endpoint was busy, and who is silent at the second one, gets the item
// at the first one when there is room, and is not taken for one that sends no acks.
func TestSilentAfterBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		way, s := newFault(busy), newSession()
		p := run(t, delivery.Config{Senders: map[string]transport.Sender{"http": way.web(), "ws": wire{s}}})
		p.deliver(ackWanted("m", "http://b", "ws://b"))
		synctest.Wait()
		s.got.want(t, "m")
		way.set(nil)
		time.Sleep(32 * time.Second)
		list := p.told.list()
		if got := list[len(list)-1]; got != "m 2: sent by http://b" {
			t.Errorf("told of %q", list)
		}
		p.deliver(ackWanted("n", "ws://b"))
		synctest.Wait()
		if !p.Awaits(alice, bob, "n") {
			t.Error("no ack is awaited anymore")
		}
	})
}
