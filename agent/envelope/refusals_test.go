package envelope_test

import (
	"bytes"
	"crypto/ecdh"
	"encoding/hex"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/didcomm-go/didcomm/agent/envelope"
)

// lowOrder are the X25519 public keys of low order, among them those that are
// not reduced: https://cr.yp.to/ecdh.html#validate.
var lowOrder = []string{
	"0000000000000000000000000000000000000000000000000000000000000000",
	"0100000000000000000000000000000000000000000000000000000000000000",
	"e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
	"5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
	"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	// The same with the bit that RFC 7748, section 5, has masked.
	"0000000000000000000000000000000000000000000000000000000000000080",
	"0100000000000000000000000000000000000000000000000000000000000080",
	"e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b880",
	"5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f11d7",
	"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
	"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
	"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
}

// refusal is an envelope that Unpack must not open.
type refusal struct {
	name string
	data []byte
	want error
	asks []string // DIDs that may be resolved before the refusal
}

// checkRefused demands the error, no result, and that nobody else's DID was
// resolved on the way.
func checkRefused(t *testing.T, w *world, p *envelope.Packer, tests []refusal) {
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w.took()
			err := refused(t, p, tt.data, tt.want)
			if asked := w.took(); !slices.Equal(asked, tt.asks) {
				t.Errorf("resolved %v, want %v", asked, tt.asks)
			}
			if tt.want == envelope.ErrDecrypt && err.Error() != "cannot decrypt" {
				t.Errorf("the error says too much: %v", err)
			}
		})
	}
}

func mapOf(v any) map[string]any { return v.(map[string]any) }

func firstRecipient(env map[string]any) map[string]any {
	return mapOf(env["recipients"].([]any)[0])
}

// flip changes the first byte of a base64url member.
func flip(t testing.TB, in map[string]any, name string) {
	b := member64(t, in, name)
	b[0] ^= 1
	in[name] = b64.EncodeToString(b)
}

