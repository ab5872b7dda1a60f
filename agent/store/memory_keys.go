package store

import (
	"bytes"
	"container/list"
	"context"
	"sync"
)

// NewSealedKeys makes a SealedKeys in memory.
func NewSealedKeys() SealedKeys { return &keys{byKID: make(map[string]*list.Element)} }

var _ SealedKeys = (*keys)(nil)

type keys struct {
	mu      sync.Mutex // guards all below
	wrapped []byte     // nil: none
	sealed  list.List  // of SealedKey, in the order of Put
	byKID   map[string]*list.Element
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
	added := make(map[string]bool, len(keys))
	for _, key := range keys {
		if k.byKID[key.KID] != nil || added[key.KID] {
			return ErrExists
		}
		added[key.KID] = true
	}
	for _, key := range keys {
		k.byKID[key.KID] = k.sealed.PushBack(SealedKey{key.KID, bytes.Clone(key.Sealed)})
	}
	return nil
}

func (k *keys) All(ctx context.Context) ([]SealedKey, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	all := make([]SealedKey, 0, k.sealed.Len())
	for e := k.sealed.Front(); e != nil; e = e.Next() {
		all = append(all, e.Value.(SealedKey))
	}
	return all, nil
}

func (k *keys) Delete(ctx context.Context, kid string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	e, ok := k.byKID[kid]
	if !ok {
		return ErrNotFound
	}
	k.sealed.Remove(e)
	delete(k.byKID, kid)
	return nil
}
