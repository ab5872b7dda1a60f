package pickup_test

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/didcomm-go/didcomm/agent/agenttest"
	"github.com/didcomm-go/didcomm/agent/mediator"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/protocols/pickup"
)

// The scenarios 5 to 9 of the public suite for mediators, with its bodies.
func TestPolling(t *testing.T) {
	o := newOffice(t, pickup.ServeLimits{})
	p, d := o.newPhone(t), agenttest.NewParty(t).DID
	if _, err := o.Register(t.Context(), p.DID, d, true); err != nil {
		t.Fatal(err)
	}
	about := fmt.Sprintf(`{"recipient_did":%q}`, d)
	empty := fmt.Sprintf(`{"recipient_did":%q,"message_count":0,"total_bytes":0,"live_delivery":false}`, d)
	wants(t, p.post(t, mp3+"status-request", about), mp3+"status", empty)
	wants(t, p.post(t, mp3+"delivery-request", fmt.Sprintf(`{"recipient_did":%q,"limit":1}`, d)), mp3+"status", empty)

	packet := `{"b": 1, "a":"x"}` // not as a JSON encoder would write it
	o.accept(t, d, packet)
	if m := p.post(t, mp3+"status-request", about); !strings.HasPrefix(string(m.Body), fmt.Sprintf(`{"recipient_did":%q,"message_count":1,"longest_waited_seconds":`, d)) {
		t.Errorf("status %s", m.Body)
	}
	var request *message.Message
	m := p.post(t, mp3+"delivery-request", fmt.Sprintf(`{"recipient_did":%q,"limit":1}`, d), func(m *message.Message) { request = m })
	wants(t, m, mp3+"delivery", about)
	packets, ids := contents(t, m)
	if m.ThreadID != request.ID || len(packets) != 1 || packets[0] != packet || ids[0] == "" {
		t.Errorf("delivery %+v", m)
	}
	if string(m.Attachments[0].Data.JSON) != packet {
		t.Errorf("attachment %+v", m.Attachments[0])
	}
	// A message stays until it is acked.
	if again, _ := contents(t, p.post(t, mp3+"delivery-request", `{}`)); len(again) != 1 {
		t.Errorf("%d messages the second time", len(again))
	}
	wants(t, p.post(t, mp3+"messages-received", idList(ids...), func(r *message.Message) { r.ThreadID = m.ThreadID }),
		mp3+"status", `{"message_count":0,"total_bytes":0,"live_delivery":false}`)
	wants(t, p.post(t, mp3+"status-request", about), mp3+"status", empty)
}

// Version 4.0: the empty list is there, messages-received has no answer, a status has a
// thread, times are in milliseconds, and attachments are in the base64 that Credo reads.
func TestPolling4(t *testing.T) {
	now := time.UnixMilli(1739420343823)
	o := newOfficeAt(t, func() time.Time { return now }, pickup.ServeLimits{})
	p := o.newPhone(t)
	m := p.post(t, mp4+"delivery-request", `{"message_count_limit":1}`)
	wants(t, m, mp4+"delivery", `{}`)
	if m.Attachments == nil || len(m.Attachments) != 0 {
		t.Errorf("attachments %#v", m.Attachments)
	}
	packet := `{"ciphertext":"??>>"}`
	o.accept(t, p.DID, packet)
	var request *message.Message
	m = p.post(t, mp4+"status-request", `{}`, func(m *message.Message) { request = m })
	wants(t, m, mp4+"status", `{"message_count":1,"newest_received_time":1739420343823,"oldest_received_time":1739420343823,"total_bytes":21,"live_delivery":false}`)
	if m.ThreadID != request.ID {
		t.Errorf("thread %q", m.ThreadID)
	}
	m = p.post(t, mp4+"delivery-request", fmt.Sprintf(`{"message_count_limit":1,"recipient_did":%q}`, p.DID))
	wants(t, m, mp4+"delivery", fmt.Sprintf(`{"recipient_did":%q}`, p.DID))
	if got := m.Attachments[0].Data.Base64; got != base64.StdEncoding.EncodeToString([]byte(packet)) {
		t.Errorf("base64 %s", got)
	}
	if m := p.post(t, mp4+"messages-received", idList(m.Attachments[0].ID)); m != nil {
		t.Errorf("answer %+v", m)
	}
	if n := o.waiting(t, p.DID); n != 0 {
		t.Errorf("%d messages are left", n)
	}
}

