// Package discover implements Discover Features 2.0 (DIDComm v2.1, Discover Features
// Protocol 2.0). With it, a party asks which protocols, goal codes and headers another
// party supports.
//
// Call [Ask] to ask another party. To answer such queries, pass [Handle] to [agent.NewMux]:
// the agent then discloses the protocols and other features of the Mux.
package discover

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/message"
)

// The URI of the protocol, and its message types.
const (
	PIURI        = "https://didcomm.org/discover-features/2.0"
	TypeQueries  = PIURI + "/queries"
	TypeDisclose = PIURI + "/disclose"
)

// Feature types of the specification, for Query.FeatureType.
const (
	Protocol = "protocol"
	GoalCode = "goal-code"
	Header   = "header"
)

// Query asks for the features of a type whose ids match a pattern.
type Query struct {
	FeatureType string `json:"feature-type"` // for example Protocol
	Match       string `json:"match"`        // the pattern, in which * stands for any text
}

// Disclosure is a feature that a party supports.
type Disclosure struct {
	FeatureType string   `json:"feature-type"`    // for example Protocol
	ID          string   `json:"id"`              // for example the URI of a protocol
	Roles       []string `json:"roles,omitempty"` // supported roles of a protocol; empty if not stated
}

// QueriesBody is the body of a message of type [TypeQueries].
type QueriesBody struct {
	Queries []Query `json:"queries"`
}

// DiscloseBody is the body of a message of type [TypeDisclose].
type DiscloseBody struct {
	Disclosures []Disclosure `json:"disclosures"`
}

// Filter reports whether to disclose a feature to the sender of in.
type Filter func(in *agent.Inbound, f agent.Feature) bool

// Limits of queries. A message with too many queries is a problem. A pattern that is too
// long matches nothing.
const (
	maxQueries = 100
	maxPattern = 1024
)

// Handler is an [agent.Handler] that answers queries.
type Handler struct {
	// Features returns the features of this agent. It is usually agent.Mux.Features.
	Features func() []agent.Feature
	// Filters are called for each feature. The feature is disclosed if all of them return
	// true.
	Filters []Filter
}

var _ agent.Handler = (*Handler)(nil)

// Handle registers a [Handler] in a Mux. The Handler discloses the features of this Mux
// that all filters allow.
func Handle(filters ...Filter) agent.MuxOption {
	return func(m *agent.Mux) {
		agent.Handle(agent.Protocol{
			PIURI: PIURI,
			Roles: []string{"requester", "responder"},
			Messages: map[string]agent.Handler{
				TypeQueries: &Handler{Features: m.Features, Filters: filters},
				// Ignores a disclosure that no Request waits for.
				TypeDisclose: agent.HandlerFunc(func(context.Context, agent.Responder, *agent.Inbound) error { return nil }),
			},
		})(m)
	}
}

// HandleMessage replies to queries with the matching features, which may be none. They
// are in random order (section Privacy Considerations, "Vary the order of items"). It
// returns a [*message.Problem] with code e.m.msg if the body is malformed or has more than
// 100 queries.
func (h *Handler) HandleMessage(ctx context.Context, w agent.Responder, in *agent.Inbound) error {
	var body QueriesBody
	if err := in.Message.DecodeBody(&body); err != nil {
		return message.NewProblem("e.m.msg", err)
	}
	if len(body.Queries) > maxQueries {
		return message.NewProblem("e.m.msg", fmt.Errorf("%d queries", len(body.Queries)))
	}
	answer := DiscloseBody{Disclosures: []Disclosure{}}
	for _, f := range h.Features() {
		asked := slices.ContainsFunc(body.Queries, func(q Query) bool { return q.FeatureType == f.Type && matches(q.Match, f.ID) })
		barred := slices.ContainsFunc(h.Filters, func(allow Filter) bool { return !allow(in, f) })
		if asked && !barred {
			answer.Disclosures = append(answer.Disclosures, Disclosure{FeatureType: f.Type, ID: f.ID, Roles: f.Roles})
		}
	}
	rand.Shuffle(len(answer.Disclosures), func(i, j int) {
		answer.Disclosures[i], answer.Disclosures[j] = answer.Disclosures[j], answer.Disclosures[i]
	})
	m, err := message.New(TypeDisclose, answer)
	if err != nil {
		return err
	}
	return w.Reply(ctx, m)
}

// matches reports whether s matches a pattern. It searches each part between two stars
// only once, after the end of the part before, so that the time is bounded by the product
// of the lengths.
func matches(pattern, s string) bool {
	if len(pattern) > maxPattern {
		return false
	}
	first, rest, star := strings.Cut(pattern, "*")
	if !star {
		return pattern == s
	}
	s, ok := strings.CutPrefix(s, first)
	if !ok {
		return false
	}
	parts := strings.Split(rest, "*")
	last := parts[len(parts)-1]
	for _, part := range parts[:len(parts)-1] {
		_, after, ok := strings.Cut(s, part)
		if !ok {
			return false
		}
		s = after
	}
	return strings.HasSuffix(s, last)
}

// Ask sends queries to a DID, and returns the features that are disclosed. A party may
// support a feature without disclosing it.
//
// Errors are those of [agent.Agent.Request]. The error matches [message.ErrInvalid] if the
// answer is not a valid disclosure.
func Ask(ctx context.Context, a *agent.Agent, to string, queries ...Query) ([]Disclosure, error) {
	m, err := message.New(TypeQueries, QueriesBody{Queries: slices.Clone(queries)})
	if err != nil {
		return nil, err
	}
	m.To = []string{to}
	in, err := a.Request(ctx, m)
	if err != nil {
		return nil, fmt.Errorf("discover features of %s: %w", to, err)
	}
	if !message.Is(in.Message, TypeDisclose) {
		return nil, fmt.Errorf("discover features of %s: %w: answered by a message of type %s", to, message.ErrInvalid, in.Message.Type)
	}
	var body DiscloseBody
	if err := in.Message.DecodeBody(&body); err != nil {
		return nil, fmt.Errorf("discover features of %s: %w", to, err)
	}
	return body.Disclosures, nil
}
