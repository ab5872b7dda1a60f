package interop_test

import (
	"context"
	"crypto/ecdh"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mr-tron/base58"

	"github.com/didcomm-go/didcomm/agent/agenttest"
	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/did"
	"github.com/didcomm-go/didcomm/examples/interop/internal/craft"
	"github.com/didcomm-go/didcomm/examples/interop/internal/credolike"
)

// credoDelay is the time before a 500 here. Credo waits for ten seconds.
const credoDelay = 100 * time.Millisecond

// observer has a DID and keeps what comes to its endpoint.
type observer struct {
	*agenttest.Party
	came chan posted
}

// posted is an envelope as it came, and the message in it.
type posted struct {
	mediaType string
	packed    []byte
	plaintext json.RawMessage
}

func newObserver(t *testing.T) *observer {
	t.Helper()
	o := &observer{came: make(chan posted, 1)}
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		data, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		o.came <- posted{mediaType: r.Header.Get("Content-Type"), packed: data}
	}))
	t.Cleanup(srv.Close)
	o.Party = agenttest.NewParty(t, "http://"+srv.Listener.Addr().String())
	srv.Start()
	return o
}

// sends sends a message to an agent. With return_route, the result is what comes back.
func (o *observer) sends(t *testing.T, to *credolike.Agent, did string, m *message.Message) posted {
	t.Helper()
	m.ID, m.From, m.To = message.NewID(), o.DID, []string{did}
	sealed, err := o.Packer.Pack(t.Context(), m, envelope.From(o.DID))
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, to.URL("http"), strings.NewReader(string(sealed[0].Data)))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/didcomm-envelope-enc")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("status %d: %v", resp.StatusCode, err)
	}
	return posted{mediaType: resp.Header.Get("Content-Type"), packed: data}
}

// takes waits for what the agent posts.
func (o *observer) takes(t *testing.T) posted {
	t.Helper()
	select {
	case p := <-o.came:
		return p
	case <-time.After(time.Minute):
		t.Fatal("nothing came")
		return posted{}
	}
}

// The agent writes what a live Credo was recorded to write for the same purpose: the same
// media type, header, kinds of kids, and members of the message.
func TestCredoLikeShapes(t *testing.T) {
	byName := map[string]*credoRecording{}
	for _, r := range recordings(t) {
		byName[r.Name] = r
	}
	ctx := t.Context()
	said := func(typ, body string) *message.Message { return &message.Message{Type: typ, Body: []byte(body)} }
	back := func(m *message.Message) *message.Message { m.ReturnRoute = "all"; return m }
	do := func(_ string, err error) {
		if err != nil {
			t.Helper()
			t.Fatal(err)
		}
	}
	for name, get := range map[string]func(t *testing.T, o *observer, a *credolike.Agent) posted{
		"trust-ping-1.0-ping": func(t *testing.T, o *observer, a *credolike.Agent) posted {
			do(a.Ping(ctx, o.DID))
			return o.takes(t)
		},
		"basicmessage-2.0": func(t *testing.T, o *observer, a *credolike.Agent) posted {
			do(a.Say(ctx, o.DID, "hello"))
			return o.takes(t)
		},
		"discover-features-2.0-queries": func(t *testing.T, o *observer, a *credolike.Agent) posted {
			do(a.Query(ctx, o.DID))
			return o.takes(t)
		},
		"did-rotate-by-credo-empty": func(t *testing.T, o *observer, a *credolike.Agent) posted {
			do(a.Ping(ctx, o.DID))
			o.takes(t)
			do(a.Rotate(ctx, o.DID))
			return o.takes(t)
		},
		"from-prior-basicmessage": func(t *testing.T, o *observer, a *credolike.Agent) posted {
			o.sends(t, a, a.Invitation(), said(credolike.TypeEmpty, "{}"))
			do(a.Say(ctx, o.DID, "hello"))
			return o.takes(t)
		},
		"from-prior-first-answer-return-route": func(t *testing.T, o *observer, a *credolike.Agent) posted {
			return o.sends(t, a, a.Invitation(), back(said(credolike.TypePing, "{}")))
		},
		"trust-ping-1.0-response-post": func(t *testing.T, o *observer, a *credolike.Agent) posted {
			o.sends(t, a, o.known(t, a), said(credolike.TypePing, "{}"))
			return o.takes(t)
		},
		"trust-ping-1.0-response-return-route": func(t *testing.T, o *observer, a *credolike.Agent) posted {
			return o.sends(t, a, o.known(t, a), back(said(credolike.TypePing, "{}")))
		},
		"discover-features-2.0-disclosures": func(t *testing.T, o *observer, a *credolike.Agent) posted {
			return o.sends(t, a, o.known(t, a), back(said(credolike.TypeQueries, `{"queries":[{"feature-type":"protocol","match":"*"}]}`)))
		},
		"problem-report-notification-1.0-unsupported": func(t *testing.T, o *observer, a *credolike.Agent) posted {
			o.sends(t, a, o.known(t, a), said("https://didcomm.org/trust-ping/2.0/ping", "{}"))
			return o.takes(t)
		},
		"forward-2.0-kid-did-key": func(t *testing.T, o *observer, a *credolike.Agent) posted {
			do(a.Say(ctx, agenttest.NewParty(t, o.DID).DID, "hello"))
			return o.takes(t)
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := byName[name]
			if r == nil {
				t.Fatal("no such recording")
			}
			a, err := credolike.Start(credolike.Config{Delay: credoDelay})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(a.Close)
			o := newObserver(t)
			p := get(t, o, a)
			if p.plaintext, err = o.opens(ctx, p.packed); err != nil {
				t.Fatal(err)
			}
			want := posted{r.MediaType, r.Packed, json.RawMessage(r.Plaintext)}
			if got, want := shapeOf(t, p), shapeOf(t, want); !reflect.DeepEqual(got, want) {
				t.Errorf("the agent sends\n%v\nCredo\n%v", got, want)
			}
		})
	}
}

