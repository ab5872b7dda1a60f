package delivery_test

import (
	"context"
	"errors"
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

// The items of a lane are sent one at a time, in order. Items of other lanes are sent
// concurrently.
func TestLane(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		got := newRecord()
		p := run(t, delivery.Config{Senders: senders(web(func(_ context.Context, _, id string) error {
			got.add("%s begins", id)
			time.Sleep(time.Second)
			got.add("%s ends", id)
			return nil
		}), "http")})
		lane := func(name, id string) store.Item {
			return with(item(id, "http://b"), func(it *store.Item) { it.Lane = name })
		}
		p.deliver(lane("a", "a1"), lane("a", "a2"), lane("b", "b1"), lane("a", "a3"))
		time.Sleep(10 * time.Second)
		lines := got.list()
		var a []string
		for _, l := range lines {
			if strings.HasPrefix(l, "a") {
				a = append(a, l)
			}
		}
		if want := []string{"a1 begins", "a1 ends", "a2 begins", "a2 ends", "a3 begins", "a3 ends"}; !slices.Equal(a, want) {
			t.Errorf("got %q", a)
		}
		if i := slices.Index(lines, "b1 begins"); i < 0 || got.at()[i] != 0 {
			t.Errorf("the other lane waits: %q", lines)
		}
	})
}

// An item that fails is retried with backoff, or later if the endpoint asks for that,
// until it is delivered, is refused for good, or expires.
func TestRetry(t *testing.T) {
	const s = time.Second
	for name, c := range map[string]struct {
		errs   []error // of the tries, then nil
		life   time.Duration
		delays []time.Duration // before each further try: the backoff, or what was asked for
		exact  bool
		state  delivery.State
	}{
		"at once":              {state: delivery.Sent},
		"doubling":             {errs: []error{errDown, unreached, busy}, delays: []time.Duration{s, 2 * s, 4 * s}, state: delivery.Sent},
		"up to the maximum":    {errs: slices.Repeat([]error{errDown}, 6), delays: []time.Duration{s, 2 * s, 4 * s, 8 * s, 8 * s, 8 * s}, state: delivery.Sent},
		"retry after":          {errs: []error{later(time.Minute)}, delays: []time.Duration{time.Minute}, exact: true, state: delivery.Sent},
		"retry after too soon": {errs: []error{later(1)}, delays: []time.Duration{s}, state: delivery.Sent},
		"refused":              {errs: []error{unwanted}, state: delivery.GivenUp},
		"refused in the end":   {errs: []error{errDown, unwanted}, delays: []time.Duration{s}, state: delivery.GivenUp},
		"past its deadline":    {life: -1, state: delivery.Expired},
		"on its deadline":      {life: 0, state: delivery.Expired},
		"deadline":             {errs: slices.Repeat([]error{errDown}, 9), life: 2 * s, delays: []time.Duration{s}, state: delivery.Expired},
		"deadline before then": {errs: []error{later(time.Hour)}, life: time.Minute, state: delivery.Expired},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tries := newRecord()
				var last error
				p := run(t, delivery.Config{
					Backoff: delivery.Backoff{Min: s, Max: 8 * s},
					Senders: senders(web(func(context.Context, string, string) error {
						i := len(tries.list())
						tries.add("try")
						if i < len(c.errs) {
							last = c.errs[i]
							return last
						}
						return nil
					}), "http"),
				})
				var outcomes []delivery.Outcome
				it := item("m", "http://b")
				if c.life != 0 || strings.Contains(name, "on its") {
					it.Deadline = it.Created.Add(c.life)
				}
				if _, err := p.Deliver(t.Context(), func(o delivery.Outcome) { outcomes = append(outcomes, o) }, it); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Hour)
				synctest.Wait()
				at := tries.at()
				want := len(c.delays) + 1
				if c.state == delivery.Expired && c.life <= 0 {
					want = 0
				}
				// How many tries there are before a deadline depends on chance.
				if len(at) != want && name != "deadline" {
					t.Fatalf("tried at %v", at)
				}
				for i := 1; i < len(at) && i <= len(c.delays); i++ {
					if d := at[i] - at[i-1]; c.exact && d != c.delays[i-1] || !c.exact && !within(d, c.delays[i-1]) {
						t.Errorf("delay %d is %v", i, d)
					}
				}
				if len(outcomes) != max(len(at), 1) {
					t.Errorf("%d tries, outcomes %v", len(at), outcomes)
				}
				for _, o := range outcomes[:len(outcomes)-1] {
					if o.State != delivery.Queued || o.Err == nil || o.Ended() {
						t.Errorf("outcome %v", o)
					}
				}
				o := outcomes[len(outcomes)-1]
				arrived := c.state == delivery.Sent
				if o.State != c.state || !o.Ended() || o.Arrived() != arrived || o.Attempts != max(len(at), 1) || (o.Err == nil) != arrived || last != nil && !arrived && !errors.Is(o.Err, last) {
					t.Errorf("outcome %+v", o)
				}
				if arrived {
					if _, err := p.outbox.Get(t.Context(), it.ID); !errors.Is(err, store.ErrNotFound) || o.Way != "http://b" {
						t.Errorf("by %q; outbox: %v", o.Way, err)
					}
					return
				}
				// The outbox tells the same as the hook.
				kept := delivery.OutcomeOf(p.entry("m"))
				if kept.State != c.state || kept.Err == nil || kept.Err.Error() != o.Err.Error() || kept.Attempts != o.Attempts || kept.MessageID != "m" || kept.To != bob || kept.From != alice || kept.Thread != "m" {
					t.Errorf("outbox: %+v", kept)
				}
			})
		})
	}
}

