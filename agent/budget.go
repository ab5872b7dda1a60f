package agent

import (
	"sync"
	"time"

	"github.com/didcomm-go/didcomm/agent/message"
)

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
	key, shared := in.key(subject(in.Message)), b.of(in)
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
	for _, t := range [...]*tally{b.of(in), live(&b.own, in.key(subject(in.Message)))} {
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
			b.shared.put(in.key(id), t)
		}
	}
}

// over reports whether the thread of a message has gone over its budget by itself.
func (b *problemBudget) over(in *Inbound) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	t := live(&b.own, in.key(subject(in.Message)))
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
		if t := live(&b.shared, in.key(thread)); t != nil {
			b.shared.put(in.key(subject(m)), t)
			return t
		}
	}
	return nil
}
