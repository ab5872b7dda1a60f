package mediator

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/didcomm-go/didcomm/agent/store"
)

// Mode says who may send.
type Mode string

// The modes. A recipient without a mode has that of its account, and an account without a mode
// is Open.
const (
	Open  Mode = "open"  // everybody may send
	Allow Mode = "allow" // only those in the list, with authenticated forwards
	Block Mode = "block" // everybody but those in the list
)

// Filter says how a recipient restricts who may send.
type Filter struct {
	Mode Mode `json:"mode,omitzero"`
	// RefuseAnonymous tells that, with Block, forwards without an authenticated sender are
	// refused, too. Otherwise those in the list may still send anonymously.
	RefuseAnonymous bool `json:"refuse_anonymous,omitzero"`
}

// Senders is a list of senders, of an account or of one recipient. Whatever the list, forwards
// with a capability of the recipient are accepted, unless their authenticated sender is blocked.
type Senders struct {
	// Recipient is the DID for which the list holds instead of the list of the account. It is
	// empty for the list of the account.
	Recipient string
	Filter
	DIDs []string // of senders, in any form
}

func scope(account, name string) string { return account + "\x00" + name }

// SetSenders replaces the list of senders of the account of a device, or of one of its
// recipients. A list of a recipient without a mode is removed, so that the list of the account
// holds. Errors are ErrNotEnrolled, ErrBlocked, ErrRecipient for a list that has what is no DID,
// or a recipient of others, a *LimitError and those of the store.
func (m *Mediator) SetSenders(ctx context.Context, device string, s Senders) error {
	a, err := m.changes(ctx, device)
	if err != nil {
		return err
	}
	switch s.Mode {
	case "", Open, Allow, Block:
	default:
		return fmt.Errorf("mediator: unknown mode %.20q of a list of senders", s.Mode)
	}
	if len(s.DIDs) > m.cfg.Limits.MaxSenders {
		return &LimitError{Limit: LimitSenders}
	}
	if !slices.ContainsFunc(s.DIDs, func(id string) bool { return !m.valid(id) }) {
		return m.change(ctx, a.ID, func() (*store.Changes, error) { return m.setSenders(ctx, device, s) })
	}
	return ErrRecipient
}

func (m *Mediator) setSenders(ctx context.Context, device string, s Senders) (*store.Changes, error) {
	a, _, err := m.member(ctx, device)
	if err != nil {
		return nil, err
	}
	c, name := new(store.Changes), ""
	if s.Recipient == "" {
		a.Senders = s.Filter
	} else {
		name = Name(s.Recipient)
		e, err := m.entry(ctx, name)
		switch {
		case errors.Is(err, ErrNotEnrolled), err == nil && e.Account != a.ID:
			return nil, ErrRecipient
		case err != nil:
			return nil, err
		}
		e.Senders = s.Filter
		c.Put = append(c.Put, e.record(name))
	}
	c.Put = append(c.Put, a.record()) // makes calls at the same time one after the other
	if s.Mode == "" || s.Mode == Open {
		return c, m.dropList(ctx, c, scope(a.ID, name))
	}
	hashes := make([]byte, 0, len(s.DIDs)*hashSize)
	for _, id := range s.DIDs {
		hashes = append(hashes, hashOf(id)...)
	}
	return c, m.putList(ctx, c, scope(a.ID, name), a.ID, s.DIDs, hashes)
}

// Senders returns the list of senders of the account of a device, with an empty recipient, or of
// one of its recipients. Errors are ErrNotEnrolled, ErrBlocked, ErrRecipient and those of the
// store.
func (m *Mediator) Senders(ctx context.Context, device, recipient string) (Senders, error) {
	a, err := m.Account(ctx, device)
	if err != nil {
		return Senders{}, err
	}
	s, name := Senders{Recipient: recipient, Filter: a.Senders}, ""
	if recipient != "" {
		name = Name(recipient)
		e, err := m.entry(ctx, name)
		switch {
		case errors.Is(err, ErrNotEnrolled), err == nil && e.Account != a.ID:
			return Senders{}, ErrRecipient
		case err != nil:
			return Senders{}, err
		}
		s.Filter = e.Senders
	}
	if _, err := m.get(ctx, lists, scope(a.ID, name), &s.DIDs); err != nil && !errors.Is(err, ErrNotEnrolled) {
		return Senders{}, err
	}
	return s, nil
}

