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
)

// A message that waits long in its lane does not count a try for each lease.
func TestWaitIsNoAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := agenttest.NewNet()
		var attempts []int
		a := n.Agent(t, chatMux(true, agent.HandlerFunc(func(ctx context.Context, w agent.Responder, in *agent.Inbound) error {
			if in.Message.ID == "first" {
				if err := w.Extend(ctx, 50*time.Minute); err != nil {
					return err
				}
				time.Sleep(49 * time.Minute)
				return nil
			}
			if attempts = append(attempts, w.Attempt()); len(attempts) == 1 {
				return agent.Retry(0, errors.New("not yet"))
			}
			return nil
		})))
		s, w := newStranger(t, n), newSession()
		for _, id := range []string{"first", "second"} {
			s.give(t, a, w, s.message(t, a, chatType, func(m *message.Message) { m.ID = id }))
		}
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		if len(attempts) != 2 || attempts[0] != 1 || attempts[1] != 2 {
			t.Errorf("attempts %v", attempts)
		}
	})
}
