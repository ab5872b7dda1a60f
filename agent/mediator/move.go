package mediator

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/didcomm-go/didcomm/agent/store"
)

// displaced is a name that gets a new entry, and the account that loses the name by that.
type displaced struct {
	name  string
	to    entry
	loser string // empty unless another account had registered the name
}

// move is a name whose mail moves from the boxes of the loser to the account that has the name.
type move struct {
	Name  string    `json:"name"`
	Loser string    `json:"loser"`
	To    string    `json:"to"` // the account that has won the name
	At    time.Time `json:"at"`
}

func moveKey(name, loser string) string { return name + "\x00" + loser }

// take adds to c what gives d.name its new entry. a and old are what holder has returned: another
// account loses the name. The error is ErrTaken if the name is the DID of a device of that account, or
// if the new entry has no proof.
func (m *Mediator) take(ctx context.Context, c *store.Changes, d *displaced, a *Account, old *entry) error {
	d.loser, d.to.version = "", old.version
	r := d.to.record(d.name)
	if !d.to.Device {
		r.Limit = maxRegistered
	}
	c.Put = append(c.Put, r)
	switch {
	case a == nil, a.ID == d.to.Account:
		return nil
	case old.Device, !d.to.Proven:
		return ErrTaken
	}
	mv := move{Name: d.name, Loser: a.ID, To: d.to.Account, At: m.cfg.Now()}
	key := moveKey(d.name, a.ID)
	version, err := m.get(ctx, moves, key, new(move))
	if err != nil && !errors.Is(err, ErrNotEnrolled) {
		return err
	}
	if old.Senders.Mode != "" {
		if err := m.dropList(ctx, c, scope(a.ID, d.name)); err != nil {
			return err
		}
	}
	a.Recipients--
	a.Lost = mv.At
	c.Put = append(c.Put, record(moves, key, mv, version, a.ID), a.record())
	d.loser = a.ID
	return nil
}

// grace is how long mail that was accepted for the loser may still arrive in its boxes.
const grace = time.Minute

// moveMail moves the mail for all names that an account has lost. Mail that cannot move now stays
// where it is, hidden from the loser, and Run tries again. moveMail reports whether all has moved that is due.
func (m *Mediator) moveMail(ctx context.Context, loser string) bool {
	if loser == "" {
		return true
	}
	err := m.settle(ctx, loser)
	if err != nil {
		m.cfg.Logger.WarnContext(ctx, "mail of a displaced registration has not moved yet", "account", logged(loser), "error", err)
	}
	return err == nil
}

func (m *Mediator) settle(ctx context.Context, loser string) error {
	var failed error
	err := m.each(ctx, moves, loser, func(r store.Record) error {
		if err := m.moveName(ctx, r); err != nil {
			failed = err
		}
		return nil
	})
	if err = errors.Join(err, failed); err != nil {
		return err
	}
	rest, err := m.records().List(ctx, store.Query{Collection: moves, Index: loser, N: 1})
	if err != nil || len(rest) > 0 {
		return err
	}
	return m.change(ctx, loser, func() (*store.Changes, error) {
		a, err := m.anyAccount(ctx, loser)
		switch {
		case errors.Is(err, ErrNotEnrolled):
			return nil, nil
		case err != nil || a.Lost.IsZero():
			return nil, err
		}
		// Read after the account, so that a loss meanwhile is noticed.
		rest, err := m.records().List(ctx, store.Query{Collection: moves, Index: loser, N: 1})
		if err != nil || len(rest) > 0 {
			return nil, err
		}
		a.Lost = time.Time{}
		return &store.Changes{Put: []store.Record{a.record()}}, nil
	})
}

// settled returns a *LimitError while the boxes of an account may have mail of somebody else.
func (m *Mediator) settled(ctx context.Context, a *Account) error {
	if a.Lost.IsZero() {
		return nil
	}
	if err := m.settle(ctx, a.ID); err != nil {
		return full(err)
	}
	rest, err := m.records().List(ctx, store.Query{Collection: moves, Index: a.ID, N: 1})
	if err != nil {
		return fmt.Errorf("mediator: %w", err)
	}
	if len(rest) > 0 {
		return &LimitError{Limit: LimitMoving, RetryAfter: grace}
	}
	return nil
}

func (m *Mediator) moveName(ctx context.Context, r store.Record) error {
	var mv move
	if err := read(r, &mv); err != nil {
		return err
	}
	a, err := m.anyAccount(ctx, mv.Loser)
	if errors.Is(err, ErrNotEnrolled) {
		return m.endMove(ctx, r)
	}
	if err != nil {
		return err
	}
	winner, _, err := m.owner(ctx, mv.Name)
	if errors.Is(err, ErrNotEnrolled) {
		winner, err = m.account(ctx, mv.To)
	}
	switch {
	case errors.Is(err, ErrNotEnrolled): // nobody is left to get the mail
		for _, box := range a.boxes() {
			if _, err := m.cfg.Mailbox.Purge(ctx, box, mv.Name); err != nil {
				return fmt.Errorf("mediator: %w", err)
			}
		}
		return m.endMove(ctx, r)
	case err != nil:
		return err
	case winner.ID == a.ID:
		return m.endMove(ctx, r)
	}
	left := 0
	for _, box := range a.boxes() {
		n, err := m.moveBox(ctx, box, mv.Name, winner.boxes())
		if err != nil {
			return err
		}
		left += n
	}
	if age := m.cfg.Now().Sub(mv.At); left > 0 || age < grace && age > -grace {
		return nil
	}
	return m.endMove(ctx, r)
}

func (m *Mediator) endMove(ctx context.Context, r store.Record) error {
	err := m.records().Delete(ctx, moves, r.Key, r.Version)
	if err != nil && !errors.Is(err, store.ErrNotFound) && !errors.Is(err, store.ErrVersion) {
		return fmt.Errorf("mediator: %w", err)
	}
	return nil
}

// moveBox moves the mail for a name from one box to others. It returns how many packets are left,
// since they are not due.
func (m *Mediator) moveBox(ctx context.Context, box, name string, to []string) (left int, err error) {
	pick := store.Pick{N: 100, Bytes: 8 << 20, For: []string{name}, Held: true}
	for {
		list, err := m.cfg.Mailbox.Lease(ctx, box, pick, grace)
		if err != nil {
			return 0, fmt.Errorf("mediator: %w", err)
		}
		if len(list) == 0 {
			break
		}
		if err := m.moveOn(ctx, box, list, to); err != nil {
			return 0, err
		}
	}
	s, err := m.cfg.Mailbox.Status(ctx, box, name)
	if err != nil {
		return 0, fmt.Errorf("mediator: %w", err)
	}
	return s.Count, nil
}

func (m *Mediator) moveOn(ctx context.Context, box string, list []store.Mail, to []string) error {
	for _, mail := range list {
		err := m.cfg.Mailbox.Deposit(ctx, mail, to...)
		if err == nil || errors.Is(err, store.ErrExists) {
			_, err = m.cfg.Mailbox.Ack(ctx, box, mail.ID)
		}
		if err != nil {
			return fmt.Errorf("mediator: %w", err)
		}
	}
	return nil
}
