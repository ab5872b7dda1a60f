package agent

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/didcomm-go/didcomm/agent/message"
)

// Mux is a Handler that picks the handler by message type: protocol and message
// name are compared without case and punctuation, the major version must be the
// same, and any minor version will do (Message Type URI, Semver Rules). A type
// that nothing is registered for is a *message.Problem, unless there is a Fallback.
//
// A problem report of a protocol that is not registered, or that comes without
// such a message, is for the handler of Report Problem 2.0.
//
// A Mux does not change once NewMux has returned.
type Mux struct {
	exact    map[string]*route // by the spelling registered
	routes   []*route
	features []Feature
	wraps    []func(Handler) Handler
	fallback Handler // for what no route is for
}

// route is what is registered for one message type.
type route struct {
	typ     message.TypeURI
	name    string // the type as it was registered
	lane    string // as of Orderer
	custody bool
	handler Handler
}

// MuxOption registers something with a Mux. Each protocol package has one,
// called Handle.
type MuxOption func(*Mux)

// Protocol is what a protocol package registers.
type Protocol struct {
	PIURI string
	// Roles are those that the agent can play, in the protocol's names.
	Roles []string
	// Messages has the handler of each message by its type URI.
	Messages map[string]Handler
	// Ordered means that its messages to one party leave one at a time, in the order of
	// Send, whatever their threads, and that those of one party are handled one at a
	// time, in the order in which they were accepted, whatever ways they come by.
	Ordered bool
	// Custody has the handlers, by type URI, that are durable and idempotent by
	// themselves, as one of forwards is. Such a handler runs before the peer is told that
	// the message is here: its success is the acceptance. The message is not put into
	// the inbox, takes no peer's share of that, and is not remembered. A Retry, or an
	// error that is no *message.Problem, asks the peer to come again; a Problem refuses
	// the message.
	// Such a handler replies last: over HTTP a reply tells the peer that the message is
	// here, whatever the handler returns.
	Custody map[string]Handler
}

// Feature is something that an agent supports and may disclose (Discover
// Features 2.0).
type Feature struct {
	Type  string // "protocol", "goal-code", "header" or another
	ID    string
	Roles []string // of a protocol
}

// Orderer is an optional power of Config.Handler, which a Mux has. A Handler around
// a Mux passes the question on to it, or the order of the Mux is lost.
type Orderer interface {
	// Lane names the lane in which a message waits for its handler: those of one
	// party in one lane are handled one at a time, in the order in which they were
	// accepted. Empty is the lane of the message's thread, of one connection. The name is
	// also that of the lane of a message to be sent. Of a message to be sent, and of one
	// that an earlier life left over, in has at least the id, the type, From and To; a
	// message to be sent has our DID as both.
	Lane(in *Inbound) string
}

var (
	_ Handler = (*Mux)(nil)
	_ Orderer = (*Mux)(nil)
)

// NewMux makes a Mux. It panics if an option registers a type that is no message
// type URI, or one that is registered already, or a second Fallback, since that is a
// mistake in the program.
func NewMux(opts ...MuxOption) *Mux {
	m := &Mux{exact: make(map[string]*route)}
	for _, header := range []string{"ack", "from_prior", "please_ack", "return_route"} {
		m.features = append(m.features, Feature{Type: "header", ID: header})
	}
	for _, opt := range opts {
		opt(m)
	}
	if m.fallback == nil {
		m.fallback = HandlerFunc(m.refuse)
	}
	for _, wrap := range slices.Backward(m.wraps) {
		m.fallback = wrap(m.fallback)
		for _, r := range m.routes {
			r.handler = wrap(r.handler)
		}
	}
	return m
}

// Handle registers the messages of a protocol, and the protocol as a feature.
func Handle(p Protocol) MuxOption {
	return func(m *Mux) {
		handlers := maps.Clone(p.Custody)
		if handlers == nil {
			handlers = make(map[string]Handler)
		}
		for typ, h := range p.Messages {
			if handlers[typ] != nil {
				panic(fmt.Sprintf("agent: register %s: in Messages and in Custody", typ))
			}
			handlers[typ] = h
		}
		for _, typ := range slices.Sorted(maps.Keys(handlers)) {
			t, err := message.ParseType(typ)
			if err != nil {
				panic(fmt.Sprintf("agent: register %s: %v", typ, err))
			}
			if m.find(t) != nil {
				panic(fmt.Sprintf("agent: register %s: registered already", typ))
			}
			r := &route{typ: t, name: typ, handler: handlers[typ], custody: p.Custody[typ] != nil}
			if p.Ordered {
				r.lane = p.PIURI
			}
			m.exact[typ] = r
			m.routes = append(m.routes, r)
		}
		m.features = append(m.features, Feature{Type: "protocol", ID: p.PIURI, Roles: p.Roles})
	}
}

