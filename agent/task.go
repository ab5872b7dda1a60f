package agent

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/transport"
)

// task is a message that the inbox has leased to us.
type task struct {
	in      *Inbound
	key     threadKey
	lease   *store.Lease[store.Received] // nil for what need not be remembered, or handled
	request *claim                       // that the message answers, or nil
}

// Retry is what a Handler returns when the message may be handled well later: it
// is handled again after a delay, at least after, and set aside when it has
// failed Config.MaxTries times, of which the sender is told. Until then the
// sender hears nothing. With after of 0 the delay is that of failed deliveries.
func Retry(after time.Duration, err error) error { return &retryError{after, err} }

type retryError struct {
	after time.Duration
	err   error
}

func (e *retryError) Error() string { return e.err.Error() }
func (e *retryError) Unwrap() error { return e.err }

// leaseTime is how long a message is ours: it may wait in line for a while, and
// then be handled.
func (a *Agent) leaseTime() time.Duration { return 4 * a.cfg.HandlerTimeout }

// take stores a message, so that it is handled whatever happens to this process.
// It returns nil if there is nothing to do, as for one that was here before.
func (a *Agent) take(ctx context.Context, w transport.Replier, in *Inbound, p transport.Packet) (*task, error) {
	now := a.cfg.Now()
	k := &task{in: in, key: keyOf(in.From, in.Message.ID), request: a.requests.claim(in)}
	if isAck(in.Message) {
		return k, nil // a second one changes nothing
	}
	m := store.Received{
		Sender: party(in.From), ID: foldID(in.Message.ID), Peer: party(in.From),
		To: in.To, Type: in.Message.Type, Thread: in.Message.Thread(),
		Time: now, Until: now.Add(a.cfg.ReplayWindow),
	}
	hold := time.Duration(0)
	if k.request == nil {
		m.Packet, hold = store.Packet(p), a.leaseTime()
	}
	var known *store.Known
	var err error
	k.lease, known, err = a.cfg.Inbox.Add(ctx, m, hold)
	if err == nil && known == nil {
		return k, nil
	}
	a.requests.giveBack(k.request)
	switch {
	case errors.Is(err, store.ErrFull):
		return nil, a.busy(ctx, w, in, err)
	case err != nil:
		return nil, fmt.Errorf("inbox: %w", err)
	}
	in.log(a.cfg.Logger).WarnContext(ctx, "dropped a message that was here before", "state", known.State)
	a.replyAgain(ctx, w, in, known)
	return nil, nil
}

// busy tells the peer to try again: by HTTP with the error that it returns, on
// other connections with a problem report. It does not count towards the
// thread's problems.
func (a *Agent) busy(ctx context.Context, w transport.Replier, in *Inbound, err error) error {
	if _, ok := w.(transport.Session); ok && in.Authenticated() && !isProblemReport(in.Message) && !isEmpty(in.Message) {
		r := &responder{a: a, w: w, in: in, here: true, acked: true}
		report, fail := ProblemReport(message.NewProblem(codeBusy, err), in.Message)
		if fail == nil {
			report.Ack = nil
			fail = r.Reply(ctx, report)
		}
		if fail == nil {
			return &transport.BusyError{RetryAfter: busyDelay, Err: err}
		}
		return fmt.Errorf("inbox: %w", err) // which ends the connection: the peer will know
	}
	return &transport.BusyError{RetryAfter: busyDelay, Err: err}
}

// busyDelay is when a peer may come again that there was no room for.
const busyDelay = 10 * time.Second

// replyAgain sends what was replied to a message that came again, on the
// connection that it came by: the peer has sent it again because it did not hear
// of us.
func (a *Agent) replyAgain(ctx context.Context, w transport.Replier, in *Inbound, known *store.Known) {
	if known.State != store.Done || !in.Authenticated() || !in.addressed() {
		return
	}
	if len(known.Replies) == 0 {
		a.acknowledge(ctx, &responder{a: a, w: w, in: in, here: true})
		return
	}
	for _, p := range known.Replies {
		if err := w.Reply(ctx, packet(p)); err != nil {
			in.log(a.cfg.Logger).InfoContext(ctx, "not replied again", "error", err)
			return
		}
	}
}

// giveUp is for a message that the agent has no time left to handle: the inbox
// keeps it for the agent's next life.
func (a *Agent) giveUp(ctx context.Context, k *task) error {
	a.nak(ctx, k, 0, "agent stopped")
	return ErrStopped
}

// begin tells whether the handler may run: not if the lease may end before it
// does, since another would begin then. Such a message comes back from the inbox.
func (a *Agent) begin(ctx context.Context, k *task) bool {
	if k.lease == nil {
		return true
	}
	if time.Until(k.lease.Until) < a.cfg.HandlerTimeout {
		a.nak(ctx, k, 0, "waited too long for a handler")
		return false
	}
	return a.inHand.add(k.key)
}

