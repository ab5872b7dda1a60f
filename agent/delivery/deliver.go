package delivery

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/transport"
)

// sendTime limits the time to try all routes of an item, which has to be less than its
// lease.
func (d *Dispatcher) sendTime() time.Duration { return (MaxEndpoints + 1) * d.cfg.SendTimeout }

// work is the loop of a worker: it leases and sends items until ctx ends.
func (d *Dispatcher) work(ctx context.Context, c *crew) {
	lease := d.sendTime() + d.cfg.AckTimeout + d.cfg.SendTimeout // the last is a reserve
	for {
		t := c.begin(ctx)
		if t == nil {
			return
		}
		l, err := d.cfg.Outbox.Lease(ctx, lease, c.classes...)
		switch {
		case ctx.Err() != nil:
			if err == nil {
				d.release(ctx, l)
			}
		case err != nil:
			d.cfg.Logger.ErrorContext(ctx, "outbox failed", "error", err)
			select { // so that the worker does not spin while the outbox fails
			case <-time.After(d.cfg.Backoff.Min):
			case <-ctx.Done():
			}
		default:
			d.deliver(ctx, l, t)
		}
		if name := t.end(); name != "" {
			d.wake(ctx, name)
		}
	}
}

// deliver tries to send an item, and updates the outbox with the result.
func (d *Dispatcher) deliver(ctx context.Context, l *store.Lease[store.Item], turn *turn) {
	item := &l.Item
	if !item.Deadline.After(d.cfg.Now()) {
		d.giveUp(ctx, l, Expired, expired(nil, l.LastError))
		return
	}
	if item.To != d.cfg.Party(item.To) {
		d.parties.named(d.keyOf(item.To, ""), item.To)
	}
	w := d.wait(ctx, item, len(d.subscribers.of(item.ID)) > 0)
	t := d.try(ctx, item, turn, l.LastError)
	d.probe(ctx, item, t)
	if t.waits() {
		d.acks.stop(w)
		d.hold(ctx, l, t, turn.c)
		return
	}
	d.tried(ctx, l, t, w)
}

// hold makes an item wait that was not tried, because too many tries to its host are
// running, or because its host does not answer.
func (d *Dispatcher) hold(ctx context.Context, l *store.Lease[store.Item], t *tries, c *crew) {
	if t.held != "" {
		if delay, ok := c.wait(t.held, l); !ok {
			d.nak(ctx, l, delay, "")
		}
		return
	}
	d.putOff(ctx, l, c, t.slow)
}

// putOff gives an item back until one of its slow hosts answers or the delay is over. A
// host may have answered, and its recipients have been woken, before the outbox has the
// item again.
func (d *Dispatcher) putOff(ctx context.Context, l *store.Lease[store.Item], c *crew, slow []string) {
	d.nak(ctx, l, max(0, min(l.Item.Deadline.Sub(d.cfg.Now()), d.cfg.Backoff.Max)), "")
	if c.opens(slow, l.Item.To) {
		d.wake(ctx, l.Item.To)
	}
}

// leave ends a try, and gives the items back that waited for its end.
func (d *Dispatcher) leave(ctx context.Context, v *visit, sent, reached bool) {
	left := v.leave(sent, reached)
	for _, l := range left.due {
		if time.Now().Before(l.Until) { // else the item is due already
			d.release(ctx, l)
		}
	}
	for _, l := range left.off {
		d.putOff(ctx, l, v.t.c, []string{v.name})
	}
	for _, to := range left.wake {
		d.wake(ctx, to)
	}
}

// tried decides what happens to an item after a try.
func (d *Dispatcher) tried(ctx context.Context, l *store.Lease[store.Item], t *tries, w *waiting) {
	switch {
	case !t.sent && w.acked(): // a route can fail after the recipient has the item
		d.delivered(ctx, l, t, "", Acknowledged, d.acks.stop(w))
	case t.taken != "" && ctx.Err() == nil && d.giveUpReply(&l.Item, t):
		d.delivered(ctx, l, t, t.taken, Sent, d.acks.stop(w))
	case !t.sent:
		d.acks.stop(w)
		d.failed(ctx, l, t)
	case t.receipt || w == nil || !w.needsAck:
		d.delivered(ctx, l, t, t.way, Sent, d.acks.stop(w))
	default:
		d.report(ctx, sent(&l.Item, l.Attempts, t))
		// Many items may wait for acks, so their packets are kept only in the outbox.
		l.Item.Direct.Data, l.Item.Endpoints = nil, make([]store.Endpoint, len(l.Item.Endpoints))
		d.workers.Go(func() { d.holdUntilAcked(ctx, l, t, w) }) // so that the worker is free
	}
}

// maxLost is how often an item is sent again that its recipient has, because the reply broke
// off.
const maxLost = 2

// giveUpReply reports whether an item counts as delivered that its recipient has, but whose
// reply was lost. Otherwise the item is sent again, so that the recipient repeats its reply.
// A stranger could make us read any number of replies in vain.
func (d *Dispatcher) giveUpReply(item *store.Item, t *tries) bool {
	return item.Class == store.ClassStranger || !t.busy && d.parties.lostReply(digest(item.ID, "reply")) > maxLost
}

