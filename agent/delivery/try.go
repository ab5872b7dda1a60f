package delivery

import (
	"context"
	"errors"
	"time"

	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/transport"
)

// tries is the result of trying to send an item on its routes, one after the other.
type tries struct {
	sent    bool
	way     string            // the endpoint or ReturnRoute that accepted the item
	receipt bool              // whether its transport gives receipts
	session transport.Session // the connection that the item was sent on; nil if unknown

	errs     []error       // of the routes that failed
	retry    bool          // whether one of the routes may succeed later
	after    time.Duration // the shortest delay that an endpoint asked for
	answered bool          // whether an endpoint was reached that did not accept the item
	refused  bool          // the same, and the endpoint was not merely busy

	taken string // the endpoint that has the item, though its reply was lost

	held string   // the host that has too many tries, if no route was tried because of that
	slow []string // the hosts that were not tried because they do not answer
}

// waits reports whether the item has to wait for a host, and was not tried.
func (t *tries) waits() bool {
	return !t.sent && len(t.errs) == 0 && (t.held != "" || len(t.slow) > 0)
}

// err joins the errors of the routes that failed.
func (t *tries) err() error { return errors.Join(t.errs...) }

// add adds the result of one route, and reports whether the item was sent.
func (t *tries) add(endpoint string, err error) bool {
	if err == nil {
		t.sent, t.way = true, endpoint
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
	if failed.Taken && t.taken == "" {
		t.taken = endpoint
	}
	t.answered = t.answered || failed.Answered
	t.refused = t.refused || failed.Answered && !failed.Busy
	return false
}

// try sends an item on the first of its routes that accepts it. A nil turn has no limits for
// hosts.
func (d *Dispatcher) try(ctx context.Context, item *store.Item, turn *turn) *tries {
	ctx, cancel := context.WithTimeout(ctx, d.sendTime())
	defer cancel()
	t := new(tries)
	for _, s := range d.returnRoutes(item) {
		if d.visit(ctx, turn, t, item, ReturnRoute, func(ctx context.Context) error { return d.sendBack(ctx, s, item) }) {
			t.session = s
			return t
		}
	}
	if d.tryRoutes(ctx, turn, item, item.Endpoints, t) || t.held+t.taken != "" || len(item.Endpoints) == 0 || ctx.Err() != nil {
		return t
	}
	if item.Class == store.ClassStranger || len(t.errs) == 0 {
		return t
	}
	// The recipient may have other endpoints now.
	mctx, cancel := context.WithTimeout(ctx, d.cfg.SendTimeout)
	defer cancel()
	d.tryRoutes(ctx, turn, item, d.cfg.Moved(mctx, item), t)
	return t
}

func (d *Dispatcher) tryRoutes(ctx context.Context, turn *turn, item *store.Item, routes []store.Endpoint, t *tries) (sent bool) {
	n := MaxEndpoints
	if item.Class == store.ClassStranger {
		n = MaxStrangerEndpoints
	}
	for _, route := range routes[:min(len(routes), n)] {
		var s transport.Session
		var receipt bool
		if d.visit(ctx, turn, t, item, route.URI, func(ctx context.Context) (err error) {
			s, receipt, err = d.send(ctx, item, route)
			return err
		}) {
			t.session, t.receipt = s, receipt
			return true
		}
		if t.held != "" || t.taken != "" { // another endpoint would get the item a second time
			return false
		}
	}
	return false
}

// visit sends an item to an endpoint, or on a return route, and adds the result to t. If the
// host has no room for another try, visit only notes that.
func (d *Dispatcher) visit(ctx context.Context, turn *turn, t *tries, item *store.Item, way string, send func(context.Context) error) (sent bool) {
	name := hostOf(way)
	if way == ReturnRoute { // the recipient stands for its connections
		name = ReturnRoute + " " + d.cfg.Party(item.To)
	}
	vctx, v, err := turn.enter(ctx, name, item.To, way != ReturnRoute)
	switch {
	case errors.Is(err, errHeld) && len(t.errs) == 0 && len(t.slow) == 0:
		t.held = name
		return false
	case err != nil:
		t.slow, t.retry = append(t.slow, name), true
		return false
	}
	err = send(vctx)
	if cause := context.Cause(vctx); err != nil && errors.Is(cause, errHangs) {
		err = &transport.SendError{Endpoint: way, Retryable: true, Err: cause}
	}
	d.leave(ctx, v, err == nil || ctx.Err() != nil)
	return t.add(way, err)
}

// returnRoutes returns the connections to the recipient on which an item may be sent.
func (d *Dispatcher) returnRoutes(item *store.Item) []transport.Session {
	if item.NeedsReceipt || len(item.Direct.Data) == 0 { // return routes give no receipt
		return nil
	}
	return d.sessions(item.From, item.To, item.Thread)
}

// sendBack sends an item on a return route.
func (d *Dispatcher) sendBack(ctx context.Context, s transport.Session, item *store.Item) error {
	ctx, cancel := context.WithTimeout(ctx, d.cfg.SendTimeout)
	defer cancel()
	return s.Reply(ctx, packet(item.Direct))
}

// send sends an item to one endpoint. The session is the connection to the recipient
// that the item was sent on, or nil if it is not kept open.
func (d *Dispatcher) send(ctx context.Context, item *store.Item, route store.Endpoint) (s transport.Session, receipt bool, err error) {
	by := d.Sender(route.URI)
	if by == nil {
		return nil, false, &transport.SendError{Endpoint: route.URI, Err: errors.New("no sender for this scheme")}
	}
	ctx, cancel := context.WithTimeout(ctx, d.cfg.SendTimeout)
	defer cancel()
	if len(route.Packet.Data) > 0 { // a forward, which a mediator does not ack
		return nil, true, by.Send(ctx, route.URI, packet(route.Packet))
	}
	if on, ok := by.(transport.SessionSender); ok {
		s, err = on.SendOn(ctx, route.URI, packet(item.Direct))
		return s, by.Receipts(), err
	}
	return nil, by.Receipts(), by.Send(ctx, route.URI, packet(item.Direct))
}
