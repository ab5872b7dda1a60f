package credolike_test

import (
	"bytes"
	"crypto/ecdh"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/didcomm-go/didcomm/did"
	"github.com/didcomm-go/didcomm/did/didpeer"
	"github.com/didcomm-go/didcomm/examples/interop/internal/craft"
	"github.com/didcomm-go/didcomm/examples/interop/internal/credolike"
)

// A mediator opens a forward for its key by a did:key, and by no URL of its routing DID: a
// POST of such a forward gets 500, and a frame gets nothing. Whether the client is known, the
// sender of a forward is never told.
func TestMediatorKeys(t *testing.T) {
	mediator := start(t, credolike.Config{})
	client := start(t, credolike.Config{Mediator: mediator.Invitation()})
	doc, err := didpeer.NewResolver().Resolve(t.Context(), mediator.RoutingDID())
	if err != nil {
		t.Fatal(err)
	}
	key, err := doc.KeyAgreementKeys()[0].ECDH()
	if err != nil {
		t.Fatal(err)
	}
	agree, err := did.FormatMultikey(key)
	if err != nil {
		t.Fatal(err)
	}
	public, err := doc.AuthenticationKeys()[0].PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	sign, err := did.FormatMultikey(public)
	if err != nil {
		t.Fatal(err)
	}
	ws, _, err := websocket.DefaultDialer.Dial(mediator.URL("ws"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer ws.Close()
	for kid, opens := range map[string]bool{
		"did:key:" + agree:                      true,
		"did:key:" + agree + "#" + agree:        true,
		"did:key:" + sign:                       true,
		"did:key:" + sign + "#" + agree:         true,
		mediator.RoutingDID() + "#key-1":        false,
		mediator.RoutingDID():                   false,
		client.Invitation() + "#key-2":          false,
		"did:key:z6LSnone":                      false,
		"#key-1":                                false,
		mediator.Invitation() + "#another":      false,
		"did:example:other" + "#" + agree:       false,
		strings.ToUpper("did:key:") + agree:     false,
		"did:key:" + agree[:len(agree)-1] + "0": false,
	} {
		wrapped := func(next, id string) []byte { return forward(t, kid, key, next, id) }
		want := http.StatusInternalServerError
		if opens {
			want = http.StatusOK
		}
		for _, next := range []string{client.Invitation(), "did:example:nobody"} {
			resp, err := http.Post(mediator.URL("http"), "application/didcomm-envelope-enc", bytes.NewReader(wrapped(next, "by POST "+kid)))
			if err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close()
			if resp.StatusCode != want {
				t.Errorf("%s: status %d, want %d", kid, resp.StatusCode, want)
			}
		}
		if err := ws.WriteMessage(websocket.TextMessage, wrapped(client.Invitation(), "by frame "+kid)); err != nil {
			t.Fatal(err)
		}
		if opens {
			for _, id := range []string{"by POST " + kid, "by frame " + kid} {
				if _, err := client.Wait(t.Context(), func(m credolike.Message) bool { return m.ID == id }); err != nil {
					t.Error(err)
				}
			}
		}
	}
	if err := ws.SetReadDeadline(time.Now().Add(200 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if _, data, err := ws.ReadMessage(); err == nil {
		t.Errorf("the mediator answers %s", data)
	}
	got := 0
	for _, m := range client.Received() {
		if m.Type == credolike.TypeEmpty {
			got++
		}
	}
	if got != 8 {
		t.Errorf("the client has %d messages", got)
	}
}

// forward makes a forward for a key by that kid, which has an anonymous message with that id.
func forward(t *testing.T, kid string, key *ecdh.PublicKey, next, id string) []byte {
	t.Helper()
	to := next + "#key-2"
	theirs := key // of nobody
	if doc, err := didpeer.NewResolver().Resolve(t.Context(), next); err == nil {
		if theirs, err = doc.KeyAgreementKeys()[0].ECDH(); err != nil {
			t.Fatal(err)
		}
	}
	seal := func(kid string, key *ecdh.PublicKey, m craft.Object) []byte {
		text, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		return (&craft.JWE{To: []craft.AgreeKey{craft.RecipientKey(kid, key)}}).Seal(text)
	}
	inner := seal(to, theirs, craft.Object{"id": id, "type": credolike.TypeEmpty, "body": craft.Object{}, "to": []string{next}})
	return seal(kid, key, craft.Object{
		"id": id, "type": credolike.TypeForward, "body": craft.Object{"next": next}, "to": []string{kid},
		"attachments": []any{craft.Object{"id": "1", "data": craft.Object{"json": json.RawMessage(inner)}}},
	})
}
