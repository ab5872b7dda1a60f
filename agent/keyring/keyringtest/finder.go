package keyringtest

import (
	"context"
	"crypto"
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/did"
	"github.com/didcomm-go/didcomm/did/didkey"
)

func multikey(t *testing.T, public crypto.PublicKey) string {
	t.Helper()
	text, err := did.FormatMultikey(public)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func testFinder(t *testing.T, finder envelope.KeyFinder, held []Held) {
	ctx := context.WithoutCancel(t.Context())
	kids := make(map[string][]string) // by public key
	for _, h := range held {
		key := multikey(t, h.Public)
		kids[key] = append(kids[key], h.KID)
	}
	other, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	unknown := []string{"", "z", "z6LS", multikey(t, other.PublicKey()), "z" + strings.Repeat("1", 5000)}
	for key, want := range kids {
		kid, err := finder.FindKey(ctx, key)
		if err != nil || !slices.Contains(want, kid) {
			t.Errorf("FindKey(%q) = %q, %v; want one of %q", key, kid, err, want)
		}
		unknown = append(unknown, key[1:], key+"1", key[:len(key)-1], "did:key:"+key)
	}
	for _, h := range held {
		unknown = append(unknown, h.KID)
		if public, ok := h.Public.(ed25519.PublicKey); ok {
			image, err := didkey.KeyAgreement(public)
			if err != nil {
				t.Fatal(err)
			}
			if key := multikey(t, image); kids[key] == nil {
				unknown = append(unknown, key)
			}
		}
	}
	for _, key := range unknown {
		if kid, err := finder.FindKey(ctx, key); !errors.Is(err, envelope.ErrNoKey) || kid != "" {
			t.Errorf("FindKey(%.100q) = %q, %v; want ErrNoKey", key, kid, err)
		}
	}
}
