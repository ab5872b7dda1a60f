package agent_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/agenttest"
	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/message"
)

func fails(err error) agent.Handler {
	return agent.HandlerFunc(func(context.Context, agent.Responder, *agent.Inbound) error { return err })
}

// The problem report that the sender gets for each error of a handler.
func TestProblems(t *testing.T) {
	problem := &message.Problem{Code: "e.m.msg.odd", Comment: "{1} is odd.", Args: []string{"3"}, Err: errors.New("secret")}
	for name, test := range map[string]struct {
		handler agent.Handler
		typ     string
		opts    []envelope.PackOption
		code    string // "" for no report
		asks    bool   // whether the message asks for an ack
	}{
		"a problem":         {handler: fails(problem), code: "e.m.msg.odd"},
		"asking for an ack": {handler: fails(problem), code: "e.m.msg.odd", asks: true},
		"a wrapped problem": {handler: fails(fmt.Errorf("more: %w", problem)), code: "e.m.msg.odd"},
		"another error":     {handler: fails(errors.New("disk is full"))},
		"a panic": {handler: agent.HandlerFunc(func(context.Context, agent.Responder, *agent.Inbound) error {
			panic("secret")
		}), code: "e.p.me"},
		"an unknown type":           {handler: agent.NewMux(), code: "e.p.msg.unsupported"},
		"no handler at all":         {code: "e.p.msg.unsupported"},
		"about a report":            {handler: fails(problem), typ: reportType},
		"about a report by another": {handler: fails(problem), typ: "https://didcomm.org/Report_Problem/2.1/problemReport"},
		"about an empty message":    {handler: fails(problem), typ: emptyType},
		"to nobody known":           {handler: fails(problem), opts: []envelope.PackOption{envelope.ContentEncryption(envelope.A256GCM)}},
	} {
		t.Run(name, func(t *testing.T) {
			n := agenttest.NewNet()
			a, s, c := n.Agent(t, test.handler), newStranger(t, n), new(call)
			typ := test.typ
			if typ == "" {
				typ = chatType
			}
			m := s.message(t, a, typ, func(m *message.Message) {
				m.ReturnRoute, m.ThreadID = "all", "thread"
				if test.asks {
					m.PleaseAck = []string{""}
				}
			})
			s.give(t, a, c, m, test.opts...)
			if test.code == "" {
				if len(c.packets) != 0 {
					t.Errorf("told the peer %s", s.open(t, c.packets[0]).Message.Body)
				}
				return
			}
			if len(c.packets) != 1 {
				t.Fatalf("%d replies", len(c.packets))
			}
			got := s.open(t, c.packets[0]).Message
			p, err := agent.ParseProblemReport(got)
			if err != nil {
				t.Fatal(err)
			}
			if p.Code != test.code || got.ParentThreadID != "thread" || got.ThreadID != "" || len(got.Ack) > 0 != test.asks || test.asks && got.Ack[0] != m.ID {
				t.Errorf("code %s, pthid %q, thid %q, ack %q", p.Code, got.ParentThreadID, got.ThreadID, got.Ack)
			}
			if strings.Contains(string(got.Body), "secret") {
				t.Errorf("the cause went out: %s", got.Body)
			}
		})
	}
}

func TestAgentSurvivesPanic(t *testing.T) {
	n := agenttest.NewNet()
	first := true
	got := make(inbox, 1)
	a := n.Agent(t, agent.HandlerFunc(func(ctx context.Context, w agent.Responder, in *agent.Inbound) error {
		if first {
			first = false
			var none *message.Message
			none.ID = "nil"
		}
		return got.HandleMessage(ctx, w, in)
	}))
	s := newStranger(t, n)
	for range 2 {
		s.give(t, a, new(call), s.message(t, a, chatType, nil))
	}
	if len(got) != 1 {
		t.Errorf("%d handled after a panic", len(got))
	}
}

