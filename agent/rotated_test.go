package agent_test

import (
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/agenttest"
	"github.com/didcomm-go/didcomm/agent/delivery"
	"github.com/didcomm-go/didcomm/agent/message"
)

// An ack or a report of a recipient also counts if the recipient has rotated to another
// DID and proves it.
func TestHearRotated(t *testing.T) {
	prove := func(t *testing.T, w *ackTest, by *stranger) string {
		jwt, err := w.stranger.Packer.FromPrior(t.Context(), w.stranger.DID, by.DID, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		return jwt
	}
	for name, tt := range map[string]struct {
		unproven, report bool
		edit             func(said, m *message.Message)
		want             delivery.State
	}{
		"ack":    {edit: func(said, m *message.Message) { said.Ack = []string{m.ID} }, want: delivery.Acknowledged},
		"report": {report: true, edit: func(said, m *message.Message) { said.ParentThreadID = m.ID }, want: delivery.Acknowledged},
		"report in its thread": {
			report: true,
			edit:   func(said, m *message.Message) { said.ThreadID, said.ParentThreadID = m.ID, "another" }, want: delivery.Acknowledged,
		},
		"unproven ack": {
			unproven: true,
			edit:     func(said, m *message.Message) { said.Ack = []string{m.ID} }, want: delivery.Sent,
		},
		"unproven report": {
			unproven: true, report: true,
			edit: func(said, m *message.Message) { said.ParentThreadID = m.ID }, want: delivery.Sent,
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newAckTest(t)
				var became []agent.Outcome
				done := make(chan error, 1)
				go func() {
					done <- w.agent.Send(t.Context(), newMessage(t, w.stranger.DID), agent.Once(),
						agent.Outcomes(func(o agent.Outcome) { became = append(became, o) }))
				}()
				m, other, typ := w.arrived(t), newStranger(t, agenttest.NewNet()), emptyType
				if tt.report {
					typ = reportType
				}
				w.answer(t, other, typ, func(said *message.Message) {
					if !tt.unproven {
						said.FromPrior = prove(t, w, other)
					}
					if tt.report {
						said.Body = []byte(`{"code":"e.m.odd"}`)
					}
					tt.edit(said, m)
				})
				if err := <-done; err != nil {
					t.Fatal(err)
				}
				states := make([]delivery.State, len(became))
				for i, o := range became {
					states[i] = o.State
				}
				last := became[len(became)-1]
				var problem *message.Problem
				told := errors.As(last.Err, &problem) && problem.Code == "e.m.odd"
				if want := []delivery.State{delivery.Sent, tt.want}; !slices.Equal(states, want) || told != (tt.report && !tt.unproven) {
					t.Errorf("became %q, at last %s, want %q", states, last, want)
				}
			})
		})
	}
}
