package didjwk_test

import (
	"crypto"
	"crypto/ecdh"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/didcomm-go/didcomm/did"
	"github.com/didcomm-go/didcomm/did/didjwk"
)

type vector struct {
	DID      string
	Document json.RawMessage
}

func vectors(t testing.TB) []vector {
	t.Helper()
	data, err := os.ReadFile("testdata/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var all []vector
	if err := json.Unmarshal(data, &all); err != nil {
		t.Fatal(err)
	}
	return all
}

func TestVectors(t *testing.T) {
	for _, v := range vectors(t) {
		doc, err := didjwk.Resolver{}.Resolve(t.Context(), v.DID)
		if err != nil {
			t.Fatal(err)
		}
		out, err := json.Marshal(doc)
		if err != nil {
			t.Fatal(err)
		}
		var got, want any
		if err := errors.Join(json.Unmarshal(out, &got), json.Unmarshal(v.Document, &want)); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("document\n%s\nwant\n%s", out, v.Document)
		}
		if m, ok := doc.Method("#0"); !ok {
			t.Error("no method #0")
		} else if _, err := m.ECDH(); err != nil {
			t.Error(err)
		}
	}
}

func encode(jwk string) string {
	return "did:jwk:" + base64.RawURLEncoding.EncodeToString([]byte(jwk))
}

// The specification's P-256 example is in the order that New writes.
func TestNew(t *testing.T) {
	p256 := vectors(t)[0].DID
	doc, err := didjwk.Resolver{}.Resolve(t.Context(), p256)
	if err != nil {
		t.Fatal(err)
	}
	key, err := doc.VerificationMethod[0].PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	if got, err := didjwk.New(key); err != nil || got != p256 {
		t.Errorf("got %s, %v", got, err)
	}

	ed := ed25519.NewKeyFromSeed(make([]byte, 32)).Public()
	x, err := ecdh.X25519().NewPrivateKey(make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		key                    crypto.PublicKey
		auth, agreement, other int
	}{
		"Ed25519": {ed, 1, 0, 1},
		"X25519":  {x.PublicKey(), 0, 1, 0},
		"P-256":   {key, 1, 1, 1},
	} {
		id, err := didjwk.New(test.key)
		if err != nil {
			t.Fatal(err)
		}
		doc, err := didjwk.Resolver{}.Resolve(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		if len(doc.AuthenticationKeys()) != test.auth || len(doc.KeyAgreementKeys()) != test.agreement ||
			len(doc.AssertionMethod) != test.other || len(doc.CapabilityInvocation) != test.other || len(doc.CapabilityDelegation) != test.other {
			t.Errorf("%s stands in the wrong relationships: %+v", name, doc)
		}
		got, err := doc.VerificationMethod[0].PublicKey()
		if err != nil || !reflect.DeepEqual(got, test.key) {
			t.Errorf("%s: another key: %v, %v", name, got, err)
		}
	}
	if id, err := didjwk.New("key"); !errors.Is(err, did.ErrUnsupported) {
		t.Errorf("got %s, %v", id, err)
	}
}

func TestResolveRefuses(t *testing.T) {
	const x = `"x":"3p7bfXt9wbTTW2HC7OQ1Nz-DQ8hbeGdNrfx-FG-IK08"`
	good := encode(`{"kty":"OKP","crv":"X25519",` + x + `} `)
	if _, err := (didjwk.Resolver{}).Resolve(t.Context(), good); err != nil || !strings.HasSuffix(good, "IA") {
		t.Fatalf("%s: %v", good, err)
	}
	trailing := strings.TrimSuffix(good, "A") + "B" // the last letter has unused bits that are set
	for name, test := range map[string]struct {
		id   string
		want error
	}{
		"other method":    {"did:key:z6Mk", did.ErrMethod},
		"empty":           {"did:jwk:", did.ErrInvalid},
		"not base64url":   {"did:jwk:a%20b", did.ErrInvalid},
		"padded":          {encode(`{"kty":"OKP","crv":"X25519",`+x+`} `) + "==", did.ErrInvalid},
		"trailing bits":   {trailing, did.ErrInvalid},
		"with fragment":   {encode(`{"kty":"OKP","crv":"X25519",`+x+`}`) + "#0", did.ErrInvalid},
		"not json":        {encode(`{`), did.ErrInvalid},
		"not an object":   {encode(`[]`), did.ErrInvalid},
		"no kty":          {encode(`{}`), did.ErrInvalid},
		"private":         {encode(`{"kty":"OKP","crv":"X25519",` + x + `,"d":"AAAA"}`), did.ErrInvalid},
		"symmetric":       {encode(`{"kty":"oct","k":"AAAA"}`), did.ErrInvalid},
		"unknown kty":     {encode(`{"kty":"AKP"}`), did.ErrUnsupported},
		"unknown curve":   {encode(`{"kty":"OKP","crv":"X448",` + x + `}`), did.ErrUnsupported},
		"duplicate":       {encode(`{"kty":"OKP","kty":"OKP","crv":"X25519",` + x + `}`), did.ErrInvalid},
		"use of no kind":  {encode(`{"kty":"OKP","crv":"X25519",` + x + `,"use":7}`), did.ErrInvalid},
		"longer than all": {encode(`{"kty":"OKP","crv":"X25519",` + x + `,"a":"` + strings.Repeat("a", 1<<20) + `"}`), did.ErrInvalid},
	} {
		if doc, err := (didjwk.Resolver{}).Resolve(t.Context(), test.id); !errors.Is(err, test.want) || doc != nil {
			t.Errorf("%s: got %v, %v, want %v", name, doc, err, test.want)
		}
	}
}

func FuzzResolve(f *testing.F) {
	for _, v := range vectors(f) {
		f.Add(v.DID)
	}
	f.Fuzz(func(t *testing.T, id string) {
		doc, err := didjwk.Resolver{}.Resolve(t.Context(), id)
		if err != nil {
			return
		}
		if doc.ID != id {
			t.Errorf("%s has the document of %s", id, doc.ID)
		}
		if _, err := doc.VerificationMethod[0].PublicKey(); err != nil {
			t.Error(err)
		}
	})
}
