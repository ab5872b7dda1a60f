package envelope_test

import (
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/decred/dcrd/dcrec/secp256k1/v4"
	secpecdsa "github.com/decred/dcrd/dcrec/secp256k1/v4/ecdsa"
	josecipher "github.com/go-jose/go-jose/v4/cipher"
	"golang.org/x/crypto/chacha20poly1305"
)

// peerJWE is a JWE of another author: independent of package jwe, and as
// deviating as a test wants while it still decrypts. Its zero value besides to
// and plaintext is what interop.md calls "send".
type peerJWE struct {
	plaintext []byte
	enc       string      // A256CBC-HS512 if empty
	from      *peerSender // nil for ECDH-ES
	to        []peerRecipient
	kdf       string            // how ECDH-1PU mixes the tag in: "" for draft-04, "draft-03", "no length prefix"
	form      string            // "" for General, "flattened", "compact"
	pad       bool              // write protected with padding
	epk       *ecdh.PrivateKey  // instead of a fresh one
	epkEach   bool              // a fresh epk in each recipient's header
	epkJWK    func(jwk any) any // how epk is written
	// header changes the protected header before it is used; envelope changes
	// the JSON serialization at the end.
	header   func(h map[string]any)
	envelope func(env map[string]any)
}

type peerRecipient struct {
	kid string
	key *ecdh.PublicKey
}

type peerSender struct {
	kid string
	key *ecdh.PrivateKey
}

var b64 = base64.RawURLEncoding

func (p peerJWE) seal(t testing.TB) []byte {
	t.Helper()
	curve := p.to[0].key.Curve()
	newEPK := func() *ecdh.PrivateKey {
		if p.epk != nil {
			return p.epk
		}
		key, err := curve.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return key
	}
	written := func(key *ecdh.PrivateKey) any {
		if jwk := publicJWK(key.PublicKey()); p.epkJWK != nil {
			return p.epkJWK(jwk)
		} else {
			return jwk
		}
	}
	common := newEPK()
	enc := p.enc
	if enc == "" {
		enc = "A256CBC-HS512"
	}
	var kids []string
	for _, r := range p.to {
		kids = append(kids, r.kid)
	}
	slices.Sort(kids)
	apv := sha256.Sum256([]byte(strings.Join(kids, ".")))
	h := map[string]any{
		"typ": "application/didcomm-encrypted+json", "alg": "ECDH-ES+A256KW", "enc": enc, "apv": b64.EncodeToString(apv[:]),
	}
	if p.from != nil {
		h["alg"], h["skid"], h["apu"] = "ECDH-1PU+A256KW", p.from.kid, b64.EncodeToString([]byte(p.from.kid))
	}
	if !p.epkEach {
		h["epk"] = written(common)
	}
	if p.form == "compact" {
		h["kid"] = p.to[0].kid
	}
	if p.header != nil {
		p.header(h)
	}
	protected := encode64(t, h, p.pad)

	keySize := 32
	if enc == "A256CBC-HS512" {
		keySize = 64
	}
	cek := random(t, keySize)
	aead := contentCipher(t, enc, cek)
	iv := random(t, aead.NonceSize())
	sealed := aead.Seal(nil, iv, p.plaintext, []byte(protected))
	ciphertext, tag := sealed[:len(sealed)-aead.Overhead()], sealed[len(sealed)-aead.Overhead():]
	if enc == "A256CBC-HS512" { // whose Overhead counts the padding too
		ciphertext, tag = sealed[:len(sealed)-32], sealed[len(sealed)-32:]
	}

	var recipients []any
	for _, r := range p.to {
		header := map[string]any{"kid": r.kid}
		epk := common
		if p.epkEach {
			epk = newEPK()
			header["epk"] = written(epk)
		}
		z := agree(t, epk, r.key)
		var private []byte
		if p.from != nil {
			z = append(z, agree(t, p.from.key, r.key)...)
			switch p.kdf {
			case "":
				private = sized(tag)
			case "no length prefix":
				private = tag
			}
		}
		kek := make([]byte, 32)
		kdf := josecipher.NewConcatKDF(crypto.SHA256, z, sized([]byte(h["alg"].(string))), sized(member64(t, h, "apu")),
			sized(member64(t, h, "apv")), []byte{0, 0, 1, 0}, private)
		if _, err := io.ReadFull(kdf, kek); err != nil {
			t.Fatal(err)
		}
		block, err := aes.NewCipher(kek)
		if err != nil {
			t.Fatal(err)
		}
		wrapped, err := josecipher.KeyWrap(block, cek)
		if err != nil {
			t.Fatal(err)
		}
		recipients = append(recipients, map[string]any{"header": header, "encrypted_key": b64.EncodeToString(wrapped)})
	}
	env := map[string]any{
		"protected": protected, "iv": b64.EncodeToString(iv), "ciphertext": b64.EncodeToString(ciphertext),
		"tag": b64.EncodeToString(tag), "recipients": recipients,
	}
	first := recipients[0].(map[string]any)
	switch p.form {
	case "compact":
		return []byte(strings.Join([]string{protected, first["encrypted_key"].(string), env["iv"].(string), env["ciphertext"].(string), env["tag"].(string)}, "."))
	case "flattened":
		delete(env, "recipients")
		maps.Copy(env, first)
	}
	if p.envelope != nil {
		p.envelope(env)
	}
	return toJSON(t, env)
}

