package didpeer_test

import (
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/didcomm-go/didcomm/did"
	"github.com/didcomm-go/didcomm/did/didpeer"
)

// s is the S element of a service text.
func s(text string) string { return "S" + base64.RawURLEncoding.EncodeToString([]byte(text)) }

// TestSpec2 holds resolving and creating to the specification's example.
func TestSpec2(t *testing.T) {
	v := load[struct {
		DID      string
		Document json.RawMessage
	}](t, "spec-method2.json")
	doc := resolve(t, didpeer.NewResolver(), v.DID)
	want := asMap(t, v.Document)
	delete(want, "alsoKnownAs") // the did:peer:3, which is optional and not ours
	sameJSON(t, asMap(t, doc), want)

	keys := []didpeer.Key{}
	for i, p := range []didpeer.Purpose{didpeer.Authentication, didpeer.KeyAgreement} {
		pub, err := doc.VerificationMethod[i].PublicKey()
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, didpeer.Key{Purpose: p, Public: pub})
	}
	for name, services := range map[string][]did.Service{
		"made": {
			did.NewDIDCommService("#service", "http://example.com/didcomm", "did:example:123456789abcdefghi#key-1"),
			did.NewDIDCommService("", "http://example.com/another", "did:example:123456789abcdefghi#key-2"),
		},
		"default accept": {
			{Type: []string{"DIDCommMessaging"}, Endpoints: []did.Endpoint{{URI: "http://example.com/didcomm", RoutingKeys: []string{"did:example:123456789abcdefghi#key-1"}}}},
			{Type: []string{"DIDCommMessaging"}, Endpoints: []did.Endpoint{{URI: "http://example.com/another", RoutingKeys: []string{"did:example:123456789abcdefghi#key-2"}}}},
		},
	} {
		got, err := didpeer.New2(keys, services...)
		if err != nil || got != v.DID {
			t.Errorf("%s: New2 = %s, %v\nwant %s", name, got, err, v.DID)
		}
	}
}

// TestServices reads every shape of a service that libraries have written.
func TestServices(t *testing.T) {
	const key = ".Vz6Mkj3PUd1WjvaDhNZhhhXQdz5UnZXmS7ehtx8bsPpD47kKc.Ez6LSg8zQom395jKLrGiBNruB9MM6V8PWuf2FpEy4uRFiqQBR"
	full := did.Endpoint{URI: "https://example.com/e", Accept: []string{"didcomm/v2"}, RoutingKeys: []string{"did:example:m#k"}}
	tests := []struct {
		name, elements string
		want           []did.Endpoint
		ids            []string
	}{
		{"nested, abbreviated", s(`{"t":"dm","s":{"uri":"https://example.com/e","a":["didcomm/v2"],"r":["did:example:m#k"]}}`), []did.Endpoint{full}, []string{"#service"}},
		{"nested, full names", s(`{"type":"DIDCommMessaging","serviceEndpoint":{"uri":"https://example.com/e","accept":["didcomm/v2"],"routingKeys":["did:example:m#k"]}}`), []did.Endpoint{full}, []string{"#service"}},
		{"outer abbreviated only", s(`{"t":"dm","s":{"uri":"https://example.com/e","accept":["didcomm/v2"],"routingKeys":["did:example:m#k"]}}`), []did.Endpoint{full}, []string{"#service"}},
		{"string", s(`{"t":"dm","s":"https://example.com/e","r":["did:example:m#k"],"a":["didcomm/v2"]}`), []did.Endpoint{full}, []string{"#service"}},
		{"string alone", s(`{"t":"dm","s":"https://example.com/e"}`), []did.Endpoint{{URI: "https://example.com/e"}}, []string{"#service"}},
		{"white space", s("{ \"t\": \"dm\",\n \"s\": \"https://example.com/e\" }\n"), []did.Endpoint{{URI: "https://example.com/e"}}, []string{"#service"}},
		{"list in one element", s(`[{"t":"dm","s":"https://example.com/1"},{"t":"dm","s":"https://example.com/2"}]`), []did.Endpoint{{URI: "https://example.com/1"}, {URI: "https://example.com/2"}}, []string{"#service", "#service-1"}},
		{"list of endpoints", s(`{"t":"dm","s":[{"uri":"https://example.com/1","a":["didcomm/v2"]},{"uri":"wss://example.com/2","r":["did:example:m#k"]}]}`), []did.Endpoint{
			{URI: "https://example.com/1", Accept: []string{"didcomm/v2"}}, {URI: "wss://example.com/2", RoutingKeys: []string{"did:example:m#k"}}}, []string{"#service"}},
		{"ids", s(`{"t":"dm","s":"https://example.com/1"}`) + "." + s(`{"t":"dm","s":"https://example.com/2","id":"#x"}`) + "." + s(`{"t":"dm","s":"https://example.com/3","id":"y"}`) + "." + s(`{"t":"dm","s":"https://example.com/4"}`), []did.Endpoint{
			{URI: "https://example.com/1"}, {URI: "https://example.com/2"}, {URI: "https://example.com/3"}, {URI: "https://example.com/4"}}, []string{"#service", "#x", "#y", "#service-1"}},
		{"mediator did", s(`{"t":"dm","s":{"uri":"did:example:mediator"}}`), []did.Endpoint{{URI: "did:example:mediator"}}, []string{"#service"}},
		{"other type stays", s(`{"t":"did-communication","s":"https://example.com/v1","r":[],"recipientKeys":["#key-2"]}`), nil, []string{"#service"}},
		{"type list", s(`{"t":["dm","other"],"s":"https://example.com/e"}`), []did.Endpoint{{URI: "https://example.com/e"}}, []string{"#service"}},
		{"no service", "", nil, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			id := "did:peer:2" + key
			if tt.elements != "" {
				id += "." + tt.elements
			}
			doc := resolve(t, didpeer.NewResolver(), id)
			if got := doc.DIDCommServices(); !reflect.DeepEqual(got, tt.want) {
				t.Errorf("endpoints %+v\nwant %+v", got, tt.want)
			}
			var ids []string
			for _, s := range doc.Service {
				ids = append(ids, strings.TrimPrefix(s.ID, id))
			}
			if !reflect.DeepEqual(ids, tt.ids) {
				t.Errorf("ids %v, want %v", ids, tt.ids)
			}
		})
	}
}

