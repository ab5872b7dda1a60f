package did_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/didcomm-go/didcomm/did"
)

const (
	ed25519Multibase = "z6MkiTBz1ymuepAQ4HEHYSF1H8quG5GLVVQR3djdX3mDooWp"
	x25519Multibase  = "z6LShs9GGnqk85isEBzzshkuVWrVKsRp24GnDuHk8QWkARMW"
)

// everything is a document with each member of DID Core 1.0, relative ids, both
// kinds of relationships, and unknown members.
const everything = `{
	"@context": ["https://www.w3.org/ns/did/v1", {"@base": "did:example:123"}],
	"id": "did:example:123",
	"alsoKnownAs": ["https://example.com/me", "did:example:456"],
	"controller": ["did:example:123", "did:example:boss"],
	"verificationMethod": [
		{"id": "#sign", "type": "Multikey", "controller": "did:example:123", "publicKeyMultibase": "` + ed25519Multibase + `", "expires": "2030-01-01T00:00:00Z"},
		{"id": "did:example:123#agree", "type": "X25519KeyAgreementKey2020", "controller": "did:example:123", "publicKeyMultibase": "` + x25519Multibase + `"},
		{"id": "did:example:123#future", "type": "FutureKey2099", "controller": "did:example:123", "publicKeyFuture": {"a": [1.50, 12345678901234567890]}}
	],
	"authentication": ["#sign", {"id": "#own", "type": "Ed25519VerificationKey2018", "controller": "did:example:boss", "publicKeyBase58": "4zvwRjXUKGfvwnParsHAS3HuSVzV5cA4McphgmoCtajS"}, "#missing", "did:example:other#key"],
	"assertionMethod": ["did:example:123#sign"],
	"keyAgreement": ["#agree"],
	"capabilityInvocation": [],
	"capabilityDelegation": ["#future"],
	"service": [
		{"id": "#hub", "type": ["LinkedDomains", "Hub"], "serviceEndpoint": "https://example.com", "note": null},
		{"id": "urn:uuid:1", "type": "DIDCommMessaging", "serviceEndpoint": [{"uri": "https://example.com/didcomm", "accept": ["didcomm/v2"], "routingKeys": ["did:example:m#k"], "x": 1}]}
	],
	"proof": {"type": "none", "n": 1e400}
}`

func parse(t testing.TB, data string) *did.Document {
	t.Helper()
	d, err := did.ParseDocument([]byte(data))
	if err != nil {
		t.Fatalf("%v\n%s", err, data)
	}
	return d
}

// equalJSON compares as JSON values, numbers by how they are written.
func equalJSON(t testing.TB, a, b string) bool {
	t.Helper()
	value := func(s string) any {
		var v any
		dec := json.NewDecoder(strings.NewReader(s))
		dec.UseNumber()
		if err := dec.Decode(&v); err != nil {
			t.Fatal(err)
		}
		return v
	}
	return reflect.DeepEqual(value(a), value(b))
}

