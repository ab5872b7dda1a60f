package doctor_test

import (
	"context"
	"crypto/ecdh"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/keyring"
	"github.com/didcomm-go/didcomm/did"
)

// vectors are those of DIDComm v2.1, Appendix A to C.
const vectors = "../testdata/didcomm-v2.1"

const (
	alice = "did:example:alice"
	bob   = "did:example:bob"
)

type object = map[string]any

func b64(data []byte) string { return base64.RawURLEncoding.EncodeToString(data) }

func text(v any) string {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(data)
}

func apv(kids ...string) string {
	slices.Sort(kids)
	sum := sha256.Sum256([]byte(strings.Join(kids, ".")))
	return b64(sum[:])
}

// sealed is a JWE without fault in its form; nothing opens it.
type sealed struct {
	header     object // protected
	recipients []any
	top        object // all members but protected and recipients
}

const (
	bobKey1 = bob + "#key-1"
	bobKey2 = bob + "#key-2"
	skid    = alice + "#key-1"
)

func point(key *ecdh.PrivateKey) object {
	b := key.PublicKey().Bytes()
	if key.Curve() == ecdh.X25519() {
		return object{"kty": "OKP", "crv": "X25519", "x": b64(b)}
	}
	return object{"kty": "EC", "crv": "P-256", "x": b64(b[1:33]), "y": b64(b[33:])}
}

func ephemeral(curve ecdh.Curve) *ecdh.PrivateKey {
	key, err := curve.GenerateKey(rand.Reader)
	if err != nil {
		panic(err)
	}
	return key
}

func anoncrypt() *sealed {
	return &sealed{
		header: object{
			"typ": "application/didcomm-encrypted+json", "alg": "ECDH-ES+A256KW", "enc": "A256CBC-HS512",
			"apv": apv(bobKey1, bobKey2), "epk": point(ephemeral(ecdh.X25519())),
		},
		recipients: []any{recipient(bobKey1), recipient(bobKey2)},
		top:        object{"iv": b64(make([]byte, 16)), "tag": b64(make([]byte, 32)), "ciphertext": b64(make([]byte, 64))},
	}
}

func authcrypt() *sealed {
	s := anoncrypt()
	s.header["alg"], s.header["skid"], s.header["apu"] = "ECDH-1PU+A256KW", skid, b64([]byte(skid))
	return s
}

func recipient(kid string) object {
	return object{"header": object{"kid": kid}, "encrypted_key": b64(make([]byte, 72))}
}

// to makes the envelope one for other keys.
func (s *sealed) to(kids ...string) {
	s.header["apv"] = apv(slices.Clone(kids)...)
	s.recipients = nil
	for _, kid := range kids {
		s.recipients = append(s.recipients, recipient(kid))
	}
}

func (s *sealed) json() string {
	s.top["protected"] = b64([]byte(text(s.header)))
	if s.recipients != nil {
		s.top["recipients"] = s.recipients
	}
	return text(s.top)
}

func anon(change func(s *sealed)) string { s := anoncrypt(); change(s); return s.json() }
func auth(change func(s *sealed)) string { s := authcrypt(); change(s); return s.json() }

// signature is one signature of a JWS without fault in its form; kids stand in
// the protected and in the unprotected header, "" in none.
func signature(alg, protected, unprotected string, value []byte) object {
	h := object{"typ": "application/didcomm-signed+json", "alg": alg}
	if protected != "" {
		h["kid"] = protected
	}
	s := object{"protected": b64([]byte(text(h))), "signature": b64(value)}
	if unprotected != "" {
		s["header"] = object{"kid": unprotected}
	}
	return s
}

func jws(payload string, signatures ...any) string {
	return text(object{"payload": b64([]byte(payload)), "signatures": signatures})
}

// signed is a message signed by alice, as the specification's examples have it.
func signed(payload string) string {
	return jws(payload, signature("EdDSA", "", skid, make([]byte, 64)))
}

func sound() object {
	return object{
		"id": "1", "type": "https://didcomm.org/basicmessage/2.0/message", "typ": "application/didcomm-plain+json",
		"from": alice, "to": []string{bob}, "created_time": 1516269022, "body": object{"content": "hello"},
	}
}

func plain(change func(m object)) string { m := sound(); change(m); return text(m) }

func forward(change func(m object)) string {
	return plain(func(m object) {
		m["type"], m["body"] = "https://didcomm.org/routing/2.0/forward", object{"next": bob}
		m["attachments"] = []any{object{"id": "1", "data": object{"json": object{}}}}
		change(m)
	})
}

// documents resolves what it holds.
type documents map[string]*did.Document

func (d documents) Resolve(_ context.Context, id string) (*did.Document, error) {
	if doc, ok := d[id]; ok {
		return doc, nil
	}
	return nil, did.ErrNotFound
}

func vector(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(vectors, name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// appendixDocuments are the DID documents of Appendix B.
func appendixDocuments(t testing.TB) documents {
	t.Helper()
	var raw map[string]json.RawMessage
	if err := json.Unmarshal(vector(t, "did-documents.json"), &raw); err != nil {
		t.Fatal(err)
	}
	docs := documents{}
	for id, text := range raw {
		doc, err := did.ParseDocument(text)
		if err != nil {
			t.Fatal(err)
		}
		docs[id] = doc
	}
	return docs
}

// packer has the keys of Appendix A of the party named, "" for none.
func packer(t testing.TB, party string, resolver did.Resolver) *envelope.Packer {
	t.Helper()
	var secrets map[string]json.RawMessage
	if err := json.Unmarshal(vector(t, "secrets.json"), &secrets); err != nil {
		t.Fatal(err)
	}
	keys := keyring.New()
	if party != "" {
		var err error
		if keys, err = keyring.ParseSecrets(secrets[party]); err != nil {
			t.Fatal(err)
		}
	}
	p, err := envelope.New(envelope.Config{Keys: keys, Resolver: resolver})
	if err != nil {
		t.Fatal(err)
	}
	return p
}
