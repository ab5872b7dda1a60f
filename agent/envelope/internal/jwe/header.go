package jwe

import (
	"fmt"

	"github.com/didcomm-go/didcomm/agent/envelope/internal/jose"
)

// header has the members of the protected header as the envelope has them.
type header struct {
	alg, enc, typ, kid, skid, apu, apv, epk []byte
	hasTyp, hasSKID, hasAPU, hasAPV         bool
}

// known returns text as a string. It does not allocate for common values.
func known(text []byte) string {
	for _, s := range [...]string{AlgES, Alg1PU, string(A256CBCHS512), string(A256GCM), string(XC20P), Type} {
		if s == string(text) {
			return s
		}
	}
	return string(text)
}

func (p *parser) header(h *header) error {
	text, err := p.Deviations.Decode("protected", p.protected)
	if err != nil {
		return err
	}
	err = jose.Walk(text, p.limits.MaxDepth, func(c jose.Cursor) error {
		return c.Object(func(name []byte) error { return p.headerMember(c, name, h) })
	})
	if err != nil {
		return fmt.Errorf("protected header: %w", err)
	}
	return nil
}

func (p *parser) headerMember(c jose.Cursor, name []byte, h *header) (err error) {
	switch string(name) {
	case "alg":
		h.alg, err = c.Text()
	case "enc":
		h.enc, err = c.Text()
	case "typ":
		h.hasTyp = true
		h.typ, err = c.Text()
	case "kid":
		h.kid, err = c.Text()
	case "skid":
		h.hasSKID = true
		h.skid, err = c.Text()
	case "apu":
		h.hasAPU = true
		h.apu, err = decodeNext(c, "apu", &p.Deviations)
	case "apv":
		h.hasAPV = true
		h.apv, err = decodeNext(c, "apv", &p.Deviations)
	case "epk":
		h.epk, err = c.Value()
	case "zip":
		if err = p.Refuse("zip", ErrCompressed); err == nil {
			err = c.Skip()
		}
	case "crit":
		if err = p.Refuse("crit", jose.ErrCritical); err == nil {
			err = c.Skip()
		}
	default:
		err = c.Skip()
	}
	return err
}
