package keyring

import (
	"context"
	"crypto"
	"crypto/ecdh"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"

	"golang.org/x/crypto/chacha20poly1305"

	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/store"
)

// Sealed is a keyring that keeps its keys in a store.SealedKeys, each of them encrypted. Use
// Create or Open. A Sealed reads the store once, when it is opened: it does not see keys that
// another process adds or deletes later. A Sealed is safe for concurrent use.
type Sealed struct {
	keys store.SealedKeys
	key  func() []byte // sealing key; a function hides it from reflection
	ring *Keyring      // all keys, parsed

	mu       sync.Mutex // held while writing to the store; guards all below
	wrapping []byte     // of the sealing key, as in the store
	// unsure has the key ids of ring that the store may not have: their Delete failed, and
	// may have taken effect all the same.
	unsure map[string]bool
}

var (
	_ envelope.Keys      = (*Sealed)(nil)
	_ envelope.Owner     = (*Sealed)(nil)
	_ envelope.KeyFinder = (*Sealed)(nil)
	_ slog.LogValuer     = (*Sealed)(nil)
	_ fmt.Formatter      = (*Sealed)(nil)
)

// Create makes an empty Sealed in keys, with a new sealing key that w encrypts. The error
// matches store.ErrExists if keys is not empty. Other errors are those of w and of the store.
func Create(ctx context.Context, keys store.SealedKeys, w Wrapper) (*Sealed, error) {
	// Keys of another Sealed whose wrapping is lost must stay alone: the wrapping may come
	// back from a backup.
	all, err := keys.All(ctx)
	if err != nil {
		return nil, fmt.Errorf("create keyring: %w", err)
	}
	if len(all) > 0 {
		return nil, fmt.Errorf("create keyring: %w", store.ErrExists)
	}
	key := make([]byte, keySize)
	rand.Read(key)
	wrapping, err := wrap(ctx, w, key)
	if err != nil {
		return nil, err
	}
	if err := keys.SetWrapping(ctx, nil, wrapping); err != nil {
		return nil, fmt.Errorf("create keyring: %w", err)
	}
	return &Sealed{keys: keys, key: func() []byte { return key }, ring: New(), wrapping: wrapping}, nil
}

// Open reads the Sealed in keys and decrypts all its keys. w must have the name and the secret
// of the Wrapper that the Sealed was created with, or rewrapped with last.
//
// The error matches one of these, or is that of w or of the store:
//
//   - store.ErrNotFound: there is no Sealed in keys.
//   - ErrWrapper: w has another name.
//   - ErrPassphrase: the passphrase is wrong.
//   - ErrInvalid: a key is damaged, belongs to another keyring, or was moved to another key
//     id. The error names the key id.
func Open(ctx context.Context, keys store.SealedKeys, w Wrapper) (*Sealed, error) {
	wrapping, err := keys.Wrapping(ctx)
	if err != nil {
		return nil, fmt.Errorf("open keyring: %w", err)
	}
	key, err := unwrap(ctx, w, wrapping)
	if err != nil {
		return nil, err
	}
	s := &Sealed{keys: keys, key: func() []byte { return key }, ring: New(), wrapping: wrapping}
	if err := s.read(ctx, ""); err != nil {
		return nil, err
	}
	return s, nil
}

// read adds the key under kid from the store to s.ring, or all keys if kid is empty.
func (s *Sealed) read(ctx context.Context, kid string) error {
	all, err := s.keys.All(ctx)
	if err != nil {
		return fmt.Errorf("open keyring: %w", err)
	}
	for _, stored := range all {
		if kid != "" && stored.KID != kid {
			continue
		}
		key, err := s.unseal(stored)
		if err == nil {
			err = s.ring.Add(stored.KID, key)
		}
		if err != nil {
			return fmt.Errorf("open keyring: key %s: %w", clip(stored.KID), err)
		}
	}
	return nil
}

// Add adds a private key under kid, like Keyring.Add, and writes it to the store before it
// returns. The error matches ErrInvalid if kid or key is not valid, and ErrDuplicate if there
// is another key under kid. Other errors are those of the store.
func (s *Sealed) Add(ctx context.Context, kid string, key crypto.PrivateKey) error {
	ring := New()
	if err := ring.Add(kid, key); err != nil {
		return err
	}
	return s.AddAll(ctx, ring)
}

