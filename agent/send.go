package agent

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/didcomm-go/didcomm/agent/delivery"
	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/did"
	"github.com/didcomm-go/didcomm/transport"
)

// SendOption changes how one message is sent.
type SendOption func(*sendOptions)

// From sends as another DID than Config.DID, or with a certain key of it: a DID,
// or a DID URL of a keyAgreement key.
func From(didOrKID string) SendOption { return func(o *sendOptions) { o.from = didOrKID } }

// ToKeys encrypts for these keyAgreement keys of recipients, given as DID URLs,
// instead of for all keys of one type that their DIDs list. The envelope names
// them as they are given, and the key of From too: an alias, as #6LS... of a
// did:peer:2, is for peers that know keys by no other name. A Responder does so by
// itself.
func ToKeys(kids ...string) SendOption { return func(o *sendOptions) { o.toKeys = kids } }

// Anonymous sends with anoncrypt and no from: the recipient does not learn who
// sent the message.
func Anonymous() SendOption { return func(o *sendOptions) { o.anonymous = true } }

// SignBy signs the message, with the authentication key of each DID, or the keys
// named by DID URL, and encrypts with anoncrypt around: the recipient can prove
// to others who sent the message.
func SignBy(ids ...string) SendOption { return func(o *sendOptions) { o.signBy = ids } }

// ProtectSender hides from everyone but the recipient who sent the message:
// anoncrypt around authcrypt.
func ProtectSender() SendOption { return func(o *sendOptions) { o.protect = true } }

// ReturnRoute sets the return_route header: "all", "thread" or "none".
func ReturnRoute(mode string) SendOption { return func(o *sendOptions) { o.returnRoute = mode } }

// AwaitDelivery makes Send wait until a transport has accepted each packet, or
// it was given up. That is no proof that the recipient could open it.
func AwaitDelivery() SendOption { return func(o *sendOptions) { o.watched = true } }

// Once sends past the outbox: Send tries each way to the recipients once, now, and
// returns when each has the message, or the first failed, with an error that is a
// *delivery.Error. Nothing is kept.
func Once() SendOption { return func(o *sendOptions) { o.once = true } }

// Outcomes has f called with each change of what has become of the message, for each
// recipient, until Send or Request returns; f is called by the goroutine that sends,
// which waits for it.
func Outcomes(f func(Outcome)) SendOption { return func(o *sendOptions) { o.outcomes = f } }

// Lane names what the message keeps its order with: those to the same recipient from
// the same DID in the same lane leave one at a time, in the order of Send. Without
// that it is the message's thread, or its protocol where that is Ordered.
func Lane(name string) SendOption { return func(o *sendOptions) { o.lane = name } }

// AnsweredByChild makes Request take a message of the recipient whose pthid is the
// thread of the request for an answer too, as the answer to an invitation is. Send
// has no use for it.
func AnsweredByChild() SendOption { return func(o *sendOptions) { o.byChild = true } }

type sendOptions struct {
	from        string
	toKeys      []string
	anonymous   bool
	signBy      []string
	protect     bool
	returnRoute string
	watched     bool
	once        bool
	outcomes    func(Outcome)
	lane        string
	answered    bool      // it is a Request: its answer is its ack
	byChild     bool      // its answer may begin a thread
	deadline    time.Time // zero: as the message and Config say
}

func (a *Agent) sendOptions(opts ...SendOption) *sendOptions {
	o := new(sendOptions)
	for _, opt := range opts {
		opt(o)
	}
	return o
}

// Send sends m to each DID of its To, packed for each on its own, through the
// outbox: it holds the packets when Send returns, as durably as Config.Outbox
// does, and Run delivers them from it, by the return route to the recipient if one
// is open, else to an endpoint of it. By default the message is authcrypted from
// Config.DID.
//
// Send fills what m leaves empty of id, typ, from and created_time in what it
// sends; m itself is not changed. Where the way is a connection that gives no
// receipt, such as a WebSocket, the message also gets please_ack, and
// return_route if it has none, and is sent again until the ack has come or the
// recipient turns out to give none. Delivery is tried again, at every endpoint of
// the recipient that a Sender speaks, until expires_time, or for Config.MaxAge.
//
// Errors: ErrNoRoute, at once, if a recipient has neither; store.ErrFull; with
// AwaitDelivery or Once a *delivery.Error, which matches ErrUndelivered;
// ErrNotRunning before Run and ErrStopped after; those of the Packer. After an error
// from before the outbox nothing is sent to anyone.
func (a *Agent) Send(ctx context.Context, m *message.Message, opts ...SendOption) error {
	if err := a.runs(); err != nil {
		return err
	}
	o, out := a.sendOptions(opts...), *m
	a.complete(&out, o)
	sent, err := a.send(ctx, &out, o)
	if err != nil {
		return err
	}
	defer sent.forget()
	if !o.watched {
		return nil
	}
	for range sent.items {
		select {
		case o := <-sent.left:
			if !o.Arrived() && !o.Awaits {
				return &delivery.Error{Outcome: o}
			}
		case <-ctx.Done():
			return fmt.Errorf("agent: await delivery: %w", errors.Join(ctx.Err(), sent.lastError()))
		case <-a.stopping:
			return ErrStopped
		}
	}
	return nil
}

