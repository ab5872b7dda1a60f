package mediation_test

import (
	"context"
	"log/slog"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/agenttest"
	"github.com/didcomm-go/didcomm/agent/mediator"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/protocols/mediation"
)

// answers is a Responder that keeps the replies.
type answers struct {
	agent.Responder
	a    *agent.Agent
	sent []*message.Message
}

func (a *answers) Reply(_ context.Context, m *message.Message) error {
	a.sent = append(a.sent, m)
	return nil
}

func (a *answers) Agent() *agent.Agent { return a.a }

// Any body is answered or refused, and each entry of an update has a result.
func FuzzBodies(f *testing.F) {
	for _, body := range []string{
		`{}`, `{"updates":[{"recipient_did":"did:example:a","action":"add"},null,{"action":{}}]}`, `{"updates":null}`,
		`{"paginate":{"limit":1,"offset":2}}`, `{"paginate":{"limit":-1}}`, `{"updates":[{"recipient_did":"did:peer:4zQm:z","action":"remove"}]}`,
	} {
		f.Add([]byte(body))
	}
	us := agenttest.NewNet().Agent(f, nil)
	m, err := mediator.New(mediator.Config{DID: us.DID(), Store: store.New(store.Config{}), Mailbox: store.NewMailbox(store.MailboxConfig{})})
	if err != nil {
		f.Fatal(err)
	}
	mux := agent.NewMux(mediation.Serve(m, slog.New(slog.DiscardHandler)))
	const client = "did:example:client"
	if _, err := m.Enroll(f.Context(), client, ""); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		if len(body) == 0 {
			return // an absent body
		}
		for _, typ := range []string{piuri2 + "mediate-request", piuri2 + "keylist-update", piuri3 + "recipient-query"} {
			w := &answers{a: us}
			in := &agent.Inbound{Message: &message.Message{ID: "1", Type: typ, Body: body, ReturnRoute: "all"}, From: client, To: us.DID(), Addressed: true}
			if err := mux.HandleMessage(t.Context(), w, in); err != nil || typ != piuri2+"keylist-update" {
				continue
			}
			var asked, got struct {
				Updates []jsontext.Value    `json:"updates"`
				Updated []map[string]string `json:"updated"`
			}
			if len(w.sent) != 1 || json.Unmarshal(body, &asked) != nil || json.Unmarshal(w.sent[0].Body, &got) != nil || len(got.Updated) != len(asked.Updates) {
				t.Fatalf("%q: %d answers, %d of %d results", body, len(w.sent), len(got.Updated), len(asked.Updates))
			}
		}
	})
}
