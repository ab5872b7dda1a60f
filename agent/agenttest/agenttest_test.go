package agenttest_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/agenttest"
	"github.com/didcomm-go/didcomm/agent/message"
)

const helloType = "https://example.org/hello/1.0/hello"

var polite = agent.HandlerFunc(func(ctx context.Context, w agent.Responder, _ *agent.Inbound) error {
	m, err := message.New(helloType, nil)
	if err != nil {
		return err
	}
	return w.Reply(ctx, m)
})

func hello(t testing.TB, from, to *agent.Agent) error {
	t.Helper()
	m, err := message.New(helloType, nil)
	if err != nil {
		t.Fatal(err)
	}
	m.To = []string{to.DID()}
	in, err := from.Request(t.Context(), m)
	if err != nil {
		return err
	}
	if in.From != to.DID() {
		return fmt.Errorf("answered by %s", in.From)
	}
	return nil
}

func TestPair(t *testing.T) {
	for name, opts := range map[string][]agenttest.Option{
		"mem": nil, "http": {agenttest.HTTP()}, "websocket": {agenttest.WebSocket()},
	} {
		t.Run(name, func(t *testing.T) {
			alice, bob := agenttest.Pair(t, polite, polite, opts...)
			if err := hello(t, alice, bob); err != nil {
				t.Errorf("alice to bob: %v", err)
			}
			if err := hello(t, bob, alice); err != nil {
				t.Errorf("bob to alice: %v", err)
			}
		})
	}
}

func TestHidden(t *testing.T) {
	alice, bob := agenttest.Pair(t, polite, polite, agenttest.Hidden())
	if err := hello(t, alice, bob); err != nil {
		t.Errorf("alice to bob: %v", err)
	}
	if err := hello(t, bob, alice); err == nil {
		t.Error("bob reached alice, who has no endpoint")
	}
}

func TestConfigure(t *testing.T) {
	now := time.Unix(2e9, 0)
	got := make(chan *agent.Inbound, 1)
	alice, bob := agenttest.Pair(t, nil, agent.HandlerFunc(func(_ context.Context, _ agent.Responder, in *agent.Inbound) error {
		got <- in
		return nil
	}), agenttest.Configure(func(cfg *agent.Config) { cfg.Now = func() time.Time { return now } }))
	m := &message.Message{Type: helloType, To: []string{bob.DID()}}
	if err := alice.Send(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	if in := <-got; !in.Message.CreatedTime.Equal(now) {
		t.Errorf("created at %v", in.Message.CreatedTime)
	}
}

// Agents that send messages in memory work and end in a bubble of synctest.
func TestPairInBubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		alice, bob := agenttest.Pair(t, nil, polite)
		if err := hello(t, alice, bob); err != nil {
			t.Error(err)
		}
	})
}

func TestThreeAgents(t *testing.T) {
	n := agenttest.NewNet()
	agents := []*agent.Agent{n.Agent(t, polite), n.Agent(t, polite), n.Agent(t, polite, agenttest.HTTP())}
	for _, from := range agents[:2] {
		for _, to := range agents[:2] {
			if from != to {
				if err := hello(t, from, to); err != nil {
					t.Error(err)
				}
			}
		}
	}
	if err := hello(t, agents[2], agents[0]); err != nil {
		t.Errorf("http to mem: %v", err)
	}
}
