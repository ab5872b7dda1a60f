package did_test

import (
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"testing"

	"github.com/mr-tron/base58"

	"github.com/didcomm-go/didcomm/did"
)

type equaler interface{ Equal(crypto.PublicKey) bool }

// secp256k1G is the generator (SEC 2, section 2.4.1), uncompressed.
const secp256k1G = "0479be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798483ada7726a3c4655da4fbfc0e1108a8fd17b448a68554199c47d08ffb10d4b8"

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// keys is one key of each kind.
func keys(t testing.TB) map[string]crypto.PublicKey {
	t.Helper()
	x, err := ecdh.X25519().NewPrivateKey(make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	secp, err := did.NewSecp256k1PublicKey(unhex(t, secp256k1G))
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]crypto.PublicKey{
		"Ed25519":   ed25519.NewKeyFromSeed(make([]byte, 32)).Public(),
		"X25519":    x.PublicKey(),
		"secp256k1": secp,
		"RSA":       &rsa.PublicKey{N: new(big.Int).SetBit(big.NewInt(1), 2047, 1), E: 65537},
	}
	for _, curve := range []elliptic.Curve{elliptic.P256(), elliptic.P384(), elliptic.P521()} {
		k, err := ecdsa.GenerateKey(curve, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		all[curve.Params().Name] = k.Public()
	}
	return all
}

// fits names the key types that a method type allows; other method types allow all.
var fits = map[string]string{
	did.TypeEd25519VerificationKey2018:        "Ed25519",
	did.TypeEd25519VerificationKey2020:        "Ed25519",
	did.TypeX25519KeyAgreementKey2019:         "X25519",
	did.TypeX25519KeyAgreementKey2020:         "X25519",
	did.TypeEcdsaSecp256k1VerificationKey2019: "secp256k1",
	did.TypeJSONWebKey2020:                    "",
	did.TypeJSONWebKey:                        "",
	did.TypeMultikey:                          "",
}

func TestNewVerificationMethod(t *testing.T) {
	for typ, only := range fits {
		for name, key := range keys(t) {
			m, err := did.NewVerificationMethod("did:example:1#k", "did:example:1", typ, key)
			if only != "" && only != name {
				if !errors.Is(err, did.ErrInvalid) {
					t.Errorf("%s in %s: %v", name, typ, err)
				}
				continue
			}
			if err != nil {
				t.Errorf("%s in %s: %v", name, typ, err)
				continue
			}
			var again did.VerificationMethod
			if err := json.Unmarshal([]byte(marshal(t, m)), &again); err != nil {
				t.Fatal(err)
			}
			got, err := again.PublicKey()
			if err != nil || !got.(equaler).Equal(key) {
				t.Errorf("%s in %s becomes %v, %v: %s", name, typ, got, err, marshal(t, m))
			}
			agree, err := again.ECDH()
			switch name {
			case "Ed25519", "secp256k1", "RSA":
				if !errors.Is(err, did.ErrUnsupported) || agree != nil {
					t.Errorf("key agreement with %s: %v", name, err)
				}
			case "X25519":
				if err != nil || !agree.Equal(key) {
					t.Errorf("key agreement with %s: %v", name, err)
				}
			default:
				want, wantErr := key.(*ecdsa.PublicKey).ECDH()
				if err != nil || wantErr != nil || !agree.Equal(want) {
					t.Errorf("key agreement with %s: %v", name, err)
				}
				// The NIST keys come as *ecdh.PublicKey too.
				if same, err := did.NewVerificationMethod(m.ID, m.Controller, typ, want); err != nil || marshal(t, same) != marshal(t, m) {
					t.Errorf("%s of ecdh: %v", name, err)
				}
			}
		}
	}
	if _, err := did.NewVerificationMethod("#k", "", "RsaVerificationKey2018", ed25519.PublicKey(make([]byte, 32))); !errors.Is(err, did.ErrUnsupported) {
		t.Errorf("unknown type: %v", err)
	}
	for name, key := range map[string]crypto.PublicKey{
		"string": "key",
		//lint:ignore SA1019 no other way makes a point off the curve
		"off the curve": &ecdsa.PublicKey{Curve: elliptic.P256(), X: big.NewInt(1), Y: big.NewInt(1)},
		"p-224":         &ecdsa.PublicKey{Curve: elliptic.P224()}, "no point": did.Secp256k1PublicKey{}, "ed25519 short": ed25519.PublicKey{},
	} {
		if m, err := did.NewVerificationMethod("#k", "", did.TypeJSONWebKey2020, key); err == nil {
			t.Errorf("%s: got %+v", name, m)
		}
	}
}

// The same Ed25519 and X25519 key (did:key vectors, seed of zeros) in each form.
func TestKeyForms(t *testing.T) {
	const (
		edX      = "O2onvM62pC1io6jQKm8Nc2UyFXcd4kOmOsBIoYtZ2ik"
		edBase58 = "4zvwRjXUKGfvwnParsHAS3HuSVzV5cA4McphgmoCtajS"
		xBase58  = "7By6kV2t2d188odEM4ExAve1UithKT6dLva4dwsDT3ak"
	)
	for name, m := range map[string]string{
		"Ed25519 2018, base58":         `"type":"Ed25519VerificationKey2018","publicKeyBase58":"` + edBase58 + `"`,
		"Ed25519 2020, base58":         `"type":"Ed25519VerificationKey2020","publicKeyBase58":"` + edBase58 + `"`,
		"Ed25519 2020, multibase":      `"type":"Ed25519VerificationKey2020","publicKeyMultibase":"` + ed25519Multibase + `"`,
		"Ed25519 2018, multibase":      `"type":"Ed25519VerificationKey2018","publicKeyMultibase":"` + ed25519Multibase + `"`,
		"Ed25519 2018, bare multibase": `"type":"Ed25519VerificationKey2018","publicKeyMultibase":"z` + edBase58 + `"`,
		"Ed25519 Multikey":             `"type":"Multikey","publicKeyMultibase":"` + ed25519Multibase + `"`,
		"Ed25519 in an unknown type":   `"type":"Anything","publicKeyMultibase":"` + ed25519Multibase + `"`,
		"Ed25519 JsonWebKey2020":       `"type":"JsonWebKey2020","publicKeyJwk":{"kty":"OKP","crv":"Ed25519","x":"` + edX + `"}`,
		"Ed25519 JsonWebKey":           `"type":"JsonWebKey","publicKeyJwk":{"kty":"OKP","crv":"Ed25519","x":"` + edX + `","kid":"a","alg":"EdDSA"}`,
		"Ed25519 2018, jwk":            `"type":"Ed25519VerificationKey2018","publicKeyJwk":{"kty":"OKP","crv":"Ed25519","x":"` + edX + `"}`,
		"Ed25519 padded jwk":           `"type":"JsonWebKey2020","publicKeyJwk":{"kty":"OKP","crv":"Ed25519","x":"` + edX + `="}`,
		"X25519 2019, base58":          `"type":"X25519KeyAgreementKey2019","publicKeyBase58":"` + xBase58 + `"`,
		"X25519 2020, multibase":       `"type":"X25519KeyAgreementKey2020","publicKeyMultibase":"` + x25519Multibase + `"`,
		"X25519 2019, multibase":       `"type":"X25519KeyAgreementKey2019","publicKeyMultibase":"` + x25519Multibase + `"`,
		"X25519 2020, bare multibase":  `"type":"X25519KeyAgreementKey2020","publicKeyMultibase":"z` + xBase58 + `"`,
		"Ed25519, no jwk said":         `"type":"Multikey","publicKeyJwk":null,"publicKeyMultibase":"` + ed25519Multibase + `"`,
		"X25519 Multikey":              `"type":"Multikey","publicKeyMultibase":"` + x25519Multibase + `"`,
	} {
		t.Run(name, func(t *testing.T) {
			d := parse(t, `{"id":"did:example:1","verificationMethod":[{"id":"#k",`+m+`}]}`)
			got, err := d.VerificationMethod[0].PublicKey()
			if err != nil {
				t.Fatal(err)
			}
			mb := ed25519Multibase
			if strings.HasPrefix(name, "X") {
				mb = x25519Multibase
			}
			if s, err := did.FormatMultikey(got); err != nil || s != mb {
				t.Errorf("got %s, %v", s, err)
			}
		})
	}
}

func TestKeyFormsRefused(t *testing.T) {
	const x = `"x":"O2onvM62pC1io6jQKm8Nc2UyFXcd4kOmOsBIoYtZ2ik"`
	jwk := func(s string) string { return `"type":"JsonWebKey2020","publicKeyJwk":` + s }
	short := base64.RawURLEncoding.EncodeToString(make([]byte, 31))
	long := base64.RawURLEncoding.EncodeToString(make([]byte, 33))
	for name, test := range map[string]struct {
		method string
		want   error
	}{
		"no key":                      {`"type":"JsonWebKey2020"`, did.ErrUnsupported},
		"two keys":                    {`"type":"Multikey","publicKeyMultibase":"` + ed25519Multibase + `","publicKeyJwk":{}`, did.ErrInvalid},
		"X25519 in Ed25519 type":      {`"type":"Ed25519VerificationKey2020","publicKeyMultibase":"` + x25519Multibase + `"`, did.ErrInvalid},
		"jwk X25519 in Ed25519 type":  {`"type":"Ed25519VerificationKey2018","publicKeyJwk":{"kty":"OKP","crv":"X25519",` + x + `}`, did.ErrInvalid},
		"base58 of no known type":     {`"type":"Anything","publicKeyBase58":"4zvwRjXUKGfvwnParsHAS3HuSVzV5cA4McphgmoCtajS"`, did.ErrUnsupported},
		"base58 of a wrong letter":    {`"type":"Ed25519VerificationKey2018","publicKeyBase58":"0"`, did.ErrInvalid},
		"base58 of a wrong length":    {`"type":"Ed25519VerificationKey2018","publicKeyBase58":"4zvw"`, did.ErrInvalid},
		"base58 very long":            {`"type":"Ed25519VerificationKey2018","publicKeyBase58":"` + strings.Repeat("z", 100000) + `"`, did.ErrInvalid},
		"multibase very long":         {`"type":"Multikey","publicKeyMultibase":"` + strings.Repeat("z", 100000) + `"`, did.ErrInvalid},
		"bare multibase in Multikey":  {`"type":"Multikey","publicKeyMultibase":"z4zvwRjXUKGfvwnParsHAS3HuSVzV5cA4McphgmoCtajS"`, did.ErrUnsupported},
		"multibase of no base":        {`"type":"Ed25519VerificationKey2020","publicKeyMultibase":"?"`, did.ErrInvalid},
		"jwk null":                    {jwk(`null`), did.ErrInvalid},
		"jwk of a string":             {jwk(`"x"`), did.ErrInvalid},
		"jwk without kty":             {jwk(`{"crv":"Ed25519",` + x + `}`), did.ErrInvalid},
		"jwk without x":               {jwk(`{"kty":"OKP","crv":"Ed25519"}`), did.ErrInvalid},
		"jwk without crv":             {jwk(`{"kty":"OKP",` + x + `}`), did.ErrUnsupported},
		"jwk of another kty":          {jwk(`{"kty":"EC","crv":"Ed25519",` + x + `}`), did.ErrUnsupported},
		"jwk name in another case":    {jwk(`{"KTY":"OKP","crv":"Ed25519",` + x + `}`), did.ErrInvalid},
		"jwk short":                   {jwk(`{"kty":"OKP","crv":"X25519","x":"` + short + `"}`), did.ErrInvalid},
		"jwk long":                    {jwk(`{"kty":"OKP","crv":"X25519","x":"` + long + `"}`), did.ErrInvalid},
		"jwk private":                 {jwk(`{"kty":"OKP","crv":"Ed25519",` + x + `,"d":"AAAA"}`), did.ErrInvalid},
		"jwk not base64url":           {jwk(`{"kty":"OKP","crv":"Ed25519","x":"a+b/"}`), did.ErrInvalid},
		"jwk p-256 off the curve":     {jwk(`{"kty":"EC","crv":"P-256",` + x + `,"y":"` + short + `"}`), did.ErrInvalid},
		"jwk p-256 without y":         {jwk(`{"kty":"EC","crv":"P-256",` + x + `}`), did.ErrInvalid},
		"jwk p-256 of zeros":          {jwk(`{"kty":"EC","crv":"P-256","x":"AA","y":"AA"}`), did.ErrInvalid},
		"jwk p-256 long":              {jwk(`{"kty":"EC","crv":"P-256","x":"` + long + `","y":"AA"}`), did.ErrInvalid},
		"jwk secp256k1 off the curve": {jwk(`{"kty":"EC","crv":"secp256k1",` + x + `,"y":"` + short + `"}`), did.ErrInvalid},
		"jwk secp256k1 long":          {jwk(`{"kty":"EC","crv":"secp256k1","x":"` + long + `","y":"AA"}`), did.ErrInvalid},
		"jwk BLS12381_G1":             {jwk(`{"kty":"EC","crv":"BLS12381_G1",` + x + `}`), did.ErrUnsupported},
		"jwk rsa without e":           {jwk(`{"kty":"RSA","n":"Dw"}`), did.ErrInvalid},
		"jwk rsa even e":              {jwk(`{"kty":"RSA","n":"Dw","e":"Ag"}`), did.ErrInvalid},
		"jwk rsa huge e":              {jwk(`{"kty":"RSA","n":"Dw","e":"` + long + `"}`), did.ErrInvalid},
		"jwk rsa huge n":              {jwk(`{"kty":"RSA","e":"AQAB","n":"` + strings.Repeat("_", 2800) + `"}`), did.ErrInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			d := parse(t, `{"id":"did:example:1","keyAgreement":[{"id":"#k",`+test.method+`}]}`)
			m, ok := d.Method("#k")
			if !ok {
				t.Fatal("the method is gone")
			}
			if key, err := m.PublicKey(); !errors.Is(err, test.want) || key != nil {
				t.Errorf("got %v, %v, want %v", key, err, test.want)
			}
			if key, err := m.ECDH(); !errors.Is(err, test.want) || key != nil {
				t.Errorf("for key agreement got %v, %v, want %v", key, err, test.want)
			}
		})
	}
}

