package delivery

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/transport"
)

// sendTime bounds the tries of one item, so that they end before its lease does.
func (d *Dispatcher) sendTime() time.Duration { return (MaxEndpoints + 1) * d.cfg.SendTimeout }

// work is one worker: it takes items from the outbox until ctx ends.
func (d *Dispatcher) work(ctx context.Context) {
	lease := d.sendTime() + d.cfg.AckTimeout + d.cfg.SendTimeout // the last is to spare
	for {
		l, err := d.cfg.Outbox.Lease(ctx, lease)
		switch {
		case ctx.Err() != nil:
			if err == nil {
				d.giveBack(ctx, l)
			}
			return
		case err != nil:
			d.cfg.Logger.ErrorContext(ctx, "outbox failed", "error", err)
			select { // an outbox that fails would keep the worker spinning
			case <-time.After(d.cfg.Backoff.Min):
			case <-ctx.Done():
			}
		default:
			d.deliver(ctx, l)
		}
	}
}

// deliver tries to send an item, and tells the outbox what came of it.
func (d *Dispatcher) deliver(ctx context.Context, l *store.Lease[store.Item]) {
	item := &l.Item
	left := item.Deadline.Sub(d.cfg.Now())
	if left <= 0 {
		d.bury(ctx, l, Expired, expired(nil, l.LastError))
		return
	}
	to := d.keyOf(item.To, "")
	if item.To != d.cfg.Party(item.To) {
		d.parties.named(to, item.To)
	}
	mark, ok := d.parties.try(to)
	if !ok { // the worker that tries wakes the item if that try gets on
		d.nak(ctx, l, min(left, d.cfg.Backoff.Max), "")
		if !d.parties.hangs(to) { // or it just did
			d.wake(ctx, item.To)
		}
		return
	}
	w, start := d.wait(item, len(d.followers.of(item.ID)) > 0), time.Now()
	t := d.try(ctx, item)
	took := time.Since(start)
	d.tried(ctx, l, t, w)
	if d.parties.end(to, mark, !t.sent && took >= d.cfg.SendTimeout/10) {
		d.wake(ctx, item.To)
	}
}

// tried is what follows a try.
func (d *Dispatcher) tried(ctx context.Context, l *store.Lease[store.Item], t *tries, w *waiting) {
	switch {
	case !t.sent && w.acked(): // a way can fail behind the item
		d.arrived(ctx, l, "", Acknowledged, d.acks.stop(w))
	case !t.sent:
		d.acks.stop(w)
		d.failed(ctx, l, t)
	case t.receipt || w == nil || !w.confirm:
		d.arrived(ctx, l, t.way, Sent, d.acks.stop(w))
	default:
		d.became(ctx, sent(&l.Item, l.Attempts, t.way))
		// Very many items may wait: the outbox alone keeps their packets.
		l.Item.Direct.Data, l.Item.Endpoints = nil, make([]store.Endpoint, len(l.Item.Endpoints))
		d.workers.Go(func() { d.confirm(ctx, l, t, w) }) // without a worker
	}
}

// sent is the outcome of an item whose ack is waited for.
func sent(it *store.Item, attempts int, way string) Outcome {
	o := outcomeOf(it, attempts+1)
	o.State, o.Awaits, o.Way = Sent, true, way
	return o
}

// confirm holds a lease until the item is acked.
func (d *Dispatcher) confirm(ctx context.Context, l *store.Lease[store.Item], t *tries, w *waiting) {
	acked, err := d.await(ctx, t.session, w, func() {
		// Where that fails, the item counts among those being sent a while longer.
		if err := d.cfg.Outbox.Await(context.WithoutCancel(ctx), l); err != nil && !errors.Is(err, store.ErrLease) && !errors.Is(err, store.ErrFull) {
			d.cfg.Logger.WarnContext(ctx, "outbox failed", "id", l.Item.MessageID, "error", err)
		}
	})
	problem := d.acks.stop(w)
	t.answered = errors.Is(err, errBusy)
	t.refused = errors.Is(err, errSilent) // by a party that acks others
	switch {
	case err != nil:
		d.putOff(ctx, l, t, d.cfg.Backoff.After(l.Attempts), err)
	case acked:
		d.arrived(ctx, l, t.way, Acknowledged, problem)
	default:
		d.arrived(ctx, l, t.way, Sent, problem)
	}
}