func TestRefuseJWE(t *testing.T) {
	w := newWorld(t)
	bob := w.packer(t, w.bob)
	plaintext := text(t, w.alice, []*agent{w.bob}, nil)
	anon := func(change func(*peerJWE)) []byte {
		p := peerJWE{plaintext: plaintext, to: []peerRecipient{w.bob.recipient("x25519")}}
		if change != nil {
			change(&p)
		}
		return p.seal(t)
	}
	auth := func(change func(*peerJWE)) []byte {
		return anon(func(p *peerJWE) {
			p.from = w.alice.sender("x25519")
			if change != nil {
				change(p)
			}
		})
	}
	header := func(f func(h map[string]any)) func(*peerJWE) { return func(p *peerJWE) { p.header = f } }
	member := func(f func(env map[string]any)) func(*peerJWE) { return func(p *peerJWE) { p.envelope = f } }
	set := func(name string, v any) func(*peerJWE) { return header(func(h map[string]any) { h[name] = v }) }
	unprotected := func(name string, v any) func(*peerJWE) {
		return member(func(env map[string]any) { env["unprotected"] = map[string]any{name: v} })
	}
	ofRecipient := func(name string, v any) func(*peerJWE) {
		return member(func(env map[string]any) { mapOf(firstRecipient(env)["header"])[name] = v })
	}
	deep := deepJSON(100)
	p256 := func(p *peerJWE) { p.to = []peerRecipient{w.bob.recipient("p256")} }
	off := func(v any) any {
		jwk := mapOf(v)
		jwk["x"], jwk["y"] = jwk["y"], jwk["x"]
		return jwk
	}
	raw := anon(nil)
	twice := func(name string) []byte {
		return bytes.Replace(raw, []byte(`"`+name+`":`), []byte(`"`+name+`":"AA","`+name+`":`), 1)
	}
	alice := []string{aliceDID}

	tests := []refusal{
		{"empty", nil, envelope.ErrMalformed, nil},
		{"blank", []byte(" \n"), envelope.ErrMalformed, nil},
		{"no JSON", []byte("hello"), envelope.ErrMalformed, nil},
		{"array", []byte("[]"), envelope.ErrMalformed, nil},
		{"truncated", raw[:len(raw)/2], envelope.ErrMalformed, nil},
		{"trailing data", append(bytes.Clone(raw), "{}"...), envelope.ErrMalformed, nil},
		{"compact of four parts", []byte("a.b.c.d"), envelope.ErrMalformed, nil},
		{"compact of five empty parts", []byte("...."), envelope.ErrMalformed, nil},
		{"too deep", anon(member(func(env map[string]any) { env["x"] = deep })), envelope.ErrTooDeep, nil},
		{"too deep in protected", anon(set("x", deep)), envelope.ErrTooDeep, nil},
		{"too deep in a compact JWE", anon(func(p *peerJWE) { p.form = "compact"; set("x", deep)(p) }), envelope.ErrTooDeep, nil},
		{"duplicate member", twice("tag"), envelope.ErrDuplicateName, nil},
		{"duplicate in a recipient", twice("kid"), envelope.ErrDuplicateName, nil},
		{"duplicate in protected", anon(func(p *peerJWE) {
			p.envelope = func(env map[string]any) {
				h := bytes.Replace(member64(t, env, "protected"), []byte(`"enc":`), []byte(`"enc":"A256GCM","enc":`), 1)
				env["protected"] = b64.EncodeToString(h)
			}
		}), envelope.ErrDuplicateName, nil},
		{"duplicate in protected by an escape", anon(func(p *peerJWE) {
			p.envelope = func(env map[string]any) {
				h := bytes.Replace(member64(t, env, "protected"), []byte(`"enc":`), []byte(`"\u0065nc":"A256GCM","enc":`), 1)
				env["protected"] = b64.EncodeToString(h)
			}
		}), envelope.ErrDuplicateName, nil},
		{"duplicate in epk", anon(func(p *peerJWE) {
			p.epkJWK = func(any) any { return `{"kty":"OKP","crv":"X25519","x":"AA","x":"AA"}` }
		}), envelope.ErrDuplicateName, nil},

		{"alg in unprotected", anon(unprotected("alg", "ECDH-ES+A256KW")), envelope.ErrUnprotectedAlg, nil},
		{"alg per recipient", anon(ofRecipient("alg", "ECDH-ES+A256KW")), envelope.ErrUnprotectedAlg, nil},
		{"enc in unprotected", anon(unprotected("enc", "A256GCM")), envelope.ErrUnprotectedAlg, nil},
		{"alg unknown", anon(set("alg", "ECDH-ES+A128KW")), envelope.ErrUnsupportedAlg, nil},
		{"alg of did-jwt", anon(set("alg", "ECDH-1PU+XC20PKW")), envelope.ErrUnsupportedAlg, nil},
		{"alg dir", anon(set("alg", "dir")), envelope.ErrUnsupportedAlg, nil},
		{"alg in other case", anon(set("alg", "ecdh-es+a256kw")), envelope.ErrUnsupportedAlg, nil},
		{"enc unknown", anon(func(p *peerJWE) { p.enc = "A256CBC" }), envelope.ErrUnsupportedAlg, nil},
		{"authcrypt with A256GCM", auth(func(p *peerJWE) { p.enc = "A256GCM" }), envelope.ErrUnsupportedAlg, nil},
		{"authcrypt with XC20P", auth(func(p *peerJWE) { p.enc = "XC20P" }), envelope.ErrUnsupportedAlg, nil},
		{"zip", anon(set("zip", "DEF")), envelope.ErrCompressed, nil},
		{"zip in unprotected", anon(unprotected("zip", "DEF")), envelope.ErrCompressed, nil},
		{"crit", anon(set("crit", []string{"exp"})), envelope.ErrCritical, nil},
		{"crit in unprotected", anon(unprotected("crit", []string{"exp"})), envelope.ErrCritical, nil},
		{"crit per recipient", anon(ofRecipient("crit", []string{"exp"})), envelope.ErrCritical, nil},

		{"apu is not skid", auth(set("skid", w.carol.kid("x25519"))), envelope.ErrHeaderConflict, nil},
		{"neither apu nor skid", auth(header(func(h map[string]any) { delete(h, "skid"); delete(h, "apu") })), envelope.ErrMalformed, nil},
		{"skid without fragment", auth(func(p *peerJWE) { p.from = &peerSender{aliceDID, w.alice.ecdh["x25519"]} }), envelope.ErrMalformed, nil},
		{"skid relative", auth(func(p *peerJWE) { p.from = &peerSender{"#x25519", w.alice.ecdh["x25519"]} }), envelope.ErrMalformed, nil},
		{"skid no DID", auth(func(p *peerJWE) { p.from = &peerSender{"https://example.com/#x25519", w.alice.ecdh["x25519"]} }), envelope.ErrMalformed, nil},
		{"apu no text", auth(header(func(h map[string]any) { delete(h, "skid"); h["apu"] = "_w" })), envelope.ErrMalformed, nil},
		{"epk protected and per recipient", anon(ofRecipient("epk", publicJWK(w.eve.ecdh["x25519"].PublicKey()))), envelope.ErrHeaderConflict, nil},
		{"epk missing", anon(header(func(h map[string]any) { delete(h, "epk") })), envelope.ErrMalformed, nil},
		{"epk null", anon(set("epk", nil)), envelope.ErrMalformed, nil},
		{"kid missing", anon(func(p *peerJWE) { p.to[0].kid = "" }), envelope.ErrMalformed, nil},
		{"kid of nobody here", anon(func(p *peerJWE) { p.to = []peerRecipient{w.eve.recipient("x25519")} }), envelope.ErrNoKey, nil},
		{"kids of nobody here", anon(func(p *peerJWE) { p.to = []peerRecipient{w.eve.recipient("x25519"), w.carol.recipient("x25519")} }), envelope.ErrNoKey, nil},
		{"kid that our document lacks", anon(func(p *peerJWE) { p.to[0].kid = bobDID + "#none" }), envelope.ErrNoKey, []string{bobDID}},

		{"epk off the curve", anon(func(p *peerJWE) { p256(p); p.epkJWK = off }), envelope.ErrInvalidPoint, nil},
		{"epk off the curve per recipient", anon(func(p *peerJWE) { p256(p); p.epkJWK, p.epkEach = off, true }), envelope.ErrInvalidPoint, nil},
		{"epk off the curve authcrypt", auth(func(p *peerJWE) { p256(p); p.from, p.epkJWK = w.alice.sender("p256"), off }), envelope.ErrInvalidPoint, nil},
		{"epk of another curve", anon(set("epk", publicJWK(w.eve.ecdh["p256"].PublicKey()))), envelope.ErrInvalidPoint, nil},
		{"sender's key of another curve", auth(func(p *peerJWE) {
			p.header = func(h map[string]any) {
				h["skid"], h["apu"] = w.alice.kid("p256"), b64.EncodeToString([]byte(w.alice.kid("p256")))
			}
		}), envelope.ErrInvalidPoint, alice},

		{"sender unknown to its DID", auth(func(p *peerJWE) { p.from = &peerSender{aliceDID + "#none", w.eve.ecdh["x25519"]} }), envelope.ErrSenderMismatch, alice},
		{"sender's key for signatures", auth(func(p *peerJWE) { p.from = &peerSender{w.alice.kid("ed25519"), w.eve.ecdh["x25519"]} }), envelope.ErrSenderMismatch, alice},

		{"another sender's key", auth(func(p *peerJWE) { p.from = &peerSender{w.alice.kid("x25519"), w.eve.ecdh["x25519"]} }), envelope.ErrDecrypt, alice},
		{"another recipient's key", anon(func(p *peerJWE) { p.to[0].key = w.eve.ecdh["x25519"].PublicKey() }), envelope.ErrDecrypt, nil},
		{"ECDH-1PU draft-03", auth(func(p *peerJWE) { p.kdf = "draft-03" }), envelope.ErrDecrypt, alice},
		{"ECDH-1PU without the tag's length", auth(func(p *peerJWE) { p.kdf = "no length prefix" }), envelope.ErrDecrypt, alice},
		{"protected re-encoded", anon(member(func(env map[string]any) {
			env["protected"] = b64.EncodeToString(append(member64(t, env, "protected"), ' '))
		})), envelope.ErrDecrypt, nil},
		{"encrypted_key too short", anon(member(func(env map[string]any) { firstRecipient(env)["encrypted_key"] = "AAAA" })), envelope.ErrDecrypt, nil},
		{"encrypted_key too long", anon(member(func(env map[string]any) {
			firstRecipient(env)["encrypted_key"] = strings.Repeat("A", 1000)
		})), envelope.ErrDecrypt, nil},
		{"encrypted_key no base64", anon(member(func(env map[string]any) { firstRecipient(env)["encrypted_key"] = "!!!!" })), envelope.ErrDecrypt, nil},
		{"ciphertext no base64", anon(member(func(env map[string]any) { env["ciphertext"] = "!" + env["ciphertext"].(string)[1:] })), envelope.ErrDecrypt, nil},
		{"ciphertext empty", anon(member(func(env map[string]any) { env["ciphertext"] = "" })), envelope.ErrDecrypt, nil},
		{"aad added", anon(member(func(env map[string]any) { env["aad"] = "AA" })), envelope.ErrDecrypt, nil},
	}
	for _, name := range []string{"iv", "ciphertext", "tag"} {
		for i, data := range [][]byte{anon(member(func(env map[string]any) { flip(t, env, name) })), auth(member(func(env map[string]any) { flip(t, env, name) }))} {
			tests = append(tests, refusal{name + " changed", data, envelope.ErrDecrypt, alice[:i]})
		}
	}
	for _, enc := range []string{"A256CBC-HS512", "A256GCM", "XC20P"} {
		tests = append(tests, refusal{"encrypted_key changed " + enc, anon(func(p *peerJWE) {
			p.enc = enc
			p.envelope = func(env map[string]any) { flip(t, firstRecipient(env), "encrypted_key") }
		}), envelope.ErrDecrypt, nil})
	}
	for _, point := range lowOrder {
		x, err := hex.DecodeString(point)
		if err != nil {
			t.Fatal(err)
		}
		low := func(any) any { return map[string]any{"kty": "OKP", "crv": "X25519", "x": b64.EncodeToString(x)} }
		tests = append(tests,
			refusal{"low-order epk " + point[:8] + point[62:], anon(func(p *peerJWE) { p.epkJWK = low }), envelope.ErrLowOrderPoint, nil},
			refusal{"low-order epk authcrypt " + point[:8] + point[62:], auth(func(p *peerJWE) { p.epkJWK = low }), envelope.ErrLowOrderPoint, alice},
			refusal{"low-order epk per recipient " + point[:8] + point[62:], anon(func(p *peerJWE) { p.epkJWK, p.epkEach = low, true }), envelope.ErrLowOrderPoint, nil})
	}
	checkRefused(t, w, bob, tests)
}

