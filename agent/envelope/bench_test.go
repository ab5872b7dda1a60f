package envelope_test

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"testing"

	"golang.org/x/crypto/chacha20poly1305"

	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/keyring"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/did"
)

// pair is a sender and a recipient with n X25519 keys.
type pair struct {
	sender, recipient *envelope.Packer
	from, to          string
}

func newPair(b *testing.B, n int) pair {
	b.Helper()
	docs := documents{}
	member := func(id string, n int) *envelope.Packer {
		keys := keyring.New()
		doc := &did.Document{ID: id}
		for i := range n {
			k, err := ecdh.X25519().GenerateKey(rand.Reader)
			if err != nil {
				b.Fatal(err)
			}
			addKey(b, doc, keys, fmt.Sprintf("%s#key-x-%03d", id, i), k, k.PublicKey())
		}
		pub, priv, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			b.Fatal(err)
		}
		addKey(b, doc, keys, id+"#key-sign", priv, pub)
		text, err := json.Marshal(doc)
		if err != nil {
			b.Fatal(err)
		}
		if docs[id], err = did.ParseDocument(text); err != nil {
			b.Fatal(err)
		}
		return newPacker(b, envelope.Config{Keys: keys, Resolver: docs})
	}
	return pair{member(aliceDID, 1), member(bobDID, n), aliceDID, bobDID}
}

func addKey(t testing.TB, doc *did.Document, keys *keyring.Keyring, kid string, priv, pub any) {
	t.Helper()
	if err := keys.Add(kid, priv); err != nil {
		t.Fatal(err)
	}
	m, err := did.NewVerificationMethod(kid, doc.ID, did.TypeJSONWebKey2020, pub)
	if err != nil {
		t.Fatal(err)
	}
	doc.VerificationMethod = append(doc.VerificationMethod, m)
	ref := did.Relationship{ID: kid}
	if _, agree := pub.(*ecdh.PublicKey); agree {
		doc.KeyAgreement = append(doc.KeyAgreement, ref)
	} else {
		doc.Authentication = append(doc.Authentication, ref)
	}
}

func (p pair) message(b *testing.B, size int) *message.Message {
	b.Helper()
	m, err := message.New("https://didcomm.org/basicmessage/2.0/message", map[string]string{"content": string(bytes.Repeat([]byte{'c'}, size))})
	if err != nil {
		b.Fatal(err)
	}
	m.From, m.To = p.from, []string{p.to}
	return m
}

var sizes = []struct {
	name string
	n    int
}{{"100B", 100}, {"1KiB", 1 << 10}, {"64KiB", 64 << 10}, {"1MiB", 1 << 20}}

func modes(from string) []struct {
	name string
	opts []envelope.PackOption
	enc  envelope.Enc
	auth bool
} {
	return []struct {
		name string
		opts []envelope.PackOption
		enc  envelope.Enc
		auth bool
	}{
		{"authcrypt", []envelope.PackOption{envelope.From(from)}, envelope.A256CBCHS512, true},
		{"anoncrypt-A256CBC-HS512", nil, envelope.A256CBCHS512, false},
		{"anoncrypt-A256GCM", []envelope.PackOption{envelope.ContentEncryption(envelope.A256GCM)}, envelope.A256GCM, false},
		{"anoncrypt-XC20P", []envelope.PackOption{envelope.ContentEncryption(envelope.XC20P)}, envelope.XC20P, false},
	}
}

// BenchmarkPack and BenchmarkUnpack run each operation beside its bare
// primitives (bare): the ladders, the content encryption, one base64 pass.
// Divide one by the other.
func BenchmarkPack(b *testing.B) {
	for _, recipients := range []int{1, 10, 100} {
		p := newPair(b, recipients)
		for _, mode := range modes(p.from) {
			for _, size := range sizes {
				if recipients > 1 && size.n != 1<<10 {
					continue
				}
				m := p.message(b, size.n)
				name := fmt.Sprintf("%s/%s/%d", mode.name, size.name, recipients)
				b.Run(name, func(b *testing.B) {
					b.ReportAllocs()
					b.SetBytes(int64(size.n))
					for b.Loop() {
						if _, err := p.sender.Pack(b.Context(), m, mode.opts...); err != nil {
							b.Fatal(err)
						}
					}
				})
				b.Run(name+"/bare", func(b *testing.B) {
					b.SetBytes(int64(size.n))
					bare := newBare(b, mode.enc, size.n)
					for b.Loop() {
						bare.pack(recipients, mode.auth)
					}
				})
			}
		}
	}
}

func BenchmarkUnpack(b *testing.B) {
	for _, recipients := range []int{1, 10, 100} {
		p := newPair(b, recipients)
		for _, mode := range modes(p.from) {
			for _, size := range sizes {
				if recipients > 1 && size.n != 1<<10 {
					continue
				}
				sealed, err := p.sender.Pack(b.Context(), p.message(b, size.n), mode.opts...)
				if err != nil {
					b.Fatal(err)
				}
				name := fmt.Sprintf("%s/%s/%d", mode.name, size.name, recipients)
				b.Run(name, func(b *testing.B) {
					b.ReportAllocs()
					b.SetBytes(int64(size.n))
					for b.Loop() {
						if _, err := p.recipient.Unpack(b.Context(), sealed[0].Data); err != nil {
							b.Fatal(err)
						}
					}
				})
				b.Run(name+"/bare", func(b *testing.B) {
					b.SetBytes(int64(size.n))
					bare := newBare(b, mode.enc, size.n)
					for b.Loop() {
						bare.unpack(mode.auth)
					}
				})
			}
		}
	}
}

