package agent_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/agenttest"
	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/keyring"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/did"
	"github.com/didcomm-go/didcomm/transport"
)

func TestNewConfig(t *testing.T) {
	p, other := agenttest.NewParty(t), agenttest.NewParty(t)
	packer := func(keys envelope.Keys, r did.Resolver) *envelope.Packer {
		t.Helper()
		packer, err := envelope.New(envelope.Config{Keys: keys, Resolver: r})
		if err != nil {
			t.Fatal(err)
		}
		return packer
	}
	type unlisted struct{ envelope.Keys } // without the methods of envelope.Owner
	// The document of this DID lists keys of another DID, with their own ids.
	const controlled = "did:example:controlled"
	foreign := did.ResolverFunc(func(ctx context.Context, id string) (*did.Document, error) {
		doc, err := p.Resolver.Resolve(ctx, p.DID)
		if err != nil || id == p.DID {
			return doc, err
		}
		moved := *doc
		moved.ID = controlled
		return &moved, nil
	})
	down := did.ResolverFunc(func(context.Context, string) (*did.Document, error) { return nil, errors.New("down") })
	to := func(scheme string, s transport.Sender) map[string]transport.Sender {
		return map[string]transport.Sender{scheme: s}
	}
	send := sender(func(context.Context, string, transport.Packet) error { return nil })
	for name, test := range map[string]struct {
		cfg  agent.Config
		ok   bool
		want error
	}{
		"empty":          {cfg: agent.Config{}},
		"no DID":         {cfg: agent.Config{Packer: p.Packer}},
		"bad DID":        {cfg: agent.Config{DID: "alice", Packer: p.Packer}},
		"no packer":      {cfg: agent.Config{DID: p.DID}},
		"least":          {cfg: agent.Config{DID: p.DID, Packer: p.Packer}, ok: true},
		"another's DID":  {cfg: agent.Config{DID: other.DID, Packer: p.Packer}, want: envelope.ErrNoKey},
		"no keys":        {cfg: agent.Config{DID: p.DID, Packer: packer(keyring.New(), p.Resolver)}, want: envelope.ErrNoKey},
		"keys unlisted":  {cfg: agent.Config{DID: p.DID, Packer: packer(unlisted{p.Keys}, p.Resolver)}, ok: true},
		"none unlisted":  {cfg: agent.Config{DID: other.DID, Packer: packer(unlisted{p.Keys}, p.Resolver)}, want: envelope.ErrNoKey},
		"keys of others": {cfg: agent.Config{DID: controlled, Packer: packer(p.Keys, foreign)}, ok: true},
		"not resolved":   {cfg: agent.Config{DID: "did:web:example.org", Packer: packer(p.Keys, down)}, ok: true},
		"not asked for":  {cfg: agent.Config{DID: p.DID, Packer: packer(p.Keys, down)}, ok: true},
		"a scheme":       {cfg: agent.Config{DID: p.DID, Packer: p.Packer, Senders: to("coap+tcp", send)}, ok: true},
		"no scheme":      {cfg: agent.Config{DID: p.DID, Packer: p.Packer, Senders: to("", send)}},
		"upper case":     {cfg: agent.Config{DID: p.DID, Packer: p.Packer, Senders: to("HTTPS", send)}},
		"a URL":          {cfg: agent.Config{DID: p.DID, Packer: p.Packer, Senders: to("https://", send)}},
		"a digit":        {cfg: agent.Config{DID: p.DID, Packer: p.Packer, Senders: to("9p", send)}},
		"no sender":      {cfg: agent.Config{DID: p.DID, Packer: p.Packer, Senders: to("https", nil)}},
	} {
		t.Run(name, func(t *testing.T) {
			a, err := agent.New(test.cfg)
			if (err == nil) != test.ok || test.want != nil && !errors.Is(err, test.want) {
				t.Errorf("error %v", err)
			}
			if test.ok && (a == nil || a.DID() != test.cfg.DID) {
				t.Errorf("agent %v", a)
			}
		})
	}
}

