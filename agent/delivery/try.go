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
	t.answered = t.answered || failed.Answered
	t.refused = t.refused || failed.Answered && !failed.Busy
	return false
}

// try sends an item on the first of its routes that accepts it.
func (d *Dispatcher) try(ctx context.Context, item *store.Item) *tries {
	ctx, cancel := context.WithTimeout(ctx, d.sendTime())
	defer cancel()
	t := new(tries)
	for _, s := range d.returnRoutes(item) {
		if t.add(ReturnRoute, d.sendBack(ctx, s, item)) {
			t.session = s
			return t
		}
	}
	if d.tryRoutes(ctx, item, item.Endpoints, t) || len(item.Endpoints) == 0 || ctx.Err() != nil {
		return t
	}
	// The recipient may have other endpoints now.
	mctx, cancel := context.WithTimeout(ctx, d.cfg.SendTimeout)
	defer cancel()
	d.tryRoutes(ctx, item, d.cfg.Moved(mctx, item), t)
	return t
}

func (d *Dispatcher) tryRoutes(ctx context.Context, item *store.Item, routes []store.Endpoint, t *tries) (sent bool) {
	for _, route := range routes[:min(len(routes), MaxEndpoints)] {
		s, receipt, err := d.send(ctx, item, route)
		if t.add(route.URI, err) {
			t.session, t.receipt = s, receipt
			return true
		}
	}
	return false
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
