package agent_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/agenttest"
	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/transport"
)

// request starts a Request to a stranger, and returns the message that was sent and a
// channel for the result.
func request(t *testing.T, a *agent.Agent, s *stranger, m *message.Message, opts ...agent.SendOption) (*message.Message, <-chan result) {
	t.Helper()
	done := make(chan result, 1)
	go func() {
		in, err := a.Request(t.Context(), m, opts...)
		done <- result{in, err}
	}()
	return s.next(t).Message, done
}

type result struct {
	in  *agent.Inbound
	err error
}

// Some messages answer a Request, and others go to the Mux.
func TestRequestAnswers(t *testing.T) {
	anon := []envelope.PackOption{envelope.ContentEncryption(envelope.A256GCM)}
	for name, test := range map[string]struct {
		asked   func(*message.Message) // the request
		child   bool                   // a child thread answers it
		other   bool                   // a third party answers
		typ     string
		edit    func(m, asked *message.Message)
		opts    []envelope.PackOption
		answers bool
	}{
		"the party asked":      {edit: func(m, q *message.Message) { m.ThreadID = q.ID }, answers: true},
		"thread by case":       {asked: func(q *message.Message) { q.ID = "abc" }, edit: func(m, _ *message.Message) { m.ThreadID = "ABC" }, answers: true},
		"running thread":       {asked: func(q *message.Message) { q.ThreadID = "t" }, edit: func(m, _ *message.Message) { m.ThreadID = "t" }, answers: true},
		"a third party":        {other: true, edit: func(m, q *message.Message) { m.ThreadID = q.ID }},
		"a claim":              {opts: anon, edit: func(m, q *message.Message) { m.ThreadID = q.ID }},
		"another thread":       {edit: func(m, _ *message.Message) { m.ThreadID = "x" }},
		"no thread":            {edit: func(*message.Message, *message.Message) {}},
		"an ack":               {typ: emptyType, edit: func(m, q *message.Message) { m.ThreadID, m.Ack = q.ID, []string{q.ID} }},
		"an ack asked for":     {typ: emptyType, asked: func(q *message.Message) { q.PleaseAck = []string{""} }, edit: func(m, q *message.Message) { m.ThreadID, m.Ack = q.ID, []string{q.ID} }, answers: true},
		"a thread's child":     {edit: func(m, q *message.Message) { m.ParentThreadID = q.ID }},
		"a child's answer":     {child: true, edit: func(m, q *message.Message) { m.ParentThreadID = q.ID }, answers: true},
		"a child by thid":      {child: true, edit: func(m, q *message.Message) { m.ThreadID, m.ParentThreadID = "x", q.ID }, answers: true},
		"or the thread itself": {child: true, edit: func(m, q *message.Message) { m.ThreadID = q.ID }, answers: true},
		"another's child":      {child: true, edit: func(m, _ *message.Message) { m.ParentThreadID = "x" }},
		"a third's child":      {child: true, other: true, edit: func(m, q *message.Message) { m.ParentThreadID = q.ID }},
		"a child of a claim":   {child: true, opts: anon, edit: func(m, q *message.Message) { m.ParentThreadID = q.ID }},
		"a child of a thread":  {child: true, asked: func(q *message.Message) { q.ThreadID = "t" }, edit: func(m, _ *message.Message) { m.ParentThreadID = "T" }, answers: true},
		"an empty child":       {child: true, typ: emptyType, edit: func(m, q *message.Message) { m.ParentThreadID = q.ID }},
		"one that echoes all":  {edit: func(m, q *message.Message) { m.ThreadID, m.ParentThreadID = q.ID, q.ID }, answers: true},
	} {
		t.Run(name, func(t *testing.T) {
			n, got := agenttest.NewNet(), make(inbox, 1)
			a, s := n.Agent(t, got), newStranger(t, n, "mem://stranger")
			q := newMessage(t, s.DID)
			if test.asked != nil {
				test.asked(q)
			}
			var opts []agent.SendOption
			if test.child {
				opts = append(opts, agent.AnsweredByChild())
			}
			asked, done := request(t, a, s, q, opts...)
			who := s
			if test.other {
				who = newStranger(t, n)
			}
			typ := test.typ
			if typ == "" {
				typ = chatType
			}
			m := who.message(t, a, typ, func(m *message.Message) { test.edit(m, asked) })
			who.give(t, a, new(call), m, test.opts...)
			if !test.answers {
				if in := got.next(t); in.Message.ID != m.ID {
					t.Errorf("the handler got %s", in.Message.ID)
				}
				// The right answer ends the Request in any case.
				m = s.message(t, a, chatType, func(m *message.Message) { m.ThreadID = asked.Thread() })
				s.give(t, a, new(call), m)
			}
			r := <-done
			if r.err != nil || r.in.Message.ID != m.ID || r.in.From != s.DID {
				t.Errorf("answer %+v, error %v", r.in, r.err)
			}
			if len(got) != 0 {
				t.Error("the handler got the answer, too")
			}
		})
	}
}

