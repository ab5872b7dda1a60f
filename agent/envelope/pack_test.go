package envelope_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/did"
)

// protectedOf returns the members of an envelope, and its protected header.
func protectedOf(t testing.TB, data []byte) (env, header map[string]any) {
	t.Helper()
	env = values(t, data)
	in := env
	if list, ok := env["signatures"].([]any); ok {
		in = mapOf(list[0])
	}
	return env, values(t, member64(t, in, "protected"))
}

// fixed replaces what differs from one envelope to the next, after a check of
// its size in bytes.
func fixed(t testing.TB, in map[string]any, name string, size int) {
	t.Helper()
	if b := member64(t, in, name); size > 0 && len(b) != size || bytes.HasSuffix([]byte(in[name].(string)), []byte("=")) {
		t.Errorf("%s has %d bytes, want %d", name, len(b), size)
	}
	in[name] = "..."
}

// TestSendJWE compares all members of what we send with interop.md, JWE, "send".
func TestSendJWE(t *testing.T) {
	w := newWorld(t)
	w.bob.add(t, "x25519-10")
	w.bob.add(t, "x25519-2")
	alice := w.packer(t, w.alice)
	kids := []string{w.bob.kid("x25519"), w.bob.kid("x25519-10"), w.bob.kid("x25519-2")} // sorted as text
	apv := func(kids ...string) string {
		text := kids[0]
		for _, kid := range kids[1:] {
			text += "." + kid
		}
		return b64.EncodeToString(sha256Sum(text))
	}
	okp := map[string]any{"kty": "OKP", "crv": "X25519", "x": "..."}
	ec := func(crv string) map[string]any {
		return map[string]any{"kty": "EC", "crv": crv, "x": "...", "y": "..."}
	}
	skid := func(name string) (string, string) {
		return w.alice.kid(name), b64.EncodeToString([]byte(w.alice.kid(name)))
	}
	const typ = "application/didcomm-encrypted+json"
	xkid, xapu := skid("x25519")
	pkid, papu := skid("p521")
	tests := []struct {
		name     string
		opts     []envelope.PackOption
		kids     []string
		header   map[string]any
		iv, tag  int
		wrapped  int
		from     string
		encoding int // bytes of a coordinate
	}{
		{"authcrypt", []envelope.PackOption{envelope.From(aliceDID)}, kids,
			map[string]any{"typ": typ, "alg": "ECDH-1PU+A256KW", "enc": "A256CBC-HS512", "skid": xkid, "apu": xapu, "apv": apv(kids...), "epk": okp}, 16, 32, 72, xkid, 32},
		{"authcrypt P-521", []envelope.PackOption{envelope.From(pkid), envelope.To(w.bob.kid("p521"))}, []string{w.bob.kid("p521")},
			map[string]any{"typ": typ, "alg": "ECDH-1PU+A256KW", "enc": "A256CBC-HS512", "skid": pkid, "apu": papu, "apv": apv(w.bob.kid("p521")), "epk": ec("P-521")}, 16, 32, 72, pkid, 66},
		{"anoncrypt", nil, kids,
			map[string]any{"typ": typ, "alg": "ECDH-ES+A256KW", "enc": "A256CBC-HS512", "apv": apv(kids...), "epk": okp}, 16, 32, 72, "", 32},
		{"anoncrypt A256GCM P-256", []envelope.PackOption{envelope.ContentEncryption(envelope.A256GCM), envelope.To(w.bob.kid("p256"))}, []string{w.bob.kid("p256")},
			map[string]any{"typ": typ, "alg": "ECDH-ES+A256KW", "enc": "A256GCM", "apv": apv(w.bob.kid("p256")), "epk": ec("P-256")}, 12, 16, 40, "", 32},
		{"anoncrypt XC20P P-384", []envelope.PackOption{envelope.ContentEncryption(envelope.XC20P), envelope.To(w.bob.kid("p384"))}, []string{w.bob.kid("p384")},
			map[string]any{"typ": typ, "alg": "ECDH-ES+A256KW", "enc": "XC20P", "apv": apv(w.bob.kid("p384")), "epk": ec("P-384")}, 24, 16, 40, "", 48},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e := pack1(t, alice, newMessage(t, w.alice, w.bob), tt.opts...)
			if e.MediaType != typ || e.To != bobDID || e.From != tt.from || !slices.Equal(e.KIDs, tt.kids) || e.SignBy != nil {
				t.Errorf("envelope %+v", e)
			}
			env, header := protectedOf(t, e.Data)
			epk := mapOf(header["epk"])
			for name := range epk {
				if name == "x" || name == "y" {
					fixed(t, epk, name, tt.encoding)
				}
			}
			if !reflect.DeepEqual(header, tt.header) {
				t.Errorf("protected header\n got %v\nwant %v", header, tt.header)
			}
			fixed(t, env, "protected", 0)
			fixed(t, env, "iv", tt.iv)
			fixed(t, env, "tag", tt.tag)
			fixed(t, env, "ciphertext", 0)
			var recipients []any
			for i, kid := range tt.kids {
				fixed(t, mapOf(env["recipients"].([]any)[i]), "encrypted_key", tt.wrapped)
				recipients = append(recipients, map[string]any{"header": map[string]any{"kid": kid}, "encrypted_key": "..."})
			}
			want := map[string]any{"protected": "...", "iv": "...", "tag": "...", "ciphertext": "...", "recipients": recipients}
			if !reflect.DeepEqual(env, want) {
				t.Errorf("envelope\n got %v\nwant %v", env, want)
			}
		})
	}
}

