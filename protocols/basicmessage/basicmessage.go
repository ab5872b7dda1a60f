// Package basicmessage implements Basic Message 2.0
// (https://didcomm.org/basicmessage/2.0): a text from one person to another.
//
// Register Handle to receive messages; call Send to send one.
package basicmessage

import (
	"context"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/message"
)

// The protocol and its message.
const (
	PIURI       = "https://didcomm.org/basicmessage/2.0"
	TypeMessage = PIURI + "/message"
)

// Body is the body of a message. Its language is in the header lang, and when it
// was sent in created_time.
type Body struct {
	Content string `json:"content"`
}

// Handler is called with each message, and may answer it by w.
type Handler func(ctx context.Context, w agent.Responder, in *agent.Inbound, body Body) error

var _ agent.Handler = Handler(nil)

// Handle registers fn. The messages of one party are handled in the order in which the
// party sent them: see agent.Protocol.Ordered.
func Handle(fn Handler) agent.MuxOption {
	return agent.Handle(agent.Protocol{
		PIURI:    PIURI,
		Roles:    []string{"sender", "receiver"},
		Messages: map[string]agent.Handler{TypeMessage: fn},
		Ordered:  true,
	})
}

// HandleMessage reads the body and calls h. A message without content is a
// problem of its sender.
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

// New makes a message. lang is its language as of BCP 47, such as "en"; empty if
// not known.
func New(content, lang string) (*message.Message, error) {
	m, err := message.New(TypeMessage, Body{Content: content})
	if err != nil {
		return nil, err
	}
	m.Lang = lang
	return m, nil
}

// Send sends content to a DID, in the lane PIURI: the messages from one DID to another
// arrive in the order of Send. Errors are those of agent.Agent.Send.
func Send(ctx context.Context, a *agent.Agent, to, content string, opts ...agent.SendOption) error {
	m, err := New(content, "")
	if err != nil {
		return err
	}
	m.To = []string{to}
	return a.Send(ctx, m, append([]agent.SendOption{agent.Lane(PIURI)}, opts...)...)
}
