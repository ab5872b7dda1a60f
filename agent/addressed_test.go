package agent_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/agenttest"
	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/keyring"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/transport"
)

// signedOnly packs a message with a signature, so that its recipient can pass it on.
func signedOnly(s *stranger) []envelope.PackOption {
	return []envelope.PackOption{envelope.SignBy(s.DID), envelope.Signed()}
}

// A signed message that was sent to another party, which has passed it on, is neither
// handled nor answered. It is set aside as a message of nobody.
func TestPassedOn(t *testing.T) {
	carol := func(m *message.Message) { m.To = []string{"did:example:carol"} }
	nobody := func(m *message.Message) { m.To = nil }
	for name, test := range map[string]struct {
		edit    func(*message.Message)
		typ     string
		public  bool
		handled bool
	}{
		"to us":                {handled: true},
		"to another":           {edit: carol},
		"to nobody":            {edit: nobody},
		"to another, public":   {edit: carol, public: true, handled: true},
		"to another, empty":    {edit: carol, typ: emptyType},
		"to another, report":   {edit: carol, typ: reportType},
		"to another, unknown":  {edit: carol, typ: "https://example.org/other/1.0/message"},
		"to another, custody":  {edit: carol, typ: "https://example.org/keep/1.0/message"},
		"to another, fallback": {edit: carol, typ: "https://example.org/fallback/1.0/message"},
	} {
		for way, w := range map[string]transport.Replier{"POST": new(call), "session": newSession()} {
			t.Run(name+" by "+way, func(t *testing.T) {
				n, calls := agenttest.NewNet(), make(chan bool, 10)
				h := agent.HandlerFunc(func(_ context.Context, _ agent.Responder, in *agent.Inbound) error {
					calls <- in.Addressed
					return message.NewProblem("e.m.msg", nil)
				})
				opts := []agent.MuxOption{
					agent.Handle(agent.Protocol{
						PIURI: "https://example.org/chat/1.0", Messages: map[string]agent.Handler{chatType: h}, Ordered: true, Public: test.public,
					}),
					agent.Handle(agent.Protocol{
						PIURI: "https://example.org/keep/1.0", Custody: map[string]agent.Handler{"https://example.org/keep/1.0/message": h},
					}),
				}
				if strings.Contains(test.typ, "fallback") {
					opts = append(opts, agent.Fallback(h))
				}
				problems := make(chan bool, 10)
				a := n.Agent(t, agent.NewMux(opts...), agenttest.Configure(func(cfg *agent.Config) {
					cfg.Trace = &agent.Trace{Problem: func(context.Context, agent.Event, *message.Problem) { problems <- true }}
				}))
				s := newStranger(t, n, "mem://stranger")
				typ := test.typ
				if typ == "" {
					typ = chatType
				}
				m := s.message(t, a, typ, test.edit)
				m.PleaseAck, m.ReturnRoute = []string{""}, "all"
				handled, err := a.ServePacket(t.Context(), w, s.pack(t, m, signedOnly(s)...))
				if err != nil {
					t.Fatal(err)
				}
				if handled == nil {
					t.Fatal("not accepted")
				}
				<-handled
				if len(calls) == 1 != test.handled || len(problems) > 0 {
					t.Fatalf("handled %d times, %d problems", len(calls), len(problems))
				}
				addressed := test.edit == nil
				if test.handled && <-calls != addressed {
					t.Errorf("addressed is not %t", addressed)
				}
				list, err := a.Store().Inbox().(store.InboxAdmin).List(t.Context(), 0, 10)
				if err != nil || len(list) != 1 {
					t.Fatalf("%d entries in the inbox, %v", len(list), err)
				}
				e, peer, state, reason := list[0], "", store.Buried, agent.ErrNotAddressed.Error()
				if addressed {
					peer = s.DID
				}
				if test.handled {
					state, reason = store.Done, ""
				}
				if e.Item.Peer != peer || e.State != state || e.LastError != reason || e.Item.ID != m.ID {
					t.Errorf("in the inbox: peer %q, state %v, error %q, id %q", e.Item.Peer, e.State, e.LastError, e.Item.ID)
				}
				// An answer would have left before this message.
				if err := a.Send(t.Context(), newMessage(t, s.DID), agent.AwaitDelivery()); err != nil {
					t.Fatal(err)
				}
				answers := 0
				switch w := w.(type) {
				case *call:
					answers = len(w.packets)
				case *session:
					answers = len(w.packets)
				}
				if answers > 0 != addressed {
					t.Errorf("%d packets by the connection of the message", answers)
				}
				if !addressed {
					if u := s.next(t); u.Message.Type != chatType {
						t.Errorf("answered by %s", u.Message.Type)
					}
					s.none(t)
				}
			})
		}
	}
}

