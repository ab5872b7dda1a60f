// Package empty implements Empty 1.0 (DIDComm v2.1, The Empty Message): a message that
// has only headers.
//
// Call [Send] to send such a message, for example to open a return route:
//
//	err := empty.Send(ctx, a, mediator, agent.ReturnRoute("all"))
//
// Call [Rotate] to tell a party that a DID of yours has been replaced by another one, and
// [HangUp] to end the relationship with a party.
//
// An agent processes the headers of received empty messages without this package, and
// sends acks that a peer asks for as empty messages. Call [Ack] to send other acks. Pass
// [Handle] to [agent.NewMux] to disclose the protocol. A Mux with an [agent.Fallback] also
// needs Handle, unless the Fallback accepts empty messages.
package empty

import (
	"context"
	"slices"
	"time"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/did"
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

// Rotate tells a party that our DID prior has been replaced by our DID own (DIDComm v2.1, DID
// Rotation). The message is from own, and has the proof in from_prior. to is any DID that the
// party has used with prior. The Packer must hold keys of both DIDs.
//
// Only this message has the proof. If the message may be lost, call Rotate again until the party
// has sent a message to own.
//
// Errors are those of Packer.FromPrior, of contact.Book.Current and of
// [agent.Agent.Send].
func Rotate(ctx context.Context, a *agent.Agent, prior, own, to string, opts ...agent.SendOption) error {
	return announce(ctx, a, prior, own, to, append(slices.Clip(opts), agent.From(own)))
}

// HangUp ends the relationship between our DID own and a party (DIDComm v2.1, Ending a
// Relationship). The message is anonymous, and has the proof in from_prior. to is any DID that
// the party has used with own.
//
// The next message from own to the party takes the end back, unless the message is empty or a
// problem report, which agents send by themselves. The end names no party: a party that gets the
// end can show it to others that know own.
//
// Errors are those of Packer.FromPrior, of contact.Book.Current and of
// [agent.Agent.Send].
func HangUp(ctx context.Context, a *agent.Agent, own, to string, opts ...agent.SendOption) error {
	return announce(ctx, a, own, "", to, append(slices.Clip(opts), agent.Anonymous()))
}

// announce sends a message that proves that prior has been replaced by sub.
func announce(ctx context.Context, a *agent.Agent, prior, sub, to string, opts []agent.SendOption) error {
	// The agent does not know yet where the party is for the new DID.
	now, err := a.Contacts().Current(ctx, did.Base(prior), to)
	if err != nil {
		return err
	}
	m, err := message.New(TypeEmpty, nil)
	if err != nil {
		return err
	}
	if m.FromPrior, err = a.Packer().FromPrior(ctx, prior, sub, time.Now()); err != nil {
		return err
	}
	m.To = []string{now}
	return a.Send(ctx, m, opts...)
}
