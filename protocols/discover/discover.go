// Package discover implements Discover Features 2.0 (DIDComm v2.1, Discover
// Features Protocol 2.0): which protocols, goal codes and headers a party
// supports.
//
// Register Handle, and the agent discloses what is registered with the same Mux.
// Call Ask to ask another.
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

// The protocol and its messages.
const (
	PIURI        = "https://didcomm.org/discover-features/2.0"
	TypeQueries  = PIURI + "/queries"
	TypeDisclose = PIURI + "/disclose"
)

// Feature types that every agent knows.
const (
	Protocol = "protocol"
	GoalCode = "goal-code"
	Header   = "header"
)

// Query asks for features of one type whose id matches a pattern, in which *
// stands for any text.
type Query struct {
	FeatureType string `json:"feature-type"`
	Match       string `json:"match"`
}

// Disclosure is a feature that a party says it supports.
type Disclosure struct {
	FeatureType string   `json:"feature-type"`
	ID          string   `json:"id"`
	Roles       []string `json:"roles,omitempty"` // of a protocol; none says nothing about roles
}

// QueriesBody is the body of queries.
type QueriesBody struct {
	Queries []Query `json:"queries"`
}

// DiscloseBody is the body of disclose.
type DiscloseBody struct {
	Disclosures []Disclosure `json:"disclosures"`
}

// Filter decides whether the sender of in may learn of a feature.
type Filter func(in *agent.Inbound, f agent.Feature) bool

// Limits of a query. What is beyond them is not answered.
const (
	maxQueries = 100
	maxPattern = 1024
)

// Handler answers queries.
type Handler struct {
	// Features lists what there is to disclose; usually agent.Mux.Features.
	Features func() []agent.Feature
	// Filters must all agree to a disclosure.
	Filters []Filter
}

var _ agent.Handler = (*Handler)(nil)

// Handle registers a Handler that discloses what the Mux has, as far as the
// filters let it.
func Handle(filters ...Filter) agent.MuxOption {
	return func(m *agent.Mux) {
		agent.Handle(agent.Protocol{
			PIURI: PIURI,
			Roles: []string{"requester", "responder"},
			Messages: map[string]agent.Handler{
				TypeQueries: &Handler{Features: m.Features, Filters: filters},
				// One that nobody asked for, or waits for any more.
				TypeDisclose: agent.HandlerFunc(func(context.Context, agent.Responder, *agent.Inbound) error { return nil }),
			},
		})(m)
	}
}

// HandleMessage answers queries, with no disclosures if nothing matches, and in
// an order that tells nothing (Vary the order of items).
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

// matches reports whether s has the form of a pattern. Each part between two
// stars is looked for once, from where the one before it ended, so that the time
// is bounded by the product of the lengths.
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

// Ask asks a DID for its features and returns those that it discloses. No
// disclosure does not mean no support.
//
// Errors are those of agent.Agent.Request, and message.ErrInvalid for an answer
// that is none.
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
