package keyring_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"reflect"
	"strings"
	"sync"
	"testing"

	secp "github.com/decred/dcrd/dcrec/secp256k1/v4"
	secpecdsa "github.com/decred/dcrd/dcrec/secp256k1/v4/ecdsa"

	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/keyring"
	"github.com/didcomm-go/didcomm/did"
)

var curves = []keyring.Curve{keyring.Ed25519, keyring.X25519, keyring.P256, keyring.P384, keyring.P521, keyring.Secp256k1}

// powers tells which of the two a key of the curve has.
func powers(c keyring.Curve) (agrees, signs bool) {
	return c != keyring.Ed25519 && c != keyring.Secp256k1, c != keyring.X25519
}

func TestGenerate(t *testing.T) {
	ctx := context.Background()
	for _, curve := range curves {
		ring := keyring.New()
		key, err := keyring.Generate(curve)
		if err != nil {
			t.Fatal(err)
		}
		if key.Type() != curve {
			t.Errorf("%s: type %s", curve, key.Type())
		}
		const kid = "did:example:alice#1"
		if err := ring.Add(kid, key); err != nil {
			t.Fatal(err)
		}
		agrees, signs := powers(curve)
		exchanger, err := ring.KeyAgreement(ctx, kid)
		if agrees {
			if err != nil {
				t.Fatal(err)
			}
			checkAgreement(t, exchanger)
			if curve == keyring.X25519 && !exchanger.PublicKey().Equal(key.Public()) {
				t.Errorf("%s: public keys differ", curve)
			}
		} else if !errors.Is(err, envelope.ErrNoKey) || exchanger != nil {
			t.Errorf("%s: key agreement: %v", curve, err)
		}
		signer, err := ring.Signer(ctx, kid)
		if signs {
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(signer.Public(), key.Public()) {
				t.Errorf("%s: public keys differ", curve)
			}
			checkSignature(t, signer)
		} else if !errors.Is(err, envelope.ErrNoKey) || signer != nil {
			t.Errorf("%s: signer: %v", curve, err)
		}
	}
	if _, err := keyring.Generate("P-224"); !errors.Is(err, keyring.ErrInvalid) {
		t.Error(err)
	}
}

func checkAgreement(t *testing.T, key ecdh.KeyExchanger) {
	t.Helper()
	peer, err := key.Curve().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ours, err := key.ECDH(peer.PublicKey())
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := peer.ECDH(key.PublicKey())
	if err != nil || !bytes.Equal(ours, theirs) {
		t.Errorf("%v: secrets differ: %v", key.Curve(), err)
	}
}

func checkSignature(t *testing.T, key crypto.Signer) {
	t.Helper()
	text := []byte("text")
	digest := sha256.Sum256(text)
	var opts crypto.SignerOpts = crypto.SHA256
	input := digest[:]
	if _, ok := key.Public().(ed25519.PublicKey); ok {
		opts, input = crypto.Hash(0), text
	}
	sig, err := key.Sign(rand.Reader, input, opts)
	if err != nil {
		t.Fatal(err)
	}
	ok := false
	switch pub := key.Public().(type) {
	case ed25519.PublicKey:
		ok = ed25519.Verify(pub, text, sig)
	case *ecdsa.PublicKey:
		ok = ecdsa.VerifyASN1(pub, digest[:], sig)
	case did.Secp256k1PublicKey:
		parsed, err := secpecdsa.ParseDERSignature(sig)
		if err != nil {
			t.Fatal(err)
		}
		point, err := secp.ParsePubKey(pub[:])
		if err != nil {
			t.Fatal(err)
		}
		s := parsed.S()
		ok = parsed.Verify(digest[:], point) && !s.IsOverHalfOrder()
	default:
		t.Fatalf("public key of type %T", pub)
	}
	if !ok {
		t.Errorf("%T: signature does not verify", key.Public())
	}
}

