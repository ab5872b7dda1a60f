package agent

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/transport"
)

const (
	// leasers is how many goroutines lease messages while the inbox has more. If each
	// lease is a commit, one goroutine would take long for the messages that a crash has
	// left.
	leasers = 8
	// leaseWait is how long each of them waits for another message.
	leaseWait = 50 * time.Millisecond
	// batchTime is how long messages of ordered protocols are collected, so that they can
	// be sorted by time of receipt.
	batchTime = 2 * time.Millisecond
)

// redeliverAll handles the messages that are due in the inbox: those that an earlier
// process, or another process that crashed, has not handled, and those whose Handler has
// returned a Retry.
func (a *Agent) redeliverAll(ctx context.Context) {
	ordered := make(chan *pending)
	var lanes sync.WaitGroup
	defer lanes.Wait()
	lanes.Go(func() { a.queueAll(ctx, ordered) })
	for {
		poison, err := a.leaseOne(ctx, ctx, ordered)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			a.cfg.Logger.ErrorContext(ctx, "no message leased from the inbox", "error", err)
			select { // so that an inbox that fails does not make a busy loop
			case <-time.After(a.cfg.MinBackoff):
			case <-ctx.Done():
			}
		case !poison:
			a.leaseMore(ctx, ordered)
		}
	}
}

// leaseMore leases messages with several goroutines, until no message was due for
// leaseWait.
func (a *Agent) leaseMore(ctx context.Context, ordered chan<- *pending) {
	var all sync.WaitGroup
	defer all.Wait()
	for range leasers {
		all.Go(func() {
			for more := true; more; {
				wait, cancel := context.WithTimeout(ctx, leaseWait)
				poison, err := a.leaseOne(ctx, wait, ordered)
				cancel()
				more = !poison && err == nil
			}
		})
	}
}

// leaseOne leases one message from the inbox, and waits for it until the context wait
// ends. It sends a message of an ordered protocol to ordered, and handles any other
// message. It reports whether the message may be the cause of crashes. As few messages as
// possible should be leased together with such a message, since a crash counts against
// each of them.
func (a *Agent) leaseOne(ctx, wait context.Context, ordered chan<- *pending) (poison bool, err error) {
	l, err := a.inbox.Lease(wait, a.leaseTime())
	if err != nil {
		return false, err
	}
	if a.pending.renew(l) { // still waiting or being handled, longer than its first lease
		return false, nil
	}
	k := leasedMessage(l)
	a.pending.add(k)
	if IsParked(l.Item) {
		a.tryUnpark(ctx, k)
		return false, nil
	}
	if _, ok := a.orderedLane(k.in); !ok || crashes(l) > 1 {
		a.handleLeased(ctx, k)
		return crashes(l) > 1, nil
	}
	select {
	case ordered <- k:
	case <-ctx.Done():
		a.nak(ctx, k, 0, "")
	}
	return false, nil
}

// queueAll puts leased messages of ordered protocols in their lanes.
func (a *Agent) queueAll(ctx context.Context, ordered <-chan *pending) {
	for {
		var list []*pending
		select {
		case k := <-ordered:
			list = append(list, k)
		case <-ctx.Done():
			return
		}
		for more := time.After(batchTime); more != nil; {
			select {
			case k := <-ordered:
				list = append(list, k)
			case <-more:
				more = nil
			}
		}
		// Concurrent leases return messages in any order.
		slices.SortStableFunc(list, func(x, y *pending) int { return x.held().Item.Time.Compare(y.held().Item.Time) })
		for _, k := range list {
			a.queueLeased(ctx, k)
		}
	}
}

// queueLeased puts a leased message of an ordered protocol in its lane, or gives it back
// to the inbox if the lane is full.
func (a *Agent) queueLeased(ctx context.Context, k *pending) {
	l, _ := a.orderedLane(k.in)
	if a.lanes.full(l) {
		a.nak(ctx, k, a.cfg.MinBackoff, "")
		return
	}
	o := a.queue(l, k, func() { a.redeliver(ctx, k) }, func() { a.nak(ctx, k, 0, "") })
	select {
	case o.slots <- struct{}{}:
	case <-a.life.Done():
	}
}

// handleLeased handles a leased message that is in no lane.
func (a *Agent) handleLeased(ctx context.Context, k *pending) {
	class := k.in.class
	if !a.handlers.takeFree(class) {
		if a.handlers.all.takeFree() { // strangers have their share, and others need not wait
			a.handlers.all.free()
			a.nak(ctx, k, a.cfg.backoff().After(3), "")
			return
		}
		// Without a lease, a crash in the meantime does not count as a try.
		a.nak(ctx, k, 0, "")
		if a.handlers.all.take(ctx.Done()) {
			a.handlers.all.free()
		}
		return
	}
	done := func() { a.handlers.free(class) }
	if crashes(k.held()) > 1 {
		if !a.poison.CompareAndSwap(false, true) {
			a.handlers.free(class)
			// After a random delay, so that such messages are not leased together.
			a.nak(ctx, k, a.cfg.backoff().After(1), "")
			return
		}
		done = func() { a.poison.Store(false); a.handlers.free(class) }
	}
	a.work.Add(1)
	go func() {
		defer a.leave()
		defer done()
		a.redeliver(ctx, k)
	}()
}

