package mediator

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/didcomm-go/didcomm/agent/store"
)

// Accounts returns at most n accounts, also blocked ones, for an operator. They are in the order in
// which they changed last. after is empty, or the next of the page before; next is empty on the last
// page. Errors are those of the store.
func (m *Mediator) Accounts(ctx context.Context, after uint64, n int) (list []Account, next uint64, err error) {
	for len(list) < n {
		page, err := m.records().List(ctx, store.Query{Collection: accounts, After: after, N: n - len(list)})
		if err != nil {
			return nil, 0, fmt.Errorf("mediator: %w", err)
		}
		for _, r := range page {
			after = r.Version
			var a Account
			if err := read(r, &a); err != nil {
				return nil, 0, err
			}
			if a.Gone.IsZero() {
				list = append(list, a)
			}
		}
		if len(page) == 0 {
			return list, 0, nil
		}
	}
	return list, after, nil
}

// Details are an account with all that an operator may want to know.
type Details struct {
	Account
	Registered []string              // the DIDs of its recipients, as the account spells them
	Boxes      []store.MailboxStatus // of its devices, in their order
}

// Show returns an account by its ID or by one of its DIDs, also if it is blocked. Errors are ErrNotEnrolled
// and those of the store.
func (m *Mediator) Show(ctx context.Context, id string) (*Details, error) {
	a, err := m.find(ctx, id)
	if err != nil {
		return nil, err
	}
	d := &Details{Account: *a}
	all, err := m.recipients(ctx, a.ID)
	if err != nil {
		return nil, err
	}
	for _, e := range all {
		d.Registered = append(d.Registered, e.DID)
	}
	for _, box := range a.boxes() {
		s, err := m.cfg.Mailbox.Status(ctx, box)
		if err != nil {
			return nil, fmt.Errorf("mediator: %w", err)
		}
		d.Boxes = append(d.Boxes, s)
	}
	return d, nil
}

// Block blocks an account, by its ID or by one of its DIDs: nothing is accepted for the account or given to
// it, and its devices cannot enroll again. The mail in its boxes stays until it expires. Errors are
// ErrNotEnrolled and those of the store.
func (m *Mediator) Block(ctx context.Context, id string) error {
	return m.setBlocked(ctx, id, m.cfg.Now())
}

// Unblock ends a block. Errors are ErrNotEnrolled and those of the store.
func (m *Mediator) Unblock(ctx context.Context, id string) error {
	return m.setBlocked(ctx, id, time.Time{})
}

func (m *Mediator) setBlocked(ctx context.Context, id string, at time.Time) error {
	a, err := m.find(ctx, id)
	if err != nil {
		return err
	}
	return m.change(ctx, a.ID, func() (*store.Changes, error) {
		a, err := m.account(ctx, a.ID)
		if err != nil || a.Blocked.IsZero() == at.IsZero() {
			return nil, err
		}
		a.Blocked = at
		return &store.Changes{Put: []store.Record{a.record()}}, nil
	})
}

// Purged is what Purge has removed, or would remove.
type Purged struct {
	Account             string
	Devices, Recipients int
	Packets             int   // in the boxes of all devices
	Bytes               int64 // of these packets
}

// Purge removes an account, by its ID or by one of its DIDs, with its recipients, capabilities and mail.
// A blocked account stays, without these, so that its devices cannot enroll again. With dryRun,
// Purge removes nothing. If Purge fails or is cut off, the account has ended nevertheless, and
// another call with its ID removes the rest. Errors are ErrNotEnrolled, a *LimitError with LimitMoving,
// and those of the store.
func (m *Mediator) Purge(ctx context.Context, id string, dryRun bool) (Purged, error) {
	a, err := m.find(ctx, id)
	if errors.Is(err, ErrNotEnrolled) {
		a, err = m.anyAccount(ctx, id)
	}
	if err != nil {
		return Purged{}, err
	}
	p := Purged{Account: a.ID, Devices: len(a.Devices), Recipients: a.Recipients}
	for _, box := range a.boxes() {
		s, err := m.cfg.Mailbox.Status(ctx, box)
		if err != nil {
			return Purged{}, fmt.Errorf("mediator: %w", err)
		}
		p.Packets += s.Count
		p.Bytes += s.Bytes
	}
	if dryRun {
		return p, nil
	}
	if err := m.settled(ctx, a); err != nil {
		return Purged{}, err
	}
	p.Packets, err = m.end(ctx, a.ID)
	return p, err
}

