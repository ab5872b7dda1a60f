package envelope_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/did"
)

// TestFromPrior rotates Alice to Carol's DID, by each algorithm.
func TestFromPrior(t *testing.T) {
	w := newWorld(t)
	alice, bob := w.packer(t, w.alice), w.packer(t, w.bob, strict)
	at := now.Add(-time.Hour)
	for _, name := range signerNames {
		jwt, err := alice.FromPrior(t.Context(), w.alice.kid(name), w.carol.did, at)
		if err != nil {
			t.Fatal(err)
		}
		m := newMessage(t, w.carol, w.bob)
		m.FromPrior = jwt
		u := unpack(t, bob, pack1(t, w.packer(t, w.carol), m, envelope.From(w.carol.did)).Data)
		if u.Metadata.FromPriorIssuerKID != w.alice.kid(name) || *u.Metadata.FromPrior != (envelope.FromPrior{Iss: aliceDID, Sub: w.carol.did, IssuedAt: at}) {
			t.Errorf("%s: metadata %+v", name, u.Metadata.FromPrior)
		}
	}
	t.Run("written", func(t *testing.T) {
		jwt, err := alice.FromPrior(t.Context(), aliceDID, w.carol.did, at)
		if err != nil {
			t.Fatal(err)
		}
		parts := strings.Split(jwt, ".")
		if len(parts) != 3 {
			t.Fatalf("JWT of %d parts", len(parts))
		}
		for i, want := range []string{
			`{"typ":"JWT","alg":"EdDSA","kid":"did:example:alice#ed25519"}`,
			`{"iss":"did:example:alice","sub":"did:example:carol","iat":1795345200}`,
		} {
			text, err := b64.DecodeString(parts[i])
			if err != nil {
				t.Fatal(err)
			}
			got, want := values(t, text), values(t, []byte(want))
			if string(toJSON(t, got)) != string(toJSON(t, want)) {
				t.Errorf("part %d: %v, want %v", i, got, want)
			}
		}
	})
	t.Run("end of a relationship", func(t *testing.T) {
		jwt, err := alice.FromPrior(t.Context(), aliceDID, "", at)
		if err != nil {
			t.Fatal(err)
		}
		m := newMessage(t, nil, w.bob)
		m.FromPrior = jwt
		u := unpack(t, bob, pack1(t, alice, m).Data)
		if *u.Metadata.FromPrior != (envelope.FromPrior{Iss: aliceDID, IssuedAt: at}) {
			t.Errorf("from_prior %+v", u.Metadata.FromPrior)
		}
	})
	for _, tt := range []struct {
		name, prior, sub string
		want             error
	}{
		{"rotation to itself", aliceDID, aliceDID, envelope.ErrFromPrior},
		{"new DID that is none", aliceDID, "carol", envelope.ErrFromPrior},
		{"new DID with a fragment", aliceDID, w.carol.kid("ed25519"), envelope.ErrFromPrior},
		{"another's key", w.bob.did, w.carol.did, envelope.ErrNoKey},
		{"key for key agreement", w.alice.kid("x25519"), w.carol.did, envelope.ErrNoKey},
		{"unknown DID", "did:example:nobody", w.carol.did, did.ErrNotFound},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if jwt, err := alice.FromPrior(t.Context(), tt.prior, tt.sub, now); !errors.Is(err, tt.want) || jwt != "" {
				t.Errorf("got %q, %v; want %v", jwt, err, tt.want)
			}
		})
	}
}

