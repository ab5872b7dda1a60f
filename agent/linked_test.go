package agent_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/agenttest"
	"github.com/didcomm-go/didcomm/agent/contact"
	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/did"
	"github.com/didcomm-go/didcomm/transport"
)

// linked packs a message from the DID to, with a from_prior of prior, and encrypted with the key
// of prior. The Packer gets a document of to that lists the key of prior.
func (m *mover) linked(prior, to *stranger, edit func(*message.Message)) transport.Packet {
	m.t.Helper()
	e := to.message(m.t, m.Agent, chatType, edit)
	e.FromPrior = m.prove(prior, to.DID, m.told)
	packer, err := envelope.New(envelope.Config{Keys: prior.Keys, Resolver: did.ResolverFunc(func(ctx context.Context, id string) (*did.Document, error) {
		if id != to.DID {
			return prior.Resolver.Resolve(ctx, id)
		}
		doc, err := prior.Resolver.Resolve(ctx, prior.DID)
		if err != nil {
			return nil, err
		}
		copied := *doc
		copied.ID = id
		if id == m.DID() { // so that the message is also for the key of the agent
			ours, err := prior.Resolver.Resolve(ctx, id)
			if err != nil {
				return nil, err
			}
			copied.VerificationMethod = slices.Concat(doc.VerificationMethod, ours.VerificationMethod)
			copied.KeyAgreement = slices.Concat(doc.KeyAgreement, ours.KeyAgreement)
			return &copied, copied.Index()
		}
		return &copied, nil
	})})
	if err != nil {
		m.t.Fatal(err)
	}
	list, err := packer.Pack(m.t.Context(), e, envelope.From(to.DID))
	if err != nil {
		m.t.Fatal(err)
	}
	return transport.Packet{MediaType: list[0].MediaType, Data: list[0].Data}
}

func (m *mover) serve(w transport.Replier, p transport.Packet) {
	m.t.Helper()
	if err := serve(m.t.Context(), m.Agent, w, p); err != nil {
		m.t.Fatal(err)
	}
}

// A message that an attacker encrypts in the name of its victim, and for which the attacker says
// that it rotates to the victim, speaks for the attacker alone.
func TestRotationToVictim(t *testing.T) {
	m := newMover(t, nil)
	victim, attacker, w := m.old, m.new, newSession()
	sent := newMessage(t, victim.DID)
	if err := m.Send(t.Context(), sent, agent.AwaitDelivery()); err != nil { // the victim becomes a contact
		t.Fatal(err)
	}
	victim.next(t)
	asked, done := request(t, m.Agent, victim, newMessage(t, victim.DID))
	for _, edit := range []func(*message.Message){
		func(e *message.Message) { e.ThreadID = asked.ID },
		func(e *message.Message) { e.ParentThreadID, e.Ack = asked.ID, []string{sent.ID, asked.ID} },
		func(e *message.Message) {
			e.Type, e.ThreadID, e.Body = reportType, asked.ID, []byte(`{"code":"e.m.odd"}`)
		},
	} {
		m.serve(w, m.linked(attacker, victim, func(e *message.Message) { e.ReturnRoute = "all"; edit(e) }))
		if in := m.handled.next(t); in.From != attacker.DID || in.Message.From != victim.DID || !in.Addressed {
			t.Errorf("from %s", in.From)
		}
	}
	select {
	case r := <-done:
		t.Fatalf("the attacker answers: %+v", r)
	default:
	}
	wantError(t, "Push to the victim", m.Push(t.Context(), newMessage(t, victim.DID)), agent.ErrNoRoute)
	if err := m.Push(t.Context(), newMessage(t, attacker.DID)); err != nil {
		t.Errorf("the connection is not that of the attacker: %v", err)
	}
	attacker.open(t, w.next(t))
	for _, s := range []*stranger{victim, attacker} {
		now, err := m.Contacts().Current(t.Context(), m.DID(), s.DID)
		known, knownErr := m.Contacts().IsContact(t.Context(), m.DID(), s.DID)
		if now != s.DID || known != (s == victim) || err != nil || knownErr != nil {
			t.Errorf("current DID %s, contact %t, %v, %v", now, known, err, knownErr)
		}
	}
	// A message of the victim with the same id is not a duplicate.
	e := victim.message(t, m.Agent, chatType, nil)
	m.serve(new(call), m.linked(attacker, victim, func(c *message.Message) { c.ID = e.ID }))
	m.handled.next(t)
	victim.give(t, m.Agent, new(call), e)
	m.takes(victim)
	m.says(victim, new(call), func(e *message.Message) { e.ThreadID = asked.ID })
	if r := <-done; r.err != nil || r.in.From != victim.DID {
		t.Errorf("answer %+v, %v", r.in, r.err)
	}
	m.sends(victim, victim)
}

