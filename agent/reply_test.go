package agent_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/agenttest"
	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/transport"
)

// A reply leaves by the connection if the message asks for that or there is no other way.
// Otherwise it leaves for the sender's endpoint.
func TestReplyRoute(t *testing.T) {
	const endpoint = "mem://stranger"
	for name, test := range map[string]struct {
		endpoints []string
		edit      func(*message.Message)
		inBand    bool
		lost      bool // no way is left
	}{
		"all":                   {endpoints: []string{endpoint}, edit: func(m *message.Message) { m.ReturnRoute = "all" }, inBand: true},
		"thread":                {endpoints: []string{endpoint}, edit: func(m *message.Message) { m.ReturnRoute = "thread" }, inBand: true},
		"another thread":        {endpoints: []string{endpoint}, edit: func(m *message.Message) { m.ReturnRoute, m.ReturnRouteThread = "thread", "x" }},
		"none":                  {endpoints: []string{endpoint}, edit: func(m *message.Message) { m.ReturnRoute = "none" }},
		"unsaid":                {endpoints: []string{endpoint}},
		"unsaid, no endpoint":   {inBand: true},
		"unsaid, queue":         {endpoints: []string{"didcomm:transport/queue"}, inBand: true},
		"unsaid, other schemes": {endpoints: []string{"gopher://stranger"}, inBand: true},
		"none, no endpoint":     {edit: func(m *message.Message) { m.ReturnRoute = "none" }, lost: true},
	} {
		t.Run(name, func(t *testing.T) {
			n := agenttest.NewNet()
			var replyError error
			a := n.Agent(t, agent.HandlerFunc(func(ctx context.Context, w agent.Responder, in *agent.Inbound) error {
				replyError = replier(ctx, w, in)
				return nil
			}))
			var s *stranger
			if len(test.endpoints) > 0 && test.endpoints[0] == endpoint {
				s = newStranger(t, n, endpoint)
			} else {
				s = &stranger{Party: agenttest.NewParty(t, test.endpoints...)}
			}
			m := s.message(t, a, chatType, test.edit)
			c := new(call)
			s.give(t, a, c, m)
			if test.lost {
				wantError(t, "Reply", replyError, agent.ErrNoRoute)
				return
			}
			if replyError != nil {
				t.Fatal(replyError)
			}
			var got *envelope.Unpacked
			switch {
			case test.inBand && len(c.packets) == 1:
				got = s.open(t, c.packets[0])
			case !test.inBand && len(c.packets) == 0:
				got = s.next(t)
			default:
				t.Fatalf("%d packets in band", len(c.packets))
			}
			if r := got.Message; r.ThreadID != m.ID || r.From != a.DID() || len(r.To) != 1 || r.To[0] != s.DID || r.CreatedTime.IsZero() || r.ID == m.ID {
				t.Errorf("reply %+v", r)
			}
			if !got.Metadata.Encrypted || got.Metadata.EncryptedFromKID == "" {
				t.Errorf("reply is not authcrypted: %+v", got.Metadata)
			}
		})
	}
}

// A second reply leaves for the endpoint, since the HTTP response has the first.
func TestSecondReply(t *testing.T) {
	n := agenttest.NewNet()
	a := n.Agent(t, agent.HandlerFunc(func(ctx context.Context, w agent.Responder, in *agent.Inbound) error {
		if err := replier(ctx, w, in); err != nil {
			return err
		}
		return replier(ctx, w, in)
	}))
	s := newStranger(t, n, "mem://stranger")
	m, c := s.message(t, a, chatType, func(m *message.Message) { m.ReturnRoute = "all" }), new(call)
	s.give(t, a, c, m)
	if len(c.packets) != 1 {
		t.Fatalf("%d packets in band", len(c.packets))
	}
	if u := s.next(t); u.Message.ThreadID != m.ID {
		t.Errorf("second reply in thread %q", u.Message.ThreadID)
	}
}

