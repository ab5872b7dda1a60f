package mediator

import (
	"context"
	"sync"
	"time"

	"github.com/didcomm-go/didcomm/did/lru"
)

// cache remembers who has which name, for Accept. Its entries are as old as the last look of Run
// at the accounts at most: each change of a name changes the record of the account that has the name,
// and of the account that loses the name. Without a Run, nothing is remembered.
type cache struct {
	mu       sync.Mutex // guards all below
	looked   time.Time  // when the last look began
	forgets  uint64     // counts calls of forget
	names    lru.Map[string, known]
	accounts lru.Map[string, *Account]
}

// known holds while cache.accounts has the same account. Neither is changed.
type known struct {
	entry   *entry
	account *Account
	read    time.Time // before entry and account were read
}

const (
	maxKnown = 20_000
	// maxStale is the largest age of what the cache knows.
	maxStale = 250 * time.Millisecond
	// maxRead is the largest age of what the cache knows if looks do not find a change: those of
	// processes whose clocks are behind by more than watchAgain. It is shorter than grace, so
	// that mail for the loser of a name still moves.
	maxRead = grace / 2
)

// get returns who has a name, or else a function that remembers what was read after the call.
func (c *cache) get(name string) (k known, ok bool, remember func(known)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	if now.Sub(c.looked) < maxStale {
		if k, ok := c.names.Get(name); ok && now.Sub(k.read) < maxRead {
			if a, ok := c.accounts.Get(k.account.ID); ok && a == k.account {
				return k, true, nil
			}
		}
	}
	before := c.forgets
	return known{}, false, func(k known) {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.forgets != before { // what was read may be old
			return
		}
		if a, ok := c.accounts.Get(k.account.ID); ok && a.version == k.account.version {
			k.account = a
		}
		k.read = now
		c.accounts.Put(k.account.ID, k.account)
		c.names.Put(name, k)
		if c.names.Len() > maxKnown {
			c.names.RemoveOldest()
		}
		if c.accounts.Len() > maxKnown {
			c.accounts.RemoveOldest()
		}
	}
}

// forget forgets accounts that have changed, and their names.
func (c *cache) forget(accounts ...string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.forgets++
	for _, id := range accounts {
		c.accounts.Remove(id)
	}
}

// seen notes that a look, which began at a time, has found all changes until then.
func (c *cache) seen(at time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.looked = at
}

// ownerForMail is owner for what only reads the account and the entry, and may be as old as maxStale
// if another process changes them.
func (m *Mediator) ownerForMail(ctx context.Context, id string) (*Account, *entry, error) {
	if len(id) > m.cfg.Limits.MaxDID {
		return nil, nil, ErrNotEnrolled
	}
	k, ok, remember := m.cache.get(Name(id))
	if ok {
		return k.account, k.entry, nil
	}
	a, e, err := m.owner(ctx, id)
	if err == nil {
		remember(known{entry: e, account: a})
	}
	return a, e, err
}
