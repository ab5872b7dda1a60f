// Package agenttest runs agents in tests. The agents have real keys, DIDs, envelopes and
// transports, and no mocks.
//
// For the test of a protocol, call [Pair], which starts two agents:
//
//	alice, bob := agenttest.Pair(t, agent.NewMux(), agent.NewMux(trustping.Handle()))
//	pong, err := trustping.Ping(t.Context(), alice, bob.DID())
//
// For more than two agents, call [NewNet] and [Net.Agent]. To pack and unpack messages
// without an agent, call [NewParty].
//
// By default the agents send messages in memory. They then also work in a bubble of
// testing/synctest. With the options [HTTP] and [WebSocket] they use loopback sockets.
// Everything is stopped by t.Cleanup.
package agenttest

import (
	"context"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/identity"
	"github.com/didcomm-go/didcomm/agent/keyring"
	"github.com/didcomm-go/didcomm/agent/network"
	"github.com/didcomm-go/didcomm/did"
	"github.com/didcomm-go/didcomm/did/didkey"
	"github.com/didcomm-go/didcomm/did/didpeer"
	"github.com/didcomm-go/didcomm/transport"
	"github.com/didcomm-go/didcomm/transport/httptransport"
	"github.com/didcomm-go/didcomm/transport/memtransport"
	"github.com/didcomm-go/didcomm/transport/netguard"
	"github.com/didcomm-go/didcomm/transport/wstransport"
)

// Option is an option of [Pair] and [Net.Agent].
type Option func(*options)

type options struct {
	scheme    string
	hidden    bool
	configure []func(*agent.Config)
}

// HTTP makes the agents send messages over HTTP, on loopback.
func HTTP() Option { return func(o *options) { o.scheme = "http" } }

// WebSocket makes the agents send messages over WebSocket, on loopback.
func WebSocket() Option { return func(o *options) { o.scheme = "ws" } }

// Hidden makes an agent without an endpoint, which can only be reached by return routes.
// In a [Pair], it applies to alice only.
func Hidden() Option { return func(o *options) { o.hidden = true } }

// Configure calls f with the configuration of each agent before the agent is made, so that
// f can change the configuration.
func Configure(f func(*agent.Config)) Option {
	return func(o *options) { o.configure = append(o.configure, f) }
}

// Pair runs two agents that can reach each other. A nil Handler means an empty Mux. An
// error fails the test.
func Pair(t testing.TB, aliceHandler, bobHandler agent.Handler, opts ...Option) (alice, bob *agent.Agent) {
	t.Helper()
	n := NewNet()
	alice = n.Agent(t, aliceHandler, opts...)
	bob = n.Agent(t, bobHandler, append(opts, func(o *options) { o.hidden = false })...)
	return alice, bob
}

// Net is a network of agents that can reach each other. Use [NewNet] to make one.
type Net struct {
	// Mem is the network of the mem: endpoints.
	Mem *memtransport.Network

	mu     sync.Mutex
	agents int
}

// NewNet returns a Net without agents.
func NewNet() *Net { return &Net{Mem: memtransport.NewNetwork()} }

// Agent runs another agent in the network. A nil Handler means an empty Mux. An error fails
// the test.
func (n *Net) Agent(t testing.TB, h agent.Handler, opts ...Option) *agent.Agent {
	t.Helper()
	o := options{scheme: memtransport.Scheme}
	for _, opt := range opts {
		opt(&o)
	}
	// The DID contains the endpoint, so the endpoint is opened before the agent is made.
	late := &lateHandler{ready: make(chan struct{})}
	endpoint := n.listen(t, o.scheme, late)
	var services []string
	if !o.hidden {
		services = append(services, endpoint)
	}
	p := NewParty(t, services...)
	cfg := agent.Config{
		DID:     p.DID,
		Packer:  p.Packer,
		Handler: h,
		Senders: n.senders(t, o.scheme),
		Logger:  slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelInfo})),
	}
	for _, f := range o.configure {
		f(&cfg)
	}
	a, err := agent.New(cfg)
	if err != nil {
		t.Fatalf("agenttest: %v", err)
	}
	late.h = a
	close(late.ready)
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	<-a.Ready()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("agenttest: Run: %v", err)
		}
	})
	return a
}

// listen opens an endpoint for a handler.
func (n *Net) listen(t testing.TB, scheme string, h transport.Handler) string {
	t.Helper()
	switch scheme {
	case memtransport.Scheme:
		n.mu.Lock()
		n.agents++
		endpoint := fmt.Sprintf("mem://agent-%d", n.agents)
		n.mu.Unlock()
		if err := n.Mem.Handle(endpoint, h); err != nil {
			t.Fatalf("agenttest: %v", err)
		}
		return endpoint
	default:
		ws := wstransport.NewServer(h, wstransport.ServerConfig{})
		srv := httptest.NewServer(httptransport.NewHandler(h, httptransport.HandlerConfig{WebSocket: ws}))
		t.Cleanup(func() {
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			defer cancel()
			if err := ws.Close(ctx); err != nil {
				t.Errorf("agenttest: close websockets: %v", err)
			}
			srv.Close()
		})
		return scheme + srv.URL[len("http"):]
	}
}

func (n *Net) senders(t testing.TB, scheme string) map[string]transport.Sender {
	t.Helper()
	mem := n.Mem.Sender()
	closers := []interface{ Close() error }{mem}
	senders := map[string]transport.Sender{memtransport.Scheme: mem}
	if scheme != memtransport.Scheme {
		peers := network.New(network.Config{Guard: &netguard.Guard{AllowLoopback: true}})
		senders["http"], senders["ws"] = peers.HTTP, peers.WebSocket
		closers = append(closers, peers)
	}
	t.Cleanup(func() {
		for _, c := range closers {
			if err := c.Close(); err != nil {
				t.Errorf("agenttest: close sender: %v", err)
			}
		}
	})
	return senders
}

// lateHandler is a Handler that passes packets to a Handler which is set later.
type lateHandler struct {
	ready chan struct{} // closed once h is set
	h     transport.Handler
}

// ServePacket waits until the Handler is set.
func (l *lateHandler) ServePacket(ctx context.Context, w transport.Replier, p transport.Packet) (handled <-chan struct{}, err error) {
	select {
	case <-l.ready:
		return l.h.ServePacket(ctx, w, p)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Party is a party with a DID and keys, but without an agent.
type Party struct {
	DID      string           // a did:peer:2
	Keys     *keyring.Keyring // the private keys of DID
	Resolver did.Resolver     // resolves did:peer and did:key
	Packer   *envelope.Packer // packs and unpacks messages with Keys and Resolver
}

// NewParty returns a party whose DID has an Ed25519 key, an X25519 key, and a DIDComm
// service for each endpoint. An error fails the test.
func NewParty(t testing.TB, endpoints ...string) *Party {
	t.Helper()
	fatal := func(err error) {
		if err != nil {
			t.Helper()
			t.Fatalf("agenttest: %v", err)
		}
	}
	pair, err := identity.Generate(keyring.Ed25519)
	fatal(err)
	id, err := identity.Peer2(pair, endpoints...)
	fatal(err)
	p := &Party{DID: id.DID(), Resolver: did.NewCache(did.Methods{
		"peer": didpeer.NewResolver(),
		"key":  didkey.Resolver{},
	}, did.CacheConfig{})}
	p.Keys, err = id.Keyring()
	fatal(err)
	p.Packer, err = envelope.New(envelope.Config{Keys: p.Keys, Resolver: p.Resolver})
	fatal(err)
	return p
}
