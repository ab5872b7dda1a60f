package mediator

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/did"
)

// Change says what a call has changed.
type Change struct {
	// Changed is false if everything was as the caller wants it already.
	Changed bool
	// Loser is the account that has lost the DID, or empty. It has to be told, see Tell.
	Loser string
}

// Register registers a recipient for the account of a device. proven says that the request
// has a fresh proof of the recipient's own key, made for this request: a signature, a message of
// the recipient itself, or a from_prior by which a recipient of the account rotates to the DID.
// With a proof, the DID leaves the account that has registered it: the newest proof wins, so
// that an owner without the old device gets the DID back.
//
// The mail that waits for the DID moves from the boxes of the loser to those of the account.
//
// Errors are ErrNotEnrolled, ErrBlocked, ErrTaken, ErrRecipient, a *LimitError and those of
// the store. A DID whose document does not resolve is registered.
func (m *Mediator) Register(ctx context.Context, device, recipient string, proven bool) (Change, error) {
	a, err := m.changes(ctx, device)
	if err != nil {
		return Change{}, err
	}
	name := Name(recipient)
	event := Event{Recipient: name, Account: a.ID}
	if !m.valid(recipient) || m.ours(ctx, recipient) {
		return Change{}, m.refused(ctx, event, ErrRecipient)
	}
	if e, err := m.entry(ctx, name); !proven && (err != nil || e.Account != a.ID) {
		if err := m.consents(ctx, recipient); err != nil {
			return Change{}, m.refused(ctx, event, err)
		}
	}
	var (
		d       displaced
		changed bool
	)
	err = m.change(ctx, a.ID, func() (*store.Changes, error) {
		d, changed = displaced{name: name}, false
		a, _, err := m.member(ctx, device)
		if err != nil {
			return nil, err
		}
		d.to = entry{Account: a.ID, DID: recipient, Since: m.cfg.Now(), Registered: true, Proven: proven}
		holder, old, err := m.holder(ctx, name)
		if err != nil {
			return nil, err
		}
		switch own := holder != nil && holder.ID == a.ID; {
		case !own:
			changed = true
		case old.Registered && (old.Proven || !proven):
			return nil, nil
		default:
			d.to.Device, d.to.Proven, d.to.Senders = old.Device, old.Proven || proven, old.Senders
			if changed = !old.Registered; !changed {
				d.to.DID, d.to.Since = old.DID, old.Since
			}
		}
		c := new(store.Changes)
		if changed {
			if a.Recipients >= m.cfg.Limits.MaxRecipients {
				return nil, &LimitError{Limit: LimitRecipients}
			}
			a.Recipients++
			c.Put = append(c.Put, a.record())
		}
		return c, m.take(ctx, c, &d, holder, old)
	})
	if err != nil {
		return Change{}, m.refused(ctx, event, err)
	}
	m.moveMail(ctx, d.loser)
	return Change{Changed: changed, Loser: d.loser}, nil
}

// consents returns ErrRecipient if the document of a DID names another mediator, and not us.
func (m *Mediator) consents(ctx context.Context, id string) error {
	if m.cfg.Documents == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(did.ForStranger(ctx), resolveTime)
	defer cancel()
	doc, err := m.cfg.Documents.Resolve(ctx, did.Base(id))
	switch {
	case errors.Is(err, did.ErrBusy):
		return &LimitError{Limit: LimitDocuments, Rate: true, RetryAfter: time.Minute}
	case errors.Is(err, did.ErrInvalid):
		return ErrRecipient
	case err != nil: // not published yet, not reachable from here, or of a method of the account's own
		return nil
	}
	another := false
	for _, e := range doc.DIDCommServices() {
		hops := slices.Clone(e.RoutingKeys)
		if strings.HasPrefix(e.URI, "did:") {
			hops = append(hops, e.URI)
		}
		for _, hop := range hops {
			if m.ours(ctx, hop) {
				return nil
			}
			another = true
		}
	}
	if another {
		return ErrRecipient
	}
	return nil
}

// resolveTime is how long the document of a DID to register may take.
const resolveTime = 5 * time.Second

// Deregister ends the registration of a recipient by the account of a device. Mail that waits
// for the recipient stays until it is picked up. Errors are ErrNotEnrolled, ErrBlocked and those
// of the store.
func (m *Mediator) Deregister(ctx context.Context, device, recipient string) (Change, error) {
	a, err := m.changes(ctx, device)
	if err != nil {
		return Change{}, err
	}
	var changed bool
	name := Name(recipient)
	err = m.change(ctx, a.ID, func() (*store.Changes, error) {
		changed = false
		a, _, err := m.member(ctx, device)
		if err != nil {
			return nil, err
		}
		old, err := m.entry(ctx, name)
		switch {
		case errors.Is(err, ErrNotEnrolled):
			return nil, nil
		case err != nil:
			return nil, err
		case old.Account != a.ID || !old.Registered:
			return nil, nil
		}
		c := new(store.Changes)
		if old.Device {
			old.Registered = false
			c.Put = append(c.Put, old.record(name))
		} else {
			c.Delete = append(c.Delete, old.record(name))
			if err := m.dropList(ctx, c, scope(a.ID, name)); err != nil {
				return nil, err
			}
		}
		a.Recipients--
		c.Put = append(c.Put, a.record())
		changed = true
		return c, nil
	})
	return Change{Changed: changed}, err
}

// Recipients returns the DIDs that the account of a device has registered, as the account
// spells them: n DIDs after the first offset, in the order of registration, and how many
// there are. Errors are ErrNotEnrolled, ErrBlocked and those of the store.
func (m *Mediator) Recipients(ctx context.Context, device string, offset, n int) (ids []string, total int, err error) {
	a, err := m.Account(ctx, device)
	if err != nil {
		return nil, 0, err
	}
	all, err := m.recipients(ctx, a.ID)
	if err != nil {
		return nil, 0, err
	}
	for i, e := range all {
		if i >= offset && len(ids) < n {
			ids = append(ids, e.DID)
		}
	}
	return ids, len(all), nil
}

// recipients returns the registered DIDs of an account, in the order of registration.
func (m *Mediator) recipients(ctx context.Context, account string) ([]entry, error) {
	var all []entry
	err := m.each(ctx, recipients, account, func(r store.Record) error {
		var e entry
		if err := read(r, &e); err != nil {
			return err
		}
		if e.Registered {
			all = append(all, e)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("recipients: %w", err)
	}
	slices.SortFunc(all, func(a, b entry) int {
		if c := a.Since.Compare(b.Since); c != 0 {
			return c
		}
		return strings.Compare(a.DID, b.DID)
	})
	return all, nil
}
