package agent_test

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/agenttest"
	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/keyring"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/did"
	"github.com/didcomm-go/didcomm/did/didpeer"
	"github.com/didcomm-go/didcomm/transport"
)

// peer4 returns a stranger with a did:peer:4, and the short form of the DID.
func peer4(t *testing.T, n *agenttest.Net, endpoint string) (s *stranger, short string) {
	t.Helper()
	s = newStranger(t, n, endpoint)
	doc := &did.Document{
		Authentication: []did.Relationship{{ID: "#a"}},
		KeyAgreement:   []did.Relationship{{ID: "#k"}},
		Service:        []did.Service{did.NewDIDCommService("#s", endpoint)},
	}
	keys := make(map[string]*keyring.Key) // by fragment
	for fragment, curve := range map[string]keyring.Curve{"#a": keyring.Ed25519, "#k": keyring.X25519} {
		key, err := keyring.Generate(curve)
		if err != nil {
			t.Fatal(err)
		}
		method, err := did.NewVerificationMethod(fragment, "", did.TypeMultikey, key.Public())
		if err != nil {
			t.Fatal(err)
		}
		keys[fragment], doc.VerificationMethod = key, append(doc.VerificationMethod, method)
	}
	id, err := didpeer.New4(doc)
	if err != nil {
		t.Fatal(err)
	}
	short, ok := didpeer.Short(id)
	if !ok {
		t.Fatalf("%s has no short form", id)
	}
	if _, err := s.Resolver.Resolve(t.Context(), id); err != nil { // so that its resolver knows the short form
		t.Fatal(err)
	}
	s.DID = id
	for fragment, key := range keys {
		for _, kid := range []string{id + fragment, short + fragment} {
			if err := s.Keys.Add(kid, key); err != nil {
				t.Fatal(err)
			}
		}
	}
	return s, short
}

// The long and the short form of a did:peer:4 are one party: the short form can answer a
// Request to the long form, and the same message from both is handled once.
func TestDIDForms(t *testing.T) {
	n, got := agenttest.NewNet(), make(inbox, 2)
	a := n.Agent(t, got)
	s, short := peer4(t, n, "mem://four")
	asked, done := request(t, a, s, newMessage(t, s.DID))
	// From now on our resolver knows the short form.
	answer := s.message(t, a, chatType, func(m *message.Message) { m.From, m.ThreadID = short, asked.ID })
	s.give(t, a, new(call), answer, envelope.From(short))
	if r := <-done; r.err != nil || r.in.From != short {
		t.Fatalf("answer %+v, error %v", r.in, r.err)
	}
	s.give(t, a, new(call), s.message(t, a, chatType, func(m *message.Message) { m.ID = answer.ID }))
	if len(got) != 0 {
		t.Error("the same id from the long form was taken for new")
	}
}

// If an agent has the keys of two DIDs, Inbound.To is the DID that a message was sent to.
func TestTwoDIDs(t *testing.T) {
	n := agenttest.NewNet()
	second := agenttest.NewParty(t)
	a := n.Agent(t, replier, agenttest.Configure(func(cfg *agent.Config) {
		cfg.DID, cfg.Packer = second.DID, second.Packer
	}))
	// A third DID in the same keyring.
	key, err := keyring.Generate(keyring.X25519)
	if err != nil {
		t.Fatal(err)
	}
	third, err := didpeer.New2([]didpeer.Key{{Purpose: didpeer.KeyAgreement, Public: key.Public()}})
	if err != nil {
		t.Fatal(err)
	}
	if err := second.Keys.Add(third+"#key-1", key); err != nil {
		t.Fatal(err)
	}
	s, c := newStranger(t, n, "mem://stranger"), new(call)
	m := s.message(t, a, chatType, func(m *message.Message) { m.To, m.ReturnRoute = []string{third}, "all" })
	s.give(t, a, c, m)
	if u := s.open(t, c.packets[0]); u.Message.From != third {
		t.Errorf("answered as %s", u.Message.From)
	}
	w := newSession()
	s.give(t, a, w, s.message(t, a, chatType, func(m *message.Message) { m.To, m.ReturnRoute = []string{third}, "all" }))
	s.open(t, w.next(t))
	if err := a.Send(t.Context(), newMessage(t, s.DID), agent.From(third), agent.AwaitDelivery()); err != nil {
		t.Fatal(err)
	}
	s.next(t)
	s.prove(t, a, w)
	w.next(t) // the reply to the ack
	// The session is a return route for third only.
	for from, bySession := range map[string]bool{third: true, "": false, third + "#key-1": true} {
		var opts []agent.SendOption
		if from != "" {
			opts = append(opts, agent.From(from))
		}
		if err := a.Send(t.Context(), newMessage(t, s.DID), append(opts, agent.AwaitDelivery())...); err != nil {
			t.Fatal(err)
		}
		want := second.DID
		if bySession {
			want = third
			if u := s.open(t, w.next(t)); u.Message.From != want {
				t.Errorf("sent as %s", u.Message.From)
			}
		} else if u := s.next(t); u.Message.From != want {
			t.Errorf("sent as %s", u.Message.From)
		}
	}
}

