package interop_test

import (
	"crypto/ed25519"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/identity"
	"github.com/didcomm-go/didcomm/agent/keyring"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/did"
	"github.com/didcomm-go/didcomm/protocols/basicmessage"
)

// TestCredoPack packs each recorded message for its recorded recipient, in the same way, and
// opens it with the recorded keys.
func TestCredoPack(t *testing.T) {
	for _, r := range recordings(t) {
		if r.Packed == nil {
			continue
		}
		t.Run(r.Name, func(t *testing.T) {
			m, _, err := message.Parse(r.Plaintext)
			if err != nil {
				t.Fatal(err)
			}
			own := r.identity(t)
			packer, err := envelope.New(envelope.Config{Keys: own, Resolver: byMethod})
			if err != nil {
				t.Fatal(err)
			}
			var opts []envelope.PackOption
			signed := strings.Contains(r.Name, "signed")
			if signed {
				opts = append(opts, envelope.SignBy(own.DID()))
			}
			switch r.Expected.Protection {
			case "authcrypt":
				opts = append(opts, envelope.From(own.DID()))
			case "anoncrypt":
				opts = append(opts, envelope.ContentEncryption(r.Expected.Enc))
			case "signed":
				opts = append(opts, envelope.Signed())
			}
			if m.From != "" {
				m.From, m.FromPrior = own.DID(), ""
			}
			list, err := packer.Pack(t.Context(), m, opts...)
			if err != nil || len(list) != 1 {
				t.Fatal(err, len(list))
			}
			u, err := r.packer(t, byMethod, false, r.Secrets).Unpack(t.Context(), list[0].Data)
			if err != nil {
				t.Fatal(err)
			}
			md := u.Metadata
			if md.NonRepudiation != signed || md.EncAlgAuth+md.EncAlgAnon != r.Expected.Enc || (md.EncAlgAuth != "") != (r.Expected.Protection == "authcrypt") {
				t.Errorf("opened with %+v", md)
			}
			want, err := m.Append(nil)
			if err != nil {
				t.Fatal(err)
			}
			got, err := u.Message.Append(nil)
			if err != nil {
				t.Fatal(err)
			}
			if err := sameJSON(want, got); err != nil {
				t.Error(err)
			}
		})
	}
}

// curve returns a curve of keys that can encrypt to the recipient.
func (r *credoRecording) curve(t *testing.T) keyring.Curve {
	t.Helper()
	if r.Name == "trust-ping-1.0-response-p-256" {
		return keyring.P256
	}
	return keyring.Ed25519
}

// identity returns an identity with keys that can encrypt to the recipient.
func (r *credoRecording) identity(t *testing.T) *identity.Identity {
	t.Helper()
	pair, err := identity.Generate(r.curve(t))
	if err != nil {
		t.Fatal(err)
	}
	id, err := identity.Peer4(pair, "test://agent")
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// TestCredoForward opens a forward layer by layer: as the mediator, and then as the recipient
// behind the mediator.
func TestCredoForward(t *testing.T) {
	seen := 0
	for _, r := range recordings(t) {
		if r.Expected.Next == "" {
			continue
		}
		seen++
		data, recipient := []byte(r.Packed), r.packer(t, byMethod, false, r.InnerSecrets)
		for i, mediator := range []*envelope.Packer{
			r.packer(t, byMethod, false, r.Secrets),
			r.packer(t, byMethod, false, images(t, r.Secrets)),
		} {
			if _, err := recipient.Unpack(t.Context(), data); !errors.Is(err, envelope.ErrNoKey) {
				t.Errorf("layer %d for the recipient: %v", i, err)
			}
			u, err := mediator.Unpack(t.Context(), data)
			if err != nil {
				t.Fatal(err)
			}
			var body struct {
				Next string `json:"next"`
			}
			if err := u.Message.DecodeBody(&body); err != nil || len(u.Message.Attachments) != 1 {
				t.Fatal(err, u.Message)
			}
			next := r.Expected.Next
			if i == r.Expected.Layers-1 {
				next = ownerOf(t, r.InnerSecrets)
			}
			if body.Next != next {
				t.Errorf("layer %d: next is %s, want %s", i, body.Next, next)
			}
			if data, err = u.Message.Attachments[0].Data.Bytes(); err != nil {
				t.Fatal(err)
			}
		}
		u, err := recipient.Unpack(t.Context(), data)
		if err != nil {
			t.Fatal(err)
		}
		if m := u.Message; !u.Metadata.Authenticated || m.Type != basicmessage.TypeMessage || !slices.Equal(m.To, []string{ownerOf(t, r.InnerSecrets)}) {
			t.Errorf("the recipient opens %v", m)
		}
	}
	if seen != 1 {
		t.Errorf("%d forwards", seen)
	}
}

// ownerOf returns the DID of the keys.
func ownerOf(t *testing.T, secrets []jsontext.Value) string {
	t.Helper()
	var key struct {
		ID string `json:"kid"`
	}
	if err := json.Unmarshal(secrets[0], &key); err != nil {
		t.Fatal(err)
	}
	return did.Base(key.ID)
}

// images returns the X25519 images of the Ed25519 keys (RFC 7748, section 4.1), under the
// did:keys that did:key derives for them.
func images(t *testing.T, secrets []jsontext.Value) []jsontext.Value {
	t.Helper()
	var all []jsontext.Value
	for _, data := range secrets {
		var key struct {
			Curve string `json:"crv"`
			D     string `json:"d"`
		}
		if err := json.Unmarshal(data, &key); err != nil {
			t.Fatal(err)
		}
		if key.Curve != "Ed25519" {
			continue
		}
		seed, err := base64.RawURLEncoding.DecodeString(key.D)
		if err != nil {
			t.Fatal(err)
		}
		multikey, err := did.FormatMultikey(ed25519.NewKeyFromSeed(seed).Public())
		if err != nil {
			t.Fatal(err)
		}
		doc, err := byMethod.Resolve(t.Context(), "did:key:"+multikey)
		if err != nil {
			t.Fatal(err)
		}
		image := doc.KeyAgreementKeys()[0]
		public, err := image.ECDH()
		if err != nil {
			t.Fatal(err)
		}
		d := sha512.Sum512(seed)
		all = append(all, jsontext.Value(fmt.Sprintf(`{"kid":%q,"kty":"OKP","crv":"X25519","x":%q,"d":%q}`, image.ID,
			base64.RawURLEncoding.EncodeToString(public.Bytes()), base64.RawURLEncoding.EncodeToString(d[:32]))))
	}
	return all
}
