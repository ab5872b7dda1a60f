//go:build pkcs11

package pkcs11_test

import (
	"bytes"
	"crypto/ecdh"
	"crypto/rand"
	"testing"

	"github.com/didcomm-go/didcomm/agent/keyring"
	"github.com/didcomm-go/didcomm/agent/keyring/pkcs11"
)

// TestPoints exchanges keys with a point that reads as the DER of an OCTET STRING,
// as every 256th of P-256 does, and with one whose secret begins with a zero.
func TestPoints(t *testing.T) {
	tok := open(t, newToken(t))
	const kid = "did:example:points#key-1"
	if _, err := tok.Generate(kid, keyring.P256, pkcs11.Agreement); err != nil {
		t.Fatal(err)
	}
	if err := tok.Bind(kid, kid); err != nil {
		t.Fatal(err)
	}
	key, err := tok.KeyAgreement(t.Context(), kid)
	if err != nil {
		t.Fatal(err)
	}
	for der, zero := false, false; !der || !zero; {
		peer, err := ecdh.P256().GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		want, err := peer.ECDH(key.PublicKey())
		if err != nil {
			t.Fatal(err)
		}
		point := peer.PublicKey().Bytes()
		likeDER, zeroFirst := int(point[1]) == len(point)-2, want[0] == 0
		if !likeDER && !zeroFirst {
			continue
		}
		if got, err := key.ECDH(peer.PublicKey()); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("point %x, like DER %v, secret with a zero first %v: %v, or another secret", point, likeDER, zeroFirst, err)
		}
		der, zero = der || likeDER, zero || zeroFirst
	}
}
