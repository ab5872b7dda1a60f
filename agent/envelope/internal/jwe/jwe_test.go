package jwe_test

import (
	"bytes"
	"crypto/ecdh"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/didcomm-go/didcomm/agent/envelope/internal/jose"
	"github.com/didcomm-go/didcomm/agent/envelope/internal/jwe"
	"github.com/didcomm-go/didcomm/agent/message"
)

var limits = jwe.Limits{MaxBytes: 1 << 24, MaxRecipients: 100, MaxDepth: 16}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// RFC 3394, section 4.6: 256 bits of key data with a 256-bit KEK.
func TestKeyWrapRFC3394(t *testing.T) {
	kek := unhex(t, "000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F")
	data := unhex(t, "00112233445566778899AABBCCDDEEFF000102030405060708090A0B0C0D0E0F")
	want := unhex(t, "28C9F404C4B810F4 CBCCB35CFB87F826 3F5786E2D80ED326 CBC7F0E71A99F43B FB988B9B7A02DD21")
	got, err := jwe.WrapKey(nil, kek, data)
	if err != nil || !bytes.Equal(got, want) {
		t.Fatalf("wrapped %x, %v", got, err)
	}
	back, err := jwe.UnwrapKey(nil, kek, want)
	if err != nil || !bytes.Equal(back, data) {
		t.Fatalf("unwrapped %x, %v", back, err)
	}
	for i := range want {
		bad := bytes.Clone(want)
		bad[i] ^= 1
		if _, err := jwe.UnwrapKey(nil, kek, bad); err == nil {
			t.Fatalf("byte %d changed, unwrapped", i)
		}
	}
}

// RFC 7518, appendix B.3: AES_256_CBC_HMAC_SHA_512.
func TestCBCHMACRFC7518(t *testing.T) {
	key := make([]byte, 64)
	for i := range key {
		key[i] = byte(i)
	}
	plaintext := []byte("A cipher system must not be required to be secret, and it must be able to fall into the hands of the enemy without inconvenience")
	iv := unhex(t, "1af38c2dc2b96ffdd86694092341bc04")
	aad := []byte("The second principle of Auguste Kerckhoffs")
	wantCiphertext := unhex(t, `4affaaadb78c31c5da4b1b590d10ffbd3dd8d5d302423526912da037ecbcc7bd
		822c301dd67c373bccb584ad3e9279c2e6d12a1374b77f077553df829410446b
		36ebd97066296ae6427ea75c2e0846a11a09ccf5370dc80bfecbad28c73f09b3
		a3b75e662a2594410ae496b2e2e6609e31e6e02cc837f053d21f37ff4f51950b
		be2638d09dd7a4930930806d0703b1f6`)
	wantTag := unhex(t, "4dd3b4c088a7f45c216839645b2012bf2e6269a8c56a816dbc1b267761955bc5")
	ciphertext, tag, err := jwe.A256CBCHS512.Seal(key, iv, plaintext, aad)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(ciphertext, wantCiphertext) || !bytes.Equal(tag, wantTag) {
		t.Fatalf("ciphertext %x\ntag %x", ciphertext, tag)
	}
	got, err := jwe.A256CBCHS512.Open(key, iv, wantCiphertext, wantTag, aad)
	if err != nil || !bytes.Equal(got, plaintext) {
		t.Fatalf("opened %q, %v", got, err)
	}
}

func TestSealSizes(t *testing.T) {
	for _, enc := range []jwe.Enc{jwe.A256CBCHS512, jwe.A256GCM, jwe.XC20P} {
		key, iv := make([]byte, 64), make([]byte, 24)
		switch enc {
		case jwe.A256CBCHS512:
			iv = iv[:16]
		case jwe.A256GCM:
			key, iv = key[:32], iv[:12]
		default:
			key = key[:32]
		}
		for n := range 70 {
			plaintext := bytes.Repeat([]byte{'x'}, n)
			ciphertext, tag, err := enc.Seal(key, iv, plaintext, []byte("aad"))
			if err != nil {
				t.Fatal(err)
			}
			got, err := enc.Open(key, iv, ciphertext, tag, []byte("aad"))
			if err != nil || !bytes.Equal(got, plaintext) {
				t.Fatalf("%s of %d bytes: %q, %v", enc, n, got, err)
			}
			if _, err := enc.Open(key, iv, ciphertext, tag, []byte("add")); err == nil {
				t.Fatalf("%s opened with another aad", enc)
			}
		}
	}
}

