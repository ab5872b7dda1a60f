package home

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/didcomm-go/didcomm/agent/identity"
	"github.com/didcomm-go/didcomm/agent/keyring"
	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/did"
)

// mediations is the collection with a record of each Mediation, under the canonical DID of the
// mediator.
const mediations = "mediation"

// maxMediations bounds the mediators of a home.
const maxMediations = 100

// Mediation is what a home knows about a mediator of its agent.
type Mediation struct {
	// Mediator is the DID of the mediator.
	Mediator string `json:"mediator"`
	// Own is the DID of the home that is enrolled with the mediator. Nobody else learns it.
	Own string `json:"own"`
	// Invitation is the invitation of the mediator that the home has used, or empty.
	Invitation string `json:"invitation,omitzero"`
	// Routing is the routing DID that the mediator has granted. It is empty before.
	Routing string `json:"routing,omitzero"`
	// Local reports whether the mediator is on this machine.
	Local bool `json:"local,omitzero"`
	// Since is when the last agent with the mediator was started.
	Since time.Time `json:"since"`
}

// Mediation returns what the home knows about a mediator. For a new mediator, it makes the DID
// with which the home enrolls.
func (h *Home) Mediation(ctx context.Context, mediator string) (Mediation, error) {
	r, err := h.Store.Records().Get(ctx, mediations, did.Canonical(mediator))
	if err == nil {
		var m Mediation
		return m, json.Unmarshal(r.Value, &m)
	}
	if !errors.Is(err, store.ErrNotFound) {
		return Mediation{}, err
	}
	pair, err := identity.Generate(keyring.Ed25519)
	if err != nil {
		return Mediation{}, err
	}
	// Some agents do not answer a party whose document has no service.
	own, err := identity.Peer2(pair, did.QueueURI)
	if err != nil {
		return Mediation{}, err
	}
	if err := h.Keep(ctx, own); err != nil {
		return Mediation{}, err
	}
	m := Mediation{Mediator: mediator, Own: own.DID()}
	return m, h.KeepMediation(ctx, m)
}

// KeepMediation stores a Mediation.
func (h *Home) KeepMediation(ctx context.Context, m Mediation) error {
	key := did.Canonical(m.Mediator)
	r, err := h.Store.Records().Get(ctx, mediations, key)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	r = store.Record{Collection: mediations, Key: key, Version: r.Version, Limit: maxMediations}
	if r.Value, err = json.Marshal(m); err != nil {
		return err
	}
	_, err = h.Store.Records().Put(ctx, r)
	if errors.Is(err, store.ErrFull) {
		err = fmt.Errorf("the home has %d mediators already", maxMediations)
	}
	return err
}

// Mediations returns what the home knows about its mediators, in the order of Since.
func (h *Home) Mediations(ctx context.Context) ([]Mediation, error) {
	return mediationsOf(ctx, h.Store.Records())
}

func mediationsOf(ctx context.Context, records store.Records) ([]Mediation, error) {
	found, err := records.List(ctx, store.Query{Collection: mediations, N: maxMediations})
	if err != nil {
		return nil, fmt.Errorf("mediators: %w", err)
	}
	var list []Mediation
	for _, r := range found {
		var m Mediation
		if err := json.Unmarshal(r.Value, &m); err != nil {
			return nil, fmt.Errorf("record of the mediator %.200s: %w", r.Key, err)
		}
		list = append(list, m)
	}
	slices.SortStableFunc(list, func(a, b Mediation) int { return a.Since.Compare(b.Since) })
	return list, nil
}

// Via returns the Mediation of the agent that serves the home, or served it last. It is nil if
// that agent has an address of its own.
func (h *Home) Via(ctx context.Context) (*Mediation, error) {
	own, err := h.AgentDID(ctx)
	if own == "" || err != nil {
		return nil, err
	}
	list, err := h.Mediations(ctx)
	for _, m := range slices.Backward(list) {
		if m.Routing == "" {
			continue
		}
		if id, err := identity.Peer2(h.Pair, m.Routing); err != nil || id.DID() == own {
			return &m, err
		}
	}
	return nil, err
}
