package home

import (
	"context"
	"crypto"
	"crypto/ecdh"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/identity"
	"github.com/didcomm-go/didcomm/agent/keyring"
	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/did"
)

// missingFor is how long a private key that the store does not have is not looked for
// again.
const missingFor = time.Second

// lender lends out the private keys of a keyring to a Set. A key that another process has
// added since the keyring was opened is read from the store when it is first asked for.
type lender struct {
	ring *keyring.Sealed

	mu      sync.Mutex
	missing map[string]time.Time // guarded by mu; when the store was found not to have a key
}

var _ envelope.Keys = (*lender)(nil)

func newLender(ring *keyring.Sealed) *lender {
	return &lender{ring: ring, missing: map[string]time.Time{}}
}

// KeyAgreement returns a private key for ECDH. The Set asks for names of its identities
// only: a stranger cannot make the lender read the store.
func (l *lender) KeyAgreement(ctx context.Context, name string) (ecdh.KeyExchanger, error) {
	return lend(ctx, l, name, l.ring.KeyAgreement)
}

// Signer returns a private key for signatures.
func (l *lender) Signer(ctx context.Context, name string) (crypto.Signer, error) {
	return lend(ctx, l, name, l.ring.Signer)
}

func lend[K any](ctx context.Context, l *lender, name string, get func(context.Context, string) (K, error)) (K, error) {
	key, err := get(ctx, name)
	if !errors.Is(err, envelope.ErrNoKey) {
		return key, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if time.Since(l.missing[name]) < missingFor {
		return key, err
	}
	if failed := l.ring.Refresh(ctx); failed != nil {
		return key, failed
	}
	key, err = get(ctx, name)
	if errors.Is(err, envelope.ErrNoKey) {
		l.missing[name] = time.Now()
	} else {
		delete(l.missing, name)
	}
	return key, err
}

// AgentKeys returns the keys of the Set for an agent with a DID of the home. A key id that
// names no DID ("#key-1"), or the did:key of a key, is looked for in that DID first.
func (h *Home) AgentKeys(id string) envelope.Keys { return &agentKeys{h.Set, id} }

type agentKeys struct {
	*identity.Set
	first string
}

var (
	_ envelope.Owner     = (*agentKeys)(nil)
	_ envelope.KeyFinder = (*agentKeys)(nil)
	_ envelope.Relater   = (*agentKeys)(nil)
	_ did.Resolver       = (*agentKeys)(nil)
)

// DIDs returns at most n of the DIDs, that of the agent first.
func (k *agentKeys) DIDs(ctx context.Context, n int) ([]string, error) {
	dids, err := k.Set.DIDs(ctx, n)
	if err != nil || n < 1 {
		return nil, err
	}
	dids = slices.DeleteFunc(dids, func(id string) bool { return id == k.first })
	return slices.Insert(dids, 0, k.first)[:min(n, len(dids)+1)], nil
}

// FindKey returns the id of the key with a public key. A key of the agent's DID comes first, since
// former DIDs of the agent have the same keys.
func (k *agentKeys) FindKey(ctx context.Context, multikey string) (string, error) {
	kid, err := k.Set.FindKey(ctx, multikey)
	if err != nil || did.Base(kid) == k.first {
		return kid, err
	}
	doc, err := k.Set.Resolve(ctx, k.first)
	if errors.Is(err, did.ErrNotFound) {
		return kid, nil
	}
	if err != nil {
		return "", err
	}
	for _, m := range slices.Concat(doc.KeyAgreementKeys(), doc.AuthenticationKeys()) {
		public, err := m.PublicKey()
		if err != nil {
			continue
		}
		if text, err := did.FormatMultikey(public); err == nil && text == multikey {
			return m.ID, nil
		}
	}
	return kid, nil
}

// allKeys are the private keys of the DIDs of a home, also of those that were retired, and
// the other ones in its keyring. They are for a person who works with files and with
// messages that have come in; an agent that runs has those of the Set alone.
type allKeys struct {
	set  *identity.Set
	ring *keyring.Sealed
}

var (
	_ envelope.Keys      = (*allKeys)(nil)
	_ envelope.Owner     = (*allKeys)(nil)
	_ envelope.KeyFinder = (*allKeys)(nil)
)

// KeyAgreement returns the private key under kid for ECDH.
func (a *allKeys) KeyAgreement(ctx context.Context, kid string) (ecdh.KeyExchanger, error) {
	return find(ctx, a, kid, identity.ToAgree, a.ring.KeyAgreement)
}

// Signer returns the private key under kid for signatures.
func (a *allKeys) Signer(ctx context.Context, kid string) (crypto.Signer, error) {
	return find(ctx, a, kid, identity.ToSign, a.ring.Signer)
}

func find[K any](ctx context.Context, a *allKeys, kid string, use identity.Use, get func(context.Context, string) (K, error)) (K, error) {
	key, err := get(ctx, kid)
	if !errors.Is(err, envelope.ErrNoKey) {
		return key, err
	}
	m, failed := a.set.Get(ctx, did.Base(kid))
	if errors.Is(failed, store.ErrNotFound) {
		return key, err
	}
	if failed != nil {
		return key, failed
	}
	at := slices.IndexFunc(m.Handles, func(h identity.Handle) bool { return h.KID == kid && h.Use == use })
	if at < 0 {
		return key, err
	}
	return get(ctx, m.Handles[at].Name)
}

// Own returns the DID that id names, in the form that resolves.
func (a *allKeys) Own(ctx context.Context, id string) (string, error) {
	m, err := a.set.Get(ctx, id)
	if errors.Is(err, store.ErrNotFound) {
		return a.ring.Own(ctx, id)
	}
	if err != nil {
		return "", fmt.Errorf("own DIDs: %w", err)
	}
	return m.DID, nil
}

// FindKey returns the id of the key with a public key. A DID that is in use comes before the key
// ids of the keyring, which may be those of a retired DID.
func (a *allKeys) FindKey(ctx context.Context, multikey string) (string, error) {
	kid, err := a.set.FindKey(ctx, multikey)
	if errors.Is(err, envelope.ErrNoKey) {
		return a.ring.FindKey(ctx, multikey)
	}
	return kid, err
}

// DIDs returns at most n of the DIDs.
func (a *allKeys) DIDs(ctx context.Context, n int) ([]string, error) {
	dids, err := a.set.DIDs(ctx, n)
	if err != nil {
		return nil, err
	}
	others, err := a.ring.DIDs(ctx, n)
	for _, id := range others {
		if len(dids) < n && !slices.Contains(dids, id) {
			dids = append(dids, id)
		}
	}
	return dids, err
}
