package agent

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/did"
	"github.com/didcomm-go/didcomm/transport"
)

// sendTime bounds the tries of one item, so that they end before its lease does.
func (a *Agent) sendTime() time.Duration { return (maxRoutes + 1) * a.cfg.SendTimeout }

// deliverAll is one worker: it takes items from the outbox until ctx ends.
func (a *Agent) deliverAll(ctx context.Context) {
	lease := a.sendTime() + a.cfg.AckTimeout + a.cfg.SendTimeout // the last is to spare
	for {
		l, err := a.cfg.Outbox.Lease(ctx, lease)
		if ctx.Err() != nil {
			if err == nil {
				a.giveBack(ctx, l, 0, "")
			}
			return
		}
		if err != nil {
			a.storeFailed(ctx, "outbox failed", err)
			continue
		}
		a.deliver(ctx, l)
	}
}

// storeFailed waits a moment: a store that fails would keep a worker spinning.
func (a *Agent) storeFailed(ctx context.Context, what string, err error) {
	a.cfg.Logger.ErrorContext(ctx, what, "error", err)
	select {
	case <-time.After(a.cfg.MinBackoff):
	case <-ctx.Done():
	}
}

// deliver tries to send an item, and tells the outbox what came of it.
func (a *Agent) deliver(ctx context.Context, l *store.Lease[store.Item]) {
	item := &l.Item
	left := item.Deadline.Sub(a.cfg.Now())
	if left <= 0 {
		a.bury(ctx, l, expired(l, nil))
		return
	}
	hang, ok := a.hung.try(item.To)
	if !ok { // the worker that tries wakes the item if that try gets on
		a.giveBack(ctx, l, min(left, a.cfg.MaxBackoff), "")
		if !a.hung.known(item.To) { // or it just did
			a.wake(ctx, item.To)
		}
		return
	}
	c, t, start := a.confirms.add(item), tries{}, time.Now()
	way, s, sent := a.tryAll(ctx, item, &t)
	took := time.Since(start)
	if sent {
		a.sent(ctx, l, way, s, c)
	} else {
		a.confirms.remove(c)
		a.failed(ctx, l, &t)
	}
	if a.hung.end(item.To, hang, !sent && took >= a.cfg.SendTimeout/10) {
		a.wake(ctx, item.To)
	}
}

// tryAll tries the connection that the recipient has to us, and then the routes of
// an item, in order, until one has taken it; then those that the recipient has
// moved to. The session is the one that it went by, if that gives no receipt.
func (a *Agent) tryAll(ctx context.Context, item *store.Item, t *tries) (way string, s transport.Session, sent bool) {
	ctx, cancel := context.WithTimeout(ctx, a.sendTime())
	defer cancel()
	if s := a.sessions.lookup(item.From, item.To, item.Thread); s != nil && !item.Receipt {
		if t.add(returnWay, a.tryBack(ctx, s, item)) {
			return returnWay, s, true
		}
	}
	for _, route := range item.Routes {
		if s, err := a.try(ctx, item, route); t.add(route.Endpoint, err) {
			return route.Endpoint, s, true
		}
	}
	if len(item.Routes) == 0 || ctx.Err() != nil {
		return "", nil, false
	}
	for _, route := range a.moved(ctx, item) {
		if s, err := a.try(ctx, item, route); t.add(route.Endpoint, err) {
			return route.Endpoint, s, true
		}
	}
	return "", nil, false
}

// returnWay names, for people, a connection that the recipient made.
const returnWay = "return route"

// failed decides when an item is tried again that could not be sent, if at all.
func (a *Agent) failed(ctx context.Context, l *store.Lease[store.Item], t *tries) {
	item := &l.Item
	switch err := errors.Join(t.errs...); {
	case ctx.Err() != nil:
		a.giveBack(ctx, l, 0, "")
	case len(t.errs) == 0: // its connection to us is gone: bind wakes it
		a.putOff(ctx, l, a.cfg.MaxBackoff, fmt.Errorf("%w to %s", ErrNoRoute, item.To))
		if a.sessions.lookup(item.From, item.To, item.Thread) != nil { // or it just has
			a.wake(ctx, item.To)
		}
	case !t.retry:
		a.bury(ctx, l, err)
	default:
		a.putOff(ctx, l, max(a.backoff(l.Attempts), t.after), err)
	}
}

