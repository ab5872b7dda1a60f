package doctor_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/envelope/doctor"
	"github.com/didcomm-go/didcomm/agent/envelope/internal/jwe"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/did"
)

// unopened are messages of alice that bob does not open, or opens with a deviation, and the
// codes of the findings of Open.
func unopened(t testing.TB) map[string]struct {
	data     []byte
	resolver did.Resolver
	want     string
} {
	docs := appendixDocuments(t)
	alices := packer(t, "alice", docs)
	pack := func(change func(m *message.Message), opts ...envelope.PackOption) []byte {
		m := new(message.Message)
		if err := json.Unmarshal([]byte(text(sound())), m); err != nil {
			t.Fatal(err)
		}
		change(m)
		sealed, err := alices.Pack(t.Context(), m, opts...)
		if err != nil {
			t.Fatal(err)
		}
		return sealed[0].Data
	}
	nothing := func(*message.Message) {}
	auth := []envelope.PackOption{envelope.From(alice), envelope.To(bob)}
	without := func(change func(d *did.Document)) did.Resolver {
		changed := appendixDocuments(t)
		doc := *changed[alice]
		change(&doc)
		// Written and read again: keys are found when a document is parsed.
		written, err := doc.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		if changed[alice], err = did.ParseDocument(written); err != nil {
			t.Fatal(err)
		}
		return changed
	}
	type row = struct {
		data     []byte
		resolver did.Resolver
		want     string
	}
	tampered := []byte(strings.Replace(string(pack(nothing, auth...)), `"ciphertext":"`, `"ciphertext":"AAAA`, 1))
	broken := signedVector(t)
	return map[string]row{
		"authcrypt":           {pack(nothing, auth...), docs, ""},
		"return_route inside": {pack(func(m *message.Message) { m.ReturnRoute = "always" }, auth...), docs, "return-route"},
		"forward inside":      {pack(func(m *message.Message) { m.Type = "https://didcomm.org/routing/2.0/forward" }, auth...), docs, "forward-next forward-no-attachment"},
		"for alice":           {pack(func(m *message.Message) { m.To = nil }, envelope.From(alice), envelope.To(alice)), docs, "no-key"},
		"tampered":            {tampered, docs, "decrypt"},
		"signature":           {broken, docs, "kid-unprotected signature"},
		"to another":          {sealForBob(t, []byte(plain(func(m object) { m["to"] = []string{alice} }))), docs, "recipient-mismatch"},
		"no from_prior":       {pack(func(m *message.Message) { m.FromPrior = "a.b.c" }, auth...), docs, "from-prior"},
		"sender's key":        {pack(nothing, auth...), without(func(d *did.Document) { d.KeyAgreement = nil }), "sender-mismatch"},
		"signer's key":        {pack(nothing, envelope.SignBy(alice), envelope.Signed()), without(func(d *did.Document) { d.Authentication = nil }), "kid-unprotected signer-mismatch"},
		"sender unknown":      {pack(nothing, auth...), documents{bob: docs[bob]}, "unresolved"},
		"resolver out": {pack(nothing, auth...), did.ResolverFunc(func(context.Context, string) (*did.Document, error) {
			return nil, errors.New("no route to host")
		}), "not-opened"},
		"signed for nobody":   {sealForBob(t, []byte(signed(plain(func(m object) { delete(m, "to") })))), docs, "kid-unprotected signed-encrypted-no-to signature"},
		"milliseconds inside": {sealForBob(t, []byte(plain(func(m object) { m["created_time"] = 1516269022000 }))), docs, "time-milliseconds"},
		"anoncrypt inside":    {sealForBob(t, []byte(anoncrypt().json())), docs, "nesting"},
		"rubbish inside":      {sealForBob(t, []byte("hello")), docs, "malformed"},
		"signed in authcrypt": {vector(t, "authcrypt-p256-of-signed-eddsa.json"), docs, "authcrypt-of-signed kid-unprotected"},
		"not a thing":         {[]byte("hello"), docs, "malformed"},
		"bad outside":         {[]byte(anoncryptWith("zip")), docs, "zip"},
	}
}

// sealForBob is anoncrypt of any content.
func sealForBob(t testing.TB, content []byte) []byte {
	t.Helper()
	return sealFor(t, appendixDocuments(t)[bob].KeyAgreementKeys()[0], content)
}

func sealFor(t testing.TB, method *did.VerificationMethod, content []byte) []byte {
	t.Helper()
	key, err := method.ECDH()
	if err != nil {
		t.Fatal(err)
	}
	data, err := jwe.Encrypt(content, jwe.Params{Enc: jwe.A256CBCHS512, Recipients: []jwe.Recipient{{KID: method.ID, Key: key}}})
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func anoncryptWith(header string) string {
	return anon(func(s *sealed) { s.header[header] = "x" })
}

// signedVector is a message of the appendix with a signature that is another's.
func signedVector(t testing.TB) []byte {
	var v struct {
		Payload    string   `json:"payload"`
		Signatures []object `json:"signatures"`
	}
	if err := json.Unmarshal(vector(t, "signed-eddsa.json"), &v); err != nil {
		t.Fatal(err)
	}
	v.Signatures[0]["signature"] = b64(make([]byte, 64))
	return []byte(text(v))
}

func TestOpen(t *testing.T) {
	for name, tt := range unopened(t) {
		t.Run(name, func(t *testing.T) {
			p := packer(t, "bob", tt.resolver)
			r := doctor.Open(t.Context(), p, tt.data)
			if got := strings.Join(codes(r.Findings), " "); got != tt.want {
				t.Errorf("codes %q, want %q\n%v", got, tt.want, r.Findings)
			}
			_, err := p.Unpack(t.Context(), tt.data)
			if (err == nil) != (r.Metadata != nil) {
				t.Errorf("Unpack: %v, metadata %v", err, r.Metadata)
			}
			if err != nil && len(r.AtLeast(doctor.Error)) == 0 {
				t.Errorf("Unpack: %v, but no finding is an error", err)
			}
		})
	}
}

// A re-wrapped forward shows all layers, and each is judged.
func TestOpenForward(t *testing.T) {
	docs := appendixDocuments(t)
	alices := packer(t, "alice", docs)
	m := new(message.Message)
	if err := json.Unmarshal([]byte(text(sound())), m); err != nil {
		t.Fatal(err)
	}
	sealed, err := alices.Pack(t.Context(), m, envelope.From(alice), envelope.To(bob))
	if err != nil {
		t.Fatal(err)
	}
	wrapped, err := alices.Forward(t.Context(), sealed[0], []string{bob})
	if err != nil {
		t.Fatal(err)
	}
	r := doctor.Open(t.Context(), packer(t, "bob", docs), wrapped.Data)
	var kinds []string
	for _, l := range r.Layers {
		kinds = append(kinds, l.Kind)
	}
	if got := strings.Join(kinds, " "); got != "encrypted plaintext encrypted plaintext" || !r.Metadata.ReWrappedInForward {
		t.Errorf("layers %s, metadata %+v", got, r.Metadata)
	}
	if len(r.Findings) > 0 {
		t.Errorf("findings %v", r.Findings)
	}
}
