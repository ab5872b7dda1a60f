package agent_test

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/agenttest"
	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/transport"
	"github.com/didcomm-go/didcomm/transport/netguard"
	"github.com/didcomm-go/didcomm/transport/wstransport"
)

const forwardType = "https://didcomm.org/routing/2.0/forward"

// anonymously packs a message with anoncrypt.
var anonymously = envelope.ContentEncryption(envelope.A256GCM)

// custodian returns a Mux in which h has custody of forwards and chats.
func custodian(h agent.Handler) *agent.Mux {
	return agent.NewMux(
		agent.Handle(agent.Protocol{PIURI: "https://didcomm.org/routing/2.0", Custody: map[string]agent.Handler{forwardType: h}}),
		agent.Handle(agent.Protocol{PIURI: "https://example.org/chat/1.0", Custody: map[string]agent.Handler{chatType: h}}),
	)
}

// untouched is an Inbox that must not be called.
type untouched struct {
	store.Inbox
	t *testing.T
}

func (u untouched) Add(context.Context, store.Received, time.Duration) (*store.Lease[store.Received], *store.Known, error) {
	u.t.Error("the inbox was asked to take a message")
	return nil, nil, errors.New("not here")
}

func noInbox(t *testing.T) agenttest.Option {
	return agenttest.Configure(func(cfg *agent.Config) { cfg.Store = storeOf(nil, untouched{store.NewInbox(store.InboxConfig{}), t}) })
}

// The answer to a POST says whether the handler has accepted the message. The inbox is
// not used, and a message that arrives again is handled again.
func TestCustodyHTTP(t *testing.T) {
	for name, test := range map[string]struct {
		err        error
		panics     bool
		status     int
		retryAfter string
		code       string // of the signed report in the response
	}{
		"taken in":        {status: http.StatusAccepted},
		"later":           {err: agent.Retry(7*time.Second, errors.New("full")), status: http.StatusServiceUnavailable, retryAfter: "7"},
		"soon":            {err: agent.Retry(0, errors.New("full")), status: http.StatusServiceUnavailable, retryAfter: "1"},
		"a later problem": {err: agent.Retry(7*time.Second, message.NewProblem("e.p.x", nil)), status: http.StatusServiceUnavailable, retryAfter: "7"},
		"failed":          {err: errors.New("disk on fire"), status: http.StatusServiceUnavailable, retryAfter: "10"},
		"over a rate":     {err: agent.RetryLimit(7*time.Second, "address.rate", true, errors.New("secret cause")), status: http.StatusTooManyRequests, retryAfter: "7"},
		"over a quota":    {err: agent.RetryLimit(7*time.Second, "box.bytes", false, errors.New("secret cause")), status: http.StatusServiceUnavailable, retryAfter: "7"},
		"refused":         {err: message.NewProblem("e.p.x", errors.New("secret cause")), status: http.StatusOK, code: "e.p.x"},
		"panic":           {panics: true, status: http.StatusServiceUnavailable, retryAfter: "10"},
	} {
		t.Run(name, func(t *testing.T) {
			var calls, ended atomic.Int32
			var log bytes.Buffer // written before the answer and read after it
			n := agenttest.NewNet()
			a := n.Agent(t, custodian(agent.HandlerFunc(func(_ context.Context, _ agent.Responder, in *agent.Inbound) error {
				calls.Add(1)
				if in.Authenticated() || len(in.Packet.Data) == 0 {
					t.Errorf("from %q, %d bytes", in.From, len(in.Packet.Data))
				}
				if test.panics {
					panic("boom")
				}
				ended.Add(1)
				return test.err
			})), noInbox(t), agenttest.HTTP(), agenttest.Configure(func(cfg *agent.Config) {
				cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
			}))
			s := newStranger(t, n)
			routes, err := s.Packer.Routes(t.Context(), a.DID())
			if err != nil {
				t.Fatal(err)
			}
			m := s.message(t, a, forwardType, func(m *message.Message) { m.From = "" })
			p := s.pack(t, m, anonymously)
			for i := range int32(2) {
				resp, err := http.Post(routes[0].URI, p.MediaType, bytes.NewReader(p.Data))
				if err != nil {
					t.Fatal(err)
				}
				body, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				if err != nil || resp.StatusCode != test.status || resp.Header.Get("Retry-After") != test.retryAfter {
					t.Errorf("status %d, Retry-After %q, %v", resp.StatusCode, resp.Header.Get("Retry-After"), err)
				}
				if test.code != "" {
					body = wantSigned(t, s, body, a.DID(), m.ID, test.code)
				}
				if limit := strings.HasPrefix(name, "over"); limit != strings.Contains(string(body), "limit reached: ") {
					t.Errorf("told %q", body)
				}
				if strings.Contains(string(body), "secret") || strings.Contains(string(body), "fire") {
					t.Errorf("told %q", body)
				}
				if calls.Load() != i+1 || !test.panics && ended.Load() != i+1 {
					t.Errorf("%d calls, %d ended after answer %d", calls.Load(), ended.Load(), i+1)
				}
			}
			if test.panics != strings.Contains(log.String(), "boom") {
				t.Errorf("logged %s", log.String())
			}
		})
	}
}

