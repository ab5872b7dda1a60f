package agent_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/agenttest"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/transport"
)

// traced sets Trace.Accepted.
func traced(accepted func(context.Context, agent.Event)) agenttest.Option {
	return agenttest.Configure(func(cfg *agent.Config) { cfg.Trace = &agent.Trace{Accepted: accepted} })
}

// A message in the inbox is handled even if a hook of Trace panics.
func TestPanicAfterInbox(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, got := agenttest.NewNet(), make(inbox, 2)
		a := n.Agent(t, got, traced(func(context.Context, agent.Event) { panic("boom") }))
		s := newStranger(t, n)
		_, err := transport.Contain(a).ServePacket(t.Context(), newSession(), s.pack(t, s.message(t, a, chatType, nil)))
		if !errors.As(err, new(*transport.PanicError)) {
			t.Errorf("error %v", err)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if len(got) != 1 {
			t.Errorf("handled %d times", len(got))
		}
	})
}

// A Request ends in time even if a hook of Trace panics.
func TestPanicAtAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := agenttest.NewNet()
		a := n.Agent(t, nil, traced(func(context.Context, agent.Event) { panic("boom") }))
		s := newStranger(t, n, "mem://stranger")
		done := make(chan error, 1)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		go func() {
			_, err := a.Request(ctx, newMessage(t, s.DID))
			done <- err
		}()
		asked := s.next(t).Message
		answer := s.message(t, a, chatType, func(m *message.Message) { m.ThreadID = asked.ID })
		_, _ = transport.Contain(a).ServePacket(t.Context(), newSession(), s.pack(t, answer))
		select {
		case err := <-done:
			wantError(t, "Request", err, context.DeadlineExceeded)
		case <-time.After(time.Hour):
			t.Fatal("the Request waits on")
		}
	})
}
