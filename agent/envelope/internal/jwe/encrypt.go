package jwe

import (
	"crypto/ecdh"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/didcomm-go/didcomm/agent/envelope/internal/jose"
	"github.com/didcomm-go/didcomm/agent/internal/x25519"
)

// Recipient is a key that an envelope is encrypted for.
type Recipient struct {
	KID string // DID URL, as the recipient's DID document lists it
	Key *ecdh.PublicKey
}

// Params are the parameters of Encrypt.
type Params struct {
	Enc Enc
	// SKID and Sender are the key id and the key of the sender for ECDH-1PU. Both are
	// zero for ECDH-ES.
	SKID   string
	Sender ecdh.KeyExchanger
	// Secrets keeps the shared secrets of Sender and the recipients; nil keeps none.
	Secrets *Secrets
	// Recipients are one or more keys of the same curve. Encrypt sorts them.
	Recipients []Recipient
}

var b64 = jose.Base64

// Encrypt returns plaintext as a JWE in General JSON serialization. epk, alg,
// enc, apv and, for ECDH-1PU, skid and apu are common to all recipients and
// protected, as DIDComm v2.1 demands; recipients are sorted by kid.
func Encrypt(plaintext []byte, p Params) ([]byte, error) {
	if len(p.Recipients) == 0 {
		return nil, fmt.Errorf("%w: no recipients", jose.ErrMalformed)
	}
	keySize, ivSize, tagSize, ok := p.Enc.sizes()
	if !ok || p.Sender != nil && p.Enc != A256CBCHS512 {
		return nil, fmt.Errorf("%w: enc %q", jose.ErrUnsupportedAlg, p.Enc)
	}
	curve := p.Recipients[0].Key.Curve()
	slices.SortFunc(p.Recipients, func(a, b Recipient) int { return strings.Compare(a.KID, b.KID) })
	for _, r := range p.Recipients {
		if r.Key.Curve() != curve {
			return nil, fmt.Errorf("%w: recipient keys of several types in one envelope", jose.ErrMalformed)
		}
	}
	if p.Sender != nil && p.Sender.Curve() != curve {
		return nil, fmt.Errorf("%w: sender and recipient keys are of different types", jose.ErrMalformed)
	}
	epk, err := ephemeral(curve)
	if err != nil {
		return nil, err
	}

	var random [64 + 24]byte // content encryption key, initialization vector
	defer clear(random[:])
	if _, err := rand.Read(random[:keySize+ivSize]); err != nil {
		return nil, err
	}
	cek, iv := random[:keySize], random[keySize:keySize+ivSize]
	apv := kidsHash(p.Recipients)
	header, err := appendHeader(make([]byte, 0, 512), p, epk.PublicKey(), apv[:])
	if err != nil {
		return nil, err
	}

	n := p.Enc.ciphertextSize(len(plaintext))
	size := b64.EncodedLen(len(header)) + b64.EncodedLen(n) + 256
	for _, r := range p.Recipients {
		size += len(r.KID) + 160
	}
	out := make([]byte, 0, size)
	out = append(out, `{"protected":"`...)
	aadStart := len(out)
	out = b64.AppendEncode(out, header)
	aad := out[aadStart:]
	out = append(out, `","iv":"`...)
	out = b64.AppendEncode(out, iv)
	out = append(out, `","ciphertext":"`...)

	// The ciphertext is written to the place where its base64url form will end, and is
	// encoded from there forward, so that a large body is in memory only once.
	at := len(out)
	end := at + b64.EncodedLen(n)
	out = slices.Grow(out, end-at+tagSize)
	aad = out[aadStart : aadStart+len(aad)]
	ciphertext, sealed, err := p.Enc.seal(out[end-n:end+tagSize], cek, iv, plaintext, aad)
	if err != nil {
		return nil, err
	}
	var tag [maxTagSize]byte
	copy(tag[:], sealed)
	encodeForward(out[at:end], ciphertext)
	out = append(out[:end], `","tag":"`...)
	out = b64.AppendEncode(out, tag[:tagSize])
	out = append(out, `","recipients":[`...)
	for i, r := range p.Recipients {
		kek, err := p.agree(epk, r.Key, apv[:], tag[:tagSize])
		if err != nil {
			return nil, fmt.Errorf("agree on a key with %s: %w", r.KID, err)
		}
		var buf [64 + 8]byte
		wrapped, err := wrapKey(buf[:0], kek[:], cek)
		if err != nil {
			return nil, err
		}
		if i > 0 {
			out = append(out, ',')
		}
		out = append(out, `{"header":{"kid":`...)
		if out, err = jsontext.AppendQuote(out, r.KID); err != nil {
			return nil, fmt.Errorf("%w: kid: %w", jose.ErrMalformed, err)
		}
		out = append(out, `},"encrypted_key":"`...)
		out = b64.AppendEncode(out, wrapped)
		out = append(out, `"}`...)
	}
	return append(out, `]}`...), nil
}