// TestPaddedService: "=" is no character of a DID, but older libraries wrote it.
func TestPaddedService(t *testing.T) {
	text := `{"t":"dm","s":"https://example.com/pad/"}`
	padded := base64.URLEncoding.EncodeToString([]byte(text))
	if !strings.HasSuffix(padded, "=") {
		t.Fatal("this text needs no padding")
	}
	id := "did:peer:2.Vz6Mkj3PUd1WjvaDhNZhhhXQdz5UnZXmS7ehtx8bsPpD47kKc.S" + padded
	if _, err := did.Parse(id); err != nil {
		t.Fatal(err)
	}
	doc := resolve(t, didpeer.NewResolver(), id)
	if got := doc.DIDCommServices(); len(got) != 1 || got[0].URI != "https://example.com/pad/" {
		t.Errorf("endpoints %+v", got)
	}
}

func TestAliases2(t *testing.T) {
	id := load[struct{ DID string }](t, "spec-method2.json").DID
	doc := resolve(t, didpeer.NewResolver(), id)
	for _, tt := range []struct {
		ref  string
		want string
	}{
		{"#key-1", "#key-1"},
		{"#z6Mkj3PUd1WjvaDhNZhhhXQdz5UnZXmS7ehtx8bsPpD47kKc", "#key-1"},
		{"#6Mkj3PUd1WjvaDhNZhhhXQdz5UnZXmS7ehtx8bsPpD47kKc", "#key-1"},
		{"#6Mkj3PUd", "#key-1"},
		{"#key-2", "#key-2"},
		{"#z6LSg8zQom395jKLrGiBNruB9MM6V8PWuf2FpEy4uRFiqQBR", "#key-2"},
		{"#6LSg8zQom395jKLrGiBNruB9MM6V8PWuf2FpEy4uRFiqQBR", "#key-2"},
		{"#6LSg8zQo", "#key-2"},
		{"#key-3", ""},
		{"#key-0", ""},
		{"#6LS", ""},
	} {
		for _, ref := range []string{tt.ref, id + tt.ref} {
			m, ok := doc.Method(ref)
			if ok != (tt.want != "") || ok && m.ID != id+tt.want {
				t.Errorf("Method(%s): %v, want %q", tt.ref, m, tt.want)
			}
		}
	}
}

func testKeys(t testing.TB) (ed ed25519.PublicKey, x *ecdh.PublicKey, p256 *ecdsa.PublicKey) {
	t.Helper()
	ed, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	xk, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	pk, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return ed, xk.PublicKey(), &pk.PublicKey
}

