package jwe

import (
	"bytes"
	"crypto/ecdh"
	"crypto/sha256"
	"sync"

	"github.com/didcomm-go/didcomm/did/lru"
)

// Secrets keeps the static-static secrets of ECDH-1PU: what the sender's key
// and a recipient's agree on is the same for each message between the two, and
// costs as much as the ephemeral secret that differs. A nil Secrets keeps
// nothing.
//
// A secret that is kept stands in memory until it is pushed out by newer ones,
// and is then overwritten. Who reads it could forge messages between that pair
// of keys to either of the two, but open none: those need the ephemeral secret
// as well.
type Secrets struct {
	max int

	mu    sync.Mutex
	pairs lru.Map[pair, []byte] // guarded by mu
}

// pair is a hash of both public keys.
type pair [sha256.Size]byte

// NewSecrets returns a Secrets for at most max pairs of keys, nil if max is not
// positive.
func NewSecrets(max int) *Secrets {
	if max <= 0 {
		return nil
	}
	return &Secrets{max: max}
}

// exchange is the function exchange, for two keys that will meet again.
func (s *Secrets) exchange(key ecdh.KeyExchanger, peer *ecdh.PublicKey) ([]byte, error) {
	if s == nil {
		return exchange(key, peer)
	}
	// Both are of one curve, so their sizes keep them apart.
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

// get returns a copy, which the caller may clear, or nil.
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
