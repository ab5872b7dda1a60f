package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/gorilla/websocket"

	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/identity"
	"github.com/didcomm-go/didcomm/agent/keyring"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/did/didpeer"
)

// The scenarios of the public mediator test suite, input-output-hk/didcomm-v2-mediator-test-suite
// at commit d5aac24: the requests that it sends, and the answers that it accepts.

const (
	suiteMediation = "https://didcomm.org/coordinate-mediation/2.0/"
	suitePickup    = "https://didcomm.org/messagepickup/3.0/"
	suiteBasic     = "https://didcomm.org/basicmessage/2.0/message"
	suiteReport    = "https://didcomm.org/report-problem/2.0/problem-report"
)

// suiteParty is a did:peer:2 as the suite makes them, with its keys.
type suiteParty struct {
	t      *testing.T
	did    string
	packer *envelope.Packer
}

// newSuiteParty makes a party with the service uri, which may be empty.
func newSuiteParty(t *testing.T, uri string) *suiteParty {
	t.Helper()
	pair, err := identity.Generate(keyring.Ed25519)
	if err != nil {
		t.Fatal(err)
	}
	id, err := didpeer.New2([]didpeer.Key{
		{Purpose: didpeer.KeyAgreement, Public: pair.Agree.PublicKey()},
		{Purpose: didpeer.Authentication, Public: pair.Sign.Public()},
	})
	if err != nil {
		t.Fatal(err)
	}
	service := `{"t":"dm","s":{"uri":"` + uri + `","r":[],"a":["didcomm/v2"]}}`
	id += ".S" + base64.RawURLEncoding.EncodeToString([]byte(service))
	doc, err := didpeer.NewResolver().Resolve(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	own, err := identity.FromDocument(doc, pair)
	if err != nil {
		t.Fatal(err)
	}
	packer, err := envelope.New(envelope.Config{Keys: own, Resolver: didpeer.NewResolver()})
	if err != nil {
		t.Fatal(err)
	}
	return &suiteParty{t, id, packer}
}

// pack returns an authcrypt envelope, and without from an anoncrypt one.
func (p *suiteParty) pack(m *message.Message) []byte {
	p.t.Helper()
	var opts []envelope.PackOption
	if m.From != "" {
		opts = append(opts, envelope.From(m.From))
	} else {
		opts = append(opts, envelope.ContentEncryption(envelope.XC20P))
	}
	e, err := p.packer.Pack(p.t.Context(), m, opts...)
	if err != nil {
		p.t.Fatal(err)
	}
	return e[0].Data
}

// suite is one scenario: a mediator, and clients that it does not know.
type suite struct {
	t         *testing.T
	mediator  string
	http, ws  string
	recipient *suiteParty
	sender    *suiteParty
	heard     chan []byte // what the recipient's own endpoint gets
}

func newSuite(t *testing.T, a *agentProcess) *suite {
	t.Helper()
	doc, err := didpeer.NewResolver().Resolve(t.Context(), a.did)
	if err != nil {
		t.Fatal(err)
	}
	if len(doc.Service) != 2 || len(doc.KeyAgreement) != 1 || doc.KeyAgreement[0].ID != "#key-1" && !strings.HasSuffix(doc.KeyAgreement[0].ID, "#key-1") {
		t.Fatalf("the DID of the mediator has another shape: %s", a.did)
	}
	s := &suite{t: t, mediator: a.did, heard: make(chan []byte, 10)}
	s.http, s.ws = doc.Service[0].Endpoints[0].URI+"/", doc.Service[1].Endpoints[0].URI
	if u, err := url.Parse(s.ws); err != nil || u.Scheme != "ws" || u.Port() == "" || !strings.HasPrefix(s.http, "http:") {
		t.Fatalf("services %s, %s", s.http, s.ws)
	}
	own := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		data, _ := io.ReadAll(io.LimitReader(r.Body, 1<<20))
		s.heard <- data
	}))
	t.Cleanup(own.Close)
	s.recipient, s.sender = newSuiteParty(t, own.URL+"/"), newSuiteParty(t, "")
	return s
}