// wantSigned checks that a packet is a signed report of a problem from a DID, about a message,
// and for nobody in particular. It returns the body of the report.
func wantSigned(t *testing.T, s *stranger, packet []byte, from, about, code string) []byte {
	t.Helper()
	u := s.open(t, transport.Packet{Data: packet})
	p, err := agent.ParseProblemReport(u.Message)
	if err != nil || p.Code != code || u.Message.ParentThreadID != about || u.Sender() != from || !u.Metadata.NonRepudiation || u.Metadata.Encrypted || len(u.Message.To)+len(u.Message.Ack) > 0 {
		t.Errorf("told %+v in %+v, %v", p, u.Message, err)
	}
	return u.Message.Body
}

// The same on a session: if the handler does not accept the message, the peer gets a
// report on the session, or the session ends.
func TestCustodySession(t *testing.T) {
	for name, test := range map[string]struct {
		err       error
		anonymous bool
		code      string // of the report
		route     string // the return_route, "all" by default
		rejected  bool
		busy      bool
	}{
		"failed":              {err: errors.New("disk is full"), code: busyCode, busy: true},
		"later":               {err: agent.Retry(time.Minute, errors.New("full")), code: busyCode, busy: true},
		"refused":             {err: message.NewProblem("e.p.x", nil), code: "e.p.x", rejected: true},
		"failed, anonymous":   {err: errors.New("disk is full"), anonymous: true},
		"refused, anonymous":  {err: message.NewProblem("e.p.x", nil), anonymous: true, code: "e.p.x", rejected: true},
		"refused in silence":  {err: message.NewProblem("e.p.x", nil), anonymous: true, route: "none", rejected: true},
		"over a limit":        {err: agent.RetryLimit(time.Minute, "box.bytes", false, errors.New("full")), code: busyCode, busy: true},
		"taken in":            {},
		"taken in, anonymous": {anonymous: true},
	} {
		t.Run(name, func(t *testing.T) {
			n := agenttest.NewNet()
			a := n.Agent(t, custodian(agent.HandlerFunc(func(context.Context, agent.Responder, *agent.Inbound) error { return test.err })), noInbox(t))
			s, w := newStranger(t, n), newSession()
			m := s.message(t, a, forwardType, func(m *message.Message) { m.ReturnRoute = cmp.Or(test.route, "all") })
			var opts []envelope.PackOption
			if test.anonymous {
				m.From, opts = "", append(opts, anonymously)
			}
			err := serve(t.Context(), a, w, s.pack(t, m, opts...))
			if reject := errors.As(err, new(*transport.RejectError)); reject != test.rejected {
				t.Errorf("error %v", err)
			}
			if busy := errors.As(err, new(*transport.BusyError)); busy != test.busy {
				t.Errorf("error %v", err)
			}
			if (err != nil) != (test.err != nil) {
				t.Errorf("error %v", err)
			}
			if test.code != "" && test.anonymous {
				wantSigned(t, s, w.next(t).Data, a.DID(), m.ID, test.code)
			} else if test.code != "" {
				report := s.open(t, w.next(t)).Message
				if p, err := agent.ParseProblemReport(report); err != nil || p.Code != test.code || report.ParentThreadID != m.ID {
					t.Errorf("told %+v in %+v, %v", p, report, err)
				}
			}
			if len(w.packets) > 0 {
				t.Errorf("told %+v", s.open(t, w.next(t)).Message)
			}
			// The connection is a return route only after the message is accepted.
			var want error
			if test.err != nil || test.anonymous {
				want = agent.ErrNoRoute
			}
			wantError(t, "Push", a.Push(t.Context(), newMessage(t, s.DID)), want)
		})
	}
}

