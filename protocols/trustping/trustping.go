// Package trustping implements Trust Ping 2.0 (DIDComm v2.1, Trust Ping Protocol 2.0). A
// ping tests that a party can be reached, and that both parties can open the messages of
// the other.
//
// Call [Ping] to send a ping. To answer pings, pass [Handle] to [agent.NewMux].
package trustping

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/message"
)

// The URI of the protocol, and its message types.
const (
	PIURI            = "https://didcomm.org/trust-ping/2.0"
	TypePing         = PIURI + "/ping"
	TypePingResponse = PIURI + "/ping-response"
)

// PingBody is the body of a message of type [TypePing].
type PingBody struct {
	// ResponseRequested says whether to answer the ping. nil means true.
	ResponseRequested *bool `json:"response_requested,omitempty"`
}

// Handler is an [agent.Handler] that answers pings.
type Handler struct{}

var _ agent.Handler = Handler{}

// Handle registers a [Handler] in a Mux.
func Handle() agent.MuxOption {
	return agent.Handle(agent.Protocol{
		PIURI: PIURI,
		Roles: []string{"sender", "receiver"},
		Messages: map[string]agent.Handler{
			TypePing: Handler{},
			// Ignores a response that no Request waits for.
			TypePingResponse: agent.HandlerFunc(func(context.Context, agent.Responder, *agent.Inbound) error { return nil }),
		},
	})
}

// HandleMessage replies to a ping, unless the ping says that it needs no response. It never
// replies to a ping in the thread of another message, because some agents send such a ping
// as the response to ours. It returns a [*message.Problem] with code e.m.msg if the body is
// malformed.
func (Handler) HandleMessage(ctx context.Context, w agent.Responder, in *agent.Inbound) error {
	var body PingBody
	if err := in.Message.DecodeBody(&body); err != nil {
		return message.NewProblem("e.m.msg", err)
	}
	if body.ResponseRequested != nil && !*body.ResponseRequested || !startsThread(in.Message) {
		return nil
	}
	m, err := message.New(TypePingResponse, nil)
	if err != nil {
		return err
	}
	return w.Reply(ctx, m)
}

// startsThread reports whether m is the first message of its thread. Some libraries write
// thid into the first message too.
func startsThread(m *message.Message) bool {
	return m.ThreadID == "" || strings.EqualFold(m.ThreadID, m.ID)
}

// Ping pings a DID and returns the time until the response. The response is a
// ping-response or a ping, in the thread of the ping and from that DID.
//
// Errors are those of [agent.Agent.Request], and an error for a response of another type.
func Ping(ctx context.Context, a *agent.Agent, to string, opts ...agent.SendOption) (time.Duration, error) {
	wanted := true
	m, err := message.New(TypePing, PingBody{ResponseRequested: &wanted})
	if err != nil {
		return 0, err
	}
	m.To = []string{to}
	start := time.Now()
	in, err := a.Request(ctx, m, opts...)
	rtt := time.Since(start)
	if err != nil {
		return 0, fmt.Errorf("ping %s: %w", to, err)
	}
	if !message.Is(in.Message, TypePingResponse) && !message.Is(in.Message, TypePing) {
		return 0, fmt.Errorf("ping %s: answered by a message of type %s", to, in.Message.Type)
	}
	return rtt, nil
}
