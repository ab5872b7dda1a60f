package doctor_test

import (
	"bytes"
	"crypto/ecdh"
	"encoding/json"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/didcomm-go/didcomm/agent/envelope/doctor"
)

func codes(findings []doctor.Finding) []string {
	var list []string
	for _, f := range findings {
		list = append(list, f.Code)
	}
	return list
}

// The messages of the specification have a single fault, which the specification itself
// mentions: a signed message inside authcrypt SHOULD NOT be emitted. Other findings are of
// severity Info.
func TestAppendix(t *testing.T) {
	docs := appendixDocuments(t)
	for name, want := range map[string]struct{ closed, opened string }{
		"plaintext.json":                     {"message-typ-missing", "message-typ-missing"},
		"signed-eddsa.json":                  {"kid-unprotected", "kid-unprotected"},
		"signed-es256.json":                  {"kid-unprotected", "kid-unprotected"},
		"signed-es256k.json":                 {"kid-unprotected", "kid-unprotected"},
		"anoncrypt-x25519-xc20p.json":        {"enc-optional", "enc-optional"},
		"anoncrypt-p384-a256cbchs512.json":   {"", ""},
		"anoncrypt-p521-a256gcm.json":        {"enc-optional", "enc-optional"},
		"authcrypt-x25519-a256cbchs512.json": {"", ""},
		"authcrypt-p256-of-signed-eddsa.json": {
			"", "authcrypt-of-signed kid-unprotected",
		},
		"anoncrypt-p521-xc20p-of-authcrypt-x25519-of-signed.json": {
			"enc-optional", "enc-optional authcrypt-of-signed kid-unprotected",
		},
	} {
		data := vector(t, name)
		if got := strings.Join(codes(doctor.Examine(data).Findings), " "); got != want.closed {
			t.Errorf("%s: %q, want %q", name, got, want.closed)
		}
		r := doctor.Open(t.Context(), packer(t, "bob", docs), data)
		if got := strings.Join(codes(r.Findings), " "); got != want.opened {
			t.Errorf("%s, opened: %q, want %q", name, got, want.opened)
		}
		if bad := r.AtLeast(doctor.Error); len(bad) > 0 || r.Metadata == nil {
			t.Errorf("%s: %v, metadata %v", name, bad, r.Metadata)
		}
	}
}

