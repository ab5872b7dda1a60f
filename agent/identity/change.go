package identity

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/did"
)

const (
	// removedKept is how long the record of an identity that was removed tells other
	// processes so.
	removedKept = 24 * time.Hour
	// maxTries bounds how often a record is changed that others change too.
	maxTries = 8
	// page is how many records are read at once.
	page = 500
)

// Add takes an identity in, for good. Its private keys must be in SetConfig.Keys already,
// under the names of Identity.Handles. If the Set has the DID, Add replaces its document,
// handles and settings. If nothing changes, nothing is written: a program may add its
// identities at each start.
//
// Errors besides those of the records and of SetConfig.Keys: ErrHandle if Keys does not
// have a private key of the identity; ErrShared; ErrRetired if the DID was retired.
func (s *Set) Add(ctx context.Context, id *Identity, settings Settings) error {
	for _, h := range id.handles {
		if err := s.check(ctx, id, h.Handle); err != nil {
			return err
		}
	}
	names, err := keyNames(id)
	if err != nil {
		return err
	}
	key := did.Canonical(id.DID())
	if err := s.shared(ctx, key, settings.Party, names); err != nil {
		return err
	}
	return s.change(ctx, key, func(old *stored) (*stored, []string, error) {
		next, err := newStored(id, settings)
		if err != nil {
			return nil, nil, err
		}
		next.Created = s.now()
		if old != nil && !old.Removed {
			if !old.Retired.IsZero() {
				return nil, nil, fmt.Errorf("%w: %.200s", ErrRetired, old.DID)
			}
			next.Created = old.Created
		}
		return next, names, nil
	})
}

// check holds that Keys has the private key of a handle.
func (s *Set) check(ctx context.Context, id *Identity, h Handle) error {
	var p Pair
	var err error
	if h.Use == ToAgree {
		p.Agree, err = s.cfg.Keys.KeyAgreement(ctx, h.Name)
	} else {
		p.Sign, err = s.cfg.Keys.Signer(ctx, h.Name)
	}
	switch {
	case errors.Is(err, envelope.ErrNoKey):
		return fmt.Errorf("%w: Keys has no key %.200s: %w", ErrHandle, h.Name, err)
	case err != nil:
		return fmt.Errorf("key %.200s: %w", h.Name, err)
	}
	if held, err := FromDocument(id.doc, p); err != nil || held.find(h.KID, h.Use) == nil {
		return fmt.Errorf("%w: Keys has another key under %.200s", ErrHandle, h.Name)
	}
	return nil
}

// shared fails if an identity of another party than that of key has a key of those names.
// The error does not name that identity: it may be another tenant's.
func (s *Set) shared(ctx context.Context, key, party string, names []string) error {
	for _, name := range names {
		list, err := s.cfg.Records.List(ctx, store.Query{Collection: collection, Index: name, N: 2})
		if err != nil {
			return fmt.Errorf("find identities by key: %w", err)
		}
		for _, r := range list {
			if r.Key == key {
				continue
			}
			if kept, err := parseStored(r); err != nil || party == "" || kept.Party != party {
				return fmt.Errorf("%w: %.200s", ErrShared, key)
			}
		}
	}
	return nil
}

// Retire ends the use of the identity that id names in any of its forms: from until on its
// keys are envelope.ErrNoKey, and its document does not resolve here. Until then the keys
// work, so that what is under way is opened. To retire it again changes until. The record
// stays, and no other identity can have its keys. Errors: store.ErrNotFound; those of the
// records.
func (s *Set) Retire(ctx context.Context, id string, until time.Time) error {
	key := did.Canonical(id)
	return s.change(ctx, key, func(old *stored) (*stored, []string, error) {
		if old == nil || old.Removed {
			return nil, nil, fmt.Errorf("%w: %.200s", store.ErrNotFound, key)
		}
		next := *old
		if next.Retired.IsZero() {
			next.Retired = s.now()
		}
		next.Until = until.Round(0).UTC()
		return &next, nil, nil
	})
}

// Remove forgets the identity that id names in any of its forms, at once. The private keys
// stay where they are. Errors: store.ErrNotFound; those of the records.
func (s *Set) Remove(ctx context.Context, id string) error {
	key := did.Canonical(id)
	return s.change(ctx, key, func(old *stored) (*stored, []string, error) {
		if old == nil || old.Removed {
			return nil, nil, fmt.Errorf("%w: %.200s", store.ErrNotFound, key)
		}
		return &stored{DID: old.DID, Removed: true}, nil, nil
	})
}