// A thread gets MaxThreadProblems reports of ours, then a last report that says so, and
// then none. Other threads are not affected. Reports of the peer count, and are not
// answered.
func TestProblemsPerThread(t *testing.T) {
	const limit = 3
	limited := agenttest.Configure(func(cfg *agent.Config) { cfg.MaxThreadProblems = limit })
	codes := func(t *testing.T, typ, body string) []string {
		n := agenttest.NewNet()
		handled := 0
		a, s := n.Agent(t, agent.HandlerFunc(func(context.Context, agent.Responder, *agent.Inbound) error {
			handled++
			return message.NewProblem("e.m.msg", nil)
		}), limited), newStranger(t, n)
		var codes []string
		for range limit + 3 {
			c := new(call)
			s.give(t, a, c, s.message(t, a, typ, func(m *message.Message) {
				m.ReturnRoute, m.Body = "all", []byte(body)
				if typ == reportType {
					m.ParentThreadID = "thread"
				} else {
					m.ThreadID = "thread"
				}
			}))
			code := ""
			for _, p := range c.packets {
				report, err := agent.ParseProblemReport(s.open(t, p).Message)
				if err != nil {
					t.Fatal(err)
				}
				code = report.Code
			}
			codes = append(codes, code)
		}
		if handled != limit+1 {
			t.Errorf("%d messages of the thread were handled", handled)
		}
		c := new(call)
		s.give(t, a, c, s.message(t, a, chatType, func(m *message.Message) { m.ReturnRoute, m.ThreadID = "all", "another" }))
		if len(c.packets) != 1 {
			t.Errorf("another thread has %d reports", len(c.packets))
		}
		return codes
	}
	t.Run("made", func(t *testing.T) {
		want := "[e.m.msg e.m.msg e.m.msg e.p.req.max-errors-exceeded  ]"
		if got := fmt.Sprint(codes(t, chatType, `{}`)); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	})
	t.Run("received", func(t *testing.T) {
		want := "[     ]"
		if got := fmt.Sprint(codes(t, reportType, `{"code":"e.m.msg"}`)); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	})
}

// Two agents whose handlers always fail stop sending each other messages.
func TestNoReportLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var reported atomic.Int32
		alice, bob := agenttest.Pair(t, agent.HandlerFunc(func(context.Context, agent.Responder, *agent.Inbound) error {
			reported.Add(1)
			return message.NewProblem("e.p.me", nil)
		}), fails(message.NewProblem("e.p.me", nil)))
		if err := alice.Send(t.Context(), newMessage(t, bob.DID())); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if n := reported.Load(); n != 1 {
			t.Errorf("%d reports", n)
		}
	})
}

func TestReport(t *testing.T) {
	n, got := agenttest.NewNet(), make(inbox, 10)
	a, s := n.Agent(t, got), newStranger(t, n, "mem://stranger")
	in := func(typ string, opts ...envelope.PackOption) *agent.Inbound {
		s.give(t, a, new(call), s.message(t, a, typ, nil), opts...)
		return got.next(t)
	}
	p := message.NewProblem("w.m.me.res", nil)
	line := in(chatType)
	if err := a.Report(t.Context(), line, p); err != nil {
		t.Fatal(err)
	}
	m := s.next(t).Message
	if r, err := agent.ParseProblemReport(m); err != nil || r.Code != p.Code || r.Comment == "" || m.ParentThreadID != line.Message.ID {
		t.Errorf("report %+v of %q, %v", r, m.ParentThreadID, err)
	}
	wantError(t, "about a report", a.Report(t.Context(), in(reportType), p), agent.ErrNotReported)
	wantError(t, "to nobody", a.Report(t.Context(), in(chatType, envelope.ContentEncryption(envelope.A256GCM)), p), agent.ErrUnauthenticated)
}

func TestParseProblemReport(t *testing.T) {
	for name, m := range map[string]*message.Message{
		"another type":     {ID: "1", Type: chatType, Body: []byte(`{"code":"e.p.me"}`)},
		"another's report": {ID: "1", Type: "https://didcomm.org/report-problem/2.0/problem-report/more"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := agent.ParseProblemReport(m)
			wantError(t, "ParseProblemReport", err, message.ErrInvalid)
		})
	}
	for body, want := range map[string]message.Problem{
		`{"code":"e.p.me","comment":"hm"}`:                           {Code: "e.p.me", Comment: "hm"},
		`{"description":{"code":"message-parse-failure","en":"hm"}}`: {Code: "message-parse-failure", Comment: "hm"},
		`{"comment":"hm"}`: {Comment: "hm"},
		`{"code":3}`:       {},
	} {
		for _, typ := range reportTypes {
			p, err := agent.ParseProblemReport(&message.Message{ID: "1", Type: typ, Body: []byte(body)})
			if err != nil || p.Code != want.Code || p.Comment != want.Comment {
				t.Errorf("%s %s: %+v, %v", typ, body, p, err)
			}
		}
	}
}

// A peer that answers each report on the thread of the report does not get a report for
// each answer.
func TestReportsOfReports(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var reports atomic.Int32
		alice, bob := agenttest.Pair(t, agent.HandlerFunc(func(ctx context.Context, w agent.Responder, in *agent.Inbound) error {
			reports.Add(1)
			return replier(ctx, w, in)
		}), nil)
		if err := alice.Send(t.Context(), newMessage(t, bob.DID())); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		if n := reports.Load(); n < 2 || n > 12 {
			t.Errorf("%d reports of one message", n)
		}
	})
}
