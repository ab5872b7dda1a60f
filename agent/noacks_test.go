package agent_test

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/agenttest"
	"github.com/didcomm-go/didcomm/agent/contact"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/transport"
)

// noAcksTest has an agent that is restarted, and a peer that it reaches by a connection
// without receipts.
type noAcksTest struct {
	own   *agenttest.Party
	peer  *stranger
	store store.Store
	line  *sessionSender
	agent *agent.Agent
	ended chan time.Time // gets the time at which a message counts as delivered
}

func newNoAcksTest(t *testing.T, st store.Store) *noAcksTest {
	t.Helper()
	return &noAcksTest{
		own: agenttest.NewParty(t), peer: &stranger{Party: agenttest.NewParty(t, "session://peer")},
		store: st, line: new(sessionSender), ended: make(chan time.Time, 100),
	}
}

// restart stops the agent if it runs, and starts another one with the same store.
func (w *noAcksTest) restart(t *testing.T) {
	t.Helper()
	if w.agent != nil {
		w.agent.Stop()
	}
	a, err := agent.Start(context.WithoutCancel(t.Context()), agent.Config{
		DID: w.own.DID, Packer: w.own.Packer, Store: w.store, Senders: map[string]transport.Sender{"session": w.line},
		Trace: &agent.Trace{Sent: func(_ context.Context, o agent.Outcome) {
			if o.Ended() {
				w.ended <- time.Now()
			}
		}},
		Handler: agent.HandlerFunc(func(ctx context.Context, r agent.Responder, in *agent.Inbound) error {
			if in.Message.Type != chatType {
				return nil
			}
			m, err := message.New(chatType, nil)
			if err != nil {
				return err
			}
			return r.Reply(ctx, m)
		}),
	})
	if err != nil {
		t.Fatal(err)
	}
	w.agent = a
	t.Cleanup(a.Stop)
}

// send sends a message, which asks for an ack, and returns its id and the time until it counts
// as delivered.
func (w *noAcksTest) send(t *testing.T) (id string, took time.Duration) {
	t.Helper()
	start := time.Now()
	if err := w.agent.Send(t.Context(), newMessage(t, w.peer.DID)); err != nil {
		t.Fatal(err)
	}
	m := w.peer.open(t, w.line.session().next(t)).Message
	if !slices.Equal(m.PleaseAck, []string{m.ID}) {
		t.Errorf("please_ack is %q", m.PleaseAck)
	}
	return m.ID, (<-w.ended).Sub(start)
}

// takes sends a message and checks the time until it counts as delivered.
func (w *noAcksTest) takes(t *testing.T, want time.Duration) (id string) {
	t.Helper()
	id, took := w.send(t)
	if took != want {
		t.Errorf("delivered after %v, want %v", took, want)
	}
	return id
}

func (w *noAcksTest) ack(t *testing.T, id string) {
	t.Helper()
	w.peer.give(t, w.agent, w.line.session(), w.peer.message(t, w.agent, emptyType, func(m *message.Message) { m.Ack = []string{id} }))
	synctest.Wait()
}

// A contact that never acks is known as such after a restart, until it acks.
func TestNoAcks(t *testing.T) {
	const wait = 30 * time.Second
	for name, f := range map[string]func(t *testing.T, w *noAcksTest){
		"after a restart": func(t *testing.T, w *noAcksTest) {
			w.takes(t, wait)
			w.takes(t, 0)
			w.restart(t)
			w.takes(t, 0)
		},
		"ack after all": func(t *testing.T, w *noAcksTest) {
			w.takes(t, wait)
			w.restart(t)
			w.ack(t, w.takes(t, 0))
			w.restart(t)
			w.takes(t, wait)
		},
		"another has learned it": func(t *testing.T, w *noAcksTest) {
			w.ack(t, "nothing")
			if err := w.agent.Contacts().Keep(t.Context(), w.own.DID, w.peer.DID); err != nil {
				t.Fatal(err)
			}
			if err := w.agent.Contacts().Learn(t.Context(), w.own.DID, w.peer.DID, func(d *contact.Dialect) { d.NoAcks = true }); err != nil {
				t.Fatal(err)
			}
			w.takes(t, 0)
		},
		"ack of somebody else": func(t *testing.T, w *noAcksTest) {
			w.takes(t, wait)
			w.restart(t)
			id, peer := w.takes(t, 0), w.peer
			w.peer = &stranger{Party: agenttest.NewParty(t, "session://other")}
			w.ack(t, id)
			w.peer = peer
			w.restart(t)
			w.takes(t, 0)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newNoAcksTest(t, store.New(store.Config{}))
				w.restart(t)
				f(t, w)
				w.agent.Stop()
			})
		})
	}
}

// Nothing is stored about a stranger. After a restart, acks of the stranger are waited for again.
func TestNoAcksStranger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newNoAcksTest(t, store.New(store.Config{}))
		for life := range 2 {
			w.restart(t)
			for i := range 2 {
				w.peer.give(t, w.agent, w.line.session(), w.peer.message(t, w.agent, chatType, nil))
				if m := w.peer.open(t, w.line.session().next(t)).Message; !slices.Equal(m.PleaseAck, []string{m.ID}) {
					t.Errorf("please_ack is %q", m.PleaseAck)
				}
				synctest.Wait()
				list, err := w.store.Outbox().(store.OutboxAdmin).List(t.Context(), 0, 10)
				if err != nil || (len(list) == 1) != (i == 0) {
					t.Errorf("life %d, answer %d: %d wait, %v", life, i, len(list), err)
				}
				time.Sleep(time.Minute)
			}
		}
		known, err := w.agent.Contacts().IsContact(t.Context(), w.own.DID, w.peer.DID)
		if d, err2 := w.agent.Contacts().Dialect(t.Context(), w.own.DID, w.peer.DID); err != nil || err2 != nil || known || d.NoAcks {
			t.Errorf("contact %t, %+v, %v, %v", known, d, err, err2)
		}
		w.agent.Stop()
	})
}