// Some peers write EC coordinates without their leading zeros.
func TestShortCoordinates(t *testing.T) {
	b64 := base64.RawURLEncoding.EncodeToString
	for _, curve := range []elliptic.Curve{elliptic.P256(), elliptic.P384(), elliptic.P521()} {
		n := (curve.Params().BitSize + 7) / 8
		var key *ecdsa.PublicKey
		var x, y []byte
		for len(x) == 0 || len(x) == n && len(y) == n {
			k, err := ecdsa.GenerateKey(curve, rand.Reader)
			if err != nil {
				t.Fatal(err)
			}
			point, err := k.PublicKey.Bytes()
			if err != nil {
				t.Fatal(err)
			}
			key, x, y = &k.PublicKey, new(big.Int).SetBytes(point[1:1+n]).Bytes(), new(big.Int).SetBytes(point[1+n:]).Bytes()
		}
		got, err := did.ParseJWK(fmt.Appendf(nil, `{"kty":"EC","crv":"%s","x":"%s","y":"%s"}`, curve.Params().Name, b64(x), b64(y)))
		if err != nil || !key.Equal(got) {
			t.Errorf("%s: %v", curve.Params().Name, err)
		}
		// FormatJWK always writes the leading zeros.
		out, err := did.FormatJWK(key)
		if err != nil {
			t.Fatal(err)
		}
		var members struct{ X, Y string }
		if err := json.Unmarshal(out, &members); err != nil {
			t.Fatal(err)
		}
		if want := base64.RawURLEncoding.EncodedLen(n); len(members.X) != want || len(members.Y) != want {
			t.Errorf("%s: wrote %s", curve.Params().Name, out)
		}
	}
}

