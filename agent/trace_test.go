package agent_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/agenttest"
	"github.com/didcomm-go/didcomm/agent/delivery"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/protocols/trustping"
	"github.com/didcomm-go/didcomm/transport"
)

// recorder records the calls of a Trace.
type recorder struct {
	mu       sync.Mutex
	in       []agent.Event
	out      []agent.Outcome
	names    []string // of the hooks called with in
	outNames []string // of the hooks called with out
	problems []*message.Problem
}

func (r *recorder) trace() *agent.Trace {
	in := func(name string) func(context.Context, agent.Event) {
		return func(_ context.Context, e agent.Event) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.names, r.in = append(r.names, name), append(r.in, e)
		}
	}
	out := func(name string) func(context.Context, agent.Outcome) {
		return func(_ context.Context, o agent.Outcome) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.outNames, r.out = append(r.outNames, name), append(r.out, o)
		}
	}
	return &agent.Trace{
		Opened: in("opened"), Accepted: in("accepted"), Parked: in("parked"), Handled: in("handled"),
		Problem: func(ctx context.Context, e agent.Event, p *message.Problem) {
			in("problem")(ctx, e)
			r.mu.Lock()
			defer r.mu.Unlock()
			r.problems = append(r.problems, p)
		},
		Queued: out("queued"), Sent: out("sent"), Acknowledged: out("acknowledged"), Buried: out("buried"),
	}
}

func (r *recorder) option() agenttest.Option {
	return agenttest.Configure(func(cfg *agent.Config) { cfg.Trace = r.trace() })
}

// wantIn checks which hooks were called for received messages.
func (r *recorder) wantIn(t *testing.T, names ...string) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if !slices.Equal(r.names, names) {
		t.Fatalf("hooks %q, want %q", r.names, names)
	}
}

// wantOut checks which hooks were called for messages to be sent.
func (r *recorder) wantOut(t *testing.T, names ...string) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if !slices.Equal(r.outNames, names) {
		t.Fatalf("hooks %q, want %q", r.outNames, names)
	}
}

// The Event of a received message has its sender and its recipient, the number of tries,
// and the error of its Handler.
func TestTraceIn(t *testing.T) {
	failed := errors.New("not well")
	for name, test := range map[string]struct {
		errs  []error // of the Handler, one call after the other
		hooks []string
		errIn []error // of the events
		tries []int
		edit  func(*message.Message)
		twice bool
	}{
		"handled": {errs: []error{nil}, hooks: []string{"opened", "accepted", "handled"}, errIn: []error{nil, nil, nil}, tries: []int{0, 0, 1}},
		"failed":  {errs: []error{failed}, hooks: []string{"opened", "accepted", "handled"}, errIn: []error{nil, nil, failed}, tries: []int{0, 0, 1}},
		"put off": {
			errs: []error{agent.Retry(time.Second, failed), nil}, hooks: []string{"opened", "accepted", "parked", "handled"},
			errIn: []error{nil, nil, failed, nil}, tries: []int{0, 0, 1, 2},
		},
		"put off for good": {
			errs: []error{agent.Retry(time.Second, failed), agent.Retry(time.Second, failed)}, hooks: []string{"opened", "accepted", "parked", "handled"},
			errIn: []error{nil, nil, failed, failed}, tries: []int{0, 0, 1, 2},
		},
		"twice": {
			errs: []error{nil}, hooks: []string{"opened", "accepted", "handled", "opened"},
			errIn: make([]error, 4), tries: []int{0, 0, 1, 0}, twice: true,
		},
		"expired": {edit: func(m *message.Message) { m.ExpiresTime = time.Now().Add(-time.Hour) }},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n, r, calls := agenttest.NewNet(), new(recorder), 0
				a := n.Agent(t, agent.HandlerFunc(func(context.Context, agent.Responder, *agent.Inbound) error {
					calls++
					return test.errs[calls-1]
				}), r.option(), agenttest.Configure(func(cfg *agent.Config) { cfg.MaxTries = 2 }))
				s := newStranger(t, n)
				m := s.message(t, a, chatType, func(m *message.Message) {
					m.ThreadID = "thread"
					if test.edit != nil {
						test.edit(m)
					}
				})
				p := s.pack(t, m)
				for range map[bool]int{false: 1, true: 2}[test.twice] {
					if err := serve(t.Context(), a, new(call), p); err != nil {
						t.Fatal(err)
					}
				}
				time.Sleep(time.Minute) // virtual time
				synctest.Wait()
				r.wantIn(t, test.hooks...)
				for i, e := range r.in {
					want := agent.Event{ID: m.ID, Type: chatType, Thread: "thread", From: s.DID, To: a.DID(), Addressed: true, Attempt: test.tries[i]}
					if !errors.Is(e.Err, test.errIn[i]) || (e.Err == nil) != (test.errIn[i] == nil) {
						t.Errorf("%s: error %v", r.names[i], e.Err)
					}
					if e.Err = nil; fmt.Sprint(e) != fmt.Sprint(want) {
						t.Errorf("%s of %+v, want %+v", r.names[i], e, want)
					}
				}
			})
		})
	}
}

