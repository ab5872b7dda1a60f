package craft

import (
	"crypto/ecdh"
	"slices"
	"strings"

	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/keyring"
)

func jweCases() []Case {
	both := []Mode{Anoncrypt, Authcrypt}
	anon, auth := []Mode{Anoncrypt}, []Mode{Authcrypt}
	jwe := func(change func(j *JWE)) func(*Draft) { return func(d *Draft) { change(d.JWE) } }
	header := func(change func(h Object)) func(*Draft) { return jwe(func(j *JWE) { j.Header = change }) }
	without := func(names ...string) func(*Draft) {
		return header(func(h Object) {
			for _, name := range names {
				delete(h, name)
			}
		})
	}
	set := func(name string, v any) func(*Draft) { return header(func(h Object) { h[name] = v }) }
	twoKeys := func(d *Draft, order ...int) {
		d.JWE.To = nil
		for _, i := range order {
			d.JWE.To = append(d.JWE.To, d.Bob.Agree[i])
		}
	}
	sorted := func(d *Draft) { twoKeys(d, 0, 1) }
	return []Case{
		{Rule: "serialization", Name: "flattened JWE", On: both, change: jwe(func(j *JWE) { j.Form = "flattened" })},
		{Rule: "serialization", Name: "compact JWE", On: both, change: jwe(func(j *JWE) { j.Form = "compact" })},
		{Rule: "base64-padding", Name: "protected header", On: both, change: jwe(func(j *JWE) { j.Pad = []string{"protected"} })},
		{Rule: "base64-padding", Name: "iv and tag", On: both, change: jwe(func(j *JWE) { j.Pad = []string{"iv", "tag"} })},
		{Rule: "base64-padding", Name: "apv", On: both, change: header(func(h Object) { h["apv"] = h["apv"].(string) + "=" })},
		{Rule: "envelope-typ", Name: "missing in a JWE", On: both, change: without("typ")},
		{Rule: "envelope-typ", Name: "JWM", On: both, change: set("typ", "JWM")},
		{Rule: "envelope-typ", Name: "application/didcomm+encrypted", On: both, change: set("typ", "application/didcomm+encrypted")},
		{Rule: "alg-unprotected", Name: "alg for all recipients", On: anon, Refused: envelope.ErrUnprotectedAlg, change: jwe(func(j *JWE) {
			j.Header = func(h Object) { delete(h, "alg") }
			j.Envelope = func(env Object) { env["unprotected"] = Object{"alg": "ECDH-ES+A256KW"} }
		})},
		{Rule: "alg-unprotected", Name: "alg for each recipient", On: anon, Refused: envelope.ErrUnprotectedAlg, change: jwe(func(j *JWE) {
			j.Header = func(h Object) { delete(h, "alg") }
			j.Recipient = func(_ int, h Object) { h["alg"] = "ECDH-ES+A256KW" }
		})},
		{Rule: "alg-unsupported", Name: "ECDH-ES+A128KW", On: anon, Refused: envelope.ErrUnsupportedAlg, change: jwe(func(j *JWE) {
			j.KEKSize = 16
			j.Header = func(h Object) { h["alg"] = "ECDH-ES+A128KW" }
		})},
		{Rule: "enc-unsupported", Name: "A128GCM", On: anon, Refused: envelope.ErrUnsupportedAlg, change: jwe(func(j *JWE) { j.Enc = "A128GCM" })},
		{Rule: "enc-optional", Name: "A256GCM", On: anon, change: jwe(func(j *JWE) { j.Enc = "A256GCM" })},
		{Rule: "enc-optional", Name: "XC20P", On: anon, change: jwe(func(j *JWE) { j.Enc = "XC20P" })},
		{Rule: "authcrypt-enc", Name: "A256GCM", On: auth, Refused: envelope.ErrUnsupportedAlg, change: jwe(func(j *JWE) { j.Enc = "A256GCM" })},
		{Rule: "authcrypt-enc", Name: "XC20P", On: auth, Refused: envelope.ErrUnsupportedAlg, change: jwe(func(j *JWE) { j.Enc = "XC20P" })},
		{Rule: "iv-tag-size", Name: "A256GCM with an iv of 16 bytes", On: anon, Refused: envelope.ErrMalformed,
			setup: jwe(func(j *JWE) { j.Enc = "A256GCM" }), change: jwe(func(j *JWE) { j.IVSize = 16 })},
		{Rule: "zip", On: both, Refused: envelope.ErrCompressed, change: jwe(func(j *JWE) { j.Deflate = true })},
		{Rule: "crit", Name: "in a JWE", On: both, Refused: envelope.ErrCritical, change: header(func(h Object) { h["crit"], h["exp"] = []string{"exp"}, 1 })},
		{Rule: "duplicate-member", Name: "protected header of a JWE", On: both, Refused: envelope.ErrDuplicateName, change: func(d *Draft) {
			// Two members whose names differ, until they are written.
			d.JWE.Rewrite = func(h []byte) []byte {
				return []byte(strings.Replace(string(h), `"enc":`, `"enc":"A256CBC-HS512","enc":`, 1))
			}
		}},

		{Rule: "apv-missing", On: both, change: without("apv")},
		{Rule: "apv-mismatch", Name: "another value", On: both, change: set("apv", b64.EncodeToString([]byte("another")))},
		{Rule: "apv-mismatch", Name: "kids not sorted", On: both, setup: sorted, change: func(d *Draft) {
			twoKeys(d, 1, 0)
			d.JWE.Header = func(h Object) { h["apv"] = apv(d.Bob.Agree[1].KID, d.Bob.Agree[0].KID) }
		}},
		{Rule: "recipients-unsorted", On: both, setup: sorted, change: func(d *Draft) { twoKeys(d, 1, 0) }},
		{Rule: "mixed-dids", On: both, Message: true, change: func(d *Draft) {
			d.JWE.To = append(slices.Clone(d.JWE.To), d.Eve.Agree[0])
			slices.SortFunc(d.JWE.To, func(a, b AgreeKey) int { return strings.Compare(a.KID, b.KID) })
		}},
		{Rule: "too-many-recipients", Name: "101", On: anon, Refused: envelope.ErrTooManyRecipients, change: jwe(func(j *JWE) { j.To = slices.Repeat(j.To, 101) })},
		{Rule: "apu-missing", On: auth, change: without("apu")},
		{Rule: "skid-missing", On: auth, change: without("skid")},
		{Rule: "sender-missing", On: auth, Refused: envelope.ErrMalformed, change: without("skid", "apu")},
		{Rule: "sender-conflict", Name: "skid is of another DID", On: auth, Refused: envelope.ErrHeaderConflict, change: func(d *Draft) {
			d.JWE.Header = func(h Object) { h["skid"] = d.Eve.Agree[0].KID }
		}},
		{Rule: "sender-conflict", Name: "apu is of another DID", On: auth, Refused: envelope.ErrHeaderConflict, change: func(d *Draft) {
			d.JWE.Header = func(h Object) { h["apu"] = b64.EncodeToString([]byte(d.Eve.Agree[0].KID)) }
		}},
		{Rule: "skid-not-key", Name: "a DID", On: auth, Refused: envelope.ErrMalformed, change: func(d *Draft) {
			d.JWE.From = &AgreeKey{d.Alice.DID, d.Alice.Agree[0].Key}
		}},
		{Rule: "kid-missing", Name: "of a recipient", On: both, Refused: envelope.ErrMalformed, change: jwe(func(j *JWE) {
			j.Recipient = func(_ int, h Object) { delete(h, "kid") }
		})},
		{Rule: "kid-not-key", Name: "relative", On: both, change: func(d *Draft) {
			_, fragment, _ := strings.Cut(d.Bob.Agree[0].KID, "#")
			d.JWE.To = []AgreeKey{{"#" + fragment, d.Bob.Agree[0].Key}}
		}},
		{Rule: "kid-not-key", Name: "a DID", On: both, change: func(d *Draft) {
			d.JWE.To = []AgreeKey{{d.Bob.DID, d.Bob.Agree[0].Key}}
		}},

		{Rule: "epk-unprotected", On: both, change: jwe(func(j *JWE) { j.EPKEach = true })},
		{Rule: "epk-conflict", On: both, Refused: envelope.ErrHeaderConflict, change: func(d *Draft) {
			d.JWE.Recipient = func(_ int, h Object) { h["epk"] = publicJWK(d.Eve.Agree[0].Key.PublicKey()) }
		}},
		{Rule: "epk-string", On: both, change: jwe(func(j *JWE) { j.WriteEPK = func(jwk Object) any { return string(text(jwk)) } })},
		{Rule: "epk-short-coordinate", Name: "P-256", On: both, Curve: keyring.P256, change: short(ecdh.P256())},
		{Rule: "epk-short-coordinate", Name: "P-521", On: both, Curve: keyring.P521, change: short(ecdh.P521())},
	}
}

