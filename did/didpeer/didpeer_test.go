package didpeer_test

import (
	"context"
	"crypto"
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
	"github.com/didcomm-go/didcomm/did/didpeer"
)

func load[T any](t testing.TB, name string) T {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	var v T
	if err := json.Unmarshal(data, &v); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return v
}

func resolve(t testing.TB, r *didpeer.Resolver, id string) *did.Document {
	t.Helper()
	doc, err := r.Resolve(context.Background(), id)
	if err != nil {
		t.Fatalf("resolve: %v", err)
	}
	return doc
}

// asMap is the document as it is written, for comparison.
func asMap(t testing.TB, v any) map[string]any {
	t.Helper()
	data, ok := v.(json.RawMessage)
	if !ok {
		var err error
		if data, err = json.Marshal(v); err != nil {
			t.Fatal(err)
		}
	}
	var m map[string]any
	if err := json.Unmarshal(data, &m); err != nil {
		t.Fatal(err)
	}
	return m
}

func sameJSON(t *testing.T, got, want map[string]any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		g, _ := json.MarshalIndent(got, "", " ")
		w, _ := json.MarshalIndent(want, "", " ")
		t.Errorf("document:\n%s\nwant:\n%s", g, w)
	}
}

type peerVector struct {
	Name, Source, DID string
	Keys              []struct {
		Fragment, Type     string
		PublicKeyMultibase string
		PublicKeyBase58    string
		PublicKeyJWK       json.RawMessage `json:"publicKeyJwk"`
	}
	Services []struct {
		ID, Type, URI string
		Accept        []string
		RoutingKeys   []string
	}
}

// TestPeers reads what other libraries write, and finds their keys under the
// fragments that those libraries use.
func TestPeers(t *testing.T) {
	for _, v := range load[[]peerVector](t, "peers-method2.json") {
		t.Run(v.Name, func(t *testing.T) {
			doc := resolve(t, didpeer.NewResolver(), v.DID)
			if doc.ID != v.DID {
				t.Errorf("id %s", doc.ID)
			}
			for _, k := range v.Keys {
				text, err := json.Marshal(map[string]any{
					"id": v.DID, "verificationMethod": []any{withoutEmpty(map[string]any{
						"id": v.DID + k.Fragment, "type": k.Type, "controller": v.DID, "publicKeyMultibase": k.PublicKeyMultibase,
						"publicKeyBase58": k.PublicKeyBase58, "publicKeyJwk": k.PublicKeyJWK,
					})},
				})
				if err != nil {
					t.Fatal(err)
				}
				theirs, err := did.ParseDocument(text)
				if err != nil {
					t.Fatal(err)
				}
				want, err := theirs.VerificationMethod[0].PublicKey()
				if err != nil {
					t.Fatal(err)
				}
				m, ok := doc.Method(v.DID + k.Fragment)
				if !ok {
					t.Errorf("no method %s", k.Fragment)
					continue
				}
				got, err := m.PublicKey()
				if err != nil || !got.(interface{ Equal(crypto.PublicKey) bool }).Equal(want) {
					t.Errorf("key %s = %v, %v; want %v", k.Fragment, got, err, want)
				}
			}
			var got, want []did.Endpoint
			for _, s := range doc.Service {
				got = append(got, s.Endpoints...)
			}
			for i := range got {
				got[i].Extra = nil
			}
			for _, s := range v.Services {
				want = append(want, did.Endpoint{URI: s.URI, Accept: s.Accept, RoutingKeys: s.RoutingKeys})
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("endpoints %+v\nwant %+v", got, want)
			}
			for i, s := range doc.Service {
				if i < len(v.Services) && !slices.Equal(s.Type, []string{v.Services[i].Type}) {
					t.Errorf("service %d has type %v, want %s", i, s.Type, v.Services[i].Type)
				}
			}
		})
	}
}

func withoutEmpty(m map[string]any) map[string]any {
	for k, v := range m {
		if raw, ok := v.(json.RawMessage); v == "" || ok && raw == nil {
			delete(m, k)
		}
	}
	return m
}