// AddAll adds all keys of ring and writes them to the store, or none of them if there is an
// error. The errors are those of Add.
func (s *Sealed) AddAll(ctx context.Context, ring *Keyring) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.settle(ctx, ring.KIDs()); err != nil {
		return err
	}
	for {
		var sealed []store.SealedKey
		added := New()
		for _, kid := range ring.KIDs() {
			key, err := ring.Key(kid)
			if err != nil {
				return err
			}
			if old, err := s.ring.Key(kid); err == nil {
				if !equal(old.public, key.public) {
					return fmt.Errorf("%w: %s", ErrDuplicate, clip(kid))
				}
				continue
			}
			sealed = append(sealed, s.seal(kid, key))
			if err := added.Add(kid, key); err != nil {
				return err
			}
		}
		if len(sealed) == 0 {
			return nil
		}
		err := s.keys.Put(ctx, sealed...)
		if err == nil {
			for _, kid := range added.KIDs() {
				if err := s.ring.Add(kid, added.keys[kid].Key); err != nil {
					return err
				}
			}
			return nil
		}
		if !errors.Is(err, store.ErrExists) {
			return fmt.Errorf("store keys: %w", err)
		}
		// Another process has added one of the keys meanwhile: read it and compare.
		before := len(s.ring.KIDs())
		for _, kid := range added.KIDs() {
			if err := s.read(ctx, kid); err != nil {
				return err
			}
		}
		if len(s.ring.KIDs()) == before { // the key was deleted again, or the store is broken
			return fmt.Errorf("store keys: %w", err)
		}
	}
}

// Delete removes the key under kid from the store and from the keyring. A handle that
// KeyAgreement or Signer has returned before goes on working. The error matches
// envelope.ErrNoKey if there is no such key. Other errors are those of the store; the key stays
// in the keyring then, although the store may not have it. Add and Delete look that up.
func (s *Sealed) Delete(ctx context.Context, kid string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.keys.Delete(ctx, kid)
	switch {
	case errors.Is(err, store.ErrNotFound):
		s.ring.remove(kid) // another process, or a Delete that failed, has deleted the key
		delete(s.unsure, kid)
		return fmt.Errorf("%w: %s", envelope.ErrNoKey, clip(kid))
	case err != nil:
		if s.unsure == nil {
			s.unsure = make(map[string]bool)
		}
		s.unsure[kid] = true
		return fmt.Errorf("delete key %s: %w", clip(kid), err)
	}
	s.ring.remove(kid)
	delete(s.unsure, kid)
	return nil
}

// settle removes those of kids from the keyring whose Delete failed although it took effect.
func (s *Sealed) settle(ctx context.Context, kids []string) error {
	if !slices.ContainsFunc(kids, func(kid string) bool { return s.unsure[kid] }) {
		return nil
	}
	all, err := s.keys.All(ctx)
	if err != nil {
		return fmt.Errorf("store keys: %w", err)
	}
	for kid := range s.unsure {
		if !slices.ContainsFunc(all, func(k store.SealedKey) bool { return k.KID == kid }) {
			s.ring.remove(kid)
		}
	}
	clear(s.unsure)
	return nil
}

// Rewrap encrypts the sealing key with w, for example a new passphrase. It writes to the
// store once and leaves the private keys there as they are: after a crash either the old or
// the new Wrapper opens the Sealed. The old Wrapper still opens an old copy of the store.
//
// The error matches store.ErrExists if another process has rewrapped or replaced the Sealed
// since it was opened. Other errors are those of w and of the store.
func (s *Sealed) Rewrap(ctx context.Context, w Wrapper) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	wrapping, err := wrap(ctx, w, s.key())
	if err != nil {
		return err
	}
	if err := s.keys.SetWrapping(ctx, s.wrapping, wrapping); err != nil {
		return fmt.Errorf("rewrap keyring: %w", err)
	}
	s.wrapping = wrapping
	return nil
}

