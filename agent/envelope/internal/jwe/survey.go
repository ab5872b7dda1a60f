package jwe

import (
	"crypto/ecdh"

	"github.com/didcomm-go/didcomm/agent/envelope/internal/jose"
	"github.com/didcomm-go/didcomm/agent/internal/x25519"
)

// Survey reads a JWE like Parse, but goes on where Parse stops with an error. It returns the
// parts that it could read and all reasons to refuse the JWE. It also checks the epk of each
// recipient. If there are refusals, the Envelope must not be decrypted.
func Survey(data []byte, limits Limits) (*Envelope, []jose.Refusal) {
	p := &parser{limits: limits, Refusals: jose.Refusals{Survey: true}}
	err := p.parse(data)
	if err == nil {
		p.surveyEPKs()
	}
	return &p.Envelope, p.End(err)
}

// surveyEPKs makes checks that otherwise Decrypt makes: of the epk of each recipient, and of
// points of low order.
func (p *parser) surveyEPKs() {
	points := []*ecdh.PublicKey{p.epk}
	for _, r := range p.recipients {
		if r.epk == nil {
			continue
		}
		point, err := p.parseEPK(r.epk)
		if err != nil {
			p.List = append(p.List, jose.Refusal{Code: "epk-invalid", Err: err})
			continue
		}
		points = append(points, point)
	}
	for _, point := range points {
		if point == nil || point.Curve() != ecdh.X25519() {
			continue
		}
		probe, err := x25519.GenerateKey()
		if err != nil {
			return
		}
		if _, err := exchange(probe, point); err != nil {
			p.List = append(p.List, jose.Refusal{Code: "epk-low-order", Err: err})
		}
	}
}
