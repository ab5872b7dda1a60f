//go:build interop

package interop_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/envelope/doctor"
	"github.com/didcomm-go/didcomm/agent/keyring"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/examples/interop/internal/craft"
)

// crafted is a recording of envelopes that package craft makes, of one world for
// each curve.
type crafted struct {
	recorder
	worlds map[keyring.Curve]*craft.World
	order  []*craft.World
}

func newCrafted() *crafted {
	return &crafted{
		recorder: *newRecorder(packerOf{Name: "didcomm-go examples/interop/internal/craft", Language: "Go"}),
		worlds:   map[keyring.Curve]*craft.World{},
	}
}

func (r *crafted) world(curve keyring.Curve) *craft.World {
	if curve == "" {
		curve = keyring.X25519
	}
	w, ok := r.worlds[curve]
	if !ok {
		w = craft.NewRecordedWorld(curve)
		r.worlds[curve], r.order = w, append(r.order, w)
	}
	return w
}

// finish holds the vectors to what they expect, and writes them with -record.
func (r *crafted) finish(t *testing.T, name string) {
	t.Helper()
	for _, w := range r.order {
		for _, jwk := range secrets(t, w.Bob.Keys) {
			r.file.Secrets = append(r.file.Secrets, jsontext.Value(jwk))
		}
		for _, p := range []*craft.Party{w.Alice, w.Bob, w.Eve} {
			doc, err := json.Marshal(p.Document)
			if err != nil {
				t.Fatal(err)
			}
			r.file.Documents = append(r.file.Documents, jsontext.Value(doc))
		}
	}
	r.file.check(t)
	if *recording {
		r.write(t, name)
	}
}

// refusal adds a vector that is refused by an error's class.
func (r *crafted) refusal(name, comment string, data []byte, want error) {
	r.file.Vectors = append(r.file.Vectors, vector{Name: name, Comment: comment, Expect: classOf(want), Envelope: string(data)})
}

// cases adds a vector for each case and mode.
func (r *crafted) cases(t *testing.T, cases []craft.Case) {
	t.Helper()
	clauses := map[string]string{}
	for _, rule := range doctor.Rules() {
		if !strings.HasPrefix(rule.Clause, "no clause") {
			clauses[rule.Code] = rule.Clause
		}
	}
	for _, c := range cases {
		modes := c.On
		if c.First {
			modes = modes[:1]
		}
		for _, mode := range modes {
			w := r.world(c.Curve)
			data, sent := c.Make(w, mode)
			name := c.String() + "/" + string(mode)
			if c.Refused != nil {
				r.refusal(name, clauses[c.Rule], data, c.Refused)
				continue
			}
			m, _, err := message.Parse(sent)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			metadata, deviations, err := r.opened(t, w, mode, data)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			r.file.Messages[name] = jsontext.Value(plaintext(t, m))
			r.file.Vectors = append(r.file.Vectors, vector{
				Name: name, Comment: clauses[c.Rule], Expect: success,
				Message: name, Metadata: metadata, Deviations: deviations, Envelope: string(data),
			})
		}
	}
}

// opened is what we report of a case, after a look at whether it fits the mode.
func (r *crafted) opened(t *testing.T, w *craft.World, mode craft.Mode, data []byte) (*envelope.Metadata, []message.DeviationCode, error) {
	t.Helper()
	u, err := newPacker(t, w.Bob.Keys, w).Unpack(t.Context(), data)
	if err != nil {
		return nil, nil, err
	}
	m := u.Metadata
	deviations := codes(m.Deviations)
	m.Deviations = nil
	anon := slices.Contains([]craft.Mode{craft.Anoncrypt, craft.AnonOfSigned, craft.Forward}, mode)
	auth := mode == craft.Authcrypt
	signed := m.SignAlg != ""
	by := func(kid string) bool { return strings.HasPrefix(kid, w.Alice.DID+"#") }
	if m.Encrypted != (anon || auth) || m.AnonymousSender != anon || m.Authenticated != (auth || signed) ||
		m.NonRepudiation != signed || !signed && strings.Contains(strings.ToLower(string(mode)), "sign") ||
		auth != by(m.EncryptedFromKID) || signed != by(m.SignFrom) || m.ReWrappedInForward || m.FromPrior != nil {
		return nil, nil, fmt.Errorf("metadata %+v", m)
	}
	return &m, deviations, nil
}

