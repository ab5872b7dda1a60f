package agent_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/agenttest"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/transport"
)

// An ack over the limit is sent when the message arrives again, if the limit allows it
// then.
func TestAckOverLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := agenttest.NewNet()
		a := n.Agent(t, make(inbox, 2), agenttest.Configure(func(cfg *agent.Config) { cfg.AnswerBurst, cfg.AnswersPerHour = 1, 1 }))
		s := newStranger(t, n, "mem://stranger")
		var m *message.Message
		for range 2 {
			m = s.message(t, a, chatType, func(m *message.Message) { m.PleaseAck = []string{""} })
			s.give(t, a, new(call), m)
		}
		synctest.Wait()
		s.next(t)
		s.give(t, a, new(call), m)
		synctest.Wait()
		s.none(t)
		time.Sleep(time.Hour)
		s.give(t, a, new(call), m)
		synctest.Wait()
		if got := s.next(t).Message; got.Type != emptyType || !slices.Equal(got.Ack, []string{m.ID}) {
			t.Errorf("%s with ack %q", got.Type, got.Ack)
		}
		s.none(t)
	})
}

// A message is acked once, even if a report after its reply is over the limit.
func TestOneAck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := agenttest.NewNet()
		a := n.Agent(t, agent.HandlerFunc(func(ctx context.Context, w agent.Responder, in *agent.Inbound) error {
			return errors.Join(message.NewProblem("e.p.me", nil), replier(ctx, w, in))
		}), agenttest.Configure(func(cfg *agent.Config) { cfg.ReportBurst = 1 }))
		s := newStranger(t, n, "mem://stranger")
		for want := 2; want > 0; want-- {
			s.give(t, a, new(call), s.message(t, a, chatType, func(m *message.Message) { m.PleaseAck = []string{""} }))
			synctest.Wait()
			sent, acks := len(s.got), 0
			for range sent {
				if m := s.next(t).Message; m.Type != reportType {
					acks += len(m.Ack)
				}
			}
			if sent != want || acks != 1 {
				t.Errorf("%d messages with %d acks, want %d with one", sent, acks, want)
			}
		}
	})
}

// If a report in a reply is over the limit, the error of the handler counts nevertheless.
func TestFailureOverLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		box, broken := store.NewInbox(store.InboxConfig{}), errors.New("disk is full")
		n := agenttest.NewNet()
		a := n.Agent(t, agent.HandlerFunc(func(ctx context.Context, w agent.Responder, in *agent.Inbound) error {
			m, err := message.New(reportType, map[string]string{"code": "e.p.me"})
			if err == nil {
				err = w.Reply(ctx, m)
			}
			if err != nil {
				t.Errorf("Reply: %v", err)
			}
			return errors.Join(broken, err)
		}), agenttest.Configure(func(cfg *agent.Config) { cfg.ReportBurst, cfg.Store = 1, storeOf(nil, box) }))
		s := newStranger(t, n, "mem://stranger")
		for range 3 {
			s.give(t, a, new(call), s.message(t, a, chatType, nil))
		}
		synctest.Wait()
		if list, err := box.(store.InboxAdmin).List(t.Context(), 0, 10); len(list) != 3 || err != nil {
			t.Errorf("%d messages set aside, want 3, %v", len(list), err)
		}
		if len(s.got) != 1 {
			t.Errorf("%d reports", len(s.got))
		}
	})
}

// Agent.Report returns an error if there were too many reports.
func TestReportOverLimit(t *testing.T) {
	n, got := agenttest.NewNet(), make(inbox, 1)
	a, s := n.Agent(t, got, agenttest.Configure(func(cfg *agent.Config) { cfg.ReportBurst = 1 })), newStranger(t, n, "mem://stranger")
	s.give(t, a, new(call), s.message(t, a, chatType, nil))
	in := got.next(t)
	wantError(t, "the first", a.Report(t.Context(), in, message.NewProblem("w.m.me", nil)), nil)
	wantError(t, "the second", a.Report(t.Context(), in, message.NewProblem("w.m.me", nil)), agent.ErrNotReported)
}

// A report that was lost with its connection is sent again when the message arrives
// again, as every reply is.
func TestReportAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := agenttest.NewNet()
		a, s := n.Agent(t, nil), newStranger(t, n)
		p := s.pack(t, s.message(t, a, chatType, func(m *message.Message) { m.ReturnRoute = "all" }))
		var ids []string
		for range 2 {
			w := newSession()
			if err := serve(t.Context(), a, w, p); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			if len(w.packets) != 1 {
				t.Fatalf("%d packets", len(w.packets))
			}
			m := s.open(t, w.next(t)).Message
			if m.Type != reportType {
				t.Errorf("got %s", m.Type)
			}
			ids = append(ids, m.ID)
			close(w.done)
		}
		if ids[0] != ids[1] {
			t.Error("there are two reports of one problem")
		}
	})
}

// deaf is a session that accepts no packets.
type deaf struct{ done chan struct{} }

func (deaf) Reply(context.Context, transport.Packet) error { return transport.ErrNoReturnRoute }
func (d deaf) Done() <-chan struct{}                       { return d.done }

// A report counts once if the connection does not accept it and it leaves for the endpoint.
func TestReportCountsOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := agenttest.NewNet()
		a, s := n.Agent(t, nil), newStranger(t, n, "mem://stranger")
		for range 30 {
			s.give(t, a, deaf{make(chan struct{})}, s.message(t, a, chatType, func(m *message.Message) { m.ReturnRoute = "all" }))
			synctest.Wait()
		}
		if len(s.got) != 20 {
			t.Errorf("%d reports, want 20", len(s.got))
		}
	})
}

// Reports that are not sent, because of the limit or because the peer cannot be reached,
// do not count towards the problems of their thread.
func TestUnsentReports(t *testing.T) {
	for name, endpoints := range map[string][]string{"too many": {"mem://stranger"}, "no way": nil} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n, handled := agenttest.NewNet(), 0
				a := n.Agent(t, agent.HandlerFunc(func(context.Context, agent.Responder, *agent.Inbound) error {
					handled++
					return message.NewProblem("w.m.me", nil)
				}), agenttest.Configure(func(cfg *agent.Config) { cfg.ReportBurst = 1 }))
				s := newStranger(t, n, endpoints...)
				for range 30 {
					s.give(t, a, transport.NoReply{}, s.message(t, a, chatType, func(m *message.Message) { m.ThreadID = "T" }))
					synctest.Wait()
				}
				if handled != 30 || len(s.got) != len(endpoints) {
					t.Errorf("%d messages handled, %d reports", handled, len(s.got))
				}
			})
		})
	}
}
