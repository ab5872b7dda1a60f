// Package routing implements Routing 2.0 (DIDComm v2.1, Routing Protocol 2.0) as a mediator: it
// takes forward messages, and keeps the packets in them for the clients of the mediator.
//
// Pass [Serve] to [agent.NewMux], and [Unopened] to agent.Config:
//
//	mux := agent.NewMux(routing.Serve(m, routing.Endpoints(url)), mediation.Serve(m), pickup.Serve(m))
//	a, err := agent.Start(ctx, agent.Config{Handler: mux, Unopened: routing.Unopened(m), ...})
//
// An agent that sends to a party behind a mediator needs nothing of this package: agent.Agent
// wraps its messages by itself.
//
// # Forwards
//
// A forward is accepted when its packets are durably in the boxes of the recipient, and not
// before. The packets are kept as they came and are never opened. A forward that comes again is
// accepted again, and is kept once. The answers are:
//
//   - nothing (HTTP status 202) if the forward is accepted;
//   - a problem report with code mediator.CodeNotEnrolled if next is neither a client of ours nor
//     a next hop that the operator lists, with code e.p.req.blocked if the client is blocked,
//     and with code e.p.req.not-allowed if the client does not take mail of the sender;
//   - a problem report with code e.p.me.res.packet if a packet is larger than
//     mediator.Limits.MaxPacket, with the limit in bytes as its second argument;
//   - a problem report with code e.p.msg, or one that begins with it, if the forward is malformed;
//   - HTTP status 429 or 503 with Retry-After if a limit is reached. See agent.RetryLimit.
//
// A report to an anonymous sender is signed, and leaves by the connection of the forward.
//
// The DID next is in any form that mediator.Name knows. The attachments have the packets as json
// or base64, and there may be several. expires_time ends the life of the packets. delay_milli, a
// member of the body or of the message, delays them by a day at most; a packet that is handed on
// to a next hop is not delayed. The member capability of the body is that of protocols/senders.
//
// # Hops
//
// Forwards are handed on to a next hop if mediator.Config.Next lists it, through the outbox of the
// agent ([agent.Agent.Relay]): to the endpoint of the hop, and wrapped again if the hop is behind
// another mediator. They do not go in circles:
//
//   - The endpoint of a next hop must not be ours ([Endpoints]), and we must not be the mediator
//     of the hop.
//   - The same packet is handed on to the same hop once in an hour.
//   - A forward to ourselves is unwrapped, but only a few inside of each other.
//
// A forward against the first or the last of these is refused with code e.p.req.routing-loop.
package routing

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/mediator"
)

// The URI of the protocol, and its message type.
const (
	PIURI       = "https://didcomm.org/routing/2.0"
	TypeForward = PIURI + "/forward"
)

// Option is an option of [Serve].
type Option func(*server)

// Serve registers the mediator's side of the protocol in a Mux. The forwards need no inbox: see
// agent.Protocol.Custody.
func Serve(m *mediator.Mediator, opts ...Option) agent.MuxOption {
	s := newServer(m, opts...)
	return agent.Handle(agent.Protocol{
		PIURI:   PIURI,
		Roles:   []string{"mediator"},
		Custody: map[string]agent.Handler{TypeForward: s},
	})
}

// server is the Handler of forwards.
type server struct {
	mediator *mediator.Mediator
	next     map[string]string // the next hops as the operator spells them, by their names
	own      addresses
	handed   handed
}

var _ agent.Handler = (*server)(nil)

func newServer(m *mediator.Mediator, opts ...Option) *server {
	s := &server{mediator: m, next: make(map[string]string), own: addresses{lookup: lookup}}
	for _, id := range m.Next() {
		s.next[mediator.Name(id)] = id
	}
	for _, opt := range opts {
		opt(s)
	}
	return s
}

// HandleMessage takes a forward.
func (s *server) HandleMessage(ctx context.Context, w agent.Responder, in *agent.Inbound) error {
	return s.take(ctx, w, in, &envelope.Unpacked{Message: in.Message, Metadata: in.Metadata}, 0)
}

// take takes a forward that was inside of hops other forwards to us.
func (s *server) take(ctx context.Context, w agent.Responder, in *agent.Inbound, u *envelope.Unpacked, hops int) error {
	f, err := parse(u.Message)
	if err != nil {
		return err
	}
	hop, listed := s.next[mediator.Name(f.next)]
	for i, p := range f.packets {
		mail := mediator.Forward{
			Next: f.next, Packet: p, Sender: u.Sender(), Address: in.Address, Capability: f.capability,
			Expires: u.Message.ExpiresTime, Delay: f.delay,
		}
		if listed {
			err = s.mediator.Meter(ctx, mail)
		} else {
			err = s.mediator.Accept(ctx, mail)
		}
		if i == 0 && errors.Is(err, mediator.ErrNotEnrolled) {
			own, err := s.toItself(ctx, w, in, f.next)
			if err != nil {
				return err
			}
			if own {
				return s.unwrap(ctx, w, in, f, hops)
			}
		}
		if err != nil {
			return refusal(err, f.next)
		}
	}
	if listed {
		return s.handOn(ctx, w, in, f, hop, u.Message.ExpiresTime)
	}
	return nil
}

// fullDelay is the delay after which a sender may try again if nobody knows when there is room.
const fullDelay = time.Minute

// refusal returns the error of a Handler for an error of Mediator.Accept.
func refusal(err error, next string) error {
	var limit *mediator.LimitError
	if errors.As(err, &limit) && limit.Most == 0 {
		return agent.RetryLimit(cmp.Or(max(limit.RetryAfter, 0), fullDelay), limit.Limit, limit.Rate, err)
	}
	if p := mediator.Problem(err); p != nil {
		p.Args = append(p.Args, clip(next))
		return p
	}
	return fmt.Errorf("forward: %w", err)
}

// clip shortens a text of the sender that is sent back.
func clip(s string) string {
	const most = 256
	if len(s) > most {
		return s[:most] + "..."
	}
	return s
}
