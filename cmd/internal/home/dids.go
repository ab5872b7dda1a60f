package home

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/didcomm-go/didcomm/agent/identity"
	"github.com/didcomm-go/didcomm/agent/keyring"
	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/agent/store/sqlstore"
	"github.com/didcomm-go/didcomm/did"
)

// agentParty is the identity.Settings.Party of the DIDs of Home.Serve. They have the same
// keys, and peers may know that they belong together.
const agentParty = "agent"

// fresh is how long a process may work with DIDs that another process has changed.
const fresh = 250 * time.Millisecond

// newSet makes the Set of the DIDs in a store. Without a ring the Set has no keys.
func (c Config) newSet(ctx context.Context, s *sqlstore.Store, ring *keyring.Sealed) (*identity.Set, error) {
	cfg := identity.SetConfig{Records: s.Records(), Keys: keyring.New(), Fresh: fresh, Logger: c.Logger}
	if ring != nil {
		cfg.Keys = newLender(ring)
	}
	return identity.NewSet(ctx, cfg)
}

// Keep adds a new DID with its private keys, which no other DID has, to the home. When Keep
// returns, each agent that runs on the home answers for the DID. It is an error if the home
// has the DID already.
func (h *Home) Keep(ctx context.Context, id *identity.Identity) error {
	_, err := h.Set.Get(ctx, id.DID())
	if err == nil {
		return fmt.Errorf("%s is in this home already; see didcomm did list", id.DID())
	}
	if !errors.Is(err, store.ErrNotFound) {
		return err
	}
	keys, err := id.Keyring()
	if err != nil {
		return err
	}
	if err := h.Ring.AddAll(ctx, keys); err != nil {
		return err
	}
	if err := h.Set.Add(ctx, id, identity.Settings{Party: did.Canonical(id.DID())}); err != nil {
		for _, kid := range keys.KIDs() {
			err = errors.Join(err, h.Ring.Delete(context.WithoutCancel(ctx), kid))
		}
		return err
	}
	h.checkpoint(ctx)
	return h.cfg.known(ctx)
}

// checkpoint makes a copy of agent.db alone have the keys and the DIDs of the home.
func (h *Home) checkpoint(ctx context.Context) {
	if err := h.Store.Checkpoint(ctx); err != nil && h.cfg.Logger != nil {
		h.cfg.Logger.Warn("a copy of the database file alone would not have the last keys yet; use didcomm backup", "error", err)
	}
}

// known waits until each agent that runs on the home knows of a change of its DIDs.
func (c Config) known(ctx context.Context) error {
	served := true // on a shared database an agent may run
	var err error
	if c.URL == "" {
		served, err = Served(c.Dir)
	}
	if err != nil || !served {
		return err
	}
	select {
	case <-time.After(fresh):
	case <-ctx.Done():
	}
	return nil
}

// State is what a DID of a home is for.
type State string

// The states of a DID.
const (
	// InUse is the state of the DID of Home.Serve. On a shared database, each agent that runs
	// has one.
	InUse State = "in use"
	// Former is the state of earlier DIDs of Home.Serve. Messages to them are still opened.
	Former State = "former"
	// Own is the state of the DIDs of Home.Keep.
	Own State = "own"
	// Enrolled is the state of the DIDs that are enrolled with a mediator (Home.Mediation).
	Enrolled State = "enrolled"
	// Retired is the state of DIDs that were retired. Messages to them are opened until
	// DID.Until.
	Retired State = "retired"
)

// DID is a DID of a home.
type DID struct {
	ID      string
	State   State
	Created time.Time
	Until   time.Time // of a Retired one
}

// DIDs are the DIDs of a home, to see and to retire, also while it is served. Close it.
type DIDs struct {
	store *sqlstore.Store
	set   *identity.Set
	cfg   Config
}

// OpenDIDs opens the DIDs of a home, without its keys.
func OpenDIDs(ctx context.Context, cfg Config) (*DIDs, error) {
	s, err := cfg.openOld(ctx)
	if err != nil {
		return nil, err
	}
	set, err := cfg.newSet(ctx, s, nil)
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return &DIDs{s, set, cfg}, nil
}

// Close closes the store.
func (d *DIDs) Close() error { return d.store.Close() }

// Records returns the records of the home.
func (d *DIDs) Records() store.Records { return d.store.Records() }

// List returns all DIDs, the oldest first.
func (d *DIDs) List(ctx context.Context) ([]DID, error) {
	used, err := d.inUse(ctx)
	if err != nil {
		return nil, err
	}
	enrolled, err := d.enrolled(ctx)
	if err != nil {
		return nil, err
	}
	var list []DID
	const page = 500
	for after, more := uint64(0), true; more; {
		members, err := d.set.List(ctx, after, page)
		if err != nil {
			return nil, err
		}
		more = len(members) == page
		for _, m := range members {
			after = m.Version
			entry := DID{ID: m.DID, State: Own, Created: m.Created, Until: m.Until}
			switch {
			case !m.Retired.IsZero():
				entry.State = Retired
			case used(m):
				entry.State = InUse
			case m.Settings.Party == agentParty:
				entry.State = Former
			case enrolled[m.DID]:
				entry.State = Enrolled
			}
			list = append(list, entry)
		}
	}
	slices.SortFunc(list, func(a, b DID) int { return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.ID, b.ID)) })
	return slices.CompactFunc(list, func(a, b DID) bool { return a.ID == b.ID }), nil // one that was changed meanwhile
}

// Retire ends the use of a DID: messages to it are opened until a time. It is an error if the
// DID is InUse or Enrolled, or not of the home. Retire returns the DID, of a did:peer:4 the long form,
// when each agent that runs on the home knows of the end.
func (d *DIDs) Retire(ctx context.Context, id string, until time.Time) (string, error) {
	m, err := d.set.Get(ctx, id)
	if errors.Is(err, store.ErrNotFound) {
		return "", fmt.Errorf("%s is no DID of this home; see didcomm did list", id)
	}
	if err != nil {
		return "", err
	}
	used, err := d.inUse(ctx)
	if err != nil {
		return "", err
	}
	if used(m) {
		return "", fmt.Errorf("%s is the DID of the agent; first start didcomm serve with another --public-url, --listen, --did or --via", m.DID)
	}
	enrolled, err := d.enrolled(ctx)
	if err != nil {
		return "", err
	}
	if enrolled[m.DID] {
		return "", fmt.Errorf("%s is enrolled with a mediator of the agent", m.DID)
	}
	if err := d.set.Retire(ctx, m.DID, until); err != nil {
		return "", err
	}
	return m.DID, d.cfg.known(ctx)
}

// inUse returns a function that tells whether an identity of the Set is InUse.
func (d *DIDs) inUse(ctx context.Context) (func(identity.Member) bool, error) {
	list, err := servings(ctx, d.store.Records())
	if err != nil {
		return nil, err
	}
	used := inUse(list, time.Now())
	return func(m identity.Member) bool {
		return used[m.DID] || len(list) == 0 && m.Settings.Party == agentParty // the one of Home.Sender
	}, nil
}

// enrolled returns the DIDs that are Enrolled.
func (d *DIDs) enrolled(ctx context.Context) (map[string]bool, error) {
	list, err := mediationsOf(ctx, d.store.Records())
	dids := map[string]bool{}
	for _, m := range list {
		dids[m.Own] = true
	}
	return dids, err
}