// deviating are messages with one fault each, and the codes of their findings,
// made once.
var deviating = sync.OnceValue(func() map[string]struct{ data, want string } {
	type row = struct{ data, want string }
	high := bytes.Repeat([]byte{0x7f}, 64) // s is above half of the group's order
	high[32] = 0xf0
	low := bytes.Repeat([]byte{1}, 64)
	rows := map[string]row{
		"sound anoncrypt": {anoncrypt().json(), ""},
		"sound authcrypt": {authcrypt().json(), ""},
		"sound message":   {plain(func(object) {}), ""},
		"sound forward":   {forward(func(object) {}), ""},
		"sound signed":    {signed(text(sound())), "kid-unprotected"},

		"nothing":        {"", "malformed"},
		"no JSON":        {"hello", "malformed"},
		"half an object": {`{"ciphertext":"AA`, "malformed"},
		"number":         {anon(func(s *sealed) { s.top["tag"] = 1 }), "malformed"},
		"no base64url":   {anon(func(s *sealed) { s.top["tag"] = "%" }), "malformed"},
		"duplicate":      {strings.Replace(anoncrypt().json(), `"iv":`, `"iv":"AA","iv":`, 1), "duplicate-member"},
		"duplicate id":   {`{"id":"1","id":"2"}`, "duplicate-member"},
		"deep":           {anon(func(s *sealed) { s.top["x"] = json.RawMessage(strings.Repeat("[", 100) + strings.Repeat("]", 100)) }), "too-deep"},
		"deep message":   {plain(func(m object) { m["x"] = json.RawMessage(strings.Repeat("[", 100) + strings.Repeat("]", 100)) }), "too-deep"},
		"large":          {anon(func(s *sealed) { s.top["ciphertext"] = strings.Repeat("A", 17<<20) }), "too-large"},
		"large message":  {plain(func(m object) { m["x"] = strings.Repeat("A", 17<<20) }), "too-large"},

		"typ missing": {anon(func(s *sealed) { delete(s.header, "typ") }), "envelope-typ"},
		"typ other":   {anon(func(s *sealed) { s.header["typ"] = "JWM" }), "envelope-typ"},
		"typ short":   {anon(func(s *sealed) { s.header["typ"] = "didcomm-encrypted+json" }), ""},
		"padding":     {anon(func(s *sealed) { s.top["iv"] = b64(make([]byte, 16)) + "==" }), "base64-padding"},
		"compact":     {compact(anoncrypt()), "serialization"},
		"flattened":   {flattened(anoncrypt()), "serialization"},
		"both forms":  {anon(func(s *sealed) { s.top["encrypted_key"] = "AA" }), "malformed"},
		"alg of recipients": {anon(func(s *sealed) {
			delete(s.header, "alg")
			s.recipients[0].(object)["header"].(object)["alg"] = "ECDH-ES+A256KW"
		}), "alg-unprotected"},
		"enc unprotected": {anon(func(s *sealed) { delete(s.header, "enc"); s.top["unprotected"] = object{"enc": "A256GCM"} }), "alg-unprotected"},
		"alg of 128 bits": {anon(func(s *sealed) { s.header["alg"] = "ECDH-ES+A128KW" }), "alg-unsupported"},
		"alg missing":     {anon(func(s *sealed) { delete(s.header, "alg") }), "alg-unsupported"},
		"enc of 128 bits": {anon(func(s *sealed) { s.header["enc"] = "A128GCM" }), "enc-unsupported"},
		"zip":             {anon(func(s *sealed) { s.header["zip"] = "DEF" }), "zip"},
		"crit":            {anon(func(s *sealed) { s.header["crit"] = []string{"exp"} }), "crit"},
		"iv of GCM":       {anon(func(s *sealed) { s.top["iv"] = b64(make([]byte, 12)) }), "iv-tag-size"},
		"tag of GCM":      {anon(func(s *sealed) { s.top["tag"] = b64(make([]byte, 16)) }), "iv-tag-size"},
		"no tag":          {anon(func(s *sealed) { delete(s.top, "tag") }), "jwe-incomplete iv-tag-size"},
		"GCM": {anon(func(s *sealed) {
			s.header["enc"] = "A256GCM"
			s.top["iv"], s.top["tag"] = b64(make([]byte, 12)), b64(make([]byte, 16))
		}), "enc-optional"},
		"XC20P": {anon(func(s *sealed) {
			s.header["enc"] = "XC20P"
			s.top["iv"], s.top["tag"] = b64(make([]byte, 24)), b64(make([]byte, 16))
		}), "enc-optional"},
		"authcrypt of XC20P": {auth(func(s *sealed) {
			s.header["enc"] = "XC20P"
			s.top["iv"], s.top["tag"] = b64(make([]byte, 24)), b64(make([]byte, 16))
		}), "authcrypt-enc"},
		"apv missing":        {anon(func(s *sealed) { delete(s.header, "apv") }), "apv-missing"},
		"apv of others":      {anon(func(s *sealed) { s.header["apv"] = apv("x") }), "apv-mismatch"},
		"apu missing":        {auth(func(s *sealed) { delete(s.header, "apu") }), "apu-missing"},
		"skid missing":       {auth(func(s *sealed) { delete(s.header, "skid") }), "skid-missing"},
		"no sender":          {auth(func(s *sealed) { delete(s.header, "skid"); delete(s.header, "apu") }), "sender-missing"},
		"two senders":        {auth(func(s *sealed) { s.header["apu"] = b64([]byte("x")) }), "sender-conflict"},
		"skid no key":        {auth(func(s *sealed) { s.header["skid"], s.header["apu"] = alice, b64([]byte(alice)) }), "skid-not-key"},
		"no recipients":      {anon(func(s *sealed) { s.recipients = []any{} }), "recipients-missing"},
		"kid missing":        {anon(func(s *sealed) { s.recipients[1] = object{"encrypted_key": "AA"} }), "kid-missing"},
		"kid relative":       {anon(func(s *sealed) { s.to("#key-1") }), "kid-not-key"},
		"kid of a key store": {anon(func(s *sealed) { s.to("42") }), "kid-not-key"},
		"several DIDs":       {anon(func(s *sealed) { s.to("did:example:a#1", "did:example:b#1") }), "mixed-dids"},
		"unsorted":           {anon(func(s *sealed) { s.to(bobKey2, bobKey1) }), "recipients-unsorted"},
		"many recipients":    {anon(func(s *sealed) { s.to(slices.Repeat([]string{bobKey1}, 1000)...) }), "too-many-recipients"},
		"epk missing":        {anon(func(s *sealed) { delete(s.header, "epk") }), "epk-missing"},
		"epk of recipients":  {anon(perRecipient), "epk-unprotected"},
		"epk twice":          {anon(func(s *sealed) { epk := s.header["epk"]; perRecipient(s); s.header["epk"] = epk }), "epk-conflict epk-unprotected"},
		"epk a string":       {anon(func(s *sealed) { s.header["epk"] = text(s.header["epk"]) }), "epk-string"},
		"epk short":          {anon(func(s *sealed) { s.header["epk"] = shortPoint() }), "epk-short-coordinate"},
		"epk off the curve":  {anon(func(s *sealed) { s.header["epk"] = offCurve() }), "epk-invalid"},
		"epk of secp256k1":   {anon(func(s *sealed) { s.header["epk"] = object{"kty": "EC", "crv": "secp256k1", "x": "AA", "y": "AA"} }), "epk-invalid"},
		"epk zero":           {anon(func(s *sealed) { s.header["epk"] = object{"kty": "OKP", "crv": "X25519", "x": b64(make([]byte, 32))} }), "epk-low-order"},
		"several faults":     {auth(func(s *sealed) { delete(s.header, "apv"); s.header["zip"] = "DEF"; s.header["alg"] = "ECDH-1PU+A128KW" }), "zip alg-unsupported apv-missing"},

		"kid protected":       {jws(text(sound()), signature("EdDSA", skid, "", low)), "kid-protected"},
		"kid twice":           {jws(text(sound()), signature("EdDSA", skid, skid, low)), "kid-twice"},
		"two kids":            {jws(text(sound()), signature("EdDSA", skid, alice+"#key-2", low)), "kid-conflict"},
		"no kid":              {jws(text(sound()), signature("EdDSA", "", "", low)), "kid-missing"},
		"kid no key":          {jws(text(sound()), signature("EdDSA", "", alice, low)), "signer-not-key kid-unprotected"},
		"signed typ":          {strings.Replace(signed(text(sound())), b64([]byte(`{"alg":"EdDSA","typ":"application/didcomm-signed+json"}`)), b64([]byte(`{"alg":"EdDSA"}`)), 1), "envelope-typ kid-unprotected"},
		"signed crit":         {jws(text(sound()), object{"protected": b64([]byte(`{"alg":"EdDSA","typ":"application/didcomm-signed+json","crit":["b64"]}`)), "header": object{"kid": skid}, "signature": "AA"}), "crit kid-unprotected"},
		"signed alg outside":  {jws(text(sound()), object{"protected": b64([]byte(`{"typ":"application/didcomm-signed+json"}`)), "header": object{"kid": skid, "alg": "EdDSA"}, "signature": "AA"}), "alg-unprotected kid-unprotected"},
		"several signatures":  {jws(text(sound()), signature("EdDSA", "", skid, low), signature("ES256", "", alice+"#key-2", low)), "kid-unprotected several-signatures"},
		"many signatures":     {jws(text(sound()), slices.Repeat([]any{signature("EdDSA", "", skid, low)}, 50)...), "too-many-signatures kid-unprotected several-signatures"},
		"no signatures":       {jws(text(sound()), []any{}...), "signatures-missing"},
		"RS256":               {jws(text(sound()), signature("RS256", "", skid, low)), "sign-alg-unsupported kid-unprotected"},
		"none":                {jws(text(sound()), signature("none", "", skid, nil)), "sign-alg-unsupported kid-unprotected"},
		"ES384":               {jws(text(sound()), signature("ES384", "", skid, low)), "sign-alg-extra kid-unprotected"},
		"ES256K of high s":    {jws(text(sound()), signature("ES256K", "", skid, high)), "es256k-high-s kid-unprotected"},
		"ES256K of low s":     {jws(text(sound()), signature("ES256K", "", skid, low)), "kid-unprotected"},
		"compact JWS":         {b64([]byte(`{"alg":"EdDSA","kid":"`+skid+`","typ":"application/didcomm-signed+json"}`)) + "." + b64([]byte(text(sound()))) + ".AA", "serialization kid-protected"},
		"signed for nobody":   {signed(plain(func(m object) { delete(m, "to") })), "kid-unprotected signed-no-to"},
		"signed by another":   {signed(plain(func(m object) { m["from"] = bob })), "kid-unprotected signer-mismatch"},
		"signed, no from":     {signed(plain(func(m object) { delete(m, "from") })), "kid-unprotected signer-mismatch"},
		"signed twice":        {signed(signed(text(sound()))), "kid-unprotected nesting kid-unprotected"},
		"encrypted in signed": {signed(anoncrypt().json()), "kid-unprotected nesting"},

		"id missing":          {plain(func(m object) { delete(m, "id") }), "id-missing"},
		"id empty":            {plain(func(m object) { m["id"] = "" }), "id-missing"},
		"id and type missing": {plain(func(m object) { delete(m, "id"); delete(m, "type"); m["to"] = bob }), "id-missing type-missing list-string"},
		"id a number":         {plain(func(m object) { m["id"] = 1 }), "message-malformed"},
		"body a string":       {plain(func(m object) { m["body"] = "x" }), "message-malformed"},
		"type a word":         {plain(func(m object) { m["type"] = "ping" }), "type-uri"},
		"typ of an envelope":  {plain(func(m object) { m["typ"] = "application/didcomm-encrypted+json" }), "message-typ"},
		"no typ":              {plain(func(m object) { delete(m, "typ") }), "message-typ-missing"},
		"signed, no typ":      {signed(plain(func(m object) { delete(m, "typ") })), "kid-unprotected"},
		"from a key":          {plain(func(m object) { m["from"] = skid }), "from-not-did"},
		"to a name":           {plain(func(m object) { m["to"] = []string{"bob"} }), "to-not-did"},
		"to a string":         {plain(func(m object) { m["to"] = bob }), "list-string"},
		"time as text":        {plain(func(m object) { m["created_time"] = "2018-01-18T09:50:22Z" }), "time-iso8601"},
		"time quoted":         {plain(func(m object) { m["created_time"] = "1516269022" }), "time-string"},
		"time fraction":       {plain(func(m object) { m["created_time"] = 1516269022.5 }), "time-float"},
		"milliseconds":        {plain(func(m object) { m["expires_time"] = 1516269022000 }), "time-milliseconds"},
		"no body":             {plain(func(m object) { delete(m, "body") }), "body-missing"},
		"null":                {plain(func(m object) { m["thid"] = nil }), "null-member"},
		"a code as body": {plain(func(m object) {
			m["type"], m["body"] = "https://didcomm.org/notification/1.0/problem-report", "e.p.msg"
		}), "report-body"},
		"please_ack true":    {plain(func(m object) { m["please_ack"] = true }), "please-ack-boolean"},
		"return_route true":  {plain(func(m object) { m["return_route"] = "always" }), "return-route"},
		"attachment no id":   {plain(func(m object) { m["attachments"] = []any{object{"data": object{"json": 1}}} }), "attachment-no-id"},
		"attachment no data": {plain(func(m object) { m["attachments"] = []any{object{"id": "1", "data": object{}}} }), "attachment-no-data"},
		"attachment no hash": {plain(func(m object) {
			m["attachments"] = []any{object{"id": "1", "data": object{"links": []string{"https://example.org"}}}}
		}), "attachment-no-hash"},

		"forward to nobody":   {forward(func(m object) { m["body"] = object{} }), "forward-next"},
		"forward to a name":   {forward(func(m object) { m["body"] = object{"next": "bob"} }), "forward-next"},
		"forward of nothing":  {forward(func(m object) { delete(m, "attachments") }), "forward-no-attachment"},
		"forward of several":  {forward(func(m object) { m["attachments"] = slices.Repeat(m["attachments"].([]any), 2) }), "forward-attachments"},
		"forward of base64":   {forward(func(m object) { m["attachments"] = []any{object{"id": "1", "data": object{"base64": "e30"}}} }), "forward-not-json"},
		"forward without id":  {forward(func(m object) { delete(m["attachments"].([]any)[0].(object), "id") }), "attachment-no-id"},
		"forward with an ack": {forward(func(m object) { m["please_ack"] = []string{""} }), "forward-please-ack"},
	}
	return rows
})

