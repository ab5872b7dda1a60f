package jwe

import (
	"crypto/ecdh"
	"fmt"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/didcomm-go/didcomm/agent/envelope/internal/jose"
)

// curve is a key agreement curve of DIDComm v2.1 in the names of JWK (RFC 7518,
// section 6.2; RFC 8037).
type curve struct {
	kty, crv string
	size     int // bytes of one coordinate
	ecdh     ecdh.Curve
}

// curves returns the curves. It is a function, so that there is no package-level state.
func curves() [4]curve {
	return [...]curve{
		{"OKP", "X25519", 32, ecdh.X25519()},
		{"EC", "P-256", 32, ecdh.P256()},
		{"EC", "P-384", 48, ecdh.P384()},
		{"EC", "P-521", 66, ecdh.P521()},
	}
}

// appendEPK writes a public key as a JWK with coordinates of full length.
func appendEPK(dst []byte, key *ecdh.PublicKey) ([]byte, error) {
	for _, c := range curves() {
		if c.ecdh != key.Curve() {
			continue
		}
		b := key.Bytes()
		dst = append(dst, `{"kty":"`...)
		dst = append(dst, c.kty...)
		dst = append(dst, `","crv":"`...)
		dst = append(dst, c.crv...)
		dst = append(dst, `","x":"`...)
		if c.kty == "OKP" {
			dst = b64.AppendEncode(dst, b)
			return append(dst, `"}`...), nil
		}
		dst = b64.AppendEncode(dst, b[1:1+c.size]) // b[0] is 4: uncompressed
		dst = append(dst, `","y":"`...)
		dst = b64.AppendEncode(dst, b[1+c.size:])
		return append(dst, `"}`...), nil
	}
	return nil, fmt.Errorf("%w: curve %v", jose.ErrUnsupportedAlg, key.Curve())
}

// maxEPKDepth is the deepest JSON nesting of an epk. An epk may be JSON inside a string, which
// the limit of the envelope does not cover.
const maxEPKDepth = 64

// jwk has the members of an epk that are used, without quotes.
type jwk struct {
	kty, crv, x, y []byte
	hasX, hasY     bool
}

func (j *jwk) member(c jose.Cursor, name []byte) (err error) {
	switch string(name) {
	case "kty":
		j.kty, err = c.Text()
	case "crv":
		j.crv, err = c.Text()
	case "x":
		j.hasX = true
		j.x, err = c.Text()
	case "y":
		j.hasY = true
		j.y, err = c.Text()
	default:
		_, err = c.Value()
	}
	return err
}

// key checks the JWK and returns its public key. short reports that a coordinate lacks
// leading zeros.
func (j *jwk) key(dev *jose.Deviations) (key *ecdh.PublicKey, short bool, err error) {
	for _, c := range curves() {
		if string(j.crv) != c.crv {
			continue
		}
		dev.NotePadding(j.x)
		dev.NotePadding(j.y)
		if string(j.kty) != c.kty || !j.hasX || j.hasY != (c.kty == "EC") {
			return nil, false, fmt.Errorf("%w: epk: members do not fit curve %s", jose.ErrMalformed, c.crv)
		}
		var point [1 + 2*66]byte
		if c.kty == "OKP" {
			n, err := decodeInto(point[:c.size], j.x)
			if err != nil || n != c.size {
				return nil, false, fmt.Errorf("%w: epk: x is not %d bytes", ErrInvalidPoint, c.size)
			}
			key, err = c.ecdh.NewPublicKey(point[:c.size])
			if err != nil {
				return nil, false, ErrInvalidPoint
			}
			return key, false, nil
		}
		point[0] = 4
		for i, v := range [...][]byte{j.x, j.y} {
			at := point[1+i*c.size : 1+(i+1)*c.size]
			n, err := decodeInto(at, v)
			if err != nil || n == 0 {
				return nil, false, fmt.Errorf("%w: epk: coordinate is not %d bytes", ErrInvalidPoint, c.size)
			}
			if n < c.size {
				short = true
				copy(at[c.size-n:], at[:n])
				clear(at[:c.size-n])
			}
		}
		key, err = c.ecdh.NewPublicKey(point[:1+2*c.size])
		if err != nil {
			return nil, false, ErrInvalidPoint
		}
		return key, short, nil
	}
	return nil, false, fmt.Errorf("%w: epk curve %.200q", jose.ErrUnsupportedAlg, j.crv)
}

// parseEPK reads an epk: a JWK, or a string that holds a JWK.
func (e *Envelope) parseEPK(text []byte) (*ecdh.PublicKey, error) {
	if text[0] == '"' {
		s, err := jsontext.AppendUnquote(nil, text)
		if err != nil {
			return nil, fmt.Errorf("%w: epk: %w", jose.ErrMalformed, err)
		}
		if text = s; len(s) == 0 || s[0] != '{' {
			if text, err = e.Deviations.Decode("epk", s); err != nil {
				return nil, err
			}
		}
		e.Deviations.Note(DevEPKString, "epk is a string")
	}
	var j jwk
	err := jose.Walk(text, maxEPKDepth, func(c jose.Cursor) error {
		return c.Object(func(name []byte) error { return j.member(c, name) })
	})
	if err != nil {
		return nil, fmt.Errorf("epk: %w", err)
	}
	key, short, err := j.key(&e.Deviations)
	if short {
		e.Deviations.Note(DevShortCoordinate, "epk coordinate without its leading zeros")
	}
	return key, err
}