// TestLowOrderSender has a DID document that lists a low-order key.
func TestLowOrderSender(t *testing.T) {
	w := newWorld(t)
	for _, point := range lowOrder {
		x, err := hex.DecodeString(point)
		if err != nil {
			t.Fatal(err)
		}
		key, err := ecdh.X25519().NewPublicKey(x)
		if err != nil {
			t.Fatal(err)
		}
		evil := newAgent(t, "did:example:evil", "x25519")
		evil.doc.VerificationMethod[0].PublicKeyJWK = toJSON(t, publicJWK(key))
		evil.index(t)
		w.add(evil)
		data := peerJWE{plaintext: text(t, evil, nil, nil), from: evil.sender("x25519"), to: []peerRecipient{w.bob.recipient("x25519")}}.seal(t)
		refused(t, w.packer(t, w.bob), data, envelope.ErrLowOrderPoint)
		m := newMessage(t, w.alice, evil)
		if sealed, err := w.packer(t, w.alice).Pack(t.Context(), m, envelope.From(aliceDID)); !errors.Is(err, envelope.ErrLowOrderPoint) || sealed != nil {
			t.Errorf("packed for %s: %v", point, err)
		}
	}
}

// TestLimits holds each limit of Config at its value and one above it.
func TestLimits(t *testing.T) {
	w := newWorld(t)
	deep := func(n int) map[string]any { return map[string]any{"x": deepJSON(n - 1)} }
	anon := func(recipients int, plaintext []byte) []byte {
		p := peerJWE{plaintext: plaintext}
		for len(p.to) < recipients {
			p.to = append(p.to, w.bob.recipient("x25519"))
		}
		return p.seal(t)
	}
	signed := func(n int, plaintext []byte) []byte {
		p := peerJWS{payload: plaintext}
		for range n {
			p.signers = append(p.signers, w.alice.signer("ed25519"))
		}
		return p.seal(t)
	}
	plaintext := text(t, w.alice, nil, nil)
	tests := []struct {
		name string
		set  func(*envelope.Config)
		fits []byte
		over []byte
		want error
	}{
		{"recipients", func(c *envelope.Config) { c.MaxRecipients = 3 }, anon(3, plaintext), anon(4, plaintext), envelope.ErrTooManyRecipients},
		{"default recipients", func(*envelope.Config) {}, anon(100, plaintext), anon(101, plaintext), envelope.ErrTooManyRecipients},
		{"signatures", func(c *envelope.Config) { c.MaxSignatures = 2 }, signed(2, plaintext), signed(3, plaintext), envelope.ErrTooManySignatures},
		{"default signatures", func(*envelope.Config) {}, signed(5, plaintext), signed(6, plaintext), envelope.ErrTooManySignatures},
		{"bytes", func(c *envelope.Config) { c.MaxBytes = len(plaintext) }, plaintext, append(plaintext, ' '), envelope.ErrTooLarge},
		{"depth of a message", func(c *envelope.Config) { c.MaxDepth = 10 }, text(t, nil, nil, deep(10)), text(t, nil, nil, deep(11)), envelope.ErrTooDeep},
		{"depth of a signed message", func(c *envelope.Config) { c.MaxDepth = 10 },
			signed(1, text(t, w.alice, nil, deep(10))), signed(1, text(t, w.alice, nil, deep(11))), envelope.ErrTooDeep},
		{"depth of an encrypted message", func(c *envelope.Config) { c.MaxDepth = 10 },
			anon(1, text(t, nil, nil, deep(10))), anon(1, text(t, nil, nil, deep(11))), envelope.ErrTooDeep},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := w.packer(t, w.bob, tt.set)
			unpack(t, p, tt.fits)
			w.took()
			refused(t, p, tt.over, tt.want)
			if asked := w.took(); asked != nil {
				t.Errorf("resolved %v before the limit was checked", asked)
			}
		})
	}
	many := w.packer(t, w.alice, func(c *envelope.Config) { c.MaxRecipients = 1 })
	w.bob.add(t, "x25519-2")
	if _, err := many.Pack(t.Context(), newMessage(t, nil, w.bob)); !errors.Is(err, envelope.ErrTooManyRecipients) {
		t.Errorf("packed for more keys than the limit: %v", err)
	}
}

