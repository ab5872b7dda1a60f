package agent

import (
	"context"
	"errors"
	"fmt"

	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/transport"
)

// ProblemReport returns a message that reports p to the sender of the message about. It has
// the thread of about as its parent thread (DIDComm v2.1, Problem Reports). It acks about if
// about asks for an ack: an agent that knows no acks may not be able to read one, as those with
// the JVM library of SICPA, which expects a string. Send or Reply has to set its recipient.
func ProblemReport(p *message.Problem, about *message.Message) (*message.Message, error) {
	m, err := message.New(problemReportType, p)
	if err != nil {
		return nil, err
	}
	m.ParentThreadID = about.Thread()
	if len(about.PleaseAck) > 0 {
		m.Ack = []string{about.ID}
	}
	return m, nil
}

// ParseProblemReport returns the problem that a received report describes. It accepts every
// form of body that message.ReadProblem accepts. A field that the report does not have is
// empty, even the code. The error matches message.ErrInvalid if m is not a problem report.
func ParseProblemReport(m *message.Message) (*message.Problem, error) {
	if !isProblemReport(m) {
		return nil, fmt.Errorf("%w: not a problem report", message.ErrInvalid)
	}
	return message.ReadProblem(m.Body), nil
}

// Report reports a problem to the sender of a message after the [Handler] has returned. A
// Handler does not call Report, but returns the problem as its error. The report leaves as
// with [Agent.Send].
//
// Errors are [ErrUnauthenticated] if the sender is not authenticated; [ErrNotReported] if
// the message was not sent to us, is a problem report, is empty, or its thread or its
// sender has had too many reports; and errors of Send.
func (a *Agent) Report(ctx context.Context, in *Inbound, p *message.Problem) error {
	if err := a.runs(); err != nil {
		return err
	}
	r := &responder{a: a, w: transport.NoReply{}, in: in, acked: true}
	return r.sendReport(ctx, p)
}

// sendReport sends a problem report, within the limits that keep two agents from
// reporting each other's reports (Cascading Problems). A problem without a code comes
// from a report of a third party, and is reported as an internal error.
func (r *responder) sendReport(ctx context.Context, p *message.Problem) error {
	m := r.in.Message
	switch {
	case !r.in.Authenticated():
		return ErrUnauthenticated
	case !r.in.Addressed:
		return fmt.Errorf("%w: the message was not sent to us", ErrNotReported)
	case isProblemReport(m) || isEmpty(m):
		return fmt.Errorf("%w: about %s", ErrNotReported, m.Type)
	case p.Code == "":
		p = message.NewProblem(message.CodeInternal, p)
	}
	switch r.a.problems.of(r.in).count(r.in) {
	case budgetSpent:
		p = message.NewProblem(message.CodeMaxErrorsExceeded, p)
	case budgetOver:
		return fmt.Errorf("%w: too many in thread %s", ErrNotReported, m.Thread())
	}
	report, err := ProblemReport(p, m)
	if err != nil {
		return err
	}
	r.a.problems.of(r.in).reported(r.in, report)
	if err := r.reply(ctx, report, 0); err != nil {
		r.a.problems.of(r.in).uncount(r.in)
		return err
	}
	return nil
}

// report logs the error of a Handler, and reports it to the peer if it is a Problem.
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
	if err := r.sendReport(ctx, p); err != nil && !errors.Is(err, ErrNotReported) && !errors.Is(err, ErrUnauthenticated) {
		log.WarnContext(ctx, "could not report a problem", "code", p.Code, "error", err)
	}
}
