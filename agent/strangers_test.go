package agent_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/agenttest"
	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/agent/store"
)

// befriend makes a stranger a contact of the agent.
func befriend(t *testing.T, a *agent.Agent, s *stranger) {
	t.Helper()
	if err := a.Contacts().Keep(t.Context(), a.DID(), s.DID); err != nil {
		t.Fatal(err)
	}
}

// The class of a message in the inbox is that of its proven sender.
func TestClasses(t *testing.T) {
	for name, test := range map[string]struct {
		contact bool
		edit    func(*message.Message)
		opts    func(*stranger) []envelope.PackOption
		want    store.Class
		nobody  bool // the message has no peer
	}{
		"contact":            {contact: true, want: store.ClassKnown},
		"contact, signed":    {contact: true, opts: signedOnly, want: store.ClassKnown},
		"stranger":           {want: store.ClassStranger},
		"anonymous":          {contact: true, opts: func(*stranger) []envelope.PackOption { return []envelope.PackOption{anonymously} }, want: store.ClassStranger, nobody: true},
		"contact, passed on": {contact: true, edit: func(m *message.Message) { m.To = nil }, opts: signedOnly, want: store.ClassStranger, nobody: true},
	} {
		t.Run(name, func(t *testing.T) {
			n, got := agenttest.NewNet(), make(inbox, 1)
			a, s := n.Agent(t, got), newStranger(t, n)
			if test.contact {
				befriend(t, a, s)
			}
			var opts []envelope.PackOption
			if test.opts != nil {
				opts = test.opts(s)
			}
			s.give(t, a, new(call), s.message(t, a, chatType, test.edit), opts...)
			list, err := a.Store().Inbox().(store.InboxAdmin).List(t.Context(), 0, 10)
			if err != nil || len(list) != 1 {
				t.Fatalf("%d entries, %v", len(list), err)
			}
			peer := s.DID
			if test.nobody {
				peer = ""
			}
			if m := list[0].Item; m.Class != test.want || m.Peer != peer {
				t.Errorf("class %q, peer %q, want %q, %q", m.Class, m.Peer, test.want, peer)
			}
		})
	}
}

// slow is a Handler that keeps its slot for the messages of all parties but one.
type slow struct {
	fast    string // the DID of that party
	running atomic.Int32
	handled atomic.Int32 // messages of that party
	release chan struct{}
}

func (h *slow) HandleMessage(_ context.Context, _ agent.Responder, in *agent.Inbound) error {
	if in.From == h.fast {
		h.handled.Add(1)
		return nil
	}
	h.running.Add(1)
	<-h.release
	return nil
}

// Strangers cannot take all slots for Handlers, whether their messages arrive, or are left
// in the inbox, or are taken into custody.
func TestSlotsOfStrangers(t *testing.T) {
	const handlers, flood = 4, 10
	for name, test := range map[string]struct {
		left    bool
		handler func(h agent.Handler) agent.Handler
	}{
		"arriving": {},
		"left":     {left: true},
		"ordered":  {handler: func(h agent.Handler) agent.Handler { return agent.NewMux(chat(h, true)) }},
		"custody": {handler: func(h agent.Handler) agent.Handler {
			return agent.NewMux(agent.Handle(agent.Protocol{PIURI: "https://example.org/chat/1.0", Custody: map[string]agent.Handler{chatType: h}}))
		}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n, p, b := agenttest.NewNet(), agenttest.NewParty(t), store.NewInbox(store.InboxConfig{})
				friend := newStranger(t, n)
				h := &slow{fast: friend.DID, release: make(chan struct{})}
				handler := agent.Handler(h)
				if test.handler != nil {
					handler = test.handler(h)
				}
				to := newMessage(t, p.DID)
				said := func(s *stranger) *message.Message {
					m := *to
					m.ID, m.From = message.NewID(), s.DID
					return &m
				}
				strangers := make([]*stranger, flood)
				for i := range strangers {
					strangers[i] = newStranger(t, n)
					if test.left {
						leaveOf(t, b, store.ClassStranger, strangers[i], p.DID, said(strangers[i]))
					}
				}
				if test.left {
					leave(t, b, friend, p.DID, said(friend))
					time.Sleep(2 * time.Minute) // virtual time, until the leases have ended
				}
				a := n.Agent(t, handler, agenttest.Configure(func(cfg *agent.Config) {
					cfg.DID, cfg.Packer, cfg.Store, cfg.MaxHandlers = p.DID, p.Packer, storeOf(nil, b), handlers
				}))
				befriend(t, a, friend)
				if test.left {
					time.Sleep(time.Second)
				} else {
					for _, s := range append(strangers, friend) {
						packet := s.pack(t, said(s))
						go func() { _, _ = a.ServePacket(t.Context(), new(call), packet) }()
						synctest.Wait()
					}
				}
				synctest.Wait()
				if running, handled := h.running.Load(), h.handled.Load(); running != handlers*3/4 || handled != 1 {
					t.Errorf("%d messages of strangers and %d of a contact were handled", running, handled)
				}
				close(h.release)
				time.Sleep(time.Minute)
				synctest.Wait()
				if n := h.running.Load(); n != flood {
					t.Errorf("%d messages of strangers were handled at last", n)
				}
			})
		})
	}
}

// A flood of strangers does not make the agent forget how many reports a contact has had.
func TestCountsOfStrangers(t *testing.T) {
	n := agenttest.NewNet()
	a := n.Agent(t, fails(message.NewProblem("e.m.msg", nil)), agenttest.Configure(func(cfg *agent.Config) {
		cfg.ReportBurst, cfg.ReportsPerHour, cfg.MaxCounted = 1, 1, 2
	}))
	friend := newStranger(t, n, "mem://friend")
	befriend(t, a, friend)
	say := func(s *stranger) {
		s.give(t, a, new(call), s.message(t, a, chatType, func(m *message.Message) { m.ReturnRoute = "none" }))
	}
	say(friend)
	friend.next(t)
	for _, endpoint := range []string{"mem://a", "mem://b", "mem://c", "mem://d"} {
		s := newStranger(t, n, endpoint)
		say(s)
		s.next(t)
	}
	say(friend)
	if err := a.Send(t.Context(), newMessage(t, friend.DID), agent.AwaitDelivery()); err != nil {
		t.Fatal(err)
	}
	if u := friend.next(t); u.Message.Type != chatType {
		t.Errorf("got %s", u.Message.Type)
	}
	friend.none(t)
}

// A flood of messages of strangers does not make the inbox forget a message of a contact,
// which could then be handled again.
func TestReplayAfterFlood(t *testing.T) {
	const remembered = 16
	n, got := agenttest.NewNet(), make(inbox, 1000)
	a := n.Agent(t, got, agenttest.Configure(func(cfg *agent.Config) {
		cfg.Store = storeOf(nil, store.NewInbox(store.InboxConfig{MaxRemembered: remembered}))
	}))
	friend := newStranger(t, n)
	befriend(t, a, friend)
	p := friend.pack(t, friend.message(t, a, chatType, nil))
	mustServe(t, a, p, false)
	for i := range 3 * remembered {
		s := newStranger(t, n)
		opts := [][]envelope.PackOption{nil, {anonymously}, signedOnly(s)}[i%3]
		s.give(t, a, new(call), s.message(t, a, chatType, nil), opts...)
	}
	mustServe(t, a, p, false)
	if len(got) != 1+3*remembered {
		t.Errorf("%d messages handled, want %d", len(got), 1+3*remembered)
	}
}