// TestRefuseMessage has envelopes in order around messages that are not.
func TestRefuseMessage(t *testing.T) {
	w := newWorld(t)
	duplicate := append([]byte(`{"id":"0",`), text(t, w.alice, nil, nil)[1:]...)
	for _, tt := range []struct {
		name string
		text []byte
		want error
	}{
		{"duplicate name", duplicate, envelope.ErrDuplicateName},
		{"no id", text(t, w.alice, nil, map[string]any{"id": nil}), envelope.ErrMalformed},
		{"no type", text(t, w.alice, nil, map[string]any{"type": nil}), envelope.ErrMalformed},
		{"empty", nil, envelope.ErrMalformed},
		{"no JSON", []byte("{"), envelope.ErrMalformed},
		{"escapes", text(t, w.alice, nil, map[string]any{"x": json.RawMessage("\"\\u00e9\"")}), nil},
		{"invalid UTF-8", bytes.Replace(text(t, w.alice, nil, nil), []byte("hello"), []byte("h\xffllo"), 1), envelope.ErrMalformed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			forms := [][]byte{
				peerJWS{payload: tt.text, signers: []peerSigner{w.alice.signer("ed25519")}}.seal(t),
				peerJWE{plaintext: tt.text, to: []peerRecipient{w.bob.recipient("x25519")}}.seal(t),
			}
			if tt.text != nil {
				forms = append(forms, tt.text)
			}
			for _, data := range forms {
				if tt.want == nil {
					unpack(t, w.packer(t, w.bob), data)
				} else {
					refused(t, w.packer(t, w.bob), data, tt.want)
				}
			}
		})
	}
}