// wake lets what waits for a party be tried at once.
func (a *Agent) wake(ctx context.Context, to string) {
	if err := a.cfg.Outbox.Wake(context.WithoutCancel(ctx), to); err != nil {
		a.cfg.Logger.WarnContext(ctx, "what waits for a party is not sent at once", "to", to, "error", err)
	}
}

// tries are the failed tries of one item.
type tries struct {
	errs  []error
	retry bool          // one may succeed later
	after time.Duration // the shortest delay that an endpoint asked for
}

// add counts a try, and reports whether it succeeded.
func (t *tries) add(endpoint string, err error) bool {
	if err == nil {
		return true
	}
	var failed *transport.SendError
	if !errors.As(err, &failed) {
		failed = &transport.SendError{Endpoint: endpoint, Retryable: true, Err: err}
	}
	t.errs = append(t.errs, failed)
	t.retry = t.retry || failed.Retryable
	if failed.RetryAfter > 0 && (t.after == 0 || failed.RetryAfter < t.after) {
		t.after = failed.RetryAfter
	}
	return false
}

// sent is what follows a packet that left. Where it went over a connection that
// gives no receipt, s, the ack is waited for without a worker.
func (a *Agent) sent(ctx context.Context, l *store.Lease[store.Item], way string, s transport.Session, c *confirmation) {
	if s == nil || c == nil {
		a.confirms.remove(c)
		a.delivered(ctx, l, way)
		return
	}
	a.watches.settle(l.Item.ID, nil)
	a.work.Add(1) // in time, since Run waits for the workers first
	go func() {
		defer a.leave()
		a.awaitAck(ctx, l, s, c)
	}()
}

// delivered ends an item well.
func (a *Agent) delivered(ctx context.Context, l *store.Lease[store.Item], way string) {
	item := &l.Item
	log := a.cfg.Logger.With("id", item.MessageID, "to", item.To)
	log.DebugContext(ctx, "delivered", "by", way, "attempts", l.Attempts+1)
	if err := a.persist(ctx, l.Until, func(ctx context.Context) error { return a.cfg.Outbox.Ack(ctx, l) }); err != nil {
		log.ErrorContext(ctx, "delivered, but not marked so", "error", err)
	}
	a.watches.settle(item.ID, nil)
}

// putOff gives an item back to be tried again after a delay, or buries it if that
// would be too late.
func (a *Agent) putOff(ctx context.Context, l *store.Lease[store.Item], delay time.Duration, err error) {
	item := &l.Item
	switch left := item.Deadline.Sub(a.cfg.Now()); {
	case ctx.Err() != nil:
		a.giveBack(ctx, l, 0, "")
		return
	case len(item.Routes) == 0:
		delay = min(delay, max(left, 0)) // it may be woken until then
	case delay >= left:
		a.bury(ctx, l, expired(l, err))
		return
	}
	a.cfg.Logger.InfoContext(ctx, "not delivered, will try again", "id", item.MessageID, "to", item.To,
		"attempts", l.Attempts+1, "delay", delay, "error", err)
	a.watches.note(item.ID, err)
	a.giveBack(ctx, l, delay, err.Error())
}

func expired(l *store.Lease[store.Item], err error) error {
	why := errors.New("no further try before its deadline")
	if err == nil && l.LastError != "" {
		err = errors.New(l.LastError)
	}
	if err == nil {
		return why
	}
	return fmt.Errorf("%w: %w", why, err)
}

// packet is a packet of the store as the transports take it.
func packet(p store.Packet) transport.Packet { return transport.Packet(p) }

// tryBack sends an item by a connection that the recipient made.
func (a *Agent) tryBack(ctx context.Context, s transport.Session, item *store.Item) error {
	ctx, cancel := context.WithTimeout(ctx, a.cfg.SendTimeout)
	defer cancel()
	return s.Reply(ctx, packet(item.Direct))
}

