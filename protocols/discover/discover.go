// Package discover implements Discover Features 2.0 (DIDComm v2.1, Discover Features
// Protocol 2.0). With it, a party asks which protocols, goal codes and headers another
// party supports.
//
// Call [Ask] to ask another party. To answer such queries, pass [Handle] to [agent.NewMux]:
// the agent then discloses the protocols and other features of the Mux.
//
// Credo calls the answer "disclosures", as Aries RFC 0557 does. Ask takes both names. The
// agent answers by the name that the asking party is known to support, and answers again by
// the other name if the party reports that it does not support the first.
package discover

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/contact"
	"github.com/didcomm-go/didcomm/agent/message"
)

// The URI of the protocol, and its message types.
const (
	PIURI           = "https://didcomm.org/discover-features/2.0"
	TypeQueries     = PIURI + "/queries"
	TypeDisclose    = PIURI + "/disclose"
	TypeDisclosures = PIURI + "/disclosures" // TypeDisclose as Credo spells it
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

// DiscloseBody is the body of a message of type [TypeDisclose] or [TypeDisclosures].
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

	answered answered
}

var _ agent.Handler = (*Handler)(nil)

// Handle registers a [Handler] in a Mux, and its method Reported as a wrapper of all
// Handlers. The Handler discloses the features of this Mux that all filters allow.
func Handle(filters ...Filter) agent.MuxOption {
	// Ignores a disclosure that no Request waits for.
	ignored := agent.HandlerFunc(func(context.Context, agent.Responder, *agent.Inbound) error { return nil })
	return func(m *agent.Mux) {
		h := &Handler{Features: m.Features, Filters: filters}
		agent.Handle(agent.Protocol{
			PIURI: PIURI,
			Roles: []string{"requester", "responder"},
			Messages: map[string]agent.Handler{
				TypeQueries: h, TypeDisclose: ignored, TypeDisclosures: ignored,
			},
		})(m)
		agent.Wrap(h.Reported)(m)
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
	typ := h.spelling(ctx, w, in)
	m, err := message.New(typ, answer)
	if err != nil {
		return err
	}
	m.ID = message.NewID()
	if typ == TypeDisclose {
		h.answered.add(in, m.ID, answer)
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
// support a feature without disclosing it. If the party is known to have answered the same
// queries differently before, its contact.Dialect is forgotten.
//
// Errors are those of [agent.Agent.RequestAny]. The error matches [message.ErrInvalid] if the
// answer is not a valid disclosure.
func Ask(ctx context.Context, a *agent.Agent, to string, queries ...Query) ([]Disclosure, error) {
	m, err := message.New(TypeQueries, QueriesBody{Queries: slices.Clone(queries)})
	if err != nil {
		return nil, err
	}
	in, err := a.RequestAny(ctx, to, []*message.Message{m})
	if err != nil {
		return nil, fmt.Errorf("discover features of %s: %w", to, err)
	}
	typ := TypeDisclose
	switch {
	case message.Is(in.Message, TypeDisclose):
	case message.Is(in.Message, TypeDisclosures):
		typ = TypeDisclosures
	default:
		return nil, fmt.Errorf("discover features of %s: %w: answered by a message of type %s", to, message.ErrInvalid, in.Message.Type)
	}
	var body DiscloseBody
	if err := in.Message.DecodeBody(&body); err != nil {
		return nil, fmt.Errorf("discover features of %s: %w", to, err)
	}
	asked, disclosed := canonical(queries, body.Disclosures)
	a.Learn(ctx, in.Inbound, func(d *contact.Dialect) {
		d.Disclose(asked, disclosed)
		d.Spoke(in.PIURI)
		d.Spoke(typ)
	})
	return body.Disclosures, nil
}

// canonical returns texts of queries and of their answer, in which the order of features does
// not matter.
func canonical(queries []Query, answer []Disclosure) (asked, disclosed string) {
	q, d := make([]string, len(queries)), make([]string, len(answer))
	for i, query := range queries {
		q[i] = fmt.Sprintf("%q %q", query.FeatureType, query.Match)
	}
	for i, feature := range answer {
		d[i] = fmt.Sprintf("%q %q %q", feature.FeatureType, feature.ID, slices.Sorted(slices.Values(feature.Roles)))
	}
	slices.Sort(q)
	slices.Sort(d)
	return strings.Join(q, "\n"), strings.Join(d, "\n")
}
