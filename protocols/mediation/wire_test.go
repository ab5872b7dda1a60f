package mediation_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/agenttest"
	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/mediator"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/protocols/mediation"
)

// ask sends a body to a mediator, and returns the type and the body of the answer. The
// answer may be a problem report.
func (w *world) ask(t *testing.T, a *agent.Agent, typ, body string) (string, string) {
	t.Helper()
	m := &message.Message{ID: message.NewID(), Type: typ, To: []string{w.mediator.DID()}, Body: []byte(body)}
	in, err := a.Request(t.Context(), m, agent.ReturnRoute("all"))
	var p *message.Problem
	switch {
	case errors.As(err, &p):
		return "problem", p.Code
	case err != nil:
		t.Fatalf("%s %.100s: %v", typ, body, err)
	}
	got := jsontext.Value(in.Message.Body)
	if err := got.Canonicalize(); err != nil {
		t.Fatal(err)
	}
	return in.Message.Type, got.String()
}

const (
	piuri2 = "https://didcomm.org/coordinate-mediation/2.0/"
	piuri3 = "https://didcomm.org/coordinate-mediation/3.0/"
	alias2 = "https://didcomm.org/mediator-coordination/2.0/"
	alias3 = "https://didcomm.org/mediator-coordination/3.0/"
)

// The bodies in both versions and spellings, member by member. Those of version 2.0 are what
// the public suite for mediators demands.
func TestBodies(t *testing.T) {
	w := newWorld(t, nil)
	a, routing := w.phone(t), w.mediator.DID()
	const d = "did:example:one"
	updated := func(action, result string) string {
		return fmt.Sprintf(`{"updated":[{"action":%q,"recipient_did":%q,"result":%q}]}`, action, d, result)
	}
	update := func(action string) string {
		return fmt.Sprintf(`{"updates":[{"recipient_did":%q,"action":%q}]}`, d, action)
	}
	for _, tt := range []struct{ typ, body, wantType, want string }{
		{piuri2 + "keylist-query", `{}`, "problem", mediator.CodeNotEnrolled},
		{piuri3 + "recipient-update", update("add"), "problem", mediator.CodeNotEnrolled},
		{piuri2 + "mediate-request", `{}`, piuri2 + "mediate-grant", `{"routing_did":"` + routing + `"}`},
		{piuri3 + "mediate-request", `{"any":[null]}`, piuri3 + "mediate-grant", `{"routing_did":["` + routing + `"]}`},
		{alias2 + "mediate-request", `{}`, alias2 + "mediate-grant", `{"routing_did":"` + routing + `"}`},
		{alias3 + "mediate-request", `{}`, alias3 + "mediate-grant", `{"routing_did":["` + routing + `"]}`},
		{piuri2 + "keylist-update", update("add"), piuri2 + "keylist-update-response", updated("add", "success")},
		{alias2 + "keylist-update", update("add"), alias2 + "keylist-update-response", updated("add", "no_change")},
		{piuri2 + "keylist-query", `{"paginate":{"limit":2,"offset":0}}`, piuri2 + "keylist", `{"keys":[{"recipient_did":"` + d + `"}]}`},
		{alias2 + "keylist-query", `{}`, alias2 + "keylist", `{"keys":[{"recipient_did":"` + d + `"}]}`},
		{piuri3 + "recipient-query", `{"paginate":{"limit":2,"offset":0}}`, piuri3 + "recipient", `{"dids":[{"recipient_did":"` + d + `"}]}`},
		{piuri3 + "recipient-update", update("remove"), piuri3 + "recipient-update-response", updated("remove", "success")},
		{alias3 + "recipient-update", update("remove"), alias3 + "recipient-update-response", updated("remove", "no_change")},
		{piuri3 + "recipient-query", `{}`, piuri3 + "recipient", `{"dids":[]}`},
		{piuri2 + "keylist-query", `{"paginate":{"limit":2,"offset":5}}`, piuri2 + "keylist", `{"keys":[],"pagination":{"count":0,"offset":5,"remaining":0}}`},
	} {
		typ, body := w.ask(t, a, tt.typ, tt.body)
		if typ != tt.wantType || body != tt.want {
			t.Errorf("%s %s: %s %s, want %s %s", tt.typ, tt.body, typ, body, tt.wantType, tt.want)
		}
	}
}

