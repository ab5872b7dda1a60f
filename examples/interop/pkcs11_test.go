//go:build interop && pkcs11

package interop_test

import (
	"context"
	"errors"
	"os"
	"testing"

	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/keyring"
	"github.com/didcomm-go/didcomm/agent/keyring/pkcs11"
	"github.com/didcomm-go/didcomm/agent/keyring/pkcs11/pkcs11test"
	"github.com/didcomm-go/didcomm/did"
	"github.com/didcomm-go/didcomm/examples/interop/internal/peer"
)

// TestPKCS11 exchanges envelopes with didcomm 0.3.2 for Python by keys that never
// leave a token: it opens what they encrypt and sign, and they open what it
// encrypts.
func TestPKCS11(t *testing.T) {
	python := startPeer(t, pythonPeer("didcomm-python", 9, 11))
	cfg, err := pkcs11test.SoftHSM(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	token, err := pkcs11.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := token.Close(); err != nil {
			t.Error(err)
		}
	}()
	for _, held := range []struct {
		agrees, signs keyring.Curve
		alg           string
	}{
		{keyring.P256, keyring.P256, "ES256"},
		{keyring.P384, keyring.P256, "ES256"},
		{keyring.P521, keyring.P256, "ES256"},
		{keyring.X25519, keyring.Ed25519, "EdDSA"},
	} {
		id := "did:example:token-" + string(held.agrees)
		ours := newTokenParty(t, token, id, held.agrees, held.signs, held.alg)
		for _, l := range []layout{
			layoutOf("signed", "", "", held.alg),
			layoutOf("authcrypt", held.agrees, "", ""),
			layoutOf("authcrypt(sign)", held.agrees, "", held.alg),
			layoutOf("anoncrypt(authcrypt(sign))", held.agrees, envelope.A256CBCHS512, held.alg),
		} {
			t.Run("to peer: "+l.String(), func(t *testing.T) { tokenToPeer(t, python, token, ours, l) })
			if l.curve != "" {
				t.Run("from peer: "+l.String(), func(t *testing.T) { peerToToken(t, python, token, ours, l) })
			}
		}
	}
}

// startPeer installs a peer and starts it, for a test that has no row in the table.
func startPeer(t *testing.T, install func(context.Context) (peer.Config, error)) *peer.Process {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), installTime)
	defer cancel()
	cfg, err := install(ctx)
	if err != nil {
		missing := errors.Is(err, peer.ErrArtifact) || errors.Is(err, peer.ErrToolchain)
		if missing && os.Getenv("CI") != "true" {
			t.Skipf("%s%v", notRun, err)
		}
		t.Fatalf("%s%v", notRun, err)
	}
	p := peer.New(cfg)
	t.Cleanup(p.Close)
	return p
}

// newTokenParty makes a party whose private keys are made in the token: one that
// agrees and one that signs. It has no ring.
func newTokenParty(t *testing.T, token *pkcs11.Token, id string, agrees, signs keyring.Curve, alg string) *party {
	t.Helper()
	p := &party{doc: &did.Document{ID: id}, agree: []string{id + "#agree"}, sign: map[string]string{alg: id + "#sign"}}
	for _, key := range []struct {
		kid   string
		curve keyring.Curve
		use   pkcs11.Use
		list  *[]did.Relationship
	}{
		{p.agree[0], agrees, pkcs11.Agreement, &p.doc.KeyAgreement},
		{p.sign[alg], signs, pkcs11.Signatures, &p.doc.Authentication},
	} {
		public, err := token.Generate(key.kid, key.curve, key.use)
		if err != nil {
			t.Fatal(err)
		}
		if err := token.Bind(key.kid, key.kid); err != nil {
			t.Fatal(err)
		}
		m, err := did.NewVerificationMethod(key.kid, id, did.TypeJSONWebKey2020, public)
		if err != nil {
			t.Fatal(err)
		}
		p.doc.VerificationMethod = append(p.doc.VerificationMethod, m)
		*key.list = append(*key.list, did.Relationship{ID: key.kid})
	}
	p.index(t)
	return p
}

// tokenToPeer packs with the token's keys and opens there.
func tokenToPeer(t *testing.T, python *peer.Process, token *pkcs11.Token, ours *party, l layout) {
	x := newExchange(t, l)
	x.sender = ours
	x = x.addressed(t)
	packed, err := newPacker(t, token, documents([]*party{ours, x.recipient})).Pack(t.Context(), x.message, x.options()...)
	if err != nil {
		t.Fatal(err)
	}
	got, err := python.Unpack(t.Context(), peer.UnpackParams{Known: known(t, x.recipient, ours), Envelope: packed[0].Data})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(sameMessage(plaintext(t, x.message), got.Message), sameMetadata(x.metadata(), got.Metadata)); err != nil {
		t.Error(err)
	}
}

// peerToToken packs there and opens with the token's key.
func peerToToken(t *testing.T, python *peer.Process, token *pkcs11.Token, ours *party, l layout) {
	x := newExchange(t, l)
	x.recipient = ours
	x = x.addressed(t)
	packed, err := python.Pack(t.Context(), x.params(t))
	if err != nil {
		t.Fatal(err)
	}
	got, err := newPacker(t, token, documents([]*party{x.sender, ours})).Unpack(t.Context(), packed.Envelope)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(sameMessage(plaintext(t, x.message), plaintext(t, got.Message)), sameMetadata(x.metadata(), got.Metadata)); err != nil {
		t.Error(err)
	}
}
