package jwe

import (
	"crypto/aes"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"errors"
)

// kekSize is the size in bytes of the A256KW key that the KDF yields.
const kekSize = 32

// deriveKEK is the Concat KDF of NIST SP 800-56A with one round, with the parameters of RFC
// 7518, section 4.6.2. For ECDH-1PU tag is the authentication tag of the content (draft-04,
// section 2.3: SuppPrivInfo, with its length). For ECDH-ES tag is nil.
func deriveKEK(alg string, z, apu, apv, tag []byte) [kekSize]byte {
	// All parts except apu are small. 512 bytes are enough in most cases, and stay on the
	// stack.
	buf := make([]byte, 0, 512)
	buf = binary.BigEndian.AppendUint32(buf, 1)
	buf = append(buf, z...)
	buf = binary.BigEndian.AppendUint32(buf, uint32(len(alg)))
	buf = append(buf, alg...)
	buf = appendSized(buf, apu)
	buf = appendSized(buf, apv)
	buf = binary.BigEndian.AppendUint32(buf, kekSize*8)
	if tag != nil {
		buf = appendSized(buf, tag)
	}
	kek := sha256.Sum256(buf)
	clear(buf[:cap(buf)])
	return kek
}

func appendSized(dst, b []byte) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(b)))
	return append(dst, b...)
}

// keyWrapIV is the default initial value of RFC 3394, section 2.2.3.1.
const keyWrapIV = 0xA6A6A6A6A6A6A6A6

var errUnwrap = errors.New("key unwrap failed")

// wrapKey is AES Key Wrap (RFC 3394, section 2.2.1). The size of cek must be a
// multiple of 8.
func wrapKey(dst, kek, cek []byte) ([]byte, error) {
	block, err := aes.NewCipher(kek)
	if err != nil {
		return nil, err
	}
	n := len(cek) / 8
	start := len(dst)
	dst = append(dst, 0, 0, 0, 0, 0, 0, 0, 0)
	dst = append(dst, cek...)
	r := dst[start+8:]
	a := uint64(keyWrapIV)
	b := make([]byte, aes.BlockSize)
	for j := range 6 {
		for i := range n {
			binary.BigEndian.PutUint64(b, a)
			copy(b[8:], r[8*i:8*i+8])
			block.Encrypt(b, b)
			a = binary.BigEndian.Uint64(b) ^ uint64(n*j+i+1)
			copy(r[8*i:], b[8:])
		}
	}
	binary.BigEndian.PutUint64(dst[start:], a)
	return dst, nil
}

// unwrapKey is the reverse of wrapKey (RFC 3394, section 2.2.2).
func unwrapKey(dst, kek, wrapped []byte) ([]byte, error) {
	if len(wrapped) < 24 || len(wrapped)%8 != 0 {
		return nil, errUnwrap
	}
	block, err := aes.NewCipher(kek)
	if err != nil {
		return nil, err
	}
	n := len(wrapped)/8 - 1
	start := len(dst)
	dst = append(dst, wrapped[8:]...)
	r := dst[start:]
	a := binary.BigEndian.Uint64(wrapped)
	b := make([]byte, aes.BlockSize)
	for j := 5; j >= 0; j-- {
		for i := n - 1; i >= 0; i-- {
			binary.BigEndian.PutUint64(b, a^uint64(n*j+i+1))
			copy(b[8:], r[8*i:8*i+8])
			block.Decrypt(b, b)
			a = binary.BigEndian.Uint64(b)
			copy(r[8*i:], b[8:])
		}
	}
	binary.BigEndian.PutUint64(b, a)
	var want [8]byte
	binary.BigEndian.PutUint64(want[:], keyWrapIV)
	if subtle.ConstantTimeCompare(b[:8], want[:]) != 1 {
		return nil, errUnwrap
	}
	return dst, nil
}
