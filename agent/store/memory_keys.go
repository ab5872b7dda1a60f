package store

import (
	"bytes"
	"context"
	"slices"
	"sync"
)

// NewSealedKeys makes a SealedKeys in memory.
func NewSealedKeys() SealedKeys { return new(keys) }

var _ SealedKeys = (*keys)(nil)

type keys struct {
	mu      sync.Mutex // guards all below
	wrapped []byte     // nil: none
	sealed  []SealedKey
}

func (k *keys) Wrapping(ctx context.Context) ([]byte, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.wrapped == nil {
		return nil, ErrNotFound
	}
	return bytes.Clone(k.wrapped), nil
}

func (k *keys) SetWrapping(ctx context.Context, old, wrapped []byte) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !bytes.Equal(k.wrapped, old) || (k.wrapped == nil) != (old == nil) {
		return ErrExists
	}
	k.wrapped = bytes.Clone(wrapped)
	return nil
}

func (k *keys) Put(ctx context.Context, keys ...SealedKey) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	for i, key := range keys {
		same := func(other SealedKey) bool { return other.KID == key.KID }
		if slices.ContainsFunc(k.sealed, same) || slices.ContainsFunc(keys[:i], same) {
			return ErrExists
		}
	}
	for _, key := range keys {
		k.sealed = append(k.sealed, SealedKey{key.KID, bytes.Clone(key.Sealed)})
	}
	return nil
}

func (k *keys) All(ctx context.Context) ([]SealedKey, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Clone(k.sealed), nil
}

func (k *keys) Delete(ctx context.Context, kid string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	i := slices.IndexFunc(k.sealed, func(key SealedKey) bool { return key.KID == kid })
	if i < 0 {
		return ErrNotFound
	}
	k.sealed = slices.Delete(k.sealed, i, i+1)
	return nil
}