func TestSecp256k1Sign(t *testing.T) {
	// RFC 6979 nonces on secp256k1, "Satoshi Nakamoto" under the key 1: the
	// vector that bitcoin libraries share (haskoin, trezor-crypto, btcec).
	d := make([]byte, 32)
	d[31] = 1
	key, err := keyring.ParseKey(keyring.Secp256k1, d)
	if err != nil {
		t.Fatal(err)
	}
	ring := keyring.New()
	if err := ring.Add("did:example:a#k", key); err != nil {
		t.Fatal(err)
	}
	signer, err := ring.Signer(context.Background(), "did:example:a#k")
	if err != nil {
		t.Fatal(err)
	}
	digest := sha256.Sum256([]byte("Satoshi Nakamoto"))
	const want = "3045" +
		"022100934b1ea10a4b3c1757e2b0c017d0b6143ce3c9a7e6a4a49860d7a6ab210ee3d8" +
		"02202442ce9d2b916064108014783e923ec36b49743e2ffa1c4496f01a512aafd9e5"
	if got, err := signer.Sign(nil, digest[:], crypto.SHA256); err != nil || hex.EncodeToString(got) != want {
		t.Errorf("%v\ngot  %x\nwant %s", err, got, want)
	}
	for name, test := range map[string]struct {
		digest []byte
		opts   crypto.SignerOpts
	}{"short": {digest[:31], crypto.SHA256}, "long": {make([]byte, 64), crypto.SHA512}, "other hash": {digest[:], crypto.SHA3_256}} {
		if sig, err := signer.Sign(nil, test.digest, test.opts); !errors.Is(err, keyring.ErrInvalid) || sig != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestParseKeyRange(t *testing.T) {
	// The group orders (SEC 2), plus one.
	for curve, above := range map[keyring.Curve]string{
		keyring.P256:      "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632552",
		keyring.Secp256k1: "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364142",
	} {
		d, err := hex.DecodeString(above)
		if err != nil {
			t.Fatal(err)
		}
		if key, err := keyring.ParseKey(curve, d); !errors.Is(err, keyring.ErrInvalid) || key != nil {
			t.Errorf("%s: %v", curve, err)
		}
	}
}

func TestAdd(t *testing.T) {
	ctx := context.Background()
	ring := keyring.New()
	_, ed, _ := ed25519.GenerateKey(rand.Reader)
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	x, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	agreement, err := ecdh.P384().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for kid, key := range map[string]crypto.PrivateKey{
		"did:example:a#ed": ed, "did:example:a#ec": ec, "did:example:b#x": x, "did:example:b#p384": agreement,
	} {
		for range 2 { // the same key twice changes nothing
			if err := ring.Add(kid, key); err != nil {
				t.Errorf("%s: %v", kid, err)
			}
		}
	}
	if err := ring.Add("did:example:a#ed", ec); !errors.Is(err, keyring.ErrDuplicate) {
		t.Error(err)
	}
	if err := ring.Add("did:example:b#x", ed); !errors.Is(err, keyring.ErrDuplicate) {
		t.Error(err)
	}
	if signer, err := ring.Signer(ctx, "did:example:a#ed"); err != nil || !ed.Public().(ed25519.PublicKey).Equal(signer.Public()) {
		t.Error(err)
	}
	if signer, err := ring.Signer(ctx, "did:example:b#p384"); err != nil {
		t.Error(err)
	} else {
		checkSignature(t, signer)
	}
	if n := len(ring.KIDs()); n != 4 {
		t.Errorf("%d keys", n)
	}
	if dids, err := ring.DIDs(ctx, 10); err != nil || len(dids) != 2 {
		t.Error(dids, err)
	}
	for _, kid := range []string{"", "key-1", "#key-1", "did:example:a", "did:example:a#", "did::a#k", "did:example:a k#k"} {
		if err := ring.Add(kid, ed); !errors.Is(err, keyring.ErrInvalid) {
			t.Errorf("kid %q: %v", kid, err)
		}
	}
	p224, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, key := range map[string]crypto.PrivateKey{
		"nil": nil, "nil key": (*keyring.Key)(nil), "zero key": new(keyring.Key), "text": "x", "public": ed.Public(), "short": ed[:63],
		"nil ecdsa": (*ecdsa.PrivateKey)(nil), "zero ecdsa": new(ecdsa.PrivateKey), "P-224": p224, "nil ecdh": (*ecdh.PrivateKey)(nil),
	} {
		if err := ring.Add("did:example:c#k", key); !errors.Is(err, keyring.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, kid := range []string{"did:example:c#k", "did:example:a", "", "#ed"} {
		if _, err := ring.Signer(ctx, kid); !errors.Is(err, envelope.ErrNoKey) {
			t.Errorf("%s: %v", kid, err)
		}
		if _, err := ring.KeyAgreement(ctx, kid); !errors.Is(err, envelope.ErrNoKey) {
			t.Errorf("%s: %v", kid, err)
		}
	}
}

// TestX25519 holds the derivation to the did:key vectors.
func TestX25519(t *testing.T) {
	data, err := os.ReadFile("testdata/did-key-ed25519-x25519.json")
	if err != nil {
		t.Fatal(err)
	}
	var vectors map[string]struct {
		Seed         string
		DIDDocument  json.RawMessage                  `json:"didDocument"`
		KeyAgreement struct{ PublicKeyBase58 string } `json:"keyAgreementKeyPair"`
	}
	if err := json.Unmarshal(data, &vectors); err != nil {
		t.Fatal(err)
	}
	checked := 0
	for id, v := range vectors {
		seed, err := hex.DecodeString(v.Seed)
		if err != nil || len(seed) != 32 || v.KeyAgreement.PublicKeyBase58 == "" {
			continue
		}
		checked++
		ed, err := keyring.ParseKey(keyring.Ed25519, seed)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := did.FormatMultikey(ed.Public()); err != nil || "did:key:"+got != id {
			t.Errorf("%s: %s %v", id, got, err)
		}
		x, err := ed.X25519()
		if err != nil {
			t.Fatal(err)
		}
		doc, err := did.ParseDocument(v.DIDDocument)
		if err != nil {
			t.Fatal(err)
		}
		if keys := doc.KeyAgreementKeys(); len(keys) != 1 {
			t.Errorf("%s: %d key agreement keys", id, len(keys))
		} else if want, err := keys[0].ECDH(); err != nil || !want.Equal(x.Public()) {
			t.Errorf("%s: %v: derived keys differ", id, err)
		}
		if _, err := x.X25519(); !errors.Is(err, keyring.ErrInvalid) {
			t.Error(err)
		}
	}
	if checked < 3 {
		t.Errorf("%d vectors checked", checked)
	}
}

func TestNothingPrints(t *testing.T) {
	ctx := context.Background()
	for _, curve := range curves {
		d := bytes.Repeat([]byte{0x5a}, 32)
		switch curve {
		case keyring.P384:
			d = bytes.Repeat([]byte{0x5a}, 48)
		case keyring.P521:
			d = append([]byte{0}, bytes.Repeat([]byte{0x5a}, 65)...)
		}
		key, err := keyring.ParseKey(curve, d)
		if err != nil {
			t.Fatal(err)
		}
		ring := keyring.New()
		if err := ring.Add("did:example:alice#1", key); err != nil {
			t.Fatal(err)
		}
		values := []any{key, *key, ring, []any{key, ring}, map[string]any{"k": key}, struct{ K, k any }{key, ring}}
		if signer, err := ring.Signer(ctx, "did:example:alice#1"); err == nil {
			values = append(values, signer, struct{ S crypto.Signer }{signer})
		}
		if exchanger, err := ring.KeyAgreement(ctx, "did:example:alice#1"); err == nil {
			values = append(values, exchanger, []ecdh.KeyExchanger{exchanger})
		}
		var out bytes.Buffer
		text := slog.New(slog.NewTextHandler(&out, nil))
		js := slog.New(slog.NewJSONHandler(&out, nil))
		for _, v := range values {
			for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
				fmt.Fprintf(&out, verb+"\n", v)
			}
			fmt.Fprintln(&out, v)
			text.Info("x", "v", v)
			js.Info("x", "v", v)
		}
		s := out.String()
		// The bytes in hexadecimal, decimal, base64 of three alignments, as text, and the words of a big integer.
		for _, secret := range []string{"5a5a5a", "5A5A5A", "0x5a, 0x5a", "90 90 90", "90, 90, 90", "Wlpa", "paWl", "aWlp", "ZZZ", "6510615555426900570"} {
			if strings.Contains(s, secret) {
				t.Errorf("%s: prints %q: %s", curve, secret, s)
			}
		}
		if !strings.Contains(s, "REDACTED") {
			t.Errorf("%s: %s", curve, s)
		}
	}
}

func TestConcurrentUse(t *testing.T) {
	ring := keyring.New()
	key, err := keyring.Generate(keyring.X25519)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 50 {
				kid := fmt.Sprintf("did:example:%d#%d", i, j)
				if err := ring.Add(kid, key); err != nil {
					t.Error(err)
				}
				if _, err := ring.KeyAgreement(context.Background(), kid); err != nil {
					t.Error(err)
				}
				ring.DIDs(context.Background(), 10)
			}
		})
	}
	wg.Wait()
	if n := len(ring.KIDs()); n != 400 {
		t.Errorf("%d keys", n)
	}
}

func TestLookupDoesNotAllocate(t *testing.T) {
	ring := keyring.New()
	key, err := keyring.Generate(keyring.P256)
	if err != nil {
		t.Fatal(err)
	}
	if err := ring.Add("did:example:a#k", key); err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	if n := testing.AllocsPerRun(100, func() {
		ring.KeyAgreement(ctx, "did:example:a#k")
		ring.Signer(ctx, "did:example:a#k")
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
