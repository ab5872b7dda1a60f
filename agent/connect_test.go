package agent_test

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/agenttest"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/transport"
)

// answering replies to each chat message, and gives the connection to the test.
func answering(conns chan *agent.Connection) agent.Handler {
	return agent.NewMux(agent.Handle(agent.Protocol{
		PIURI: "https://example.org/chat/1.0",
		Messages: map[string]agent.Handler{chatType: agent.HandlerFunc(func(ctx context.Context, w agent.Responder, in *agent.Inbound) error {
			conns <- w.Connection()
			m, err := message.New(chatType, nil)
			if err != nil {
				return err
			}
			return w.Reply(ctx, m)
		})},
	}))
}

// Connect sends a request by a WebSocket, and the connection carries messages both ways.
func TestConnect(t *testing.T) {
	conns, came := make(chan *agent.Connection, 10), make(chan *agent.Inbound, 10)
	listen := agent.HandlerFunc(func(_ context.Context, _ agent.Responder, in *agent.Inbound) error {
		came <- in
		return nil
	})
	var cut func()
	alice, bob := agenttest.Pair(t, listen, answering(conns), agenttest.WebSocket(), agenttest.Hidden(), agenttest.Configure(func(cfg *agent.Config) {
		if cut == nil { // of alice, the first of the two
			cut = func() { _ = cfg.Senders["ws"].(io.Closer).Close() }
		}
	}))
	m := newMessage(t)
	m.To = []string{bob.DID()}
	conn, in, err := alice.Connect(t.Context(), m)
	if err != nil || in.From != bob.DID() || in.Message.ThreadID != m.ID {
		t.Fatalf("answer %+v, %v", in, err)
	}
	theirs := <-conns
	if err := theirs.Push(t.Context(), newMessage(t)); err != nil {
		t.Error(err)
	}
	if in := <-came; in.From != bob.DID() {
		t.Errorf("from %s", in.From)
	}
	other := &stranger{Party: agenttest.NewParty(t)}
	sent := other.message(t, alice, chatType, nil)
	if err := theirs.Relay(t.Context(), other.pack(t, sent)); err != nil {
		t.Error(err)
	}
	if in := <-came; in.From != other.DID || in.Message.ID != sent.ID {
		t.Errorf("relayed %+v", in.Message)
	}
	if err := conn.Push(t.Context(), newMessage(t)); err != nil {
		t.Error(err)
	}
	again := <-conns
	if again.Done() != theirs.Done() {
		t.Error("another connection")
	}
	ended, not := make(chan struct{}), theirs.AfterEnd(func() { t.Error("called after stop") })
	if !not() {
		t.Error("not stopped")
	}
	theirs.AfterEnd(func() { close(ended) })
	select {
	case <-ended:
		t.Error("ended")
	case <-conn.Done():
		t.Error("ended")
	default:
	}
	cut()
	<-ended
	<-conn.Done()
	if err := conn.Push(t.Context(), newMessage(t)); !errors.Is(err, agent.ErrNoRoute) {
		t.Errorf("Push after the end: %v", err)
	}
	if err := conn.Relay(t.Context(), transport.Packet{Data: []byte("{}")}); !errors.Is(err, agent.ErrNoRoute) {
		t.Errorf("Relay after the end: %v", err)
	}
}

// Connect fails where no connection can stay open, and without an answer.
func TestConnectFails(t *testing.T) {
	refusing := agent.HandlerFunc(func(context.Context, agent.Responder, *agent.Inbound) error {
		return message.NewProblem("e.p.req", nil)
	})
	silent := agent.HandlerFunc(func(context.Context, agent.Responder, *agent.Inbound) error { return nil })
	var problem *message.Problem
	for name, test := range map[string]struct {
		way  agenttest.Option
		h    agent.Handler
		in   time.Duration
		want func(error) bool
	}{
		"http":    {agenttest.HTTP(), silent, time.Minute, func(err error) bool { return errors.Is(err, agent.ErrNoRoute) }},
		"refused": {agenttest.WebSocket(), refusing, time.Minute, func(err error) bool { return errors.As(err, &problem) && problem.Code == "e.p.req" }},
		"silent":  {agenttest.WebSocket(), silent, time.Second, func(err error) bool { return errors.Is(err, context.DeadlineExceeded) }},
	} {
		t.Run(name, func(t *testing.T) {
			alice, bob := agenttest.Pair(t, nil, test.h, test.way, agenttest.Hidden())
			ctx, cancel := context.WithTimeout(t.Context(), test.in)
			defer cancel()
			m := newMessage(t)
			m.To = []string{bob.DID()}
			if conn, in, err := alice.Connect(ctx, m); conn != nil || in != nil || !test.want(err) {
				t.Errorf("%v, %v, %v", conn, in, err)
			}
			m.To = []string{bob.DID(), alice.DID()}
			if _, _, err := alice.Connect(ctx, m); err == nil {
				t.Error("two recipients")
			}
		})
	}
	a := agenttest.NewNet().Agent(t, nil)
	a.Stop()
	<-a.Done()
	m := newMessage(t)
	m.To = []string{a.DID()}
	if _, _, err := a.Connect(t.Context(), m); !errors.Is(err, agent.ErrStopped) {
		t.Errorf("after Run: %v", err)
	}
}