// known gives the agent a connection on which its DID is known, and returns that DID.
func (o *observer) known(t *testing.T, a *credolike.Agent) string {
	t.Helper()
	if _, err := a.Ping(t.Context(), o.DID); err != nil {
		t.Fatal(err)
	}
	plaintext, err := o.opens(t.Context(), o.takes(t).packed)
	if err != nil {
		t.Fatal(err)
	}
	var m credolike.Message
	if err := json.Unmarshal(plaintext, &m); err != nil {
		t.Fatal(err)
	}
	return m.From
}

// opens returns the message in an envelope, also where its sender is not as it should be.
func (o *observer) opens(ctx context.Context, data []byte) (json.RawMessage, error) {
	doc, err := o.Resolver.Resolve(ctx, o.DID)
	if err != nil {
		return nil, err
	}
	key := func(kid string) ecdh.KeyExchanger {
		if strings.HasPrefix(kid, "did:key:") { // which of them, the envelope proves
			kid = doc.KeyAgreementKeys()[0].ID
		}
		k, err := o.Keys.KeyAgreement(ctx, kid)
		if err != nil {
			return nil
		}
		return k
	}
	opened, err := craft.Open(data, key, func(skid string) (*ecdh.PublicKey, error) {
		doc, err := o.Resolver.Resolve(ctx, did.Base(skid))
		if err != nil {
			return nil, err
		}
		m, ok := doc.Method(skid)
		if !ok {
			return nil, did.ErrNotFound
		}
		return m.ECDH()
	})
	if err != nil {
		return nil, err
	}
	return opened.Plaintext, nil
}

// shapeOf is what does not differ between two messages for the same purpose, by its place.
func shapeOf(t *testing.T, p posted) map[string]string {
	t.Helper()
	all := map[string]string{"media type": p.mediaType}
	var jwe struct {
		Protected  string            `json:"protected"`
		Recipients []json.RawMessage `json:"recipients"`
	}
	var header struct {
		SKID string `json:"skid"`
	}
	var m credolike.Message
	protected := func() []byte { b, _ := base64.RawURLEncoding.DecodeString(jwe.Protected); return b }
	for _, err := range []error{
		json.Unmarshal(p.packed, &jwe), json.Unmarshal(protected(), &header), json.Unmarshal(p.plaintext, &m),
		shape(all, "envelope", p.packed), shape(all, "header", protected()), shape(all, "message", p.plaintext),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	all["skid is of from"] = fmt.Sprint(strings.HasPrefix(header.SKID, m.From+"#"))
	all["thid is id"] = fmt.Sprint(m.ThreadID == m.ID)
	all["type"] = m.Type
	head, claims, _ := strings.Cut(m.FromPrior, ".")
	claims, _, _ = strings.Cut(claims, ".")
	for name, part := range map[string]string{"from_prior header": head, "from_prior": claims} {
		if text, err := base64.RawURLEncoding.DecodeString(part); err == nil && len(text) > 0 {
			if err := shape(all, name, text); err != nil {
				t.Fatal(err)
			}
		}
	}
	_, input, _ := strings.Cut(strings.TrimPrefix(m.From, "did:peer:4"), ":z")
	if doc, err := base58.Decode(input); err == nil && len(doc) > 2 {
		if err := shape(all, "document", doc[2:]); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// shape adds the kind of each value in a JSON text, by its place. Elements of an array share
// a place. A string is described by what it is: a kind of DID or DID URL, or a fixed word.
func shape(all map[string]string, place string, text []byte) error {
	var v any
	if err := json.Unmarshal(text, &v); err != nil {
		return fmt.Errorf("%s: %w", place, err)
	}
	var walk func(place string, v any)
	walk = func(place string, v any) {
		switch v := v.(type) {
		case map[string]any:
			all[place] = fmt.Sprint(slices.Sorted(maps.Keys(v)))
			for name, member := range v {
				walk(place+"/"+name, member)
			}
		case []any:
			for _, e := range v {
				walk(place+"/*", e)
			}
		case string:
			all[place] = kindOf(v)
		default:
			all[place] = fmt.Sprintf("%T", v)
		}
	}
	walk(place, v)
	return nil
}

func kindOf(s string) string {
	method, rest, ok := strings.Cut(strings.TrimPrefix(s, "did:"), ":")
	switch {
	case strings.HasPrefix(s, "did:") && ok:
		_, fragment, _ := strings.Cut(s, "#")
		return fmt.Sprintf("did:%s:%.1s, %d parts, fragment %q", method, rest, strings.Count(rest, ":")+1, fragment)
	case slices.Contains([]string{"ECDH-1PU+A256KW", "A256CBC-HS512", "application/didcomm-encrypted+json", "OKP", "X25519",
		"EdDSA", "JWT", "Ed25519", "#key-1", "#key-2", "didcomm/v2", "DIDCommMessaging", "Ed25519VerificationKey2018",
		"X25519KeyAgreementKey2019", "message-parse-failure"}, s):
		return s
	}
	return "string"
}
