package envelope_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"strings"
	"testing"

	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/did"
	"github.com/didcomm-go/didcomm/did/didkey"
	"github.com/didcomm-go/didcomm/did/didpeer"
)

// A DID URL without a fragment is a legal to or from (Message Headers), and means
// the keys of its DID.
func TestDIDURLs(t *testing.T) {
	w := newWorld(t)
	alice, bob := w.packer(t, w.alice), w.packer(t, w.bob)
	for name, test := range map[string]struct {
		to, from string
		opts     func(from string) []envelope.PackOption
	}{
		"to, query":    {bobDID + "?service=files", aliceDID, func(from string) []envelope.PackOption { return []envelope.PackOption{envelope.From(from)} }},
		"to, path":     {bobDID + "/path", aliceDID, func(string) []envelope.PackOption { return nil }},
		"from, query":  {bobDID, aliceDID + "?service=x", func(from string) []envelope.PackOption { return []envelope.PackOption{envelope.From(from)} }},
		"sign, a path": {bobDID, aliceDID + "/x", func(from string) []envelope.PackOption { return []envelope.PackOption{envelope.SignBy(from)} }},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMessage(t, w.alice)
			m.To, m.From = []string{test.to}, test.from
			list, err := alice.Pack(t.Context(), m, test.opts(test.from)...)
			if err != nil {
				t.Fatal(err)
			}
			u, err := bob.Unpack(t.Context(), list[0].Data)
			if err != nil || u.Message.From != test.from || u.Message.To[0] != test.to {
				t.Errorf("%+v, %v", u, err)
			}
		})
	}
}

// The kid of an envelope names a key. A kid without a fragment names no key, even if its DID has
// only one.
func TestKIDWithoutFragment(t *testing.T) {
	w := newWorld(t)
	w.other = didkey.Resolver{}
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	id, err := didkey.New(public)
	if err != nil {
		t.Fatal(err)
	}
	_, fragment, _ := strings.Cut(id, "did:key:")
	p := w.packer(t, w.bob)
	for suffix, want := range map[string]error{"#" + fragment: nil, "": envelope.ErrSignerMismatch, "?x=y": envelope.ErrSignerMismatch, "/x": envelope.ErrSignerMismatch} {
		signed := peerJWS{payload: text(t, nil, []*agent{w.bob}, map[string]any{"from": id}), signers: []peerSigner{{kid: id + suffix, key: private}}}.seal(t)
		if _, err := p.Unpack(t.Context(), signed); !errors.Is(err, want) {
			t.Errorf("signed by ...%s: %v, want %v", suffix, err, want)
		}
		s := peerSigner{kid: id + suffix, key: private, protected: func(h map[string]any) { h["typ"] = "JWT" }}
		token := peerJWS{payload: toJSON(t, map[string]any{"iss": id, "sub": w.carol.did, "iat": now.Unix()}), form: "compact", signers: []peerSigner{s}}.seal(t)
		sealed := peerJWE{
			plaintext: text(t, w.carol, []*agent{w.bob}, map[string]any{"from_prior": string(token)}),
			from:      w.carol.sender("x25519"), to: []peerRecipient{w.bob.recipient("x25519")},
		}.seal(t)
		if want != nil {
			want = envelope.ErrFromPrior
		}
		if _, err := p.Unpack(t.Context(), sealed); !errors.Is(err, want) {
			t.Errorf("from_prior by ...%s: %v, want %v", suffix, err, want)
		}
	}
	own := w.packer(t, w.bob, func(cfg *envelope.Config) { cfg.Keys = owner{w.bob.keys, []string{bobDID}} })
	for _, suffix := range []string{"?x=y", "/x"} {
		sealed := peerJWE{plaintext: text(t, w.alice, []*agent{w.bob}, nil), to: []peerRecipient{{bobDID + suffix, w.bob.ecdh["x25519"].PublicKey()}}}.seal(t)
		if _, err := own.Unpack(t.Context(), sealed); !errors.Is(err, envelope.ErrNoKey) {
			t.Errorf("for ...%s: %v", suffix, err)
		}
	}
}

// owner names DIDs as our own.
type owner struct {
	envelope.Keys
	dids []string
}

func (o owner) Own(_ context.Context, id string) (string, error) {
	for _, own := range o.dids {
		if didpeer.SameParty(own, id) {
			return own, nil
		}
	}
	return "", envelope.ErrNoKey
}

func (o owner) DIDs(_ context.Context, n int) ([]string, error) {
	return o.dids[:min(n, len(o.dids))], nil
}

// A relative kid may name a key of any DID of ours. If one of our DIDs does not resolve now, the
// others are still searched. Only if no other has the key, the error of that DID is returned.
func TestRelativeKIDOfSeveral(t *testing.T) {
	w := newWorld(t)
	down := errors.New("connection refused")
	w.other = did.ResolverFunc(func(context.Context, string) (*did.Document, error) { return nil, down })
	for kid, want := range map[string]error{"#x25519": nil, "#elsewhere": down} {
		p := w.packer(t, w.bob, func(cfg *envelope.Config) {
			cfg.Keys = owner{w.bob.keys, []string{"did:web:ours.example", bobDID}}
		})
		data := peerJWE{plaintext: text(t, w.alice, []*agent{w.bob}, nil), to: []peerRecipient{{kid, w.bob.ecdh["x25519"].PublicKey()}}}.seal(t)
		if _, err := p.Unpack(t.Context(), data); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", kid, err, want)
		}
	}
}

// The issuer of a from_prior in long form resolves, whichever form its kid has.
func TestFromPriorOfPeer4(t *testing.T) {
	w := newWorld(t)
	w.other = didpeer.NewResolver()
	doc := did.Document{ID: w.alice.did}
	for _, m := range w.alice.doc.VerificationMethod {
		if strings.HasSuffix(m.ID, "#ed25519") {
			doc.VerificationMethod = append(doc.VerificationMethod, m)
		}
	}
	doc.Authentication = []did.Relationship{{ID: w.alice.did + "#ed25519"}}
	long, err := didpeer.New4(&doc)
	if err != nil {
		t.Fatal(err)
	}
	short, ok := didpeer.Short(long)
	if !ok {
		t.Fatal("no short form")
	}
	s := w.alice.signer("ed25519")
	s.kid, s.protected = short+"#ed25519", func(h map[string]any) { h["typ"] = "JWT" }
	token := peerJWS{payload: toJSON(t, map[string]any{"iss": long, "sub": w.carol.did, "iat": now.Unix()}), form: "compact", signers: []peerSigner{s}}.seal(t)
	data := peerJWE{
		plaintext: text(t, w.carol, []*agent{w.bob}, map[string]any{"from_prior": string(token)}),
		from:      w.carol.sender("x25519"), to: []peerRecipient{w.bob.recipient("x25519")},
	}.seal(t)
	u, err := w.packer(t, w.bob).Unpack(t.Context(), data)
	if err != nil || u.Metadata.FromPrior == nil || u.Metadata.FromPrior.Iss != long {
		t.Errorf("%+v, %v", u, err)
	}
}
