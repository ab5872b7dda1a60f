package client

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/delivery"
	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/cmd/internal/home"
)

// PostConfig says how Post sends.
type PostConfig struct {
	Config // Home is the agent's
	// From is a DID of the home. Default: that of home.Home.Sender.
	From string
	// Timeout is how long delivery is tried before the message is left in the
	// outbox.
	Timeout time.Duration
	// NoQueue makes Post deliver the message itself, or fail.
	NoQueue bool
	// Ack is NoQueue, and waits until the recipient has acknowledged the message,
	// which asks for that.
	Ack bool
	// Lane is as of agent.Lane.
	Lane string
}

// Posted is what became of a message.
type Posted struct {
	// Outcome is that of the delivery. Its State is delivery.Queued where the outbox
	// has the message; then Err is why Post could not deliver that, nil if Post did
	// not try.
	Outcome agent.Outcome
	// Served tells that an agent serves the home, which delivers what is queued.
	Served bool
}

// Post sends a message as the agent of a home. While that is served, the message
// goes into its outbox, unless it is to go by WebSocket. While it is not, Post
// delivers the message itself, and leaves it in the outbox where that fails for
// now. After an error the message was not kept.
func Post(ctx context.Context, cfg PostConfig, m *message.Message) (posted Posted, err error) {
	served, err := home.Served(cfg.Home.Dir)
	if err != nil {
		return Posted{}, err
	}
	h, err := home.Open(ctx, cfg.Home)
	if err != nil {
		return Posted{}, err
	}
	defer func() { err = errors.Join(err, h.Close()) }()
	from, err := cfg.from(ctx, h)
	if err != nil {
		return Posted{}, err
	}
	c, err := start(cfg.Config, agent.Config{
		DID: from, Keys: h.AgentKeys(from),
		Store: h.Store, Guest: true,
		AckTimeout: cfg.ackTimeout(),
	})
	if err != nil {
		return Posted{}, err
	}
	defer func() { err = errors.Join(err, c.Close()) }()

	posted = Posted{Outcome: agent.Outcome{MessageID: m.ID, State: delivery.Queued}, Served: served}
	if now := cfg.NoQueue || cfg.Ack; now || cfg.WebSocket || !served {
		posted.Outcome, err = c.post(ctx, cfg, m)
		if err == nil {
			return posted, nil
		}
		if now || posted.Outcome.State != delivery.Queued {
			return Posted{}, err
		}
		posted.Outcome.Err = err
	}
	// A message that could not be delivered is kept even if the user is tired of
	// waiting.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cfg.Timeout)
	defer cancel()
	if err := c.agent.Send(ctx, m, agent.ReturnRoute("all"), agent.Lane(cfg.Lane)); err != nil {
		return Posted{}, err
	}
	return posted, nil
}

// from is the DID of the home that Post sends from.
func (cfg *PostConfig) from(ctx context.Context, h *home.Home) (string, error) {
	if cfg.From == "" {
		return h.Sender(ctx)
	}
	own, err := h.Set.Own(ctx, cfg.From)
	if errors.Is(err, envelope.ErrNoKey) {
		err = fmt.Errorf("%s is no DID of this home, or was retired; see didcomm did list", cfg.From)
	}
	return own, err
}

// Once delivers a message, or fails, as an agent that only the message needs: of
// the keys of Home if that has any, else of new ones that are forgotten. It does
// not touch the outbox of a home.
func Once(ctx context.Context, cfg PostConfig, m *message.Message) (err error) {
	c, err := startAlone(ctx, cfg.Config, cfg.ackTimeout())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	_, err = c.post(ctx, cfg, m)
	return err
}

// ackTimeout leaves time for other ways where the first gives no receipt, and the
// recipient no ack.
func (cfg *PostConfig) ackTimeout() time.Duration { return cfg.Timeout / 2 }

// post delivers a message now, or fails. The outcome is that of the delivery, empty
// where the message did not get so far.
func (c *Client) post(ctx context.Context, cfg PostConfig, m *message.Message) (o agent.Outcome, err error) {
	ctx, cancel := context.WithTimeout(ctx, cfg.Timeout)
	defer cancel()
	opts := []agent.SendOption{agent.Once(), agent.ReturnRoute("all"), agent.Outcomes(func(now agent.Outcome) { o = now })}
	if cfg.Ack {
		_, err = c.agent.Request(ctx, m, opts...)
	} else if err = c.agent.Send(ctx, m, opts...); err == nil {
		err = o.Err
	}
	var problem *message.Problem
	switch {
	case err == nil:
		return o, nil
	case errors.As(err, &problem):
		return o, reported(problem)
	case !errors.Is(err, agent.ErrUndelivered):
		return o, err
	case ctx.Err() != nil:
		return o, ctx.Err()
	}
	// Its text alone: a timeout of one way is none of cfg.Timeout.
	return o, errors.New(o.Err.Error())
}

func reported(p *message.Problem) error {
	code := cmp.Or(p.Code, "no code")
	if text := p.Text(); text != "" {
		return fmt.Errorf("the agent reports a problem: %s: %s", code, text)
	}
	return fmt.Errorf("the agent reports a problem: %s", code)
}
