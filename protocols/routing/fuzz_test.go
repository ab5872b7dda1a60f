package routing_test

import (
	"context"
	"encoding/json"
	"errors"
	"testing"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/agenttest"
	"github.com/didcomm-go/didcomm/agent/mediator"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/protocols/routing"
)

// within is a Responder of a Handler that is called without a connection.
type within struct {
	agent.Responder
	a *agent.Agent
}

func (w within) Agent() *agent.Agent { return w.a }

// FuzzForward gives messages to the Handler. An accepted message is kept, and any other is refused
// with a problem.
func FuzzForward(f *testing.F) {
	bob := agenttest.NewParty(f)
	jwe := `{"protected":"e30","recipients":[],"ciphertext":"AA"}`
	for _, seed := range []string{
		`{"body":{"next":"` + bob.DID + `"},"attachments":[{"data":{"json":` + jwe + `}}]}`,
		`{"body":{"next":"` + bob.DID + `#key-1","delay_milli":-5,"capability":"x"},"attachments":[{"data":{"base64":"e30"}},{"data":{"json":` + jwe + `}}]}`,
		`{"body":{"next":"` + bob.DID + `"},"attachments":[{"data":{"base64":"YS5iLmMuZC5l"}}],"expires_time":99999999999,"delay_milli":5}`,
		`{"body":{"next":["did:example:1"]},"attachments":[{"data":{"links":["x"],"hash":"y"}}]}`,
		`{"body":{"next":"did:key:z6MkNoKey#z6"},"attachments":[{"data":{"json":{"payload":"a","signatures":[]}}}]}`,
		`{"body":{},"attachments":[]}`,
	} {
		f.Add([]byte(seed))
	}
	box := &deposits{Mailbox: store.NewMailbox(store.MailboxConfig{})}
	o := newOffice(f, agenttest.NewNet(), func(c *config) { c.mediator.Mailbox = box })
	o.enroll(f, bob.DID)
	mux := agent.NewMux(routing.Serve(o.Mediator))
	f.Fuzz(func(t *testing.T, text []byte) {
		var members map[string]json.RawMessage
		if json.Unmarshal(text, &members) != nil || members == nil {
			t.Skip()
		}
		members["id"], members["type"] = json.RawMessage(`"1"`), json.RawMessage(`"`+routing.TypeForward+`"`)
		whole, err := json.Marshal(members)
		if err != nil {
			t.Skip()
		}
		m, _, err := message.Parse(whole)
		if err != nil {
			t.Skip()
		}
		box.got = nil
		err = mux.HandleMessage(context.Background(), within{a: o.agent}, &agent.Inbound{Message: m, To: o.DID(), Addressed: true})
		var p *message.Problem
		switch {
		case err == nil:
			if len(box.got) == 0 || len(box.got) > len(m.Attachments) {
				t.Errorf("accepted with %d packets of %d", len(box.got), len(m.Attachments))
			}
			for _, mail := range box.got {
				if mail.For != mediator.Name(bob.DID) || mail.Packet.MediaType == "" || len(mail.Packet.Data) == 0 {
					t.Errorf("kept %+v", mail)
				}
			}
		case errors.As(err, &p):
			if len(box.got) > 0 || p.Code != mediator.CodeNotEnrolled && !message.CodeHasPrefix(p.Code, "e.p.msg") {
				t.Errorf("%d packets kept, %v", len(box.got), err)
			}
		case len(box.got) == 0: // a limit is reached, and the sender may try again
			t.Errorf("failed: %v", err)
		}
	})
}