// ephemeral makes a key that is used for one envelope.
func ephemeral(curve ecdh.Curve) (ecdh.KeyExchanger, error) {
	if curve == ecdh.X25519() {
		return x25519.GenerateKey()
	}
	return curve.GenerateKey(rand.Reader)
}

// agree derives the key-encryption key for one recipient: Ze for ECDH-ES,
// Ze || Zs for ECDH-1PU.
func (p *Params) agree(epk ecdh.KeyExchanger, to *ecdh.PublicKey, apv, tag []byte) ([kekSize]byte, error) {
	ze, err := exchange(epk, to)
	if err != nil {
		return [kekSize]byte{}, err
	}
	defer clear(ze)
	if p.Sender == nil {
		return deriveKEK(AlgES, ze, nil, apv, nil), nil
	}
	zs, err := p.Secrets.exchange(p.Sender, to)
	if err != nil {
		return [kekSize]byte{}, err
	}
	defer clear(zs)
	z := make([]byte, 0, 2*66)
	z = append(append(z, ze...), zs...)
	defer clear(z)
	return deriveKEK(Alg1PU, z, []byte(p.SKID), apv, tag), nil
}

// exchange is ECDH with the check of RFC 7748, section 6.1, also for a key handle that does
// not make that check.
func exchange(key ecdh.KeyExchanger, peer *ecdh.PublicKey) ([]byte, error) {
	z, err := key.ECDH(peer)
	if peer.Curve() != ecdh.X25519() {
		return z, err
	}
	if err != nil {
		// A handle may return any error for a low-order point, or fail for another reason.
		// A software key fails on this curve only for a low-order point.
		if probe, genErr := x25519.GenerateKey(); genErr == nil {
			if _, lowOrder := probe.ECDH(peer); lowOrder != nil {
				return nil, ErrLowOrderPoint
			}
		}
		return nil, err
	}
	var acc byte
	for _, b := range z {
		acc |= b
	}
	if acc == 0 {
		return nil, ErrLowOrderPoint
	}
	return z, nil
}

// kidsHash is the value of apv: SHA-256 of the sorted kids joined by a dot.
func kidsHash(sorted []Recipient) [sha256.Size]byte {
	buf := make([]byte, 0, 1024)
	for i, r := range sorted {
		if i > 0 {
			buf = append(buf, '.')
		}
		buf = append(buf, r.KID...)
	}
	return sha256.Sum256(buf)
}

func appendHeader(dst []byte, p Params, epk *ecdh.PublicKey, apv []byte) ([]byte, error) {
	dst = append(dst, `{"typ":"`+Type+`","alg":"`...)
	if p.Sender == nil {
		dst = append(dst, AlgES...)
	} else {
		dst = append(dst, Alg1PU...)
	}
	dst = append(dst, `","enc":"`...)
	dst = append(dst, p.Enc...)
	dst = append(dst, '"')
	if p.Sender != nil {
		var err error
		dst = append(dst, `,"skid":`...)
		if dst, err = jsontext.AppendQuote(dst, p.SKID); err != nil {
			return nil, fmt.Errorf("%w: skid: %w", jose.ErrMalformed, err)
		}
		dst = append(dst, `,"apu":"`...)
		dst = b64.AppendEncode(dst, []byte(p.SKID))
		dst = append(dst, '"')
	}
	dst = append(dst, `,"apv":"`...)
	dst = b64.AppendEncode(dst, apv)
	dst = append(dst, `","epk":`...)
	dst, err := appendEPK(dst, epk)
	if err != nil {
		return nil, err
	}
	return append(dst, '}'), nil
}

// encodeForward writes the base64url form of src to dst. src may be the tail of dst: each
// piece is copied before its place is overwritten.
func encodeForward(dst, src []byte) {
	var piece [3 * 512]byte
	for len(src) > 0 {
		n := copy(piece[:], src)
		src = src[n:]
		b64.Encode(dst, piece[:n])
		dst = dst[b64.EncodedLen(n):]
	}
}