// TestDeviating has envelopes with one fault each that hold together: we open the
// harmless ones.
func TestDeviating(t *testing.T) {
	r := newCrafted()
	r.cases(t, craft.Deviations())
	r.finish(t, "deviating.json")
}

// TestAttacks has envelopes that nobody must open.
func TestAttacks(t *testing.T) {
	r := newCrafted()
	r.cases(t, craft.Attacks())
	for _, c := range craft.Tampers() {
		for _, mode := range c.On {
			w := r.world(c.Curve)
			sound, _ := craft.Case{}.Sound(w, mode)
			data, err := c.Apply(sound, w)
			if err != nil {
				t.Fatalf("%s: %v", c.Name, err)
			}
			r.refusal("changed: "+c.Name+"/"+string(mode), "", data, c.Refused)
		}
	}
	w := r.world("")
	anon, _ := craft.Case{}.Sound(w, craft.Anoncrypt)
	r.refusal("kid of another DID/anoncrypt", "", bytes.ReplaceAll(anon, []byte(w.Bob.DID+"#"), []byte(w.Eve.DID+"#")), envelope.ErrNoKey)
	for _, point := range lowOrder {
		x, err := hex.DecodeString(point)
		if err != nil {
			t.Fatal(err)
		}
		jwk := craft.Object{"kty": "OKP", "crv": "X25519", "x": base64.RawURLEncoding.EncodeToString(x)}
		r.refusal("epk of low order "+point[:8]+"..."+point[56:]+"/anoncrypt", "", withHeader(t, anon, "epk", jwk), envelope.ErrLowOrderPoint)
	}
	r.finish(t, "attacks.json")
}

// lowOrder are the X25519 public keys of low order, among them those that are
// not reduced (https://cr.yp.to/ecdh.html#validate), then the same with the bit
// that RFC 7748, section 5, has masked.
var lowOrder = []string{
	"0000000000000000000000000000000000000000000000000000000000000000",
	"0100000000000000000000000000000000000000000000000000000000000000",
	"e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
	"5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
	"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"0000000000000000000000000000000000000000000000000000000000000080",
	"0100000000000000000000000000000000000000000000000000000000000080",
	"e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b880",
	"5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f11d7",
	"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
	"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
	"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
}