// Messages that another party has passed on take nothing from what their signer may send:
// neither an id, nor the limit of a thread.
func TestPassedOnTakesNothing(t *testing.T) {
	n, got := agenttest.NewNet(), make(inbox, 10)
	a, s := n.Agent(t, agent.NewMux(chat(got, true)), agenttest.Configure(func(cfg *agent.Config) { cfg.MaxThreadProblems = 1 })), newStranger(t, n)
	carol := func(m *message.Message) { m.To = []string{"did:example:carol"} }
	s.give(t, a, new(call), s.message(t, a, chatType, func(m *message.Message) { m.ID = "x"; carol(m) }), signedOnly(s)...)
	for i := range 5 {
		s.give(t, a, new(call), s.message(t, a, reportType, func(m *message.Message) {
			m.ID, m.ThreadID = fmt.Sprint(i), "thread"
			carol(m)
		}), signedOnly(s)...)
	}
	s.give(t, a, new(call), s.message(t, a, chatType, func(m *message.Message) { m.ID, m.ThreadID = "x", "thread" }))
	if in := got.next(t); in.Message.ID != "x" || !in.Addressed {
		t.Errorf("handled %s, addressed %t", in.Message.ID, in.Addressed)
	}
}

// addKeys adds the keys of a new DID, and returns the DID.
func addKeys(t *testing.T, ring *keyring.Keyring) string {
	t.Helper()
	p := agenttest.NewParty(t)
	for _, kid := range p.Keys.KIDs() {
		key, err := p.Keys.Key(kid)
		if err == nil {
			err = ring.Add(kid, key)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return p.DID
}

// unsure are keys that cannot say now which DIDs are ours, while err is set.
type unsure struct {
	*keyring.Keyring
	err error
}

func (u *unsure) Own(ctx context.Context, id string) (string, error) {
	if u.err != nil {
		return "", u.err
	}
	return u.Keyring.Own(ctx, id)
}

// A signed message to many is sent to the DID of ours among them. While the keys cannot say
// which DID is ours, the message is not accepted.
func TestSentToMany(t *testing.T) {
	n, got, ours := agenttest.NewNet(), make(inbox, 1), agenttest.NewParty(t)
	keys := &unsure{Keyring: ours.Keys}
	a, s := n.Agent(t, got, agenttest.Configure(func(cfg *agent.Config) {
		cfg.Packer, cfg.Keys, cfg.Resolver = nil, keys, ours.Resolver
		cfg.DID = addKeys(t, ours.Keys)
	})), newStranger(t, n)
	m := s.message(t, a, chatType, func(m *message.Message) {
		m.To = nil
		for i := range 50 {
			m.To = append(m.To, fmt.Sprintf("did:example:%d", i))
		}
		m.To = append(m.To, ours.DID)
	})
	p := s.pack(t, m, signedOnly(s)...)
	keys.err = errors.New("down")
	if err := serve(t.Context(), a, new(call), p); !errors.As(err, new(*transport.BusyError)) {
		t.Errorf("error %v, want busy", err)
	}
	if err := serve(t.Context(), a, newSession(), p); !errors.Is(err, keys.err) {
		t.Errorf("error %v on a session, want %v", err, keys.err)
	}
	keys.err = nil
	if err := serve(t.Context(), a, new(call), p); err != nil {
		t.Fatal(err)
	}
	if in := got.next(t); in.To != ours.DID || !in.Addressed {
		t.Errorf("came to %s, addressed %t", in.To, in.Addressed)
	}
}