// TestFromPriorRefused has rotations that prove nothing.
func TestFromPriorRefused(t *testing.T) {
	w := newWorld(t)
	bob := w.packer(t, w.bob)
	claims := func(set map[string]any) []byte {
		c := map[string]any{"iss": aliceDID, "sub": w.carol.did, "iat": now.Unix()}
		for name, v := range set {
			if c[name] = v; v == nil {
				delete(c, name)
			}
		}
		return toJSON(t, c)
	}
	good := claims(nil)
	jwt := func(payload []byte, change ...func(*peerJWS)) string {
		p := peerJWS{payload: payload, form: "compact", signers: []peerSigner{w.alice.signer("ed25519")}}
		p.signers[0].protected = func(h map[string]any) { h["typ"] = "JWT" }
		for _, f := range change {
			f(&p)
		}
		return string(p.seal(t))
	}
	header := func(name string, v any) func(*peerJWS) {
		return func(p *peerJWS) {
			p.signers[0].protected = func(h map[string]any) {
				if h[name] = v; v == nil {
					delete(h, name)
				}
			}
		}
	}
	signer := func(s peerSigner) func(*peerJWS) { return func(p *peerJWS) { p.signers[0] = s } }
	seal := func(token string, set map[string]any) []byte {
		all := map[string]any{"from_prior": token}
		for name, v := range set {
			all[name] = v
		}
		p := peerJWE{plaintext: text(t, w.carol, []*agent{w.bob}, all), to: []peerRecipient{w.bob.recipient("x25519")}}
		if set == nil {
			p.from = w.carol.sender("x25519")
		}
		return p.seal(t)
	}
	w.alice.add(t, "ed25519-2")
	w.alice.doc.Authentication = w.alice.doc.Authentication[:len(w.alice.doc.Authentication)-1]
	w.alice.doc.AssertionMethod = []did.Relationship{{ID: w.alice.kid("ed25519-2")}}
	w.alice.index(t)
	sender := []string{w.carol.did} // of authcrypt
	both := []string{w.carol.did, aliceDID}

	for _, tt := range []struct {
		name     string
		data     []byte
		issuedAt time.Time
	}{
		{"as it should be", seal(jwt(good), nil), now},
		{"typ missing", seal(jwt(good, header("typ", nil)), nil), now},
		{"iat missing", seal(jwt(claims(map[string]any{"iat": nil})), nil), time.Time{}},
		{"iat with a fraction", seal(jwt(claims(map[string]any{"iat": float64(now.Unix()) + 0.75})), nil), now},
		{"in anoncrypt", seal(jwt(good), map[string]any{"x": 1}), now},
		{"exp to come", seal(jwt(claims(map[string]any{"exp": now.Add(time.Hour).Unix()})), nil), now},
		{"clock somewhat ahead", seal(jwt(claims(map[string]any{"iat": now.Add(time.Minute).Unix()})), nil), now.Add(time.Minute)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			u := unpack(t, bob, tt.data)
			want := envelope.FromPrior{Iss: aliceDID, Sub: w.carol.did, IssuedAt: tt.issuedAt}
			if got := u.Metadata.FromPrior; got == nil || *got != want || u.Metadata.FromPriorIssuerKID != w.alice.kid("ed25519") {
				t.Errorf("metadata %+v, from_prior %+v, want %+v", u.Metadata, got, want)
			}
		})
	}
	t.Run("JWT with padding", func(t *testing.T) {
		padded := jwt(claims(map[string]any{"x": "12"}), func(p *peerJWS) { p.pad = true })
		if !strings.HasSuffix(padded, "=") {
			t.Fatal("no padding")
		}
		check(t, bob, w.packer(t, w.bob, strict), []received{{"", seal(padded, nil), codeList{envelope.DeviationPadding}}})
	})

	general := peerJWS{payload: good, signers: []peerSigner{w.alice.signer("ed25519")}}
	general.signers[0].kidIn = "protected"
	checkRefused(t, w, bob, []refusal{
		{"signed by another", seal(jwt(good, signer(peerSigner{kid: w.alice.kid("ed25519"), key: w.eve.sign["ed25519"]})), nil), envelope.ErrFromPrior, both},
		{"signed by another", seal(jwt(good, signer(peerSigner{kid: w.alice.kid("ed25519"), key: w.eve.sign["ed25519"]})), nil), envelope.ErrSignature, both},
		{"kid of another", seal(jwt(good, signer(w.eve.signer("ed25519"))), nil), envelope.ErrFromPrior, sender},
		{"kid of the new DID", seal(jwt(good, signer(w.carol.signer("ed25519"))), nil), envelope.ErrFromPrior, sender},
		{"kid missing", seal(jwt(good, header("kid", nil)), nil), envelope.ErrFromPrior, sender},
		{"kid a bare DID", seal(jwt(good, header("kid", aliceDID)), nil), envelope.ErrFromPrior, both},
		{"kid unknown", seal(jwt(good, header("kid", aliceDID+"#none")), nil), envelope.ErrFromPrior, both},
		{"key for assertions", seal(jwt(good, signer(w.alice.signer("ed25519-2"))), nil), envelope.ErrFromPrior, both},
		{"prior DID unknown", seal(jwt(claims(map[string]any{"iss": "did:example:nobody"}), header("kid", "did:example:nobody#1")), nil), envelope.ErrFromPrior,
			[]string{w.carol.did, "did:example:nobody"}},
		{"alg none", seal(jwt(good, header("alg", "none")), nil), envelope.ErrFromPrior, both},
		{"crit", seal(jwt(good, header("crit", []string{"exp"})), nil), envelope.ErrFromPrior, sender},
		{"iss of another", seal(jwt(claims(map[string]any{"iss": w.eve.did})), nil), envelope.ErrFromPrior, sender},
		{"iss missing", seal(jwt(claims(map[string]any{"iss": nil})), nil), envelope.ErrFromPrior, sender},
		{"iss a DID URL", seal(jwt(claims(map[string]any{"iss": w.alice.kid("ed25519")})), nil), envelope.ErrFromPrior, sender},
		{"sub of another", seal(jwt(claims(map[string]any{"sub": w.eve.did})), nil), envelope.ErrFromPrior, sender},
		{"sub a DID URL", seal(jwt(claims(map[string]any{"sub": w.carol.kid("ed25519")})), nil), envelope.ErrFromPrior, sender},
		{"sub missing", seal(jwt(claims(map[string]any{"sub": nil})), nil), envelope.ErrFromPrior, sender},
		{"sub without from", seal(jwt(good), map[string]any{"from": nil}), envelope.ErrFromPrior, nil},
		{"rotation to itself", peerJWE{
			plaintext: text(t, w.alice, nil, map[string]any{"from_prior": jwt(claims(map[string]any{"sub": aliceDID}))}),
			from:      w.alice.sender("x25519"), to: []peerRecipient{w.bob.recipient("x25519")},
		}.seal(t), envelope.ErrFromPrior, []string{aliceDID}},
		{"expired", seal(jwt(claims(map[string]any{"exp": now.Add(-time.Hour).Unix()})), nil), envelope.ErrFromPrior, sender},
		{"not yet", seal(jwt(claims(map[string]any{"nbf": now.Add(time.Hour).Unix()})), nil), envelope.ErrFromPrior, sender},
		{"issued tomorrow", seal(jwt(claims(map[string]any{"iat": now.Add(24 * time.Hour).Unix()})), nil), envelope.ErrFromPrior, sender},
		{"claims in a JWT", seal(jwt([]byte(jwt(good))), nil), envelope.ErrFromPrior, sender},
		{"claims no object", seal(jwt([]byte("[]")), nil), envelope.ErrFromPrior, sender},
		{"claims duplicate", seal(jwt([]byte(`{"iss":"did:example:eve","iss":"`+aliceDID+`","sub":"`+w.carol.did+`"}`)), nil), envelope.ErrFromPrior, sender},
		{"claims too deep", seal(jwt(claims(map[string]any{"x": deepJSON(5000)})), nil), envelope.ErrTooDeep, sender},
		{"JSON serialization", seal(string(general.seal(t)), nil), envelope.ErrFromPrior, sender},
		{"no JWT", seal("hello", nil), envelope.ErrFromPrior, sender},
		{"too large", seal(jwt(claims(map[string]any{"x": strings.Repeat("x", 70_000)})), nil), envelope.ErrFromPrior, sender},
		{"not encrypted", text(t, w.carol, nil, map[string]any{"from_prior": jwt(good)}), envelope.ErrFromPrior, nil},
		{"signed, not encrypted", peerJWS{payload: text(t, w.carol, nil, map[string]any{"from_prior": jwt(good)}), signers: []peerSigner{w.carol.signer("ed25519")}}.seal(t),
			envelope.ErrFromPrior, sender},
	})
}

