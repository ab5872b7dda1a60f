package mediator

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"slices"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/didcomm-go/didcomm/agent/store"
)

// Collections of the records of a mediator.
const (
	accounts     = "mediator/account"    // by id of the account: an Account
	recipients   = "mediator/recipient"  // by name: an entry; Index has the account
	moves        = "mediator/move"       // by name: a move; Index has the account that has lost the name
	lists        = "mediator/list"       // by scope: the DIDs of a list of senders; Index has the account
	filters      = "mediator/filter"     // by scope: the hashes of these DIDs; Index has the account
	capabilities = "mediator/capability" // by hash: a Capability; Index has the account
	tickets      = "mediator/ticket"     // by hash: tickets that were used
	tokens       = "mediator/token"      // by hash: a token of NewToken
	marks        = "mediator/mark"       // what a Run has put to learn the newest version
)

// How many records of a kind all accounts have together, so that a flood leaves room for the records of
// others.
const (
	maxRegistered = 4_000_000 // recipients
	maxOthers     = 1_000_000 // capabilities, and lists of senders
)

// Account is what a mediator knows about an account.
type Account struct {
	// ID is the name of the first device. If there has been an account with this ID, a random
	// part follows the name.
	ID      string    `json:"id"`
	Devices []Device  `json:"devices"`
	Created time.Time `json:"created"`
	// Recipients is how many DIDs the account has registered.
	Recipients int `json:"recipients"`
	// Blocked is when the operator blocked the account, or zero.
	Blocked time.Time `json:"blocked,omitzero"`
	// Senders is how the account restricts who may send, but for recipients with a list of
	// their own.
	Senders Filter `json:"senders,omitzero"`

	// Unused tells that no device has used its box yet: see Limits.MaxUnused.
	Unused bool `json:"unused,omitzero"`

	Lost time.Time `json:"lost,omitzero"` // when the account lost a recipient whose mail may still have to move
	Gone time.Time `json:"gone,omitzero"` // when the account ended; the record stays a while for other processes

	version uint64
}

// Device is a device of an account.
type Device struct {
	Name   string    `json:"name"` // see Name
	DID    string    `json:"did"`  // in the form in which the device has enrolled
	Joined time.Time `json:"joined"`
	// Box is the name of the box of the device in the Mailbox. A device that leaves and
	// joins again has another box.
	Box string `json:"box"`
}

// boxes are the names of the boxes of the devices.
func (a *Account) boxes() []string {
	list := make([]string, len(a.Devices))
	for i := range a.Devices {
		list[i] = a.Devices[i].Box
	}
	return list
}

func (a *Account) device(name string) (d Device, ok bool) {
	i := slices.IndexFunc(a.Devices, func(d Device) bool { return d.Name == name })
	if i < 0 {
		return d, false
	}
	return a.Devices[i], true
}

// record is the record that replaces the one that a was read from.
func (a *Account) record() store.Record {
	r := record(accounts, a.ID, a, a.version)
	if a.Unused {
		r.Index = []string{unused}
	}
	return r
}

// unused is in the Index of the accounts that are unused.
const unused = "unused"

// entry tells which account has a recipient.
type entry struct {
	Account string    `json:"account"`
	DID     string    `json:"did"` // as the account spells it
	Since   time.Time `json:"since"`
	Device  bool      `json:"device,omitzero"` // the DID of a device
	// Registered tells that Recipients lists the DID, and Proven that there was a proof.
	Registered bool   `json:"registered,omitzero"`
	Proven     bool   `json:"proven,omitzero"`
	Senders    Filter `json:"senders,omitzero"`

	version uint64
}

// record is the record that replaces the one that e was read from.
func (e *entry) record(name string) store.Record {
	return record(recipients, name, e, e.version, e.Account)
}

// Account returns the account of a device. Errors are ErrNotEnrolled, ErrBlocked and those of
// the store.
func (m *Mediator) Account(ctx context.Context, id string) (*Account, error) {
	a, _, err := m.member(ctx, id)
	return a, err
}

// member returns the account of a device, and the device.
func (m *Mediator) member(ctx context.Context, id string) (*Account, Device, error) {
	a, e, err := m.owner(ctx, id)
	switch {
	case err != nil:
		return nil, Device{}, err
	case !e.Device:
		return nil, Device{}, ErrNotEnrolled
	case !a.Blocked.IsZero():
		return nil, Device{}, ErrBlocked
	}
	d, ok := a.device(Name(id))
	if !ok { // the device leaves at this moment
		return nil, Device{}, ErrNotEnrolled
	}
	return a, d, nil
}

// Owner returns the account that gets the mail of a recipient. Errors are those of Account.
func (m *Mediator) Owner(ctx context.Context, recipient string) (*Account, error) {
	a, _, err := m.owner(ctx, recipient)
	if err == nil && !a.Blocked.IsZero() {
		return nil, ErrBlocked
	}
	return a, err
}

