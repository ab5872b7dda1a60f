package keyring_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/didcomm-go/didcomm/agent/keyring"
)

// appendixA is the secrets of the specification by owner, as JSON arrays.
func appendixA(t testing.TB) map[string]json.RawMessage {
	t.Helper()
	data, err := os.ReadFile("testdata/secrets.json")
	if err != nil {
		t.Fatal(err)
	}
	var owners map[string]json.RawMessage
	if err := json.Unmarshal(data, &owners); err != nil {
		t.Fatal(err)
	}
	return owners
}

func TestAppendixA(t *testing.T) {
	ctx := context.Background()
	for owner, data := range appendixA(t) {
		var want []map[string]string
		if err := json.Unmarshal(data, &want); err != nil {
			t.Fatal(err)
		}
		for form, src := range map[string][]byte{"array": data, "set": []byte(`{"x":[],"keys":` + string(data) + `}`)} {
			ring, err := keyring.ParseSecrets(src)
			if err != nil {
				t.Fatalf("%s %s: %v", owner, form, err)
			}
			if dids, err := ring.DIDs(ctx, 10); err != nil || !reflect.DeepEqual(dids, []string{"did:example:" + owner}) {
				t.Error(dids, err)
			}
			for _, jwk := range want {
				agrees, signs := powers(keyring.Curve(jwk["crv"]))
				exchanger, err := ring.KeyAgreement(ctx, jwk["kid"])
				if (err == nil) != agrees {
					t.Errorf("%s: key agreement: %v", jwk["kid"], err)
				}
				if agrees {
					x, err := base64.RawURLEncoding.DecodeString(jwk["x"])
					if err != nil {
						t.Fatal(err)
					}
					if !bytes.Contains(exchanger.PublicKey().Bytes(), x) {
						t.Errorf("%s: another public key", jwk["kid"])
					}
					checkAgreement(t, exchanger)
				}
				signer, err := ring.Signer(ctx, jwk["kid"])
				if (err == nil) != signs {
					t.Errorf("%s: signer: %v", jwk["kid"], err)
				}
				if signs {
					checkSignature(t, signer)
				}
			}
			out, err := ring.MarshalSecrets()
			if err != nil {
				t.Fatal(err)
			}
			var got []map[string]string
			if err := json.Unmarshal(out, &got); err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("%s: %v: got %s", owner, err, out)
			}
		}
	}
}

func TestMarshalSecrets(t *testing.T) {
	ring := keyring.New()
	if out, err := ring.MarshalSecrets(); err != nil || string(out) != "[]" {
		t.Errorf("%s %v", out, err)
	}
	for _, curve := range curves {
		key, err := keyring.Generate(curve)
		if err != nil {
			t.Fatal(err)
		}
		if err := ring.Add("did:example:a#"+string(curve), key); err != nil {
			t.Fatal(err)
		}
	}
	out, err := ring.MarshalSecrets()
	if err != nil {
		t.Fatal(err)
	}
	again, err := keyring.ParseSecrets(out)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(again.KIDs(), ring.KIDs()) {
		t.Error(again.KIDs())
	}
	for _, kid := range ring.KIDs() {
		a, err := ring.Key(kid)
		if err != nil {
			t.Fatal(err)
		}
		b, err := again.Key(kid)
		if err != nil || !reflect.DeepEqual(a.Public(), b.Public()) {
			t.Errorf("%s: %v", kid, err)
		}
	}
}

