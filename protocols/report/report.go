// Package report implements Report Problem 2.0 (DIDComm v2.1, Problem Reports and
// Cascading Problems).
//
// Register Handle to hear of problems that peers report about what was sent to
// them, in this protocol or by the message named problem-report of another, such as
// notification/1.0 or issue-credential/2.0. To report one, return a
// *message.Problem from the handler that finds it; for one that shows later call
// agent.Agent.Report. The agent sees to it that nothing answers a report, and that neither a
// thread nor a peer gets too many (agent.Config).
package report

import (
	"context"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/message"
)

// The protocol and its message.
const (
	PIURI             = "https://didcomm.org/report-problem/2.0"
	TypeProblemReport = PIURI + "/problem-report"
)

// Handler is called with each problem that a peer reports, unless a Request
// waited for an answer on its thread, or a Mux has a handler for that very type. The
// problem is in the parent thread of in.Message, or else in its thread. A
// part that the report does not tell, or not in a form that message.ReadProblem knows,
// is empty in p, p.Code too. p.Text is for people; it is a stranger's.
type Handler func(ctx context.Context, w agent.Responder, in *agent.Inbound, p *message.Problem) error

var _ agent.Handler = Handler(nil)

// Handle registers fn; nil takes reports in and ignores them.
func Handle(fn Handler) agent.MuxOption {
	return agent.Handle(agent.Protocol{
		PIURI:    PIURI,
		Roles:    []string{"notifier", "notified"},
		Messages: map[string]agent.Handler{TypeProblemReport: fn},
	})
}

// HandleMessage reads the report and calls h.
func (h Handler) HandleMessage(ctx context.Context, w agent.Responder, in *agent.Inbound) error {
	p, err := agent.ParseProblemReport(in.Message)
	if err != nil || h == nil {
		return err
	}
	return h(ctx, w, in, p)
}
