package fleet_test

import (
	"context"
	"errors"
	"time"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/protocols/basicmessage"
	"github.com/didcomm-go/didcomm/protocols/trustping"
)

// mux has the handlers of one life.
func (h *honest) mux(l *life, more ...agent.MuxOption) agent.Handler {
	handle := agent.HandlerFunc(func(ctx context.Context, w agent.Responder, in *agent.Inbound) error {
		return h.handle(ctx, l, w, in)
	})
	return agent.NewMux(append(more,
		trustping.Handle(),
		basicmessage.Handle(func(ctx context.Context, w agent.Responder, in *agent.Inbound, _ basicmessage.Body) error {
			return h.handle(ctx, l, w, in)
		}),
		agent.Handle(agent.Protocol{PIURI: fleetProtocol, Messages: map[string]agent.Handler{
			noteType: handle, questionType: handle, answerType: handle,
		}}),
	)...)
}

// handle is the handler of all letters.
func (h *honest) handle(ctx context.Context, l *life, w agent.Responder, in *agent.Inbound) error {
	m := in.Message
	h.learn(in)
	var do deed
	if err := m.DecodeBody(&do); err != nil {
		return message.NewProblem("e.m.msg", err)
	}
	if l.host.dead() {
		return errDead
	}
	genuine := in.Authenticated() && h.w.registry.party(in.From) == h.w.book.sender(m.ID)
	before := 0
	if genuine {
		before = h.w.book.begin(m.ID, h)
	}
	h.w.log.Info("handles", "agent", h.id, "id", m.ID, "from", in.From, "before", before)
	if !pause(time.Duration(do.Delay)*time.Millisecond, ctx, l.host.up) {
		return errors.New("stopped")
	}
	if do.Content == deedRetry && before == 0 && genuine {
		return agent.Retry(0, errors.New("not now"))
	}
	if genuine { // whom the policy of the agent admits, so that answers are not lost as those to strangers may be
		if err := l.agent.Contacts().Keep(ctx, in.To, in.From); err != nil {
			return agent.Retry(0, err)
		}
	}
	if m.Type == questionType && (do.Content != deedFail || *twoReplies) {
		a, err := message.New(answerType, deed{})
		if err != nil {
			return err
		}
		a.ID = answerTo(m.ID)
		if genuine {
			h.w.book.write(letter{id: a.ID, from: h.name, to: h.w.registry.party(in.From)})
		}
		if err := w.Reply(ctx, a); err != nil {
			return err
		}
	}
	if l.host.dead() {
		return errDead
	}
	if genuine {
		h.w.book.finish(m.ID, h)
	}
	if do.Content == deedFail {
		return message.NewProblem("e.m.refused", nil)
	}
	return nil
}

// learn takes note of a DID that a party has rotated to, and that the party knows of
// ours.
func (h *honest) learn(in *agent.Inbound) {
	name := h.w.registry.party(in.From)
	if name == "" {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if p := in.Metadata.FromPrior; p != nil && h.w.registry.party(p.Iss) == name {
		h.known[name] = in.From
	}
	if in.To == h.did() {
		h.rotated[name] = true
	}
}
