package delivery

import (
	"context"
	"errors"
	"slices"
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
	proven  bool              // whether it is a return route that is proven
	must    bool              // whether only an ack says that the recipient has the item

	forwarded bool // whether the endpoint that was tried last is that of a mediator

	errs     []error       // of the routes that failed
	retry    bool          // whether one of the routes may succeed later
	after    time.Duration // the shortest delay that an endpoint asked for
	answered bool          // whether an endpoint was reached that did not accept the item
	refused  bool          // the same, and the endpoint was not merely busy

	refusals    []refusal // of the endpoints that may accept the item later, without those that are busy
	otherAnswer bool      // whether an endpoint was busy, or has the item

	taken string // the endpoint that has the item, though its reply was lost
	busy  bool   // whether we had no room for the reply

	cut  bool     // whether a try was ended because it hung
	held string   // the host that has too many tries, if the item waits for the end of one
	slow []string // the hosts that were not tried because they do not answer
}

// waits reports whether the item has to wait for a host, and was not tried.
func (t *tries) waits() bool {
	return !t.sent && len(t.errs) == 0 && (t.held != "" || len(t.slow) > 0)
}

// ends reports whether the other routes are not tried: the item waits for a host, or another
// endpoint might get the item a second time.
func (t *tries) ends() bool { return t.cut || t.held != "" || t.taken != "" }

// busyElsewhere reports whether an endpoint of the recipient that was tried before may accept
// the item later. Then silence does not mean that the recipient sends no acks.
func (t *tries) busyElsewhere() bool { return t.answered && !t.refused }

// mediated reports whether a mediator has the item that went out by way.
func (t *tries) mediated(way string) bool { return t.forwarded && way != "" && way != ReturnRoute }

// err joins the errors of the routes that failed.
func (t *tries) err() error { return errors.Join(t.errs...) }

// add adds the result of one route, and reports whether the item was sent.
func (t *tries) add(route store.Endpoint, err error) bool {
	endpoint := route.URI
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
		t.busy = errors.As(failed.Err, new(*transport.BusyError)) || errors.Is(failed.Err, transport.ErrBudget)
	}
	t.answered = t.answered || failed.Answered
	t.refused = t.refused || failed.Answered && !failed.Busy
	switch {
	case failed.Answered && failed.Busy, failed.Taken:
		t.otherAnswer = true
	case failed.Answered && failed.Retryable:
		t.refusals = append(t.refusals, refusal{route, failed.Status})
	}
	return false
}

// try sends an item on the first of its routes that accepts it. After an ack that did not
// come, these are the endpoints. A nil turn has no limits for hosts.
func (d *Dispatcher) try(ctx context.Context, item *store.Item, turn *turn, lastError string) *tries {
	ctx, cancel := context.WithTimeout(ctx, d.sendTime())
	defer cancel()
	t := new(tries)
	first, last, all := d.returnRoutes(item)
	if len(item.Endpoints) > 0 && (lastError == errNoAck.Error() || lastError == errConnEnded.Error()) {
		first, last = nil, slices.Concat(first, last)
	}
	if d.tryBack(ctx, turn, item, first, t) {
		return t
	}
	d.tryEndpoints(ctx, turn, item, t)
	if t.sent || t.ends() || ctx.Err() != nil {
		return t
	}
	if len(t.errs) > 0 && !t.retry && !t.answered { // no endpoint is of any use
		last = all
	}
	d.tryBack(ctx, turn, item, last, t)
	return t
}

// returnRoutes returns the connections to the recipient on which an item may be sent: first
// before its endpoints, last if these fail, and all if these can never succeed.
func (d *Dispatcher) returnRoutes(item *store.Item) (first, last, all []link) {
	all = d.links(item)
	if len(all) == 0 {
		return nil, nil, nil
	}
	proven := provenFirst(all)
	if d.parties.mayAck(d.pair(item.From, item.To, "")) {
		last = proven
	}
	switch {
	case len(item.Endpoints) == 0:
		return all, nil, nil
	case item.AskAck:
		return last, nil, all
	}
	return nil, last, all // an endpoint may give a receipt, and a connection does not
}

// links returns the return routes of an item.
func (d *Dispatcher) links(item *store.Item) []link {
	if item.NeedsReceipt || len(item.Direct.Data) == 0 { // return routes give no receipt
		return nil
	}
	return d.sessions(item.From, item.To, item.Thread)
}

func (d *Dispatcher) tryBack(ctx context.Context, turn *turn, item *store.Item, links []link, t *tries) (sent bool) {
	for _, l := range links {
		if d.visit(ctx, turn, t, item, store.Endpoint{URI: ReturnRoute}, func(ctx context.Context) error { return d.sendBack(ctx, l.session, item) }) {
			t.session, t.proven, t.must = l.session, l.proven, l.proven && !l.dialed && len(item.Endpoints) > 0
			return true
		}
	}
	return false
}

