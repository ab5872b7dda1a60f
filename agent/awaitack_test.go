package agent_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/agenttest"
	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/transport"
)

const busyCode = "e.p.me.res.storage"

// sessionSender is a transport.SessionSender to a stranger. It uses one connection after
// the other.
type sessionSender struct {
	mu  sync.Mutex
	now *session
	all int // connections so far
}

func (l *sessionSender) Receipts() bool { return false }

func (l *sessionSender) Send(ctx context.Context, endpoint string, p transport.Packet) error {
	_, err := l.SendOn(ctx, endpoint, p)
	return err
}

func (l *sessionSender) SendOn(ctx context.Context, endpoint string, p transport.Packet) (transport.Session, error) {
	s := l.session()
	if err := s.Reply(ctx, p); err != nil {
		return nil, err
	}
	return s, nil
}

// session returns the open connection, or a new connection.
func (l *sessionSender) session() *session {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.now == nil {
		l.now = newSession()
		l.all++
	}
	return l.now
}

// cut ends the connection.
func (l *sessionSender) cut() {
	s := l.session()
	l.mu.Lock()
	defer l.mu.Unlock()
	close(s.done)
	l.now = nil
}

// ackTest has an agent whose packets to a stranger leave by a connection without receipts.
type ackTest struct {
	*sessionSender
	agent    *agent.Agent
	stranger *stranger
	outbox   store.Outbox
	handled  inbox
}

func newAckTest(t *testing.T) *ackTest {
	t.Helper()
	n := agenttest.NewNet()
	w := &ackTest{sessionSender: new(sessionSender), outbox: store.NewOutbox(store.OutboxConfig{}), handled: make(inbox, 100)}
	w.agent = n.Agent(t, w.handled, agenttest.Configure(func(cfg *agent.Config) {
		cfg.Senders["session"], cfg.Store = w.sessionSender, storeOf(w.outbox, nil)
	}))
	w.stranger = &stranger{Party: agenttest.NewParty(t, "session://stranger")}
	return w
}

// send sends a message and returns the message that the stranger receives.
func (w *ackTest) send(t *testing.T) *message.Message {
	t.Helper()
	if err := w.agent.Send(t.Context(), newMessage(t, w.stranger.DID)); err != nil {
		t.Fatal(err)
	}
	return w.arrived(t)
}

// arrived returns the next message that the stranger receives.
func (w *ackTest) arrived(t *testing.T) *message.Message {
	t.Helper()
	return w.stranger.open(t, w.session().next(t)).Message
}

// answer gives the agent a message on the open connection.
func (w *ackTest) answer(t *testing.T, who *stranger, typ string, edit func(*message.Message)) {
	t.Helper()
	who.give(t, w.agent, w.session(), who.message(t, w.agent, typ, edit))
}

// ack gives the agent an ack on the open connection.
func (w *ackTest) ack(t *testing.T, who *stranger, id string) {
	t.Helper()
	w.answer(t, who, emptyType, func(m *message.Message) { m.Ack = []string{id} })
}

// outboxHas checks how many messages are in the outbox.
func (w *ackTest) outboxHas(t *testing.T, what string, want int) {
	t.Helper()
	synctest.Wait()
	list, err := w.outbox.(store.OutboxAdmin).List(t.Context(), 0, 100)
	if err != nil || len(list) != want {
		t.Errorf("%s: %d messages in the outbox, want %d, %v", what, len(list), want, err)
	}
}

