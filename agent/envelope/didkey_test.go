package envelope_test

import (
	"context"
	"crypto"
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/keyring"
	"github.com/didcomm-go/didcomm/did"
	"github.com/didcomm-go/didcomm/did/didkey"
	"github.com/didcomm-go/didcomm/did/didpeer"
)

// didKeyOf returns the did:key of a public key, and the multikey in it.
func didKeyOf(t testing.TB, public crypto.PublicKey) (id, multikey string) {
	t.Helper()
	id, err := didkey.New(public)
	if err != nil {
		t.Fatal(err)
	}
	return id, strings.TrimPrefix(id, "did:key:")
}

// hold gives an agent a key for key agreement.
func (a *agent) hold(t testing.TB, name string, key *ecdh.PrivateKey) {
	t.Helper()
	kid := a.kid(name)
	if err := a.keys.Add(kid, key); err != nil {
		t.Fatal(err)
	}
	m, err := did.NewVerificationMethod(kid, a.did, did.TypeJSONWebKey2020, key.PublicKey())
	if err != nil {
		t.Fatal(err)
	}
	a.ecdh[name] = key
	a.doc.VerificationMethod = append(a.doc.VerificationMethod, m)
	a.doc.KeyAgreement = append(a.doc.KeyAgreement, did.Relationship{ID: kid})
	a.index(t)
}