// TestFromPriorLinksSender has messages that are authcrypted by the DID which from_prior
// leaves, and from the DID which it rotates to. Eve attacks.
func TestFromPriorLinksSender(t *testing.T) {
	w := newWorld(t)
	bob := w.packer(t, w.bob)
	w.eve.add(t, "x25519-2")
	w.eve.doc.KeyAgreement = w.eve.doc.KeyAgreement[:len(w.eve.doc.KeyAgreement)-1]
	w.eve.index(t)
	type set = map[string]any
	token := func(signer peerSigner, iss, sub string, change set) string {
		claims := set{"iss": iss, "sub": sub, "iat": now.Unix()}
		for name, v := range change {
			if claims[name] = v; v == nil {
				delete(claims, name)
			}
		}
		p := peerJWS{payload: toJSON(t, claims), form: "compact", signers: []peerSigner{signer}}
		p.signers[0].protected = func(h set) { h["typ"] = "JWT" }
		return string(p.seal(t))
	}
	relative := func(a *agent, kid string) peerSigner { return peerSigner{kid: kid, key: a.sign["ed25519"]} }
	seal := func(by, from *agent, fromPrior string) []byte {
		return peerJWE{
			plaintext: text(t, from, []*agent{w.bob}, set{"from_prior": fromPrior}),
			from:      by.sender("x25519"), to: []peerRecipient{w.bob.recipient("x25519")},
		}.seal(t)
	}
	alice, carol, eve := w.alice, w.carol, w.eve
	good := token(alice.signer("ed25519"), alice.did, carol.did, nil)
	attack := token(relative(eve, "#ed25519"), eve.did, carol.did, nil)

	check(t, bob, w.packer(t, w.bob, strict), []received{
		{"relative kid", seal(carol, carol, token(relative(alice, "#ed25519"), alice.did, carol.did, nil)), codeList{envelope.DeviationFromPriorKID}},
		{"sender of the prior DID", seal(alice, carol, good), codeList{envelope.DeviationFromPriorSender}},
		{"both", seal(alice, carol, token(relative(alice, "#ed25519"), alice.did, carol.did, nil)),
			codeList{envelope.DeviationFromPriorKID, envelope.DeviationFromPriorSender}},
		{"attacker names a victim as its new DID", seal(eve, carol, attack), codeList{envelope.DeviationFromPriorKID, envelope.DeviationFromPriorSender}},
	})
	u := unpack(t, bob, seal(eve, carol, attack))
	if u.Sender() != eve.did {
		t.Errorf("the message of the attacker is from %s", u.Sender())
	}
	if md := u.Metadata; md.EncryptedFromKID != eve.kid("x25519") || md.FromPrior.Iss != eve.did || md.FromPrior.Sub != carol.did {
		t.Errorf("the message of the attacker: %+v", md)
	}

	signed := peerJWS{payload: text(t, carol, []*agent{w.bob}, set{"from_prior": good}), signers: []peerSigner{carol.signer("ed25519")}}.seal(t)
	refusals := []refusal{
		{"from_prior of another rotation", seal(eve, carol, good), envelope.ErrSenderMismatch, []string{eve.did}},
		{"attacker in the name of a victim that rotates to the attacker", seal(eve, alice, token(alice.signer("ed25519"), alice.did, eve.did, nil)),
			envelope.ErrFromPrior, []string{eve.did}},
		{"iss of a victim, signed by the attacker", seal(eve, carol, token(relative(eve, "#ed25519"), alice.did, carol.did, nil)),
			envelope.ErrSenderMismatch, []string{eve.did}},
		{"iss of the attacker, signed by a victim", seal(eve, carol, token(alice.signer("ed25519"), eve.did, carol.did, nil)),
			envelope.ErrFromPrior, []string{eve.did}},
		{"signed by the new DID", seal(alice, carol, token(relative(carol, "#ed25519"), alice.did, carol.did, nil)),
			envelope.ErrSignature, []string{alice.did, alice.did}},
		{"sub is not from", seal(alice, eve, good), envelope.ErrFromPrior, []string{alice.did}},
		{"no sub", seal(alice, carol, token(alice.signer("ed25519"), alice.did, "", set{"sub": nil})), envelope.ErrFromPrior, []string{alice.did}},
		{"sub is iss", seal(eve, alice, token(alice.signer("ed25519"), alice.did, alice.did, nil)), envelope.ErrFromPrior, []string{eve.did}},
		{"no iss", seal(alice, carol, token(relative(alice, "#ed25519"), "", carol.did, set{"iss": nil})), envelope.ErrFromPrior, []string{alice.did}},
		{"iss is a key", seal(alice, carol, token(relative(alice, "#ed25519"), alice.kid("ed25519"), carol.did, nil)), envelope.ErrFromPrior, []string{alice.did}},
		{"a key for key agreement", seal(alice, carol, token(relative(alice, "#x25519"), alice.did, carol.did, nil)), envelope.ErrFromPrior, []string{alice.did, alice.did}},
		{"an empty fragment", seal(alice, carol, token(relative(alice, "#"), alice.did, carol.did, nil)), envelope.ErrFromPrior, []string{alice.did, alice.did}},
		{"a fragment of two", seal(alice, carol, token(relative(alice, "#a#ed25519"), alice.did, carol.did, nil)), envelope.ErrFromPrior, []string{alice.did, alice.did}},
		{"expired", seal(alice, carol, token(alice.signer("ed25519"), alice.did, carol.did, set{"exp": now.Add(-time.Hour).Unix()})), envelope.ErrFromPrior, []string{alice.did}},
		{"no from_prior", peerJWE{
			plaintext: text(t, carol, []*agent{w.bob}, nil), from: alice.sender("x25519"), to: []peerRecipient{w.bob.recipient("x25519")},
		}.seal(t), envelope.ErrSenderMismatch, []string{alice.did}},
		{"signed by the new DID, encrypted by the prior", peerJWE{
			plaintext: signed, from: alice.sender("x25519"), to: []peerRecipient{w.bob.recipient("x25519")},
		}.seal(t), envelope.ErrSenderMismatch, []string{alice.did, carol.did}},
	}
	checkRefused(t, w, bob, refusals)
	for _, r := range refusals {
		refused(t, bob, r.data, envelope.ErrSenderMismatch)
	}
}

