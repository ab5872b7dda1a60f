package mediator

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/netip"
	"slices"
	"time"

	"github.com/didcomm-go/didcomm/agent/store"
)

// Enrolment is a request to enroll.
type Enrolment struct {
	// ID is the DID that enrolls. The request must have proven it.
	ID string
	// Token is what the request has brought to be admitted, or empty.
	Token string
	// Address is the address that the request came from, or the zero Addr.
	Address netip.Addr
}

// Enroll is Admit without an address. It does not tell who has lost the DID.
func (m *Mediator) Enroll(ctx context.Context, id, token string) (*Account, error) {
	a, _, err := m.Admit(ctx, Enrolment{ID: id, Token: token})
	return a, err
}

// Admit makes an account with the device e.ID, or returns the account that the device has.
// Change.Changed tells that the account is new. If another account had registered the DID, that
// account has lost it, and the mail that waits for the DID moves to the new account. Errors are
// ErrDenied, ErrBlocked, ErrRecipient, a *LimitError and those of the store.
func (m *Mediator) Admit(ctx context.Context, e Enrolment) (*Account, Change, error) {
	switch a, err := m.Account(ctx, e.ID); {
	case err == nil, !errors.Is(err, ErrNotEnrolled):
		return a, Change{}, err
	case !m.valid(e.ID), m.ours(ctx, e.ID):
		return nil, Change{}, ErrRecipient
	}
	if err := m.meter.enrolment(e.Address, m.cfg.Now()); err != nil {
		return nil, Change{}, m.refused(ctx, Event{Recipient: Name(e.ID)}, err)
	}
	var (
		a *Account
		d displaced
	)
	open := m.admits(ctx, e)
	err := m.change(ctx, Name(e.ID), func() (_ *store.Changes, err error) {
		a, d, err = m.newAccount(ctx, e.ID)
		if err != nil || a.version != 0 {
			return nil, err // another process was faster
		}
		holder, old, err := m.holder(ctx, d.name)
		if err != nil {
			return nil, err
		}
		c := &store.Changes{Put: []store.Record{a.record()}}
		c.Put[0].Limit = m.cfg.Limits.MaxAccounts
		if !open {
			if err := m.useToken(ctx, c, e.Token); err != nil {
				return nil, err
			}
		}
		return c, m.take(ctx, c, &d, holder, old)
	})
	if err != nil {
		return nil, Change{}, m.refused(ctx, Event{Recipient: Name(e.ID)}, err)
	}
	m.moveMail(ctx, d.loser)
	return a, Change{Changed: d.name != "", Loser: d.loser}, nil
}

// newAccount returns a new account with the device id, and what its DID displaces. If there is an
// account by now, it returns that.
func (m *Mediator) newAccount(ctx context.Context, id string) (*Account, displaced, error) {
	if a, err := m.Account(ctx, id); !errors.Is(err, ErrNotEnrolled) {
		return a, displaced{}, err
	}
	name, now := Name(id), m.cfg.Now()
	a := &Account{ID: name, Devices: []Device{newDevice(id, now)}, Created: now, Unused: true}
	switch _, err := m.anyAccount(ctx, name); {
	case err == nil: // the first device of another account, which the device has left, or which has ended
		a.ID += "#" + random(9)
	case !errors.Is(err, ErrNotEnrolled):
		return nil, displaced{}, err
	}
	return a, displaced{name: name, to: entry{Account: a.ID, DID: id, Since: now, Device: true, Proven: true}}, nil
}

func newDevice(id string, now time.Time) Device {
	name := Name(id)
	return Device{Name: name, DID: id, Joined: now, Box: name + "#" + random(9)}
}

// random returns n random bytes in base64url.
func random(n int) string {
	b := make([]byte, n)
	rand.Read(b) // never fails
	return base64.RawURLEncoding.EncodeToString(b)
}

// hashed is the key of a record for a secret.
func hashed(secret string) string {
	h := sha256.Sum256([]byte(secret))
	return base64.RawURLEncoding.EncodeToString(h[:])
}

// admits reports whether the DID may enroll without a token of NewToken.
func (m *Mediator) admits(ctx context.Context, e Enrolment) bool {
	ad := m.cfg.Admission
	return ad.Allow == nil && ad.Token == nil && !ad.Tokens ||
		slices.ContainsFunc(ad.Allow, func(id string) bool { return Name(id) == Name(e.ID) }) ||
		ad.Token != nil && ad.Token(ctx, e.ID, e.Token) == nil
}

// useToken adds to c the change that uses up a token of NewToken. It returns ErrDenied if there
// is no such token.
func (m *Mediator) useToken(ctx context.Context, c *store.Changes, secret string) error {
	if !m.cfg.Admission.Tokens || secret == "" {
		return ErrDenied
	}
	var t token
	version, err := m.get(ctx, tokens, hashed(secret), &t)
	if errors.Is(err, ErrNotEnrolled) {
		return ErrDenied
	}
	if err != nil {
		return err
	}
	t.Left--
	r := record(tokens, hashed(secret), t, version)
	if r.Expires = t.Expires; t.Left <= 0 {
		c.Delete = append(c.Delete, r)
	} else {
		c.Put = append(c.Put, r)
	}
	return nil
}

// token is a token that NewToken has made.
type token struct {
	Left    int       `json:"left"` // how many may still enroll with the token
	Expires time.Time `json:"expires,omitzero"`
}

// NewToken makes a token with which uses DIDs may enroll, until expires if that is not zero:
// see Admission.Tokens. The mediator keeps a hash of the token alone. Errors are a *LimitError
// and those of the store.
func (m *Mediator) NewToken(ctx context.Context, uses int, expires time.Time) (string, error) {
	secret := random(18)
	r := record(tokens, hashed(secret), token{Left: uses, Expires: expires}, 0)
	r.Expires, r.Limit = expires, maxTokens
	return secret, m.change(ctx, r.Key, func() (*store.Changes, error) {
		return &store.Changes{Put: []store.Record{r}}, nil
	})
}

// RevokeToken ends a token of NewToken. Errors are those of the store.
func (m *Mediator) RevokeToken(ctx context.Context, secret string) error {
	err := m.records().Delete(ctx, tokens, hashed(secret), 0)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	return err
}

const maxTokens = 1_000_000 // tokens that are not used up or expired
