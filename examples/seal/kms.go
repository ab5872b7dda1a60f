package main

import (
	"context"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"fmt"
	"sync"
)

// kms stands in for a remote service: keys are made in it, are used by name, and
// do not come out.
type kms struct {
	mu   sync.Mutex
	keys map[string]*ecdsa.PrivateKey // guarded by mu
}

// kmsKey is what the service tells of a key.
type kmsKey struct {
	name   string
	public *ecdsa.PublicKey
}

func newKMS() *kms { return &kms{keys: map[string]*ecdsa.PrivateKey{}} }

func (s *kms) createKey(ctx context.Context) (kmsKey, error) {
	if err := ctx.Err(); err != nil {
		return kmsKey{}, err
	}
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return kmsKey{}, err
	}
	name := rand.Text()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys[name] = private
	return kmsKey{name, &private.PublicKey}, nil
}

func (s *kms) deriveSharedSecret(ctx context.Context, name string, peer *ecdh.PublicKey) ([]byte, error) {
	private, err := s.key(ctx, name)
	if err != nil {
		return nil, err
	}
	own, err := private.ECDH()
	if err != nil {
		return nil, err
	}
	return own.ECDH(peer)
}

func (s *kms) sign(ctx context.Context, name string, digest []byte) ([]byte, error) {
	private, err := s.key(ctx, name)
	if err != nil {
		return nil, err
	}
	return ecdsa.SignASN1(rand.Reader, private, digest)
}

func (s *kms) key(ctx context.Context, name string) (*ecdsa.PrivateKey, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	private, ok := s.keys[name]
	if !ok {
		return nil, fmt.Errorf("kms: no key %s", name)
	}
	return private, nil
}