// An item in the outbox that is not buried has the state Queued.
func TestOutcomeOf(t *testing.T) {
	for name, c := range map[string]struct {
		e    store.Entry[store.Item]
		want delivery.State
		text string
	}{
		"new":      {store.Entry[store.Item]{State: store.Waiting}, delivery.Queued, "queued"},
		"tried":    {store.Entry[store.Item]{State: store.Waiting, LastError: "down"}, delivery.Queued, "queued: down"},
		"leased":   {store.Entry[store.Item]{State: store.Leased}, delivery.Queued, "queued"},
		"given up": {store.Entry[store.Item]{State: store.Buried, LastError: "gone"}, delivery.GivenUp, "given up: gone"},
	} {
		if o := delivery.OutcomeOf(c.e); o.State != c.want || o.String() != c.text {
			t.Errorf("%s: %v", name, o)
		}
	}
}

func TestError(t *testing.T) {
	cause := errors.New("why")
	for _, c := range []struct {
		o    delivery.Outcome
		text string
	}{
		{delivery.Outcome{State: delivery.GivenUp, Err: cause}, "message not delivered: why"},
		{delivery.Outcome{State: delivery.Queued}, "message not delivered: queued"},
	} {
		err := error(&delivery.Error{Outcome: c.o})
		if err.Error() != c.text || !errors.Is(err, delivery.ErrUndelivered) || errors.Is(err, cause) != (c.o.Err != nil) || errors.Is(err, delivery.ErrNoRoute) {
			t.Errorf("%v", err)
		}
	}
}

// An item is sent on the first of its endpoints that accepts it, and then on those that
// its recipient has moved to.
func TestFailover(t *testing.T) {
	many := []string{"http://1", "http://2", "http://3", "http://4", "http://5", "http://6"}
	for name, c := range map[string]struct {
		routes, moved, up []string
		final             []string // refuse for good
		tried             []string
		told              []string
	}{
		"first":         {[]string{"http://1", "http://2"}, nil, []string{"http://1", "http://2"}, nil, []string{"http://1"}, []string{"m 1: sent by http://1"}},
		"second":        {[]string{"http://1", "http://2"}, nil, []string{"http://2"}, nil, []string{"http://1", "http://2"}, []string{"m 1: sent by http://2"}},
		"moved":         {[]string{"http://1"}, []string{"http://2"}, []string{"http://2"}, nil, []string{"http://1", "http://2"}, []string{"m 1: sent by http://2"}},
		"not needed":    {[]string{"http://1"}, []string{"http://2"}, []string{"http://1"}, nil, []string{"http://1"}, []string{"m 1: sent by http://1"}},
		"limit":         {many, many, nil, many, append(many[:4:4], many[:4]...), []string{"m 1: given up: " + strings.Repeat("send to http://b: gone\n", 7) + "send to http://b: gone"}},
		"any scheme":    {[]string{"gopher://1", "HTTP://2"}, nil, []string{"HTTP://2"}, nil, []string{"HTTP://2"}, []string{"m 1: sent by HTTP://2"}},
		"no scheme":     {[]string{"gopher://1", "x"}, nil, nil, nil, nil, []string{"m 1: given up: send to gopher://1: no sender for this scheme\nsend to x: no sender for this scheme"}},
		"first may yet": {[]string{"http://1", "http://2"}, nil, nil, []string{"http://2"}, []string{"http://1", "http://2"}, []string{"m 1: queued: send to http://1: down\nsend to http://b: gone"}},
		"one may yet":   {[]string{"http://1", "http://2"}, nil, nil, []string{"http://1"}, []string{"http://1", "http://2"}, []string{"m 1: queued: send to http://b: gone\nsend to http://2: down"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tried := newRecord()
				p := run(t, delivery.Config{
					Backoff: delivery.Backoff{Min: time.Hour, Max: time.Hour},
					Senders: senders(web(func(_ context.Context, endpoint, packet string) error {
						tried.add("%s", endpoint)
						switch {
						case packet != "m":
							t.Errorf("packet %q", packet)
						case slices.Contains(c.up, endpoint):
							return nil
						case slices.Contains(c.final, endpoint):
							return unwanted
						}
						return errDown
					}), "http"),
					Moved: func(ctx context.Context, it *store.Item) (routes []store.Endpoint) {
						if it.MessageID != "m" {
							t.Errorf("item %q", it.MessageID)
						}
						for _, e := range c.moved {
							routes = append(routes, store.Endpoint{URI: e})
						}
						return routes
					},
				})
				p.deliver(item("m", c.routes...))
				synctest.Wait()
				tried.want(t, c.tried...)
				p.told.want(t, c.told...)
			})
		})
	}
}