// The Event of a message has the accepted deviations.
func TestTraceDeviations(t *testing.T) {
	n, r := agenttest.NewNet(), new(recorder)
	a := n.Agent(t, fails(nil), r.option(), agenttest.Configure(func(cfg *agent.Config) { cfg.AcceptPlaintext = true }))
	p := transport.Packet{MediaType: transport.MediaTypePlain, Data: []byte(
		`{"id":"1","type":"` + chatType + `","typ":"application/didcomm-plain+json","expires_time":"4102444800","body":{}}`)}
	if err := serve(t.Context(), a, new(call), p); err != nil {
		t.Fatal(err)
	}
	r.wantIn(t, "opened", "accepted", "handled")
	for i, e := range r.in {
		if len(e.Deviations) != 1 || e.Deviations[0].Code != message.DeviationTimeString || e.From != "" {
			t.Errorf("%s: %+v", r.names[i], e)
		}
	}
}

// The Event of a message that is set aside because the process crashed each time has an
// error.
func TestTraceSetAside(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, r, b := agenttest.NewNet(), new(recorder), store.NewInbox(store.InboxConfig{})
		s := newStranger(t, n)
		p := agenttest.NewParty(t)
		m := newMessage(t, p.DID)
		m.From = s.DID
		leave(t, b, s, p.DID, m)
		time.Sleep(2 * time.Minute) // virtual time
		a := n.Agent(t, fails(nil), r.option(), agenttest.Configure(func(cfg *agent.Config) {
			cfg.DID, cfg.Packer, cfg.Store, cfg.MaxTries = p.DID, p.Packer, storeOf(nil, b), 1
		}))
		synctest.Wait()
		r.wantIn(t, "handled")
		if e := r.in[0]; e.ID != m.ID || e.Err == nil || e.Attempt != 1 || e.To != a.DID() {
			t.Errorf("%+v", e)
		}
	})
}

// Trace.Problem is called for a report in an unknown thread, and not for a report that
// answers a Request.
func TestTraceProblem(t *testing.T) {
	n, r := agenttest.NewNet(), new(recorder)
	a := n.Agent(t, fails(nil), r.option())
	s := newStranger(t, n, "mem://stranger")
	report := func(thread string) *message.Message {
		return s.message(t, a, reportType, func(m *message.Message) {
			m.ParentThreadID, m.Body = thread, []byte(`{"code":"e.p.xfer","comment":"c"}`)
		})
	}
	asked, done := request(t, a, s, newMessage(t, s.DID))
	s.give(t, a, new(call), report(asked.ID))
	if p := (*message.Problem)(nil); !errors.As((<-done).err, &p) {
		t.Error("no problem")
	}
	r.wantIn(t, "opened", "accepted")
	lost := report("")
	s.give(t, a, new(call), lost)
	r.wantIn(t, "opened", "accepted", "opened", "accepted", "problem", "handled")
	if e := r.in[4]; e.ID != lost.ID || e.Type != reportType || e.From != s.DID || len(r.problems) != 1 || r.problems[0].Code != "e.p.xfer" {
		t.Errorf("%+v, %+v", e, r.problems)
	}
}

