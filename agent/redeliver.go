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
	// redeliverers are how many leases of what is left over are asked for at a time
	// while there is more of that: where each is a commit, many messages of a process
	// that died would else come back one commit after the other.
	redeliverers = 8
	// patience is how long there is taken to be more.
	patience = 50 * time.Millisecond
	// together is how long those of ordered protocols are waited for that came with the
	// first.
	together = 2 * time.Millisecond
)

// redeliverAll handles what the inbox has left over: of an earlier life of the
// agent, of a handler that asked to be called again, of another process that
// died.
func (a *Agent) redeliverAll(ctx context.Context) {
	ordered := make(chan *pending)
	var lanes sync.WaitGroup
	defer lanes.Wait()
	lanes.Go(func() { a.enlistAll(ctx, ordered) })
	for {
		suspect, err := a.leaseOne(ctx, ctx, ordered)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			a.cfg.Logger.ErrorContext(ctx, "inbox failed", "error", err)
			select { // an inbox that fails would keep the loop spinning
			case <-time.After(a.cfg.MinBackoff):
			case <-ctx.Done():
			}
		case !suspect:
			a.leaseMore(ctx, ordered)
		}
	}
}

// leaseMore leases, several at a time, until nothing is left over for a while.
func (a *Agent) leaseMore(ctx context.Context, ordered chan<- *pending) {
	var asking sync.WaitGroup
	defer asking.Wait()
	for range redeliverers {
		asking.Go(func() {
			for more := true; more; {
				soon, cancel := context.WithTimeout(ctx, patience)
				suspect, err := a.leaseOne(ctx, soon, ordered)
				cancel()
				more = !suspect && err == nil
			}
		})
	}
}

// leaseOne leases one message that is left over, if there is one before soon ends. It
// hands on one of an ordered protocol, and handles any other. It reports whether the
// message is one that may end the process: no more of those are to be in hand than can be
// helped.
func (a *Agent) leaseOne(ctx, soon context.Context, ordered chan<- *pending) (suspect bool, err error) {
	l, err := a.inbox.Lease(soon, a.leaseTime())
	if err != nil {
		return false, err
	}
	if a.pending.renew(l) { // it waits, or is handled, for longer than it should
		return false, nil
	}
	k := leftOver(l)
	a.pending.add(k)
	if IsParked(l.Item) {
		a.unparkSoon(ctx, k)
		return false, nil
	}
	if _, ok := a.orderedLane(k.in); !ok || cutOff(l) > 1 {
		a.again(ctx, k)
		return cutOff(l) > 1, nil
	}
	select {
	case ordered <- k:
	case <-ctx.Done():
		a.nak(ctx, k, 0, "")
	}
	return false, nil
}

// enlistAll puts messages of ordered protocols in their lanes.
func (a *Agent) enlistAll(ctx context.Context, ordered <-chan *pending) {
	for {
		var list []*pending
		select {
		case k := <-ordered:
			list = append(list, k)
		case <-ctx.Done():
			return
		}
		for more := time.After(together); more != nil; {
			select {
			case k := <-ordered:
				list = append(list, k)
			case <-more:
				more = nil
			}
		}
		// Leases that were asked for at the same time come in any order.
		slices.SortStableFunc(list, func(x, y *pending) int { return x.held().Item.Time.Compare(y.held().Item.Time) })
		for _, k := range list {
			a.enlist(ctx, k)
		}
	}
}

