package mediation

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/mediator"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/protocols/internal/claim"
)

// Serve registers the role of the mediator in a Mux, for both versions and spellings. m has the
// state. Serve also follows the rotations of devices, in all messages that the Mux handles. The
// logger gets what the peer is not told; nil discards that.
func Serve(m *mediator.Mediator, log *slog.Logger) agent.MuxOption {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return func(mux *agent.Mux) {
		agent.Wrap((&server{m: m, log: log}).follow)(mux)
		for _, v := range []version{v2, v3} {
			s := &server{m, v, log}
			for _, piuri := range []string{v.piuri, v.alias} {
				agent.Handle(agent.Protocol{
					PIURI: piuri,
					Roles: []string{"mediator"},
					Messages: map[string]agent.Handler{
						piuri + "/" + nameRequest: agent.HandlerFunc(s.request),
						piuri + "/" + v.update:    agent.HandlerFunc(s.update),
						piuri + "/" + v.query:     agent.HandlerFunc(s.query),
					},
					Ordered: true, // an update may undo the one before
				})(mux)
			}
		}
	}
}

// server is the mediator for one version of the protocol.
type server struct {
	m   *mediator.Mediator
	v   version
	log *slog.Logger
}

// reply answers in the spelling of the request.
func (s *server) reply(ctx context.Context, w agent.Responder, in *agent.Inbound, name string, body any) error {
	t, err := message.ParseType(in.Message.Type)
	if err != nil {
		return err
	}
	t.Name = name
	m, err := message.New(t.String(), body)
	if err != nil {
		return err
	}
	return w.Reply(ctx, m)
}

func (s *server) request(ctx context.Context, w agent.Responder, in *agent.Inbound) error {
	if !in.Authenticated() {
		return agent.ErrUnauthenticated
	}
	_, c, err := s.m.Admit(ctx, mediator.Enrolment{ID: in.From, Token: in.Message.ParentThreadID, Address: in.Address})
	switch {
	case errors.Is(err, mediator.ErrDenied):
		s.log.InfoContext(ctx, "mediation denied", "from", in.From)
		return s.reply(ctx, w, in, nameDeny, nil)
	case err != nil:
		return problem(err)
	}
	s.tell(ctx, w, in, c, in.From)
	grant := grantBody{s.m.DID()}
	if s.v == v3 {
		grant.RoutingDID = []string{s.m.DID()}
	}
	return s.reply(ctx, w, in, nameGrant, grant)
}

func (s *server) update(ctx context.Context, w agent.Responder, in *agent.Inbound) error {
	if !in.Authenticated() {
		return agent.ErrUnauthenticated
	}
	var body updateBody
	if err := in.Message.DecodeBody(&body); err != nil {
		return message.NewProblem("e.p.msg", err)
	}
	if len(body.Updates) > MaxUpdates {
		return tooMany("updates", MaxUpdates)
	}
	if _, err := s.m.Account(ctx, in.From); err != nil {
		return problem(err)
	}
	proven, err := s.proofs(ctx, w.Agent().Packer(), in)
	if err != nil {
		return err
	}
	updated := make([]Result, 0, len(body.Updates))
	for _, u := range body.Updates {
		r := Result(readChange(u))
		r.Result, err = s.change(ctx, w, in, r, proven)
		if err != nil {
			return err
		}
		updated = append(updated, r)
	}
	if s.v == v2 && in.Message.ReturnRoute == "" && !reachable(ctx, w.Agent(), in.From) {
		return nil
	}
	return s.reply(ctx, w, in, s.v.updated, updatedBody{updated})
}

// reachable reports whether a party has an address of its own.
func reachable(ctx context.Context, a *agent.Agent, id string) bool {
	routes, err := a.Packer().Routes(ctx, id)
	return err == nil && len(routes) > 0
}

// readChange reads an entry of an update. A member that is no string is empty.
func readChange(entry jsontext.Value) Result {
	var e struct {
		RecipientDID jsontext.Value `json:"recipient_did"`
		Action       jsontext.Value `json:"action"`
	}
	var r Result
	if json.Unmarshal(entry, &e) != nil || json.Unmarshal(e.RecipientDID, &r.RecipientDID) != nil || json.Unmarshal(e.Action, &r.Action) != nil {
		return Result{RecipientDID: r.RecipientDID}
	}
	return r
}