// The hooks for a message to be sent are called with each change of its outcome.
func TestTraceOut(t *testing.T) {
	down := &transport.SendError{Retryable: true, Err: errors.New("down")}
	for name, test := range map[string]struct {
		errs   []error // of the tries; those after succeed
		edit   func(*message.Message)
		hooks  []string
		states []delivery.State
		want   error
		tries  int // at last
	}{
		"receipt":  {hooks: []string{"sent"}, states: []delivery.State{delivery.Sent}, tries: 1},
		"later":    {errs: []error{down}, hooks: []string{"queued", "sent"}, states: []delivery.State{delivery.Queued, delivery.Sent}, tries: 2},
		"given up": {errs: []error{&transport.SendError{Err: errors.New("gone")}}, hooks: []string{"buried"}, states: []delivery.State{delivery.GivenUp}, want: agent.ErrUndelivered, tries: 1},
		"expired": {
			errs: slices.Repeat([]error{down}, 100), edit: func(m *message.Message) { m.ExpiresTime = time.Now().Add(time.Second) },
			hooks: []string{"queued", "buried"}, states: []delivery.State{delivery.Queued, delivery.Expired}, want: agent.ErrUndelivered, tries: 2,
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n, r := agenttest.NewNet(), new(recorder)
				var tries atomic.Int32
				a := n.Agent(t, nil, r.option(), withSender(func(context.Context, string, transport.Packet) error {
					if i := int(tries.Add(1)) - 1; i < len(test.errs) {
						return test.errs[i]
					}
					return nil
				}))
				s := agenttest.NewParty(t, "test://peer")
				m := newMessage(t, s.DID)
				m.ID, m.ThreadID, m.From = "id", "thread", a.DID()
				if test.edit != nil {
					test.edit(m)
				}
				var had []delivery.State
				err := a.Send(t.Context(), m, agent.AwaitDelivery(), becomes(&had))
				if !slices.Equal(had, test.states) {
					t.Errorf("became %v, want %v", had, test.states)
				}
				wantError(t, "Send", err, test.want)
				if e := (*delivery.Error)(nil); test.want != nil && (!errors.As(err, &e) || e.Outcome.State != test.states[len(test.states)-1]) {
					t.Errorf("error %#v", err)
				}
				synctest.Wait()
				r.wantOut(t, test.hooks...)
				for i, o := range r.out {
					sent := o.State == delivery.Sent
					if o.ID == "" || o.MessageID != "id" || o.Thread != "thread" || o.From != a.DID() || o.To != s.DID ||
						o.State != test.states[i] || sent != (o.Way == "test://peer") || sent != (o.Err == nil) || o.Awaits {
						t.Errorf("%+v", o)
					}
				}
				if last := r.out[len(r.out)-1]; last.Attempts != test.tries {
					t.Errorf("%d attempts", last.Attempts)
				}
			})
		})
	}
}

// For a message that asks for an ack, a hook is called when it leaves, and another when
// it is acked.
func TestTraceAck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, r := agenttest.NewNet(), new(recorder)
		a, s, w := n.Agent(t, fails(nil), r.option()), newStranger(t, n), newSession()
		s.give(t, a, w, s.message(t, a, chatType, func(m *message.Message) { m.ReturnRoute = "all" }))
		if err := a.Send(t.Context(), newMessage(t, s.DID)); err != nil {
			t.Fatal(err)
		}
		m := s.open(t, w.next(t)).Message
		synctest.Wait()
		r.wantOut(t, "sent")
		s.give(t, a, w, s.message(t, a, emptyType, func(e *message.Message) { e.Ack = []string{m.ID} }))
		synctest.Wait()
		r.wantOut(t, "sent", "acknowledged")
		if sent, acked := r.out[0], r.out[1]; !sent.Awaits || sent.Arrived() || sent.Way != delivery.ReturnRoute || acked.Awaits || !acked.Arrived() || acked.MessageID != m.ID {
			t.Errorf("%+v, %+v", sent, acked)
		}
	})
}

