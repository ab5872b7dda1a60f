package delivery_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/didcomm-go/didcomm/agent/delivery"
	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/transport"
)

// prober packs a probe as the word and its id.
func prober(_ context.Context, id, own, peer string, hide bool) (transport.Packet, error) {
	return transport.Packet{Data: []byte("probe " + id)}, nil
}

// split returns the packets that a session got without probes, and the ids of the probes.
func split(s *session) (items, probes []string) {
	for _, line := range s.got.list() {
		if id, ok := strings.CutPrefix(line, "probe "); ok {
			probes = append(probes, id)
		} else {
			items = append(items, line)
		}
	}
	return items, probes
}

// answer makes the peer ack the last probe of a session, on a session.
func (p *post) answer(probed, on transport.Session) {
	p.t.Helper()
	synctest.Wait()
	_, probes := split(probed.(*session))
	if len(probes) == 0 {
		p.t.Fatal("no probe came")
	}
	p.Settle(delivery.Response{Own: alice, Peer: bob, Acks: probes[len(probes)-1:], Session: on})
}

// acking makes a session whose peer acks each item.
func acking(p **post) *session {
	s := newSession()
	s.take = func(_ context.Context, packet string) error {
		if !strings.HasPrefix(packet, "probe ") {
			go (*p).Settle(delivery.Response{Own: alice, Peer: bob, Acks: []string{packet}})
		}
		return nil
	}
	return s
}

// Where a peer has an endpoint, a return route carries items when a probe that left by the
// connection alone was acked on it.
func TestProof(t *testing.T) {
	another := newSession()
	for name, c := range map[string]struct {
		item func(*store.Item)
		then func(p *post, s *session) // after the first item
		way  string                    // of the others: "endpoint" or "session"
	}{
		"never acked": {way: "endpoint"},
		"acked":       {then: func(p *post, s *session) { p.answer(s, s) }, way: "session"},
		"acked in another case": {then: func(p *post, s *session) {
			synctest.Wait()
			_, probes := split(s)
			p.Settle(delivery.Response{Own: alice, Peer: bob, Acks: []string{"x", strings.ToLower(probes[0])}, Session: s})
		}, way: "session"},
		"acked elsewhere":        {then: func(p *post, s *session) { p.answer(s, another) }, way: "endpoint"},
		"acked on no connection": {then: func(p *post, s *session) { p.answer(s, nil) }, way: "endpoint"},
		"acked and unbound":      {then: func(p *post, s *session) { p.answer(s, s); p.Unbind(alice, bob, s) }, way: "endpoint"},
		"another message was acked": {then: func(p *post, s *session) {
			p.Settle(delivery.Response{Own: alice, Peer: bob, Acks: []string{"first"}, Session: s})
		}, way: "endpoint"},
		"another party has acked":    {then: ackedBy(alice, "did:example:carol"), way: "endpoint"},
		"acked to another DID":       {then: ackedBy("did:example:carol", bob), way: "endpoint"},
		"no ack is asked for":        {item: func(it *store.Item) { it.AskAck = false }, way: "endpoint"},
		"for an item with a receipt": {item: func(it *store.Item) { it.AskAck, it.NeedsReceipt = false, true }, way: "endpoint"},
		"no endpoint":                {item: func(it *store.Item) { it.Endpoints = nil }, way: "session"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				got := newRecord()
				var p *post
				s := acking(&p)
				p = run(t, delivery.Config{Probe: prober, Senders: senders(web(func(_ context.Context, _, packet string) error {
					got.add("%s", packet)
					return nil
				}), "http")})
				p.bind(s)
				send := func(id string) {
					it := ackWanted(id, "http://b")
					if c.item != nil {
						c.item(&it)
					}
					p.deliver(it)
					synctest.Wait()
				}
				send("first")
				if c.then != nil {
					c.then(p, s)
				}
				var want []string
				for i := range 20 {
					time.Sleep(time.Millisecond)
					send(fmt.Sprint(i))
					want = append(want, fmt.Sprint(i))
				}
				time.Sleep(time.Hour)
				bySession, _ := split(s)
				ways := map[string][]string{"endpoint": got.list(), "session": bySession}
				first := "endpoint"
				if name == "no endpoint" {
					first = "session"
				}
				ways[first] = slices.DeleteFunc(ways[first], func(id string) bool { return id == "first" })
				for way, list := range ways {
					if way == c.way && !slices.Equal(list, want) || way != c.way && len(list) > 0 {
						t.Errorf("by %s: %q", way, list)
					}
				}
				if ids := p.queued(); len(ids) != 0 {
					t.Errorf("queued: %q", ids)
				}
			})
		})
	}
}

// ackedBy acks the first probe, as if it had been between other parties.
func ackedBy(own, peer string) func(p *post, s *session) {
	return func(p *post, s *session) {
		synctest.Wait()
		_, probes := split(s)
		p.Settle(delivery.Response{Own: own, Peer: peer, Acks: probes, Session: s})
	}
}

