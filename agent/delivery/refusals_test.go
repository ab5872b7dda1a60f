package delivery_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/didcomm-go/didcomm/agent/delivery"
	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/transport"
	"github.com/didcomm-go/didcomm/transport/httptransport"
)

// answered returns the error of a Send for an answer with a status.
func answered(endpoint string, status int) error {
	return &transport.SendError{
		Endpoint: endpoint, Status: status, Retryable: true, Answered: true, Busy: status == http.StatusServiceUnavailable,
		Err: fmt.Errorf("status %d", status),
	}
}

// isProbe reports whether a packet is one of prober.
func isProbe(packet string) bool { return strings.HasPrefix(packet, "probe ") }

// An item that is refused with the same answer again and again is given up if the endpoint
// accepts others, and only then. The item "bad" has a deadline after 24 hours.
func TestRefused(t *testing.T) {
	day := func(*store.Item) {}
	class := func(c store.Class) func(*store.Item) { return func(it *store.Item) { it.Class = c } }
	only := func(statuses ...int) func(string, int, time.Duration) int { // for the item, and never for others
		return func(packet string, try int, _ time.Duration) int {
			if packet != "bad" {
				return 0
			}
			return statuses[try%len(statuses)]
		}
	}
	for name, c := range map[string]struct {
		change  func(*store.Item)
		answer  func(packet string, try int, since time.Duration) int // a status, or 0; of http://b
		backup  func(packet string, try int, since time.Duration) int // the same of http://c, if not nil
		others  time.Duration                                         // between two other items, or 0 for none
		noProbe bool
		state   delivery.State
		least   time.Duration // until the end
		most    time.Duration
		tries   int // of the item, if not 0
		probes  int // if not -1
	}{
		"among others":     {change: day, answer: only(500), others: 4 * time.Minute, state: delivery.GivenUp, least: 30 * time.Minute, most: 90 * time.Minute, tries: 16},
		"another status":   {change: day, answer: only(501), others: 4 * time.Minute, state: delivery.GivenUp, least: 30 * time.Minute, most: 90 * time.Minute, tries: 16},
		"known":            {change: class(store.ClassKnown), answer: only(500), others: 4 * time.Minute, state: delivery.GivenUp, least: 30 * time.Minute, most: 90 * time.Minute, tries: 16},
		"alone":            {change: day, answer: only(500), state: delivery.GivenUp, least: 30 * time.Minute, most: 90 * time.Minute, tries: 17, probes: 1},
		"anonymous, alone": {change: func(it *store.Item) { it.From = "" }, answer: only(500), state: delivery.Expired, least: 23 * time.Hour, most: 24 * time.Hour},
		"anonymous": {change: func(it *store.Item) { it.From = "" }, answer: only(500), others: 4 * time.Minute,
			state: delivery.GivenUp, least: 30 * time.Minute, most: 90 * time.Minute, tries: 16},
		"alone, no probe":      {change: day, answer: only(500), noProbe: true, state: delivery.Expired, least: 23 * time.Hour, most: 24 * time.Hour},
		"stranger":             {change: class(store.ClassStranger), answer: only(500), state: delivery.GivenUp, most: time.Minute, tries: 3},
		"busy":                 {change: day, answer: only(503), others: 4 * time.Minute, state: delivery.Expired, least: 23 * time.Hour, most: 24 * time.Hour},
		"busy now and then":    {change: day, answer: only(500, 503), others: 4 * time.Minute, state: delivery.Expired, least: 23 * time.Hour, most: 24 * time.Hour},
		"another now and then": {change: day, answer: only(500, 500, 500, 501), others: 4 * time.Minute, state: delivery.Expired, least: 23 * time.Hour, most: 24 * time.Hour},
		"unreached now and then": {change: day, answer: only(500, -1), others: 4 * time.Minute,
			state: delivery.GivenUp, least: time.Hour, most: 6 * time.Hour, tries: 31},
		"outage": {change: day, answer: func(_ string, _ int, since time.Duration) int {
			if since < 20*time.Hour {
				return 500
			}
			return 0
		}, others: 30 * time.Minute, state: delivery.Sent, least: 20 * time.Hour, most: 21 * time.Hour, probes: -1},
		"outage, alone": {change: day, answer: func(_ string, _ int, since time.Duration) int {
			if since < 20*time.Hour {
				return 500
			}
			return 0
		}, state: delivery.Sent, least: 20 * time.Hour, most: 21 * time.Hour, probes: 4},
		"outage, then disliked": {change: day, answer: func(packet string, _ int, since time.Duration) int {
			if since < 3*time.Hour || packet == "bad" {
				return 500
			}
			return 0
		}, others: 4 * time.Minute, state: delivery.GivenUp, least: 3 * time.Hour, most: 6 * time.Hour, probes: -1},
		"outage in part": {change: day, answer: func(packet string, _ int, since time.Duration) int {
			if packet == "bad" && since < 5*time.Hour || since < 6*time.Hour && int(since/time.Minute)%5 < 4 {
				return 500
			}
			return 0
		}, others: 7 * time.Minute, state: delivery.Sent, least: 5 * time.Hour, most: 7 * time.Hour, probes: -1},
		"second endpoint takes it": {change: day, answer: only(500), backup: only(0), others: 4 * time.Minute, state: delivery.Sent, most: time.Second, tries: 1},
		"two endpoints":            {change: day, answer: only(500), backup: only(501), others: 4 * time.Minute, state: delivery.GivenUp, least: 30 * time.Minute, most: 10 * time.Hour, tries: 17, probes: 2},
		"second is busy":           {change: day, answer: only(500), backup: only(503), others: 4 * time.Minute, state: delivery.Expired, least: 23 * time.Hour, most: 24 * time.Hour},
		"second is down":           {change: day, answer: only(500), backup: only(-1), others: 4 * time.Minute, state: delivery.GivenUp, least: 30 * time.Minute, most: 90 * time.Minute, tries: 16},
		"second refuses for good":  {change: day, answer: only(500), backup: only(400), others: 4 * time.Minute, state: delivery.GivenUp, least: 30 * time.Minute, most: 90 * time.Minute, tries: 16},
		"second is out of order": {change: day, answer: only(500), backup: func(string, int, time.Duration) int { return 500 },
			others: 4 * time.Minute, state: delivery.Expired, least: 23 * time.Hour, most: 24 * time.Hour, probes: -1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start, ended, stop := time.Now(), make(chan delivery.Outcome, 1), make(chan struct{})
				var tries, probes atomic.Int32
				cfg := delivery.Config{
					Senders: senders(web(func(_ context.Context, endpoint, packet string) error {
						try, answer := int(tries.Load()), c.answer
						switch {
						case isProbe(packet):
							probes.Add(1)
						case packet == "bad" && endpoint == "http://b":
							tries.Add(1)
						case packet == "bad":
							try--
						}
						if endpoint == "http://c" {
							answer = c.backup
						}
						switch status := answer(packet, try, time.Since(start)); {
						case status < 0:
							return &transport.SendError{Endpoint: endpoint, Retryable: true, Err: errDown}
						case status == 400:
							return &transport.SendError{Endpoint: endpoint, Status: status, Answered: true, Err: errDown}
						case status > 0:
							return answered(endpoint, status)
						}
						return nil
					}), "http"),
					Probe: prober,
					Outcome: func(_ context.Context, o delivery.Outcome) {
						if o.MessageID == "bad" && o.Ended() {
							ended <- o
						}
					},
				}
				if c.noProbe {
					cfg.Probe = nil
				}
				p := run(t, cfg)
				endpoints := []string{"http://b"}
				if c.backup != nil {
					endpoints = append(endpoints, "http://c")
				}
				p.deliver(with(item("bad", endpoints...), c.change))
				others := 0
				go func() {
					for c.others > 0 {
						others++
						p.deliver(item(fmt.Sprint("other", others), endpoints...))
						select {
						case <-time.After(c.others):
						case <-stop:
							return
						}
					}
				}()
				o := <-ended
				took := time.Since(start)
				close(stop)
				if o.State != c.state || took < c.least || took > c.most {
					t.Errorf("%v after %v", o, took)
				}
				if n := int(tries.Load()); c.tries > 0 && n != c.tries {
					t.Errorf("%d tries", n)
				}
				if n := int(probes.Load()); c.probes >= 0 && n != c.probes {
					t.Errorf("%d probes", n)
				}
				if want := fmt.Sprintf("status %d", c.answer("bad", 0, 0)); o.State == delivery.GivenUp {
					var failed *transport.SendError
					if e := p.entry("bad"); !errors.As(o.Err, &failed) || failed.Status < 500 || !strings.Contains(e.LastError, want) || delivery.OutcomeOf(e).State != delivery.GivenUp {
						t.Errorf("the reason is %v, and %q in the outbox", o.Err, e.LastError)
					}
				}
				time.Sleep(25 * time.Hour) // all others have their outcome
				synctest.Wait()
				for _, line := range p.told.list() {
					if strings.HasPrefix(line, "other") && !strings.Contains(line, ": sent by") && !strings.Contains(line, ": queued") {
						t.Fatalf("another item: %s", line)
					}
				}
				if left := p.queued(); len(left) != 0 {
					t.Errorf("left: %q", left)
				}
			})
		})
	}
}