// post posts an envelope and returns the status and the body of the response.
func (s *suite) post(data []byte) (status int, body []byte) {
	s.t.Helper()
	resp, err := http.Post(s.http, "application/didcomm-encrypted+json", bytes.NewReader(data))
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err = io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return resp.StatusCode, body
}

// request is a message of p for the mediator, as the suite builds them.
func (s *suite) request(p *suiteParty, typ, body string) *message.Message {
	return &message.Message{
		ID: message.NewID(), Typ: message.MediaType, Type: typ, From: p.did, To: []string{s.mediator},
		ReturnRoute: "all", Body: json.RawMessage(body),
	}
}

// open opens an answer for the recipient.
func (s *suite) open(data []byte) *message.Message {
	s.t.Helper()
	u, err := s.recipient.packer.Unpack(s.t.Context(), data)
	if err != nil {
		s.t.Fatalf("%v: %.300q", err, data)
	}
	s.wantReadable(u.Message)
	return u.Message
}

// wantReadable checks what the reader of the suite is strict about: it knows please_ack and ack
// in another form than the specification has, and few members of an attachment.
func (s *suite) wantReadable(m *message.Message) {
	s.t.Helper()
	if m.PleaseAck != nil || m.Ack != nil {
		s.t.Fatalf("please_ack %q, ack %q in %s", m.PleaseAck, m.Ack, m.Type)
	}
	for _, a := range m.Attachments {
		if len(a.Extra) > 0 || len(a.Data.Extra) > 0 || a.LastModText != "" || a.Data.JWS != nil || a.Data.Hash != "" {
			s.t.Fatalf("attachment %+v", a)
		}
	}
}

// ask posts a request of the recipient and returns the opened answer.
func (s *suite) ask(typ, body string) *message.Message {
	s.t.Helper()
	_, answer := s.post(s.recipient.pack(s.request(s.recipient, typ, body)))
	return s.open(answer)
}

