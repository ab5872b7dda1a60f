package main

import (
	"context"
	"crypto"
	"crypto/ecdh"
	"crypto/rand"
	"fmt"
	"sync"

	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/keyring"
)

// kms replaces the KMS of a vendor. It loses its keys when this process ends. It returns handles of
// keys, which sign and agree on keys, but no bytes. The example seal shows how to write such
// handles for a remote KMS. Without a KMS, use keyring.Sealed.
type kms struct {
	mu   sync.Mutex
	keys map[string]*keyring.Key // by name; guarded by mu
}

var _ keyService = (*kms)(nil)

func newKMS() *kms { return &kms{keys: map[string]*keyring.Key{}} }

// CreateKey makes a key and returns its name.
func (s *kms) CreateKey(_ context.Context, curve keyring.Curve) (string, error) {
	key, err := keyring.Generate(curve)
	if err != nil {
		return "", err
	}
	name := rand.Text()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys[name] = key
	return name, nil
}

// KeyAgreement returns the handle of a key, to agree on keys.
func (s *kms) KeyAgreement(_ context.Context, name string) (ecdh.KeyExchanger, error) {
	return s.handle(name)
}

// Signer returns the handle of a key, to sign.
func (s *kms) Signer(_ context.Context, name string) (crypto.Signer, error) { return s.handle(name) }

func (s *kms) handle(name string) (*keyring.Key, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key, ok := s.keys[name]
	if !ok {
		return nil, fmt.Errorf("%w: the kms has no key %s", envelope.ErrNoKey, name)
	}
	return key, nil
}