// The delay grows with the refusals in a row, whatever has failed before.
func TestRefusedDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		way, times := newFault(unreached), newRecord()
		p := run(t, delivery.Config{RefusedTries: 1000, Senders: senders(web(func(context.Context, string, string) error {
			times.add("try")
			return way.get()
		}), "http")})
		p.deliver(item("m", "http://b"))
		time.Sleep(6 * time.Hour)
		way.set(refused)
		before := len(times.list())
		time.Sleep(3 * time.Hour)
		at := times.at()[before:]
		for i := range at[1:] {
			if d := at[i+1] - at[i]; !within(d, min(time.Second<<i, 10*time.Minute)) {
				t.Errorf("delay %d: %v", i, d)
			}
		}
		if len(at) < 12 {
			t.Errorf("%d tries", len(at))
		}
	})
}

// Tries that something has brought forward do not count, so a short outage cannot use up all
// tries of an item.
func TestRefusedWoken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var tries atomic.Int32
		p := run(t, delivery.Config{RefusedTries: 10, Probe: prober, Senders: senders(web(func(_ context.Context, _, packet string) error {
			if packet != "bad" {
				return nil
			}
			tries.Add(1)
			return answered("http://b", 500)
		}), "http")})
		p.deliver(item("bad", "http://b"))
		for range 40 {
			p.deliver(item(fmt.Sprint("other", time.Now()), "http://b"))
			if err := p.outbox.Wake(t.Context(), bob); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			time.Sleep(time.Second)
		}
		if n := tries.Load(); n < 30 || !slices.Equal(p.queued(), []string{"bad"}) {
			t.Fatalf("%d tries, left: %q", n, p.queued())
		}
		time.Sleep(time.Hour)
		if left := p.queued(); len(left) != 0 {
			t.Errorf("left: %q", left)
		}
	})
}

