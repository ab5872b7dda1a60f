package envelope_test

import (
	"crypto/ecdh"
	"encoding/base64"
	"errors"
	"reflect"
	"slices"
	"testing"

	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/keyring"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/did"
	"github.com/didcomm-go/didcomm/did/didkey"
	"github.com/didcomm-go/didcomm/did/didpeer"
)

// received is an envelope of a peer and the deviations that Unpack must find.
type received struct {
	name string
	data []byte
	want []message.DeviationCode // if empty, strict mode opens the envelope, too
}

// check opens each envelope with p. The deviations must be exactly those wanted, and strict mode
// must refuse them.
func check(t *testing.T, p, strict *envelope.Packer, tests []received) {
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			u, err := p.Unpack(t.Context(), tt.data)
			if err != nil {
				t.Fatal(err)
			}
			if u.Message.ID != "1" || u.Message.Type != testType {
				t.Errorf("message %+v", u.Message)
			}
			slices.Sort(tt.want)
			if got := codes(u.Metadata.Deviations); !slices.Equal(got, tt.want) {
				t.Errorf("deviations %v, want %v", u.Metadata.Deviations, tt.want)
			}
			u, err = strict.Unpack(t.Context(), tt.data)
			if len(tt.want) == 0 {
				if err != nil {
					t.Errorf("strict: %v", err)
				}
				return
			}
			var deviates *envelope.DeviationError
			if !errors.As(err, &deviates) || u != nil {
				t.Fatalf("strict: got %v, %v; want a *DeviationError", u, err)
			}
			if len(deviates.Deviations) == 0 || !subset(codes(deviates.Deviations), tt.want) {
				t.Errorf("strict: deviations %v, want %v", deviates.Deviations, tt.want)
			}
		})
	}
}

func subset(some, all []message.DeviationCode) bool {
	return !slices.ContainsFunc(some, func(c message.DeviationCode) bool { return !slices.Contains(all, c) })
}

type codeList = []message.DeviationCode

// padMember writes a member of the JSON serialization with padding.
func padMember(t testing.TB, in map[string]any, name string) {
	t.Helper()
	b, err := b64.DecodeString(in[name].(string))
	if err != nil {
		t.Fatal(err)
	}
	padded := base64.URLEncoding.EncodeToString(b)
	if padded == in[name] {
		t.Fatalf("%s of %d bytes needs no padding", name, len(b))
	}
	in[name] = padded
}

