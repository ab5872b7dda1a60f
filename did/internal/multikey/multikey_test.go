package multikey_test

import (
	"bytes"
	"encoding/base64"
	"slices"
	"strings"
	"testing"

	"github.com/multiformats/go-multibase"

	"github.com/didcomm-go/didcomm/did/internal/multikey"
)

// Keys of the did:key test vectors (w3c-ccg/did-key-spec).
func TestDecode(t *testing.T) {
	for s, want := range map[string]multikey.Code{
		"z6MkiTBz1ymuepAQ4HEHYSF1H8quG5GLVVQR3djdX3mDooWp":                        multikey.Ed25519,
		"z6LShs9GGnqk85isEBzzshkuVWrVKsRp24GnDuHk8QWkARMW":                        multikey.X25519,
		"zQ3shokFTS3brHcDQrn82RUDfCZESWL1ZdCEJwekUDPQiYBme":                       multikey.Secp256k1,
		"zDnaerx9CtbPJ1q36T5Ln5wYt3MQYeGRG5ehnPAmxcf5mDZpv":                       multikey.P256,
		"z82LkvCwHNreneWpsgPEbV3gu1C6NFJEBg4srfJ5gdxEsMGRJUz2sG9FE42shbn2xkZJh54": multikey.P384,
	} {
		code, key, err := multikey.Decode(s)
		if err != nil || code != want || len(key) != want.Size() {
			t.Errorf("%s: %v, %x, %v", s, code, key, err)
		}
		if again := multikey.Encode(code, key); again != s {
			t.Errorf("%s becomes %s", s, again)
		}
		raw, err := multikey.DecodeMultibase(s)
		if err != nil {
			t.Fatal(err)
		}
		code, again, err := multikey.Decode("u" + base64.RawURLEncoding.EncodeToString(raw))
		if err != nil || code != want || !bytes.Equal(again, key) {
			t.Errorf("%s in base64url: %v, %x, %v", s, code, again, err)
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	encode := func(b ...byte) string {
		s, err := multibase.Encode(multibase.Base58BTC, b)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	key := make([]byte, 32)
	for name, s := range map[string]string{
		"empty":              "",
		"no data":            "z",
		"base16":             "fed01",
		"unknown base":       "!abc",
		"no base58":          "z0",
		"non-minimal varint": encode(append([]byte{0xed, 0x81, 0x00}, key...)...),
		"varint of zeros":    encode(append([]byte{0x80, 0x00}, key...)...),
		"varint cut off":     encode(0xed),
		"varint overflow":    encode(bytes.Repeat([]byte{0xff}, 20)...),
		"short":              encode(append([]byte{0xed, 0x01}, key[1:]...)...),
		"long":               encode(append([]byte{0xed, 0x01, 1}, key...)...),
		"too long":           "z" + strings.Repeat("1", multikey.MaxLen),
	} {
		if code, key, err := multikey.Decode(s); err == nil || key != nil || code != 0 {
			t.Errorf("%s: %v, %x, %v", name, code, key, err)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add("z6MkiTBz1ymuepAQ4HEHYSF1H8quG5GLVVQR3djdX3mDooWp")
	f.Add("zDnaerx9CtbPJ1q36T5Ln5wYt3MQYeGRG5ehnPAmxcf5mDZpv")
	f.Add("u7QE")
	f.Fuzz(func(t *testing.T, s string) {
		code, key, err := multikey.Decode(s)
		if err != nil {
			return
		}
		if s[0] == 'z' && multikey.Encode(code, key) != s {
			t.Errorf("%q becomes %q", s, multikey.Encode(code, key))
		}
		if _, again, err := multikey.Decode(multikey.Encode(code, key)); err == nil && !slices.Equal(again, key) {
			t.Errorf("%q loses bytes", s)
		}
	})
}
