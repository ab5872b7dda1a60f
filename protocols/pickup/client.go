package pickup

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/contact"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/did"
)

// MailID is the id by which a mediator names mail that it holds: the id of the attachment in
// a delivery. It is not the id of the message in the mail, which the mediator does not know.
type MailID string

// Mail is a packet that a mediator has delivered and still holds.
type Mail struct {
	ID     MailID
	Packet agent.Packet
}

// Source is a mediator, and the device that collects from it.
type Source struct {
	Mediator string // DID of the mediator
	DID      string // our DID that is enrolled there; empty for agent.Config.DID
}

func (s Source) own(a *agent.Agent) string {
	if s.DID != "" {
		return s.DID
	}
	return a.DID()
}

// Status is what a mediator says about the mail that it holds.
type Status struct {
	Count  int   // messages
	Bytes  int64 // of all messages; 0 if the mediator does not tell
	Oldest time.Time
	Newest time.Time
	Live   bool // the mediator pushes mail on the connection of the request
}

// The largest number of attachments in a delivery that are looked at. Those beyond stay at
// the mediator. A mediator should never send more than it was asked for.
const maxAttachments = 200

var errAnswer = errors.New("pickup: the mediator has answered with something else")

// RequestStatus asks how much mail waits: all, or the mail for recipient if that is not
// empty. Errors are those of [agent.Agent.RequestAny].
func RequestStatus(ctx context.Context, a *agent.Agent, s Source, recipient string) (Status, error) {
	answer, err := s.request(ctx, a, NameStatusRequest, func(form) any { return recipientBody(recipient) })
	if err != nil {
		return Status{}, err
	}
	st, ok := readStatus(answer.Message)
	if !ok {
		return Status{}, fmt.Errorf("%w: %s", errAnswer, answer.Message.Type)
	}
	return st, nil
}

// Request asks for at most n messages: any, or those for recipient if that is not empty. The
// mediator holds them until [Received]. Errors are those of [agent.Agent.RequestAny].
func Request(ctx context.Context, a *agent.Agent, s Source, n int, recipient string) ([]Mail, error) {
	mail, _, err := s.deliver(ctx, a, n, recipient)
	return mail, err
}

func (s Source) deliver(ctx context.Context, a *agent.Agent, n int, recipient string) ([]Mail, form, error) {
	answer, err := s.request(ctx, a, NameDeliveryRequest, func(f form) any { return f.deliveryRequest(n, recipient) })
	if err != nil {
		return nil, form{}, err
	}
	f, err := formOf(answer.Message)
	if err != nil {
		return nil, form{}, err
	}
	if _, ok := readStatus(answer.Message); ok {
		return nil, f, nil // 3.0, an empty queue
	}
	if !isNamed(answer.Message, NameDelivery) {
		return nil, form{}, fmt.Errorf("%w: %s", errAnswer, answer.Message.Type)
	}
	return readDelivery(answer.Message), f, nil
}

// Received tells the mediator that it need not hold mail any longer. Call it for mail that
// is durable here. Errors are those of [agent.Agent.Send] and [agent.Agent.Request].
func Received(ctx context.Context, a *agent.Agent, s Source, ids ...MailID) error {
	return s.received(ctx, a, s.known(ctx, a)[0], ids)
}

// received acks mail in a version. A mediator should answer in 3.0, and need not: what it has
// not heard of comes again.
func (s Source) received(ctx context.Context, a *agent.Agent, f form, ids []MailID) error {
	for part := range slices.Chunk(ids, maxAttachments) {
		m, err := s.receivedMessage(a, f, part)
		if err != nil {
			return err
		}
		if f.v4 {
			err = a.Send(ctx, m, agent.Once())
		} else if _, err = a.Request(ctx, m); errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
			err = nil
		}
		if err != nil {
			return fmt.Errorf("pickup: %s: %w", NameMessagesReceived, err)
		}
	}
	return nil
}

func (s Source) receivedMessage(a *agent.Agent, f form, ids []MailID) (*message.Message, error) {
	list := make([]string, 0, len(ids))
	for _, id := range ids {
		list = append(list, string(id))
	}
	m, err := f.message(NameMessagesReceived, receivedBody{list})
	if err != nil {
		return nil, err
	}
	m.From, m.To = s.own(a), []string{s.Mediator}
	if !f.v4 {
		m.ReturnRoute = "all"
	}
	return m, nil
}

// forms are the versions that we speak, best first.
func forms() []form { return []form{{PIURI4, true}, {PIURI3, false}, {PIURIShort, false}} }