func TestNew2(t *testing.T) {
	ed, x, p256 := testKeys(t)
	inbox := did.NewDIDCommService("#inbox", "wss://example.com/ws")
	other := did.Service{Type: []string{"LinkedDomains"}, Endpoints: []did.Endpoint{{URI: "https://example.com"}}}
	two := did.Service{Type: []string{"DIDCommMessaging"}, Endpoints: []did.Endpoint{{URI: "https://example.com/1"}, {URI: "wss://example.com/2"}}}
	id, err := didpeer.New2([]didpeer.Key{
		{didpeer.Authentication, ed}, {didpeer.KeyAgreement, x}, {didpeer.KeyAgreement, p256},
		{didpeer.Assertion, p256}, {didpeer.CapabilityInvocation, ed}, {didpeer.CapabilityDelegation, ed},
	}, inbox, other, two)
	if err != nil {
		t.Fatal(err)
	}
	doc := resolve(t, didpeer.NewResolver(), id)
	if got := doc.KeyAgreementKeys(); len(got) != 2 || got[0].ID != id+"#key-2" || got[1].ID != id+"#key-3" {
		t.Errorf("keyAgreement %v", got)
	}
	if k, err := doc.KeyAgreementKeys()[0].ECDH(); err != nil || !k.Equal(x) {
		t.Errorf("x25519 key %v, %v", k, err)
	}
	for name, r := range map[string][]did.Relationship{
		"#key-1": doc.Authentication, "#key-4": doc.AssertionMethod, "#key-5": doc.CapabilityInvocation, "#key-6": doc.CapabilityDelegation,
	} {
		if len(r) != 1 || r[0].ID != id+name {
			t.Errorf("%s: %v", name, r)
		}
	}
	var ids []string
	for _, s := range doc.Service {
		ids = append(ids, strings.TrimPrefix(s.ID, id))
	}
	if want := []string{"#inbox", "#service", "#service-1"}; !reflect.DeepEqual(ids, want) {
		t.Errorf("service ids %v, want %v", ids, want)
	}
	want := []did.Endpoint{
		{URI: "wss://example.com/ws", Accept: []string{"didcomm/v2"}},
		{URI: "https://example.com/1", Accept: []string{"didcomm/v2"}},
		{URI: "wss://example.com/2", Accept: []string{"didcomm/v2"}},
	}
	if got := doc.DIDCommServices(); !reflect.DeepEqual(got, want) {
		t.Errorf("endpoints %+v", got)
	}
	if e := doc.Service[1].Endpoints[0]; e.URI != "https://example.com" || e.Accept != nil {
		t.Errorf("linked domains %+v", e)
	}
	if strings.Contains(id, "=") {
		t.Errorf("padding in %s", id)
	}
}

// An endpoint without a profile is a plain string, unless it has more than a URI.
func TestNew2Plain(t *testing.T) {
	ed, _, _ := testKeys(t)
	for _, tt := range []struct {
		endpoint did.Endpoint
		want     string // the service
	}{
		{did.Endpoint{Accept: []string{}}, `{"t":"dm","s":"https://example.com"}`},
		{did.Endpoint{}, `{"t":"dm","s":{"uri":"https://example.com","a":["didcomm/v2"]}}`},
		{did.Endpoint{Accept: []string{}, RoutingKeys: []string{"did:example:m#k"}}, `{"t":"dm","s":{"uri":"https://example.com","r":["did:example:m#k"]}}`},
	} {
		tt.endpoint.URI = "https://example.com"
		id, err := didpeer.New2([]didpeer.Key{{didpeer.Authentication, ed}}, did.Service{Type: []string{"DIDCommMessaging"}, Endpoints: []did.Endpoint{tt.endpoint}})
		if err != nil || !strings.HasSuffix(id, "."+s(tt.want)) {
			t.Errorf("%s, %v; want %s", id, err, tt.want)
			continue
		}
		got := resolve(t, didpeer.NewResolver(), id).DIDCommServices()
		if len(got) != 1 || got[0].URI != tt.endpoint.URI || len(got[0].RoutingKeys) != len(tt.endpoint.RoutingKeys) {
			t.Errorf("endpoints %+v", got)
		}
	}
}