// sent returns the outcome of an item that waits for its ack.
func sent(it *store.Item, attempts int, t *tries) Outcome {
	o := outcomeOf(it, attempts+1)
	o.State, o.Awaits, o.Way, o.Mediated = Sent, true, t.way, t.mediated(t.way)
	return o
}

// holdUntilAcked holds the lease of an item until its ack comes or cannot come anymore.
func (d *Dispatcher) holdUntilAcked(ctx context.Context, l *store.Lease[store.Item], t *tries, w *waiting) {
	w.askAck = w.askAck && !t.forwarded // the silence of a mediator says nothing about the recipient
	acked, err := d.await(ctx, t.session, w, t.must || t.busyElsewhere(), func() {
		// If Await fails, the item still counts as being sent, which is harmless.
		if err := d.cfg.Outbox.Await(context.WithoutCancel(ctx), l); err != nil && !errors.Is(err, store.ErrLease) && !errors.Is(err, store.ErrFull) {
			d.cfg.Logger.WarnContext(ctx, "outbox failed", "id", l.Item.MessageID, "error", err)
		}
	})
	problem := d.acks.stop(w)
	noAck := errors.Is(err, errNoAck)
	t.refused = noAck && !t.must && !t.busyElsewhere() // only if the party sends acks for other items
	t.answered = errors.Is(err, errBusy)
	if t.proven && (err == nil || noAck) {
		d.routes.carried(t.session, w.party, acked, d.cfg.Backoff)
	}
	switch {
	case err != nil:
		d.retryLater(ctx, l, t, d.cfg.Backoff.After(l.Attempts), err)
	case acked:
		d.delivered(ctx, l, t, t.way, Acknowledged, problem)
	default:
		d.delivered(ctx, l, t, t.way, Sent, problem)
	}
}

// Try sends an item without the outbox. It tries each route once, and waits for the ack
// if the item asks for one. For a recipient that sends no acks, and for a mediator that
// gives no receipt, it waits for a problem report, a second at most. The item is not
// stored, even if the outcome is [Queued], which here means that another Try may succeed.
// The outcome is [Expired] if the deadline of the item has passed, and [GivenUp] if no
// route can succeed. If notify is not nil, it is called with each change of the outcome
// before Try returns.
func (d *Dispatcher) Try(ctx context.Context, notify func(Outcome), item store.Item) Outcome {
	defer d.subscribers.add(notify, []store.Item{item})()
	if !d.cfg.Now().Before(item.Deadline) {
		o := outcomeOf(&item, 0)
		o.State, o.Err = Expired, expired(nil, "")
		d.report(ctx, o)
		return o
	}
	w := d.wait(ctx, &item, true)
	t := d.try(ctx, &item, nil, "")
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
	case t.receipt || !w.needsAck || t.mediated(t.way):
		if !t.receipt && (t.session != nil && item.AskAck || t.mediated(t.way)) {
			d.awaitReport(ctx, t.session, w)
		}
		o.State, o.Err, o.Mediated = Sent, d.acks.stop(w), t.mediated(t.way)
	default:
		d.report(ctx, sent(&item, 0, t))
		acked, err := d.await(ctx, t.session, w, t.must || t.busyElsewhere(), func() {})
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
	d.report(ctx, o)
	return o
}

// failed decides when to retry an item that no route accepted, if at all.
func (d *Dispatcher) failed(ctx context.Context, l *store.Lease[store.Item], t *tries) {
	item := &l.Item
	switch {
	case ctx.Err() != nil:
		d.release(ctx, l)
	case len(t.errs) == 0: // there is no return route anymore: Bind wakes the item
		d.retryLater(ctx, l, t, d.cfg.Backoff.Max, ErrNoRoute)
		if len(d.links(item)) > 0 { // Bind may have come before retryLater
			d.wake(ctx, item.To)
		}
	case !t.retry:
		d.giveUp(ctx, l, GivenUp, t.err())
	default:
		delay, giveUp := d.refused(ctx, item, t, l.Attempts)
		if giveUp {
			d.giveUp(ctx, l, GivenUp, t.err())
			return
		}
		d.retryLater(ctx, l, t, max(delay, t.after), t.err())
	}
}

// wake makes all delayed items for a party due at once, under each name of the party.
func (d *Dispatcher) wake(ctx context.Context, did string) {
	names := []string{did, d.cfg.Party(did), d.parties.name(d.keyOf(did, ""))}
	slices.Sort(names)
	for _, to := range slices.Compact(names) {
		if to == "" {
			continue
		}
		if err := d.cfg.Outbox.Wake(context.WithoutCancel(ctx), to); err != nil {
			d.cfg.Logger.WarnContext(ctx, "delayed items for a party could not be woken", "to", to, "error", err)
		}
	}
}

