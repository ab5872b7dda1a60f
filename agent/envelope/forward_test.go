package envelope_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/did"
)

const forwardType = "https://didcomm.org/routing/2.0/forward"

// hop opens a forward as a mediator does, checks all of its members with
// interop.md, Forward, and returns next and the payload.
func hop(t testing.TB, w *world, mediator *agent, data []byte) (string, []byte) {
	t.Helper()
	u := unpack(t, w.packer(t, mediator, strict), data)
	md := u.Metadata
	if !md.Encrypted || !md.AnonymousSender || md.Authenticated || md.NonRepudiation || md.ReWrappedInForward {
		t.Errorf("metadata %+v", md)
	}
	m := values(t, encode(t, u.Message))
	body := mapOf(m["body"])
	next := body["next"].(string)
	attachments := m["attachments"].([]any)
	if len(attachments) != 1 {
		t.Fatalf("%d attachments", len(attachments))
	}
	a := mapOf(attachments[0])
	payload := u.Message.Attachments[0].Data.JSON
	if id, _ := a["id"].(string); id == "" {
		t.Error("attachment without id")
	}
	delete(a, "id")
	if want := map[string]any{"media_type": envelope.MediaTypeEncrypted, "data": map[string]any{"json": mapOf(mapOf(a["data"])["json"])}}; !reflect.DeepEqual(a, want) {
		t.Errorf("attachment %v", a)
	}
	delete(m, "attachments")
	delete(m, "id")
	delete(m, "typ")
	want := map[string]any{"type": forwardType, "to": []any{mediator.did}, "body": map[string]any{"next": next}}
	if e, ok := m["expires_time"]; ok {
		want["expires_time"] = e
	}
	if !reflect.DeepEqual(m, want) {
		t.Errorf("forward\n got %v\nwant %v", m, want)
	}
	return next, payload
}

func TestForward(t *testing.T) {
	w := newWorld(t)
	m1 := newAgent(t, "did:example:m1", "x25519", "x25519-2")
	m2 := newAgent(t, "did:example:m2", "p256", "x25519")
	w.add(m1, m2)
	alice := w.packer(t, w.alice)
	e := pack1(t, alice, newMessage(t, w.alice, w.bob), envelope.From(aliceDID))

	t.Run("no routing keys", func(t *testing.T) {
		got, err := alice.Forward(t.Context(), e, nil)
		if err != nil || !reflect.DeepEqual(got, e) {
			t.Errorf("got %+v, %v", got, err)
		}
	})
	t.Run("two hops", func(t *testing.T) {
		got, err := alice.Forward(t.Context(), e, []string{m1.did, m2.kid("x25519")}, envelope.ContentEncryption(envelope.XC20P))
		if err != nil {
			t.Fatal(err)
		}
		if got.To != m1.did || got.MediaType != envelope.MediaTypeEncrypted || got.From != "" || !slices.Equal(got.KIDs, []string{m1.kid("x25519"), m1.kid("x25519-2")}) {
			t.Errorf("envelope %+v", got)
		}
		if _, header := protectedOf(t, got.Data); header["enc"] != "XC20P" {
			t.Errorf("header %v", header)
		}
		next, payload := hop(t, w, m1, got.Data)
		if next != m2.kid("x25519") {
			t.Errorf("first next %s", next)
		}
		next, payload = hop(t, w, m2, payload)
		if next != bobDID {
			t.Errorf("second next %s", next)
		}
		if u := unpack(t, w.packer(t, w.bob, strict), payload); u.Metadata.EncryptedFromKID != w.alice.kid("x25519") {
			t.Errorf("metadata %+v", u.Metadata)
		}
	})
	t.Run("expires", func(t *testing.T) {
		got, err := alice.Forward(t.Context(), e, []string{m1.did, m2.did}, envelope.Expires(now))
		if err != nil {
			t.Fatal(err)
		}
		data := got.Data
		for _, mediator := range []*agent{m1, m2} {
			u := unpack(t, w.packer(t, mediator), data)
			if !u.Message.ExpiresTime.Equal(now) {
				t.Errorf("%s: expires %v", mediator.did, u.Message.ExpiresTime)
			}
			data = u.Message.Attachments[0].Data.JSON
		}
	})
	t.Run("a capability", func(t *testing.T) {
		got, err := alice.Forward(t.Context(), e, []string{m1.did, m2.did}, envelope.Capability("secret"))
		if err != nil {
			t.Fatal(err)
		}
		u := unpack(t, w.packer(t, m1), got.Data)
		if want := `{"next":"` + m2.did + `"}`; string(u.Message.Body) != want {
			t.Errorf("body for the first mediator %s, want %s", u.Message.Body, want)
		}
		u = unpack(t, w.packer(t, m2), u.Message.Attachments[0].Data.JSON)
		if want := `{"next":"` + bobDID + `","capability":"secret"}`; string(u.Message.Body) != want {
			t.Errorf("body for the mediator of the recipient %s, want %s", u.Message.Body, want)
		}
	})
	many := slices.Repeat([]string{m1.did}, envelope.DefaultMaxHops+1)
	if _, err := alice.Forward(t.Context(), e, many[1:]); err != nil {
		t.Errorf("the greatest number of hops: %v", err)
	}
	signed := pack1(t, alice, newMessage(t, w.alice), envelope.SignBy(aliceDID))
	for _, tt := range []struct {
		name string
		e    envelope.Envelope
		keys []string
		want error
	}{
		{"too many hops", e, many, envelope.ErrService},
		{"signed only", signed, []string{m1.did}, envelope.ErrService},
		{"signed only, nobody between", signed, nil, envelope.ErrService},
		{"unknown mediator", e, []string{"did:example:nobody"}, did.ErrNotFound},
		{"unknown key", e, []string{m1.did + "#none"}, envelope.ErrNoCommonKey},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got, err := alice.Forward(t.Context(), tt.e, tt.keys); !errors.Is(err, tt.want) || got.Data != nil {
				t.Errorf("got %+v, %v; want %v", got, err, tt.want)
			}
		})
	}
}