// keepPending extends the leases of messages that wait for their Handler. If a lease ran
// out, the inbox would count the next one as a further try.
func (a *Agent) keepPending(ctx context.Context) {
	for {
		select {
		case <-time.After(a.leaseTime() / 4):
		case <-ctx.Done():
			return
		}
		for _, k := range a.pending.waiting(time.Now().Add(a.leaseTime() / 2)) {
			if err := a.keepLease(ctx, k, a.leaseTime()); err != nil && !errors.Is(err, store.ErrLease) && ctx.Err() == nil {
				a.cfg.Logger.WarnContext(ctx, "lease of a message not extended", "error", err)
			}
		}
	}
}

// crashes returns how often the process has ended while it had a lease of the message.
// After two crashes, the message may be their cause. Such messages are handled one at a
// time, so that the others are not blamed for the next crash.
func crashes(l *store.Lease[store.Received]) int {
	if l.LastError != "" { // the last try ended with an error, and not with a crash
		return 0
	}
	return l.Attempts
}

// redeliver handles a leased message in the slot of the caller. A reply leaves by a return
// route or an endpoint of the sender, or waits until the message arrives again.
func (a *Agent) redeliver(ctx context.Context, k *pending) {
	l := k.held()
	if l.Attempts >= a.cfg.MaxTries {
		reason := l.LastError
		if reason == "" {
			reason = "the process ended each time"
		}
		a.setAside(ctx, k, fmt.Errorf("failed after %d tries: %s", l.Attempts, reason))
		return
	}
	in, err := a.reopen(ctx, l.Item.Packet.Data)
	age := a.cfg.Now().Sub(l.Item.Time)
	switch {
	case err == nil:
	case ctx.Err() != nil:
		a.nak(ctx, k, 0, "")
		return
	case errors.As(err, new(*transport.RejectError)), age > a.cfg.MaxAge:
		a.setAside(ctx, k, err)
		return
	default: // a DID cannot be reached now, which does not count as a try
		k.in.log(a.cfg.Logger).WarnContext(ctx, "a message cannot be opened now", "error", err)
		a.note(ctx, a.cfg.Trace.Parked, "message to be opened later", k.in, 0, err)
		a.nak(ctx, k, min(max(age/2, a.cfg.MinBackoff), a.cfg.MaxBackoff), "")
		return
	}
	k.in = in
	k.in.Packet = transport.Packet(l.Item.Packet)
	a.classify(ctx, k.in)
	if !a.current(ctx, k.in) {
		a.setAside(ctx, k, errors.New("expired, or too many problem reports in its thread"))
		return
	}
	a.run(context.WithoutCancel(ctx), transport.NoReply{}, k)
}

// reopen opens a packet from the inbox.
func (a *Agent) reopen(ctx context.Context, data []byte) (in *Inbound, err error) {
	ctx, cancel := context.WithTimeout(ctx, a.cfg.HandlerTimeout)
	defer cancel()
	defer a.contain(ctx, &err)
	u, err := a.cfg.Packer.Unpack(ctx, data)
	if err == nil {
		in, err = a.inbound(ctx, u)
	}
	if err != nil {
		return nil, refusal(err)
	}
	return in, nil
}

// contain, when deferred, recovers from a panic and sets err to a *transport.RejectError.
// It is for packets from the inbox. For packets that arrive, the transport does the same.
func (a *Agent) contain(ctx context.Context, err *error) {
	if v := recover(); v != nil {
		a.cfg.Logger.ErrorContext(ctx, "panic while a message was opened", "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
		*err = &transport.RejectError{Reason: "the message made the agent panic"}
	}
}

// setAside ends the tries to handle a message. The inbox keeps the message for a person
// to look at.
func (a *Agent) setAside(ctx context.Context, k *pending, reason error) {
	l := k.held()
	k.in.log(a.cfg.Logger).ErrorContext(ctx, "message set aside", "error", reason)
	a.note(ctx, a.cfg.Trace.Handled, "message set aside", k.in, l.Attempts, reason)
	defer a.pending.remove(k)
	term := func(ctx context.Context) error { return a.inbox.Term(ctx, l, reason.Error()) }
	if err := store.Settle(ctx, l.Until, a.cfg.MinBackoff, a.life.Done(), term); err != nil {
		k.in.log(a.cfg.Logger).ErrorContext(ctx, "message not set aside in the inbox", "error", err)
	}
}
