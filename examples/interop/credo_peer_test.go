package interop_test

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/identity"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/did"
	"github.com/didcomm-go/didcomm/protocols/basicmessage"
	"github.com/didcomm-go/didcomm/protocols/discover"
	"github.com/didcomm-go/didcomm/protocols/empty"
	"github.com/didcomm-go/didcomm/protocols/trustping"
	"github.com/didcomm-go/didcomm/transport"
)

// credoPeer is the recipient of a recorded message, as the peer of an agent of this library.
type credoPeer struct {
	*credoRecording
	theirs *message.Message
	id     string             // DID of the recipient
	peer   *envelope.Packer   // opens and packs as the recipient
	own    *identity.Identity // of the agent
	agent  *agent.Agent
	sent   chan transport.Packet // by the agent
}

// Send takes a packet of the agent.
func (c *credoPeer) Send(_ context.Context, _ string, p transport.Packet) error {
	c.sent <- p
	return nil
}

// Receipts returns true.
func (c *credoPeer) Receipts() bool { return true }

// newCredoPeer starts an agent that reaches the recipient of the recorded message by a
// credoPeer, whatever the endpoints of the recipient are.
func newCredoPeer(t *testing.T, r *credoRecording) *credoPeer {
	t.Helper()
	m, _, err := message.Parse(r.Plaintext)
	if err != nil {
		t.Fatal(err)
	}
	secrets := r.Secrets
	if r.Name == "envelope-signed" { // opens without a key
		secrets = recordingOf(t, "envelope-signed-in-authcrypt").Secrets
	}
	c := &credoPeer{credoRecording: r, theirs: m, sent: make(chan transport.Packet, 10)}
	if len(secrets) > 0 {
		c.id = ownerOf(t, secrets)
	}
	resolver := did.ResolverFunc(func(ctx context.Context, id string) (*did.Document, error) {
		doc, err := byMethod.Resolve(ctx, id)
		if err != nil || id != c.id {
			return doc, err
		}
		data, err := doc.MarshalJSON()
		if err != nil {
			return nil, err
		}
		if doc, err = did.ParseDocument(data); err != nil {
			return nil, err
		}
		doc.Service = []did.Service{did.NewDIDCommService("#service", "test://peer")}
		return doc, doc.Index()
	})
	c.peer = r.packer(t, byMethod, false, secrets)
	c.own = c.identity(t)
	c.agent, err = agent.Start(t.Context(), agent.Config{
		DID: c.own.DID(), Keys: c.own, Resolver: resolver, Senders: map[string]transport.Sender{"test": c},
		Handler: agent.NewMux(trustping.Handle(), discover.Handle(), empty.Handle(),
			basicmessage.Handle(func(context.Context, agent.Responder, *agent.Inbound, basicmessage.Body) error { return nil })),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.agent.Stop)
	return c
}

// next returns the next message that the agent sends.
func (c *credoPeer) next(t *testing.T) *message.Message {
	t.Helper()
	select {
	case p := <-c.sent:
		u, err := c.peer.Unpack(t.Context(), p.Data)
		if err != nil {
			t.Fatal(err)
		}
		return u.Message
	case <-time.After(10 * time.Second):
		t.Fatal("the agent sends nothing")
		return nil
	}
}

// give gives a message of the recipient to the agent.
func (c *credoPeer) give(t *testing.T, typ, body string, edit func(*message.Message)) {
	t.Helper()
	m, err := message.New(typ, json.RawMessage(body))
	if err != nil {
		t.Fatal(err)
	}
	m.From, m.To = c.id, []string{c.own.DID()}
	if edit != nil {
		edit(m)
	}
	list, err := c.peer.Pack(t.Context(), m, envelope.From(c.id))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.agent.ServePacket(t.Context(), transport.NoReply{}, transport.Packet{MediaType: list[0].MediaType, Data: list[0].Data}); err != nil {
		t.Fatal(err)
	}
}

// refuse reports as Credo does that the type of a message is not supported.
func (c *credoPeer) refuse(t *testing.T, m *message.Message) {
	t.Helper()
	text, err := json.Marshal("Error handling message " + m.ID + " with type " + m.Type + ". The message type is not supported")
	if err != nil {
		t.Fatal(err)
	}
	c.give(t, "https://didcomm.org/notification/1.0/problem-report", `{"description":{"code":"message-parse-failure","en":`+string(text)+`}}`,
		func(report *message.Message) { report.ParentThreadID = m.ID })
}

// send sends a message to the recipient, and returns the message as it was opened.
func (c *credoPeer) send(t *testing.T, m *message.Message, opts ...agent.SendOption) *message.Message {
	t.Helper()
	m.To = []string{c.id}
	if err := c.agent.Send(t.Context(), m, opts...); err != nil {
		t.Fatal(err)
	}
	return c.next(t)
}

// asking calls a function that waits for an answer, and ends the wait when answer returns.
func (c *credoPeer) asking(t *testing.T, ask func(context.Context) error, sent func() *message.Message) *message.Message {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- ask(ctx) }()
	m := sent()
	cancel()
	if err := <-ended; err == nil {
		t.Error("answered")
	}
	return m
}

// built decodes the recorded body, as the argument of a verb.
func (c *credoPeer) built(t *testing.T, body any) {
	t.Helper()
	if err := c.theirs.DecodeBody(body); err != nil {
		t.Fatal(err)
	}
}

// prior returns a from_prior that proves that another DID of ours has become the DID of the
// agent.
func (c *credoPeer) prior(t *testing.T) string {
	t.Helper()
	prior := c.identity(t)
	packer, err := envelope.New(envelope.Config{Keys: prior, Resolver: byMethod})
	if err != nil {
		t.Fatal(err)
	}
	jwt, err := packer.FromPrior(t.Context(), prior.DID(), c.own.DID(), credoTime)
	if err != nil {
		t.Fatal(err)
	}
	return jwt
}

// recordingOf returns the recording of a file.
func recordingOf(t *testing.T, name string) *credoRecording {
	t.Helper()
	for _, r := range recordings(t) {
		if r.Name == name {
			return r
		}
	}
	t.Fatalf("no recording %s", name)
	return nil
}
