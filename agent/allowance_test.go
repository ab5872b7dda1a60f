package agent_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/agenttest"
	"github.com/didcomm-go/didcomm/agent/delivery"
	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/keyring"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/agent/store/sqlstore"
	"github.com/didcomm-go/didcomm/agent/store/sqlstore/sqlite"
	"github.com/didcomm-go/didcomm/did"
	"github.com/didcomm-go/didcomm/did/didpeer"
	"github.com/didcomm-go/didcomm/transport"
)

// enqueued is an outbox that keeps a copy of each item.
type enqueued struct {
	store.Outbox

	mu    sync.Mutex
	items []store.Item
}

func (e *enqueued) Enqueue(ctx context.Context, items ...store.Item) error {
	err := e.Outbox.Enqueue(ctx, items...)
	if err == nil {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.items = append(e.items, items...)
	}
	return err
}

// take returns the items since the last call.
func (e *enqueued) take() []store.Item {
	e.mu.Lock()
	defer e.mu.Unlock()
	defer func() { e.items = nil }()
	return e.items
}

// boxed returns an agent and its outbox.
func boxed(t *testing.T, n *agenttest.Net, h agent.Handler) (*agent.Agent, *enqueued) {
	t.Helper()
	box := &enqueued{Outbox: store.NewOutbox(store.OutboxConfig{})}
	a := n.Agent(t, h, agenttest.Configure(func(cfg *agent.Config) { cfg.Store = storeOf(box, nil) }))
	return a, box
}

// The owner's messages, answers to contacts and answers to strangers are of different
// classes. An answer to a stranger has a short life.
func TestItemClasses(t *testing.T) {
	ctx, n := t.Context(), agenttest.NewNet()
	other := agenttest.NewParty(t, "mem://nobody")
	var a *agent.Agent
	commit := func(to ...string) agent.HandlerFunc {
		return func(ctx context.Context, w agent.Responder, _ *agent.Inbound) error {
			return w.Commit(ctx, agent.Changes{Send: []*message.Message{newMessage(t, to...)}})
		}
	}
	for name, c := range map[string]struct {
		handler agent.HandlerFunc // answers a message of the stranger
		call    func(s *stranger) error
		edit    func(m *message.Message)
		// The class for a stranger, and for a contact.
		want, contact store.Class
		made          bool // the stranger becomes a contact
	}{
		"Send":    {call: func(s *stranger) error { return a.Send(ctx, newMessage(t, s.DID)) }, made: true},
		"Request": {call: func(s *stranger) error { return stored(a, s) }, made: true},
		"Agent.Commit": {call: func(s *stranger) error {
			return a.Commit(ctx, agent.Changes{Send: []*message.Message{newMessage(t, s.DID)}})
		}, made: true},
		"Relay": {call: func(s *stranger) error {
			return a.Relay(ctx, transport.Packet{MediaType: transport.MediaTypeEncrypted, Data: []byte("{}")}, s.DID, time.Time{})
		}, want: store.ClassKnown, contact: store.ClassKnown},
		"Reply": {handler: replier, want: store.ClassStranger, contact: store.ClassKnown},
		"ack": {handler: func(context.Context, agent.Responder, *agent.Inbound) error { return nil },
			edit: func(m *message.Message) { m.PleaseAck = []string{m.ID} }, want: store.ClassStranger, contact: store.ClassKnown},
		"problem": {handler: func(context.Context, agent.Responder, *agent.Inbound) error {
			return message.NewProblem(message.CodeInternal, nil)
		}, want: store.ClassStranger, contact: store.ClassKnown},
		"Commit reply": {handler: commit(), want: store.ClassStranger, contact: store.ClassKnown},
		"Commit to the sender": {handler: func(ctx context.Context, w agent.Responder, in *agent.Inbound) error {
			return commit(in.From)(ctx, w, in)
		}, want: store.ClassStranger, contact: store.ClassKnown},
		"Commit to another": {handler: commit(other.DID), want: store.ClassKnown, contact: store.ClassKnown},
	} {
		for _, known := range []bool{false, true} {
			t.Run(fmt.Sprint(name, " contact ", known), func(t *testing.T) {
				s := &stranger{Party: agenttest.NewParty(t, "mem://nobody")}
				var box *enqueued
				a, box = boxed(t, n, c.handler)
				want := c.want
				if known {
					want = c.contact
					if err := a.Contacts().Keep(ctx, a.DID(), s.DID); err != nil {
						t.Fatal(err)
					}
				}
				before := time.Now()
				if c.call != nil {
					if err := c.call(s); err != nil {
						t.Fatal(err)
					}
				} else {
					m := s.message(t, a, chatType, func(m *message.Message) { m.ID = "m" })
					if c.edit != nil {
						c.edit(m)
					}
					s.give(t, a, new(call), m)
				}
				items := box.take()
				if len(items) != 1 {
					t.Fatalf("%d items", len(items))
				}
				it := items[0]
				if it.Class != want {
					t.Errorf("class %q, want %q", it.Class, want)
				}
				life := it.Deadline.Sub(before).Round(time.Minute)
				if short := life == 10*time.Minute; short != (want == store.ClassStranger) {
					t.Errorf("life %v", life)
				}
				if got, err := a.Contacts().IsContact(ctx, a.DID(), s.DID); got != (known || c.made) || err != nil {
					t.Errorf("a contact: %t, %v", got, err)
				}
			})
		}
	}
}