// Times in version 3.0 are in seconds, and a clock that was set back gives no time before
// the message.
func TestTimes(t *testing.T) {
	now := time.Unix(1658085169, 0)
	o := newOfficeAt(t, func() time.Time { return now }, pickup.ServeLimits{})
	p := o.newPhone(t)
	o.accept(t, p.DID, mail(1)...)
	want := func(waited int) {
		t.Helper()
		wants(t, p.post(t, mp3+"status-request", `{}`), mp3+"status",
			fmt.Sprintf(`{"message_count":1,"longest_waited_seconds":%d,"newest_received_time":1658085169,"oldest_received_time":1658085169,"total_bytes":19,"live_delivery":false}`, waited))
	}
	want(0)
	now = now.Add(time.Hour)
	want(3600)
	now = now.Add(-2 * time.Hour)
	want(0)
}

// The answer has the spelling and the version of the request.
func TestSpellings(t *testing.T) {
	o := newOffice(t, pickup.ServeLimits{})
	p := o.newPhone(t)
	for request, answer := range map[string]string{
		"https://didcomm.org/messagepickup/3.0/":  "",
		"https://didcomm.org/pickup/3.0/":         "",
		"https://didcomm.org/message-pickup/3.0/": "",
		"https://didcomm.org/message-pickup/4.0/": "",
		"https://didcomm.org/messagepickup/4.0/":  "",
		"https://didcomm.org/message-pickup/4.2/": "https://didcomm.org/message-pickup/4.0/",
	} {
		if answer == "" {
			answer = request
		}
		if m := p.post(t, request+"status-request", `{}`); m == nil || m.Type != answer+"status" {
			t.Errorf("%s: %+v", request, m)
		}
	}
	wantsProblem(t, p.post(t, "https://didcomm.org/messagepickup/2.0/status-request", `{}`), "e.p.msg.unsupported.version")
}

// Limits of any form are read, and bounded.
func TestLimits(t *testing.T) {
	o := newOffice(t, pickup.ServeLimits{MaxMessages: 5})
	p := o.newPhone(t)
	o.accept(t, p.DID, mail(7)...)
	for body, want := range map[string]int{
		`{"limit":1}`:                           1,
		`{"limit":2.7}`:                         2,
		`{"limit":"3"}`:                         3,
		`{"limit":1e300}`:                       5,
		`{"limit":100}`:                         5,
		`{"limit":0}`:                           5,
		`{"limit":-1}`:                          5,
		`{"limit":null}`:                        5,
		`{"limit":"many"}`:                      5,
		`{"limit":[1]}`:                         5,
		`{}`:                                    5,
		`{"message_count_limit":2}`:             2,
		`{"message_count_limit":2,"limit":4}`:   4,
		`{"recipient_did":""}`:                  5,
		`{"recipient_did":null}`:                5,
		`{"recipient_did":"did:example:other"}`: 0,
	} {
		o := newOffice(t, pickup.ServeLimits{MaxMessages: 5})
		p := o.newPhone(t)
		o.accept(t, p.DID, mail(7)...)
		if m := p.post(t, mp3+"delivery-request", body); m == nil || len(m.Attachments) != want {
			t.Errorf("%s: %+v", body, m)
		}
	}
	if m := p.post(t, mp4+"delivery-request", `{"message_count_limit":2,"limit":4}`); len(m.Attachments) != 2 {
		t.Errorf("4.0: %d attachments", len(m.Attachments))
	}
}

// A delivery has a bounded size, and at least one message.
func TestDeliverySize(t *testing.T) {
	o := newOffice(t, pickup.ServeLimits{MaxBytes: 1000})
	p := o.newPhone(t)
	long := func(c string, n int) string { return `"` + strings.Repeat(c, n) + `"` }
	packets := []string{long("a", 2000), long("b", 400), long("c", 400), long("d", 400)}
	o.accept(t, p.DID, packets...)
	for _, want := range [][]string{packets[:1], packets[1:3], packets[3:]} {
		got, ids := contents(t, p.post(t, mp4+"delivery-request", `{"message_count_limit":10}`))
		if !slices.Equal(got, want) {
			t.Errorf("%d messages, want %d", len(got), len(want))
		}
		p.post(t, mp4+"messages-received", idList(ids...))
	}
}