// A reply is encrypted like the message that it answers.
func TestReplyProtection(t *testing.T) {
	for name, test := range map[string]struct {
		pack func(s *stranger) []envelope.PackOption
		anon bool // in anoncrypt
	}{
		"authcrypt": {pack: func(s *stranger) []envelope.PackOption { return []envelope.PackOption{envelope.From(s.DID)} }},
		"protected sender": {pack: func(s *stranger) []envelope.PackOption {
			return []envelope.PackOption{envelope.From(s.DID), envelope.ProtectSender()}
		}, anon: true},
		"signed alone": {pack: func(s *stranger) []envelope.PackOption {
			return []envelope.PackOption{envelope.SignBy(s.DID), envelope.Signed()}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			n := agenttest.NewNet()
			a, s, c := n.Agent(t, replier), newStranger(t, n), new(call)
			s.give(t, a, c, s.message(t, a, chatType, func(m *message.Message) { m.ReturnRoute = "all" }), test.pack(s)...)
			if len(c.packets) != 1 {
				t.Fatalf("%d replies", len(c.packets))
			}
			md := s.open(t, c.packets[0]).Metadata
			if md.EncryptedFromKID == "" || md.AnonymousSender != test.anon {
				t.Errorf("metadata %+v", md)
			}
		})
	}
}

// A signed message that was sent to somebody else may arrive by the connection of a party
// that has passed it on. Neither answers nor later messages leave by that connection.
func TestReplyToMessagePassedOn(t *testing.T) {
	for name, test := range map[string]struct {
		to    func(a *agent.Agent) []string
		bound bool
	}{
		"to us":      {to: func(a *agent.Agent) []string { return []string{a.DID()} }, bound: true},
		"to another": {to: func(*agent.Agent) []string { return []string{"did:example:thief"} }},
		"to nobody":  {to: func(*agent.Agent) []string { return nil }},
	} {
		t.Run(name, func(t *testing.T) {
			n := agenttest.NewNet()
			a, s := n.Agent(t, replier), newStranger(t, n, "mem://stranger")
			signed := func() *message.Message {
				return s.message(t, a, chatType, func(m *message.Message) { m.ReturnRoute, m.To = "all", test.to(a) })
			}
			opts := []envelope.PackOption{envelope.SignBy(s.DID), envelope.Signed()}
			c, w := new(call), newSession()
			s.give(t, a, c, signed(), opts...)
			s.give(t, a, w, signed(), opts...)
			if test.bound {
				w.next(t)
			} else {
				s.next(t)
				s.next(t)
			}
			send := func() {
				if err := a.Send(t.Context(), newMessage(t, s.DID), agent.AwaitDelivery()); err != nil {
					t.Fatal(err)
				}
			}
			send()
			s.next(t)
			if test.bound {
				s.prove(t, a, w)
				w.next(t) // the reply to the ack
			}
			send()
			if len(c.packets) == 1 != test.bound || len(w.packets) == 1 != test.bound {
				t.Errorf("%d replies by the call, %d messages by the session, bound is %v", len(c.packets), len(w.packets), test.bound)
			}
		})
	}
}

func TestReplyToAnonymous(t *testing.T) {
	n := agenttest.NewNet()
	var got error
	a := n.Agent(t, agent.HandlerFunc(func(ctx context.Context, w agent.Responder, in *agent.Inbound) error {
		got = replier(ctx, w, in)
		return nil
	}))
	s, c := newStranger(t, n, "mem://stranger"), new(call)
	s.give(t, a, c, s.message(t, a, chatType, func(m *message.Message) { m.ReturnRoute = "all" }), envelope.ContentEncryption(envelope.A256GCM))
	wantError(t, "Reply", got, agent.ErrUnauthenticated)
	if len(c.packets) != 0 {
		t.Error("a claim was answered")
	}
	s.none(t)
}

// A reply has the parent thread of its message.
func TestReplyThreads(t *testing.T) {
	n := agenttest.NewNet()
	a, s, c := n.Agent(t, replier), newStranger(t, n), new(call)
	s.give(t, a, c, s.message(t, a, chatType, func(m *message.Message) {
		m.ReturnRoute, m.ThreadID, m.ParentThreadID = "all", "child", "parent"
	}))
	m := s.open(t, c.packets[0]).Message
	if m.ThreadID != "child" || m.ParentThreadID != "parent" {
		t.Errorf("reply in thread %q of %q", m.ThreadID, m.ParentThreadID)
	}
}

