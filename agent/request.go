package agent

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/didcomm-go/didcomm/agent/delivery"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/agent/store"
)

// Request sends m and waits for the answer. m must have one recipient. The answer is the
// first authenticated message on the thread of m from the recipient, or from the DID to
// which the recipient rotates with that message. With the option [AnsweredByChild], a
// message whose pthid is the thread of m is an answer too. An empty message (Empty 1.0)
// is an answer only if m has please_ack and the message acks m.
//
// If ctx has no deadline, Request waits for Config.RequestTimeout. After the deadline, m is
// not sent any more.
//
// Request asks the recipient to answer on the connection that m leaves by (return_route
// "all"), unless m has a return_route, or the option [ReturnRoute] is given, or the
// recipient is behind a mediator.
//
// Errors:
//   - a *message.Problem if a problem report, of any protocol, has the thread of m as thid
//     or pthid;
//   - [ErrUndelivered] if delivery has failed for good;
//   - the error of ctx, together with the last error of delivery if there is one;
//   - [ErrBusy] if Config.MaxRequests Requests are waiting;
//   - [ErrUnauthenticated] if the option [Anonymous] is given;
//   - [ErrStopped] if the Agent stops before the answer arrives;
//   - errors of [Agent.Send].
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
	a.nameLong(ctx, &out, o)
	if out.ReturnRoute == "" {
		// Only if the first route leads to the recipient: a mediator would not pass on an
		// answer.
		if routes, err := a.routes(ctx, out.To[0], store.ClassOwn); err == nil && len(routes[0].RoutingKeys) == 0 {
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

// requests are the Requests that wait for an answer, by their thread.
type requests struct {
	max int

	mu      sync.Mutex // guards all below
	waiting map[threadKey]*request
	byID    map[threadKey]*request // by the id of the message, for reports that name the id and not the thread
}

// request is a Request that waits for its answer.
type request struct {
	id      string        // of the message
	key     threadKey     // of the id
	acks    bool          // an empty message that acks the request is an answer
	byChild bool          // a message on a child thread is an answer
	answer  chan *Inbound // has room for the answer; closed if a claim is given back after the end

	// guarded by requests.mu
	claimed bool // a received message is about to be the answer, or is the answer
	ended   bool // nobody waits any more
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
		return errors.New("agent: another request waits on this thread")
	}
	r.waiting[key], r.byID[q.key] = q, q
	return nil
}

// end removes a Request. If the Request is claimed and the caller has no answer yet, end
// waits for the answer and returns it, since the peer may count its answer as received.
// Otherwise, or if the claim is given back, end returns nil.
func (r *requests) end(key threadKey, q *request, answered bool) *Inbound {
	r.mu.Lock()
	delete(r.waiting, key)
	if r.byID[q.key] == q {
		delete(r.byID, q.key)
	}
	q.ended = true
	wait := q.claimed && !answered
	r.mu.Unlock()
	if !wait {
		return nil
	}
	return <-q.answer
}

// waitFor reports whether a Request waits for in.
func (r *requests) waitFor(in *Inbound) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.find(in) != nil
}

// claim returns the Request that waits for in, or nil. No other message can answer a
// claimed Request. The caller must send in to request.answer, or call giveBack.
func (r *requests) claim(in *Inbound) *request {
	r.mu.Lock()
	defer r.mu.Unlock()
	q := r.find(in)
	if q != nil {
		q.claimed = true
	}
	return q
}

// find returns the Request that waits for in, or nil. Only the recipient of the request can
// answer. The caller holds mu.
func (r *requests) find(in *Inbound) *request {
	if !in.fromPeer() {
		return nil
	}
	empty, report := isEmpty(in.Message), isProblemReport(in.Message)
	for _, f := range in.senderDIDs() {
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

// ackedBy reports whether m is the ack that the Request asked for.
func (q *request) ackedBy(m *message.Message) bool {
	return q.acks && slices.ContainsFunc(m.Ack, func(id string) bool { return foldID(id) == foldID(q.id) })
}

// giveBack ends the claim of a message that does not become the answer. The Request keeps
// waiting. q may be nil.
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
