package agent_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/agenttest"
	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/transport"
)

// connections is a Handler that gives the test the connection of each message.
type connections chan *agent.Connection

func (c connections) HandleMessage(_ context.Context, w agent.Responder, _ *agent.Inbound) error {
	c <- w.Connection()
	return nil
}

// A Responder has a Connection only for messages that prove that the connection belongs
// to their sender.
func TestConnection(t *testing.T) {
	signed := func(s *stranger) []envelope.PackOption {
		return []envelope.PackOption{envelope.SignBy(s.DID), envelope.Signed()}
	}
	for name, test := range map[string]struct {
		by   transport.Replier
		edit func(*message.Message)
		opts func(*stranger) []envelope.PackOption
		want bool
	}{
		"session":       {by: newSession(), want: true},
		"signed for us": {by: newSession(), opts: signed, want: true},
		"POST":          {by: new(call)},
		"answer":        {by: transport.NoReply{}},
		"anonymous": {by: newSession(), opts: func(*stranger) []envelope.PackOption {
			return []envelope.PackOption{envelope.ContentEncryption(envelope.A256GCM)}
		}},
		"signed, to none": {by: newSession(), edit: func(m *message.Message) { m.To = nil }, opts: signed},
		"created_time 0":  {by: newSession(), edit: func(m *message.Message) { m.CreatedTime = time.Unix(0, 0) }, want: true},
		"old":             {by: newSession(), edit: func(m *message.Message) { m.CreatedTime = time.Now().Add(-100 * time.Hour) }},
	} {
		t.Run(name, func(t *testing.T) {
			n, got := agenttest.NewNet(), make(connections, 1)
			h := agent.Handler(got)
			if name == "old" { // an old message is only accepted in custody
				h = agent.NewMux(agent.Handle(agent.Protocol{
					PIURI: "https://example.org/chat/1.0", Custody: map[string]agent.Handler{chatType: got},
				}))
			}
			a, s := n.Agent(t, h), newStranger(t, n)
			m := s.message(t, a, chatType, test.edit)
			var opts []envelope.PackOption
			if test.opts != nil {
				opts = test.opts(s)
			}
			s.give(t, a, test.by, m, opts...)
			if c := <-got; (c != nil) != test.want {
				t.Errorf("connection %v, want one: %t", c, test.want)
			}
		})
	}
}

// A pushed message is written to the connection, or Push fails. Nothing is queued.
func TestPush(t *testing.T) {
	other := agenttest.NewParty(t).DID
	for name, test := range map[string]struct {
		route string // return_route of the received message
		edit  func(m, came *message.Message)
		opts  []agent.SendOption
		ended bool
		want  error
	}{
		"pushed":            {route: "all"},
		"nothing said":      {},
		"not wanted":        {route: "none", want: agent.ErrNoRoute},
		"another thread":    {route: "thread", want: agent.ErrNoRoute},
		"the thread":        {route: "thread", edit: func(m, came *message.Message) { m.ThreadID = came.ID }},
		"ended":             {route: "all", ended: true, want: agent.ErrNoRoute},
		"from another":      {route: "all", opts: []agent.SendOption{agent.From(other)}, want: agent.ErrNoRoute},
		"from header":       {route: "all", edit: func(m, _ *message.Message) { m.From = other }, want: agent.ErrNoRoute},
		"signed by another": {route: "all", opts: []agent.SendOption{agent.SignBy(other)}, want: agent.ErrNoRoute},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n, got, box := agenttest.NewNet(), make(connections, 1), store.NewOutbox(store.OutboxConfig{})
				a := n.Agent(t, got, agenttest.Configure(func(cfg *agent.Config) { cfg.Store = storeOf(box, nil) }))
				s, w := newStranger(t, n, "mem://stranger"), newSession()
				came := s.message(t, a, chatType, func(m *message.Message) { m.ReturnRoute = test.route })
				s.give(t, a, w, came)
				c := <-got
				if test.ended {
					close(w.done)
				}
				select {
				case <-c.Done():
					if !test.ended {
						t.Error("done")
					}
				default:
					if test.ended {
						t.Error("not done")
					}
				}
				m := newMessage(t)
				if test.edit != nil {
					test.edit(m, came)
				}
				wantError(t, "Push", c.Push(t.Context(), m, test.opts...), test.want)
				time.Sleep(time.Hour)
				s.none(t)
				items, err := box.(store.OutboxAdmin).List(t.Context(), 0, 10)
				if err != nil || len(items) != 0 {
					t.Errorf("outbox %v, %v", items, err)
				}
				if test.want != nil {
					if len(w.packets) != 0 {
						t.Error("a packet was written")
					}
					return
				}
				u := s.open(t, w.next(t))
				if u.Message.ID != m.ID || u.Message.From != a.DID() || u.Message.CreatedTime.IsZero() || len(u.Message.PleaseAck) != 0 || !u.Metadata.Authenticated {
					t.Errorf("pushed %+v", u.Message)
				}
			})
		})
	}
}

// Push to a connection that accepts no data ends with an error after SendTimeout.
func TestPushHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, got := agenttest.NewNet(), make(connections, 1)
		a, s := n.Agent(t, got), newStranger(t, n)
		s.give(t, a, stuck{newSession()}, s.message(t, a, chatType, nil))
		c, start := <-got, time.Now()
		err := c.Push(t.Context(), newMessage(t))
		wantError(t, "Push", err, agent.ErrNoRoute)
		wantError(t, "Push", err, context.DeadlineExceeded)
		if took := time.Since(start); took != 30*time.Second {
			t.Errorf("failed after %v", took)
		}
	})
}

// stuck is a connection whose peer does not read.
type stuck struct{ *session }

func (stuck) Reply(ctx context.Context, _ transport.Packet) error {
	<-ctx.Done()
	return ctx.Err()
}

// A party without an endpoint gets pushed messages by its WebSocket after the handler has
// returned.
func TestPushByWebSocket(t *testing.T) {
	got, conns := make(inbox, 1), make(connections, 1)
	alice, bob := agenttest.Pair(t, agent.NewMux(chat(got, false)), conns, agenttest.WebSocket(), agenttest.Hidden())
	if err := alice.Send(t.Context(), newMessage(t, bob.DID()), agent.ReturnRoute("all")); err != nil {
		t.Fatal(err)
	}
	c := <-conns
	for range 3 {
		m := newMessage(t)
		if err := c.Push(t.Context(), m); err != nil {
			t.Fatal(err)
		}
		if in := got.next(t); in.Message.ID != m.ID || in.From != bob.DID() {
			t.Errorf("got %+v", in.Message)
		}
	}
}
