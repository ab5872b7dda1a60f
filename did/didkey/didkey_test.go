package didkey_test

import (
	"context"
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/mr-tron/base58"

	"github.com/didcomm-go/didcomm/did"
	"github.com/didcomm-go/didcomm/did/didkey"
)

// equaler is implemented by every public key of crypto and did.Secp256k1PublicKey.
type equaler interface{ Equal(crypto.PublicKey) bool }

// documents reads the vectors of one file: their documents by DID.
func documents(t testing.TB, name string) map[string]json.RawMessage {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	docs := make(map[string]json.RawMessage)
	if name == "x25519.json" {
		var v struct{ DIDDocument map[string]json.RawMessage }
		if err := json.Unmarshal(data, &v); err != nil {
			t.Fatal(err)
		}
		return v.DIDDocument
	}
	var v map[string]struct{ DIDDocument json.RawMessage }
	if err := json.Unmarshal(data, &v); err != nil {
		t.Fatal(err)
	}
	for id, one := range v {
		docs[id] = one.DIDDocument
	}
	return docs
}

func ids(relationship []did.Relationship) []string {
	var all []string
	for _, r := range relationship {
		all = append(all, r.ID)
	}
	return all
}

// keyIn returns the key of a vector's method. It also reads P256Key2021, which only
// the vectors use.
func keyIn(t *testing.T, m *did.VerificationMethod) crypto.PublicKey {
	t.Helper()
	if m.Type == "P256Key2021" {
		raw, err := base58.Decode(m.PublicKeyBase58)
		if err != nil {
			t.Fatal(err)
		}
		key, err := did.ParseMultikey("z" + base58.Encode(append(binary.AppendUvarint(nil, 0x1200), raw...)))
		if err != nil {
			t.Fatal(err)
		}
		return key
	}
	key, err := m.PublicKey()
	if err != nil {
		t.Fatalf("key of the vector: %v", err)
	}
	return key
}

// The vectors use several types of verification methods. The documents have to agree
// in keys, ids and relationships.
func TestVectors(t *testing.T) {
	for name, want := range map[string]int{"ed25519-x25519.json": 5, "x25519.json": 4, "nist-curves.json": 7, "secp256k1.json": 6, "rsa.json": 2} {
		docs := documents(t, name)
		if len(docs) != want {
			t.Errorf("%s has %d vectors, want %d", name, len(docs), want)
		}
		for id, raw := range docs {
			t.Run(name+"/"+id[:min(len(id), 24)], func(t *testing.T) {
				vector, err := did.ParseDocument(raw)
				if err != nil {
					t.Fatal(err)
				}
				doc, err := didkey.Resolver{}.Resolve(t.Context(), id)
				if err != nil {
					t.Fatal(err)
				}
				compare(t, doc, vector)
				if vector.VerificationMethod[0].Type == did.TypeJSONWebKey2020 {
					sameJSON(t, doc, raw)
				}
				key, err := doc.VerificationMethod[0].PublicKey()
				if err != nil {
					t.Fatal(err)
				}
				if again, err := didkey.New(key); err != nil || again != id {
					t.Errorf("New gives %s, %v", again, err)
				}
			})
		}
	}
}

func compare(t *testing.T, doc, vector *did.Document) {
	t.Helper()
	if doc.ID != vector.ID {
		t.Errorf("id %s", doc.ID)
	}
	if len(doc.VerificationMethod) != len(vector.VerificationMethod) {
		t.Fatalf("%d methods, want %d", len(doc.VerificationMethod), len(vector.VerificationMethod))
	}
	for i := range vector.VerificationMethod {
		want, got := &vector.VerificationMethod[i], &doc.VerificationMethod[i]
		if got.ID != want.ID || got.Controller != want.Controller {
			t.Errorf("method %s of %s, want %s of %s", got.ID, got.Controller, want.ID, want.Controller)
		}
		key, err := got.PublicKey()
		if err != nil {
			t.Fatal(err)
		}
		if !key.(equaler).Equal(keyIn(t, want)) {
			t.Errorf("key of %s differs", got.ID)
		}
	}
	for name, pair := range map[string][2][]did.Relationship{
		"authentication":       {doc.Authentication, vector.Authentication},
		"assertionMethod":      {doc.AssertionMethod, vector.AssertionMethod},
		"keyAgreement":         {doc.KeyAgreement, vector.KeyAgreement},
		"capabilityInvocation": {doc.CapabilityInvocation, vector.CapabilityInvocation},
		"capabilityDelegation": {doc.CapabilityDelegation, vector.CapabilityDelegation},
	} {
		if got, want := ids(pair[0]), ids(pair[1]); !slices.Equal(got, want) {
			t.Errorf("%s %v, want %v", name, got, want)
		}
	}
}

func sameJSON(t *testing.T, doc *did.Document, want json.RawMessage) {
	t.Helper()
	out, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	var a, b any
	if err := errors.Join(json.Unmarshal(out, &a), json.Unmarshal(want, &b)); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(a, b) {
		t.Errorf("document\n%s\nwant\n%s", out, want)
	}
}