// New does not wait long for a DID that does not resolve.
func TestNewUnresolved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		packer, err := envelope.New(envelope.Config{Keys: keyring.New(), Resolver: did.ResolverFunc(
			func(ctx context.Context, _ string) (*did.Document, error) {
				<-ctx.Done()
				return nil, ctx.Err()
			})})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := agent.New(agent.Config{DID: "did:web:example.org", Packer: packer}); err != nil {
			t.Error(err)
		}
		if took := time.Since(start); took != 5*time.Second {
			t.Errorf("took %v", took)
		}
	})
}

// bare returns an agent whose Run the test calls itself.
func bare(t *testing.T, h agent.Handler) (*agent.Agent, *stranger) {
	t.Helper()
	n := agenttest.NewNet()
	p := agenttest.NewParty(t)
	mem := n.Mem.Sender()
	t.Cleanup(func() { mem.Close() })
	a, err := agent.New(agent.Config{DID: p.DID, Packer: p.Packer, Handler: h, Senders: map[string]transport.Sender{"mem": mem}})
	if err != nil {
		t.Fatal(err)
	}
	return a, newStranger(t, n, "mem://stranger")
}

// Run waits for handlers, and cancels the contexts of those that take too long.
func TestStop(t *testing.T) {
	for name, test := range map[string]struct {
		takes time.Duration // 0: until its context ends
		want  time.Duration
	}{
		"quick handler":    {takes: time.Second, want: time.Second},
		"stubborn handler": {want: 3 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var ended atomic.Int32
				a, s := bare(t, agent.HandlerFunc(func(ctx context.Context, _ agent.Responder, _ *agent.Inbound) error {
					if test.takes > 0 {
						time.Sleep(test.takes)
					} else {
						<-ctx.Done()
					}
					ended.Add(1)
					return nil
				}))
				ctx, stop := context.WithCancel(t.Context())
				done := make(chan error, 1)
				go func() { done <- a.Run(ctx) }()
				for _, w := range []transport.Replier{new(call), newSession()} {
					p := s.pack(t, s.message(t, a, chatType, nil))
					go func() {
						if err := serve(t.Context(), a, w, p); err != nil {
							t.Errorf("ServePacket: %v", err)
						}
					}()
				}
				synctest.Wait()
				start := time.Now()
				stop()
				if err := <-done; err != nil {
					t.Error(err)
				}
				if d := time.Since(start); d != test.want || ended.Load() != 2 {
					t.Errorf("stopped after %v, want %v; %d handlers ended", d, test.want, ended.Load())
				}
				err := serve(t.Context(), a, new(call), s.pack(t, s.message(t, a, chatType, nil)))
				wantError(t, "ServePacket", err, agent.ErrStopped)
				if err := a.Run(t.Context()); err == nil {
					t.Error("ran twice")
				}
			})
		})
	}
}

// Messages that wait for a handler when the agent stops are handled within StopTimeout,
// or after a restart.
func TestStopWithMessagesWaiting(t *testing.T) {
	for name, test := range map[string]struct {
		takes   time.Duration // 0: until its context ends
		handled int
	}{
		"time enough":   {takes: time.Second, handled: 3},
		"time too long": {takes: 2 * time.Second, handled: 2}, // StopTimeout is 3 s
		"no time":       {handled: 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n, p, box, handled := agenttest.NewNet(), agenttest.NewParty(t), store.NewInbox(store.InboxConfig{}), 0
				s := newStranger(t, n)
				start := func(h agent.Handler) *agent.Agent {
					a, err := agent.New(agent.Config{DID: p.DID, Packer: p.Packer, Handler: h, Store: storeOf(nil, box), MaxHandlers: 1})
					if err != nil {
						t.Fatal(err)
					}
					return a
				}
				a := start(agent.HandlerFunc(func(ctx context.Context, _ agent.Responder, _ *agent.Inbound) error {
					handled++
					if ctx.Err() != nil {
						t.Error("a handler was begun too late")
					}
					if test.takes == 0 {
						<-ctx.Done()
						return nil
					}
					select {
					case <-time.After(test.takes):
					case <-ctx.Done():
					}
					return nil
				}))
				ctx, stop := context.WithCancel(t.Context())
				done := make(chan error, 1)
				go func() { done <- a.Run(ctx) }()
				var packets []transport.Packet
				for _, w := range []transport.Replier{new(call), newSession(), transport.NoReply{}} {
					packets = append(packets, s.pack(t, s.message(t, a, chatType, nil)))
					go serve(t.Context(), a, w, packets[len(packets)-1])
					synctest.Wait()
				}
				stop()
				if err := <-done; err != nil {
					t.Error(err)
				}
				if handled != test.handled {
					t.Errorf("%d handled, want %d", handled, test.handled)
				}
				// Messages that were not handled are handled after a restart, even if
				// they also arrive again.
				again := make(inbox, 6)
				b := start(again)
				ctx, stop = context.WithCancel(t.Context())
				go func() { done <- b.Run(ctx) }()
				for _, p := range packets {
					if err := serve(t.Context(), b, new(call), p); err != nil {
						t.Error(err)
					}
				}
				time.Sleep(time.Hour) // virtual time
				if want := 3 - test.handled; len(again) != want {
					t.Errorf("%d handled in the next life, want %d", len(again), want)
				}
				stop()
				if err := <-done; err != nil {
					t.Error(err)
				}
			})
		})
	}
}

func TestStopEndsRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, s := bare(t, nil)
		ctx, stop := context.WithCancel(t.Context())
		done, asked := make(chan error, 1), make(chan error, 1)
		go func() { done <- a.Run(ctx) }()
		<-a.Ready()
		go func() {
			_, err := a.Request(t.Context(), newMessage(t, s.DID))
			asked <- err
		}()
		synctest.Wait()
		s.next(t)
		stop()
		wantError(t, "Request", <-asked, agent.ErrStopped)
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// A packet whose sender's DID does not resolve delays a stop by StopTimeout at most, on
// every kind of connection.
func TestStopEndsUnpack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, s := agenttest.NewParty(t), newStranger(t, agenttest.NewNet())
		slow := did.ResolverFunc(func(ctx context.Context, id string) (*did.Document, error) {
			if id == s.DID {
				<-ctx.Done()
				return nil, context.Cause(ctx)
			}
			return p.Resolver.Resolve(ctx, id)
		})
		packer, err := envelope.New(envelope.Config{Keys: p.Keys, Resolver: slow})
		if err != nil {
			t.Fatal(err)
		}
		a, err := agent.New(agent.Config{DID: p.DID, Packer: packer})
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		done, served := make(chan error, 1), make(chan error, 1)
		go func() { done <- a.Run(ctx) }()
		packet := s.pack(t, s.message(t, a, chatType, nil))
		go func() { served <- serve(t.Context(), a, newSession(), packet) }()
		synctest.Wait()
		start := time.Now()
		stop()
		if err := <-done; err != nil || time.Since(start) != 3*time.Second {
			t.Errorf("stopped after %v: %v", time.Since(start), err)
		}
		wantError(t, "ServePacket", <-served, context.Canceled)
	})
}

// Send returns an error at once before and after Run.
func TestSendNotRunning(t *testing.T) {
	a, s := bare(t, nil)
	report := &agent.Inbound{Message: newMessage(t), From: s.DID, To: a.DID()}
	check := func(want error) {
		t.Helper()
		wantError(t, "Send", a.Send(t.Context(), newMessage(t, s.DID)), want)
		_, err := a.Request(t.Context(), newMessage(t, s.DID))
		wantError(t, "Request", err, want)
		wantError(t, "Report", a.Report(t.Context(), report, message.NewProblem("w.m.me", nil)), want)
	}
	select {
	case <-a.Ready():
		t.Error("ready before Run")
	default:
	}
	check(agent.ErrNotRunning)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	<-a.Ready()
	m := newMessage(t, s.DID)
	if err := a.Send(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	if got := s.next(t).Message.ID; got != m.ID {
		t.Errorf("got %s", got)
	}
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
	check(agent.ErrStopped)
	s.none(t)
}

// Messages that arrive before Run are handled, and replies leave when Run has begun. A
// handler that sends is called again then.
func TestServeBeforeRun(t *testing.T) {
	for name, test := range map[string]struct {
		send  func(ctx context.Context, w agent.Responder, m *message.Message) error
		calls int32
	}{
		"reply": {func(ctx context.Context, w agent.Responder, m *message.Message) error { return w.Reply(ctx, m) }, 1},
		"send":  {func(ctx context.Context, w agent.Responder, m *message.Message) error { return w.Agent().Send(ctx, m) }, 2},
		"send, wrapped": {func(ctx context.Context, w agent.Responder, m *message.Message) error {
			if err := w.Agent().Send(ctx, m); err != nil {
				return fmt.Errorf("tell: %w", err)
			}
			return nil
		}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var calls atomic.Int32
				a, s := bare(t, agent.HandlerFunc(func(ctx context.Context, w agent.Responder, in *agent.Inbound) error {
					calls.Add(1)
					m := newMessage(t, in.From)
					m.ThreadID = in.Message.ID
					return test.send(ctx, w, m)
				}))
				m := s.message(t, a, chatType, nil)
				s.give(t, a, new(call), m)
				synctest.Wait()
				s.none(t)
				ctx, stop := context.WithCancel(t.Context())
				done := make(chan error, 1)
				go func() { done <- a.Run(ctx) }()
				if got := s.next(t).Message; got.ThreadID != m.ID {
					t.Errorf("got %+v", got)
				}
				time.Sleep(time.Hour)
				stop()
				if err := <-done; err != nil {
					t.Error(err)
				}
				s.none(t)
				if n := calls.Load(); n != test.calls {
					t.Errorf("%d calls, want %d", n, test.calls)
				}
			})
		})
	}
}

