package agent

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/transport"
)

// pending is a received message that is not handled yet.
type pending struct {
	in      *Inbound
	key     threadKey
	request *request // the Request that the message answers, or nil

	// returned, if not nil, is called when the Handler has returned, before the message is
	// settled. Owned by the goroutine that runs the Handler.
	returned func()

	mu        sync.Mutex                   // guards all below
	lease     *store.Lease[store.Received] // nil if the inbox does not have the message
	duplicate transport.Session            // the session on which the message arrived again, or nil
	begun     bool                         // the Handler was called
}

// held returns the current lease of the message. keepPending extends the lease, and
// redeliverAll replaces a lease that has ended.
func (k *pending) held() *store.Lease[store.Received] {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.lease
}

// leaseTime returns how long the messages of the inbox are leased. A message may wait in
// a lane for some of that time before it is handled.
func (a *Agent) leaseTime() time.Duration { return 4 * a.cfg.HandlerTimeout }

// release gives a message back to the inbox because the Agent stops, and returns
// ErrStopped.
func (a *Agent) release(ctx context.Context, k *pending) error {
	a.nak(ctx, k, 0, "")
	return ErrStopped
}

// begin reports whether the Handler may be called. If the lease of the message could end
// before the Handler does, another process could handle the message too. begin then gives
// the message back to the inbox.
func (a *Agent) begin(ctx context.Context, k *pending) bool {
	if l := k.start(); l != nil && time.Until(l.Until) < a.cfg.HandlerTimeout {
		a.nak(ctx, k, 0, "")
		return false
	}
	return true
}

// start returns the lease, and marks the message as begun: from now on, only the Handler
// extends the lease.
func (k *pending) start() *store.Lease[store.Received] {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.begun = true
	return k.lease
}

// waitsBeyond reports whether the message waits for its Handler and has a lease that ends
// before t.
func (k *pending) waitsBeyond(t time.Time) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return !k.begun && k.lease != nil && k.lease.Until.Before(t)
}

// postpone gives a message back to the inbox if its Handler has returned a Retry, or has
// failed because the Agent stops. It returns false if the message has to be settled
// instead.
func (a *Agent) postpone(ctx context.Context, r *responder, k *pending, err error) bool {
	var retry *retryError
	var problem *message.Problem
	switch l := k.held(); {
	case l == nil:
		return false
	case a.life.Err() != nil && !errors.As(err, &problem):
		a.nak(ctx, k, 0, "") // does not count as a try
		return true
	case !errors.As(err, &retry) || l.Attempts+1 >= a.cfg.MaxTries:
		return false
	default:
		delay := max(retry.after, a.cfg.backoff().After(l.Attempts))
		k.in.log(a.cfg.Logger).WarnContext(ctx, "message not handled, will be retried", "attempts", l.Attempts+1, "delay", delay, "error", err)
		r.acknowledge(ctx) // so that the peer does not send the message again
		a.nak(ctx, k, delay, err.Error())
		return true
	}
}

// settle ends the handling of a message. A message that was handled is acked in the
// inbox, and so is a message whose sender was told about a problem. After any other error
// the message is set aside for a person to look at.
//
// If the inbox fails, or the lease has ended, settle tries again. Until the inbox knows,
// the message stays in a.pending, so that it is not handled again.
func (a *Agent) settle(ctx context.Context, k *pending, err error, replies []store.Packet) {
	defer a.pending.remove(k)
	var p *message.Problem
	how := func(ctx context.Context, l *store.Lease[store.Received]) error {
		return a.inbox.Ack(ctx, l, replies...)
	}
	if err != nil && (!errors.As(err, &p) || errors.Is(err, errForGood)) {
		reason := err.Error()
		how = func(ctx context.Context, l *store.Lease[store.Received]) error {
			return a.inbox.Term(ctx, l, reason)
		}
	}
	for l := k.held(); l != nil; {
		var err error
		_ = store.Settle(ctx, time.Time{}, a.cfg.MinBackoff, a.life.Done(), func(ctx context.Context) error {
			err = how(ctx, l)
			return err
		})
		if err == nil {
			return
		}
		settled := false
		if l, settled = a.renewed(ctx, k, l); l == nil && !settled {
			k.in.log(a.cfg.Logger).ErrorContext(ctx, "message handled, but not marked as handled in the inbox", "error", err)
		}
	}
}

// renewed waits for a lease that replaces l, which has ended. It returns settled if the
// inbox knows that the message is handled, by an earlier try of ours or by another
// process.
func (a *Agent) renewed(ctx context.Context, k *pending, l *store.Lease[store.Received]) (next *store.Lease[store.Received], settled bool) {
	for range int(a.leaseTime()/time.Second) + 1 {
		if now := k.held(); now != l { // redeliverAll has leased the message again
			return now, false
		}
		_, known, err := a.inbox.Add(context.WithoutCancel(ctx), l.Item, 0)
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

// nak gives a message back to the inbox, to be leased again after a delay. Without a
// reason, the lease does not count as a try.
func (a *Agent) nak(ctx context.Context, k *pending, delay time.Duration, reason string) {
	l := k.held()
	if l == nil {
		return
	}
	a.pending.remove(k) // before the message can be leased again
	nak := func(ctx context.Context) error { return a.inbox.Nak(ctx, l, delay, reason) }
	if err := store.Settle(ctx, l.Until, a.cfg.MinBackoff, a.life.Done(), nak); err != nil {
		k.in.log(a.cfg.Logger).ErrorContext(ctx, "message not given back to the inbox", "error", err)
	}
}

// keepLease extends the lease of a message to d from now, if it ends earlier.
func (a *Agent) keepLease(ctx context.Context, k *pending, d time.Duration) error {
	for {
		l := k.held()
		if l == nil || time.Until(l.Until) >= d {
			return nil
		}
		next, err := a.inbox.Extend(ctx, l, d)
		if k.replace(l, next) {
			return err
		}
		// The lease has ended, and redeliverAll has leased the message again.
	}
}

// replace reports whether the lease of the message is still l. If it is, and next is not
// nil, next becomes the lease.
func (k *pending) replace(l, next *store.Lease[store.Received]) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.lease != l {
		return false
	}
	if next != nil {
		k.lease = next
	}
	return true
}

// settled notes that a Commit has ended the message in the inbox.
func (k *pending) settled() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.lease = nil
}

// setDuplicate notes that the message has arrived again on a session.
func (k *pending) setDuplicate(s transport.Session) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.duplicate = s
}

// pendingSet has the messages that this process has leased from the inbox.
type pendingSet struct {
	mu      sync.Mutex
	pending map[threadKey]*pending
}

func newPendingSet() pendingSet { return pendingSet{pending: make(map[threadKey]*pending)} }

func (h *pendingSet) add(k *pending) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.pending[k.key] = k
}

func (h *pendingSet) get(key threadKey) *pending {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.pending[key]
}

// waiting returns the messages that wait for their Handler, with a lease that ends before
// end.
func (h *pendingSet) waiting(end time.Time) (list []*pending) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, k := range h.pending {
		if k.waitsBeyond(end) {
			list = append(list, k)
		}
	}
	return list
}

// renew gives l, a new lease of a message whose earlier lease has ended, to the pending
// message. It returns false if there is no such pending message.
func (h *pendingSet) renew(l *store.Lease[store.Received]) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	k := h.pending[keyOf(l.Item.Sender, l.Item.ID)]
	if k == nil {
		return false
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.lease = l
	return true
}

func (h *pendingSet) remove(k *pending) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.pending[k.key] == k {
		delete(h.pending, k.key)
	}
}
