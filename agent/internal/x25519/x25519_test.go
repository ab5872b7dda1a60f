package x25519_test

import (
	"bytes"
	"crypto/ecdh"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"testing"

	"github.com/didcomm-go/didcomm/agent/internal/x25519"
)

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// RFC 7748, section 5.2.
func TestRFC7748(t *testing.T) {
	for _, tt := range []struct{ scalar, u, out string }{
		{"a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4", "e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c", "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552"},
		{"4b66e9d4d1b4673c5ad22691957d6af5c11b6421e0ea01d42ca4169e7918ba0d", "e5210f12786811d3f4b7959d0538ae2c31dbe7106fc03c3efc4cd549c715a493", "95cbde9476e8907d7aade45cb4b873f88b595a68799fa152e6f8f7647aac7957"},
	} {
		key, err := x25519.NewKey(unhex(t, tt.scalar))
		if err != nil {
			t.Fatal(err)
		}
		remote, err := ecdh.X25519().NewPublicKey(unhex(t, tt.u))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := key.ECDH(remote); err != nil || hex.EncodeToString(got) != tt.out {
			t.Errorf("got %x, %v", got, err)
		}
	}
}

func TestAgainstStandardLibrary(t *testing.T) {
	for range 200 {
		std, err := ecdh.X25519().GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		same, err := x25519.NewKey(std.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		if !same.PublicKey().Equal(std.PublicKey()) || same.Curve() != std.Curve() {
			t.Fatal("public keys differ")
		}
		ours, err := x25519.GenerateKey()
		if err != nil {
			t.Fatal(err)
		}
		a, err := ours.ECDH(std.PublicKey())
		if err != nil {
			t.Fatal(err)
		}
		b, err := std.ECDH(ours.PublicKey())
		if err != nil || !bytes.Equal(a, b) {
			t.Fatalf("%x and %x, %v", a, b, err)
		}
	}
}

func TestRefuses(t *testing.T) {
	key, err := x25519.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	zero, err := ecdh.X25519().NewPublicKey(make([]byte, x25519.Size))
	if err != nil {
		t.Fatal(err)
	}
	if z, err := key.ECDH(zero); !errors.Is(err, x25519.ErrLowOrder) || z != nil {
		t.Errorf("low order: %x, %v", z, err)
	}
	p256, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if z, err := key.ECDH(p256.PublicKey()); err == nil || z != nil {
		t.Errorf("another curve: %x, %v", z, err)
	}
	if _, err := x25519.NewKey(make([]byte, 31)); err == nil {
		t.Error("short key taken")
	}
}

func BenchmarkX25519(b *testing.B) {
	ours, _ := x25519.GenerateKey()
	std, _ := ecdh.X25519().GenerateKey(rand.Reader)
	b.Run("ladder", func(b *testing.B) {
		for b.Loop() {
			_, _ = ours.ECDH(std.PublicKey())
		}
	})
	b.Run("ladder/crypto-ecdh", func(b *testing.B) {
		for b.Loop() {
			_, _ = std.ECDH(ours.PublicKey())
		}
	})
	b.Run("key", func(b *testing.B) {
		for b.Loop() {
			_, _ = x25519.GenerateKey()
		}
	})
	b.Run("key/crypto-ecdh", func(b *testing.B) {
		for b.Loop() {
			_, _ = ecdh.X25519().GenerateKey(rand.Reader)
		}
	})
}
