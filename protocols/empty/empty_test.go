package empty_test

import (
	"context"
	"slices"
	"testing"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/agenttest"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/protocols/empty"
)

// A message that asks for an ack gets an empty message, which a Request with please_ack
// waits for.
func TestAckAskedFor(t *testing.T) {
	alice, bob := agenttest.Pair(t, nil, agent.NewMux(empty.Handle()))
	m, err := message.New(empty.TypeEmpty, nil)
	if err != nil {
		t.Fatal(err)
	}
	m.To, m.PleaseAck = []string{bob.DID()}, []string{""}
	in, err := alice.Request(t.Context(), m)
	if err != nil {
		t.Fatal(err)
	}
	if in.Message.Type != empty.TypeEmpty || !slices.Equal(in.Message.Ack, []string{m.ID}) || len(in.Message.PleaseAck) != 0 {
		t.Errorf("answer %+v", in.Message)
	}
}

func TestAck(t *testing.T) {
	got := make(chan *agent.Inbound, 1)
	alice, bob := agenttest.Pair(t, nil, agent.HandlerFunc(func(_ context.Context, _ agent.Responder, in *agent.Inbound) error {
		got <- in
		return nil
	}))
	if err := empty.Ack(t.Context(), alice, bob.DID(), "thread", "1", "2"); err != nil {
		t.Fatal(err)
	}
	m := (<-got).Message
	if m.Type != empty.TypeEmpty || m.ThreadID != "thread" || !slices.Equal(m.Ack, []string{"1", "2"}) || string(m.Body) != "{}" {
		t.Errorf("got %+v", m)
	}
}

// A hidden agent opens a return route with an empty message. From then on it is reached
// on this route.
func TestReturnRoute(t *testing.T) {
	got, opened := make(chan *agent.Inbound, 1), make(chan *agent.Inbound, 1)
	keep := func(to chan *agent.Inbound) agent.Handler {
		return agent.HandlerFunc(func(ctx context.Context, _ agent.Responder, in *agent.Inbound) error {
			if len(in.Message.Ack) > 0 {
				return nil // the ack of a message over the WebSocket
			}
			select {
			case to <- in:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	}
	alice, bob := agenttest.Pair(t, keep(got), keep(opened), agenttest.WebSocket(), agenttest.Hidden())
	if err := empty.Send(t.Context(), alice, bob.DID(), agent.ReturnRoute("all")); err != nil {
		t.Fatal(err)
	}
	<-opened
	for range 3 {
		m, err := message.New("https://example.org/chat/1.0/line", nil)
		if err != nil {
			t.Fatal(err)
		}
		m.To = []string{alice.DID()}
		if err := bob.Send(t.Context(), m); err != nil {
			t.Fatal(err)
		}
		if in := <-got; in.Message.ID != m.ID || in.From != bob.DID() {
			t.Errorf("got %+v", in.Message)
		}
	}
}

func TestNotAnswered(t *testing.T) {
	if err := (empty.Handler{}).HandleMessage(t.Context(), nil, nil); err != nil {
		t.Error(err)
	}
}
