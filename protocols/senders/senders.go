// Package senders implements Senders 1.0, a small protocol of this project: the client of a
// mediator says who may send to it. The package has all roles: the client, the mediator, and the
// sender that a client has given a capability to.
//
// A client calls [Set] to set a list, and [Get] to read it. It calls [MakeCapability] to make a
// capability, and [Give] to give it to somebody, who may then send whatever the list says:
//
//	err := senders.Set(ctx, a, mediator, senders.List{Mode: senders.Allow, DIDs: friends})
//	c, err := senders.MakeCapability(ctx, a, mediator, senders.Capability{Name: "bob"})
//	err = senders.Give(ctx, a, bob, c)
//
// In the mediator, pass [Serve] to [agent.NewMux]. In an agent that is given capabilities, pass
// [Handle]: the agent then keeps the capability with the contact that has given it, and sends it
// with each forward to that contact.
//
// # Messages
//
// The PIURI is https://didcomm-go.github.io/protocols/senders/1.0. All messages are authcrypted. The
// answers have the thread of the request. Times are seconds since 1970.
//
// Between a client and its mediator:
//
//   - get: the body is {"recipient_did": DID}. Without recipient_did, the list of the whole account
//     is meant. The answer is list.
//   - set: the body is that of list. The list replaces the former one. The answer is list.
//   - list: the body is {"recipient_did": DID, "mode": MODE, "refuse_anonymous": BOOLEAN,
//     "dids": [DID]}. All members are optional.
//   - make-capability: the body is {"recipient_did": DID, "name": TEXT, "expires_time": SECONDS}. All
//     members are optional. The answer is capability.
//   - capability: the body is that of make-capability, and "id", "created_time" and "capability",
//     the token. The token is in no other message.
//   - list-capabilities: the body is empty. The answer is capabilities.
//   - capabilities: the body is {"capabilities": [...]}, each as in capability, without the token.
//   - revoke-capability: the body is {"id": ID}. The answer is revoked, with the same body. It is no
//     error if there is no such capability.
//
// Between a client and a sender:
//
//   - give: from the client to the sender. The body is {"capability": TOKEN}; an empty token takes
//     the capability back. There is no answer.
//
// In a forward, the sender adds the member "capability" with the token to the body.
//
// The modes are "open", "allow" and "block". The list of a recipient_did holds instead of the list of
// the account; without a mode, it is removed. With "allow", only those in the list may send, by
// authenticated forwards. With "block", all others may. With refuse_anonymous besides, anonymous
// forwards are refused, too. Whoever has a capability may send, unless the list blocks the DID that
// has authenticated the forward.
//
// Problem reports have these codes:
//
//   - e.p.msg: the body cannot be read.
//   - e.p.req.recipient: the list has what is no DID, or the recipient_did is not one of the
//     account.
//   - e.p.req.not_enroll, e.p.req.blocked and e.p.me.res with the name of a limit, as in package
//     mediation.
//
// # Security
//
// A forward names its recipient, but is anonymous as a rule. So a list holds for forwards that
// are authenticated, and a capability serves all others: it shows that the recipient has agreed,
// and not who sends. A mediator can link the forwards with one capability. A capability that was
// given to one party only can be revoked for that party.
package senders

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/mediator"
	"github.com/didcomm-go/didcomm/agent/message"
)

// The URI of the protocol, and its message types.
const (
	PIURI                = "https://didcomm-go.github.io/protocols/senders/1.0"
	TypeGet              = PIURI + "/get"
	TypeSet              = PIURI + "/set"
	TypeList             = PIURI + "/list"
	TypeMakeCapability   = PIURI + "/make-capability"
	TypeCapability       = PIURI + "/capability"
	TypeListCapabilities = PIURI + "/list-capabilities"
	TypeCapabilities     = PIURI + "/capabilities"
	TypeRevokeCapability = PIURI + "/revoke-capability"
	TypeRevoked          = PIURI + "/revoked"
	TypeGive             = PIURI + "/give"
)

// The modes of a list.
const (
	Open  = mediator.Open  // everybody may send
	Allow = mediator.Allow // only those in the list
	Block = mediator.Block // everybody but those in the list
)

// Errors that users act on; match them with errors.Is.
var (
	// ErrNotEnrolled: the mediator does not know us.
	ErrNotEnrolled = errors.New("senders: not enrolled")
	// ErrRecipient: a DID in a list is none, or a recipient is not one of ours.
	ErrRecipient = errors.New("senders: the mediator refuses a DID")
)

// List says who may send to an account, or to one of its recipients. It is the body of a message
// of type [TypeList] or [TypeSet].
type List struct {
	Recipient       string        `json:"recipient_did,omitzero"` // empty for the account
	Mode            mediator.Mode `json:"mode,omitzero"`
	RefuseAnonymous bool          `json:"refuse_anonymous,omitzero"`
	DIDs            []string      `json:"dids,omitzero"`
}

