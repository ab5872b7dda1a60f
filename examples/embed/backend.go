package main

import (
	"context"
	"errors"
	"expvar"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/identity"
	"github.com/didcomm-go/didcomm/agent/keyring"
	"github.com/didcomm-go/didcomm/agent/network"
	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/agent/store/sqlstore"
	"github.com/didcomm-go/didcomm/agent/store/sqlstore/sqlite"
	"github.com/didcomm-go/didcomm/did"
	"github.com/didcomm-go/didcomm/did/didweb"
	"github.com/didcomm-go/didcomm/protocols/empty"
	"github.com/didcomm-go/didcomm/protocols/trustping"
	"github.com/didcomm-go/didcomm/transport/gate"
	"github.com/didcomm-go/didcomm/transport/httptransport"
	"github.com/didcomm-go/didcomm/transport/netguard"
	"github.com/didcomm-go/didcomm/transport/wstransport"
)

// stopTimeout limits the time that a backend takes to stop. Half of it is for the requests
// under way.
const stopTimeout = 10 * time.Second

// tenantShares limits the messages of one tenant in the store, so that there is room for the
// other tenants.
var tenantShares = store.Shares{
	Inbox:  store.Share{Items: 1000, Bytes: 16 << 20},
	Outbox: store.Share{Items: 1000, Bytes: 16 << 20},
}

// config has the settings of a backend.
type config struct {
	path    string          // of the SQLite file
	url     string          // of the backend, as peers see it, for example "https://wallet.example"
	keys    keyService      // private keys
	proxies []netip.Prefix  // in front of the backend, which tell the addresses of their clients
	guard   *netguard.Guard // limits the addresses to connect to; nil allows public addresses only
	counts  *expvar.Map     // of messages
	logger  *slog.Logger
	// onText is called for each text that a tenant gets, from many goroutines. Store the text
	// before you return nil. After an agent.Retry, onText is called again later. After
	// another error, the text is set aside for a person to look at.
	onText func(ctx context.Context, t text) error
}

// keyService makes private keys and uses them by name, as a KMS does.
type keyService interface {
	envelope.Keys
	CreateKey(ctx context.Context, curve keyring.Curve) (name string, err error)
}

// text is a basic message for a tenant.
type text struct{ tenant, from, content string }

// backend is a wallet backend: an HTTP server with a router of its own, and an agent. The
// agent has a did:web for the backend, and a did:peer for each tenant.
type backend struct {
	cfg     config
	store   *sqlstore.Store
	own     *identity.Set
	peers   *network.Network
	agent   *agent.Agent
	end     context.CancelFunc // of the agent
	sockets *wstransport.Server
	gate    *gate.Gate // limits what one address can take
	server  *http.Server

	mu       sync.RWMutex
	dids     map[string]string        // of tenants by name, without those that have left; guarded by mu
	handlers map[string]agent.Handler // of tenants by DID; guarded by mu
}

// newBackend opens the store and starts the agent, which continues where it was stopped. Call
// run next.
func newBackend(ctx context.Context, cfg config) (*backend, error) {
	b := &backend{cfg: cfg, dids: map[string]string{}, handlers: map[string]agent.Handler{}}
	var err error
	// Reclaim is for a single process. Several processes can share a store in PostgreSQL.
	if b.store, err = sqlite.Open(ctx, cfg.path, sqlstore.Config{Reclaim: true, Logger: cfg.logger}); err != nil {
		return nil, err
	}
	b.peers = network.New(network.Config{Guard: cfg.guard, Logger: cfg.logger})
	if err := b.start(ctx); err != nil {
		return nil, errors.Join(err, b.peers.Close(), b.store.Close())
	}
	return b, nil
}

