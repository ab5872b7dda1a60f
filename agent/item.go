package agent

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/did"
)

// item packs a message for one recipient, and returns it as an item with the endpoints of
// the recipient.
func (a *Agent) item(ctx context.Context, m *message.Message, to string, o *sendOptions) (store.Item, error) {
	routes, err := a.routes(ctx, to, o.class)
	session := a.delivery.Connected(m.From, to, subject(m))
	if err != nil && (!session || !errors.Is(err, ErrNoRoute)) {
		return store.Item{}, err
	}
	ackable := !o.answered && !o.anonymous && !isEmpty(m) && !isProblemReport(m)
	askAck := ackable && (session || a.withoutReceipt(routes))
	if askAck {
		m = askingAck(m)
	}
	e, err := a.pack(ctx, m, to, o)
	if err != nil {
		return store.Item{}, err
	}
	item := a.newItem(m.From, to, store.Packet{MediaType: e.MediaType, Data: e.Data}, routes, o.class, m.ExpiresTime)
	item.MessageID, item.Thread, item.Lane = m.ID, foldID(subject(m)), a.lane(m, o)
	item.AskAck, item.NeedsReceipt, item.HidesSender = askAck, ackable && !askAck, o.protect
	if !o.deadline.IsZero() && o.deadline.Before(item.Deadline) {
		item.Deadline = o.deadline
	}
	return item, nil
}

// newItem returns an item that is alone in its lane. Its message has the id of the item, and
// no thread.
func (a *Agent) newItem(own, to string, p store.Packet, routes []envelope.Route, class store.Class, expires time.Time) store.Item {
	now, id := a.cfg.Now(), message.NewID()
	item := store.Item{
		ID: id, MessageID: id, From: own, To: to, Lane: id, Direct: p,
		Endpoints: endpoints(routes, class), Class: class, Created: now, Deadline: now.Add(a.cfg.MaxAge), Expires: expires,
	}
	if s := a.cfg.Shares(own).Outbox; s != (store.Share{}) && own != "" {
		item.Owner, item.OwnerShare = party(own), s
	}
	if !expires.IsZero() {
		item.Deadline = expires
	}
	if last := now.Add(a.cfg.StrangerAge); class == store.ClassStranger && last.Before(item.Deadline) {
		item.Deadline = last
	}
	return item
}

// lane returns the name of the lane of a message to be sent. Without another name, the lane
// is that of its thread. The peer chooses threads, so each DID of ours has lanes of its
// own. Otherwise a message would wait for one of another DID, and the peer could see that
// both DIDs are of one agent.
func (a *Agent) lane(m *message.Message, o *sendOptions) string {
	name := o.lane
	if ordered, ok := a.cfg.Handler.(Orderer); ok && name == "" {
		name = ordered.Lane(&Inbound{Message: m, From: m.From, To: m.From})
	}
	if name == "" {
		name = foldID(subject(m))
	}
	return party(m.From) + " " + name
}

// withoutReceipt reports whether one of the routes leads to the recipient itself, by a
// transport without receipts.
func (a *Agent) withoutReceipt(routes []envelope.Route) bool {
	return slices.ContainsFunc(routes, func(r envelope.Route) bool {
		s := a.delivery.Sender(r.URI)
		return s != nil && !s.Receipts() && len(r.RoutingKeys) == 0
	})
}

// askingAck returns m with please_ack, and with return_route "all" if m has no
// return_route.
func askingAck(m *message.Message) *message.Message {
	out := *m
	if !slices.ContainsFunc(m.PleaseAck, func(id string) bool { return id == "" || foldID(id) == foldID(m.ID) }) {
		out.PleaseAck = append(slices.Clone(m.PleaseAck), m.ID)
	}
	if out.ReturnRoute == "" {
		out.ReturnRoute = "all"
	}
	return &out
}

// complete sets the headers of m that are empty and that every message of an agent has.
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
	if m.ParentThreadID == "" {
		m.ParentThreadID = o.parent
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