// After a restart the row begins anew. No item is lost or kept for longer than another row.
func TestRefusedRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var tries atomic.Int32
		box := store.NewOutbox(store.OutboxConfig{})
		cfg := delivery.Config{Outbox: box, Probe: prober, Senders: senders(web(func(_ context.Context, _, packet string) error {
			if packet != "bad" {
				return nil
			}
			tries.Add(1)
			return answered("http://b", 500)
		}), "http")}
		p := run(t, cfg)
		p.deliver(item("bad", "http://b"))
		for tries.Load() < 15 {
			time.Sleep(time.Second)
		}
		p.stop()
		p = run(t, cfg)
		time.Sleep(20 * time.Minute)
		if !slices.Equal(p.queued(), []string{"bad"}) {
			t.Fatalf("left: %q", p.queued())
		}
		time.Sleep(2 * time.Hour)
		if n := tries.Load(); len(p.queued()) != 0 || n != 15+17 {
			t.Errorf("%d tries, left: %q", n, p.queued())
		}
		// An operator can have the item tried again.
		if err := p.outbox.Retry(t.Context(), "item of bad", time.Now().Add(24*time.Hour)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Hour)
		if n := tries.Load(); len(p.queued()) != 0 || n != 15+17+17 {
			t.Errorf("%d tries, left: %q", n, p.queued())
		}
	})
}

