package routing_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/agenttest"
	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/mediator"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/protocols/routing"
)

// office is a mediator that runs in an agent.
type office struct {
	*mediator.Mediator
	agent    *agent.Agent
	endpoint string
}

// config is the configuration of an office.
type config struct {
	agent    *agent.Config
	mediator mediator.Config
	routing  []routing.Option
}

// newOffice runs a mediator over HTTP, with changes.
func newOffice(t testing.TB, n *agenttest.Net, edits ...func(*config)) *office {
	t.Helper()
	return openOffice(t, n, agenttest.HTTP(), edits...)
}

// openOffice is newOffice over any transport.
func openOffice(t testing.TB, n *agenttest.Net, over agenttest.Option, edits ...func(*config)) *office {
	t.Helper()
	o := new(office)
	o.agent = n.Agent(t, nil, over, agenttest.Configure(func(cfg *agent.Config) {
		o.endpoint = endpointOf(t, cfg.Packer, cfg.DID)
		cfg.Store = store.New(store.Config{})
		c := config{agent: cfg, mediator: mediator.Config{Store: cfg.Store, Mailbox: store.NewMailbox(store.MailboxConfig{})}}
		for _, edit := range edits {
			edit(&c)
		}
		c.mediator.DID = cfg.DID
		var err error
		if o.Mediator, err = mediator.New(c.mediator); err != nil {
			t.Fatal(err)
		}
		cfg.Handler = agent.NewMux(routing.Serve(o.Mediator, c.routing...))
		cfg.Unopened = routing.Unopened(o.Mediator)
	}))
	return o
}

func endpointOf(t testing.TB, p *envelope.Packer, id string) string {
	t.Helper()
	routes, err := p.Routes(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return routes[0].URI
}

func (o *office) enroll(t testing.TB, id string) {
	t.Helper()
	if _, err := o.Enroll(t.Context(), id, ""); err != nil {
		t.Fatal(err)
	}
}

// mail returns all mail of a device.
func (o *office) mail(t testing.TB, device string) []store.Mail {
	t.Helper()
	list, err := o.Box(device).Lease(t.Context(), store.Pick{N: 1000, Held: true}, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// wantMail checks the packets in the box of a device.
func (o *office) wantMail(t testing.TB, device string, want ...[]byte) {
	t.Helper()
	var got [][]byte
	for _, m := range o.mail(t, device) {
		got = append(got, m.Packet.Data)
	}
	if !slices.EqualFunc(got, want, bytes.Equal) {
		t.Errorf("kept %d packets, want %d, or others", len(got), len(want))
	}
}

// answer is the answer to a POST.
type answer struct {
	status     int
	retryAfter string
	mediaType  string
	body       []byte
}

func (o *office) post(t testing.TB, e envelope.Envelope) answer {
	t.Helper()
	return post(t, o.endpoint, e)
}

func post(t testing.TB, endpoint string, e envelope.Envelope) answer {
	t.Helper()
	resp, err := http.Post(endpoint, e.MediaType, bytes.NewReader(e.Data))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header.Get("Retry-After"), resp.Header.Get("Content-Type"), body}
}

// forward returns a forward message, with the body as JSON.
func (o *office) forward(body string, attachments ...message.Attachment) *message.Message {
	return &message.Message{
		ID: message.NewID(), Type: routing.TypeForward, To: []string{o.DID()}, Body: json.RawMessage(body), Attachments: attachments,
	}
}

// next returns the body of a forward.
func next(id string) string {
	body, err := json.Marshal(map[string]string{"next": id})
	if err != nil {
		panic(err)
	}
	return string(body)
}

// pack packs a message for one recipient, with anoncrypt unless there are options.
func pack(t testing.TB, p *envelope.Packer, m *message.Message, opts ...envelope.PackOption) envelope.Envelope {
	t.Helper()
	list, err := p.Pack(t.Context(), m, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return list[0]
}

// letter returns an authcrypted message from one party to another.
func letter(t testing.TB, from, to *agenttest.Party) envelope.Envelope {
	t.Helper()
	m, err := message.New("https://example.org/letter/1.0/letter", map[string]string{"text": "hello"})
	if err != nil {
		t.Fatal(err)
	}
	m.From, m.To = from.DID, []string{to.DID}
	return pack(t, from.Packer, m, envelope.From(from.DID))
}

func attach(e envelope.Envelope) message.Attachment {
	return message.JSONAttachment(message.NewID(), e.MediaType, e.Data)
}

// wantReport checks that a signed message from the mediator has a problem report about m.
func (o *office) wantReport(t testing.TB, a answer, m *message.Message, code string) {
	t.Helper()
	if a.status != http.StatusOK || a.mediaType != envelope.MediaTypeSigned {
		t.Errorf("status %d, %s: %s", a.status, a.mediaType, a.body)
		return
	}
	u, err := agenttest.NewParty(t).Packer.Unpack(t.Context(), a.body)
	if err != nil {
		t.Errorf("open %s: %v", a.body, err)
		return
	}
	p, err := agent.ParseProblemReport(u.Message)
	if err != nil || p.Code != code || u.Message.ParentThreadID != m.ID || len(u.Message.To) > 0 || len(u.Message.Ack) > 0 || u.Sender() != o.DID() {
		t.Errorf("reported %+v in %+v, %v; want %s", p, u.Message, err, code)
	}
}