// TestBroken has what is no envelope at all, or none any more.
func TestBroken(t *testing.T) {
	r := newCrafted()
	w := r.world("")
	made := map[craft.Mode][]byte{}
	for _, mode := range []craft.Mode{craft.Anoncrypt, craft.Authcrypt, craft.Signed, craft.Plain} {
		made[mode], _ = craft.Case{}.Sound(w, mode)
	}
	anon := made[craft.Anoncrypt]
	add := func(name string, data []byte, want error) { r.refusal(name, "", data, want) }
	for _, text := range []string{"", " \n", "hello", "null", "[]", "{}", "{", `"{}"`, "a.b.c.d", "....", "e30.e30."} {
		add(fmt.Sprintf("text %q", text), []byte(text), envelope.ErrMalformed)
	}
	add("no alg in a compact JWE", []byte("e30.e30.e30.e30.e30"), envelope.ErrUnsupportedAlg)
	for _, mode := range []craft.Mode{craft.Anoncrypt, craft.Authcrypt, craft.Signed, craft.Plain} {
		data := made[mode]
		add("truncated/"+string(mode), data[:len(data)/2], envelope.ErrMalformed)
		add("something behind/"+string(mode), append(bytes.Clone(data), "{}"...), envelope.ErrMalformed)
		deep := strings.Repeat("[", 1000) + strings.Repeat("]", 1000)
		add("1000 arrays/"+string(mode), append([]byte(`{"x":`+deep+","), data[1:]...), envelope.ErrTooDeep)
	}
	for _, name := range []string{"protected", "ciphertext", "kid", "encrypted_key"} {
		twice := bytes.Replace(anon, []byte(`"`+name+`":`), []byte(`"`+name+`":"AA","`+name+`":`), 1)
		add(name+" twice/anoncrypt", twice, envelope.ErrDuplicateName)
		escaped := bytes.Replace(anon, []byte(`"`+name+`":`),
			fmt.Appendf(nil, `"\u%04x%s":"AA","%s":`, name[0], name[1:], name), 1)
		add(name+" twice by an escape/anoncrypt", escaped, envelope.ErrDuplicateName)
	}
	for _, name := range []string{"payload", "kid", "signature"} {
		twice := bytes.Replace(made[craft.Signed], []byte(`"`+name+`":`), []byte(`"`+name+`":"AA","`+name+`":`), 1)
		add(name+" twice/signed", twice, envelope.ErrDuplicateName)
	}
	add("id twice/plain", append([]byte(`{"id":"0",`), made[craft.Plain][1:]...), envelope.ErrDuplicateName)
	for _, m := range []struct {
		mode    craft.Mode
		members []string
	}{
		{craft.Anoncrypt, []string{"protected", "iv", "ciphertext", "tag", "recipients"}},
		{craft.Signed, []string{"payload", "signatures"}},
		{craft.Plain, []string{"id", "type"}},
	} {
		for _, name := range m.members {
			for _, c := range []struct {
				what  string
				value any
			}{{"is missing", nil}, {"is a number", 1}, {"is an object", craft.Object{}}} {
				data := changed(t, made[m.mode], name, c.value)
				add(name+" "+c.what+"/"+string(m.mode), data, envelope.ErrMalformed)
			}
		}
	}
	add("protected is no base64url/anoncrypt", changed(t, anon, "protected", "!"), envelope.ErrMalformed)
	add("protected is no JSON/anoncrypt", changed(t, anon, "protected", "aGVsbG8"), envelope.ErrMalformed)
	add("payload is no base64url/signed", changed(t, made[craft.Signed], "payload", "!"), envelope.ErrMalformed)
	add("payload is no JSON/signed", changed(t, made[craft.Signed], "payload", "aGVsbG8"), envelope.ErrMalformed)
	add("payload is an envelope/signed", changed(t, made[craft.Signed], "payload", base64.RawURLEncoding.EncodeToString(anon)), envelope.ErrNesting)
	for _, value := range []string{"", "!"} {
		add(fmt.Sprintf("ciphertext is %q/anoncrypt", value), changed(t, anon, "ciphertext", value), envelope.ErrDecrypt)
		// Their sizes are known before any key is.
		for _, name := range []string{"iv", "tag"} {
			add(fmt.Sprintf("%s is %q/anoncrypt", name, value), changed(t, anon, name, value), envelope.ErrMalformed)
		}
	}
	r.finish(t, "broken.json")
}

// withHeader is an encrypted envelope with another value in its protected header.
func withHeader(t testing.TB, data []byte, name string, value any) []byte {
	t.Helper()
	var env struct{ Protected string }
	if err := json.Unmarshal(data, &env); err != nil {
		t.Fatal(err)
	}
	header, err := base64.RawURLEncoding.DecodeString(env.Protected)
	if err != nil {
		t.Fatal(err)
	}
	return changed(t, data, "protected", base64.RawURLEncoding.EncodeToString(changed(t, header, name, value)))
}

// changed is an envelope with another value of a member, or without it.
func changed(t testing.TB, data []byte, name string, value any) []byte {
	t.Helper()
	var m craft.Object
	if err := json.Unmarshal(data, &m); err != nil {
		t.Fatal(err)
	}
	if m[name] = value; value == nil {
		delete(m, name)
	}
	out, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return out
}
