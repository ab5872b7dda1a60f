package agent_test

import (
	"context"
	"errors"
	"reflect"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/agenttest"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/agent/store"
)

// A handler that was made before its agent can send by Responder.Agent.
func TestHandlerReachesAgent(t *testing.T) {
	n := agenttest.NewNet()
	third, reached := newStranger(t, n, "mem://third"), make(chan *agent.Agent, 1)
	a := n.Agent(t, agent.NewMux(chat(agent.HandlerFunc(func(ctx context.Context, w agent.Responder, _ *agent.Inbound) error {
		reached <- w.Agent()
		return w.Agent().Send(ctx, newMessage(t, third.DID))
	}), false)))
	s := newStranger(t, n)
	s.give(t, a, new(call), s.message(t, a, chatType, nil))
	if <-reached != a {
		t.Error("another agent")
	}
	if u := third.next(t); u.Message.From != a.DID() {
		t.Errorf("from %s", u.Message.From)
	}
}

func TestAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := agenttest.NewNet()
		var attempts []int
		a := n.Agent(t, agent.HandlerFunc(func(_ context.Context, w agent.Responder, _ *agent.Inbound) error {
			if attempts = append(attempts, w.Attempt()); len(attempts) < 3 {
				return agent.Retry(0, errors.New("not yet"))
			}
			return nil
		}))
		s := newStranger(t, n)
		s.give(t, a, new(call), s.message(t, a, chatType, nil))
		time.Sleep(time.Hour)
		synctest.Wait()
		if !reflect.DeepEqual(attempts, []int{1, 2, 3}) {
			t.Errorf("attempts %v", attempts)
		}
	})
}

// latin is a Responder that wraps another Responder.
type latin struct{ agent.Responder }

func (w latin) Reply(ctx context.Context, m *message.Message) error {
	out := *m
	out.Lang = "la"
	return w.Responder.Reply(ctx, &out)
}

// A wrapped Responder changes replies, and passes on everything else.
func TestWrappedResponder(t *testing.T) {
	n := agenttest.NewNet()
	a := n.Agent(t, agent.NewMux(
		chat(agent.HandlerFunc(func(ctx context.Context, w agent.Responder, in *agent.Inbound) error {
			if w.Attempt() != 1 || w.Agent() == nil || w.Extend(ctx, 2*time.Minute) != nil {
				return errors.New("a part of the Responder is lost")
			}
			return replier.HandleMessage(ctx, w, in)
		}), false),
		agent.Wrap(func(h agent.Handler) agent.Handler {
			return agent.HandlerFunc(func(ctx context.Context, w agent.Responder, in *agent.Inbound) error {
				return h.HandleMessage(ctx, latin{w}, in)
			})
		}),
	))
	s := newStranger(t, n, "mem://stranger")
	s.give(t, a, new(call), s.message(t, a, chatType, nil))
	if m := s.next(t).Message; m.Lang != "la" {
		t.Errorf("replied %+v", m)
	}
}

// A handler can move its deadline several times, up to a limit. The deadline ends the
// context.
func TestExtend(t *testing.T) {
	const handlerTimeout, maxHandling = time.Minute, 30 * time.Minute
	for name, test := range map[string]struct {
		after, by []time.Duration // the sleep before each Extend, and its argument
		errs      []error
		ends      time.Duration
	}{
		"not":           {ends: time.Minute},
		"once":          {after: []time.Duration{50 * time.Second}, by: []time.Duration{10 * time.Minute}, errs: []error{nil}, ends: 50*time.Second + 10*time.Minute},
		"again":         {after: []time.Duration{50 * time.Second, 9 * time.Minute}, by: []time.Duration{10 * time.Minute, 5 * time.Minute}, errs: []error{nil, nil}, ends: 50*time.Second + 14*time.Minute},
		"never earlier": {after: []time.Duration{0, 0}, by: []time.Duration{10 * time.Minute, time.Second}, errs: []error{nil, nil}, ends: 10 * time.Minute},
		"to the limit":  {after: []time.Duration{0}, by: []time.Duration{maxHandling}, errs: []error{nil}, ends: maxHandling},
		"too long":      {after: []time.Duration{time.Second}, by: []time.Duration{maxHandling}, errs: []error{agent.ErrBusy}, ends: time.Minute},
		"too often":     {after: []time.Duration{0, 20 * time.Minute}, by: []time.Duration{25 * time.Minute, 11 * time.Minute}, errs: []error{nil, agent.ErrBusy}, ends: 25 * time.Minute},
		"too late":      {after: []time.Duration{2 * time.Minute}, by: []time.Duration{time.Minute}, errs: []error{context.DeadlineExceeded}, ends: time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := agenttest.NewNet()
				ran := false
				a := n.Agent(t, agent.HandlerFunc(func(ctx context.Context, w agent.Responder, _ *agent.Inbound) error {
					ran = true
					start := time.Now()
					child, cancel := context.WithCancel(ctx)
					defer cancel()
					ended := make(chan time.Duration, 1)
					context.AfterFunc(child, func() { ended <- time.Since(start) })
					for i := range test.by {
						time.Sleep(test.after[i])
						if err := w.Extend(ctx, test.by[i]); !errors.Is(err, test.errs[i]) {
							t.Errorf("Extend %d: %v, want %v", i, err, test.errs[i])
						}
					}
					if d, ok := ctx.Deadline(); !ok || d.Sub(start) != test.ends {
						t.Errorf("deadline after %v, %t; want %v", d.Sub(start), ok, test.ends)
					}
					if took := <-ended; took != test.ends {
						t.Errorf("ended after %v, want %v", took, test.ends)
					}
					for what, err := range map[string]error{
						"Err": ctx.Err(), "Cause": context.Cause(ctx), "child's Err": child.Err(), "child's Cause": context.Cause(child),
					} {
						wantError(t, what, err, context.DeadlineExceeded)
					}
					return nil
				}), agenttest.Configure(func(cfg *agent.Config) {
					cfg.HandlerTimeout, cfg.MaxHandling = handlerTimeout, maxHandling
				}))
				s := newStranger(t, n)
				s.give(t, a, new(call), s.message(t, a, chatType, nil))
				if !ran {
					t.Error("not handled")
				}
			})
		})
	}
}

