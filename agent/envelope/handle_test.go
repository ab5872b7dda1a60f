package envelope_test

import (
	"context"
	"crypto"
	"crypto/ecdh"
	"encoding/asn1"
	"encoding/hex"
	"errors"
	"io"
	"math/big"
	"testing"

	"github.com/decred/dcrd/dcrec/secp256k1/v4"
	secpecdsa "github.com/decred/dcrd/dcrec/secp256k1/v4/ecdsa"

	"github.com/didcomm-go/didcomm/agent/envelope"
)

// module is a key store like an HSM: it lends handles that do what
// ecdh.KeyExchanger and crypto.Signer say and have no other method. It does not
// tell which DIDs it holds keys of.
type module struct {
	agent *agent
	// ecdh answers an exchange in place of the key, if set.
	ecdh func(key *ecdh.PrivateKey, remote *ecdh.PublicKey) ([]byte, error)
}

var _ envelope.Keys = (*module)(nil)

func (m *module) KeyAgreement(_ context.Context, kid string) (ecdh.KeyExchanger, error) {
	for name, key := range m.agent.ecdh {
		if m.agent.kid(name) == kid {
			return exchangeHandle{key, m.ecdh}, nil
		}
	}
	return nil, envelope.ErrNoKey
}

func (m *module) Signer(ctx context.Context, kid string) (crypto.Signer, error) {
	for name, key := range m.agent.sign {
		if m.agent.kid(name) != kid {
			continue
		}
		if key, ok := key.(*secp256k1.PrivateKey); ok {
			held, err := m.agent.keys.Signer(ctx, kid)
			if err != nil {
				return nil, err
			}
			return highS{key, held.Public()}, nil
		}
		return signHandle{key.(crypto.Signer)}, nil
	}
	return nil, envelope.ErrNoKey
}

type exchangeHandle struct {
	key  *ecdh.PrivateKey
	ecdh func(*ecdh.PrivateKey, *ecdh.PublicKey) ([]byte, error)
}

var _ ecdh.KeyExchanger = exchangeHandle{}

func (h exchangeHandle) PublicKey() *ecdh.PublicKey { return h.key.PublicKey() }
func (h exchangeHandle) Curve() ecdh.Curve          { return h.key.Curve() }
func (h exchangeHandle) ECDH(remote *ecdh.PublicKey) ([]byte, error) {
	if h.ecdh != nil {
		return h.ecdh(h.key, remote)
	}
	return h.key.ECDH(remote)
}

type signHandle struct{ key crypto.Signer }

func (h signHandle) Public() crypto.PublicKey { return h.key.Public() }
func (h signHandle) Sign(rand io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	return h.key.Sign(rand, digest, opts)
}

// highS signs as hardware does that knows of no rule about S: in DER, and here
// always in the upper half.
type highS struct {
	key    *secp256k1.PrivateKey
	public crypto.PublicKey
}

func (h highS) Public() crypto.PublicKey { return h.public }
func (h highS) Sign(_ io.Reader, digest []byte, _ crypto.SignerOpts) ([]byte, error) {
	sig := secpecdsa.Sign(h.key, digest)
	r, s := sig.R(), sig.S()
	if !s.IsOverHalfOrder() {
		s.Negate()
	}
	rb, sb := r.Bytes(), s.Bytes()
	return asn1.Marshal(struct{ R, S *big.Int }{new(big.Int).SetBytes(rb[:]), new(big.Int).SetBytes(sb[:])})
}

