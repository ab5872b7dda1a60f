package agent

import (
	"context"
	"fmt"
	"slices"

	"github.com/didcomm-go/didcomm/agent/contact"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/did"
)

// Contacts returns what the agent knows of other parties: Config.Contacts, or the Book
// that the agent has made.
func (a *Agent) Contacts() *contact.Book { return a.cfg.Contacts }

// meet notes what a message proves of its sender: the DID that the sender has rotated to,
// or the long form of a did:peer:4. It reports whether the message is to be ignored, as
// its sender has left the DID that the message is from (DID Rotation). The error is one
// of the store, and the peer is to come again.
func (a *Agent) meet(ctx context.Context, in *Inbound) (ignore bool, err error) {
	// What is known has to be stored even if the connection of the peer ends.
	ctx, cancel := a.lasting(ctx)
	defer cancel()
	ignore, err = a.met(ctx, in)
	if err != nil && a.requests.waitFor(in) {
		// Nobody would send the answer again that came in the response to a POST.
		in.log(a.cfg.Logger).ErrorContext(ctx, "not noted what an answer proves of its sender", "error", err)
		return false, nil
	}
	return ignore, err
}

func (a *Agent) met(ctx context.Context, in *Inbound) (ignore bool, err error) {
	if r, ok := in.rotation(); ok {
		holds, err := a.cfg.Contacts.Rotate(ctx, in.To, r)
		if err != nil {
			return false, err
		}
		if !holds {
			in.prior = ""
		}
	}
	if !in.Authenticated() {
		return false, nil
	}
	left, err := a.cfg.Contacts.Met(ctx, in.To, in.longFrom(), in.Metadata.FromPrior != nil)
	if err != nil || !left {
		return false, err
	}
	// A message that was taken in before the rotation may come again, for its reply.
	known, err := a.inbox.Remembered(ctx, in.pair(), []string{foldID(in.Message.ID)})
	if err != nil || len(known) > 0 {
		return false, err
	}
	in.log(a.cfg.Logger).WarnContext(ctx, "ignored a message from a DID that its party has left", "to", in.To)
	return true, nil
}

// rotation is what the from_prior of a message says, if that is proven: a new DID is
// proven by its sender, and no DID by none.
func (in *Inbound) rotation() (r contact.Rotation, ok bool) {
	p := in.Metadata.FromPrior
	if p == nil || p.Sub != "" && in.prior == "" {
		return r, false
	}
	r = contact.Rotation{Prior: longer(p.Iss, in.Metadata.FromPriorIssuerKID), IssuedAt: p.IssuedAt}
	if p.Sub != "" {
		r.DID = in.longFrom()
	}
	return r, true
}

// longFrom is From in the longest form that the message has. A message that is from the
// short form of a did:peer:4 may name keys by the long form.
func (in *Inbound) longFrom() string {
	return longer(longer(in.From, in.Metadata.EncryptedFromKID), in.Metadata.SignFrom)
}

// longer is a DID, or that of a kid if that is a longer form of it.
func longer(id, kid string) string {
	if base := did.Base(kid); len(base) > len(id) && party(base) == party(id) {
		return base
	}
	return id
}

// address has a message go to the DIDs that its recipients go by now, as its sender was
// told. An anonymous message goes where it was to go: the DID that a party goes by with
// one of ours would tell who has sent the message.
func (a *Agent) address(ctx context.Context, m *message.Message) error {
	if m.From == "" {
		return nil
	}
	var moved bool
	now := make([]string, 0, len(m.To))
	for _, to := range m.To {
		id, err := a.cfg.Contacts.Current(ctx, m.From, did.Base(to))
		if err != nil {
			return fmt.Errorf("agent: recipient: %w", err)
		}
		if id == did.Base(to) {
			id = to
		} else {
			moved = true
		}
		if !slices.ContainsFunc(now, func(other string) bool { return party(other) == party(id) }) {
			now = append(now, id)
		}
	}
	if moved {
		m.To = now
	}
	return nil
}

// keep makes contacts of the parties that the sender of a message has asked to send to.
// It need not succeed for the message to be sent.
func (a *Agent) keep(ctx context.Context, m *message.Message, parties []string) {
	if m.From == "" {
		return
	}
	for _, to := range parties {
		if err := a.cfg.Contacts.Keep(ctx, m.From, did.Base(to)); err != nil && ctx.Err() == nil {
			a.cfg.Logger.WarnContext(ctx, "a recipient is not kept as a contact", "id", m.ID, "to", to, "error", err)
		}
	}
}