// TestSendJWS compares all members of what we sign with interop.md, JWS, "Send".
func TestSendJWS(t *testing.T) {
	w := newWorld(t)
	alice, bob := w.packer(t, w.alice), w.packer(t, w.bob, strict)
	sizes := map[string]int{"ed25519": 64, "es256": 64, "es384": 96, "es512": 132, "es256k": 64}
	algs := map[string]string{"ed25519": "EdDSA", "es256": "ES256", "es384": "ES384", "es512": "ES512", "es256k": "ES256K"}
	for _, name := range signerNames {
		for _, protected := range []bool{false, true} {
			opts := []envelope.PackOption{envelope.SignBy(w.alice.kid(name)), envelope.Signed()}
			header := map[string]any{"typ": "application/didcomm-signed+json", "alg": algs[name]}
			signature := map[string]any{"protected": "...", "signature": "..."}
			if protected {
				opts = append(opts, envelope.ProtectedKID())
				header["kid"] = w.alice.kid(name)
			} else {
				signature["header"] = map[string]any{"kid": w.alice.kid(name)}
			}
			for range 8 { // secp256k1 would show its high S in half of them
				e := pack1(t, alice, newMessage(t, w.alice, w.bob), opts...)
				if e.MediaType != "application/didcomm-signed+json" || !slices.Equal(e.SignBy, []string{w.alice.kid(name)}) || e.To != "" || e.KIDs != nil {
					t.Errorf("envelope %+v", e)
				}
				env, got := protectedOf(t, e.Data)
				if !reflect.DeepEqual(got, header) {
					t.Errorf("%s: protected header %v, want %v", name, got, header)
				}
				fixed(t, env, "payload", 0)
				sig := mapOf(env["signatures"].([]any)[0])
				fixed(t, sig, "protected", 0)
				fixed(t, sig, "signature", sizes[name])
				if want := map[string]any{"payload": "...", "signatures": []any{signature}}; !reflect.DeepEqual(env, want) {
					t.Errorf("%s:\n got %v\nwant %v", name, env, want)
				}
				unpack(t, bob, e.Data)
			}
		}
	}
	t.Run("several", func(t *testing.T) {
		e := pack1(t, alice, newMessage(t, w.alice, w.bob), envelope.SignBy(w.alice.kid("es256k"), w.alice.kid("ed25519")), envelope.Signed())
		want := []string{w.alice.kid("es256k"), w.alice.kid("ed25519")}
		if got := unpack(t, bob, e.Data).Metadata.Signers; !slices.Equal(got, want) || !slices.Equal(e.SignBy, want) {
			t.Errorf("signers %v", got)
		}
	})
	t.Run("to is filled in", func(t *testing.T) {
		e := pack1(t, alice, newMessage(t, w.alice), envelope.SignBy(aliceDID), envelope.To(w.bob.kid("x25519")))
		u := unpack(t, bob, e.Data)
		if !slices.Equal(u.Message.To, []string{bobDID}) || u.Metadata.SignFrom != w.alice.kid("ed25519") {
			t.Errorf("to %v, metadata %+v", u.Message.To, u.Metadata)
		}
	})
}