func TestBLSIsUnsupported(t *testing.T) {
	for id := range documents(t, "bls12381.json") {
		if doc, err := (didkey.Resolver{}).Resolve(t.Context(), id); !errors.Is(err, did.ErrUnsupported) || doc != nil {
			t.Errorf("%s: %v, %v", id[:24], doc, err)
		}
	}
}

// The private keys of the vectors are derived from the seed with KeyAgreementPrivate.
func TestKeyAgreementPrivate(t *testing.T) {
	data, err := os.ReadFile("testdata/ed25519-x25519.json")
	if err != nil {
		t.Fatal(err)
	}
	var vectors map[string]struct {
		Seed                string
		KeyAgreementKeyPair struct{ PrivateKeyBase58 string }
	}
	if err := json.Unmarshal(data, &vectors); err != nil {
		t.Fatal(err)
	}
	n := 0
	for id, v := range vectors {
		seed, err := hex.DecodeString(v.Seed)
		if err != nil || len(seed) != ed25519.SeedSize {
			continue
		}
		priv := ed25519.NewKeyFromSeed(seed)
		if got, err := didkey.New(priv.Public()); err != nil || got != id {
			t.Errorf("New gives %s, %v, want %s", got, err, id)
		}
		x, err := didkey.KeyAgreementPrivate(priv)
		if err != nil {
			t.Fatal(err)
		}
		pub, err := didkey.KeyAgreement(priv.Public().(ed25519.PublicKey))
		if err != nil {
			t.Fatal(err)
		}
		if !x.PublicKey().Equal(pub) {
			t.Errorf("%s: private and public key do not match", id)
		}
		if want := v.KeyAgreementKeyPair.PrivateKeyBase58; want != "" {
			n++
			raw, err := base58.Decode(want)
			if err != nil {
				t.Fatal(err)
			}
			ref, err := ecdh.X25519().NewPrivateKey(raw)
			if err != nil {
				t.Fatal(err)
			}
			if !ref.PublicKey().Equal(pub) {
				t.Errorf("%s: not the vector's key", id)
			}
		}
	}
	if n == 0 {
		t.Error("no vector had a private key")
	}
	if _, err := didkey.KeyAgreementPrivate(make(ed25519.PrivateKey, 3)); !errors.Is(err, did.ErrInvalid) {
		t.Errorf("short private key: %v", err)
	}
	if _, err := didkey.KeyAgreement(offCurve()); !errors.Is(err, did.ErrInvalid) {
		t.Errorf("key off the curve: %v", err)
	}
}

// offCurve is 32 bytes that are no Ed25519 point: y = 2 has no x.
func offCurve() ed25519.PublicKey {
	b := make([]byte, 32)
	b[0] = 2
	return b
}

func encode(parts ...[]byte) string {
	return "did:key:z" + base58.Encode(slices.Concat(parts...))
}