// A message of a Handler to a stranger and to a contact is of the class of each.
func TestClassOfEach(t *testing.T) {
	n := agenttest.NewNet()
	s, friend := &stranger{Party: agenttest.NewParty(t, "mem://nobody")}, agenttest.NewParty(t, "mem://nobody")
	a, box := boxed(t, n, agent.HandlerFunc(func(ctx context.Context, w agent.Responder, in *agent.Inbound) error {
		return w.Commit(ctx, agent.Changes{Send: []*message.Message{newMessage(t, in.From, friend.DID)}})
	}))
	if err := a.Contacts().Keep(t.Context(), a.DID(), friend.DID); err != nil {
		t.Fatal(err)
	}
	s.give(t, a, new(call), s.message(t, a, chatType, nil))
	got := make(map[string]store.Class)
	for _, it := range box.take() {
		got[it.To] = it.Class
	}
	if want := map[string]store.Class{s.DID: store.ClassStranger, friend.DID: store.ClassKnown}; !maps.Equal(got, want) {
		t.Errorf("classes %v", got)
	}
}

// stored stores a Request to s in the outbox, and does not wait for the answer.
func stored(a *agent.Agent, s *stranger) error {
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	_, err := a.Request(ctx, &message.Message{Type: chatType, To: []string{s.DID}})
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, agent.ErrUndelivered) {
		return nil
	}
	return err
}

// The answers to one message of a stranger have twice its bytes together, or 64 KiB if that
// is more, whether they leave by its connection or by the outbox. A contact has no such
// limit.
func TestAnswerLimit(t *testing.T) {
	const part = 16 << 10 // the body of one answer
	reply := func(ctx context.Context, w agent.Responder, m *message.Message) error { return w.Reply(ctx, m) }
	for name, c := range map[string]struct {
		bytes   int // of the body of the message
		back    bool
		contact bool
		send    func(ctx context.Context, w agent.Responder, m *message.Message) error
		least   int // bytes of answers
		most    int
	}{
		"outbox":               {send: reply, least: 32 << 10, most: 64 << 10},
		"outbox, long message": {send: reply, bytes: 100_000, least: 200_000, most: 320_000},
		"connection":           {send: reply, back: true, least: 32 << 10, most: 64 << 10},
		"contact":              {send: reply, contact: true, least: 1 << 20, most: 2 << 20},
	} {
		t.Run(name, func(t *testing.T) {
			n := agenttest.NewNet()
			s := &stranger{Party: agenttest.NewParty(t, "mem://nobody")}
			var last error
			a, box := boxed(t, n, agent.HandlerFunc(func(ctx context.Context, w agent.Responder, in *agent.Inbound) error {
				for range (1 << 20) / part {
					m := newMessage(t)
					m.Body = fmt.Appendf(nil, `{"text":%q}`, strings.Repeat("a", part))
					if last = c.send(ctx, w, m); last != nil {
						break
					}
				}
				return nil
			}))
			if c.contact {
				if err := a.Contacts().Keep(t.Context(), a.DID(), s.DID); err != nil {
					t.Fatal(err)
				}
			}
			m := s.message(t, a, chatType, func(m *message.Message) {
				m.ID, m.Body = "m", fmt.Appendf(nil, `{"text":%q}`, strings.Repeat("a", c.bytes))
			})
			w := newSession()
			if c.back {
				m.ReturnRoute = "all"
			}
			handled, err := a.ServePacket(t.Context(), w, s.pack(t, m))
			if err != nil {
				t.Fatal(err)
			}
			<-handled
			if c.contact != (last == nil) || last != nil && !errors.Is(last, agent.ErrAnswerLimit) {
				t.Errorf("error %v", last)
			}
			size := 0
			for _, it := range box.take() {
				size += int(it.Bytes())
			}
			for c.back && len(w.packets) > 0 {
				size += len((<-w.packets).Data)
			}
			if size < c.least || size > c.most {
				t.Errorf("%d bytes", size)
			}
		})
	}
}