func TestNew2Refused(t *testing.T) {
	ed, x, _ := testKeys(t)
	good := []didpeer.Key{{didpeer.Authentication, ed}}
	many := make([]didpeer.Key, didpeer.MaxElements+1)
	for i := range many {
		many[i] = good[0]
	}
	long := did.NewDIDCommService("", "https://example.com/"+strings.Repeat("x", didpeer.MaxLength))
	for name, tt := range map[string]struct {
		keys     []didpeer.Key
		services []did.Service
		want     error
	}{
		"no key":              {nil, nil, did.ErrInvalid},
		"many keys":           {many, nil, did.ErrInvalid},
		"nil key":             {[]didpeer.Key{{didpeer.Authentication, nil}}, nil, did.ErrUnsupported},
		"unknown key":         {[]didpeer.Key{{didpeer.Authentication, "key"}}, nil, did.ErrUnsupported},
		"unknown purpose":     {[]didpeer.Key{{'S', ed}}, nil, did.ErrInvalid},
		"ed25519 to agree":    {[]didpeer.Key{{didpeer.KeyAgreement, ed}}, nil, did.ErrInvalid},
		"x25519 to sign":      {[]didpeer.Key{{didpeer.Authentication, x}}, nil, did.ErrInvalid},
		"service no type":     {good, []did.Service{{Endpoints: []did.Endpoint{{URI: "x:y"}}}}, did.ErrInvalid},
		"service no endpoint": {good, []did.Service{{Type: []string{"x"}}}, did.ErrInvalid},
		"service no uri":      {good, []did.Service{{Type: []string{"x"}, Endpoints: []did.Endpoint{{}}}}, did.ErrInvalid},
		"service absolute id": {good, []did.Service{did.NewDIDCommService("did:example:a#b", "x:y")}, did.ErrInvalid},
		"service extra twice": {good, []did.Service{{Type: []string{"x"}, Endpoints: []did.Endpoint{{URI: "x:y"}}, Extra: map[string]json.RawMessage{"t": json.RawMessage(`1`)}}}, did.ErrInvalid},
		"too long":            {good, []did.Service{long}, did.ErrInvalid},
	} {
		if id, err := didpeer.New2(tt.keys, tt.services...); id != "" || !errors.Is(err, tt.want) {
			t.Errorf("%s: %s, %v; want %v", name, id, err, tt.want)
		}
	}
}

// TestReencode takes the services of a resolved document into a new DID.
func TestReencode(t *testing.T) {
	ed, _, _ := testKeys(t)
	old := resolve(t, didpeer.NewResolver(), "did:peer:2.Vz6Mkj3PUd1WjvaDhNZhhhXQdz5UnZXmS7ehtx8bsPpD47kKc."+
		s(`{"t":"dm","s":"https://example.com/e","r":["did:example:m#k"],"a":["didcomm/v2"],"priority":1}`))
	service := old.Service[0]
	service.ID = ""
	id, err := didpeer.New2([]didpeer.Key{{didpeer.Authentication, ed}}, service)
	if err != nil {
		t.Fatal(err)
	}
	doc := resolve(t, didpeer.NewResolver(), id)
	if got, want := doc.DIDCommServices(), old.DIDCommServices(); !reflect.DeepEqual(got, want) {
		t.Errorf("endpoints %+v, want %+v", got, want)
	}
	if got := string(doc.Service[0].Extra["priority"]); got != "1" || len(doc.Service[0].Extra) != 1 {
		t.Errorf("extra %s", doc.Service[0].Extra)
	}
}

func FuzzPeer2(f *testing.F) {
	f.Add(load[struct{ DID string }](f, "spec-method2.json").DID)
	for _, v := range load[[]peerVector](f, "peers-method2.json") {
		f.Add(v.DID)
	}
	f.Fuzz(func(t *testing.T, id string) { checkResolve(t, id) })
}

// checkResolve holds what must be so of any text: an error of a known class and
// no document, or a document of that DID that reads back as it was written.
func checkResolve(t *testing.T, id string) {
	doc, err := didpeer.NewResolver().Resolve(t.Context(), id)
	if err != nil {
		if doc != nil || !errors.Is(err, did.ErrInvalid) && !errors.Is(err, did.ErrNotFound) && !errors.Is(err, did.ErrUnsupported) && !errors.Is(err, did.ErrMethod) {
			t.Fatalf("resolve = %v, %v", doc, err)
		}
		return
	}
	if doc.ID != id {
		t.Fatalf("document of %s for %s", doc.ID, id)
	}
	text, err := doc.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	again, err := did.ParseDocument(text)
	if err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	text2, err := again.MarshalJSON()
	if err != nil || string(text) != string(text2) {
		t.Fatalf("%s\n%s, %v", text, text2, err)
	}
}
