// Package keyringtest tests implementations of envelope.Keys: keyrings in memory or on disk,
// in an HSM or in a KMS. Call [TestKeys] in a test of the implementation:
//
//	func TestHSM(t *testing.T) {
//		keyringtest.TestKeys(t, hsm, keyringtest.Held{
//			KID: "did:example:alice#key-1", Public: public, Agrees: true,
//		})
//	}
//
// TestKeys agrees on shared secrets with keys of the standard library, verifies signatures
// with the standard library, and packs and opens messages. If the implementation is also an
// envelope.Owner or an envelope.KeyFinder, TestKeys tests the methods of these, too.
package keyringtest

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/decred/dcrd/dcrec/secp256k1/v4"
	secpecdsa "github.com/decred/dcrd/dcrec/secp256k1/v4/ecdsa"

	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/did"
)

// Held is a key that the implementation under test holds.
type Held struct {
	KID string
	// Public is the public key: *ecdh.PublicKey (X25519), *ecdsa.PublicKey,
	// ed25519.PublicKey or did.Secp256k1PublicKey.
	Public crypto.PublicKey
	// Agrees says that the key is for key agreement, Signs that it is for signatures. At
	// least one of them must be set.
	Agrees, Signs bool
}

// TestKeys tests keys, an implementation that holds exactly the keys in held. At least one key
// is needed.
func TestKeys(t *testing.T, keys envelope.Keys, held ...Held) {
	if len(held) == 0 {
		t.Fatal("no key to test")
	}
	for _, h := range held {
		t.Run(h.KID, func(t *testing.T) {
			testAgreement(t, keys, h)
			testSigner(t, keys, h)
			t.Run("Envelope", func(t *testing.T) { testEnvelope(t, keys, h) })
		})
	}
	t.Run("NoKey", func(t *testing.T) { testNoKey(t, keys, held) })
	t.Run("AtOnce", func(t *testing.T) { testAtOnce(t, keys, held) })
	if owner, ok := keys.(envelope.Owner); ok {
		t.Run("Owner", func(t *testing.T) { testOwner(t, owner, held) })
	}
	if finder, ok := keys.(envelope.KeyFinder); ok {
		t.Run("KeyFinder", func(t *testing.T) { testFinder(t, finder, held) })
	}
}

func testAgreement(t *testing.T, keys envelope.Keys, h Held) {
	key, err := keys.KeyAgreement(t.Context(), h.KID)
	if !h.Agrees {
		if !errors.Is(err, envelope.ErrNoKey) || key != nil {
			t.Errorf("KeyAgreement of a key that does not agree: %v", err)
		}
		return
	}
	if err != nil {
		t.Fatalf("KeyAgreement: %v", err)
	}
	public, err := exchangeKey(h.Public)
	if err != nil {
		t.Fatal(err)
	}
	if !key.PublicKey().Equal(public) || key.Curve() != public.Curve() {
		t.Error("KeyAgreement: another public key or curve")
	}
	for range 4 {
		if err := agree(key, public); err != nil {
			t.Error(err)
		}
	}
	for _, curve := range []ecdh.Curve{ecdh.X25519(), ecdh.P256(), ecdh.P384(), ecdh.P521()} {
		if curve == public.Curve() {
			continue
		}
		other, err := curve.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		if secret, err := key.ECDH(other.PublicKey()); err == nil || secret != nil {
			t.Errorf("ECDH with a key of %v: no error", curve)
		}
	}
	if public.Curve() == ecdh.X25519() { // RFC 7748, section 6.1
		low, err := ecdh.X25519().NewPublicKey(make([]byte, 32))
		if err != nil {
			t.Fatal(err)
		}
		if secret, err := key.ECDH(low); err == nil && !bytes.Equal(secret, make([]byte, 32)) {
			t.Error("ECDH with a point of low order: neither an error nor zeros")
		}
	}
}

// agree agrees on a shared secret with a key of the standard library.
func agree(key ecdh.KeyExchanger, public *ecdh.PublicKey) error {
	peer, err := public.Curve().GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	ours, err := key.ECDH(peer.PublicKey())
	if err != nil {
		return fmt.Errorf("ECDH: %w", err)
	}
	theirs, err := peer.ECDH(public)
	if err != nil {
		return err
	}
	if !bytes.Equal(ours, theirs) {
		return errors.New("ECDH: secrets differ")
	}
	return nil
}

func exchangeKey(public crypto.PublicKey) (*ecdh.PublicKey, error) {
	switch k := public.(type) {
	case *ecdh.PublicKey:
		return k, nil
	case *ecdsa.PublicKey:
		return k.ECDH()
	}
	return nil, fmt.Errorf("keyringtest: public key of type %T does not agree", public)
}

func testSigner(t *testing.T, keys envelope.Keys, h Held) {
	key, err := keys.Signer(t.Context(), h.KID)
	if !h.Signs {
		if !errors.Is(err, envelope.ErrNoKey) || key != nil {
			t.Errorf("Signer of a key that does not sign: %v", err)
		}
		return
	}
	if err != nil {
		t.Fatalf("Signer: %v", err)
	}
	if public, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool }); !ok || !public.Equal(h.Public) {
		t.Errorf("Signer: Public is %T, or another key", key.Public())
	}
	for i := range 8 { // some with short r or s
		if err := sign(key, h.Public, fmt.Appendf(nil, "text %d", i)); err != nil {
			t.Error(err)
		}
	}
}

