package outofband

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/contact"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/did"
)

// collection has a record of each invitation that a Book keeps, under its id.
const collection = "outofband/invitation"

// Limits of a [Book].
const (
	MaxKept     = 100_000             // invitations
	ForgetAfter = 30 * 24 * time.Hour // from the end of an invitation until its record is dropped
)

// Problem codes with which messages to an invitation are refused.
const (
	CodeUsed    = "e.p.req.invitation-used"         // another party has used up the invitation
	CodeExpired = "e.p.req.time.invitation-expired" // the invitation has expired
	CodeSecret  = "e.p.trust.sender-unknown"        // the sender is not authenticated
)

// Kept is an invitation of ours, and what has become of it.
type Kept struct {
	Invitation *Invitation `json:"invitation"`
	// SingleUse says that one party may use the invitation: the first that sends an
	// authenticated message.
	SingleUse bool `json:"single_use,omitempty"`
	// Pairwise says that the DID of the invitation was made for this invitation alone, which is
	// for SingleUse. All messages to the DID then belong to the invitation, also those without
	// pthid, such as those of Credo.
	Pairwise bool      `json:"pairwise,omitempty"`
	Created  time.Time `json:"created"`
	// UsedBy is the party that has used up an invitation for SingleUse, in the form of
	// did.Canonical, and Used is when. Both are zero before that.
	UsedBy string    `json:"used_by,omitempty"`
	Used   time.Time `json:"used,omitzero"`

	version uint64
}

// Book keeps the invitations of an agent in records. Several processes may share the records,
// so a command can add an invitation while the agent runs. Make a Book with [NewBook].
type Book struct{ records store.Records }

// NewBook returns a Book in the records of an agent's store.
func NewBook(records store.Records) *Book { return &Book{records} }

// Keep adds an invitation. Errors: store.ErrVersion if there is an invitation of that id
// already; store.ErrFull if there are [MaxKept] invitations; ErrInvalid; those of the records.
func (b *Book) Keep(ctx context.Context, k *Kept) error {
	k.SingleUse = k.SingleUse || k.Pairwise
	if k.Created.IsZero() {
		k.Created = time.Now()
	}
	return b.put(ctx, k)
}

// Get returns an invitation. Errors: store.ErrNotFound; those of the records.
func (b *Book) Get(ctx context.Context, id string) (*Kept, error) {
	r, err := b.records.Get(ctx, collection, id)
	if err != nil {
		return nil, err
	}
	return kept(r)
}

func kept(r store.Record) (*Kept, error) {
	k := &Kept{version: r.Version}
	if err := json.Unmarshal(r.Value, k); err != nil {
		return nil, fmt.Errorf("record of invitation %s: %w", r.Key, err)
	}
	return k, nil
}

func (b *Book) put(ctx context.Context, k *Kept) error {
	value, err := json.Marshal(k)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	r := store.Record{Collection: collection, Key: k.Invitation.ID, Value: value, Version: k.version, Limit: MaxKept}
	switch {
	case k.Pairwise: // the record says for as long as the DID lives who may use it
		r.Index = []string{did.Canonical(k.Invitation.From)}
	case !k.Invitation.Expires.IsZero():
		r.Expires = k.Invitation.Expires.Add(ForgetAfter)
	}
	version, err := b.records.Put(ctx, r)
	if err == nil {
		k.version = version
	}
	return err
}

// Serve returns an option of [agent.NewMux] that matches received messages to the invitations
// of the Book. A message belongs to the invitation that its pthid names if it was sent to the
// DID of that invitation, or else to the Pairwise invitation of the DID that it was sent to.
//
//   - The handler of the message finds the invitation with [Of].
//   - The first party that sends an authenticated message to an invitation for SingleUse uses
//     it up, and becomes a contact. Of several at the same time, exactly one does. Problem
//     reports use up nothing.
//   - Messages of other parties to such an invitation are refused with a problem report, and
//     also messages to an expired invitation, except those of a party that has used it, or is
//     a contact.
//
// The party may rotate its DID. The log, which may be nil, tells who has used up an invitation.
func (b *Book) Serve(logger *slog.Logger) agent.MuxOption {
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	return func(m *agent.Mux) {
		agent.Supports(agent.Feature{Type: "protocol", ID: PIURI, Roles: []string{"sender"}})(m)
		agent.Wrap(func(next agent.Handler) agent.Handler {
			return agent.HandlerFunc(func(ctx context.Context, w agent.Responder, in *agent.Inbound) error {
				k, err := b.admit(ctx, w, in, logger)
				if err != nil {
					return err
				}
				if k != nil {
					ctx = context.WithValue(ctx, ofKey{}, k)
				}
				return next.HandleMessage(ctx, w, in)
			})
		})(m)
	}
}