// A Commit that exceeds the limit changes nothing, and a Handler that is called again has
// no more bytes than before.
func TestAnswerLimitCommit(t *testing.T) {
	n := agenttest.NewNet()
	s := &stranger{Party: agenttest.NewParty(t, "mem://nobody")}
	var errs []error
	a, box := boxed(t, n, agent.HandlerFunc(func(ctx context.Context, w agent.Responder, _ *agent.Inbound) error {
		for _, size := range []int{60 << 10, 40 << 10, 10 << 10} { // too large, enough, too large with the one before
			m := newMessage(t)
			m.Body = fmt.Appendf(nil, `{"text":%q}`, strings.Repeat("a", size))
			var err error
			if err = w.Commit(ctx, agent.Changes{
				Put:  []store.Record{{Collection: "test", Key: fmt.Sprint(size, w.Attempt())}},
				Send: []*message.Message{m},
			}); err == nil {
				err = w.Reply(ctx, m)
			}
			errs = append(errs, err)
		}
		return nil
	}))
	s.give(t, a, new(call), s.message(t, a, chatType, func(m *message.Message) { m.ID = "m" }))
	if len(errs) != 3 || !errors.Is(errs[0], agent.ErrAnswerLimit) || !errors.Is(errs[1], agent.ErrAnswerLimit) {
		t.Fatalf("errors %v", errs)
	}
	if got := len(box.take()); got != 1 {
		t.Errorf("%d answers", got)
	}
	if _, err := a.Store().Records().Get(t.Context(), "test", fmt.Sprint(60<<10, 1)); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("record of a failed commit: %v", err)
	}
}

// Three endpoints of a stranger are worked for, with three routing keys each. A contact has
// the limits of packages delivery and envelope.
func TestStrangerRoutes(t *testing.T) {
	mediators := make([]string, 5)
	for i := range mediators {
		mediators[i] = agenttest.NewParty(t).DID
	}
	for name, c := range map[string]struct {
		hops          []int // the number of routing keys of each endpoint
		want, contact int   // endpoints of the answer
		back          bool  // a stranger is answered on the connection of its message
	}{
		"endpoints": {hops: []int{0, 0, 0, 0, 0}, want: 3, contact: 4},
		"hops":      {hops: []int{4, 3, 5, 0}, want: 2, contact: 4},
		"too many":  {hops: []int{4}, back: true, contact: 1},
	} {
		for _, known := range []bool{false, true} {
			t.Run(fmt.Sprint(name, " contact ", known), func(t *testing.T) {
				n := agenttest.NewNet()
				a, box := boxed(t, n, replier)
				s := &stranger{Party: partyBehind(t, mediators, c.hops)}
				want := c.want
				if known {
					want = c.contact
					if err := a.Contacts().Keep(t.Context(), a.DID(), s.DID); err != nil {
						t.Fatal(err)
					}
				}
				w := new(call)
				s.give(t, a, w, s.message(t, a, chatType, nil))
				items := box.take()
				if back := c.back && !known; back != (len(items) == 0) || back != (len(w.packets) == 1) {
					t.Fatalf("%d items, %d on the connection", len(items), len(w.packets))
				}
				if len(items) > 0 && len(items[0].Endpoints) != want {
					t.Errorf("%d endpoints, want %d", len(items[0].Endpoints), want)
				}
			})
		}
	}
}

