package agent

import (
	"sync"
	"time"

	"github.com/didcomm-go/didcomm/agent/message"
)

// problemBudget counts the problem reports of each thread, until one hour after the last
// report of the thread. There are two counts:
//   - The shared count is for a thread together with its parent threads and with the
//     reports about its messages. It limits the reports that are sent, so that a chain of
//     threads cannot avoid the limit.
//   - The own count is for one thread alone. If it is over the limit, the messages of the
//     thread are dropped. The shared count would be wrong for this, since an invitation may
//     be the parent of many exchanges.
type problemBudget struct {
	max int

	mu     sync.Mutex     // guards all below
	shared recent[*tally] // several threads may have the same tally
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
	budgetSpent             // this report is the first over the limit, and may be sent to say so
	budgetOver              // the report must not be sent
)

// budgetLife is how long after the last report of a thread its count is kept.
const budgetLife = time.Hour

func newProblemBudget(cfg *Config) problemBudget {
	return problemBudget{
		max: cfg.MaxThreadProblems, shared: recent[*tally]{max: cfg.MaxCounted}, own: recent[*tally]{max: cfg.MaxCounted},
	}
}

// live returns the tally of a thread, or nil if its last report is older than budgetLife.
func live(tallies *recent[*tally], key threadKey) *tally {
	if t, ok := tallies.get(key); ok && time.Since(t.last) < budgetLife {
		return t
	}
	return nil
}

// count adds 1 to both counts of the thread of in. If in is a problem report, it is the
// report that is counted. Otherwise the report is one about in, which count does not add
// if the result is budgetOver.
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

// uncount subtracts a report about in that was counted and then not sent.
func (b *problemBudget) uncount(in *Inbound) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, t := range [...]*tally{b.of(in), live(&b.own, in.key(subject(in.Message)))} {
		if t != nil {
			t.n--
		}
	}
}

// reported makes messages that name in, or our report about in, as their thread or their
// parent thread, use the shared count of in. The report must have been counted.
func (b *problemBudget) reported(in *Inbound, report *message.Message) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if t := b.of(in); t != nil {
		for _, id := range [...]string{in.Message.ID, report.Thread()} {
			b.shared.put(in.key(id), t)
		}
	}
}

// over reports whether the own count of the thread of in is over the limit.
func (b *problemBudget) over(in *Inbound) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	t := live(&b.own, in.key(subject(in.Message)))
	return t != nil && t.n > b.max
}

// of returns the first shared tally that it finds for the subject of in, for the thread
// of in, or for its parent thread, and makes it the tally of the subject too. It returns
// nil if none of them has a tally. The caller holds mu.
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
