package mediator

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"

	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/did"
)

// Change says what Register or Deregister has changed.
type Change struct {
	// Changed is false if the DID was registered already, or was not registered.
	Changed bool
	// Loser is the account that has lost the DID to a proof, or empty. It has to be told.
	Loser string
}

// Register registers a recipient for the account of a device. proven says that the request
// has a proof of the recipient's own key: a signature, a message of the recipient itself, or
// a from_prior by which a recipient of the account rotates to the DID.
//
// Errors are ErrNotEnrolled, ErrBlocked, ErrTaken, ErrRecipient, a *LimitError and those of
// the store.
func (m *Mediator) Register(ctx context.Context, device, recipient string, proven bool) (Change, error) {
	a, err := m.Account(ctx, device)
	if err != nil {
		return Change{}, err
	}
	name := Name(recipient)
	if _, err := did.Parse(did.Base(recipient)); err != nil || len(recipient) > m.cfg.Limits.MaxDID {
		return Change{}, ErrRecipient
	}
	if name == Name(m.cfg.DID) || m.cfg.Ours != nil && m.cfg.Ours(ctx, recipient) {
		return Change{}, ErrRecipient
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	switch other, err := m.Account(ctx, recipient); {
	case err == nil && other.ID == a.ID:
		return Change{}, nil
	case err == nil, errors.Is(err, ErrBlocked):
		return Change{}, ErrTaken
	case !errors.Is(err, ErrNotEnrolled):
		return Change{}, err
	}
	var old registration
	r, err := m.get(ctx, recipients, name, &old)
	var loser string
	switch {
	case errors.Is(err, ErrNotEnrolled):
	case err != nil:
		return Change{}, err
	case old.Account == a.ID && (old.Proven || !proven):
		return Change{}, nil
	case old.Account != a.ID && (old.Proven || !proven):
		return Change{}, ErrTaken
	case old.Account != a.ID:
		loser = old.Account
	}
	fresh := registration{Account: a.ID, DID: recipient, Since: m.cfg.Now(), Proven: proven}
	if _, err := m.records().Put(ctx, record(recipients, name, fresh, r.Version, a.ID)); err != nil {
		if errors.Is(err, store.ErrVersion) {
			return Change{}, ErrTaken
		}
		return Change{}, fmt.Errorf("mediator: register: %w", err)
	}
	return Change{Changed: old.Account != a.ID, Loser: loser}, nil
}

// Deregister ends the registration of a recipient by the account of a device. Errors are
// ErrNotEnrolled, ErrBlocked and those of the store.
func (m *Mediator) Deregister(ctx context.Context, device, recipient string) (Change, error) {
	a, err := m.Account(ctx, device)
	if err != nil {
		return Change{}, err
	}
	var old registration
	r, err := m.get(ctx, recipients, Name(recipient), &old)
	if errors.Is(err, ErrNotEnrolled) || err == nil && old.Account != a.ID {
		return Change{}, nil
	}
	if err == nil {
		err = m.records().Delete(ctx, recipients, r.Key, r.Version)
	}
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return Change{}, fmt.Errorf("mediator: deregister: %w", err)
	}
	return Change{Changed: err == nil}, nil
}

// Recipients returns the DIDs that the account of a device has registered, as the account
// spells them: n DIDs after the first offset, in the order of registration, and how many
// there are. Errors are ErrNotEnrolled, ErrBlocked and those of the store.
func (m *Mediator) Recipients(ctx context.Context, device string, offset, n int) (ids []string, total int, err error) {
	a, err := m.Account(ctx, device)
	if err != nil {
		return nil, 0, err
	}
	var all []registration
	for after, page := uint64(0), 500; ; {
		list, err := m.records().List(ctx, store.Query{Collection: recipients, Index: a.ID, After: after, N: page})
		if err != nil {
			return nil, 0, fmt.Errorf("mediator: recipients: %w", err)
		}
		for _, r := range list {
			after = r.Version
			var reg registration
			if json.Unmarshal(r.Value, &reg) == nil {
				all = append(all, reg)
			}
		}
		if len(list) < page {
			break
		}
	}
	slices.SortFunc(all, func(a, b registration) int {
		if c := a.Since.Compare(b.Since); c != 0 {
			return c
		}
		return strings.Compare(a.DID, b.DID)
	})
	for i, r := range all {
		if i >= offset && len(ids) < n {
			ids = append(ids, r.DID)
		}
	}
	return ids, len(all), nil
}
