package craft

import (
	"bytes"
	"compress/flate"
	"crypto/ecdh"
	"crypto/rand"
	"encoding/base64"
	"maps"
	"slices"
	"strings"
)

// JWE says how to encrypt a message. With only To, the result is a sound anoncrypt. With From
// as well, the result is a sound authcrypt.
type JWE struct {
	From *AgreeKey
	To   []AgreeKey

	Enc     string // A256CBC-HS512 if ""
	Form    string // "" for General JSON serialization, "flattened", "compact"
	Deflate bool
	IVSize  int // in bytes, of A256GCM; 0 is 12
	KEKSize int // in bytes; 0 is 32
	// Pad names the members to write with padding.
	Pad []string

	EPK      *ecdh.PrivateKey     // instead of a fresh one
	EPKEach  bool                 // one for each recipient, in its header
	WriteEPK func(jwk Object) any // how epk is written
	// ZeroSecret makes the shared secret zero, as it is with a point of low order.
	ZeroSecret bool

	Header    func(h Object)        // changes the protected header before it is used
	Rewrite   func(h []byte) []byte // changes how it is written
	Recipient func(i int, h Object) // changes a recipient's header
	Envelope  func(env Object)      // changes the finished JSON
}

// Seal encrypts a message.
func (j *JWE) Seal(plaintext []byte) []byte {
	curve := j.To[0].Key.Curve()
	newEPK := func() *ecdh.PrivateKey {
		if j.EPK != nil {
			return j.EPK
		}
		return must(curve.GenerateKey(rand.Reader))
	}
	common := newEPK()
	h := j.protected(common)
	protected := encoded(h)
	if j.Rewrite != nil {
		protected = b64.EncodeToString(j.Rewrite(text(h)))
	}
	if slices.Contains(j.Pad, "protected") {
		protected = padded(h)
	}
	if j.Deflate {
		plaintext = deflate(plaintext)
	}
	cek, iv, ciphertext, tag := encrypt(j.enc(), j.IVSize, []byte(protected), plaintext)

	var recipients []any
	for i, r := range j.To {
		header := Object{"kid": r.KID}
		epk := common
		if j.EPKEach {
			epk = newEPK()
			header["epk"] = j.written(epk)
		}
		if j.Recipient != nil {
			j.Recipient(i, header)
		}
		recipients = append(recipients, Object{"header": header, "encrypted_key": b64.EncodeToString(j.wrap(h, r, epk, tag, cek))})
	}
	env := Object{
		"protected": protected, "iv": j.coded("iv", iv), "ciphertext": j.coded("ciphertext", ciphertext),
		"tag": j.coded("tag", tag), "recipients": recipients,
	}
	first := recipients[0].(Object)
	switch j.Form {
	case "compact":
		parts := []any{protected, first["encrypted_key"], env["iv"], env["ciphertext"], env["tag"]}
		return compact(parts)
	case "flattened":
		delete(env, "recipients")
		maps.Copy(env, first)
	}
	if j.Envelope != nil {
		j.Envelope(env)
	}
	return text(env)
}

func (j *JWE) enc() string {
	if j.Enc == "" {
		return "A256CBC-HS512"
	}
	return j.Enc
}

// protected returns the protected header.
func (j *JWE) protected(epk *ecdh.PrivateKey) Object {
	var kids []string
	for _, r := range j.To {
		kids = append(kids, r.KID)
	}
	slices.Sort(kids)
	h := Object{
		"typ": "application/didcomm-encrypted+json", "alg": "ECDH-ES+A256KW", "enc": j.enc(), "apv": apv(kids...),
	}
	if j.From != nil {
		h["alg"], h["skid"], h["apu"] = "ECDH-1PU+A256KW", j.From.KID, b64.EncodeToString([]byte(j.From.KID))
	}
	if !j.EPKEach {
		h["epk"] = j.written(epk)
	}
	if j.Form == "compact" {
		h["kid"] = j.To[0].KID
	}
	if j.Deflate {
		h["zip"] = "DEF"
	}
	if j.Header != nil {
		j.Header(h)
	}
	return h
}

func (j *JWE) written(key *ecdh.PrivateKey) any {
	jwk := publicJWK(key.PublicKey())
	if j.WriteEPK != nil {
		return j.WriteEPK(jwk)
	}
	return jwk
}

// wrap wraps the key of the content for a recipient, as the header says.
func (j *JWE) wrap(h Object, to AgreeKey, epk *ecdh.PrivateKey, tag, cek []byte) []byte {
	z := make([]byte, 32)
	if !j.ZeroSecret {
		z = must(epk.ECDH(to.Key.PublicKey()))
	}
	if j.From == nil {
		tag = nil
	} else {
		z = append(z, must(j.From.Key.ECDH(to.Key.PublicKey()))...)
	}
	size := j.KEKSize
	if size == 0 {
		size = 32
	}
	alg, _ := h["alg"].(string)
	if alg == "" {
		alg = "ECDH-ES+A256KW"
	}
	return wrap(concatKDF(z, alg, member(h, "apu"), member(h, "apv"), size, tag), cek)
}

// member is what a header's member holds in base64url, nil if it is not there.
func member(h Object, name string) []byte {
	s, _ := h[name].(string)
	return must(b64.DecodeString(strings.TrimRight(s, "=")))
}

func (j *JWE) coded(name string, b []byte) string {
	if slices.Contains(j.Pad, name) {
		return base64.URLEncoding.EncodeToString(b)
	}
	return b64.EncodeToString(b)
}

// padded is a header in base64url that needs padding and has it.
func padded(h Object) string {
	for fill := "x"; len(text(h))%3 == 0; fill += "x" {
		h["filler"] = fill
	}
	return base64.URLEncoding.EncodeToString(text(h))
}

func compact(parts []any) []byte {
	var list []string
	for _, p := range parts {
		list = append(list, p.(string))
	}
	return []byte(strings.Join(list, "."))
}

// deflate returns data in DEFLATE form without compression, so that the error of a library
// that does not inflate is always the same.
func deflate(b []byte) []byte {
	var out bytes.Buffer
	w := must(flate.NewWriter(&out, flate.NoCompression))
	must(w.Write(b))
	check(w.Close())
	return out.Bytes()
}