// Trace.Sent is called for messages that are written to a connection without the outbox.
func TestTraceConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, r := agenttest.NewNet(), new(recorder)
		a, s, w := n.Agent(t, agent.HandlerFunc(func(ctx context.Context, w agent.Responder, in *agent.Inbound) error {
			if err := w.Connection().Push(ctx, newMessage(t)); err != nil {
				return err
			}
			return replier.HandleMessage(ctx, w, in)
		}), r.option()), newStranger(t, n), newSession()
		m := s.message(t, a, chatType, func(m *message.Message) { m.ReturnRoute = "all" })
		s.give(t, a, w, m)
		pushed, replied := s.open(t, w.next(t)).Message, s.open(t, w.next(t)).Message
		synctest.Wait()
		if err := a.Push(t.Context(), newMessage(t, s.DID)); err != nil {
			t.Fatal(err)
		}
		last := s.open(t, w.next(t)).Message
		synctest.Wait()
		r.wantOut(t, "sent", "sent", "sent")
		for i, m := range []*message.Message{pushed, replied, last} {
			if o := r.out[i]; o.MessageID != m.ID || o.Thread != m.Thread() || o.From != a.DID() || o.To != s.DID || o.Way != delivery.ReturnRoute || !o.Arrived() || o.ID != "" {
				t.Errorf("%+v of %+v", o, m)
			}
		}
	})
}

// logged counts loggers, and keeps the lines of the log.
type logged struct {
	level slog.Level
	mu    *sync.Mutex
	lines *bytes.Buffer
	made  *atomic.Int32 // loggers
	slog.Handler
}

func newLogged(level slog.Level) *logged {
	l := &logged{level: level, mu: new(sync.Mutex), lines: new(bytes.Buffer), made: new(atomic.Int32)}
	l.Handler = slog.NewTextHandler(l.lines, &slog.HandlerOptions{Level: level})
	return l
}

func (l *logged) Handle(ctx context.Context, r slog.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.Handler.Handle(ctx, r)
}

func (l *logged) WithAttrs(attrs []slog.Attr) slog.Handler {
	l.made.Add(1)
	c := *l
	c.Handler = l.Handler.WithAttrs(attrs)
	return &c
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lines.String()
}

// A ping that was received and answered is logged at debug level. At info level it is
// not, and without a Trace no logger is made for it.
func TestPingIsLogged(t *testing.T) {
	for _, level := range []slog.Level{slog.LevelDebug, slog.LevelInfo} {
		t.Run(level.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				log := newLogged(level)
				n := agenttest.NewNet()
				a := n.Agent(t, nil)
				b := n.Agent(t, agent.NewMux(trustping.Handle()), agenttest.Configure(func(cfg *agent.Config) { cfg.Logger = slog.New(log) }))
				if _, err := trustping.Ping(t.Context(), a, b.DID()); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				lines := log.String()
				for _, want := range []string{"message opened", "message accepted", "message handled", "outgoing message sent", trustping.TypePing} {
					if strings.Contains(lines, want) != (level == slog.LevelDebug) {
						t.Errorf("logged %s", lines)
					}
				}
				if level == slog.LevelInfo && (lines != "" || log.made.Load() != 0) {
					t.Errorf("%d loggers made, logged %s", log.made.Load(), lines)
				}
			})
		})
	}
}

// A Trace without hooks costs no memory.
func TestTraceAllocs(t *testing.T) {
	allocs := func(trace *agent.Trace) float64 {
		n := agenttest.NewNet()
		a := n.Agent(t, custodian(fails(nil)), agenttest.Configure(func(cfg *agent.Config) { cfg.Trace = trace }))
		s := newStranger(t, n)
		p := s.pack(t, s.message(t, a, forwardType, func(m *message.Message) { m.From = "" }), anonymously)
		return testing.AllocsPerRun(100, func() {
			if err := serve(t.Context(), a, new(call), p); err != nil {
				t.Error(err)
			}
		})
	}
	ignore := func(context.Context, agent.Event) {}
	none, full := allocs(nil), allocs(&agent.Trace{Opened: ignore, Handled: ignore})
	if none+5 > full { // another goroutine may make some
		t.Errorf("%v allocations without a Trace, %v with hooks", none, full)
	}
}
