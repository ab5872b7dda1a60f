package mediator

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/didcomm-go/didcomm/agent/store"
)

// Join makes a DID a device of the account of the device by. The new device must itself have sent
// the request, with a ticket that by has signed for it: the DID of a device beats the
// registrations of other accounts. A ticket is good for one call: Join remembers it until expires,
// when the caller must refuse the ticket.
//
// A device that is alone in an account without recipients leaves that account, and keeps its mail.
// The mail that waits in the box of by stays there alone: the new device gets the mail that comes
// from now on. To replace a device with its mail, see Rotate.
//
// Change.Changed is false if the DID was a device of the account already. Change.Loser is an account
// that had registered the DID. Errors are ErrNotEnrolled, ErrBlocked, ErrDenied for a ticket that
// was used, ErrTaken for a device of another account, ErrRecipient, a *LimitError and those of the
// store. The limit is LimitMoving if the device has lost a recipient within the last minute, or has
// mail for one that is not due.
func (m *Mediator) Join(ctx context.Context, by, device, ticket string, expires time.Time) (*Account, Change, error) {
	if !m.valid(device) || m.ours(ctx, device) {
		return nil, Change{}, ErrRecipient
	}
	a, err := m.changes(ctx, by)
	if err != nil {
		return nil, Change{}, err
	}
	var (
		d     displaced
		ended string
	)
	err = m.change(ctx, a.ID, func() (*store.Changes, error) {
		d, ended = displaced{}, ""
		if a, _, err = m.member(ctx, by); err != nil {
			return nil, err
		}
		now, name := m.cfg.Now(), Name(device)
		if _, ok := a.device(name); ok {
			return nil, nil
		}
		if len(a.Devices) >= m.cfg.Limits.MaxDevices {
			return nil, &LimitError{Limit: LimitDevices}
		}
		used := record(tickets, hashed(a.ID+"\x00"+ticket), struct{}{}, 0)
		used.Expires = expires
		switch _, err := m.records().Get(ctx, tickets, used.Key); {
		case err == nil:
			return nil, ErrDenied
		case !errors.Is(err, store.ErrNotFound):
			return nil, err
		}
		fresh := newDevice(device, now)
		d = displaced{name: name, to: entry{Account: a.ID, DID: device, Since: now, Device: true, Proven: true}}
		c := &store.Changes{Put: []store.Record{used}}
		other, old, err := m.holder(ctx, name)
		switch {
		case err != nil:
			return nil, err
		case other == nil:
		case other.ID == a.ID:
			d.to.Registered, d.to.Senders = old.Registered, old.Senders
			if old.Registered {
				d.to.DID, d.to.Since = old.DID, old.Since
			}
		case old.Device && !other.Blocked.IsZero():
			return nil, ErrBlocked
		case old.Device && (len(other.Devices) > 1 || other.Recipients > 0):
			return nil, ErrTaken
		case old.Device && !other.Lost.IsZero(): // the box may have mail of somebody else
			return nil, &LimitError{Limit: LimitMoving, RetryAfter: grace}
		case old.Device: // alone in an account, which ends
			fresh.Box = other.Devices[0].Box
			other.Devices, other.Gone, ended = nil, now, other.ID
			c.Put, other = append(c.Put, other.record()), nil
		}
		a.Devices = append(a.Devices, fresh)
		c.Put = append(c.Put, a.record())
		return c, m.take(ctx, c, &d, other, old)
	})
	if err != nil {
		return nil, Change{}, m.refused(ctx, Event{Recipient: Name(device)}, err)
	}
	m.moveMail(ctx, d.loser)
	if ended != "" {
		if _, err := m.clean(ctx, ended); err != nil {
			m.cfg.Logger.WarnContext(ctx, "the rest of an account that has ended is still there", "account", ended, "error", err)
		}
	}
	return a, Change{Changed: d.name != "", Loser: d.loser}, nil
}