// known returns the forms, first those that the mediator is known to speak.
func (s Source) known(ctx context.Context, a *agent.Agent) []form {
	list := forms()
	d, err := a.Contacts().Dialect(ctx, s.own(a), did.Base(s.Mediator))
	if err != nil {
		return list
	}
	rank := func(f form) int {
		switch {
		case slices.Contains(d.Speaks, f.piuri):
			return 0
		case slices.Contains(d.Lacks, f.piuri):
			return 2
		}
		return 1
	}
	slices.SortStableFunc(list, func(x, y form) int { return rank(x) - rank(y) })
	return list
}

// request sends a request in the versions that the mediator may speak.
func (s Source) request(ctx context.Context, a *agent.Agent, name string, body func(form) any) (agent.Answer, error) {
	var list []*message.Message
	for _, f := range forms() {
		m, err := f.message(name, body(f))
		if err != nil {
			return agent.Answer{}, err
		}
		m.From = s.own(a)
		list = append(list, m)
	}
	answer, err := a.RequestAny(ctx, s.Mediator, list)
	if err != nil {
		return agent.Answer{}, fmt.Errorf("pickup: %s: %w", name, err)
	}
	return answer, nil
}

// connect opens a connection and makes it live.
func (s Source) connect(ctx context.Context, a *agent.Agent) (*agent.Connection, form, error) {
	var err error
	for _, f := range s.known(ctx, a) {
		var m *message.Message
		if m, err = f.message(NameLiveDeliveryChange, liveBody{true}); err != nil {
			return nil, f, err
		}
		m.From, m.To = s.own(a), []string{s.Mediator}
		var conn *agent.Connection
		var in *agent.Inbound
		if conn, in, err = a.Connect(ctx, m); err == nil {
			st, ok := readStatus(in.Message)
			if !ok || !st.Live {
				return nil, f, fmt.Errorf("%w: live mode is not on", errAnswer)
			}
			a.Learn(ctx, in, func(d *contact.Dialect) { d.Spoke(f.piuri) })
			return conn, f, nil
		}
		if p := (*message.Problem)(nil); !errors.As(err, &p) || !agent.IsUnsupported(p) {
			break
		}
	}
	return nil, form{}, fmt.Errorf("pickup: %s: %w", NameLiveDeliveryChange, err)
}

func recipientBody(recipient string) any {
	var b deliveryBody
	if recipient != "" {
		b.RecipientDID = &recipient
	}
	return b
}

func (f form) deliveryRequest(n int, recipient string) any {
	b := struct {
		Limit        int     `json:"limit,omitzero"`
		CountLimit   int     `json:"message_count_limit,omitzero"`
		RecipientDID *string `json:"recipient_did,omitempty"`
	}{}
	if recipient != "" {
		b.RecipientDID = &recipient
	}
	if n = max(n, 1); f.v4 {
		b.CountLimit = n
	} else {
		b.Limit = n
	}
	return b
}

// isNamed reports whether the type of m ends with a name.
func isNamed(m *message.Message, name string) bool {
	t, err := message.ParseType(m.Type)
	if err != nil {
		return false
	}
	return message.Is(m, t.PIURI()+"/"+name)
}

// readStatus reads a status. Members that make no sense count as absent.
func readStatus(m *message.Message) (st Status, ok bool) {
	f, err := formOf(m)
	if err != nil || !isNamed(m, NameStatus) {
		return Status{}, false
	}
	var b struct {
		Count  jsontext.Value `json:"message_count"`
		Bytes  jsontext.Value `json:"total_bytes"`
		Oldest jsontext.Value `json:"oldest_received_time"`
		Newest jsontext.Value `json:"newest_received_time"`
		Live   jsontext.Value `json:"live_delivery"`
	}
	if m.DecodeBody(&b) != nil {
		return Status{}, false
	}
	number := func(v jsontext.Value) int64 {
		n, err := strconv.ParseFloat(string(v), 64)
		if err != nil || !(n >= 0 && n < 1<<53) {
			return 0
		}
		return int64(n)
	}
	instant := func(v jsontext.Value) time.Time {
		switch n := number(v); {
		case n == 0:
			return time.Time{}
		case f.v4:
			return time.UnixMilli(n)
		default:
			return time.Unix(n, 0)
		}
	}
	live := new(boolean)
	if live.UnmarshalJSON(b.Live) != nil {
		*live = false
	}
	return Status{int(number(b.Count)), number(b.Bytes), instant(b.Oldest), instant(b.Newest), bool(*live)}, true
}

// readDelivery returns the mail in a delivery. An attachment without an id can be taken, and
// cannot be acked. An attachment without content is mail that cannot be opened.
func readDelivery(m *message.Message) []Mail {
	var list []Mail
	for _, a := range m.Attachments[:min(len(m.Attachments), maxAttachments)] {
		data, _ := a.Data.Bytes()
		list = append(list, Mail{MailID(a.ID), agent.Packet{Data: data}})
	}
	return list
}