// An item that is given up in its lane holds up and reorders nothing, also if the item is
// given up before it would leave the lane.
func TestRefusedLane(t *testing.T) {
	for _, tries := range []int{1, 2, 4, 5, 16} {
		t.Run(fmt.Sprint(tries), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				got := newRecord()
				p := run(t, delivery.Config{RefusedTries: tries, Probe: prober, Senders: senders(web(func(_ context.Context, _, packet string) error {
					switch {
					case isProbe(packet):
					case strings.HasPrefix(packet, "bad"):
						return answered("http://b", 500)
					default:
						got.add("%s", packet)
					}
					return nil
				}), "http")})
				p.deliver(inLane("x", "1", "http://b"), inLane("x", "bad2", "http://b"), inLane("x", "3", "http://b"),
					inLane("x", "bad4", "http://b"), inLane("x", "5", "http://b"), inLane("x", "6", "http://b"))
				time.Sleep(5 * time.Minute)
				got.want(t, "1", "3", "5", "6")
				time.Sleep(2 * time.Hour)
				if left := p.queued(); len(left) != 0 {
					t.Errorf("left: %q", left)
				}
			})
		})
	}
}

// A probe for an endpoint of a mediator is wrapped, as the item is.
func TestRefusedByMediator(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		got := newRecord()
		p := run(t, delivery.Config{
			RefusedTries: 3, Probe: prober,
			Wrap: func(_ context.Context, it *store.Item, e store.Endpoint) (transport.Packet, error) {
				return transport.Packet{Data: fmt.Appendf(nil, "for %s: %.5s", e.RoutingKeys[0], it.Direct.Data)}, nil
			},
			Senders: senders(web(func(_ context.Context, endpoint, packet string) error {
				got.add("%s", packet)
				if strings.HasSuffix(packet, "bad") {
					return answered(endpoint, 500)
				}
				return nil
			}), "http"),
		})
		p.deliver(with(item("bad"), func(it *store.Item) {
			it.Endpoints = []store.Endpoint{{URI: "http://m", RoutingKeys: []string{"did:example:m"}}}
		}))
		time.Sleep(time.Hour)
		bad, probe := "for did:example:m: bad", "for did:example:m: probe"
		got.want(t, bad, bad, bad, probe, bad)
	})
}

// The same over HTTP.
func TestRefusedHTTP(t *testing.T) {
	var tries atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength == int64(len("bad")) {
			http.Error(w, fmt.Sprint("Error processing message ", tries.Add(1)), http.StatusInternalServerError)
			return
		}
		w.WriteHeader(http.StatusAccepted)
	}))
	defer server.Close()
	client, err := httptransport.NewClient(httptransport.ClientConfig{Dial: new(net.Dialer).DialContext})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	ended := make(chan delivery.Outcome, 1)
	p := run(t, delivery.Config{
		RefusedTries: 5, Probe: prober, Senders: senders(client, "http"),
		Backoff: delivery.Backoff{Min: time.Millisecond, Max: 20 * time.Millisecond},
		Outcome: func(_ context.Context, o delivery.Outcome) {
			if o.Ended() {
				ended <- o
			}
		},
	})
	p.deliver(item("bad", server.URL))
	o := <-ended
	var failed *transport.SendError
	if o.State != delivery.GivenUp || !errors.As(o.Err, &failed) || failed.Status != http.StatusInternalServerError {
		t.Errorf("%v", o)
	}
	if n := int(tries.Load()); n < 6 || o.Attempts != n || !strings.Contains(o.Err.Error(), fmt.Sprint("Error processing message ", n)) {
		t.Errorf("%v after %d tries", o, n)
	}
}

// More items than are remembered, all refused in an outage, are not tried more often for that.
func TestRefusedMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const items = 20_050 // 20,000 are remembered
		var tries atomic.Int32
		p := run(t, delivery.Config{
			Outbox:  store.NewOutbox(store.OutboxConfig{MaxItems: 2 * items, MaxPeerItems: 2 * items}),
			Workers: 1, StrangerWorkers: 1, Backoff: delivery.Backoff{Min: time.Minute, Max: 24 * time.Hour},
			Senders: senders(web(func(context.Context, string, string) error {
				tries.Add(1)
				return answered("http://b", 500)
			}), "http"),
		})
		for i := range items {
			p.deliver(item(fmt.Sprint(i), "http://b"))
		}
		time.Sleep(5 * time.Minute)
		if n := tries.Load(); n < 2*items || n > 4*items {
			t.Errorf("%d tries", n)
		}
	})
}
