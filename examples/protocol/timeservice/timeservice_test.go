package timeservice_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/agenttest"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/examples/protocol/timeservice"
)

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func clock() timeservice.Handler {
	return timeservice.Handler{Now: func() time.Time { return noon }}
}

func TestAsk(t *testing.T) {
	alice, bob := agenttest.Pair(t, nil, agent.NewMux(timeservice.Handle(clock())))
	for offset, want := range map[string]string{
		"":       "2026-11-22T12:00:00Z",
		"+05:45": "2026-11-22T17:45:00+05:45",
		"-03:30": "2026-11-22T08:30:00-03:30",
	} {
		got, err := timeservice.Ask(t.Context(), alice, bob.DID(), offset)
		if err != nil {
			t.Errorf("%q: %v", offset, err)
		} else if got.Format(time.RFC3339) != want {
			t.Errorf("%q: %s, want %s", offset, got.Format(time.RFC3339), want)
		}
	}
}

// If the responder reports a problem, the requester gets an error.
func TestAskProblem(t *testing.T) {
	alice, bob := agenttest.Pair(t, nil, agent.NewMux(timeservice.Handle(clock())))
	_, err := timeservice.Ask(t.Context(), alice, bob.DID(), "noon")
	var p *message.Problem
	if !errors.As(err, &p) {
		t.Fatalf("%v, want a problem", err)
	}
	if p.Code != timeservice.CodeOffset || !strings.HasPrefix(p.Text(), "noon is not") {
		t.Errorf("%s: %s", p.Code, p.Text())
	}
}

// An agent that does not support the protocol reports a problem.
func TestAskUnsupported(t *testing.T) {
	alice, bob := agenttest.Pair(t, nil, agent.NewMux())
	_, err := timeservice.Ask(t.Context(), alice, bob.DID(), "")
	var p *message.Problem
	if !errors.As(err, &p) || p.Code != message.CodeUnsupported {
		t.Errorf("%v, want %s", err, message.CodeUnsupported)
	}
}

// An answer of another type is an error.
func TestAskOtherAnswer(t *testing.T) {
	parrot := agent.HandlerFunc(func(ctx context.Context, w agent.Responder, in *agent.Inbound) error {
		m, err := message.New(timeservice.TypeRequest, nil)
		if err != nil {
			return err
		}
		return w.Reply(ctx, m)
	})
	alice, bob := agenttest.Pair(t, nil, parrot)
	if got, err := timeservice.Ask(t.Context(), alice, bob.DID(), ""); err == nil {
		t.Errorf("got %s, want an error", got)
	}
}