// A reply goes to the DID that the attacker names, but it counts for the attacker: it has the
// class and the limits of the attacker, acks nothing, and does not tell where the victim is now.
func TestReplyToVictim(t *testing.T) {
	const burst = 3
	box := &enqueued{Outbox: store.NewOutbox(store.OutboxConfig{})}
	m := newMover(t, func(cfg *agent.Config) {
		cfg.Store, cfg.ReportBurst, cfg.ReportsPerHour, cfg.MaxThreadProblems = storeOf(box, nil), burst, 1, 100
		cfg.Handler = agent.HandlerFunc(func(ctx context.Context, w agent.Responder, in *agent.Inbound) error {
			switch {
			case in.Message.Type == "https://example.org/chat/1.0/echo":
				return w.Commit(ctx, agent.Changes{Send: []*message.Message{newMessage(t, in.Message.From)}})
			case in.Message.ParentThreadID != "":
				return message.NewProblem("e.m.odd", nil)
			}
			return replier(ctx, w, in)
		})
	})
	victim, attacker, moved := m.old, m.new, newStranger(t, m.n, "mem://moved")
	if err := m.Contacts().Keep(t.Context(), m.DID(), victim.DID); err != nil {
		t.Fatal(err)
	}
	replied := func(want int, edit func(*message.Message)) {
		t.Helper()
		m.serve(new(call), m.linked(attacker, victim, edit))
		items := box.take()
		if len(items) != want {
			t.Fatalf("%d replies, want %d", len(items), want)
		}
		for _, item := range items {
			if item.To != victim.DID || item.Class != store.ClassStranger {
				t.Errorf("a reply of %s to %s", item.Class, item.To)
			}
			if got := victim.next(t).Message; !slices.Equal(got.To, []string{victim.DID}) || len(got.Ack) != 0 {
				t.Errorf("reply to %q, acks %q", got.To, got.Ack)
			}
		}
	}
	replied(1, func(e *message.Message) { e.PleaseAck = []string{""} })
	replied(1, func(e *message.Message) { e.Type = "https://example.org/chat/1.0/echo" }) // as another message of the handler
	for n := range burst + 2 {
		want := 1
		if n >= burst {
			want = 0
		}
		replied(want, func(e *message.Message) { e.ParentThreadID = "x" })
	}
	m.says(victim, new(call), func(e *message.Message) { e.ParentThreadID = "y" })
	if got := victim.next(t).Message; got.Type != reportType {
		t.Errorf("the victim got %s, the limit is used up by the attacker", got.Type)
	}
	m.says(moved, new(call), func(e *message.Message) { e.FromPrior = m.prove(victim, moved.DID, m.told) })
	moved.next(t)
	box.take()
	c := new(call)
	m.serve(c, m.linked(attacker, victim, func(e *message.Message) { e.ReturnRoute = "all" }))
	if len(c.packets) != 1 {
		t.Fatalf("%d replies came back", len(c.packets))
	}
	if got := victim.open(t, c.packets[0]).Message.To; !slices.Equal(got, []string{victim.DID}) {
		t.Errorf("the reply tells the attacker about %q", got)
	}
	attacker.none(t)
	moved.none(t)
}

// A third party that has ended the relationship gets no reply. The attacker does not learn of the
// end: a reply on its connection is packed as ever.
func TestReplyToEndedVictim(t *testing.T) {
	box := &enqueued{Outbox: store.NewOutbox(store.OutboxConfig{})}
	var failed error
	m := newMover(t, func(cfg *agent.Config) {
		cfg.Store = storeOf(box, nil)
		cfg.Handler = agent.HandlerFunc(func(ctx context.Context, w agent.Responder, in *agent.Inbound) error {
			if in.Authenticated() {
				failed = replier(ctx, w, in)
			}
			return nil
		})
	})
	victim, attacker := m.old, m.new
	if err := m.Contacts().Keep(t.Context(), m.DID(), victim.DID); err != nil {
		t.Fatal(err)
	}
	end := victim.message(t, m.Agent, chatType, func(e *message.Message) { e.From, e.FromPrior = "", m.prove(victim, "", time.Now()) })
	victim.give(t, m.Agent, new(call), end, anonymously)
	c := new(call)
	m.serve(c, m.linked(attacker, victim, nil))
	if items := box.take(); len(items) != 0 || !errors.Is(failed, contact.ErrEnded) {
		t.Errorf("%d replies, %v", len(items), failed)
	}
	m.serve(c, m.linked(attacker, victim, func(e *message.Message) { e.ReturnRoute = "all" }))
	if len(c.packets) != 1 || failed != nil {
		t.Errorf("%d replies came back, %v", len(c.packets), failed)
	}
	victim.none(t)
}

