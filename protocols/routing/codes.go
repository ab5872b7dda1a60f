package routing

import (
	"context"
	"errors"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/mediator"
	"github.com/didcomm-go/didcomm/agent/message"
)

// codeBody is the code with which the packages of protocols report a malformed body.
const codeBody = "e.m.msg"

// IdentusCodes makes a Mux report two problems with the codes that the mediators of Identus use,
// and that their test suite for mediators demands:
//
//   - message.CodeUnsupported also for a protocol that is supported in another version;
//   - mediator.CodeMalformed for a malformed body, such as a basic message without a text.
//
// See mediator.CodeNotEnrolled for a third one, which needs no option.
func IdentusCodes() agent.MuxOption {
	return agent.Wrap(func(h agent.Handler) agent.Handler {
		return agent.HandlerFunc(func(ctx context.Context, w agent.Responder, in *agent.Inbound) error {
			err := h.HandleMessage(ctx, w, in)
			var p *message.Problem
			if !errors.As(err, &p) {
				return err
			}
			code := p.Code
			switch {
			case message.CodeHasPrefix(p.Code, message.CodeUnsupported):
				code = message.CodeUnsupported
			case p.Code == codeBody:
				code = mediator.CodeMalformed(in.Message.Type)
			}
			if code == p.Code {
				return err
			}
			return &message.Problem{Code: code, Comment: p.Comment, Args: p.Args, EscalateTo: p.EscalateTo, Err: err}
		})
	})
}