func marshal(t testing.TB, v any) string {
	t.Helper()
	out, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

func TestDocumentRoundTrip(t *testing.T) {
	documents := []string{
		everything,
		`{"id":"did:example:123"}`,
		`{"id":"did:example:123","controller":"did:example:456","service":[],"verificationMethod":[]}`,
		`{"id":"did:example:123","@context":"https://www.w3.org/ns/did/v1","ID":"unknown, names have case"}`,
	}
	for _, data := range appendixB(t) {
		documents = append(documents, string(data))
	}
	for _, data := range documents {
		if out := marshal(t, parse(t, data)); !equalJSON(t, out, data) {
			t.Errorf("document\n%s\nbecomes\n%s", data, out)
		}
		var d did.Document
		if err := json.Unmarshal([]byte(data), &d); err != nil || !equalJSON(t, marshal(t, &d), data) {
			t.Errorf("encoding/json: %v", err)
		}
	}
}

func appendixB(t testing.TB) map[string]json.RawMessage {
	t.Helper()
	data, err := os.ReadFile("testdata/did-documents.json")
	if err != nil {
		t.Fatal(err)
	}
	var docs map[string]json.RawMessage
	if err := json.Unmarshal(data, &docs); err != nil {
		t.Fatal(err)
	}
	return docs
}

func TestDocumentLookup(t *testing.T) {
	d := parse(t, everything)
	for _, id := range []string{"#sign", "did:example:123#sign", "#agree", "did:example:123#agree", "#own", "did:example:123#own"} {
		m, ok := d.Method(id)
		if !ok {
			t.Errorf("no method %s", id)
		} else if want := "did:example:123" + id[strings.Index(id, "#"):]; m.ID != want {
			t.Errorf("%s finds %s", id, m.ID)
		} else if _, err := m.PublicKey(); err != nil {
			t.Error(err)
		}
	}
	for _, id := range []string{"", "#", "sign", "#missing", "did:example:123", "did:example:1234#sign", "did:example:12#sign", "did:example:456#sign"} {
		if m, ok := d.Method(id); ok {
			t.Errorf("%q finds %s", id, m.ID)
		}
	}
	if got := methodIDs(d.AuthenticationKeys()); got != "did:example:123#sign did:example:123#own" {
		t.Errorf("authentication keys %s", got)
	}
	if got := methodIDs(d.KeyAgreementKeys()); got != "did:example:123#agree" {
		t.Errorf("key agreement keys %s", got)
	}
	if m, ok := d.Method("#future"); !ok {
		t.Error("no method #future")
	} else if _, err := m.PublicKey(); !errors.Is(err, did.ErrUnsupported) {
		t.Errorf("future key: %v", err)
	}
	if d.Authentication[0].ID != "did:example:123#sign" || d.Authentication[0].Embedded != nil || d.Authentication[1].Embedded == nil {
		t.Errorf("authentication %+v", d.Authentication)
	}
	want := []did.Endpoint{{URI: "https://example.com/didcomm", Accept: []string{"didcomm/v2"}, RoutingKeys: []string{"did:example:m#k"}, Extra: map[string]json.RawMessage{"x": json.RawMessage("1")}}}
	if got := d.DIDCommServices(); !reflect.DeepEqual(got, want) {
		t.Errorf("services %+v", got)
	}
	if n := testing.AllocsPerRun(100, func() {
		d.Method("did:example:123#agree")
		if _, err := d.KeyAgreementKeys()[0].ECDH(); err != nil {
			t.Error(err)
		}
		d.AuthenticationKeys()
		d.DIDCommServices()
	}); n != 0 {
		t.Errorf("look-up takes %v allocations", n)
	}
}

func methodIDs(methods []*did.VerificationMethod) string {
	var all []string
	for _, m := range methods {
		all = append(all, m.ID)
	}
	return strings.Join(all, " ")
}

// The keys of the specification's Appendix B, most of them embedded.
func TestAppendixB(t *testing.T) {
	for id, data := range appendixB(t) {
		d := parse(t, string(data))
		if d.ID != id || len(d.KeyAgreementKeys()) == 0 {
			t.Errorf("%s: %d key agreement keys of %s", id, len(d.KeyAgreementKeys()), d.ID)
		}
		for _, m := range d.KeyAgreementKeys() {
			if _, err := m.ECDH(); err != nil {
				t.Error(err)
			}
		}
		for _, m := range d.AuthenticationKeys() {
			if _, err := m.PublicKey(); err != nil {
				t.Error(err)
			}
		}
	}
	if got := len(parse(t, string(appendixB(t)["did:example:alice"])).AuthenticationKeys()); got != 3 {
		t.Errorf("alice has %d authentication keys", got)
	}
}

func TestAddAlias(t *testing.T) {
	d := parse(t, everything)
	if !d.AddAlias("#6LS", "#agree") || !d.AddAlias("did:example:short#agree", "did:example:123#agree") {
		t.Error("alias of a known method refused")
	}
	if d.AddAlias("#x", "#missing") {
		t.Error("alias of no method")
	}
	d.AddAlias("#sign", "#agree") // taken
	for alias, want := range map[string]string{
		"#6LS": "#agree", "did:example:123#6LS": "#agree", "did:example:short#agree": "#agree", "#sign": "#sign",
	} {
		if m, ok := d.Method(alias); !ok || m.ID != "did:example:123"+want {
			t.Errorf("%s: %v", alias, ok)
		}
	}
}

// A document that was not parsed works with and without Index.
func TestBuiltDocument(t *testing.T) {
	build := func() *did.Document {
		return &did.Document{
			ID:                 "did:example:123",
			VerificationMethod: []did.VerificationMethod{{ID: "#k", Type: did.TypeMultikey, PublicKeyMultibase: x25519Multibase}},
			KeyAgreement:       []did.Relationship{{ID: "#k"}},
			Service:            []did.Service{did.NewDIDCommService("#s", "https://example.com")},
		}
	}
	check := func(d *did.Document) {
		t.Helper()
		m, ok := d.Method("did:example:123#k")
		if !ok {
			t.Fatal("no method")
		}
		if _, err := m.ECDH(); err != nil {
			t.Error(err)
		}
		if len(d.KeyAgreementKeys()) != 1 || len(d.DIDCommServices()) != 1 {
			t.Error("look-ups are empty")
		}
		want := `{"id":"did:example:123","verificationMethod":[{"id":"#k","type":"Multikey","publicKeyMultibase":"` + x25519Multibase + `"}],
			"keyAgreement":["#k"],"service":[{"id":"#s","type":"DIDCommMessaging","serviceEndpoint":{"uri":"https://example.com","accept":["didcomm/v2"]}}]}`
		if out := marshal(t, d); !equalJSON(t, out, want) {
			t.Errorf("document %s", out)
		}
	}
	d := build()
	check(d)
	if d.VerificationMethod[0].ID != "#k" || d.KeyAgreement[0].ID != "#k" {
		t.Error("a look-up changed the document")
	}
	if err := d.Index(); err != nil {
		t.Fatal(err)
	}
	check(d)
	if d.VerificationMethod[0].ID != "did:example:123#k" || d.KeyAgreement[0].ID != "did:example:123#k" {
		t.Error("ids are not absolute")
	}

	// Index parses a changed key again.
	d.VerificationMethod[0].PublicKeyMultibase = "z"
	if err := d.Index(); err != nil {
		t.Fatal(err)
	}
	if _, err := d.KeyAgreementKeys()[0].ECDH(); !errors.Is(err, did.ErrInvalid) {
		t.Errorf("changed key: %v", err)
	}

	bad := &did.Document{ID: "no DID", KeyAgreement: []did.Relationship{{ID: "#k"}}}
	if err := bad.Index(); !errors.Is(err, did.ErrInvalid) {
		t.Errorf("id that is no DID: %v", err)
	}
	if keys := bad.KeyAgreementKeys(); len(keys) != 0 {
		t.Errorf("keys of a bad document: %v", keys)
	}
}

func TestParseDocumentRefuses(t *testing.T) {
	many := func(n int, format string) string {
		all := make([]string, n)
		for i := range all {
			all[i] = fmt.Sprintf(format, i)
		}
		return strings.Join(all, ",")
	}
	in := func(members string) string { return `{"id":"did:example:123",` + members + `}` }
	for name, data := range map[string]string{
		"nothing":                  ``,
		"not json":                 `{`,
		"bytes behind":             `{"id":"did:example:123"} x`,
		"null":                     `null`,
		"array":                    `[]`,
		"no id":                    `{}`,
		"id of a number":           `{"id":1}`,
		"id with fragment":         `{"id":"did:example:123#a"}`,
		"id no did":                `{"id":"https://example.com"}`,
		"duplicate name":           `{"id":"did:example:123","id":"did:example:123"}`,
		"duplicate name within":    in(`"x":{"a":1,"a":2}`),
		"invalid utf-8":            in("\"x\":\"\xff\""),
		"method without id":        in(`"verificationMethod":[{"type":"Multikey"}]`),
		"method of a string":       in(`"verificationMethod":["#a"]`),
		"method null":              in(`"verificationMethod":[null]`),
		"methods as object":        in(`"verificationMethod":{}`),
		"two methods of one id":    in(`"verificationMethod":[{"id":"#a","type":"x","publicKeyBase58":"1"},{"id":"did:example:123#a","type":"x","publicKeyBase58":"2"}]`),
		"embedded one of same id":  in(`"verificationMethod":[{"id":"#a","type":"x"}],"authentication":[{"id":"#a","type":"y"}]`),
		"relationship of a number": in(`"authentication":[1]`),
		"relationship empty":       in(`"authentication":[""]`),
		"relationship null":        in(`"authentication":[null]`),
		"service of a string":      in(`"service":["x"]`),
		"endpoint of a number":     in(`"service":[{"id":"#s","type":"x","serviceEndpoint":7}]`),
		"endpoints of a number":    in(`"service":[{"id":"#s","type":"x","serviceEndpoint":[7]}]`),
		"type of a number":         in(`"service":[{"id":"#s","type":7}]`),
		"too many methods":         in(`"verificationMethod":[` + many(257, `{"id":"#%d","type":"x"}`) + `]`),
		"too many embedded":        in(`"verificationMethod":[` + many(200, `{"id":"#%d","type":"x"}`) + `],"keyAgreement":[` + many(57, `{"id":"#e%d","type":"x"}`) + `]`),
		"too many references":      in(`"keyAgreement":[` + many(257, `"#%d"`) + `]`),
		"too many services":        in(`"service":[` + many(257, `{"id":"#%d","type":"x","serviceEndpoint":"x:y"}`) + `]`),
		"too many endpoints":       in(`"service":[{"id":"#s","type":"x","serviceEndpoint":[` + many(257, `"x:%d"`) + `]}]`),
		"too many in all services": in(`"service":[` + many(129, `{"id":"#%d","type":"x","serviceEndpoint":["x:1","x:2"]}`) + `]`),
		"too deep":                 in(`"x":` + strings.Repeat("[", 32) + strings.Repeat("]", 32)),
		"far too deep":             in(`"x":` + strings.Repeat(`[`, 500000)),
		"too large":                in(`"x":"` + strings.Repeat("a", 1<<20) + `"`),
	} {
		if d, err := did.ParseDocument([]byte(data)); !errors.Is(err, did.ErrInvalid) || d != nil {
			t.Errorf("%s: got document %t, %v", name, d != nil, err)
		}
	}
	parse(t, in(`"x":`+strings.Repeat("[", 31)+strings.Repeat("]", 31)))
	parse(t, in(`"x":"`+strings.Repeat(`[{\"`, 1000)+`"`))
	parse(t, in(`"authentication":[{"id":"#a","type":"x"}],"assertionMethod":[{"id":"#a","type":"x"}]`))
}

func FuzzDocument(f *testing.F) {
	f.Add([]byte(everything))
	for _, data := range appendixB(f) {
		f.Add([]byte(data))
	}
	for _, s := range serviceShapes {
		f.Add([]byte(`{"id":"did:example:123","service":[` + s.wire + `]}`))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		d, err := did.ParseDocument(data)
		if err != nil {
			if d != nil {
				t.Error("error and document")
			}
			return
		}
		for _, m := range d.KeyAgreementKeys() {
			if key, err := m.ECDH(); (key == nil) == (err == nil) {
				t.Errorf("key %v, %v", key, err)
			}
		}
		once, err := d.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		again, err := did.ParseDocument(once)
		if len(once) > 1<<20 {
			return // escapes may be longer than what they stand for
		}
		if err != nil {
			t.Fatalf("%v\n%s", err, once)
		}
		if twice := marshal(t, again); twice != marshal(t, d) {
			t.Errorf("not stable\n%s\n%s", once, twice)
		}
	})
}
