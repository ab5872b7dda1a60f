package agent_test

import (
	"context"
	"testing"
	"time"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/agenttest"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/transport"
	"github.com/didcomm-go/didcomm/transport/netguard"
	"github.com/didcomm-go/didcomm/transport/wstransport"
)

// socket is a WebSocket to an agent, of a client without an agent.
type socket struct {
	*wstransport.Client
	endpoint string
	got      chan transport.Packet
}

func dialSocket(t *testing.T, a *agent.Agent) *socket {
	t.Helper()
	client, err := wstransport.NewClient(wstransport.ClientConfig{Dial: (&netguard.Guard{AllowLoopback: true}).DialContext})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	routes, err := a.Packer().Routes(t.Context(), a.DID())
	if err != nil {
		t.Fatal(err)
	}
	s := &socket{client, routes[0].URI, make(chan transport.Packet, 100)}
	client.Bind(transport.HandlerFunc(func(_ context.Context, _ transport.Replier, p transport.Packet) error {
		s.got <- p
		return nil
	}))
	return s
}

func (s *socket) send(t *testing.T, p transport.Packet) {
	t.Helper()
	if err := s.Send(t.Context(), s.endpoint, p); err != nil {
		t.Fatal(err)
	}
}

func (s *socket) next(t *testing.T) transport.Packet {
	t.Helper()
	select {
	case p := <-s.got:
		return p
	case <-time.After(10 * time.Second):
		t.Fatal("nothing came by the WebSocket")
		return transport.Packet{}
	}
}

// A third party that carries a message of a peer on its own WebSocket gets no messages to the
// peer, which has an endpoint. By its own WebSocket, the peer gets messages as soon as it has
// acked a probe there.
func TestReturnRouteTheft(t *testing.T) {
	n, got := agenttest.NewNet(), make(inbox, 10)
	a, peer := n.Agent(t, agent.NewMux(chat(got, false)), agenttest.WebSocket()), newStranger(t, n, "mem://peer")
	thief, own := dialSocket(t, a), dialSocket(t, a)
	send := func() *message.Message {
		m := newMessage(t, peer.DID)
		if err := a.Send(t.Context(), m, agent.AwaitDelivery()); err != nil {
			t.Fatal(err)
		}
		return m
	}
	all := func(m *message.Message) { m.ReturnRoute = "all" }

	thief.send(t, peer.pack(t, peer.message(t, a, chatType, all)))
	got.next(t)
	for range 20 {
		m := send()
		if u := peer.next(t); u.Message.ID != m.ID {
			t.Fatalf("got message %s", u.Message.ID)
		}
	}
	// The thief gets a probe, which only the peer could open.
	if u := peer.open(t, thief.next(t)); u.Message.Type != emptyType || len(u.Message.PleaseAck) != 1 || len(thief.got) != 0 {
		t.Errorf("the thief has %v, and %d packets more", u.Message, len(thief.got))
	}

	own.send(t, peer.pack(t, peer.message(t, a, chatType, all)))
	got.next(t)
	send()
	peer.next(t)
	probe := peer.open(t, own.next(t)).Message
	ack := peer.message(t, a, emptyType, func(m *message.Message) { m.Ack = probe.PleaseAck })
	own.send(t, peer.pack(t, ack))
	own.send(t, peer.pack(t, peer.message(t, a, chatType, nil))) // is handled after the ack
	got.next(t)
	for range 20 {
		m := send()
		u := peer.open(t, own.next(t))
		if u.Message.ID != m.ID {
			t.Fatalf("got message %s", u.Message.ID)
		}
		own.send(t, peer.pack(t, peer.message(t, a, emptyType, func(m *message.Message) { m.Ack = u.Message.PleaseAck })))
	}
	peer.none(t)
	if len(thief.got) != 0 {
		t.Errorf("the thief has %d packets more", len(thief.got))
	}
}

// The ack of a probe proves no connection but the one that both went by, even if somebody
// else passes them on.
func TestProbeAckElsewhere(t *testing.T) {
	n, got := agenttest.NewNet(), make(inbox, 10)
	a, peer, thief := n.Agent(t, agent.NewMux(chat(got, false))), newStranger(t, n, "mem://peer"), newSession()
	peer.give(t, a, thief, peer.message(t, a, chatType, func(m *message.Message) { m.ReturnRoute = "all" }))
	got.next(t)
	send := func() {
		t.Helper()
		if err := a.Send(t.Context(), newMessage(t, peer.DID), agent.AwaitDelivery()); err != nil {
			t.Fatal(err)
		}
		peer.next(t)
	}
	send()
	probe := peer.open(t, thief.next(t)).Message
	for _, w := range []transport.Replier{new(call), newSession(), transport.NoReply{}} {
		peer.give(t, a, w, peer.message(t, a, emptyType, func(m *message.Message) { m.Ack = probe.PleaseAck }))
		send()
	}
	// An old ack is accepted, since the clock of the peer may be wrong, but may be a replay.
	peer.give(t, a, thief, peer.message(t, a, emptyType, func(m *message.Message) {
		m.Ack, m.CreatedTime = probe.PleaseAck, time.Now().AddDate(0, 0, -5)
	}))
	send()
	if len(thief.packets) != 0 {
		t.Errorf("%d packets by the session", len(thief.packets))
	}
}

// Between two agents with endpoints, a WebSocket that one has opened is proven by the agents
// themselves, and then carries the messages of the other.
func TestAgentsProve(t *testing.T) {
	aliceGot, bobGot := make(inbox, 10), make(inbox, 10)
	alice, bob := agenttest.Pair(t, agent.NewMux(chat(aliceGot, false)), agent.NewMux(chat(bobGot, false)), agenttest.WebSocket())
	if err := alice.Send(t.Context(), newMessage(t, bob.DID()), agent.ReturnRoute("all")); err != nil {
		t.Fatal(err)
	}
	bobGot.next(t)
	way := make(chan string, 100)
	for range 100 {
		err := bob.Send(t.Context(), newMessage(t, alice.DID()), agent.AwaitDelivery(), agent.Outcomes(func(o agent.Outcome) { way <- o.Way }))
		if err != nil {
			t.Fatal(err)
		}
		aliceGot.next(t)
		if w := <-way; w == "return route" {
			return
		}
	}
	t.Error("the connection is not proven")
}