// What is no JSON object comes as base64url in version 3.0.
func TestNotJSON(t *testing.T) {
	o := newOffice(t, pickup.ServeLimits{})
	p := o.newPhone(t)
	packets := []string{"eyJ.x.y", `"text"`, `{"a":1} {}`, "{\"a\":\"\xff\"}", `{"a":1,"a":2}`}
	o.accept(t, p.DID, packets...)
	m := p.post(t, mp3+"delivery-request", `{}`)
	got, _ := contents(t, m)
	if !slices.Equal(got, packets) {
		t.Errorf("got %q", got)
	}
	for _, a := range m.Attachments {
		if a.Data.JSON != nil || strings.ContainsAny(a.Data.Base64, "+/=") {
			t.Errorf("attachment %+v", a)
		}
	}
}

// A recipient can be named in another form than the mail was sent for. The answer has it as
// the request spells it.
func TestRecipient(t *testing.T) {
	o := newOffice(t, pickup.ServeLimits{})
	p, d := o.newPhone(t), agenttest.NewParty(t).DID
	if _, err := o.Register(t.Context(), p.DID, d, true); err != nil {
		t.Fatal(err)
	}
	o.accept(t, p.DID, mail(2)...)
	o.accept(t, d+"#key-1", `{"for":"d"}`)
	as := d + "#key-1"
	m := p.post(t, mp3+"delivery-request", fmt.Sprintf(`{"limit":9,"recipient_did":%q}`, as))
	if got, _ := contents(t, m); string(m.Body) != fmt.Sprintf(`{"recipient_did":%q}`, as) || !slices.Equal(got, []string{`{"for":"d"}`}) {
		t.Errorf("%s with %q", m.Body, got)
	}
}

// A device that is not enrolled, or blocked, gets a report and no mail.
func TestRights(t *testing.T) {
	o := newOffice(t, pickup.ServeLimits{})
	p := &phone{agenttest.NewParty(t), o}
	for name, body := range map[string]string{
		"status-request": `{}`, "delivery-request": `{"limit":1}`, "messages-received": idList("x"),
		"live-delivery-change": `{"live_delivery":true}`,
	} {
		for _, piuri := range []string{mp3, mp4} {
			wantsProblem(t, p.post(t, piuri+name, body), mediator.CodeNotEnrolled)
		}
	}
	wantsProblem(t, p.post(t, mp4+"messages-received", idList()), mediator.CodeNotEnrolled)
	p = o.newPhone(t)
	o.accept(t, p.DID, mail(1)...)
	if err := o.Block(t.Context(), p.DID); err != nil {
		t.Fatal(err)
	}
	wantsProblem(t, p.post(t, mp3+"delivery-request", `{"limit":1}`), "e.p.req.blocked")
}

// Nobody acks for others.
func TestAckOfAnother(t *testing.T) {
	o := newOffice(t, pickup.ServeLimits{})
	p, thief := o.newPhone(t), o.newPhone(t)
	o.accept(t, p.DID, mail(2)...)
	_, ids := contents(t, p.post(t, mp3+"delivery-request", `{}`))
	thief.post(t, mp3+"messages-received", idList(ids...))
	if got, _ := contents(t, thief.post(t, mp4+"delivery-request", `{}`)); len(got) != 0 || o.waiting(t, p.DID) != 2 {
		t.Errorf("the thief has %q, and the owner %d", got, o.waiting(t, p.DID))
	}
	// An ack twice, of what was never there, or of part, is no error.
	p.post(t, mp3+"messages-received", idList(ids[0], ids[0], "", "unknown", strings.Repeat("x", 5000)))
	p.post(t, mp3+"messages-received", idList(ids[0]))
	if n := o.waiting(t, p.DID); n != 1 {
		t.Errorf("%d are left", n)
	}
}

