package senders

import (
	"context"
	"log/slog"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/contact"
	"github.com/didcomm-go/didcomm/agent/mediator"
	"github.com/didcomm-go/didcomm/agent/message"
)

// Serve registers the role of the mediator in a Mux. m has the state. The logger gets what the
// peer is not told; nil discards that.
func Serve(m *mediator.Mediator, log *slog.Logger) agent.MuxOption {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	s := &server{m, log}
	return agent.Handle(agent.Protocol{
		PIURI: PIURI,
		Roles: []string{"mediator"},
		Messages: map[string]agent.Handler{
			TypeGet:              s.handle(s.get),
			TypeSet:              s.handle(s.set),
			TypeMakeCapability:   s.handle(s.makeCapability),
			TypeListCapabilities: s.handle(s.capabilities),
			TypeRevokeCapability: s.handle(s.revoke),
		},
		Ordered: true,
	})
}

type server struct {
	m   *mediator.Mediator
	log *slog.Logger
}

// handle returns the Handler of a request: f returns the type and the body of the answer.
func (s *server) handle(f func(context.Context, *agent.Inbound) (string, any, error)) agent.Handler {
	return agent.HandlerFunc(func(ctx context.Context, w agent.Responder, in *agent.Inbound) error {
		if !in.Authenticated() {
			return agent.ErrUnauthenticated
		}
		typ, body, err := f(ctx, in)
		if p := mediator.Problem(err); p != nil {
			s.log.InfoContext(ctx, "request about senders refused", "type", in.Message.Type, "from", in.From, "error", err)
			return p
		}
		if err != nil {
			return err
		}
		m, err := message.New(typ, body)
		if err != nil {
			return err
		}
		return w.Reply(ctx, m)
	})
}

// decode reads the body of a request.
func decode(in *agent.Inbound, v any) error {
	if err := in.Message.DecodeBody(v); err != nil {
		return message.NewProblem("e.p.msg", err)
	}
	return nil
}

func (s *server) get(ctx context.Context, in *agent.Inbound) (string, any, error) {
	var body recipientBody
	if err := decode(in, &body); err != nil {
		return "", nil, err
	}
	l, err := s.m.Senders(ctx, in.From, body.Recipient)
	return TypeList, List{l.Recipient, l.Mode, l.RefuseAnonymous, l.DIDs}, retry(err)
}

func (s *server) set(ctx context.Context, in *agent.Inbound) (string, any, error) {
	var l List
	if err := decode(in, &l); err != nil {
		return "", nil, err
	}
	switch l.Mode {
	case "", Open, Allow, Block:
	default:
		return "", nil, message.NewProblem("e.p.msg", nil)
	}
	err := s.m.SetSenders(ctx, in.From, mediator.Senders{
		Recipient: l.Recipient, Filter: mediator.Filter{Mode: l.Mode, RefuseAnonymous: l.RefuseAnonymous}, DIDs: l.DIDs,
	})
	return TypeList, l, retry(err)
}

func (s *server) makeCapability(ctx context.Context, in *agent.Inbound) (string, any, error) {
	var body capabilityBody
	if err := decode(in, &body); err != nil {
		return "", nil, err
	}
	if body.Expires < 0 || body.Expires > maxTime {
		return "", nil, message.NewProblem("e.p.msg", nil)
	}
	token, c, err := s.m.NewCapability(ctx, in.From, body.Recipient, body.Name, timeOf(body.Expires))
	made := bodyOf(c)
	made.Token = token
	return TypeCapability, made, retry(err)
}

func (s *server) capabilities(ctx context.Context, in *agent.Inbound) (string, any, error) {
	list, err := s.m.Capabilities(ctx, in.From)
	body := capabilitiesBody{Capabilities: []capabilityBody{}}
	for _, c := range list {
		body.Capabilities = append(body.Capabilities, bodyOf(c))
	}
	return TypeCapabilities, body, retry(err)
}

func (s *server) revoke(ctx context.Context, in *agent.Inbound) (string, any, error) {
	var body idBody
	if err := decode(in, &body); err != nil {
		return "", nil, err
	}
	return TypeRevoked, body, retry(s.m.RevokeCapability(ctx, in.From, body.ID))
}

// maxTime is the end of the year 9999, in seconds since 1970: RFC 3339 has no later time.
const maxTime = 253402300799

func bodyOf(c mediator.Capability) capabilityBody {
	return capabilityBody{
		ID: c.ID, Recipient: c.Recipient, Name: c.Name, Created: secondsOf(c.Created), Expires: secondsOf(c.Expires),
	}
}

// retry returns err as a Retry, unless it is a refusal of the mediator.
func retry(err error) error {
	if err == nil || mediator.Problem(err) != nil {
		return err
	}
	return agent.Retry(0, err)
}

// maxToken is the longest token that is kept for a contact, in bytes.
const maxToken = 256

// Handle registers the role of a sender in a Mux: a capability that a contact has given is kept
// with the contact, and is sent with the forwards to the contact.
func Handle() agent.MuxOption {
	return agent.Handle(agent.Protocol{
		PIURI: PIURI,
		Roles: []string{"sender"},
		Messages: map[string]agent.Handler{TypeGive: agent.HandlerFunc(func(ctx context.Context, w agent.Responder, in *agent.Inbound) error {
			var body giveBody
			if err := decode(in, &body); err != nil {
				return err
			}
			if len(body.Capability) > maxToken {
				return message.NewProblem("e.p.msg", nil)
			}
			w.Agent().Learn(ctx, in, func(d *contact.Dialect) { d.Capability = body.Capability })
			return nil
		})},
	})
}
