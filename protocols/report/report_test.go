package report_test

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/agenttest"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/protocols/report"
)

type reported struct {
	in *agent.Inbound
	p  *message.Problem
}

func inbox() (chan reported, agent.Handler) {
	got := make(chan reported, 10)
	return got, agent.NewMux(report.Handle(func(_ context.Context, _ agent.Responder, in *agent.Inbound, p *message.Problem) error {
		got <- reported{in, p}
		return nil
	}))
}

const chatType = "https://example.org/chat/1.0/line"

func line(t *testing.T, to string) *message.Message {
	t.Helper()
	m, err := message.New(chatType, nil)
	if err != nil {
		t.Fatal(err)
	}
	m.To = []string{to}
	return m
}

// For a message that a peer cannot handle, a report comes back.
func TestReported(t *testing.T) {
	got, mux := inbox()
	alice, bob := agenttest.Pair(t, mux, nil)
	m := line(t, bob.DID())
	if err := alice.Send(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	r := <-got
	if r.p.Code != message.CodeUnsupported || r.p.Text() != "Message type "+chatType+" is not supported." {
		t.Errorf("%s: %s", r.p.Code, r.p.Text())
	}
	if r.in.Message.ParentThreadID != m.ID || r.in.From != bob.DID() || len(r.in.Message.Ack) != 0 {
		t.Errorf("report %+v", r.in.Message)
	}
}

// A malformed report is passed on without the parts that cannot be parsed, and is never
// answered.
func TestBadReport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		got, mux := inbox()
		back := make(chan string, 10)
		alice, bob := agenttest.Pair(t, agent.HandlerFunc(func(_ context.Context, _ agent.Responder, in *agent.Inbound) error {
			back <- in.Message.Type
			return nil
		}), mux)
		for _, body := range []string{`{}`, `{"code":1}`, `{"code":""}`} {
			m, err := message.New(report.TypeProblemReport, nil)
			if err != nil {
				t.Fatal(err)
			}
			m.To, m.ParentThreadID, m.Body = []string{bob.DID()}, "thread", []byte(body)
			if err := alice.Send(t.Context(), m); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		if len(got) != 3 || len(back) != 0 {
			t.Fatalf("%d handled, %d answered", len(got), len(back))
		}
		for range 3 {
			if r := <-got; r.p.Code != "" || r.in.Message.ParentThreadID != "thread" {
				t.Errorf("code %q of thread %q", r.p.Code, r.in.Message.ParentThreadID)
			}
		}
	})
}

func TestHandleNil(t *testing.T) {
	m, err := agent.ProblemReport(message.NewProblem("e.p.me", nil), &message.Message{ID: "1"})
	if err != nil {
		t.Fatal(err)
	}
	if err := agent.NewMux(report.Handle(nil)).HandleMessage(t.Context(), nil, &agent.Inbound{Addressed: true, Message: m}); err != nil {
		t.Error(err)
	}
}

// The example of DIDComm v2.1, Problem Reports.
func TestExample(t *testing.T) {
	m, _, err := message.Parse([]byte(`{
		"type": "https://didcomm.org/report-problem/2.0/problem-report",
		"id": "7c9de639-c51c-4d60-ab95-103fa613c805",
		"pthid": "1e513ad4-48c9-444e-9e7e-5b8b45c5e325",
		"ack": ["1e513ad4-48c9-444e-9e7e-5b8b45c5e325"],
		"body": {
			"code": "e.p.xfer.cant-use-endpoint",
			"comment": "Unable to use the {1} endpoint for {2}.",
			"args": ["https://agents.r.us/inbox", "did:sov:C805sNYhMrjHiqZDTUASHg"],
			"escalate_to": "mailto:admin@foo.org"
		}
	}`))
	if err != nil {
		t.Fatal(err)
	}
	got, mux := inbox()
	if err := mux.HandleMessage(t.Context(), nil, &agent.Inbound{Addressed: true, Message: m}); err != nil {
		t.Fatal(err)
	}
	if p := (<-got).p; p.Text() != "Unable to use the https://agents.r.us/inbox endpoint for did:sov:C805sNYhMrjHiqZDTUASHg." {
		t.Errorf("text %q", p.Text())
	}
}
