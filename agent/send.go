package agent

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

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
// Errors: ErrNoRoute, at once, if a recipient has neither; store.ErrFull;
// ErrUndelivered with AwaitDelivery; those of the Packer. After an error from
// before the outbox nothing is sent to anyone.
func (a *Agent) Send(ctx context.Context, m *message.Message, opts ...SendOption) error {
	o, out := a.sendOptions(opts...), *m
	a.complete(&out, o)
	sent, err := a.send(ctx, &out, o)
	if err != nil {
		return err
	}
	defer a.watches.remove(sent)
	for _, w := range sent {
		select {
		case err := <-w.done:
			if err != nil {
				return err
			}
		case <-ctx.Done():
			return fmt.Errorf("agent: await delivery: %w", errors.Join(ctx.Err(), w.lastError()))
		case <-a.stopping:
			return ErrStopped
		}
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

// send packs m for each recipient and puts it into the outbox.
func (a *Agent) send(ctx context.Context, m *message.Message, o *sendOptions) ([]*watch, error) {
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
	var sent []*watch
	if o.watched { // before a worker can be done with them
		sent = a.watches.add(items)
	}
	if err := a.cfg.Outbox.Enqueue(ctx, items...); err != nil {
		a.watches.remove(sent)
		return nil, fmt.Errorf("outbox: %w", err)
	}
	return sent, nil
}

// maxRoutes bounds the endpoints of a recipient that are packed for and tried.
const maxRoutes = 4

// item packs a message for one recipient, and for each way to it.
func (a *Agent) item(ctx context.Context, m *message.Message, to string, o *sendOptions) (store.Item, error) {
	routes, err := a.routes(ctx, to)
	session := a.sessions.lookup(m.From, to, subject(m)) != nil
	if err != nil && (!session || !errors.Is(err, ErrNoRoute)) {
		return store.Item{}, err
	}
	routes = routes[:min(len(routes), maxRoutes)]
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
		ID: message.NewID(), MessageID: m.ID, Thread: foldID(subject(m)), From: m.From, To: to,
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

// unconfirmed tells whether one of the ways is a connection to the recipient that
// gives no receipt.
func (a *Agent) unconfirmed(routes []envelope.Route) bool {
	return slices.ContainsFunc(routes, func(r envelope.Route) bool {
		_, ok := a.sender(r.URI).(transport.SessionSender)
		return ok && len(r.RoutingKeys) == 0
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
		if a.sender(r.URI) != nil {
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

// sender is the Sender for an endpoint, nil if there is none.
func (a *Agent) sender(uri string) transport.Sender {
	scheme, _, ok := strings.Cut(uri, ":")
	if !ok {
		return nil
	}
	return a.cfg.Senders[strings.ToLower(scheme)]
}
