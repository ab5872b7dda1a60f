// Package devices implements Devices 1.0, a small protocol of this project: several devices share
// an account at a mediator, and each of them picks up the mail of the account for itself. The
// package has both roles.
//
// A device is a DID. The first device of an account has enrolled by Coordinate Mediation. To add
// another one, call [Ticket] on a device of the account, carry the ticket over, for example as a
// QR code, and call [Join] on the new device:
//
//	ticket, err := devices.Ticket(ctx, phone, mediator, laptop.DID())
//	list, err := devices.Join(ctx, laptop, mediator, ticket)
//
// [List] returns the devices, and [Leave] removes one, for example a lost one. In the mediator,
// pass [Serve] to [agent.NewMux].
//
// # Messages
//
// The PIURI is https://didcomm-go.github.io/protocols/devices/1.0. All messages are authcrypted or
// claim. The answers have the thread of the request.
//
//   - ticket: never sent by itself, but attached to a join. A DIDComm Signed Message from a device
//     of the account to the mediator, with an expires_time and the body {"device": DID}, where
//     DID is the new device.
//   - join: from the new device to the mediator. The body is empty. The attachment, of media type
//     application/didcomm-signed+json, is the ticket. The answer is devices.
//   - leave: from a device of the account. The body is {"device": DID}; without device the
//     sender itself leaves. The answer is left, with the body {"device": DID}. The mail in the box
//     of the device is dropped, and with the last device the account ends.
//   - list: from a device of the account, with an empty body. The answer is devices.
//   - devices: the body is {"devices": [{"did": DID, "joined_time": seconds since 1970}]}.
//
// Problem reports have these codes:
//
//   - e.p.req.ticket: the ticket does not hold, is for another DID, has expired, or was used.
//   - e.p.req.taken: the new device belongs to another account.
//   - e.p.req.not_enroll, e.p.req.blocked and e.p.me.res with the name of a limit, as in package
//     mediation.
//
// # Security
//
// A join needs both sides. The ticket shows that a device of the account wants the new one, and
// the join itself that the new device wants the account: otherwise a thief could make the DID of
// somebody else a device of his own account, and get the mail for that DID. A ticket names one
// DID, the mediator and a time at most 20 minutes away, and is used up by the join. So whoever
// finds a ticket cannot use it, and a device that was removed cannot come back by itself.
//
// Each device can remove each other one. A lost device is removed by any that is left.
package devices

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/mediator"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/did"
	"github.com/didcomm-go/didcomm/protocols/internal/claim"
)

// The URI of the protocol, and its message types.
const (
	PIURI       = "https://didcomm-go.github.io/protocols/devices/1.0"
	TypeTicket  = PIURI + "/ticket"
	TypeJoin    = PIURI + "/join"
	TypeLeave   = PIURI + "/leave"
	TypeLeft    = PIURI + "/left"
	TypeList    = PIURI + "/list"
	TypeDevices = PIURI + "/devices"
)

// Codes of problem reports.
const (
	CodeTicket = "e.p.req.ticket"
	CodeTaken  = "e.p.req.taken"
)

// Errors that users act on; match them with errors.Is.
var (
	// ErrTicket: the mediator does not accept the ticket.
	ErrTicket = errors.New("devices: ticket not accepted")
	// ErrTaken: the new device belongs to another account.
	ErrTaken = errors.New("devices: the device belongs to another account")
	// ErrNotEnrolled: our DID is no device of an account.
	ErrNotEnrolled = errors.New("devices: not enrolled")
)

// Device is a device of an account.
type Device struct {
	DID    string
	Joined time.Time // in whole seconds
}

type (
	deviceBody struct {
		Device string `json:"device,omitzero"`
	}
	deviceItem struct {
		DID    string `json:"did"`
		Joined int64  `json:"joined_time"`
	}
	devicesBody struct {
		Devices []deviceItem `json:"devices"`
	}
)

// Serve registers the role of the mediator in a Mux. m has the state. The logger gets what the
// peer is not told; nil discards that.
func Serve(m *mediator.Mediator, log *slog.Logger) agent.MuxOption {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	s := &server{m, log}
	return agent.Handle(agent.Protocol{
		PIURI: PIURI,
		Roles: []string{"mediator"},
		Messages: map[string]agent.Handler{
			TypeJoin:  agent.HandlerFunc(s.join),
			TypeLeave: agent.HandlerFunc(s.leave),
			TypeList:  agent.HandlerFunc(s.list),
		},
		Ordered: true,
	})
}

type server struct {
	m   *mediator.Mediator
	log *slog.Logger
}

func (s *server) join(ctx context.Context, w agent.Responder, in *agent.Inbound) error {
	if !in.Authenticated() {
		return agent.ErrUnauthenticated
	}
	if len(in.Message.Attachments) != 1 {
		return refusedTicket(fmt.Errorf("%w: %d attachments", message.ErrInvalid, len(in.Message.Attachments)))
	}
	var body deviceBody
	ticket, err := claim.Open(ctx, w.Agent().Packer(), in.Message.Attachments[0], TypeTicket, &body, time.Now(), in.To, s.m.DID())
	switch {
	case errors.Is(err, envelope.ErrTryLater):
		return agent.Retry(0, err)
	case err != nil:
		return refusedTicket(err)
	case did.Canonical(body.Device) != did.Canonical(in.From):
		return refusedTicket(fmt.Errorf("%w: for another device", message.ErrInvalid))
	}
	_, c, err := s.m.Join(ctx, ticket.From, in.From, ticket.ID, ticket.Expires)
	if err != nil {
		return s.problem(ctx, in, err)
	}
	if err := claim.Tell(ctx, w.Agent(), s.m, in.To, c.Loser, in.From); err != nil {
		s.log.WarnContext(ctx, "account not told that it has lost a recipient", "account", c.Loser, "error", err)
	}
	if err := w.Agent().Contacts().Keep(ctx, in.To, in.From); err != nil {
		s.log.WarnContext(ctx, "device not stored as a contact", "from", in.From, "error", err)
	}
	return s.list(ctx, w, in)
}

