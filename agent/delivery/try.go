package delivery

import (
	"context"
	"errors"
	"time"

	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/transport"
)

// tries are the tries of one item, one way after the other.
type tries struct {
	sent    bool
	way     string            // by which it was sent
	receipt bool              // that way gives one
	session transport.Session // the connection that it went by, if that gives none

	errs     []error       // of those that failed
	retry    bool          // one may succeed later
	after    time.Duration // the shortest delay that an endpoint asked for
	answered bool          // somebody was reached, and did not take it
	refused  bool          // and that not for being busy
}

// err joins what failed.
func (t *tries) err() error { return errors.Join(t.errs...) }

// add counts a try, and reports whether it succeeded.
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

// try sends an item by the first of its ways that takes it.
func (d *Dispatcher) try(ctx context.Context, item *store.Item) *tries {
	ctx, cancel := context.WithTimeout(ctx, d.sendTime())
	defer cancel()
	t := new(tries)
	for _, s := range d.returns(item) {
		if t.add(ReturnRoute, d.back(ctx, s, item)) {
			t.session = s
			return t
		}
	}
	if d.tryRoutes(ctx, item, item.Endpoints, t) || len(item.Endpoints) == 0 || ctx.Err() != nil {
		return t
	}
	// Its endpoints may have moved.
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

// returns are the connections that the recipient of an item made, and that the item
// may go by.
func (d *Dispatcher) returns(item *store.Item) []transport.Session {
	if item.NeedsReceipt || len(item.Direct.Data) == 0 { // a connection gives no receipt
		return nil
	}
	return d.sessions(item.From, item.To, item.Thread)
}

// back sends an item by a connection that the recipient made.
func (d *Dispatcher) back(ctx context.Context, s transport.Session, item *store.Item) error {
	ctx, cancel := context.WithTimeout(ctx, d.cfg.SendTimeout)
	defer cancel()
	return s.Reply(ctx, packet(item.Direct))
}

// send sends an item by one route. The session is the connection to the recipient
// that it went by, if there is one that stays.
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