// now is a time as it is stored.
func (s *Set) now() time.Time { return s.cfg.Now().Round(0).UTC() }

// change puts the record of key as next makes it of what is there, nil if there is none,
// and brings it into the index. Names, if not nil, are those of the keys from then on.
func (s *Set) change(ctx context.Context, key string, next func(old *stored) (*stored, []string, error)) error {
	if err := s.take(ctx); err != nil {
		return err
	}
	defer s.give()
	for range maxTries {
		before, err := s.cfg.Records.Get(ctx, collection, key)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return fmt.Errorf("identity %.200s: %w", key, err)
		}
		var old *stored
		if err == nil {
			if old, err = parseStored(before); err != nil {
				return err
			}
		}
		changed, names, err := next(old)
		if err != nil {
			return err
		}
		err = s.put(ctx, before, old, changed, names)
		if !errors.Is(err, store.ErrVersion) {
			return err
		}
	}
	return fmt.Errorf("identity %.200s: %w", key, store.ErrVersion)
}

// put puts changed in place of the record before.
func (s *Set) put(ctx context.Context, before store.Record, old, changed *stored, names []string) error {
	var expires time.Time
	check := names != nil
	switch {
	case changed.Removed:
		expires = s.now().Add(removedKept)
	case names == nil:
		names = before.Index
	}
	if old != nil {
		changed.Changed = old.Changed
		if same, err := changed.record(0, nil, time.Time{}); err == nil && bytes.Equal(same.Value, before.Value) {
			return nil
		}
	}
	changed.Changed = s.now()
	r, err := changed.record(before.Version, names, expires)
	if err != nil {
		return err
	}
	if r.Version, err = s.cfg.Records.Put(ctx, r); err != nil {
		return fmt.Errorf("identity %.200s: %w", r.Key, err)
	}
	if check {
		// Of two processes that add a key at the same time, both have put it by now, and the
		// later one to look sees the other.
		if err := s.shared(ctx, r.Key, changed.Party, names); err != nil {
			return errors.Join(err, s.withdraw(context.WithoutCancel(ctx), r, before, old))
		}
	}
	s.apply([]store.Record{r})
	return nil
}

// withdraw puts what was there before in place of r.
func (s *Set) withdraw(ctx context.Context, r, before store.Record, old *stored) error {
	if old == nil {
		gone := &stored{DID: r.Key, Removed: true, Changed: s.now()}
		var err error
		if before, err = gone.record(0, nil, s.now().Add(removedKept)); err != nil {
			return err
		}
	}
	before.Version = r.Version
	if _, err := s.cfg.Records.Put(ctx, before); err != nil {
		return fmt.Errorf("withdraw identity %.200s: %w", r.Key, err)
	}
	return nil
}

// Get returns the identity that id names in any of its forms, also one whose time is over.
// Errors: store.ErrNotFound; those of the records.
func (s *Set) Get(ctx context.Context, id string) (Member, error) {
	r, err := s.cfg.Records.Get(ctx, collection, did.Canonical(id))
	if err != nil {
		return Member{}, fmt.Errorf("identity %.200s: %w", id, err)
	}
	kept, err := parseStored(r)
	if err != nil {
		return Member{}, err
	}
	if kept.Removed {
		return Member{}, fmt.Errorf("identity %.200s: %w", id, store.ErrNotFound)
	}
	return kept.member(r.Version), nil
}

// List returns the identities that were changed after a version, at most n of them, in the
// order of their last change; retired ones, too. The first call has after 0, the next one
// the Version of the last identity; there are no more when there are fewer than n. Errors
// are those of the records.
func (s *Set) List(ctx context.Context, after uint64, n int) ([]Member, error) {
	var members []Member
	for len(members) < n {
		limit := min(n-len(members), page)
		list, err := s.cfg.Records.List(ctx, store.Query{Collection: collection, After: after, N: limit})
		if err != nil {
			return nil, fmt.Errorf("list identities: %w", err)
		}
		for _, r := range list {
			after = r.Version
			kept, err := parseStored(r)
			if err != nil {
				return nil, err
			}
			if !kept.Removed {
				members = append(members, kept.member(r.Version))
			}
		}
		if len(list) < limit {
			break
		}
	}
	return members, nil
}
