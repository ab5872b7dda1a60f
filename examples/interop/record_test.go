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
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/keyring"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/did"
	"github.com/didcomm-go/didcomm/examples/interop/internal/peer"
)

var recording = flag.Bool("record", false, "write what the peers pack to testdata")

// record writes testdata/PEER.json: for each mode, curve and content encryption
// one envelope that the peer packed, and some of the extras. What it lacks is left
// out; what it packs wrongly is recorded with the reason that we refuse it for. All
// but keys, envelopes and their chance deviations is the same in every recording.
func (s *suite) record(t *testing.T) {
	t.Helper()
	r := newRecorder(s.packer())
	for _, same := range alike() {
		for _, l := range same {
			x := r.exchange(t, l)
			if s.recordCell(t, r, l.String(), x, x.params(t), x.vector()) {
				break
			}
		}
	}
	s.recordRotation(t, r)
	s.recordRewrapped(t, r)
	r.write(t, s.row.name+".json")
}

// packer is what a recording says of the peer. The version of its language is the
// machine's.
func (s *suite) packer() packerOf {
	hello := s.row.hello
	language, _, _ := strings.Cut(hello.Language, " ")
	return packerOf{Name: hello.Name, Language: language, Versions: hello.Versions}
}

// checkRecording demands a recording of this very peer.
func (s *suite) checkRecording(t *testing.T) {
	t.Helper()
	path := filepath.Join("testdata", s.row.name+".json")
	if _, err := os.Stat(path); err != nil {
		t.Errorf("no recording of it (go test -record writes it): %v", err)
	} else if by := readFixture(t, path).Packer; !reflect.DeepEqual(by, s.packer()) {
		t.Errorf("%s is of %+v, this is %+v: go test -record", path, by, s.packer())
	}
}

// recordCell records what the peer packs for a cell; it says whether there was
// something to record. Others have part in the message beside sender and recipient.
func (s *suite) recordCell(t *testing.T, r *recorder, cell string, x exchange, params peer.PackParams, v vector, others ...*party) bool {
	t.Helper()
	cell = "from peer: " + cell
	if s.lack(cell) != nil {
		return false
	}
	defect, listed := s.defects[cell]
	packed, err := s.Pack(t.Context(), params)
	if err != nil {
		if !listed {
			t.Errorf("record %s: %v", cell, err)
		}
		return false
	}
	v.Envelope = string(packed.Envelope)
	got, err := packer(t, x.held, append(others, x.sender)...).Unpack(t.Context(), packed.Envelope)
	switch {
	case err != nil && listed:
		if v.Expect = classOf(err); v.Expect == "" {
			t.Errorf("record %s: no class is that of %v", cell, err)
		}
		v.Comment, v.Message, v.Metadata = defect.reason, "", nil
	case err != nil:
		t.Errorf("record %s: our unpack: %v", cell, err)
		return false
	default:
		if err := errors.Join(
			sameMessage(plaintext(t, x.message), plaintext(t, got.Message)),
			sameMetadata(*v.Metadata, got.Metadata),
			onlyTolerated(got.Metadata.Deviations, s.quirks)); err != nil {
			if !listed {
				t.Errorf("record %s: %v", cell, err)
			}
			return false
		}
		v.Deviations = codes(got.Metadata.Deviations)
	}
	r.add(t, x, v, others...)
	return true
}

// recordRotation records a message from somebody who was another DID before.
func (s *suite) recordRotation(t *testing.T, r *recorder) {
	t.Helper()
	x := r.exchange(t, layoutOf("authcrypt", keyring.X25519, "", ""))
	prior := r.party(t, "did:example:prior", keyring.X25519, 1, signatures...)
	claims := peer.FromPrior{Iss: prior.DID(), Sub: x.sender.DID(), IssuedAt: 1767225600}
	params := x.params(t)
	params.Known = known(t, x.sender, x.recipient, prior)
	params.Secrets = append(params.Secrets, secrets(t, prior.ring)...)
	params.FromPriorIssuerKID = prior.sign["EdDSA"]
	params.Message = with(t, params.Message, "from_prior", claims)
	v := x.vector()
	v.Name = "from_prior/EdDSA"
	v.Metadata.FromPriorIssuerKID = params.FromPriorIssuerKID
	v.Metadata.FromPrior = &envelope.FromPrior{Iss: claims.Iss, Sub: claims.Sub, IssuedAt: time.Unix(claims.IssuedAt, 0).UTC()}
	s.recordCell(t, r, v.Name, x, params, v, prior)
}

// recordRewrapped records a message that is wrapped in a forward for its
// recipient.
func (s *suite) recordRewrapped(t *testing.T, r *recorder) {
	t.Helper()
	if s.service == nil {
		return
	}
	x := r.exchange(t, s.extra("authcrypt", keyring.X25519, ""))
	v := x.vector()
	v.Name = "re-wrapped/X25519"
	v.Metadata.ReWrappedInForward = true
	s.recordCell(t, r, v.Name, x, s.routed(t, x, x.recipient.agree), v)
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
		v := x.vector()
		v.Envelope = string(env.Data)
		r.add(t, x, v)
	}
	r.file.check(t)
	if *recording {
		r.write(t, "didcomm-go.json")
	}
}

// alike are the layouts to record: with one key of the recipient, and with three
// where there is one layer. Of those in a group, which differ by the signature, or
// by the content encryption for three keys, one is enough; the first to try is
// another from group to group.
func alike() [][]layout {
	var groups [][]layout
	group := map[string]int{}
	for _, l := range layouts() {
		g := l
		if l.keys.listed > 1 {
			if l.sign || l.protect || l.keys.held < l.keys.listed {
				continue
			}
			g.enc = ""
		}
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
