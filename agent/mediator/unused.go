package mediator

import (
	"context"
	"errors"

	"github.com/didcomm-go/didcomm/agent/store"
)

// use notes that a device of an account uses its box.
func (m *Mediator) use(ctx context.Context, id string) error {
	return m.change(ctx, id, func() (*store.Changes, error) {
		a, err := m.account(ctx, id)
		if err != nil || !a.Unused {
			return nil, err
		}
		a.Unused = false
		return &store.Changes{Put: []store.Record{a.record()}}, nil
	})
}

// endUnused ends accounts that were never used: a DID costs nothing, so a stranger can enroll any
// number. Accounts with mail stay until their mail has expired, and blocked accounts stay blocked.
func (m *Mediator) endUnused(ctx context.Context) error {
	var list []string
	err := m.each(ctx, accounts, unused, func(r store.Record) error {
		list = append(list, r.Key)
		return nil
	})
	if err != nil {
		return err
	}
	for _, id := range list {
		ended := false
		err := m.change(ctx, id, func() (*store.Changes, error) {
			ended = false
			a, err := m.account(ctx, id)
			switch {
			case errors.Is(err, ErrNotEnrolled):
				return nil, nil
			case err != nil:
				return nil, err
			case !a.Unused, !a.Blocked.IsZero(), m.cfg.Now().Sub(a.Created) < m.cfg.Limits.MaxUnused:
				return nil, nil
			}
			for _, box := range a.boxes() {
				s, err := m.cfg.Mailbox.Status(ctx, box)
				if err != nil || s.Count > 0 {
					return nil, err
				}
			}
			ended = true
			return m.ending(ctx, a)
		})
		if err == nil && ended {
			_, err = m.clean(ctx, id)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
