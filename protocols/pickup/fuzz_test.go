package pickup_test

import (
	"context"
	"slices"
	"testing"

	"github.com/go-json-experiment/json"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/mediator"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/protocols/pickup"
)

// asked is the Responder of a request that is given to the Mux.
type asked struct {
	agent.Responder
	a       *agent.Agent
	answers []*message.Message
}

func (r *asked) Reply(_ context.Context, m *message.Message) error {
	r.answers = append(r.answers, m)
	return nil
}
func (r *asked) Agent() *agent.Agent           { return r.a }
func (r *asked) Connection() *agent.Connection { return nil }

// Whatever the body of a request is, there is at most one answer, which fits the version, and
// nothing but a messages-received that names the mail removes the mail.
func FuzzRequest(f *testing.F) {
	names := []string{"status-request", "delivery-request", "messages-received", "live-delivery-change"}
	for _, body := range []string{
		`{}`, `{"recipient_did":"did:example:1"}`, `{"limit":1}`, `{"limit":"x","message_count_limit":1e99}`, `{"message_count_limit":-1}`,
		`{"message_id_list":["a","b"]}`, `{"live_delivery":true}`, `{"live_delivery":"true","raw":"false"}`, `{"live_delivery":false}`, `{"limit":{"a":[1]}}`,
	} {
		for i := range names {
			f.Add(byte(i), body)
			f.Add(byte(i)|8, body)
		}
	}
	st := store.New(store.Config{})
	m, err := mediator.New(mediator.Config{DID: "did:example:routing", Store: st, Mailbox: store.NewMailbox(store.MailboxConfig{})})
	if err != nil {
		f.Fatal(err)
	}
	const device = "did:example:device"
	if _, err := m.Enroll(f.Context(), device, ""); err != nil {
		f.Fatal(err)
	}
	if err := m.Accept(f.Context(), mediator.Forward{Next: device, Packet: store.Packet{Data: []byte(`{}`)}}); err != nil {
		f.Fatal(err)
	}
	o := newOffice(f, pickup.ServeLimits{})
	mux := agent.NewMux(pickup.Serve(m))
	f.Fuzz(func(t *testing.T, kind byte, body string) {
		piuri := mp3
		if kind&8 != 0 {
			piuri = mp4
		}
		in := &agent.Inbound{From: device, To: "did:example:mediator", Addressed: true, Message: &message.Message{
			ID: "1", Type: piuri + names[kind%4], ReturnRoute: "all", Body: []byte(body),
		}}
		r := &asked{a: o.agent}
		err := mux.HandleMessage(t.Context(), r, in)
		if len(r.answers) > 1 || err != nil && len(r.answers) > 0 {
			t.Fatalf("%d answers, %v", len(r.answers), err)
		}
		for _, a := range r.answers {
			if a.ThreadID != "1" && a.ParentThreadID != "1" || !slices.Contains([]string{"status", "delivery", "problem-report"}, a.Type[len(piuri):]) || a.Type[:len(piuri)] != piuri {
				t.Errorf("answer %+v", a)
			}
			if _, err := json.Marshal(a); err != nil {
				t.Errorf("answer cannot be written: %v", err)
			}
		}
		if st, err := m.Box(device).Status(t.Context()); err != nil || st.Count != 1 {
			t.Errorf("%d messages, %v", st.Count, err)
		}
	})
}

// Whatever a mediator answers, the verbs of the client end, and give no more mail than there
// are attachments.
func FuzzAnswer(f *testing.F) {
	for _, s := range []string{
		`{"id":"1","type":"https://didcomm.org/message-pickup/4.0/delivery","attachments":[{"id":"x","data":{"base64":"e30="}}]}`,
		`{"id":"1","type":"https://didcomm.org/messagepickup/3.0/delivery","attachments":[{"id":"x","data":{"json":{}}},{"data":{}}]}`,
		`{"id":"1","type":"https://didcomm.org/messagepickup/3.0/status","body":{"message_count":1e300,"oldest_received_time":-5,"live_delivery":"x"}}`,
		`{"id":"1","type":"https://didcomm.org/message-pickup/4.0/status","body":{"message_count":null,"total_bytes":[]}}`,
		`{"id":"1","type":"x"}`,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		m, _, err := message.Parse([]byte(text))
		if err != nil {
			return
		}
		pickup.CheckAnswer(t, m)
	})
}
