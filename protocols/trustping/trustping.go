// Package trustping implements Trust Ping 2.0 (DIDComm v2.1, Trust Ping Protocol
// 2.0): it tests that a party can be reached, and that both can open what the
// other packs.
//
// Register Handle to answer pings; call Ping to send one.
package trustping

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/message"
)

// The protocol and its messages.
const (
	PIURI            = "https://didcomm.org/trust-ping/2.0"
	TypePing         = PIURI + "/ping"
	TypePingResponse = PIURI + "/ping-response"
)

// PingBody is the body of a ping.
type PingBody struct {
	// ResponseRequested asks for a ping-response; absent means true.
	ResponseRequested *bool `json:"response_requested,omitempty"`
}

// Handler answers pings.
type Handler struct{}

var _ agent.Handler = Handler{}

// Handle registers a Handler.
func Handle() agent.MuxOption {
	return agent.Handle(agent.Protocol{
		PIURI: PIURI,
		Roles: []string{"sender", "receiver"},
		Messages: map[string]agent.Handler{
			TypePing: Handler{},
			// One that nobody waits for, or not any more.
			TypePingResponse: agent.HandlerFunc(func(context.Context, agent.Responder, *agent.Inbound) error { return nil }),
		},
	})
}

// HandleMessage answers a ping that wants a response. A ping on the thread of
// another is how some agents respond to ours; it is never answered.
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

// startsThread reports whether m is the first of its thread; some libraries
// write thid into that one, too.
func startsThread(m *message.Message) bool {
	return m.ThreadID == "" || strings.EqualFold(m.ThreadID, m.ID)
}

// Ping pings a DID and returns how long the response took. The response is a
// ping-response, or a ping, on the thread of the ping and from that DID.
//
// Errors are those of agent.Agent.Request.
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