// Try sends an item past the outbox: by each way once, now, and waits for the ack
// where one is asked for. Nothing is kept of an item that did not arrive; its outcome
// is Queued if it may arrive later, Expired if its deadline has passed. Notify is as for
// Deliver.
func (d *Dispatcher) Try(ctx context.Context, notify func(Outcome), item store.Item) Outcome {
	defer d.followers.add(notify, []store.Item{item})()
	if !d.cfg.Now().Before(item.Deadline) {
		o := outcomeOf(&item, 0)
		o.State, o.Err = Expired, expired(nil, "")
		d.became(ctx, o)
		return o
	}
	w := d.wait(&item, true)
	t := d.try(ctx, &item)
	o := outcomeOf(&item, 1)
	o.Way = t.way
	switch {
	case !t.sent && w.acked():
		o.State, o.Err = Acknowledged, d.acks.stop(w)
	case !t.sent:
		o.State, o.Err = Queued, t.err()
		switch {
		case ctx.Err() != nil:
			o.Err = errors.Join(ctx.Err(), o.Err)
		case len(t.errs) == 0:
			o.Err = ErrNoRoute
		case !t.retry:
			o.State = GivenUp
		}
		d.acks.stop(w)
	case t.receipt || !w.confirm:
		o.State, o.Err = Sent, d.acks.stop(w)
	default:
		d.became(ctx, sent(&item, 0, t.way))
		acked, err := d.await(ctx, t.session, w, func() {})
		problem := d.acks.stop(w)
		switch {
		case err != nil:
			o.State, o.Err = Queued, err
			if ctx.Err() != nil {
				o.Err = errors.Join(ctx.Err(), err)
			}
		case acked:
			o.State, o.Err = Acknowledged, problem
		default:
			o.State, o.Err = Sent, problem
		}
	}
	d.became(ctx, o)
	return o
}

// failed decides when an item is tried again that could not be sent, if at all.
func (d *Dispatcher) failed(ctx context.Context, l *store.Lease[store.Item], t *tries) {
	item := &l.Item
	switch {
	case ctx.Err() != nil:
		d.giveBack(ctx, l)
	case len(t.errs) == 0: // its connection to us is gone: Bind wakes it
		d.putOff(ctx, l, t, d.cfg.Backoff.Max, ErrNoRoute)
		if len(d.returns(item)) > 0 { // or it just has
			d.wake(ctx, item.To)
		}
	case !t.retry:
		d.bury(ctx, l, GivenUp, t.err())
	default:
		d.putOff(ctx, l, t, max(d.cfg.Backoff.After(l.Attempts), t.after), t.err())
	}
}

// wake lets what waits for a party be tried at once, under each of its names.
func (d *Dispatcher) wake(ctx context.Context, did string) {
	names := []string{did, d.cfg.Party(did), d.parties.name(d.keyOf(did, ""))}
	slices.Sort(names)
	for _, to := range slices.Compact(names) {
		if to == "" {
			continue
		}
		if err := d.cfg.Outbox.Wake(context.WithoutCancel(ctx), to); err != nil {
			d.cfg.Logger.WarnContext(ctx, "what waits for a party is not sent at once", "to", to, "error", err)
		}
	}
}

// arrived ends an item well.
func (d *Dispatcher) arrived(ctx context.Context, l *store.Lease[store.Item], way string, how State, problem error) {
	item := &l.Item
	d.parties.arrived(d.keyOf(item.To, ""))
	if err := d.tell(ctx, l, func(ctx context.Context) error { return d.cfg.Outbox.Ack(ctx, l) }); err != nil {
		d.cfg.Logger.ErrorContext(ctx, "delivered, but not marked so", "id", item.MessageID, "to", item.To, "error", err)
	}
	o := outcomeOf(item, l.Attempts+1)
	o.State, o.Way, o.Err = how, way, problem
	d.became(ctx, o)
}

