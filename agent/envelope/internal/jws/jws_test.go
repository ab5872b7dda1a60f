package jws_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"github.com/didcomm-go/didcomm/agent/envelope/internal/jose"
	"github.com/didcomm-go/didcomm/agent/envelope/internal/jws"
)

var limits = jws.Limits{MaxBytes: 1 << 20, MaxSignatures: 5, MaxDepth: 16}

// RFC 8037, appendix A.4 and A.5: the key and its compact JWS.
const (
	rfc8037Key = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
	rfc8037JWS = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"
)

// TestRFC8037 verifies a signature of the RFC. It names no kid, which DIDComm
// demands, so it is put beside it.
func TestRFC8037(t *testing.T) {
	parts := strings.Split(rfc8037JWS, ".")
	e, err := jws.Parse([]byte(`{"payload":"`+parts[1]+`","protected":"`+parts[0]+`","header":{"kid":"did:example:a#1"},"signature":"`+parts[2]+`"}`), limits)
	if err != nil {
		t.Fatal(err)
	}
	key, err := hex.DecodeString(rfc8037Key)
	if err != nil {
		t.Fatal(err)
	}
	if string(e.Payload) != "Example of Ed25519 signing" {
		t.Errorf("payload %q", e.Payload)
	}
	if err := e.Verify(0, ed25519.PublicKey(key)); err != nil {
		t.Error(err)
	}
	key[0] ^= 1
	if err := e.Verify(0, ed25519.PublicKey(key)); !errors.Is(err, jws.ErrSignature) {
		t.Errorf("another key: %v", err)
	}
}

func signers(t testing.TB) []jws.Signer {
	t.Helper()
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	list := []jws.Signer{{KID: "did:example:a#ed", Key: ed}}
	for _, curve := range []elliptic.Curve{elliptic.P256(), elliptic.P384(), elliptic.P521()} {
		key, err := ecdsa.GenerateKey(curve, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, jws.Signer{KID: "did:example:a#" + curve.Params().Name, Key: key})
	}
	return list
}

func TestSign(t *testing.T) {
	list := signers(t)
	for _, protect := range []bool{false, true} {
		data, err := jws.Sign([]byte("payload"), list, protect)
		if err != nil {
			t.Fatal(err)
		}
		e, err := jws.Parse(data, limits)
		if err != nil {
			t.Fatal(err)
		}
		if string(e.Payload) != "payload" || len(e.Signatures) != len(list) || len(e.Deviations) != 0 || e.Compact {
			t.Fatalf("%+v", e)
		}
		for i, s := range list {
			if got := e.Signatures[i]; got.KID != s.KID || got.KIDProtected != protect {
				t.Errorf("signature %+v", got)
			}
			if err := e.Verify(i, s.Key.Public()); err != nil {
				t.Error(err)
			}
			other := list[(i+1)%len(list)]
			if err := e.Verify(i, other.Key.Public()); !errors.Is(err, jose.ErrUnsupportedAlg) {
				t.Errorf("key of %s for %s: %v", other.KID, s.KID, err)
			}
		}
	}
	for _, s := range list {
		token, err := jws.SignCompact("JWT", []byte("{}"), s)
		if err != nil {
			t.Fatal(err)
		}
		e, err := jws.Parse([]byte(token), limits)
		if err != nil {
			t.Fatal(err)
		}
		if !e.Compact || e.Signatures[0].Typ != "JWT" || !e.Signatures[0].KIDProtected {
			t.Errorf("%+v", e)
		}
		if err := e.Verify(0, s.Key.Public()); err != nil {
			t.Error(err)
		}
	}
}

func TestSignRefuses(t *testing.T) {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	p224, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ed := signers(t)[0].Key
	for _, tt := range []struct {
		name string
		kid  string
		key  crypto.Signer
		want error
	}{
		{"RSA", "did:example:a#1", rsaKey, jose.ErrUnsupportedAlg},
		{"P-224", "did:example:a#1", p224, jose.ErrUnsupportedAlg},
		{"kid no UTF-8", "did:example:a#\xff", ed, jose.ErrMalformed},
	} {
		s := jws.Signer{KID: tt.kid, Key: tt.key}
		if data, err := jws.Sign(nil, []jws.Signer{s}, false); !errors.Is(err, tt.want) || data != nil {
			t.Errorf("%s: %s, %v", tt.name, data, err)
		}
		if token, err := jws.SignCompact("JWT", nil, s); !errors.Is(err, tt.want) || token != "" {
			t.Errorf("%s: %s, %v", tt.name, token, err)
		}
	}
	if data, err := jws.Sign(nil, nil, false); !errors.Is(err, jose.ErrMalformed) || data != nil {
		t.Errorf("no signers: %s, %v", data, err)
	}
}

// FuzzParse parses any bytes. With an error there must be no result. A result must keep the
// promises of Parse, and only our own signature may verify with our key.
func FuzzParse(f *testing.F) {
	list := signers(f)
	payload := []byte(`{"id":"1"}`)
	for _, protect := range []bool{false, true} {
		data, err := jws.Sign(payload, list, protect)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	token, err := jws.SignCompact("JWT", payload, list[0])
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(token))
	f.Add([]byte(rfc8037JWS))
	f.Add([]byte(`{"payload":"e30=","protected":"e30=","header":{"kid":"did:a:b#c"},"signature":"AA=="}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		e, err := jws.Parse(data, limits)
		if err != nil {
			if e != nil {
				t.Fatal("an error and a result")
			}
			return
		}
		if len(e.Signatures) == 0 || len(e.Signatures) > limits.MaxSignatures || e.Compact && len(e.Signatures) != 1 {
			t.Fatalf("%d signatures", len(e.Signatures))
		}
		for i, s := range e.Signatures {
			if s.KID == "" {
				t.Fatal("no kid")
			}
			for _, own := range list {
				if e.Verify(i, own.Key.Public()) == nil && !bytes.Equal(e.Payload, payload) {
					t.Fatalf("verified %q", e.Payload)
				}
			}
		}
	})
}
