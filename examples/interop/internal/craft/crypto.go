package craft

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/binary"
	"slices"
	"strings"

	"golang.org/x/crypto/chacha20poly1305"
)

func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b)
	return b
}

// apv is the hash of the kids in that order (DIDComm v2.1, ECDH-1PU and ECDH-ES
// key wrapping and common protected headers).
func apv(kids ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(kids, ".")))
	return b64.EncodeToString(sum[:])
}

// concatKDF derives a key of at most 32 bytes (RFC 7518, section 4.6.2). tag is
// that of ECDH-1PU draft-04, nil for ECDH-ES.
func concatKDF(z []byte, alg string, apu, apv []byte, size int, tag []byte) []byte {
	in := append([]byte{0, 0, 0, 1}, z...)
	for _, part := range [][]byte{[]byte(alg), apu, apv} {
		in = append(in, sized(part)...)
	}
	in = binary.BigEndian.AppendUint32(in, uint32(8*size))
	if tag != nil {
		in = append(in, sized(tag)...)
	}
	sum := sha256.Sum256(in)
	return sum[:size]
}

func sized(b []byte) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(b))), b...)
}

// wrap is AES key wrap (RFC 3394, section 2.2.1).
func wrap(kek, key []byte) []byte {
	block := must(aes.NewCipher(kek))
	r := append(make([]byte, 8), key...)
	a := []byte{0xa6, 0xa6, 0xa6, 0xa6, 0xa6, 0xa6, 0xa6, 0xa6}
	for step := range uint64(6 * len(key) / 8) {
		at := 8 + 8*(int(step)%(len(key)/8))
		b := append(slices.Clone(a), r[at:at+8]...)
		block.Encrypt(b, b)
		copy(r[at:], b[8:])
		binary.BigEndian.PutUint64(a, binary.BigEndian.Uint64(b)^(step+1))
	}
	copy(r, a)
	return r
}

// encrypt encrypts content with a fresh key. ivSize is for those that get it
// wrong; 0 is what enc says.
func encrypt(enc string, ivSize int, aad, plaintext []byte) (cek, iv, ciphertext, tag []byte) {
	var aead cipher.AEAD
	switch enc {
	case "A256CBC-HS512":
		cek, iv = random(64), random(16)
		ciphertext, tag = encryptCBC(cek, iv, aad, plaintext)
		return cek, iv, ciphertext, tag
	case "XC20P":
		cek = random(32)
		aead = must(chacha20poly1305.NewX(cek))
	default:
		cek = random(map[string]int{"A256GCM": 32, "A128GCM": 16}[enc])
		if ivSize == 0 {
			ivSize = 12
		}
		aead = must(cipher.NewGCMWithNonceSize(must(aes.NewCipher(cek)), ivSize))
	}
	iv = random(aead.NonceSize())
	sealed := aead.Seal(nil, iv, plaintext, aad)
	end := len(sealed) - aead.Overhead()
	return cek, iv, sealed[:end], sealed[end:]
}

// encryptCBC is A256CBC-HS512 (RFC 7518, section 5.2.2.1).
func encryptCBC(cek, iv, aad, plaintext []byte) (ciphertext, tag []byte) {
	fill := aes.BlockSize - len(plaintext)%aes.BlockSize
	ciphertext = slices.Concat(plaintext, slices.Repeat([]byte{byte(fill)}, fill))
	cipher.NewCBCEncrypter(must(aes.NewCipher(cek[32:])), iv).CryptBlocks(ciphertext, ciphertext)
	return ciphertext, tagCBC(cek, iv, aad, ciphertext)
}

// tagCBC is the tag of A256CBC-HS512.
func tagCBC(cek, iv, aad, ciphertext []byte) []byte {
	mac := hmac.New(sha512.New, cek[:32])
	for _, part := range [][]byte{aad, iv, ciphertext, binary.BigEndian.AppendUint64(nil, uint64(8*len(aad)))} {
		mac.Write(part)
	}
	return mac.Sum(nil)[:32]
}

// publicJWK writes a key with coordinates of full length.
func publicJWK(key *ecdh.PublicKey) Object {
	b := key.Bytes()
	if key.Curve() == ecdh.X25519() {
		return Object{"kty": "OKP", "crv": "X25519", "x": b64.EncodeToString(b)}
	}
	n := (len(b) - 1) / 2
	return Object{
		"kty": "EC", "crv": map[int]string{32: "P-256", 48: "P-384", 66: "P-521"}[n],
		"x": b64.EncodeToString(b[1 : 1+n]), "y": b64.EncodeToString(b[1+n:]),
	}
}

// shortKey is a key whose x begins with a zero byte.
func shortKey(curve ecdh.Curve) *ecdh.PrivateKey {
	for {
		if key := must(curve.GenerateKey(rand.Reader)); key.PublicKey().Bytes()[1] == 0 {
			return key
		}
	}
}
