package delivery_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/didcomm-go/didcomm/agent/delivery"
	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/transport"
)

// to returns an item for a party of its own.
func to(id, endpoint string, class store.Class) store.Item {
	return with(item(id, endpoint), func(it *store.Item) { it.To, it.Class = "did:example:"+id, class })
}

// arrivals is a Sender that notes when packets for live hosts arrive, and hangs for others.
func arrivals(r *record) web {
	return func(ctx context.Context, endpoint, packet string) error {
		if strings.HasPrefix(endpoint, "http://live") {
			r.add("%s", packet)
			return nil
		}
		<-ctx.Done()
		return ctx.Err()
	}
}

// Many parties that do not answer, on one host or on many, hardly delay an item to a host
// that does. Those of strangers do not delay it at all.
func TestDeadHosts(t *testing.T) {
	for name, c := range map[string]struct {
		class store.Class
		hosts int
		most  time.Duration
	}{
		"strangers, one host":   {class: store.ClassStranger, hosts: 1},
		"strangers, many hosts": {class: store.ClassStranger, hosts: 300},
		"own, one host":         {hosts: 1},
		"own, many hosts":       {hosts: 300, most: 20 * time.Second},
		"known, many hosts":     {class: store.ClassKnown, hosts: 300, most: 20 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				got := newRecord()
				p := run(t, delivery.Config{Senders: senders(arrivals(got), "http")})
				for i := range 300 {
					p.deliver(to(fmt.Sprint("dead", i), fmt.Sprintf("http://dead%d:%d", i%c.hosts, 1000+i), c.class))
				}
				synctest.Wait()
				for i := range 30 {
					start := got.start.Add(time.Duration(i) * 10 * time.Second)
					time.Sleep(time.Until(start))
					n := len(got.list())
					p.deliver(to(fmt.Sprint("m", i), "http://live", store.ClassOwn))
					for len(got.list()) == n && time.Since(start) < time.Minute {
						time.Sleep(100 * time.Millisecond)
						synctest.Wait()
					}
					if took := time.Since(start); took > c.most+100*time.Millisecond {
						t.Fatalf("number %d arrived after %v", i, took)
					}
					got.start = got.start.Add(max(0, time.Since(start)-5*time.Second))
				}
			})
		})
	}
}

// meter counts the running tries for each host, and the packets that have arrived.
type meter struct {
	mu      sync.Mutex
	now     map[string]int
	most    map[string]int
	arrived int
}

func newMeter() *meter { return &meter{now: make(map[string]int), most: make(map[string]int)} }

func (m *meter) add(host string, n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.now[host] += n
	m.most[host] = max(m.most[host], m.now[host])
	if n < 0 {
		m.arrived++
	}
}

// read returns the number of packets that have arrived, and the most tries at a time.
func (m *meter) read(host string) (arrived, most int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.arrived, m.most[host]
}

// counting is an outbox that counts the items that are given back.
type counting struct {
	outbox
	naks *atomic.Int32
}

func (c counting) Nak(ctx context.Context, l *store.Lease[store.Item], delay time.Duration, reason string) error {
	if c.naks.Add(1) > 10_000 { // a busy loop, in which the time of the test would stand still
		<-ctx.Done()
	}
	return c.outbox.Nak(ctx, l, delay, reason)
}

// One host gets few packets at a time, even under many names of parties, ports and schemes.
// The other items wait, without being leased again and again, and leave as soon as there is
// room. A host that accepts packets quickly gets more.
func TestHostTries(t *testing.T) {
	const each = 400
	for name, c := range map[string]struct {
		takes time.Duration // a try
		tries int           // Config.HostTries
		most  int           // tries at a time
		all   time.Duration // until everything has arrived
	}{
		"slow":          {takes: 5 * time.Second, most: 4, all: each / 4 * 5 * time.Second},
		"slow, limited": {takes: 5 * time.Second, tries: 2, most: 2, all: each / 2 * 5 * time.Second},
		"quick":         {takes: 100 * time.Millisecond, most: 32, all: each / 32 * 200 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m, naks := newMeter(), new(atomic.Int32)
				p := run(t, delivery.Config{
					HostTries: c.tries,
					Outbox:    counting{store.NewOutbox(store.OutboxConfig{}).(outbox), naks},
					Senders: senders(web(func(_ context.Context, endpoint, _ string) error {
						host := strings.ToLower(strings.Split(endpoint, ":")[1])
						m.add(host, 1)
						time.Sleep(c.takes)
						m.add(host, -1)
						return nil
					}), "http", "https"),
				})
				start := time.Now()
				for i := range each {
					endpoint := []string{"http://b.example:%d", "https://B.example:%d/x", "HTTP://b.EXAMPLE:%d?x"}[i%3]
					p.deliver(to(fmt.Sprint(i), fmt.Sprintf(endpoint, 1000+i), store.ClassOwn))
				}
				p.deliver(to("other", "http://other", store.ClassOwn))
				time.Sleep(c.takes + time.Second)
				if _, most := m.read("//other"); most != 1 {
					t.Error("an item for another host waits")
				}
				arrived, most := m.read("//b.example")
				for arrived < each+1 && time.Since(start) < 2*c.all {
					time.Sleep(c.takes)
					synctest.Wait()
					arrived, most = m.read("//b.example")
				}
				if took := time.Since(start); arrived != each+1 || took > c.all*5/4 || most != c.most {
					t.Errorf("%d arrived in %v, %d at a time", arrived, took, most)
				}
				if n := naks.Load(); n > 6*each {
					t.Errorf("%d items were given back", n)
				}
			})
		})
	}
}

