package keyring

import (
	"context"
	"crypto"
	"crypto/ecdh"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"golang.org/x/crypto/chacha20poly1305"

	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/store"
)

// Sealed is a keyring whose keys are kept in a store.SealedKeys, each of them sealed.
// Create makes one, Open reads it, whole, once: what another process adds or
// deletes after that is not seen. All methods may be called at the same time from
// many goroutines.
type Sealed struct {
	keys store.SealedKeys
	key  func() []byte // what seals; hidden from reflection
	ring *Keyring      // all keys, parsed

	mu       sync.Mutex // held by who writes; guards wrapping
	wrapping []byte     // of key, as it is stored
}

var (
	_ envelope.Keys  = (*Sealed)(nil)
	_ envelope.Owner = (*Sealed)(nil)
	_ slog.LogValuer = (*Sealed)(nil)
	_ fmt.Formatter  = (*Sealed)(nil)
)

// Create makes an empty Sealed in keys, where there must be nothing yet. Errors:
// store.ErrExists where there is, those of w, those of the store.
func Create(ctx context.Context, keys store.SealedKeys, w Wrapper) (*Sealed, error) {
	// Sealed keys whose wrapping is lost must not be mixed with others: there may
	// be a copy of it.
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

// Open reads and parses all keys. Errors: store.ErrNotFound where there is no
// keyring, ErrWrapper if it is wrapped by something else than w, ErrPassphrase,
// ErrInvalid, with its kid, for a key that is damaged, under another kid than it
// was sealed for, or sealed for another keyring; others of w and of the store.
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

// read adds the keys of the store to the ring: that of one kid, or all.
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

// Add stores a private key under kid, as Keyring.Add takes them. It is kept, as
// far as the store goes, when Add returns. Errors besides those of the store:
// ErrInvalid, ErrDuplicate.
func (s *Sealed) Add(ctx context.Context, kid string, key crypto.PrivateKey) error {
	ring := New()
	if err := ring.Add(kid, key); err != nil {
		return err
	}
	return s.AddAll(ctx, ring)
}

// AddAll stores all keys of ring, or none. Errors as of Add.
func (s *Sealed) AddAll(ctx context.Context, ring *Keyring) error {
	s.mu.Lock()
	defer s.mu.Unlock()
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
		// Another process was faster with one of them: see which key it is.
		before := len(s.ring.KIDs())
		for _, kid := range added.KIDs() {
			if err := s.read(ctx, kid); err != nil {
				return err
			}
		}
		if len(s.ring.KIDs()) == before { // it was deleted at once, or the store is wrong
			return fmt.Errorf("store keys: %w", err)
		}
	}
}

// Delete removes the key under kid from the store and the keyring. A handle that
// was lent out goes on working. Errors besides those of the store:
// envelope.ErrNoKey.
func (s *Sealed) Delete(ctx context.Context, kid string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.keys.Delete(ctx, kid)
	switch {
	case errors.Is(err, store.ErrNotFound):
		s.ring.remove(kid) // another process was faster
		return fmt.Errorf("%w: %s", envelope.ErrNoKey, clip(kid))
	case err != nil:
		return fmt.Errorf("delete key %s: %w", clip(kid), err)
	}
	s.ring.remove(kid)
	return nil
}

// Rewrap protects the keyring by w from now on: a new passphrase, say. It writes
// once, and no sealed key: either the old wrapper or the new one opens it, whatever
// happens meanwhile. Who has a copy of the old wrapping and its secret still has
// the keys. Errors: store.ErrExists if another process rewrapped or replaced it
// since it was opened; those of w and of the store.
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

// Key returns the key under kid; the error matches envelope.ErrNoKey.
func (s *Sealed) Key(kid string) (*Key, error) { return s.ring.Key(kid) }

// KeyAgreement is Keyring.KeyAgreement.
func (s *Sealed) KeyAgreement(ctx context.Context, kid string) (ecdh.KeyExchanger, error) {
	return s.ring.KeyAgreement(ctx, kid)
}

// Signer is Keyring.Signer.
func (s *Sealed) Signer(ctx context.Context, kid string) (crypto.Signer, error) {
	return s.ring.Signer(ctx, kid)
}

// Own is Keyring.Own.
func (s *Sealed) Own(ctx context.Context, id string) (string, error) { return s.ring.Own(ctx, id) }

// DIDs is Keyring.DIDs.
func (s *Sealed) DIDs(ctx context.Context, n int) ([]string, error) { return s.ring.DIDs(ctx, n) }

// KIDs returns all key ids in the order they were added.
func (s *Sealed) KIDs() []string { return s.ring.KIDs() }

// MarshalSecrets is Keyring.MarshalSecrets. The text is secret.
func (s *Sealed) MarshalSecrets() ([]byte, error) { return s.ring.MarshalSecrets() }

// Format prints the number of keys, whatever the verb.
func (s *Sealed) Format(f fmt.State, verb rune) { s.ring.Format(f, verb) }

// LogValue shows the key ids.
func (s *Sealed) LogValue() slog.Value { return s.ring.LogValue() }

// A sealed key is its version, the length of the name of its key type, the name,
// the nonce, and the key's private value sealed by XChaCha20-Poly1305. The
// associated data are the version, the key type, which says what the key is for,
// and the kid: nobody can pass it off as another.
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
		panic(err) // the length is ours
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