// TestRecipients: which envelopes for which keys.
func TestRecipients(t *testing.T) {
	w := newWorld(t)
	nist := newAgent(t, "did:example:nist", "p384", "p256", "p384-2", "p521")
	signer := newAgent(t, "did:example:signer", "ed25519")
	w.add(nist, signer)
	type made struct {
		to, from string
		kids     []string
	}
	kid := func(a *agent, names ...string) (kids []string) {
		for _, name := range names {
			kids = append(kids, a.kid(name))
		}
		return kids
	}
	from := envelope.From(aliceDID)
	for _, tt := range []struct {
		name string
		opts []envelope.PackOption
		to   []*agent
		want []made
	}{
		{"first type in document order", nil, []*agent{nist}, []made{{nist.did, "", kid(nist, "p384", "p384-2")}}},
		{"every type", []envelope.PackOption{envelope.AllKeyTypes()}, []*agent{nist}, []made{
			{nist.did, "", kid(nist, "p384", "p384-2")}, {nist.did, "", kid(nist, "p256")}, {nist.did, "", kid(nist, "p521")}}},
		{"every type, authcrypt", []envelope.PackOption{envelope.AllKeyTypes(), from}, []*agent{nist}, []made{
			{nist.did, w.alice.kid("p384"), kid(nist, "p384", "p384-2")},
			{nist.did, w.alice.kid("p256"), kid(nist, "p256")},
			{nist.did, w.alice.kid("p521"), kid(nist, "p521")}}},
		{"several DIDs", []envelope.PackOption{from}, []*agent{w.bob, nist, w.carol}, []made{
			{bobDID, w.alice.kid("x25519"), kid(w.bob, "x25519")},
			{nist.did, w.alice.kid("p384"), kid(nist, "p384", "p384-2")},
			{w.carol.did, w.alice.kid("x25519"), kid(w.carol, "x25519")}}},
		{"to of one of them", []envelope.PackOption{envelope.To(nist.did)}, []*agent{w.bob, nist}, []made{{nist.did, "", kid(nist, "p384", "p384-2")}}},
		{"to a key", []envelope.PackOption{envelope.To(nist.kid("p384-2"))}, []*agent{nist}, []made{{nist.did, "", kid(nist, "p384-2")}}},
		{"to keys, sorted", []envelope.PackOption{envelope.To(nist.kid("p384-2"), nist.kid("p384"))}, []*agent{nist}, []made{{nist.did, "", kid(nist, "p384", "p384-2")}}},
		{"to a key and its DID", []envelope.PackOption{envelope.To(nist.kid("p384-2"), nist.did)}, []*agent{nist}, []made{{nist.did, "", kid(nist, "p384", "p384-2")}}},
		{"to keys of two types, first", []envelope.PackOption{envelope.To(nist.kid("p521"), nist.kid("p256"))}, []*agent{nist}, []made{{nist.did, "", kid(nist, "p521")}}},
		{"sender's key decides", []envelope.PackOption{envelope.From(w.alice.kid("p256"))}, []*agent{nist}, []made{{nist.did, w.alice.kid("p256"), kid(nist, "p256")}}},
		{"sender's key decides for each", []envelope.PackOption{envelope.From(w.alice.kid("p521"))}, []*agent{w.bob, nist}, []made{
			{bobDID, w.alice.kid("p521"), kid(w.bob, "p521")}, {nist.did, w.alice.kid("p521"), kid(nist, "p521")}}},
		{"one DID twice", []envelope.PackOption{envelope.To(bobDID, w.carol.did, bobDID)}, []*agent{w.bob, w.carol}, []made{
			{bobDID, "", kid(w.bob, "x25519")}, {w.carol.did, "", kid(w.carol, "x25519")}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			sealed, err := w.packer(t, w.alice).Pack(t.Context(), newMessage(t, w.alice, tt.to...), tt.opts...)
			if err != nil {
				t.Fatal(err)
			}
			var got []made
			for _, e := range sealed {
				got = append(got, made{e.To, e.From, e.KIDs})
				for _, a := range []*agent{w.bob, w.carol, nist} {
					if a.did == e.To {
						u := unpack(t, w.packer(t, a, strict), e.Data)
						if u.Metadata.EncryptedFromKID != e.From || !slices.Equal(u.Metadata.EncryptedToKIDs, e.KIDs) {
							t.Errorf("metadata %+v", u.Metadata)
						}
					}
				}
			}
			if !reflect.DeepEqual(got, tt.want) {
				t.Errorf("\n got %v\nwant %v", got, tt.want)
			}
		})
	}

	t.Run("first key that the sender holds", func(t *testing.T) {
		half := newAgent(t, "did:example:half", "p256")
		half.doc.KeyAgreement = append([]did.Relationship{{ID: half.kid("x25519")}}, half.doc.KeyAgreement...)
		m, err := did.NewVerificationMethod(half.kid("x25519"), half.did, did.TypeMultikey, w.eve.ecdh["x25519"].PublicKey())
		if err != nil {
			t.Fatal(err)
		}
		half.doc.VerificationMethod = append(half.doc.VerificationMethod, m)
		half.index(t)
		w.add(half)
		e := pack1(t, w.packer(t, half), newMessage(t, half, w.bob), envelope.From(half.did))
		if e.From != half.kid("p256") || !slices.Equal(e.KIDs, kid(w.bob, "p256")) {
			t.Errorf("envelope %+v", e)
		}
	})
}

