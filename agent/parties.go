package agent

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/didcomm-go/didcomm/agent/contact"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/did"
)

// Contacts is what the agent knows of other parties: Config.Contacts, or the Book that
// the agent has made.
func (a *Agent) Contacts() *contact.Book { return a.cfg.Contacts }

// meet notes what a message proves of its sender: the DID that the sender has rotated to,
// or the long form of a did:peer:4. It reports whether the message is to be ignored, since
// its sender goes by another DID by now (DID Rotation).
func (a *Agent) meet(ctx context.Context, in *Inbound) (ignore bool, err error) {
	// What is known has to be stored even if the connection of the peer ends.
	ctx, cancel := a.lasting(ctx)
	defer cancel()
	if p := in.Metadata.FromPrior; p != nil && (p.Sub == "" || party(p.Sub) == party(in.From)) {
		r := contact.Rotation{Prior: p.Iss, DID: p.Sub, IssuedAt: p.IssuedAt}
		if r.DID != "" {
			r.DID = in.From // in the form that resolves
		}
		if err := a.cfg.Contacts.Rotate(ctx, in.To, r, a.cfg.Now()); err != nil {
			return false, err
		}
	}
	if !in.Authenticated() {
		return false, nil
	}
	past, err := a.cfg.Contacts.Past(ctx, in.To, in.From)
	if err != nil {
		return false, err
	}
	if !past {
		err := a.cfg.Contacts.Met(ctx, in.To, in.From)
		if errors.Is(err, store.ErrFull) { // the long form will do
			in.log(a.cfg.Logger).WarnContext(ctx, "the long form of a DID was not stored", "error", err)
			err = nil
		}
		return false, err
	}
	// A message that came before the rotation may come again, for its reply.
	known, err := a.inbox.Remembered(ctx, in.pair(), []string{foldID(in.Message.ID)})
	if err != nil || len(known) > 0 {
		return false, err
	}
	in.log(a.cfg.Logger).WarnContext(ctx, "ignored a message of a DID that its party has left", "to", in.To)
	return true, nil
}

// address has a message go to the DIDs that its recipients go by now.
func (a *Agent) address(ctx context.Context, m *message.Message) error {
	for i, to := range m.To {
		now, err := a.cfg.Contacts.Current(ctx, a.ownOf(m), did.Base(to))
		if err != nil {
			return fmt.Errorf("agent: recipient: %w", err)
		}
		if now == did.Base(to) {
			continue
		}
		m.To = slices.Clone(m.To)
		m.To[i] = now
	}
	return nil
}

// ownOf is the DID of ours that a message to be sent speaks for.
func (a *Agent) ownOf(m *message.Message) string {
	if m.From == "" {
		return a.cfg.DID
	}
	return m.From
}

// keeping are changes that make the recipients of a message contacts, empty if all are.
func (a *Agent) keeping(ctx context.Context, m *message.Message) (*store.Changes, error) {
	all := new(store.Changes)
	for _, to := range m.To {
		c, err := a.cfg.Contacts.Keeping(ctx, a.ownOf(m), did.Base(to))
		if err != nil {
			return nil, err
		}
		if c != nil && !slices.ContainsFunc(all.Put, func(r store.Record) bool { return r.Key == c.Put[0].Key }) {
			all.Delete, all.Put = append(all.Delete, c.Delete...), append(all.Put, c.Put...)
		}
	}
	return all, nil
}

// enqueue puts items into the outbox, together with changes of the contacts. These must
// not keep a message from being sent: where they cannot be made, the items go alone.
func (a *Agent) enqueue(ctx context.Context, contacts *store.Changes, items []store.Item) error {
	if len(contacts.Put) == 0 {
		return a.outbox.Enqueue(ctx, items...)
	}
	defer a.cfg.Contacts.Kept(contacts)
	c := *contacts
	c.Enqueue = items
	err := a.cfg.Store.Commit(ctx, &c)
	switch {
	case errors.Is(err, store.ErrVersion), errors.Is(err, store.ErrNotFound): // another was faster
	case errors.Is(err, store.ErrFull):
		a.cfg.Logger.WarnContext(ctx, "recipients not kept as contacts", "error", err)
	default:
		return err
	}
	if len(items) == 0 {
		return nil
	}
	return a.outbox.Enqueue(ctx, items...)
}
