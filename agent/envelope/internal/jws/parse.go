package jws

import (
	"bytes"
	"crypto"
	"fmt"

	"github.com/didcomm-go/didcomm/agent/envelope/internal/jose"
	"github.com/didcomm-go/didcomm/agent/message"
)

// Limits are the limits of a JWS. Parse checks each limit before the work that it limits.
type Limits struct {
	MaxBytes      int
	MaxSignatures int
	MaxDepth      int // of JSON nesting in headers
}

// Envelope is a parsed JWS, not yet verified.
type Envelope struct {
	Payload    []byte
	Signatures []Signature
	Compact    bool // in Compact serialization, with one signature
	Deviations jose.Deviations

	refusals jose.Refusals
	limits   Limits
	payload  []byte // as received
	tooMany  bool
}

// Signature is a signature of an Envelope.
type Signature struct {
	Alg, Typ string
	KID      string
	// KIDProtected: the protected header has the kid, so the signature covers it.
	KIDProtected bool
	// KIDUnprotected: the unprotected header has the kid.
	KIDUnprotected bool

	protected, value []byte
	unprotectedKID   []byte
}

// Parse reads a JWS in General, Flattened or Compact serialization.
func Parse(data []byte, limits Limits) (*Envelope, error) {
	e := &Envelope{limits: limits}
	if err := e.parse(data); err != nil {
		return nil, err
	}
	return e, nil
}

// Survey reads a JWS like Parse, but goes on where Parse stops with an error. It returns the
// parts that it could read and all reasons to refuse the JWS. If there are refusals, the
// Envelope must not be verified.
func Survey(data []byte, limits Limits) (*Envelope, []jose.Refusal) {
	e := &Envelope{limits: limits, refusals: jose.Refusals{Survey: true}}
	err := e.parse(data)
	return e, e.refusals.End(err)
}

func (e *Envelope) parse(data []byte) error {
	if len(data) > e.limits.MaxBytes {
		return jose.ErrTooLarge
	}
	var err error
	if data = bytes.TrimSpace(data); len(data) > 0 && data[0] != '{' {
		err = e.compact(data)
	} else {
		err = e.json(data)
	}
	if err != nil {
		return err
	}
	if e.payload == nil {
		return fmt.Errorf("%w: payload is missing", jose.ErrMalformed)
	}
	if len(e.Signatures) == 0 {
		if err := e.refusals.Refuse("signatures-missing", fmt.Errorf("%w: signatures are missing", jose.ErrMalformed)); err != nil {
			return err
		}
	}
	for i := range e.Signatures {
		if err := e.header(&e.Signatures[i]); err != nil {
			return fmt.Errorf("protected header: %w", err)
		}
	}
	e.Payload, err = e.Deviations.Decode("payload", e.payload)
	return err
}

func (e *Envelope) compact(data []byte) (err error) {
	parts := bytes.SplitN(data, []byte{'.'}, 4)
	if len(parts) != 3 {
		return fmt.Errorf("%w: neither JSON nor compact serialization", jose.ErrMalformed)
	}
	if e.limits.MaxSignatures < 1 {
		return ErrTooManySignatures
	}
	e.Compact = true
	e.Deviations.Note(jose.DevSerialization, "compact")
	s := Signature{protected: parts[0]}
	e.payload = parts[1]
	s.value, err = e.Deviations.Decode("signature", parts[2])
	e.Signatures = []Signature{s}
	return err
}