type ofKey struct{}

// Of returns the invitation that a handled message belongs to, or nil: see [Book.Serve]. ctx is
// the context of the handler.
func Of(ctx context.Context) *Kept {
	k, _ := ctx.Value(ofKey{}).(*Kept)
	return k
}

// find returns the invitation that a message belongs to, or nil.
func (b *Book) find(ctx context.Context, w agent.Responder, in *agent.Inbound) (*Kept, error) {
	if id := in.Message.ParentThreadID; id != "" {
		k, err := b.Get(ctx, id)
		if err == nil && did.Canonical(k.Invitation.From) == did.Canonical(in.To) {
			return k, nil
		}
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return nil, err
		}
	}
	to := did.Canonical(in.To)
	if !in.Addressed || to == did.Canonical(w.Agent().DID()) { // which is for all
		return nil, nil
	}
	found, err := b.records.List(ctx, store.Query{Collection: collection, Index: to, N: 1})
	if err != nil || len(found) == 0 {
		return nil, err
	}
	return kept(found[0])
}

// admit returns the invitation that a message belongs to, or nil. The error is a
// *message.Problem if the message must not be handled.
func (b *Book) admit(ctx context.Context, w agent.Responder, in *agent.Inbound, logger *slog.Logger) (*Kept, error) {
	for {
		k, err := b.find(ctx, w, in)
		if err != nil {
			return nil, agent.Retry(0, fmt.Errorf("invitations: %w", err))
		}
		if k == nil || message.IsProblemReport(in.Message.Type) {
			return k, nil
		}
		used, err := k.usedBy(ctx, w, in)
		switch {
		case err != nil:
			return nil, agent.Retry(0, fmt.Errorf("invitations: %w", err))
		case used:
			return k, nil
		case k.UsedBy != "":
			return nil, &message.Problem{Code: CodeUsed, Comment: "The invitation was for one party, and has been used."}
		case k.Invitation.Expired(time.Now()) && !k.known(ctx, w, in):
			return nil, &message.Problem{Code: CodeExpired, Comment: "The invitation has expired."}
		case !k.SingleUse:
			return k, nil
		case !in.Authenticated():
			return nil, &message.Problem{Code: CodeSecret, Comment: "The invitation is for one party, which has to say who it is."}
		}
		k.UsedBy, k.Used = did.Canonical(in.From), time.Now()
		switch err := b.put(ctx, k); {
		case errors.Is(err, store.ErrVersion): // another message was faster, perhaps of the same party
			continue
		case err != nil:
			return nil, agent.Retry(0, fmt.Errorf("invitations: %w", err))
		}
		logger.InfoContext(ctx, "invitation used", "invitation", k.Invitation.ID, "from", in.From, "goal", k.Invitation.Goal)
		// A party that does not fit in the contacts is served as a stranger.
		_ = w.Agent().Contacts().Keep(ctx, in.To, in.From)
		return k, nil
	}
}

// known reports whether the sender of a message to an invitation for many uses is a contact,
// whom the end of the invitation does not concern.
func (k *Kept) known(ctx context.Context, w agent.Responder, in *agent.Inbound) bool {
	if k.SingleUse || !in.Authenticated() {
		return false
	}
	known, err := w.Agent().Contacts().IsContact(ctx, in.To, in.From)
	return known && err == nil
}

// usedBy reports whether the sender of a message has used up the invitation, perhaps under a
// DID that it has left.
func (k *Kept) usedBy(ctx context.Context, w agent.Responder, in *agent.Inbound) (bool, error) {
	if k.UsedBy == "" || !in.Authenticated() {
		return false, nil
	}
	from := did.Canonical(in.From)
	if from == k.UsedBy {
		return true, nil
	}
	if p := in.Metadata.FromPrior; p != nil && did.Canonical(p.Iss) == k.UsedBy && did.Canonical(p.Sub) == from {
		return true, nil
	}
	now, err := w.Agent().Contacts().Current(ctx, in.To, k.UsedBy)
	if errors.Is(err, contact.ErrEnded) {
		return false, nil
	}
	return did.Canonical(now) == from, err
}