// Bodies that make no sense are refused, and change nothing.
func TestBadBodies(t *testing.T) {
	o := newOffice(t, pickup.ServeLimits{})
	p := o.newPhone(t)
	o.accept(t, p.DID, mail(1)...)
	var many []string
	for i := range 1001 {
		many = append(many, fmt.Sprint(i))
	}
	for _, test := range []struct{ name, body string }{
		{"status-request", `{"recipient_did":7}`},
		{"delivery-request", `{"recipient_did":["x"]}`},
		{"messages-received", `{"message_id_list":"x"}`},
		{"messages-received", `{"message_id_list":[1]}`},
		{"messages-received", idList(many...)},
		{"live-delivery-change", `{}`},
		{"live-delivery-change", `{"live_delivery":null}`},
		{"live-delivery-change", `{"live_delivery":"yes"}`},
		{"live-delivery-change", `{"live_delivery":{}}`},
	} {
		for _, piuri := range []string{mp3, mp4} {
			wantsProblem(t, p.post(t, piuri+test.name, test.body), "e.m.msg")
		}
	}
	if n := o.waiting(t, p.DID); n != 1 {
		t.Errorf("%d messages", n)
	}
}

// Live mode over HTTP is refused, by the report that each version names. Switching it off is
// no problem. The suite sends a string.
func TestLiveOverHTTP(t *testing.T) {
	o := newOffice(t, pickup.ServeLimits{})
	p := o.newPhone(t)
	for piuri, typ := range map[string]string{mp3: "https://didcomm.org/report-problem/2.0/problem-report", mp4: mp4 + "problem-report"} {
		for _, body := range []string{`{"live_delivery":true}`, `{"live_delivery":"true"}`} {
			var request *message.Message
			m := p.post(t, piuri+"live-delivery-change", body, func(m *message.Message) { request = m })
			wantsProblem(t, m, pickup.CodeLiveNotSupported)
			if m.Type != typ || m.ParentThreadID != request.ID {
				t.Errorf("report %+v", m)
			}
		}
		wants(t, p.post(t, piuri+"live-delivery-change", `{"live_delivery":false}`), piuri+"status", `{"message_count":0,"total_bytes":0,"live_delivery":false}`)
	}
}

// Without return_route there is no answer, and what was asked is done. The answer must not go
// to the endpoint of the device, which can be the queue itself.
func TestNoReturnRoute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t, pickup.ServeLimits{})
		p := o.newPhone(t, "mem://phone")
		o.accept(t, p.DID, mail(1)...)
		_, ids := contents(t, p.post(t, mp3+"delivery-request", `{}`))
		none := func(m *message.Message) { m.ReturnRoute = "" }
		for name, body := range map[string]string{"status-request": `{}`, "delivery-request": `{}`, "messages-received": idList(ids...)} {
			if m := p.post(t, mp3+name, body, none); m != nil {
				t.Errorf("%s: %+v", name, m)
			}
		}
		if n := o.waiting(t, p.DID); n != 0 {
			t.Errorf("%d are left", n)
		}
		if items, err := o.agent.Store().Outbox().(store.OutboxAdmin).List(t.Context(), 0, 10); err != nil || len(items) != 0 {
			t.Errorf("outbox %v, %v", items, err)
		}
	})
}

// A message that comes back without an ack is a suspect: the others come first, and then the
// suspect alone.
func TestSuspect(t *testing.T) {
	o := newOffice(t, pickup.ServeLimits{})
	p := o.newPhone(t)
	o.accept(t, p.DID, `{"bad":1}`)
	for range 5 {
		p.post(t, mp3+"delivery-request", `{"limit":10}`)
	}
	o.accept(t, p.DID, mail(2)...)
	got, ids := contents(t, p.post(t, mp3+"delivery-request", `{"limit":10}`))
	if !slices.Equal(got, mail(2)) {
		t.Errorf("got %q", got)
	}
	p.post(t, mp3+"messages-received", idList(ids...))
	if got, _ := contents(t, p.post(t, mp3+"delivery-request", `{"limit":10}`)); !slices.Equal(got, []string{`{"bad":1}`}) {
		t.Errorf("got %q", got)
	}
}

// A device that is no contact of the mediator gets long deliveries too.
func TestLongDelivery(t *testing.T) {
	o := newOffice(t, pickup.ServeLimits{})
	p := o.newPhone(t)
	o.accept(t, p.DID, `{"ciphertext":"`+strings.Repeat("x", 300<<10)+`"}`)
	if got, _ := contents(t, p.post(t, mp4+"delivery-request", `{}`)); len(got) != 1 {
		t.Errorf("%d messages", len(got))
	}
}