// An agent that has rotated its DID after a Request answers from the new DID.
func TestRequestAnsweredAfterRotation(t *testing.T) {
	n := agenttest.NewNet()
	a, s, new1, thief := n.Agent(t, make(inbox, 2)), newStranger(t, n, "mem://stranger"), newStranger(t, n), newStranger(t, n)
	asked, done := request(t, a, s, newMessage(t, s.DID))
	jwt, err := s.Packer.FromPrior(t.Context(), s.DID, new1.DID, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	stolen := thief.message(t, a, chatType, func(m *message.Message) { m.ThreadID, m.FromPrior = asked.ID, jwt })
	if err := serve(t.Context(), a, new(call), thief.pack(t, stolen)); err == nil {
		t.Error("another's rotation was accepted")
	}
	new1.give(t, a, new(call), new1.message(t, a, chatType, func(m *message.Message) { m.ThreadID, m.FromPrior = asked.ID, jwt }))
	r := <-done
	if r.err != nil || r.in.From != new1.DID || r.in.Metadata.FromPrior == nil || r.in.Metadata.FromPrior.Iss != s.DID {
		t.Errorf("answer %+v, error %v", r.in, r.err)
	}
}

func TestRequestProblem(t *testing.T) {
	for name, place := range map[string]func(m *message.Message, thread string){
		"as a child thread": func(m *message.Message, thread string) { m.ParentThreadID = thread },
		"in the thread":     func(m *message.Message, thread string) { m.ThreadID = thread },
		"both":              func(m *message.Message, thread string) { m.ThreadID, m.ParentThreadID = "x", thread },
	} {
		t.Run(name, func(t *testing.T) {
			n := agenttest.NewNet()
			a, s := n.Agent(t, nil), newStranger(t, n, "mem://stranger")
			asked, done := request(t, a, s, newMessage(t, s.DID))
			s.give(t, a, new(call), s.message(t, a, reportType, func(m *message.Message) {
				place(m, asked.ID)
				m.Body = []byte(`{"code":"e.p.xfer.too-far","comment":"{1} is too far.","args":["Rome"]}`)
			}))
			r := <-done
			var p *message.Problem
			if !errors.As(r.err, &p) || p.Code != "e.p.xfer.too-far" || p.Text() != "Rome is too far." {
				t.Errorf("error %v", r.err)
			}
		})
	}
}

func TestRequestReturnRoute(t *testing.T) {
	for name, test := range map[string]struct {
		opts []agent.SendOption
		edit func(*message.Message)
		want string
	}{
		"default": {want: "all"},
		"option":  {opts: []agent.SendOption{agent.ReturnRoute("none")}, want: "none"},
		"header":  {edit: func(m *message.Message) { m.ReturnRoute = "thread" }, want: "thread"},
	} {
		t.Run(name, func(t *testing.T) {
			n := agenttest.NewNet()
			a, s := n.Agent(t, nil), newStranger(t, n, "mem://stranger")
			q := newMessage(t, s.DID)
			if test.edit != nil {
				test.edit(q)
			}
			asked, done := request(t, a, s, q, test.opts...)
			if asked.ReturnRoute != test.want {
				t.Errorf("return_route %q, want %q", asked.ReturnRoute, test.want)
			}
			s.give(t, a, new(call), s.message(t, a, chatType, func(m *message.Message) { m.ThreadID = asked.ID }))
			<-done
		})
	}
}

// An answer on the connection of a mediator would be lost. A Request therefore asks for
// it only if its first route leads to the recipient.
func TestRequestReturnRouteByFirstWay(t *testing.T) {
	n := agenttest.NewNet()
	mediator := newStranger(t, n, "mem://mediator")
	a := n.Agent(t, nil)
	for want, endpoints := range map[string][]string{
		"":    {mediator.DID, "mem://direct"},
		"all": {"mem://direct", mediator.DID},
	} {
		s := &stranger{Party: agenttest.NewParty(t, endpoints...), got: make(chan *envelope.Unpacked, 1)}
		err := n.Mem.Handle("mem://direct", transport.HandlerFunc(func(ctx context.Context, _ transport.Replier, p transport.Packet) error {
			s.got <- s.open(t, p)
			return nil
		}))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() {
			_, err := a.Request(ctx, newMessage(t, s.DID))
			done <- err
		}()
		var u *envelope.Unpacked
		if want == "" {
			inner, err := mediator.next(t).Message.Attachments[0].Data.Bytes()
			if err != nil {
				t.Fatal(err)
			}
			u = s.open(t, transport.Packet{Data: inner})
		} else {
			u = s.next(t)
		}
		if got := u.Message.ReturnRoute; got != want {
			t.Errorf("return_route %q to %q, want %q", got, endpoints, want)
		}
		cancel()
		<-done
	}
}

func TestRequestFails(t *testing.T) {
	refused := errors.New("refused for a reason")
	for name, test := range map[string]struct {
		retryable, cancel bool
		want              []error
	}{
		"for good":            {retryable: false, want: []error{agent.ErrUndelivered, refused}},
		"before its deadline": {retryable: true, want: []error{agent.ErrUndelivered, refused}},
		"when cancelled":      {retryable: true, cancel: true, want: []error{context.Canceled, refused}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := agenttest.NewNet()
				a := n.Agent(t, nil, withSender(func(_ context.Context, endpoint string, _ transport.Packet) error {
					return &transport.SendError{Endpoint: endpoint, Retryable: test.retryable, Err: refused}
				}))
				s := &stranger{Party: agenttest.NewParty(t, "test://stranger")}
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				defer cancel()
				if test.cancel {
					time.AfterFunc(3*time.Second, cancel)
				}
				_, err := a.Request(ctx, newMessage(t, s.DID))
				for _, want := range test.want {
					wantError(t, "Request", err, want)
				}
			})
		})
	}
}

func TestRequestDefaultDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := agenttest.NewNet()
		a, s := n.Agent(t, nil), newStranger(t, n, "mem://stranger")
		start := time.Now()
		_, err := a.Request(context.Background(), newMessage(t, s.DID))
		wantError(t, "Request", err, context.DeadlineExceeded)
		if d := time.Since(start); d != 30*time.Second {
			t.Errorf("waited %v", d)
		}
	})
}

func TestRequestRefused(t *testing.T) {
	n := agenttest.NewNet()
	a, s, other := n.Agent(t, nil, agenttest.Configure(func(cfg *agent.Config) { cfg.MaxRequests = 1 })), newStranger(t, n, "mem://stranger"), newStranger(t, n, "mem://other")
	_, err := a.Request(t.Context(), newMessage(t, s.DID), agent.Anonymous())
	wantError(t, "anonymous", err, agent.ErrUnauthenticated)
	if _, err = a.Request(t.Context(), newMessage(t, s.DID, other.DID)); err == nil {
		t.Error("a request to two was sent")
	}
	if _, err = a.Request(t.Context(), newMessage(t)); err == nil {
		t.Error("a request to nobody was sent")
	}
	asked, done := request(t, a, s, newMessage(t, s.DID))
	_, err = a.Request(t.Context(), newMessage(t, other.DID))
	wantError(t, "one too many", err, agent.ErrBusy)
	s.give(t, a, new(call), s.message(t, a, chatType, func(m *message.Message) { m.ThreadID = asked.ID }))
	<-done
}

// A message for another party that is passed on to us does not answer a Request, nor does
// the ack of another message.
func TestRequestNotAnswered(t *testing.T) {
	for name, test := range map[string]struct {
		typ  string
		edit func(*message.Message)
		opts []envelope.PackOption
	}{
		"passed on":   {chatType, func(m *message.Message) { m.To = []string{"did:example:carol"} }, []envelope.PackOption{envelope.Signed()}},
		"to nobody":   {chatType, func(m *message.Message) { m.To = nil }, []envelope.PackOption{envelope.Signed()}},
		"another ack": {emptyType, func(m *message.Message) { m.Ack = []string{"older"} }, nil},
		"no ack":      {emptyType, func(m *message.Message) {}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			n := agenttest.NewNet()
			a, bob := n.Agent(t, nil), newStranger(t, n, "mem://bob")
			m := newMessage(t, bob.DID)
			m.ThreadID, m.PleaseAck = "thread", []string{""}
			ctx, cancel := context.WithCancel(t.Context())
			failed := make(chan error, 1)
			go func() {
				_, err := a.Request(ctx, m)
				failed <- err
			}()
			bob.next(t)
			answer := bob.message(t, a, test.typ, func(m *message.Message) { m.ThreadID = "thread"; test.edit(m) })
			opts := test.opts
			if opts != nil {
				opts = append(opts, envelope.SignBy(bob.DID))
			}
			bob.give(t, a, new(call), answer, opts...)
			cancel()
			wantError(t, "Request", <-failed, context.Canceled)
		})
	}
}
