package pickup_test

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/agenttest"
	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/mediator"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/protocols/pickup"
	"github.com/didcomm-go/didcomm/transport"
)

const (
	mp3 = "https://didcomm.org/messagepickup/3.0/"
	mp4 = "https://didcomm.org/message-pickup/4.0/"
)

// office is a mediator with its agent.
type office struct {
	*mediator.Mediator
	box   store.Mailbox
	agent *agent.Agent
	net   *agenttest.Net
}

// newOffice runs a mediator. The options are those of its agent.
func newOffice(t testing.TB, limits pickup.ServeLimits, opts ...agenttest.Option) *office {
	t.Helper()
	return newOfficeAt(t, time.Now, limits, opts...)
}

func newOfficeAt(t testing.TB, now func() time.Time, limits pickup.ServeLimits, opts ...agenttest.Option) *office {
	t.Helper()
	o := &office{box: store.NewMailbox(store.MailboxConfig{}), net: agenttest.NewNet()}
	m, err := mediator.New(mediator.Config{
		DID: "did:example:routing", Store: store.New(store.Config{}), Mailbox: o.box, Now: now,
		Limits: mediator.Limits{MaxAge: 100 * 365 * 24 * time.Hour}, // tests have clocks of their own
	})
	if err != nil {
		t.Fatal(err)
	}
	o.Mediator = m
	o.agent = o.net.Agent(t, agent.NewMux(pickup.Serve(m, pickup.Limit(limits), pickup.Clock(now))), opts...)
	return o
}

// enroll enrolls a device.
func (o *office) enroll(t testing.TB, id string) {
	t.Helper()
	if _, err := o.Enroll(t.Context(), id, ""); err != nil {
		t.Fatal(err)
	}
}

// accept puts packets into the boxes of a recipient.
func (o *office) accept(t testing.TB, next string, packets ...string) {
	t.Helper()
	for _, p := range packets {
		err := o.Accept(t.Context(), mediator.Forward{Next: next, Packet: store.Packet{MediaType: transport.MediaTypeEncrypted, Data: []byte(p)}})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// waiting returns how many messages are in the box of a device.
func (o *office) waiting(t testing.TB, device string) int {
	t.Helper()
	st, err := o.Box(device).Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return st.Count
}

// phone is a device without an agent. The test writes and reads its messages.
type phone struct {
	*agenttest.Party
	o *office
}

// newPhone returns an enrolled device.
func (o *office) newPhone(t testing.TB, endpoints ...string) *phone {
	t.Helper()
	p := &phone{agenttest.NewParty(t, endpoints...), o}
	o.enroll(t, p.DID)
	return p
}

// request returns a packed request that asks for an answer on its connection.
func (p *phone) request(t testing.TB, typ, body string, edit ...func(*message.Message)) (*message.Message, transport.Packet) {
	t.Helper()
	m := &message.Message{
		ID: message.NewID(), Type: typ, From: p.DID, To: []string{p.o.agent.DID()}, ReturnRoute: "all", Body: json.RawMessage(body),
	}
	for _, f := range edit {
		f(m)
	}
	list, err := p.Packer.Pack(t.Context(), m, envelope.From(p.DID))
	if err != nil {
		t.Fatal(err)
	}
	return m, transport.Packet{MediaType: list[0].MediaType, Data: list[0].Data}
}

// post is a Replier whose connection ends with the answer.
type post struct {
	mu      sync.Mutex
	packets []transport.Packet
}

func (w *post) Reply(_ context.Context, p transport.Packet) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.packets = append(w.packets, p)
	return nil
}

// post sends a request as over HTTP and returns its answer, or nil.
func (p *phone) post(t testing.TB, typ, body string, edit ...func(*message.Message)) *message.Message {
	t.Helper()
	_, packet := p.request(t, typ, body, edit...)
	var w post
	handled, err := p.o.agent.ServePacket(t.Context(), &w, packet)
	if handled != nil {
		<-handled
	}
	switch len(w.packets) {
	case 0:
		if err != nil {
			t.Errorf("%s: %v", typ, err)
		}
		return nil
	case 1:
		return p.open(t, w.packets[0])
	}
	t.Fatalf("%d answers", len(w.packets))
	return nil
}

func (p *phone) open(t testing.TB, packet transport.Packet) *message.Message {
	t.Helper()
	u, err := p.Packer.Unpack(t.Context(), packet.Data)
	if err != nil {
		t.Fatalf("the phone cannot open a packet: %v", err)
	}
	return u.Message
}

// wants fails the test if m is not of the type, with exactly that body.
func wants(t testing.TB, m *message.Message, typ, body string) {
	t.Helper()
	if m == nil {
		t.Fatalf("no answer, want %s", typ)
	}
	if m.Type != typ || string(m.Body) != body {
		t.Errorf("answer %s %s, want %s %s", m.Type, m.Body, typ, body)
	}
}

// wantsProblem fails the test if m is not a problem report with that code.
func wantsProblem(t testing.TB, m *message.Message, code string) {
	t.Helper()
	if m == nil {
		t.Fatalf("no answer, want %s", code)
	}
	if got := message.ReadProblem(m.Body).Code; got != code || !message.IsProblemReport(m.Type) {
		t.Errorf("answer %s %s, want %s", m.Type, m.Body, code)
	}
}

// contents returns the packets in a delivery, and their ids.
func contents(t testing.TB, m *message.Message) (packets, ids []string) {
	t.Helper()
	if m == nil {
		t.Fatal("no delivery")
	}
	for _, a := range m.Attachments {
		data, err := a.Data.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		packets, ids = append(packets, string(data)), append(ids, a.ID)
	}
	return packets, ids
}

func idList(ids ...string) string {
	list, _ := json.Marshal(map[string][]string{"message_id_list": ids})
	return string(list)
}

func mail(n int) []string {
	var list []string
	for i := range n {
		list = append(list, fmt.Sprintf(`{"ciphertext": "%d"}`, i))
	}
	return list
}