// Probes are few, also to a peer that never acks, and there are none without items.
func TestProbesBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := run(t, delivery.Config{Probe: prober, Senders: senders(newFault(nil).web(), "http")})
		var all []*session
		for range 3 {
			all = append(all, newSession())
			p.bind(all[len(all)-1])
		}
		time.Sleep(time.Hour)
		for i := range 24 * 60 {
			p.deliver(ackWanted(fmt.Sprint(i), "http://b"))
			time.Sleep(time.Minute)
		}
		for i, s := range all {
			// The delay after a probe is 30 seconds and 1 second first, and 10 minutes more in the end.
			if items, probes := split(s); len(items) != 0 || len(probes) < 100 || len(probes) > 150 {
				t.Errorf("connection %d: %d items, %d probes", i, len(items), len(probes))
			}
		}
		n := 0
		for _, s := range all {
			n += len(s.got.list())
		}
		time.Sleep(24 * time.Hour)
		for _, s := range all {
			n -= len(s.got.list())
		}
		if n != 0 {
			t.Errorf("%d probes without an item", -n)
		}
	})
}

// An item that is not acked on a proven return route leaves by the endpoint, and the
// connection is not proven anymore. So it goes with a third party that passes only probes on.
func TestProvenSilent(t *testing.T) {
	for name, end := range map[string]bool{"silent": false, "ends": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				got, s := newRecord(), newSession()
				p := run(t, delivery.Config{Probe: prober, Senders: senders(web(func(_ context.Context, _, packet string) error {
					got.add("%s", packet)
					return nil
				}), "http")})
				p.bind(s)
				p.deliver(ackWanted("first", "http://b"))
				p.answer(s, s)
				for i := range 5 {
					p.deliver(ackWanted(fmt.Sprint(i), "http://b"))
				}
				synctest.Wait()
				if items, _ := split(s); len(items) != 5 {
					t.Errorf("by the return route: %q", items)
				}
				if end {
					s.end()
				}
				time.Sleep(32 * time.Second)
				synctest.Wait()
				if list := sorted(got.list()); !slices.Equal(list, []string{"0", "1", "2", "3", "4", "first"}) || len(p.queued()) != 0 {
					t.Errorf("by the endpoint: %q, queued: %q", list, p.queued())
				}
				p.deliver(ackWanted("last", "http://b"))
				synctest.Wait()
				if items, _ := split(s); len(items) != 5 || !slices.Contains(got.list(), "last") {
					t.Errorf("by the return route: %q", items)
				}
			})
		})
	}
}

// Among several proven connections, the newest one is used. Connections that are not proven
// do not push a proven one out.
func TestNewestProven(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		got := newRecord()
		p := run(t, delivery.Config{Probe: prober, Senders: senders(web(func(_ context.Context, _, packet string) error {
			got.add("%s", packet)
			return nil
		}), "http")})
		old, fresh := acking(&p), acking(&p)
		p.bind(old)
		p.deliver(ackWanted("1", "http://b"))
		p.answer(old, old)
		p.bind(fresh)
		p.deliver(ackWanted("2", "http://b")) // by the old one, and a probe by the new one
		p.answer(fresh, fresh)
		p.deliver(ackWanted("3", "http://b"))
		synctest.Wait()
		for range 20 {
			p.bind(newSession())
		}
		p.deliver(ackWanted("4", "http://b"))
		synctest.Wait()
		fresh.end()
		p.deliver(ackWanted("5", "http://b"))
		synctest.Wait()
		old.end()
		p.deliver(ackWanted("6", "http://b"))
		synctest.Wait()
		byOld, _ := split(old)
		byFresh, _ := split(fresh)
		if !slices.Equal(byOld, []string{"2", "5"}) || !slices.Equal(byFresh, []string{"3", "4"}) {
			t.Errorf("old %q, new %q", byOld, byFresh)
		}
		got.want(t, "1", "6")
	})
}

// Items whose endpoint is down leave by a return route as soon as the connection is proven.
// If the endpoint can never be used, they need no proof.
func TestProofWakes(t *testing.T) {
	for name, c := range map[string]struct {
		err   error
		proof bool
	}{
		"down":   {unreached, true},
		"unable": {&transport.SendError{Endpoint: "http://b", Err: errDown}, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := run(t, delivery.Config{
					Probe: prober, Senders: senders(newFault(c.err).web(), "http"),
					Backoff: delivery.Backoff{Min: time.Hour, Max: time.Hour},
				})
				s := acking(&p)
				if !c.proof {
					p.bind(s)
				}
				for i := range 20 {
					// An item that asks for no ack may leave by a return route, too.
					p.deliver(with(ackWanted(fmt.Sprint(i), "http://b"), func(it *store.Item) { it.AskAck = i%2 == 0 }))
				}
				synctest.Wait()
				if c.proof {
					p.bind(s)
					synctest.Wait()
					if items, _ := split(s); len(items) != 0 {
						t.Errorf("before the proof: %q", items)
					}
					p.answer(s, s)
				}
				synctest.Wait()
				if items, _ := split(s); len(items) != 20 || len(p.queued()) != 0 {
					t.Errorf("by the return route: %q, queued: %q", items, p.queued())
				}
			})
		})
	}
}

