package mediator

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/didcomm-go/didcomm/agent/store"
)

// Collections of the records of a mediator.
const (
	accounts   = "mediator/account"
	devices    = "mediator/device"
	recipients = "mediator/recipient"
)

// Account is what a mediator knows about an account.
type Account struct {
	// ID is the name of the first device.
	ID      string    `json:"id"`
	Devices []Device  `json:"devices"`
	Created time.Time `json:"created"`
	// Blocked is when the operator blocked the account, or zero.
	Blocked time.Time `json:"blocked,omitzero"`

	version uint64
}

// Device is a device of an account.
type Device struct {
	Name   string    `json:"name"` // see Name
	DID    string    `json:"did"`  // in the form in which the device has enrolled
	Joined time.Time `json:"joined"`
}

// device is the value of a record of devices, and registration that of recipients.
type (
	device struct {
		Account string `json:"account"`
	}
	registration struct {
		Account string    `json:"account"`
		DID     string    `json:"did"` // as the account spells it
		Since   time.Time `json:"since"`
		Proven  bool      `json:"proven,omitzero"`
	}
)

// Enroll makes an account with the device id, or returns the account that the device has.
// The token is what the request has brought to be admitted, or empty. Errors are ErrDenied,
// ErrBlocked, a *LimitError and those of the store.
func (m *Mediator) Enroll(ctx context.Context, id, token string) (*Account, error) {
	switch a, err := m.Account(ctx, id); {
	case err == nil, !errors.Is(err, ErrNotEnrolled):
		return a, err
	}
	if err := m.admit(ctx, id, token); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	name, now := Name(id), m.cfg.Now()
	a := &Account{ID: name, Devices: []Device{{Name: name, DID: id, Joined: now}}, Created: now}
	c := &store.Changes{Put: []store.Record{
		record(accounts, name, a, 0),
		record(devices, name, device{Account: name}, 0, name),
	}}
	if r, err := m.records().Get(ctx, recipients, name); err == nil { // the DID of a device beats any registration
		c.Delete = []store.Record{r}
	}
	if err := m.cfg.Store.Commit(ctx, c); err != nil {
		if errors.Is(err, store.ErrVersion) { // another process was faster
			return m.Account(ctx, id)
		}
		return nil, fmt.Errorf("mediator: enroll: %w", err)
	}
	return a, nil
}

func (m *Mediator) admit(ctx context.Context, id, token string) error {
	ad := m.cfg.Admission
	switch {
	case ad.Allow == nil && ad.Token == nil:
		return nil
	case slices.ContainsFunc(ad.Allow, func(a string) bool { return Name(a) == Name(id) }):
		return nil
	case ad.Token != nil && ad.Token(ctx, id, token) == nil:
		return nil
	}
	return ErrDenied
}

// Account returns the account of a device. Errors are ErrNotEnrolled, ErrBlocked and those of
// the store.
func (m *Mediator) Account(ctx context.Context, id string) (*Account, error) {
	var d device
	if _, err := m.get(ctx, devices, Name(id), &d); err != nil {
		return nil, err
	}
	return m.account(ctx, d.Account)
}

// Owner returns the account that gets the mail of a recipient. Errors are those of Account.
func (m *Mediator) Owner(ctx context.Context, recipient string) (*Account, error) {
	a, err := m.Account(ctx, recipient)
	if !errors.Is(err, ErrNotEnrolled) {
		return a, err
	}
	var r registration
	if _, err := m.get(ctx, recipients, Name(recipient), &r); err != nil {
		return nil, err
	}
	return m.account(ctx, r.Account)
}

func (m *Mediator) account(ctx context.Context, id string) (*Account, error) {
	a := new(Account)
	r, err := m.get(ctx, accounts, id, a)
	if err != nil {
		return nil, err
	}
	a.version = r.Version
	if !a.Blocked.IsZero() {
		return nil, ErrBlocked
	}
	return a, nil
}

// get reads a record into v. A record that does not exist is ErrNotEnrolled.
func (m *Mediator) get(ctx context.Context, collection, key string, v any) (store.Record, error) {
	r, err := m.records().Get(ctx, collection, key)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return r, ErrNotEnrolled
	case err != nil:
		return r, fmt.Errorf("mediator: %w", err)
	}
	if err := json.Unmarshal(r.Value, v); err != nil {
		return r, fmt.Errorf("mediator: record %s %s: %w", collection, key, err)
	}
	return r, nil
}

func record(collection, key string, v any, version uint64, index ...string) store.Record {
	value, err := json.Marshal(v)
	if err != nil {
		panic(err) // the types of this package can be marshalled
	}
	return store.Record{Collection: collection, Key: key, Value: value, Version: version, Index: index}
}

func (m *Mediator) records() store.Records { return m.cfg.Store.Records() }