// tryEndpoints tries the endpoints of an item, and then those that its recipient has now.
func (d *Dispatcher) tryEndpoints(ctx context.Context, turn *turn, item *store.Item, t *tries) {
	if d.tryRoutes(ctx, turn, item, item.Endpoints, t) || t.ends() || len(item.Endpoints) == 0 || ctx.Err() != nil {
		return
	}
	if item.Class == store.ClassStranger || len(t.errs) == 0 {
		return
	}
	mctx, cancel := context.WithTimeout(ctx, d.cfg.SendTimeout)
	defer cancel()
	d.tryRoutes(ctx, turn, item, d.cfg.Moved(mctx, item), t)
}

func (d *Dispatcher) tryRoutes(ctx context.Context, turn *turn, item *store.Item, routes []store.Endpoint, t *tries) (sent bool) {
	n := MaxEndpoints
	if item.Class == store.ClassStranger {
		n = MaxStrangerEndpoints
	}
	routes = d.withReceipts(item, routes)
	for _, route := range routes[:min(len(routes), n)] {
		var s transport.Session
		var receipt bool
		if d.visit(ctx, turn, t, item, route, func(ctx context.Context) (err error) {
			t.forwarded = len(route.RoutingKeys) > 0
			s, receipt, err = d.send(ctx, item, route)
			return err
		}) {
			if receipt {
				d.accepts(item.To, route.URI, item.ID)
			}
			if t.session, t.receipt = s, receipt; s != nil && !t.forwarded { // the endpoint proves its own connection
				d.routes.prove(s, d.pair(item.From, item.To, ""))
			}
			return true
		}
		if t.ends() {
			return false
		}
	}
	return false
}

// withReceipts returns the routes to try. If nobody acks what is sent, as a mediator does not ack
// a forward, a route without receipts is left out where another route by the same mediators gives
// them: what was only written to a connection is lost if the peer dies or has no room.
func (d *Dispatcher) withReceipts(item *store.Item, routes []store.Endpoint) []store.Endpoint {
	return slices.DeleteFunc(slices.Clone(routes), func(r store.Endpoint) bool {
		unacked := len(r.RoutingKeys) > 0 || item.NeedsReceipt
		return unacked && !d.receipts(r.URI) && slices.ContainsFunc(routes, func(other store.Endpoint) bool {
			return d.receipts(other.URI) && slices.Equal(other.RoutingKeys, r.RoutingKeys)
		})
	})
}

// receipts reports whether the transport for a URI gives receipts.
func (d *Dispatcher) receipts(uri string) bool {
	by := d.Sender(uri)
	return by != nil && by.Receipts()
}

// visit sends an item to an endpoint, or on a return route, and adds the result to t. If the
// host has no room for another try, visit only notes that.
func (d *Dispatcher) visit(ctx context.Context, turn *turn, t *tries, item *store.Item, route store.Endpoint, send func(context.Context) error) (sent bool) {
	way := route.URI
	name := hostOf(way)
	if way == ReturnRoute { // the recipient stands for its connections
		name = ReturnRoute + " " + d.cfg.Party(item.To)
	}
	vctx, v, err := turn.enter(ctx, name, item.To, way != ReturnRoute)
	switch {
	case errors.Is(err, errHeld) && len(t.errs) == 0:
		t.held = name
		return false
	case err != nil:
		t.slow, t.retry = append(t.slow, name), true
		return false
	}
	err = send(vctx)
	reached := !errors.As(err, new(*wrapError))
	if cause := context.Cause(vctx); err != nil && errors.Is(cause, errHangs) {
		// The recipient may have the item, and be handling it.
		t.cut, err = true, &transport.SendError{Endpoint: way, Retryable: true, RetryAfter: d.cfg.SendTimeout, Err: cause}
	}
	d.leave(ctx, v, err == nil || ctx.Err() != nil, reached)
	return t.add(route, err)
}

// sendBack sends an item on a return route.
func (d *Dispatcher) sendBack(ctx context.Context, s transport.Session, item *store.Item) error {
	ctx, cancel := context.WithTimeout(ctx, d.cfg.SendTimeout)
	defer cancel()
	return s.Reply(ctx, packet(item.Direct))
}

// wrapError is an error of Config.Wrap.
type wrapError struct{ error }

func (e *wrapError) Unwrap() error { return e.error }

// send sends an item to one endpoint. The session is the connection to the recipient or its
// mediator that the item was sent on, or nil if it is not kept open.
func (d *Dispatcher) send(ctx context.Context, item *store.Item, route store.Endpoint) (s transport.Session, receipt bool, err error) {
	by := d.Sender(route.URI)
	if by == nil {
		return nil, false, &transport.SendError{Endpoint: route.URI, Err: errors.New("no sender for this scheme")}
	}
	ctx, cancel := context.WithTimeout(ctx, d.cfg.SendTimeout)
	defer cancel()
	p := packet(item.Direct)
	if len(route.RoutingKeys) > 0 {
		if p, err = d.cfg.Wrap(ctx, item, route); err != nil {
			return nil, by.Receipts(), &wrapError{err}
		}
	}
	if on, ok := by.(transport.SessionSender); ok {
		s, err = on.SendOn(ctx, route.URI, p)
		return s, by.Receipts(), err
	}
	return nil, by.Receipts(), by.Send(ctx, route.URI, p)
}
