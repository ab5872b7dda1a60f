package client

import (
	"context"
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

// Config is what a Client is made of.
type Config struct {
	// Home is where the agent's keys are looked for.
	Home home.Config
	// WebSocket reaches http and https endpoints by WebSocket.
	WebSocket    bool
	AllowPrivate bool // addresses of private networks, besides loopback
	Logger       *slog.Logger
}

// stopTimeout bounds how long what has come in is handled after Close.
const stopTimeout = time.Second

// Client is an agent that talks but does not listen: answers come back on the
// connections that it opens.
type Client struct {
	agent   *agent.Agent
	senders *network.Senders
	close   func() error // once
}

// Start makes a Client and runs it. It goes by a did:peer whose endpoint is
// did.QueueURI: of the agent's keys if Home has any, else of new keys that are
// forgotten with it. Nothing that it sends outlives it; with agent.Once every failure
// to send is final. Close it.
func Start(ctx context.Context, cfg Config) (*Client, error) { return startAlone(ctx, cfg, 0) }

// startAlone is Start with a time to wait for acks, zero for the default.
func startAlone(ctx context.Context, cfg Config, ackTimeout time.Duration) (*Client, error) {
	pair, err := cfg.keys(ctx)
	if err != nil {
		return nil, err
	}
	// Peers such as those around didcomm-messaging answer nobody whose document
	// has no service at all, not even on the connection.
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
	resolver, err := reach.Resolver(nil)
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
	has, err := home.HasKeys(ctx, c.Home)
	if err != nil {
		return identity.Pair{}, err
	}
	if !has {
		return identity.Generate(keyring.Ed25519)
	}
	h, err := home.Open(ctx, c.Home)
	if err != nil {
		return identity.Pair{}, err
	}
	return h.Pair, h.Close()
}

// Agent is what the verbs of the protocols take.
func (c *Client) Agent() *agent.Agent { return c.agent }

// Close handles what has come in, stops the agent and closes its connections. It is
// idempotent.
func (c *Client) Close() error { return c.close() }