// A message on a connection without receipts counts as delivered after an ack, an answer,
// or a report.
func TestAwaitAck(t *testing.T) {
	for name, test := range map[string]func(t *testing.T, w *ackTest){
		"an ack": func(t *testing.T, w *ackTest) {
			m := w.send(t)
			if !slices.Equal(m.PleaseAck, []string{m.ID}) || m.ReturnRoute != "all" {
				t.Errorf("please_ack %q, return_route %q", m.PleaseAck, m.ReturnRoute)
			}
			w.outboxHas(t, "before the ack", 1)
			w.ack(t, w.stranger, m.ID)
			w.outboxHas(t, "after the ack", 0)
		},
		"an answer": func(t *testing.T, w *ackTest) {
			m := w.send(t)
			w.answer(t, w.stranger, chatType, func(a *message.Message) { a.ThreadID = m.ID })
			w.outboxHas(t, "after an answer", 0)
			w.handled.next(t)
		},
		"not the ack of another": func(t *testing.T, w *ackTest) {
			m := w.send(t)
			w.ack(t, newStranger(t, agenttest.NewNet()), m.ID)
			w.outboxHas(t, "after the ack of another", 1)
		},
		"not an ack passed on": func(t *testing.T, w *ackTest) {
			m := w.send(t)
			other := newStranger(t, agenttest.NewNet())
			ack := w.stranger.message(t, w.agent, emptyType, func(a *message.Message) { a.To, a.Ack = []string{other.DID}, []string{m.ID} })
			w.stranger.give(t, w.agent, newSession(), ack, envelope.SignBy(w.stranger.DID), envelope.Signed())
			w.outboxHas(t, "after an ack that was written to another", 1)
		},
		"not an ack of something else": func(t *testing.T, w *ackTest) {
			w.send(t)
			w.ack(t, w.stranger, "something else")
			w.outboxHas(t, "after another ack", 1)
		},
		"the end of the connection": func(t *testing.T, w *ackTest) {
			m := w.send(t)
			w.cut()
			time.Sleep(time.Second)
			if again := w.arrived(t); again.ID != m.ID {
				t.Errorf("sent %s again, not %s", again.ID, m.ID)
			}
			w.ack(t, w.stranger, m.ID)
			w.outboxHas(t, "after the ack", 0)
		},
		"silence": func(t *testing.T, w *ackTest) {
			w.send(t)
			time.Sleep(31 * time.Second)
			w.outboxHas(t, "after a time", 0)
			w.send(t)
			w.outboxHas(t, "of one that does not ack", 0)
		},
		"a late ack": func(t *testing.T, w *ackTest) {
			m := w.send(t)
			time.Sleep(31 * time.Second)
			w.ack(t, w.stranger, m.ID)
			w.send(t)
			w.outboxHas(t, "of one that acks after all", 1)
		},
		"no more acks": func(t *testing.T, w *ackTest) {
			m := w.send(t)
			w.ack(t, w.stranger, m.ID)
			m = w.send(t)
			time.Sleep(24 * time.Hour)
			w.outboxHas(t, "of one that acks no more", 0)
			for again := range 2 {
				if got := w.arrived(t); got.ID != m.ID {
					t.Errorf("time %d: got %s", again, got.ID)
				}
			}
			if n := len(w.session().packets); n != 0 {
				t.Errorf("sent %d times more", n)
			}
		},
		"a busy peer": func(t *testing.T, w *ackTest) {
			m := w.send(t)
			busy := func(r *message.Message) {
				r.ParentThreadID, r.Body = m.ID, []byte(`{"code":"`+busyCode+`"}`)
			}
			w.answer(t, w.stranger, reportType, busy)
			w.outboxHas(t, "of a busy peer", 1)
			if len(w.handled) != 0 {
				t.Error("the handler was bothered")
			}
			time.Sleep(2 * time.Second)
			if again := w.arrived(t); again.ID != m.ID {
				t.Errorf("sent %s again, not %s", again.ID, m.ID)
			}
			w.ack(t, w.stranger, m.ID)
			w.outboxHas(t, "after the ack", 0)
			// Without a message that waits for its ack, this is a report like any other.
			w.answer(t, w.stranger, reportType, busy)
			w.handled.next(t)
		},
		"a problem of a peer that has it": func(t *testing.T, w *ackTest) {
			m := w.send(t)
			w.answer(t, w.stranger, reportType, func(r *message.Message) {
				r.ParentThreadID, r.Body, r.Ack = m.ID, []byte(`{"code":"`+busyCode+`"}`), []string{m.ID}
			})
			w.outboxHas(t, "after the report", 0)
			w.handled.next(t)
		},
		"a report of a peer that gives no acks": func(t *testing.T, w *ackTest) {
			for _, typ := range reportTypes {
				for _, place := range []func(r *message.Message, id string){
					func(r *message.Message, id string) { r.ParentThreadID = id },
					func(r *message.Message, id string) { r.ThreadID = id },
				} {
					m := w.send(t)
					w.answer(t, w.stranger, reportType, func(r *message.Message) {
						r.Type, r.Body = typ, []byte(`{"description":{"code":"message-parse-failure"}}`)
						place(r, m.ID)
					})
					w.outboxHas(t, "after a report by "+typ, 0)
					w.handled.next(t)
				}
			}
		},
		"not a report of another message of the thread": func(t *testing.T, w *ackTest) {
			for _, edit := range []func(r *message.Message, other string){
				func(r *message.Message, other string) { r.ParentThreadID, r.Ack = "T", []string{other} },
				func(r *message.Message, other string) { r.ThreadID, r.Ack = "T", []string{other} },
				func(r *message.Message, other string) { r.ParentThreadID = other },
				func(r *message.Message, _ string) { r.ParentThreadID = "T" },
			} {
				send := func() *message.Message {
					m := newMessage(t, w.stranger.DID)
					m.ThreadID = "T"
					if err := w.agent.Send(t.Context(), m); err != nil {
						t.Fatal(err)
					}
					return w.arrived(t)
				}
				first := send()
				w.ack(t, w.stranger, first.ID)
				w.outboxHas(t, "after the ack of the first", 0)
				second := send()
				w.answer(t, w.stranger, reportType, func(r *message.Message) {
					r.Body = []byte(`{"code":"e.p.msg"}`)
					edit(r, first.ID)
				})
				w.outboxHas(t, "after a late report of the first", 1)
				w.cut()
				time.Sleep(time.Second)
				if again := w.arrived(t); again.ID != second.ID {
					t.Errorf("sent %s again, not %s", again.ID, second.ID)
				}
				w.ack(t, w.stranger, second.ID)
				w.outboxHas(t, "after the ack of the second", 0)
				w.handled.next(t)
			}
		},
		"a report of something else": func(t *testing.T, w *ackTest) {
			w.send(t)
			w.answer(t, w.stranger, reportType, func(r *message.Message) { r.ParentThreadID = "something else" })
			w.outboxHas(t, "after the report", 1)
			w.handled.next(t)
		},
		"a busy peer that says so twice": func(t *testing.T, w *ackTest) {
			m := w.send(t)
			report := w.stranger.message(t, w.agent, reportType, func(r *message.Message) {
				r.ParentThreadID, r.ThreadID, r.Body = m.ID, m.ID, []byte(`{"code":"`+busyCode+`"}`)
			})
			w.stranger.give(t, w.agent, w.session(), report)
			time.Sleep(2 * time.Second)
			w.arrived(t)
			w.stranger.give(t, w.agent, w.session(), report) // the report crosses the message that was sent again
			w.outboxHas(t, "of a busy peer", 1)
		},
		"nothing, of an anonymous message": func(t *testing.T, w *ackTest) {
			if err := w.agent.Send(t.Context(), newMessage(t, w.stranger.DID), agent.Anonymous()); err != nil {
				t.Fatal(err)
			}
			if m := w.arrived(t); len(m.PleaseAck) != 0 || m.ReturnRoute != "" {
				t.Errorf("sent %+v", m)
			}
			w.outboxHas(t, "of an anonymous message", 0)
		},
		"two of one id": func(t *testing.T, w *ackTest) {
			for _, thread := range []string{"1", "2"} {
				m := newMessage(t, w.stranger.DID)
				m.ID, m.ThreadID = "twice", thread
				if err := w.agent.Send(t.Context(), m); err != nil {
					t.Fatal(err)
				}
				w.arrived(t)
			}
			w.ack(t, w.stranger, "twice")
			w.outboxHas(t, "after one ack", 0)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { test(t, newAckTest(t)) })
		})
	}
}