// An endpoint with routing keys gets the packet of the item in forwards, made anew with each
// try. Other endpoints get the packet of the item. An endpoint is given up if no forward can
// be made for good.
func TestWrap(t *testing.T) {
	for name, c := range map[string]struct {
		errs []error // of Wrap, one for each try
		more []string
		got  []string
		told []string
	}{
		"wrapped": {got: []string{"m for did:example:mediator"}, told: []string{"m 1: sent by ws://b, a mediator, unconfirmed, not acknowledged yet", "m 1: sent by ws://b, a mediator, unconfirmed"}},
		"not now": {errs: []error{errDown, errDown}, got: []string{"m for did:example:mediator"},
			told: []string{"m 1: queued: send to ws://b: down", "m 2: queued: send to ws://b: down", "m 3: sent by ws://b, a mediator, unconfirmed, not acknowledged yet", "m 3: sent by ws://b, a mediator, unconfirmed"}},
		"not now, another": {errs: []error{errDown}, more: []string{"ws://c"}, got: []string{"m"}, told: []string{"m 1: sent by ws://c"}},
		"never":            {errs: []error{unwanted}, told: []string{"m 1: given up: " + unwanted.Error()}},
		"never, another":   {errs: []error{unwanted}, more: []string{"ws://c"}, got: []string{"m"}, told: []string{"m 1: sent by ws://c"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, tries := newSession(), 0
				p := run(t, delivery.Config{
					Senders: map[string]transport.Sender{"ws": wire{s}},
					Wrap: func(_ context.Context, it *store.Item, e store.Endpoint) (transport.Packet, error) {
						if tries++; tries <= len(c.errs) {
							return transport.Packet{}, c.errs[tries-1]
						}
						return transport.Packet{Data: fmt.Appendf(it.Direct.Data, " for %s", e.RoutingKeys[0])}, nil
					},
				})
				it := item("m", append([]string{"ws://b"}, c.more...)...)
				it.Endpoints[0].RoutingKeys = []string{"did:example:mediator"}
				it.AskAck = len(c.more) == 0 // a mediator does not send acks
				p.deliver(it)
				time.Sleep(time.Minute)
				s.got.want(t, c.got...)
				p.told.want(t, c.told...)
			})
		})
	}
}

// Notify and Config.Outcome are called with the same outcomes in order, notify until
// forget is called.
func TestNotify(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		way, notified := newFault(errDown), newRecord()
		p := run(t, delivery.Config{
			Backoff: delivery.Backoff{Min: time.Minute, Max: time.Minute},
			Senders: senders(way.web(), "http"),
		})
		forget, failed := p.Deliver(t.Context(), notified.outcome, item("1", "http://b"))
		if failed != nil {
			t.Fatal(failed)
		}
		again, failed := p.Deliver(t.Context(), notified.outcome, item("2", "http://b"))
		if failed != nil {
			t.Fatal(failed)
		}
		synctest.Wait()
		forget()
		forget()
		way.set(nil)
		time.Sleep(time.Hour)
		again()
		if got, want := sorted(notified.list()), []string{
			"1 1: queued: send to http://b: down", "2 1: queued: send to http://b: down", "2 2: sent by http://b",
		}; !slices.Equal(got, want) {
			t.Errorf("notified of %q", got)
		}
		if got, want := sorted(p.told.list()), []string{
			"1 1: queued: send to http://b: down", "1 2: sent by http://b",
			"2 1: queued: send to http://b: down", "2 2: sent by http://b",
		}; !slices.Equal(got, want) {
			t.Errorf("told of %q", got)
		}
	})
}