// A message in custody is acked if it asks for an ack, unless it is a forward.
func TestCustodyAck(t *testing.T) {
	n := agenttest.NewNet()
	a, s := n.Agent(t, custodian(agent.HandlerFunc(func(context.Context, agent.Responder, *agent.Inbound) error { return nil })), noInbox(t)), newStranger(t, n)
	for typ, acked := range map[string]bool{chatType: true, forwardType: false} {
		c := new(call)
		m := s.message(t, a, typ, func(m *message.Message) { m.ReturnRoute, m.PleaseAck = "all", []string{""} })
		s.give(t, a, c, m)
		if len(c.packets) > 0 != acked {
			t.Errorf("%s: %d answers", typ, len(c.packets))
			continue
		}
		if acked {
			if got := s.open(t, c.packets[0]).Message; len(got.Ack) != 1 || got.Ack[0] != m.ID {
				t.Errorf("acked %v", got.Ack)
			}
		}
	}
}

// A message in custody settles the messages that it acks or answers, as any other message
// does.
func TestCustodyHears(t *testing.T) {
	n := agenttest.NewNet()
	a, s := n.Agent(t, custodian(agent.HandlerFunc(func(context.Context, agent.Responder, *agent.Inbound) error { return nil })), noInbox(t)), newStranger(t, n)
	w := newSession()
	s.give(t, a, w, s.message(t, a, chatType, func(m *message.Message) { m.ReturnRoute = "all" }))
	sent := make(chan error, 1)
	go func() { sent <- a.Send(t.Context(), newMessage(t, s.DID), agent.Once()) }()
	m := s.open(t, w.next(t)).Message
	s.give(t, a, w, s.message(t, a, chatType, func(r *message.Message) { r.Ack = []string{m.ID} }))
	if err := <-sent; err != nil {
		t.Error(err)
	}
}

// At most MaxHandlers messages in custody are handled at the same time. A message whose
// peer is gone stops waiting.
func TestCustodyLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, release := agenttest.NewNet(), make(chan struct{})
		var calls atomic.Int32
		a := n.Agent(t, custodian(agent.HandlerFunc(func(context.Context, agent.Responder, *agent.Inbound) error {
			calls.Add(1)
			<-release
			return nil
		})), noInbox(t), agenttest.Configure(func(cfg *agent.Config) { cfg.MaxHandlers = 2 }))
		s := newStranger(t, n)
		p := s.pack(t, s.message(t, a, forwardType, func(m *message.Message) { m.From = "" }), anonymously)
		served := make(chan error, 10)
		for range 4 {
			go func() { served <- serve(t.Context(), a, new(call), p) }()
		}
		synctest.Wait()
		if calls.Load() != 2 {
			t.Errorf("%d at a time", calls.Load())
		}
		ctx, gone := context.WithCancel(t.Context())
		left := make(chan error, 1)
		go func() { left <- serve(ctx, a, new(call), p) }()
		synctest.Wait()
		gone()
		synctest.Wait()
		if len(left) != 1 {
			t.Error("a message without its peer waits for a handler")
		} else if err := <-left; err == nil {
			t.Error("it was accepted")
		}
		close(release)
		for range 4 {
			wantError(t, "ServePacket", <-served, nil)
		}
		synctest.Wait()
		if calls.Load() != 4 {
			t.Errorf("%d calls", calls.Load())
		}
	})
}

