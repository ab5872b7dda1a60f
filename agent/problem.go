package agent

import (
	"context"
	"errors"
	"fmt"

	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/transport"
)

// ProblemReport makes the message that tells p to the sender of about: a new
// thread whose parent is that of about, with an ack of it (Problem Reports).
func ProblemReport(p *message.Problem, about *message.Message) (*message.Message, error) {
	m, err := message.New(problemReportType, p)
	if err != nil {
		return nil, err
	}
	m.ParentThreadID = about.Thread()
	m.Ack = []string{about.ID}
	return m, nil
}

// ParseProblemReport reads the problem that a report tells, in each form that
// message.ReadProblem knows. A part that the report does not tell is empty, the code
// too. The error matches message.ErrInvalid: m is no problem report.
func ParseProblemReport(m *message.Message) (*message.Problem, error) {
	if !isProblemReport(m) {
		return nil, fmt.Errorf("%w: not a problem report", message.ErrInvalid)
	}
	return message.ReadProblem(m.Body), nil
}

// Report tells the sender of a message that was handled before of a problem with
// it; a Handler that finds one returns it instead. It goes the way of Send.
//
// Errors: ErrUnauthenticated; ErrNotReported if the message is itself a report,
// or empty, or its thread or its sender has had too many; those of Send.
func (a *Agent) Report(ctx context.Context, in *Inbound, p *message.Problem) error {
	if err := a.runs(); err != nil {
		return err
	}
	r := &responder{a: a, w: transport.NoReply{}, in: in, acked: true}
	return r.tell(ctx, p)
}

// tell sends a problem report, within the limits that keep reports from
// multiplying (Cascading Problems). A problem without a code is one that a third
// party has told us.
func (r *responder) tell(ctx context.Context, p *message.Problem) error {
	m := r.in.Message
	switch {
	case !r.in.Authenticated():
		return ErrUnauthenticated
	case isProblemReport(m) || isEmpty(m):
		return fmt.Errorf("%w: about %s", ErrNotReported, m.Type)
	case p.Code == "":
		p = message.NewProblem(message.CodeInternal, p)
	}
	switch r.a.problems.count(r.in) {
	case budgetSpent:
		p = message.NewProblem(message.CodeMaxErrorsExceeded, p)
	case budgetOver:
		return fmt.Errorf("%w: too many in thread %s", ErrNotReported, m.Thread())
	}
	report, err := ProblemReport(p, m)
	if err != nil {
		return err
	}
	r.a.problems.reported(r.in, report)
	if err := r.reply(ctx, report); err != nil {
		r.a.problems.uncount(r.in)
		return err
	}
	return nil
}

// report logs what a handler returned, and tells the peer if it is a problem.
func (r *responder) report(ctx context.Context, err error) {
	log := r.in.log(r.a.cfg.Logger)
	switch m := r.in.Message; {
	case isEmpty(m):
		log.DebugContext(ctx, "empty message not handled", "error", err)
		return
	case isProblemReport(m):
		log.WarnContext(ctx, "problem report not handled", "thread", subject(m), "code", message.ReadProblem(m.Body).Code, "error", err)
		return
	}
	log.WarnContext(ctx, "message not handled", "error", err)
	var p *message.Problem
	if !errors.As(err, &p) {
		return
	}
	if err := r.tell(ctx, p); err != nil && !errors.Is(err, ErrNotReported) && !errors.Is(err, ErrUnauthenticated) {
		log.WarnContext(ctx, "could not report a problem", "code", p.Code, "error", err)
	}
}
