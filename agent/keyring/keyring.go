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

// Errors of this package. Match them with errors.Is.
var (
	// ErrInvalid: a key, a key id, a secrets file or a stored key is malformed, or a key has
	// a type that this package does not support.
	ErrInvalid = errors.New("keyring: invalid")
	// ErrDuplicate: the keyring holds another key under the key id.
	ErrDuplicate = errors.New("keyring: key id is taken by another key")
	// ErrPassphrase: the passphrase of a Sealed is wrong.
	ErrPassphrase = errors.New("keyring: wrong passphrase")
	// ErrWrapper: a Sealed was opened with another Wrapper than it was protected with.
	ErrWrapper = errors.New("keyring: wrong wrapper")
)

// Keyring holds private keys in memory, by key id. Use New or ParseSecrets. A Keyring is safe
// for concurrent use.
type Keyring struct {
	mu sync.RWMutex
	// guarded by mu
	keys map[string]held
	kids list.List // of string, in the order they were added
	dids owned.DIDs
	find owned.Keys
}

// held is a key and the element of its key id in Keyring.kids.
type held struct {
	*Key
	kid *list.Element
}

var (
	_ envelope.Keys      = (*Keyring)(nil)
	_ envelope.Owner     = (*Keyring)(nil)
	_ envelope.KeyFinder = (*Keyring)(nil)
	_ slog.LogValuer     = (*Keyring)(nil)
	_ fmt.Formatter      = (*Keyring)(nil)
)

// New makes an empty keyring.
func New() *Keyring { return &Keyring{keys: make(map[string]held)} }

// Add adds a private key under the key id kid: the DID URL with fragment under which a DID
// document lists the public key. NewKey tells the types of key that Add accepts. The error
// matches ErrInvalid if kid or key is not valid, and ErrDuplicate if the keyring holds
// another key under kid.
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
	k.find.Add(kid, parsed.public)
	return nil
}

// remove removes the key under kid, if there is one.
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
	k.find.Remove(kid, key.public)
}

// Key returns the key under kid. The error matches envelope.ErrNoKey if there is none.
func (k *Keyring) Key(kid string) (*Key, error) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	key, ok := k.keys[kid]
	if !ok {
		return nil, fmt.Errorf("%w: %s", envelope.ErrNoKey, clip(kid))
	}
	return key.Key, nil
}

// KeyAgreement returns a handle of the key under kid for ECDH. The error matches
// envelope.ErrNoKey if there is no such key or if it can only sign.
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

// Signer returns a handle of the key under kid for signatures, as envelope.Keys describes it.
// The error matches envelope.ErrNoKey if there is no such key or if it cannot sign.
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

// Own returns the DID that id, a DID, names, in the form that the key ids have. If there are
// key ids with the long and with the short form of a did:peer:4, the result is the long form.
// The error matches envelope.ErrNoKey if the keyring holds no key of the DID.
func (k *Keyring) Own(_ context.Context, id string) (string, error) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return k.dids.Own(id)
}

// DIDs returns at most n of the DIDs that the key ids belong to, in the order in which the
// first key of each DID was added. The error is always nil.
func (k *Keyring) DIDs(_ context.Context, n int) ([]string, error) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return k.dids.First(n), nil
}

// FindKey returns the key id of the key with a public key, as envelope.KeyFinder describes it.
// The error matches envelope.ErrNoKey if the keyring holds no such key.
func (k *Keyring) FindKey(_ context.Context, multikey string) (string, error) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return k.find.Find(multikey)
}

// KIDs returns all key ids in the order in which they were added.
func (k *Keyring) KIDs() []string {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return k.ordered()
}

// ordered returns all key ids in the order in which they were added. The caller holds mu.
func (k *Keyring) ordered() []string {
	kids := make([]string, 0, k.kids.Len())
	for e := k.kids.Front(); e != nil; e = e.Next() {
		kids = append(kids, e.Value.(string))
	}
	return kids
}

// Format prints the number of keys, with each verb.
func (k *Keyring) Format(s fmt.State, _ rune) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	fmt.Fprintf(s, "Keyring(%d keys REDACTED)", k.kids.Len())
}

// LogValue returns the key ids.
func (k *Keyring) LogValue() slog.Value { return slog.AnyValue(k.KIDs()) }

// clip shortens a text of a stranger for an error text.
func clip(s string) string {
	if len(s) > 200 {
		return s[:200] + "..."
	}
	return s
}