// A filter is the hashes of the names of the senders, one after the other: short, so that Accept
// reads little.
const hashSize = 16

func hashOf(id string) []byte {
	h := sha256.Sum256([]byte(Name(id)))
	return h[:hashSize]
}

func has(filter []byte, id string) bool {
	h := hashOf(id)
	for entry := range slices.Chunk(filter, hashSize) {
		if bytes.Equal(entry, h) {
			return true
		}
	}
	return false
}

// putList adds a list and its filter to c.
func (m *Mediator) putList(ctx context.Context, c *store.Changes, scope, account string, ids []string, hashes []byte) error {
	list := record(lists, scope, ids, 0, account)
	size := len(list.Value)
	err := m.each(ctx, lists, account, func(r store.Record) error {
		if r.Key != scope {
			size += len(r.Value)
		}
		return nil
	})
	switch {
	case err != nil:
		return err
	case size > m.cfg.Limits.MaxSenderBytes:
		return &LimitError{Limit: LimitSenders}
	}
	filter := store.Record{Collection: filters, Key: scope, Value: hashes, Index: []string{account}}
	for _, r := range []store.Record{list, filter} {
		old, err := m.records().Get(ctx, r.Collection, scope)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return fmt.Errorf("mediator: %w", err)
		}
		r.Version, r.Limit = old.Version, maxOthers
		c.Put = append(c.Put, r)
	}
	return nil
}

// dropList adds the end of a list to c, if there is one.
func (m *Mediator) dropList(ctx context.Context, c *store.Changes, scope string) error {
	for _, collection := range []string{lists, filters} {
		switch r, err := m.records().Get(ctx, collection, scope); {
		case err == nil:
			c.Delete = append(c.Delete, r)
		case !errors.Is(err, store.ErrNotFound):
			return fmt.Errorf("mediator: %w", err)
		}
	}
	return nil
}

// copyList adds a copy of a list to c.
func (m *Mediator) copyList(ctx context.Context, c *store.Changes, from, to, account string) error {
	var ids []string
	_, err := m.get(ctx, lists, from, &ids)
	if errors.Is(err, ErrNotEnrolled) {
		return nil
	}
	if err != nil {
		return err
	}
	filter, err := m.records().Get(ctx, filters, from)
	if err != nil {
		return fmt.Errorf("mediator: %w", err)
	}
	return m.putList(ctx, c, to, account, ids, filter.Value)
}

// sender returns the party that has sent a forward, as Mail.Sender has it, or ErrNotAllowed.
func (m *Mediator) sender(ctx context.Context, a *Account, e *entry, f *Forward) (string, error) {
	name := Name(f.Next)
	filter, in := e.Senders, scope(a.ID, name)
	if filter.Mode == "" {
		filter, in = a.Senders, scope(a.ID, "")
	}
	listed := false
	if f.Sender != "" && (filter.Mode == Allow || filter.Mode == Block) {
		r, err := m.records().Get(ctx, filters, in)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return "", fmt.Errorf("mediator: %w", err)
		}
		listed = has(r.Value, f.Sender)
	}
	if listed && filter.Mode == Block {
		return "", ErrNotAllowed
	}
	capability := ""
	if f.Capability != "" && len(f.Capability) <= maxToken {
		var c Capability
		switch _, err := m.get(ctx, capabilities, hashed(f.Capability), &c); {
		case errors.Is(err, ErrNotEnrolled):
		case err != nil:
			return "", err
		case c.Account == a.ID && (c.Recipient == "" || Name(c.Recipient) == name) && (c.Expires.IsZero() || m.cfg.Now().Before(c.Expires)):
			capability = "cap:" + c.ID
		}
	}
	if !listed && capability == "" && (filter.Mode == Allow || filter.Mode == Block && filter.RefuseAnonymous && f.Sender == "") {
		return "", ErrNotAllowed
	}
	if capability != "" && f.Sender == "" {
		return capability, nil
	}
	return m.meter.party(f, name, m.cfg.Now()), nil
}