// After a restart, a message that was acked is not sent again, and a message that was not
// acked is.
func TestAwaitAckAfterStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, s, box, l := agenttest.NewParty(t), agenttest.NewParty(t, "session://stranger"), store.NewOutbox(store.OutboxConfig{}), new(sessionSender)
		for life := range 2 {
			a, err := agent.New(agent.Config{DID: p.DID, Packer: p.Packer, Store: storeOf(box, nil), Senders: map[string]transport.Sender{"session": l}})
			if err != nil {
				t.Fatal(err)
			}
			ctx, stop := context.WithCancel(t.Context())
			done := make(chan error, 1)
			go func() { done <- a.Run(ctx) }()
			<-a.Ready()
			if life == 0 {
				if err := a.Send(t.Context(), newMessage(t, s.DID)); err != nil {
					t.Fatal(err)
				}
			}
			synctest.Wait()
			l.session().next(t)
			start := time.Now()
			stop()
			if err := <-done; err != nil || time.Since(start) != 0 {
				t.Errorf("stopped after %v: %v", time.Since(start), err)
			}
		}
	})
}

// A message that does not ask for an ack waits for its endpoint, even if a connection
// opens that could lose the message.
func TestReceipt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start, got := time.Now(), make(inbox, 10)
		arrived := 0
		a := agenttest.NewNet().Agent(t, got, withSender(func(context.Context, string, transport.Packet) error {
			if time.Since(start) < time.Minute {
				return failure(true, 0)
			}
			arrived++
			return nil
		}))
		s, w := &stranger{Party: agenttest.NewParty(t, "test://stranger")}, newSession()
		if err := a.Send(t.Context(), newMessage(t, s.DID)); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		s.give(t, a, w, s.message(t, a, chatType, func(m *message.Message) { m.ReturnRoute = "all" }))
		time.Sleep(time.Hour)
		synctest.Wait()
		if len(w.packets) != 0 || arrived != 1 {
			t.Errorf("%d by the connection, %d by the endpoint", len(w.packets), arrived)
		}
	})
}