func TestResolveRefuses(t *testing.T) {
	good := "did:key:z6MkiTBz1ymuepAQ4HEHYSF1H8quG5GLVVQR3djdX3mDooWp"
	varint := func(v uint64) []byte { return binary.AppendUvarint(nil, v) }
	// point is a compressed point by its small x, on the curve or not.
	point := func(first byte, x byte, n int) []byte {
		b := make([]byte, n)
		b[0], b[n-1] = first, x
		return b
	}
	x25519 := make([]byte, 32)
	x25519[0] = 9
	for name, test := range map[string]struct {
		id   string
		want error
	}{
		"other method":            {"did:web:example.com", did.ErrMethod},
		"no method":               {"z6MkiTBz1ymuepAQ4HEHYSF1H8quG5GLVVQR3djdX3mDooWp", did.ErrMethod},
		"empty":                   {"did:key:", did.ErrInvalid},
		"z alone":                 {"did:key:z", did.ErrInvalid},
		"with fragment":           {good + "#x", did.ErrInvalid},
		"with path":               {good + "/x", did.ErrInvalid},
		"letter outside base58":   {"did:key:z6Mk0OIl", did.ErrInvalid},
		"base64url":               {"did:key:u" + base64.RawURLEncoding.EncodeToString(append(varint(0xec), x25519...)), did.ErrInvalid},
		"base16":                  {"did:key:fed01", did.ErrInvalid},
		"space before":            {" " + good, did.ErrMethod},
		"very long":               {"did:key:z" + strings.Repeat("6", 1<<20), did.ErrInvalid},
		"non-minimal varint":      {encode([]byte{0xed, 0x81, 0x00}, make([]byte, 32)), did.ErrInvalid},
		"varint cut off":          {encode([]byte{0xed}), did.ErrInvalid},
		"varint too long":         {encode([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01}), did.ErrInvalid},
		"ed25519 short":           {encode(varint(0xed), make([]byte, 31)), did.ErrInvalid},
		"ed25519 long":            {encode(varint(0xed), make([]byte, 33)), did.ErrInvalid},
		"ed25519 off the curve":   {encode(varint(0xed), offCurve()), did.ErrInvalid},
		"x25519 short":            {encode(varint(0xec), x25519[:31]), did.ErrInvalid},
		"x25519 long":             {encode(varint(0xec), append(x25519, 0)), did.ErrInvalid},
		"p-256 uncompressed":      {encode(varint(0x1200), point(4, 0, 65)), did.ErrInvalid},
		"p-256 wrong first byte":  {encode(varint(0x1200), point(4, 5, 33)), did.ErrInvalid},
		"p-256 off the curve":     {encode(varint(0x1200), point(2, 1, 33)), did.ErrInvalid},
		"p-256 x out of range":    {encode(varint(0x1200), append([]byte{2}, slices.Repeat([]byte{0xff}, 32)...)), did.ErrInvalid},
		"p-256 key as p-384":      {encode(varint(0x1201), point(2, 5, 33)), did.ErrInvalid},
		"p-384 off the curve":     {encode(varint(0x1201), point(2, 1, 49)), did.ErrInvalid},
		"p-521 off the curve":     {encode(varint(0x1202), point(2, 5, 67)), did.ErrInvalid},
		"secp256k1 uncompressed":  {encode(varint(0xe7), point(4, 0, 65)), did.ErrInvalid},
		"secp256k1 off the curve": {encode(varint(0xe7), point(2, 5, 33)), did.ErrInvalid},
		"secp256k1 hybrid":        {encode(varint(0xe7), point(6, 1, 33)), did.ErrInvalid},
		"rsa not der":             {encode(varint(0x1205), []byte{1, 2, 3}), did.ErrInvalid},
		"rsa bytes behind":        {encode(varint(0x1205), []byte{0x30, 6, 2, 1, 15, 2, 1, 3, 0}), did.ErrInvalid},
		"rsa even modulus":        {encode(varint(0x1205), []byte{0x30, 6, 2, 1, 14, 2, 1, 3}), did.ErrInvalid},
		"bls12-381 g2":            {encode(varint(0xeb), make([]byte, 96)), did.ErrUnsupported},
		"unknown codec":           {encode(varint(0x9999), make([]byte, 32)), did.ErrUnsupported},
	} {
		t.Run(name, func(t *testing.T) {
			doc, err := didkey.Resolver{}.Resolve(t.Context(), test.id)
			if !errors.Is(err, test.want) || doc != nil {
				t.Errorf("got document %t, %v, want %v", doc != nil, err, test.want)
			}
		})
	}
}

func TestNewRefuses(t *testing.T) {
	for name, key := range map[string]crypto.PublicKey{
		"nil": nil, "a string": "key", "ed25519 short": ed25519.PublicKey{1}, "ecdsa without curve": &ecdsa.PublicKey{},
		"secp256k1 zero": did.Secp256k1PublicKey{},
	} {
		if id, err := didkey.New(key); err == nil {
			t.Errorf("%s: got %s", name, id)
		}
	}
}

func FuzzResolve(f *testing.F) {
	for _, name := range []string{"ed25519-x25519.json", "x25519.json", "nist-curves.json", "secp256k1.json", "bls12381.json", "rsa.json"} {
		for id := range documents(f, name) {
			f.Add(id)
		}
	}
	f.Fuzz(func(t *testing.T, id string) {
		doc, err := didkey.Resolver{}.Resolve(t.Context(), id)
		if err != nil {
			if doc != nil {
				t.Error("error and document")
			}
			return
		}
		key, err := doc.VerificationMethod[0].PublicKey()
		if err != nil {
			t.Fatal(err)
		}
		if again, err := didkey.New(key); err != nil || again != id {
			t.Errorf("%s becomes %s, %v", id, again, err)
		}
		for _, m := range doc.KeyAgreementKeys() {
			if _, err := m.ECDH(); err != nil && !errors.Is(err, did.ErrUnsupported) {
				t.Error(err)
			}
		}
	})
}

var sinkDocument *did.Document

func BenchmarkResolve(b *testing.B) {
	for name, file := range map[string]string{
		"Ed25519": "ed25519-x25519.json", "X25519": "x25519.json", "NIST": "nist-curves.json", "secp256k1": "secp256k1.json",
	} {
		var all []string
		for id := range documents(b, file) {
			all = append(all, id)
		}
		bench := func(r did.Resolver) func(*testing.B) {
			return func(b *testing.B) {
				b.ReportAllocs()
				ctx := context.Background()
				for i := 0; b.Loop(); i++ {
					doc, err := r.Resolve(ctx, all[i%len(all)])
					if err != nil {
						b.Fatal(err)
					}
					sinkDocument = doc
				}
			}
		}
		b.Run(name+"/cold", bench(didkey.Resolver{}))
		b.Run(name+"/cached", bench(did.NewCache(did.Methods{"key": didkey.Resolver{}}, did.CacheConfig{})))
	}
}