func TestSecp256k1(t *testing.T) {
	long := unhex(t, secp256k1G)
	k, err := did.NewSecp256k1PublicKey(long)
	if err != nil {
		t.Fatal(err)
	}
	if k[0] != 2 || string(k[1:]) != string(long[1:33]) {
		t.Errorf("compressed to %x", k)
	}
	if same, err := did.NewSecp256k1PublicKey(k[:]); err != nil || !same.Equal(k) || same.Equal(ed25519.PublicKey{}) {
		t.Errorf("compressed form: %x, %v", same, err)
	}
	hybrid := append([]byte{6}, long[1:]...)
	off := append([]byte(nil), long...)
	off[64] ^= 1
	for name, b := range map[string][]byte{"nil": nil, "hybrid": hybrid, "off the curve": off, "short": long[:64], "zero": make([]byte, 33)} {
		if k, err := did.NewSecp256k1PublicKey(b); !errors.Is(err, did.ErrInvalid) || k != (did.Secp256k1PublicKey{}) {
			t.Errorf("%s: %x, %v", name, k, err)
		}
	}
	m := did.VerificationMethod{ID: "#k", Type: did.TypeEcdsaSecp256k1VerificationKey2019, PublicKeyBase58: base58.Encode(long)}
	if _, err := m.PublicKey(); !errors.Is(err, did.ErrInvalid) {
		t.Errorf("uncompressed base58: %v", err)
	}
}

