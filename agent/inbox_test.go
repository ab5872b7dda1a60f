package agent_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/agenttest"
	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/did"
	"github.com/didcomm-go/didcomm/transport"
)

// withInbox gives an agent an inbox.
func withInbox(b store.Inbox) agenttest.Option {
	return agenttest.Configure(func(cfg *agent.Config) { cfg.Store = storeOf(nil, b) })
}

// states returns the states of the messages in an inbox, in order.
func states(t *testing.T, b store.Inbox) []store.State {
	t.Helper()
	list, err := b.(store.InboxAdmin).List(t.Context(), 0, 1000)
	if err != nil {
		t.Fatal(err)
	}
	var states []store.State
	for _, e := range list {
		states = append(states, e.State)
	}
	return states
}

// leave puts a message into an inbox with a lease of a minute, as a process that crashes
// before the message is handled.
func leave(t *testing.T, b store.Inbox, s *stranger, to string, m *message.Message) {
	t.Helper()
	leaveOf(t, b, store.ClassKnown, s, to, m)
}

// leaveOf is leave for a message of a class.
func leaveOf(t *testing.T, b store.Inbox, c store.Class, s *stranger, to string, m *message.Message) {
	t.Helper()
	l, _, err := b.Add(t.Context(), store.Received{
		Class: c, Sender: s.DID, ID: m.ID, Peer: s.DID, To: to, Type: m.Type, Thread: m.Thread(),
		Packet: store.Packet(s.pack(t, m)), Time: time.Now(), Until: time.Now().Add(time.Hour),
	}, time.Minute)
	if err != nil || l == nil {
		t.Fatalf("Add: %v, %v", l, err)
	}
}

// counter is a Handler that calls another Handler and counts the calls.
type counter struct {
	agent.Handler
	n atomic.Int32
}

func (c *counter) HandleMessage(ctx context.Context, w agent.Responder, in *agent.Inbound) error {
	c.n.Add(1)
	return c.Handler.HandleMessage(ctx, w, in)
}

// A message that arrives again is not handled again, but answered again. A reply is sent
// again by the connection that the message arrives by, and by no other way. An ack is
// sent as any ack.
func TestDuplicates(t *testing.T) {
	all := func(m *message.Message) { m.ReturnRoute = "all" }
	asking := func(m *message.Message) { m.ReturnRoute, m.PleaseAck = "all", []string{""} }
	for name, test := range map[string]struct {
		handler agent.Handler
		edit    func(*message.Message)
		pack    func(s *stranger) []envelope.PackOption
		again   string // type of the second answer
		same    bool   // the same bytes as the first time
		acks    int    // acks to the endpoint of the sender
	}{
		"the reply":         {handler: replier, edit: all, again: chatType, same: true},
		"the problem":       {handler: fails(message.NewProblem("e.m.msg", nil)), edit: all, again: reportType, same: true},
		"the ack":           {handler: fails(nil), edit: asking, again: emptyType, same: true},
		"put off":           {handler: fails(agent.Retry(time.Hour, errors.New("later"))), edit: asking, again: emptyType},
		"set aside":         {handler: fails(errors.New("never")), edit: asking, again: emptyType},
		"a panic":           {handler: agent.HandlerFunc(func(context.Context, agent.Responder, *agent.Inbound) error { panic("x") }), edit: asking, again: emptyType},
		"replied elsewhere": {handler: replier, edit: func(m *message.Message) { m.ReturnRoute = "none" }},
		"ack elsewhere":     {handler: fails(nil), edit: func(m *message.Message) { m.PleaseAck = []string{""} }, acks: 2},
		"anonymous": {handler: fails(nil), edit: asking, pack: func(*stranger) []envelope.PackOption {
			return []envelope.PackOption{envelope.ContentEncryption(envelope.A256GCM)}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n, h := agenttest.NewNet(), &counter{Handler: test.handler}
				a, s := n.Agent(t, h), newStranger(t, n, "mem://stranger")
				var opts []envelope.PackOption
				if test.pack != nil {
					opts = test.pack(s)
				}
				p := s.pack(t, s.message(t, a, chatType, test.edit), opts...)
				first := new(call)
				if err := serve(t.Context(), a, first, p); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				for len(s.got) > 0 {
					<-s.got
				}
				again, session := new(call), newSession()
				for _, w := range []transport.Replier{again, session} {
					if err := serve(t.Context(), a, w, p); err != nil {
						t.Fatal(err)
					}
				}
				synctest.Wait()
				for range test.acks {
					if m := s.next(t).Message; m.Type != emptyType || len(m.Ack) != 1 {
						t.Errorf("came to the endpoint: %v", m)
					}
				}
				s.none(t)
				if h.n.Load() != 1 {
					t.Errorf("handled %d times", h.n.Load())
				}
				if test.again == "" {
					if len(again.packets)+len(session.packets) > 0 {
						t.Error("answered again")
					}
					return
				}
				for i, packets := range [][]transport.Packet{again.packets, {session.next(t)}} {
					if len(packets) != 1 {
						t.Fatalf("%d answers", len(packets))
					}
					if got := s.open(t, packets[0]).Message; got.Type != test.again {
						t.Errorf("answered with %s", got.Type)
					}
					if test.same && !bytes.Equal(packets[0].Data, first.packets[0].Data) {
						t.Errorf("answer %d was made anew", i)
					}
				}
				// Another party may have sent the message again, so the connection is no
				// return route.
				if err := a.Send(t.Context(), newMessage(t, s.DID), agent.AwaitDelivery()); err != nil {
					t.Fatal(err)
				}
				s.next(t)
			})
		})
	}
}

