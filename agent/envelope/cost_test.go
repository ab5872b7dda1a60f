package envelope_test

import (
	"context"
	"crypto"
	"crypto/ecdh"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/didcomm-go/didcomm/agent/envelope"
)

// meter counts what an envelope makes us do with private keys, and claims to
// hold keys of many DIDs.
type meter struct {
	envelope.Keys
	dids      []string
	owns      atomic.Int32
	exchanges atomic.Int32
	lookups   atomic.Int32
}

func (m *meter) Own(ctx context.Context, id string) (string, error) {
	m.owns.Add(1)
	return owner{dids: m.dids}.Own(ctx, id)
}

func (m *meter) DIDs(ctx context.Context, n int) ([]string, error) {
	return owner{dids: m.dids}.DIDs(ctx, n)
}

func (m *meter) KeyAgreement(ctx context.Context, kid string) (ecdh.KeyExchanger, error) {
	m.lookups.Add(1)
	key, err := m.Keys.KeyAgreement(ctx, kid)
	if err != nil {
		return nil, err
	}
	return meteredKey{key, &m.exchanges}, nil
}

type meteredKey struct {
	ecdh.KeyExchanger
	n *atomic.Int32
}

func (k meteredKey) ECDH(remote *ecdh.PublicKey) ([]byte, error) {
	k.n.Add(1)
	return k.KeyExchanger.ECDH(remote)
}

// TestRepeatedKID: naming our one key a hundred times costs one key agreement.
func TestRepeatedKID(t *testing.T) {
	w := newWorld(t)
	keys := &meter{Keys: w.bob.keys, dids: []string{bobDID}}
	bob := w.packer(t, w.bob, func(c *envelope.Config) { c.Keys = keys })
	jwe := peerJWE{plaintext: text(t, nil, nil, nil)}
	for range 100 {
		jwe.to = append(jwe.to, peerRecipient{w.bob.kid("x25519"), w.eve.ecdh["x25519"].PublicKey()})
	}
	refused(t, bob, jwe.seal(t), envelope.ErrDecrypt)
	if n := keys.exchanges.Load(); n != 1 {
		t.Errorf("%d key agreements", n)
	}
}

// TestRelativeKIDs: kids that could mean a key of each of our DIDs cost no more
// than an envelope of the greatest size.
func TestRelativeKIDs(t *testing.T) {
	w := newWorld(t)
	keys := &meter{Keys: w.bob.keys}
	for i := range 50 {
		a := newAgent(t, fmt.Sprintf("did:example:%d", i), "x25519")
		w.add(a)
		keys.dids = append(keys.dids, a.did)
	}
	jwe := peerJWE{plaintext: text(t, nil, nil, nil)}
	for range 10 {
		jwe.to = append(jwe.to, peerRecipient{"#x25519", w.eve.ecdh["x25519"].PublicKey()})
	}
	bob := w.packer(t, w.bob, func(c *envelope.Config) { c.Keys, c.MaxRecipients = keys, 10 })
	refused(t, bob, jwe.seal(t), envelope.ErrNoKey)
	if n := len(w.took()); n > 10 {
		t.Errorf("%d documents resolved", n)
	}

	keys.Keys = anyKey{w.eve.ecdh["p256"]} // holds every kid, opens nothing
	jwe.to[0].kid = "#x25519"
	bob = w.packer(t, w.bob, func(c *envelope.Config) { c.Keys, c.MaxRecipients = keys, 10 })
	refused(t, bob, jwe.seal(t), envelope.ErrInvalidPoint)
	if n := keys.lookups.Load(); n > 200 {
		t.Errorf("%d keys asked for", n)
	}
}

// anyKey holds one key under each kid of a document, and none under others.
type anyKey struct{ key ecdh.KeyExchanger }

func (k anyKey) KeyAgreement(_ context.Context, kid string) (ecdh.KeyExchanger, error) {
	if kid[0] == '#' {
		return nil, envelope.ErrNoKey
	}
	return k.key, nil
}

func (anyKey) Signer(context.Context, string) (crypto.Signer, error) { return nil, envelope.ErrNoKey }

// failing is a key store that is out of order.
type failing struct{ err error }

func (f failing) KeyAgreement(context.Context, string) (ecdh.KeyExchanger, error) { return nil, f.err }
func (f failing) Signer(context.Context, string) (crypto.Signer, error)           { return nil, f.err }

// TestKeysFail: a key store's failure is reported as such, not as a lack of keys.
func TestKeysFail(t *testing.T) {
	w := newWorld(t)
	down := errors.New("hsm: no session")
	p := w.packer(t, w.bob, func(c *envelope.Config) { c.Keys = failing{down} })
	data := peerJWE{plaintext: text(t, nil, nil, nil), to: []peerRecipient{w.bob.recipient("x25519")}}.seal(t)
	if err := refused(t, p, data, down); errors.Is(err, envelope.ErrNoKey) {
		t.Error(err)
	}
	for _, opts := range [][]envelope.PackOption{
		{envelope.From(bobDID)},
		{envelope.SignBy(bobDID)},
	} {
		if _, err := p.Pack(t.Context(), newMessage(t, w.bob, w.alice), opts...); !errors.Is(err, down) {
			t.Error(err)
		}
	}
	if _, err := p.FromPrior(t.Context(), bobDID, "did:example:new", now); !errors.Is(err, down) {
		t.Error(err)
	}
}

func TestNewRefuses(t *testing.T) {
	w := newWorld(t)
	for _, cfg := range []envelope.Config{{}, {Keys: w.bob.keys}, {Resolver: w}} {
		if p, err := envelope.New(cfg); err == nil || p != nil {
			t.Errorf("New(%+v) = %v", cfg, p)
		}
	}
}
