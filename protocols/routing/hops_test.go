package routing_test

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/didcomm-go/didcomm/agent/agenttest"
	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/mediator"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/did"
	"github.com/didcomm-go/didcomm/did/didpeer"
	"github.com/didcomm-go/didcomm/protocols/routing"
	"github.com/didcomm-go/didcomm/transport"
)

// wire is a Sender that takes packets to any endpoint.
type wire chan sent

type sent struct {
	endpoint string
	packet   transport.Packet
}

func (w wire) Send(ctx context.Context, endpoint string, p transport.Packet) error {
	select {
	case w <- sent{endpoint, p}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (wire) Receipts() bool { return true }

func (w wire) next(t testing.TB) sent {
	t.Helper()
	select {
	case s := <-w:
		return s
	case <-time.After(20 * time.Second):
		t.Fatal("nothing was handed on")
		return sent{}
	}
}

// hands makes a mediator hand on forwards to hops, by a wire.
func hands(w wire, hops ...string) func(*config) {
	return func(c *config) {
		c.mediator.Next = hops
		c.agent.Senders["http"], c.agent.Senders["ws"] = w, w
	}
}

// behind returns a DID whose endpoint is that of a mediator.
func behind(t testing.TB, mediator string, routingKeys ...string) string {
	t.Helper()
	p := agenttest.NewParty(t)
	doc, err := p.Resolver.Resolve(t.Context(), p.DID)
	if err != nil {
		t.Fatal(err)
	}
	key, err := doc.KeyAgreementKeys()[0].ECDH()
	if err != nil {
		t.Fatal(err)
	}
	id, err := didpeer.New2([]didpeer.Key{{Purpose: didpeer.KeyAgreement, Public: key}}, did.NewDIDCommService("", mediator, routingKeys...))
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// A packet for a next hop that the operator lists goes to the endpoint of the hop, once, and as it
// came.
func TestNextHop(t *testing.T) {
	alice, hop := agenttest.NewParty(t), agenttest.NewParty(t, "http://hop.example/didcomm")
	w := make(wire, 10)
	o := newOffice(t, agenttest.NewNet(), hands(w, hop.DID), func(c *config) {
		c.routing = append(c.routing, lookups(nil))
	})
	e := letter(t, alice, hop)
	for range 3 {
		if a := o.post(t, pack(t, alice.Packer, o.forward(next(hop.DID), attach(e)))); a.status != http.StatusAccepted {
			t.Fatalf("status %d: %s", a.status, a.body)
		}
	}
	if got := w.next(t); got.endpoint != "http://hop.example/didcomm" || string(got.packet.Data) != string(e.Data) {
		t.Errorf("to %s: %s", got.endpoint, got.packet.Data)
	}
	other := letter(t, alice, hop)
	o.post(t, pack(t, alice.Packer, o.forward(next(hop.DID), attach(other))))
	if got := w.next(t); string(got.packet.Data) != string(other.Data) {
		t.Error("a packet was handed on twice")
	}
}

// A packet for a next hop behind another mediator is wrapped for that mediator, and one for that
// mediator itself is not.
func TestNextMediator(t *testing.T) {
	alice, second := agenttest.NewParty(t), agenttest.NewParty(t, "http://second.example")
	bob := behind(t, second.DID)
	w := make(wire, 10)
	o := newOffice(t, agenttest.NewNet(), hands(w, second.DID, bob), func(c *config) {
		c.routing = append(c.routing, lookups(nil))
	})
	inner := pack(t, alice.Packer, &message.Message{ID: "1", Type: "https://example.org/a/1.0/b", To: []string{bob}, Body: []byte("{}")})
	expires := time.Now().Add(time.Hour).Truncate(time.Second)
	m := o.forward(next(bob), attach(inner))
	m.ExpiresTime = expires
	o.post(t, pack(t, alice.Packer, m))
	u, err := second.Packer.Unpack(t.Context(), w.next(t).packet.Data)
	if err != nil {
		t.Fatal(err)
	}
	var body struct {
		Next string `json:"next"`
	}
	if err := u.Message.DecodeBody(&body); err != nil || body.Next != bob || !u.Message.ExpiresTime.Equal(expires) || string(u.Message.Attachments[0].Data.JSON) != string(inner.Data) {
		t.Errorf("wrapped in %+v, %v", u.Message, err)
	}

	f, err := alice.Packer.Forward(t.Context(), inner, []string{second.DID})
	if err != nil {
		t.Fatal(err)
	}
	o.post(t, pack(t, alice.Packer, o.forward(next(second.DID+"#key-2"), attach(f))))
	if got := w.next(t); string(got.packet.Data) != string(f.Data) {
		t.Error("the forward to a mediator was wrapped")
	}
}

// A next hop without an endpoint is reported, and a packet for which the outbox has no room may
// come again.
func TestNextUnreachable(t *testing.T) {
	alice, mute, full := agenttest.NewParty(t), agenttest.NewParty(t), agenttest.NewParty(t, "http://hop.example")
	agreement, _ := didKeys(t)
	w := make(wire) // takes nothing
	o := newOffice(t, agenttest.NewNet(), hands(w, mute.DID, agreement, "did:example:hop", full.DID), func(c *config) {
		c.mediator.Store = store.New(store.Config{Outbox: store.OutboxConfig{MaxItems: 1}})
		c.agent.Store = c.mediator.Store
		c.routing = append(c.routing, lookups(nil))
	})
	for _, hop := range []string{mute.DID, agreement, "did:example:hop"} {
		m := o.forward(next(hop), attach(letter(t, alice, mute)))
		o.wantReport(t, o.post(t, pack(t, alice.Packer, m)), m, "e.p.xfer.no-route")
	}
	for i, status := range []int{http.StatusAccepted, http.StatusServiceUnavailable} {
		m := o.forward(next(full.DID), attach(letter(t, alice, full)))
		if a := o.post(t, pack(t, alice.Packer, m)); a.status != status || (a.retryAfter != "") != (i == 1) {
			t.Errorf("%d: status %d, Retry-After %q: %s", i, a.status, a.retryAfter, a.body)
		}
	}
}

// lookups is an option for names with addresses.
func lookups(hosts map[string]string) routing.Option {
	return routing.Lookup(func(_ context.Context, host string) ([]netip.Addr, error) {
		if addr := hosts[host]; addr != "" {
			return []netip.Addr{netip.MustParseAddr(addr)}, nil
		}
		return nil, errors.New("no such host")
	})
}

// A next hop whose endpoint is ours is refused, by whatever name.
func TestLoopByAddress(t *testing.T) {
	hosts := map[string]string{"mediator.example": "192.0.2.7", "alias.example": "192.0.2.7", "six.example": "2001:db8::7", "local.example": "127.0.0.9", "other.example": "192.0.2.8"}
	for name, test := range map[string]struct {
		own      []string
		endpoint string
		loop     bool
	}{
		"the same URL":               {[]string{"https://mediator.example/didcomm"}, "https://mediator.example/didcomm", true},
		"a slash":                    {[]string{"https://mediator.example/didcomm"}, "https://mediator.example/didcomm/", true},
		"the default port":           {[]string{"https://mediator.example/didcomm"}, "https://mediator.example:443/didcomm", true},
		"a WebSocket":                {[]string{"https://mediator.example/didcomm"}, "wss://mediator.example/didcomm", true},
		"in capitals":                {[]string{"https://mediator.example/didcomm"}, "HTTPS://Mediator.Example./didcomm", true},
		"an alias":                   {[]string{"https://mediator.example/didcomm"}, "https://alias.example/didcomm", true},
		"the address":                {[]string{"https://mediator.example/didcomm"}, "https://192.0.2.7/didcomm", true},
		"the address in IPv6":        {[]string{"https://192.0.2.7/didcomm"}, "https://[::ffff:192.0.2.7]/didcomm", true},
		"another path":               {[]string{"https://mediator.example/didcomm"}, "https://mediator.example/agent", false},
		"another port":               {[]string{"https://mediator.example/didcomm"}, "https://mediator.example:8443/didcomm", false},
		"another host":               {[]string{"https://mediator.example/didcomm"}, "https://other.example/didcomm", false},
		"an unknown host":            {[]string{"https://mediator.example/didcomm"}, "https://unknown.example/didcomm", false},
		"an IPv6 address":            {[]string{"http://[2001:db8::7]:8080"}, "http://six.example:8080/any", true},
		"loopback by name":           {[]string{"http://127.0.0.1:8080"}, "http://localhost:8080", true},
		"loopback by a subname":      {[]string{"http://127.0.0.1:8080"}, "http://a.localhost:8080", true},
		"loopback in IPv6":           {[]string{"http://127.0.0.1:8080"}, "http://[::1]:8080/didcomm", true},
		"loopback, another":          {[]string{"http://[::1]:8080"}, "ws://127.8.8.8:8080", true},
		"loopback by DNS":            {[]string{"http://[::1]:8080"}, "http://local.example:8080", true},
		"loopback, another port":     {[]string{"http://[::1]:8080"}, "http://localhost:8081", false},
		"all addresses, loopback":    {[]string{"http://[::]:8080"}, "http://[::1]:8080", true},
		"all addresses of IPv4":      {[]string{"http://0.0.0.0:8080"}, "http://127.0.0.1:8080", true},
		"all addresses, by itself":   {[]string{"http://[::]:8080"}, "http://0.0.0.0:8080", true},
		"all addresses, another":     {[]string{"http://[::]:8080"}, "http://192.0.2.8:8080", false},
		"one of several":             {[]string{"https://other.example", "http://[::1]:8080"}, "http://localhost:8080", true},
		"a zone":                     {[]string{"http://[fe80::1]:8080"}, "http://[fe80::1%25eth0]:8080", true},
		"nothing of ours is a place": {[]string{"", "not a URL", "did:example:1"}, "http://localhost:8080", false},
	} {
		t.Run(name, func(t *testing.T) {
			alice, hop := agenttest.NewParty(t), agenttest.NewParty(t, test.endpoint)
			w := make(wire, 10)
			o := newOffice(t, agenttest.NewNet(), hands(w, hop.DID), func(c *config) {
				c.agent.Senders["https"], c.agent.Senders["wss"] = w, w
				c.routing = append(c.routing, routing.Endpoints(test.own...), lookups(hosts))
			})
			for range 2 { // the second time from memory
				m := o.forward(next(hop.DID), attach(letter(t, alice, hop)))
				a := o.post(t, pack(t, alice.Packer, m))
				if test.loop {
					o.wantReport(t, a, m, "e.p.req.routing-loop")
				} else if a.status != http.StatusAccepted {
					t.Errorf("status %d: %s", a.status, a.body)
				} else {
					w.next(t)
				}
			}
		})
	}
}

// A next hop of which we are the mediator is refused, in every form of our DID.
func TestLoopByDID(t *testing.T) {
	own := agenttest.NewParty(t, "http://127.0.0.1:1")
	key := keyOf(t, own)
	for name, hop := range map[string]string{
		"the endpoint":   behind(t, own.DID),
		"a routing key":  behind(t, "http://elsewhere.example", own.DID+"#key-2"),
		"a did:key":      behind(t, "http://elsewhere.example", key),
		"a did:key, X#X": behind(t, "http://elsewhere.example", fragment(key)),
	} {
		t.Run(name, func(t *testing.T) {
			alice := agenttest.NewParty(t)
			o := newOffice(t, agenttest.NewNet(), hands(make(wire, 10), hop), func(c *config) { c.agent.DID, c.agent.Packer = own.DID, own.Packer })
			inner := pack(t, alice.Packer, &message.Message{ID: "1", Type: "https://example.org/a/1.0/b", To: []string{hop}, Body: []byte("{}")})
			m := o.forward(next(hop), attach(inner))
			o.wantReport(t, o.post(t, pack(t, alice.Packer, m)), m, "e.p.req.routing-loop")
		})
	}
}

// keyOf returns the did:key of the X25519 key of a party.
func keyOf(t testing.TB, p *agenttest.Party) string {
	t.Helper()
	doc, err := p.Resolver.Resolve(t.Context(), p.DID)
	if err != nil {
		t.Fatal(err)
	}
	key, err := doc.KeyAgreementKeys()[0].ECDH()
	if err != nil {
		t.Fatal(err)
	}
	multikey, err := did.FormatMultikey(key)
	if err != nil {
		t.Fatal(err)
	}
	return "did:key:" + multikey
}

// A forward in a forward to the mediator itself is unwrapped, up to a depth.
func TestNested(t *testing.T) {
	alice, bob := agenttest.NewParty(t), agenttest.NewParty(t)
	for depth := range 7 {
		o := newOffice(t, agenttest.NewNet())
		o.enroll(t, bob.DID)
		e := letter(t, alice, bob)
		m := o.forward(next(bob.DID), attach(e))
		for i := range depth {
			m = o.forward(next([]string{o.DID(), o.DID() + "#key-2", o.DID()}[i%3]), attach(pack(t, alice.Packer, m)))
		}
		a := o.post(t, pack(t, alice.Packer, m))
		if depth <= 3 {
			if a.status != http.StatusAccepted {
				t.Errorf("depth %d: status %d: %s", depth, a.status, a.body)
			}
			o.wantMail(t, bob.DID, e.Data)
		} else if a.mediaType != envelope.MediaTypeSigned || len(o.mail(t, bob.DID)) > 0 {
			t.Errorf("depth %d: status %d, %s", depth, a.status, a.mediaType)
		}
	}
}

// Nothing leaves the mediator for others than the hops that the operator lists, and other DIDs of
// the agent are not told from those of strangers.
func TestNoRelay(t *testing.T) {
	alice, listed, stranger := agenttest.NewParty(t), agenttest.NewParty(t, "http://hop.example"), agenttest.NewParty(t, "http://stranger.example")
	w := make(wire, 10)
	o := newOffice(t, agenttest.NewNet(), hands(w, listed.DID))
	client := agenttest.NewParty(t)
	o.enroll(t, client.DID)
	e := letter(t, alice, stranger)
	for _, to := range []string{
		stranger.DID, keyOf(t, stranger), "http://stranger.example", "https://127.0.0.1/admin", "mailto:a@example.org", "did:web:stranger.example", "did:", "x",
		strings.ToUpper(listed.DID), " " + client.DID, client.DID + "x", "did:peer:2", "did:key:z6MkNoKey", "did:peer:4zQm:zzz", "\x00", "did:example:\ufffd",
	} {
		m := o.forward(next(to), attach(e))
		o.wantReport(t, o.post(t, pack(t, alice.Packer, m)), m, mediator.CodeNotEnrolled)
	}
	if len(w) > 0 || len(o.mail(t, client.DID)) > 0 {
		t.Error("something was handed on or kept")
	}
}