// A reply whose connection has ended is sent by the connection that the message arrives
// by again.
func TestReplyWaitsForDuplicate(t *testing.T) {
	n, h := agenttest.NewNet(), &counter{Handler: replier}
	a, s := n.Agent(t, h), newStranger(t, n)
	p := s.pack(t, s.message(t, a, chatType, func(m *message.Message) { m.ReturnRoute = "all" }))
	gone := &call{packets: make([]transport.Packet, 1)} // accepts no packets
	if err := serve(t.Context(), a, gone, p); err != nil {
		t.Fatal(err)
	}
	c := new(call)
	if err := serve(t.Context(), a, c, p); err != nil {
		t.Fatal(err)
	}
	if len(c.packets) != 1 || s.open(t, c.packets[0]).Message.Type != chatType || h.n.Load() != 1 {
		t.Errorf("%d replies, handled %d times", len(c.packets), h.n.Load())
	}
}

// Messages that a crashed process has left are handled by the next process, and answered
// by the endpoint of the sender.
func TestLeftOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, p, box := agenttest.NewNet(), agenttest.NewParty(t), store.NewInbox(store.InboxConfig{})
		s := newStranger(t, n, "mem://stranger")
		m := newMessage(t, p.DID)
		m.From, m.ReturnRoute = s.DID, "all"
		leave(t, box, s, p.DID, m)
		start := time.Now()
		h := &counter{Handler: replier}
		n.Agent(t, h, withInbox(box), agenttest.Configure(func(cfg *agent.Config) { cfg.DID, cfg.Packer = p.DID, p.Packer }))
		time.Sleep(10 * time.Minute)
		if u := s.next(t); u.Message.ThreadID != m.ID || u.Message.From != p.DID {
			t.Errorf("answered with %+v", u.Message)
		}
		if h.n.Load() != 1 || !slices.Equal(states(t, box), []store.State{store.Done}) {
			t.Errorf("handled %d times, %v, %v after its lease began", h.n.Load(), states(t, box), time.Since(start))
		}
	})
}

// A handler whose context ends by a stop is called again after the restart. This does not
// count as a try, however often it happens.
func TestCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, p, box := agenttest.NewNet(), agenttest.NewParty(t), store.NewInbox(store.InboxConfig{})
		s, lives := newStranger(t, n), 0
		for ; lives < 20; lives++ {
			calls := 0
			a, err := agent.New(agent.Config{DID: p.DID, Packer: p.Packer, Store: storeOf(nil, box), Handler: agent.HandlerFunc(
				func(ctx context.Context, _ agent.Responder, _ *agent.Inbound) error {
					calls++
					if lives < 19 {
						<-ctx.Done()
						return errors.New("interrupted") // an error that does not wrap that of ctx
					}
					return nil
				})})
			if err != nil {
				t.Fatal(err)
			}
			ctx, stop := context.WithCancel(t.Context())
			done := make(chan error, 1)
			go func() { done <- a.Run(ctx) }()
			if lives == 0 {
				packet := s.pack(t, s.message(t, a, chatType, nil))
				go func() { _ = serve(t.Context(), a, new(call), packet) }()
			}
			time.Sleep(time.Second)
			stop()
			if err := <-done; err != nil || calls != 1 {
				t.Fatalf("life %d: %d calls, %v", lives, calls, err)
			}
		}
		if got := states(t, box); !slices.Equal(got, []store.State{store.Done}) {
			t.Errorf("at last %v", got)
		}
	})
}