// short is an epk whose x has lost its leading zero.
func short(curve ecdh.Curve) func(*Draft) {
	return func(d *Draft) {
		d.JWE.EPK = shortKey(curve)
		d.JWE.WriteEPK = func(jwk Object) any {
			x := bytesOf(jwk["x"])
			for x[0] == 0 {
				x = x[1:]
			}
			jwk["x"] = b64.EncodeToString(x)
			return jwk
		}
	}
}

func jwsCases() []Case {
	signed := []Mode{Signed, SignedKID}
	first := func(change func(s *Signer)) func(*Draft) { return func(d *Draft) { change(&d.JWS.Signers[0]) } }
	protected := func(change func(h Object)) func(*Draft) {
		return first(func(s *Signer) { s.Protected = change })
	}
	by := func(alg string, d *Draft) Signer {
		return Signer{SignKey: d.Alice.Sign[alg], Protect: d.Mode == SignedKID}
	}
	return []Case{
		{Rule: "kid-protected", On: []Mode{Signed}, change: first(func(s *Signer) { s.Protect = true })},
		{Rule: "kid-unprotected", On: []Mode{Signed}, Without: SignedKID, change: func(*Draft) {}},
		{Rule: "kid-twice", On: signed, First: true, change: first(func(s *Signer) { s.Protect, s.Both = false, true })},
		{Rule: "kid-conflict", On: signed, First: true, Refused: envelope.ErrHeaderConflict, change: func(d *Draft) {
			s := &d.JWS.Signers[0]
			s.Protect = false
			s.Protected = func(h Object) { h["kid"] = s.KID }
			s.Header = func(h Object) { h["kid"] = d.Alice.Sign["ES256"].KID }
		}},
		{Rule: "kid-missing", Name: "of a signature", On: signed, First: true, Refused: envelope.ErrMalformed, change: first(func(s *Signer) {
			s.Protected = func(h Object) { delete(h, "kid") }
			s.Header = func(h Object) { delete(h, "kid") }
		})},
		{Rule: "signer-not-key", Name: "a DID", On: signed, First: true, Refused: envelope.ErrSignerMismatch, change: func(d *Draft) { d.JWS.Signers[0].KID = d.Alice.DID }},
		{Rule: "serialization", Name: "compact JWS", On: signed, First: true, change: func(d *Draft) { d.JWS.Form = "compact" }},
		{Rule: "base64-padding", Name: "protected header of a JWS", On: signed, First: true, change: first(func(s *Signer) { s.Pad = true })},
		{Rule: "base64-padding", Name: "payload and signature", On: signed, First: true, change: func(d *Draft) { d.JWS.Pad = true }},
		{Rule: "envelope-typ", Name: "missing in a JWS", On: signed, First: true, change: protected(func(h Object) { delete(h, "typ") })},
		{Rule: "envelope-typ", Name: "JWM in a JWS", On: signed, First: true, change: protected(func(h Object) { h["typ"] = "JWM" })},
		{Rule: "alg-unprotected", Name: "alg of a signature", On: signed, First: true, Refused: envelope.ErrUnprotectedAlg, change: first(func(s *Signer) {
			s.Protected = func(h Object) { delete(h, "alg") }
			s.Header = func(h Object) { h["alg"] = "EdDSA" }
		})},
		{Rule: "crit", Name: "in a JWS", On: signed, First: true, Refused: envelope.ErrCritical, change: protected(func(h Object) {
			h["crit"], h["exp"] = []string{"exp"}, 1
		})},
		{Rule: "several-signatures", On: signed, First: true, change: func(d *Draft) { d.JWS.Signers = append(d.JWS.Signers, by("ES256", d)) }},
		{Rule: "too-many-signatures", Name: "6", On: signed, First: true, Refused: envelope.ErrTooManySignatures, change: func(d *Draft) {
			d.JWS.Signers = slices.Repeat(d.JWS.Signers, 6)
		}},
		{Rule: "sign-alg-extra", Name: "ES384", On: signed, First: true, change: func(d *Draft) {
			d.Alice.addSign("ES384", keyring.P384)
			d.JWS.Signers = []Signer{by("ES384", d)}
		}},
		{
			Rule: "es256k-high-s", On: signed, First: true,
			setup:  func(d *Draft) { d.JWS.Signers = []Signer{by("ES256K", d)} },
			change: first(func(s *Signer) { s.HighS = true }),
		},
		{Rule: "signed-no-to", On: signed, First: true, Message: true, change: func(d *Draft) { delete(d.Message, "to") }},
		{Rule: "authcrypt-of-signed", On: []Mode{Authcrypt}, Message: true, change: func(d *Draft) {
			d.Inside = func(data []byte) []byte {
				return (&JWS{Signers: []Signer{{SignKey: d.Alice.Sign["EdDSA"]}}}).Sign(data)
			}
		}},
	}
}