// TestErrorLength: however much a stranger writes, an error, which goes to a log,
// stays short.
func TestErrorLength(t *testing.T) {
	const most = 2000
	w := newWorld(t)
	bob := w.packer(t, w.bob)
	long := strings.Repeat("a", 100_000)
	from := func(change func(*peerJWE)) []byte {
		p := peerJWE{plaintext: text(t, w.alice, []*agent{w.bob}, nil), from: w.alice.sender("x25519"), to: []peerRecipient{w.bob.recipient("x25519")}}
		change(&p)
		return p.seal(t)
	}
	set := func(name string, v any) []byte {
		return from(func(p *peerJWE) { p.header = func(h map[string]any) { h[name] = v } })
	}
	sender := func(kid string) []byte {
		return from(func(p *peerJWE) { p.from = &peerSender{kid, w.alice.ecdh["x25519"]} })
	}
	recipient := func(kid string) []byte { return from(func(p *peerJWE) { p.to[0].kid = kid }) }
	message := func(set map[string]any) []byte {
		return from(func(p *peerJWE) { p.plaintext = text(t, w.alice, []*agent{w.bob}, set) })
	}
	sign := func(kid, alg string, set map[string]any) []byte {
		s := peerSigner{kid: kid, key: w.alice.sign["ed25519"], protected: func(h map[string]any) { h["alg"] = alg }}
		return peerJWS{payload: text(t, w.alice, nil, set), signers: []peerSigner{s}}.seal(t)
	}
	epk := func(name string) []byte {
		jwk := publicJWK(w.eve.ecdh["p256"].PublicKey())
		jwk[name] = long
		return set("epk", jwk)
	}
	for name, data := range map[string][]byte{
		"alg":                   set("alg", long),
		"enc":                   set("enc", long),
		"typ a number":          set("typ", json.RawMessage("1"+strings.Repeat("0", 100_000))),
		"skid":                  sender(long),
		"skid of a method":      sender("did:" + long + ":x#k"),
		"skid of a DID":         sender("did:example:" + long + "#k"),
		"skid of a fragment":    sender(aliceDID + "#" + long),
		"apu":                   set("apu", long),
		"kid":                   recipient(long),
		"kid of ours":           recipient(bobDID + "#" + long),
		"epk curve":             epk("crv"),
		"epk kty":               epk("kty"),
		"epk x":                 epk("x"),
		"member, then no JSON":  []byte(`{"ciphertext":"","` + long + `":{"` + long + `":x}}`),
		"member twice":          []byte(`{"ciphertext":"","` + long + `":1,"` + long + `":2}`),
		"message from":          message(map[string]any{"from": "did:example:" + long}),
		"message to":            message(map[string]any{"to": []string{"did:example:" + long}}),
		"message type":          message(map[string]any{"type": long}),
		"message time":          message(map[string]any{"created_time": long}),
		"message member":        message(map[string]any{"body": map[string]any{long: json.RawMessage(`{"a":1,"a":2}`)}}),
		"message from_prior":    message(map[string]any{"from_prior": long}),
		"from_prior of parts":   message(map[string]any{"from_prior": "e30." + strings.Repeat("a", 50_000) + ".AA"}),
		"signer":                sign(long, "EdDSA", nil),
		"signer of a fragment":  sign(aliceDID+"#"+long, "EdDSA", nil),
		"signer of a DID":       sign("did:example:"+long+"#k", "EdDSA", map[string]any{"from": "did:example:" + long}),
		"signer of a method":    sign("did:"+long+":x#k", "EdDSA", map[string]any{"from": "did:" + long + ":x"}),
		"signer, another from":  sign(aliceDID+"#ed25519", "EdDSA", map[string]any{"from": "did:example:" + long}),
		"signature alg":         sign(aliceDID+"#ed25519", long, nil),
		"neither JSON nor JOSE": []byte(long),
	} {
		u, err := bob.Unpack(t.Context(), data)
		if err == nil {
			t.Errorf("%s: opened: %+v", name, u.Metadata)
		} else if n := len(err.Error()); n > most {
			t.Errorf("%s: an error of %d bytes: %.300s", name, n, err)
		}
	}
}
