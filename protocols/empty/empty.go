// Package empty implements Empty 1.0 (DIDComm v2.1, The Empty Message): a message
// that carries headers and nothing else.
//
// An agent acts on the headers of such a message, and acknowledges by it, whether
// Handle is registered or not; Handle is there to disclose that. Call Ack to
// acknowledge what was not asked for, and Send to open a return route:
//
//	err := empty.Send(ctx, a, mediator, agent.ReturnRoute("all"))
package empty

import (
	"context"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/message"
)

// The protocol and its message.
const (
	PIURI     = "https://didcomm.org/empty/1.0"
	TypeEmpty = PIURI + "/empty"
)

// Handler takes empty messages.
type Handler struct{}

var _ agent.Handler = Handler{}

// Handle registers a Handler.
func Handle() agent.MuxOption {
	return agent.Handle(agent.Protocol{
		PIURI:    PIURI,
		Messages: map[string]agent.Handler{TypeEmpty: Handler{}},
	})
}

// HandleMessage does nothing: the message says nothing beyond its headers.
func (Handler) HandleMessage(context.Context, agent.Responder, *agent.Inbound) error { return nil }

// Send sends an empty message to a DID. Errors are those of agent.Agent.Send.
func Send(ctx context.Context, a *agent.Agent, to string, opts ...agent.SendOption) error {
	m, err := message.New(TypeEmpty, nil)
	if err != nil {
		return err
	}
	m.To = []string{to}
	return a.Send(ctx, m, opts...)
}

// Ack acknowledges messages of one thread to their sender, the oldest first
// (ACKs). Errors are those of agent.Agent.Send.
func Ack(ctx context.Context, a *agent.Agent, to, thread string, ids ...string) error {
	m, err := message.New(TypeEmpty, nil)
	if err != nil {
		return err
	}
	m.To, m.ThreadID, m.Ack = []string{to}, thread, ids
	return a.Send(ctx, m)
}