// sending is a message on its way.
type sending struct {
	items  int
	left   chan Outcome // takes one of each item: when it has left, or ended
	forget func()

	mu   sync.Mutex
	done map[string]bool // items of which left has one
	last error           // of a try that will be followed by another
}

// note is called with each outcome.
func (s *sending) note(o Outcome) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if o.State == delivery.Queued {
		s.last = o.Err
		return
	}
	if !s.done[o.ID] {
		s.done[o.ID] = true
		s.left <- o
	}
}

func (s *sending) lastError() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last
}

// Push sends m to its one recipient by a live connection that the recipient has made a
// return route, now: no outbox has it, it is not sent again, and no ack is asked for
// but what m itself asks. Success says that it was written, not that it arrived.
//
// Errors: ErrNoRoute if there is no such connection, or none that takes the message;
// ErrNotRunning and ErrStopped as for Send; those of the Packer.
func (a *Agent) Push(ctx context.Context, m *message.Message, opts ...SendOption) error {
	if len(m.To) != 1 {
		return fmt.Errorf("agent: a pushed message has one recipient, not %d", len(m.To))
	}
	if err := a.runs(); err != nil {
		return err
	}
	o, out, to := a.sendOptions(opts...), *m, did.Base(m.To[0])
	a.complete(&out, o)
	if !a.delivery.Connected(out.From, to, subject(&out)) {
		return fmt.Errorf("%w to %s: no live connection", ErrNoRoute, to)
	}
	e, err := a.pack(ctx, &out, to, o)
	if err != nil {
		return err
	}
	if err := a.delivery.Push(ctx, out.From, to, subject(&out), transport.Packet{MediaType: e.MediaType, Data: e.Data}); err != nil {
		return err
	}
	a.wrote(ctx, &out, to)
	return nil
}

// Relay delivers a packet that is not ours, such as the payload of a forward, to a
// DID, or to an endpoint given as a URI: it is in the outbox when Relay returns, as
// what Send is given, and tried until it expires, or for Config.MaxAge if that is
// zero. Nothing acks it, and it keeps no order with others (Routing 2.0).
//
// Errors: ErrNoRoute, store.ErrFull, ErrNotRunning and ErrStopped as for Send; those of
// the Packer, which resolves.
func (a *Agent) Relay(ctx context.Context, p Packet, to string, expires time.Time) error {
	if err := a.runs(); err != nil {
		return err
	}
	routes := []store.Route{{Endpoint: to}}
	if _, err := did.Parse(to); err == nil {
		found, err := a.routes(ctx, to)
		if err != nil {
			return err
		}
		var opts []envelope.PackOption
		if !expires.IsZero() {
			opts = append(opts, envelope.Expires(expires))
		}
		found = found[:min(len(found), delivery.MaxRoutes)]
		if routes, err = a.wrap(ctx, envelope.Envelope{MediaType: p.MediaType, Data: p.Data, To: to}, found, opts...); len(routes) == 0 {
			return fmt.Errorf("%w to %s: %w", ErrNoRoute, to, err)
		}
	} else if a.delivery.Sender(to) == nil {
		return fmt.Errorf("%w to %s: no sender for this scheme", ErrNoRoute, to)
	}
	if expires.IsZero() {
		expires = a.cfg.Now().Add(a.cfg.MaxAge)
	}
	if err := a.delivery.Relay(ctx, to, store.Packet(p), routes, expires); err != nil {
		return fmt.Errorf("outbox: %w", err)
	}
	return nil
}