// TestFromPriorIssuerUnresolved tells an issuer that cannot be resolved now from
// one that never will be.
func TestFromPriorIssuerUnresolved(t *testing.T) {
	w := newWorld(t)
	jwt, err := w.packer(t, w.alice).FromPrior(t.Context(), aliceDID, w.carol.did, now)
	if err != nil {
		t.Fatal(err)
	}
	m := newMessage(t, w.carol, w.bob)
	m.FromPrior = jwt
	data := pack1(t, w.packer(t, w.carol), m, envelope.From(w.carol.did)).Data
	delete(w.docs, aliceDID)
	down := errors.New("connection refused")
	for _, tt := range []struct {
		err   error
		final bool
	}{
		{did.ErrNotFound, true},
		{did.ErrInvalid, true},
		{did.ErrMethod, true},
		{did.ErrUnsupported, true},
		{down, false},
		{context.DeadlineExceeded, false},
	} {
		w.other = did.ResolverFunc(func(context.Context, string) (*did.Document, error) { return nil, tt.err })
		u, err := w.packer(t, w.bob).Unpack(t.Context(), data)
		if u != nil || !errors.Is(err, tt.err) || errors.Is(err, envelope.ErrFromPrior) != tt.final {
			t.Errorf("%v: got %v", tt.err, err)
		}
	}
}
