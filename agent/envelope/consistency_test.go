package envelope_test

import (
	"slices"
	"testing"

	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/did"
	"github.com/didcomm-go/didcomm/did/didpeer"
)

// layers builds nested envelopes to Bob, each layer of its own author.
type layers struct {
	t   testing.TB
	bob *agent
}

func (l layers) anon(plaintext []byte) []byte {
	return peerJWE{plaintext: plaintext, to: []peerRecipient{l.bob.recipient("p256")}}.seal(l.t)
}

func (l layers) auth(from *agent, plaintext []byte) []byte {
	return peerJWE{plaintext: plaintext, from: from.sender("x25519"), to: []peerRecipient{l.bob.recipient("x25519")}}.seal(l.t)
}

func (l layers) sign(by *agent, payload []byte) []byte {
	return peerJWS{payload: payload, signers: []peerSigner{by.signer("ed25519")}}.seal(l.t)
}

// TestNesting opens the combinations of IANA Media Types and no others.
func TestNesting(t *testing.T) {
	w := newWorld(t)
	l, bob := layers{t, w.bob}, w.packer(t, w.bob)
	a := w.alice
	m := text(t, a, []*agent{w.bob}, nil)
	for _, tt := range []struct {
		name string
		data []byte
		want envelope.Metadata
	}{
		{"plain", m, envelope.Metadata{}},
		{"sign", l.sign(a, m), envelope.Metadata{Authenticated: true, NonRepudiation: true}},
		{"anon", l.anon(m), envelope.Metadata{Encrypted: true, AnonymousSender: true}},
		{"auth", l.auth(a, m), envelope.Metadata{Encrypted: true, Authenticated: true}},
		{"anon(sign)", l.anon(l.sign(a, m)), envelope.Metadata{Encrypted: true, AnonymousSender: true, Authenticated: true, NonRepudiation: true}},
		{"auth(sign)", l.auth(a, l.sign(a, m)), envelope.Metadata{Encrypted: true, Authenticated: true, NonRepudiation: true}},
		{"anon(auth)", l.anon(l.auth(a, m)), envelope.Metadata{Encrypted: true, AnonymousSender: true, Authenticated: true}},
		{"anon(auth(sign))", l.anon(l.auth(a, l.sign(a, m))),
			envelope.Metadata{Encrypted: true, AnonymousSender: true, Authenticated: true, NonRepudiation: true}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := unpack(t, bob, tt.data).Metadata
			if got.Encrypted != tt.want.Encrypted || got.AnonymousSender != tt.want.AnonymousSender ||
				got.Authenticated != tt.want.Authenticated || got.NonRepudiation != tt.want.NonRepudiation || got.Deviations != nil {
				t.Errorf("got %+v", got)
			}
		})
	}
	jwe := l.anon(m)
	checkRefused(t, w, bob, []refusal{
		{"anon(anon)", l.anon(l.anon(m)), envelope.ErrNesting, nil},
		{"auth(auth)", l.auth(a, l.auth(a, m)), envelope.ErrNesting, []string{aliceDID}},
		{"auth(anon)", l.auth(a, l.anon(m)), envelope.ErrNesting, []string{aliceDID}},
		{"auth(anon(sign))", l.auth(a, l.anon(l.sign(a, m))), envelope.ErrNesting, []string{aliceDID}},
		{"sign(sign)", l.sign(a, l.sign(a, m)), envelope.ErrNesting, nil},
		{"sign(anon)", l.sign(a, jwe), envelope.ErrNesting, nil},
		{"sign(auth)", l.sign(a, l.auth(a, m)), envelope.ErrNesting, nil},
		{"anon(sign(auth))", l.anon(l.sign(a, l.auth(a, m))), envelope.ErrNesting, nil},
		{"anon(sign(sign))", l.anon(l.sign(a, l.sign(a, m))), envelope.ErrNesting, nil},
		{"anon(anon(auth))", l.anon(l.anon(l.auth(a, m))), envelope.ErrNesting, nil},
		{"anon(auth(auth))", l.anon(l.auth(a, l.auth(a, m))), envelope.ErrNesting, []string{aliceDID}},
		{"anon(auth(anon))", l.anon(l.auth(a, l.anon(m))), envelope.ErrNesting, []string{aliceDID}},
		{"sign(compact sign)", l.sign(a, peerJWS{payload: m, signers: []peerSigner{a.signer("es256")}, form: "compact"}.seal(t)), envelope.ErrNesting, nil},
	})
}