// TestMethod0 holds the specification's example to its did:key equivalent.
func TestMethod0(t *testing.T) {
	const id = "did:peer:0z6MkpTHR8VNsBxYAAWHut2Geadd9jSwuBV8xRoAnwWsdvktH"
	doc := resolve(t, didpeer.NewResolver(), id)
	if len(doc.AuthenticationKeys()) != 1 || len(doc.KeyAgreementKeys()) != 1 {
		t.Fatalf("authentication %v, keyAgreement %v", doc.AuthenticationKeys(), doc.KeyAgreementKeys())
	}
	if _, err := doc.KeyAgreementKeys()[0].ECDH(); err != nil {
		t.Errorf("derived key: %v", err)
	}
	text, err := doc.MarshalJSON()
	if err != nil || strings.Contains(string(text), "did:key:") {
		t.Errorf("document %s, %v", text, err)
	}
	for _, fragment := range []string{"#z6MkpTHR8VNsBxYAAWHut2Geadd9jSwuBV8xRoAnwWsdvktH", "#6MkpTHR8VNsBxYAAWHut2Geadd9jSwuBV8xRoAnwWsdvktH", "#6MkpTHR8"} {
		if m, ok := doc.Method(id + fragment); !ok || m != doc.AuthenticationKeys()[0] {
			t.Errorf("Method(%s) = %v, %v", fragment, m, ok)
		}
	}
}

