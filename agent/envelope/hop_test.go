package envelope_test

import (
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/keyring"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/did"
	"github.com/didcomm-go/didcomm/did/didkey"
	"github.com/didcomm-go/didcomm/did/didpeer"
)

// recordedRouting is a routing DID that Credo (feat/didcomm-v2 at 03d457e) has granted
// without a configured one.
const recordedRouting = "did:peer:2.Ez6LSoggwyWJWaomw2VkooFNqabnc5osTy5A4jvU8feKXsu3G.Vz6MkopMZ6Fhx36ARx6ro75mU1aeJxh3Pgg1HZQ9Cys3EZSi1.SeyJ0IjoiZG0iLCJzIjoid3M6Ly8xMjcuMC4wLjE6MTkzMDIifQ"

// imagePair is an Ed25519 key and the X25519 key that is its image, each as an element of a
// did:peer:2.
type imagePair struct {
	agree *ecdh.PrivateKey
	e, v  string
}

func newImagePair(t *testing.T) *imagePair {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	agree, err := didkey.KeyAgreementPrivate(private)
	if err != nil {
		t.Fatal(err)
	}
	return &imagePair{agree, element(t, "E", agree.PublicKey()), element(t, "V", public)}
}

// element returns the element of a did:peer:2 for a key.
func element(t *testing.T, purpose string, public any) string {
	t.Helper()
	multikey, err := did.FormatMultikey(public)
	if err != nil {
		t.Fatal(err)
	}
	return "." + purpose + multikey
}

// service returns the element of a did:peer:2 for a service.
func service(text string) string {
	return ".S" + base64.RawURLEncoding.EncodeToString([]byte(text))
}

