package senders_test

import (
	"context"
	"errors"
	"testing"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/agenttest"
	"github.com/didcomm-go/didcomm/agent/mediator"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/protocols/senders"
)

// answers is a Responder that counts the replies.
type answers struct {
	agent.Responder
	a *agent.Agent
	n int
}

func (a *answers) Reply(context.Context, *message.Message) error { a.n++; return nil }
func (a *answers) Agent() *agent.Agent                           { return a.a }

// Any body is answered or refused, and a list that was refused has changed nothing.
func FuzzBodies(f *testing.F) {
	for _, body := range []string{
		`{}`, `{"mode":"allow","dids":["did:example:a"]}`, `{"mode":"block","refuse_anonymous":true,"dids":[null]}`,
		`{"recipient_did":"did:example:b","mode":""}`, `{"name":"bob","expires_time":1}`, `{"id":"x"}`, `{"capability":"secret"}`,
	} {
		f.Add([]byte(body))
	}
	us := agenttest.NewNet().Agent(f, nil)
	m, err := mediator.New(mediator.Config{
		DID: us.DID(), Store: store.New(store.Config{}), Mailbox: store.NewMailbox(store.MailboxConfig{}),
		Limits: mediator.Limits{ChangesPerMinute: 1 << 30, MaxCapabilities: 10},
	})
	if err != nil {
		f.Fatal(err)
	}
	const client = "did:example:client"
	if _, err := m.Enroll(f.Context(), client, ""); err != nil {
		f.Fatal(err)
	}
	mux := agent.NewMux(senders.Serve(m, nil), senders.Handle())
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, typ := range []string{senders.TypeGet, senders.TypeSet, senders.TypeMakeCapability, senders.TypeRevokeCapability, senders.TypeGive} {
			before, err := m.Senders(t.Context(), client, "")
			if err != nil {
				t.Fatal(err)
			}
			w := &answers{a: us}
			in := &agent.Inbound{Message: &message.Message{ID: "1", Type: typ, Body: body}, From: client, To: us.DID(), Addressed: true}
			err = mux.HandleMessage(t.Context(), w, in)
			var p *message.Problem
			switch {
			case err == nil && w.n != 1 && typ != senders.TypeGive:
				t.Errorf("%s %q: %d answers", typ, body, w.n)
			case err != nil && !errors.As(err, &p):
				t.Errorf("%s %q: %v", typ, body, err)
			}
			after, err2 := m.Senders(t.Context(), client, "")
			if err2 != nil {
				t.Fatal(err2)
			}
			if err != nil && (before.Filter != after.Filter || len(before.DIDs) != len(after.DIDs)) {
				t.Errorf("%s %q was refused, and changed %+v to %+v", typ, body, before, after)
			}
		}
	})
}
