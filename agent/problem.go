package agent

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

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

// isProblemReport holds for those of all protocols: nothing answers a report, lest
// two agents report each other's reports.
func isProblemReport(m *message.Message) bool { return message.IsProblemReport(m.Type) }
func isEmpty(m *message.Message) bool         { return message.Is(m, emptyType) }
func isForward(m *message.Message) bool       { return message.Is(m, forwardType) }

// isPong holds for the answers to trust pings, of all versions.
func isPong(m *message.Message) bool {
	t, err := message.ParseType(m.Type)
	if err != nil {
		return false
	}
	pong := message.TypeURI{DocURI: t.DocURI, Protocol: "trust-ping", Major: t.Major, Name: "ping-response"}
	return pong.Matches(t)
}

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
	return a.tell(ctx, &responder{a: a, w: transport.NoReply{}, in: in, acked: true}, p)
}

// tell sends a problem report, within the limits that keep reports from
// multiplying (Cascading Problems). A problem without a code is one that a third
// party has told us.
func (a *Agent) tell(ctx context.Context, r *responder, p *message.Problem) error {
	m := r.in.Message
	switch {
	case !r.in.Authenticated():
		return ErrUnauthenticated
	case isProblemReport(m) || isEmpty(m):
		return fmt.Errorf("%w: about %s", ErrNotReported, m.Type)
	case p.Code == "":
		p = message.NewProblem(message.CodeInternal, p)
	}
	switch a.problems.count(r.in) {
	case budgetSpent:
		p = message.NewProblem(message.CodeMaxErrorsExceeded, p)
	case budgetOver:
		return fmt.Errorf("%w: too many in thread %s", ErrNotReported, m.Thread())
	}
	report, err := ProblemReport(p, m)
	if err != nil {
		return err
	}
	a.problems.reported(r.in, report)
	if err := r.reply(ctx, report); err != nil {
		a.problems.uncount(r.in)
		return err
	}
	return nil
}

// report logs what a handler returned, and tells the peer if it is a problem.
func (a *Agent) report(ctx context.Context, r *responder, err error) {
	log := r.in.log(a.cfg.Logger)
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
	if err := a.tell(ctx, r, p); err != nil && !errors.Is(err, ErrNotReported) && !errors.Is(err, ErrUnauthenticated) {
		log.WarnContext(ctx, "could not report a problem", "code", p.Code, "error", err)
	}
}

// problemBudget counts the problem reports of the threads that had one last, until
// an hour after the last. The reports of threads that belong together have one
// limit, so that no chain of threads gets around it. Only those of one thread alone
// make its messages unwelcome: an invitation may be the parent of many exchanges.
type problemBudget struct {
	max int

	mu     sync.Mutex     // guards all below
	shared recent[*tally] // by each of the threads that belong together
	own    recent[*tally]
}

// tally counts reports.
type tally struct {
	n    int
	last time.Time
}

func (t *tally) add() { t.n, t.last = t.n+1, time.Now() }

type budgetState int

const (
	budgetLeft  budgetState = iota
	budgetSpent             // this report is one too many: say so, once
	budgetOver
)

const (
	// maxBudgets bounds the threads whose reports are counted.
	maxBudgets = 10_000
	// budgetLife is how long after its last report a thread is as if it had none.
	budgetLife = time.Hour
)

func newProblemBudget(max int) problemBudget {
	return problemBudget{max: max, shared: recent[*tally]{max: maxBudgets}, own: recent[*tally]{max: maxBudgets}}
}

// live is the tally of a thread, nil if that had no report lately.
func live(tallies *recent[*tally], key threadKey) *tally {
	if t, ok := tallies.get(key); ok && time.Since(t.last) < budgetLife {
		return t
	}
	return nil
}

// count adds a report that came to those of its thread, or one that is to be made
// about a message, unless that is over the budget.
func (b *problemBudget) count(in *Inbound) budgetState {
	b.mu.Lock()
	defer b.mu.Unlock()
	key, shared := keyOf(in.From, subject(in.Message)), b.of(in)
	if shared == nil {
		shared = new(tally)
		b.shared.put(key, shared)
	}
	if shared.n > b.max && !isProblemReport(in.Message) {
		return budgetOver
	}
	own := live(&b.own, key)
	if own == nil {
		own = new(tally)
		b.own.put(key, own)
	}
	shared.add()
	own.add()
	if shared.n > b.max {
		return budgetSpent
	}
	return budgetLeft
}

// uncount takes a report back that was counted, and not sent.
func (b *problemBudget) uncount(in *Inbound) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, t := range [...]*tally{b.of(in), live(&b.own, keyOf(in.From, subject(in.Message)))} {
		if t != nil {
			t.n--
		}
	}
}

// reported makes what names a message, or our report about the message, as its
// thread or parent share the count of the message. It was counted before.
func (b *problemBudget) reported(in *Inbound, report *message.Message) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if t := b.of(in); t != nil {
		for _, id := range [...]string{in.Message.ID, report.Thread()} {
			b.shared.put(keyOf(in.From, id), t)
		}
	}
}

// over reports whether the thread of a message has gone over its budget by itself.
func (b *problemBudget) over(in *Inbound) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	t := live(&b.own, keyOf(in.From, subject(in.Message)))
	return t != nil && t.n > b.max
}

// of is the shared tally of what a message is about, or else of its thread or the
// parent of that, which are one from then on; nil if none has one. The caller holds
// mu.
func (b *problemBudget) of(in *Inbound) *tally {
	m := in.Message
	for _, thread := range [...]string{subject(m), m.Thread(), m.ParentThreadID} {
		if thread == "" {
			continue
		}
		if t := live(&b.shared, keyOf(in.From, thread)); t != nil {
			b.shared.put(keyOf(in.From, subject(m)), t)
			return t
		}
	}
	return nil
}