// image is the X25519 key that is derived from an Ed25519 key of the agent.
func (a *agent) image(t testing.TB, name string) *ecdh.PrivateKey {
	t.Helper()
	key, err := didkey.KeyAgreementPrivate(a.sign[name].(ed25519.PrivateKey))
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// TestKIDIsDIDKey: the kid may be a did:key of our key, if to names that did:key or our DID.
func TestKIDIsDIDKey(t *testing.T) {
	w := newWorld(t)
	w.bob.hold(t, "image", w.bob.image(t, "ed25519"))
	edKey, _ := didKeyOf(t, w.bob.sign["ed25519"].(ed25519.PrivateKey).Public())
	_, imageMultikey := didKeyOf(t, w.bob.ecdh["image"].PublicKey())
	type form struct{ name, key, kid, to string }
	forms := []form{
		{"Ed25519 bare", "image", edKey, edKey},
		{"Ed25519 with fragment", "image", edKey + "#" + imageMultikey, edKey},
	}
	for _, name := range append(agreementNames, "image") {
		id, multikey := didKeyOf(t, w.bob.ecdh[name].PublicKey())
		forms = append(forms, form{name + " bare", name, id, id}, form{name + " with fragment", name, id + "#" + multikey, id})
	}
	bob, strictBob := w.packer(t, w.bob), w.packer(t, w.bob, strict)
	var tests []received
	for _, f := range forms {
		recipient := peerRecipient{f.kid, w.bob.ecdh[f.key].PublicKey()}
		for name, to := range map[string][]string{"did:key": {f.to}, "with fragment": {f.kid}, "our DID": {"did:example:x", bobDID}, "both": {f.to, bobDID}} {
			want := codeList{envelope.DeviationKID}
			if strings.Contains(to[0], "#") {
				want = append(want, envelope.DeviationTo)
			}
			plaintext := text(t, nil, nil, map[string]any{"to": to})
			tests = append(tests, received{
				"anoncrypt " + f.name + " to " + name,
				peerJWE{plaintext: plaintext, to: []peerRecipient{recipient}}.seal(t), want,
			})
		}
		if sender := f.key; w.alice.ecdh[sender] != nil {
			tests = append(tests, received{"authcrypt " + f.name, peerJWE{
				plaintext: text(t, w.alice, nil, map[string]any{"to": []string{f.to}}),
				from:      w.alice.sender(sender), to: []peerRecipient{recipient},
			}.seal(t), codeList{envelope.DeviationKID}})
		}
	}
	check(t, bob, strictBob, tests)
	for _, f := range forms {
		data := peerJWE{
			plaintext: text(t, nil, nil, map[string]any{"to": []string{f.to}}),
			to:        []peerRecipient{{f.kid, w.bob.ecdh[f.key].PublicKey()}},
		}.seal(t)
		u := unpack(t, bob, data)
		if u.OpenedWith != w.bob.kid(f.key) || u.OpenedAs != f.kid || !u.SentTo(bobDID) {
			t.Errorf("%s: opened with %s, named %s, sent to us: %t", f.name, u.OpenedWith, u.OpenedAs, u.SentTo(bobDID))
		}
		plain := w.packer(t, w.bob, func(c *envelope.Config) { c.Keys = onlyKeys{w.bob.keys} })
		refused(t, plain, data, envelope.ErrNoKey)
	}
}

// TestKIDIsNoDIDKeyOfOurs: what is like a did:key of our key, but is none, does not open.
func TestKIDIsNoDIDKeyOfOurs(t *testing.T) {
	w := newWorld(t)
	w.bob.hold(t, "image", w.bob.image(t, "ed25519"))
	bob := w.packer(t, w.bob)
	x := w.bob.ecdh["x25519"].PublicKey()
	ours, multikey := didKeyOf(t, x)
	theirs, other := didKeyOf(t, w.eve.ecdh["x25519"].PublicKey())
	ed, edMultikey := didKeyOf(t, w.bob.sign["ed25519"].(ed25519.PrivateKey).Public())
	eveEd, _ := didKeyOf(t, w.eve.sign["ed25519"].(ed25519.PrivateKey).Public())
	secp, err := w.bob.keys.Key(w.bob.kid("es256k"))
	if err != nil {
		t.Fatal(err)
	}
	es256k, es256kMultikey := didKeyOf(t, secp.Public())
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	rsaID, _ := didKeyOf(t, rsaKey.Public())
	for _, kid := range []string{
		theirs, theirs + "#" + other, eveEd,
		ours + "#" + other, ours + "#key-1", theirs + "#" + multikey, ed + "#" + edMultikey, ed + "#" + multikey,
		ours + "/path", ours + "?x=" + multikey, ours + "/#" + multikey, ours + "##" + multikey, ours + "#" + multikey + "#" + multikey,
		ours[:len(ours)-1], ours + "1", "did:key:1" + multikey, "did:key:" + multikey[1:], "did:key:u" + multikey[1:], "did:key:f00", "did:key:z",
		"did:key:z6Mk", "did:key:z6LS", "did:key:", "did:KEY:" + multikey, "DID:key:" + multikey, "did:peer:" + multikey, "did:key:1.1:" + multikey,
		es256k, es256k + "#" + es256kMultikey, rsaID,
		"did:key:z" + strings.Repeat("1", 1000) + multikey[1:], "did:key:z6Mk" + strings.Repeat("z", 100_000), ours + "#" + strings.Repeat("z", 100_000),
		multikey, "z" + multikey,
	} {
		for _, typ := range []string{testType, forwardType} {
			plaintext := text(t, nil, []*agent{w.bob}, map[string]any{"type": typ, "body": map[string]any{"next": bobDID}})
			_, err := bob.Unpack(t.Context(), peerJWE{plaintext: plaintext, to: []peerRecipient{{kid, x}}}.seal(t))
			if !errors.Is(err, envelope.ErrNoKey) && !errors.Is(err, envelope.ErrMalformed) {
				t.Errorf("%.60s: %v", kid, err)
			}
		}
	}
}

// TestToOfDIDKey: to decides whether a message for a did:key of our key is for us, except for
// a forward.
func TestToOfDIDKey(t *testing.T) {
	w := newWorld(t)
	both := keyring.New()
	for _, a := range []*agent{w.bob, w.carol} {
		if err := both.Add(a.kid("x25519"), a.ecdh["x25519"]); err != nil {
			t.Fatal(err)
		}
	}
	ours, _ := didKeyOf(t, w.bob.ecdh["x25519"].PublicKey())
	carols, _ := didKeyOf(t, w.carol.ecdh["x25519"].PublicKey())
	theirs, _ := didKeyOf(t, w.eve.ecdh["x25519"].PublicKey())
	for _, same := range []bool{false, true} {
		p := w.packer(t, w.bob, func(c *envelope.Config) { c.Keys = parties{both, same} })
		for _, test := range []struct {
			to any
			ok bool
		}{
			{[]string{ours}, true},
			{[]string{bobDID}, true},
			{[]string{w.eve.did, bobDID}, true},
			{nil, false},
			{[]string{}, false},
			{[]string{w.eve.did}, false},
			{[]string{theirs}, false},
			{[]string{carols}, false},
			{[]string{w.carol.did}, false},
			{[]string{w.carol.did, theirs, "did:key:z6LS", ""}, false},
		} {
			set := map[string]any{"to": test.to}
			for name, jwe := range map[string]peerJWE{
				"anoncrypt": {plaintext: text(t, nil, nil, set)},
				"authcrypt": {plaintext: text(t, w.alice, nil, set), from: w.alice.sender("x25519")},
				"signed":    {plaintext: peerJWS{payload: text(t, w.alice, nil, set), signers: []peerSigner{w.alice.signer("ed25519")}}.seal(t)},
			} {
				jwe.to = []peerRecipient{{ours, w.bob.ecdh["x25519"].PublicKey()}}
				u, err := p.Unpack(t.Context(), jwe.seal(t))
				if test.ok != (err == nil) || err != nil && !errors.Is(err, envelope.ErrRecipientMismatch) || u != nil && u.OpenedWith != w.bob.kid("x25519") {
					t.Errorf("%s to %q, same party %t: %v, %v", name, test.to, same, u, err)
				}
			}
			set["type"], set["body"] = forwardType, map[string]any{"next": "did:example:x"}
			forward := peerJWE{plaintext: text(t, nil, nil, set), to: []peerRecipient{{ours, w.bob.ecdh["x25519"].PublicKey()}}}.seal(t)
			if u, err := p.Unpack(t.Context(), forward); err != nil || u.OpenedWith != w.bob.kid("x25519") {
				t.Errorf("forward to %q: %v, %v", test.to, u, err)
			}
		}
	}
}

// TestDIDKeyOfTwoDIDs: of several DIDs of ours with one key, a message for the did:key of the key
// is for the DID that to names, or else for the one that was added first.
func TestDIDKeyOfTwoDIDs(t *testing.T) {
	w := newWorld(t)
	shared := w.bob.ecdh["x25519"]
	w.carol.hold(t, "shared", shared)
	w.eve.hold(t, "shared", shared) // a document can list any key
	keys := keyring.New()
	for _, kid := range []string{w.bob.kid("x25519"), w.carol.kid("shared")} {
		if err := keys.Add(kid, shared); err != nil {
			t.Fatal(err)
		}
	}
	id, _ := didKeyOf(t, shared.PublicKey())
	recipient := []peerRecipient{{id, shared.PublicKey()}}
	for _, same := range []bool{false, true} {
		p := w.packer(t, w.bob, func(c *envelope.Config) { c.Keys = parties{keys, same} })
		for _, test := range []struct {
			to   []string
			want string
		}{
			{[]string{id}, w.bob.kid("x25519")},
			{[]string{bobDID}, w.bob.kid("x25519")},
			{[]string{w.carol.did}, w.carol.kid("shared")},
			{[]string{id, w.carol.did}, w.carol.kid("shared")},
			{[]string{w.carol.did, bobDID}, w.bob.kid("x25519")},
			{[]string{w.eve.did, id}, w.bob.kid("x25519")},
		} {
			plaintext := text(t, w.alice, nil, map[string]any{"to": test.to})
			u := unpack(t, p, peerJWE{plaintext: plaintext, from: w.alice.sender("x25519"), to: recipient}.seal(t))
			if u.OpenedWith != test.want {
				t.Errorf("to %q: opened with %s, want %s", test.to, u.OpenedWith, test.want)
			}
		}
		// The layer around decides for a layer inside that names the key only.
		inner := peerJWE{
			plaintext: text(t, w.alice, nil, map[string]any{"to": []string{w.carol.did}}), from: w.alice.sender("x25519"), to: recipient,
		}.seal(t)
		u := unpack(t, p, peerJWE{plaintext: inner, to: []peerRecipient{{w.carol.kid("shared"), shared.PublicKey()}}}.seal(t))
		if u.OpenedWith != w.carol.kid("shared") {
			t.Errorf("within a layer for carol: opened with %s", u.OpenedWith)
		}
		// And to does not lead from bob to carol then, if peers must not link them.
		_, err := p.Unpack(t.Context(), peerJWE{plaintext: inner, to: []peerRecipient{{w.bob.kid("x25519"), shared.PublicKey()}}}.seal(t))
		if same != (err == nil) || err != nil && !errors.Is(err, envelope.ErrRecipientMismatch) {
			t.Errorf("within a layer for bob, same party %t: %v", same, err)
		}
	}
}

// TestDIDKeyWithoutOwner: keys that do not know their DIDs can be named by a did:key, too.
func TestDIDKeyWithoutOwner(t *testing.T) {
	w := newWorld(t)
	id, _ := didKeyOf(t, w.bob.ecdh["x25519"].PublicKey())
	p := w.packer(t, w.bob, func(c *envelope.Config) { c.Keys = finderOnly{w.bob.keys, w.bob.keys} })
	for _, to := range []string{id, bobDID} {
		unpack(t, p, peerJWE{
			plaintext: text(t, nil, nil, map[string]any{"to": []string{to}}), to: []peerRecipient{{id, w.bob.ecdh["x25519"].PublicKey()}},
		}.seal(t))
	}
	if own, err := p.Own(t.Context(), id); !errors.Is(err, envelope.ErrNoKey) || own != "" {
		t.Errorf("Own = %q, %v", own, err)
	}
}

type finderOnly struct {
	envelope.Keys
	envelope.KeyFinder
}

// TestOwnOfNext: Own finds our DID by each form that next of a forward can have.
func TestOwnOfNext(t *testing.T) {
	w := newWorld(t)
	x := w.bob.ecdh["x25519"]
	public := w.bob.sign["ed25519"].(ed25519.PrivateKey).Public()
	image := w.bob.image(t, "ed25519").PublicKey()
	long, err := didpeer.New4(documentOf(t, "", "#x25519", x.PublicKey()))
	if err != nil {
		t.Fatal(err)
	}
	short, _ := didpeer.Short(long)
	for _, key := range []crypto.PrivateKey{w.carol.ecdh["p256"], w.carol.image(t, "ed25519")} {
		if err := w.bob.keys.Add(fmt.Sprintf("%s#%T-%p", long, key, key), key); err != nil {
			t.Fatal(err)
		}
	}
	xKey, xMultikey := didKeyOf(t, x.PublicKey())
	edKey, edMultikey := didKeyOf(t, public)
	imageKey, imageMultikey := didKeyOf(t, image)
	p256, _ := didKeyOf(t, w.carol.ecdh["p256"].PublicKey())
	carolEd, _ := didKeyOf(t, w.carol.sign["ed25519"].(ed25519.PrivateKey).Public())
	theirs, _ := didKeyOf(t, w.eve.ecdh["x25519"].PublicKey())
	p := w.packer(t, w.bob)
	for id, want := range map[string]string{
		bobDID: bobDID, bobDID + "#x25519": bobDID, bobDID + "/path?query": bobDID,
		long: long, short: long, short + "#x25519": long,
		xKey: bobDID, xKey + "#" + xMultikey: bobDID,
		edKey: bobDID, edKey + "#" + edMultikey: bobDID, edKey + "#" + imageMultikey: bobDID,
		p256: long, carolEd: long, // by the image
		// Hostile.
		imageKey: "", theirs: "", xKey + "#" + edMultikey: "", xKey + "#x": "", xKey + "/path": "", xKey + "?q": "", xKey + "1": "",
		"did:key:z6Mk": "", "did:key:": "", "did:key:z" + strings.Repeat("1", 100_000): "", edKey + "#" + strings.Repeat("1", 100_000): "",
		xMultikey: "", "": "", "#x25519": "", w.eve.did: "",
	} {
		own, err := p.Own(t.Context(), id)
		if own != want || (want == "") != errors.Is(err, envelope.ErrNoKey) || want != "" && err != nil {
			t.Errorf("Own(%.80q) = %.60q, %v; want %.60q", id, own, err, want)
		}
	}
}

// TestKeyFinderFails: a key store that fails is no key that is not ours.
func TestKeyFinderFails(t *testing.T) {
	w := newWorld(t)
	id, _ := didKeyOf(t, w.bob.ecdh["x25519"].PublicKey())
	away := errors.New("away")
	p := w.packer(t, w.bob, func(c *envelope.Config) { c.Keys = failingFinder{w.bob.keys, away} })
	data := peerJWE{plaintext: text(t, nil, nil, nil), to: []peerRecipient{{id, w.bob.ecdh["x25519"].PublicKey()}}}.seal(t)
	if err := refused(t, p, data, envelope.ErrTryLater); !errors.Is(err, away) {
		t.Error(err)
	}
	if _, err := p.Own(t.Context(), id); !errors.Is(err, envelope.ErrTryLater) || !errors.Is(err, away) {
		t.Errorf("Own: %v", err)
	}
}

type failingFinder struct {
	*keyring.Keyring
	err error
}

func (f failingFinder) FindKey(context.Context, string) (string, error) { return "", f.err }

// TestCredoForward: the forward of a Credo opens by the did:key of the mediator's X25519 key. The
// forward inside is for the mediator's Ed25519 key, which is not for key agreement. The DID of
// the mediator is found by it.
func TestCredoForward(t *testing.T) {
	data, err := os.ReadFile("testdata/credo/forward-kid-did-key.json")
	if err != nil {
		t.Fatal(err)
	}
	var recorded struct {
		Packed  json.RawMessage   `json:"packed"`
		Secrets json.RawMessage   `json:"recipient_secrets"`
		Docs    []json.RawMessage `json:"did_docs"`
	}
	if err := json.Unmarshal(data, &recorded); err != nil {
		t.Fatal(err)
	}
	keys, err := keyring.ParseSecrets(recorded.Secrets)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := did.ParseDocument(recorded.Docs[0])
	if err != nil {
		t.Fatal(err)
	}
	config := envelope.Config{Keys: keys, Resolver: documents{doc.ID: doc}}
	p := newPacker(t, config)
	u := unpack(t, p, recorded.Packed)
	var body struct{ Next string }
	if err := json.Unmarshal(u.Message.Body, &body); err != nil || u.Message.Type != forwardType {
		t.Fatal(err, u.Message.Type)
	}
	if u.OpenedWith != doc.KeyAgreementKeys()[0].ID || !u.SentTo(doc.ID) {
		t.Errorf("opened with %s", u.OpenedWith)
	}
	if own, err := p.Own(t.Context(), body.Next); err != nil || own != doc.ID {
		t.Errorf("Own(%s) = %q, %v", body.Next, own, err)
	}
	config.Strict = true
	var deviates *envelope.DeviationError
	if _, err := newPacker(t, config).Unpack(t.Context(), recorded.Packed); !errors.As(err, &deviates) {
		t.Errorf("strict: %v", err)
	}
}
