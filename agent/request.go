package agent

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/didcomm-go/didcomm/agent/delivery"
	"github.com/didcomm-go/didcomm/agent/message"
)

// Request sends m to its one recipient and waits for the answer: the first
// message on m's thread from that DID, proven, or from one that it has rotated
// to; with the option AnsweredByChild also the first whose pthid is m's thread. A
// message that is empty but for headers is an answer only if m has please_ack. Without
// a deadline in ctx Request waits for Config.RequestTimeout.
//
// Unless the option ReturnRoute says otherwise, or the recipient is behind a
// mediator, m asks for its answer on the connection that it goes by.
//
// Errors: a problem report, of whatever protocol, whose thid or pthid is the thread
// is returned as a *message.Problem, at once; ErrUndelivered if the message was given
// up; ctx.Err() with the last delivery error, if any; ErrBusy; ErrUnauthenticated with
// Anonymous; those of Send.
func (a *Agent) Request(ctx context.Context, m *message.Message, opts ...SendOption) (*Inbound, error) {
	if err := a.runs(); err != nil {
		return nil, err
	}
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, a.cfg.RequestTimeout)
		defer cancel()
	}
	o := optionsOf(opts...)
	if o.anonymous {
		return nil, ErrUnauthenticated
	}
	if len(m.To) != 1 {
		return nil, fmt.Errorf("agent: a request has one recipient, not %d", len(m.To))
	}
	out := *m
	o.awaited, o.answered, o.keep = true, true, m.To
	o.deadline, _ = ctx.Deadline()
	a.complete(&out, o)
	if err := a.address(ctx, &out); err != nil {
		return nil, err
	}
	if out.ReturnRoute == "" {
		// The way that it goes first: a mediator would not pass an answer on.
		if routes, err := a.routes(ctx, out.To[0]); err == nil && len(routes[0].RoutingKeys) == 0 {
			out.ReturnRoute = "all"
		}
	}
	pair := pairOf(out.From, out.To[0])
	key := keyOf(pair, out.Thread())
	waiting := &request{
		id: out.ID, key: keyOf(pair, out.ID), acks: len(out.PleaseAck) > 0, byChild: o.byChild,
		answer: make(chan *Inbound, 1),
	}
	if err := a.requests.add(key, waiting); err != nil {
		return nil, err
	}
	sent, err := a.send(ctx, &out, o)
	var in *Inbound
	if err == nil {
		defer sent.forget()
		in, err = a.await(ctx, waiting, sent)
	}
	if late := a.requests.end(key, waiting, in != nil); late != nil {
		in = late
	}
	switch {
	case in == nil:
		return nil, err
	case isProblemReport(in.Message):
		p, err := ParseProblemReport(in.Message)
		if err != nil {
			return nil, err
		}
		return nil, p
	}
	return in, nil
}

func (a *Agent) await(ctx context.Context, waiting *request, sent *sending) (*Inbound, error) {
	left := sent.left
	for {
		select {
		case in := <-waiting.answer:
			return in, nil
		case o := <-left:
			if !o.Arrived() && !o.Awaits {
				return nil, &delivery.Error{Outcome: o}
			}
			left = nil
		case <-ctx.Done():
			err := ctx.Err()
			if last := sent.lastError(); last != nil {
				err = fmt.Errorf("%w: %w", err, last)
			}
			return nil, fmt.Errorf("agent: no answer: %w", err)
		case <-a.stopping:
			return nil, ErrStopped
		}
	}
}

// requests are the Requests that wait for an answer.
type requests struct {
	max int

	mu      sync.Mutex // guards all below
	waiting map[threadKey]*request
	byID    map[threadKey]*request // the same by the message, which some name where its thread belongs
}

type request struct {
	id      string
	key     threadKey     // of the message
	acks    bool          // an ack alone is an answer
	byChild bool          // the answer may be on a thread whose parent is the request's
	answer  chan *Inbound // takes one; closed if it turned out to be none and nobody waits

	// guarded by requests.mu
	claimed bool // an answer is on its way, or here
	ended   bool
}

func newRequests(max int) requests {
	return requests{max: max, waiting: make(map[threadKey]*request), byID: make(map[threadKey]*request)}
}

func (r *requests) add(key threadKey, q *request) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.waiting) >= r.max {
		return fmt.Errorf("%w: %d requests are waiting", ErrBusy, r.max)
	}
	if r.waiting[key] != nil {
		return errors.New("agent: a request waits on this thread already")
	}
	r.waiting[key], r.byID[q.key] = q, q
	return nil
}

// end ends the wait. An answer that is on its way by now it waits for and returns,
// since its sender takes it for received; nil if there is none, or it was had.
func (r *requests) end(key threadKey, q *request, had bool) *Inbound {
	r.mu.Lock()
	delete(r.waiting, key)
	if r.byID[q.key] == q {
		delete(r.byID, q.key)
	}
	q.ended = true
	wait := q.claimed && !had
	r.mu.Unlock()
	if !wait {
		return nil
	}
	return <-q.answer
}

// waitFor tells whether a Request waits for a message.
func (r *requests) waitFor(in *Inbound) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.find(in) != nil
}

// claim takes the Request that waits for a message, nil if none does. The caller
// answers it, or gives it back.
func (r *requests) claim(in *Inbound) *request {
	r.mu.Lock()
	defer r.mu.Unlock()
	q := r.find(in)
	if q != nil {
		q.claimed = true
	}
	return q
}

// find is the Request that waits for a message, nil if none does. Only the party
// that was asked can answer. The caller holds mu.
func (r *requests) find(in *Inbound) *request {
	if !in.Authenticated() || len(in.Message.To) > 0 && !in.addressed() { // somebody passed it on
		return nil
	}
	empty, report := isEmpty(in.Message), isProblemReport(in.Message)
	for _, f := range in.names() {
		for i, t := range [...]string{in.Message.ThreadID, in.Message.ParentThreadID} {
			if t == "" {
				continue
			}
			child, key := i == 1, keyOf(pairOf(in.To, f), t)
			q := r.waiting[key]
			if q == nil && report {
				q = r.byID[key]
			}
			if q != nil && !q.claimed && (!empty || q.ackedBy(in.Message)) && q.id != in.Message.ID && (!child || report || q.byChild) {
				return q
			}
		}
	}
	return nil
}

// ackedBy tells whether an empty message is the ack that the Request asked for.
func (q *request) ackedBy(m *message.Message) bool {
	return q.acks && slices.ContainsFunc(m.Ack, func(id string) bool { return foldID(id) == foldID(q.id) })
}

// giveBack lets the Request wait on, for what answered it was no answer.
func (r *requests) giveBack(q *request) {
	if q == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	q.claimed = false
	if q.ended {
		close(q.answer)
	}
}
