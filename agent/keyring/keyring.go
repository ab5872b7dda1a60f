package keyring

import (
	"container/list"
	"context"
	"crypto"
	"crypto/ecdh"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/keyring/internal/owned"
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
	keys map[string]held
	kids list.List // of string, in the order they were added
	dids owned.DIDs
}

// held is a key and the place of its key id in Keyring.kids.
type held struct {
	*Key
	kid *list.Element
}

var (
	_ envelope.Keys  = (*Keyring)(nil)
	_ envelope.Owner = (*Keyring)(nil)
	_ slog.LogValuer = (*Keyring)(nil)
	_ fmt.Formatter  = (*Keyring)(nil)
)

// New makes an empty keyring.
func New() *Keyring { return &Keyring{keys: make(map[string]held)} }

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
	k.keys[kid] = held{parsed, k.kids.PushBack(kid)}
	k.dids.Add(kid)
	return nil
}

// remove takes away the key under kid, if there is one.
func (k *Keyring) remove(kid string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	key, ok := k.keys[kid]
	if !ok {
		return
	}
	delete(k.keys, kid)
	k.kids.Remove(key.kid)
	k.dids.Remove(kid)
}

// Key returns the key under kid; the error matches envelope.ErrNoKey.
func (k *Keyring) Key(kid string) (*Key, error) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	key, ok := k.keys[kid]
	if !ok {
		return nil, fmt.Errorf("%w: %s", envelope.ErrNoKey, clip(kid))
	}
	return key.Key, nil
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

// Own returns the DID that id names, as the key ids of its keys have it: of a
// did:peer:4 with key ids of both forms the long one. The error matches envelope.ErrNoKey
// if no key belongs to that DID. Own takes the same time whatever the number of keys.
func (k *Keyring) Own(_ context.Context, id string) (string, error) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return k.dids.Own(id)
}

// DIDs returns the first n of the DIDs that the key ids belong to, in the order of
// their first keys, or all of them if there are fewer. The error is always nil.
func (k *Keyring) DIDs(_ context.Context, n int) ([]string, error) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return k.dids.First(n), nil
}

// KIDs returns all key ids in the order they were added.
func (k *Keyring) KIDs() []string {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return k.ordered()
}

// ordered is KIDs for callers that hold mu.
func (k *Keyring) ordered() []string {
	kids := make([]string, 0, k.kids.Len())
	for e := k.kids.Front(); e != nil; e = e.Next() {
		kids = append(kids, e.Value.(string))
	}
	return kids
}

// Format prints the number of keys, whatever the verb.
func (k *Keyring) Format(s fmt.State, _ rune) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	fmt.Fprintf(s, "Keyring(%d keys REDACTED)", k.kids.Len())
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
