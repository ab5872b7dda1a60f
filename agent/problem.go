package agent

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/transport"
)

// The messages that an agent understands whatever its Handler: packages report
// and empty in protocols are their outer side.
const (
	problemReportType = "https://didcomm.org/report-problem/2.0/problem-report"
	emptyType         = "https://didcomm.org/empty/1.0/empty"
	forwardType       = "https://didcomm.org/routing/2.0/forward"
)

func isType(m *message.Message, typ string) bool {
	if m.Type == typ {
		return true
	}
	got, err := message.ParseType(m.Type)
	if err != nil {
		return false
	}
	want, err := message.ParseType(typ)
	return err == nil && want.Matches(got)
}

func isProblemReport(m *message.Message) bool { return isType(m, problemReportType) }
func isEmpty(m *message.Message) bool         { return isType(m, emptyType) }
func isForward(m *message.Message) bool       { return isType(m, forwardType) }

// subject is the thread that a message is about: a problem report names it as
// its parent, all others are part of it.
func subject(m *message.Message) string {
	if m.ParentThreadID != "" && isProblemReport(m) {
		return m.ParentThreadID
	}
	return m.Thread()
}

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

// ParseProblemReport reads the problem that a report tells. The error matches
// message.ErrInvalid: m is no problem report, or has no code.
func ParseProblemReport(m *message.Message) (*message.Problem, error) {
	if !isProblemReport(m) {
		return nil, fmt.Errorf("%w: not a problem report", message.ErrInvalid)
	}
	p := new(message.Problem)
	if err := m.DecodeBody(p); err != nil {
		return nil, err
	}
	if p.Code == "" {
		return nil, fmt.Errorf("%w: problem report without a code", message.ErrInvalid)
	}
	return p, nil
}

// Report tells the sender of a message that was handled before of a problem with
// it; a Handler that finds one returns it instead. It goes the way of Send.
//
// Errors: ErrUnauthenticated; ErrNotReported if the message is itself a report,
// or empty, or its thread has had too many; those of Send.
func (a *Agent) Report(ctx context.Context, in *Inbound, p *message.Problem) error {
	return a.tell(ctx, &responder{a: a, w: transport.NoReply{}, in: in, acked: true}, p)
}

// tell sends a problem report, within the limits that keep reports from
// multiplying (Cascading Problems).
func (a *Agent) tell(ctx context.Context, r *responder, p *message.Problem) error {
	m := r.in.Message
	switch {
	case !r.in.Authenticated():
		return ErrUnauthenticated
	case isProblemReport(m) || isEmpty(m):
		return fmt.Errorf("%w: about %s", ErrNotReported, m.Type)
	}
	switch a.problems.count(keyOf(r.in.From, m.Thread())) {
	case budgetSpent:
		p = message.NewProblem(message.CodeMaxErrorsExceeded, p)
	case budgetOver:
		return fmt.Errorf("%w: too many in thread %s", ErrNotReported, m.Thread())
	}
	report, err := ProblemReport(p, m)
	if err != nil {
		return err
	}
	// An answer on the thread of the report is about the same problem.
	a.problems.join(keyOf(r.in.From, report.Thread()), keyOf(r.in.From, m.Thread()))
	if acks := r.takeAcks(ctx); len(acks) > 0 {
		report.Ack = acks
	}
	return r.Reply(ctx, report)
}

// report logs what a handler returned, and tells the peer if it is a problem.
func (a *Agent) report(ctx context.Context, r *responder, err error) {
	log := r.in.log(a.cfg.Logger)
	if isEmpty(r.in.Message) {
		log.DebugContext(ctx, "empty message not handled", "error", err)
		return
	}
	log.WarnContext(ctx, "message not handled", "error", err)
	var p *message.Problem
	if !errors.As(err, &p) {
		return
	}
	if err := a.tell(ctx, r, p); err != nil && !errors.Is(err, ErrNotReported) && !errors.Is(err, ErrUnauthenticated) {
		log.WarnContext(ctx, "could not report a problem", "code", p.Code, "error", err)
	}
}

// countReceived counts a report that came in, and answers the one that goes over
// the limit by saying so (Cascading Problems). It is the only answer that a
// report ever gets.
func (a *Agent) countReceived(ctx context.Context, r *responder) {
	if !r.in.Authenticated() || a.problems.count(keyOf(r.in.From, subject(r.in.Message))) != budgetSpent {
		return
	}
	m, err := message.New(problemReportType, message.NewProblem(message.CodeMaxErrorsExceeded, nil))
	if err == nil {
		m.ParentThreadID = subject(r.in.Message)
		err = r.Reply(ctx, m)
	}
	if err != nil {
		r.in.log(a.cfg.Logger).WarnContext(ctx, "could not report a problem", "error", err)
	}
}

// problemBudget counts the problem reports of each thread and of those that they
// began, of the threads that had one last.
type problemBudget struct {
	max int

	mu      sync.Mutex // guards all below
	threads map[threadKey]*list.Element
	order   list.List // of *budget, the last touched last
}

type budget struct {
	key threadKey
	n   *int // shared by threads that were joined
}

type budgetState int

const (
	budgetLeft  budgetState = iota
	budgetSpent             // this report is one too many: say so, once
	budgetOver
)

// maxBudgets bounds the threads whose reports are counted.
const maxBudgets = 10_000

func newProblemBudget(max int) problemBudget {
	return problemBudget{max: max, threads: make(map[threadKey]*list.Element)}
}

// count adds a report to a thread's.
func (b *problemBudget) count(key threadKey) budgetState {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := b.touch(key, new(int))
	*n++
	switch {
	case *n <= b.max:
		return budgetLeft
	case *n == b.max+1:
		return budgetSpent
	}
	return budgetOver
}

// join makes a thread share the count of the one that it came from.
func (b *problemBudget) join(key, from threadKey) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.touch(key, b.touch(from, new(int)))
}

// touch returns the count of a thread, n if it has none yet.
func (b *problemBudget) touch(key threadKey, n *int) *int {
	e, ok := b.threads[key]
	if !ok {
		if len(b.threads) >= maxBudgets {
			oldest := b.order.Front()
			delete(b.threads, oldest.Value.(*budget).key)
			b.order.Remove(oldest)
		}
		e = b.order.PushBack(&budget{key, n})
		b.threads[key] = e
	}
	b.order.MoveToBack(e)
	return e.Value.(*budget).n
}

// over reports whether a thread has gone over its budget.
func (b *problemBudget) over(key threadKey) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	e, ok := b.threads[key]
	return ok && *e.Value.(*budget).n > b.max
}
