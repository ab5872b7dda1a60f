package craft

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"slices"

	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/keyring"
)

// Attacks returns the faults that no library may open. These envelopes have the right form,
// but the recipient would take for proven what is not proven.
func Attacks() []Case {
	encrypted, auth := []Mode{Anoncrypt, Authcrypt}, []Mode{Authcrypt}
	signed := []Mode{Signed, SignedKID}
	message := func(name string, v func(d *Draft) any) func(*Draft) { return func(d *Draft) { d.Message[name] = v(d) } }
	eve := func(d *Draft) any { return d.Eve.DID }
	without := func(name string) func(*Draft) { return func(d *Draft) { delete(d.Message, name) } }
	inside := func(wrap func(d *Draft, data []byte) []byte) func(*Draft) {
		return func(d *Draft) { d.Inside = func(data []byte) []byte { return wrap(d, data) } }
	}
	anon := func(d *Draft, data []byte) []byte { return (&JWE{To: d.Bob.Agree[:1]}).Seal(data) }
	authed := func(d *Draft, data []byte) []byte {
		return (&JWE{From: &d.Alice.Agree[0], To: d.Bob.Agree[:1]}).Seal(data)
	}
	signs := func(d *Draft, data []byte) []byte {
		return (&JWS{Signers: []Signer{{SignKey: d.Alice.Sign["EdDSA"], Protect: d.Mode == SignedKID}}}).Sign(data)
	}
	all := []Case{
		{Rule: "sender-mismatch", Name: "from is another DID", On: auth, Refused: envelope.ErrSenderMismatch, change: message("from", eve)},
		{Rule: "sender-mismatch", Name: "no from", On: auth, Refused: envelope.ErrSenderMismatch, change: without("from")},
		{Rule: "sender-mismatch", Name: "skid is no key agreement key", On: auth, Curve: keyring.P256, Refused: envelope.ErrSenderMismatch, change: func(d *Draft) {
			kid := d.Alice.Sign["ES256"].KID
			d.JWE.From = &AgreeKey{kid, must(d.Alice.Keys.KeyAgreement(context.Background(), kid))}
		}},
		{Rule: "signer-mismatch", Name: "from is another DID", On: signed, First: true, Refused: envelope.ErrSignerMismatch, change: message("from", eve)},
		{Rule: "signer-mismatch", Name: "no from", On: signed, First: true, Refused: envelope.ErrSignerMismatch, change: without("from")},
		{Rule: "signer-mismatch", Name: "kid is no authentication key", On: signed, First: true, Curve: keyring.P256, Refused: envelope.ErrSignerMismatch, setup: func(d *Draft) {
			d.JWS.Signers[0].SignKey = d.Alice.Sign["ES256"]
		}, change: func(d *Draft) {
			kid := d.Alice.Agree[0].KID
			d.JWS.Signers[0].SignKey = SignKey{kid, "ES256", must(d.Alice.Keys.Signer(context.Background(), kid))}
		}},
		{Rule: "recipient-mismatch", Name: "to is another DID", On: encrypted, Refused: envelope.ErrRecipientMismatch, change: message("to", func(d *Draft) any {
			return []string{d.Eve.DID}
		})},
		{Rule: "recipient-mismatch", Name: "signed to another DID", On: []Mode{AnonOfSigned}, Refused: envelope.ErrRecipientMismatch, change: message("to", func(d *Draft) any {
			return []string{d.Eve.DID}
		})},
		{Rule: "signed-encrypted-no-to", On: []Mode{AnonOfSigned}, Refused: envelope.ErrRecipientMismatch, change: without("to")},

		{Rule: "nesting", Name: "anoncrypt(anoncrypt)", On: []Mode{Anoncrypt}, Refused: envelope.ErrNesting, change: inside(anon)},
		{Rule: "nesting", Name: "anoncrypt(anoncrypt(anoncrypt))", On: []Mode{Anoncrypt}, Refused: envelope.ErrNesting, change: inside(func(d *Draft, data []byte) []byte {
			return anon(d, anon(d, data))
		})},
		{Rule: "nesting", Name: "authcrypt(authcrypt)", On: auth, Refused: envelope.ErrNesting, change: inside(authed)},
		{Rule: "nesting", Name: "authcrypt(anoncrypt)", On: auth, Refused: envelope.ErrNesting, change: inside(anon)},
		{Rule: "nesting", Name: "anoncrypt(authcrypt(authcrypt))", On: auth, Refused: envelope.ErrNesting, change: func(d *Draft) {
			inside(authed)(d)
			d.Outside = func(data []byte) []byte { return anon(d, data) }
		}},
		{Rule: "nesting", Name: "sign(sign)", On: signed, First: true, Refused: envelope.ErrNesting, change: inside(signs)},
		{Rule: "nesting", Name: "sign(authcrypt)", On: signed, First: true, Refused: envelope.ErrNesting, change: inside(authed)},

		{Rule: "epk-low-order", Name: "zero, and a secret that all know", On: encrypted, Curve: keyring.X25519, Refused: envelope.ErrLowOrderPoint, change: func(d *Draft) {
			d.JWE.ZeroSecret = true
			d.JWE.WriteEPK = func(jwk Object) any { jwk["x"] = b64.EncodeToString(make([]byte, 32)); return jwk }
		}},
		{Rule: "sign-alg-unsupported", Name: "none", On: signed, First: true, Refused: envelope.ErrUnsupportedAlg, change: func(d *Draft) {
			s := &d.JWS.Signers[0]
			s.Alg, s.Signature = "none", func([]byte) []byte { return nil }
		}},
		{Rule: "sign-alg-unsupported", Name: "HS256 by the public key", On: signed, First: true, Refused: envelope.ErrUnsupportedAlg, change: func(d *Draft) {
			public := d.Alice.raw(d.JWS.Signers[0].KID)
			s := &d.JWS.Signers[0]
			s.Alg, s.Signature = "HS256", func(input []byte) []byte {
				mac := hmac.New(sha256.New, public)
				mac.Write(input)
				return mac.Sum(nil)
			}
		}},
		{Rule: "signatures-missing", Name: "an empty list", On: signed, First: true, Refused: envelope.ErrMalformed, change: func(d *Draft) {
			d.JWS.Envelope = func(env Object) { env["signatures"] = []any{} }
		}},
		{
			Rule: "signature", Name: "the second of two is wrong", On: signed, First: true, Refused: envelope.ErrSignature,
			setup: func(d *Draft) {
				s := d.JWS.Signers[0]
				s.SignKey = d.Alice.Sign["ES256"]
				d.JWS.Signers = append(d.JWS.Signers, s)
			},
			change: func(d *Draft) {
				d.JWS.Signers[1].Signature = func([]byte) []byte { return slices.Repeat([]byte{1}, 64) }
			},
		},
		{Rule: "from-prior", Name: "signed by another DID", On: auth, Refused: envelope.ErrFromPrior, change: func(d *Draft) { d.Message["from_prior"] = d.fromPrior(d.Eve.DID, d.Alice.DID, d.Bob.Sign["EdDSA"]) }},
		{Rule: "from-prior", Name: "sub is another DID", On: auth, Refused: envelope.ErrFromPrior, change: func(d *Draft) { d.Message["from_prior"] = d.fromPrior(d.Eve.DID, d.Bob.DID, d.Eve.Sign["EdDSA"]) }},
	}
	for i, c := range all {
		switch c.Rule {
		case "sender-mismatch", "signer-mismatch", "recipient-mismatch", "signed-encrypted-no-to", "nesting", "from-prior":
			all[i].Message = true
		}
	}
	return all
}

// fromPrior returns a rotation (DIDComm v2.1, DID Rotation) from iss to sub.
func (d *Draft) fromPrior(iss, sub string, key SignKey) string {
	jwt := JWS{Form: "compact", Signers: []Signer{{SignKey: key, Protected: func(h Object) { h["typ"] = "JWT" }}}}
	return string(jwt.Sign(text(Object{"iss": iss, "sub": sub, "iat": 1516269022})))
}
