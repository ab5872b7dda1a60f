package agent_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/agenttest"
	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/transport"
)

const (
	chatType   = "https://example.org/chat/1.0/line"
	reportType = "https://didcomm.org/report-problem/2.0/problem-report"
	emptyType  = "https://didcomm.org/empty/1.0/empty"
)

// stranger is a party without an agent. The test writes and reads its packets.
type stranger struct {
	*agenttest.Party
	// got has the packets that arrived at its endpoint.
	got chan *envelope.Unpacked
}

// newStranger returns a stranger with the given endpoints on the net.
func newStranger(t testing.TB, n *agenttest.Net, endpoints ...string) *stranger {
	t.Helper()
	s := &stranger{Party: agenttest.NewParty(t, endpoints...), got: make(chan *envelope.Unpacked, 100)}
	for _, e := range endpoints {
		err := n.Mem.Handle(e, transport.HandlerFunc(func(ctx context.Context, _ transport.Replier, p transport.Packet) error {
			u, err := s.Packer.Unpack(ctx, p.Data)
			if err != nil {
				t.Errorf("stranger cannot open a packet: %v", err)
				return err
			}
			s.got <- u
			return nil
		}))
		if err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// message returns a message from the stranger to an agent.
func (s *stranger) message(t testing.TB, to *agent.Agent, typ string, edit func(*message.Message)) *message.Message {
	t.Helper()
	m, err := message.New(typ, nil)
	if err != nil {
		t.Fatal(err)
	}
	m.From, m.To = s.DID, []string{to.DID()}
	if edit != nil {
		edit(m)
	}
	return m
}

// pack packs a message, by default with authcrypt.
func (s *stranger) pack(t testing.TB, m *message.Message, opts ...envelope.PackOption) transport.Packet {
	t.Helper()
	if len(opts) == 0 {
		opts = []envelope.PackOption{envelope.From(s.DID)}
	}
	list, err := s.Packer.Pack(t.Context(), m, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return transport.Packet{MediaType: list[0].MediaType, Data: list[0].Data}
}

// serve gives a packet to the agent as a transport does. It waits until the packet is
// accepted, and without a session also until the packet is handled.
func serve(ctx context.Context, a *agent.Agent, w transport.Replier, p transport.Packet) error {
	handled, err := a.ServePacket(ctx, w, p)
	switch w.(type) {
	case transport.Session, transport.NoReply:
	default:
		if handled != nil {
			<-handled
		}
	}
	return err
}

// give gives a message to the agent by the Replier w.
func (s *stranger) give(t testing.TB, a *agent.Agent, w transport.Replier, m *message.Message, opts ...envelope.PackOption) {
	t.Helper()
	if err := serve(t.Context(), a, w, s.pack(t, m, opts...)); err != nil {
		t.Fatalf("ServePacket: %v", err)
	}
}

// prove acks the probe that the agent has sent by the session.
func (s *stranger) prove(t testing.TB, a *agent.Agent, w *session) {
	t.Helper()
	probe := s.open(t, w.next(t)).Message
	if probe.Type != emptyType || len(probe.PleaseAck) != 1 {
		t.Fatalf("came by the session: %v", probe)
	}
	s.give(t, a, w, s.message(t, a, emptyType, func(m *message.Message) { m.From, m.To, m.Ack = probe.To[0], []string{probe.From}, probe.PleaseAck }))
}

func (s *stranger) open(t testing.TB, p transport.Packet) *envelope.Unpacked {
	t.Helper()
	u, err := s.Packer.Unpack(t.Context(), p.Data)
	if err != nil {
		t.Fatalf("stranger cannot open a packet: %v", err)
	}
	return u
}

// next returns the next message that arrives at the endpoint.
func (s *stranger) next(t testing.TB) *envelope.Unpacked {
	t.Helper()
	select {
	case u := <-s.got:
		return u
	case <-time.After(10 * time.Second):
		t.Fatal("nothing came to the endpoint")
		return nil
	}
}

// none checks that no packet is at the endpoint. All sends of the agent must have ended,
// for example by agent.AwaitDelivery or synctest.Wait.
func (s *stranger) none(t testing.TB) {
	t.Helper()
	select {
	case u := <-s.got:
		t.Fatalf("came to the endpoint: %v", u.Message)
	default:
	}
}

// call is a Replier that accepts one reply, as in HTTP.
type call struct {
	mu      sync.Mutex
	packets []transport.Packet
}

func (c *call) Reply(_ context.Context, p transport.Packet) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.packets) > 0 {
		return transport.ErrNoReturnRoute
	}
	c.packets = append(c.packets, p)
	return nil
}

// session is a transport.Session.
type session struct {
	packets chan transport.Packet
	done    chan struct{}
}

func newSession() *session {
	return &session{make(chan transport.Packet, 100), make(chan struct{})}
}

func (s *session) Reply(_ context.Context, p transport.Packet) error {
	select {
	case <-s.done:
		return transport.ErrNoReturnRoute
	case s.packets <- p:
		return nil
	}
}

func (s *session) Done() <-chan struct{} { return s.done }

func (s *session) next(t testing.TB) transport.Packet {
	t.Helper()
	select {
	case p := <-s.packets:
		return p
	case <-time.After(10 * time.Second):
		t.Fatal("nothing came by the session")
		return transport.Packet{}
	}
}

// inbox is a Handler that keeps its messages.
type inbox chan *agent.Inbound

func (i inbox) HandleMessage(_ context.Context, _ agent.Responder, in *agent.Inbound) error {
	i <- in
	return nil
}

func (i inbox) next(t testing.TB) *agent.Inbound {
	t.Helper()
	select {
	case in := <-i:
		return in
	case <-time.After(10 * time.Second):
		t.Fatal("no message came")
		return nil
	}
}

// replier is a Handler that answers every message.
var replier = agent.HandlerFunc(func(ctx context.Context, w agent.Responder, in *agent.Inbound) error {
	m, err := message.New(chatType, nil)
	if err != nil {
		return err
	}
	return w.Reply(ctx, m)
})

// sender is a function that is a transport.Sender with receipts.
type sender func(ctx context.Context, endpoint string, p transport.Packet) error

func (f sender) Send(ctx context.Context, endpoint string, p transport.Packet) error {
	return f(ctx, endpoint, p)
}

func (sender) Receipts() bool { return true }

// withSender gives an agent the Sender f for the scheme "test".
func withSender(f sender) agenttest.Option {
	return agenttest.Configure(func(cfg *agent.Config) { cfg.Senders["test"] = f })
}

func newMessage(t testing.TB, to ...string) *message.Message {
	t.Helper()
	m, err := message.New(chatType, nil)
	if err != nil {
		t.Fatal(err)
	}
	m.To = to
	return m
}

func wantError(t testing.TB, what string, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Errorf("%s: error %v, want %v", what, got, want)
	}
}

// storeOf returns a Store of parts. A nil part is in memory.
func storeOf(o store.Outbox, i store.Inbox) store.Store {
	if o == nil {
		o = store.NewOutbox(store.OutboxConfig{})
	}
	if i == nil {
		i = store.NewInbox(store.InboxConfig{})
	}
	return store.Join(o, i, store.NewRecords(store.RecordsConfig{}))
}