// A packet whose first endpoint does not answer leaves by the second one.
func TestSlowEndpointSkipped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		got := newRecord()
		p := run(t, delivery.Config{Senders: senders(arrivals(got), "http")})
		p.deliver(item("first", "http://dead", "http://live"))
		time.Sleep(31 * time.Second)
		p.deliver(item("probe", "http://dead"))
		synctest.Wait()
		p.deliver(item("second", "http://dead", "http://live"))
		synctest.Wait()
		got.want(t, "first", "second")
	})
}

// An item whose first endpoint does not answer, and whose second one has enough tries, waits
// for the end of one of these.
func TestSlowAndHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		got, naks := newRecord(), new(atomic.Int32)
		box := counting{store.NewOutbox(store.OutboxConfig{}).(outbox), naks}
		p := run(t, delivery.Config{Outbox: box, Senders: senders(web(func(ctx context.Context, endpoint, packet string) error {
			if strings.HasPrefix(endpoint, "http://dead") {
				<-ctx.Done()
				return ctx.Err()
			}
			time.Sleep(2 * time.Second)
			got.add("%s", packet)
			return nil
		}), "http")})
		p.deliver(item("first", "http://dead"))
		time.Sleep(30*time.Second + 100*time.Millisecond) // after the end of the try, and before the next
		p.deliver(item("probe", "http://dead"))
		synctest.Wait()
		for i := range 4 {
			p.deliver(item(fmt.Sprint(i), "http://busy"))
		}
		synctest.Wait()
		start := time.Now()
		p.deliver(to("last", "http://dead", store.ClassOwn), with(to("more", "http://dead", store.ClassOwn), func(it *store.Item) {
			it.Endpoints = append(it.Endpoints, store.Endpoint{URI: "http://busy"})
		}))
		synctest.Wait()
		if n := naks.Load(); n > 20 {
			t.Fatalf("%d items were given back", n)
		}
		time.Sleep(time.Until(start.Add(5 * time.Second)))
		if !slices.Contains(got.list(), "more") {
			t.Errorf("got %q", got.list())
		}
	})
}

// An item that cannot be wrapped for the mediators in front of its recipient, since a DID does
// not resolve in time, says nothing about the host of the endpoint.
func TestWrapHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		got := newRecord()
		wrap := func(ctx context.Context, _ *store.Item, e store.Endpoint) (transport.Packet, error) {
			if e.RoutingKeys[0] == "dead" {
				<-ctx.Done()
				return transport.Packet{}, ctx.Err()
			}
			return transport.Packet{Data: []byte(e.RoutingKeys[0])}, nil
		}
		p := run(t, delivery.Config{Wrap: wrap, Senders: senders(arrivals(got), "http"), StrangerTries: 100})
		behind := func(id string) {
			p.deliver(with(to(id, "http://live", store.ClassStranger), func(it *store.Item) { it.Endpoints[0].RoutingKeys = []string{id} }))
		}
		behind("dead")
		for i := range 20 {
			time.Sleep(31 * time.Second)
			behind(fmt.Sprint(i))
			time.Sleep(4 * time.Second)
			if n := len(got.list()); n != i+1 {
				t.Fatalf("%d items arrived after %d", n, i+1)
			}
		}
	})
}

// When Run ends, the items that wait for a host are due for the next Run.
func TestStopHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		box, got := store.NewOutbox(store.OutboxConfig{}), newRecord()
		p := run(t, delivery.Config{Outbox: box, Senders: senders(arrivals(newRecord()), "http")})
		var want []string
		for i := range 20 {
			p.deliver(to(fmt.Sprint(i), "http://dead", store.ClassOwn))
			want = append(want, fmt.Sprint(i))
		}
		time.Sleep(time.Second)
		p.stop()
		run(t, delivery.Config{Outbox: box, Senders: senders(web(func(_ context.Context, _, packet string) error {
			got.add("%s", packet)
			return nil
		}), "http")})
		synctest.Wait()
		if list := sorted(got.list()); !slices.Equal(list, sorted(want)) {
			t.Errorf("left: %q", list)
		}
	})
}
