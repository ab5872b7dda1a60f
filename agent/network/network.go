// Package network connects an agent to other parties, with safe defaults. A [Network] has a
// resolver for all DID methods of this module, and clients for HTTP and WebSocket.
//
// Other parties choose the addresses of did:web documents and of endpoints. So all
// connections of a Network go through one netguard.Guard. By default, it refuses addresses
// that are not public.
//
// Call [New], and pass the parts to an agent:
//
//	peers := network.New(network.Config{})
//	defer peers.Close()
//	a, err := agent.Start(ctx, agent.Config{
//		DID: id.DID(), Keys: id, Resolver: peers.Resolver, Senders: peers.Senders(), Handler: mux,
//	})
//
// On a machine of a developer, where the agents are on loopback:
//
//	peers := network.New(network.Config{Guard: &netguard.Guard{AllowLoopback: true}})
//
// An agent that needs other DID methods, other transports, or other timeouts, gets the parts
// from packages did, didweb, httptransport and wstransport, as New does.
package network

import (
	"crypto/x509"
	"errors"
	"log/slog"

	"github.com/didcomm-go/didcomm/did"
	"github.com/didcomm-go/didcomm/did/didjwk"
	"github.com/didcomm-go/didcomm/did/didkey"
	"github.com/didcomm-go/didcomm/did/didpeer"
	"github.com/didcomm-go/didcomm/did/didweb"
	"github.com/didcomm-go/didcomm/transport"
	"github.com/didcomm-go/didcomm/transport/httptransport"
	"github.com/didcomm-go/didcomm/transport/netguard"
	"github.com/didcomm-go/didcomm/transport/wstransport"
)

// Config configures [New]. The zero value is for an agent on the Internet.
type Config struct {
	// Guard decides to which addresses the Network connects. The default allows public
	// addresses only. If the Guard allows loopback addresses, a did:web of localhost or
	// 127.0.0.0/8 is resolved over http if the host does not support https.
	Guard *netguard.Guard
	// MaxBytes limits a received message, in bytes. The default is
	// transport.DefaultMaxBytes.
	MaxBytes int64
	// Budget limits the memory of all messages and documents that are being received. The
	// default is transport.NewBudget(0).
	Budget *transport.Budget
	// Cache configures the cache of DID documents: how long they are kept, and how many are
	// fetched because strangers name them. By default a did:web is kept for 5 minutes. A key
	// that its owner has revoked opens messages for at most as long.
	Cache did.CacheConfig
	// RootCAs are the trusted certificate authorities. The default is those of the system.
	RootCAs *x509.CertPool
	// Logger logs received packets that could not be handled. The default discards logs.
	Logger *slog.Logger
}

// Network has the parts of an agent that connect to other parties. Use [New] to make one.
// All parts may be used from several goroutines.
type Network struct {
	// Resolver resolves did:key, did:jwk, did:peer and did:web.
	Resolver *did.Cache
	// HTTP sends to http and https endpoints.
	HTTP *httptransport.Client
	// WebSocket sends to ws and wss endpoints.
	WebSocket *wstransport.Client
	// Budget is that of Config. Pass it to the server of the agent too.
	Budget *transport.Budget
}

// New returns a Network, which has no connections yet.
func New(cfg Config) *Network {
	if cfg.Guard == nil {
		cfg.Guard = &netguard.Guard{}
	}
	if cfg.Budget == nil {
		cfg.Budget = transport.NewBudget(0)
	}
	dial := cfg.Guard.DialContext
	web, err := didweb.NewResolver(didweb.Config{
		Dial: dial, AllowHTTPLoopback: cfg.Guard.AllowLoopback, RootCAs: cfg.RootCAs, Budget: cfg.Budget,
	})
	must(err)
	http, err := httptransport.NewClient(httptransport.ClientConfig{
		Dial: dial, MaxBytes: cfg.MaxBytes, Budget: cfg.Budget, RootCAs: cfg.RootCAs, Logger: cfg.Logger,
	})
	must(err)
	ws, err := wstransport.NewClient(wstransport.ClientConfig{
		Dial: dial, Limits: wstransport.Limits{MaxBytes: cfg.MaxBytes}, Budget: cfg.Budget, RootCAs: cfg.RootCAs, Logger: cfg.Logger,
	})
	must(err)
	methods := did.Methods{
		"key":  didkey.Resolver{},
		"jwk":  didjwk.Resolver{},
		"peer": didpeer.NewResolver(),
		"web":  web,
	}
	return &Network{Resolver: did.NewCache(methods, cfg.Cache), HTTP: http, WebSocket: ws, Budget: cfg.Budget}
}

// must panics if a constructor fails. Those of New fail only without a dial function.
func must(err error) {
	if err != nil {
		panic(err)
	}
}

// Senders returns the transports by URI scheme: http, https, ws and wss.
func (n *Network) Senders() map[string]transport.Sender {
	return map[string]transport.Sender{"http": n.HTTP, "https": n.HTTP, "ws": n.WebSocket, "wss": n.WebSocket}
}

// Close closes all connections. It waits until received messages are handled. If that takes
// longer than wstransport.DefaultCloseTimeout, Close stops waiting, and the error matches
// context.DeadlineExceeded. Call Close when the agent has ended.
func (n *Network) Close() error {
	return errors.Join(n.HTTP.Close(), n.WebSocket.Close())
}