// A stop of the agent also ends the context of a handler that has moved its deadline.
func TestExtendEndsWithAgent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var err, extended error
		a, s := bare(t, agent.HandlerFunc(func(ctx context.Context, w agent.Responder, _ *agent.Inbound) error {
			if err := w.Extend(ctx, 30*time.Minute); err != nil {
				t.Error(err)
			}
			<-ctx.Done()
			err, extended = ctx.Err(), w.Extend(ctx, time.Minute)
			return nil
		}))
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- a.Run(ctx) }()
		p := s.pack(t, s.message(t, a, chatType, nil))
		go a.ServePacket(t.Context(), new(call), p)
		synctest.Wait()
		start := time.Now()
		stop()
		if err := <-done; err != nil || time.Since(start) != 3*time.Second {
			t.Errorf("stopped after %v: %v", time.Since(start), err)
		}
		wantError(t, "the context", err, context.Canceled)
		wantError(t, "Extend", extended, context.Canceled)
	})
}

// While the deadline of a handler is moved, no other process gets its message.
func TestExtendKeepsLease(t *testing.T) {
	for name, test := range map[string]struct {
		extend bool
		want   int32
	}{
		"extended": {true, 1},
		"not":      {false, 2}, // a handler that ignores its context
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n, p, box := agenttest.NewNet(), agenttest.NewParty(t), store.NewInbox(store.InboxConfig{})
				var calls atomic.Int32
				h := agent.HandlerFunc(func(ctx context.Context, w agent.Responder, _ *agent.Inbound) error {
					if calls.Add(1) > 1 {
						return nil
					}
					for range 20 {
						if test.extend {
							if err := w.Extend(ctx, 2*time.Minute); err != nil {
								t.Error(err)
							}
						}
						time.Sleep(90 * time.Second)
					}
					return nil
				})
				process := func(inbox store.Inbox) *agent.Agent {
					a, err := agent.New(agent.Config{DID: p.DID, Packer: p.Packer, Handler: h, Store: storeOf(nil, inbox)})
					if err != nil {
						t.Fatal(err)
					}
					ctx, stop := context.WithCancel(t.Context())
					done := make(chan error, 1)
					go func() { done <- a.Run(ctx) }()
					t.Cleanup(func() {
						stop()
						if err := <-done; err != nil {
							t.Error(err)
						}
					})
					return a
				}
				first := process(handsOff{box}) // or its own Lease might come first
				process(box)
				s := newStranger(t, n)
				s.give(t, first, new(call), s.message(t, first, chatType, nil))
				if got := calls.Load(); got != test.want {
					t.Errorf("%d calls, want %d", got, test.want)
				}
				if got := states(t, box); len(got) != 1 || got[0] != store.Done {
					t.Errorf("inbox %v", got)
				}
			})
		})
	}
}

// handsOff is an Inbox whose Lease returns nothing.
type handsOff struct{ store.Inbox }

func (handsOff) Lease(ctx context.Context, _ time.Duration) (*store.Lease[store.Received], error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// unextendable is an Inbox whose Extend fails because the lease is lost.
type unextendable struct{ store.Inbox }

func (unextendable) Extend(context.Context, *store.Lease[store.Received], time.Duration) (*store.Lease[store.Received], error) {
	return nil, store.ErrLease
}

// A deadline does not move if the lease cannot be extended, since another process may get
// the message.
func TestExtendLostLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := agenttest.NewNet()
		var err, short error
		var left time.Duration
		a := n.Agent(t, agent.HandlerFunc(func(ctx context.Context, w agent.Responder, _ *agent.Inbound) error {
			short = w.Extend(ctx, 2*time.Minute) // within the first lease
			err = w.Extend(ctx, 30*time.Minute)
			deadline, _ := ctx.Deadline()
			left = time.Until(deadline)
			return nil
		}), agenttest.Configure(func(cfg *agent.Config) {
			cfg.Store = storeOf(nil, unextendable{store.NewInbox(store.InboxConfig{})})
		}))
		s := newStranger(t, n)
		s.give(t, a, new(call), s.message(t, a, chatType, nil))
		wantError(t, "a short time", short, nil)
		wantError(t, "a long time", err, store.ErrLease)
		if left != 2*time.Minute {
			t.Errorf("%v left", left)
		}
	})
}
