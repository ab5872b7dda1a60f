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
// that nothing is registered for is a *message.Problem.
//
// A problem report of a protocol that is not registered, or that comes without
// such a message, is for the handler of Report Problem 2.0.
//
// A Mux does not change once NewMux has returned.
type Mux struct {
	exact    map[string]Handler // by the spelling registered
	messages []muxMessage
	features []Feature
}

type muxMessage struct {
	typ     message.TypeURI
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
}

// Feature is something that an agent supports and may disclose (Discover
// Features 2.0).
type Feature struct {
	Type  string // "protocol", "goal-code", "header" or another
	ID    string
	Roles []string // of a protocol
}

var _ Handler = (*Mux)(nil)

// NewMux makes a Mux. It panics if an option registers a type that is no message
// type URI, or one that is registered already, since that is a mistake in the
// program.
func NewMux(opts ...MuxOption) *Mux {
	m := &Mux{exact: make(map[string]Handler)}
	for _, header := range []string{"ack", "from_prior", "please_ack", "return_route"} {
		m.features = append(m.features, Feature{Type: "header", ID: header})
	}
	for _, opt := range opts {
		opt(m)
	}
	return m
}

// Handle registers the messages of a protocol, and the protocol as a feature.
func Handle(p Protocol) MuxOption {
	return func(m *Mux) {
		for _, typ := range slices.Sorted(maps.Keys(p.Messages)) {
			t, err := message.ParseType(typ)
			if err != nil {
				panic(fmt.Sprintf("agent: register %s: %v", typ, err))
			}
			if m.find(t) != nil {
				panic(fmt.Sprintf("agent: register %s: registered already", typ))
			}
			m.exact[typ] = p.Messages[typ]
			m.messages = append(m.messages, muxMessage{t, p.Messages[typ]})
		}
		m.features = append(m.features, Feature{Type: "protocol", ID: p.PIURI, Roles: p.Roles})
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
// second.
func (m *Mux) HandleMessage(ctx context.Context, w Responder, in *Inbound) error {
	typ := in.Message.Type
	if h, ok := m.exact[typ]; ok {
		return h.HandleMessage(ctx, w, in)
	}
	t, err := message.ParseType(typ)
	if h := m.find(t); err == nil && h != nil {
		return h.HandleMessage(ctx, w, in)
	}
	if h := m.reports(); isProblemReport(in.Message) && h != nil {
		return h.HandleMessage(ctx, w, in)
	}
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

func (m *Mux) find(t message.TypeURI) Handler {
	for i := range m.messages {
		if m.messages[i].typ.Matches(t) {
			return m.messages[i].handler
		}
	}
	return nil
}

// reports is the handler of Report Problem 2.0, nil if there is none.
func (m *Mux) reports() Handler {
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
