//go:build interop

package interop_test

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/didcomm-go/didcomm/agent/keyring"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/did"
)

var recording = flag.Bool("record", false, "write what the peers pack to testdata")

// record writes testdata/PEER.json: for each mode, curve and content encryption
// one envelope that the peer packed. What it lacks is left out; what it packs
// wrongly is recorded with the reason that we refuse it for. All but keys,
// envelopes and their chance deviations is the same in every recording.
func (s *suite) record(t *testing.T) {
	t.Helper()
	hello := s.row.hello
	language, _, _ := strings.Cut(hello.Language, " ")
	r := newRecorder(packerOf{Name: hello.Name, Language: language, Versions: hello.Versions})
	for _, same := range alike() {
		for _, l := range same {
			if v, ok := s.recorded(t, r, l); ok {
				r.file.Vectors = append(r.file.Vectors, v)
				break
			}
		}
	}
	r.write(t, s.row.name+".json")
}

// TestOurs packs in each layout what a recording of us has.
func TestOurs(t *testing.T) {
	r := newRecorder(packerOf{Name: "didcomm-go", Language: "Go"})
	for _, same := range alike() {
		x := r.exchange(t, same[0])
		env, err := x.pack(t)
		if err != nil {
			t.Fatalf("%s: %v", x.layout, err)
		}
		r.file.Vectors = append(r.file.Vectors, r.vector(t, x, env.Data))
	}
	r.file.check(t)
	if *recording {
		r.write(t, "didcomm-go.json")
	}
}

// recorded is what the peer packs in a layout; not ok if it does not.
func (s *suite) recorded(t *testing.T, r *recorder, l layout) (v vector, ok bool) {
	t.Helper()
	cell := "from peer: " + l.String()
	if s.lack(cell) != nil {
		return vector{}, false
	}
	defect, listed := s.defects[cell]
	x := r.exchange(t, l)
	packed, err := s.Pack(t.Context(), x.params(t))
	if err != nil {
		if !listed {
			t.Errorf("record %s: %v", l, err)
		}
		return vector{}, false
	}
	v = r.vector(t, x, packed.Envelope)
	got, err := packer(t, x.held, x.sender).Unpack(t.Context(), packed.Envelope)
	switch {
	case err != nil && listed:
		if v.Expect = classOf(err); v.Expect == "" {
			t.Errorf("record %s: no class is that of %v", l, err)
		}
		v.Comment, v.Message, v.Metadata = defect.reason, "", nil
		return v, true
	case err != nil:
		t.Errorf("record %s: our unpack: %v", l, err)
		return vector{}, false
	}
	err = errors.Join(
		sameMessage(plaintext(t, x.message), plaintext(t, got.Message)),
		sameMetadata(*v.Metadata, got.Metadata),
		onlyTolerated(got.Metadata.Deviations, s.quirks))
	if err != nil && !listed {
		t.Errorf("record %s: %v", l, err)
	}
	v.Deviations = codes(got.Metadata.Deviations)
	return v, err == nil
}

// alike are the layouts to record, with one key of the recipient. Of those in a
// group, which differ by the signature alone, one is enough; the first is another
// from group to group.
func alike() [][]layout {
	var groups [][]layout
	group := map[string]int{}
	for _, l := range layouts() {
		if l.keys.listed > 1 {
			continue
		}
		g := l
		if l.curves {
			g.alg = ""
		}
		i, ok := group[g.String()]
		if !ok {
			i = len(groups)
			group[g.String()], groups = i, append(groups, nil)
		}
		groups[i] = append(groups[i], l)
	}
	for i, g := range groups {
		first := (i + i/3) % len(g)
		groups[i] = slices.Concat(g[first:], g[:first])
	}
	return groups
}

// recorder makes one file of testdata. The parties of a curve are shared by its
// vectors.
type recorder struct {
	file    fixture
	parties map[keyring.Curve][2]*party // sender and recipient
}

func newRecorder(by packerOf) *recorder {
	return &recorder{
		file:    fixture{Packer: by, Messages: map[string]jsontext.Value{}},
		parties: map[keyring.Curve][2]*party{},
	}
}

// pair is the sender and the recipient of a curve.
func (r *recorder) pair(t testing.TB, curve keyring.Curve) (sender, recipient *party) {
	t.Helper()
	if _, ok := r.parties[curve]; !ok {
		id := "did:example:" + strings.ToLower(string(curve))
		pair := [2]*party{
			newPartyNamed(t, id+"-sender", curve, 1, did.TypeJSONWebKey2020, nil),
			newPartyNamed(t, id+"-recipient", curve, 1, did.TypeJSONWebKey2020, map[string]string{}),
		}
		r.parties[curve] = pair
		r.file.Documents = append(r.file.Documents, jsontext.Value(pair[0].document(t)), jsontext.Value(pair[1].document(t)))
		for _, jwk := range secrets(t, pair[1].ring) {
			r.file.Secrets = append(r.file.Secrets, jsontext.Value(jwk))
		}
	}
	return r.parties[curve][0], r.parties[curve][1]
}

// exchange is one in a layout between the parties of its curve.
func (r *recorder) exchange(t testing.TB, l layout) exchange {
	t.Helper()
	x := exchange{layout: l}
	x.sender, x.recipient = r.pair(t, l.partiesCurve())
	x.held = x.recipient
	x = x.addressed(t)
	x.message = fixedMessage(t, x.message.From, x.recipient.DID())
	return x
}

// partiesCurve is that of the parties' keys: X25519 where nothing is encrypted.
func (l layout) partiesCurve() keyring.Curve {
	if l.curve == "" {
		return keyring.X25519
	}
	return l.curve
}

// vector is an envelope that has to open as the exchange says.
func (r *recorder) vector(t testing.TB, x exchange, env []byte) vector {
	t.Helper()
	l := x.layout
	l.keys.name = ""
	curve := l.partiesCurve()
	name := "to " + string(curve)
	if x.message.From != "" {
		name = string(curve) + " " + name
	}
	r.file.Messages[name] = jsontext.Value(plaintext(t, x.message))
	metadata := x.metadata()
	if x.sign {
		metadata.Signers = []string{metadata.SignFrom}
	}
	return vector{Name: l.String(), Expect: success, Message: name, Metadata: &metadata, Envelope: string(env)}
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

// codes are the codes of deviations, each once.
func codes(list []message.Deviation) []message.DeviationCode {
	set := map[message.DeviationCode]bool{}
	for _, d := range list {
		set[d.Code] = true
	}
	return slices.Sorted(maps.Keys(set))
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
