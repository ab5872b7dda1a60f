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

// agentParty is the identity.Settings.Party of the DIDs that the agent was served by. They
// have the same keys, and peers may know that they belong together.
const agentParty = "agent"

// fresh is how long a process may not know what another one has changed of the DIDs.
const fresh = 250 * time.Millisecond

// newSet makes the Set of the DIDs in a store.
func (c Config) newSet(ctx context.Context, s *sqlstore.Store, ring *keyring.Sealed) (*identity.Set, error) {
	cfg := identity.SetConfig{Records: s.Records(), Keys: keyring.New(), Fresh: fresh, Logger: c.Logger}
	if ring != nil {
		cfg.Keys = newLender(ring)
	}
	return identity.NewSet(ctx, cfg)
}

// Keep adds a new DID, with its private keys, to the home. The DID must have keys of its own.
// When Keep returns, each agent that runs on the home answers for the DID. A DID that the
// home has already is an error.
func (h *Home) Keep(ctx context.Context, id *identity.Identity) error {
	_, err := h.DIDs.Get(ctx, id.DID())
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
	if err := h.DIDs.Add(ctx, id, identity.Settings{Party: did.Canonical(id.DID())}); err != nil {
		for _, kid := range keys.KIDs() {
			err = errors.Join(err, h.Ring.Delete(context.WithoutCancel(ctx), kid))
		}
		return err
	}
	return h.cfg.known(ctx)
}

// known waits until each agent that runs on the home knows of a change of its DIDs.
func (c Config) known(ctx context.Context) error {
	served := true // in a shared database an agent may be
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
	// InUse is the DID that the agent goes by, or has gone by last. In a shared database it
	// is that of each agent that runs.
	InUse State = "in use"
	// Former is a DID that the agent has gone by before. It still opens what is sent to it.
	Former State = "former"
	// Own is another DID of the home, as did create makes it.
	Own State = "own"
	// Retired is a DID that is not used any more, and opens nothing after DID.Until.
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

// List returns all DIDs, those that were made first at the beginning.
func (d *DIDs) List(ctx context.Context) ([]DID, error) {
	used, err := d.inUse(ctx)
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
			}
			list = append(list, entry)
		}
	}
	slices.SortFunc(list, func(a, b DID) int { return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.ID, b.ID)) })
	return slices.CompactFunc(list, func(a, b DID) bool { return a.ID == b.ID }), nil // one that was changed meanwhile
}

// Retire ends the use of a DID at a time, until when messages to it are opened. The DID that
// the agent goes by cannot be retired. Retire returns the DID in the form in which it is
// kept, when each agent that runs on the home knows.
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
		return "", fmt.Errorf("the agent of this home goes by %s; first start didcomm serve with another --public-url, --listen or --did", m.DID)
	}
	if err := d.set.Retire(ctx, m.DID, until); err != nil {
		return "", err
	}
	return m.DID, d.cfg.known(ctx)
}

// inUse tells which identities of the Set are InUse.
func (d *DIDs) inUse(ctx context.Context) (func(identity.Member) bool, error) {
	list, err := servings(ctx, d.store.Records())
	if err != nil {
		return nil, err
	}
	used := inUse(list, time.Now())
	return func(m identity.Member) bool {
		return used[m.DID] || len(list) == 0 && m.Settings.Party == agentParty // that of Home.Sender
	}, nil
}