// change carries out one entry. The error ends the whole update: the account has gone meanwhile,
// or the handling has to end.
func (s *server) change(ctx context.Context, w agent.Responder, in *agent.Inbound, r Result, proven map[string]bool) (Outcome, error) {
	var c mediator.Change
	var err error
	switch r.Action {
	case Add:
		c, err = s.m.Register(ctx, in.From, r.RecipientDID, proven[mediator.Name(r.RecipientDID)])
	case Remove:
		c, err = s.m.Deregister(ctx, in.From, r.RecipientDID)
	default:
		return ClientError, nil
	}
	s.tell(ctx, w, in, c, r.RecipientDID)
	var limit *mediator.LimitError
	switch {
	case err == nil && c.Changed:
		return Success, nil
	case err == nil:
		return NoChange, nil
	case errors.Is(err, mediator.ErrTaken), errors.Is(err, mediator.ErrRecipient), errors.As(err, &limit) && !limit.Rate:
		s.log.InfoContext(ctx, "recipient refused", "from", in.From, "recipient", fmt.Sprintf("%.200q", r.RecipientDID), "error", err)
		return ClientError, nil
	case errors.Is(err, mediator.ErrNotEnrolled), errors.Is(err, mediator.ErrBlocked):
		return "", problem(err)
	case ctx.Err() != nil:
		return "", agent.Retry(0, err)
	case limit != nil: // the client may try again
		return ServerError, nil
	}
	s.log.ErrorContext(ctx, "recipient not changed", "from", in.From, "error", err)
	return ServerError, nil
}

func (s *server) query(ctx context.Context, w agent.Responder, in *agent.Inbound) error {
	if !in.Authenticated() {
		return agent.ErrUnauthenticated
	}
	var body queryBody
	if err := in.Message.DecodeBody(&body); err != nil {
		return message.NewProblem("e.p.msg", err)
	}
	limit, offset := MaxPage, 0
	if p := body.Paginate; p != nil {
		if p.Limit < 0 || p.Offset < 0 {
			return message.NewProblem("e.p.msg", fmt.Errorf("paginate %d, %d", p.Limit, p.Offset))
		}
		offset = p.Offset
		if p.Limit > 0 {
			limit = min(p.Limit, MaxPage)
		}
	}
	ids, total, err := s.m.Recipients(ctx, in.From, offset, limit)
	if err != nil {
		return problem(err)
	}
	if len(ids) > 0 { // the answers to a stranger are short
		if err := w.Agent().Contacts().Keep(ctx, in.To, in.From); err != nil {
			s.log.WarnContext(ctx, "client not stored as a contact", "from", in.From, "error", err)
		}
	}
	list := make([]recipientDID, len(ids))
	for i, id := range ids {
		list[i].RecipientDID = id
	}
	var answer listBody
	if s.v == v2 {
		answer.Keys = list
	} else {
		answer.DIDs = list
	}
	if rest := max(0, total-offset-len(ids)); rest > 0 || offset > 0 {
		answer.Pagination = &pagination{len(ids), offset, rest}
	}
	return s.reply(ctx, w, in, s.v.list, answer)
}

// tell tells the account that has lost a recipient by a change.
func (s *server) tell(ctx context.Context, w agent.Responder, in *agent.Inbound, c mediator.Change, recipient string) {
	if err := claim.Tell(ctx, w.Agent(), s.m, in.To, c.Loser, recipient); err != nil {
		s.log.WarnContext(ctx, "account not told that it has lost a recipient", "account", c.Loser, "error", err)
	}
}

// follow gives the place of a device to the DID to which the device rotates, with any message of
// any protocol.
func (s *server) follow(next agent.Handler) agent.Handler {
	return agent.HandlerFunc(func(ctx context.Context, w agent.Responder, in *agent.Inbound) error {
		if prior := priorOf(in); prior != "" && in.Authenticated() && in.Addressed {
			c, err := s.m.Rotate(ctx, prior, in.From)
			switch {
			case err == nil:
				s.tell(ctx, w, in, c, in.From)
			case errors.Is(err, mediator.ErrNotEnrolled): // not a device
			case mediator.Problem(err) != nil:
				s.log.InfoContext(ctx, "rotation of a device refused", "prior", prior, "from", in.From, "error", err)
			default:
				return agent.Retry(0, err)
			}
		}
		return next.HandleMessage(ctx, w, in)
	})
}

// tooMany is the problem of a message that has more of something than n.
func tooMany(what string, n int) *message.Problem {
	return &message.Problem{
		Code:    "e.p.me.res." + what,
		Comment: "The message has more than {1} " + what + ".",
		Args:    []string{fmt.Sprint(n)},
	}
}

// problem returns the error of a Handler for an error of a Mediator.
func problem(err error) error {
	if p := mediator.Problem(err); p != nil {
		return p
	}
	return agent.Retry(0, err)
}