// party is one key under test.
type party struct {
	kid string
	key *ecdh.PrivateKey
}

func newParty(t testing.TB, kid string, c ecdh.Curve) party {
	t.Helper()
	k, err := c.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return party{kid, k}
}

func encrypt(t testing.TB, plaintext []byte, enc jwe.Enc, from *party, to ...party) []byte {
	t.Helper()
	p := jwe.Params{Enc: enc}
	if from != nil {
		p.SKID, p.Sender = from.kid, from.key
	}
	for _, r := range to {
		p.Recipients = append(p.Recipients, jwe.Recipient{KID: r.kid, Key: r.key.PublicKey()})
	}
	data, err := jwe.Encrypt(plaintext, p)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestRoundTrip(t *testing.T) {
	for _, c := range []ecdh.Curve{ecdh.X25519(), ecdh.P256(), ecdh.P384(), ecdh.P521()} {
		from := newParty(t, "did:example:a#1", c)
		// Given out of order: the envelope sorts them.
		to := []party{newParty(t, "did:example:b#2", c), newParty(t, "did:example:b#1", c)}
		for _, enc := range []jwe.Enc{jwe.A256CBCHS512, jwe.A256GCM, jwe.XC20P} {
			for _, sender := range []*party{nil, &from} {
				if sender != nil && enc != jwe.A256CBCHS512 {
					continue
				}
				for _, n := range []int{0, 1, 15, 16, 17, 1535, 1536, 1537, 5000, 100_000} {
					plaintext := bytes.Repeat([]byte{'p'}, n)
					data := encrypt(t, plaintext, enc, sender, to...)
					e, err := jwe.Parse(data, limits)
					if err != nil {
						t.Fatal(err)
					}
					if len(e.Deviations) != 0 {
						t.Fatalf("ours deviates: %v", e.Deviations)
					}
					if !slices.IsSorted(e.KIDs) {
						t.Fatalf("kids %v", e.KIDs)
					}
					var pub *ecdh.PublicKey
					if sender != nil {
						pub = sender.key.PublicKey()
					}
					for i, kid := range e.KIDs {
						r := to[slices.IndexFunc(to, func(p party) bool { return p.kid == kid })]
						got, err := e.Decrypt(i, r.key, pub, nil)
						if err != nil || !bytes.Equal(got, plaintext) {
							t.Fatalf("%v %s %d bytes: %d bytes, %v", c, enc, n, len(got), err)
						}
						other, err := e.Decrypt(1-i, r.key, pub, nil)
						if !errors.Is(err, jwe.ErrDecrypt) || other != nil {
							t.Fatalf("another's slot: %v", err)
						}
					}
				}
			}
		}
	}
}

// edit decodes an envelope, lets f change it and its protected header, and
// encodes it again.
func edit(t testing.TB, data []byte, f func(env, header map[string]any)) []byte {
	t.Helper()
	var env, header map[string]any
	if err := json.Unmarshal(data, &env); err != nil {
		t.Fatal(err)
	}
	text, err := base64.RawURLEncoding.DecodeString(env["protected"].(string))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &header); err != nil {
		t.Fatal(err)
	}
	f(env, header)
	if _, changed := env["protected"]; changed {
		if text, err = json.Marshal(header); err != nil {
			t.Fatal(err)
		}
		env["protected"] = base64.RawURLEncoding.EncodeToString(text)
	}
	out, err := json.Marshal(env)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func recipient(env map[string]any) map[string]any {
	return env["recipients"].([]any)[0].(map[string]any)
}

func TestParseRefuses(t *testing.T) {
	from, to := newParty(t, "did:example:a#1", ecdh.X25519()), newParty(t, "did:example:b#1", ecdh.X25519())
	fromP, toP := newParty(t, "did:example:a#p", ecdh.P256()), newParty(t, "did:example:b#p", ecdh.P256())
	auth := encrypt(t, []byte("{}"), jwe.A256CBCHS512, &from, to)
	authP := encrypt(t, []byte("{}"), jwe.A256CBCHS512, &fromP, toP)
	anon := encrypt(t, []byte("{}"), jwe.A256GCM, nil, to)
	deep := strings.Repeat("[", 40) + strings.Repeat("]", 40)
	raw := func(header string) []byte {
		return edit(t, anon, func(env, _ map[string]any) {
			env["protected2"] = base64.RawURLEncoding.EncodeToString([]byte(header))
		})
	}
	duplicate := bytes.Replace(raw(`{"alg":"ECDH-ES+A256KW","enc":"A256GCM","enc":"XC20P","epk":{"kty":"OKP","crv":"X25519","x":"x"}}`),
		[]byte(`"protected":`), []byte(`"old":`), 1)
	duplicate = bytes.Replace(duplicate, []byte(`"protected2":`), []byte(`"protected":`), 1)
	tests := []struct {
		name string
		data []byte
		want error
	}{
		{"empty", nil, jose.ErrMalformed},
		{"array", []byte(`[]`), jose.ErrMalformed},
		{"truncated", auth[:len(auth)-10], jose.ErrMalformed},
		{"trailing", append(bytes.Clone(auth), "{}"...), jose.ErrMalformed},
		{"too large", bytes.Repeat([]byte{' '}, limits.MaxBytes+1), jose.ErrTooLarge},
		{"too deep", edit(t, auth, func(env, _ map[string]any) { env["x"] = json.RawMessage(deep) }), jose.ErrTooDeep},
		{"too deep header", edit(t, auth, func(_, h map[string]any) { h["x"] = json.RawMessage(deep) }), jose.ErrTooDeep},
		{"duplicate member", bytes.Replace(auth, []byte(`{"protected":`), []byte(`{"iv":"AA","protected":`), 1), jose.ErrDuplicateName},
		{"duplicate in header", duplicate, jose.ErrDuplicateName},
		{"no recipients", edit(t, auth, func(env, _ map[string]any) { env["recipients"] = []any{} }), jose.ErrMalformed},
		{"no kid", edit(t, auth, func(env, _ map[string]any) { delete(recipient(env), "header") }), jose.ErrMalformed},
		{"no tag", edit(t, auth, func(env, _ map[string]any) { delete(env, "tag") }), jose.ErrMalformed},
		{"no protected", edit(t, auth, func(env, _ map[string]any) { delete(env, "protected") }), jose.ErrMalformed},
		{"no alg", edit(t, auth, func(_, h map[string]any) { delete(h, "alg") }), jose.ErrUnsupportedAlg},
		{"alg dir", edit(t, auth, func(_, h map[string]any) { h["alg"] = "dir" }), jose.ErrUnsupportedAlg},
		{"alg unprotected", edit(t, auth, func(env, _ map[string]any) { env["unprotected"] = map[string]any{"alg": "dir"} }), jose.ErrUnprotectedAlg},
		{"alg of recipient", edit(t, auth, func(env, _ map[string]any) {
			recipient(env)["header"].(map[string]any)["alg"] = "ECDH-1PU+A256KW"
		}), jose.ErrUnprotectedAlg},
		{"enc unprotected", edit(t, auth, func(env, _ map[string]any) { env["unprotected"] = map[string]any{"enc": "A256GCM"} }), jose.ErrUnprotectedAlg},
		{"enc with 1PU", edit(t, auth, func(_, h map[string]any) { h["enc"] = "A256GCM" }), jose.ErrUnsupportedAlg},
		{"enc unknown", edit(t, auth, func(_, h map[string]any) { h["enc"] = "A128GCM" }), jose.ErrUnsupportedAlg},
		{"zip", edit(t, auth, func(_, h map[string]any) { h["zip"] = "DEF" }), jwe.ErrCompressed},
		{"zip unprotected", edit(t, auth, func(env, _ map[string]any) { env["unprotected"] = map[string]any{"zip": "DEF"} }), jwe.ErrCompressed},
		{"crit", edit(t, auth, func(_, h map[string]any) { h["crit"] = []string{"exp"} }), jose.ErrCritical},
		{"crit unprotected", edit(t, auth, func(env, _ map[string]any) { env["unprotected"] = map[string]any{"crit": []string{"exp"}} }), jose.ErrCritical},
		{"apu is not skid", edit(t, auth, func(_, h map[string]any) { h["skid"] = "did:example:eve#1" }), jose.ErrHeaderConflict},
		{"neither apu nor skid", edit(t, auth, func(_, h map[string]any) { delete(h, "apu"); delete(h, "skid") }), jose.ErrMalformed},
		{"two epk", edit(t, auth, func(env, h map[string]any) {
			recipient(env)["header"].(map[string]any)["epk"] = h["epk"]
		}), jose.ErrHeaderConflict},
		{"no epk", edit(t, auth, func(_, h map[string]any) { delete(h, "epk") }), jose.ErrMalformed},
		{"epk off the curve", edit(t, authP, func(_, h map[string]any) {
			epk := h["epk"].(map[string]any)
			epk["x"], epk["y"] = epk["y"], epk["x"]
		}), jwe.ErrInvalidPoint},
		{"epk at infinity", edit(t, authP, func(_, h map[string]any) {
			zero := base64.RawURLEncoding.EncodeToString(make([]byte, 32))
			h["epk"] = map[string]any{"kty": "EC", "crv": "P-256", "x": zero, "y": zero}
		}), jwe.ErrInvalidPoint},
		{"epk too long", edit(t, authP, func(_, h map[string]any) {
			h["epk"].(map[string]any)["x"] = base64.RawURLEncoding.EncodeToString(make([]byte, 33))
		}), jwe.ErrInvalidPoint},
		{"epk of another kty", edit(t, authP, func(_, h map[string]any) { h["epk"].(map[string]any)["kty"] = "OKP" }), jose.ErrMalformed},
		{"epk of another curve", edit(t, authP, func(_, h map[string]any) { h["epk"].(map[string]any)["crv"] = "secp256k1" }), jose.ErrUnsupportedAlg},
		{"flattened and general", edit(t, auth, func(env, _ map[string]any) { env["encrypted_key"] = "AA" }), jose.ErrMalformed},
		{"iv of the wrong size", edit(t, auth, func(env, _ map[string]any) { env["iv"] = "AAAA" }), jose.ErrMalformed},
		{"tag of the wrong size", edit(t, auth, func(env, _ map[string]any) { env["tag"] = "AAAA" }), jose.ErrMalformed},
		{"not base64", edit(t, auth, func(env, _ map[string]any) { env["tag"] = "!" }), jose.ErrMalformed},
		{"too many recipients", edit(t, auth, func(env, _ map[string]any) {
			for range limits.MaxRecipients {
				env["recipients"] = append(env["recipients"].([]any), recipient(env))
			}
		}), jwe.ErrTooManyRecipients},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e, err := jwe.Parse(tt.data, limits)
			if !errors.Is(err, tt.want) || e != nil {
				t.Fatalf("got %v, %v; want %v", e, err, tt.want)
			}
		})
	}
}