func contentCipher(t testing.TB, enc string, key []byte) cipher.AEAD {
	t.Helper()
	var a cipher.AEAD
	var err error
	switch enc {
	case "A256CBC-HS512":
		a, err = josecipher.NewCBCHMAC(key, aes.NewCipher)
	case "XC20P":
		a, err = chacha20poly1305.NewX(key)
	default:
		var block cipher.Block
		if block, err = aes.NewCipher(key); err == nil {
			a, err = cipher.NewGCM(block)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func agree(t testing.TB, key *ecdh.PrivateKey, peer *ecdh.PublicKey) []byte {
	t.Helper()
	z, err := key.ECDH(peer)
	if err != nil {
		t.Fatal(err)
	}
	return z
}

func sized(b []byte) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(b))), b...)
}

// member64 decodes a header's base64url value, nil if there is none.
func member64(t testing.TB, h map[string]any, name string) []byte {
	t.Helper()
	s, _ := h[name].(string)
	b, err := b64.DecodeString(strings.TrimRight(s, "="))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func random(t testing.TB, n int) []byte {
	t.Helper()
	b := make([]byte, n)
	if _, err := rand.Read(b); err != nil {
		t.Fatal(err)
	}
	return b
}

// encode64 is a header's base64url form; with pad, one that needs padding.
func encode64(t testing.TB, header map[string]any, pad bool) string {
	t.Helper()
	if !pad {
		return b64.EncodeToString(toJSON(t, header))
	}
	header["filler"] = ""
	for len(toJSON(t, header))%3 == 0 {
		header["filler"] = header["filler"].(string) + "x"
	}
	return base64.URLEncoding.EncodeToString(toJSON(t, header))
}

// publicJWK writes a key with coordinates of full length.
func publicJWK(key *ecdh.PublicKey) map[string]any {
	b := key.Bytes()
	if key.Curve() == ecdh.X25519() {
		return map[string]any{"kty": "OKP", "crv": "X25519", "x": b64.EncodeToString(b)}
	}
	n := (len(b) - 1) / 2
	return map[string]any{
		"kty": "EC", "crv": map[int]string{32: "P-256", 48: "P-384", 66: "P-521"}[n],
		"x": b64.EncodeToString(b[1 : 1+n]), "y": b64.EncodeToString(b[1+n:]),
	}
}

// shortEPK returns a key whose x begins with a zero byte, and its JWK in the form of peers that
// drop that byte.
func shortEPK(t testing.TB, curve ecdh.Curve) (*ecdh.PrivateKey, func(any) any) {
	t.Helper()
	for range 100_000 {
		key, err := curve.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		if key.PublicKey().Bytes()[1] != 0 {
			continue
		}
		return key, func(v any) any {
			jwk := v.(map[string]any)
			x, err := b64.DecodeString(jwk["x"].(string))
			if err != nil {
				t.Fatal(err)
			}
			jwk["x"] = b64.EncodeToString([]byte(strings.TrimLeft(string(x), "\x00")))
			return jwk
		}
	}
	t.Fatal("no coordinate with a leading zero")
	return nil, nil
}

// peerJWS is a JWS of another author. Its zero value besides payload and
// signers is what interop.md calls "send".
type peerJWS struct {
	payload []byte
	signers []peerSigner
	form    string // "" for General, "flattened", "compact"
	pad     bool   // write payload and signatures with padding
	// envelope changes the JSON serialization at the end.
	envelope func(env map[string]any)
}

type peerSigner struct {
	kid       string
	key       any
	kidIn     string // "" for the unprotected header, "protected", "both"
	highS     bool
	pad       bool // write protected with padding
	protected func(h map[string]any)
	header    func(h map[string]any) // the unprotected header
}

func (p peerJWS) seal(t testing.TB) []byte {
	t.Helper()
	coding := b64
	if p.pad {
		coding = base64.URLEncoding
	}
	payload := coding.EncodeToString(p.payload)
	var signatures []any
	for _, s := range p.signers {
		protected := map[string]any{"typ": "application/didcomm-signed+json", "alg": algOf(t, s.key)}
		header := map[string]any{}
		if s.kidIn != "" || p.form == "compact" {
			protected["kid"] = s.kid
		}
		if s.kidIn != "protected" && p.form != "compact" {
			header["kid"] = s.kid
		}
		if s.protected != nil {
			s.protected(protected)
		}
		if s.header != nil {
			s.header(header)
		}
		text := encode64(t, protected, s.pad)
		signature := map[string]any{"protected": text, "signature": coding.EncodeToString(s.sign(t, []byte(text+"."+payload)))}
		if len(header) > 0 {
			signature["header"] = header
		}
		signatures = append(signatures, signature)
	}
	env := map[string]any{"payload": payload, "signatures": signatures}
	first := signatures[0].(map[string]any)
	switch p.form {
	case "compact":
		return []byte(strings.Join([]string{first["protected"].(string), payload, first["signature"].(string)}, "."))
	case "flattened":
		delete(env, "signatures")
		maps.Copy(env, first)
	}
	if p.envelope != nil {
		p.envelope(env)
	}
	return toJSON(t, env)
}

func algOf(t testing.TB, key any) string {
	t.Helper()
	switch key := key.(type) {
	case ed25519.PrivateKey:
		return "EdDSA"
	case *secp256k1.PrivateKey:
		return "ES256K"
	case *ecdsa.PrivateKey:
		return map[int]string{256: "ES256", 384: "ES384", 521: "ES512"}[key.Params().BitSize]
	}
	t.Fatalf("no algorithm for %T", key)
	return ""
}

func (s peerSigner) sign(t testing.TB, input []byte) []byte {
	t.Helper()
	switch key := s.key.(type) {
	case ed25519.PrivateKey:
		return ed25519.Sign(key, input)
	case *ecdsa.PrivateKey:
		hash := map[int]crypto.Hash{256: crypto.SHA256, 384: crypto.SHA384, 521: crypto.SHA512}[key.Params().BitSize].New()
		hash.Write(input)
		r, v, err := ecdsa.Sign(rand.Reader, key, hash.Sum(nil))
		if err != nil {
			t.Fatal(err)
		}
		n := (key.Params().BitSize + 7) / 8
		return append(r.FillBytes(make([]byte, n)), v.FillBytes(make([]byte, n))...)
	case *secp256k1.PrivateKey:
		digest := sha256.Sum256(input)
		sig := secpecdsa.Sign(key, digest[:])
		r, v := sig.R(), sig.S()
		if s.highS {
			v.Negate()
		}
		rb, sb := r.Bytes(), v.Bytes()
		return append(rb[:], sb[:]...)
	}
	t.Fatalf("cannot sign with %T", s.key)
	return nil
}
