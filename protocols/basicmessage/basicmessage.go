// Package basicmessage implements Basic Message 2.0
// (https://didcomm.org/basicmessage/2.0), which sends a text from one person to another.
//
// Call [Send] to send a message. To receive messages, pass [Handle] to [agent.NewMux].
package basicmessage

import (
	"context"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/message"
)

// The URI of the protocol, and its message type.
const (
	PIURI       = "https://didcomm.org/basicmessage/2.0"
	TypeMessage = PIURI + "/message"
)

// Body is the body of a message. The header lang has its language, and the header
// created_time has the time when it was sent.
type Body struct {
	Content string `json:"content"` // the text
}

// Handler is a function that is called with each message. It may reply with w. Its errors
// are treated as those of an [agent.Handler].
type Handler func(ctx context.Context, w agent.Responder, in *agent.Inbound, body Body) error

var _ agent.Handler = Handler(nil)

// Handle registers fn in a Mux. The messages of a party are handled in the order in which
// the party sent them ([agent.Protocol.Ordered]).
func Handle(fn Handler) agent.MuxOption {
	return agent.Handle(agent.Protocol{
		PIURI:    PIURI,
		Roles:    []string{"sender", "receiver"},
		Messages: map[string]agent.Handler{TypeMessage: fn},
		Ordered:  true,
	})
}

// HandleMessage decodes the body and calls h. It returns a [*message.Problem] with code
// e.m.msg if the body is malformed or has no content.
func (h Handler) HandleMessage(ctx context.Context, w agent.Responder, in *agent.Inbound) error {
	var body struct {
		Content *string `json:"content"`
	}
	if err := in.Message.DecodeBody(&body); err != nil {
		return message.NewProblem("e.m.msg", err)
	}
	if body.Content == nil {
		return message.NewProblem("e.m.msg", nil)
	}
	return h(ctx, w, in, Body{Content: *body.Content})
}

// New returns a message with a text. lang is the language of the text as a BCP 47 tag,
// for example "en", or "" if it is not known.
func New(content, lang string) (*message.Message, error) {
	m, err := message.New(TypeMessage, Body{Content: content})
	if err != nil {
		return nil, err
	}
	m.Lang = lang
	return m, nil
}

// Send sends a text to a DID. It uses the lane PIURI ([agent.Lane]), so that messages from
// one DID to another are sent in the order of Send. Errors are those of [agent.Agent.Send].
func Send(ctx context.Context, a *agent.Agent, to, content string, opts ...agent.SendOption) error {
	m, err := New(content, "")
	if err != nil {
		return err
	}
	m.To = []string{to}
	return a.Send(ctx, m, append([]agent.SendOption{agent.Lane(PIURI)}, opts...)...)
}