func TestRoutes(t *testing.T) {
	const (
		m1, m2, far = "did:example:m1", "did:example:m2", "did:example:far"
		url, mURL   = "https://bob.example/", "https://mediator.example/"
	)
	v2 := []string{"didcomm/v2"}
	mediators := map[string][]did.Endpoint{
		m1: {{URI: mURL, Accept: v2}},
		m2: {{URI: "wss://m2.example/", Accept: v2, RoutingKeys: []string{far + "#key"}}, {URI: mURL, Accept: []string{"didcomm/aip2;env=rfc587"}}, {URI: "https://m2.example/"}},
		// A mediator behind a mediator, one that points to itself, one without service.
		"did:example:nested": {{URI: m1, Accept: v2}},
		"did:example:loop":   {{URI: "did:example:loop", Accept: v2}},
		"did:example:mute":   {},
		"did:example:mixed":  {{URI: m1, Accept: v2}, {URI: mURL, Accept: v2}},
		"did:example:queue":  {{URI: "didcomm:transport/queue"}},
	}
	keys := slices.Repeat([]string{far + "#key"}, envelope.DefaultMaxHops)
	for _, tt := range []struct {
		name      string
		endpoints []did.Endpoint
		want      []envelope.Route
		err       error
	}{
		{"none", nil, nil, nil},
		{"URL", []did.Endpoint{{URI: url, Accept: v2}}, []envelope.Route{{URI: url, Accept: v2}}, nil},
		{"URL with routing keys", []did.Endpoint{{URI: url, Accept: v2, RoutingKeys: []string{m1, m2 + "#1"}}},
			[]envelope.Route{{URI: url, Accept: v2, RoutingKeys: []string{m1, m2 + "#1"}}}, nil},
		{"several, in order", []did.Endpoint{{URI: "wss://bob.example/"}, {URI: url, Accept: v2}},
			[]envelope.Route{{URI: "wss://bob.example/"}, {URI: url, Accept: v2}}, nil},
		{"accept of v1", []did.Endpoint{{URI: url, Accept: []string{"didcomm/aip1", "didcomm/aip2;env=rfc19"}}}, nil, nil},
		{"accept of v2 with a parameter", []did.Endpoint{{URI: url, Accept: []string{"didcomm/v2;x=y"}}},
			[]envelope.Route{{URI: url, Accept: []string{"didcomm/v2;x=y"}}}, nil},
		{"accept among others", []did.Endpoint{{URI: url, Accept: []string{"didcomm/aip1", "didcomm/v2"}}},
			[]envelope.Route{{URI: url, Accept: []string{"didcomm/aip1", "didcomm/v2"}}}, nil},
		{"accept of a longer name", []did.Endpoint{{URI: url, Accept: []string{"didcomm/v25"}}}, nil, nil},
		{"queue transport", []did.Endpoint{{URI: "didcomm:transport/queue", Accept: v2}}, nil, nil},
		{"queue beside a URL", []did.Endpoint{{URI: "didcomm:transport/queue", Accept: v2}, {URI: url}}, []envelope.Route{{URI: url}}, nil},
		{"mediator DID", []did.Endpoint{{URI: m1, Accept: v2}}, []envelope.Route{{URI: mURL, Accept: v2, RoutingKeys: []string{m1}}}, nil},
		{"mediator DID URL", []did.Endpoint{{URI: m1 + "#service"}}, []envelope.Route{{URI: mURL, Accept: v2, RoutingKeys: []string{m1}}}, nil},
		// The example of Routing 2.0, Using a DID as an endpoint.
		{"mediator and routing keys", []did.Endpoint{{URI: m1, RoutingKeys: []string{far + "#key"}}},
			[]envelope.Route{{URI: mURL, Accept: v2, RoutingKeys: []string{m1, far + "#key"}}}, nil},
		{"mediator with routing keys of its own", []did.Endpoint{{URI: m2, RoutingKeys: []string{"did:example:own#1"}}}, []envelope.Route{
			{URI: "wss://m2.example/", Accept: v2, RoutingKeys: []string{far + "#key", m2, "did:example:own#1"}},
			{URI: "https://m2.example/", RoutingKeys: []string{m2, "did:example:own#1"}}}, nil},
		{"mediator with a URL beside a DID", []did.Endpoint{{URI: "did:example:mixed"}},
			[]envelope.Route{{URI: mURL, Accept: v2, RoutingKeys: []string{"did:example:mixed"}}}, nil},
		{"mediator behind a mediator", []did.Endpoint{{URI: "did:example:nested"}}, nil, envelope.ErrService},
		{"mediator that loops", []did.Endpoint{{URI: "did:example:loop"}}, nil, envelope.ErrService},
		{"own DID as mediator", []did.Endpoint{{URI: bobDID}}, nil, envelope.ErrService},
		{"own DID as mediator beside a URL", []did.Endpoint{{URI: bobDID}, {URI: url}}, []envelope.Route{{URI: url}}, nil},
		{"mediator without service", []did.Endpoint{{URI: "did:example:mute"}}, nil, envelope.ErrService},
		{"mediator with a queue", []did.Endpoint{{URI: "did:example:queue"}}, nil, envelope.ErrService},
		{"mediator unknown", []did.Endpoint{{URI: "did:example:nobody"}}, nil, did.ErrNotFound},
		{"mediator unknown, and a URL", []did.Endpoint{{URI: "did:example:nobody"}, {URI: url}}, []envelope.Route{{URI: url}}, nil},
		{"as many hops as may be", []did.Endpoint{{URI: url, RoutingKeys: keys}}, []envelope.Route{{URI: url, RoutingKeys: keys}}, nil},
		{"too many hops", []did.Endpoint{{URI: m1, RoutingKeys: keys}}, nil, envelope.ErrService},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			for id, endpoints := range mediators {
				w.add(newAgent(t, id, "x25519").serve(t, endpoints...))
			}
			w.bob.serve(t, tt.endpoints...)
			got, err := w.packer(t, w.alice).Routes(t.Context(), bobDID)
			if !errors.Is(err, tt.err) || fmt.Sprint(got) != fmt.Sprint(tt.want) {
				t.Errorf("got %v, %v\nwant %v, %v", got, err, tt.want, tt.err)
			}
			if n := len(w.took()); n > 2 {
				t.Errorf("%d documents resolved", n)
			}
		})
	}
	t.Run("many mediators", func(t *testing.T) {
		w := newWorld(t)
		var endpoints []did.Endpoint
		for i := range 200 {
			endpoints = append(endpoints, did.Endpoint{URI: fmt.Sprintf("did:example:nobody%d", i)})
		}
		w.bob.serve(t, endpoints...)
		if got, err := w.packer(t, w.alice).Routes(t.Context(), bobDID); !errors.Is(err, envelope.ErrService) || got != nil {
			t.Errorf("got %v, %v", got, err)
		}
		if n := len(w.took()); n != 1+8 {
			t.Errorf("%d documents resolved", n)
		}
	})
	t.Run("unknown DID", func(t *testing.T) {
		w := newWorld(t)
		if got, err := w.packer(t, w.alice).Routes(t.Context(), "did:example:nobody"); !errors.Is(err, did.ErrNotFound) || got != nil {
			t.Errorf("got %v, %v", got, err)
		}
	})
}

