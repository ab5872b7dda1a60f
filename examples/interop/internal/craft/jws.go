package craft

import (
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/asn1"
	"encoding/base64"
	"maps"
	"math/big"
)

// JWS says how to sign a message. With only Signers, the result is sound, in the form of
// DIDComm v2.1, Appendix C.2: kid is in the unprotected header.
type JWS struct {
	Signers  []Signer
	Form     string           // "" for General JSON serialization, "flattened", "compact"
	Pad      bool             // payload and signature are written with padding
	Envelope func(env Object) // changes the finished JSON
}

// Signer is one signature of a JWS.
type Signer struct {
	SignKey
	Protect   bool                      // kid is in the protected header
	Both      bool                      // kid is in both headers
	HighS     bool                      // an ES256K signature in its high-S form
	Pad       bool                      // protected is written with padding
	Protected func(h Object)            // changes the protected header before it is used
	Header    func(h Object)            // changes the unprotected header
	Signature func(input []byte) []byte // signs instead of the key
}

// Sign signs a message.
func (j *JWS) Sign(plaintext []byte) []byte {
	coding := b64
	if j.Pad {
		// White space behind the message, so that there is something to pad.
		for len(plaintext)%3 == 0 {
			plaintext = append(plaintext, ' ')
		}
		coding = base64.URLEncoding
	}
	payload := coding.EncodeToString(plaintext)
	var signatures []any
	for _, s := range j.Signers {
		protected := Object{"typ": "application/didcomm-signed+json", "alg": s.Alg}
		header := Object{}
		if s.Protect || s.Both || j.Form == "compact" {
			protected["kid"] = s.KID
		}
		if !s.Protect && j.Form != "compact" {
			header["kid"] = s.KID
		}
		if s.Protected != nil {
			s.Protected(protected)
		}
		if s.Header != nil {
			s.Header(header)
		}
		head := encoded(protected)
		if s.Pad {
			head = padded(protected)
		}
		signature := Object{"protected": head, "signature": coding.EncodeToString(s.sign([]byte(head + "." + payload)))}
		if len(header) > 0 {
			signature["header"] = header
		}
		signatures = append(signatures, signature)
	}
	env := Object{"payload": payload, "signatures": signatures}
	first := signatures[0].(Object)
	switch j.Form {
	case "compact":
		return compact([]any{first["protected"], payload, first["signature"]})
	case "flattened":
		delete(env, "signatures")
		maps.Copy(env, first)
	}
	if j.Envelope != nil {
		j.Envelope(env)
	}
	return text(env)
}

// sign signs as RFC 7518, section 3.4, RFC 8037 and RFC 8812 have it.
func (s Signer) sign(input []byte) []byte {
	if s.Signature != nil {
		return s.Signature(input)
	}
	switch s.Alg {
	case "EdDSA":
		return must(s.Key.Sign(rand.Reader, input, crypto.Hash(0)))
	case "ES384":
		digest := sha512.Sum384(input)
		return fixed(must(s.Key.Sign(rand.Reader, digest[:], crypto.SHA384)), 48, nil)
	}
	digest := sha256.Sum256(input)
	der := must(s.Key.Sign(rand.Reader, digest[:], crypto.SHA256))
	if s.HighS {
		return fixed(der, 32, secp256k1Order())
	}
	return fixed(der, 32, nil)
}

func secp256k1Order() *big.Int {
	n, _ := new(big.Int).SetString("fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141", 16)
	return n
}

// fixed is a signature of two numbers as JOSE writes it: r and s one after the
// other. With order it is the other of its two forms: s is order minus s.
func fixed(der []byte, size int, order *big.Int) []byte {
	var sig struct{ R, S *big.Int }
	must(asn1.Unmarshal(der, &sig))
	if order != nil {
		sig.S.Sub(order, sig.S)
	}
	return append(sig.R.FillBytes(make([]byte, size)), sig.S.FillBytes(make([]byte, size))...)
}
