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
	// WebSocket makes the Client use WebSocket for http and https endpoints, too.
	WebSocket    bool
	AllowPrivate bool // allows addresses of private networks, besides loopback
	Logger       *slog.Logger
}

// stopTimeout limits the time to handle received messages after Close.
const stopTimeout = time.Second

// Client is an agent without a listening port. Answers come back on the connections that the
// Client opens.
type Client struct {
	agent   *agent.Agent
	senders *network.Senders
	close   func() error // once
}

// Start makes a Client and runs it. The DID of the Client is a did:peer of the keys of Home,
// with the endpoint did.QueueURI. If Home has no keys, the DID has temporary keys. After
// Close, no message of the Client is delivered any more. Send with the option agent.Once, so
// that each failure is returned.
func Start(ctx context.Context, cfg Config) (*Client, error) { return startAlone(ctx, cfg, 0) }

// startAlone is like Start. ackTimeout is the time to wait for acks; 0 means the default.
func startAlone(ctx context.Context, cfg Config, ackTimeout time.Duration) (*Client, error) {
	pair, err := cfg.keys(ctx)
	if err != nil {
		return nil, err
	}
	// Some peers do not answer a party whose document has no service, not even on the
	// connection. The agents around didcomm-messaging are an example.
	id, err := identity.Peer2(pair, did.QueueURI)
	if err != nil {
		return nil, err
	}
	return start(cfg, agent.Config{
		DID: id.DID(), Keys: id,
		Handler:    agent.NewMux(empty.Handle(), report.Handle(nil)),
		AckTimeout: ackTimeout,
	})
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
	c := &Client{senders: s}
	ac.Resolver, ac.Senders = resolver, s.ByScheme(cfg.WebSocket)
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

func (c Config) keys(ctx context.Context) (identity.Pair, error) {
	h, err := home.OpenOld(ctx, c.Home)
	if errors.Is(err, home.ErrNoKeys) {
		return identity.Generate(keyring.Ed25519)
	}
	if err != nil {
		return identity.Pair{}, err
	}
	return h.Pair, h.Close()
}

// Agent returns the agent, for the functions of the protocol packages.
func (c *Client) Agent() *agent.Agent { return c.agent }

// Close waits until received messages are handled, stops the agent and closes its
// connections. It can be called more than once.
func (c *Client) Close() error { return c.close() }
