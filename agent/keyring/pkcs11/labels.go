//go:build pkcs11

package pkcs11

import (
	"context"
	"crypto"
	"crypto/ecdh"
	"errors"
	"fmt"
	"sync"

	"github.com/didcomm-go/didcomm/agent/envelope"
)

// labels is an envelope.Keys that finds keys of a token by their labels.
type labels struct {
	token *Token

	mu    sync.Mutex
	found map[string]*key // guarded by mu
}

var _ envelope.Keys = (*labels)(nil)

// Labels returns an envelope.Keys that finds keys by their labels instead of by the key ids
// that Bind gives them. Use it for identity.Find and identity.SetConfig. It asks the token once
// for each label. Errors are those of the token, or match envelope.ErrNoKey if the token has
// no such key or the key has another purpose.
func (t *Token) Labels() envelope.Keys { return &labels{token: t, found: make(map[string]*key)} }

func (l *labels) KeyAgreement(_ context.Context, label string) (ecdh.KeyExchanger, error) {
	k, err := l.key(label)
	if err != nil {
		return nil, err
	}
	return k.agreement(label)
}

func (l *labels) Signer(_ context.Context, label string) (crypto.Signer, error) {
	k, err := l.key(label)
	if err != nil {
		return nil, err
	}
	return k.signing(label)
}

func (l *labels) key(label string) (*key, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if k, ok := l.found[label]; ok {
		return k, nil
	}
	k, err := l.token.find(label)
	if errors.Is(err, ErrKey) {
		return nil, fmt.Errorf("%w: %w", envelope.ErrNoKey, err)
	}
	if err != nil {
		return nil, err
	}
	l.found[label] = k
	return k, nil
}
