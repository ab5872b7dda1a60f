package agent_test

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/agenttest"
	"github.com/didcomm-go/didcomm/agent/contact"
	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/protocols/discover"
	"github.com/didcomm-go/didcomm/protocols/trustping"
	"github.com/didcomm-go/didcomm/transport"
	"github.com/didcomm-go/didcomm/transport/httptransport"
)

const notification = "https://didcomm.org/notification/1.0/problem-report"

// credo is a peer over HTTP with the messages of Credo: trust_ping/1.0, disclosures, no acks,
// and a notification/1.0 with only a pthid about anything else.
type credo struct {
	*agenttest.Party
	got chan string // the types of received messages

	mu    sync.Mutex // guards all below
	body  string     // of disclosures
	about string     // the text of reports
}

func newCredo(t *testing.T) *credo {
	t.Helper()
	srv := httptest.NewUnstartedServer(nil)
	c := &credo{
		Party: agenttest.NewParty(t, "http://"+srv.Listener.Addr().String()),
		got:   make(chan string, 100),
		body:  `{"disclosures":[{"feature-type":"protocol","id":"https://didcomm.org/empty/1.0","roles":[]}]}`,
		about: "The message type is not supported",
	}
	srv.Config.Handler = httptransport.NewHandler(transport.HandlerFunc(c.serve), httptransport.HandlerConfig{})
	srv.Start()
	t.Cleanup(srv.Close)
	return c
}

func (c *credo) serve(ctx context.Context, w transport.Replier, p transport.Packet) error {
	u, err := c.Packer.Unpack(ctx, p.Data)
	if err != nil {
		return err
	}
	m := c.answer(u.Message)
	if m == nil {
		return nil
	}
	back, err := c.pack(ctx, m, u.Message.From)
	if err != nil {
		return err
	}
	return w.Reply(ctx, back)
}

func (c *credo) pack(ctx context.Context, m *message.Message, to string) (transport.Packet, error) {
	out := *m
	out.ID, out.From, out.To = message.NewID(), c.DID, []string{to}
	e, err := c.Packer.Pack(ctx, &out, envelope.From(c.DID))
	if err != nil {
		return transport.Packet{}, err
	}
	return transport.Packet{MediaType: e[0].MediaType, Data: e[0].Data}, nil
}

func (c *credo) answer(m *message.Message) *message.Message {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.got <- m.Type
	switch m.Type {
	case trustping.TypePing1:
		return &message.Message{Type: trustping.TypePingResponse1, ThreadID: m.ID, Body: []byte(`{}`)}
	case discover.TypeQueries:
		return &message.Message{Type: discover.TypeDisclosures, ThreadID: m.ID, Body: []byte(c.body)}
	case trustping.TypePingResponse1, discover.TypeDisclosures, notification:
		return nil
	}
	return &message.Message{
		Type: notification, ParentThreadID: m.ID,
		Body: fmt.Appendf(nil, `{"description":{"en":"Error handling message %s with type %s. %s","code":"message-parse-failure"}}`, m.ID, m.Type, c.about),
	}
}

// received returns the types of the messages since the last call.
func (c *credo) received() (got []string) {
	for len(c.got) > 0 {
		got = append(got, <-c.got)
	}
	return got
}

// over returns an agent that speaks HTTP, and sends a message of c to it.
func (c *credo) over(t *testing.T, h agent.Handler, opts ...agenttest.Option) (us *agent.Agent, send func(m *message.Message)) {
	t.Helper()
	us = agenttest.NewNet().Agent(t, h, append(opts, agenttest.HTTP())...)
	return us, func(m *message.Message) {
		t.Helper()
		p, err := c.pack(t.Context(), m, us.DID())
		if err != nil {
			t.Fatal(err)
		}
		handled, err := us.ServePacket(t.Context(), transport.NoReply{}, p)
		if err != nil {
			t.Fatal(err)
		}
		if handled != nil {
			<-handled
		}
	}
}

