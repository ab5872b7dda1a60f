package home_test

import (
	"errors"
	"testing"

	"github.com/didcomm-go/didcomm/agent/keyring"
	"github.com/didcomm-go/didcomm/cmd/internal/home"
)

func TestIdentity(t *testing.T) {
	ctx := t.Context()
	keys, err := home.NewKeys(keyring.P384)
	if err != nil {
		t.Fatal(err)
	}
	ed, err := home.NewKeys(keyring.Ed25519)
	if err != nil {
		t.Fatal(err)
	}
	must := func(id *home.Identity, err error) *home.Identity {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	for name, tt := range map[string]struct {
		id       *home.Identity
		keys     int
		services int
	}{
		"peer 2":       {must(ed.Peer("https://a.example", "wss://b.example")), 2, 2},
		"peer 2 alone": {must(keys.Peer()), 2, 0},
		"peer 4":       {must(keys.Peer4("https://a.example")), 2, 1},
		"web":          {must(keys.Web("did:web:example.org", "https://a.example", "did:web:mediator.example")), 2, 2},
		"key":          {must(home.NewKeyDID(keyring.Ed25519)), 2, 0},
		"key P-256":    {must(home.NewKeyDID(keyring.P256)), 1, 0},
		"jwk":          {must(home.NewJWKDID(keyring.P256)), 1, 0},
		"jwk Ed25519":  {must(home.NewJWKDID(keyring.Ed25519)), 1, 0},
	} {
		if n := len(tt.id.Keys.KIDs()); n != tt.keys {
			t.Errorf("%s: %d keys, want %d", name, n, tt.keys)
		}
		if n := len(tt.id.Document.DIDCommServices()); n != tt.services {
			t.Errorf("%s: %d services, want %d", name, n, tt.services)
		}
		for _, m := range tt.id.Document.AuthenticationKeys() {
			if _, err := tt.id.Keys.Signer(ctx, m.ID); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		for _, m := range tt.id.Document.KeyAgreementKeys() {
			if _, err := tt.id.Keys.KeyAgreement(ctx, m.ID); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	for _, curve := range []keyring.Curve{keyring.X25519, keyring.Secp256k1, "none"} {
		if _, err := home.NewKeys(curve); !errors.Is(err, keyring.ErrInvalid) {
			t.Errorf("keys of %s: %v", curve, err)
		}
	}
}