// TestAddressing checks Message Layer Addressing Consistency, and interop.md,
// Plaintext, "Consistency".
func TestAddressing(t *testing.T) {
	w := newWorld(t)
	l, bob := layers{t, w.bob}, w.packer(t, w.bob)
	a, eve := w.alice, w.eve
	toBob := []*agent{w.bob}
	m := text(t, a, toBob, nil)
	nobody := text(t, nil, toBob, nil)
	alice, eves := []string{aliceDID}, []string{eve.did}
	lookalike := text(t, nil, toBob, map[string]any{"from": aliceDID + "2"})
	checkRefused(t, w, bob, []refusal{
		{"authcrypt by another", l.auth(eve, m), envelope.ErrSenderMismatch, eves},
		{"authcrypt without from", l.auth(a, nobody), envelope.ErrSenderMismatch, alice},
		{"authcrypt from a longer DID", l.auth(a, lookalike), envelope.ErrSenderMismatch, alice},
		{"anon(auth) by another", l.anon(l.auth(eve, m)), envelope.ErrSenderMismatch, eves},
		{"sign by another", l.sign(eve, m), envelope.ErrSignerMismatch, nil},
		{"sign without from", l.sign(a, nobody), envelope.ErrSignerMismatch, nil},
		{"sign from a longer DID", l.sign(a, lookalike), envelope.ErrSignerMismatch, nil},
		{"anon(sign) by another", l.anon(l.sign(eve, m)), envelope.ErrSignerMismatch, nil},
		{"auth(sign) signed by another", l.auth(a, l.sign(eve, text(t, eve, toBob, nil))), envelope.ErrSenderMismatch, []string{aliceDID, eve.did}},
		{"auth(sign) encrypted by another", l.auth(eve, l.sign(a, m)), envelope.ErrSenderMismatch, []string{eve.did, aliceDID}},
		{"auth(sign) signed by another, from the encrypter", l.auth(a, l.sign(eve, m)), envelope.ErrSignerMismatch, alice},
		{"anon(auth(sign)) encrypted by another", l.anon(l.auth(eve, l.sign(a, m))), envelope.ErrSenderMismatch, []string{eve.did, aliceDID}},
		{"authcrypt to another", l.auth(a, text(t, a, []*agent{w.carol}, nil)), envelope.ErrRecipientMismatch, alice},
		{"anoncrypt to another", l.anon(text(t, nil, []*agent{w.carol}, nil)), envelope.ErrRecipientMismatch, nil},
		{"anon(sign) to another", l.anon(l.sign(a, text(t, a, []*agent{w.carol}, nil))), envelope.ErrRecipientMismatch, alice},
		// DIDComm Signed Messages: without to, any recipient of the signed message could
		// have encrypted it for us.
		{"anon(sign) to nobody", l.anon(l.sign(a, text(t, a, nil, nil))), envelope.ErrRecipientMismatch, alice},
	})

	for _, tt := range []struct {
		name string
		data []byte
	}{
		{"to with others", l.auth(a, text(t, a, []*agent{w.carol, w.bob}, nil))},
		{"to missing", l.auth(a, text(t, a, nil, nil))},
		{"to a DID URL", l.auth(a, text(t, a, nil, map[string]any{"to": []string{bobDID + "?service=x"}}))},
		{"forward to another", l.anon(text(t, nil, []*agent{w.carol}, map[string]any{"type": "https://didcomm.org/routing/2.0/forward"}))},
		{"signed to another, for all to read", l.sign(a, text(t, a, []*agent{w.carol}, nil))},
	} {
		t.Run(tt.name, func(t *testing.T) { unpack(t, bob, tt.data) })
	}

	// The signer has encrypted the message for us, so we are the recipient.
	check(t, bob, w.packer(t, w.bob, strict), []received{
		{"to missing in auth(sign)", l.auth(a, l.sign(a, text(t, a, nil, nil))), codeList{envelope.DeviationSignedNoTo}},
		{"to missing in anon(auth(sign))", l.anon(l.auth(a, l.sign(a, text(t, a, nil, nil)))), codeList{envelope.DeviationSignedNoTo}},
	})

	t.Run("from in anoncrypt is not proven", func(t *testing.T) {
		u := unpack(t, bob, l.anon(m))
		if u.Message.From != aliceDID || u.Metadata.Authenticated || !u.Metadata.AnonymousSender || u.Metadata.EncryptedFromKID != "" {
			t.Errorf("metadata %+v", u.Metadata)
		}
	})
	// After a rotation of ours, a peer may still write our other DID in to.
	t.Run("to another DID of ours", func(t *testing.T) {
		next := newAgent(t, "did:example:bob-next", "x25519")
		if err := w.bob.keys.Add(next.kid("x25519"), next.ecdh["x25519"]); err != nil {
			t.Fatal(err)
		}
		data := l.auth(a, text(t, a, []*agent{next}, nil))
		check(t, bob, w.packer(t, w.bob, strict), []received{{"to", data, codeList{envelope.DeviationRecipient}}})
		only := w.packer(t, w.bob, func(c *envelope.Config) { c.Keys = onlyKeys{w.bob.keys} })
		refused(t, only, data, envelope.ErrRecipientMismatch)
	})
}

