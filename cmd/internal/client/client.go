package client

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"sync"
	"time"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/keyring"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/cmd/internal/home"
	"github.com/didcomm-go/didcomm/cmd/internal/network"
	"github.com/didcomm-go/didcomm/did"
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

	// sent is the message whose problems are heard of, or nil.
	sent     *message.Message
	problems chan *message.Problem // the first of them
}

// Start makes a Client and runs it. It goes by a did:peer whose endpoint is
// did.QueueURI: of the agent's keys if Home has any, else of new keys that are
// forgotten with it. Every failure to send is final. Close it.
func Start(ctx context.Context, cfg Config) (*Client, error) {
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
func start(cfg Config, id *home.Identity, configure func(*Client, map[string]transport.Sender) agent.Config) (*Client, error) {
	reach := network.Reach{Loopback: true, Private: cfg.AllowPrivate}
	s, err := reach.Senders(transport.DefaultMaxBytes, cfg.Logger)
	if err != nil {
		return nil, err
	}
	c := &Client{senders: s, problems: make(chan *message.Problem, 1)}
	config := configure(c, s.ByScheme(cfg.WebSocket))
	config.Logger, config.StopTimeout = cfg.Logger, stopTimeout
	if c.agent, err = id.Agent(reach, transport.DefaultMaxBytes, config); err != nil {
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

func (c Config) keys(ctx context.Context) (home.Keys, error) {
	has, err := home.HasKeys(ctx, c.Home)
	if err != nil {
		return home.Keys{}, err
	}
	if !has {
		return home.NewKeys(keyring.Ed25519)
	}
	h, err := home.Open(ctx, c.Home)
	if err != nil {
		return home.Keys{}, err
	}
	return h.Own, h.Close()
}

// Agent is what the verbs of the protocols take.
func (c *Client) Agent() *agent.Agent { return c.agent }

// Close handles what has come in, stops the agent and closes its connections. It is
// idempotent.
func (c *Client) Close() error { return c.close() }

// once makes every failure final: who waits at a prompt hears of it at once
// instead of after the last retry.
type once struct{ transport.Sender }

func (o once) Send(ctx context.Context, endpoint string, p transport.Packet) error {
	err := o.Sender.Send(ctx, endpoint, p)
	if se := new(transport.SendError); errors.As(err, &se) {
		final := *se
		final.Retryable = false
		return &final
	}
	return err
}

// Receipts is true, so that no message asks for an ack: the answer to a request says
// enough, and nobody waits for another.
func (o once) Receipts() bool { return true }

// Bind binds the sender inside, if it can be.
func (o once) Bind(h transport.Handler) {
	if b, ok := o.Sender.(transport.Binder); ok {
		b.Bind(h)
	}
}
