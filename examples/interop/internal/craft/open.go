package craft

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/hmac"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/crypto/chacha20poly1305"
)

// Opened is what Open has found.
type Opened struct {
	Plaintext []byte
	KID       string // of the recipient's key, as it stands in the envelope
	SKID      string // of the sender's key, "" for anoncrypt
}

// Header is the protected header of a JWE, as Open reads it.
type Header struct {
	Typ  string `json:"typ"`
	Alg  string `json:"alg"`
	Enc  string `json:"enc"`
	SKID string `json:"skid"`
	APU  string `json:"apu"`
	APV  string `json:"apv"`
	EPK  struct {
		KTY string `json:"kty"`
		CRV string `json:"crv"`
		X   string `json:"x"`
	} `json:"epk"`
}

// Envelope is a JWE of the General JSON serialization.
type Envelope struct {
	Protected  string      `json:"protected"`
	Recipients []Recipient `json:"recipients"`
	IV         string      `json:"iv"`
	Ciphertext string      `json:"ciphertext"`
	Tag        string      `json:"tag"`
	AAD        string      `json:"aad,omitempty"` // which DIDComm does not have
}

// Recipient is an entry of an Envelope.
type Recipient struct {
	Header struct {
		KID string `json:"kid"`
	} `json:"header"`
	EncryptedKey string `json:"encrypted_key"`
}

// Open decrypts an envelope for a key on X25519, and takes no deviation at all. It may come
// from anywhere, so that a failure is an error here. own returns a private key of the
// recipient, or nil; sender returns the public key of a sender.
func Open(data []byte, own func(kid string) ecdh.KeyExchanger, sender func(skid string) (*ecdh.PublicKey, error)) (*Opened, error) {
	var env Envelope
	if err := json.Unmarshal(data, &env); err != nil {
		return nil, fmt.Errorf("parse envelope: %w", err)
	}
	head, err := b64.DecodeString(env.Protected)
	if err != nil {
		return nil, fmt.Errorf("parse header: %w", err)
	}
	var h Header
	if err := json.Unmarshal(head, &h); err != nil {
		return nil, fmt.Errorf("parse header: %w", err)
	}
	if h.Typ != "application/didcomm-encrypted+json" || h.EPK.KTY != "OKP" || h.EPK.CRV != "X25519" || env.AAD != "" {
		return nil, fmt.Errorf("header %s", head)
	}
	var kids []string
	var key ecdh.KeyExchanger
	var to Recipient
	for _, r := range env.Recipients {
		kids = append(kids, r.Header.KID)
		if key == nil {
			key, to = own(r.Header.KID), r
		}
	}
	if key == nil {
		return nil, fmt.Errorf("no key for %q", kids)
	}
	slices.Sort(kids)
	if h.APV != apv(kids...) {
		return nil, errors.New("apv is not of the recipients")
	}
	z, err := h.agree(key, sender)
	if err != nil {
		return nil, err
	}
	parts, err := decodeAll(h.APU, h.APV, to.EncryptedKey, env.IV, env.Ciphertext, env.Tag)
	if err != nil {
		return nil, err
	}
	var tag []byte
	if h.SKID != "" {
		tag = parts[5]
	}
	cek, err := unwrap(concatKDF(z, h.Alg, parts[0], parts[1], 32, tag), parts[2])
	if err != nil {
		return nil, err
	}
	plaintext, err := decrypt(h.Enc, cek, parts[3], []byte(env.Protected), parts[4], parts[5])
	if err != nil {
		return nil, err
	}
	return &Opened{plaintext, to.Header.KID, h.SKID}, nil
}

// agree returns the shared secret.
func (h *Header) agree(key ecdh.KeyExchanger, sender func(skid string) (*ecdh.PublicKey, error)) ([]byte, error) {
	x, err := b64.DecodeString(h.EPK.X)
	if err != nil {
		return nil, fmt.Errorf("epk: %w", err)
	}
	epk, err := ecdh.X25519().NewPublicKey(x)
	if err != nil {
		return nil, fmt.Errorf("epk: %w", err)
	}
	z, err := key.ECDH(epk)
	if err != nil {
		return nil, err
	}
	switch {
	case h.Alg == "ECDH-ES+A256KW" && h.SKID == "":
		return z, nil
	case h.Alg != "ECDH-1PU+A256KW" || h.Enc != "A256CBC-HS512" || h.SKID == "" || h.APU != b64.EncodeToString([]byte(h.SKID)):
		return nil, fmt.Errorf("alg %q, enc %q, skid %q, apu %q", h.Alg, h.Enc, h.SKID, h.APU)
	}
	from, err := sender(h.SKID)
	if err != nil {
		return nil, fmt.Errorf("sender %s: %w", h.SKID, err)
	}
	zs, err := key.ECDH(from)
	return append(z, zs...), err
}

func decodeAll(texts ...string) ([][]byte, error) {
	var all [][]byte
	for _, s := range texts {
		b, err := b64.DecodeString(s)
		if err != nil {
			return nil, err
		}
		all = append(all, b)
	}
	return all, nil
}

var errKey = errors.New("the key does not open the envelope")

// unwrap is the inverse of wrap (RFC 3394, section 2.2.2).
func unwrap(kek, wrapped []byte) ([]byte, error) {
	if len(wrapped) < 24 || len(wrapped)%8 != 0 {
		return nil, errKey
	}
	block, err := aes.NewCipher(kek)
	if err != nil {
		return nil, err
	}
	a, r := slices.Clone(wrapped[:8]), slices.Clone(wrapped[8:])
	for step := 6*len(r)/8 - 1; step >= 0; step-- {
		at := 8 * (step % (len(r) / 8))
		for i, t := 7, uint64(step+1); t > 0; i, t = i-1, t>>8 {
			a[i] ^= byte(t)
		}
		b := slices.Concat(a, r[at:at+8])
		block.Decrypt(b, b)
		a = b[:8:8]
		copy(r[at:], b[8:])
	}
	if !hmac.Equal(a, slices.Repeat([]byte{0xa6}, 8)) {
		return nil, errKey
	}
	return r, nil
}

// decrypt is the inverse of encrypt.
func decrypt(enc string, cek, iv, aad, ciphertext, tag []byte) ([]byte, error) {
	sizes, ok := map[string]struct{ cek, iv, tag int }{"A256CBC-HS512": {64, 16, 32}, "A256GCM": {32, 12, 16}, "XC20P": {32, 24, 16}}[enc]
	if !ok || len(cek) != sizes.cek || len(iv) != sizes.iv || len(tag) != sizes.tag {
		return nil, fmt.Errorf("enc %q with sizes %d, %d, %d", enc, len(cek), len(iv), len(tag))
	}
	var aead cipher.AEAD
	switch enc {
	case "A256CBC-HS512":
		if !hmac.Equal(tag, tagCBC(cek, iv, aad, ciphertext)) || len(ciphertext) == 0 || len(ciphertext)%aes.BlockSize != 0 {
			return nil, errKey
		}
		plaintext := slices.Clone(ciphertext)
		cipher.NewCBCDecrypter(must(aes.NewCipher(cek[32:])), iv).CryptBlocks(plaintext, plaintext)
		fill := int(plaintext[len(plaintext)-1])
		if fill == 0 || fill > aes.BlockSize {
			return nil, errKey
		}
		return plaintext[:len(plaintext)-fill], nil
	case "XC20P":
		aead = must(chacha20poly1305.NewX(cek))
	default:
		aead = must(cipher.NewGCM(must(aes.NewCipher(cek))))
	}
	return aead.Open(nil, iv, slices.Concat(ciphertext, tag), aad)
}