// TestSentTo checks which messages may have been sent to another party, which has passed
// them on.
func TestSentTo(t *testing.T) {
	w := newWorld(t)
	l, bob, a := layers{t, w.bob}, w.packer(t, w.bob), w.alice
	toBob, toCarol := []*agent{w.carol, w.bob}, []*agent{w.carol}
	forward := map[string]any{"type": "https://didcomm.org/routing/2.0/forward"}
	for _, tt := range []struct {
		name string
		data []byte
		want bool
	}{
		{"authcrypt", l.auth(a, text(t, a, nil, nil)), true},
		{"auth(sign)", l.auth(a, l.sign(a, text(t, a, nil, nil))), true},
		{"anon(auth(sign))", l.anon(l.auth(a, l.sign(a, text(t, a, nil, nil)))), true},
		{"anoncrypt", l.anon(text(t, nil, nil, nil)), true},
		{"anoncrypt, forward to another", l.anon(text(t, nil, toCarol, forward)), true},
		{"anon(sign)", l.anon(l.sign(a, text(t, a, toBob, nil))), true},
		{"anon(sign), forward", l.anon(l.sign(a, text(t, a, toBob, forward))), true},
		{"anon(sign), forward to another", l.anon(l.sign(a, text(t, a, toCarol, forward))), false},
		{"anon(sign), forward to nobody", l.anon(l.sign(a, text(t, a, nil, forward))), false},
		{"sign", l.sign(a, text(t, a, toBob, nil)), true},
		{"sign, to a DID URL", l.sign(a, text(t, a, nil, map[string]any{"to": []string{bobDID + "?service=x"}})), true},
		{"sign to another", l.sign(a, text(t, a, toCarol, nil)), false},
		{"sign to nobody", l.sign(a, text(t, a, nil, nil)), false},
		{"plaintext", text(t, a, toBob, nil), true},
		{"plaintext to another", text(t, a, toCarol, nil), false},
		{"plaintext to nobody", text(t, a, nil, nil), true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := unpack(t, bob, tt.data).SentTo(bobDID); got != tt.want {
				t.Errorf("got %t", got)
			}
		})
	}
}

