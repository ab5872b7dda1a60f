package network_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/identity"
	"github.com/didcomm-go/didcomm/agent/keyring"
	"github.com/didcomm-go/didcomm/agent/network"
	"github.com/didcomm-go/didcomm/did"
	"github.com/didcomm-go/didcomm/did/didweb"
	"github.com/didcomm-go/didcomm/protocols/trustping"
	"github.com/didcomm-go/didcomm/transport"
	"github.com/didcomm-go/didcomm/transport/httptransport"
	"github.com/didcomm-go/didcomm/transport/netguard"
	"github.com/didcomm-go/didcomm/transport/wstransport"
)

var loopback = network.Config{Guard: &netguard.Guard{AllowLoopback: true}}

// start runs an agent with a did:web on a router of its own, which takes messages at the
// scheme.
func start(t *testing.T, scheme string) *agent.Agent {
	t.Helper()
	fatal := func(err error) {
		if err != nil {
			t.Helper()
			t.Fatal(err)
		}
	}
	router := http.NewServeMux()
	server := httptest.NewServer(router)
	t.Cleanup(server.Close)
	host := strings.TrimPrefix(server.URL, "http://")
	web, err := didweb.New(host)
	fatal(err)
	pair, err := identity.Generate(keyring.Ed25519)
	fatal(err)
	id, err := identity.Web(web, pair, scheme+"://"+host+"/didcomm")
	fatal(err)
	path, err := didweb.PathOf(web)
	fatal(err)
	router.Handle(path, didweb.Handler(func(context.Context) (*did.Document, error) { return id.Document(), nil }))

	peers := network.New(loopback)
	ctx, stop := context.WithCancel(context.Background())
	a, err := agent.Start(ctx, agent.Config{
		DID: id.DID(), Keys: id, Resolver: peers.Resolver, Senders: peers.Senders(),
		Handler: agent.NewMux(trustping.Handle()),
	})
	if err != nil {
		stop()
		t.Fatal(err)
	}
	ws := wstransport.NewServer(a, wstransport.ServerConfig{})
	router.Handle("/didcomm", httptransport.NewHandler(a, httptransport.HandlerConfig{WebSocket: ws}))
	t.Cleanup(func() {
		if err := ws.Close(context.Background()); err != nil {
			t.Error(err)
		}
		stop()
		<-a.Done()
		if err := peers.Close(); err != nil {
			t.Error(err)
		}
	})
	return a
}

// Agents reach each other by a did:web on loopback, over each transport.
func TestNetwork(t *testing.T) {
	for _, scheme := range []string{"http", "ws"} {
		t.Run(scheme, func(t *testing.T) {
			alice, bob := start(t, scheme), start(t, scheme)
			if _, err := trustping.Ping(t.Context(), alice, bob.DID()); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestResolver(t *testing.T) {
	peers := network.New(network.Config{})
	defer peers.Close()
	for id, want := range map[string]error{
		"did:key:z6MkpTHR8VNsBxYAAWHut2Geadd9jSwuBV8xRoAnwWsdvktH": nil,
		"did:jwk:eyJjcnYiOiJQLTI1NiIsImt0eSI6IkVDIiwieCI6ImFjYklRaXVNczNpOF91c3pFakoydHBUdFJNNEVVM3l6OTFQSDZDZEgyVjAiLCJ5IjoiX0tjeUxqOXZXTXB0bm1LdG00NkdxRHo4d2Y3NEk1TEtncmwyR3pIM25TRSJ9": nil,
		"did:peer:3zQm":     did.ErrUnsupported,
		"did:example:a":     did.ErrMethod,
		"did:web:localhost": did.ErrRefused,
	} {
		if _, err := peers.Resolver.Resolve(t.Context(), id); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", id, err, want)
		}
	}
}

// By default, no sender connects to loopback.
func TestGuard(t *testing.T) {
	taken := make(chan struct{}, 8)
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { taken <- struct{}{} }))
	defer server.Close()
	peers := network.New(network.Config{})
	defer peers.Close()
	packet := transport.Packet{MediaType: transport.MediaTypeEncrypted, Data: []byte("{}")}
	for scheme, sender := range peers.Senders() {
		err := sender.Send(t.Context(), scheme+strings.TrimPrefix(server.URL, "http"), packet)
		if refused := (*transport.SendError)(nil); !errors.As(err, &refused) || refused.Retryable {
			t.Errorf("%s: %v", scheme, err)
		}
	}
	if len(taken) > 0 {
		t.Errorf("%d connections to loopback", len(taken))
	}
}
