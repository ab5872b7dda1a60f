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

type sendOptions struct {
	from        string
	toKeys      []string
	anonymous   bool
	signBy      []string
	protect     bool
	returnRoute string
	watched     bool
	deadline    time.Time // zero: as the message and Config say
}

func (a *Agent) sendOptions(opts ...SendOption) *sendOptions {
	o := new(sendOptions)
	for _, opt := range opts {
		opt(o)
	}
	return o
}

// Send sends m to each DID of its To, packed for each on its own: by the return
// route to it if one is open, else through the outbox, which holds the packets
// when Send returns and from which Run delivers them. By default the message is
// authcrypted from Config.DID.
//
// Send fills what m leaves empty of id, typ, from and created_time in what it
// sends; m itself is not changed. Delivery is tried again, at every endpoint of
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

// delivery is a message packed for one recipient.
type delivery struct {
	to       string
	envelope envelope.Envelope
	routes   []envelope.Route // nil: not looked up yet
}

func (d *delivery) packet() transport.Packet {
	return transport.Packet{MediaType: d.envelope.MediaType, Data: d.envelope.Data}
}

func (a *Agent) pack(ctx context.Context, m *message.Message, to string, o *sendOptions) (*delivery, error) {
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
		return nil, fmt.Errorf("pack for %s: %w", to, err)
	}
	if len(envelopes) != 1 {
		return nil, fmt.Errorf("pack for %s: %d envelopes", to, len(envelopes))
	}
	return &delivery{to: to, envelope: envelopes[0]}, nil
}

func (a *Agent) send(ctx context.Context, m *message.Message, o *sendOptions) ([]*watch, error) {
	if len(m.To) == 0 {
		return nil, errors.New("agent: message without a recipient")
	}
	var deliveries []*delivery
	for i, to := range m.To {
		if slices.ContainsFunc(m.To[:i], func(t string) bool { return party(t) == party(to) }) {
			continue
		}
		d, err := a.pack(ctx, m, did.Base(to), o)
		if err != nil {
			return nil, err
		}
		deliveries = append(deliveries, d)
	}
	return a.dispatchWatched(ctx, m, deliveries, o)
}

// dispatch sends what is packed, each by its return route or through the outbox.
func (a *Agent) dispatch(ctx context.Context, m *message.Message, deliveries []*delivery, o *sendOptions) error {
	_, err := a.dispatchWatched(ctx, m, deliveries, o)
	return err
}

func (a *Agent) dispatchWatched(ctx context.Context, m *message.Message, deliveries []*delivery, o *sendOptions) ([]*watch, error) {
	type direct struct {
		session transport.Session
		d       *delivery
	}
	var directs []direct
	var items []store.Item
	for _, d := range deliveries {
		if s := a.sessions.lookup(m.From, d.to, subject(m)); s != nil {
			directs = append(directs, direct{s, d})
			continue
		}
		item, err := a.item(ctx, m, d, o)
		if err != nil {
			return nil, err
		}
		items = append(items, item)
	}
	sent, err := a.enqueue(ctx, items, o)
	if err != nil {
		return nil, err
	}
	var errs []error
	for _, t := range directs {
		if t.session.Reply(ctx, t.d.packet()) == nil {
			continue
		}
		item, err := a.item(ctx, m, t.d, o)
		if err == nil {
			var more []*watch
			more, err = a.enqueue(ctx, []store.Item{item}, o)
			sent = append(sent, more...)
		}
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		a.watches.remove(sent)
		return nil, err
	}
	return sent, nil
}

func (a *Agent) enqueue(ctx context.Context, items []store.Item, o *sendOptions) (sent []*watch, err error) {
	if len(items) == 0 {
		return nil, nil
	}
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

// item packs a delivery for each way to its recipient.
func (a *Agent) item(ctx context.Context, m *message.Message, d *delivery, o *sendOptions) (store.Item, error) {
	now := a.cfg.Now()
	item := store.Item{
		ID: message.NewID(), MessageID: m.ID, Thread: m.Thread(), From: m.From, To: d.to,
		Created: now, Deadline: now.Add(a.cfg.MaxAge),
	}
	if !m.ExpiresTime.IsZero() {
		item.Deadline = m.ExpiresTime
	}
	if !o.deadline.IsZero() && o.deadline.Before(item.Deadline) {
		item.Deadline = o.deadline
	}
	if d.routes == nil {
		var err error
		if d.routes, err = a.routes(ctx, d.to); err != nil {
			return store.Item{}, err
		}
	}
	var errs []error
	for _, route := range d.routes[:min(len(d.routes), maxRoutes)] {
		e := d.envelope
		if len(route.RoutingKeys) > 0 {
			var err error
			if e, err = a.cfg.Packer.Forward(ctx, e, route.RoutingKeys, forwardOptions(m)...); err != nil {
				errs = append(errs, fmt.Errorf("forward through %s: %w", route.URI, err))
				continue
			}
		}
		item.Routes = append(item.Routes, store.Route{Endpoint: route.URI, MediaType: e.MediaType, Data: e.Data})
	}
	if len(item.Routes) == 0 {
		return store.Item{}, fmt.Errorf("%w to %s: %w", ErrNoRoute, d.to, errors.Join(errs...))
	}
	return item, nil
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
