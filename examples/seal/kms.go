package main

import (
	"context"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"fmt"
	"sync"

	"github.com/didcomm-go/didcomm/agent/envelope"
)

// kms replaces a remote KMS. It makes keys, uses them by name, and never returns a private
// key.
type kms struct {
	mu   sync.Mutex
	keys map[string]*ecdsa.PrivateKey // guarded by mu
}

func newKMS() *kms { return &kms{keys: map[string]*ecdsa.PrivateKey{}} }

// createKey makes a key and returns its name.
func (s *kms) createKey(ctx context.Context) (string, error) {
	if err := ctx.Err(); err != nil {
		return "", err
	}
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", err
	}
	name := rand.Text()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys[name] = private
	return name, nil
}

func (s *kms) publicKey(ctx context.Context, name string) (*ecdsa.PublicKey, error) {
	private, err := s.key(ctx, name)
	if err != nil {
		return nil, err
	}
	return &private.PublicKey, nil
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
		return nil, fmt.Errorf("%w: the kms has no key %s", envelope.ErrNoKey, name)
	}
	return private, nil
}
