// Package empty implements Empty 1.0 (DIDComm v2.1, The Empty Message): a message that
// has only headers.
//
// Call [Send] to send such a message, for example to open a return route:
//
//	err := empty.Send(ctx, a, mediator, agent.ReturnRoute("all"))
//
// An agent processes the headers of received empty messages without this package, and
// sends acks that a peer asks for as empty messages. Call [Ack] to send other acks. Pass
// [Handle] to [agent.NewMux] to disclose the protocol. A Mux with an [agent.Fallback] also
// needs Handle, unless the Fallback accepts empty messages.
package empty

import (
	"context"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/message"
)

// The URI of the protocol, and its message type.
const (
	PIURI     = "https://didcomm.org/empty/1.0"
	TypeEmpty = PIURI + "/empty"
)

// Handler is an [agent.Handler] that does nothing.
type Handler struct{}

var _ agent.Handler = Handler{}

// Handle registers a [Handler] in a Mux.
func Handle() agent.MuxOption {
	return agent.Handle(agent.Protocol{
		PIURI:    PIURI,
		Messages: map[string]agent.Handler{TypeEmpty: Handler{}},
	})
}

// HandleMessage does nothing, because the agent has processed the headers already.
func (Handler) HandleMessage(context.Context, agent.Responder, *agent.Inbound) error { return nil }

// Send sends an empty message to a DID. The headers can be set with opts. Errors are those
// of [agent.Agent.Send].
func Send(ctx context.Context, a *agent.Agent, to string, opts ...agent.SendOption) error {
	m, err := message.New(TypeEmpty, nil)
	if err != nil {
		return err
	}
	m.To = []string{to}
	return a.Send(ctx, m, opts...)
}

// Ack acknowledges messages of a thread to their sender, the DID to (DIDComm v2.1, ACKs).
// The ids of the messages are in order, the oldest first. Errors are those of
// [agent.Agent.Send].
func Ack(ctx context.Context, a *agent.Agent, to, thread string, ids ...string) error {
	m, err := message.New(TypeEmpty, nil)
	if err != nil {
		return err
	}
	m.To, m.ThreadID, m.Ack = []string{to}, thread, ids
	return a.Send(ctx, m)
}