// delivered ends a delivered item.
func (d *Dispatcher) delivered(ctx context.Context, l *store.Lease[store.Item], t *tries, way string, how State, problem error) {
	item := &l.Item
	d.parties.accepted(d.keyOf(item.To, ""))
	d.refusals.forget(item.ID)
	if err := d.update(ctx, l, func(ctx context.Context) error { return d.cfg.Outbox.Ack(ctx, l) }); err != nil {
		d.cfg.Logger.ErrorContext(ctx, "item is delivered, but the outbox could not be updated", "id", item.MessageID, "to", item.To, "error", err)
	}
	o := outcomeOf(item, l.Attempts+1)
	o.State, o.Way, o.Err = how, way, problem
	o.Mediated = how == Sent && t.mediated(way)
	d.report(ctx, o)
}

const (
	// maxRefusals is the number of tries after which an item leaves its lane if the
	// recipient refuses it, or is busy but accepts other items.
	maxRefusals = 5
	// maxTries is the number of tries after which an item leaves its lane if the
	// recipient was reached and did not accept it for any reason.
	maxTries = 12
)

// mustLeaveLane reports whether an item has to leave its lane, so that it does not block
// the items behind it until its deadline.
func (d *Dispatcher) mustLeaveLane(l *store.Lease[store.Item], t *tries) bool {
	tries := l.Attempts + 1
	switch {
	case !t.answered && !t.refused: // no endpoint was reached: other items would fail too
		return false
	case tries >= maxTries:
		return true
	}
	return tries >= maxRefusals && (t.refused || d.parties.acceptedWithin(d.keyOf(l.Item.To, ""), d.cfg.Backoff.longest(l.Attempts)))
}

// retryLater gives an item back to be retried after a delay, or gives it up if its
// deadline comes before.
func (d *Dispatcher) retryLater(ctx context.Context, l *store.Lease[store.Item], t *tries, delay time.Duration, err error) {
	item := &l.Item
	left := item.Deadline.Sub(d.cfg.Now())
	switch {
	case ctx.Err() != nil:
		d.release(ctx, l)
		return
	case len(item.Endpoints) == 0:
		delay = min(delay, max(left, 0)) // Bind may wake it until its deadline
	case delay >= left:
		d.giveUp(ctx, l, Expired, expired(err, ""))
		return
	case item.Class == store.ClassStranger && l.Attempts+1 >= d.cfg.StrangerTries:
		d.giveUp(ctx, l, GivenUp, err)
		return
	}
	d.cfg.Logger.InfoContext(ctx, "not delivered, will try again", "id", item.MessageID, "to", item.To,
		"attempts", l.Attempts+1, "delay", delay, "error", err)
	o := outcomeOf(item, l.Attempts+1)
	o.State, o.Err = Queued, err
	d.report(ctx, o) // before another worker can lease the item and report the next outcome
	if d.mustLeaveLane(l, t) {
		d.updateOrLog(ctx, l, func(ctx context.Context) error { return d.cfg.Outbox.Aside(ctx, l, delay, err.Error()) })
	} else {
		d.nak(ctx, l, delay, err.Error())
	}
}

// release gives an item back that was not tried, also while Run ends.
func (d *Dispatcher) release(ctx context.Context, l *store.Lease[store.Item]) { d.nak(ctx, l, 0, "") }

func (d *Dispatcher) nak(ctx context.Context, l *store.Lease[store.Item], delay time.Duration, reason string) {
	d.updateOrLog(ctx, l, func(ctx context.Context) error { return d.cfg.Outbox.Nak(ctx, l, delay, reason) })
}

// giveUp ends an item that was not delivered.
func (d *Dispatcher) giveUp(ctx context.Context, l *store.Lease[store.Item], how State, reason error) {
	item := &l.Item
	d.refusals.forget(item.ID)
	d.cfg.Logger.WarnContext(ctx, "message "+string(how), "id", item.MessageID, "to", item.To, "attempts", l.Attempts+1, "error", reason)
	if !d.updateOrLog(ctx, l, func(ctx context.Context) error { return d.cfg.Outbox.Term(ctx, l, reason.Error()) }) {
		return
	}
	o := outcomeOf(item, l.Attempts+1)
	o.State, o.Err = how, reason
	d.report(ctx, o)
}

// updateOrLog is like update, and logs an error. It reports whether there was none.
func (d *Dispatcher) updateOrLog(ctx context.Context, l *store.Lease[store.Item], f func(context.Context) error) bool {
	err := d.update(ctx, l, f)
	if err != nil {
		d.cfg.Logger.ErrorContext(ctx, "outbox failed", "id", l.Item.MessageID, "error", err)
	}
	return err == nil
}

// update calls f to update the outbox, and retries while the lease is valid.
func (d *Dispatcher) update(ctx context.Context, l *store.Lease[store.Item], f func(context.Context) error) error {
	return store.Settle(ctx, l.Until, d.cfg.Backoff.Min, d.life.Done(), f)
}

// packet converts a packet of the store.
func packet(p store.Packet) transport.Packet { return transport.Packet(p) }