// TestJWE holds each line of interop.md's table of JWEs, "receive".
func TestJWE(t *testing.T) {
	w := newWorld(t)
	w.alice.add(t, "x25519-2") // a kid whose apu needs padding
	bob := w.packer(t, w.bob)
	plaintext := text(t, w.alice, []*agent{w.bob}, nil)
	odd := append(slices.Clone(plaintext), ' ') // of a length that needs padding
	for len(odd)%3 == 0 {
		odd = append(odd, ' ')
	}
	to := func(names ...string) (list []peerRecipient) {
		for _, name := range names {
			list = append(list, w.bob.recipient(name))
		}
		return list
	}
	anon := func(change func(*peerJWE)) []byte {
		p := peerJWE{plaintext: plaintext, to: to("x25519")}
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
	without := func(name string) func(*peerJWE) {
		return header(func(h map[string]any) { delete(h, name) })
	}
	typ := func(typ string) []byte { return anon(header(func(h map[string]any) { h["typ"] = typ })) }
	padded := func(name string) func(*peerJWE) {
		return func(p *peerJWE) { p.envelope = func(env map[string]any) { padMember(t, env, name) } }
	}
	short := func(name string, curve ecdh.Curve, each bool) []byte {
		return anon(func(p *peerJWE) {
			p.to, p.epkEach = to(name), each
			p.epk, p.epkJWK = shortEPK(t, curve)
		})
	}
	wrongAPV := header(func(h map[string]any) { h["apv"] = b64.EncodeToString([]byte("another")) })
	epkText := func(v any) any { return string(toJSON(t, v)) }
	mixed := anon(func(p *peerJWE) { p.to = append(p.to, w.carol.recipient("x25519")) })
	w.bob.add(t, "x25519-2")

	check(t, bob, w.packer(t, w.bob, strict), []received{
		{"anoncrypt as we send it", anon(nil), nil},
		{"authcrypt as we send it", auth(nil), nil},
		{"enc A256GCM", anon(func(p *peerJWE) { p.enc = "A256GCM" }), nil},
		{"enc XC20P", anon(func(p *peerJWE) { p.enc = "XC20P" }), nil},
		{"curve P-256", anon(func(p *peerJWE) { p.to = to("p256") }), nil},
		{"curve P-384", anon(func(p *peerJWE) { p.to = to("p384") }), nil},
		{"curve P-521", auth(func(p *peerJWE) { p.from, p.to = w.alice.sender("p521"), to("p521") }), nil},

		{"serialization flattened", anon(func(p *peerJWE) { p.form = "flattened" }), codeList{envelope.DeviationSerialization}},
		{"serialization flattened authcrypt", auth(func(p *peerJWE) { p.form = "flattened" }), codeList{envelope.DeviationSerialization}},
		{"serialization compact", anon(func(p *peerJWE) { p.form = "compact" }), codeList{envelope.DeviationSerialization}},
		{"serialization compact authcrypt", auth(func(p *peerJWE) { p.form = "compact" }), codeList{envelope.DeviationSerialization}},

		{"base64url padding protected", anon(func(p *peerJWE) { p.pad = true }), codeList{envelope.DeviationPadding}},
		{"base64url padding protected compact", anon(func(p *peerJWE) { p.pad, p.form = true, "compact" }),
			codeList{envelope.DeviationPadding, envelope.DeviationSerialization}},
		{"base64url padding iv", anon(padded("iv")), codeList{envelope.DeviationPadding}},
		{"base64url padding tag", anon(padded("tag")), codeList{envelope.DeviationPadding}},
		{"base64url padding ciphertext", anon(func(p *peerJWE) {
			p.enc, p.plaintext = "A256GCM", odd
			padded("ciphertext")(p)
		}), codeList{envelope.DeviationPadding}},
		{"base64url padding encrypted_key", anon(func(p *peerJWE) {
			p.enc = "XC20P"
			p.envelope = func(env map[string]any) { padMember(t, env["recipients"].([]any)[0].(map[string]any), "encrypted_key") }
		}), codeList{envelope.DeviationPadding}},
		{"base64url padding apu", auth(func(p *peerJWE) {
			p.from = w.alice.sender("x25519-2")
			p.header = func(h map[string]any) { padMember(t, h, "apu") }
		}), codeList{envelope.DeviationPadding}},
		{"base64url padding apv", anon(header(func(h map[string]any) { padMember(t, h, "apv") })), codeList{envelope.DeviationPadding}},
		{"base64url padding epk", anon(header(func(h map[string]any) { padMember(t, h["epk"].(map[string]any), "x") })), codeList{envelope.DeviationPadding}},

		{"AAD as received", anon(func(p *peerJWE) {
			p.header = func(h map[string]any) { h["zzz"], h["aaa"] = []any{1.50, "<é>"}, map[string]any{"b": nil} }
		}), nil},

		{"typ missing", anon(without("typ")), codeList{envelope.DeviationTyp}},
		{"typ missing authcrypt", auth(without("typ")), codeList{envelope.DeviationTyp}},
		{"typ short", typ("didcomm-encrypted+json"), nil},
		{"typ JWM", typ("JWM"), codeList{envelope.DeviationTyp}},
		{"typ application/didcomm+encrypted", typ("application/didcomm+encrypted"), codeList{envelope.DeviationTyp}},

		{"epk per recipient", anon(func(p *peerJWE) { p.to, p.epkEach = to("x25519", "x25519-2"), true }), codeList{envelope.DeviationEPKUnprotected}},
		{"epk per recipient authcrypt", auth(func(p *peerJWE) { p.epkEach = true }), codeList{envelope.DeviationEPKUnprotected}},
		{"epk as a string", anon(func(p *peerJWE) { p.epkJWK = epkText }), codeList{envelope.DeviationEPKString}},
		{"epk as a base64url string", anon(func(p *peerJWE) {
			p.epkJWK = func(v any) any { return b64.EncodeToString(toJSON(t, v)) }
		}), codeList{envelope.DeviationEPKString}},
		{"epk per recipient as a string", anon(func(p *peerJWE) { p.epkEach, p.epkJWK = true, epkText }),
			codeList{envelope.DeviationEPKString, envelope.DeviationEPKUnprotected}},

		{"apv missing", anon(without("apv")), codeList{envelope.DeviationAPVMissing}},
		{"apv missing authcrypt", auth(without("apv")), codeList{envelope.DeviationAPVMissing}},
		{"apv different", anon(wrongAPV), codeList{envelope.DeviationAPVMismatch}},
		{"apv different authcrypt", auth(wrongAPV), codeList{envelope.DeviationAPVMismatch}},
		{"apv in the order of the recipients", anon(func(p *peerJWE) {
			p.to = to("x25519-2", "x25519")
			p.header = func(h map[string]any) {
				h["apv"] = b64.EncodeToString(sha256Sum(w.bob.kid("x25519-2") + "." + w.bob.kid("x25519")))
			}
		}), codeList{envelope.DeviationAPVMismatch}},
		{"apu missing", auth(without("apu")), codeList{envelope.DeviationAPUMissing}},
		{"skid missing", auth(without("skid")), codeList{envelope.DeviationSKIDMissing}},

		{"EC coordinates short P-256", short("p256", ecdh.P256(), false), codeList{envelope.DeviationShortCoordinate}},
		{"EC coordinates short P-384", short("p384", ecdh.P384(), false), codeList{envelope.DeviationShortCoordinate}},
		{"EC coordinates short P-521", short("p521", ecdh.P521(), false), codeList{envelope.DeviationShortCoordinate}},
		{"EC coordinates short per recipient", short("p521", ecdh.P521(), true),
			codeList{envelope.DeviationShortCoordinate, envelope.DeviationEPKUnprotected}},

		{"recipients of several DIDs", mixed, codeList{envelope.DeviationMixedDIDs}},
		{"recipient order", anon(func(p *peerJWE) { p.to = to("x25519-2", "x25519") }), nil},
		{"recipient of a key that we lack", anon(func(p *peerJWE) {
			p.to = append([]peerRecipient{{bobDID + "#another", w.eve.ecdh["x25519"].PublicKey()}}, p.to...)
		}), nil},
	})
}

// TestKIDAlias opens envelopes that name our key by another kid than our document (interop.md,
// JWE, recipient kid).
func TestKIDAlias(t *testing.T) {
	w := newWorld(t)
	w.other = did.Methods{"key": didkey.Resolver{}, "peer": didpeer.NewResolver()}
	x, err := ecdh.X25519().NewPrivateKey(random(t, 32))
	if err != nil {
		t.Fatal(err)
	}
	doc := did.Document{ID: "did:example:new", KeyAgreement: []did.Relationship{{ID: "did:example:new#key-1"}}}
	method, err := did.NewVerificationMethod("did:example:new#key-1", doc.ID, did.TypeMultikey, x.PublicKey())
	if err != nil {
		t.Fatal(err)
	}
	doc.VerificationMethod = []did.VerificationMethod{method}
	must := func(s string, err error) string {
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	key := must(didkey.New(x.PublicKey()))
	peer2 := must(didpeer.New2([]didpeer.Key{{Purpose: didpeer.KeyAgreement, Public: x.PublicKey()}}))
	long := must(didpeer.New4(&doc))
	short, _ := didpeer.Short(long)
	if _, err := w.other.Resolve(t.Context(), long); err != nil { // now its short form is known
		t.Fatal(err)
	}
	multibase := key[len("did:key:"):]

	tests := []struct {
		name      string
		held, kid string
		to        string
		deviates  bool
	}{
		{"did:key in full", key + "#" + multibase, key + "#" + multibase, key, false},
		{"did:key bare", key + "#" + multibase, key, key, true},
		{"relative", bobDID + "#key-1", "#key-1", bobDID, true},
		{"did:peer:2", peer2 + "#key-1", peer2 + "#key-1", peer2, false},
		{"did:peer:2 old fragment", peer2 + "#key-1", peer2 + "#" + multibase, peer2, true},
		{"did:peer:2 old fragment without z", peer2 + "#key-1", peer2 + "#" + multibase[1:], peer2, true},
		{"did:peer:2 old fragment of eight characters", peer2 + "#key-1", peer2 + "#" + multibase[1:9], peer2, true},
		{"did:peer:2 relative", peer2 + "#key-1", "#key-1", peer2, true},
		{"did:peer:4 long for short", short + "#key-1", long + "#key-1", short, true},
		{"did:peer:4 short for long", long + "#key-1", short + "#key-1", short, true},
		{"did:peer:4 long for short in to", short + "#key-1", short + "#key-1", long, false},
	}
	w.bob.doc.KeyAgreement = []did.Relationship{{ID: bobDID + "#key-1"}}
	if method, err = did.NewVerificationMethod(bobDID+"#key-1", bobDID, did.TypeMultikey, x.PublicKey()); err != nil {
		t.Fatal(err)
	}
	w.bob.doc.VerificationMethod = []did.VerificationMethod{method}
	w.bob.doc.Authentication = nil
	w.bob.index(t)
	for _, tt := range tests {
		keys := keyring.New()
		if err := keys.Add(tt.held, x); err != nil {
			t.Fatal(err)
		}
		holder := &agent{keys: keys}
		data := peerJWE{
			plaintext: text(t, w.alice, nil, map[string]any{"to": []string{tt.to}}),
			from:      w.alice.sender("x25519"),
			to:        []peerRecipient{{tt.kid, x.PublicKey()}},
		}.seal(t)
		var want codeList
		if tt.deviates {
			want = codeList{envelope.DeviationKID}
		}
		check(t, w.packer(t, holder), w.packer(t, holder, strict), []received{{tt.name, data, want}})

		// Keys that are no Owner find only the exact kid.
		plain := w.packer(t, holder, func(c *envelope.Config) { c.Keys = onlyKeys{keys} })
		if u, err := plain.Unpack(t.Context(), data); tt.deviates != errors.Is(err, envelope.ErrNoKey) {
			t.Errorf("%s without Owner: %v, %v", tt.name, u, err)
		}
	}
}

// onlyKeys hides the optional interfaces of Keys.
type onlyKeys struct{ envelope.Keys }

// TestSenderAlias takes a sender that names its key by an alias.
func TestSenderAlias(t *testing.T) {
	w := newWorld(t)
	w.other = didpeer.NewResolver()
	x := w.carol.ecdh["x25519"]
	peer2, err := didpeer.New2([]didpeer.Key{{Purpose: didpeer.KeyAgreement, Public: x.PublicKey()}})
	if err != nil {
		t.Fatal(err)
	}
	multibase, err := did.FormatMultikey(x.PublicKey())
	if err != nil {
		t.Fatal(err)
	}
	data := peerJWE{
		plaintext: text(t, nil, []*agent{w.bob}, map[string]any{"from": peer2}),
		from:      &peerSender{peer2 + "#" + multibase[1:], x},
		to:        []peerRecipient{w.bob.recipient("x25519")},
	}.seal(t)
	u := unpack(t, w.packer(t, w.bob), data)
	if u.Metadata.EncryptedFromKID != peer2+"#key-1" || !u.Metadata.Authenticated {
		t.Errorf("metadata %+v", u.Metadata)
	}
}

// TestPlaintext holds interop.md, Plaintext, through Unpack.
func TestPlaintext(t *testing.T) {
	w := newWorld(t)
	sealed := func(set map[string]any) []byte {
		return peerJWE{
			plaintext: text(t, w.alice, []*agent{w.bob}, set),
			from:      w.alice.sender("x25519"), to: []peerRecipient{w.bob.recipient("x25519")},
		}.seal(t)
	}
	set := func(name string, v any) []byte { return sealed(map[string]any{name: v}) }
	check(t, w.packer(t, w.bob), w.packer(t, w.bob, strict), []received{
		{"times in seconds", set("created_time", 1516269022), nil},
		{"times ISO-8601", set("created_time", "2026-11-22T12:00:00Z"), codeList{message.DeviationTimeISO8601}},
		{"times in milliseconds", set("expires_time", int64(1516269022000)), codeList{message.DeviationTimeMilliseconds}},
		{"to missing", set("to", nil), nil},
		{"to a string", set("to", bobDID), codeList{message.DeviationListString}},
		{"body missing", set("body", nil), nil},
		{"body empty", set("body", map[string]any{}), nil},
		{"body null", sealed(map[string]any{"body": rawNull}), codeList{message.DeviationNull}},
		{"unknown headers", set("x-custom", []any{"a", 1}), nil},
		{"typ short", set("typ", "didcomm-plain+json"), nil},
		{"typ of something else", set("typ", "application/json"), codeList{envelope.DeviationMessageTyp}},
		{"from a key", set("from", aliceDID+"#x25519"), codeList{envelope.DeviationFrom}},
		{"from a DID URL", set("from", aliceDID+"?service=x"), nil},
		{"to a key", set("to", []string{bobDID + "#x25519"}), codeList{envelope.DeviationTo}},
		{"to a name, too", set("to", []string{bobDID, "carol", "dave"}), codeList{envelope.DeviationTo}},
	})
	// Nothing is proven of a plaintext, but its form.
	p, s := w.packer(t, w.bob), w.packer(t, w.bob, strict)
	bare := []byte(`{"id":"1","type":"hello","from":"alice","to":["bob"],"typ":"x/y"}`)
	all := codeList{envelope.DeviationFrom, envelope.DeviationMessageTyp, envelope.DeviationTo, envelope.DeviationTypeURI}
	if got := codes(unpack(t, p, bare).Metadata.Deviations); !slices.Equal(got, all) {
		t.Errorf("deviations %v, want %v", got, all)
	}
	if u, err := s.Unpack(t.Context(), bare); !errors.As(err, new(*envelope.DeviationError)) {
		t.Errorf("strict: %v, %v", u, err)
	}

	u := unpack(t, w.packer(t, w.bob), sealed(map[string]any{"tag": "one", "iv": 2, "payload": []int{3}, "body": nil}))
	if got := values(t, encode(t, u.Message)); !reflect.DeepEqual(got, map[string]any{
		"id": "1", "typ": message.MediaType, "type": testType, "from": aliceDID, "to": []any{bobDID},
		"tag": "one", "iv": 2.0, "payload": []any{3.0}, "body": map[string]any{},
	}) {
		t.Errorf("unknown headers do not round-trip: %v", got)
	}
	// Wherever an unknown header stands, it does not make an envelope of a message.
	for _, name := range []string{"tag", "iv", "unprotected", "payload", "header", "protected", "encrypted_key"} {
		data := append([]byte(`{"`+name+`":"x",`), text(t, w.alice, nil, nil)[1:]...)
		if u, err := w.packer(t, w.bob).Unpack(t.Context(), data); err != nil || string(u.Message.Headers[name]) != `"x"` {
			t.Errorf("first header %s: %v", name, err)
		}
	}
}

// TestNamedByAlias packs for and from keys that are given by an alias: the
// envelope has it as it was given.
func TestNamedByAlias(t *testing.T) {
	w := newWorld(t)
	w.other = didpeer.NewResolver()
	x := w.carol.ecdh["x25519"]
	peer2, err := didpeer.New2([]didpeer.Key{{Purpose: didpeer.KeyAgreement, Public: x.PublicKey()}})
	if err != nil {
		t.Fatal(err)
	}
	multibase, err := did.FormatMultikey(x.PublicKey())
	if err != nil {
		t.Fatal(err)
	}
	keys := keyring.New()
	if err := keys.Add(peer2+"#key-1", x); err != nil {
		t.Fatal(err)
	}
	p := w.packer(t, &agent{keys: keys})
	m := &message.Message{ID: "1", Type: "https://example.org/test/1.0/test"}
	for _, name := range []string{peer2 + "#key-1", peer2 + "#" + multibase[1:], peer2 + "#" + multibase} {
		sealed, err := p.Pack(t.Context(), m, envelope.From(name), envelope.To(name))
		if err != nil {
			t.Fatal(err)
		}
		if e := sealed[0]; e.From != name || !slices.Equal(e.KIDs, []string{name}) || e.To != peer2 {
			t.Errorf("%s: from %s for %v of %s", name, e.From, e.KIDs, e.To)
		}
		u := unpack(t, p, sealed[0].Data)
		if u.OpenedAs != name || u.SenderAs != name || u.OpenedWith != peer2+"#key-1" || u.Metadata.EncryptedFromKID != peer2+"#key-1" {
			t.Errorf("%s: opened with %s, named %s, from %s, named %s", name, u.OpenedWith, u.OpenedAs, u.Metadata.EncryptedFromKID, u.SenderAs)
		}
	}
}