// TestDecryptRefuses flips bits in every part and swaps keys.
func TestDecryptRefuses(t *testing.T) {
	x := ecdh.X25519()
	from, to, eve := newParty(t, "did:example:a#1", x), newParty(t, "did:example:b#1", x), newParty(t, "did:example:e#1", x)
	data := encrypt(t, []byte(`{"a":"message"}`), jwe.A256CBCHS512, &from, to)
	flip := func(member string) []byte {
		return edit(t, data, func(env, _ map[string]any) {
			in := env
			if member == "encrypted_key" {
				in = recipient(env)
			}
			b, _ := base64.RawURLEncoding.DecodeString(in[member].(string))
			b[0] ^= 1
			in[member] = base64.RawURLEncoding.EncodeToString(b)
		})
	}
	flipped := func(name string) []byte {
		return edit(t, data, func(_, h map[string]any) {
			b, _ := base64.RawURLEncoding.DecodeString(h[name].(string))
			b[0] ^= 1
			h[name] = base64.RawURLEncoding.EncodeToString(b)
		})
	}
	zero := edit(t, data, func(_, h map[string]any) {
		h["epk"].(map[string]any)["x"] = base64.RawURLEncoding.EncodeToString(make([]byte, 32))
	})
	tests := []struct {
		name        string
		data        []byte
		key, sender party
		want        error
	}{
		{"iv", flip("iv"), to, from, jwe.ErrDecrypt},
		{"ciphertext", flip("ciphertext"), to, from, jwe.ErrDecrypt},
		{"tag", flip("tag"), to, from, jwe.ErrDecrypt},
		{"encrypted key", flip("encrypted_key"), to, from, jwe.ErrDecrypt},
		{"apv", flipped("apv"), to, from, jwe.ErrDecrypt},
		{"header re-encoded", edit(t, data, func(_, h map[string]any) { h["x"] = 1 }), to, from, jwe.ErrDecrypt},
		{"another sender", data, to, eve, jwe.ErrDecrypt},
		{"another recipient", data, eve, from, jwe.ErrDecrypt},
		{"zero epk", zero, to, from, jwe.ErrLowOrderPoint},
		{"another curve", data, newParty(t, "did:example:b#p", ecdh.P256()), from, jwe.ErrInvalidPoint},
		{"sender of another curve", data, to, newParty(t, "did:example:a#p", ecdh.P256()), jwe.ErrInvalidPoint},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e, err := jwe.Parse(tt.data, limits)
			if err != nil {
				t.Fatal(err)
			}
			got, err := e.Decrypt(0, tt.key.key, tt.sender.key.PublicKey(), nil)
			if !errors.Is(err, tt.want) || got != nil {
				t.Fatalf("got %q, %v; want %v", got, err, tt.want)
			}
			if tt.want == jwe.ErrDecrypt && err.Error() != "cannot decrypt" {
				t.Fatalf("the error says too much: %v", err)
			}
		})
	}
}

