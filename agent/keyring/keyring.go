package keyring

import (
	"context"
	"crypto"
	"crypto/ecdh"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"

	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/did"
)

// Errors that users act on; match them with errors.Is.
var (
	// ErrInvalid: a key, key id or secrets file that breaks its form, or a key
	// of a type that is not held here.
	ErrInvalid = errors.New("keyring: invalid")
	// ErrDuplicate: another key is held under this key id.
	ErrDuplicate = errors.New("keyring: key id is taken by another key")
	// ErrPassphrase: the passphrase is not the one that a Sealed is wrapped by.
	ErrPassphrase = errors.New("keyring: wrong passphrase")
	// ErrWrapper: a Sealed is wrapped by something else.
	ErrWrapper = errors.New("keyring: opened by the wrong means")
)

// Keyring holds private keys by key id. Use New. All methods may be called at
// the same time from many goroutines.
type Keyring struct {
	mu sync.RWMutex
	// guarded by mu
	keys map[string]*Key
	kids []string // in the order they were added
	dids []string // of kids, each once, in that order
}

var (
	_ envelope.Keys  = (*Keyring)(nil)
	_ envelope.Owner = (*Keyring)(nil)
	_ slog.LogValuer = (*Keyring)(nil)
	_ fmt.Formatter  = (*Keyring)(nil)
)

// New makes an empty keyring.
func New() *Keyring { return &Keyring{keys: make(map[string]*Key)} }

// Add puts a private key under kid, the DID URL with fragment by which a DID
// document lists the public one. key is what NewKey takes. The error matches
// ErrInvalid for a kid or key that is none, ErrDuplicate when another key is
// held under kid.
func (k *Keyring) Add(kid string, key crypto.PrivateKey) error {
	u, err := did.ParseURL(kid)
	if err != nil || u.Fragment == "" {
		return fmt.Errorf("%w: key id %q is not a DID URL with a fragment", ErrInvalid, clip(kid))
	}
	parsed, err := NewKey(key)
	if err != nil {
		return fmt.Errorf("key %s: %w", clip(kid), err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if old, ok := k.keys[kid]; ok {
		if !equal(old.public, parsed.public) {
			return fmt.Errorf("%w: %s", ErrDuplicate, clip(kid))
		}
		return nil
	}
	k.keys[kid] = parsed
	k.kids = append(k.kids, kid)
	if owner := did.Base(kid); !slices.Contains(k.dids, owner) {
		k.dids = append(k.dids, owner)
	}
	return nil
}

// remove takes away the key under kid, if there is one.
func (k *Keyring) remove(kid string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.keys, kid)
	// What KIDs and DIDs returned is not written to: they are clones.
	k.kids = slices.DeleteFunc(k.kids, func(other string) bool { return other == kid })
	k.dids = nil
	for _, kid := range k.kids {
		if owner := did.Base(kid); !slices.Contains(k.dids, owner) {
			k.dids = append(k.dids, owner)
		}
	}
}

// Key returns the key under kid; the error matches envelope.ErrNoKey.
func (k *Keyring) Key(kid string) (*Key, error) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	key, ok := k.keys[kid]
	if !ok {
		return nil, fmt.Errorf("%w: %s", envelope.ErrNoKey, clip(kid))
	}
	return key, nil
}

// KeyAgreement returns the key under kid for ECDH. The error matches
// envelope.ErrNoKey, also for a key that only signs.
func (k *Keyring) KeyAgreement(_ context.Context, kid string) (ecdh.KeyExchanger, error) {
	key, err := k.Key(kid)
	if err != nil {
		return nil, err
	}
	if key.exchanger == nil {
		return nil, fmt.Errorf("%w: %s is for signatures only", envelope.ErrNoKey, clip(kid))
	}
	return key.exchanger, nil
}

// Signer returns the key under kid for signatures, as envelope.Keys describes
// it. The error matches envelope.ErrNoKey, also for a key that does not sign.
func (k *Keyring) Signer(_ context.Context, kid string) (crypto.Signer, error) {
	key, err := k.Key(kid)
	if err != nil {
		return nil, err
	}
	if key.signer == nil {
		return nil, fmt.Errorf("%w: %s is for key agreement only", envelope.ErrNoKey, clip(kid))
	}
	return key.signer, nil
}

// DIDs returns the DIDs that the key ids belong to, in the order of their first
// keys. The error is always nil.
func (k *Keyring) DIDs(context.Context) ([]string, error) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return slices.Clone(k.dids), nil
}

// KIDs returns all key ids in the order they were added.
func (k *Keyring) KIDs() []string {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return slices.Clone(k.kids)
}

// Format prints the number of keys, whatever the verb.
func (k *Keyring) Format(s fmt.State, _ rune) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	fmt.Fprintf(s, "Keyring(%d keys REDACTED)", len(k.kids))
}

// LogValue shows the key ids.
func (k *Keyring) LogValue() slog.Value { return slog.AnyValue(k.KIDs()) }

// clip keeps what a stranger wrote from flooding an error text.
func clip(s string) string {
	if len(s) > 200 {
		return s[:200] + "..."
	}
	return s
}