// All answers to the first message of a thread name the thread by the thid of that message,
// although nothing was said in the thread before. They never name it by the id of the message.
func TestThreadOfFirstMessage(t *testing.T) {
	const thread = "the-thread"
	reply := func(do func(ctx context.Context, w agent.Responder, in *agent.Inbound, m *message.Message) error) agent.HandlerFunc {
		return func(ctx context.Context, w agent.Responder, in *agent.Inbound) error {
			m, err := in.Message.Reply(chatType, nil)
			if err != nil {
				return err
			}
			return do(ctx, w, in, m)
		}
	}
	for name, h := range map[string]agent.HandlerFunc{
		"Reply": replier,
		"Message.Reply": reply(func(ctx context.Context, w agent.Responder, _ *agent.Inbound, m *message.Message) error {
			return w.Reply(ctx, m)
		}),
		"Commit": reply(func(ctx context.Context, w agent.Responder, _ *agent.Inbound, m *message.Message) error {
			m.To, m.ThreadID = nil, ""
			return w.Commit(ctx, agent.Changes{Send: []*message.Message{m}})
		}),
		"Send": reply(func(ctx context.Context, w agent.Responder, _ *agent.Inbound, m *message.Message) error {
			return w.Agent().Send(ctx, m)
		}),
		"ack": func(context.Context, agent.Responder, *agent.Inbound) error { return nil },
		"report": func(context.Context, agent.Responder, *agent.Inbound) error {
			return message.NewProblem("e.m.odd", errors.New("odd"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			n := agenttest.NewNet()
			a, s := n.Agent(t, h), newStranger(t, n, "mem://stranger")
			first := s.message(t, a, chatType, func(m *message.Message) { m.ThreadID, m.PleaseAck = thread, []string{""} })
			s.give(t, a, new(call), first)
			m := s.next(t).Message
			if name == "Send" && len(m.Ack) > 0 { // the ack is apart
				m = s.next(t).Message
			}
			in := m.ThreadID
			if name == "report" {
				in = m.ParentThreadID
			}
			if in != thread || m.ThreadID == first.ID || m.ParentThreadID == first.ID {
				t.Errorf("%s in thread %q of %q", m.Type, m.ThreadID, m.ParentThreadID)
			}
		})
	}
	// A Request in that thread is answered in that thread.
	t.Run("Request", func(t *testing.T) {
		n, got := agenttest.NewNet(), make(inbox, 1)
		a, s := n.Agent(t, got), newStranger(t, n, "mem://stranger")
		s.give(t, a, new(call), s.message(t, a, chatType, func(m *message.Message) { m.ThreadID = thread }))
		m, err := got.next(t).Message.Reply(chatType, nil)
		if err != nil {
			t.Fatal(err)
		}
		asked, done := request(t, a, s, m)
		if asked.ThreadID != thread {
			t.Errorf("asked in thread %q", asked.ThreadID)
		}
		s.give(t, a, new(call), s.message(t, a, chatType, func(m *message.Message) { m.ThreadID = thread }))
		if r := <-done; r.err != nil {
			t.Error(r.err)
		}
	})
}

// The messages to a peer with an endpoint that leave by its open session, which is proven.
func TestSessionBinding(t *testing.T) {
	const thread = "the-thread"
	for name, test := range map[string]struct {
		edit  func(*message.Message)
		pack  func(s *stranger) []envelope.PackOption
		end   bool
		also  func(*message.Message) // a second message on the session
		send  func(*message.Message)
		bound bool
	}{
		"all":            {edit: func(m *message.Message) { m.ReturnRoute = "all" }, bound: true},
		"thread":         {edit: func(m *message.Message) { m.ReturnRoute, m.ThreadID = "thread", thread }, send: func(m *message.Message) { m.ThreadID = thread }, bound: true},
		"named thread":   {edit: func(m *message.Message) { m.ReturnRoute, m.ReturnRouteThread = "thread", thread }, send: func(m *message.Message) { m.ThreadID = thread }, bound: true},
		"another thread": {edit: func(m *message.Message) { m.ReturnRoute, m.ThreadID = "thread", thread }},
		"unsaid":         {},
		"none":           {edit: func(m *message.Message) { m.ReturnRoute = "none" }},
		"ended":          {edit: func(m *message.Message) { m.ReturnRoute = "all" }, end: true},
		"taken back":     {edit: func(m *message.Message) { m.ReturnRoute = "all" }, also: func(m *message.Message) { m.ReturnRoute = "none" }},
		"not taken back": {edit: func(m *message.Message) { m.ReturnRoute = "all" }, also: func(*message.Message) {}, bound: true},
		"unauthenticated": {edit: func(m *message.Message) { m.ReturnRoute = "all" }, pack: func(*stranger) []envelope.PackOption {
			return []envelope.PackOption{envelope.ContentEncryption(envelope.A256GCM)}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			n, got := agenttest.NewNet(), make(inbox, 2)
			a, s, w := n.Agent(t, got), newStranger(t, n, "mem://stranger"), newSession()
			var opts []envelope.PackOption
			if test.pack != nil {
				opts = test.pack(s)
			}
			s.give(t, a, w, s.message(t, a, chatType, test.edit), opts...)
			got.next(t)
			if test.also != nil {
				s.give(t, a, w, s.message(t, a, chatType, test.also))
				got.next(t)
			}
			if test.end {
				close(w.done)
			}
			send := func() *message.Message {
				m := newMessage(t, s.DID)
				if test.send != nil {
					test.send(m)
				}
				if err := a.Send(t.Context(), m, agent.AwaitDelivery()); err != nil {
					t.Fatal(err)
				}
				return m
			}
			send()
			s.next(t)
			if test.bound {
				s.prove(t, a, w)
			}
			m := send()
			if len(w.packets) == 1 != test.bound {
				t.Fatalf("%d packets by the session, bound is %v", len(w.packets), test.bound)
			}
			if !test.bound {
				s.next(t)
				return
			}
			if u := s.open(t, <-w.packets); u.Message.ID != m.ID {
				t.Errorf("got message %s", u.Message.ID)
			}
			s.none(t)
		})
	}
}

// A session is a route to a party without an endpoint until it ends.
func TestSessionIsTheOnlyWay(t *testing.T) {
	n, got := agenttest.NewNet(), make(inbox, 1)
	a, s, w := n.Agent(t, got), newStranger(t, n), newSession()
	wantError(t, "Send", a.Send(t.Context(), newMessage(t, s.DID)), agent.ErrNoRoute)
	s.give(t, a, w, s.message(t, a, chatType, func(m *message.Message) { m.ReturnRoute = "all" }))
	if err := a.Send(t.Context(), newMessage(t, s.DID)); err != nil {
		t.Fatal(err)
	}
	s.open(t, w.next(t))
	close(w.done)
	wantError(t, "Send", a.Send(t.Context(), newMessage(t, s.DID)), agent.ErrNoRoute)
}

// A session is a return route for the DID of ours that the peer has sent its message to,
// and for no other.
func TestSessionIsForOneDID(t *testing.T) {
	n, got := agenttest.NewNet(), make(inbox, 1)
	a := n.Agent(t, got)
	s, w := newStranger(t, n, "mem://stranger"), newSession()
	s.give(t, a, w, s.message(t, a, chatType, func(m *message.Message) { m.ReturnRoute = "all" }))
	got.next(t)
	if err := a.Send(t.Context(), newMessage(t, s.DID), agent.Anonymous(), agent.AwaitDelivery()); err != nil {
		t.Fatal(err)
	}
	s.next(t)
	if len(w.packets) != 0 {
		t.Error("an anonymous message went by a session that knows who we are")
	}
}

// Messages of one thread on one session are handled in order. A handler that waits does
// not delay other threads.
func TestSessionOrder(t *testing.T) {
	n := agenttest.NewNet()
	release, started := make(chan struct{}), make(chan string, 100)
	a := n.Agent(t, agent.HandlerFunc(func(_ context.Context, _ agent.Responder, in *agent.Inbound) error {
		started <- in.Message.ID
		if in.Message.ID == "slow-0" {
			<-release
		}
		return nil
	}))
	s, w := newStranger(t, n), newSession()
	for i := range 10 {
		s.give(t, a, w, s.message(t, a, chatType, func(m *message.Message) {
			m.ID, m.ThreadID = fmt.Sprintf("slow-%d", i), "slow"
		}))
	}
	if id := <-started; id != "slow-0" {
		t.Fatalf("began with %s", id)
	}
	s.give(t, a, w, s.message(t, a, chatType, func(m *message.Message) { m.ID = "other" }))
	if id := <-started; id != "other" {
		t.Fatalf("%s was handled beside slow-0", id)
	}
	close(release)
	for i := 1; i < 10; i++ {
		if id := <-started; id != fmt.Sprintf("slow-%d", i) {
			t.Fatalf("%s came after slow-%d", id, i-1)
		}
	}
}

// older returns the name that older libraries use for the key agreement key of a
// did:peer:2: its value, without the z of multibase.
func older(id string) string {
	_, key, _ := strings.Cut(id, ".Ez")
	key, _, _ = strings.Cut(key, ".")
	return id + "#" + key
}

// named returns the kids of the sender and of the only recipient in an envelope.
func named(t *testing.T, p transport.Packet) (skid, kid string) {
	t.Helper()
	var e struct {
		Protected  string `json:"protected"`
		Recipients []struct {
			Header struct {
				KID string `json:"kid"`
			} `json:"header"`
		} `json:"recipients"`
	}
	var h struct {
		SKID string `json:"skid"`
	}
	if err := json.Unmarshal(p.Data, &e); err != nil || len(e.Recipients) != 1 {
		t.Fatalf("%s: %v", p.Data, err)
	}
	protected, err := base64.RawURLEncoding.DecodeString(e.Protected)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(protected, &h); err != nil {
		t.Fatal(err)
	}
	return h.SKID, e.Recipients[0].Header.KID
}

// The answer to a sender that names keys by aliases uses the same names.
func TestReplyNamesKeysAsTheSender(t *testing.T) {
	a := agenttest.NewNet().Agent(t, agent.HandlerFunc(replier))
	s := &stranger{Party: agenttest.NewParty(t)}
	for name, keys := range map[string]struct{ theirs, ours string }{
		"ids":     {s.DID + "#key-2", a.DID() + "#key-2"},
		"aliases": {older(s.DID), older(a.DID())},
		"theirs":  {older(s.DID), a.DID() + "#key-2"},
		"ours":    {s.DID + "#key-2", older(a.DID())},
	} {
		t.Run(name, func(t *testing.T) {
			c := new(call)
			s.give(t, a, c, s.message(t, a, chatType, nil), envelope.From(keys.theirs), envelope.To(keys.ours))
			if len(c.packets) != 1 {
				t.Fatalf("%d packets came back", len(c.packets))
			}
			if skid, kid := named(t, c.packets[0]); skid != keys.ours || kid != keys.theirs {
				t.Errorf("the answer is from %s to %s", skid, kid)
			}
			s.open(t, c.packets[0])
		})
	}
}

// ToKeys sets the names of the keys of a message.
func TestToKeys(t *testing.T) {
	n := agenttest.NewNet()
	a := n.Agent(t, nil)
	s := newStranger(t, n, "mem://stranger")
	for name, keys := range map[string]struct {
		to   []string
		want string
	}{
		"none":       {nil, s.DID + "#key-2"},
		"id":         {[]string{s.DID + "#key-2"}, s.DID + "#key-2"},
		"alias":      {[]string{older(s.DID)}, older(s.DID)},
		"of another": {[]string{older(a.DID())}, s.DID + "#key-2"},
	} {
		t.Run(name, func(t *testing.T) {
			if err := a.Send(t.Context(), newMessage(t, s.DID), agent.ToKeys(keys.to...), agent.AwaitDelivery()); err != nil {
				t.Fatal(err)
			}
			if got := s.next(t).OpenedAs; got != keys.want {
				t.Errorf("the key is called %s", got)
			}
		})
	}
}
