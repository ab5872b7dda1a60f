package jwe

// The constructions that RFC 3394 and RFC 7518 publish vectors for.
var (
	WrapKey   = wrapKey
	UnwrapKey = unwrapKey
)

// Seal encrypts with fixed key and initialization vector.
func (e Enc) Seal(key, iv, plaintext, aad []byte) (ciphertext, tag []byte, err error) {
	return e.seal(make([]byte, e.ciphertextSize(len(plaintext))+maxTagSize), key, iv, plaintext, aad)
}

// Open undoes Seal.
func (e Enc) Open(key, iv, ciphertext, tag, aad []byte) ([]byte, error) {
	buf := make([]byte, len(ciphertext), len(ciphertext)+maxTagSize)
	copy(buf, ciphertext)
	return e.open(key, iv, buf, tag, aad)
}