func (b *backend) start(ctx context.Context) (err error) {
	b.own, err = identity.NewSet(ctx, identity.SetConfig{Records: b.store.Records(), Keys: b.cfg.keys, Logger: b.cfg.logger})
	if err != nil {
		return err
	}
	web, err := b.webDID(ctx)
	if err != nil {
		return err
	}
	document, err := didweb.PathOf(web)
	if err != nil {
		return err
	}
	if err := b.loadTenants(ctx, web); err != nil {
		return err
	}
	running, end := context.WithCancel(context.WithoutCancel(ctx))
	b.end = end
	service := agent.NewMux(trustping.Handle(), empty.Handle())
	b.agent, err = agent.Start(running, agent.Config{
		DID:      web,
		Keys:     b.own,
		Shares:   b.own.Shares,
		Resolver: b.peers.Resolver,
		Senders:  b.peers.Senders(),
		Store:    b.store,
		Handler: agent.PerIdentity(func(own string) agent.Handler {
			b.mu.RLock()
			defer b.mu.RUnlock()
			if h, ok := b.handlers[own]; ok {
				return h
			}
			return service
		}),
		Trace:  count(b.cfg.counts),
		Logger: b.cfg.logger,
	})
	if err != nil {
		end()
		return err
	}

	// Messages come in at one route, by POST and by WebSocket.
	b.sockets = wstransport.NewServer(b.agent, wstransport.ServerConfig{Budget: b.peers.Budget, Logger: b.cfg.logger})
	router := http.NewServeMux()
	router.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	router.Handle("/didcomm", httptransport.NewHandler(b.agent, httptransport.HandlerConfig{
		WebSocket: b.sockets, Budget: b.peers.Budget, Logger: b.cfg.logger,
	}))
	router.Handle(document, didweb.Handler(func(ctx context.Context) (*did.Document, error) { return b.own.Resolve(ctx, web) }))
	b.server = httptransport.NewServer(router)
	b.gate = gate.New(gate.Config{TrustedProxies: b.cfg.proxies, Logger: b.cfg.logger})
	b.gate.Guard(b.server)
	b.server.ErrorLog = slog.NewLogLogger(b.cfg.logger.Handler(), slog.LevelDebug)
	return nil
}

// run serves until ctx ends, and then stops the backend.
func (b *backend) run(ctx context.Context, listener net.Listener) error {
	failed := make(chan error, 1)
	go func() { failed <- b.server.Serve(b.gate.Listener(listener)) }()
	select {
	case <-ctx.Done():
		return b.stop()
	case err := <-failed:
		return errors.Join(err, b.stop())
	}
}

// stop accepts no more packets, answers those under way, and ends the agent. Messages that are
// not handled or not delivered stay in the store, which is closed last.
func (b *backend) stop() error {
	limit, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	drain, cancelDrain := context.WithTimeout(limit, stopTimeout/2)
	defer cancelDrain()
	err := b.server.Shutdown(drain)
	if err != nil {
		b.server.Close()
	}
	err = errors.Join(err, b.sockets.Close(drain)) // Shutdown does not know WebSockets

	b.end()
	select {
	case <-b.agent.Done():
		return errors.Join(err, b.peers.Close(), b.store.Close())
	case <-limit.Done():
		return errors.Join(err, errors.New("the agent does not end")) // it still uses the store
	}
}

// webDID returns the did:web of the backend. At the first start it makes the keys.
func (b *backend) webDID(ctx context.Context) (string, error) {
	_, host, _ := strings.Cut(b.cfg.url, "://")
	web, err := didweb.New(host)
	if err != nil {
		return "", err
	}
	if _, err := b.own.Get(ctx, web); !errors.Is(err, store.ErrNotFound) {
		return web, err
	}
	pair, err := b.newPair(ctx)
	if err != nil {
		return "", err
	}
	id, err := identity.Web(web, pair, b.socketURL(), b.postURL())
	if err != nil {
		return "", err
	}
	return web, b.own.Add(ctx, id, identity.Settings{})
}

func (b *backend) postURL() string   { return b.cfg.url + "/didcomm" }
func (b *backend) socketURL() string { return "ws" + strings.TrimPrefix(b.postURL(), "http") }

// newPair makes two keys in the KMS. The agent gets their handles and never their bytes. Peers
// need an encryption key of the same curve, and most have X25519.
func (b *backend) newPair(ctx context.Context) (identity.Pair, error) {
	sign, err := b.cfg.keys.CreateKey(ctx, keyring.Ed25519)
	if err != nil {
		return identity.Pair{}, err
	}
	agree, err := b.cfg.keys.CreateKey(ctx, keyring.X25519)
	if err != nil {
		return identity.Pair{}, err
	}
	return identity.Find(ctx, b.cfg.keys, sign, agree)
}