// enlist puts a message of an ordered protocol in its lane.
func (a *Agent) enlist(ctx context.Context, k *pending) {
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

// again handles a message that no other waits for.
func (a *Agent) again(ctx context.Context, k *pending) {
	if !a.handlers.takeFree() {
		// It must not be held against it if the process ends meanwhile.
		a.nak(ctx, k, 0, "")
		if a.handlers.take(ctx.Done()) {
			a.handlers.free()
		}
		return
	}
	done := a.handlers.free
	if cutOff(k.held()) > 1 {
		if !a.suspect.CompareAndSwap(false, true) {
			a.handlers.free()
			// Not all at one time, which might be that at which the process ends.
			a.nak(ctx, k, a.cfg.backoff().After(1), "")
			return
		}
		done = func() { a.suspect.Store(false); a.handlers.free() }
	}
	a.work.Add(1)
	go func() {
		defer a.leave()
		defer done()
		a.redeliver(ctx, k)
	}()
}

// keepPending makes the leases of messages last that wait long for their handler. If one
// ran out, the inbox would count each further lease as a try.
func (a *Agent) keepPending(ctx context.Context) {
	for {
		select {
		case <-time.After(a.leaseTime() / 4):
		case <-ctx.Done():
			return
		}
		for _, k := range a.pending.waiting(time.Now().Add(a.leaseTime() / 2)) {
			if err := a.keepLease(ctx, k, a.leaseTime()); err != nil && !errors.Is(err, store.ErrLease) && ctx.Err() == nil {
				a.cfg.Logger.WarnContext(ctx, "inbox failed", "error", err)
			}
		}
	}
}

// cutOff is how often the process has ended while it had the message in hand. One
// of those that it had each time may be what ends it: they are handled one at a
// time, so that the others are not taken for it.
func cutOff(l *store.Lease[store.Received]) int {
	if l.LastError != "" { // the last time its handler failed, and the process lived
		return 0
	}
	return l.Attempts
}

// redeliver handles one such message in the caller's slot. Its reply goes by a
// return route or an endpoint of its sender, or waits for the message to come
// again.
func (a *Agent) redeliver(ctx context.Context, k *pending) {
	l := k.held()
	if l.Attempts >= a.cfg.MaxTries {
		reason := l.LastError
		if reason == "" {
			reason = "the process ended each time"
		}
		a.setAside(ctx, k, fmt.Errorf("given up after %d tries: %s", l.Attempts, reason))
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
	default: // the sender's DID does not resolve now; no fault of the message
		k.in.log(a.cfg.Logger).WarnContext(ctx, "a message cannot be opened now", "error", err)
		a.note(ctx, a.cfg.Trace.Parked, "message to be opened later", k.in, 0, err)
		a.nak(ctx, k, min(max(age/2, a.cfg.MinBackoff), a.cfg.MaxBackoff), "")
		return
	}
	k.in = in
	k.in.Packet = transport.Packet(l.Item.Packet)
	if !a.current(ctx, k.in) {
		a.setAside(ctx, k, errors.New("expired, or its thread failed too often"))
		return
	}
	a.run(context.WithoutCancel(ctx), transport.NoReply{}, k)
}

// reopen opens a packet that was taken in before.
func (a *Agent) reopen(ctx context.Context, data []byte) (in *Inbound, err error) {
	ctx, cancel := context.WithTimeout(ctx, a.cfg.HandlerTimeout)
	defer cancel()
	defer a.contain(ctx, &err)
	u, err := a.cfg.Packer.Unpack(ctx, data)
	if err != nil {
		return nil, refusal(err)
	}
	return a.inbound(ctx, u), nil
}

// contain turns a panic into a refusal, where no transport is there to contain it.
func (a *Agent) contain(ctx context.Context, err *error) {
	if v := recover(); v != nil {
		a.cfg.Logger.ErrorContext(ctx, "message panicked", "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
		*err = &transport.RejectError{Reason: "the message made the agent panic"}
	}
}

// setAside ends a message that is not handled.
func (a *Agent) setAside(ctx context.Context, k *pending, reason error) {
	l := k.held()
	k.in.log(a.cfg.Logger).ErrorContext(ctx, "message set aside", "error", reason)
	a.note(ctx, a.cfg.Trace.Handled, "message handled no more", k.in, l.Attempts, reason)
	defer a.pending.remove(k)
	term := func(ctx context.Context) error { return a.inbox.Term(ctx, l, reason.Error()) }
	if err := store.Tell(ctx, l.Until, a.cfg.MinBackoff, a.life.Done(), term); err != nil {
		k.in.log(a.cfg.Logger).ErrorContext(ctx, "inbox failed", "error", err)
	}
}
