package home

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/didcomm-go/didcomm/agent/identity"
	"github.com/didcomm-go/didcomm/agent/keyring"
	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/agent/store/sqlstore"
)

// wrongPassphrase is keyring.ErrPassphrase in the words of a person.
type wrongPassphrase struct{}

func (wrongPassphrase) Error() string { return "wrong passphrase" }
func (wrongPassphrase) Unwrap() error { return keyring.ErrPassphrase }

// ErrNoKeys tells that a home has no keys yet.
var ErrNoKeys = errors.New("there is no agent's keyring yet; didcomm serve, key new and did create make it")

// HasKeys tells whether an agent has keys in its store.
func HasKeys(ctx context.Context, cfg Config) (bool, error) {
	s, err := cfg.openKeys(ctx)
	if errors.Is(err, ErrNoKeys) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, s.Close()
}

// openKeys opens a store that has keys. It makes nothing.
func (c Config) openKeys(ctx context.Context) (*sqlstore.Store, error) {
	if c.URL == "" {
		if c.Dir == "" {
			return nil, ErrNoKeys
		}
		if _, err := os.Lstat(c.path()); errors.Is(err, fs.ErrNotExist) {
			return nil, cmp.Or(c.lacking(), ErrNoKeys)
		}
	}
	s, err := c.open(ctx, false)
	if err != nil {
		return nil, err
	}
	_, err = s.SealedKeys().Wrapping(ctx)
	if errors.Is(err, store.ErrNotFound) {
		err = cmp.Or(c.lacking(), ErrNoKeys)
	}
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// unseal opens or makes the keyring in an open store.
func (c Config) unseal(ctx context.Context, s *sqlstore.Store) (*Home, error) {
	ring, w, err := c.unlock(ctx, s.SealedKeys())
	if err != nil {
		return nil, err
	}
	if len(ring.KIDs()) == 0 {
		if ring, err = settle(ctx, s.SealedKeys(), ring, w); err != nil {
			return nil, err
		}
	}
	h := &Home{Store: s, Ring: ring, cfg: c, clear: w.Name() == keyring.NoneName}
	if h.Pair, err = firstTwo(ctx, ring); err != nil {
		return nil, fmt.Errorf("the agent's keys: %w", err)
	}
	if err := c.mark(ring.KIDs()[:2]); err != nil {
		return nil, err
	}
	h.Set, err = c.newSet(ctx, s, ring)
	return h, err
}

// unlock opens the sealed keys, or makes an empty ring of them.
func (c Config) unlock(ctx context.Context, keys store.SealedKeys) (*keyring.Sealed, keyring.Wrapper, error) {
	by, err := keyring.WrappedBy(ctx, keys)
	missing := errors.Is(err, store.ErrNotFound)
	if err != nil && !missing {
		return nil, nil, err
	}
	if missing {
		if err := c.lacking(); err != nil {
			return nil, nil, err
		}
	}
	var secret []byte
	if c.Passphrase != nil {
		if secret, err = c.Passphrase(ctx, by == keyring.PassphraseName); err != nil {
			return nil, nil, err
		}
	}
	w := wrapper(secret)
	if missing {
		ring, err := keyring.Create(ctx, keys, w)
		if err == nil {
			if secret == nil {
				c.notice("The agent's private keys are in %s, protected by %s only; protect them by a passphrase with didcomm key passwd.", c.where(), c.guard())
			}
			return ring, w, nil
		}
		if !errors.Is(err, store.ErrExists) {
			return nil, nil, err
		}
		// Another process was faster, or what wraps the keys was lost.
		if by, err = keyring.WrappedBy(ctx, keys); err != nil {
			return nil, nil, fmt.Errorf("the agent's sealed keys cannot be opened, and are left as they are: %w", err)
		}
	}
	switch {
	case by == keyring.PassphraseName && secret == nil:
		return nil, nil, errors.New("the agent's keys need their passphrase: give --passphrase-file FILE or DIDCOMM_PASSPHRASE, or be at a terminal")
	case by == keyring.NoneName && secret != nil:
		return nil, nil, errors.New("a passphrase is given, but the agent's keys are not protected by one yet; do that with didcomm key passwd")
	}
	ring, err := keyring.Open(ctx, keys, w)
	if errors.Is(err, keyring.ErrPassphrase) {
		err = wrongPassphrase{}
	}
	return ring, w, err
}

func wrapper(secret []byte) keyring.Wrapper {
	if secret == nil {
		return keyring.None()
	}
	return keyring.Passphrase(secret, keyring.Argon2id{})
}

// settle gives an empty ring the agent's own keys, new ones. Of several processes
// that do, the keys of the first are the agent's.
func settle(ctx context.Context, keys store.SealedKeys, ring *keyring.Sealed, w keyring.Wrapper) (*keyring.Sealed, error) {
	pair, err := identity.Generate(keyring.Ed25519)
	if err != nil {
		return nil, err
	}
	id, err := identity.Peer2(pair)
	if err != nil {
		return nil, err
	}
	made, err := id.Keyring()
	if err != nil {
		return nil, err
	}
	if err := ring.AddAll(ctx, made); err != nil {
		return nil, err
	}
	all, err := keyring.Open(ctx, keys, w)
	if err != nil {
		return nil, err
	}
	first, mine := all.KIDs(), made.KIDs()
	if first[0] == mine[0] {
		return all, nil
	}
	for _, kid := range mine {
		if err := all.Delete(ctx, kid); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// SetPassphrase protects an agent's keys by the passphrase that fresh gives, or by
// none if that is nil. It makes the keys where there are none.
func SetPassphrase(ctx context.Context, cfg Config, fresh func(context.Context) ([]byte, error)) (err error) {
	s, err := cfg.openNew(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	by, err := keyring.WrappedBy(ctx, s.SealedKeys())
	switch {
	case errors.Is(err, store.ErrNotFound): // never store them in clear
		secret, err := fresh(ctx)
		if err != nil {
			return err
		}
		cfg.Passphrase = func(context.Context, bool) ([]byte, error) { return secret, nil }
		_, err = cfg.unseal(ctx, s)
		return err
	case err != nil:
		return err
	case by == keyring.NoneName:
		cfg.Passphrase = nil
	}
	h, err := cfg.unseal(ctx, s)
	if err != nil {
		return err
	}
	secret, err := fresh(ctx)
	if err != nil {
		return err
	}
	return h.Ring.Rewrap(ctx, wrapper(secret))
}

// firstTwo takes the first two keys of a ring: one that signs, one that agrees on keys.
func firstTwo(ctx context.Context, ring *keyring.Sealed) (identity.Pair, error) {
	kids := ring.KIDs()
	if len(kids) < 2 {
		return identity.Pair{}, fmt.Errorf("%w: %d keys instead of 2", keyring.ErrInvalid, len(kids))
	}
	return identity.Find(ctx, ring, kids[0], kids[1])
}