// Capability lets whoever has its token send to an account, or to one of its recipients.
type Capability struct {
	ID        string // tells the capability from others, and is no secret
	Token     string // only from MakeCapability
	Recipient string // empty for the account
	Name      string // what the owner calls it
	// Created and Expires are in whole seconds. A zero Expires means that the capability does not
	// expire.
	Created, Expires time.Time
}

type (
	capabilityBody struct {
		ID        string `json:"id,omitzero"`
		Token     string `json:"capability,omitzero"`
		Recipient string `json:"recipient_did,omitzero"`
		Name      string `json:"name,omitzero"`
		Created   int64  `json:"created_time,omitzero"`
		Expires   int64  `json:"expires_time,omitzero"`
	}
	capabilitiesBody struct {
		Capabilities []capabilityBody `json:"capabilities"`
	}
	idBody struct {
		ID string `json:"id"`
	}
	giveBody struct {
		Capability string `json:"capability"`
	}
	recipientBody struct {
		Recipient string `json:"recipient_did,omitzero"`
	}
)

func (b capabilityBody) capability() Capability {
	return Capability{b.ID, b.Token, b.Recipient, b.Name, timeOf(b.Created), timeOf(b.Expires)}
}

// timeOf and secondsOf keep the zero time.
func timeOf(seconds int64) time.Time {
	if seconds == 0 {
		return time.Time{}
	}
	return time.Unix(seconds, 0)
}

func secondsOf(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.Unix()
}

// Get returns a list: that of one of our recipients, or that of the account if recipient is empty.
// Errors are ErrNotEnrolled, ErrRecipient, and those of agent.Agent.Request.
func Get(ctx context.Context, a *agent.Agent, mediator, recipient string, opts ...agent.SendOption) (List, error) {
	var l List
	return l, request(ctx, a, mediator, TypeGet, recipientBody{recipient}, TypeList, &l, opts)
}

// Set replaces a list. Errors are those of Get.
func Set(ctx context.Context, a *agent.Agent, mediator string, l List, opts ...agent.SendOption) error {
	return request(ctx, a, mediator, TypeSet, l, TypeList, new(List), opts)
}

// MakeCapability makes a capability like c, of which Recipient, Name and Expires count. Errors are
// those of Get.
func MakeCapability(ctx context.Context, a *agent.Agent, mediator string, c Capability, opts ...agent.SendOption) (Capability, error) {
	var made capabilityBody
	wanted := capabilityBody{Recipient: c.Recipient, Name: c.Name, Expires: secondsOf(c.Expires)}
	err := request(ctx, a, mediator, TypeMakeCapability, wanted, TypeCapability, &made, opts)
	return made.capability(), err
}

// Capabilities returns the capabilities of our account, without tokens. Errors are those of Get.
func Capabilities(ctx context.Context, a *agent.Agent, mediator string, opts ...agent.SendOption) ([]Capability, error) {
	var body capabilitiesBody
	err := request(ctx, a, mediator, TypeListCapabilities, nil, TypeCapabilities, &body, opts)
	var list []Capability
	for _, c := range body.Capabilities {
		list = append(list, c.capability())
	}
	return list, err
}

// RevokeCapability ends a capability. Errors are those of Get.
func RevokeCapability(ctx context.Context, a *agent.Agent, mediator, id string, opts ...agent.SendOption) error {
	return request(ctx, a, mediator, TypeRevokeCapability, idBody{id}, TypeRevoked, &idBody{}, opts)
}

// Give gives a capability to a party, which sends it with its forwards from now on. A Capability
// without a token takes the last one back. Errors are those of agent.Agent.Send.
func Give(ctx context.Context, a *agent.Agent, to string, c Capability, opts ...agent.SendOption) error {
	m, err := message.New(TypeGive, giveBody{c.Token})
	if err != nil {
		return err
	}
	m.To = []string{to}
	return a.Send(ctx, m, opts...)
}

func request(ctx context.Context, a *agent.Agent, to, typ string, body any, answer string, v any, opts []agent.SendOption) error {
	m, err := message.New(typ, body)
	if err != nil {
		return err
	}
	m.To = []string{to}
	in, err := a.Request(ctx, m, append([]agent.SendOption{agent.ReturnRoute("all")}, opts...)...)
	var p *message.Problem
	switch {
	case errors.As(err, &p) && p.Code == mediator.CodeNotEnrolled:
		return fmt.Errorf("%w: %w", ErrNotEnrolled, err)
	case errors.As(err, &p) && p.Code == mediator.Problem(mediator.ErrRecipient).Code:
		return fmt.Errorf("%w: %w", ErrRecipient, err)
	case err != nil:
		return err
	case !message.Is(in.Message, answer):
		return fmt.Errorf("senders: answered by a message of type %.200s", in.Message.Type)
	}
	return in.Message.DecodeBody(v)
}
