package jwe

import (
	"bytes"
	"crypto/ecdh"
	"crypto/sha256"
	"sync"

	"github.com/didcomm-go/didcomm/did/lru"
)

// Secrets keeps the static-static secrets of ECDH-1PU in memory: the shared secrets of a
// sender's and a recipient's key. Such a secret is the same for all messages between the two
// keys, and computing it costs as much as computing the ephemeral secret. A nil Secrets keeps
// none.
//
// A secret stays in memory until newer ones replace it, and is then overwritten. An attacker
// who reads a secret from memory could forge messages between the two keys, but could not open
// messages, which need the ephemeral secret, too.
type Secrets struct {
	max int

	mu    sync.Mutex
	pairs lru.Map[pair, []byte] // guarded by mu
}

// pair is a hash of both public keys.
type pair [sha256.Size]byte

// NewSecrets returns a Secrets for at most max pairs of keys, or nil if max is not positive.
func NewSecrets(max int) *Secrets {
	if max <= 0 {
		return nil
	}
	return &Secrets{max: max}
}

// exchange is the function exchange, with a cache.
func (s *Secrets) exchange(key ecdh.KeyExchanger, peer *ecdh.PublicKey) ([]byte, error) {
	if s == nil {
		return exchange(key, peer)
	}
	// Both keys are on the same curve, so the concatenation is unambiguous.
	p := pair(sha256.Sum256(append(key.PublicKey().Bytes(), peer.Bytes()...)))
	if z := s.get(p); z != nil {
		return z, nil
	}
	z, err := exchange(key, peer)
	if err != nil {
		return nil, err
	}
	s.put(p, z)
	return z, nil
}

// get returns a copy of the secret, which the caller may overwrite, or nil.
func (s *Secrets) get(p pair) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	z, _ := s.pairs.Get(p)
	return bytes.Clone(z)
}

func (s *Secrets) put(p pair, z []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.pairs.Get(p); ok {
		return
	}
	s.pairs.Put(p, bytes.Clone(z))
	if s.pairs.Len() > s.max {
		oldest, _ := s.pairs.RemoveOldest()
		clear(oldest)
	}
}
