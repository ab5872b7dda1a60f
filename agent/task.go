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

// task is a message that is to be handled.
type task struct {
	in      *Inbound
	key     threadKey
	request *request // that the message answers, or nil

	mu    sync.Mutex                   // guards all below
	lease *store.Lease[store.Received] // nil for what need not be remembered, or handled
	again transport.Session            // by which the message came again meanwhile, or nil
}

// held is the lease of the task now; inHand renews it.
func (k *task) held() *store.Lease[store.Received] {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.lease
}

// Retry is what a Handler returns when the message may be handled well later: it
// is handled again after a delay, at least after, and set aside when it has
// failed Config.MaxTries times, of which the sender is told. Until then the
// sender hears no more than the ack that it asked for. With after of 0 the delay
// is that of failed deliveries.
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
	hold, busy := time.Duration(0), k.request == nil && a.isBusyFor(in)
	if k.request == nil && !busy {
		m.Packet, hold = store.Packet(p), a.leaseTime()
	}
	// If the connection ends meanwhile, the message must not stay behind in the
	// inbox with a lease that nobody knows of.
	add, cancel := a.lasting(ctx)
	defer cancel()
	lease, known, err := a.cfg.Inbox.Add(add, m, hold)
	switch {
	case known != nil:
		a.requests.giveBack(k.request)
		in.log(a.cfg.Logger).InfoContext(ctx, "dropped a message that was here before", "state", known.State)
		return nil, a.replyAgain(ctx, w, in, known)
	case err != nil && k.request != nil:
		// The Request gets it. Should it come again, it is taken for new.
		in.log(a.cfg.Logger).ErrorContext(ctx, "an answer was not remembered", "error", err)
	case err != nil:
		return nil, a.busy(ctx, w, in, fmt.Errorf("inbox: %w", err))
	case busy:
		a.delivery.Busy(in.From, subject(in.Message))
		return nil, nil
	}
	if k.lease = lease; lease != nil {
		a.inHand.add(k)
	}
	return k, nil
}

// lasting is ctx without its end; it ends with the agent.
func (a *Agent) lasting(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(a.life, cancel)
	return ctx, func() { stop(); cancel() }
}

// codeBusy is the problem of an agent that has no room for a message now.
const codeBusy = "e.p." + message.DescriptorMeRes + ".storage"

// isBusy tells whether a message reports that its sender was too busy to take what
// the report is about.
func isBusy(m *message.Message) bool {
	return isProblemReport(m) && len(m.Ack) == 0 && message.ReadProblem(m.Body).Code == codeBusy
}

// isBusyFor tells whether a message says that its sender was too busy to take one of
// ours that waits for its ack.
func (a *Agent) isBusyFor(in *Inbound) bool {
	return in.Authenticated() && in.addressed() && isBusy(in.Message) && a.delivery.Awaits(in.From, subject(in.Message))
}

// busy tells the peer to try again, for there is no room or the inbox fails: by
// HTTP with the error that it returns, on other connections with a problem report,
// which does not count towards the thread's problems. A peer that cannot be told so is
// told by the end of the connection.
func (a *Agent) busy(ctx context.Context, w transport.Replier, in *Inbound, cause error) error {
	return a.busyFor(ctx, w, in, busyDelay, cause)
}

// busyFor is busy for a while.
func (a *Agent) busyFor(ctx context.Context, w transport.Replier, in *Inbound, delay time.Duration, cause error) error {
	var busy error = &transport.BusyError{RetryAfter: delay, Err: cause}
	if _, ok := w.(transport.Session); !ok {
		return busy
	}
	if in.Authenticated() && !isProblemReport(in.Message) && !isEmpty(in.Message) {
		report, err := ProblemReport(message.NewProblem(codeBusy, cause), in.Message)
		if err == nil {
			report.Ack = nil // since we do not have it
			err = (&responder{a: a, w: w, in: in, here: true, acked: true, busy: true}).reply(ctx, report)
		}
		if err == nil {
			return busy
		}
	}
	return untold(w, busy)
}

// replyAgain answers a message that came again, since the peer did not hear of us.
// The replies that were made on a connection are sent again, on the one that it came
// by now; if there were none, the peer gets the ack that it asks for, as any ack: the
// first may have been over the limit. While its handler runs it is too early for that: if the ack came first, the peer
// would not send it again for a reply that is lost.
func (a *Agent) replyAgain(ctx context.Context, w transport.Replier, in *Inbound, known *store.Known) error {
	if !in.Authenticated() || !in.addressed() {
		return nil
	}
	if k := a.inHand.get(keyOf(in.From, in.Message.ID)); k != nil && known.State == store.Leased {
		if s, ok := w.(transport.Session); ok {
			k.cameAgain(s)
			return nil
		}
		if r := in.Message.ReturnRoute; r == "all" || r == "thread" {
			return later(errors.New("the message is being handled"))
		}
		return nil
	}
	if len(known.Replies) == 0 {
		a.acknowledge(ctx, &responder{a: a, w: w, in: in})
		return nil
	}
	if _, ok := w.(transport.Session); ok && !a.answers.take(in.From) {
		in.log(a.cfg.Logger).InfoContext(ctx, "not replied again, the sender has had too many answers")
		return nil
	}
	for _, p := range known.Replies {
		if err := w.Reply(ctx, transport.Packet(p)); err != nil {
			in.log(a.cfg.Logger).InfoContext(ctx, "not replied again", "error", err)
			return nil
		}
	}
	return nil
}