// TestHandles packs and unpacks with handles only, in each mode and curve and
// with each signature algorithm.
func TestHandles(t *testing.T) {
	w := newWorld(t)
	alice := w.packer(t, w.alice, func(c *envelope.Config) { c.Keys = &module{agent: w.alice} })
	bob := w.packer(t, w.bob, strict, func(c *envelope.Config) { c.Keys = &module{agent: w.bob} })
	m := newMessage(t, w.alice, w.bob)
	for _, curve := range agreementNames {
		to, from := envelope.To(w.bob.kid(curve)), envelope.From(w.alice.kid(curve))
		for _, signer := range append(signerNames, "") {
			for _, mode := range []struct {
				name string
				opts []envelope.PackOption
			}{
				{"anoncrypt", nil},
				{"authcrypt", []envelope.PackOption{from}},
				{"anoncrypt(authcrypt)", []envelope.PackOption{from, envelope.ProtectSender()}},
			} {
				opts := append(mode.opts, to)
				if signer != "" {
					opts = append(opts, envelope.SignBy(w.alice.kid(signer)))
				}
				u := unpack(t, bob, pack1(t, alice, m, opts...).Data)
				if u.Metadata.NonRepudiation != (signer != "") || u.Metadata.Authenticated != (signer != "" || mode.name != "anoncrypt") {
					t.Errorf("%s %s %s: metadata %+v", mode.name, curve, signer, u.Metadata)
				}
			}
		}
	}
	for _, name := range signerNames {
		if _, err := alice.FromPrior(t.Context(), w.alice.kid(name), "did:example:new", now); err != nil {
			t.Errorf("from_prior by %s: %v", name, err)
		}
	}
}

// TestHandleFails tells a low-order point from a handle that fails.
func TestHandleFails(t *testing.T) {
	w := newWorld(t)
	down := errors.New("hsm: CKR_DEVICE_ERROR")
	zeros := func(_ *ecdh.PrivateKey, remote *ecdh.PublicKey) ([]byte, error) {
		return make([]byte, len(remote.Bytes())), nil
	}
	own := func(key *ecdh.PrivateKey, remote *ecdh.PublicKey) ([]byte, error) {
		if _, err := key.ECDH(remote); err != nil {
			return nil, errors.New("hsm: CKR_DATA_INVALID")
		}
		return key.ECDH(remote)
	}
	broken := func(*ecdh.PrivateKey, *ecdh.PublicKey) ([]byte, error) { return nil, down }
	unpacker := func(answer func(*ecdh.PrivateKey, *ecdh.PublicKey) ([]byte, error)) *envelope.Packer {
		return w.packer(t, w.bob, func(c *envelope.Config) { c.Keys = &module{w.bob, answer} })
	}
	plaintext := text(t, w.alice, nil, nil)
	good := peerJWE{plaintext: plaintext, from: w.alice.sender("x25519"), to: []peerRecipient{w.bob.recipient("x25519")}}.seal(t)
	for _, point := range lowOrder {
		x, err := hex.DecodeString(point)
		if err != nil {
			t.Fatal(err)
		}
		jwe := peerJWE{plaintext: plaintext, to: []peerRecipient{w.bob.recipient("x25519")}}
		jwe.epkJWK = func(any) any { return map[string]any{"kty": "OKP", "crv": "X25519", "x": b64.EncodeToString(x)} }
		refused(t, unpacker(zeros), jwe.seal(t), envelope.ErrLowOrderPoint)
		refused(t, unpacker(own), jwe.seal(t), envelope.ErrLowOrderPoint)
		jwe.from = w.alice.sender("x25519")
		refused(t, unpacker(zeros), jwe.seal(t), envelope.ErrLowOrderPoint)
	}
	refused(t, unpacker(zeros), good, envelope.ErrLowOrderPoint)
	if err := refused(t, unpacker(broken), good, down); errors.Is(err, envelope.ErrLowOrderPoint) || errors.Is(err, envelope.ErrDecrypt) {
		t.Errorf("a failing handle is %v", err)
	}
	unpack(t, unpacker(own), good)

	// As the sender.
	sender := w.packer(t, w.alice, func(c *envelope.Config) { c.Keys = &module{w.alice, broken} })
	if sealed, err := sender.Pack(t.Context(), newMessage(t, w.alice, w.bob), envelope.From(aliceDID)); !errors.Is(err, down) || sealed != nil {
		t.Errorf("packed with a failing handle: %v", err)
	}
}