func flattened(s *sealed) string {
	s.to(bobKey1)
	maps.Copy(s.top, s.recipients[0].(object))
	s.recipients = nil
	return s.json()
}

func compact(s *sealed) string {
	s.header["kid"], s.header["apv"] = bobKey1, apv(bobKey1)
	return strings.Join([]string{
		b64([]byte(text(s.header))), b64(make([]byte, 72)), s.top["iv"].(string), s.top["ciphertext"].(string), s.top["tag"].(string),
	}, ".")
}

func perRecipient(s *sealed) {
	for _, r := range s.recipients {
		r.(object)["header"].(object)["epk"] = s.header["epk"]
	}
	delete(s.header, "epk")
}

// shortPoint is a P-256 point whose x has lost its leading zero.
func shortPoint() object {
	for {
		key := ephemeral(ecdh.P256())
		if b := key.PublicKey().Bytes(); b[1] == 0 {
			p := point(key)
			p["x"] = b64(b[2:33])
			return p
		}
	}
}

func offCurve() object {
	p := point(ephemeral(ecdh.P256()))
	p["x"], p["y"] = p["y"], p["x"]
	return p
}

func TestFindings(t *testing.T) {
	for name, tt := range deviating() {
		t.Run(name, func(t *testing.T) {
			r := doctor.Examine([]byte(tt.data))
			if got := strings.Join(codes(r.Findings), " "); got != tt.want {
				t.Errorf("codes %q, want %q\n%v", got, tt.want, r.Findings)
			}
			for _, f := range r.Findings {
				if f.Clause == "" || f.Fix == "" || f.Detail == "" || f.Layer > len(r.Layers) {
					t.Errorf("incomplete: %+v", f)
				}
			}
			if _, err := json.Marshal(r); err != nil {
				t.Error(err)
			}
		})
	}
}