// replyLate is replyAgain for a message that came again while its handler ran.
func (a *Agent) replyLate(ctx context.Context, k *task, replies []store.Packet) {
	k.mu.Lock()
	s := k.again
	k.mu.Unlock()
	if s != nil {
		_ = a.replyAgain(ctx, s, k.in, &store.Known{State: store.Done, Replies: replies}) // it is not busy any more
	}
}

func (k *task) cameAgain(s transport.Session) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.again = s
}

// giveUp is for a message that the agent has no time left to handle: the inbox
// keeps it for the agent's next life.
func (a *Agent) giveUp(ctx context.Context, k *task) error {
	a.nak(ctx, k, 0, "")
	return ErrStopped
}

// begin tells whether the handler may run: not if the lease may end before it
// does, since another would begin then. Such a message comes back from the inbox.
func (a *Agent) begin(ctx context.Context, k *task) bool {
	if l := k.held(); l != nil && time.Until(l.Until) < a.cfg.HandlerTimeout {
		a.nak(ctx, k, 0, "")
		return false
	}
	return true
}

// postpone puts a message off whose handler asks for that, or failed as the agent
// stopped. It reports false if the message is to be settled instead.
func (a *Agent) postpone(ctx context.Context, r *responder, k *task, err error) bool {
	var again *retryError
	var problem *message.Problem
	switch l := k.held(); {
	case l == nil:
		return false
	case a.life.Err() != nil && !errors.As(err, &problem):
		a.nak(ctx, k, 0, "") // it was cut off, and not to blame
		return true
	case !errors.As(err, &again) || l.Attempts+1 >= a.cfg.MaxTries:
		return false
	default:
		delay := max(again.after, a.cfg.backoff().After(l.Attempts))
		k.in.log(a.cfg.Logger).WarnContext(ctx, "message not handled, will try again", "attempts", l.Attempts+1, "delay", delay, "error", err)
		a.acknowledge(ctx, r) // it need not be sent again
		a.nak(ctx, k, delay, err.Error())
		return true
	}
}

// settle ends a message: well if it was handled, be it with a problem that its
// sender has heard of; else it is set aside for a person to see. The task is in
// hand until the inbox knows, so that it is not handled again because the store
// fails, or because it took longer than its lease.
func (a *Agent) settle(ctx context.Context, k *task, err error, replies []store.Packet) {
	defer a.inHand.remove(k)
	var p *message.Problem
	how := func(ctx context.Context, l *store.Lease[store.Received]) error {
		return a.cfg.Inbox.Ack(ctx, l, replies...)
	}
	if err != nil && (!errors.As(err, &p) || errors.Is(err, errForGood)) {
		reason := err.Error()
		how = func(ctx context.Context, l *store.Lease[store.Received]) error {
			return a.cfg.Inbox.Term(ctx, l, reason)
		}
	}
	for l := k.held(); l != nil; {
		var err error
		_ = store.Tell(ctx, time.Time{}, a.cfg.MinBackoff, a.life.Done(), func(ctx context.Context) error {
			err = how(ctx, l)
			return err
		})
		if err == nil {
			return
		}
		settled := false
		if l, settled = a.renewed(ctx, k, l); l == nil && !settled {
			k.in.log(a.cfg.Logger).ErrorContext(ctx, "handled, but not marked so", "error", err)
		}
	}
}

// renewed waits for a lease after l, which was lost. There is none where the message
// is settled: by a try whose success was not told, or by another process.
func (a *Agent) renewed(ctx context.Context, k *task, l *store.Lease[store.Received]) (next *store.Lease[store.Received], settled bool) {
	for range int(a.leaseTime()/time.Second) + 1 {
		if now := k.held(); now != l { // redeliverAll came by it
			return now, false
		}
		_, known, err := a.cfg.Inbox.Add(context.WithoutCancel(ctx), l.Item, 0)
		switch {
		case err != nil:
		case known == nil, known.State == store.Done, known.State == store.Buried:
			return nil, true
		}
		select {
		case <-time.After(time.Second):
		case <-a.life.Done():
			return nil, false
		}
	}
	return nil, false
}

// nak gives a message back to the inbox.
func (a *Agent) nak(ctx context.Context, k *task, delay time.Duration, reason string) {
	l := k.held()
	if l == nil {
		return
	}
	a.inHand.remove(k) // before it can be leased again
	nak := func(ctx context.Context) error { return a.cfg.Inbox.Nak(ctx, l, delay, reason) }
	if err := store.Tell(ctx, l.Until, a.cfg.MinBackoff, a.life.Done(), nak); err != nil {
		k.in.log(a.cfg.Logger).ErrorContext(ctx, "inbox failed", "error", err)
	}
}