// Hostile bodies are answered entry by entry, or refused as a whole.
func TestHostile(t *testing.T) {
	w := newWorld(t, nil)
	a := w.phone(t)
	w.ask(t, a, piuri2+"mediate-request", `{}`)
	result := func(recipient, action, result string) string {
		return fmt.Sprintf(`{"action":%q,"recipient_did":%q,"result":%q}`, action, recipient, result)
	}
	long := "did:example:" + strings.Repeat("x", 100_000)
	for _, tt := range []struct{ name, body, want string }{
		{"no updates", `{}`, `{"updated":[]}`},
		{"null", `{"updates":null}`, `{"updated":[]}`},
		{"a string", `{"updates":"did:example:a"}`, "e.p.msg"},
		{"an object", `{"updates":{"recipient_did":"did:example:a","action":"add"}}`, "e.p.msg"},
		{"entries of other types", `{"updates":[null,1,"did:example:a",[],{}]}`,
			`{"updated":[` + strings.Repeat(result("", "", "client_error")+",", 4) + result("", "", "client_error") + `]}`},
		{"members of other types", `{"updates":[{"recipient_did":["did:example:a"],"action":"add"},{"recipient_did":"did:example:a","action":7}]}`,
			`{"updated":[` + result("", "", "client_error") + "," + result("did:example:a", "", "client_error") + `]}`},
		{"null members", `{"updates":[{"recipient_did":null,"action":null}]}`, `{"updated":[` + result("", "", "client_error") + `]}`},
		{"another action", `{"updates":[{"recipient_did":"did:example:a","action":"ADD"}]}`, `{"updated":[` + result("did:example:a", "ADD", "client_error") + `]}`},
		{"no DID", `{"updates":[{"recipient_did":"https://example.com","action":"add"}]}`, `{"updated":[` + result("https://example.com", "add", "client_error") + `]}`},
		{"a long DID", `{"updates":[{"recipient_did":"` + long + `","action":"add"}]}`, `{"updated":[` + result(long, "add", "client_error") + `]}`},
		{"the mediator", `{"updates":[{"recipient_did":"` + w.mediator.DID() + `","action":"add"}]}`, `{"updated":[` + result(w.mediator.DID(), "add", "client_error") + `]}`},
		{"one bad among good", `{"updates":[{"recipient_did":"did:example:a","action":"add"},7,{"recipient_did":"did:example:a","action":"remove","more":[]}]}`,
			`{"updated":[` + result("did:example:a", "add", "success") + "," + result("", "", "client_error") + "," + result("did:example:a", "remove", "success") + `]}`},
		{"the same many times", `{"updates":[` + strings.Repeat(`{"recipient_did":"did:example:b","action":"add"},`, 2) + `{"recipient_did":"did:example:b","action":"remove"}]}`,
			`{"updated":[` + result("did:example:b", "add", "success") + "," + result("did:example:b", "add", "no_change") + "," + result("did:example:b", "remove", "success") + `]}`},
		{"too many", `{"updates":[` + strings.Repeat(`{},`, mediation.MaxUpdates) + `{}]}`, "e.p.me.res.updates"},
	} {
		if _, body := w.ask(t, a, piuri2+"keylist-update", tt.body); body != tt.want {
			t.Errorf("%s: %.300s, want %.300s", tt.name, body, tt.want)
		}
	}
	for _, tt := range []struct{ name, body, want string }{
		{"no integers", `{"paginate":{"limit":"2","offset":0.5}}`, "e.p.msg"},
		{"negative", `{"paginate":{"limit":-1,"offset":0}}`, "e.p.msg"},
		{"a list", `{"paginate":[]}`, "e.p.msg"},
		{"beyond integers", `{"paginate":{"limit":1e40,"offset":0}}`, "e.p.msg"},
		{"null", `{"paginate":null}`, `{"dids":[]}`},
		{"no limit", `{"paginate":{}}`, `{"dids":[]}`},
		{"far away", `{"paginate":{"limit":9007199254740991,"offset":9007199254740991}}`, `{"dids":[],"pagination":{"count":0,"offset":9007199254740991,"remaining":0}}`},
	} {
		if _, body := w.ask(t, a, piuri3+"recipient-query", tt.body); body != tt.want {
			t.Errorf("query, %s: %.300s, want %.300s", tt.name, body, tt.want)
		}
	}
}