// A mediator that knows its routing key by the did:key alone gets forwards by that name. All
// other mediators get them by their DID, however close the shape is.
func TestForwardByKey(t *testing.T) {
	const plain, object = `{"t":"dm","s":"https://m.example"}`, `{"t":"dm","s":{"uri":"https://m.example","a":["didcomm/v2"]}}`
	pair, other := newImagePair(t), newImagePair(t)
	p256, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	long, err := didpeer.Encode4([]byte(`{"verificationMethod":[{"id":"#1","type":"Multikey","publicKeyMultibase":"` + pair.e[2:] +
		`"},{"id":"#2","type":"Multikey","publicKeyMultibase":"` + pair.v[2:] +
		`"}],"keyAgreement":["#1"],"authentication":["#2"],"service":[{"id":"#s","type":"DIDCommMessaging","serviceEndpoint":"https://m.example"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	const peer2 = "did:peer:2"
	w := newWorld(t)
	w.other = did.Methods{"peer": didpeer.NewResolver(), "key": didkey.Resolver{}}
	alice := w.packer(t, w.alice)
	e := pack1(t, alice, newMessage(t, w.alice, w.bob), envelope.From(aliceDID))
	for _, tt := range []struct {
		name, id string
		fragment string // of the key, if the routing key names one
		byKey    bool
	}{
		{"Credo", peer2 + pair.e + pair.v + service(plain), "", true},
		{"Credo, the key named", peer2 + pair.e + pair.v + service(plain), "#key-1", true},
		{"Credo, the signing key first", peer2 + pair.v + pair.e + service(plain), "", true},
		{"Credo, over WebSocket", peer2 + pair.e + pair.v + service(`{"t":"dm","s":"ws://m.example"}`), "", true},
		{"another signing key", peer2 + pair.e + other.v + service(plain), "", false},
		{"another agreement key", peer2 + other.e + pair.v + service(plain), "", false},
		{"endpoint as an object", peer2 + pair.e + pair.v + service(object), "", false},
		{"endpoint as a list", peer2 + pair.e + pair.v + service(`{"t":"dm","s":["https://m.example"]}`), "", false},
		{"object with a uri only", peer2 + pair.e + pair.v + service(`{"t":"dm","s":{"uri":"https://m.example"}}`), "", false},
		{"endpoint with accept", peer2 + pair.e + pair.v + service(`{"t":"dm","s":"https://m.example","a":["didcomm/v2"]}`), "", false},
		{"endpoint with routing keys", peer2 + pair.e + pair.v + service(`{"t":"dm","s":"https://m.example","r":["did:example:m#k"]}`), "", false},
		{"two services", peer2 + pair.e + pair.v + service(plain) + service(plain), "", false},
		{"no service", peer2 + pair.e + pair.v, "", false},
		{"no signing key", peer2 + pair.e + service(plain), "", false},
		{"two agreement keys", peer2 + pair.e + other.e + pair.v + service(plain), "", false},
		{"two signing keys", peer2 + pair.e + pair.v + other.v + service(plain), "", false},
		{"P-256", peer2 + element(t, "E", p256.PublicKey()) + pair.v + service(plain), "", false},
		{"did:peer:4", long, "", false},
		{"did:key", "did:key:" + pair.v[2:], "", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			doc, err := w.other.Resolve(t.Context(), tt.id)
			if err != nil {
				t.Fatal(err)
			}
			first := doc.KeyAgreementKeys()[0]
			to, kid := tt.id, first.ID
			key, err := first.ECDH()
			if err != nil {
				t.Fatal(err)
			}
			multikey, err := did.FormatMultikey(key)
			if err != nil {
				t.Fatal(err)
			}
			if tt.byKey {
				to, kid = "did:key:"+multikey, "did:key:"+multikey+"#"+multikey
			}
			got, err := alice.Forward(t.Context(), e, []string{tt.id + tt.fragment}, envelope.Expires(now))
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Contains(got.KIDs, kid) || tt.byKey && len(got.KIDs) != 1 || got.To != tt.id {
				t.Errorf("envelope for %s with the keys %v, want %s", got.To, got.KIDs, kid)
			}
			if !strings.Contains(string(got.Data), `"kid":"`+kid+`"`) {
				t.Errorf("kid %s is not in the envelope", kid)
			}
			// The key is that of the document, whatever its name.
			private := map[string]*ecdh.PrivateKey{}
			for _, k := range []*ecdh.PrivateKey{pair.agree, other.agree, p256} {
				m, err := did.FormatMultikey(k.PublicKey())
				if err != nil {
					t.Fatal(err)
				}
				private[m] = k
			}
			var m *message.Message
			for _, held := range []string{kid, first.ID} { // a mediator that knows its own DID opens both
				ring := keyring.New()
				if err := ring.Add(held, private[multikey]); err != nil {
					t.Fatal(err)
				}
				u, err := newPacker(t, envelope.Config{Keys: ring, Resolver: w}).Unpack(t.Context(), got.Data)
				if err != nil {
					t.Fatal(err)
				}
				m = u.Message
			}
			if !slices.Equal(m.To, []string{to}) || m.From != "" || !m.ExpiresTime.Equal(now) || string(m.Body) != fmt.Sprintf(`{"next":%q}`, bobDID) {
				t.Errorf("to %v, from %q, expires %v, body %s", m.To, m.From, m.ExpiresTime, m.Body)
			}
			if payload := m.Attachments[0].Data.JSON; !sameJSON(t, payload, e.Data) {
				t.Errorf("payload %s", payload)
			}
		})
	}
	t.Run("recorded", func(t *testing.T) {
		w.other = did.Methods{"peer": didpeer.NewResolver()} // a did:key need not be resolved
		got, err := alice.Forward(t.Context(), e, []string{recordedRouting})
		const key = "z6LSoggwyWJWaomw2VkooFNqabnc5osTy5A4jvU8feKXsu3G"
		if err != nil || !slices.Equal(got.KIDs, []string{"did:key:" + key + "#" + key}) || got.To != recordedRouting {
			t.Errorf("envelope %+v, %v", got, err)
		}
		// The signing key is not a key to encrypt for.
		if _, err := alice.Forward(t.Context(), e, []string{recordedRouting + "#key-2"}); err == nil {
			t.Error("wrapped for a signing key")
		}
	})
}

func sameJSON(t *testing.T, a, b []byte) bool {
	t.Helper()
	var x, y map[string]json.RawMessage
	if json.Unmarshal(a, &x) != nil || json.Unmarshal(b, &y) != nil {
		t.Fatal("no object")
	}
	return maps.EqualFunc(x, y, func(a, b json.RawMessage) bool { return string(a) == string(b) })
}
