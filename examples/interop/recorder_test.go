//go:build interop

package interop_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/didcomm-go/didcomm/agent/keyring"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/did"
)

// recorder makes one file of testdata, whose vectors share their parties.
type recorder struct {
	file    fixture
	parties map[string]*party
	written map[string]bool // DIDs of those in the file
}

func newRecorder(by packerOf) *recorder {
	return &recorder{
		file:    fixture{Packer: by, Messages: map[string]jsontext.Value{}},
		parties: map[string]*party{},
		written: map[string]bool{},
	}
}

// party is the party of that DID, with n keys for key agreement and one for each
// of those algorithms.
func (r *recorder) party(t testing.TB, id string, curve keyring.Curve, n int, algs ...string) *party {
	t.Helper()
	p := r.parties[id]
	if p == nil {
		types := map[string]string{}
		for _, alg := range algs {
			types[alg] = did.TypeJSONWebKey2020
		}
		p = newPartyNamed(t, id, curve, n, did.TypeJSONWebKey2020, types)
		r.parties[id] = p
	}
	return p
}

// exchange is one in a layout, between the parties of its curve.
func (r *recorder) exchange(t testing.TB, l layout) exchange {
	t.Helper()
	curve, n := l.partiesCurve(), max(1, l.keys.listed)
	id := "did:example:" + strings.ToLower(string(curve))
	recipient := id + "-recipient"
	if n > 1 {
		recipient += "-" + strconv.Itoa(n)
	}
	x := exchange{
		layout: l,
		sender: r.party(t, id+"-sender", curve, 1, signatures...), recipient: r.party(t, recipient, curve, n),
	}
	x.held = x.recipient
	x = x.addressed(t)
	x.message = fixedMessage(t, x.message.From, x.recipient.DID())
	return x
}

// add adds a vector, and what it is about where that is not in the file yet.
func (r *recorder) add(t testing.TB, x exchange, v vector, others ...*party) {
	t.Helper()
	if !r.written[x.recipient.DID()] {
		for _, jwk := range secrets(t, x.recipient.ring) {
			r.file.Secrets = append(r.file.Secrets, jsontext.Value(jwk))
		}
	}
	for _, p := range append([]*party{x.sender, x.recipient}, others...) {
		if !r.written[p.DID()] {
			r.written[p.DID()] = true
			r.file.Documents = append(r.file.Documents, jsontext.Value(p.document(t)))
		}
	}
	if v.Message != "" {
		r.file.Messages[v.Message] = jsontext.Value(plaintext(t, x.message))
	}
	r.file.Vectors = append(r.file.Vectors, v)
}

// partiesCurve is that of the parties' keys: X25519 where nothing is encrypted.
func (l layout) partiesCurve() keyring.Curve {
	if l.curve == "" {
		return keyring.X25519
	}
	return l.curve
}

// vector is what has to come of an exchange, without an envelope yet.
func (x exchange) vector() vector {
	l := x.layout
	if l.keys.listed == 1 {
		l.keys.name = ""
	}
	name := "to " + x.recipient.DID()
	if x.message.From != "" {
		name = "from " + x.message.From + " " + name
	}
	metadata := x.metadata()
	if x.sign {
		metadata.Signers = []string{metadata.SignFrom}
	}
	return vector{Name: l.String(), Expect: success, Message: name, Metadata: &metadata}
}

// fixedMessage is the message of all recordings. from may be "".
func fixedMessage(t testing.TB, from, to string) *message.Message {
	t.Helper()
	m, deviations, err := message.Parse([]byte(`{
		"id": "b0e5b8a4-1c5b-4f0e-9d0a-6f1f3a1c7f10",
		"typ": "application/didcomm-plain+json",
		"type": "https://example.org/interop/1.0/test",
		"thid": "8d2f4c6a-2b7e-4b3c-8a53-0d8a5c1f9e22",
		"created_time": 1767225600,
		"expires_time": 4102444800,
		"lang": "de",
		"x-header": {"a": [1, "\u00df"]},
		"body": {"text": "\u00e4\u20ac\ud834\udd1e <\"\\/>", "number": 4503599627370496, "ratio": 0.5, "list": [true, null, [], {}]},
		"attachments": [{"id": "1", "media_type": "application/json", "data": {"json": {"k": [1, 2]}}}]
	}`))
	if err != nil || len(deviations) > 0 {
		t.Fatal(err, deviations)
	}
	m.From, m.To = from, []string{to}
	return m
}

// write writes the file: an element a line, so that recordings can be compared.
func (r *recorder) write(t testing.TB, name string) {
	t.Helper()
	if t.Failed() {
		return
	}
	var b bytes.Buffer
	one := func(v any) {
		if err := json.MarshalWrite(&b, v, json.Deterministic(true)); err != nil {
			t.Fatal(err)
		}
	}
	list := func(name string, n int, element func(i int)) {
		fmt.Fprintf(&b, ",\n%q: [", name)
		for i := range n {
			if i > 0 {
				b.WriteByte(',')
			}
			b.WriteByte('\n')
			element(i)
		}
		b.WriteString("\n]")
	}
	b.WriteString(`{"packer": `)
	one(r.file.Packer)
	list("secrets", len(r.file.Secrets), func(i int) { one(r.file.Secrets[i]) })
	list("documents", len(r.file.Documents), func(i int) { one(r.file.Documents[i]) })
	b.WriteString(",\n\"messages\": ")
	one(r.file.Messages)
	list("vectors", len(r.file.Vectors), func(i int) { one(r.file.Vectors[i]) })
	b.WriteString("}\n")
	if err := os.WriteFile(filepath.Join("testdata", name), b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}