// complete fills the headers that an agent fills.
func (a *Agent) complete(m *message.Message, o *sendOptions) {
	if m.ID == "" {
		m.ID = message.NewID()
	}
	if m.Typ == "" {
		m.Typ = message.MediaType
	}
	if m.CreatedTime.IsZero() {
		m.CreatedTime = a.cfg.Now()
	}
	if o.returnRoute != "" {
		m.ReturnRoute = o.returnRoute
	}
	switch {
	case len(o.signBy) > 0:
		m.From = did.Base(o.signBy[0])
	case o.anonymous:
		m.From = ""
	case o.from != "":
		m.From = did.Base(o.from)
	case m.From != "":
		o.from = m.From
	default:
		o.from, m.From = a.cfg.DID, a.cfg.DID
	}
}

// pack packs m for one recipient.
func (a *Agent) pack(ctx context.Context, m *message.Message, to string, o *sendOptions) (envelope.Envelope, error) {
	keys := slices.DeleteFunc(slices.Clone(o.toKeys), func(kid string) bool { return party(kid) != party(to) })
	if len(keys) == 0 {
		keys = []string{to}
	}
	opts := []envelope.PackOption{envelope.To(keys...)}
	switch {
	case len(o.signBy) > 0:
		opts = append(opts, envelope.SignBy(o.signBy...))
	case o.anonymous:
	default:
		opts = append(opts, envelope.From(o.from))
		if o.protect {
			opts = append(opts, envelope.ProtectSender())
		}
	}
	envelopes, err := a.cfg.Packer.Pack(ctx, m, opts...)
	if err != nil {
		return envelope.Envelope{}, fmt.Errorf("pack for %s: %w", to, err)
	}
	if len(envelopes) != 1 {
		return envelope.Envelope{}, fmt.Errorf("pack for %s: %d envelopes", to, len(envelopes))
	}
	return envelopes[0], nil
}

// send packs m for each recipient and puts it into the outbox, or with Once sends it.
// The caller calls forget.
func (a *Agent) send(ctx context.Context, m *message.Message, o *sendOptions) (*sending, error) {
	if len(m.To) == 0 {
		return nil, errors.New("agent: message without a recipient")
	}
	var items []store.Item
	for i, to := range m.To {
		if slices.ContainsFunc(m.To[:i], func(t string) bool { return party(t) == party(to) }) {
			continue
		}
		item, err := a.item(ctx, m, did.Base(to), o)
		if err != nil {
			return nil, err
		}
		items = append(items, item)
	}
	s := &sending{items: len(items), left: make(chan Outcome, len(items)), forget: func() {}, done: make(map[string]bool)}
	var notify func(Outcome)
	if o.watched || o.outcomes != nil {
		notify = func(out Outcome) {
			if o.outcomes != nil {
				o.outcomes(out)
			}
			s.note(out)
		}
	}
	if o.once {
		return s, a.sendOnce(ctx, items, notify)
	}
	forget, err := a.delivery.Deliver(ctx, notify, items...)
	if err != nil {
		return nil, fmt.Errorf("outbox: %w", err)
	}
	s.forget = forget
	return s, nil
}

// sendOnce sends items past the outbox.
func (a *Agent) sendOnce(ctx context.Context, items []store.Item, notify func(Outcome)) error {
	for _, item := range items {
		if o := a.delivery.Try(ctx, notify, item); !o.Arrived() {
			return &delivery.Error{Outcome: o}
		}
	}
	return nil
}

// item packs a message for one recipient, and for each way to it.
func (a *Agent) item(ctx context.Context, m *message.Message, to string, o *sendOptions) (store.Item, error) {
	routes, err := a.routes(ctx, to)
	session := a.delivery.Connected(m.From, to, subject(m))
	if err != nil && (!session || !errors.Is(err, ErrNoRoute)) {
		return store.Item{}, err
	}
	routes = routes[:min(len(routes), delivery.MaxRoutes)]
	must := !o.answered && !o.anonymous && !isEmpty(m) && !isProblemReport(m) // else no ack will come
	confirm := must && (session || a.unconfirmed(routes))
	if confirm {
		m = confirmed(m)
	}
	e, err := a.pack(ctx, m, to, o)
	if err != nil {
		return store.Item{}, err
	}
	now := a.cfg.Now()
	item := store.Item{
		ID: message.NewID(), MessageID: m.ID, Thread: foldID(subject(m)), From: m.From, To: to, Lane: a.lane(m, o),
		Direct: store.Packet{MediaType: e.MediaType, Data: e.Data}, Confirm: confirm, Receipt: must && !confirm,
		Created: now, Deadline: now.Add(a.cfg.MaxAge),
	}
	if !m.ExpiresTime.IsZero() {
		item.Deadline = m.ExpiresTime
	}
	if !o.deadline.IsZero() && o.deadline.Before(item.Deadline) {
		item.Deadline = o.deadline
	}
	if item.Routes, err = a.wrap(ctx, e, routes, forwardOptions(m)...); len(item.Routes) == 0 && !session {
		return store.Item{}, fmt.Errorf("%w to %s: %w", ErrNoRoute, to, err)
	}
	return item, nil
}