// TestPackRefuses checks the errors of Pack.
func TestPackRefuses(t *testing.T) {
	w := newWorld(t)
	x := newAgent(t, "did:example:x", "x25519", "ed25519")
	signer := newAgent(t, "did:example:signer", "ed25519")
	p256 := newAgent(t, "did:example:p256", "p256")
	w.add(x, signer, p256)
	list := func(opts ...envelope.PackOption) []envelope.PackOption { return opts }
	to := []*agent{w.bob}
	for _, tt := range []struct {
		name string
		who  *agent
		to   []*agent
		opts []envelope.PackOption
		want error
	}{
		{"nobody to encrypt for", w.alice, nil, list(envelope.From(aliceDID)), envelope.ErrNoRecipient},
		{"nobody to anoncrypt for", w.alice, nil, nil, envelope.ErrNoRecipient},
		{"signed for a sender", w.alice, to, list(envelope.From(aliceDID), envelope.SignBy(aliceDID), envelope.Signed()), envelope.ErrNoRecipient},
		{"recipient without key agreement", w.alice, []*agent{signer}, nil, envelope.ErrNoCommonKey},
		{"recipient's key that is none", w.alice, to, list(envelope.To(w.bob.kid("none"))), envelope.ErrNoCommonKey},
		{"recipient's key for signatures", w.alice, to, list(envelope.To(w.bob.kid("ed25519"))), envelope.ErrNoCommonKey},
		{"no type in common", x, []*agent{p256}, list(envelope.From(x.did)), envelope.ErrNoCommonKey},
		{"no type in common with the key", w.alice, []*agent{p256}, list(envelope.From(w.alice.kid("x25519"))), envelope.ErrNoCommonKey},
		{"sender's key not held", w.bob, []*agent{w.carol}, list(envelope.From(aliceDID)), envelope.ErrNoKey},
		{"sender's key not in the document", w.alice, to, list(envelope.From(w.alice.kid("none"))), envelope.ErrNoKey},
		{"signer's key not held", w.bob, to, list(envelope.SignBy(aliceDID)), envelope.ErrNoKey},
		{"signer's key for key agreement", w.alice, to, list(envelope.SignBy(w.alice.kid("x25519"))), envelope.ErrNoKey},
		{"no signer", w.alice, to, list(envelope.Signed()), envelope.ErrNoKey},
		{"from another than the key", w.eve, to, list(envelope.From(w.eve.did)), envelope.ErrSenderMismatch},
		{"from another than the signer", w.eve, to, list(envelope.SignBy(w.eve.did)), envelope.ErrSignerMismatch},
		{"signer is not the sender", w.alice, to, list(envelope.From(aliceDID), envelope.SignBy(w.eve.did)), envelope.ErrSignerMismatch},
		{"recipient not in to", w.alice, to, list(envelope.To(w.carol.did)), envelope.ErrRecipientMismatch},
		{"authcrypt with A256GCM", w.alice, to, list(envelope.From(aliceDID), envelope.ContentEncryption(envelope.A256GCM)), envelope.ErrUnsupportedAlg},
		{"authcrypt with XC20P", w.alice, to, list(envelope.From(aliceDID), envelope.ContentEncryption(envelope.XC20P)), envelope.ErrUnsupportedAlg},
		{"enc that is none", w.alice, to, list(envelope.ContentEncryption("A128GCM")), envelope.ErrUnsupportedAlg},
		{"nobody to protect", w.alice, to, list(envelope.ProtectSender()), envelope.ErrUnsupportedAlg},
		{"plain and signed", w.alice, to, list(envelope.Plain(), envelope.SignBy(aliceDID)), envelope.ErrUnsupportedAlg},
		{"plain and encrypted", w.alice, to, list(envelope.Plain(), envelope.From(aliceDID)), envelope.ErrUnsupportedAlg},
		{"unknown recipient", w.alice, nil, list(envelope.To("did:example:nobody")), did.ErrNotFound},
		{"recipient that is no DID", w.alice, nil, list(envelope.To("https://example.com/")), did.ErrInvalid},
	} {
		t.Run(tt.name, func(t *testing.T) {
			from := w.alice
			if tt.who == x {
				from = x
			}
			m := newMessage(t, from, tt.to...)
			before := encode(t, m)
			sealed, err := w.packer(t, tt.who).Pack(t.Context(), m, tt.opts...)
			if !errors.Is(err, tt.want) || sealed != nil {
				t.Fatalf("got %v, %v; want %v", sealed, err, tt.want)
			}
			if !bytes.Equal(before, encode(t, m)) {
				t.Error("the message was changed")
			}
		})
	}
	t.Run("key types in the error", func(t *testing.T) {
		_, err := w.packer(t, x).Pack(t.Context(), newMessage(t, x, p256), envelope.From(x.did))
		if want := "it has P-256, and the sender has X25519"; err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q in it", err, want)
		}
	})
	t.Run("message without id", func(t *testing.T) {
		_, err := w.packer(t, w.alice).Pack(t.Context(), &message.Message{Type: testType}, envelope.To(bobDID))
		if !errors.Is(err, message.ErrInvalid) {
			t.Error(err)
		}
	})
}

