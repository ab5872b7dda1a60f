package agent_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/agenttest"
	"github.com/didcomm-go/didcomm/agent/delivery"
	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/transport"
)

const dejavuCode = "e.p.crypto.message.dejavu"

// In the response to a POST that asks for replies, a message that comes again without an answer
// or an ack of its own is answered by a report. Nothing else is.
func TestDejavu(t *testing.T) {
	all := func(m *message.Message) { m.ReturnRoute = "all" }
	for name, test := range map[string]struct {
		handler agent.Handler
		edit    func(*message.Message)
		typ     string
		opts    []envelope.PackOption
		session bool
		told    bool
	}{
		"asked for":       {edit: all, told: true},
		"not asked for":   {edit: func(m *message.Message) { m.ReturnRoute = "none" }},
		"by default":      {edit: func(*message.Message) {}},
		"on a session":    {edit: all, session: true},
		"anonymous":       {edit: all, opts: []envelope.PackOption{anonymously}},
		"a report":        {edit: all, typ: reportType},
		"an empty":        {edit: all, typ: emptyType},
		"not handled yet": {edit: all, handler: fails(agent.Retry(time.Hour, errors.New("later")))},
		"set aside":       {edit: all, handler: fails(errors.New("never"))},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := agenttest.NewNet()
				h := test.handler
				if h == nil {
					h = fails(nil)
				}
				a, s := n.Agent(t, h), newStranger(t, n, "mem://stranger")
				typ := chatType
				if test.typ != "" {
					typ = test.typ
				}
				m := s.message(t, a, typ, test.edit)
				p := s.pack(t, m, test.opts...)
				if err := serve(t.Context(), a, new(call), p); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				again, on := new(call), newSession()
				var w transport.Replier = again
				if test.session {
					w = on
				}
				if err := serve(t.Context(), a, w, p); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				s.none(t)
				if told := len(again.packets)+len(on.packets) > 0; told != test.told {
					t.Fatalf("told: %v", told)
				}
				if !test.told {
					return
				}
				got := s.open(t, again.packets[0]).Message
				if problem, err := agent.ParseProblemReport(got); err != nil || problem.Code != dejavuCode || got.ParentThreadID != m.ID {
					t.Errorf("told %+v in %+v, %v", problem, got, err)
				}
			})
		})
	}
}

// A sender that is told so counts its message as delivered. No handler gets the report, and a
// Request still waits for its answer.
func TestDejavuTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := agenttest.NewNet()
		a := n.Agent(t, agent.HandlerFunc(func(_ context.Context, _ agent.Responder, in *agent.Inbound) error {
			if in.Message.Type == reportType {
				t.Errorf("handled %+v", in.Message)
			}
			return nil
		}))
		s, w := newStranger(t, n), newSession()
		tell := func(m *message.Message) {
			s.give(t, a, w, s.message(t, a, reportType, func(r *message.Message) {
				r.ParentThreadID, r.Body = m.ID, []byte(`{"code":"`+dejavuCode+`"}`)
			}))
		}
		s.give(t, a, w, s.message(t, a, emptyType, func(m *message.Message) { m.ReturnRoute = "all" }))
		var last agent.Outcome
		sent := make(chan error, 1)
		go func() {
			sent <- a.Send(t.Context(), newMessage(t, s.DID), agent.Once(), agent.Outcomes(func(o agent.Outcome) { last = o }))
		}()
		asked := s.open(t, w.next(t)).Message
		tell(asked)
		if err := <-sent; err != nil || last.State != delivery.Acknowledged || last.Err != nil {
			t.Errorf("outcome %v, %v", last, err)
		}

		answers := make(chan error, 1)
		go func() {
			_, err := a.Request(t.Context(), newMessage(t, s.DID))
			answers <- err
		}()
		asked = s.open(t, w.next(t)).Message
		tell(asked)
		synctest.Wait()
		if len(answers) > 0 {
			t.Fatalf("the report ended the request: %v", <-answers)
		}
		s.give(t, a, w, s.message(t, a, chatType, func(m *message.Message) { m.ThreadID = asked.ID }))
		if err := <-answers; err != nil {
			t.Error(err)
		}
	})
}