// TestLeadingZeros makes keys until one coordinate begins with a zero byte, and
// checks that what we write has full length and that a short one opens.
func TestLeadingZeros(t *testing.T) {
	for _, c := range []ecdh.Curve{ecdh.P256(), ecdh.P384(), ecdh.P521()} {
		t.Run(fmt.Sprint(c), func(t *testing.T) {
			to := newParty(t, "did:example:b#1", c)
			size := (len(to.key.PublicKey().Bytes()) - 1) / 2
			for range 20_000 {
				data := encrypt(t, []byte("{}"), jwe.A256CBCHS512, nil, to)
				var coordinate string
				short := edit(t, data, func(_, h map[string]any) {
					epk := h["epk"].(map[string]any)
					for _, name := range []string{"x", "y"} {
						b, err := base64.RawURLEncoding.DecodeString(epk[name].(string))
						if err != nil || len(b) != size {
							t.Fatalf("%s has %d bytes, want %d", name, len(b), size)
						}
						if b[0] == 0 {
							coordinate = name
							epk[name] = base64.RawURLEncoding.EncodeToString(bytes.TrimLeft(b, "\x00"))
						}
					}
				})
				if coordinate == "" {
					continue
				}
				// The header changed, so the content no longer authenticates;
				// that the key was read is what counts here.
				e, err := jwe.Parse(short, limits)
				if err != nil {
					t.Fatal(err)
				}
				if !has(e.Deviations, jwe.DevShortCoordinate) {
					t.Fatalf("deviations %v", e.Deviations)
				}
				if _, err := e.Decrypt(0, to.key, nil, nil); !errors.Is(err, jwe.ErrDecrypt) {
					t.Fatal(err)
				}
				return
			}
			t.Fatal("no coordinate with a leading zero")
		})
	}
}