// TestRouted sends an envelope over the routes of Routes, and opens it at each hop.
func TestRouted(t *testing.T) {
	w := newWorld(t)
	outer := newAgent(t, "did:example:outer", "x25519")
	mediator := newAgent(t, "did:example:mediator", "p384").serve(t, did.Endpoint{URI: "https://mediator.example/", RoutingKeys: []string{outer.kid("x25519")}})
	inner := newAgent(t, "did:example:inner", "x25519")
	w.add(outer, mediator, inner)
	w.bob.serve(t, did.Endpoint{URI: mediator.did, RoutingKeys: []string{inner.did}})
	alice := w.packer(t, w.alice)
	routes, err := alice.Routes(t.Context(), bobDID)
	if err != nil || len(routes) != 1 || routes[0].URI != "https://mediator.example/" {
		t.Fatalf("routes %v, %v", routes, err)
	}
	e, err := alice.Forward(t.Context(), pack1(t, alice, newMessage(t, nil, w.bob)), routes[0].RoutingKeys)
	if err != nil {
		t.Fatal(err)
	}
	data := e.Data
	for _, step := range []struct {
		who  *agent
		next string
	}{{outer, mediator.did}, {mediator, inner.did}, {inner, bobDID}} {
		var next string
		if next, data = hop(t, w, step.who, data); next != step.next {
			t.Errorf("%s: next is %s, want %s", step.who.did, next, step.next)
		}
	}
	unpack(t, w.packer(t, w.bob, strict), data)
}