// partyBehind returns a party that has an endpoint for each of hops, behind that many
// mediators.
func partyBehind(t *testing.T, mediators []string, hops []int) *agenttest.Party {
	t.Helper()
	key, err := keyring.Generate(keyring.X25519)
	if err != nil {
		t.Fatal(err)
	}
	var services []did.Service
	for i, n := range hops {
		services = append(services, did.NewDIDCommService(fmt.Sprint("#", i), fmt.Sprint("mem://down-", i), mediators[:n]...))
	}
	id, err := didpeer.New2([]didpeer.Key{{Purpose: didpeer.KeyAgreement, Public: key.Public()}}, services...)
	if err != nil {
		t.Fatal(err)
	}
	p := agenttest.NewParty(t)
	p.DID, p.Keys = id, keyring.New()
	if err := p.Keys.Add(id+"#key-1", key); err != nil {
		t.Fatal(err)
	}
	if p.Packer, err = envelope.New(envelope.Config{Keys: p.Keys, Resolver: p.Resolver}); err != nil {
		t.Fatal(err)
	}
	return p
}

// unsteady is a Resolver that does not resolve the DID id while err is not nil.
type unsteady struct {
	did.Resolver
	id string

	mu  sync.Mutex
	err error
}

func (u *unsteady) Resolve(ctx context.Context, id string) (*did.Document, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.err != nil && id == u.id {
		return nil, u.err
	}
	return u.Resolver.Resolve(ctx, id)
}

func (u *unsteady) set(err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.err = err
}

// The outbox keeps a message for a party behind mediators once, for all endpoints. The
// message is wrapped when it leaves, so the DID of a mediator may become reachable later.
func TestWrapLate(t *testing.T) {
	for name, c := range map[string]struct {
		err  error
		want delivery.State // after the first try
	}{
		"not reachable": {errors.New("down"), delivery.Queued},
		"never":         {did.ErrNotFound, delivery.GivenUp},
	} {
		t.Run(name, func(t *testing.T) {
			n := agenttest.NewNet()
			us, mediator := agenttest.NewParty(t), newStranger(t, n, "mem://mediator")
			to := partyBehind(t, []string{mediator.DID}, []int{1, 1}) // at endpoints that do not answer
			peers := &unsteady{Resolver: us.Resolver, id: mediator.DID, err: c.err}
			packer, err := envelope.New(envelope.Config{Keys: us.Keys, Resolver: peers})
			if err != nil {
				t.Fatal(err)
			}
			box := &enqueued{Outbox: store.NewOutbox(store.OutboxConfig{})}
			arrived, told := make(chan transport.Packet, 1), make(chan delivery.Outcome, 100)
			a := n.Agent(t, nil, agenttest.Configure(func(cfg *agent.Config) {
				cfg.DID, cfg.Packer, cfg.Store = us.DID, packer, storeOf(box, nil)
				cfg.Senders["mem"] = sender(func(_ context.Context, _ string, p transport.Packet) error { arrived <- p; return nil })
				cfg.MinBackoff = time.Millisecond
				cfg.Trace = &agent.Trace{
					Queued: func(_ context.Context, o agent.Outcome) { told <- o },
					Sent:   func(_ context.Context, o agent.Outcome) { told <- o },
					Buried: func(_ context.Context, o agent.Outcome) { told <- o },
				}
			}))
			m := newMessage(t, to.DID)
			m.ExpiresTime = time.Now().Add(time.Hour).Truncate(time.Second)
			if err := a.Send(t.Context(), m); err != nil {
				t.Fatal(err)
			}
			it := box.take()[0]
			if len(it.Endpoints) != 2 || len(it.Endpoints[1].RoutingKeys) != 1 || it.Bytes() != int64(len(it.Direct.Data)) || !it.Expires.Equal(m.ExpiresTime) {
				t.Errorf("the outbox has %+v", it)
			}
			o := <-told
			if o.State != c.want || !strings.Contains(o.Err.Error(), "wrap: forward by "+mediator.DID) {
				t.Fatalf("%v", o)
			}
			if c.want == delivery.GivenUp {
				return
			}
			peers.set(nil)
			u := mediator.open(t, <-arrived)
			if u.Message.Type != forwardType || !u.Message.ExpiresTime.Equal(m.ExpiresTime) {
				t.Errorf("the mediator got %+v", u.Message)
			}
		})
	}
}

// crowded is an outbox without room for strangers.
type crowded struct{ store.Outbox }

func (c crowded) Enqueue(ctx context.Context, items ...store.Item) error {
	for _, it := range items {
		if it.Class == store.ClassStranger {
			return store.ErrFull
		}
	}
	return c.Outbox.Enqueue(ctx, items...)
}

