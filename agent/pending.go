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

// pending is a message that is to be handled.
type pending struct {
	in      *Inbound
	key     threadKey
	request *request // that the message answers, or nil

	// returned, if not nil, is called when the handler has returned, before the message
	// is settled. Owned by the goroutine that runs the handler.
	returned func()

	mu    sync.Mutex                   // guards all below
	lease *store.Lease[store.Received] // nil for what need not be remembered, or handled
	again transport.Session            // by which the message came again meanwhile, or nil
	begun bool                         // its handler runs, or has run
}

// held is the lease of the message now; keepPending makes it last, and a redelivery
// renews it.
func (k *pending) held() *store.Lease[store.Received] {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.lease
}

// leaseTime is how long a message is ours: it may wait in a lane for a while, and
// then be handled.
func (a *Agent) leaseTime() time.Duration { return 4 * a.cfg.HandlerTimeout }

// giveUp is for a message that the agent has no time left to handle: the inbox
// keeps it for the agent's next life.
func (a *Agent) giveUp(ctx context.Context, k *pending) error {
	a.nak(ctx, k, 0, "")
	return ErrStopped
}

// begin tells whether the handler may run: not if the lease may end before it
// does, since another would begin then. Such a message comes back from the inbox.
func (a *Agent) begin(ctx context.Context, k *pending) bool {
	if l := k.start(); l != nil && time.Until(l.Until) < a.cfg.HandlerTimeout {
		a.nak(ctx, k, 0, "")
		return false
	}
	return true
}

// start is held, from when on nobody but the handler makes the lease last.
func (k *pending) start() *store.Lease[store.Received] {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.begun = true
	return k.lease
}

// waitsBeyond tells whether the message has a lease that ends before a time, and waits for
// its handler.
func (k *pending) waitsBeyond(t time.Time) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return !k.begun && k.lease != nil && k.lease.Until.Before(t)
}

// postpone puts a message off whose handler asks for that, or failed as the agent
// stopped. It reports false if the message is to be settled instead.
func (a *Agent) postpone(ctx context.Context, r *responder, k *pending, err error) bool {
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
		r.acknowledge(ctx) // it need not be sent again
		a.nak(ctx, k, delay, err.Error())
		return true
	}
}

// settle ends a message: well if it was handled, be it with a problem that its
// sender has heard of; else it is set aside for a person to see. The message is in
// hand until the inbox knows, so that it is not handled again because the store
// fails, or because it took longer than its lease.
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
func (a *Agent) renewed(ctx context.Context, k *pending, l *store.Lease[store.Received]) (next *store.Lease[store.Received], settled bool) {
	for range int(a.leaseTime()/time.Second) + 1 {
		if now := k.held(); now != l { // redeliverAll came by it
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

// nak gives a message back to the inbox.
func (a *Agent) nak(ctx context.Context, k *pending, delay time.Duration, reason string) {
	l := k.held()
	if l == nil {
		return
	}
	a.pending.remove(k) // before it can be leased again
	nak := func(ctx context.Context) error { return a.inbox.Nak(ctx, l, delay, reason) }
	if err := store.Tell(ctx, l.Until, a.cfg.MinBackoff, a.life.Done(), nak); err != nil {
		k.in.log(a.cfg.Logger).ErrorContext(ctx, "inbox failed", "error", err)
	}
}

// keepLease makes the lease of a message last for d.
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
		// The lease ran out meanwhile, and redeliverAll came by another.
	}
}

// replace makes next the lease of the message, unless next is nil, where the lease is l
// yet. It reports whether it was.
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

// settled is for a message whose end was committed.
func (k *pending) settled() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.lease = nil
}

func (k *pending) cameAgain(s transport.Session) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.again = s
}

// pendingSet are the messages that this process has leased, to handle them.
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

// waiting are those that wait for their handler, with a lease that ends before a time.
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

// renew hands a lease to the message that has the message in hand, whose own has run
// out.
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