// Items that the outbox does not accept have no notify function, and do not affect those
// of other items.
func TestDeliverRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		way, first, second := newFault(errDown), newRecord(), newRecord()
		p := run(t, delivery.Config{
			Outbox:  store.NewOutbox(store.OutboxConfig{MaxItems: 2, MaxPeerItems: 2}),
			Senders: senders(way.web(), "http"),
		})
		if _, err := p.Deliver(t.Context(), first.outcome, item("1", "http://b")); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		for _, c := range []struct {
			items []store.Item
			want  error
		}{
			{[]store.Item{item("1", "http://b")}, store.ErrExists},
			{[]store.Item{item("2", "http://b"), item("1", "http://b")}, store.ErrFull},
		} {
			forget, err := p.Deliver(t.Context(), second.outcome, c.items...)
			if !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
			forget()
		}
		way.set(nil)
		time.Sleep(time.Hour)
		first.want(t, "1 1: queued: send to http://b: down", "1 2: sent by http://b")
		second.want(t)
	})
}

// wakes is an outbox in which an item that is given back is woken, and delivered by
// another worker, before its Nak returns.
type wakes struct {
	outbox
	once sync.Once
}

func (w *wakes) Nak(ctx context.Context, l *store.Lease[store.Item], delay time.Duration, reason string) error {
	err := w.outbox.Nak(ctx, l, delay, reason)
	w.once.Do(func() {
		err = errors.Join(err, w.outbox.Wake(ctx, l.Item.To))
		time.Sleep(time.Second)
	})
	return err
}

// The outcomes of an item are reported in order, however soon the item is retried.
func TestOutcomeOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tries := 0
		p := run(t, delivery.Config{
			Outbox: &wakes{outbox: store.NewOutbox(store.OutboxConfig{}).(outbox)},
			Senders: senders(web(func(context.Context, string, string) error {
				if tries++; tries == 1 {
					return errDown
				}
				return nil
			}), "http"),
		})
		p.deliver(item("m", "http://b"))
		time.Sleep(time.Minute)
		p.told.want(t, "m 1: queued: send to http://b: down", "m 2: sent by http://b")
	})
}

// For all values, a delay is between half of the doubled minimum and the doubled minimum,
// and at most the maximum.
func TestBackoff(t *testing.T) {
	const s = time.Second
	for _, c := range []struct {
		b        delivery.Backoff
		attempts int
		want     time.Duration
	}{
		{delivery.Backoff{Min: s, Max: time.Hour}, 0, s},
		{delivery.Backoff{Min: s, Max: time.Hour}, 1, 2 * s},
		{delivery.Backoff{Min: s, Max: time.Hour}, 11, 2048 * s},
		{delivery.Backoff{Min: s, Max: time.Hour}, 12, time.Hour},
		{delivery.Backoff{Min: s, Max: time.Hour}, 1 << 30, time.Hour},
		{delivery.Backoff{Min: time.Hour, Max: s}, 0, s},
		{delivery.Backoff{Min: 1<<33 + 1, Max: time.Hour}, 31, time.Hour}, // 1<<33+1 shifted by 31 is 1<<31
		{delivery.Backoff{Min: 1, Max: 1}, 5, 1},
		{delivery.Backoff{}, 3, 0},
	} {
		low, high := time.Duration(1<<62), time.Duration(0)
		for range 200 {
			d := c.b.After(c.attempts)
			low, high = min(low, d), max(high, d)
		}
		if low < c.want/2 || high > c.want || c.want >= s && (low > c.want*6/10 || high < c.want*9/10) {
			t.Errorf("%+v after %d: from %v to %v", c.b, c.attempts, low, high)
		}
	}
}