// lane is what a message keeps its order with, beside the recipient. It is empty for
// its thread.
func (a *Agent) lane(m *message.Message, o *sendOptions) string {
	name := o.lane
	if ordered, ok := a.cfg.Handler.(Orderer); ok && name == "" {
		name = ordered.Line(&Inbound{Message: m, From: m.From})
	}
	if name == "" {
		return ""
	}
	return party(m.From) + " " + name
}

// unconfirmed tells whether one of the ways leads to the recipient itself and gives no
// receipt.
func (a *Agent) unconfirmed(routes []envelope.Route) bool {
	return slices.ContainsFunc(routes, func(r envelope.Route) bool {
		s := a.delivery.Sender(r.URI)
		return s != nil && !s.Receipts() && len(r.RoutingKeys) == 0
	})
}

// confirmed is m, asking the recipient for an ack, on the same connection if m
// does not say otherwise.
func confirmed(m *message.Message) *message.Message {
	out := *m
	if !slices.ContainsFunc(m.PleaseAck, func(id string) bool { return id == "" || foldID(id) == foldID(m.ID) }) {
		out.PleaseAck = append(slices.Clone(m.PleaseAck), m.ID)
	}
	if out.ReturnRoute == "" {
		out.ReturnRoute = "all"
	}
	return &out
}

// wrap makes the packet for each route; the error joins those of routes that are
// left out.
func (a *Agent) wrap(ctx context.Context, direct envelope.Envelope, routes []envelope.Route, opts ...envelope.PackOption) ([]store.Route, error) {
	var wrapped []store.Route
	var errs []error
	for _, r := range routes {
		out := store.Route{Endpoint: r.URI}
		if len(r.RoutingKeys) > 0 {
			e, err := a.cfg.Packer.Forward(ctx, direct, r.RoutingKeys, opts...)
			if err != nil {
				errs = append(errs, fmt.Errorf("forward through %s: %w", r.URI, err))
				continue
			}
			out.Packet = store.Packet{MediaType: e.MediaType, Data: e.Data}
		}
		wrapped = append(wrapped, out)
	}
	return wrapped, errors.Join(errs...)
}

// forwardOptions let a forward expire with the message in it.
func forwardOptions(m *message.Message) []envelope.PackOption {
	if m.ExpiresTime.IsZero() {
		return nil
	}
	return []envelope.PackOption{envelope.Expires(m.ExpiresTime)}
}

// routes are the ways to a DID that the agent can go, in the DID's order of
// preference; at least one, or ErrNoRoute. The Packer has left out endpoints that
// do not take DIDComm v2.
func (a *Agent) routes(ctx context.Context, to string) ([]envelope.Route, error) {
	all, err := a.cfg.Packer.Routes(ctx, to)
	if errors.Is(err, envelope.ErrRoute) {
		return nil, fmt.Errorf("%w to %s: %w", ErrNoRoute, to, err)
	}
	if err != nil {
		return nil, fmt.Errorf("routes to %s: %w", to, err)
	}
	var routes []envelope.Route
	for _, r := range all {
		if a.delivery.Sender(r.URI) != nil {
			routes = append(routes, r)
		}
	}
	if len(routes) == 0 {
		return nil, fmt.Errorf("%w to %s: %s", ErrNoRoute, to, noRouteReason(all))
	}
	return routes, nil
}

func noRouteReason(all []envelope.Route) string {
	if len(all) == 0 {
		return "its document has no DIDComm endpoint"
	}
	uris := make([]string, len(all))
	for i, r := range all {
		uris[i] = r.URI
	}
	return "none of its endpoints can be used: " + strings.Join(uris, ", ")
}

// moved are the routes to an item's recipient that the item does not have: its
// DID is looked up anew, since its endpoints may have moved.
func (a *Agent) moved(ctx context.Context, item *store.Item) []store.Route {
	if err := a.cfg.Packer.Refresh(ctx, item.To); err != nil {
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
	direct := envelope.Envelope{MediaType: item.Direct.MediaType, Data: item.Direct.Data, To: item.To}
	fresh, err := a.wrap(ctx, direct, routes[:min(len(routes), delivery.MaxRoutes)])
	if err != nil {
		a.cfg.Logger.InfoContext(ctx, "party has moved where we cannot follow", "did", item.To, "error", err)
	}
	return fresh
}