// owner returns the account that has a recipient, also if the account is blocked.
func (m *Mediator) owner(ctx context.Context, id string) (*Account, *entry, error) {
	if len(id) > m.cfg.Limits.MaxDID {
		return nil, nil, ErrNotEnrolled
	}
	e, err := m.entry(ctx, Name(id))
	if err != nil {
		return nil, nil, err
	}
	a, err := m.account(ctx, e.Account)
	if err != nil {
		return nil, nil, err
	}
	return a, e, nil
}

// holder returns the entry of a name, which is empty if there is none, and the account that has the
// name, blocked or not, or nil.
func (m *Mediator) holder(ctx context.Context, name string) (*Account, *entry, error) {
	e, err := m.entry(ctx, name)
	if err != nil {
		if errors.Is(err, ErrNotEnrolled) {
			err = nil
		}
		return nil, e, err
	}
	a, err := m.account(ctx, e.Account)
	if errors.Is(err, ErrNotEnrolled) { // the rest of an account that has ended
		return nil, e, nil
	}
	return a, e, err
}

// changes returns the account of a device that wants to change something. Errors are those of Account
// and a *LimitError.
func (m *Mediator) changes(ctx context.Context, device string) (*Account, error) {
	a, err := m.Account(ctx, device)
	if err != nil {
		return nil, err
	}
	if err := m.meter.change(a.ID, m.cfg.Now()); err != nil {
		return nil, m.refused(ctx, Event{Account: a.ID}, err)
	}
	return a, nil
}

func (m *Mediator) entry(ctx context.Context, name string) (*entry, error) {
	e := new(entry)
	var err error
	e.version, err = m.get(ctx, recipients, name, e)
	return e, err
}

// account returns an account by its ID, also if it is blocked. An account that has ended is
// ErrNotEnrolled.
func (m *Mediator) account(ctx context.Context, id string) (*Account, error) {
	a, err := m.anyAccount(ctx, id)
	if err == nil && !a.Gone.IsZero() {
		return nil, ErrNotEnrolled
	}
	return a, err
}

func (m *Mediator) anyAccount(ctx context.Context, id string) (*Account, error) {
	a := new(Account)
	var err error
	if a.version, err = m.get(ctx, accounts, id, a); err != nil {
		return nil, err
	}
	return a, nil
}

// get reads a record into v, and returns its version. A record that does not exist is
// ErrNotEnrolled.
func (m *Mediator) get(ctx context.Context, collection, key string, v any) (version uint64, err error) {
	r, err := m.records().Get(ctx, collection, key)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return 0, ErrNotEnrolled
	case err != nil:
		return 0, fmt.Errorf("mediator: %w", err)
	}
	return r.Version, read(r, v)
}

func read(r store.Record, v any) error {
	if err := json.Unmarshal(r.Value, v); err != nil {
		return fmt.Errorf("mediator: record %s %s: %w", r.Collection, r.Key, err)
	}
	return nil
}

func record(collection, key string, v any, version uint64, index ...string) store.Record {
	value, err := json.Marshal(v)
	if err != nil {
		panic(err) // the types of this package can be marshalled
	}
	return store.Record{Collection: collection, Key: key, Value: value, Version: version, Index: index}
}

func (m *Mediator) records() store.Records { return m.cfg.Store.Records() }

// each calls f for the records of a collection with a name in their Index, or for all with an
// empty name. It reads them in pages.
func (m *Mediator) each(ctx context.Context, collection, index string, f func(store.Record) error) error {
	const page = 500
	for after := uint64(0); ; {
		list, err := m.records().List(ctx, store.Query{Collection: collection, Index: index, After: after, N: page})
		if err != nil {
			return fmt.Errorf("mediator: %w", err)
		}
		for _, r := range list {
			after = r.Version
			if err := f(r); err != nil {
				return err
			}
		}
		if len(list) < page {
			return nil
		}
	}
}

// change makes the changes that f returns, together. If what f has read has changed meanwhile, it
// calls f again. f returns no Changes if there is nothing to change. Changes with the same
// name do not get in each other's way within this process.
func (m *Mediator) change(ctx context.Context, name string, f func() (*store.Changes, error)) error {
	lock := &m.locks[maphash.String(m.seed, name)%uint64(len(m.locks))]
	lock.Lock()
	defer lock.Unlock()
	for try := 0; ; try++ {
		c, err := f()
		if err != nil || c == nil {
			return err
		}
		err = m.cfg.Store.Commit(ctx, c)
		m.cache.forget(changed(c)...) // also after an error, which does not always tell whether the changes hold
		switch {
		case err == nil:
			m.watches.changed(changed(c)...)
			return nil
		case errors.Is(err, store.ErrFull):
			return &LimitError{Limit: store.LimitStore, RetryAfter: retryFull}
		case try == maxTries, !errors.Is(err, store.ErrVersion) && !errors.Is(err, store.ErrNotFound):
			return fmt.Errorf("mediator: %w", err)
		}
	}
}

// changed are the accounts that changes put.
func changed(c *store.Changes) []string {
	var ids []string
	for _, r := range c.Put {
		if r.Collection == accounts {
			ids = append(ids, r.Key)
		}
	}
	return ids
}

// maxTries is how often change calls f again: many processes may change one account at a time.
const maxTries = 50
