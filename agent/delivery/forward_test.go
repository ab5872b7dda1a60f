package delivery_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/didcomm-go/didcomm/agent/delivery"
	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/transport"
)

// unwrapped is a Config.Wrap that leaves the packet as it is.
func unwrapped(_ context.Context, it *store.Item, _ store.Endpoint) (transport.Packet, error) {
	return transport.Packet(it.Direct), nil
}

// Nobody acks a forward, so a WebSocket of a mediator gets none while the mediator has an
// endpoint that gives receipts, whatever the order of the endpoints.
func TestForwardWithReceipt(t *testing.T) {
	behind := func(uri string, keys ...string) store.Endpoint { return store.Endpoint{URI: uri, RoutingKeys: keys} }
	for name, c := range map[string]struct {
		endpoints []store.Endpoint
		relay     bool
		socket    []string // what the WebSocket gets while the other endpoint is down
	}{
		"same mediator":       {endpoints: []store.Endpoint{behind("http://m", "did:example:m"), behind("ws://m", "did:example:m")}},
		"WebSocket first":     {endpoints: []store.Endpoint{behind("ws://m", "did:example:m"), behind("http://m", "did:example:m")}},
		"other mediator":      {endpoints: []store.Endpoint{behind("http://m", "did:example:m"), behind("ws://n", "did:example:n")}, socket: []string{"m"}},
		"relay":               {relay: true, endpoints: []store.Endpoint{behind("ws://m"), behind("http://m")}},
		"relay to a mediator": {relay: true, endpoints: []store.Endpoint{behind("http://m", "did:example:m"), behind("ws://m", "did:example:m")}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, way := newSession(), newFault(busy)
				p := run(t, delivery.Config{
					Senders: map[string]transport.Sender{"http": way.web(), "ws": wire{s}},
					Wrap:    unwrapped,
				})
				if c.relay {
					if err := p.Relay(t.Context(), bob, store.Packet{Data: []byte("m")}, c.endpoints, time.Now().Add(time.Hour)); err != nil {
						t.Fatal(err)
					}
				} else {
					p.deliver(with(item("m"), func(it *store.Item) { it.Endpoints = c.endpoints }))
				}
				time.Sleep(time.Minute)
				s.got.want(t, c.socket...)
				way.set(nil)
				time.Sleep(5 * time.Minute)
				if list := p.told.list(); len(p.queued()) != 0 || c.socket == nil && !strings.Contains(list[len(list)-1], "sent by http://m") {
					t.Errorf("left %q, told of %q", p.queued(), list)
				}
			})
		})
	}
}

// A forward for a mediator that has a WebSocket only counts as delivered when the connection
// stays open for AckTimeout, and is sent again if the connection ends before. That the recipient
// is silent does not mean that it sends no acks.
func TestForwardWithoutReceipt(t *testing.T) {
	for name, change := range map[string]func(*store.Item){
		"needs a receipt": func(it *store.Item) { it.NeedsReceipt = true },
		"asks for an ack": func(it *store.Item) { it.AskAck = true },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				first, second, i := newSession(), newSession(), 0
				p := run(t, delivery.Config{
					Senders: map[string]transport.Sender{"ws": dialing{func() *session { i++; return []*session{first, second, second}[i-1] }}},
					Wrap:    unwrapped,
				})
				p.deliver(with(item("m"), func(it *store.Item) {
					it.Endpoints = []store.Endpoint{{URI: "ws://m", RoutingKeys: []string{"did:example:m"}}}
					change(it)
				}))
				time.Sleep(10 * time.Second)
				first.end()
				time.Sleep(20 * time.Second)
				first.got.want(t, "m")
				second.got.want(t, "m")
				if len(p.queued()) == 0 {
					t.Error("taken for delivered at once")
				}
				time.Sleep(20 * time.Second)
				if list := p.told.list(); len(p.queued()) != 0 || list[len(list)-1] != "m 2: sent by ws://m, a mediator, unconfirmed" {
					t.Errorf("left %q, told of %q", p.queued(), list)
				}
				p.deliver(ackWanted("n", "ws://b"))
				time.Sleep(time.Second)
				if !p.Awaits(alice, bob, "n") {
					t.Error("the party is taken for one that does not ack")
				}
			})
		})
	}
}
