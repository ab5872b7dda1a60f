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
	// removedKept is how long the record of a removed identity is kept, so that other
	// processes see that the identity was removed.
	removedKept = 24 * time.Hour
	// maxTries bounds the attempts to change a record that other processes change too.
	maxTries = 8
	// page is how many records are read at once.
	page = 500
)

// Add adds an identity and keeps it in the records. The private keys must be in SetConfig.Keys
// already, under the names of Identity.Handles. If the Set has the DID, Add replaces the
// document, the handles and the settings. If nothing changes, Add writes nothing, so a program
// may add its identities at each start.
//
// Errors are those of the records and of SetConfig.Keys, and these:
//
//   - ErrHandle if SetConfig.Keys lacks a private key of the identity;
//   - ErrShared if an identity of another party has the same key;
//   - ErrRetired if the identity was retired.
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

// check fails if SetConfig.Keys lacks the private key of a handle.
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

// Retire lets an identity end at the time until. From then on its keys are
// envelope.ErrNoKey, and Resolve does not find its document. Before that, the identity still
// works, so that messages which are on their way can be opened. A second call changes until.
// Get and List still return an identity that has ended, and no other party can use its keys.
//
// id is the DID; it may be the long or the short form of a did:peer:4. Errors:
// store.ErrNotFound if the Set does not have the identity; those of the records.
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

// Remove removes an identity at once. It does not delete the private keys. id is the DID; it
// may be the long or the short form of a did:peer:4. Errors: store.ErrNotFound if the Set does
// not have the identity; those of the records.
func (s *Set) Remove(ctx context.Context, id string) error {
	key := did.Canonical(id)
	return s.change(ctx, key, func(old *stored) (*stored, []string, error) {
		if old == nil || old.Removed {
			return nil, nil, fmt.Errorf("%w: %.200s", store.ErrNotFound, key)
		}
		return &stored{DID: old.DID, Removed: true}, nil, nil
	})
}

// now returns the time in the form in which it is stored.
func (s *Set) now() time.Time { return s.cfg.Now().Round(0).UTC() }

// change changes the record of key, and the index. next returns the new value for the old
// value, which is nil if there is no record. next also returns the index names of the keys;
// if they are nil, the names stay as they are.
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

// put replaces the record before. It writes nothing if the value is the same.
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
		// Two processes may add the same key at the same time. Each puts its record before it
		// looks here, so at least one of them sees the record of the other.
		if err := s.shared(ctx, r.Key, changed.Party, names); err != nil {
			return errors.Join(err, s.withdraw(context.WithoutCancel(ctx), r, before, old))
		}
	}
	s.apply([]store.Record{r})
	return nil
}

// withdraw puts the former value in place of r.
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

// Get returns an identity from the records, even if the identity has ended. id is the DID; it
// may be the long or the short form of a did:peer:4. Errors: store.ErrNotFound if the Set does
// not have the identity; those of the records.
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

// List returns at most n identities from the records, in the order of their last changes. It
// includes identities that have ended. For the first page, after is 0. For each further page,
// after is the Version of the last identity so far. A page of fewer than n identities is the
// last one. List leaves out a record that is damaged, and logs it. Errors are those of the
// records.
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
				s.damaged(err)
				continue
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
