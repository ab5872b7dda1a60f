package envelope_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/didcomm-go/didcomm/agent/envelope"
)

// go-jose is the other author here. It has neither ECDH-1PU nor XC20P nor
// X25519 nor ES256K.

var goJoseAlgs = map[string]jose.SignatureAlgorithm{"ed25519": jose.EdDSA, "es256": jose.ES256, "es384": jose.ES384, "es512": jose.ES512}

// private is a NIST key agreement key as go-jose takes it.
func private(t testing.TB, a *agent, name string) *ecdsa.PrivateKey {
	t.Helper()
	curve := map[string]string{"p256": "es256", "p384": "es384", "p521": "es512"}[name]
	key, err := ecdsa.ParseRawPrivateKey(a.sign[curve].(*ecdsa.PrivateKey).Curve, a.ecdh[name].Bytes())
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// TestGoJoseVerifies opens our signed messages with go-jose.
func TestGoJoseVerifies(t *testing.T) {
	w := newWorld(t)
	alice := w.packer(t, w.alice)
	m := newMessage(t, w.alice, w.bob)
	var all []string
	for name, alg := range goJoseAlgs {
		all = append(all, w.alice.kid(name))
		for _, opts := range [][]envelope.PackOption{nil, {envelope.ProtectedKID()}} {
			e := pack1(t, alice, m, append(opts, envelope.SignBy(w.alice.kid(name)), envelope.Signed())...)
			parsed, err := jose.ParseSignedJSON(string(e.Data), []jose.SignatureAlgorithm{alg})
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			payload, err := parsed.Verify(publicOf(w.alice.sign[name]))
			if err != nil || !bytes.Equal(payload, encode(t, m)) {
				t.Errorf("%s: %s, %v", name, payload, err)
			}
			if kid := parsed.Signatures[0].Header.KeyID; kid != w.alice.kid(name) {
				t.Errorf("%s: kid %s", name, kid)
			}
		}
	}
	e := pack1(t, alice, m, envelope.SignBy(all...), envelope.Signed())
	parsed, err := jose.ParseSignedJSON(string(e.Data), []jose.SignatureAlgorithm{jose.EdDSA, jose.ES256, jose.ES384, jose.ES512})
	if err != nil {
		t.Fatal(err)
	}
	for name := range goJoseAlgs {
		if _, _, payload, err := parsed.VerifyMulti(publicOf(w.alice.sign[name])); err != nil || !bytes.Equal(payload, encode(t, m)) {
			t.Errorf("one of four, %s: %v", name, err)
		}
	}
}

func publicOf(key any) any {
	return key.(crypto.Signer).Public()
}

// TestGoJoseSigns opens what go-jose signs with our headers.
func TestGoJoseSigns(t *testing.T) {
	w := newWorld(t)
	payload := text(t, w.alice, nil, nil)
	for name, alg := range goJoseAlgs {
		key := jose.SigningKey{Algorithm: alg, Key: jose.JSONWebKey{Key: w.alice.sign[name], KeyID: w.alice.kid(name)}}
		signer, err := jose.NewSigner(key, (&jose.SignerOptions{}).WithType(envelope.MediaTypeSigned))
		if err != nil {
			t.Fatal(err)
		}
		signed, err := signer.Sign(payload)
		if err != nil {
			t.Fatal(err)
		}
		compact, err := signed.CompactSerialize()
		if err != nil {
			t.Fatal(err)
		}
		check(t, w.packer(t, w.bob), w.packer(t, w.bob, strict), []received{
			{name + " flattened", []byte(signed.FullSerialize()), nil},
			{name + " compact", []byte(compact), codeList{envelope.DeviationSerialization}},
		})
	}
}

// TestGoJoseDecrypts opens our anoncrypt with go-jose.
func TestGoJoseDecrypts(t *testing.T) {
	w := newWorld(t)
	for _, curve := range []string{"p256", "p384", "p521"} {
		w.bob.add(t, curve+"-2")
		for enc, name := range map[envelope.Enc]jose.ContentEncryption{envelope.A256GCM: jose.A256GCM, envelope.A256CBCHS512: jose.A256CBC_HS512} {
			m := newMessage(t, w.alice, w.bob)
			for _, to := range [][]string{{w.bob.kid(curve)}, {w.bob.kid(curve + "-2"), w.bob.kid(curve)}} {
				e := pack1(t, w.packer(t, w.alice), m, envelope.To(to...), envelope.ContentEncryption(enc))
				parsed, err := jose.ParseEncryptedJSON(string(e.Data), []jose.KeyAlgorithm{jose.ECDH_ES_A256KW}, []jose.ContentEncryption{name})
				if err != nil {
					t.Fatalf("%s %s: %v", curve, enc, err)
				}
				_, header, plaintext, err := parsed.DecryptMulti(private(t, w.bob, curve))
				if err != nil || !bytes.Equal(plaintext, encode(t, m)) {
					t.Errorf("%s %s: %s, %v", curve, enc, plaintext, err)
				}
				if header.KeyID != w.bob.kid(curve) {
					t.Errorf("%s %s: kid %s", curve, enc, header.KeyID)
				}
			}
		}
	}
}

// TestGoJoseEncrypts opens what go-jose encrypts with our headers. It knows no
// apv, and writes one recipient flattened.
func TestGoJoseEncrypts(t *testing.T) {
	w := newWorld(t)
	plaintext := text(t, nil, []*agent{w.bob}, nil)
	opts := (&jose.EncrypterOptions{}).WithType(envelope.MediaTypeEncrypted)
	rcpt := func(a *agent, curve string) jose.Recipient {
		return jose.Recipient{Algorithm: jose.ECDH_ES_A256KW, Key: &private(t, a, curve).PublicKey, KeyID: a.kid(curve)}
	}
	for _, curve := range []string{"p256", "p384", "p521"} {
		for _, enc := range []jose.ContentEncryption{jose.A256GCM, jose.A256CBC_HS512} {
			encrypter, err := jose.NewEncrypter(enc, rcpt(w.bob, curve), opts)
			if err != nil {
				t.Fatal(err)
			}
			sealed, err := encrypter.Encrypt(plaintext)
			if err != nil {
				t.Fatal(err)
			}
			compact, err := sealed.CompactSerialize()
			if err != nil {
				t.Fatal(err)
			}
			want := codeList{envelope.DeviationSerialization, envelope.DeviationAPVMissing}
			check(t, w.packer(t, w.bob), w.packer(t, w.bob, strict), []received{
				{curve + " " + string(enc) + " flattened", []byte(sealed.FullSerialize()), want},
				{curve + " " + string(enc) + " compact", []byte(compact), want},
			})
		}
	}
	// For several recipients it puts alg into each recipient's header.
	encrypter, err := jose.NewMultiEncrypter(jose.A256GCM, []jose.Recipient{rcpt(w.bob, "p256"), rcpt(w.carol, "p256")}, opts)
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := encrypter.Encrypt(plaintext)
	if err != nil {
		t.Fatal(err)
	}
	refused(t, w.packer(t, w.bob), []byte(sealed.FullSerialize()), envelope.ErrUnprotectedAlg)
}