// A handler that returns a Retry is called again after a delay, MaxTries times at most.
func TestRetry(t *testing.T) {
	failed := errors.New("database is away")
	for name, test := range map[string]struct {
		after    time.Duration
		succeeds int // the call that succeeds; 0 for none
		least    []time.Duration
		state    store.State
		code     string
	}{
		"the second time": {succeeds: 2, least: []time.Duration{500 * time.Millisecond}, state: store.Done},
		"later":           {after: time.Minute, succeeds: 2, least: []time.Duration{time.Minute}, state: store.Done},
		"never": {least: []time.Duration{500 * time.Millisecond, time.Second, 2 * time.Second, 4 * time.Second},
			state: store.Buried, code: "e.p.me"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n, box := agenttest.NewNet(), store.NewInbox(store.InboxConfig{})
				var calls []time.Time
				a := n.Agent(t, agent.HandlerFunc(func(context.Context, agent.Responder, *agent.Inbound) error {
					calls = append(calls, time.Now())
					if len(calls) == test.succeeds {
						return nil
					}
					return fmt.Errorf("chat: %w", agent.Retry(test.after, failed))
				}), withInbox(box))
				s := newStranger(t, n, "mem://stranger")
				m := s.message(t, a, chatType, nil)
				s.give(t, a, new(call), m)
				synctest.Wait()
				if got := states(t, box); got[0] != store.Waiting {
					t.Errorf("at first %v", got)
				}
				time.Sleep(time.Hour)
				synctest.Wait()
				if len(calls) != len(test.least)+1 {
					t.Fatalf("%d calls", len(calls))
				}
				for i, least := range test.least {
					if d := calls[i+1].Sub(calls[i]); d < least || d > 2*least {
						t.Errorf("call %d came after %v, want %v", i+1, d, least)
					}
				}
				if got := states(t, box); got[0] != test.state {
					t.Errorf("at last %v", got)
				}
				if test.code == "" {
					s.none(t)
					return
				}
				report := s.next(t).Message
				p, err := agent.ParseProblemReport(report)
				if err != nil || p.Code != test.code || report.ParentThreadID != m.ID {
					t.Errorf("told %+v, %v", p, err)
				}
				s.none(t)
			})
		})
	}
}

// A message whose handler fails for good is set aside, unless its sender was told.
func TestSetAside(t *testing.T) {
	for name, test := range map[string]struct {
		handler agent.Handler
		want    store.State
	}{
		"an error":  {fails(errors.New("disk is full")), store.Buried},
		"a problem": {fails(message.NewProblem("e.m.msg", nil)), store.Done},
		"a panic":   {agent.HandlerFunc(func(context.Context, agent.Responder, *agent.Inbound) error { panic("x") }), store.Buried},
		"nothing":   {fails(nil), store.Done},
	} {
		t.Run(name, func(t *testing.T) {
			n, box := agenttest.NewNet(), store.NewInbox(store.InboxConfig{})
			a, s := n.Agent(t, test.handler, withInbox(box)), newStranger(t, n)
			s.give(t, a, new(call), s.message(t, a, chatType, nil))
			if got := states(t, box); !slices.Equal(got, []store.State{test.want}) {
				t.Errorf("it is %v", got)
			}
		})
	}
}