const (
	// leaveAfter is the number of tries after which an item that is refused leaves its
	// lane, if others to its recipient pass, or the refusal is about the item.
	leaveAfter = 5
	// leaveAnyway is that number for an item that its recipient does not take for
	// whatever reason.
	leaveAnyway = 12
)

// leaves tells whether an item is to leave its lane, so that it does not hold up those
// behind it for as long as its deadline allows.
func (d *Dispatcher) leaves(l *store.Lease[store.Item], t *tries) bool {
	tries := l.Attempts + 1
	switch {
	case !t.answered && !t.refused: // nobody was reached: nothing would pass
		return false
	case tries >= leaveAnyway:
		return true
	}
	return tries >= leaveAfter && (t.refused || d.parties.passedSince(d.keyOf(l.Item.To, ""), d.cfg.Backoff.longest(l.Attempts)))
}

// putOff gives an item back to be tried again after a delay, or buries it if that
// would be too late.
func (d *Dispatcher) putOff(ctx context.Context, l *store.Lease[store.Item], t *tries, delay time.Duration, err error) {
	item := &l.Item
	left := item.Deadline.Sub(d.cfg.Now())
	switch {
	case ctx.Err() != nil:
		d.giveBack(ctx, l)
		return
	case len(item.Endpoints) == 0:
		delay = min(delay, max(left, 0)) // it may be woken until then
	case delay >= left:
		d.bury(ctx, l, Expired, expired(err, ""))
		return
	}
	d.cfg.Logger.InfoContext(ctx, "not delivered, will try again", "id", item.MessageID, "to", item.To,
		"attempts", l.Attempts+1, "delay", delay, "error", err)
	o := outcomeOf(item, l.Attempts+1)
	o.State, o.Err = Queued, err
	d.became(ctx, o) // before another worker can have the item, and tell what follows
	if d.leaves(l, t) {
		d.told(ctx, l, func(ctx context.Context) error { return d.cfg.Outbox.Aside(ctx, l, delay, err.Error()) })
	} else {
		d.nak(ctx, l, delay, err.Error())
	}
}

// giveBack gives an item back untried; in a stop, too.
func (d *Dispatcher) giveBack(ctx context.Context, l *store.Lease[store.Item]) { d.nak(ctx, l, 0, "") }

func (d *Dispatcher) nak(ctx context.Context, l *store.Lease[store.Item], delay time.Duration, reason string) {
	d.told(ctx, l, func(ctx context.Context) error { return d.cfg.Outbox.Nak(ctx, l, delay, reason) })
}

// bury gives an item up.
func (d *Dispatcher) bury(ctx context.Context, l *store.Lease[store.Item], how State, reason error) {
	item := &l.Item
	d.cfg.Logger.WarnContext(ctx, "message "+string(how), "id", item.MessageID, "to", item.To, "attempts", l.Attempts+1, "error", reason)
	if !d.told(ctx, l, func(ctx context.Context) error { return d.cfg.Outbox.Term(ctx, l, reason.Error()) }) {
		return
	}
	o := outcomeOf(item, l.Attempts+1)
	o.State, o.Err = how, reason
	d.became(ctx, o)
}

// told is tell, whose failure goes to the log.
func (d *Dispatcher) told(ctx context.Context, l *store.Lease[store.Item], f func(context.Context) error) bool {
	err := d.tell(ctx, l, f)
	if err != nil {
		d.cfg.Logger.ErrorContext(ctx, "outbox failed", "id", l.Item.MessageID, "error", err)
	}
	return err == nil
}

func (d *Dispatcher) tell(ctx context.Context, l *store.Lease[store.Item], f func(context.Context) error) error {
	return store.Tell(ctx, l.Until, d.cfg.Backoff.Min, d.life.Done(), f)
}

// packet is a packet of the store as the transports take it.
func packet(p store.Packet) transport.Packet { return transport.Packet(p) }