// askBySocket sends one text frame on a WebSocket of its own, and takes the first frame that
// comes as the answer.
func (s *suite) askBySocket(typ, body string) *message.Message {
	s.t.Helper()
	conn, _, err := websocket.DefaultDialer.DialContext(s.t.Context(), s.ws, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.WriteMessage(websocket.TextMessage, s.recipient.pack(s.request(s.recipient, typ, body))); err != nil {
		s.t.Fatal(err)
	}
	kind, answer, err := conn.ReadMessage()
	if err != nil || kind != websocket.TextMessage {
		s.t.Fatalf("frame %d, %v", kind, err)
	}
	return s.open(answer)
}

// suiteExact decodes a body that may have no other members than those of T.
func suiteExact[T any](t *testing.T, m *message.Message, typ string) (body T) {
	t.Helper()
	if m.Type != typ {
		t.Fatalf("type %s, want %s; %s", m.Type, typ, m.Body)
	}
	if err := jsonv2.Unmarshal(m.Body, &body, jsonv2.RejectUnknownMembers(true)); err != nil {
		t.Fatalf("%v: %s", err, m.Body)
	}
	return body
}

type (
	suiteGrant struct {
		RoutingDID string `json:"routing_did"`
	}
	suiteUpdated struct {
		Updated []struct {
			RecipientDID string `json:"recipient_did"`
			Action       string `json:"action"`
			Result       string `json:"result"`
		} `json:"updated"`
	}
	suiteKeys struct {
		Keys []struct {
			RecipientDID string `json:"recipient_did"`
		} `json:"keys"`
	}
	suiteStatus struct {
		RecipientDID  string `json:"recipient_did"`
		MessageCount  *int32 `json:"message_count"`
		LongestWaited int32  `json:"longest_waited_seconds"`
		Newest        int32  `json:"newest_received_time"`
		Oldest        int32  `json:"oldest_received_time"`
		TotalBytes    int32  `json:"total_bytes"`
		LiveDelivery  bool   `json:"live_delivery"`
	}
)

// enroll asks for mediation, and returns the routing DID.
func (s *suite) enroll() string {
	s.t.Helper()
	grant := suiteExact[suiteGrant](s.t, s.ask(suiteMediation+"mediate-request", `{}`), suiteMediation+"mediate-grant")
	if grant.RoutingDID == "" {
		s.t.Fatal("no routing DID")
	}
	return grant.RoutingDID
}

// update updates the list by one entry, and checks its result.
func (s *suite) update(action, id, result string) {
	s.t.Helper()
	body := `{"updates":[{"action":"` + action + `","recipient_did":"` + id + `"}]}`
	got := suiteExact[suiteUpdated](s.t, s.ask(suiteMediation+"keylist-update", body), suiteMediation+"keylist-update-response").Updated
	if len(got) != 1 || got[0].RecipientDID != id || got[0].Action != action || got[0].Result != result {
		s.t.Fatalf("%s %s: %+v, want %s", action, id, got, result)
	}
}

// mediated is a scenario in which the recipient has registered a DID.
func mediated(t *testing.T, a *agentProcess) (s *suite, at *suiteParty) {
	t.Helper()
	s = newSuite(t, a)
	at = newSuiteParty(t, s.enroll())
	s.update("add", at.did, "success")
	return s, at
}

// forward sends a basic message through the mediator, and returns the inner envelope.
func (s *suite) forward(to *suiteParty) (inner []byte, status int, answer []byte, sent *message.Message) {
	s.t.Helper()
	sent = &message.Message{
		ID: message.NewID(), Typ: message.MediaType, Type: suiteBasic, From: s.sender.did, To: []string{to.did},
		Body: json.RawMessage(`{"basic":"message"}`),
	}
	inner = s.sender.pack(sent)
	f := s.request(s.sender, "https://didcomm.org/routing/2.0/forward", `{"next":"`+to.did+`"}`)
	f.From = ""
	f.Attachments = []message.Attachment{{ID: message.NewID(), Data: message.AttachmentData{JSON: inner}}}
	status, answer = s.post(s.sender.pack(f))
	return inner, status, answer, sent
}

// queue is forward, which has to succeed.
func (s *suite) queue(to *suiteParty) (inner []byte, sent *message.Message) {
	s.t.Helper()
	inner, status, answer, sent := s.forward(to)
	if status/100 != 2 || len(answer) != 0 {
		s.t.Fatalf("forward: %d, %q", status, answer)
	}
	return inner, sent
}

// wantStatus checks a status message.
func (s *suite) wantStatus(m *message.Message, at *suiteParty, count int32) {
	s.t.Helper()
	got := suiteExact[suiteStatus](s.t, m, suitePickup+"status")
	if got.RecipientDID != at.did || got.MessageCount == nil || *got.MessageCount != count {
		s.t.Fatalf("status %s, want %d for %s", m.Body, count, at.did)
	}
}

// wantDelivery checks a delivery of one message, and returns the id of the attachment.
func (s *suite) wantDelivery(m *message.Message, at *suiteParty, inner []byte, sent *message.Message) string {
	s.t.Helper()
	if m.Type != suitePickup+"delivery" || m.ThreadID == "" || len(m.Attachments) != 1 || m.Attachments[0].ID == "" {
		s.t.Fatalf("%s in thread %q with %d attachments: %s", m.Type, m.ThreadID, len(m.Attachments), m.Body)
	}
	data := []byte(m.Attachments[0].Data.JSON)
	if data == nil {
		var err error
		if data, err = base64.RawURLEncoding.DecodeString(m.Attachments[0].Data.Base64); err != nil {
			s.t.Fatal(err)
		}
	}
	if !bytes.Equal(data, inner) {
		s.t.Fatalf("delivered %.100q, want %.100q", data, inner)
	}
	u, err := at.packer.Unpack(s.t.Context(), data)
	if err != nil {
		s.t.Fatal(err)
	}
	if got := u.Message; got.ID != sent.ID || got.From != sent.From || !slices.Equal(got.To, sent.To) || !bytes.Equal(got.Body, sent.Body) {
		s.t.Fatalf("delivered %+v, want %+v", got, sent)
	}
	return m.Attachments[0].ID
}

// wantNothing checks the answer to a delivery-request for an empty queue.
func (s *suite) wantNothing(m *message.Message, at *suiteParty) {
	s.t.Helper()
	if m.Type == suitePickup+"delivery" {
		if len(m.Attachments) > 0 {
			s.t.Fatalf("%d attachments", len(m.Attachments))
		}
		return
	}
	s.wantStatus(m, at, 0)
}

func (at *suiteParty) body() string     { return `{"recipient_did":"` + at.did + `"}` }
func (at *suiteParty) oneOf() string    { return `{"recipient_did":"` + at.did + `","limit":1}` }
func suiteReceived(id, _ string) string { return `{"message_id_list":["` + id + `"]}` }
func (s *suite) live() *message.Message {
	return s.ask(suitePickup+"live-delivery-change", `{"live_delivery":"true"}`)
}
func (s *suite) received(id, thid string) { // its answer is not looked at
	m := s.request(s.recipient, suitePickup+"messages-received", suiteReceived(id, thid))
	m.ThreadID = thid
	if status, body := s.post(s.recipient.pack(m)); status/100 != 2 {
		s.t.Fatalf("messages-received: %d, %q", status, body)
	}
}

// wantReport checks that an answer reports a problem.
func wantReport(t *testing.T, m *message.Message, code string) {
	t.Helper()
	var body struct {
		Code string `json:"code"`
	}
	if err := json.Unmarshal(m.Body, &body); err != nil || m.Type != suiteReport || body.Code != code {
		t.Fatalf("%s %s, %v; want a report %s", m.Type, m.Body, err, code)
	}
}

func TestPublicSuite(t *testing.T) {
	a, _ := run(t, "--mediator")
	for _, scenario := range []struct {
		name string
		test func(t *testing.T)
	}{
		{"1 adds new key", func(t *testing.T) { mediated(t, a) }},
		{"2 removes alias", func(t *testing.T) {
			s, at := mediated(t, a)
			s.update("remove", at.did, "success")
		}},
		{"3 removes not existing alias", func(t *testing.T) {
			s := newSuite(t, a)
			s.enroll()
			s.update("remove", "did:example:123456789abcdefghi", "no_change")
		}},
		{"4 query keylist", func(t *testing.T) {
			s, at := mediated(t, a)
			got := suiteExact[suiteKeys](t, s.ask(suiteMediation+"keylist-query", `{"paginate":{"limit":2,"offset":0}}`), suiteMediation+"keylist")
			for _, k := range got.Keys {
				if k.RecipientDID == at.did {
					return
				}
			}
			t.Fatalf("keys %+v, want %s", got, at.did)
		}},
		{"5 status, one message", func(t *testing.T) {
			s, at := mediated(t, a)
			s.queue(at)
			s.wantStatus(s.ask(suitePickup+"status-request", at.body()), at, 1)
		}},
		{"6 status, none", func(t *testing.T) {
			s, at := mediated(t, a)
			s.wantStatus(s.ask(suitePickup+"status-request", at.body()), at, 0)
		}},
		{"7 delivery, one message", func(t *testing.T) {
			s, at := mediated(t, a)
			inner, sent := s.queue(at)
			s.wantDelivery(s.ask(suitePickup+"delivery-request", at.oneOf()), at, inner, sent)
		}},
		{"8 delivery, none", func(t *testing.T) {
			s, at := mediated(t, a)
			s.wantNothing(s.ask(suitePickup+"delivery-request", at.oneOf()), at)
		}},
		{"9 messages-received", func(t *testing.T) {
			s, at := mediated(t, a)
			inner, sent := s.queue(at)
			delivery := s.ask(suitePickup+"delivery-request", at.oneOf())
			s.received(s.wantDelivery(delivery, at, inner, sent), delivery.ThreadID)
			s.wantStatus(s.ask(suitePickup+"status-request", at.body()), at, 0)
		}},
		{"10 live, delivery, one message", func(t *testing.T) {
			s, at := mediated(t, a)
			s.live()
			inner, sent := s.queue(at)
			s.wantDelivery(s.askBySocket(suitePickup+"delivery-request", at.oneOf()), at, inner, sent)
		}},
		{"11 live, delivery, none", func(t *testing.T) {
			s, at := mediated(t, a)
			s.live()
			s.wantNothing(s.askBySocket(suitePickup+"delivery-request", at.oneOf()), at)
		}},
		{"12 live, messages-received", func(t *testing.T) {
			s, at := mediated(t, a)
			s.live()
			inner, sent := s.queue(at)
			delivery := s.askBySocket(suitePickup+"delivery-request", at.oneOf())
			s.received(s.wantDelivery(delivery, at, inner, sent), delivery.ThreadID)
			s.wantStatus(s.askBySocket(suitePickup+"status-request", at.body()), at, 0)
		}},
		{"13 ping, return_route all", func(t *testing.T) {
			s := newSuite(t, a)
			pong := s.ask("https://didcomm.org/trust-ping/2.0/ping", `{"response_requested":true}`)
			if pong.Type != "https://didcomm.org/trust-ping/2.0/ping-response" || pong.To[0] != s.recipient.did || len(s.heard) > 0 {
				t.Fatalf("%+v, %d posts", pong, len(s.heard))
			}
		}},
		{"14 ping, return_route none", func(t *testing.T) {
			s := newSuite(t, a)
			ping := s.request(s.recipient, "https://didcomm.org/trust-ping/2.0/ping", `{"response_requested":true}`)
			ping.ReturnRoute = "none"
			if status, body := s.post(s.recipient.pack(ping)); status/100 != 2 || len(body) != 0 {
				t.Fatalf("%d, %q", status, body)
			}
			select { // the suite does not wait
			case data := <-s.heard:
				if pong := s.open(data); pong.Type != "https://didcomm.org/trust-ping/2.0/ping-response" {
					t.Fatalf("%+v", pong)
				}
			default:
				t.Fatal("no ping-response before the answer to the POST")
			}
		}},
		{"15 same message twice", func(t *testing.T) {
			s := newSuite(t, a)
			twice := s.recipient.pack(s.request(s.recipient, suiteBasic, `{"content":"message"}`))
			s.post(twice)
			_, answer := s.post(twice)
			wantReport(t, s.open(answer), "e.p.crypto.message.dejavu")
		}},
		{"16 unsupported protocol", func(t *testing.T) {
			wantReport(t, newSuite(t, a).ask("https://didcomm.org/unsupported-protocol", `{}`), "e.p.msg.unsupported")
		}},
		{"17 unsupported version", func(t *testing.T) {
			wantReport(t, newSuite(t, a).ask("https://didcomm.org/basicmessage/100.0/message", `{"content":"message"}`), "e.p.msg.unsupported")
		}},
		{"18 pickup, not enrolled", func(t *testing.T) {
			s := newSuite(t, a)
			wantReport(t, s.ask(suitePickup+"delivery-request", s.recipient.oneOf()), "e.p.req.not_enroll")
		}},
		{"19 forward, not enrolled", func(t *testing.T) {
			s := newSuite(t, a)
			_, _, answer, _ := s.forward(s.recipient)
			var jws struct {
				Payload string `json:"payload"`
			}
			if err := json.Unmarshal(answer, &jws); err != nil {
				t.Fatalf("%v: %q", err, answer)
			}
			payload, err := base64.RawURLEncoding.DecodeString(jws.Payload)
			if err != nil {
				t.Fatal(err)
			}
			m, _, err := message.Parse(payload)
			if err != nil {
				t.Fatal(err)
			}
			wantReport(t, m, "e.p.req.not_enroll")
			if u := s.open(answer); u.From != s.mediator { // the suite does not verify
				t.Fatalf("signed by %s", u.From)
			}
		}},
		{"20 malformed", func(t *testing.T) {
			wantReport(t, newSuite(t, a).ask(suiteBasic, `{"incorrect":"message"}`), "e.p.msg."+suiteBasic)
		}},
	} {
		t.Run(scenario.name, scenario.test)
	}
}
