// Package report implements Report Problem 2.0 (DIDComm v2.1, Problem Reports and
// Cascading Problems).
//
// Register Handle to hear of problems that peers report about what was sent to
// them. To report one, return a *message.Problem from the handler that finds it;
// for one that shows later call Send. The agent sees to it that no report is
// made about a report and that no thread gets too many.
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
// waited for an answer on its thread. The parent thread of in.Message is the one
// that the problem is in. p.Text is for people; it is a stranger's.
type Handler func(ctx context.Context, in *agent.Inbound, p *message.Problem) error

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
func (h Handler) HandleMessage(ctx context.Context, _ agent.Responder, in *agent.Inbound) error {
	p, err := agent.ParseProblemReport(in.Message)
	if err != nil || h == nil {
		return err
	}
	return h(ctx, in, p)
}

// Send reports a problem with a message to its sender. Errors are those of
// agent.Agent.Report.
func Send(ctx context.Context, a *agent.Agent, about *agent.Inbound, p *message.Problem) error {
	return a.Report(ctx, about, p)
}