// The fix has the right value where the envelope says enough to compute it.
func TestValues(t *testing.T) {
	rows := deviating()
	for name, want := range map[string]string{
		"apv missing":        apv(bobKey1, bobKey2),
		"apv of others":      apv(bobKey1, bobKey2),
		"apu missing":        b64([]byte(skid)),
		"skid missing":       skid,
		"typ missing":        "application/didcomm-encrypted+json",
		"authcrypt of XC20P": "A256CBC-HS512",
		"unsorted":           bobKey1 + " " + bobKey2,
		"from a key":         alice,
		"to a string":        `["` + bob + `"]`,
		"time as text":       "1516269022",
		"milliseconds":       "1516269022",
		"no typ":             "application/didcomm-plain+json",
	} {
		f := doctor.Examine([]byte(rows[name].data)).Findings[0]
		if f.Value != want {
			t.Errorf("%s: value %q, want %q", name, f.Value, want)
		}
		if !strings.HasSuffix(f.String(), " = "+want) || !strings.Contains(f.String(), f.Code) {
			t.Errorf("%s: %s", name, f)
		}
	}
}

// Peers stand at the findings of their rules, and nowhere unless they are given.
func TestAddPeers(t *testing.T) {
	data := []byte(deviating()["apv missing"].data)
	for _, f := range doctor.Examine(data).Findings {
		if f.Peers != nil {
			t.Errorf("%s: peers %v from nowhere", f.Code, f.Peers)
		}
	}
	one, two := doctor.Peer{Name: "a", Version: "a 1", Words: "no"}, doctor.Peer{Name: "b", Version: "b 2", When: "alone", Words: "never"}
	r := doctor.Examine(data)
	r.AddPeers([]doctor.Observation{{Rule: "apv-missing", Peer: one}, {Rule: "zip", Peer: one}, {Rule: "apv-missing", Peer: two}})
	if len(r.Findings) != 1 || !slices.Equal(r.Findings[0].Peers, []doctor.Peer{one, two}) {
		t.Errorf("%+v", r.Findings)
	}
}