// Messages that wait for a connection of their recipient leave as soon as there is one.
func TestQueueForReturnRoute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, got := agenttest.NewNet(), make(inbox, 100)
		a, s := n.Agent(t, got), newStranger(t, n)
		bind := func() *session {
			w := newSession()
			s.give(t, a, w, s.message(t, a, chatType, func(m *message.Message) { m.ReturnRoute = "all" }))
			return w
		}
		first := bind()
		for i := range 5 {
			m := newMessage(t, s.DID)
			m.ID = fmt.Sprint(i)
			if err := a.Send(t.Context(), m); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		close(first.done)
		time.Sleep(24 * time.Hour)
		back, second := time.Now(), bind()
		var ids []string
		for range 5 {
			ids = append(ids, s.open(t, second.next(t)).Message.ID)
		}
		slices.Sort(ids)
		if d := time.Since(back); d != 0 || !slices.Equal(ids, []string{"0", "1", "2", "3", "4"}) {
			t.Errorf("%q left after %v", ids, d)
		}
	})
}

// stalling is an Inbox whose Add blocks.
type stalling struct {
	store.Inbox
	wait chan struct{}
	err  error
}

func (s stalling) Add(ctx context.Context, m store.Received, d time.Duration) (*store.Lease[store.Received], *store.Known, error) {
	<-s.wait
	if s.err != nil {
		return nil, nil, s.err
	}
	return s.Inbox.Add(ctx, m, d)
}

// An accepted answer reaches its Request, even if the Request times out in the meantime,
// and even if the inbox fails.
func TestAnswerIsNotLost(t *testing.T) {
	for name, err := range map[string]error{"too late": nil, "inbox fails": errors.New("disk is full")} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n, stall := agenttest.NewNet(), make(chan struct{})
				h := &counter{Handler: fails(nil)}
				a := n.Agent(t, h, withInbox(stalling{store.NewInbox(store.InboxConfig{}), stall, err}))
				s := newStranger(t, n, "mem://stranger")
				asked, done := request(t, a, s, newMessage(t, s.DID))
				served := make(chan error, 1)
				packet := s.pack(t, s.message(t, a, chatType, func(m *message.Message) { m.ThreadID = asked.ID }))
				go func() { served <- serve(t.Context(), a, new(call), packet) }()
				time.Sleep(time.Minute) // the Request has timed out
				close(stall)
				if err := <-served; err != nil {
					t.Errorf("ServePacket: %v", err)
				}
				if r := <-done; r.err != nil || r.in == nil || h.n.Load() != 0 {
					t.Errorf("Request: %+v, %v; handled %d times", r.in, r.err, h.n.Load())
				}
			})
		})
	}
}
