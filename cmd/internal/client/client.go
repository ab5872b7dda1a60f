package client

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/identity"
	"github.com/didcomm-go/didcomm/agent/keyring"
	"github.com/didcomm-go/didcomm/cmd/internal/home"
	"github.com/didcomm-go/didcomm/cmd/internal/network"
	"github.com/didcomm-go/didcomm/did"
	"github.com/didcomm-go/didcomm/protocols/empty"
	"github.com/didcomm-go/didcomm/protocols/report"
	"github.com/didcomm-go/didcomm/transport"
)

// Config has the settings of a Client.
type Config struct {
	// Home is the home whose keys the Client uses, if it has any.
	Home home.Config
	// Peer is the DID of the party that the Client is for. The Client begins with
	// the dialect of Peer that the home has, and the home gets the dialect that the Client learns.
	Peer string
	// WebSocket makes the Client use WebSocket for http and https endpoints, too.
	WebSocket    bool
	AllowPrivate bool // allows addresses of private networks, besides loopback
	Logger       *slog.Logger
}

const (
	// stopTimeout limits the time to handle received messages after Close.
	stopTimeout = time.Second
	// rememberTimeout limits the time to tell the home about the dialect of Config.Peer.
	rememberTimeout = 2 * time.Second
)

// Client is an agent without a listening port. Answers come back on the connections that the
// Client opens.
type Client struct {
	agent   *agent.Agent
	senders *network.Senders
	last    *lastConn
	close   func() error // once
}

// Start makes a Client and runs it. The DID of the Client is a did:peer of the keys of Home,
// with the endpoint did.QueueURI. If Home has no keys, the DID has temporary keys. After
// Close, no message of the Client is delivered any more. Send with the option agent.Once, so
// that each failure is returned.
func Start(ctx context.Context, cfg Config) (*Client, error) { return startAlone(ctx, cfg, 0) }

// startAlone is like Start. ackTimeout is the time to wait for acks; 0 means the default.
func startAlone(ctx context.Context, cfg Config, ackTimeout time.Duration) (*Client, error) {
	pair, m, err := cfg.keys(ctx)
	if err != nil {
		return nil, err
	}
	// Some peers do not answer a party whose document has no service, not even on the
	// connection. The agents around didcomm-messaging are an example.
	id, err := identity.Peer2(pair, did.QueueURI)
	if err != nil {
		return nil, err
	}
	c, err := start(cfg, agent.Config{
		DID: id.DID(), Keys: id,
		Handler:    agent.NewMux(empty.Handle(), report.Handle(nil)),
		AckTimeout: ackTimeout,
	})
	if err != nil || m == nil {
		return c, err
	}
	m.recall(ctx, cfg, c.agent)
	stop := c.close
	c.close = sync.OnceValue(func() error {
		m.remember(cfg, c.agent)
		return stop()
	})
	return c, nil
}

// start makes a Client of an agent.Config with a DID and its keys.
func start(cfg Config, ac agent.Config) (*Client, error) {
	reach := network.Reach{Loopback: true, Private: cfg.AllowPrivate}
	resolver, err := reach.Resolver(did.CacheConfig{}, nil)
	if err != nil {
		return nil, err
	}
	s, err := reach.Senders(transport.DefaultMaxBytes, cfg.Logger)
	if err != nil {
		return nil, err
	}
	c := &Client{senders: s, last: new(lastConn)}
	ac.Resolver, ac.Senders = resolver, c.last.watch(s.ByScheme(cfg.WebSocket))
	ac.Logger, ac.StopTimeout = cfg.Logger, stopTimeout
	if c.agent, err = agent.New(ac); err != nil {
		s.Close()
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- c.agent.Run(ctx) }()
	<-c.agent.Ready()
	c.close = sync.OnceValue(func() error {
		stop()
		c.senders.Close()
		return <-ended
	})
	return c, nil
}

// keys returns the keys of the Client, and what the home knows about Peer. That is nil if
// there is nothing to remember.
func (c Config) keys(ctx context.Context) (identity.Pair, *memory, error) {
	h, err := home.OpenOld(ctx, c.Home)
	if errors.Is(err, home.ErrNoKeys) {
		pair, err := identity.Generate(keyring.Ed25519)
		return pair, nil, err
	}
	if err != nil {
		return identity.Pair{}, nil, err
	}
	m := c.memory(ctx, h)
	return h.Pair, m, h.Close()
}

// Agent returns the agent, for the functions of the protocol packages.
func (c *Client) Agent() *agent.Agent { return c.agent }

// Close waits until received messages are handled, stops the agent and closes its
// connections. It can be called more than once.
func (c *Client) Close() error { return c.close() }
