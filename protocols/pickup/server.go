package pickup

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/mediator"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/agent/store"
)

// ServeOption is an option of [Serve].
type ServeOption func(*server)

// ServeLimits are the limits of [Serve]. Fields of 0 or less take the defaults.
type ServeLimits struct {
	MaxMessages int           // in a delivery; default 100
	MaxBytes    int64         // of the packets in a delivery, which has one packet in any case; default 1 MiB
	Lease       time.Duration // how long delivered mail is not pushed again; default 1 minute
	Window      int           // pushed messages without an ack, of a live connection; default 32
	WindowBytes int64         // of their packets; default 4 MiB
}

// Limit sets the limits of Serve.
func Limit(l ServeLimits) ServeOption { return func(s *server) { s.limits = l } }

// Clock sets the clock of Serve. The default is time.Now.
func Clock(now func() time.Time) ServeOption { return func(s *server) { s.now = now } }

// suspectTries is after how many deliveries without an ack a message is a suspect, which is
// delivered last and alone.
const suspectTries = 5

// server is the mediator's side of the protocol.
type server struct {
	m      *mediator.Mediator
	limits ServeLimits
	now    func() time.Time
	lives  lives
}

// Serve registers the mediator's side of the protocol, in both versions and all spellings.
//
// The requests status-request, delivery-request and messages-received are in custody
// (agent.Protocol.Custody): they leave no trace in the inbox. A live-delivery-change goes
// through the inbox, so that nobody can use a copy of one to become the newest live
// connection.
func Serve(m *mediator.Mediator, opts ...ServeOption) agent.MuxOption {
	s := &server{m: m, now: time.Now}
	for _, opt := range opts {
		opt(s)
	}
	l := &s.limits
	l.MaxMessages = cmp.Or(max(l.MaxMessages, 0), 100)
	l.MaxBytes = cmp.Or(max(l.MaxBytes, 0), 1<<20)
	l.Lease = cmp.Or(max(l.Lease, 0), time.Minute)
	l.Window = cmp.Or(max(l.Window, 0), 32)
	l.WindowBytes = cmp.Or(max(l.WindowBytes, 0), 4<<20)
	s.lives.sessions = make(map[string]*session)
	return func(mux *agent.Mux) {
		for _, piuri := range []string{PIURI3, PIURIShort, PIURI4} {
			agent.Handle(agent.Protocol{
				PIURI: piuri,
				Roles: []string{"mediator"},
				Messages: map[string]agent.Handler{
					piuri + "/" + NameLiveDeliveryChange: s.handler(s.liveDeliveryChange),
				},
				Custody: map[string]agent.Handler{
					piuri + "/" + NameStatusRequest:    s.handler(s.statusRequest),
					piuri + "/" + NameDeliveryRequest:  s.handler(s.deliveryRequest),
					piuri + "/" + NameMessagesReceived: s.handler(s.messagesReceived),
				},
			})(mux)
		}
	}
}

// request is a request of a device.
type request struct {
	agent.Responder
	in   *agent.Inbound
	form form
	body requestBody
	box  *mediator.Box
	conn *agent.Connection // nil if the connection ends with the request
}

func (s *server) handler(f func(context.Context, *request) error) agent.Handler {
	return agent.HandlerFunc(func(ctx context.Context, w agent.Responder, in *agent.Inbound) error {
		if !in.Authenticated() {
			return message.NewProblem("e.p.trust", agent.ErrUnauthenticated)
		}
		form, err := formOf(in.Message)
		if err != nil {
			return message.NewProblem("e.m.msg", err)
		}
		r := &request{Responder: w, in: in, form: form, box: s.m.Box(in.From), conn: w.Connection()}
		if err := in.Message.DecodeBody(&r.body); err != nil {
			return message.NewProblem("e.m.msg", err)
		}
		err = f(ctx, r)
		if p := mediator.Problem(err); p != nil {
			return p
		}
		return err
	})
}

// answer sends m on the connection of the request. Without such a connection nothing is sent,
// since an answer says how the queue is now, and must not be in a queue itself.
func (r *request) answer(ctx context.Context, m *message.Message) error {
	m.ThreadID = r.in.Message.Thread()
	switch {
	case r.conn != nil && r.in.Message.ReturnRoute != "none":
		if err := r.conn.Push(ctx, m); err != nil && !errors.Is(err, agent.ErrNoRoute) {
			return err
		}
		return nil
	case r.conn == nil && (r.in.Message.ReturnRoute == "all" || r.in.Message.ReturnRoute == "thread"):
		return r.Reply(ctx, m)
	}
	return nil
}

func (s *server) statusRequest(ctx context.Context, r *request) error {
	return s.answerStatus(ctx, r, s.lives.of(r) != nil)
}

func (s *server) answerStatus(ctx context.Context, r *request, live bool) error {
	st, err := r.box.Status(ctx, r.body.recipients()...)
	if err != nil {
		return err
	}
	m, err := r.form.message(NameStatus, newStatus(r.form, r.body.RecipientDID, st, live, s.now()))
	if err != nil {
		return err
	}
	return r.answer(ctx, m)
}

func (s *server) deliveryRequest(ctx context.Context, r *request) error {
	mail, err := r.box.Lease(ctx, store.Pick{
		N:     r.body.limit(r.form, s.limits.MaxMessages),
		Bytes: s.limits.MaxBytes,
		For:   r.body.recipients(),
		Held:  s.lives.of(r) == nil, // a live connection has got what is leased
		Tries: suspectTries,
	}, s.limits.Lease)
	if err != nil {
		return err
	}
	if len(mail) == 0 && !r.form.v4 {
		return s.answerStatus(ctx, r, s.lives.of(r) != nil)
	}
	m, err := newDelivery(r.form, r.body.RecipientDID, mail)
	if err != nil {
		return err
	}
	if err := r.keepContact(ctx); err != nil {
		return err
	}
	return r.answer(ctx, m)
}

// keepContact makes an enrolled device a contact: the answers to a stranger are short
// (agent.Config.StrangerBytes). Enrolment alone does not: any number of DIDs can enroll and never
// come back.
func (r *request) keepContact(ctx context.Context) error {
	book := r.Agent().Contacts()
	if known, err := book.IsContact(ctx, r.in.To, r.in.From); known || err != nil {
		return err
	}
	if err := book.Keep(ctx, r.in.To, r.in.From); err != nil && !errors.Is(err, store.ErrFull) {
		return err
	}
	return nil
}

func (s *server) messagesReceived(ctx context.Context, r *request) error {
	ids := r.body.MessageIDList
	if len(ids) > maxIDs {
		return &message.Problem{Code: "e.m.msg", Comment: "More than {1} ids.", Args: []string{"1000"}}
	}
	live := s.lives.device(r.in.From)
	ids = slices.DeleteFunc(live.named(ids), func(id string) bool { return id == "" || len(id) > maxID })
	if len(ids) > 0 {
		if _, err := r.box.Ack(ctx, ids...); err != nil {
			return err
		}
		live.acked(ids)
	}
	if r.form.v4 {
		_, err := r.box.Status(ctx) // only for the rights, if no id was acked
		return err
	}
	return s.answerStatus(ctx, r, s.lives.of(r) != nil)
}