// Leave removes a device from the account of the device by, which may be the same. The mail in its
// box is dropped, and its DID is no recipient any more. With the last device, the account ends.
// Change.Changed is false if the DID is no device of the account. Errors are ErrNotEnrolled,
// ErrBlocked, those of the store, and a *LimitError if the call has to be made again later: with
// LimitDevices, all other devices have joined within the last second, and with LimitMoving, the
// account has lost a recipient within the last minute, or has mail for one that is not due.
func (m *Mediator) Leave(ctx context.Context, by, device string) (Change, error) {
	a, err := m.changes(ctx, by)
	if err != nil {
		return Change{}, err
	}
	if err := m.settled(ctx, a); err != nil {
		return Change{}, err
	}
	var (
		name = Name(device)
		gone Device
		last bool
	)
	err = m.change(ctx, a.ID, func() (*store.Changes, error) {
		var ok bool
		if a, _, err = m.member(ctx, by); err != nil {
			return nil, err
		}
		if gone, ok = a.device(name); !ok {
			return nil, nil
		}
		if !a.Lost.IsZero() { // since settled has looked
			return nil, &LimitError{Limit: LimitMoving, RetryAfter: grace}
		}
		if last = len(a.Devices) == 1; last {
			return nil, nil
		}
		a.Devices = slices.DeleteFunc(a.Devices, func(d Device) bool { return d.Name == name })
		if !slices.ContainsFunc(a.Devices, func(d Device) bool { return a.settled(d, m.cfg.Now()) }) {
			return nil, &LimitError{Limit: LimitDevices, RetryAfter: settling}
		}
		e, err := m.entry(ctx, name)
		if err != nil {
			return nil, err
		}
		if e.Registered {
			a.Recipients--
		}
		c := &store.Changes{Delete: []store.Record{e.record(name)}, Put: []store.Record{a.record()}}
		return c, m.dropList(ctx, c, scope(a.ID, name))
	})
	switch {
	case err != nil:
		return Change{}, err
	case last:
		_, err = m.end(ctx, a.ID)
	case gone.Box != "":
		_, err = m.cfg.Mailbox.Purge(ctx, gone.Box)
	}
	return Change{Changed: gone.Box != ""}, err
}

// settling is how long other processes may not know a new device: much longer than maxStale.
const settling = time.Second

// settled reports whether all processes put mail into the box of a device.
func (a *Account) settled(d Device, now time.Time) bool {
	age := now.Sub(d.Joined)
	return d.Joined.Equal(a.Created) || age > settling || age < -settling
}

// Rotate gives the place of a device to another DID, after a from_prior of the device that names the
// new DID, in a message of the new DID. The device keeps its box. The old DID stays a recipient of
// the account until it is deregistered, since others may not know of the rotation yet.
// Change.Changed is false if the device has rotated already. Errors are those of Register.
func (m *Mediator) Rotate(ctx context.Context, from, to string) (Change, error) {
	if !m.valid(to) || m.ours(ctx, to) {
		return Change{}, ErrRecipient
	}
	a, e, err := m.owner(ctx, from)
	if err != nil {
		return Change{}, err
	}
	if _, ok := a.device(Name(to)); ok && !e.Device {
		return Change{}, nil
	}
	if err := m.meter.change(a.ID, m.cfg.Now()); err != nil {
		return Change{}, m.refused(ctx, Event{Recipient: Name(to), Account: a.ID}, err)
	}
	var d displaced
	err = m.change(ctx, a.ID, func() (*store.Changes, error) {
		a, _, err := m.member(ctx, from)
		if err != nil {
			return nil, err
		}
		old, err := m.entry(ctx, Name(from))
		if err != nil {
			return nil, err
		}
		now := m.cfg.Now()
		d = displaced{name: Name(to), to: entry{Account: a.ID, DID: to, Since: now, Device: true, Proven: true, Senders: old.Senders}}
		inherits := true // the list of senders of the old DID
		holder, next, err := m.holder(ctx, d.name)
		switch {
		case err != nil:
			return nil, err
		case holder == nil, holder.ID != a.ID:
		case next.Device:
			return nil, ErrTaken
		default:
			d.to.DID, d.to.Since, d.to.Registered = next.DID, next.Since, true
			if next.Senders.Mode != "" {
				d.to.Senders, inherits = next.Senders, false
			}
		}
		old.Device, old.Proven = false, true
		if !old.Registered {
			if a.Recipients >= m.cfg.Limits.MaxRecipients {
				return nil, &LimitError{Limit: LimitRecipients}
			}
			old.Registered = true
			a.Recipients++
		}
		i := slices.IndexFunc(a.Devices, func(d Device) bool { return d.Name == Name(from) })
		a.Devices[i].Name, a.Devices[i].DID = Name(to), to
		c := &store.Changes{Put: []store.Record{a.record(), old.record(Name(from))}}
		if inherits {
			if err := m.copyList(ctx, c, scope(a.ID, Name(from)), scope(a.ID, Name(to)), a.ID); err != nil {
				return nil, err
			}
		}
		return c, m.take(ctx, c, &d, holder, next)
	})
	if err != nil {
		return Change{}, m.refused(ctx, Event{Recipient: Name(to), Account: a.ID}, err)
	}
	m.moveMail(ctx, d.loser)
	return Change{Changed: true, Loser: d.loser}, nil
}
