package home

import (
	"context"
	"errors"

	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/identity"
	"github.com/didcomm-go/didcomm/agent/keyring"
	"github.com/didcomm-go/didcomm/agent/store/sqlstore"
	"github.com/gofrs/flock"
)

// Home is the open home of an agent: its store, and the keys in that. Close it.
type Home struct {
	Store *sqlstore.Store
	Ring  *keyring.Sealed
	// Set has the DIDs that the agent of the home answers for.
	Set *identity.Set
	// Pair is the agent's own keys: the first two in the ring, which stay the first when
	// several processes make keys at the same time.
	Pair identity.Pair

	cfg   Config
	clear bool         // no passphrase protects the keys
	lock  *flock.Flock // of the process that serves the home, else nil
}

// Open opens the home of an agent, and makes the home, the keyring and the agent's
// own keys where there are none. A passphrase that is wrong is
// keyring.ErrPassphrase.
func Open(ctx context.Context, cfg Config) (*Home, error) {
	return cfg.unsealed(ctx, cfg.openNew)
}

// unsealed opens the store with open, and the keyring in the store.
func (c Config) unsealed(ctx context.Context, open func(context.Context) (*sqlstore.Store, error)) (*Home, error) {
	s, err := open(ctx)
	if err != nil {
		return nil, err
	}
	h, err := c.unseal(ctx, s)
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return h, nil
}

// OpenOld is Open, but makes nothing: a home without keys is an ErrNoKeys.
func OpenOld(ctx context.Context, cfg Config) (*Home, error) {
	return cfg.unsealed(ctx, cfg.openKeys)
}

// OpenToServe is Open for the one process that serves the home, until Close. Items
// that a former process had leased in the home's own database can be leased at once. The
// log tells of keys that others on the machine can read, and of a directory that they can
// write to.
func OpenToServe(ctx context.Context, cfg Config) (*Home, error) {
	if err := cfg.makeDir(); err != nil {
		return nil, err
	}
	lock, err := cfg.acquire(ctx)
	if err != nil {
		return nil, err
	}
	s, err := cfg.open(ctx, cfg.URL == "")
	if err != nil {
		return nil, errors.Join(err, lock.Unlock())
	}
	h, err := cfg.unseal(ctx, s)
	if err != nil {
		return nil, errors.Join(err, s.Close(), lock.Unlock())
	}
	h.lock = lock
	if h.clear && cfg.exposed() && cfg.Logger != nil {
		cfg.Logger.Warn("others on this machine can get at the agent's private keys; mend it with chmod 600", "file", cfg.path())
	}
	if cfg.writable() && cfg.Logger != nil {
		cfg.Logger.Warn("others on this machine can replace or delete the files of the home directory; mend it with chmod 700", "directory", cfg.Dir)
	}
	return h, nil
}

// Close closes the store, and ends that this process serves the home.
func (h *Home) Close() error {
	err := h.Store.Close()
	if h.lock != nil {
		err = errors.Join(err, h.lock.Unlock())
	}
	return err
}

// Check returns an error if the store cannot work, for example because its files are gone or
// its database does not answer. It waits until ctx ends.
func (h *Home) Check(ctx context.Context) error { return h.Store.Check(ctx) }

// Where names the store.
func (h *Home) Where() string { return h.cfg.where() }

// AddKeys adds keys to the ring. Errors are those of keyring.Sealed.AddAll.
func (h *Home) AddKeys(ctx context.Context, keys *keyring.Keyring) error {
	err := h.Ring.AddAll(ctx, keys)
	if err == nil {
		h.checkpoint(ctx)
	}
	return err
}

// Export returns those private keys of the ring that kids name, all if there are
// none.
func (h *Home) Export(kids ...string) (*keyring.Keyring, error) {
	if len(kids) == 0 {
		kids = h.Ring.KIDs()
	}
	keys := keyring.New()
	for _, kid := range kids {
		key, err := h.Ring.Key(kid)
		if err == nil {
			err = keys.Add(kid, key)
		}
		if err != nil {
			return nil, err
		}
	}
	return keys, nil
}

// Keys returns all private keys of the home: those of its DIDs, also of the retired ones,
// and the other keys in the ring. It works until Close.
func (h *Home) Keys() envelope.Keys { return &allKeys{h.Set, h.Ring} }