func TestLayers(t *testing.T) {
	r := doctor.Examine([]byte(authcrypt().json()))
	l := r.Layers[0]
	if l.Kind != doctor.Encrypted || l.Serialization != "general" || l.Sender != skid || l.ContentBytes != 64 ||
		len(l.Recipients) != 2 || l.Recipients[1].KID != bobKey2 || l.Recipients[1].EncryptedKeyBytes != 72 ||
		!bytes.Contains(l.Protected, []byte("ECDH-1PU")) {
		t.Errorf("%+v", l)
	}
	rows := deviating()
	for name, want := range map[string]string{"compact": "compact", "flattened": "flattened"} {
		l := doctor.Examine([]byte(rows[name].data)).Layers[0]
		if l.Serialization != want || len(l.Recipients) != 1 || l.Recipients[0].KID != bobKey1 || l.Recipients[0].EncryptedKeyBytes != 72 {
			t.Errorf("%s: %+v", name, l)
		}
	}
	r = doctor.Examine([]byte(signed(plain(func(m object) {
		m["attachments"] = []any{object{"id": "a", "media_type": "text/plain", "data": object{"base64": "aGVsbG8"}}}
	}))))
	if len(r.Layers) != 2 || r.Layers[0].Signatures[0].KID != skid || r.Layers[0].Signatures[0].Alg != "EdDSA" {
		t.Fatalf("%+v", r.Layers)
	}
	if l := r.Layers[1]; l.Kind != doctor.Plaintext || !bytes.Contains(l.Headers, []byte(`"from":"did:example:alice"`)) ||
		bytes.Contains(l.Headers, []byte("body")) || l.Attachments[0] != (doctor.Attachment{ID: "a", MediaType: "text/plain", Bytes: 5}) {
		t.Errorf("%+v", l)
	}
}