// postpone puts a message off whose handler asks for that, or was cut off as the
// agent stopped. It reports false if the message is to be settled instead.
func (a *Agent) postpone(ctx context.Context, k *task, err error) bool {
	var again *retryError
	switch {
	case k.lease == nil:
		return false
	case a.life.Err() != nil && (errors.Is(err, context.Canceled) || errors.Is(err, ErrStopped)):
		a.nak(ctx, k, 0, "agent stopped")
		return true
	case !errors.As(err, &again) || k.lease.Attempts+1 >= a.cfg.MaxTries:
		return false
	}
	delay := max(again.after, a.backoff(k.lease.Attempts))
	k.in.log(a.cfg.Logger).WarnContext(ctx, "message not handled, will try again", "attempts", k.lease.Attempts+1, "delay", delay, "error", err)
	a.nak(ctx, k, delay, err.Error())
	return true
}

// settle ends a message: well if it was handled, be it with a problem that its
// sender has heard of; else it is set aside for a person to see.
func (a *Agent) settle(ctx context.Context, k *task, err error, replies []store.Packet) {
	if k.lease == nil {
		return
	}
	var p *message.Problem
	if err == nil || errors.As(err, &p) && !errors.Is(err, errForGood) {
		err = a.persist(ctx, k.lease.Until, func(ctx context.Context) error { return a.cfg.Inbox.Ack(ctx, k.lease, replies...) })
	} else {
		reason := err.Error()
		err = a.persist(ctx, k.lease.Until, func(ctx context.Context) error { return a.cfg.Inbox.Term(ctx, k.lease, reason) })
	}
	if err != nil {
		k.in.log(a.cfg.Logger).ErrorContext(ctx, "handled, but not marked so", "error", err)
	}
}

func (a *Agent) nak(ctx context.Context, k *task, delay time.Duration, reason string) {
	if k.lease == nil {
		return
	}
	nak := func(ctx context.Context) error { return a.cfg.Inbox.Nak(ctx, k.lease, delay, reason) }
	if err := a.persist(ctx, k.lease.Until, nak); err != nil {
		k.in.log(a.cfg.Logger).ErrorContext(ctx, "inbox failed", "error", err)
	}
}

// redeliverAll handles what the inbox has left over: of an earlier life of the
// agent, of a handler that asked to be called again, of another process that
// died.
func (a *Agent) redeliverAll(ctx context.Context) {
	for {
		l, err := a.cfg.Inbox.Lease(ctx, a.leaseTime())
		switch {
		case ctx.Err() != nil:
			if err == nil {
				a.nak(ctx, &task{in: &Inbound{Message: &message.Message{ID: l.Item.ID}}, lease: l}, 0, "agent stopped")
			}
			return
		case err != nil:
			a.storeFailed(ctx, "inbox failed", err)
		default:
			a.redeliver(ctx, l)
		}
	}
}

// redeliver handles one such message. Its reply goes by a return route or an
// endpoint of its sender, or waits for the message to come again.
func (a *Agent) redeliver(ctx context.Context, l *store.Lease[store.Received]) {
	k := &task{
		in:    &Inbound{Message: &message.Message{ID: l.Item.ID, Type: l.Item.Type}, From: l.Item.Sender, To: l.Item.To},
		key:   keyOf(l.Item.Sender, l.Item.ID),
		lease: l,
	}
	if a.inHand.has(k.key) { // for longer than it should
		a.nak(ctx, k, a.cfg.HandlerTimeout, l.LastError)
		return
	}
	if l.Attempts >= a.cfg.MaxTries {
		reason := l.LastError
		if reason == "" {
			reason = "the process ended each time"
		}
		a.setAside(ctx, k, fmt.Errorf("given up after %d tries: %s", l.Attempts, reason))
		return
	}
	u, err := a.cfg.Packer.Unpack(ctx, l.Item.Packet.Data)
	if err != nil {
		err = refusal(err)
		var reject *transport.RejectError
		if errors.As(err, &reject) {
			a.setAside(ctx, k, err)
		} else {
			a.nak(ctx, k, a.backoff(l.Attempts), err.Error())
		}
		return
	}
	k.in = a.inbound(u)
	if !a.current(ctx, k.in) {
		a.setAside(ctx, k, errors.New("expired, or its thread failed too often"))
		return
	}
	if !a.enter() {
		a.nak(ctx, k, 0, "agent stopped")
		return
	}
	defer a.leave()
	_ = a.detach(context.WithoutCancel(ctx), transport.NoReply{}, k) // it can only have stopped
}

// setAside ends a message that is not handled.
func (a *Agent) setAside(ctx context.Context, k *task, reason error) {
	k.in.log(a.cfg.Logger).ErrorContext(ctx, "message set aside", "error", reason)
	a.settle(context.WithoutCancel(ctx), k, reason, nil)
}

// inHand are the messages whose handlers run in this process.
type inHand struct {
	mu   sync.Mutex
	keys map[threadKey]struct{}
}

func newInHand() inHand { return inHand{keys: make(map[threadKey]struct{})} }

// add reports whether the message was not in hand already.
func (h *inHand) add(key threadKey) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, ok := h.keys[key]; ok {
		return false
	}
	h.keys[key] = struct{}{}
	return true
}

func (h *inHand) has(key threadKey) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	_, ok := h.keys[key]
	return ok
}

func (h *inHand) remove(key threadKey) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.keys, key)
}
