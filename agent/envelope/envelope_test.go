package envelope_test

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/keyring"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/did"
)

// documents is a Resolver of given DID documents.
type documents map[string]*did.Document

func (d documents) Resolve(_ context.Context, id string) (*did.Document, error) {
	if doc, ok := d[id]; ok {
		return doc, nil
	}
	return nil, did.ErrNotFound
}

func readFile(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", "didcomm-v2.1", name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func appendixDocuments(t testing.TB) documents {
	t.Helper()
	var raw map[string]json.RawMessage
	if err := json.Unmarshal(readFile(t, "did-documents.json"), &raw); err != nil {
		t.Fatal(err)
	}
	docs := documents{}
	for id, text := range raw {
		doc, err := did.ParseDocument(text)
		if err != nil {
			t.Fatalf("%s: %v", id, err)
		}
		docs[id] = doc
	}
	return docs
}

func appendixKeys(t testing.TB, who string) *keyring.Keyring {
	t.Helper()
	var secrets map[string]json.RawMessage
	if err := json.Unmarshal(readFile(t, "secrets.json"), &secrets); err != nil {
		t.Fatal(err)
	}
	keys, err := keyring.ParseSecrets(secrets[who])
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

func newPacker(t testing.TB, cfg envelope.Config) *envelope.Packer {
	t.Helper()
	p, err := envelope.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func appendixPacker(t testing.TB, who string) *envelope.Packer {
	t.Helper()
	return newPacker(t, envelope.Config{Keys: appendixKeys(t, who), Resolver: appendixDocuments(t)})
}

// values decodes JSON text so that two texts can be compared by value.
func values(t testing.TB, text []byte) map[string]any {
	t.Helper()
	var v map[string]any
	if err := json.Unmarshal(text, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

func encode(t testing.TB, m *message.Message) []byte {
	t.Helper()
	text, err := m.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

const (
	aliceDID = "did:example:alice"
	bobDID   = "did:example:bob"
)

func TestAppendix(t *testing.T) {
	bobKIDs := func(curve string, n int) (kids []string) {
		for i := range n {
			kids = append(kids, bobDID+"#key-"+curve+"-"+string(rune('1'+i)))
		}
		return kids
	}
	tests := []struct {
		file string
		want envelope.Metadata
	}{
		{"plaintext.json", envelope.Metadata{}},
		{"signed-eddsa.json", envelope.Metadata{
			Authenticated: true, NonRepudiation: true, SignFrom: aliceDID + "#key-1", SignAlg: "EdDSA",
		}},
		{"signed-es256.json", envelope.Metadata{
			Authenticated: true, NonRepudiation: true, SignFrom: aliceDID + "#key-2", SignAlg: "ES256",
		}},
		{"signed-es256k.json", envelope.Metadata{
			Authenticated: true, NonRepudiation: true, SignFrom: aliceDID + "#key-3", SignAlg: "ES256K",
		}},
		{"anoncrypt-x25519-xc20p.json", envelope.Metadata{
			Encrypted: true, AnonymousSender: true, EncryptedToKIDs: bobKIDs("x25519", 3), EncAlgAnon: envelope.XC20P,
		}},
		{"anoncrypt-p384-a256cbchs512.json", envelope.Metadata{
			Encrypted: true, AnonymousSender: true, EncryptedToKIDs: bobKIDs("p384", 2), EncAlgAnon: envelope.A256CBCHS512,
		}},
		{"anoncrypt-p521-a256gcm.json", envelope.Metadata{
			Encrypted: true, AnonymousSender: true, EncryptedToKIDs: bobKIDs("p521", 2), EncAlgAnon: envelope.A256GCM,
		}},
		{"authcrypt-x25519-a256cbchs512.json", envelope.Metadata{
			Encrypted: true, Authenticated: true, EncryptedFromKID: aliceDID + "#key-x25519-1",
			EncryptedToKIDs: bobKIDs("x25519", 3), EncAlgAuth: envelope.A256CBCHS512,
		}},
		{"authcrypt-p256-of-signed-eddsa.json", envelope.Metadata{
			Encrypted: true, Authenticated: true, NonRepudiation: true, EncryptedFromKID: aliceDID + "#key-p256-1",
			EncryptedToKIDs: bobKIDs("p256", 2), EncAlgAuth: envelope.A256CBCHS512,
			SignFrom: aliceDID + "#key-1", SignAlg: "EdDSA",
		}},
		{"anoncrypt-p521-xc20p-of-authcrypt-x25519-of-signed.json", envelope.Metadata{
			Encrypted: true, Authenticated: true, AnonymousSender: true, NonRepudiation: true,
			// The appendix's title says X25519; the envelope's inner layer is P-521.
			EncryptedFromKID: aliceDID + "#key-p521-1", EncryptedToKIDs: bobKIDs("p521", 2),
			EncAlgAuth: envelope.A256CBCHS512, EncAlgAnon: envelope.XC20P,
			SignFrom: aliceDID + "#key-1", SignAlg: "EdDSA",
		}},
	}
	plaintext := values(t, readFile(t, "plaintext.json"))
	bob := appendixPacker(t, "bob")
	for _, tt := range tests {
		t.Run(tt.file, func(t *testing.T) {
			u, err := bob.Unpack(t.Context(), readFile(t, tt.file))
			if err != nil {
				t.Fatal(err)
			}
			if tt.want.SignFrom != "" {
				tt.want.Signers = []string{tt.want.SignFrom}
			}
			if !reflect.DeepEqual(u.Metadata, tt.want) {
				t.Errorf("metadata:\n got %+v\nwant %+v", u.Metadata, tt.want)
			}
			got := values(t, encode(t, u.Message))
			if tt.file != "plaintext.json" {
				// What the appendix packs differs from its plaintext in the scheme
				// of type and has the media type.
				if got["typ"] != message.MediaType {
					t.Errorf("typ is %v", got["typ"])
				}
				delete(got, "typ")
				if got["type"] != "http://example.com/protocols/lets_do_lunch/1.0/proposal" {
					t.Errorf("type is %v", got["type"])
				}
				got["type"] = plaintext["type"]
			}
			if !reflect.DeepEqual(got, plaintext) {
				t.Errorf("message:\n got %v\nwant %v", got, plaintext)
			}
		})
	}
}

// TestAppendixOwn packs the appendix's plaintext for the appendix's keys in
// every mode, curve and algorithm, and opens it with the appendix's secrets.
func TestAppendixOwn(t *testing.T) {
	alice, bob := appendixPacker(t, "alice"), appendixPacker(t, "bob")
	m, _, err := message.Parse(readFile(t, "plaintext.json"))
	if err != nil {
		t.Fatal(err)
	}
	type mode struct {
		name string
		opts []envelope.PackOption
		want envelope.Metadata
	}
	var modes []mode
	for i, alg := range []string{"EdDSA", "ES256", "ES256K"} {
		kid := aliceDID + "#key-" + string(rune('1'+i))
		modes = append(modes, mode{"signed " + alg, []envelope.PackOption{envelope.SignBy(kid), envelope.Signed()},
			envelope.Metadata{Authenticated: true, NonRepudiation: true, SignFrom: kid, SignAlg: alg}})
	}
	signer := envelope.SignBy(aliceDID)
	for _, curve := range []string{"x25519", "p256", "p384", "p521"} {
		to := envelope.To(bobDID + "#key-" + curve + "-1")
		for _, enc := range []envelope.Enc{envelope.A256CBCHS512, envelope.A256GCM, envelope.XC20P} {
			e := envelope.ContentEncryption(enc)
			modes = append(modes,
				mode{"anoncrypt " + curve + " " + string(enc), []envelope.PackOption{to, e},
					envelope.Metadata{Encrypted: true, AnonymousSender: true, EncAlgAnon: enc}},
				mode{"anoncrypt(sign) " + curve + " " + string(enc), []envelope.PackOption{to, e, signer},
					envelope.Metadata{Encrypted: true, AnonymousSender: true, EncAlgAnon: enc, Authenticated: true, NonRepudiation: true, SignFrom: aliceDID + "#key-1", SignAlg: "EdDSA"}})
			if curve == "p384" {
				continue // the appendix's Alice has no such key
			}
			from := aliceDID + "#key-" + curve + "-1"
			modes = append(modes,
				mode{"anoncrypt(authcrypt) " + curve + " " + string(enc), []envelope.PackOption{to, e, envelope.From(from), envelope.ProtectSender()},
					envelope.Metadata{Encrypted: true, Authenticated: true, AnonymousSender: true, EncAlgAnon: enc, EncAlgAuth: envelope.A256CBCHS512, EncryptedFromKID: from}},
				mode{"anoncrypt(authcrypt(sign)) " + curve + " " + string(enc), []envelope.PackOption{to, e, envelope.From(from), envelope.ProtectSender(), signer},
					envelope.Metadata{Encrypted: true, Authenticated: true, AnonymousSender: true, NonRepudiation: true, EncAlgAnon: enc, EncAlgAuth: envelope.A256CBCHS512, EncryptedFromKID: from, SignFrom: aliceDID + "#key-1", SignAlg: "EdDSA"}})
		}
		if curve == "p384" {
			continue
		}
		from := aliceDID + "#key-" + curve + "-1"
		modes = append(modes,
			mode{"authcrypt " + curve, []envelope.PackOption{to, envelope.From(from)},
				envelope.Metadata{Encrypted: true, Authenticated: true, EncAlgAuth: envelope.A256CBCHS512, EncryptedFromKID: from}},
			mode{"authcrypt(sign) " + curve, []envelope.PackOption{to, envelope.From(from), signer},
				envelope.Metadata{Encrypted: true, Authenticated: true, NonRepudiation: true, EncAlgAuth: envelope.A256CBCHS512, EncryptedFromKID: from, SignFrom: aliceDID + "#key-1", SignAlg: "EdDSA"}})
	}
	modes = append(modes, mode{"plain", []envelope.PackOption{envelope.Plain()}, envelope.Metadata{}})
	want := values(t, readFile(t, "plaintext.json"))
	for _, tt := range modes {
		t.Run(tt.name, func(t *testing.T) {
			sealed, err := alice.Pack(t.Context(), m, tt.opts...)
			if err != nil {
				t.Fatal(err)
			}
			if len(sealed) != 1 {
				t.Fatalf("%d envelopes", len(sealed))
			}
			u, err := bob.Unpack(t.Context(), sealed[0].Data)
			if err != nil {
				t.Fatal(err)
			}
			got := values(t, encode(t, u.Message))
			if tt.name == "plain" {
				delete(got, "typ")
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("message:\n got %v\nwant %v", got, want)
			}
			md := u.Metadata
			if tt.want.Encrypted {
				if !slices.Equal(md.EncryptedToKIDs, sealed[0].KIDs) || sealed[0].To != bobDID {
					t.Errorf("for %v, envelope says %v of %s", md.EncryptedToKIDs, sealed[0].KIDs, sealed[0].To)
				}
				md.EncryptedToKIDs = nil
			}
			if tt.want.SignFrom != "" {
				tt.want.Signers = []string{tt.want.SignFrom}
			}
			if !reflect.DeepEqual(md, tt.want) {
				t.Errorf("metadata:\n got %+v\nwant %+v", md, tt.want)
			}
			strict := newPacker(t, envelope.Config{Keys: appendixKeys(t, "bob"), Resolver: appendixDocuments(t), Strict: true})
			if _, err := strict.Unpack(t.Context(), sealed[0].Data); err != nil {
				t.Errorf("what we send deviates: %v", err)
			}
		})
	}
}