func (e *Envelope) json(data []byte) error {
	var single Signature
	flattened, general := false, false
	err := jose.Walk(data, e.limits.MaxDepth, func(c jose.Cursor) error {
		return c.Object(func(name []byte) (err error) {
			switch string(name) {
			case "payload":
				e.payload, err = c.Text()
			case "signatures":
				general = true
				err = c.Array(func() error {
					if len(e.Signatures) >= e.limits.MaxSignatures {
						if !e.tooMany {
							e.tooMany = true
							if err := e.refusals.Refuse("too-many-signatures", ErrTooManySignatures); err != nil {
								return err
							}
						}
						return c.Skip()
					}
					var s Signature
					err := c.Object(func(name []byte) error { return e.member(c, name, &s) })
					e.Signatures = append(e.Signatures, s)
					return err
				})
			case "protected", "header", "signature":
				flattened = true
				err = e.member(c, name, &single)
			default:
				_, err = c.Value()
			}
			return err
		})
	})
	if err != nil {
		return err
	}
	if !flattened {
		return nil
	}
	if general {
		return fmt.Errorf("%w: both signatures and a top-level signature", jose.ErrMalformed)
	}
	if e.limits.MaxSignatures < 1 {
		return ErrTooManySignatures
	}
	// The specification names the Flattened serialization, so it is no deviation.
	e.Signatures = []Signature{single}
	return nil
}

func (e *Envelope) member(c jose.Cursor, name []byte, s *Signature) (err error) {
	switch string(name) {
	case "protected":
		s.protected, err = c.Text()
	case "signature":
		var text []byte
		if text, err = c.Text(); err == nil {
			s.value, err = e.Deviations.Decode("signature", text)
		}
	case "header":
		err = c.Object(func(name []byte) (err error) {
			switch string(name) {
			case "kid":
				s.unprotectedKID, err = c.Text()
			case "alg":
				err = e.refuseValue(c, "alg-unprotected", jose.ErrUnprotectedAlg)
			case "crit":
				err = e.refuseValue(c, "crit", fmt.Errorf("%w: crit outside the protected header", jose.ErrCritical))
			default:
				err = c.Skip()
			}
			return err
		})
	default:
		_, err = c.Value()
	}
	return err
}

// refuseValue refuses the next value. A survey skips the value.
func (e *Envelope) refuseValue(c jose.Cursor, code message.DeviationCode, err error) error {
	if err := e.refusals.Refuse(code, err); err != nil {
		return err
	}
	return c.Skip()
}

func (e *Envelope) header(s *Signature) error {
	text, err := e.Deviations.Decode("protected", s.protected)
	if err != nil {
		return err
	}
	var kid []byte
	hasTyp := false
	err = jose.Walk(text, e.limits.MaxDepth, func(c jose.Cursor) error {
		return c.Object(func(name []byte) (err error) {
			var v []byte
			switch string(name) {
			case "alg":
				v, err = c.Text()
				s.Alg = string(v)
			case "typ":
				hasTyp = true
				v, err = c.Text()
				s.Typ = string(v)
			case "kid":
				kid, err = c.Text()
			case "crit":
				err = e.refuseValue(c, "crit", jose.ErrCritical)
			case "b64":
				err = e.refuseValue(c, "crit", fmt.Errorf("%w: b64", jose.ErrCritical))
			default:
				err = c.Skip()
			}
			return err
		})
	})
	if err != nil {
		return err
	}
	if kid != nil && s.unprotectedKID != nil && !bytes.Equal(kid, s.unprotectedKID) {
		err := fmt.Errorf("%w: kid in the protected and the unprotected header", jose.ErrHeaderConflict)
		if err := e.refusals.Refuse("kid-conflict", err); err != nil {
			return err
		}
	}
	s.KIDProtected, s.KIDUnprotected = kid != nil, s.unprotectedKID != nil
	if kid == nil {
		kid = s.unprotectedKID
	}
	s.KID = string(kid)
	if s.KID == "" {
		if err := e.refusals.Refuse("kid-missing", fmt.Errorf("%w: a signature has no kid", jose.ErrMalformed)); err != nil {
			return err
		}
	}
	e.Deviations.NoteTyp([]byte(s.Typ), hasTyp, Type)
	if s.Alg == "ES256K" && isHighS(s.value) {
		e.Deviations.Note(DevHighS, "secp256k1 signature in its high-S form")
	}
	return nil
}

// Verify checks the i-th signature with a public key. The error matches ErrUnsupportedAlg if the
// algorithm does not fit the key, and ErrSignature if the signature does not verify.
func (e *Envelope) Verify(i int, pub crypto.PublicKey) error {
	s := e.Signatures[i]
	return verify(pub, s.Alg, signingInput(s.protected, e.payload), s.value)
}