// The context of a handler that does not return ends when the agent stops, and its
// message is not accepted.
func TestCustodyStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := agenttest.NewParty(t)
		a, err := agent.New(agent.Config{DID: p.DID, Packer: p.Packer, StopTimeout: 5 * time.Second, MaxHandlers: 1,
			Handler: custodian(agent.HandlerFunc(func(ctx context.Context, _ agent.Responder, _ *agent.Inbound) error {
				<-ctx.Done()
				return ctx.Err()
			}))})
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- a.Run(ctx) }()
		<-a.Ready()
		s := newStranger(t, agenttest.NewNet())
		served := make(chan error, 2)
		for range 2 { // one is handled, the other waits
			packet := s.pack(t, s.message(t, a, chatType, nil))
			go func() { served <- serve(t.Context(), a, new(call), packet) }()
		}
		synctest.Wait()
		begin := time.Now()
		stop()
		for range 2 {
			if err := <-served; err == nil {
				t.Error("accepted")
			}
		}
		if took := time.Since(begin); took != 5*time.Second {
			t.Errorf("told to end after %v", took)
		}
		if err := <-ended; err != nil {
			t.Error(err)
		}
		wantError(t, "after the end", serve(t.Context(), a, new(call), s.pack(t, s.message(t, a, chatType, nil))), agent.ErrStopped)
	})
}

// The deadline of a handler in custody ends its context, and can be moved, as that of
// other handlers.
func TestCustodyTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := agenttest.NewNet()
		a := n.Agent(t, custodian(agent.HandlerFunc(func(ctx context.Context, w agent.Responder, _ *agent.Inbound) error {
			if err := w.Extend(ctx, 3*time.Minute); err != nil {
				t.Error(err)
			}
			<-ctx.Done()
			return ctx.Err()
		})), noInbox(t))
		s, begin := newStranger(t, n), time.Now()
		err := serve(t.Context(), a, new(call), s.pack(t, s.message(t, a, chatType, nil)))
		if took := time.Since(begin); !errors.As(err, new(*transport.BusyError)) || took != 3*time.Minute {
			t.Errorf("%v after %v", err, took)
		}
	})
}

// An answer to a Request goes to the Request, even if its type has a handler in custody.
func TestCustodyAnswer(t *testing.T) {
	n := agenttest.NewNet()
	a := n.Agent(t, custodian(agent.HandlerFunc(func(context.Context, agent.Responder, *agent.Inbound) error {
		t.Error("the answer was taken in")
		return nil
	})))
	s := newStranger(t, n, "mem://stranger")
	asked, done := request(t, a, s, newMessage(t, s.DID))
	answer := s.message(t, a, chatType, func(m *message.Message) { m.ThreadID = asked.ID })
	s.give(t, a, new(call), answer)
	if r := <-done; r.err != nil || r.in.Message.ID != answer.ID {
		t.Errorf("%+v, %v", r.in, r.err)
	}
}

// A real WebSocket ends if its peer cannot be told in another way that a message is not
// accepted.
func TestCustodyWebSocket(t *testing.T) {
	n := agenttest.NewNet()
	a := n.Agent(t, custodian(fails(errors.New("disk is full"))), noInbox(t), agenttest.WebSocket())
	s := newStranger(t, n)
	guard := &netguard.Guard{AllowLoopback: true}
	peer, err := wstransport.NewClient(wstransport.ClientConfig{Dial: guard.DialContext})
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	told := make(chan transport.Packet, 1)
	peer.Bind(transport.HandlerFunc(func(_ context.Context, _ transport.Replier, p transport.Packet) error {
		told <- p
		return nil
	}))
	routes, err := s.Packer.Routes(t.Context(), a.DID())
	if err != nil {
		t.Fatal(err)
	}
	known := s.pack(t, s.message(t, a, forwardType, func(m *message.Message) { m.ReturnRoute = "all" }))
	first, err := peer.SendOn(t.Context(), routes[0].URI, known)
	if err != nil {
		t.Fatal(err)
	}
	report := s.open(t, <-told).Message
	if p, err := agent.ParseProblemReport(report); err != nil || p.Code != busyCode {
		t.Errorf("told %+v, %v", p, err)
	}
	unknown := s.pack(t, s.message(t, a, forwardType, func(m *message.Message) { m.From = "" }), anonymously)
	second, err := peer.SendOn(t.Context(), routes[0].URI, unknown)
	if err != nil {
		t.Fatal(err)
	}
	if second != first {
		t.Error("the report ended the connection")
	}
	select {
	case <-second.Done():
	case <-time.After(20 * time.Second):
		t.Error("the connection lives on")
	}
}
