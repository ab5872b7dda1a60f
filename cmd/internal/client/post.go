package client

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/contact"
	"github.com/didcomm-go/didcomm/agent/delivery"
	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/cmd/internal/home"
)

// PostConfig says how Post sends.
type PostConfig struct {
	Config // with the Home of the agent
	// From is a DID of the home. Default: that of home.Home.Sender.
	From string
	// Timeout is how long Post tries to deliver the message before it leaves the message
	// in the outbox.
	Timeout time.Duration
	// NoQueue makes Post deliver the message itself, or fail.
	NoQueue bool
	// Ack implies NoQueue, and makes Post wait for the ack that the message asks for. If the
	// recipient is known to acknowledge nothing, Post does not wait, and returns ErrNoAcks.
	Ack bool
	// Lane is the lane of the message: see agent.Lane.
	Lane string
}

// ErrNoAcks is the error if PostConfig.Ack is set, and the recipient is known to acknowledge
// nothing. The message was sent. Match it with errors.Is.
var ErrNoAcks = errors.New("sent, but the agent acknowledges no messages; see didcomm peer")

// errEnded is contact.ErrEnded, in the words of the commands.
var errEnded = errors.New("not sent: the agent has ended the relationship, and has to write first; see didcomm peer")

// Posted is the result of Post.
type Posted struct {
	// Outcome is the outcome of the delivery. Its State is delivery.Queued if the outbox has
	// the message. In that case, its Err is the reason why Post could not deliver the message,
	// or nil if Post has not tried.
	Outcome agent.Outcome
	// Served reports whether an agent serves the home. That agent delivers queued messages.
	Served bool
}

// Post sends a message as the agent of a home.
//
//   - If an agent serves the home, Post puts the message into the outbox of the home, unless
//     Config.WebSocket is set.
//   - Otherwise, Post delivers the message itself. After a temporary failure, the message
//     stays in the outbox.
//
// If Post returns an error, the message is not in the outbox.
func Post(ctx context.Context, cfg PostConfig, m *message.Message) (posted Posted, err error) {
	defer func() {
		if errors.Is(err, contact.ErrEnded) {
			err = errEnded
		}
	}()
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
	// A message that could not be delivered is kept, even if the user has interrupted the
	// command.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cfg.Timeout)
	defer cancel()
	if err := c.agent.Send(ctx, m, agent.ReturnRoute("all"), agent.Lane(cfg.Lane)); err != nil {
		return Posted{}, err
	}
	return posted, nil
}

// from returns the DID of the home that Post sends from.
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

// Once delivers a message, or fails, and returns the outcome of the delivery. It makes an agent
// for this message, with the keys of Home. If Home has no keys, it uses temporary keys. Once does
// not use the outbox of a home.
func Once(ctx context.Context, cfg PostConfig, m *message.Message) (o agent.Outcome, err error) {
	c, err := startAlone(ctx, cfg.Config, cfg.ackTimeout())
	if err != nil {
		return agent.Outcome{}, err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	return c.post(ctx, cfg, m)
}

// ackTimeout is shorter than the timeout of the command. It leaves time for other endpoints if
// the transport to the first endpoint gives no receipt and the recipient sends no ack.
func (cfg *PostConfig) ackTimeout() time.Duration { return cfg.Timeout / 2 }

// post delivers a message now, or fails. It returns the outcome of the delivery, which is empty
// if delivery did not begin.
func (c *Client) post(ctx context.Context, cfg PostConfig, m *message.Message) (o agent.Outcome, err error) {
	ctx, cancel := context.WithTimeout(ctx, cfg.Timeout)
	defer cancel()
	opts := []agent.SendOption{agent.Once(), agent.ReturnRoute("all"), agent.Outcomes(func(now agent.Outcome) { o = now })}
	if cfg.Ack && !c.givesNoAcks(ctx, m) {
		_, err = c.agent.Request(ctx, m, opts...)
		c.noteNoAck(ctx, m, o, err)
	} else if err = c.agent.Send(ctx, m, opts...); err == nil {
		err = o.Err
		if cfg.Ack && err == nil && o.State != delivery.Acknowledged {
			return o, ErrNoAcks
		}
	}
	var problem *message.Problem
	switch {
	case err == nil:
		return o, nil
	case errors.As(err, &problem):
		return o, reported(problem, o.Mediated && !cfg.Ack)
	case cfg.Ack && o.State == delivery.Sent && errors.Is(err, context.DeadlineExceeded):
		return o, unacknowledged(o.Mediated)
	case !errors.Is(err, agent.ErrUndelivered):
		return o, err
	case ctx.Err() != nil:
		return o, ctx.Err()
	}
	// Only the text: a timeout of one endpoint must not look like cfg.Timeout.
	return o, errors.New(o.Err.Error())
}

// givesNoAcks reports whether the recipient of m is known to acknowledge nothing.
func (c *Client) givesNoAcks(ctx context.Context, m *message.Message) bool {
	d, err := c.agent.Contacts().Dialect(ctx, c.agent.DID(), m.To[0])
	return err == nil && d.NoAcks
}

// noteNoAck records that the recipient of m acknowledges nothing, if the Request for an ack has
// run out of time, and the connection to the recipient has stayed open until then.
func (c *Client) noteNoAck(ctx context.Context, m *message.Message, o agent.Outcome, err error) {
	if !errors.Is(err, context.DeadlineExceeded) || o.State != delivery.Sent || o.Mediated || !c.last.open() {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), rememberTimeout)
	defer cancel()
	// After an error the next command waits as long as this one.
	_ = c.agent.Contacts().Learn(ctx, c.agent.DID(), m.To[0], func(d *contact.Dialect) { d.NoAcks, d.Acks = true, false })
}

// unacknowledged is the error if a message has left, and no ack came in time.
func unacknowledged(mediated bool) error {
	left := "sent"
	if mediated {
		left = "handed to the mediator"
	}
	return fmt.Errorf("%s, but not acknowledged: %w", left, context.DeadlineExceeded)
}

func reported(p *message.Problem, byMediator bool) error {
	by := "agent"
	if byMediator {
		by = "mediator"
	}
	return fmt.Errorf("the %s reports a problem: %s", by, ProblemText(p))
}

// ProblemText returns the code of a problem, and its text for people if there is any.
func ProblemText(p *message.Problem) string {
	code := cmp.Or(p.Code, "no code")
	if text := p.Text(); text != "" {
		return code + ": " + text
	}
	return code
}