// A Sender that blocks is cancelled when the agent stops.
func TestStopEndsSends(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := agenttest.NewParty(t)
		a, err := agent.New(agent.Config{DID: p.DID, Packer: p.Packer, Senders: map[string]transport.Sender{
			"test": sender(func(ctx context.Context, _ string, _ transport.Packet) error {
				<-ctx.Done()
				return ctx.Err()
			}),
		}})
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- a.Run(ctx) }()
		<-a.Ready()
		if err := a.Send(t.Context(), newMessage(t, agenttest.NewParty(t, "test://x").DID)); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		start := time.Now()
		stop()
		if err := <-done; err != nil || time.Since(start) != 0 {
			t.Errorf("stopped after %v: %v", time.Since(start), err)
		}
	})
}

// Messages beyond MaxHandlers wait for a handler to return.
func TestMaxHandlers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := agenttest.NewNet()
		running, release := make(chan struct{}, 10), make(chan struct{})
		a := n.Agent(t, agent.HandlerFunc(func(context.Context, agent.Responder, *agent.Inbound) error {
			running <- struct{}{}
			<-release
			return nil
		}), agenttest.Configure(func(cfg *agent.Config) { cfg.MaxHandlers = 2 }))
		s := newStranger(t, n)
		for range 5 {
			p := s.pack(t, s.message(t, a, chatType, nil))
			go func() {
				if err := serve(t.Context(), a, new(call), p); err != nil {
					t.Errorf("ServePacket: %v", err)
				}
			}()
		}
		synctest.Wait()
		if len(running) != 2 {
			t.Errorf("%d handlers run", len(running))
		}
		close(release)
		synctest.Wait()
		if len(running) != 5 {
			t.Errorf("%d handlers ran", len(running))
		}
	})
}

// The context of a handler ends after HandlerTimeout.
func TestHandlerTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := agenttest.NewNet()
		var took time.Duration
		a := n.Agent(t, agent.HandlerFunc(func(ctx context.Context, _ agent.Responder, _ *agent.Inbound) error {
			start := time.Now()
			<-ctx.Done()
			took = time.Since(start)
			return ctx.Err()
		}))
		s := newStranger(t, n)
		s.give(t, a, new(call), s.message(t, a, chatType, nil))
		if took != time.Minute {
			t.Errorf("ended after %v", took)
		}
	})
}

// Stop ends Run and waits, whoever calls it and however often, also before Run.
func TestStopEndsRun(t *testing.T) {
	p := agenttest.NewParty(t)
	cfg := agent.Config{DID: p.DID, Packer: p.Packer}
	a, err := agent.Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	var stops sync.WaitGroup
	for range 3 {
		stops.Go(func() {
			a.Stop()
			select {
			case <-a.Done():
			default:
				t.Error("Stop did not wait for Run")
			}
		})
	}
	stops.Wait()

	if a, err = agent.New(cfg); err != nil {
		t.Fatal(err)
	}
	a.Stop()
	if err := a.Run(t.Context()); err != nil {
		t.Error(err)
	}
}