// If several endpoints ask for a delay, the shortest one counts.
func TestRetryAfterLeast(t *testing.T) {
	for _, order := range [][]string{{"http://hour", "http://day"}, {"http://day", "http://hour"}} {
		synctest.Test(t, func(t *testing.T) {
			p := run(t, delivery.Config{Senders: senders(web(func(_ context.Context, endpoint, _ string) error {
				if endpoint == "http://hour" {
					return later(time.Hour)
				}
				return later(24 * time.Hour)
			}), "http")})
			it := item("m", order...)
			it.Deadline = it.Created.Add(90 * time.Minute)
			p.deliver(it)
			time.Sleep(2 * time.Hour)
			if at := p.told.at(); len(at) != 2 || at[1] != time.Hour {
				t.Errorf("told %q at %v", p.told.list(), at)
			}
		})
	}
}

// A probe that succeeds wakes the items that are being given back at the same time.
func TestHangEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		way := newFault(errDown)
		p := run(t, delivery.Config{
			Outbox: slow{store.NewOutbox(store.OutboxConfig{}).(outbox), func() { time.Sleep(time.Second) }},
			Senders: senders(web(func(ctx context.Context, _, _ string) error {
				if way.get() == nil {
					time.Sleep(500 * time.Millisecond)
					return nil
				}
				<-ctx.Done()
				return ctx.Err()
			}), "http"),
		})
		p.deliver(item("first", "http://b"))
		time.Sleep(40 * time.Second)
		way.set(nil)
		if err := p.outbox.Drop(t.Context(), "item of first"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Minute)
		for i := range 5 {
			p.deliver(item(fmt.Sprint(i), "http://b"))
		}
		time.Sleep(5 * time.Second)
		if ids := p.queued(); len(ids) != 0 {
			t.Errorf("left: %q", ids)
		}
	})
}

// A slow party occupies only one worker, and the first try that succeeds wakes all other
// items.
func TestHanging(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const hung = "did:example:hung"
		var at, most atomic.Int32
		way := newFault(errDown)
		p := run(t, delivery.Config{
			Workers: 8,
			Senders: senders(web(func(ctx context.Context, endpoint, _ string) error {
				if endpoint == "http://b" {
					return nil
				}
				if way.get() == nil {
					return nil
				}
				defer at.Add(-1)
				if n := at.Add(1); n > 1 {
					most.Store(n)
				}
				<-ctx.Done()
				return ctx.Err()
			}), "http"),
		})
		to := func(id, did string) store.Item {
			return with(item(id, "http://hung"), func(it *store.Item) { it.To = did })
		}
		p.deliver(to("first", hung))
		time.Sleep(40 * time.Second) // longer than a try
		for i := range 20 {
			p.deliver(to(fmt.Sprint("h", i), hung))
		}
		for range 100 {
			time.Sleep(10 * time.Second)
			start := time.Now()
			id := fmt.Sprint("b", start.UnixNano())
			p.deliver(item(id, "http://b"))
			synctest.Wait()
			if time.Since(start) != 0 || slices.Contains(p.queued(), id) {
				t.Fatal("others wait for a party that hangs")
			}
		}
		if n := most.Load(); n != 0 {
			t.Errorf("%d workers at the party that hangs", n)
		}
		way.set(nil)
		// One try may still be running, and one backoff may follow.
		time.Sleep(30*time.Second + 10*time.Minute)
		if ids := p.queued(); len(ids) != 0 {
			t.Errorf("left: %q", ids)
		}
		// The first try that succeeded woke all items.
		times, first := make(map[time.Duration]int), 0
		for i, line := range p.told.list() {
			if strings.HasPrefix(line, "h") && strings.Contains(line, "sent") {
				times[p.told.at()[i]]++
			}
			if strings.HasPrefix(line, "h") && strings.Contains(line, " 1: sent") {
				first++
			}
		}
		if first < 10 {
			t.Errorf("%d of 20 arrived with the first try: waiting is none", first)
		}
		if len(times) != 1 {
			t.Errorf("left at %v", times)
		}
	})
}

// Try does not send an expired item.
func TestTryExpired(t *testing.T) {
	sent := false
	p := newPost(t, delivery.Config{Senders: senders(web(func(context.Context, string, string) error {
		sent = true
		return nil
	}), "http")})
	o := p.Try(t.Context(), nil, with(item("1", "http://b"), func(it *store.Item) { it.Deadline = time.Now() }))
	if sent || o.State != delivery.Expired || o.Err == nil || o.Attempts != 0 {
		t.Errorf("sent %t, %+v", sent, o)
	}
	p.told.want(t, "1 0: expired: no further try before its deadline")
}