// Key returns the key under kid. The error matches envelope.ErrNoKey if there is none.
func (s *Sealed) Key(kid string) (*Key, error) { return s.ring.Key(kid) }

// KeyAgreement returns a handle of the key under kid for ECDH, like Keyring.KeyAgreement.
func (s *Sealed) KeyAgreement(ctx context.Context, kid string) (ecdh.KeyExchanger, error) {
	return s.ring.KeyAgreement(ctx, kid)
}

// Signer returns a handle of the key under kid for signatures, like Keyring.Signer.
func (s *Sealed) Signer(ctx context.Context, kid string) (crypto.Signer, error) {
	return s.ring.Signer(ctx, kid)
}

// Own returns the DID that id, a DID, names, like Keyring.Own.
func (s *Sealed) Own(ctx context.Context, id string) (string, error) { return s.ring.Own(ctx, id) }

// DIDs returns at most n of the DIDs that the key ids belong to, like Keyring.DIDs.
func (s *Sealed) DIDs(ctx context.Context, n int) ([]string, error) { return s.ring.DIDs(ctx, n) }

// FindKey returns the key id of the key with a public key, like Keyring.FindKey.
func (s *Sealed) FindKey(ctx context.Context, multikey string) (string, error) {
	return s.ring.FindKey(ctx, multikey)
}

// KIDs returns all key ids in the order in which they were added.
func (s *Sealed) KIDs() []string { return s.ring.KIDs() }

// MarshalSecrets returns all keys as a secrets file, like Keyring.MarshalSecrets. The result
// has the private keys in clear.
func (s *Sealed) MarshalSecrets() ([]byte, error) { return s.ring.MarshalSecrets() }

// Format prints the number of keys, with each verb.
func (s *Sealed) Format(f fmt.State, verb rune) { s.ring.Format(f, verb) }

// LogValue returns the key ids.
func (s *Sealed) LogValue() slog.Value { return s.ring.LogValue() }

// A sealed key has five parts: the version, the length of the name of the key type, that
// name, the nonce, and the private key encrypted with XChaCha20-Poly1305. The associated data
// are the version, the key type and the key id, so that a sealed key cannot be used as
// another key or for another purpose.
const (
	sealedVersion = 1
	sealedLabel   = "didcomm-go keyring key 1\x00"
)

func sealedData(curve Curve, kid string) []byte {
	return []byte(sealedLabel + string(curve) + "\x00" + kid)
}

func (s *Sealed) seal(kid string, key *Key) store.SealedKey {
	aead, err := chacha20poly1305.NewX(s.key())
	if err != nil {
		panic(err) // the length is always right
	}
	nonce := make([]byte, chacha20poly1305.NonceSizeX)
	rand.Read(nonce)
	out := append([]byte{sealedVersion, byte(len(key.curve))}, key.curve...)
	out = append(out, nonce...)
	return store.SealedKey{KID: kid, Sealed: aead.Seal(out, nonce, key.private(), sealedData(key.curve, kid))}
}

func (s *Sealed) unseal(k store.SealedKey) (*Key, error) {
	damaged := fmt.Errorf("%w: the sealed key is damaged, or not of this keyring and key id", ErrInvalid)
	if len(k.Sealed) < 2 {
		return nil, damaged
	}
	if k.Sealed[0] != sealedVersion {
		return nil, fmt.Errorf("%w: the sealed key is of version %d, known here is %d", ErrInvalid, k.Sealed[0], sealedVersion)
	}
	rest := k.Sealed[2:]
	n := int(k.Sealed[1])
	if len(rest) < n+chacha20poly1305.NonceSizeX {
		return nil, damaged
	}
	curve, rest := Curve(rest[:n]), rest[n:]
	nonce, sealed := rest[:chacha20poly1305.NonceSizeX], rest[chacha20poly1305.NonceSizeX:]
	aead, err := chacha20poly1305.NewX(s.key())
	if err != nil {
		return nil, err
	}
	d, err := aead.Open(nil, nonce, sealed, sealedData(curve, k.KID))
	if err != nil {
		return nil, damaged
	}
	return ParseKey(curve, d)
}
