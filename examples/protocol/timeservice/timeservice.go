// Package timeservice is a protocol of one's own in one file: one party asks what
// time it is, the other tells. It has the shape of the packages under protocols:
//
//   - the protocol's URI and its message types,
//   - a struct for the body of each message,
//   - a Handler for the party that answers, and Handle to register it,
//   - a function for the party that asks, here Ask.
//
// The URI is the protocol's name for all the world: choose one under a domain of
// yours, ending in name and version. Types match across minor versions, so a
// minor version may only add what others can ignore (DIDComm v2.1, Semver Rules).
package timeservice

import (
	"context"
	"fmt"
	"time"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/message"
)

// The protocol and its messages.
const (
	PIURI        = "https://example.com/time-service/1.0"
	TypeRequest  = PIURI + "/request"
	TypeResponse = PIURI + "/response"
)

// CodeOffset is the problem code for an offset that is none: an error (e) that
// ends the thread (p) and is about the message (msg).
const CodeOffset = "e.p.msg.offset"

// RequestBody is the body of a request.
type RequestBody struct {
	Offset string `json:"offset,omitempty"` // from UTC, such as "+05:45"; empty is UTC
}

// ResponseBody is the body of a response.
type ResponseBody struct {
	Time time.Time `json:"time"`
}

// Handler answers requests.
type Handler struct {
	Now func() time.Time // nil is time.Now
}

var _ agent.Handler = Handler{}

// Handle registers h. Discover Features tells of the protocol and its roles from
// then on.
func Handle(h Handler) agent.MuxOption {
	return agent.Handle(agent.Protocol{
		PIURI: PIURI,
		Roles: []string{"requester", "responder"},
		Messages: map[string]agent.Handler{
			TypeRequest: h,
		},
	})
}

// HandleMessage answers a request. A *message.Problem that it returns goes to the
// sender as a problem report; any other error goes to the log only.
func (h Handler) HandleMessage(ctx context.Context, w agent.Responder, in *agent.Inbound) error {
	var body RequestBody
	if err := in.Message.DecodeBody(&body); err != nil {
		return message.NewProblem("e.p.msg", err)
	}
	zone := time.UTC
	if body.Offset != "" {
		at, err := time.Parse("-07:00", body.Offset)
		if err != nil {
			return &message.Problem{
				Code:    CodeOffset,
				Comment: "{1} is not an offset from UTC such as +05:45",
				Args:    []string{body.Offset},
				Err:     err, // for our log, the sender does not see it
			}
		}
		zone = at.Location()
	}
	now := h.Now
	if now == nil {
		now = time.Now
	}
	m, err := message.New(TypeResponse, ResponseBody{now().In(zone)})
	if err != nil {
		return err
	}
	return w.Reply(ctx, m) // to whom, and in which thread, the agent knows
}

// Ask asks a DID for the time at an offset from UTC, such as "+05:45"; empty is
// UTC.
//
// Errors are those of agent.Agent.Request; a *message.Problem of code CodeOffset
// if the other does not understand the offset.
func Ask(ctx context.Context, a *agent.Agent, to, offset string, opts ...agent.SendOption) (time.Time, error) {
	m, err := message.New(TypeRequest, RequestBody{Offset: offset})
	if err != nil {
		return time.Time{}, err
	}
	m.To = []string{to}
	in, err := a.Request(ctx, m, opts...)
	if err != nil {
		return time.Time{}, fmt.Errorf("ask %s for the time: %w", to, err)
	}
	// Types are compared as a Mux does: other minor versions, and other ways to
	// write the names, are welcome.
	if !message.Is(in.Message, TypeResponse) {
		return time.Time{}, fmt.Errorf("ask %s for the time: answered by a message of type %s", to, in.Message.Type)
	}
	var body ResponseBody
	if err := in.Message.DecodeBody(&body); err != nil {
		return time.Time{}, fmt.Errorf("ask %s for the time: %w", to, err)
	}
	return body.Time, nil
}
