package agent

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/didcomm-go/didcomm/agent/message"
)

// Mux is a [Handler] that calls another Handler, which it picks by the type of the message.
// A message type matches a registered type under these conditions (DIDComm v2.1, Message
// Type URI and Semver Rules):
//   - The protocol names and the message names are equal, without regard to case and
//     punctuation.
//   - The major versions are equal. The minor versions may differ.
//
// A problem report whose own type is not registered goes to the Handler of Report Problem
// 2.0. If the type of any other message is not registered, the message goes to the
// [Fallback]. Without a Fallback, it is answered with a problem report. An empty message
// (Empty 1.0) is ignored instead, since the Agent has processed its headers.
//
// Make a Mux with [NewMux]. A Mux does not change, and may be used from several goroutines.
type Mux struct {
	exact    map[string]*route // by the type as it was registered
	routes   []*route
	features []Feature
	wraps    []func(Handler) Handler
	fallback Handler // for types without a route
}

// route is the registration of one message type.
type route struct {
	typ     message.TypeURI
	name    string // the type as it was registered
	lane    string // the result of Orderer.Lane
	custody bool
	public  bool // also for messages that were not sent to us
	handler Handler
}

// MuxOption is an option of [NewMux]. Each protocol package has a function Handle that
// returns the MuxOption of its protocol.
type MuxOption func(*Mux)

// Protocol describes a protocol for [Handle].
type Protocol struct {
	// PIURI is the protocol identifier, for example "https://didcomm.org/trust-ping/2.0".
	PIURI string
	// Roles are the roles of the protocol that the agent can play, for example "receiver".
	Roles []string
	// Messages has the Handler for each message type URI.
	Messages map[string]Handler
	// Ordered keeps the order of all messages of the protocol between two DIDs, whatever
	// their threads. Messages to a party leave one at a time, in the order of Send.
	// Messages of a party are handled one at a time, in the order in which they were
	// accepted, even if they arrive by several connections.
	Ordered bool
	// Custody has the Handlers for message type URIs that are not in Messages, and that
	// are durable and idempotent by themselves. The Handler of forwards in a mediator is an
	// example. A Handler in Custody is called before the peer is told that its message is
	// accepted, and its result decides:
	//   - nil accepts the message;
	//   - a *message.Problem refuses the message. An anonymous sender gets a problem report
	//     that is signed, in the HTTP response or on the connection of the message;
	//   - a [Retry] or [RetryLimit], or any other error, asks the peer to send the message again later.
	//
	// The message is not stored in the inbox, does not count towards a share of the inbox,
	// and is not remembered. If it arrives again, it is handled again.
	//
	// Over HTTP, a reply in the response tells the peer that the message is accepted.
	// Therefore reply only when nothing can fail any more.
	Custody map[string]Handler
	// Public gives the Handlers also the signed messages that were not sent to us
	// (Inbound.Addressed), for example those that a signer publishes for everybody.
	Public bool
}

// Feature is something that an agent supports and may disclose to others (Discover
// Features 2.0).
type Feature struct {
	Type  string   // "protocol", "goal-code", "header" or another type
	ID    string   // for example the PIURI of a protocol
	Roles []string // the roles that the agent can play; for protocols only
}

// Orderer is an optional interface of Config.Handler. A [Mux] implements it, with
// Protocol.Ordered. A Handler that calls a Mux must implement Orderer by calling the Mux,
// or the messages of ordered protocols lose their order.
type Orderer interface {
	// Lane returns the name of the lane of a message. Messages of one party in one lane
	// are handled one at a time, in the order in which they were accepted. An empty name
	// stands for a lane of the message's thread and connection.
	//
	// Lane is called in these cases:
	//   - for a received message;
	//   - for a received message that is still in the inbox after a restart, with only
	//     the id and the type in in.Message, and with in.From and in.To;
	//   - for a message to be sent, with in.Message, and with our DID as in.From and in.To.
	//     Messages to one recipient in one lane leave one at a time.
	Lane(in *Inbound) string
}

var (
	_ Handler = (*Mux)(nil)
	_ Orderer = (*Mux)(nil)
)