// TestSigner verifies with keys that the signer's DID does not allow.
func TestSigner(t *testing.T) {
	w := newWorld(t)
	bob := w.packer(t, w.bob)
	m := text(t, w.alice, nil, nil)
	sign := func(kid string, key any, change ...func(*peerSigner)) []byte {
		s := peerSigner{kid: kid, key: key}
		for _, f := range change {
			f(&s)
		}
		return peerJWS{payload: m, signers: []peerSigner{s}}.seal(t)
	}
	alg := func(alg any) func(*peerSigner) {
		return func(s *peerSigner) { s.protected = func(h map[string]any) { h["alg"] = alg } }
	}
	ed, p256, p384, k1 := w.alice.sign["ed25519"], w.alice.sign["es256"], w.alice.sign["es384"], w.alice.sign["es256k"]
	kid := w.alice.kid
	// A key that asserts but does not authenticate.
	w.alice.add(t, "ed25519-2")
	w.alice.doc.Authentication = slices.DeleteFunc(w.alice.doc.Authentication, func(r did.Relationship) bool { return r.ID == kid("ed25519-2") })
	w.alice.doc.AssertionMethod = []did.Relationship{{ID: kid("ed25519-2")}}
	w.alice.index(t)
	asserts := w.alice.sign["ed25519-2"]
	two := func(second peerSigner) []byte {
		return peerJWS{payload: m, signers: []peerSigner{w.alice.signer("ed25519"), second}}.seal(t)
	}
	alice := []string{aliceDID}
	checkRefused(t, w, bob, []refusal{
		{"another key", sign(kid("ed25519"), w.eve.sign["ed25519"]), envelope.ErrSignature, alice},
		{"another key P-256", sign(kid("es256"), w.eve.sign["es256"]), envelope.ErrSignature, alice},
		{"another key P-384", sign(kid("es384"), w.eve.sign["es384"]), envelope.ErrSignature, alice},
		{"another key P-521", sign(kid("es512"), w.eve.sign["es512"]), envelope.ErrSignature, alice},
		{"another key secp256k1", sign(kid("es256k"), w.eve.sign["es256k"]), envelope.ErrSignature, alice},
		{"key for assertions", sign(kid("ed25519-2"), asserts), envelope.ErrSignerMismatch, alice},
		{"key for key agreement", sign(kid("x25519"), ed), envelope.ErrSignerMismatch, alice},
		{"key that the DID lacks", sign(kid("none"), ed), envelope.ErrSignerMismatch, alice},
		{"bare DID", sign(aliceDID, ed), envelope.ErrSignerMismatch, alice},
		{"relative kid", sign("#ed25519", ed), envelope.ErrSignerMismatch, nil},
		{"kid of another DID", sign(w.eve.kid("ed25519"), w.eve.sign["ed25519"]), envelope.ErrSignerMismatch, nil},
		{"protected kid of another DID", sign(w.eve.kid("ed25519"), w.eve.sign["ed25519"], func(s *peerSigner) { s.kidIn = "protected" }), envelope.ErrSignerMismatch, nil},
		{"kid missing", sign("", ed), envelope.ErrMalformed, nil},
		{"kids differ", sign(kid("ed25519"), ed, func(s *peerSigner) {
			s.kidIn, s.header = "both", func(h map[string]any) { h["kid"] = kid("es256") }
		}), envelope.ErrHeaderConflict, nil},
		{"kids differ, one empty", sign(kid("ed25519"), ed, func(s *peerSigner) {
			s.kidIn, s.header = "both", func(h map[string]any) { h["kid"] = "" }
		}), envelope.ErrHeaderConflict, nil},

		{"alg none", sign(kid("ed25519"), ed, alg("none")), envelope.ErrUnsupportedAlg, alice},
		{"alg missing", sign(kid("ed25519"), ed, func(s *peerSigner) { s.protected = func(h map[string]any) { delete(h, "alg") } }), envelope.ErrUnsupportedAlg, alice},
		{"alg HS256", sign(kid("ed25519"), ed, alg("HS256")), envelope.ErrUnsupportedAlg, alice},
		{"alg ES256 with Ed25519", sign(kid("ed25519"), ed, alg("ES256")), envelope.ErrUnsupportedAlg, alice},
		{"alg EdDSA with P-256", sign(kid("es256"), p256, alg("EdDSA")), envelope.ErrUnsupportedAlg, alice},
		{"alg ES384 with P-256", sign(kid("es256"), p256, alg("ES384")), envelope.ErrUnsupportedAlg, alice},
		{"alg ES256K with P-256", sign(kid("es256"), p256, alg("ES256K")), envelope.ErrUnsupportedAlg, alice},
		{"alg ES256 with secp256k1", sign(kid("es256k"), k1, alg("ES256")), envelope.ErrUnsupportedAlg, alice},
		{"alg Ed448 with Ed25519", sign(kid("ed25519"), ed, alg("Ed448")), envelope.ErrUnsupportedAlg, alice},
		{"alg ES256 with P-384", sign(kid("es384"), p384, alg("ES256")), envelope.ErrUnsupportedAlg, alice},
		{"alg a number", sign(kid("ed25519"), ed, alg(1)), envelope.ErrMalformed, nil},
		{"alg unprotected", sign(kid("ed25519"), ed, func(s *peerSigner) { s.header = func(h map[string]any) { h["alg"] = "EdDSA" } }), envelope.ErrUnprotectedAlg, nil},
		{"crit", sign(kid("ed25519"), ed, func(s *peerSigner) { s.protected = func(h map[string]any) { h["crit"] = []string{"exp"} } }), envelope.ErrCritical, nil},
		{"crit unprotected", sign(kid("ed25519"), ed, func(s *peerSigner) { s.header = func(h map[string]any) { h["crit"] = []string{"exp"} } }), envelope.ErrCritical, nil},
		{"b64 false", sign(kid("ed25519"), ed, func(s *peerSigner) { s.protected = func(h map[string]any) { h["b64"] = false } }), envelope.ErrCritical, nil},
		{"too deep", sign(kid("ed25519"), ed, func(s *peerSigner) {
			s.protected = func(h map[string]any) { h["x"] = deepJSON(100) }
		}), envelope.ErrTooDeep, nil},
		{"too deep unprotected", sign(kid("ed25519"), ed, func(s *peerSigner) {
			s.header = func(h map[string]any) { h["x"] = deepJSON(100) }
		}), envelope.ErrTooDeep, nil},

		{"second signature wrong", two(peerSigner{kid: kid("es256"), key: w.eve.sign["es256"]}), envelope.ErrSignature, alice},
		{"second signature by another", two(w.eve.signer("ed25519")), envelope.ErrSignerMismatch, nil},
		{"payload changed", peerJWS{payload: m, signers: []peerSigner{w.alice.signer("ed25519")}, envelope: func(env map[string]any) {
			env["payload"] = b64.EncodeToString(text(t, w.alice, nil, map[string]any{"id": "2"}))
		}}.seal(t), envelope.ErrSignature, alice},
		{"signature empty", peerJWS{payload: m, signers: []peerSigner{w.alice.signer("ed25519")}, form: "flattened", envelope: func(env map[string]any) {
			env["signature"] = ""
		}}.seal(t), envelope.ErrSignature, alice},
		{"secp256k1 signature of zeros", peerJWS{payload: m, signers: []peerSigner{w.alice.signer("es256k")}, form: "flattened", envelope: func(env map[string]any) {
			env["signature"] = b64.EncodeToString(make([]byte, 64))
		}}.seal(t), envelope.ErrSignature, alice},
		{"P-256 signature of zeros", peerJWS{payload: m, signers: []peerSigner{w.alice.signer("es256")}, form: "flattened", envelope: func(env map[string]any) {
			env["signature"] = b64.EncodeToString(make([]byte, 64))
		}}.seal(t), envelope.ErrSignature, alice},
		{"no signatures", peerJWS{payload: m, signers: []peerSigner{w.alice.signer("ed25519")}, envelope: func(env map[string]any) {
			env["signatures"] = []any{}
		}}.seal(t), envelope.ErrMalformed, nil},
		{"signatures and a signature", peerJWS{payload: m, signers: []peerSigner{w.alice.signer("ed25519")}, envelope: func(env map[string]any) {
			env["signature"] = "AA"
		}}.seal(t), envelope.ErrMalformed, nil},
		{"duplicate in protected", peerJWS{payload: m, signers: []peerSigner{w.alice.signer("ed25519")}, form: "flattened", envelope: func(env map[string]any) {
			env["protected"] = b64.EncodeToString([]byte(`{"alg":"none","alg":"EdDSA"}`))
		}}.seal(t), envelope.ErrDuplicateName, nil},
		{"duplicate in the unprotected header", []byte(`{"payload":"e30","signatures":[{"protected":"e30","signature":"AA","header":{"kid":"did:a:b#c","kid":"did:a:b#d"}}]}`),
			envelope.ErrDuplicateName, nil},
	})
}

