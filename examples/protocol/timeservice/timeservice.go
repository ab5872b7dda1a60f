// Package timeservice is an example of a protocol in one file: one party asks for the
// time, and the other party answers. Call [Ask] to ask for the time. To answer, pass
// [Handle] to [agent.NewMux].
//
// The package has the same parts as the packages in the folder protocols:
//
//   - constants for the URI of the protocol and its message types;
//   - a struct for the body of each message;
//   - a [Handler] for the party that answers, and a function to register it, [Handle];
//   - a function for the party that asks, [Ask].
//
// The URI is the globally unique name of a protocol. Choose a URI that begins with a
// domain of yours and ends with a name and a version. Messages of all minor versions are
// handled by the same Handler, so a minor version may only add parts that can be ignored
// (DIDComm v2.1, Semver Rules).
package timeservice

import (
	"context"
	"fmt"
	"time"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/message"
)

// The URI of the protocol, and its message types.
const (
	PIURI        = "https://example.com/time-service/1.0"
	TypeRequest  = PIURI + "/request"
	TypeResponse = PIURI + "/response"
)

// CodeOffset is the problem code for an invalid offset: an error (e) that ends the protocol
// (p) and is about the message (msg).
const CodeOffset = "e.p.msg.offset"

// RequestBody is the body of a message of type [TypeRequest].
type RequestBody struct {
	Offset string `json:"offset,omitempty"` // offset from UTC, for example "+05:45"; "" means UTC
}

// ResponseBody is the body of a message of type [TypeResponse].
type ResponseBody struct {
	Time time.Time `json:"time"` // with the offset of the request
}

// Handler is an [agent.Handler] that answers requests.
type Handler struct {
	Now func() time.Time // returns the current time; nil means time.Now
}

var _ agent.Handler = Handler{}

// Handle registers h in a Mux. If Discover Features is registered in the same Mux, it also
// discloses this protocol and its roles.
func Handle(h Handler) agent.MuxOption {
	return agent.Handle(agent.Protocol{
		PIURI: PIURI,
		Roles: []string{"requester", "responder"},
		Messages: map[string]agent.Handler{
			TypeRequest: h,
		},
	})
}

// HandleMessage replies to a request. If it returns a [*message.Problem], the agent sends a
// problem report to the sender of the request. Any other error is only logged.
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
				Err:     err, // only for the log; the sender does not see it
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
	return w.Reply(ctx, m) // fills in the recipient and the thread
}

// Ask asks a DID for the time. The offset from UTC has a form like "+05:45"; "" means UTC.
//
// Errors are those of [agent.Agent.Request]. If the responder does not accept the offset,
// the error wraps a [*message.Problem] with code [CodeOffset].
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
	// message.Is compares types in the same way as a Mux: it accepts other minor versions,
	// and other spellings of the names.
	if !message.Is(in.Message, TypeResponse) {
		return time.Time{}, fmt.Errorf("ask %s for the time: answered by a message of type %s", to, in.Message.Type)
	}
	var body ResponseBody
	if err := in.Message.DecodeBody(&body); err != nil {
		return time.Time{}, fmt.Errorf("ask %s for the time: %w", to, err)
	}
	return body.Time, nil
}