func has(list []message.Deviation, code message.DeviationCode) bool {
	return slices.ContainsFunc(list, func(d message.Deviation) bool { return d.Code == code })
}

func FuzzParse(f *testing.F) {
	to := newParty(f, "did:example:b#1", ecdh.X25519())
	data := encrypt(f, []byte("{}"), jwe.A256CBCHS512, nil, to)
	f.Add(data)
	f.Add(encrypt(f, []byte("{}"), jwe.A256CBCHS512, &to, to, to))
	f.Add(edit(f, data, func(env, h map[string]any) {
		h["epk"] = `{"kty":"OKP","crv":"X25519","x":"AA=="}`
		env["unprotected"] = map[string]any{"x": []int{1}}
	}))
	f.Add([]byte("eyJhbGciOiJFQ0RILUVTK0EyNTZLVyJ9.AA.AA.AA.AA"))
	f.Fuzz(func(t *testing.T, data []byte) {
		e, err := jwe.Parse(data, limits)
		if err != nil {
			if e != nil {
				t.Fatal("an error and a result")
			}
			return
		}
		for i := range e.KIDs {
			var sender *ecdh.PublicKey
			if e.Alg == jwe.Alg1PU {
				sender = to.key.PublicKey()
			}
			_, _ = e.Decrypt(i, to.key, sender, nil)
		}
	})
}
