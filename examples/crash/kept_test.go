//go:build crash

package crash_test

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/identity"
	"github.com/didcomm-go/didcomm/agent/keyring"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/did"
	"github.com/didcomm-go/didcomm/did/didpeer"
	"github.com/didcomm-go/didcomm/protocols/basicmessage"
	"github.com/didcomm-go/didcomm/transport"
	"github.com/didcomm-go/didcomm/transport/httptransport"
	"github.com/didcomm-go/didcomm/transport/netguard"
	"github.com/didcomm-go/didcomm/transport/wstransport"
)

// keptWorld is a node, and parties in the test itself that write to it.
type keptWorld struct {
	*world
	node   *node
	web    *httptransport.Client
	socket *wstransport.Client
}

// keptParty is one of those parties.
type keptParty struct {
	did      string
	keys     *keyring.Keyring
	packer   *envelope.Packer
	received *times // what came to its endpoint
}

// party makes a party whose identity is made of a pair of keys and an endpoint.
func (w *keptWorld) party(t *testing.T, make func(p identity.Pair, endpoint string) (*identity.Identity, error)) (*keptParty, *identity.Identity) {
	t.Helper()
	p := &keptParty{received: newTimes()}
	server := httptest.NewServer(httptransport.NewHandler(p, httptransport.HandlerConfig{}))
	t.Cleanup(server.Close)
	pair, err := identity.Generate(keyring.Ed25519)
	if err != nil {
		t.Fatal(err)
	}
	id, err := make(pair, server.URL)
	if err != nil {
		t.Fatal(err)
	}
	if p.keys, err = id.Keyring(); err != nil {
		t.Fatal(err)
	}
	p.did = id.DID()
	p.packer, err = envelope.New(envelope.Config{Keys: p.keys, Resolver: did.Methods{
		"peer": didpeer.NewResolver(),
		"web":  did.ResolverFunc(func(context.Context, string) (*did.Document, error) { return id.Document(), nil }),
	}})
	if err != nil {
		t.Fatal(err)
	}
	return p, id
}

func peer2(p identity.Pair, endpoint string) (*identity.Identity, error) {
	return identity.Peer2(p, endpoint)
}

// ServePacket notes what is sent to the party.
func (p *keptParty) ServePacket(ctx context.Context, _ transport.Replier, packet transport.Packet) (<-chan struct{}, error) {
	u, err := p.packer.Unpack(ctx, packet.Data)
	if err != nil {
		return nil, &transport.RejectError{Reason: "cannot be opened", Err: err}
	}
	p.received.add(u.Message.ID, time.Now())
	return nil, nil
}

// send writes a message to the node, as a DID of the party, and returns its id.
func (w *keptWorld) send(t *testing.T, by transport.Sender, p *keptParty, from string, edit func(*message.Message)) string {
	t.Helper()
	m, err := basicmessage.New("hello", "")
	if err != nil {
		t.Fatal(err)
	}
	m.ID, m.From, m.To, m.CreatedTime = newID("kept"), from, []string{w.node.DID}, time.Now()
	if edit != nil {
		edit(m)
	}
	packed, err := p.packer.Pack(t.Context(), m, envelope.From(from))
	if err != nil {
		t.Fatal(err)
	}
	scheme := "http"
	if by == w.socket {
		scheme = "ws"
	}
	packet := transport.Packet{MediaType: packed[0].MediaType, Data: packed[0].Data}
	if err := by.Send(t.Context(), scheme+"://"+w.node.Listen+"/", packet); err != nil {
		t.Fatal(err)
	}
	return m.ID
}

// isHandled tells whether the node has handled a message.
func (w *keptWorld) isHandled(t *testing.T, id string) bool {
	t.Helper()
	_, ok := w.handled(t).all()[id]
	return ok
}

// TestKept kills a node at what it knows of others: the DID that a party has rotated to,
// the long form of a did:peer:4, and a message that it cannot open yet.
func TestKept(t *testing.T) {
	n := newNode(t, "a")
	n.Store = "sqlite"
	dids, secrets, err := identities(n.Listen)
	if err != nil {
		t.Fatal(err)
	}
	w := &keptWorld{world: &world{nodes: []*node{n}}, node: n}
	dial := (&netguard.Guard{AllowLoopback: true}).DialContext
	if w.web, err = httptransport.NewClient(httptransport.ClientConfig{Dial: dial}); err != nil {
		t.Fatal(err)
	}
	defer w.web.Close()
	if w.socket, err = wstransport.NewClient(wstransport.ClientConfig{Dial: dial}); err != nil {
		t.Fatal(err)
	}
	defer w.socket.Close()

	former, _ := w.party(t, peer2)
	next, _ := w.party(t, peer2)
	var pair identity.Pair
	four, long := w.party(t, func(p identity.Pair, endpoint string) (*identity.Identity, error) {
		pair = p
		return identity.Peer4(p, endpoint)
	})
	short, _ := didpeer.Short(long.DID())
	for _, h := range long.Handles() {
		var key any = pair.Sign
		if h.Use == identity.ToAgree {
			key = pair.Agree
		}
		if err := four.keys.Add(short+strings.TrimPrefix(h.KID, long.DID()), key); err != nil {
			t.Fatal(err)
		}
	}
	// Nobody publishes this DID yet.
	host := freeAddress(t)
	hidden, published := w.party(t, func(p identity.Pair, endpoint string) (*identity.Identity, error) {
		return identity.Web("did:web:"+strings.ReplaceAll(host, ":", "%3A"), p, endpoint)
	})

	n.DID, n.Secrets, n.Peer = dids["http"], secrets, map[string]string{"former": former.did}
	n.save(t)
	n.start(t)
	w.send(t, w.web, former, former.did, nil)
	jwt, err := former.packer.FromPrior(t.Context(), former.did, next.did, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	w.send(t, w.web, next, next.did, func(m *message.Message) { m.FromPrior = jwt })
	w.send(t, w.web, four, long.DID(), nil)
	parked := w.send(t, w.socket, hidden, hidden.did, nil)
	if !until(t, w.world, func() bool { return strings.Contains(n.said(t), "is parked") }) {
		t.Fatal("the message is not parked")
	}
	for range 3 {
		w.wait(t, 300*time.Millisecond) // perhaps it is being opened
		n.kill(t)
	}

	if !n.ask(t, "former") || !until(t, w.world, func() bool { return next.received.len() == 1 }) {
		t.Error("a message to the former DID does not come to the next")
	}
	ignored := w.send(t, w.web, former, former.did, nil)
	if id := w.send(t, w.web, four, short, nil); !until(t, w.world, func() bool { return w.isHandled(t, id) }) {
		t.Error("a message of the short form is not handled")
	}
	if w.isHandled(t, ignored) || former.received.len() > 0 {
		t.Error("the former DID is still in use")
	}
	if w.isHandled(t, parked) {
		t.Error("the message is not parked")
	}
	listener, err := net.Listen("tcp", host)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := json.Marshal(published.Document())
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(doc) })}
	go func() { _ = server.Serve(listener) }()
	defer server.Close()
	if !until(t, w.world, func() bool { return w.isHandled(t, parked) }) {
		t.Error("the message is not opened")
	}
	if twice := w.handled(t).twice(); len(twice) > 0 {
		t.Errorf("handled twice: %q", twice)
	}
}