// TestSignedReceived holds interop.md, JWS, "Receive".
func TestSignedReceived(t *testing.T) {
	w := newWorld(t)
	m := text(t, w.alice, nil, nil)
	for len(m)%3 == 0 {
		m = append(m, ' ')
	}
	sign := func(name string, change func(*peerJWS)) []byte {
		p := peerJWS{payload: m, signers: []peerSigner{w.alice.signer(name)}}
		if change != nil {
			change(&p)
		}
		return p.seal(t)
	}
	protected := func(name string, v any) func(*peerJWS) {
		return func(p *peerJWS) {
			p.signers[0].protected = func(h map[string]any) {
				if h[name] = v; v == nil {
					delete(h, name)
				}
			}
		}
	}
	form := func(form, kidIn string) func(*peerJWS) {
		return func(p *peerJWS) { p.form, p.signers[0].kidIn = form, kidIn }
	}
	tests := []received{
		{"alg EdDSA", sign("ed25519", nil), nil},
		{"alg Ed25519", sign("ed25519", protected("alg", "Ed25519")), nil},
		{"alg ES256", sign("es256", nil), nil},
		{"alg ES384", sign("es384", nil), nil},
		{"alg ES512", sign("es512", nil), nil},
		{"alg ES256K", sign("es256k", nil), nil},
		{"alg ES256K high S", sign("es256k", func(p *peerJWS) { p.signers[0].highS = true }), codeList{envelope.DeviationHighS}},
		{"general, kid protected", sign("ed25519", form("", "protected")), nil},
		{"general, kid in both", sign("ed25519", form("", "both")), nil},
		{"flattened, kid unprotected", sign("ed25519", form("flattened", "")), nil},
		{"flattened, kid protected", sign("ed25519", form("flattened", "protected")), nil},
		{"flattened, kid in both", sign("ed25519", form("flattened", "both")), nil},
		{"compact", sign("ed25519", form("compact", "")), codeList{envelope.DeviationSerialization}},
		{"typ missing", sign("ed25519", protected("typ", nil)), codeList{envelope.DeviationTyp}},
		{"typ short", sign("ed25519", protected("typ", "didcomm-signed+json")), nil},
		{"typ JWM", sign("ed25519", protected("typ", "JWM")), codeList{envelope.DeviationTyp}},
		{"padding", sign("ed25519", func(p *peerJWS) { p.pad = true }), codeList{envelope.DeviationPadding}},
		{"padding of protected", sign("es256", func(p *peerJWS) { p.signers[0].pad = true }), codeList{envelope.DeviationPadding}},
		{"all algorithms at once", sign("ed25519", func(p *peerJWS) {
			p.signers = nil
			for _, name := range signerNames {
				p.signers = append(p.signers, w.alice.signer(name))
			}
		}), nil},
		{"attachment with its own signature", sign("ed25519", func(p *peerJWS) {
			p.payload = text(t, w.alice, nil, map[string]any{"attachments": []any{map[string]any{
				"data": map[string]any{"base64": "aGVsbG8", "jws": map[string]any{"protected": "x", "signature": "y"}},
			}}})
		}), nil},
	}
	check(t, w.packer(t, w.bob), w.packer(t, w.bob, strict), tests)
	u := unpack(t, w.packer(t, w.bob), tests[len(tests)-2].data)
	var want []string
	for _, name := range signerNames {
		want = append(want, w.alice.kid(name))
	}
	if !slices.Equal(u.Metadata.Signers, want) || u.Metadata.SignFrom != want[0] || u.Metadata.SignAlg != "EdDSA" {
		t.Errorf("metadata %+v", u.Metadata)
	}
	u = unpack(t, w.packer(t, w.bob), tests[len(tests)-1].data)
	if got := string(u.Message.Attachments[0].Data.JWS); got != `{"protected":"x","signature":"y"}` {
		t.Errorf("attachment's jws is %s", got)
	}
	u = unpack(t, w.packer(t, w.bob), tests[1].data)
	if u.Metadata.SignAlg != "Ed25519" {
		t.Errorf("sign_alg is %s", u.Metadata.SignAlg)
	}
}

// TestSignerLongAndShort: the two forms of a did:peer:4 are one party, whichever
// from and kid use.
func TestSignerLongAndShort(t *testing.T) {
	w := newWorld(t)
	doc := *w.carol.doc
	long, err := didpeer.New4(&doc)
	if err != nil {
		t.Fatal(err)
	}
	short, _ := didpeer.Short(long)
	for _, tt := range []struct {
		name, from, kid string
		want            error
	}{
		{"long, long", long, long, nil},
		{"long, short", long, short, nil},
		{"short, long", short, long, nil},
		{"short, short of an unknown party", short, short, did.ErrNotFound},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w.other = didpeer.NewResolver()
			data := peerJWS{
				payload: text(t, nil, nil, map[string]any{"from": tt.from}),
				signers: []peerSigner{{kid: tt.kid + "#ed25519", key: w.carol.sign["ed25519"]}},
			}.seal(t)
			if tt.want != nil {
				refused(t, w.packer(t, w.bob), data, tt.want)
				return
			}
			unpack(t, w.packer(t, w.bob), data)
		})
	}
}