// Where the outbox has no room for strangers, their acks, ping responses and problem reports
// are not sent. A Handler that cannot send another answer is called a few times, and then
// its message is set aside. The owner still sends messages, and contacts get answers.
func TestNoRoomForStrangers(t *testing.T) {
	typed := func(typ string) agent.Handler {
		return agent.HandlerFunc(func(ctx context.Context, w agent.Responder, _ *agent.Inbound) error {
			return w.Reply(ctx, &message.Message{Type: typ})
		})
	}
	for name, c := range map[string]struct {
		handler agent.Handler
		calls   int32
		state   store.State
	}{
		"reply": {replier, 5, store.Buried},
		"commit": {agent.HandlerFunc(func(ctx context.Context, w agent.Responder, _ *agent.Inbound) error {
			return w.Commit(ctx, agent.Changes{Send: []*message.Message{newMessage(t)}})
		}), 5, store.Buried},
		"ping response": {typed("https://didcomm.org/trust-ping/2.0/ping-response"), 1, store.Done},
		"ack":           {agent.HandlerFunc(func(context.Context, agent.Responder, *agent.Inbound) error { return nil }), 1, store.Done},
		"problem": {agent.HandlerFunc(func(context.Context, agent.Responder, *agent.Inbound) error {
			return message.NewProblem(message.CodeInternal, nil)
		}), 1, store.Done},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n, h, b := agenttest.NewNet(), &counter{Handler: c.handler}, store.NewInbox(store.InboxConfig{})
				s, friend := newStranger(t, n, "mem://stranger"), newStranger(t, n, "mem://friend")
				a := n.Agent(t, h, agenttest.Configure(func(cfg *agent.Config) {
					cfg.Store = storeOf(crowded{store.NewOutbox(store.OutboxConfig{})}, b)
				}))
				s.give(t, a, new(call), s.message(t, a, chatType, func(m *message.Message) { m.ID, m.PleaseAck = "m", []string{"m"} }))
				time.Sleep(10 * time.Minute)
				synctest.Wait()
				if n := h.n.Load(); n != c.calls {
					t.Errorf("handled %d times", n)
				}
				if got := states(t, b); len(got) != 1 || got[0] != c.state {
					t.Errorf("the inbox has %q", got)
				}
				s.none(t)
				if err := a.Send(t.Context(), newMessage(t, friend.DID), agent.AwaitDelivery()); err != nil {
					t.Error(err)
				}
				friend.next(t)
				friend.give(t, a, new(call), friend.message(t, a, chatType, func(m *message.Message) { m.ID, m.PleaseAck = "m", []string{"m"} }))
				synctest.Wait()
				friend.next(t)
			})
		})
	}
}

// A flood of strangers fills only their share of the outbox, so that the owner still sends.
func TestFloodOfStrangers(t *testing.T) {
	limits := store.OutboxConfig{MaxItems: 160} // a sixteenth is for strangers
	for name, open := range map[string]func(t *testing.T) store.Store{
		"memory": func(*testing.T) store.Store { return store.New(store.Config{Outbox: limits}) },
		"SQLite": func(t *testing.T) store.Store {
			s, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "agent.db"), sqlstore.Config{Outbox: limits})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = s.Close() })
			return s
		},
	} {
		t.Run(name, func(t *testing.T) {
			var full atomic.Int32
			h := agent.HandlerFunc(func(ctx context.Context, w agent.Responder, in *agent.Inbound) error {
				err := replier(ctx, w, in)
				if errors.Is(err, store.ErrFull) {
					full.Add(1)
				}
				return err
			})
			n, st := agenttest.NewNet(), open(t)
			a := n.Agent(t, h, agenttest.Configure(func(cfg *agent.Config) {
				cfg.Store, cfg.MaxTries, cfg.MinBackoff, cfg.MaxBackoff = st, 1, time.Minute, time.Minute
			}))
			for range 30 {
				s := &stranger{Party: agenttest.NewParty(t, "mem://nobody")}
				s.give(t, a, new(call), s.message(t, a, chatType, func(m *message.Message) { m.ID = "m" }))
			}
			if n := full.Load(); n != 20 {
				t.Errorf("%d answers found no room", n)
			}
			for range 40 {
				if err := a.Send(t.Context(), newMessage(t, agenttest.NewParty(t, "mem://nobody").DID)); err != nil {
					t.Fatalf("the owner cannot send: %v", err)
				}
			}
		})
	}
}
