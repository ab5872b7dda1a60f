package doctor

import (
	"bytes"
	"fmt"

	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/envelope/internal/jose"
	"github.com/didcomm-go/didcomm/agent/envelope/internal/jws"
)

// signed examines a JWS and returns its payload, or nil if the payload cannot be read.
func (x *exam) signed(data []byte) (payload []byte) {
	data = bytes.TrimSpace(data)
	env, refused := jws.Survey(data, jws.Limits{
		MaxBytes: envelope.DefaultMaxBytes, MaxSignatures: envelope.DefaultMaxSignatures, MaxDepth: envelope.DefaultMaxDepth,
	})
	x.report.Layers = append(x.report.Layers, showJWS(data, env, refused))
	x.nest("sign")
	x.refusals(refused)
	for _, d := range env.Deviations {
		value := ""
		if d.Code == envelope.DeviationTyp {
			value = jws.Type
		}
		x.add(string(d.Code), d.Detail, value)
	}
	x.signers = nil
	for _, s := range env.Signatures {
		if !has(refused, "malformed", "duplicate-member", "too-deep", "alg-unprotected") {
			x.signAlg(s.Alg)
		}
		if s.KID == "" {
			continue
		}
		x.signers = append(x.signers, s.KID)
		if !isKey(s.KID) {
			x.add("signer-not-key", fmt.Sprintf("kid is %.200q", s.KID), "")
		}
		switch {
		case s.KIDProtected && s.KIDUnprotected:
			if !has(refused, "kid-conflict") {
				x.add("kid-twice", "kid stands in the protected and in the unprotected header", "")
			}
		case s.KIDProtected:
			x.add("kid-protected", "kid stands in the protected header alone", "")
		default:
			x.add("kid-unprotected", "kid stands in the unprotected header alone", "")
		}
	}
	if n := len(env.Signatures); n > 1 {
		x.add("several-signatures", fmt.Sprintf("%d signatures", n), "")
	}
	return env.Payload
}

func (x *exam) signAlg(alg string) {
	switch alg {
	case "EdDSA", "ES256", "ES256K":
	case "Ed25519", "ES384", "ES512":
		x.add("sign-alg-extra", fmt.Sprintf("alg is %s", alg), "")
	default:
		x.add("sign-alg-unsupported", fmt.Sprintf("alg is %.100q", alg), "")
	}
}

func showJWS(data []byte, env *jws.Envelope, refused []jose.Refusal) Layer {
	l := Layer{Kind: Signed, Bytes: len(data), ContentBytes: len(env.Payload)}
	if has(refused, "too-large", "too-deep", "too-many-signatures") {
		return l
	}
	var a anatomy
	a, l.Serialization = dissect(data)
	each := elements(a.Signatures)
	for i, s := range env.Signatures {
		show := Signature{KID: s.KID, Alg: s.Alg, Protected: object(decoded(a.Protected)), Header: object(a.Header)}
		if i < len(each) {
			show.Protected, show.Header = object(decoded(each[i].Protected)), object(each[i].Header)
		}
		l.Signatures = append(l.Signatures, show)
	}
	return l
}
