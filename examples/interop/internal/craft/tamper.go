package craft

import (
	"crypto/ecdh"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"maps"

	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/keyring"
)

// Tamper is a change to an existing envelope from Alice to Bob, which needs no key.
type Tamper struct {
	Name string
	On   []Mode // modes of the envelopes that can be changed so
	// Curve is the curve of the keys for key agreement; "" means any.
	Curve   keyring.Curve
	Refused error // what package envelope refuses it with

	change func(env Object, w *World)
}

// Apply changes an envelope in General or Flattened JSON serialization. The error
// says that the change does not fit the form of the envelope.
func (t Tamper) Apply(data []byte, w *World) (changed []byte, err error) {
	defer func() {
		if shape := recover(); shape != nil {
			changed, err = nil, fmt.Errorf("%s: an envelope of another shape: %v", t.Name, shape)
		}
	}()
	var env Object
	if err := json.Unmarshal(data, &env); err != nil {
		return nil, err
	}
	t.change(env, w)
	return text(env), nil
}

// Tampers returns all changes.
func Tampers() []Tamper {
	both, auth, signed := []Mode{Anoncrypt, Authcrypt}, []Mode{Authcrypt}, []Mode{Signed}
	header := func(change func(h Object, w *World)) func(Object, *World) {
		return func(env Object, w *World) {
			h := decoded(env["protected"])
			change(h, w)
			env["protected"] = encoded(h)
		}
	}
	epk := func(change func(jwk Object)) func(Object, *World) {
		return func(env Object, _ *World) {
			h := decoded(env["protected"])
			if jwk, ok := h["epk"].(Object); ok {
				change(jwk)
				env["protected"] = encoded(h)
				return
			}
			for _, r := range each(env, "recipients") {
				change(r["header"].(Object)["epk"].(Object))
			}
		}
	}
	another := func(curves map[string]ecdh.Curve) func(jwk Object) {
		return func(jwk Object) {
			key := must(curves[jwk["crv"].(string)].GenerateKey(rand.Reader))
			delete(jwk, "y")
			maps.Copy(jwk, publicJWK(key.PublicKey()))
		}
	}
	same := map[string]ecdh.Curve{"X25519": ecdh.X25519(), "P-256": ecdh.P256()}
	other := map[string]ecdh.Curve{"X25519": ecdh.P256(), "P-256": ecdh.P384()}
	flipped := func(name string) func(Object, *World) {
		return func(env Object, _ *World) { flip(env, name) }
	}
	rekey := func(kid func(w *World) string) func(Object, *World) {
		return func(env Object, w *World) {
			for _, s := range each(env, "signatures") {
				setKID(s, kid(w), kid(w))
			}
		}
	}
	return []Tamper{
		{Name: "apv replaced", On: both, Refused: envelope.ErrDecrypt, change: header(func(h Object, _ *World) { h["apv"] = apv("another") })},
		{Name: "a space in the protected header", On: both, Refused: envelope.ErrDecrypt, change: func(env Object, _ *World) { space(env) }},
		{Name: "a bit of iv", On: both, Refused: envelope.ErrDecrypt, change: flipped("iv")},
		{Name: "a bit of ciphertext", On: both, Refused: envelope.ErrDecrypt, change: flipped("ciphertext")},
		{Name: "a bit of tag", On: both, Refused: envelope.ErrDecrypt, change: flipped("tag")},
		{Name: "a bit of encrypted_key", On: both, Refused: envelope.ErrDecrypt, change: func(env Object, _ *World) {
			for _, r := range each(env, "recipients") {
				flip(r, "encrypted_key")
			}
		}},
		{Name: "aad added", On: both, Refused: envelope.ErrDecrypt, change: func(env Object, _ *World) { env["aad"] = "AA" }},
		{Name: "kid is of the recipient's other key", On: both, Refused: envelope.ErrDecrypt, change: func(env Object, w *World) {
			for _, r := range each(env, "recipients") {
				setKID(r, w.Bob.Agree[0].KID, w.Bob.Agree[1].KID)
			}
		}},
		{Name: "no recipients", On: both, Refused: envelope.ErrMalformed, change: func(env Object, _ *World) { env["recipients"] = []any{} }},
		{Name: "epk replaced", On: both, Refused: envelope.ErrDecrypt, change: epk(another(same))},
		{Name: "epk on another curve", On: both, Refused: envelope.ErrInvalidPoint, change: epk(another(other))},
		{Name: "epk zero", On: both, Curve: keyring.X25519, Refused: envelope.ErrLowOrderPoint, change: epk(func(jwk Object) { jwk["x"] = b64.EncodeToString(make([]byte, 32)) })},
		{Name: "epk not on its curve", On: both, Curve: keyring.P256, Refused: envelope.ErrInvalidPoint, change: epk(func(jwk Object) {
			jwk["x"], jwk["y"] = jwk["y"], jwk["x"]
		})},
		{Name: "skid and apu of another DID", On: auth, Refused: envelope.ErrDecrypt, change: header(func(h Object, w *World) {
			h["skid"], h["apu"] = w.Eve.Agree[0].KID, b64.EncodeToString([]byte(w.Eve.Agree[0].KID))
		})},
		{Name: "skid of another DID", On: auth, Refused: envelope.ErrHeaderConflict, change: header(func(h Object, w *World) { h["skid"] = w.Eve.Agree[0].KID })},
		{Name: "alg is that of anoncrypt", On: auth, Refused: envelope.ErrDecrypt, change: header(func(h Object, _ *World) { h["alg"] = "ECDH-ES+A256KW" })},

		{Name: "another payload", On: signed, Refused: envelope.ErrSignature, change: func(env Object, _ *World) {
			m := decoded(env["payload"])
			m["body"] = Object{"text": "another"}
			env["payload"] = encoded(m)
		}},
		{Name: "a bit of signature", On: signed, Refused: envelope.ErrSignature, change: func(env Object, _ *World) {
			for _, s := range each(env, "signatures") {
				flip(s, "signature")
			}
		}},
		{Name: "a space in the protected header", On: signed, Refused: envelope.ErrSignature, change: func(env Object, _ *World) {
			for _, s := range each(env, "signatures") {
				space(s)
			}
		}},
		{Name: "kid of another DID", On: signed, Refused: envelope.ErrSignerMismatch, change: rekey(func(w *World) string { return w.Eve.Sign["EdDSA"].KID })},
		{Name: "kid of the signer's other key", On: signed, Refused: envelope.ErrUnsupportedAlg, change: rekey(func(w *World) string { return w.Alice.Sign["ES256"].KID })},
		{Name: "no signatures", On: signed, Refused: envelope.ErrMalformed, change: func(env Object, _ *World) { env["signatures"] = []any{} }},
	}
}

// each is the elements of a list, or the envelope itself in Flattened
// serialization.
func each(env Object, name string) []Object {
	list, ok := env[name].([]any)
	if !ok {
		return []Object{env}
	}
	var all []Object
	for _, v := range list {
		all = append(all, v.(Object))
	}
	return all
}

// flip changes one bit of what a member holds.
func flip(o Object, name string) {
	b := bytesOf(o[name])
	b[len(b)/2] ^= 1
	o[name] = b64.EncodeToString(b)
}

// space changes how the protected header is written, and not what it says.
func space(o Object) { o["protected"] = b64.EncodeToString(append(bytesOf(o["protected"]), ' ')) }

// setKID names a key, or the other if it is that one already, wherever a
// signature or recipient names its own.
func setKID(o Object, kid, other string) {
	change := func(h Object) {
		if h["kid"] == kid {
			kid = other
		}
		h["kid"] = kid
	}
	if h, ok := o["header"].(Object); ok {
		change(h)
	}
	if o["protected"] == nil {
		return
	}
	if h := decoded(o["protected"]); h["kid"] != nil {
		change(h)
		o["protected"] = encoded(h)
	}
}