// hashFor returns the hash that JWS uses for a key, and the digest of text (RFC 7518, section
// 3.4; RFC 8812). For Ed25519 there is no hash, and the digest is text itself.
func hashFor(public crypto.PublicKey, text []byte) (crypto.Hash, []byte) {
	hash := crypto.SHA256
	switch k := public.(type) {
	case ed25519.PublicKey:
		return 0, text
	case *ecdsa.PublicKey:
		switch k.Curve.Params().BitSize {
		case 384:
			hash = crypto.SHA384
		case 521:
			hash = crypto.SHA512
		}
	}
	h := hash.New()
	h.Write(text)
	return hash, h.Sum(nil)
}

func sign(key crypto.Signer, public crypto.PublicKey, text []byte) error {
	opts, input := hashFor(public, text)
	sig, err := key.Sign(rand.Reader, input, opts)
	if err != nil {
		return fmt.Errorf("sign: %w", err)
	}
	ok := false
	switch k := public.(type) {
	case ed25519.PublicKey:
		ok = ed25519.Verify(k, text, sig)
	case *ecdsa.PublicKey:
		ok = ecdsa.VerifyASN1(k, input, sig)
	case did.Secp256k1PublicKey:
		parsed, err := secpecdsa.ParseDERSignature(sig)
		if err != nil {
			return fmt.Errorf("sign: %w", err)
		}
		point, err := secp256k1.ParsePubKey(k[:])
		if err != nil {
			return err
		}
		digest := sha256.Sum256(text)
		ok = parsed.Verify(digest[:], point)
	default:
		return fmt.Errorf("keyringtest: public key of type %T does not sign", public)
	}
	if !ok {
		return fmt.Errorf("sign: the signature does not verify: %x", sig)
	}
	return nil
}

func testNoKey(t *testing.T, keys envelope.Keys, held []Held) {
	kid := held[0].KID
	for _, kid := range []string{"", "#", "#key-1", did.Base(kid), kid + "x", did.Base(kid) + "#", "did:example:nobody#key-1", kid + "\x00"} {
		if slices.ContainsFunc(held, func(h Held) bool { return h.KID == kid }) {
			continue
		}
		if key, err := keys.KeyAgreement(t.Context(), kid); !errors.Is(err, envelope.ErrNoKey) || key != nil {
			t.Errorf("KeyAgreement(%q): %v", kid, err)
		}
		if key, err := keys.Signer(t.Context(), kid); !errors.Is(err, envelope.ErrNoKey) || key != nil {
			t.Errorf("Signer(%q): %v", kid, err)
		}
	}
}

// testAtOnce uses each handle in many goroutines at the same time, which also get new handles.
func testAtOnce(t *testing.T, keys envelope.Keys, held []Held) {
	var group sync.WaitGroup
	for _, h := range held {
		if h.Agrees {
			key, err := keys.KeyAgreement(t.Context(), h.KID)
			if err != nil {
				t.Fatal(err)
			}
			public, err := exchangeKey(h.Public)
			if err != nil {
				t.Fatal(err)
			}
			for range 8 {
				group.Go(func() {
					for range 4 {
						if err := agree(key, public); err != nil {
							t.Error(err)
						}
						if _, err := keys.KeyAgreement(t.Context(), h.KID); err != nil {
							t.Error(err)
						}
					}
				})
			}
		}
		if h.Signs {
			key, err := keys.Signer(t.Context(), h.KID)
			if err != nil {
				t.Fatal(err)
			}
			for i := range 8 {
				group.Go(func() {
					for j := range 4 {
						if err := sign(key, h.Public, fmt.Appendf(nil, "text %d %d", i, j)); err != nil {
							t.Error(err)
						}
						if _, err := keys.Signer(t.Context(), h.KID); err != nil {
							t.Error(err)
						}
					}
				})
			}
		}
	}
	group.Wait()
}

func testOwner(t *testing.T, owner envelope.Owner, held []Held) {
	ctx := context.WithoutCancel(t.Context())
	var want []string
	for _, h := range held {
		base := did.Base(h.KID)
		if !slices.Contains(want, base) {
			want = append(want, base)
		}
		if own, err := owner.Own(ctx, base); err != nil || own != base {
			t.Errorf("Own(%q) = %q, %v", base, own, err)
		}
	}
	for _, id := range []string{"did:example:nobody", want[0] + "x", ""} {
		if own, err := owner.Own(ctx, id); !errors.Is(err, envelope.ErrNoKey) || own != "" {
			t.Errorf("Own(%q) = %q, %v; want ErrNoKey", id, own, err)
		}
	}
	all, err := owner.DIDs(ctx, len(want)+1)
	if err != nil {
		t.Fatal(err)
	}
	for n := range len(want) + 1 {
		got, err := owner.DIDs(ctx, n)
		if err != nil || !slices.Equal(got, all[:min(n, len(all))]) {
			t.Errorf("DIDs(%d) = %q, %v; all are %q", n, got, err, all)
		}
	}
	got := slices.Sorted(slices.Values(all))
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("DIDs() = %q, want %q", got, want)
	}
}