func (s *server) leave(ctx context.Context, w agent.Responder, in *agent.Inbound) error {
	if !in.Authenticated() {
		return agent.ErrUnauthenticated
	}
	var body deviceBody
	if err := in.Message.DecodeBody(&body); err != nil {
		return message.NewProblem("e.p.msg", err)
	}
	if body.Device == "" {
		body.Device = in.From
	}
	if _, err := s.m.Leave(ctx, in.From, body.Device); err != nil {
		return s.problem(ctx, in, err)
	}
	return reply(ctx, w, TypeLeft, body)
}

func (s *server) list(ctx context.Context, w agent.Responder, in *agent.Inbound) error {
	if !in.Authenticated() {
		return agent.ErrUnauthenticated
	}
	a, err := s.m.Account(ctx, in.From)
	if err != nil {
		return s.problem(ctx, in, err)
	}
	body := devicesBody{Devices: []deviceItem{}}
	for _, d := range a.Devices {
		body.Devices = append(body.Devices, deviceItem{d.DID, d.Joined.Unix()})
	}
	return reply(ctx, w, TypeDevices, body)
}

func reply(ctx context.Context, w agent.Responder, typ string, body any) error {
	m, err := message.New(typ, body)
	if err != nil {
		return err
	}
	return w.Reply(ctx, m)
}

func refusedTicket(err error) *message.Problem {
	return &message.Problem{Code: CodeTicket, Comment: "The ticket is not accepted.", Err: err}
}

// problem returns the error of a Handler for an error of the mediator.
func (s *server) problem(ctx context.Context, in *agent.Inbound, err error) error {
	s.log.InfoContext(ctx, "device request refused", "type", in.Message.Type, "from", in.From, "error", err)
	switch {
	case errors.Is(err, mediator.ErrDenied):
		return refusedTicket(err)
	case errors.Is(err, mediator.ErrTaken), errors.Is(err, mediator.ErrRecipient):
		return &message.Problem{Code: CodeTaken, Comment: "The device belongs to another account.", Err: err}
	}
	if p := mediator.Problem(err); p != nil {
		return p
	}
	return agent.Retry(0, err)
}

// Ticket returns a ticket by which device can join the account of our DID, which is
// agent.Config.DID, at a mediator. The ticket is JSON, and is valid for ten minutes. Errors are
// those of Packer.Pack.
func Ticket(ctx context.Context, a *agent.Agent, mediator, device string) ([]byte, error) {
	att, err := claim.New(ctx, a.Packer(), TypeTicket, a.DID(), mediator, deviceBody{device}, time.Now())
	return att.Data.JSON, err
}

// Join makes our DID a device of the account of the device that has made the ticket, and returns
// all devices. Errors are ErrTicket, ErrTaken, and those of agent.Agent.Request.
func Join(ctx context.Context, a *agent.Agent, mediator string, ticket []byte, opts ...agent.SendOption) ([]Device, error) {
	m, err := message.New(TypeJoin, nil)
	if err != nil {
		return nil, err
	}
	if !jsontext.Value(ticket).IsValid() {
		return nil, fmt.Errorf("%w: not JSON", ErrTicket)
	}
	m.Attachments = []message.Attachment{message.JSONAttachment("ticket", envelope.MediaTypeSigned, ticket)}
	var body devicesBody
	err = request(ctx, a, mediator, m, TypeDevices, &body, opts)
	return body.devices(), err
}

// Leave removes a device from the account of our DID; an empty device is our DID itself. Errors are
// ErrNotEnrolled, and those of agent.Agent.Request.
func Leave(ctx context.Context, a *agent.Agent, mediator, device string, opts ...agent.SendOption) error {
	m, err := message.New(TypeLeave, deviceBody{device})
	if err != nil {
		return err
	}
	return request(ctx, a, mediator, m, TypeLeft, &deviceBody{}, opts)
}

// List returns the devices of the account of our DID. Errors are ErrNotEnrolled, and those of
// agent.Agent.Request.
func List(ctx context.Context, a *agent.Agent, mediator string, opts ...agent.SendOption) ([]Device, error) {
	m, err := message.New(TypeList, nil)
	if err != nil {
		return nil, err
	}
	var body devicesBody
	err = request(ctx, a, mediator, m, TypeDevices, &body, opts)
	return body.devices(), err
}

func (b *devicesBody) devices() []Device {
	var list []Device
	for _, d := range b.Devices {
		list = append(list, Device{d.DID, time.Unix(d.Joined, 0)})
	}
	return list
}

func request(ctx context.Context, a *agent.Agent, to string, m *message.Message, typ string, body any, opts []agent.SendOption) error {
	m.To = []string{to}
	in, err := a.Request(ctx, m, append([]agent.SendOption{agent.ReturnRoute("all")}, opts...)...)
	var p *message.Problem
	switch {
	case errors.As(err, &p):
		switch p.Code {
		case CodeTicket:
			return fmt.Errorf("%w: %w", ErrTicket, err)
		case CodeTaken:
			return fmt.Errorf("%w: %w", ErrTaken, err)
		case mediator.CodeNotEnrolled:
			return fmt.Errorf("%w: %w", ErrNotEnrolled, err)
		}
		return err
	case err != nil:
		return err
	case !message.Is(in.Message, typ):
		return fmt.Errorf("devices: answered by a message of type %.200s", in.Message.Type)
	}
	return in.Message.DecodeBody(body)
}
