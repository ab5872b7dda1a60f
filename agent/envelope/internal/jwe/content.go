package jwe

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/binary"
	"errors"

	"golang.org/x/crypto/chacha20poly1305"
)

// Enc is a content encryption algorithm.
type Enc string

// Content encryption algorithms of DIDComm v2.1, Curves and Content Encryption
// Algorithms.
const (
	A256CBCHS512 Enc = "A256CBC-HS512"
	A256GCM      Enc = "A256GCM"
	XC20P        Enc = "XC20P"
)

// maxTagSize is the tag size of A256CBC-HS512, in bytes.
const maxTagSize = 32

var errOpen = errors.New("content does not authenticate")

// sizes returns the sizes of the key, the initialization vector and the tag, in bytes. ok is
// false for an unknown algorithm.
func (e Enc) sizes() (key, iv, tag int, ok bool) {
	switch e {
	case A256CBCHS512:
		return 64, aes.BlockSize, 32, true
	case A256GCM:
		return 32, 12, 16, true
	case XC20P:
		return chacha20poly1305.KeySize, chacha20poly1305.NonceSizeX, chacha20poly1305.Overhead, true
	}
	return 0, 0, 0, false
}

// ciphertextSize returns the size of the ciphertext of n bytes, without the tag.
func (e Enc) ciphertextSize(n int) int {
	if e == A256CBCHS512 {
		return n + aes.BlockSize - n%aes.BlockSize
	}
	return n
}

func (e Enc) aead(key []byte) (cipher.AEAD, error) {
	if e == XC20P {
		return chacha20poly1305.NewX(key)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// seal encrypts plaintext into dst, and returns the ciphertext and the tag as slices of dst.
// dst has the size of ciphertextSize plus the size of the tag, and does not overlap plaintext.
func (e Enc) seal(dst, key, iv, plaintext, aad []byte) (ciphertext, tag []byte, err error) {
	n := e.ciphertextSize(len(plaintext))
	if e != A256CBCHS512 {
		a, err := e.aead(key)
		if err != nil {
			return nil, nil, err
		}
		out := a.Seal(dst[:0], iv, plaintext, aad)
		return out[:n], out[n:], nil
	}
	block, err := aes.NewCipher(key[32:])
	if err != nil {
		return nil, nil, err
	}
	ciphertext = dst[:n]
	whole := len(plaintext) - len(plaintext)%aes.BlockSize
	last := ciphertext[whole:]
	pad := byte(aes.BlockSize - copy(last, plaintext[whole:]))
	for i := aes.BlockSize - int(pad); i < aes.BlockSize; i++ {
		last[i] = pad
	}
	cbc := cipher.NewCBCEncrypter(block, iv)
	cbc.CryptBlocks(ciphertext[:whole], plaintext[:whole])
	cbc.CryptBlocks(last, last)
	return ciphertext, cbcTag(dst[n:n], key[:32], iv, ciphertext, aad), nil
}

// open checks the tag and decrypts ciphertext in place. The plaintext is a slice of
// ciphertext.
func (e Enc) open(key, iv, ciphertext, tag, aad []byte) ([]byte, error) {
	if e != A256CBCHS512 {
		a, err := e.aead(key)
		if err != nil {
			return nil, err
		}
		// The caller leaves room for the tag after the ciphertext.
		return a.Open(ciphertext[:0], iv, append(ciphertext, tag...), aad)
	}
	var buf [sha512.Size]byte
	if subtle.ConstantTimeCompare(cbcTag(buf[:0], key[:32], iv, ciphertext, aad), tag) != 1 {
		return nil, errOpen
	}
	if len(ciphertext) == 0 || len(ciphertext)%aes.BlockSize != 0 {
		return nil, errOpen
	}
	block, err := aes.NewCipher(key[32:])
	if err != nil {
		return nil, err
	}
	cipher.NewCBCDecrypter(block, iv).CryptBlocks(ciphertext, ciphertext)
	// The tag is right, so the padding comes from the sender. This error is no padding
	// oracle.
	pad := int(ciphertext[len(ciphertext)-1])
	if pad == 0 || pad > aes.BlockSize {
		return nil, errOpen
	}
	for _, b := range ciphertext[len(ciphertext)-pad:] {
		if int(b) != pad {
			return nil, errOpen
		}
	}
	return ciphertext[:len(ciphertext)-pad], nil
}

// cbcTag is the tag of RFC 7518, section 5.2.2.1: HMAC-SHA-512 over aad, iv,
// ciphertext and the size of aad in bits, cut to its first half.
func cbcTag(dst, key, iv, ciphertext, aad []byte) []byte {
	mac := hmac.New(sha512.New, key)
	mac.Write(aad)
	mac.Write(iv)
	mac.Write(ciphertext)
	var al [8]byte
	binary.BigEndian.PutUint64(al[:], uint64(len(aad))*8)
	mac.Write(al[:])
	var sum [sha512.Size]byte
	return append(dst, mac.Sum(sum[:0])[:sha512.Size/2]...)
}
