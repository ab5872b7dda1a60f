// Package trustping implements Trust Ping 2.0 (DIDComm v2.1, Trust Ping Protocol 2.0). A
// ping tests that a party can be reached, and that both parties can open the messages of
// the other.
//
// Call [Ping] to send a ping. To answer pings, pass [Handle] to [agent.NewMux].
//
// The package also speaks Trust Ping 1.0 (Aries RFC 0048) in envelopes of DIDComm v2, since
// Credo knows no other.
package trustping

import (
	"context"
	"fmt"
	"slices"
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

// The URI of version 1.0, and its message types. Their bodies are those of version 2.0.
const (
	PIURI1            = "https://didcomm.org/trust_ping/1.0"
	TypePing1         = PIURI1 + "/ping"
	TypePingResponse1 = PIURI1 + "/ping_response"
)

// PingBody is the body of a message of type [TypePing] or [TypePing1].
type PingBody struct {
	// ResponseRequested says whether to answer the ping. nil means true.
	ResponseRequested *bool `json:"response_requested,omitempty"`
}

// Handler is an [agent.Handler] that answers pings of both versions.
type Handler struct{}

var _ agent.Handler = Handler{}

// Handle registers a [Handler] in a Mux.
func Handle() agent.MuxOption {
	// Ignores a response that no Request waits for.
	ignored := agent.HandlerFunc(func(context.Context, agent.Responder, *agent.Inbound) error { return nil })
	return func(m *agent.Mux) {
		for _, v := range []struct{ piuri, ping, response string }{
			{PIURI, TypePing, TypePingResponse},
			{PIURI1, TypePing1, TypePingResponse1},
		} {
			agent.Handle(agent.Protocol{
				PIURI:    v.piuri,
				Roles:    []string{"sender", "receiver"},
				Messages: map[string]agent.Handler{v.ping: Handler{}, v.response: ignored},
			})(m)
		}
	}
}

// HandleMessage replies to a ping in the version of the ping, unless the ping says that it
// needs no response. It never replies to a ping in the thread of another message, because
// some agents send such a ping as the response to ours. It returns a [*message.Problem] with
// code e.m.msg if the body is malformed.
func (Handler) HandleMessage(ctx context.Context, w agent.Responder, in *agent.Inbound) error {
	var body PingBody
	if err := in.Message.DecodeBody(&body); err != nil {
		return message.NewProblem("e.m.msg", err)
	}
	if body.ResponseRequested != nil && !*body.ResponseRequested || !startsThread(in.Message) {
		return nil
	}
	typ := TypePingResponse
	if message.Is(in.Message, TypePing1) {
		typ = TypePingResponse1
	}
	m, err := message.New(typ, nil)
	if err != nil {
		return err
	}
	if in.Message.ReturnRoute == "none" {
		// The peer listens elsewhere, and may look for the response as soon as its POST ends.
		return w.ReplyWithin(ctx, m, replyWait)
	}
	return w.Reply(ctx, m)
}

// replyWait is how long the answer to a POST waits for a response that leaves by another way.
const replyWait = time.Second

// startsThread reports whether m is the first message of its thread. Some libraries write
// thid into the first message too.
func startsThread(m *message.Message) bool {
	return m.ThreadID == "" || strings.EqualFold(m.ThreadID, m.ID)
}

// Pong is the result of a ping that was answered.
type Pong struct {
	Took  time.Duration // the time from the ping until its response
	PIURI string        // the version that was answered: PIURI or PIURI1
}

// Ping pings a DID. The response is a ping-response or a ping, in the thread of the ping and
// from that DID. Ping sends version 2.0, and version 1.0 if the party does not support that,
// or the other way round if the party is known to speak only 1.0: see
// [agent.Agent.RequestAny].
//
// Errors are those of RequestAny, and an error for a response of another type.
func Ping(ctx context.Context, a *agent.Agent, to string, opts ...agent.SendOption) (Pong, error) {
	wanted := true
	var forms []*message.Message
	for _, typ := range []string{TypePing, TypePing1} {
		m, err := message.New(typ, PingBody{ResponseRequested: &wanted})
		if err != nil {
			return Pong{}, err
		}
		forms = append(forms, m)
	}
	answer, err := a.RequestAny(ctx, to, forms, opts...)
	if err != nil {
		return Pong{}, fmt.Errorf("ping %s: %w", to, err)
	}
	is := func(typ string) bool { return message.Is(answer.Message, typ) }
	if !slices.ContainsFunc([]string{TypePingResponse, TypePing, TypePingResponse1, TypePing1}, is) {
		return Pong{}, fmt.Errorf("ping %s: answered by a message of type %s", to, answer.Message.Type)
	}
	return Pong{answer.Took, answer.PIURI}, nil
}
