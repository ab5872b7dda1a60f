package server

import (
	"context"
	"log/slog"
	"maps"
	"sync"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/keyring"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/did"
	"github.com/didcomm-go/didcomm/transport"
)

// ClientConfig is what a Client is made of.
type ClientConfig struct {
	// Store is where the agent's keys are looked for.
	Store StoreConfig
	// WebSocket reaches http and https endpoints by WebSocket.
	WebSocket    bool
	AllowPrivate bool // addresses of private networks, besides loopback
	Logger       *slog.Logger
}

// Client is an agent that talks but does not listen: answers come back on the
// connections that it opens.
type Client struct {
	agent   *agent.Agent
	senders *senders
	close   func() error // once

	// sent is the message whose problems are heard of, or nil.
	sent     *message.Message
	problems chan *message.Problem // the first of them
}

// Start makes a Client and runs it. It goes by a did:peer whose endpoint is
// did.QueueURI: of the agent's keys if Store has any, else of new keys that are
// forgotten with it. Every failure to send is final. Close it.
func Start(ctx context.Context, cfg ClientConfig) (*Client, error) {
	keys, err := cfg.keys(ctx)
	if err != nil {
		return nil, err
	}
	// Peers such as those around didcomm-messaging answer nobody whose document
	// has no service at all, not even on the connection.
	id, err := keys.Peer(did.QueueURI)
	if err != nil {
		return nil, err
	}
	return start(cfg, id, func(c *Client, senders map[string]transport.Sender) agent.Config {
		for scheme, sender := range maps.Clone(senders) {
			senders[scheme] = once{sender}
		}
		return agent.Config{Handler: c.mux(), Senders: senders}
	})
}

// start makes a Client of an identity, whose agent is as configure says.
func start(cfg ClientConfig, id *Identity, configure func(*Client, map[string]transport.Sender) agent.Config) (*Client, error) {
	network := Network{Loopback: true, Private: cfg.AllowPrivate}
	s, err := network.senders(transport.DefaultMaxBytes, cfg.Logger)
	if err != nil {
		return nil, err
	}
	c := &Client{senders: s, problems: make(chan *message.Problem, 1)}
	config := configure(c, s.byScheme(cfg.WebSocket))
	config.Logger = cfg.Logger
	if c.agent, err = newAgent(id, network, transport.DefaultMaxBytes, config); err != nil {
		s.close()
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- c.agent.Run(ctx) }()
	c.close = sync.OnceValue(func() error {
		stop()
		c.senders.close()
		return <-ended
	})
	return c, nil
}

func (c ClientConfig) keys(ctx context.Context) (Keys, error) {
	has, err := HasKeys(ctx, c.Store)
	if err != nil {
		return Keys{}, err
	}
	if !has {
		return NewKeys(keyring.Ed25519)
	}
	ring, err := OpenRing(ctx, c.Store)
	if err != nil {
		return Keys{}, err
	}
	return ring.Own, ring.Close()
}

// Agent is what the verbs of the protocols take.
func (c *Client) Agent() *agent.Agent { return c.agent }

// Close handles what has come in, stops the agent and closes its connections. It is
// idempotent.
func (c *Client) Close() error { return c.close() }
