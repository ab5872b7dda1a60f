package agent_test

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/agenttest"
	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/transport"
)

// unclear is a store that loses its connection once, at a commit that took effect.
type unclear struct{ lost atomic.Bool }

var errUnclear = errors.New("connection lost at the commit")

func (u *unclear) end(err error) error {
	if err == nil && u.lost.CompareAndSwap(false, true) {
		return errUnclear
	}
	return err
}

type unclearOutbox struct {
	store.Outbox
	*unclear
}

func (o unclearOutbox) Term(ctx context.Context, l *store.Lease[store.Item], reason string) error {
	return o.end(o.Outbox.Term(ctx, l, reason))
}

type unclearInbox struct {
	store.Inbox
	*unclear
}

func (b unclearInbox) Ack(ctx context.Context, l *store.Lease[store.Received], replies ...store.Packet) error {
	return b.end(b.Inbox.Ack(ctx, l, replies...))
}

// Send and the hook report that a message has failed for good, even if the outbox has not
// confirmed it.
func TestUnclearBurial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		box, buried := unclearOutbox{store.NewOutbox(store.OutboxConfig{}), new(unclear)}, make(chan agent.Outcome, 10)
		a := agenttest.NewNet().Agent(t, nil, withSender(func(context.Context, string, transport.Packet) error { return failure(false, 0) }),
			agenttest.Configure(func(cfg *agent.Config) {
				cfg.Store, cfg.Trace = storeOf(box, nil), &agent.Trace{Buried: func(_ context.Context, o agent.Outcome) { buried <- o }}
			}))
		err := a.Send(t.Context(), newMessage(t, agenttest.NewParty(t, "test://one").DID), agent.AwaitDelivery())
		wantError(t, "Send", err, agent.ErrUndelivered)
		synctest.Wait() // Send does not wait for the hook
		if !box.lost.Load() || len(buried) != 1 {
			t.Errorf("lost %v, told %d times", box.lost.Load(), len(buried))
		}
	})
}

// A message whose handler has returned is done as soon as the inbox works again.
func TestUnclearAck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, box, got := agenttest.NewNet(), unclearInbox{store.NewInbox(store.InboxConfig{}), new(unclear)}, make(inbox, 10)
		a, s := n.Agent(t, got, withInbox(box)), newStranger(t, n)
		start := time.Now()
		s.give(t, a, new(call), s.message(t, a, chatType, nil))
		if took := time.Since(start); !box.lost.Load() || took > 5*time.Second {
			t.Errorf("lost %v, it took %v", box.lost.Load(), took)
		}
		time.Sleep(time.Hour)
		if len(got) != 1 || !slices.Equal(states(t, box.Inbox), []store.State{store.Done}) {
			t.Errorf("handled %d times, %v", len(got), states(t, box.Inbox))
		}
	})
}
