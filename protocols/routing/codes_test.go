package routing_test

import (
	"context"
	"testing"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/agenttest"
	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/protocols/basicmessage"
	"github.com/didcomm-go/didcomm/protocols/routing"
)

// The codes, and the report about a message that comes twice, as the public test suite for
// mediators wants them in the response to a POST.
func TestIdentusCodes(t *testing.T) {
	const basic = "https://didcomm.org/basicmessage/2.0/message"
	for name, test := range map[string]struct {
		typ, body string
		twice     bool
		code      string
	}{
		"twice":     {basic, `{"content":"message"}`, true, "e.p.crypto.message.dejavu"},
		"protocol":  {"https://didcomm.org/unsupported-protocol", `{}`, false, "e.p.msg.unsupported"},
		"version":   {"https://didcomm.org/basicmessage/100.0/message", `{"content":"message"}`, false, "e.p.msg.unsupported"},
		"malformed": {basic, `{"incorrect":"message"}`, false, "e.p.msg.https://didcomm.org/basicmessage/2.0/message"},
	} {
		t.Run(name, func(t *testing.T) {
			mux := agent.NewMux(routing.IdentusCodes(), basicmessage.Handle(func(context.Context, agent.Responder, *agent.Inbound, basicmessage.Body) error { return nil }))
			a := agenttest.NewNet().Agent(t, mux, agenttest.HTTP())
			alice := agenttest.NewParty(t)
			m := &message.Message{ID: message.NewID(), Type: test.typ, From: alice.DID, To: []string{a.DID()}, ReturnRoute: "all", Body: []byte(test.body)}
			e := pack(t, alice.Packer, m, envelope.From(alice.DID))
			got := post(t, endpointOf(t, a.Packer(), a.DID()), e)
			if test.twice {
				got = post(t, endpointOf(t, a.Packer(), a.DID()), e)
			}
			u, err := alice.Packer.Unpack(t.Context(), got.body)
			if err != nil {
				t.Fatalf("status %d, %v", got.status, err)
			}
			p, err := agent.ParseProblemReport(u.Message)
			if err != nil || p.Code != test.code || u.Message.ParentThreadID != m.ID || len(u.Message.Ack) > 0 || len(u.Message.PleaseAck) > 0 {
				t.Errorf("told %+v in %+v, %v", p, u.Message, err)
			}
		})
	}
}
