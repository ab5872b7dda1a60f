package jwe

import (
	"crypto/ecdh"
	"errors"
	"fmt"

	"github.com/didcomm-go/didcomm/agent/envelope/internal/jose"
)

// Decrypt opens the envelope with key, the private key of the i-th recipient. sender is the
// public key that SKID names, nil for ECDH-ES. secrets keeps the shared secret of the two
// keys; nil keeps none. Once the keys are known to fit, each failure is ErrDecrypt without
// more detail.
func (e *Envelope) Decrypt(i int, key ecdh.KeyExchanger, sender *ecdh.PublicKey, secrets *Secrets) ([]byte, error) {
	r := e.recipients[i]
	epk := e.epk
	if epk == nil {
		var err error
		if epk, err = e.parseEPK(r.epk); err != nil {
			return nil, err
		}
	}
	if epk.Curve() != key.Curve() {
		return nil, fmt.Errorf("%w: epk is not on the curve of %.200s", ErrInvalidPoint, e.KIDs[i])
	}
	if e.Alg == Alg1PU && (sender == nil || sender.Curve() != key.Curve()) {
		return nil, fmt.Errorf("%w: the sender's key is not on the curve of %.200s", ErrInvalidPoint, e.KIDs[i])
	}
	kek, err := e.agree(key, epk, sender, secrets)
	if err != nil {
		return nil, err
	}
	defer clear(kek[:])
	cek, err := e.unwrap(kek[:], r.encryptedKey)
	if err != nil {
		return nil, ErrDecrypt
	}
	defer clear(cek)

	text := jose.TrimPadding(e.ciphertext)
	buf := make([]byte, b64.DecodedLen(len(text)), b64.DecodedLen(len(text))+maxTagSize)
	n, err := b64.Decode(buf, text)
	if err != nil {
		// Another error would tell that the key could be unwrapped.
		return nil, ErrDecrypt
	}
	plaintext, err := e.Enc.open(cek, e.iv, buf[:n], e.tag, e.aad)
	if err != nil {
		return nil, ErrDecrypt
	}
	return plaintext, nil
}

func (e *Envelope) agree(key ecdh.KeyExchanger, epk, sender *ecdh.PublicKey, secrets *Secrets) ([kekSize]byte, error) {
	ze, err := exchange(key, epk)
	if err != nil {
		return [kekSize]byte{}, agreeError(err)
	}
	defer clear(ze)
	if e.Alg == AlgES {
		return deriveKEK(AlgES, ze, e.apu, e.apv, nil), nil
	}
	zs, err := secrets.exchange(key, sender)
	if err != nil {
		return [kekSize]byte{}, agreeError(err)
	}
	defer clear(zs)
	z := make([]byte, 0, 2*66)
	z = append(append(z, ze...), zs...)
	defer clear(z)
	return deriveKEK(Alg1PU, z, e.apu, e.apv, e.tag), nil
}

func agreeError(err error) error {
	if errors.Is(err, ErrLowOrderPoint) {
		return err
	}
	return fmt.Errorf("key agreement: %w", err)
}

func (e *Envelope) unwrap(kek, encryptedKey []byte) ([]byte, error) {
	size, _, _, _ := e.Enc.sizes()
	var wrapped [64 + 8]byte
	n, err := decodeInto(wrapped[:size+8], encryptedKey)
	if err != nil || n != size+8 {
		return nil, errUnwrap
	}
	return unwrapKey(make([]byte, 0, size), kek, wrapped[:n])
}