// end ends an account, or empties a blocked one. It returns how many packets it has removed.
func (m *Mediator) end(ctx context.Context, id string) (int, error) {
	err := m.change(ctx, id, func() (*store.Changes, error) {
		a, err := m.anyAccount(ctx, id)
		if err != nil || !a.Gone.IsZero() || !a.Blocked.IsZero() {
			return nil, err
		}
		return m.ending(ctx, a)
	})
	if err != nil {
		return 0, err
	}
	return m.clean(ctx, id)
}

// ending returns the changes that end an account. Then call clean. The error is a *LimitError
// with LimitMoving if the account has lost a DID whose mail is still moving.
func (m *Mediator) ending(ctx context.Context, a *Account) (*store.Changes, error) {
	if !a.Lost.IsZero() { // since settled has looked
		return nil, &LimitError{Limit: LimitMoving, RetryAfter: grace}
	}
	a.Gone = m.cfg.Now()
	c := &store.Changes{Put: []store.Record{a.record()}}
	for _, d := range a.Devices {
		if e, err := m.entry(ctx, d.Name); err == nil {
			c.Delete = append(c.Delete, e.record(d.Name))
		} else if !errors.Is(err, ErrNotEnrolled) {
			return nil, err
		}
	}
	return c, nil
}

// clean removes what an account has that has ended, or that is blocked: recipients, lists,
// capabilities and mail. Nothing new comes meanwhile.
func (m *Mediator) clean(ctx context.Context, id string) (int, error) {
	a, err := m.anyAccount(ctx, id)
	if err != nil {
		return 0, err
	}
	for _, collection := range []string{recipients, lists, filters, capabilities} {
		err := m.each(ctx, collection, a.ID, func(r store.Record) error {
			if collection == recipients && !a.Blocked.IsZero() {
				var e entry
				if err := read(r, &e); err != nil || e.Device {
					return err
				}
			}
			err := m.records().Delete(ctx, collection, r.Key, r.Version)
			if err != nil && !errors.Is(err, store.ErrNotFound) && !errors.Is(err, store.ErrVersion) {
				return fmt.Errorf("mediator: %w", err)
			}
			return nil
		})
		if err != nil {
			return 0, err
		}
	}
	packets := 0
	for _, box := range a.boxes() {
		n, err := m.cfg.Mailbox.Purge(ctx, box)
		if packets += n; err != nil {
			return packets, fmt.Errorf("mediator: %w", err)
		}
	}
	return packets, m.change(ctx, a.ID, func() (*store.Changes, error) {
		a, err := m.anyAccount(ctx, id)
		if err != nil {
			return nil, err
		}
		a.Recipients, a.Senders = 0, Filter{}
		r := a.record()
		if !a.Gone.IsZero() { // other processes see the end meanwhile
			r.Expires = time.Now().Add(time.Minute)
		}
		return &store.Changes{Put: []store.Record{r}}, nil
	})
}

// Stats are the figures of a mediator.
type Stats struct {
	Accounts, Blocked, Devices int
	Recipients                 int // registered
	Boxes                      int // with mail
	Packets                    int // in all boxes, those of blocked accounts included
	Bytes                      int64
	Oldest                     time.Time // when the oldest packet came; zero if there is none
	// Delivered is how many packets were given to their device, and not acknowledged.
	Delivered int
}

// Stats counts all accounts and boxes. Their number is the cost. Errors are those of the store.
func (m *Mediator) Stats(ctx context.Context) (Stats, error) {
	var s Stats
	err := m.each(ctx, accounts, "", func(r store.Record) error {
		var a Account
		if err := read(r, &a); err != nil || !a.Gone.IsZero() {
			return err
		}
		s.Accounts++
		s.Devices += len(a.Devices)
		s.Recipients += a.Recipients
		if !a.Blocked.IsZero() {
			s.Blocked++
		}
		return nil
	})
	if err != nil {
		return Stats{}, err
	}
	const page = 500
	for after := ""; ; {
		list, err := m.cfg.Mailbox.Boxes(ctx, after, page)
		if err != nil {
			return Stats{}, fmt.Errorf("mediator: %w", err)
		}
		for _, b := range list {
			after = b.Box
			s.Boxes++
			s.Packets += b.Count
			s.Bytes += b.Bytes
			s.Delivered += b.Leased
			if s.Oldest.IsZero() || b.Oldest.Before(s.Oldest) {
				s.Oldest = b.Oldest
			}
		}
		if len(list) < page {
			return s, nil
		}
	}
}
