package keyringtest

import (
	"context"
	"crypto"
	"testing"

	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/keyring"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/did"
)

const peerDID = "did:example:keyringtest-peer"

// docs is a did.Resolver of the documents in the map.
type docs map[string]*did.Document

func (d docs) Resolve(_ context.Context, id string) (*did.Document, error) {
	if doc, ok := d[id]; ok {
		return doc, nil
	}
	return nil, did.ErrNotFound
}

// document makes a DID document that lists a key.
func document(t *testing.T, kid string, public crypto.PublicKey, agrees, signs bool) *did.Document {
	t.Helper()
	id := did.Base(kid)
	m, err := did.NewVerificationMethod(kid, id, did.TypeJSONWebKey2020, public)
	if err != nil {
		t.Fatal(err)
	}
	doc := &did.Document{ID: id, VerificationMethod: []did.VerificationMethod{m}}
	if agrees {
		doc.KeyAgreement = []did.Relationship{{ID: kid}}
	}
	if signs {
		doc.Authentication = []did.Relationship{{ID: kid}}
	}
	if err := doc.Index(); err != nil {
		t.Fatal(err)
	}
	return doc
}

// testEnvelope exchanges messages with a party whose keys are in memory: authcrypt and
// anoncrypt in both directions, and signed messages.
func testEnvelope(t *testing.T, keys envelope.Keys, h Held) {
	curve := keyring.X25519
	if h.Agrees {
		public, err := exchangeKey(h.Public)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range []keyring.Curve{keyring.P256, keyring.P384, keyring.P521} {
			key, err := keyring.Generate(c)
			if err != nil {
				t.Fatal(err)
			}
			if like, err := exchangeKey(key.Public()); err == nil && like.Curve() == public.Curve() {
				curve = c
			}
		}
	}
	peerKey, err := keyring.Generate(curve)
	if err != nil {
		t.Fatal(err)
	}
	const peerKID = peerDID + "#key-1"
	ring := keyring.New()
	if err := ring.Add(peerKID, peerKey); err != nil {
		t.Fatal(err)
	}
	owner := did.Base(h.KID)
	known := docs{
		owner:   document(t, h.KID, h.Public, h.Agrees, h.Signs),
		peerDID: document(t, peerKID, peerKey.Public(), true, false),
	}
	ours := packer(t, keys, known)
	theirs := packer(t, ring, known)
	exchange := func(name string, from, to *envelope.Packer, sender, recipient string, opts ...envelope.PackOption) {
		t.Helper()
		m := &message.Message{ID: "1", Type: "https://didcomm.org/empty/1.0/empty", From: sender, To: []string{recipient}}
		if sender == "" {
			m.From = ""
		}
		packed, err := from.Pack(t.Context(), m, opts...)
		if err != nil {
			t.Fatalf("%s: pack: %v", name, err)
		}
		u, err := to.Unpack(t.Context(), packed[0].Data)
		if err != nil {
			t.Fatalf("%s: unpack: %v", name, err)
		}
		if u.Message.ID != m.ID || u.Metadata.Authenticated != (sender != "") {
			t.Errorf("%s: message %q, authenticated %v", name, u.Message.ID, u.Metadata.Authenticated)
		}
	}
	if h.Agrees {
		exchange("authcrypt by it", ours, theirs, owner, peerDID, envelope.From(h.KID), envelope.To(peerKID))
		exchange("authcrypt for it", theirs, ours, peerDID, owner, envelope.From(peerKID), envelope.To(h.KID))
		exchange("anoncrypt for it", theirs, ours, "", owner, envelope.To(h.KID))
	}
	if h.Signs {
		exchange("signed by it", ours, theirs, owner, peerDID, envelope.SignBy(h.KID), envelope.To(peerKID))
	}
}

func packer(t *testing.T, keys envelope.Keys, known docs) *envelope.Packer {
	t.Helper()
	p, err := envelope.New(envelope.Config{Keys: keys, Resolver: known, Strict: true, StaticSecrets: -1})
	if err != nil {
		t.Fatal(err)
	}
	return p
}
