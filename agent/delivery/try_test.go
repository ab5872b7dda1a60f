package delivery_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/didcomm-go/didcomm/agent/delivery"
	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/transport"
)

// Try tries each route once, and stores nothing. It does not need Run.
func TestTry(t *testing.T) {
	var cut, stopped = errors.New("cut"), context.Canceled
	for name, c := range map[string]struct {
		ways  []string
		errs  []error // of http
		then  func(p *post, s *session)
		after time.Duration // until then
		ctx   time.Duration // ends then
		told  []string
		took  time.Duration
		is    error
		state delivery.State
	}{
		"arrives":        {ways: []string{"http://b"}, told: []string{"m 1: sent by http://b"}, state: delivery.Sent},
		"second way":     {ways: []string{"http://b", "http://c"}, errs: []error{errDown}, told: []string{"m 1: sent by http://c"}, state: delivery.Sent},
		"acked":          {ways: []string{"ws://b"}, then: ack, after: time.Second, took: time.Second, told: []string{"m 1: sent by ws://b, not acknowledged yet", "m 1: acknowledged by ws://b"}, state: delivery.Acknowledged},
		"acked, no line": {ways: []string{"nats:b"}, then: ack, after: time.Second, took: time.Second, told: []string{"m 1: sent by nats:b, not acknowledged yet", "m 1: acknowledged by nats:b"}, state: delivery.Acknowledged},
		"not acked":      {ways: []string{"ws://b"}, took: 30 * time.Second, told: []string{"m 1: sent by ws://b, not acknowledged yet", "m 1: sent by ws://b"}, state: delivery.Sent},
		"cut":            {ways: []string{"ws://b"}, then: func(_ *post, s *session) { s.end() }, after: time.Second, took: time.Second, told: []string{"m 1: sent by ws://b, not acknowledged yet", "m 1: queued by ws://b: the connection ended before an ack came"}, state: delivery.Queued},
		"busy":           {ways: []string{"ws://b"}, then: func(p *post, _ *session) { p.Busy(alice, bob, "m") }, after: time.Second, took: time.Second, told: []string{"m 1: sent by ws://b, not acknowledged yet", "m 1: queued by ws://b: the peer has no room for the message now"}, state: delivery.Queued},
		"reported": {ways: []string{"ws://b"}, then: func(p *post, _ *session) {
			p.Settle(delivery.Response{Own: alice, Peer: bob, About: "m", Problem: errProblem})
		}, after: time.Second, took: time.Second, told: []string{"m 1: sent by ws://b, not acknowledged yet", "m 1: acknowledged by ws://b: e.p.me: cannot"}, is: errProblem, state: delivery.Acknowledged},
		"fails":       {ways: []string{"http://b"}, errs: []error{errDown}, told: []string{"m 1: queued: send to http://b: down"}, is: errDown, state: delivery.Queued},
		"refused":     {ways: []string{"http://b"}, errs: []error{unwanted}, told: []string{"m 1: given up: send to http://b: gone"}, is: unwanted, state: delivery.GivenUp},
		"no way":      {told: []string{"m 1: queued: no route"}, is: delivery.ErrNoRoute, state: delivery.Queued},
		"no scheme":   {ways: []string{"gopher://b"}, told: []string{"m 1: given up: send to gopher://b: no sender for this scheme"}, state: delivery.GivenUp},
		"ctx ends":    {ways: []string{"hang://b", "http://b"}, ctx: time.Second, errs: []error{cut}, took: time.Second, is: stopped, state: delivery.Queued},
		"hangs":       {ways: []string{"hang://b", "http://b"}, took: 30 * time.Second, told: []string{"m 1: sent by http://b"}, state: delivery.Sent},
		"ctx, waited": {ways: []string{"ws://b"}, ctx: time.Second, took: time.Second, is: stopped, state: delivery.Queued},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, tries := newSession(), 0
				p := newPost(t, delivery.Config{Senders: map[string]transport.Sender{
					"http": web(func(context.Context, string, string) error {
						if tries++; tries <= len(c.errs) {
							return c.errs[tries-1]
						}
						return nil
					}),
					"hang": web(func(ctx context.Context, _, _ string) error { <-ctx.Done(); return errDown }),
					"ws":   wire{s},
					"nats": cast{newFault(nil).web()},
				}})
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				if c.ctx > 0 {
					time.AfterFunc(c.ctx, cancel)
				}
				if c.then != nil {
					time.AfterFunc(c.after, func() { c.then(p, s) })
				}
				start, notified := time.Now(), newRecord()
				o := p.Try(ctx, notified.outcome, ackWanted("m", c.ways...))
				if d := time.Since(start); d != c.took {
					t.Errorf("took %v", d)
				}
				if o.State != c.state || c.is != nil && !errors.Is(o.Err, c.is) || c.is == nil && o.Arrived() && o.Err != nil || o.ID != "item of m" || o.From != alice || o.To != bob || o.Thread != "m" {
					t.Errorf("outcome %+v", o)
				}
				if c.told != nil {
					p.told.want(t, c.told...)
				}
				notified.want(t, p.told.list()...)
				if len(p.queued()) != 0 || p.Awaits(alice, bob, "m") {
					t.Errorf("left: %q", p.queued())
				}
				s.end()
			})
		})
	}
}