// A peer may name our key without its DID. The message is for us nevertheless, and its
// connection becomes a return route.
func TestRelativeKID(t *testing.T) {
	n, got := agenttest.NewNet(), make(inbox, 1)
	a, s, w := n.Agent(t, got), newStranger(t, n), newSession()
	p := s.pack(t, s.message(t, a, chatType, func(m *message.Message) { m.ReturnRoute = "all" }))
	p.Data = bytes.Replace(p.Data, []byte(`"kid":"`+a.DID()), []byte(`"kid":"`), 1)
	if err := serve(t.Context(), a, w, p); err != nil {
		t.Fatal(err)
	}
	if in := got.next(t); in.To != a.DID() {
		t.Errorf("came to %q", in.To)
	}
	if err := a.Send(t.Context(), newMessage(t, s.DID)); err != nil {
		t.Error(err)
	}
}

// If a session fails during a reply, the reply leaves by another way.
func TestSessionFails(t *testing.T) {
	n, got := agenttest.NewNet(), make(inbox, 1)
	a, s := n.Agent(t, got), newStranger(t, n, "mem://stranger")
	w := failing{make(chan struct{})}
	s.give(t, a, w, s.message(t, a, chatType, func(m *message.Message) { m.ReturnRoute = "all" }))
	got.next(t)
	m := newMessage(t, s.DID)
	if err := a.Send(t.Context(), m, agent.AwaitDelivery()); err != nil {
		t.Fatal(err)
	}
	if u := s.next(t); u.Message.ID != m.ID {
		t.Errorf("got %s", u.Message.ID)
	}
	hidden := newStranger(t, n)
	hidden.give(t, a, w, hidden.message(t, a, chatType, func(m *message.Message) { m.ReturnRoute = "all" }))
	got.next(t)
	// Without another way, the message waits for another session.
	m = newMessage(t, hidden.DID)
	if err := a.Send(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	next := newSession()
	hidden.give(t, a, next, hidden.message(t, a, chatType, func(m *message.Message) { m.ReturnRoute = "all" }))
	got.next(t)
	if u := hidden.open(t, next.next(t)); u.Message.ID != m.ID {
		t.Errorf("got %s", u.Message.ID)
	}
}

// failing is a session that accepts no packets but has not ended.
type failing struct{ done chan struct{} }

func (f failing) Reply(context.Context, transport.Packet) error { return errors.New("busy") }
func (f failing) Done() <-chan struct{}                         { return f.done }

// One connection cannot use up all return routes.
func TestShareOfSessions(t *testing.T) {
	n, got := agenttest.NewNet(), make(inbox, 10)
	a := n.Agent(t, got, agenttest.Configure(func(cfg *agent.Config) { cfg.MaxSessions = 2000 }))
	greedy, other := newStranger(t, n), newStranger(t, n)
	bind := func(s *stranger, w transport.Replier, thread string) {
		s.give(t, a, w, s.message(t, a, chatType, func(m *message.Message) { m.ReturnRoute, m.ThreadID = "thread", thread }))
		got.next(t)
	}
	send := func(s *stranger, thread string) error {
		m := newMessage(t, s.DID)
		m.ThreadID = thread
		return a.Send(t.Context(), m)
	}
	w1, w2 := newSession(), newSession()
	for _, thread := range []string{"1", "1", "2", "3"} { // the second binds nothing new
		bind(greedy, w1, thread)
	}
	bind(other, w2, "1")
	for thread, want := range map[string]error{"1": nil, "2": nil, "3": agent.ErrNoRoute} {
		wantError(t, "Send in thread "+thread, send(greedy, thread), want)
	}
	wantError(t, "Send to the other", send(other, "1"), nil)
	bind(greedy, w2, "3")           // another connection has room
	bind(greedy, newSession(), "2") // the older session stays, in case this session ends
	bind(greedy, w1, "4")
	for thread, want := range map[string]error{"1": nil, "2": nil, "3": nil, "4": agent.ErrNoRoute} {
		wantError(t, "Send in thread "+thread, send(greedy, thread), want)
	}
}

// There are at most MaxSessions return routes. Ended sessions make room.
func TestMaxSessions(t *testing.T) {
	n, got := agenttest.NewNet(), make(inbox, 10)
	a := n.Agent(t, got, agenttest.Configure(func(cfg *agent.Config) { cfg.MaxSessions = 2 }))
	bind := func() (*stranger, *session) {
		s, w := newStranger(t, n), newSession()
		s.give(t, a, w, s.message(t, a, chatType, func(m *message.Message) { m.ReturnRoute = "all" }))
		got.next(t)
		return s, w
	}
	first, w1 := bind()
	second, w2 := bind()
	third, _ := bind()
	for _, b := range []struct {
		s *stranger
		w *session
	}{{first, w1}, {second, w2}} {
		if err := a.Send(t.Context(), newMessage(t, b.s.DID)); err != nil {
			t.Fatal(err)
		}
		b.w.next(t)
	}
	wantError(t, "Send beyond the limit", a.Send(t.Context(), newMessage(t, third.DID)), agent.ErrNoRoute)
	close(w1.done)
	fourth, w4 := bind()
	if err := a.Send(t.Context(), newMessage(t, fourth.DID)); err != nil {
		t.Fatal(err)
	}
	w4.next(t)
}

// flaky is an Outbox in which each operation fails once.
type flaky struct {
	store.Outbox
	lease, ack chan error
}

func (f flaky) Lease(ctx context.Context, d time.Duration, classes ...store.Class) (*store.Lease[store.Item], error) {
	select {
	case err := <-f.lease:
		return nil, err
	default:
		return f.Outbox.Lease(ctx, d, classes...)
	}
}

func (f flaky) Ack(ctx context.Context, l *store.Lease[store.Item]) error {
	select {
	case err := <-f.ack:
		return err
	default:
		return f.Outbox.Ack(ctx, l)
	}
}

// Workers go on after a store has failed for a time.
func TestOutboxFails(t *testing.T) {
	f := flaky{store.NewOutbox(store.OutboxConfig{}), make(chan error, 1), make(chan error, 1)}
	f.lease <- errors.New("disk is full")
	f.ack <- errors.New("disk is full")
	n := agenttest.NewNet()
	a := n.Agent(t, nil, agenttest.Configure(func(cfg *agent.Config) {
		cfg.Store, cfg.Workers, cfg.MinBackoff = storeOf(f, nil), 1, time.Millisecond
	}))
	s := newStranger(t, n, "mem://stranger")
	for range 2 {
		if err := a.Send(t.Context(), newMessage(t, s.DID), agent.AwaitDelivery()); err != nil {
			t.Fatal(err)
		}
		s.next(t)
	}
}

type brokenInbox struct{ store.Inbox }

func (brokenInbox) Add(context.Context, store.Received, time.Duration) (*store.Lease[store.Received], *store.Known, error) {
	return nil, nil, errors.New("disk is full")
}

// If a message cannot be stored, the peer is asked to try again later.
func TestInboxFails(t *testing.T) {
	n, got := agenttest.NewNet(), make(inbox, 1)
	a, s := n.Agent(t, got, agenttest.Configure(func(cfg *agent.Config) { cfg.Store = storeOf(nil, brokenInbox{store.NewInbox(store.InboxConfig{})}) })), newStranger(t, n)
	err := serve(t.Context(), a, new(call), s.pack(t, s.message(t, a, chatType, nil)))
	var busy *transport.BusyError
	if !errors.As(err, &busy) || busy.RetryAfter <= 0 || len(got) != 0 {
		t.Errorf("error %v, %d handled", err, len(got))
	}
	// On a session, a report asks the peer.
	w := newSession()
	m := s.message(t, a, chatType, func(m *message.Message) { m.ReturnRoute = "all" })
	if err := serve(t.Context(), a, w, s.pack(t, m)); !errors.As(err, &busy) {
		t.Errorf("error %v", err)
	}
	report := s.open(t, w.next(t)).Message
	if p, err := agent.ParseProblemReport(report); err != nil || p.Code != busyCode || report.ParentThreadID != m.ID {
		t.Errorf("told %+v in %+v, %v", p, report, err)
	}
}
