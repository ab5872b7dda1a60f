package did_test

import (
	"encoding/json"
	"reflect"
	"testing"

	"github.com/didcomm-go/didcomm/did"
)

// serviceShapes are the ways in which peers write a service.
var serviceShapes = []struct {
	name, wire string
	endpoints  []did.Endpoint
}{
	{"object",
		`{"id":"#s","type":"DIDCommMessaging","serviceEndpoint":{"uri":"https://a","accept":["didcomm/v2"],"routingKeys":["did:x:y#k"]}}`,
		[]did.Endpoint{{URI: "https://a", Accept: []string{"didcomm/v2"}, RoutingKeys: []string{"did:x:y#k"}}}},
	{"object of uri alone",
		`{"id":"#s","type":"DIDCommMessaging","serviceEndpoint":{"uri":"https://a"}}`,
		[]did.Endpoint{{URI: "https://a"}}},
	{"array of objects",
		`{"id":"#s","type":"DIDCommMessaging","serviceEndpoint":[{"uri":"https://a","accept":["didcomm/v2"]},{"uri":"wss://b","routingKeys":[]}]}`,
		[]did.Endpoint{{URI: "https://a", Accept: []string{"didcomm/v2"}}, {URI: "wss://b", RoutingKeys: []string{}}}},
	{"string",
		`{"id":"#s","type":"DIDCommMessaging","serviceEndpoint":"https://a"}`,
		[]did.Endpoint{{URI: "https://a"}}},
	{"array of strings",
		`{"id":"#s","type":"DIDCommMessaging","serviceEndpoint":["https://a","wss://b"]}`,
		[]did.Endpoint{{URI: "https://a"}, {URI: "wss://b"}}},
	{"array of both",
		`{"id":"#s","type":"DIDCommMessaging","serviceEndpoint":["https://a",{"uri":"wss://b"}]}`,
		[]did.Endpoint{{URI: "https://a"}, {URI: "wss://b"}}},
	{"string with routing keys beside it",
		`{"id":"#s","type":"DIDCommMessaging","serviceEndpoint":"https://a","routingKeys":["did:x:y#k"],"accept":["didcomm/v2","didcomm/aip2;env=rfc19"]}`,
		[]did.Endpoint{{URI: "https://a", Accept: []string{"didcomm/v2", "didcomm/aip2;env=rfc19"}, RoutingKeys: []string{"did:x:y#k"}}}},
	{"object with its own and others beside it",
		`{"id":"#s","type":"DIDCommMessaging","serviceEndpoint":{"uri":"https://a","routingKeys":["did:x:own"]},"routingKeys":["did:x:beside"],"accept":"didcomm/v2"}`,
		[]did.Endpoint{{URI: "https://a", Accept: []string{"didcomm/v2"}, RoutingKeys: []string{"did:x:own"}}}},
	{"accept as a string",
		`{"id":"#s","type":"DIDCommMessaging","serviceEndpoint":{"uri":"https://a","accept":"didcomm/v2"}}`,
		[]did.Endpoint{{URI: "https://a", Accept: []string{"didcomm/v2"}}}},
	{"did as uri",
		`{"id":"#s","type":"DIDCommMessaging","serviceEndpoint":{"uri":"did:web:mediator.example","accept":["didcomm/v2"]}}`,
		[]did.Endpoint{{URI: "did:web:mediator.example", Accept: []string{"didcomm/v2"}}}},
	{"queue transport",
		`{"id":"#s","type":"DIDCommMessaging","serviceEndpoint":"didcomm:transport/queue"}`,
		[]did.Endpoint{{URI: "didcomm:transport/queue"}}},
	{"type in an array, unknown members, no id",
		`{"type":["DIDCommMessaging"],"serviceEndpoint":{"uri":"https://a","priority":0},"recipientKeys":["did:x:y#k"]}`,
		[]did.Endpoint{{URI: "https://a", Extra: map[string]json.RawMessage{"priority": json.RawMessage("0")}}}},
	{"no endpoint", `{"id":"#s","type":"DIDCommMessaging"}`, nil},
	{"no uri",
		`{"id":"#s","type":"DIDCommMessaging","serviceEndpoint":{"origins":["https://a"]}}`, nil},
	{"uri of another kind",
		`{"id":"#s","type":"DIDCommMessaging","serviceEndpoint":{"uri":["https://a"]}}`, nil},
	{"routing keys of another kind",
		`{"id":"#s","type":"DIDCommMessaging","serviceEndpoint":"https://a","routingKeys":{"a":1}}`,
		[]did.Endpoint{{URI: "https://a"}}},
	{"another type",
		`{"id":"#s","type":"LinkedDomains","serviceEndpoint":"https://a"}`, nil},
}

func TestServiceShapes(t *testing.T) {
	for _, test := range serviceShapes {
		t.Run(test.name, func(t *testing.T) {
			wire := `{"id":"did:example:123","service":[` + test.wire + `]}`
			d := parse(t, wire)
			if got := d.DIDCommServices(); !reflect.DeepEqual(got, test.endpoints) {
				t.Errorf("endpoints %+v, want %+v", got, test.endpoints)
			}
			if out := marshal(t, d); !equalJSON(t, out, wire) {
				t.Errorf("becomes %s", out)
			}
		})
	}
}

func TestChangedService(t *testing.T) {
	d := parse(t, `{"id":"did:example:123","service":[{"id":"#s","type":["DIDCommMessaging"],"serviceEndpoint":["https://a"]}]}`)
	s := &d.Service[0]
	if s.ID != "did:example:123#s" {
		t.Errorf("id %s", s.ID)
	}
	s.Endpoints[0].URI = "https://b"
	if out, want := marshal(t, s), `{"id":"#s","type":["DIDCommMessaging"],"serviceEndpoint":{"uri":"https://b"}}`; out != want {
		t.Errorf("got %s, want %s", out, want)
	}
	s.Endpoints = append(s.Endpoints, did.Endpoint{URI: "https://c", Accept: []string{"didcomm/v2"}})
	if out, want := marshal(t, s), `{"id":"#s","type":["DIDCommMessaging"],"serviceEndpoint":[{"uri":"https://b"},{"uri":"https://c","accept":["didcomm/v2"]}]}`; out != want {
		t.Errorf("got %s, want %s", out, want)
	}
	s.Endpoints = nil
	if out, want := marshal(t, s), `{"id":"#s","type":["DIDCommMessaging"]}`; out != want {
		t.Errorf("got %s, want %s", out, want)
	}
	linked := did.Service{ID: "#l", Type: []string{"LinkedDomains"}, Endpoints: []did.Endpoint{{URI: "https://a"}}}
	if out, want := marshal(t, linked), `{"id":"#l","type":"LinkedDomains","serviceEndpoint":"https://a"}`; out != want {
		t.Errorf("got %s, want %s", out, want)
	}
}