func ack(p *post, _ *session) {
	p.Settle(delivery.Response{Own: alice, Peer: bob, Acks: []string{"m"}})
}

// A problem that comes while Try sends is in the outcome, even if the item asks for no
// ack.
func TestTryProblem(t *testing.T) {
	var p *post
	p = newPost(t, delivery.Config{Senders: senders(web(func(context.Context, string, string) error {
		if !p.Settle(delivery.Response{Own: alice, Peer: bob, About: "m", Problem: errProblem}) {
			t.Error("not noted")
		}
		return nil
	}), "http")})
	if o := p.Try(t.Context(), nil, item("m", "http://b")); o.State != delivery.Sent || !o.Arrived() || !errors.Is(o.Err, errProblem) {
		t.Errorf("outcome %+v", o)
	}
}

// Push ends with the context of the caller. SendTimeout applies to each connection.
func TestPush(t *testing.T) {
	for name, c := range map[string]struct {
		hang []bool // of the connections, newest first
		ctx  time.Duration
		took time.Duration
		ok   bool
	}{
		"none":          {},
		"newest":        {hang: []bool{false, false}, ok: true},
		"older":         {hang: []bool{true, false}, took: 10 * time.Second, ok: true},
		"no connection": {hang: []bool{true, true}, took: 20 * time.Second},
		"ctx ends":      {hang: []bool{true, true}, ctx: time.Second, took: time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPost(t, delivery.Config{SendTimeout: 10 * time.Second})
				sessions := make([]*session, len(c.hang))
				for i := len(c.hang) - 1; i >= 0; i-- {
					s := newSession()
					if c.hang[i] {
						s.take = func(ctx context.Context, _ string) error { <-ctx.Done(); return ctx.Err() }
					}
					sessions[i] = s
					p.bind(s)
				}
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				if c.ctx > 0 {
					time.AfterFunc(c.ctx, cancel)
				}
				start := time.Now()
				err := p.Push(ctx, alice, bob, "m", transport.Packet{Data: []byte("m")})
				if d := time.Since(start); d != c.took || (err == nil) != c.ok || err != nil && !errors.Is(err, delivery.ErrNoRoute) {
					t.Errorf("%v after %v", err, d)
				}
				got := 0
				for _, s := range sessions {
					got += len(s.got.list())
				}
				if (got == 1) != c.ok {
					t.Errorf("%d connections have it", got)
				}
				p.told.want(t)
			})
		})
	}
}

// A relayed packet is sent unchanged and without order, whether the transport gives
// receipts or not, until it expires.
func TestRelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		way, s := newFault(nil), newSession()
		got := newRecord()
		p := run(t, delivery.Config{Senders: map[string]transport.Sender{
			"http": web(func(_ context.Context, endpoint, packet string) error {
				got.add("%s %s", endpoint, packet)
				return way.get()
			}),
			"ws": wire{s},
		}})
		relay := func(endpoint string) {
			t.Helper()
			err := p.Relay(t.Context(), endpoint, store.Packet{Data: []byte("theirs")}, []store.Endpoint{{URI: endpoint}}, time.Now().Add(time.Hour))
			if err != nil {
				t.Fatal(err)
			}
		}
		relay("http://b")
		relay("ws://b")
		synctest.Wait()
		got.want(t, "http://b theirs")
		s.got.want(t, "theirs")
		time.Sleep(time.Minute) // the connection stays open
		if len(p.queued()) != 0 {
			t.Errorf("left: %q", p.queued())
		}
		way.set(errDown)
		for range 3 { // none waits for another
			relay("http://b")
		}
		synctest.Wait()
		if n := len(got.list()); n != 4 {
			t.Errorf("%d were tried", n)
		}
		time.Sleep(2 * time.Hour)
		expired := 0
		for _, line := range p.told.list() {
			if strings.Contains(line, "expired") {
				expired++
			}
		}
		if expired != 3 || len(p.queued()) != 0 {
			t.Errorf("%d expired, left: %q", expired, p.queued())
		}
	})
}
