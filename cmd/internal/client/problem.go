package client

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/did/didpeer"
	"github.com/didcomm-go/didcomm/protocols/empty"
	"github.com/didcomm-go/didcomm/protocols/report"
)

// mux takes in what peers answer to a Client, besides the answers that it waits
// for.
func (c *Client) mux() *agent.Mux {
	return agent.NewMux(empty.Handle(), report.Handle(func(_ context.Context, _ agent.Responder, in *agent.Inbound, p *message.Problem) error {
		c.report(in, p)
		return nil
	}))
}

// report takes a report if it is about the message that was sent, and of a recipient.
func (c *Client) report(in *agent.Inbound, p *message.Problem) bool {
	by := in.From
	if p := in.Metadata.FromPrior; p != nil && p.Sub == by {
		by = p.Iss // it goes by another DID since
	}
	if c.sent == nil || !slices.ContainsFunc(c.sent.To, func(to string) bool { return didpeer.SameParty(to, by) }) {
		return false
	}
	about := func(id string) bool {
		return id != "" && (strings.EqualFold(id, c.sent.ID) || strings.EqualFold(id, c.sent.Thread()))
	}
	if !about(in.Message.ThreadID) && !about(in.Message.ParentThreadID) {
		return false
	}
	select {
	case c.problems <- p:
	default: // one is enough
	}
	return true
}

// problem is the error of a problem that was reported about the message, nil if none
// was. After Close all that has come in was looked at.
func (c *Client) problem() error {
	select {
	case p := <-c.problems:
		return reported(p)
	default:
		return nil
	}
}

func reported(p *message.Problem) error {
	code := cmp.Or(p.Code, "no code")
	if text := p.Text(); text != "" {
		return fmt.Errorf("the agent reports a problem: %s: %s", code, text)
	}
	return fmt.Errorf("the agent reports a problem: %s", code)
}