// TestForwardReceived opens what a mediator wraps again, in the shapes of
// interop.md, Forward, "Receive".
func TestForwardReceived(t *testing.T) {
	w := newWorld(t)
	inner := peerJWE{plaintext: text(t, w.alice, []*agent{w.bob}, nil), from: w.alice.sender("x25519"), to: []peerRecipient{w.bob.recipient("x25519")}}.seal(t)
	others := peerJWE{plaintext: text(t, w.alice, nil, nil), to: []peerRecipient{w.carol.recipient("x25519")}}.seal(t)
	for len(inner)%3 == 0 {
		inner = append(inner, ' ')
	}
	forward := func(typ string, set map[string]any, data ...any) []byte {
		var attachments []any
		for _, d := range data {
			attachments = append(attachments, map[string]any{"data": d})
		}
		all := map[string]any{"id": "outer", "type": typ, "body": map[string]any{"next": bobDID}, "attachments": attachments}
		for name, v := range set {
			all[name] = v
		}
		return peerJWE{plaintext: text(t, nil, []*agent{w.bob}, all), to: []peerRecipient{w.bob.recipient("p256")}}.seal(t)
	}
	asJSON := map[string]any{"json": json.RawMessage(inner)}
	othersJSON := map[string]any{"json": json.RawMessage(others)}
	encoded := func(e *base64.Encoding) map[string]any { return map[string]any{"base64": e.EncodeToString(inner)} }
	bob := w.packer(t, w.bob)
	for _, tt := range []struct {
		name string
		data []byte
	}{
		{"json", forward(forwardType, nil, asJSON)},
		{"base64url", forward(forwardType, nil, encoded(base64.RawURLEncoding))},
		{"base64url padded", forward(forwardType, nil, encoded(base64.URLEncoding))},
		{"base64", forward(forwardType, nil, encoded(base64.RawStdEncoding))},
		{"base64 padded", forward(forwardType, nil, encoded(base64.StdEncoding))},
		{"no to", forward(forwardType, map[string]any{"to": nil}, asJSON)},
		{"to the next", forward(forwardType, map[string]any{"to": []string{w.carol.did}}, asJSON)},
		{"several attachments", forward(forwardType, nil, othersJSON, map[string]any{"base64": "!"}, map[string]any{"json": map[string]any{}}, asJSON)},
		{"newer minor", forward("https://didcomm.org/routing/2.1/forward", nil, asJSON)},
		{"other case and punctuation", forward("https://didcomm.org/Rout_ing/2.0/For-Ward", nil, asJSON)},
		{"not encrypted", text(t, nil, nil, map[string]any{"type": forwardType, "attachments": []any{map[string]any{"data": asJSON}}})},
	} {
		t.Run(tt.name, func(t *testing.T) {
			u := unpack(t, bob, tt.data)
			md := u.Metadata
			if u.Message.ID != "1" || u.Message.From != aliceDID || !md.ReWrappedInForward || !md.Authenticated || md.EncryptedFromKID != w.alice.kid("x25519") {
				t.Errorf("message %+v, metadata %+v", u.Message, md)
			}
			if md.AnonymousSender || md.EncAlgAnon != "" {
				t.Errorf("the mediator's layer tells of the message: %+v", md)
			}
		})
	}
	t.Run("deviations of both layers", func(t *testing.T) {
		data := peerJWE{
			plaintext: text(t, nil, nil, map[string]any{"type": forwardType, "attachments": []any{map[string]any{"data": map[string]any{"json": json.RawMessage(
				peerJWE{plaintext: text(t, nil, nil, nil), to: []peerRecipient{w.bob.recipient("x25519")}, header: func(h map[string]any) { delete(h, "apv") }}.seal(t),
			)}}}}),
			to: []peerRecipient{w.bob.recipient("x25519")}, header: func(h map[string]any) { delete(h, "typ") },
		}.seal(t)
		check(t, bob, w.packer(t, w.bob, strict), []received{{"", data, codeList{envelope.DeviationTyp, envelope.DeviationAPVMissing}}})
	})

	// A forward whose envelope is not for us, or cannot be read, is returned as it is.
	signed := peerJWS{payload: text(t, w.alice, nil, nil), signers: []peerSigner{w.alice.signer("ed25519")}}.seal(t)
	for _, tt := range []struct {
		name string
		data []byte
	}{
		{"for another", forward(forwardType, nil, othersJSON)},
		{"nothing attached", forward(forwardType, nil)},
		{"links", forward(forwardType, nil, map[string]any{"links": []string{"https://example.com/"}, "hash": "z"})},
		{"no envelope", forward(forwardType, nil, map[string]any{"json": map[string]any{"ciphertext": 1}})},
		{"signed, not encrypted", forward(forwardType, nil, map[string]any{"json": json.RawMessage(signed)})},
		{"message, not encrypted", forward(forwardType, nil, map[string]any{"json": json.RawMessage(text(t, w.alice, nil, nil))})},
		{"another protocol of that name", forward("https://example.com/routing/2.0/forward", nil, asJSON)},
		{"another major version", forward("https://didcomm.org/routing/3.0/forward", nil, asJSON)},
	} {
		t.Run("left alone: "+tt.name, func(t *testing.T) {
			w.took()
			u := unpack(t, bob, tt.data)
			if u.Message.ID != "outer" || u.Metadata.ReWrappedInForward || !strings.HasSuffix(u.Message.Type, "/forward") {
				t.Errorf("message %+v, metadata %+v", u.Message, u.Metadata)
			}
			if asked := w.took(); asked != nil {
				t.Errorf("resolved %v", asked)
			}
		})
	}
	t.Run("twice", func(t *testing.T) {
		// One re-wrapping is opened; a forward in it is a forward.
		twice := forward(forwardType, map[string]any{"id": "outermost"}, map[string]any{"json": json.RawMessage(forward(forwardType, nil, asJSON))})
		if u := unpack(t, bob, twice); u.Message.ID != "outer" || !u.Metadata.ReWrappedInForward {
			t.Errorf("message %+v", u.Message)
		}
	})
	t.Run("forged", func(t *testing.T) {
		forged := peerJWE{plaintext: text(t, w.alice, nil, nil), from: &peerSender{w.alice.kid("x25519"), w.eve.ecdh["x25519"]}, to: []peerRecipient{w.bob.recipient("x25519")}}.seal(t)
		refused(t, bob, forward(forwardType, nil, map[string]any{"json": json.RawMessage(forged)}), envelope.ErrDecrypt)
	})
}
