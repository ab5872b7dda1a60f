package agent_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/agenttest"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/transport"
)

// ReplyWithin returns when the reply has left, or when its time is over. The reply leaves in
// both cases.
func TestReplyWithin(t *testing.T) {
	for name, tt := range map[string]struct{ takes, wait, want time.Duration }{
		"at once":  {0, time.Second, 0},
		"in time":  {300 * time.Millisecond, time.Second, 300 * time.Millisecond},
		"too late": {5 * time.Second, time.Second, time.Second},
		"no wait":  {5 * time.Second, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := agenttest.NewNet()
				var took time.Duration
				a := n.Agent(t, agent.HandlerFunc(func(ctx context.Context, w agent.Responder, _ *agent.Inbound) error {
					reply, err := message.New(chatType, nil)
					if err != nil {
						return err
					}
					begin := time.Now()
					err = w.ReplyWithin(ctx, reply, tt.wait)
					took = time.Since(begin)
					return err
				}))
				arrived := make(chan transport.Packet, 1)
				err := n.Mem.Handle("mem://slow", transport.HandlerFunc(func(_ context.Context, _ transport.Replier, p transport.Packet) error {
					time.Sleep(tt.takes)
					arrived <- p
					return nil
				}))
				if err != nil {
					t.Fatal(err)
				}
				s := &stranger{Party: agenttest.NewParty(t, "mem://slow")}
				s.give(t, a, new(call), s.message(t, a, chatType, func(m *message.Message) { m.ReturnRoute = "none" }))
				<-arrived
				if took != tt.want {
					t.Errorf("took %v, want %v", took, tt.want)
				}
			})
		})
	}
}