// NewMux returns a [Mux] with the protocols, features and wrappers of its options. It
// panics in these cases, which are mistakes in the program:
//   - An option registers a message type that is not a message type URI.
//   - Two options register the same message type, or one option registers it twice.
//   - There are two options [Fallback].
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

// Handle registers the Handlers of a protocol, and the protocol as a [Feature].
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
			r := &route{typ: t, name: typ, handler: handlers[typ], custody: p.Custody[typ] != nil, public: p.Public}
			if p.Ordered {
				r.lane = p.PIURI
			}
			m.exact[typ] = r
			m.routes = append(m.routes, r)
		}
		m.features = append(m.features, Feature{Type: "protocol", ID: p.PIURI, Roles: p.Roles})
	}
}

// Wrap replaces each Handler of the Mux by the Handler that f returns for it, for example
// to log or to authorize messages. That includes the [Fallback] and the Handlers that
// later options register. If there are several Wrap options, the Handler of the first one
// is called first.
func Wrap(f func(Handler) Handler) MuxOption {
	return func(m *Mux) { m.wraps = append(m.wraps, f) }
}

// Fallback makes h the Handler of messages for which no Handler is registered. Without
// Fallback, such a message is answered with a problem report.
func Fallback(h Handler) MuxOption {
	return func(m *Mux) {
		if m.fallback != nil {
			panic("agent: a second fallback")
		}
		m.fallback = h
	}
}

// Supports registers features that are not protocols, for example goal codes.
func Supports(features ...Feature) MuxOption {
	return func(m *Mux) { m.features = append(m.features, features...) }
}

// Features returns the registered protocols and features, and the headers that every agent
// of this package supports.
func (m *Mux) Features() []Feature { return slices.Clone(m.features) }

// HandleMessage calls the Handler for the type of the message. If none is registered, it
// calls the [Fallback]. If there is no Fallback, the error is a *message.Problem. Its
// code is "e.p.msg.unsupported.version" if another major version of the protocol is
// registered, or else "e.p.msg.unsupported". Its first argument is the type of the
// message, and its second argument lists the registered versions.
//
// A message that was not sent to us (Inbound.Addressed) is not handled, unless its protocol
// is Public. The error is then [ErrNotAddressed].
func (m *Mux) HandleMessage(ctx context.Context, w Responder, in *Inbound) error {
	if r := m.route(in.Message.Type); !in.Addressed && (r == nil || !r.public) {
		return ErrNotAddressed
	}
	h, _ := m.Lookup(in.Message.Type)
	return h.HandleMessage(ctx, w, in)
}

// Lookup returns the Handler for a message type, with the wrappers of [Wrap], and the type
// for which the Handler is registered. If no Handler is registered for the type, Lookup
// returns the fallback, which is never nil, and "".
func (m *Mux) Lookup(typ string) (h Handler, registered string) {
	if r := m.route(typ); r != nil {
		return r.handler, r.name
	}
	return m.fallback, ""
}

// Lane implements [Orderer]. It returns the PIURI of an ordered protocol, or "".
func (m *Mux) Lane(in *Inbound) string {
	if r := m.route(in.Message.Type); r != nil {
		return r.lane
	}
	return ""
}

// Custody implements [Custodian]. It reports whether the Handler for the type of the
// message is in Protocol.Custody.
func (m *Mux) Custody(in *Inbound) bool {
	r := m.route(in.Message.Type)
	return r != nil && r.custody
}

// route returns the route for a message type, or nil.
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

// refuse is the fallback if there is no option Fallback.
func (m *Mux) refuse(_ context.Context, _ Responder, in *Inbound) error {
	if isEmpty(in.Message) {
		return nil // the Agent has processed its headers
	}
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

// reports returns the route for Report Problem 2.0, or nil.
func (m *Mux) reports() *route {
	t, err := message.ParseType(problemReportType)
	if err != nil {
		return nil
	}
	return m.find(t)
}

// otherMajors returns the PIURIs of registered protocols that differ from that of t only in
// the major version. It returns none if the major version of t is registered too.
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