// The answer to a message to the DID of an invitation comes from a new DID, by the old key.
// The next message comes by the new key, and moves the contact.
func TestAnswerByPriorKey(t *testing.T) {
	m := newMover(t, nil)
	asked, done := request(t, m.Agent, m.old, newMessage(t, m.old.DID))
	m.serve(new(call), m.linked(m.old, m.new, func(e *message.Message) { e.ThreadID = asked.ID }))
	r := <-done
	if r.err != nil || r.in.From != m.old.DID || r.in.Message.From != m.new.DID {
		t.Fatalf("answer %+v, %v", r.in, r.err)
	}
	if m.log.count(slog.LevelWarn) != 0 {
		t.Error("warned of the answer")
	}
	m.sends(m.old, m.old)
	m.says(m.new, new(call), func(e *message.Message) { e.FromPrior = m.prove(m.old, m.new.DID, m.told) })
	m.takes(m.new)
	m.sends(m.old, m.new)
	m.restart()
	m.sends(m.old, m.new)
	m.old.none(t)
}

// After an answer to the new DID, some agents write no from_prior any more. A message by the new
// key moves the contact nevertheless, but never to a DID that was known before.
func TestAnnouncedRotation(t *testing.T) {
	m := newMover(t, nil)
	m.sends(m.old, m.old)
	m.serve(new(call), m.linked(m.old, m.new, nil))
	m.takes(m.old)
	m.sends(m.old, m.old)
	m.says(m.new, new(call), func(e *message.Message) { e.Type, e.Ack = emptyType, []string{"x"} }) // third parties ack, too
	m.says(m.new, new(call), func(e *message.Message) { e.Type, e.Body = reportType, []byte(`{"code":"e.m.odd"}`) })
	m.takes(m.new)
	m.sends(m.old, m.old)
	m.restart()
	m.says(m.new, new(call), nil)
	m.takes(m.new)
	m.sends(m.old, m.new)
	m.restart()
	m.sends(m.old, m.new)
	m.old.none(t)

	m = newMover(t, nil)
	victim, attacker := m.old, m.new
	m.sends(victim, victim)
	m.sends(attacker, attacker)
	m.serve(new(call), m.linked(attacker, victim, nil))
	m.takes(attacker)
	m.says(victim, new(call), nil)
	m.takes(victim)
	m.sends(attacker, attacker)
	m.sends(victim, victim)
}

// A reply that was kept is sent again to the DID that it is for, and not to the prior one.
func TestLinkedDuplicate(t *testing.T) {
	m := newMover(t, func(cfg *agent.Config) { cfg.Handler, cfg.MailWindow = replier, 24*time.Hour })
	c, p := new(call), m.linked(m.old, m.new, func(e *message.Message) { e.ReturnRoute = "all" })
	m.serve(c, p)
	if len(c.packets) != 1 {
		t.Fatalf("%d replies", len(c.packets))
	}
	if _, err := m.ServeMail(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	if got := m.new.next(t).Message; !slices.Equal(got.To, []string{m.new.DID}) {
		t.Errorf("reply to %q", got.To)
	}
	m.old.none(t)
}

// A sender that names the short form of a third party's did:peer:4 as its new DID does not learn
// whether another DID of ours knows the long form.
func TestLinkedShortForm(t *testing.T) {
	m := newMover(t, nil)
	third, short := signing4(t, m.n, "mem://third")
	named := &stranger{Party: &agenttest.Party{DID: short}}
	if err := serve(t.Context(), m.Agent, new(call), m.linked(m.old, named, nil)); err == nil {
		t.Error("opened a message whose new DID has an unknown long form")
	}
	third.give(t, m.Agent, new(call), third.message(t, m.Agent, chatType, nil))
	m.takes(third)
	m.serve(new(call), m.linked(m.old, named, nil))
	if in := m.handled.next(t); in.From != m.old.DID {
		t.Errorf("from %s", in.From)
	}
}

// A contact that names our own DID as its new one is refused. Replies would come back to us, and
// a handler that answers every message would answer itself.
func TestLinkedToUs(t *testing.T) {
	m := newMover(t, nil)
	m.sends(m.old, m.old)
	us := &stranger{Party: &agenttest.Party{DID: m.DID()}}
	var refused *transport.RejectError
	err := serve(t.Context(), m.Agent, new(call), m.linked(m.old, us, func(e *message.Message) { e.PleaseAck = []string{""} }))
	if !errors.As(err, &refused) || !errors.Is(err, envelope.ErrFromPrior) {
		t.Errorf("error %v", err)
	}
	if n := len(m.handled); n != 0 {
		t.Errorf("%d messages were handled", n)
	}
	m.sends(m.old, m.old)
}