func TestPages(t *testing.T) {
	w := newWorld(t, func(cfg *mediator.Config) { cfg.Limits.ChangesPerMinute = 10_000 })
	a := w.phone(t)
	w.ask(t, a, piuri2+"mediate-request", `{}`)
	var want []string
	for i := range 450 {
		id := fmt.Sprintf("did:example:%03d", i)
		want = append(want, id)
		if _, err := w.state.Register(t.Context(), a.DID(), id, false); err != nil {
			t.Fatal(err)
		}
	}
	if got := w.registered(t, a); strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("got %d DIDs", len(got))
	}
	_, body := w.ask(t, a, piuri3+"recipient-query", `{"paginate":{"limit":1,"offset":448}}`)
	if want := `"pagination":{"count":1,"offset":448,"remaining":1}}`; !strings.HasSuffix(body, want) {
		t.Errorf("%s, want %s", body, want)
	}
}

// The SDK of Identus sends keylist-update without return_route, and wants an empty response. Other
// clients leave the header out, too, and want the answer of all other requests.
func TestWithoutReturnRoute(t *testing.T) {
	w := newWorld(t, nil, agenttest.HTTP())
	client := agenttest.NewParty(t)
	routes, err := client.Packer.Routes(t.Context(), w.mediator.DID())
	if err != nil {
		t.Fatal(err)
	}
	post := func(typ, body, returnRoute string) (int, string) {
		t.Helper()
		m := &message.Message{ID: message.NewID(), Type: typ, From: client.DID, To: []string{w.mediator.DID()}, Body: []byte(body), ReturnRoute: returnRoute}
		packed, err := client.Packer.Pack(t.Context(), m, envelope.From(client.DID))
		if err != nil {
			t.Fatal(err)
		}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, routes[0].URI, bytes.NewReader(packed[0].Data))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", packed[0].MediaType)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		data, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		if len(data) == 0 {
			return resp.StatusCode, ""
		}
		u, err := client.Packer.Unpack(context.Background(), data)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, u.Message.Type
	}
	add := `{"updates":[{"recipient_did":"did:example:a","action":"add"}]}`
	for _, tt := range []struct {
		typ, body, returnRoute string
		status                 int
		want                   string
	}{
		{piuri2 + "mediate-request", `{}`, "", 200, piuri2 + "mediate-grant"},
		{piuri2 + "keylist-update", add, "", 202, ""},
		{piuri2 + "keylist-update", add, "all", 200, piuri2 + "keylist-update-response"},
		{piuri3 + "recipient-update", add, "", 200, piuri3 + "recipient-update-response"},
		{piuri2 + "keylist-query", `{}`, "", 200, piuri2 + "keylist"},
	} {
		if status, typ := post(tt.typ, tt.body, tt.returnRoute); status != tt.status || typ != tt.want {
			t.Errorf("%s %q: %d %s, want %d %s", tt.typ, tt.returnRoute, status, typ, tt.status, tt.want)
		}
	}
	if got, n, err := w.state.Recipients(t.Context(), client.DID, 0, 10); n != 1 || err != nil {
		t.Errorf("registered %q, %v", got, err)
	}
}