// Members that are not displayed are not decoded: very long lists and objects cost little more
// memory than their text.
func TestBounded(t *testing.T) {
	list := func(member string) string {
		return `{"signature":"AA","payload":"AA","` + member + `":[` + strings.Repeat("{},", 1<<20) + `{}]}`
	}
	var members strings.Builder
	members.WriteString(`{"id":"1"`)
	for i := range 1 << 18 {
		fmt.Fprintf(&members, `,"%d":1`, i)
	}
	members.WriteString(`}`)
	for name, data := range map[string]string{
		"recipients of a JWS": list("recipients"),
		"signatures":          list("signatures"),
		"recipients":          strings.Replace(list("recipients"), "signature", "ciphertext", 1),
		"members":             members.String(),
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		r := doctor.Examine([]byte(data))
		runtime.ReadMemStats(&after)
		if used := after.TotalAlloc - before.TotalAlloc; used > 16*uint64(len(data)) {
			t.Errorf("%s: %d bytes of input took %d of memory", name, len(data), used)
		}
		if len(r.AtLeast(doctor.Error)) == 0 {
			t.Errorf("%s: %v", name, r.Findings)
		}
	}
}

// However deep layers nest, the examination ends.
func TestManyLayers(t *testing.T) {
	data := text(sound())
	for range 12 {
		data = signed(data)
	}
	r := doctor.Examine([]byte(data))
	if len(r.Layers) != 8 || len(r.AtLeast(doctor.Error)) == 0 {
		t.Errorf("%d layers, %v", len(r.Layers), r.Findings)
	}
}