// A message that crashes the process each time is set aside, and other messages are
// handled in the meantime.
func TestPoison(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, p, box := agenttest.NewNet(), agenttest.NewParty(t), store.NewInbox(store.InboxConfig{})
		s := newStranger(t, n)
		bad := newMessage(t, p.DID)
		bad.From = s.DID
		leave(t, box, s, p.DID, bad)
		for range 4 { // processes that crash
			if _, err := box.Lease(t.Context(), time.Minute); err != nil {
				t.Fatal(err)
			}
		}
		good := newMessage(t, p.DID)
		good.From = s.DID
		leave(t, box, s, p.DID, good)
		got := make(inbox, 10)
		n.Agent(t, got, withInbox(box), agenttest.Configure(func(cfg *agent.Config) { cfg.DID, cfg.Packer = p.DID, p.Packer }))
		time.Sleep(time.Hour)
		if len(got) != 1 || (<-got).Message.ID != good.ID || !slices.Equal(states(t, box), []store.State{store.Buried, store.Done}) {
			t.Errorf("%d more handled, %v", len(got), states(t, box))
		}
	})
}

// mortal is an inbox that ignores its process after a crash.
type mortal struct {
	store.Inbox
	dead <-chan struct{}
}

func (m mortal) alive(err func() error) error {
	select {
	case <-m.dead:
		return store.ErrLease
	default:
		return err()
	}
}

func (m mortal) Extend(ctx context.Context, l *store.Lease[store.Received], d time.Duration) (extended *store.Lease[store.Received], err error) {
	err = m.alive(func() error {
		extended, err = m.Inbox.Extend(ctx, l, d)
		return err
	})
	return extended, err
}

func (m mortal) Ack(ctx context.Context, l *store.Lease[store.Received], replies ...store.Packet) error {
	return m.alive(func() error { return m.Inbox.Ack(ctx, l, replies...) })
}

func (m mortal) Nak(ctx context.Context, l *store.Lease[store.Received], delay time.Duration, reason string) error {
	return m.alive(func() error { return m.Inbox.Nak(ctx, l, delay, reason) })
}

func (m mortal) Term(ctx context.Context, l *store.Lease[store.Received], reason string) error {
	return m.alive(func() error { return m.Inbox.Term(ctx, l, reason) })
}

// Messages that a process has leased when another message crashes it are not blamed for
// the crash, however often it happens.
func TestBystanders(t *testing.T) {
	for name, slots := range map[string]int{"in line": 1, "side by side": 100} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, box, s := agenttest.NewParty(t), store.NewInbox(store.InboxConfig{}), newStranger(t, agenttest.NewNet())
				want := []store.State{store.Buried}
				for i := range 21 { // the first crashes the process
					m := newMessage(t, p.DID)
					m.ID, m.From = fmt.Sprint(i), s.DID
					leave(t, box, s, p.DID, m)
					if i > 0 {
						want = append(want, store.Done)
					}
				}
				lives := 0
				for ; lives < 10 && !slices.Equal(states(t, box), want); lives++ {
					dead := make(chan struct{})
					ctx, stop := context.WithTimeout(t.Context(), time.Hour)
					a, err := agent.New(agent.Config{
						DID: p.DID, Packer: p.Packer, Store: storeOf(nil, mortal{box, dead}), MaxHandlers: slots,
						Handler: agent.HandlerFunc(func(_ context.Context, _ agent.Responder, in *agent.Inbound) error {
							time.Sleep(time.Second)
							if in.Message.ID == "0" {
								close(dead)
								stop()
							}
							return nil
						}),
					})
					if err != nil {
						t.Fatal(err)
					}
					if err := a.Run(ctx); err != nil {
						t.Fatal(err)
					}
					stop()
				}
				if got := states(t, box); !slices.Equal(got, want) {
					t.Errorf("after %d lives: %v", lives, got)
				}
			})
		})
	}
}

