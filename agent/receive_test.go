package agent_test

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/agenttest"
	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/transport"
)

func TestWhoIsBelieved(t *testing.T) {
	plainly := agenttest.Configure(func(cfg *agent.Config) { cfg.AcceptPlaintext = true })
	for name, test := range map[string]struct {
		opts []agenttest.Option
		pack func(s *stranger) []envelope.PackOption
		from bool // authenticated
		err  string
	}{
		"authcrypt": {pack: func(s *stranger) []envelope.PackOption {
			return []envelope.PackOption{envelope.From(s.DID)}
		}, from: true},
		"anoncrypt(authcrypt)": {pack: func(s *stranger) []envelope.PackOption {
			return []envelope.PackOption{envelope.From(s.DID), envelope.ProtectSender()}
		}, from: true},
		"anoncrypt(signed)": {pack: func(s *stranger) []envelope.PackOption {
			return []envelope.PackOption{envelope.SignBy(s.DID)}
		}, from: true},
		"signed": {pack: func(s *stranger) []envelope.PackOption {
			return []envelope.PackOption{envelope.SignBy(s.DID), envelope.Signed()}
		}, from: true},
		"anoncrypt": {pack: func(s *stranger) []envelope.PackOption {
			return []envelope.PackOption{envelope.ContentEncryption(envelope.A256GCM)}
		}},
		"plaintext": {pack: func(*stranger) []envelope.PackOption {
			return []envelope.PackOption{envelope.Plain()}
		}, err: "plaintext messages are not accepted"},
		"plaintext, accepted": {opts: []agenttest.Option{plainly}, pack: func(*stranger) []envelope.PackOption {
			return []envelope.PackOption{envelope.Plain()}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			n, got := agenttest.NewNet(), make(inbox, 1)
			a, s := n.Agent(t, got, test.opts...), newStranger(t, n)
			// In every case, from is the stranger's DID.
			err := serve(t.Context(), a, new(call), s.pack(t, s.message(t, a, chatType, nil), test.pack(s)...))
			if test.err != "" {
				var reject *transport.RejectError
				if !errors.As(err, &reject) || reject.Reason != test.err {
					t.Fatalf("error %v, want the refusal %q", err, test.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			in, want := got.next(t), ""
			if test.from {
				want = s.DID
			}
			if in.From != want || in.Authenticated() != test.from || in.To != a.DID() || in.Message.From != s.DID {
				t.Errorf("from %q, authenticated %v, to %q, claimed %q", in.From, in.Authenticated(), in.To, in.Message.From)
			}
		})
	}
}

// The reason why a message cannot be opened does not distinguish a wrong key from a wrong
// tag.
func TestRefusals(t *testing.T) {
	n := agenttest.NewNet()
	a, s, other := n.Agent(t, nil), newStranger(t, n), newStranger(t, n)
	good := s.pack(t, s.message(t, a, chatType, nil)).Data
	elsewhere := s.message(t, a, chatType, nil)
	elsewhere.To = []string{other.DID}
	tampered := func(member string) []byte {
		b := bytes.Clone(good)
		i := bytes.Index(b, []byte(`"`+member+`":"`)) + len(member) + 4
		if b[i] == 'A' {
			b[i] = 'B'
		} else {
			b[i] = 'A'
		}
		return b
	}
	for name, test := range map[string]struct {
		data   []byte
		reason string
	}{
		"nothing":          {nil, "malformed message"},
		"text":             {[]byte("hello"), "malformed message"},
		"no envelope":      {[]byte(`{"a":1}`), "malformed message"},
		"too large":        {append(bytes.Repeat([]byte(" "), envelope.DefaultMaxBytes), good...), "message too large"},
		"too deep":         {[]byte(strings.Repeat(`{"a":`, 1000)), "malformed message"},
		"wrong tag":        {tampered("tag"), "message cannot be opened"},
		"wrong ciphertext": {tampered("ciphertext"), "message cannot be opened"},
		"wrong key":        {tampered("encrypted_key"), "message cannot be opened"},
		"for another":      {s.pack(t, elsewhere).Data, "message cannot be opened"},
	} {
		t.Run(name, func(t *testing.T) {
			err := serve(t.Context(), a, new(call), transport.Packet{Data: test.data})
			var reject *transport.RejectError
			if !errors.As(err, &reject) {
				t.Fatalf("error %v, want a refusal", err)
			}
			if reject.Reason != test.reason || reject.Err == nil {
				t.Errorf("reason %q (%v), want %q", reject.Reason, reject.Err, test.reason)
			}
		})
	}
}

// After a failure of our own, the peer is asked to try again later.
func TestOwnFailureIsNoRefusal(t *testing.T) {
	n := agenttest.NewNet()
	a, s := n.Agent(t, nil), newStranger(t, n)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := serve(ctx, a, new(call), s.pack(t, s.message(t, a, chatType, nil)))
	var reject *transport.RejectError
	if errors.As(err, &reject) {
		t.Errorf("refused: %v", err)
	}
}

func TestDropped(t *testing.T) {
	now := time.Now()
	for name, test := range map[string]struct {
		first, second func(*message.Message)
		handled       int
	}{
		"expired":          {first: func(m *message.Message) { m.ExpiresTime = now.Add(-time.Minute) }},
		"not expired":      {first: func(m *message.Message) { m.ExpiresTime = now.Add(time.Minute) }, handled: 1},
		"from the future":  {first: func(m *message.Message) { m.CreatedTime = now.Add(time.Hour) }, handled: 1},
		"same id":          {func(m *message.Message) { m.ID = "x" }, func(m *message.Message) { m.ID = "x" }, 1},
		"same id by case":  {func(m *message.Message) { m.ID = "id-a" }, func(m *message.Message) { m.ID = "ID-A" }, 1},
		"another id":       {func(m *message.Message) { m.ID = "x" }, func(m *message.Message) { m.ID = "y" }, 2},
		"another sender":   {func(m *message.Message) { m.ID = "x" }, nil, 2},
		"expired, then ok": {func(m *message.Message) { m.ID, m.ExpiresTime = "x", now.Add(-time.Minute) }, func(m *message.Message) { m.ID = "x" }, 1},
	} {
		t.Run(name, func(t *testing.T) {
			n, got := agenttest.NewNet(), make(inbox, 2)
			a, s, other := n.Agent(t, got), newStranger(t, n), newStranger(t, n)
			s.give(t, a, new(call), s.message(t, a, chatType, test.first))
			switch {
			case name == "another sender":
				other.give(t, a, new(call), other.message(t, a, chatType, test.first))
			case test.second != nil:
				s.give(t, a, new(call), s.message(t, a, chatType, test.second))
			}
			if len(got) != test.handled {
				t.Errorf("%d handled, want %d", len(got), test.handled)
			}
		})
	}
}

// An id is known for one sender. Anonymous senders cannot be told apart, so that their
// messages are known by id and content.
func TestSameID(t *testing.T) {
	plainly := agenttest.Configure(func(cfg *agent.Config) { cfg.AcceptPlaintext = true })
	for name, test := range map[string]struct {
		pack      func(s *stranger) []envelope.PackOption
		anonymous bool
	}{
		"authcrypt": {pack: func(s *stranger) []envelope.PackOption { return []envelope.PackOption{envelope.From(s.DID)} }},
		"anoncrypt(authcrypt)": {pack: func(s *stranger) []envelope.PackOption {
			return []envelope.PackOption{envelope.From(s.DID), envelope.ProtectSender()}
		}},
		"anoncrypt(signed)": {pack: func(s *stranger) []envelope.PackOption { return []envelope.PackOption{envelope.SignBy(s.DID)} }},
		"signed": {pack: func(s *stranger) []envelope.PackOption {
			return []envelope.PackOption{envelope.SignBy(s.DID), envelope.Signed()}
		}},
		"anoncrypt": {pack: func(*stranger) []envelope.PackOption { return []envelope.PackOption{anonymously} }, anonymous: true},
		"plaintext": {pack: func(*stranger) []envelope.PackOption { return []envelope.PackOption{envelope.Plain()} }, anonymous: true},
	} {
		t.Run(name, func(t *testing.T) {
			n, got := agenttest.NewNet(), make(inbox, 10)
			a, s := n.Agent(t, got, plainly), newStranger(t, n)
			handles := func(what string, want int, body string) {
				t.Helper()
				m := s.message(t, a, chatType, func(m *message.Message) {
					m.ID, m.Body, m.CreatedTime = "x", []byte(body), time.Time{}
				})
				p := s.pack(t, m, test.pack(s)...)
				for range 2 { // the same packet
					if err := serve(t.Context(), a, new(call), p); err != nil {
						t.Fatal(err)
					}
				}
				if len(got) != want {
					t.Errorf("%s: %d messages handled, want %d", what, len(got), want)
				}
				for len(got) > 0 {
					<-got
				}
			}
			another := 0
			if test.anonymous {
				another = 1
			}
			handles("first", 1, `{"n":1}`)
			handles("another content", another, `{"n":2}`)
			handles("packed again", 0, `{"n":1}`)
			entries, err := a.Store().Inbox().(store.InboxAdmin).List(t.Context(), 0, 10)
			if err != nil || len(entries) != 1+another {
				t.Fatalf("%d entries, %v", len(entries), err)
			}
			for _, e := range entries {
				if e.Item.ID != "x" {
					t.Errorf("the inbox has the id %q", e.Item.ID)
				}
			}
		})
	}
}

func TestReplayedPacket(t *testing.T) {
	n, got := agenttest.NewNet(), make(inbox, 2)
	a, s := n.Agent(t, got), newStranger(t, n)
	p := s.pack(t, s.message(t, a, chatType, nil))
	for range 3 {
		if err := serve(t.Context(), a, new(call), p); err != nil {
			t.Fatalf("a replay must look accepted: %v", err)
		}
	}
	if len(got) != 1 {
		t.Errorf("handled %d times", len(got))
	}
}

// An accepted message is handled to the end even if its connection ends.
func TestHandlerOutlivesConnection(t *testing.T) {
	n := agenttest.NewNet()
	ctx, cancel := context.WithCancel(t.Context())
	var handled error = errors.New("not handled")
	a := n.Agent(t, agent.HandlerFunc(func(hctx context.Context, _ agent.Responder, _ *agent.Inbound) error {
		cancel()
		handled = hctx.Err()
		return nil
	}))
	s := newStranger(t, n)
	if err := serve(ctx, a, new(call), s.pack(t, s.message(t, a, chatType, nil))); err != nil {
		t.Fatal(err)
	}
	if handled != nil {
		t.Error(handled)
	}
}

func TestAcks(t *testing.T) {
	const seen, later = "1-seen-before", "0-seen-after-it"
	for name, test := range map[string]struct {
		typ     string
		handler agent.Handler
		edit    func(*message.Message)
		replies int
		acks    []string // of the reply
		typWant string
	}{
		"pure": {edit: func(m *message.Message) { m.PleaseAck = []string{""} },
			replies: 1, acks: []string{"m"}, typWant: emptyType},
		"carried by the reply": {handler: replier, edit: func(m *message.Message) { m.PleaseAck = []string{""} },
			replies: 1, acks: []string{"m"}, typWant: chatType},
		"older ones that came, too": {edit: func(m *message.Message) { m.PleaseAck = []string{seen, "never-seen", "m"} },
			replies: 1, acks: []string{seen, "m"}, typWant: emptyType},
		"in the order they came": {edit: func(m *message.Message) { m.PleaseAck = []string{later, "", seen} },
			replies: 1, acks: []string{seen, later, "m"}, typWant: emptyType},
		"once each, as asked": {edit: func(m *message.Message) { m.PleaseAck = []string{seen, strings.ToUpper(seen)} },
			replies: 1, acks: []string{strings.ToUpper(seen), "m"}, typWant: emptyType},
		"none asked": {handler: replier, edit: func(*message.Message) {},
			replies: 1, typWant: chatType},
		"of a failed message": {handler: agent.HandlerFunc(func(context.Context, agent.Responder, *agent.Inbound) error {
			return message.NewProblem("e.m.msg", nil)
		}), edit: func(m *message.Message) { m.PleaseAck = []string{""} },
			replies: 1, acks: []string{"m"}, typWant: reportType},
		"never of a forward": {typ: "https://didcomm.org/routing/2.0/forward",
			edit: func(m *message.Message) { m.PleaseAck = []string{""} }},
		"never of an ack": {typ: emptyType,
			edit: func(m *message.Message) { m.PleaseAck, m.Ack = []string{""}, []string{"x"} }},
	} {
		t.Run(name, func(t *testing.T) {
			n := agenttest.NewNet()
			handler := test.handler
			if handler == nil {
				handler = make(inbox, 10)
			}
			a, s := n.Agent(t, handler), newStranger(t, n)
			for _, id := range []string{seen, later} {
				s.give(t, a, new(call), s.message(t, a, chatType, func(m *message.Message) { m.ID = id }))
			}
			typ := test.typ
			if typ == "" {
				typ = chatType
			}
			c := new(call)
			s.give(t, a, c, s.message(t, a, typ, func(m *message.Message) {
				m.ID, m.ReturnRoute = "m", "all"
				test.edit(m)
			}))
			if len(c.packets) != test.replies {
				t.Fatalf("%d replies, want %d", len(c.packets), test.replies)
			}
			if test.replies == 0 {
				return
			}
			got := s.open(t, c.packets[0]).Message
			if got.Type != test.typWant || !slices.Equal(got.Ack, test.acks) {
				t.Errorf("got %s with ack %q, want %s with %q", got.Type, got.Ack, test.typWant, test.acks)
			}
			if got.Type == emptyType && got.ThreadID != "m" {
				t.Errorf("ack in thread %q", got.ThreadID)
			}
		})
	}
}

func TestNoAckForAnonymous(t *testing.T) {
	n := agenttest.NewNet()
	a, s := n.Agent(t, make(inbox, 1)), newStranger(t, n)
	c := new(call)
	s.give(t, a, c, s.message(t, a, chatType, func(m *message.Message) {
		m.PleaseAck, m.ReturnRoute = []string{""}, "all"
	}), envelope.ContentEncryption(envelope.A256GCM))
	if len(c.packets) != 0 {
		t.Error("somebody who has not authenticated was answered")
	}
}

// If the handler of an answer in an HTTP response sends a Request itself, the worker that
// received the answer does not wait for it.
func TestAskingInAnswers(t *testing.T) {
	done := make(chan error, 1)
	agents := make(chan *agent.Agent, 1)
	alice, bob := agenttest.Pair(t, agent.HandlerFunc(func(ctx context.Context, _ agent.Responder, in *agent.Inbound) error {
		_, err := (<-agents).Request(ctx, newMessage(t, in.From))
		done <- err
		return nil
	}), replier, agenttest.Configure(func(cfg *agent.Config) { cfg.Workers = 1 }))
	agents <- alice
	if err := alice.Send(t.Context(), newMessage(t, bob.DID()), agent.ReturnRoute("all")); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// ServePacket returns before a message is handled, on every kind of connection.
func TestAcceptedBeforeHandled(t *testing.T) {
	for name, w := range map[string]transport.Replier{"exchange": new(call), "session": newSession(), "no reply": transport.NoReply{}} {
		t.Run(name, func(t *testing.T) {
			started, release := make(chan struct{}), make(chan struct{})
			h := &counter{Handler: agent.HandlerFunc(func(context.Context, agent.Responder, *agent.Inbound) error {
				close(started)
				<-release
				return nil
			})}
			n := agenttest.NewNet()
			a, s := n.Agent(t, h), newStranger(t, n)
			p := s.pack(t, s.message(t, a, chatType, nil))
			handled, err := a.ServePacket(t.Context(), w, p)
			if err != nil || handled == nil {
				t.Fatalf("got %v, %v", handled, err)
			}
			<-started
			select {
			case <-handled:
				t.Error("handled while its handler runs")
			default:
			}
			close(release)
			<-handled
			if again, err := a.ServePacket(t.Context(), w, p); err != nil || again != nil || h.n.Load() != 1 {
				t.Errorf("the second time: %v, %v; handled %d times", again, err, h.n.Load())
			}
		})
	}
}