func TestParseSecretsInvalid(t *testing.T) {
	const (
		x1   = `{"kid":"did:example:a#1","kty":"OKP","crv":"X25519","d":"r-jK2cO3taR8LQnJB1_ikLBTAnOtShJOsHXRUWT-aZA","x":"avH0O2Y4tqLAq8y9zpianr8ajii5m4F_mICrzNlatXs"}`
		d256 = "sB0bYtpaXyp-h17dDpMx91N3Du1AdN4z1FUq02GbmLw"
		p256 = `{"kid":"did:example:a#2","kty":"EC","crv":"P-256","d":"` + d256 + `","x":"L0crjMN1g0Ih4sYAJ_nGoHUck2cloltUpUVQDhF2nHE","y":"SxYgE7CmEJYi7IDhgK5jI4ZiajO8jPRZDldVhqFpYoo"}`
		k1   = `{"kid":"did:example:a#3","kty":"EC","crv":"secp256k1","d":"N3Hm1LXA210YVGGsXw_GklMwcLu_bMgnzDese6YQIyA","x":"aToW5EaTq5mlAf8C5ECYDSkqsJycrW-e1SQ6_GJcAOk","y":"JAGX94caA21WKreXwYUaOCYTBMrqaX4KWIlsQZTHWCk"}`
	)
	with := func(src, old, new string) string {
		if !strings.Contains(src, old) {
			t.Fatalf("no %s in %s", old, src)
		}
		return "[" + strings.Replace(src, old, new, 1) + "]"
	}
	for name, src := range map[string]string{
		"good": `[` + x1 + `,` + p256 + `,` + k1 + `]`, "none": `[]`, "empty set": ` {"keys":[]}`, "same key twice": `[` + x1 + `,` + x1 + `]`,
		"padded d": with(x1, `aZA"`, `aZA="`), "hints": with(x1, `"kty"`, `"alg":"ECDH-ES+A256KW","use":"enc","key_ops":["deriveKey"],"kty"`),
	} {
		if ring, err := keyring.ParseSecrets([]byte(src)); err != nil || ring == nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	zero, order := strings.Repeat("A", 43), "_____wAAAAD__________7zm-q2nF56E87nKwvxjJVE"
	korder := "_____________________rqu3OavSKA7v9JejNA2QUE"
	for name, test := range map[string]struct {
		src  string
		want string // part of the error
	}{
		"empty":                {``, "not JSON at byte 0"},
		"null":                 {`null`, "neither an array"},
		"string":               {`"x"`, "wrong type"},
		"object":               {`{"alice":[]}`, "neither an array"},
		"one key":              {x1, "neither an array"},
		"keys null":            {`{"keys":null}`, "neither an array"},
		"keys object":          {`{"keys":{}}`, "wrong type"},
		"cut":                  {`[` + x1, "not JSON"},
		"trailing":             {`[]x`, "not JSON at byte 2"},
		"duplicate member":     {with(x1, `"kty"`, `"d":"x","kty"`), "duplicate member name"},
		"element string":       {`["x"]`, "secret 0: a value of the wrong type"},
		"d number":             {with(x1, `"d":"r-jK2cO3taR8LQnJB1_ikLBTAnOtShJOsHXRUWT-aZA"`, `"d":1`), "secret 0: a value of the wrong type"},
		"no kid":               {with(x1, `"kid":"did:example:a#1",`, ``), "key id"},
		"kid no URL":           {with(x1, `did:example:a#1`, `key-1`), `secret 0 ("key-1")`},
		"kid no fragment":      {with(x1, `did:example:a#1`, `did:example:a`), "key id"},
		"kid taken":            {`[` + x1 + `,` + strings.Replace(p256, "a#2", "a#1", 1) + `]`, `secret 1 ("did:example:a#1")`},
		"no kty":               {with(x1, `"kty":"OKP",`, ``), "public part"},
		"RSA":                  {`[{"kid":"did:example:a#1","kty":"RSA","n":"AQAB","e":"AQAB","d":"AQAB"}]`, `kty "RSA"`},
		"symmetric":            {`[{"kid":"did:example:a#1","kty":"oct","k":"AQAB"}]`, `kty "oct"`},
		"kty of another":       {with(p256, `"EC"`, `"OKP"`), "public part"},
		"crv unknown":          {with(x1, `X25519`, `X448`), "public part"},
		"crv of another":       {with(x1, `X25519`, `Ed25519`), "public part"},
		"crv of another EC":    {with(p256, `P-256`, `P-384`), ""},
		"crv other 256 bits":   {with(p256, `P-256`, `secp256k1`), "public part"},
		"no public part":       {with(x1, `,"x":"avH0O2Y4tqLAq8y9zpianr8ajii5m4F_mICrzNlatXs"`, ``), "public part"},
		"no y":                 {with(p256, `,"y":"SxYgE7CmEJYi7IDhgK5jI4ZiajO8jPRZDldVhqFpYoo"`, ``), "public part"},
		"off the curve":        {with(p256, `,"y":"SxYg`, `,"y":"TxYg`), "public part"},
		"public of another":    {with(x1, `"x":"avH0`, `"x":"bvH0`), "belongs to another"},
		"other y":              {with(p256, `"SxYgE7CmEJYi7IDhgK5jI4ZiajO8jPRZDldVhqFpYoo"`, `"tOnfq1hZ72vdE38fgFGc3HmVlczDcwvp8aiqeV6WnXU"`), ""},
		"no private part":      {with(x1, `"d":"r-jK2cO3taR8LQnJB1_ikLBTAnOtShJOsHXRUWT-aZA",`, ``), "no private part"},
		"d no base64":          {with(x1, `r-jK2c`, `r-jK2+`), "not base64url"},
		"d short":              {with(x1, `_ikLBTAnOtShJOsHXRUWT-aZA`, `_ikLBTAnOtShJOsHXRUWT-`), "not a private key of X25519"},
		"d short P-256":        {with(p256, `GbmLw`, `GbmA`), "not a private key of P-256"},
		"d long P-256":         {with(p256, `"sB0b`, `"AAAAsB0b`), "not a private key of P-256"},
		"d short secp256k1":    {with(k1, `QIyA`, ``), "not a private key of secp256k1"},
		"d zero P-256":         {with(p256, d256, zero), "not a private key of P-256"},
		"d zero secp256k1":     {with(k1, `N3Hm1LXA210YVGGsXw_GklMwcLu_bMgnzDese6YQIyA`, zero), "not a private key of secp256k1"},
		"d is order P-256":     {with(p256, d256, order), "not a private key of P-256"},
		"d is order secp256k1": {with(k1, `N3Hm1LXA210YVGGsXw_GklMwcLu_bMgnzDese6YQIyA`, korder), "not a private key of secp256k1"},
		"deep":                 {strings.Repeat("[", 1<<20), ""},
		"too large":            {strings.Repeat(" ", 16<<20+1), "limit"},
	} {
		ring, err := keyring.ParseSecrets([]byte(test.src))
		if !errors.Is(err, keyring.ErrInvalid) && !errors.Is(err, keyring.ErrDuplicate) || ring != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q in it", name, err, test.want)
		}
		for _, secret := range []string{"r-jK2", "aZA", "sB0b", "N3Hm"} {
			if strings.Contains(err.Error(), secret) {
				t.Errorf("%s: the error shows the key: %v", name, err)
			}
		}
	}
}

func FuzzParseSecrets(f *testing.F) {
	for _, data := range appendixA(f) {
		f.Add([]byte(data))
		f.Add([]byte(`{"keys":` + string(data) + `}`))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		ring, err := keyring.ParseSecrets(data)
		if err != nil {
			if ring != nil || !errors.Is(err, keyring.ErrInvalid) && !errors.Is(err, keyring.ErrDuplicate) {
				t.Fatal(err)
			}
			return
		}
		first, err := ring.MarshalSecrets()
		if err != nil {
			t.Fatal(err)
		}
		again, err := keyring.ParseSecrets(first)
		if err != nil {
			t.Fatal(err)
		}
		second, err := again.MarshalSecrets()
		if err != nil || !bytes.Equal(first, second) {
			t.Fatal("secrets changed")
		}
	})
}