// try sends an item by one route. The session is the connection that it went by,
// if that gives no receipt and leads to the recipient itself.
func (a *Agent) try(ctx context.Context, item *store.Item, route store.Route) (transport.Session, error) {
	s := a.sender(route.Endpoint)
	if s == nil {
		return nil, &transport.SendError{Endpoint: route.Endpoint, Err: errors.New("no sender for this scheme")}
	}
	ctx, cancel := context.WithTimeout(ctx, a.cfg.SendTimeout)
	defer cancel()
	if len(route.Packet.Data) > 0 { // a forward, which a mediator does not ack
		return nil, s.Send(ctx, route.Endpoint, packet(route.Packet))
	}
	if on, ok := s.(transport.SessionSender); ok {
		return on.SendOn(ctx, route.Endpoint, packet(item.Direct))
	}
	return nil, s.Send(ctx, route.Endpoint, packet(item.Direct))
}

// backoff is the delay after a failed attempt, attempts having failed before:
// doubling, and with up to half of it taken off at random, so that messages that
// failed together do not return together.
func (a *Agent) backoff(attempts int) time.Duration {
	d := a.cfg.MaxBackoff
	if attempts < 32 {
		d = min(d, a.cfg.MinBackoff<<attempts)
	}
	if d <= 0 { // the shift ran over
		d = a.cfg.MaxBackoff
	}
	return d - rand.N(d/2+1)
}

// moved are the routes to an item's recipient that the item does not have: its
// DID is looked up anew, since its endpoints may have moved.
func (a *Agent) moved(ctx context.Context, item *store.Item) []store.Route {
	r, ok := a.cfg.Resolver.(interface {
		Refresh(ctx context.Context, id string) (*did.Document, error)
	})
	if !ok {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, a.cfg.SendTimeout)
	defer cancel()
	if _, err := r.Refresh(ctx, item.To); err != nil {
		a.cfg.Logger.InfoContext(ctx, "party not resolved anew", "did", item.To, "error", err)
		return nil
	}
	routes, err := a.routes(ctx, item.To)
	if err != nil {
		return nil
	}
	routes = slices.DeleteFunc(routes, func(r envelope.Route) bool {
		return slices.ContainsFunc(item.Routes, func(old store.Route) bool { return old.Endpoint == r.URI })
	})
	routes = routes[:min(len(routes), maxRoutes)]
	direct := envelope.Envelope{MediaType: item.Direct.MediaType, Data: item.Direct.Data, To: item.To}
	fresh, err := a.wrap(ctx, direct, routes)
	if err != nil {
		a.cfg.Logger.InfoContext(ctx, "party has moved where we cannot follow", "did", item.To, "error", err)
	}
	return fresh
}

// giveBack naks an item; in a stop, too.
func (a *Agent) giveBack(ctx context.Context, l *store.Lease[store.Item], delay time.Duration, reason string) {
	nak := func(ctx context.Context) error { return a.cfg.Outbox.Nak(ctx, l, delay, reason) }
	if err := a.persist(ctx, l.Until, nak); err != nil {
		a.cfg.Logger.ErrorContext(ctx, "outbox failed", "id", l.Item.MessageID, "error", err)
	}
}

// bury gives an item up.
func (a *Agent) bury(ctx context.Context, l *store.Lease[store.Item], reason error) {
	item := l.Item
	a.cfg.Logger.WarnContext(ctx, "message given up", "id", item.MessageID, "to", item.To, "attempts", l.Attempts+1, "error", reason)
	term := func(ctx context.Context) error { return a.cfg.Outbox.Term(ctx, l, reason.Error()) }
	if err := a.persist(ctx, l.Until, term); err != nil {
		a.cfg.Logger.ErrorContext(ctx, "outbox failed", "id", item.MessageID, "error", err)
		return
	}
	a.watches.settle(item.ID, fmt.Errorf("%w: %w", ErrUndelivered, reason))
	if a.cfg.OnBuried != nil {
		a.cfg.OnBuried(Buried{Item: item, Err: reason})
	}
}