func dialectOf(t *testing.T, a *agent.Agent, peer string) contact.Dialect {
	t.Helper()
	d, err := a.Contacts().Dialect(t.Context(), a.DID(), peer)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// The first ping tries 2.0 and then 1.0. The next ping, and a ping after a restart, go
// straight to 1.0.
func TestPingOldVersion(t *testing.T) {
	for name, opts := range map[string][]agent.SendOption{"outbox": nil, "once": {agent.Once()}} {
		t.Run(name, func(t *testing.T) {
			c := newCredo(t)
			var cfg agent.Config
			us, _ := c.over(t, nil, agenttest.Configure(func(c *agent.Config) { cfg = *c }))
			for _, want := range [][]string{
				{trustping.TypePing, trustping.TypePing1},
				{trustping.TypePing1},
			} {
				pong, err := trustping.Ping(t.Context(), us, c.DID, opts...)
				if err != nil || pong.PIURI != trustping.PIURI1 || pong.Took <= 0 {
					t.Fatalf("%+v, %v", pong, err)
				}
				if got := c.received(); !slices.Equal(got, want) {
					t.Errorf("sent %q, want %q", got, want)
				}
			}
			d := dialectOf(t, us, c.DID)
			if !slices.Equal(d.Speaks, []string{trustping.PIURI1}) || !slices.Equal(d.Lacks, []string{trustping.PIURI}) || !d.NoAcks {
				t.Errorf("dialect %+v", d)
			}
			us.Stop()
			cfg.Store = us.Store()
			again, err := agent.Start(t.Context(), cfg)
			if err != nil {
				t.Fatal(err)
			}
			defer again.Stop()
			if _, err := trustping.Ping(t.Context(), again, c.DID, opts...); err != nil {
				t.Fatal(err)
			}
			if got := c.received(); !slices.Equal(got, []string{trustping.TypePing1}) {
				t.Errorf("sent %q after a restart", got)
			}
		})
	}
}

// A peer that can update its software is asked in the other version when it lacks the one
// that it spoke before.
func TestPingNewVersion(t *testing.T) {
	alice, bob := agenttest.Pair(t, nil, agent.NewMux(trustping.Handle()))
	if err := alice.Contacts().Keep(t.Context(), alice.DID(), bob.DID()); err != nil {
		t.Fatal(err)
	}
	if err := alice.Contacts().Learn(t.Context(), alice.DID(), bob.DID(), func(d *contact.Dialect) {
		d.Spoke(trustping.PIURI1)
		d.Lacked(trustping.PIURI)
	}); err != nil {
		t.Fatal(err)
	}
	if pong, err := trustping.Ping(t.Context(), alice, bob.DID()); err != nil || pong.PIURI != trustping.PIURI1 {
		t.Fatalf("%+v, %v", pong, err)
	}
	if err := alice.Contacts().Learn(t.Context(), alice.DID(), bob.DID(), func(d *contact.Dialect) {
		d.Lacked("https://didcomm.org/trust_ping/1.0")
	}); err != nil {
		t.Fatal(err)
	}
	if pong, err := trustping.Ping(t.Context(), alice, bob.DID()); err != nil || pong.PIURI != trustping.PIURI {
		t.Fatalf("%+v, %v", pong, err)
	}
}

// Only a report that the type is not supported makes a second form go out. The error names
// all problems.
func TestRequestAnyEnds(t *testing.T) {
	c := newCredo(t)
	us, _ := c.over(t, nil)
	form := func(typ string) *message.Message { return &message.Message{Type: typ} }
	const one, two = "https://example.org/one/1.0", "https://example.org/two/1.0"
	for _, test := range []struct {
		about string
		want  []string
		lacks []string
	}{
		{"Error validating message", []string{one + "/ask"}, nil},
		{"Is not supported, perhaps", []string{one + "/ask"}, nil},
		{"That is not supported.", []string{one + "/ask", two + "/ask"}, []string{one, two}},
	} {
		c.mu.Lock()
		c.about = test.about
		c.mu.Unlock()
		answer, err := us.RequestAny(t.Context(), c.DID, []*message.Message{form(one + "/ask"), form(two + "/ask")})
		var p *message.Problem
		if answer.Inbound != nil || !errors.As(err, &p) || p.Code != "message-parse-failure" {
			t.Errorf("%q: %+v, %v", test.about, answer, err)
		}
		if got := c.received(); !slices.Equal(got, test.want) {
			t.Errorf("%q: sent %q, want %q", test.about, got, test.want)
		}
		if d := dialectOf(t, us, c.DID); !slices.Equal(d.Lacks, test.lacks) || len(d.Speaks) > 0 {
			t.Errorf("%q: dialect %+v", test.about, d)
		}
	}
	if _, err := us.RequestAny(t.Context(), c.DID, nil); err == nil {
		t.Error("no form, and no error")
	}
}

// All forms share one deadline, and what was reported before the deadline is remembered.
func TestRequestAnyDeadline(t *testing.T) {
	alice, bob := agenttest.Pair(t, nil, agent.NewMux(agent.Fallback(agent.HandlerFunc(func(_ context.Context, _ agent.Responder, in *agent.Inbound) error {
		if message.Is(in.Message, trustping.TypePing) {
			return message.NewProblem(message.CodeUnsupported+".version", nil)
		}
		return nil // never answered
	}))))
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	_, err := trustping.Ping(ctx, alice, bob.DID())
	var p *message.Problem
	if !errors.Is(err, context.DeadlineExceeded) || !errors.As(err, &p) || p.Code != message.CodeUnsupported+".version" {
		t.Errorf("error %v", err)
	}
	if d := dialectOf(t, alice, bob.DID()); !slices.Equal(d.Lacks, []string{trustping.PIURI}) {
		t.Errorf("dialect %+v", d)
	}
}

func TestIsUnsupported(t *testing.T) {
	for _, test := range []struct {
		code, text string
		want       bool
	}{
		{message.CodeUnsupported, "", true},
		{message.CodeUnsupported + ".version", "", true},
		{"e.m.msg.unsupported", "", true},
		{"w.p.msg.unsupported", "", false},
		{"e.p.msg", "Message type x is not supported.", false},
		{"e.p.msg.unsupportedly", "", false},
		{"", "The message type is not supported", false},
		{"message-parse-failure", "Error handling message 1 with type x. The message type is not supported", true},
		{"message-parse-failure", "The message type is not supported. ", true},
		{"message-parse-failure", "Error validating message x", false},
		{"message-parse-failure", "Error validating message is not supported, says x", false},
		{"message-parse-failure", "", false},
		{"e.p.xfer", "The message type is not supported", false},
	} {
		if got := agent.IsUnsupported(&message.Problem{Code: test.code, Comment: test.text}); got != test.want {
			t.Errorf("%q, %q: %v", test.code, test.text, got)
		}
	}
}

// A contact that sends a message of Credo gives no acks, unless it has given one.
func TestLearnedFromMessages(t *testing.T) {
	const empty = "https://didcomm.org/empty/1.0/empty"
	for _, typ := range []string{trustping.TypePing1, trustping.TypePingResponse1, discover.TypeDisclosures, notification} {
		t.Run(typ, func(t *testing.T) {
			c := newCredo(t)
			us, send := c.over(t, agent.NewMux(trustping.Handle(), discover.Handle()))
			keep := func() {
				t.Helper()
				if err := us.Contacts().Keep(t.Context(), us.DID(), c.DID); err != nil {
					t.Fatal(err)
				}
			}
			m := &message.Message{Type: typ, ThreadID: "x", Body: []byte(`{}`)}
			send(m)
			if d := dialectOf(t, us, c.DID); d.NoAcks || len(d.Speaks) > 0 {
				t.Fatalf("dialect of a stranger %+v", d)
			}
			keep()
			if d := dialectOf(t, us, c.DID); d.NoAcks {
				t.Fatalf("dialect of a new contact %+v", d)
			}
			send(&message.Message{Type: empty, Ack: []string{"1"}})
			send(&message.Message{Type: trustping.TypePing, Body: []byte(`{"response_requested":false}`)})
			if d := dialectOf(t, us, c.DID); d.NoAcks || d.Acks {
				t.Fatalf("dialect after other messages %+v", d)
			}
			send(m)
			if d := dialectOf(t, us, c.DID); !d.NoAcks {
				t.Fatalf("dialect %+v", d)
			}
			send(&message.Message{Type: empty, Ack: []string{"1"}})
			if d := dialectOf(t, us, c.DID); d.NoAcks || !d.Acks {
				t.Fatalf("dialect after an ack %+v", d)
			}
			send(m)
			if d := dialectOf(t, us, c.DID); d.NoAcks {
				t.Fatalf("dialect after an ack, and another message %+v", d)
			}
		})
	}
}

// The messages of Credo say nothing about a contact that has not sent them to us.
func TestNotLearned(t *testing.T) {
	victim, attacker := newCredo(t), newCredo(t)
	us, _ := victim.over(t, agent.NewMux(trustping.Handle()))
	for _, id := range []string{victim.DID, attacker.DID} {
		if err := us.Contacts().Keep(t.Context(), us.DID(), id); err != nil {
			t.Fatal(err)
		}
	}
	for name, send := range map[string]struct {
		by   *credo
		from string
		to   []string
		opts []envelope.PackOption
	}{
		"anonymous":        {victim, "", []string{us.DID()}, nil},
		"from of a victim": {attacker, victim.DID, []string{us.DID()}, nil}, // only a claim in an anoncrypt
		"signed for all":   {victim, victim.DID, nil, []envelope.PackOption{envelope.SignBy(victim.DID)}},
		"of another":       {attacker, attacker.DID, []string{us.DID()}, []envelope.PackOption{envelope.From(attacker.DID)}},
	} {
		t.Run(name, func(t *testing.T) {
			m := &message.Message{ID: message.NewID(), Type: trustping.TypePing1, From: send.from, To: send.to, Body: []byte(`{}`)}
			e, err := send.by.Packer.Pack(t.Context(), m, send.opts...)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := us.ServePacket(t.Context(), transport.NoReply{}, transport.Packet{MediaType: e[0].MediaType, Data: e[0].Data}); err != nil {
				t.Error(err)
			}
			if d := dialectOf(t, us, victim.DID); d.NoAcks || len(d.Speaks) > 0 {
				t.Errorf("dialect %+v", d)
			}
		})
	}
}

// Queries go both ways. After changed disclosures all that was known is forgotten, so that
// the next ping tries 2.0 again.
func TestDiscoverCredo(t *testing.T) {
	c := newCredo(t)
	us, send := c.over(t, agent.NewMux(trustping.Handle(), discover.Handle()))
	all := discover.Query{FeatureType: discover.Protocol, Match: "*"}
	ask := func() {
		t.Helper()
		if got, err := discover.Ask(t.Context(), us, c.DID, all); err != nil || len(got) != 1 || len(got[0].Roles) > 0 {
			t.Fatalf("%+v, %v", got, err)
		}
	}
	ping := func(want ...string) {
		t.Helper()
		c.received()
		if _, err := trustping.Ping(t.Context(), us, c.DID); err != nil {
			t.Fatal(err)
		}
		if got := c.received(); !slices.Equal(got, want) {
			t.Errorf("sent %q, want %q", got, want)
		}
	}
	ask()
	ping(trustping.TypePing, trustping.TypePing1)
	ask()
	ping(trustping.TypePing1)

	m, err := message.New(discover.TypeQueries, discover.QueriesBody{Queries: []discover.Query{all}})
	if err != nil {
		t.Fatal(err)
	}
	c.received()
	send(m)
	if got := <-c.got; got != discover.TypeDisclosures {
		t.Errorf("answered by %q", got)
	}

	c.mu.Lock()
	c.body = `{"disclosures":[{"feature-type":"protocol","id":"https://didcomm.org/trust-ping/2.0"}]}`
	c.mu.Unlock()
	ask()
	ping(trustping.TypePing, trustping.TypePing1)
}