// Capability is what a recipient gives to somebody who may send, whatever the list of senders. A
// capability names nobody: whoever has its token may send.
type Capability struct {
	ID        string    `json:"id"` // tells the capability from others, and is no secret
	Account   string    `json:"account"`
	Recipient string    `json:"recipient,omitzero"` // the only DID that it is for, or empty
	Name      string    `json:"name,omitzero"`      // what the owner calls it
	Created   time.Time `json:"created"`
	Expires   time.Time `json:"expires,omitzero"` // zero for never
}

// maxToken is the largest size of the token of a capability, in bytes, and maxName that of its name.
const maxToken, maxName = 64, 256

// NewCapability makes a capability of the account of a device, for all recipients or for one, until
// expires if that is not zero. The token has 144 random bits, and the mediator keeps a hash alone.
// Errors are ErrNotEnrolled, ErrBlocked, ErrRecipient for a recipient of others, a *LimitError and
// those of the store.
func (m *Mediator) NewCapability(ctx context.Context, device, recipient, name string, expires time.Time) (token string, c Capability, err error) {
	a, err := m.changes(ctx, device)
	if err != nil {
		return "", c, err
	}
	if recipient != "" {
		e, err := m.entry(ctx, Name(recipient))
		switch {
		case errors.Is(err, ErrNotEnrolled), err == nil && e.Account != a.ID:
			return "", c, ErrRecipient
		case err != nil:
			return "", c, err
		}
	}
	if len(name) > maxName {
		return "", c, &LimitError{Limit: LimitName}
	}
	given, err := m.Capabilities(ctx, device)
	if err != nil {
		return "", c, err
	}
	if len(given) >= m.cfg.Limits.MaxCapabilities {
		return "", c, &LimitError{Limit: LimitCapabilities}
	}
	token = random(18)
	key := hashed(token)
	c = Capability{ID: key[:12], Account: a.ID, Recipient: recipient, Name: name, Created: m.cfg.Now(), Expires: expires}
	r := record(capabilities, key, c, 0, a.ID)
	r.Expires, r.Limit = expires, maxOthers
	return token, c, m.change(ctx, a.ID, func() (*store.Changes, error) {
		return &store.Changes{Put: []store.Record{r}}, nil
	})
}

// Capabilities returns the capabilities of the account of a device that have not expired. Errors are
// ErrNotEnrolled, ErrBlocked and those of the store.
func (m *Mediator) Capabilities(ctx context.Context, device string) ([]Capability, error) {
	a, err := m.Account(ctx, device)
	if err != nil {
		return nil, err
	}
	var list []Capability
	err = m.each(ctx, capabilities, a.ID, func(r store.Record) error {
		var c Capability
		list = append(list, c)
		return read(r, &list[len(list)-1])
	})
	return list, err
}

// RevokeCapability ends a capability of the account of a device. It is no error if there is no such
// capability. Errors are ErrNotEnrolled, ErrBlocked and those of the store.
func (m *Mediator) RevokeCapability(ctx context.Context, device, id string) error {
	a, err := m.changes(ctx, device)
	if err != nil {
		return err
	}
	return m.each(ctx, capabilities, a.ID, func(r store.Record) error {
		var c Capability
		if err := read(r, &c); err != nil || c.ID != id {
			return err
		}
		err := m.records().Delete(ctx, capabilities, r.Key, 0)
		if errors.Is(err, store.ErrNotFound) {
			return nil
		}
		return err
	})
}
