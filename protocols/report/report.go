// Package report implements Report Problem 2.0 (DIDComm v2.1, Problem Reports and
// Cascading Problems).
//
// To receive the problem reports of peers, pass [Handle] to [agent.NewMux]. It also receives
// messages named problem-report of other protocols, such as notification/1.0 and
// issue-credential/2.0.
//
// To report a problem, return a [*message.Problem] from the [agent.Handler] of the message
// with the problem. To report a problem later, call [agent.Agent.Report]. The agent does not
// send a problem report as the answer to a problem report, and limits the number of
// reports in a thread and to a peer ([agent.Config]).
package report

import (
	"context"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/message"
)

// The URI of the protocol, and its message type.
const (
	PIURI             = "https://didcomm.org/report-problem/2.0"
	TypeProblemReport = PIURI + "/problem-report"
)

// Handler is a function that is called with each problem report. It is not called if an
// [agent.Agent.Request] waits for an answer in the thread of the report, or if the Mux has a
// handler for the type of the report.
//
// The thread with the problem is the parent thread of in.Message, or, if there is none,
// its thread. Parts of the report that are absent, or that [message.ReadProblem] cannot
// parse, are empty in p, even p.Code. p.Text is a text of the peer for people.
type Handler func(ctx context.Context, w agent.Responder, in *agent.Inbound, p *message.Problem) error

var _ agent.Handler = Handler(nil)

// Handle registers fn in a Mux. If fn is nil, reports are received and ignored.
func Handle(fn Handler) agent.MuxOption {
	return agent.Handle(agent.Protocol{
		PIURI:    PIURI,
		Roles:    []string{"notifier", "notified"},
		Messages: map[string]agent.Handler{TypeProblemReport: fn},
	})
}

// HandleMessage parses the report and calls h. Errors are those of
// [agent.ParseProblemReport] and of h.
func (h Handler) HandleMessage(ctx context.Context, w agent.Responder, in *agent.Inbound) error {
	p, err := agent.ParseProblemReport(in.Message)
	if err != nil || h == nil {
		return err
	}
	return h(ctx, w, in, p)
}