// An error comes without a key, not with a nil pointer in the interface.
func TestNoKeyWithError(t *testing.T) {
	for _, s := range []string{
		`{"kty":"EC","crv":"P-256","x":"AQ","y":"AQ"}`, `{"kty":"EC","crv":"secp256k1","x":"AQ","y":"AQ"}`,
		`{"kty":"OKP","crv":"X25519","x":"AQ"}`, `{"kty":"RSA","n":"Ag","e":"AQAB"}`,
	} {
		if key, err := did.ParseJWK([]byte(s)); err == nil || key != nil {
			t.Errorf("%s: got %v, %v", s, key, err)
		}
	}
	offCurve := base58.Encode(append([]byte{0x80, 0x24, 2}, append(make([]byte, 31), 1)...))
	noDER := base58.Encode([]byte{0x85, 0x24, 1, 2, 3})
	for _, s := range []string{"z" + offCurve, "z" + noDER, "z" + ed25519Multibase} {
		if key, err := did.ParseMultikey(s); err == nil || key != nil {
			t.Errorf("%s: got %v, %v", s, key, err)
		}
	}
}

func FuzzJWK(f *testing.F) {
	for _, key := range keys(f) {
		jwk, err := did.FormatJWK(key)
		if err != nil {
			f.Fatal(err)
		}
		f.Add([]byte(jwk))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		key, err := did.ParseJWK(data)
		if err != nil {
			if key != nil {
				t.Error("error and key")
			}
			return
		}
		out, err := did.FormatJWK(key)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := did.ParseJWK(out); err != nil || !again.(equaler).Equal(key) {
			t.Errorf("%s becomes %s: %v", data, out, err)
		}
	})
}