// A connection that was opened to the endpoint of the peer needs no probe.
func TestOwnConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p *post
		var dialed atomic.Int32
		s := acking(&p)
		p = run(t, delivery.Config{Probe: prober, Senders: senders(dialing{func() *session { dialed.Add(1); return s }}, "ws")})
		p.bind(s)
		for i := range 5 {
			p.deliver(ackWanted(fmt.Sprint(i), "ws://b"))
			synctest.Wait()
		}
		if items, probes := split(s); len(items) != 5 || len(probes) != 0 || dialed.Load() != 1 {
			t.Errorf("%q, %d probes, %d by the endpoint", items, len(probes), dialed.Load())
		}
	})
}

// An item that is not acked on one proven connection does not try another one before the
// endpoint. So a third party with several connections delays an item once.
func TestSilentOnce(t *testing.T) {
	for name, end := range map[string]bool{"silent": false, "ends": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				got := newRecord()
				p := run(t, delivery.Config{Probe: prober, Senders: senders(web(func(_ context.Context, _, packet string) error {
					got.add("%s", packet)
					return nil
				}), "http")})
				var all []*session
				for range 4 {
					s := newSession()
					s.take = func(_ context.Context, packet string) error {
						if end && packet == "item" {
							s.end()
						}
						return nil
					}
					p.bind(s)
					all = append(all, s)
				}
				for i := range all { // each by the endpoint, with a probe on another connection
					p.deliver(ackWanted(fmt.Sprint(i), "http://b"))
					synctest.Wait()
				}
				for _, s := range all {
					p.answer(s, s)
				}
				p.deliver(ackWanted("item", "http://b"))
				time.Sleep(32 * time.Second)
				synctest.Wait()
				n := 0
				for _, s := range all {
					if items, _ := split(s); slices.Contains(items, "item") {
						n++
					}
				}
				if n != 1 || !slices.Contains(got.list(), "item") {
					t.Errorf("by %d connections, by the endpoint %q", n, got.list())
				}
			})
		})
	}
}

// Among several connections of a peer without an endpoint, the newest proven one is used. A
// newer connection of a third party gets probes only.
func TestNewestProvenWithoutEndpoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p *post
		own, thief := acking(&p), newSession()
		p = run(t, delivery.Config{Probe: prober, Senders: senders(newFault(nil).web(), "http")})
		p.bind(own)
		p.deliver(ackWanted("alone"))
		synctest.Wait()
		if _, probes := split(own); len(probes) != 0 {
			t.Errorf("%d probes of the only connection", len(probes))
		}
		p.bind(thief)
		p.deliver(ackWanted("1")) // by the newest, since none is proven
		synctest.Wait()
		p.bind(own) // any message of the peer
		p.deliver(ackWanted("2"))
		p.answer(own, own)
		p.bind(thief)
		for i := range 20 {
			p.deliver(ackWanted(fmt.Sprint("later", i)))
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		stolen, probes := split(thief)
		mine, _ := split(own)
		if !slices.Equal(stolen, []string{"1"}) || len(probes) == 0 || len(mine) != 23 || len(p.queued()) != 0 {
			t.Errorf("the thief has %q and %d probes, the peer has %q, queued %q", stolen, len(probes), mine, p.queued())
		}

		// The peer has another connection, and does not read the old one anymore.
		own.take = nil
		fresh := acking(&p)
		p.bind(fresh)
		p.deliver(ackWanted("last"))
		time.Sleep(time.Minute)
		p.answer(fresh, fresh)
		synctest.Wait()
		if mine, _ := split(fresh); !slices.Contains(mine, "last") || len(p.queued()) != 0 {
			t.Errorf("by the new connection %q, queued %q", mine, p.queued())
		}
	})
}

// A peer that sends no acks gets no item twice on the connection that was opened to its
// endpoint, even if the peer has made the connection a return route.
func TestOwnConnectionSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSession()
		p := run(t, delivery.Config{Probe: prober, Senders: senders(dialing{func() *session { return s }}, "ws")})
		p.bind(s)
		var want []string
		for i := range 5 {
			p.deliver(ackWanted(fmt.Sprint(i), "ws://b"))
			want = append(want, fmt.Sprint(i))
			time.Sleep(time.Second)
		}
		time.Sleep(time.Hour)
		if items, _ := split(s); !slices.Equal(items, want) || len(p.queued()) != 0 {
			t.Errorf("got %q, queued %q", items, p.queued())
		}
	})
}
