package agent

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/didcomm-go/didcomm/agent/contact"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/did"
	"github.com/didcomm-go/didcomm/transport"
)

// Contacts returns Config.Contacts, or the Book that New has made. It has what the Agent
// knows about other parties.
func (a *Agent) Contacts() *contact.Book { return a.cfg.Contacts }

// updateContacts stores the facts that a message proves about its sender: the DID to
// which the sender has rotated, and the long form of a did:peer:4. It reports whether the
// message must be ignored, because its sender has left the DID that the message is from
// (DID Rotation). After an error of the store, the peer must send the message again.
func (a *Agent) updateContacts(ctx context.Context, in *Inbound) (ignore bool, err error) {
	// The facts are stored even if the connection of the peer ends.
	ctx, cancel := a.detached(ctx)
	defer cancel()
	ignore, err = a.tryUpdateContacts(ctx, in)
	if err != nil && a.requests.waitFor(in) {
		// An answer in the response to a POST would not be sent again.
		in.log(a.cfg.Logger).ErrorContext(ctx, "rotation or long form of the sender not stored", "error", err)
		return false, nil
	}
	return ignore, err
}

// tryUpdateContacts is updateContacts, but fails also for the answer to a Request.
func (a *Agent) tryUpdateContacts(ctx context.Context, in *Inbound) (ignore bool, err error) {
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
	if in.linked() && in.Addressed {
		p := in.Metadata.FromPrior
		if err := a.cfg.Contacts.Announce(ctx, in.To, contact.Rotation{Prior: in.longFrom(), DID: in.replyDID(), IssuedAt: p.IssuedAt}); err != nil {
			return false, err
		}
	}
	met := func() (left bool, err error) {
		return a.cfg.Contacts.Met(ctx, in.To, in.longFrom(), a.heardAt(in), in.Metadata.FromPrior != nil || !in.Addressed)
	}
	left, err := met()
	if err != nil || !left {
		return false, err
	}
	// A message that was accepted before the rotation may arrive again, for its reply.
	known, err := a.inbox.Remembered(ctx, in.source(), []string{foldID(in.Message.ID)})
	if err != nil || len(known) > 0 {
		return false, err
	}
	switch reopened, err := a.cfg.Contacts.Reopen(ctx, in.To, in.From, a.sentAt(in)); {
	case err != nil:
		return false, err
	case reopened:
		_, err = met()
		return false, err
	}
	in.log(a.cfg.Logger).WarnContext(ctx, "ignored a message from a DID that its owner has left", "to", in.To)
	a.note(ctx, a.cfg.Trace.Dropped, "message dropped", in, 0, fmt.Errorf("%w: %s", contact.ErrLeft, in.From))
	return true, nil
}

// sentAt returns when the sender has sent a message, by the clock of the sender, which may be
// ahead. For a message without created_time, that is the latest time that is possible. It is zero
// if the message may have been passed on, or is of a kind that agents send by themselves, even
// after the end of a relationship.
func (a *Agent) sentAt(in *Inbound) time.Time {
	switch created := createdTime(in.Message); {
	case !in.Addressed || isEmpty(in.Message) || isProblemReport(in.Message):
		return time.Time{}
	case !created.IsZero():
		return created
	}
	return a.cfg.Now().Add(maxAhead)
}

// heardAt is sentAt, but no time to come: an end that follows has to count. It is long ago for
// mail without created_time, since the message may be much older than such an end.
func (a *Agent) heardAt(in *Inbound) time.Time {
	at := a.sentAt(in)
	switch now := a.cfg.Now(); {
	case at.IsZero():
		return at
	case in.mail && createdTime(in.Message).IsZero():
		return time.Unix(0, 0)
	case at.After(now):
		return now
	}
	return at
}

// checkForms returns an error if the sender of a message, or the issuer or the new DID of its
// from_prior, has used the short form of a did:peer:4 that the DID of ours does not know. The
// resolver may know the long form only from a message to another DID of ours. If the message was
// opened nevertheless, the peer could see that both DIDs are of one agent.
func (a *Agent) checkForms(ctx context.Context, w transport.Replier, in *Inbound) error {
	ids := []string{in.longFrom()}
	if in.linked() {
		ids = append(ids, in.replyDID())
	}
	if p := in.Metadata.FromPrior; p != nil {
		ids = append(ids, longer(p.Iss, in.Metadata.FromPriorIssuerKID))
	}
	for _, id := range ids {
		if !strings.HasPrefix(id, "did:peer:4") || party(id) != id {
			continue
		}
		switch known, err := a.cfg.Contacts.Knows(ctx, in.To, id); {
		case err != nil:
			return a.busy(ctx, w, in, err)
		case !known && !a.requests.waitFor(in):
			return refusal(fmt.Errorf("%w: no long form of %s was shown to %s", did.ErrNotFound, id, in.To))
		}
	}
	return nil
}

// rotation returns the rotation that the message proves, if any. A rotation to another
// DID is proven only if the message is from that DID. The end of a relationship, without
// another DID, needs no sender.
func (in *Inbound) rotation() (r contact.Rotation, ok bool) {
	p := in.Metadata.FromPrior
	if p == nil || p.Sub != "" && in.prior == "" {
		return r, false
	}
	r = contact.Rotation{Prior: p.Iss, IssuedAt: p.IssuedAt}
	if p.Sub != "" {
		r.DID = in.longFrom()
	}
	return r, true
}

// longFrom returns in.From in the longest form that the message has: a message from the
// short form of a did:peer:4 may name keys by the long form.
func (in *Inbound) longFrom() string {
	return longer(longer(in.From, in.Metadata.EncryptedFromKID), in.Metadata.SignFrom)
}

// longer returns the DID of kid if it is a longer form of the DID id, or else id.
func longer(id, kid string) string {
	if base := did.Base(kid); len(base) > len(id) && party(base) == party(id) {
		return base
	}
	return id
}

// address replaces the recipients of m by the DIDs to which they have rotated, as the
// sender of m was told. It does not change an anonymous message: the new DID may be known
// only to one DID of ours, and would disclose the sender.
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

// keepContacts makes contacts of the recipients of a message. After an error the message
// is sent nevertheless.
func (a *Agent) keepContacts(ctx context.Context, m *message.Message, parties []string) {
	if m.From == "" {
		return
	}
	for _, to := range parties {
		if err := a.cfg.Contacts.Keep(ctx, m.From, did.Base(to)); err != nil && ctx.Err() == nil {
			a.cfg.Logger.WarnContext(ctx, "recipient not stored as a contact", "id", m.ID, "to", to, "error", err)
		}
	}
}