// Wrap puts a handler made by f around each handler of the Mux, the fallback
// included, wherever among the options it stands. Of several the first is outermost.
func Wrap(f func(Handler) Handler) MuxOption {
	return func(m *Mux) { m.wraps = append(m.wraps, f) }
}

// Fallback has h handle the messages that no handler is registered for, instead of
// the problem that they are else.
func Fallback(h Handler) MuxOption {
	return func(m *Mux) {
		if m.fallback != nil {
			panic("agent: a second fallback")
		}
		m.fallback = h
	}
}

// Supports registers features that are not protocols, such as goal codes.
func Supports(features ...Feature) MuxOption {
	return func(m *Mux) { m.features = append(m.features, features...) }
}

// Features lists what is registered, and the headers that every agent acts on.
func (m *Mux) Features() []Feature { return slices.Clone(m.features) }

// HandleMessage hands the message to the handler for its type. For an unknown
// one it returns a *message.Problem of code "e.p.msg.unsupported", or
// "e.p.msg.unsupported.version" if another major version of its protocol is
// registered, with the type as the first argument and the versions as the
// second; or what the Fallback returns, if there is one.
func (m *Mux) HandleMessage(ctx context.Context, w Responder, in *Inbound) error {
	h, _ := m.Lookup(in.Message.Type)
	return h.HandleMessage(ctx, w, in)
}

// Lookup returns the handler for a message type, as Wrap has made it, and the type
// that the handler was registered for. Where that is empty, nothing is registered for
// the type and the handler is the fallback; there always is one.
func (m *Mux) Lookup(typ string) (h Handler, registered string) {
	if r := m.route(typ); r != nil {
		return r.handler, r.name
	}
	return m.fallback, ""
}

// Lane implements Orderer: the messages of an ordered protocol wait in a lane of the
// protocol.
func (m *Mux) Lane(in *Inbound) string {
	if r := m.route(in.Message.Type); r != nil {
		return r.lane
	}
	return ""
}

// Custody implements Custodian.
func (m *Mux) Custody(in *Inbound) bool {
	r := m.route(in.Message.Type)
	return r != nil && r.custody
}

// route is what is registered for a message type, nil if nothing is.
func (m *Mux) route(typ string) *route {
	if r := m.exact[typ]; r != nil {
		return r
	}
	if t, err := message.ParseType(typ); err == nil {
		if r := m.find(t); r != nil {
			return r
		}
	}
	if message.IsProblemReport(typ) {
		return m.reports()
	}
	return nil
}

// refuse is the fallback unless another is given.
func (m *Mux) refuse(_ context.Context, _ Responder, in *Inbound) error {
	typ := in.Message.Type
	t, err := message.ParseType(typ)
	if err != nil {
		return unsupported(typ, err)
	}
	if others := m.otherMajors(t); len(others) > 0 {
		return &message.Problem{
			Code:    message.CodeUnsupported + ".version",
			Comment: "The version of message type {1} is not supported, but {2} is.",
			Args:    []string{typ, strings.Join(others, ", ")},
		}
	}
	return unsupported(typ, nil)
}

func unsupported(typ string, cause error) *message.Problem {
	return &message.Problem{
		Code:    message.CodeUnsupported,
		Comment: "Message type {1} is not supported.",
		Args:    []string{typ},
		Err:     cause,
	}
}

func (m *Mux) find(t message.TypeURI) *route {
	for _, r := range m.routes {
		if r.typ.Matches(t) {
			return r
		}
	}
	return nil
}

// reports is what is registered for Report Problem 2.0, nil if nothing is.
func (m *Mux) reports() *route {
	t, err := message.ParseType(problemReportType)
	if err != nil {
		return nil
	}
	return m.find(t)
}

// otherMajors are the protocols that differ from t's in the major version alone,
// none if its own version is there, too.
func (m *Mux) otherMajors(t message.TypeURI) []string {
	var others []string
	for _, f := range m.features {
		if f.Type != "protocol" {
			continue
		}
		p, err := message.ParsePIURI(f.ID)
		if err != nil {
			continue
		}
		if p.SameProtocol(t) {
			return nil
		}
		other := t
		other.Major = p.Major
		if p.SameProtocol(other) {
			others = append(others, f.ID)
		}
	}
	return others
}
