package jws

import (
	"crypto"
	"fmt"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/didcomm-go/didcomm/agent/envelope/internal/jose"
)

// Signer is a key that signs.
type Signer struct {
	KID string // DID URL of an authentication key
	Key crypto.Signer
}

// Sign returns payload as a JWS in General JSON serialization, with a signature for each
// signer. The kid is in the unprotected header, or, with protectKID, in the protected header.
func Sign(payload []byte, signers []Signer, protectKID bool) ([]byte, error) {
	if len(signers) == 0 {
		return nil, fmt.Errorf("%w: no signers", jose.ErrMalformed)
	}
	out := make([]byte, 0, jose.Base64.EncodedLen(len(payload))+512*len(signers)+64)
	out = append(out, `{"payload":"`...)
	at := len(out)
	out = jose.Base64.AppendEncode(out, payload)
	end := len(out)
	out = append(out, `","signatures":[`...)
	for i, s := range signers {
		alg, err := Algorithm(s.Key.Public())
		if err != nil {
			return nil, err
		}
		kid, err := jsontext.AppendQuote(nil, s.KID)
		if err != nil {
			return nil, fmt.Errorf("%w: kid: %w", jose.ErrMalformed, err)
		}
		header := []byte(`{"typ":"` + Type + `","alg":"` + alg + `"`)
		if protectKID {
			header = append(append(header, `,"kid":`...), kid...)
		}
		header = append(header, '}')
		protected := jose.Base64.AppendEncode(nil, header)
		sig, err := sign(s.Key, alg, signingInput(protected, out[at:end]))
		if err != nil {
			return nil, fmt.Errorf("sign with %s: %w", s.KID, err)
		}
		if i > 0 {
			out = append(out, ',')
		}
		out = append(append(out, `{"protected":"`...), protected...)
		out = jose.Base64.AppendEncode(append(out, `","signature":"`...), sig)
		out = append(out, '"')
		if !protectKID {
			out = append(append(append(out, `,"header":{"kid":`...), kid...), '}')
		}
		out = append(out, '}')
	}
	return append(out, `]}`...), nil
}

// SignCompact returns payload in Compact serialization, with typ, alg and kid in the header,
// as in a JWT.
func SignCompact(typ string, payload []byte, s Signer) (string, error) {
	alg, err := Algorithm(s.Key.Public())
	if err != nil {
		return "", err
	}
	header := []byte(`{"typ":"` + typ + `","alg":"` + alg + `","kid":`)
	if header, err = jsontext.AppendQuote(header, s.KID); err != nil {
		return "", fmt.Errorf("%w: kid: %w", jose.ErrMalformed, err)
	}
	header = append(header, '}')
	out := jose.Base64.AppendEncode(nil, header)
	out = append(out, '.')
	out = jose.Base64.AppendEncode(out, payload)
	sig, err := sign(s.Key, alg, out)
	if err != nil {
		return "", fmt.Errorf("sign with %s: %w", s.KID, err)
	}
	return string(jose.Base64.AppendEncode(append(out, '.'), sig)), nil
}