func BenchmarkSign(b *testing.B) {
	p := newPair(b, 1)
	for _, size := range sizes {
		m := p.message(b, size.n)
		b.Run("EdDSA/"+size.name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(size.n))
			for b.Loop() {
				if _, err := p.sender.Pack(b.Context(), m, envelope.SignBy(p.from), envelope.Signed()); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run("EdDSA/"+size.name+"/bare", func(b *testing.B) {
			_, key, _ := ed25519.GenerateKey(rand.Reader)
			text := make([]byte, base64.RawURLEncoding.EncodedLen(size.n))
			for b.Loop() {
				ed25519.Sign(key, text)
			}
		})
	}
}

func BenchmarkVerify(b *testing.B) {
	p := newPair(b, 1)
	for _, size := range sizes {
		signed, err := p.sender.Pack(b.Context(), p.message(b, size.n), envelope.SignBy(p.from), envelope.Signed())
		if err != nil {
			b.Fatal(err)
		}
		b.Run("EdDSA/"+size.name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(size.n))
			for b.Loop() {
				if _, err := p.recipient.Unpack(b.Context(), signed[0].Data); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run("EdDSA/"+size.name+"/bare", func(b *testing.B) {
			pub, key, _ := ed25519.GenerateKey(rand.Reader)
			text := make([]byte, base64.RawURLEncoding.EncodedLen(size.n))
			sig := ed25519.Sign(key, text)
			for b.Loop() {
				ed25519.Verify(pub, text, sig)
			}
		})
	}
}

// bare is the primitives alone, with keys and buffers made beforehand.
type bare struct {
	ours, theirs       *ecdh.PrivateKey
	enc                envelope.Enc
	plain, sealed, b64 []byte
	key, iv            []byte
	aad                []byte
}

func newBare(b *testing.B, enc envelope.Enc, size int) *bare {
	b.Helper()
	x := &bare{enc: enc, key: make([]byte, 64), iv: make([]byte, 24), aad: make([]byte, 400)}
	var err error
	if x.ours, err = ecdh.X25519().GenerateKey(rand.Reader); err != nil {
		b.Fatal(err)
	}
	if x.theirs, err = ecdh.X25519().GenerateKey(rand.Reader); err != nil {
		b.Fatal(err)
	}
	size = (size + 256) &^ 15 // the message around the content
	x.plain = make([]byte, size)
	x.sealed = make([]byte, size, size+64)
	x.b64 = make([]byte, base64.RawURLEncoding.EncodedLen(size))
	x.sealed = x.content(x.sealed[:0])
	base64.RawURLEncoding.Encode(x.b64, x.sealed[:size])
	return x
}

func (x *bare) aead() cipher.AEAD {
	if x.enc == envelope.XC20P {
		a, _ := chacha20poly1305.NewX(x.key[:32])
		return a
	}
	block, _ := aes.NewCipher(x.key[:32])
	a, _ := cipher.NewGCM(block)
	return a
}

func (x *bare) content(dst []byte) []byte {
	if x.enc != envelope.A256CBCHS512 {
		a := x.aead()
		return a.Seal(dst, x.iv[:a.NonceSize()], x.plain, x.aad)
	}
	block, _ := aes.NewCipher(x.key[32:])
	dst = dst[:len(x.plain)]
	cipher.NewCBCEncrypter(block, x.iv[:16]).CryptBlocks(dst, x.plain)
	return x.mac(dst)
}

func (x *bare) mac(ciphertext []byte) []byte {
	h := hmac.New(sha512.New, x.key[:32])
	h.Write(x.aad)
	h.Write(x.iv[:16])
	h.Write(ciphertext)
	return h.Sum(ciphertext)
}

func (x *bare) wrap(n int) {
	block, _ := aes.NewCipher(x.key[:32])
	buf := make([]byte, 16)
	for range 6 * n {
		block.Encrypt(buf, buf)
	}
}

func (x *bare) pack(recipients int, auth bool) {
	e, _ := ecdh.X25519().GenerateKey(rand.Reader)
	sealed := x.content(x.sealed[:0])
	base64.RawURLEncoding.Encode(x.b64, sealed[:len(x.plain)])
	for range recipients {
		z, _ := e.ECDH(x.theirs.PublicKey())
		if auth {
			s, _ := x.ours.ECDH(x.theirs.PublicKey())
			z = append(z, s...)
		}
		sha256.Sum256(z)
		x.wrap(8)
	}
}

func (x *bare) unpack(auth bool) {
	z, _ := x.theirs.ECDH(x.ours.PublicKey())
	if auth {
		s, _ := x.theirs.ECDH(x.ours.PublicKey())
		z = append(z, s...)
	}
	sha256.Sum256(z)
	x.wrap(8)
	buf := make([]byte, len(x.b64))
	n, _ := base64.RawURLEncoding.Decode(buf, x.b64)
	buf = buf[:n]
	if x.enc != envelope.A256CBCHS512 {
		a := x.aead()
		if _, err := a.Open(buf[:0], x.iv[:a.NonceSize()], x.sealed, x.aad); err != nil {
			panic(err)
		}
		return
	}
	x.mac(buf)
	block, _ := aes.NewCipher(x.key[32:])
	cipher.NewCBCDecrypter(block, x.iv[:16]).CryptBlocks(buf, buf)
}