// If the DID of a sender does not resolve for a day, other messages are not delayed, and
// the message of the sender is not lost.
func TestLeftOverOfUnknown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, p, box := agenttest.NewNet(), agenttest.NewParty(t), store.NewInbox(store.InboxConfig{})
		s, other := newStranger(t, n), newStranger(t, n)
		for _, who := range []*stranger{s, other} {
			m := newMessage(t, p.DID)
			m.From = who.DID
			leave(t, box, who, p.DID, m)
		}
		start := time.Now()
		packer, err := envelope.New(envelope.Config{Keys: p.Keys, Resolver: did.ResolverFunc(func(ctx context.Context, id string) (*did.Document, error) {
			if id == s.DID && time.Since(start) < 24*time.Hour {
				<-ctx.Done()
				return nil, context.Cause(ctx)
			}
			return p.Resolver.Resolve(ctx, id)
		})})
		if err != nil {
			t.Fatal(err)
		}
		got := make(inbox, 10)
		n.Agent(t, got, withInbox(box), agenttest.Configure(func(cfg *agent.Config) { cfg.DID, cfg.Packer = p.DID, packer }))
		time.Sleep(2 * time.Minute)
		if len(got) != 1 || (<-got).From != other.DID {
			t.Errorf("%d more handled at first", len(got))
		}
		time.Sleep(25 * time.Hour)
		if len(got) != 1 || (<-got).From != s.DID {
			t.Errorf("%d handled at last, %v", len(got), states(t, box))
		}
	})
}

// If a handler runs long after its deadline, its message is not handled at the same time
// or again.
func TestSlowHandler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, box := agenttest.NewNet(), store.NewInbox(store.InboxConfig{})
		h := &counter{Handler: agent.HandlerFunc(func(context.Context, agent.Responder, *agent.Inbound) error {
			time.Sleep(time.Hour)
			return nil
		})}
		a, s := n.Agent(t, h, withInbox(box)), newStranger(t, n)
		s.give(t, a, new(call), s.message(t, a, chatType, nil))
		time.Sleep(time.Hour)
		if h.n.Load() != 1 || !slices.Equal(states(t, box), []store.State{store.Done}) {
			t.Errorf("handled %d times, %v", h.n.Load(), states(t, box))
		}
	})
}

// forgetful is an Inbox whose Ack fails for a while.
type forgetful struct {
	store.Inbox
	until time.Time
}

func (f forgetful) Ack(ctx context.Context, l *store.Lease[store.Received], replies ...store.Packet) error {
	if time.Now().Before(f.until) {
		return errors.New("disk is full")
	}
	return f.Inbox.Ack(ctx, l, replies...)
}

// Messages are not handled twice if the store fails for a while.
func TestInboxForgets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, box := agenttest.NewNet(), store.NewInbox(store.InboxConfig{})
		h := &counter{Handler: fails(nil)}
		a, s := n.Agent(t, h, withInbox(forgetful{box, time.Now().Add(30 * time.Minute)})), newStranger(t, n)
		s.give(t, a, newSession(), s.message(t, a, chatType, nil))
		time.Sleep(2 * time.Hour)
		if h.n.Load() != 1 || !slices.Equal(states(t, box), []store.State{store.Done}) {
			t.Errorf("handled %d times, %v", h.n.Load(), states(t, box))
		}
	})
}

// A message that arrives again while its handler runs is answered by the sessions it
// arrived by. Over HTTP, the peer is asked to try again later.
func TestDuplicateMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := agenttest.NewNet()
		h := &counter{Handler: agent.HandlerFunc(func(ctx context.Context, w agent.Responder, in *agent.Inbound) error {
			time.Sleep(time.Second)
			return replier(ctx, w, in)
		})}
		a, s := n.Agent(t, h), newStranger(t, n)
		p := s.pack(t, s.message(t, a, chatType, func(m *message.Message) {
			m.ReturnRoute, m.PleaseAck = "all", []string{""}
		}))
		first, second := newSession(), newSession()
		for _, w := range []transport.Replier{first, second} {
			if err := serve(t.Context(), a, w, p); err != nil {
				t.Fatal(err)
			}
		}
		var busy *transport.BusyError
		if err := serve(t.Context(), a, new(call), p); !errors.As(err, &busy) {
			t.Errorf("by HTTP: %v", err)
		}
		if len(first.packets)+len(second.packets) != 0 {
			t.Error("answered before the handler was done")
		}
		if one, two := first.next(t), second.next(t); !bytes.Equal(one.Data, two.Data) || s.open(t, one).Message.Type != chatType {
			t.Error("two answers")
		}
		c := new(call)
		if err := serve(t.Context(), a, c, p); err != nil || len(c.packets) != 1 || h.n.Load() != 1 {
			t.Errorf("at last: %d answers, handled %d times, %v", len(c.packets), h.n.Load(), err)
		}
	})
}
