package agent_test

import (
	"context"
	"testing"
	"time"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/agenttest"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/agent/store"
)

// slowMemory is an Inbox whose Remembered takes long.
type slowMemory struct {
	store.Inbox
	asked   chan struct{}
	release chan struct{}
}

func (s slowMemory) Remembered(ctx context.Context, sender string, ids []string) ([]string, error) {
	close(s.asked)
	<-s.release
	return s.Inbox.Remembered(ctx, sender, ids)
}

// A reply that waits for the inbox, because of its acks, does not delay the next reply.
func TestReplyWaitsForNoOther(t *testing.T) {
	n, box := agenttest.NewNet(), slowMemory{store.NewInbox(store.InboxConfig{}), make(chan struct{}), make(chan struct{})}
	a := n.Agent(t, agent.HandlerFunc(func(ctx context.Context, w agent.Responder, _ *agent.Inbound) error {
		first, second := make(chan error, 1), make(chan error, 1)
		go func() { first <- w.Reply(ctx, newMessage(t)) }()
		<-box.asked
		go func() { second <- w.Reply(ctx, newMessage(t)) }()
		select {
		case err := <-second:
			wantError(t, "second", err, nil)
		case <-time.After(10 * time.Second):
			t.Error("the second reply waits")
		}
		close(box.release)
		return <-first
	}), agenttest.Configure(func(cfg *agent.Config) { cfg.Store = storeOf(nil, box) }))
	s := newStranger(t, n, "mem://stranger")
	asks := s.message(t, a, chatType, func(m *message.Message) { m.PleaseAck = []string{""} })
	s.give(t, a, new(call), asks)
	if s.next(t).Message.Ack != nil {
		t.Error("the second reply acks")
	}
	if acks := s.next(t).Message.Ack; len(acks) != 1 || acks[0] != asks.ID {
		t.Errorf("acked %q", acks)
	}
}