func TestRefused(t *testing.T) {
	spec2 := load[struct{ DID string }](t, "spec-method2.json").DID
	long := load[spec4](t, "spec-method4.json").Long.ID
	short, _ := didpeer.Short(long)
	key := "z6Mkj3PUd1WjvaDhNZhhhXQdz5UnZXmS7ehtx8bsPpD47kKc"
	bls := "zUC7K4ndUaGZgV7Cp2yJy6JtMoUHY6u7tkcSYUvPrEidqBmLCTLmi6d5WvwnUqejscAkERJ3bfjEiSYtdPkRSE8kSa11hFBr4sTgnbZ95SJj19PN2jdvJjyzpSZgxkyyxNnBNnY"
	tests := []struct {
		name, id string
		want     error
	}{
		{"empty", "", did.ErrMethod},
		{"other method", "did:key:" + key, did.ErrMethod},
		{"nothing", "did:peer:", did.ErrInvalid},
		{"did url", spec2 + "#key-1", did.ErrInvalid},
		{"numalgo letter", "did:peer:x", did.ErrInvalid},
		{"method 1", "did:peer:1zQmZMygzYqNwU6Uhmewx5Xepf2VLp5S4HLSwwgf2aiKZuwa", did.ErrUnsupported},
		{"method 3", "did:peer:3zQmS19jtYDvGtKVrJhQnRFpBQAx3pJ9omx2HpNrcXFuRCz9", did.ErrUnsupported},
		{"method 9", "did:peer:9z", did.ErrUnsupported},
		{"too long", "did:peer:2.V" + key + ".S" + strings.Repeat("A", didpeer.MaxLength), did.ErrInvalid},

		{"0 without key", "did:peer:0", did.ErrInvalid},
		{"0 with base64 key", "did:peer:0u7QE", did.ErrInvalid},
		{"0 with garbage", "did:peer:0z000", did.ErrInvalid},
		{"0 with bls key", "did:peer:0" + bls, did.ErrUnsupported},

		{"2 without elements", "did:peer:2", did.ErrInvalid},
		{"2 without dot", "did:peer:2V" + key, did.ErrInvalid},
		{"2 with empty element", "did:peer:2.V" + key + "..E" + key, did.ErrInvalid},
		{"2 with unknown purpose", "did:peer:2.X" + key, did.ErrInvalid},
		{"2 with lower-case purpose", "did:peer:2.v" + key, did.ErrInvalid},
		{"2 with other base", "did:peer:2.Vm7QE", did.ErrInvalid},
		{"2 with a key of no base58", "did:peer:2.Vz0OIl", did.ErrInvalid},
		{"2 with an ed25519 key of 31 bytes", "did:peer:2.Vz" + base58.Encode(append([]byte{0xed, 1}, make([]byte, 31)...)), did.ErrInvalid},
		{"2 with an ed25519 key off the curve", "did:peer:2.Vz" + base58.Encode(append([]byte{0xed, 1, 2}, make([]byte, 31)...)), did.ErrInvalid},
		{"2 with a p-256 key off the curve", "did:peer:2.Vz" + base58.Encode(append([]byte{0x80, 0x24, 2}, slices.Repeat([]byte{0xff}, 32)...)), did.ErrInvalid},
		{"2 with too many keys", "did:peer:2" + strings.Repeat(".V"+key, didpeer.MaxElements+1), did.ErrInvalid},
		{"2 with too many elements", "did:peer:2" + strings.Repeat(".V"+key, 2*didpeer.MaxElements+1), did.ErrInvalid},
		{"2 with a service of no base64", "did:peer:2.V" + key + ".S-%20", did.ErrInvalid},
		{"2 with a service of no json", "did:peer:2.V" + key + "." + s(`nope`), did.ErrInvalid},
		{"2 with a service string", "did:peer:2.V" + key + "." + s(`"x"`), did.ErrInvalid},
		{"2 with a service number in a list", "did:peer:2.V" + key + "." + s(`[1]`), did.ErrInvalid},
		{"2 with a service null", "did:peer:2.V" + key + "." + s(`null`), did.ErrInvalid},
		{"2 with two service texts", "did:peer:2.V" + key + "." + s(`{"t":"dm","s":"x:y"}{}`), did.ErrInvalid},
		{"2 with a name in both forms", "did:peer:2.V" + key + "." + s(`{"t":"dm","type":"x","s":"x:y"}`), did.ErrInvalid},
		{"2 with an id of no string", "did:peer:2.V" + key + "." + s(`{"t":"dm","s":"x:y","id":1}`), did.ErrInvalid},
		{"2 with a deep service", "did:peer:2.V" + key + "." + s(strings.Repeat("[", 1000)+strings.Repeat("]", 1000)), did.ErrInvalid},
		{"2 with too many services", "did:peer:2.V" + key + "." + s("["+strings.Repeat(`{"t":"dm","s":"x:y"},`, didpeer.MaxElements)+`{"t":"dm","s":"x:y"}]`), did.ErrInvalid},

		{"4 without hash", "did:peer:4", did.ErrInvalid},
		{"4 with other base", "did:peer:4u" + strings.Repeat("A", 46), did.ErrInvalid},
		{"4 with cut hash", short[:len(short)-1], did.ErrInvalid},
		{"4 with long hash", short + "1111111111111111111111111", did.ErrInvalid},
		{"4 short, not seen", short, did.ErrNotFound},
		{"4 with empty document", short + ":", did.ErrInvalid},
		{"4 with changed document", long[:len(long)-1] + "A", did.ErrInvalid},
		{"4 with changed hash", strings.Replace(long, "zQm", "zQn", 1), did.ErrInvalid},
		{"4 with three parts", long + ":z1", did.ErrInvalid},
		{"4 of no multicodec", long4("zABC"), did.ErrInvalid},
		{"4 of no base58", long4("z0OIl"), did.ErrInvalid},
		{"4 of an array", long4(encoded4("[]")), did.ErrInvalid},
		{"4 of null", long4(encoded4("null")), did.ErrInvalid},
		{"4 of no json", long4(encoded4("{")), did.ErrInvalid},
		{"4 with a name twice", long4(encoded4(`{"service":[],"service":[]}`)), did.ErrInvalid},
		{"4 with bad alsoKnownAs", long4(encoded4(`{"alsoKnownAs":5}`)), did.ErrInvalid},
		{"4 with another's key", long4(encoded4(`{"verificationMethod":[{"id":"did:example:victim#key-1","type":"Multikey","publicKeyMultibase":"` + key + `"}]}`)), did.ErrInvalid},
		{"4 with another's embedded key", long4(encoded4(`{"authentication":[{"id":"did:example:victim#key-1","type":"Multikey","publicKeyMultibase":"` + key + `"}]}`)), did.ErrInvalid},
		{"4 with a key without id", long4(encoded4(`{"authentication":[{"type":"Multikey","publicKeyMultibase":"` + key + `"}]}`)), did.ErrInvalid},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			doc, err := didpeer.NewResolver().Resolve(t.Context(), tt.id)
			if doc != nil || !errors.Is(err, tt.want) {
				t.Errorf("resolve = %v, %v; want %v", doc, err, tt.want)
			}
			if err != nil && len(err.Error()) > 1000 {
				t.Errorf("error of %d bytes", len(err.Error()))
			}
		})
	}
}

// did.Methods adds the DID to errors, so the resolver must not repeat it.
func TestErrorNamesDIDOnce(t *testing.T) {
	const id = "did:peer:2.Xz"
	_, err := did.Methods{"peer": didpeer.NewResolver()}.Resolve(t.Context(), id)
	if err == nil || strings.Count(err.Error(), id) != 1 {
		t.Errorf("got %v", err)
	}
}