// TestMetadataJSON checks the JSON names, which scripts rely on.
func TestMetadataJSON(t *testing.T) {
	w := newWorld(t)
	m := newMessage(t, w.alice, w.bob)
	e := pack1(t, w.packer(t, w.alice), m, envelope.From(aliceDID), envelope.SignBy(aliceDID), envelope.ProtectSender())
	md := unpack(t, w.packer(t, w.bob), e.Data).Metadata
	md.ReWrappedInForward = true
	md.FromPriorIssuerKID, md.FromPrior = "did:example:a#1", &envelope.FromPrior{Iss: "did:example:a", Sub: "did:example:b", IssuedAt: now}
	md.Deviations = []message.Deviation{{Code: envelope.DeviationTyp, Detail: "typ is missing"}}
	got, err := json.Marshal(md)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"encrypted": true, "authenticated": true, "non_repudiation": true, "anonymous_sender": true, "re_wrapped_in_forward": true,
		"encrypted_from_kid": w.alice.kid("x25519"), "encrypted_to_kids": []any{w.bob.kid("x25519")},
		"sign_from": w.alice.kid("ed25519"), "signers": []any{w.alice.kid("ed25519")}, "sign_alg": "EdDSA",
		"enc_alg_auth": "A256CBC-HS512", "enc_alg_anon": "A256CBC-HS512",
		"from_prior_issuer_kid": "did:example:a#1", "from_prior": map[string]any{"iss": "did:example:a", "sub": "did:example:b", "iat": float64(now.Unix())},
		"deviations": []any{map[string]any{"code": "envelope-typ", "detail": "typ is missing"}},
	}
	if got := values(t, got); !reflect.DeepEqual(got, want) {
		t.Errorf("\n got %v\nwant %v", got, want)
	}
	var back envelope.Metadata
	if err := json.Unmarshal(got, &back); err != nil || !reflect.DeepEqual(back, md) {
		t.Errorf("read back: %+v, %v", back, err)
	}
}
