package agent_test

import (
	"context"
	"errors"
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
	"github.com/didcomm-go/didcomm/did"
	"github.com/didcomm-go/didcomm/did/didpeer"
	"github.com/didcomm-go/didcomm/transport"
)

// noOutbox is an Outbox whose Enqueue must not be called.
type noOutbox struct {
	store.Outbox
	t *testing.T
}

func (o noOutbox) Enqueue(context.Context, ...store.Item) error {
	o.t.Error("the outbox was given a message")
	return errors.New("not here")
}

func withoutOutbox(t *testing.T) agenttest.Option {
	return agenttest.Configure(func(cfg *agent.Config) { cfg.Store = storeOf(noOutbox{store.NewOutbox(store.OutboxConfig{}), t}, nil) })
}

// becomes collects the states of outcomes of a message.
func becomes(to *[]delivery.State) agent.SendOption {
	return agent.Outcomes(func(o agent.Outcome) { *to = append(*to, o.State) })
}

// A message that is sent Once has arrived when Send returns, by a receipt over HTTP and
// by an ack over WebSocket.
func TestOnce(t *testing.T) {
	for name, test := range map[string]struct {
		opt  agenttest.Option
		want []delivery.State
	}{
		"http":      {agenttest.HTTP(), []delivery.State{delivery.Sent}},
		"websocket": {agenttest.WebSocket(), []delivery.State{delivery.Sent, delivery.Acknowledged}},
	} {
		t.Run(name, func(t *testing.T) {
			n, got := agenttest.NewNet(), make(inbox, 1)
			a, b := n.Agent(t, nil, test.opt, withoutOutbox(t)), n.Agent(t, got, test.opt)
			var had []delivery.State
			m := newMessage(t, b.DID())
			m.ID = "id"
			if err := a.Send(t.Context(), m, agent.Once(), becomes(&had)); err != nil {
				t.Fatal(err)
			}
			if len(got) != 1 || (<-got).Message.ID != "id" {
				t.Error("not handled when Send returned")
			}
			if len(had) != len(test.want) || had[len(had)-1] != test.want[len(had)-1] {
				t.Errorf("became %v, want %v", had, test.want)
			}
		})
	}
}

// If a message that is sent Once does not arrive, Send returns an error and nothing is
// stored.
func TestOnceFails(t *testing.T) {
	down := &transport.SendError{Endpoint: "test://peer", Retryable: true, Err: errors.New("down")}
	for name, test := range map[string]struct {
		send  sender
		wait  time.Duration // deadline of the context; 0 for none
		state delivery.State
		want  error
	}{
		"unreachable": {send: func(context.Context, string, transport.Packet) error { return down }, state: delivery.Queued, want: down},
		"refused": {
			send: func(context.Context, string, transport.Packet) error {
				return &transport.SendError{Err: errors.New("no")}
			},
			state: delivery.GivenUp,
		},
		"in vain": {
			send: func(ctx context.Context, _ string, _ transport.Packet) error { <-ctx.Done(); return ctx.Err() },
			wait: time.Second, state: delivery.Queued, want: context.DeadlineExceeded,
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := agenttest.NewNet()
				a := n.Agent(t, nil, withoutOutbox(t), withSender(test.send))
				s, other := agenttest.NewParty(t, "test://peer"), agenttest.NewParty(t, "test://other")
				ctx, begin := t.Context(), time.Now()
				if test.wait > 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, test.wait)
					defer cancel()
				}
				var had []delivery.State
				err := a.Send(ctx, newMessage(t, s.DID, other.DID), agent.Once(), becomes(&had))
				var e *delivery.Error
				if !errors.As(err, &e) || e.Outcome.State != test.state || e.Outcome.To != s.DID || e.Outcome.Err == nil || e.Outcome.Attempts != 1 {
					t.Fatalf("error %#v", err)
				}
				wantError(t, "Send", err, agent.ErrUndelivered)
				if test.want != nil {
					wantError(t, "Send", err, test.want)
				}
				if len(had) != 1 || had[0] != test.state { // the second recipient is not sent the message
					t.Errorf("became %v", had)
				}
				if took := time.Since(begin); took != test.wait {
					t.Errorf("took %v", took)
				}
				time.Sleep(time.Hour) // nothing is sent later
				if len(had) != 1 {
					t.Errorf("became %v", had)
				}
			})
		})
	}
}

// With Once, a missing ack of a party that sends acks is an error.
func TestOnceUnacked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := agenttest.NewNet()
		a, s, w := n.Agent(t, fails(nil), withoutOutbox(t)), newStranger(t, n), newSession()
		s.give(t, a, w, s.message(t, a, chatType, func(m *message.Message) { m.ReturnRoute = "all" }))
		send := func() <-chan error {
			done := make(chan error, 1)
			go func() { done <- a.Send(t.Context(), newMessage(t, s.DID), agent.Once()) }()
			return done
		}
		done := send()
		m := s.open(t, w.next(t)).Message
		s.give(t, a, w, s.message(t, a, emptyType, func(e *message.Message) { e.Ack = []string{m.ID} }))
		wantError(t, "acked", <-done, nil)
		done = send()
		w.next(t)
		wantError(t, "silence", <-done, agent.ErrUndelivered)
		done = send()
		w.next(t)
		close(w.done)
		wantError(t, "the end of the connection", <-done, agent.ErrUndelivered)
	})
}

// The outcome of a message that is sent Once has the problem that the recipient reports
// about it.
func TestOnceProblem(t *testing.T) {
	for name, opt := range map[string]agenttest.Option{"http": agenttest.HTTP(), "websocket": agenttest.WebSocket()} {
		t.Run(name, func(t *testing.T) {
			n, got := agenttest.NewNet(), make(inbox, 1)
			box := ending{store.NewInbox(store.InboxConfig{}), make(chan string, 10)}
			guest := n.Agent(t, got, opt, agenttest.Hidden(), withoutOutbox(t), agenttest.Configure(func(cfg *agent.Config) {
				cfg.Guest, cfg.Store = true, storeOf(nil, box)
			}))
			b := n.Agent(t, fails(message.NewProblem("e.p.x", nil)), opt)
			var last agent.Outcome
			err := guest.Send(t.Context(), newMessage(t, b.DID()), agent.Once(), agent.ReturnRoute("all"),
				agent.Outcomes(func(o agent.Outcome) { last = o }))
			var p *message.Problem
			if err != nil || !errors.As(last.Err, &p) || p.Code != "e.p.x" || !last.Arrived() {
				t.Errorf("%+v, %v", last, err)
			}
			if how := <-box.ended; how != "ack" {
				t.Errorf("the report ended by %s", how)
			}
		})
	}
}

// ending is an Inbox that records how its leases end.
type ending struct {
	store.Inbox
	ended chan string
}

func (e ending) Ack(ctx context.Context, l *store.Lease[store.Received], replies ...store.Packet) error {
	e.ended <- "ack"
	return e.Inbox.Ack(ctx, l, replies...)
}

func (e ending) Nak(ctx context.Context, l *store.Lease[store.Received], delay time.Duration, reason string) error {
	e.ended <- "nak"
	return e.Inbox.Nak(ctx, l, delay, reason)
}

func entries(t *testing.T, b store.Inbox) []store.Entry[store.Received] {
	t.Helper()
	list, err := b.(store.InboxAdmin).List(t.Context(), 0, 100)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// A Guest takes nothing from the store. It leaves received messages in the inbox to its
// host, without a try.
func TestGuest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := agenttest.NewNet()
		host := agenttest.NewParty(t, "mem://host")
		s := newStranger(t, n, "mem://stranger")
		box, out := store.NewInbox(store.InboxConfig{}), store.NewOutbox(store.OutboxConfig{})
		r := new(recorder)
		shared := agenttest.Configure(func(cfg *agent.Config) {
			cfg.DID, cfg.Packer, cfg.Store = host.DID, host.Packer, storeOf(out, box)
		})
		old := newMessage(t, host.DID)
		old.From = s.DID
		leave(t, box, s, host.DID, old)
		time.Sleep(2 * time.Minute) // the lease has ended

		called := agent.HandlerFunc(func(context.Context, agent.Responder, *agent.Inbound) error {
			t.Error("a guest called its handler")
			return nil
		})
		guest := n.Agent(t, custodian(called), shared, r.option(), agenttest.Configure(func(cfg *agent.Config) { cfg.Guest = true }))
		if err := guest.Send(t.Context(), newMessage(t, s.DID)); err != nil {
			t.Fatal(err)
		}
		asking := s.message(t, guest, chatType, func(m *message.Message) { m.PleaseAck, m.ReturnRoute = []string{""}, "all" })
		c := new(call)
		s.give(t, guest, c, asking)
		lost := s.message(t, guest, reportType, func(m *message.Message) { m.ParentThreadID, m.Body = "x", []byte(`{"code":"e.p.x"}`) })
		s.give(t, guest, new(call), lost)
		// The guest gets the answer to its Request.
		asked := make(chan result, 1)
		go func() {
			in, err := guest.Request(t.Context(), newMessage(t, s.DID), agent.Once())
			asked <- result{in, err}
		}()
		q := s.next(t).Message
		s.give(t, guest, new(call), s.message(t, guest, chatType, func(m *message.Message) { m.ThreadID = q.ID }))
		if got := <-asked; got.err != nil {
			t.Error(got.err)
		}
		time.Sleep(time.Hour) // virtual time
		s.none(t)
		if len(c.packets) != 0 {
			t.Error("acked what is not handled")
		}
		waiting := map[string]bool{old.ID: true, asking.ID: true, lost.ID: true}
		for _, e := range entries(t, box) {
			switch {
			case !waiting[e.Item.ID]:
				if e.State != store.Done {
					t.Errorf("%s of %s", e.State, e.Item.Type)
				}
				continue
			case e.Item.ID == old.ID:
			case e.State != store.Waiting || e.Attempts != 0 || e.LastError != "" || len(e.Item.Packet.Data) == 0:
				t.Errorf("%s after %d attempts: %s", e.State, e.Attempts, e.LastError)
			}
			delete(waiting, e.Item.ID)
		}
		if len(waiting) != 0 {
			t.Errorf("not left: %v", waiting)
		}

		// The host then handles and sends everything.
		got := make(inbox, 10)
		n.Agent(t, got, shared)
		had := map[string]bool{}
		for range 3 {
			had[got.next(t).Message.ID] = true
		}
		if s.next(t); !had[old.ID] || !had[asking.ID] || !had[lost.ID] {
			t.Errorf("handled %v", had)
		}
	})
}

// Push writes to an open connection of the recipient at once, or fails.
func TestPushToParty(t *testing.T) {
	n := agenttest.NewNet()
	a, s, w := n.Agent(t, fails(nil), withoutOutbox(t)), newStranger(t, n, "mem://stranger"), newSession()
	wantError(t, "no connection", a.Push(t.Context(), newMessage(t, s.DID)), agent.ErrNoRoute)
	s.give(t, a, w, s.message(t, a, chatType, func(m *message.Message) { m.ReturnRoute = "all" }))
	m := newMessage(t, s.DID+"#key-2")
	if err := a.Push(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	if got := s.open(t, w.next(t)).Message; got.ID == "" || got.From != a.DID() || len(got.PleaseAck) != 0 || got.ReturnRoute != "" || m.ID != "" && got.ID != m.ID {
		t.Errorf("%+v", got)
	}
	if err := a.Push(t.Context(), newMessage(t, s.DID, s.DID)); err == nil {
		t.Error("two recipients")
	}
	wantError(t, "another party", a.Push(t.Context(), newMessage(t, newStranger(t, n).DID)), agent.ErrNoRoute)
	close(w.done)
	wantError(t, "after the end", a.Push(t.Context(), newMessage(t, s.DID)), agent.ErrNoRoute)
	s.give(t, a, failing{make(chan struct{})}, s.message(t, a, chatType, func(m *message.Message) { m.ReturnRoute = "all" }))
	wantError(t, "a connection that takes nothing", a.Push(t.Context(), newMessage(t, s.DID)), agent.ErrNoRoute)
	s.none(t)
}

// Relay sends a packet unchanged to the endpoint of a DID, or to an endpoint.
func TestRelay(t *testing.T) {
	n := agenttest.NewNet()
	a, s := n.Agent(t, nil), newStranger(t, n, "mem://stranger")
	author := newStranger(t, n)
	m := newMessage(t, s.DID)
	m.ID, m.From = "id", author.DID
	p := transport.Packet(author.pack(t, m))
	for _, to := range []string{s.DID, "mem://stranger"} {
		if err := a.Relay(t.Context(), p, to, time.Time{}); err != nil {
			t.Fatal(err)
		}
		if u := s.next(t); u.Message.ID != "id" || u.Message.From != author.DID {
			t.Errorf("to %s came %+v", to, u.Message)
		}
	}
	for _, to := range []string{"coap://stranger", "stranger", "", author.DID} {
		wantError(t, "Relay to "+to, a.Relay(t.Context(), p, to, time.Time{}), agent.ErrNoRoute)
	}
}

// A packet for a DID behind a mediator is wrapped in a forward.
func TestRelayThroughMediator(t *testing.T) {
	n := agenttest.NewNet()
	a, mediator := n.Agent(t, nil), newStranger(t, n, "mem://mediator")
	key, err := keyring.Generate(keyring.X25519)
	if err != nil {
		t.Fatal(err)
	}
	behind, err := didpeer.New2([]didpeer.Key{{Purpose: didpeer.KeyAgreement, Public: key.Public()}}, did.NewDIDCommService("", mediator.DID))
	if err != nil {
		t.Fatal(err)
	}
	author := newStranger(t, n)
	list, err := author.Packer.Pack(t.Context(), newMessage(t, behind), envelope.To(behind), anonymously)
	if err != nil {
		t.Fatal(err)
	}
	expires := time.Now().Add(time.Hour).Truncate(time.Second)
	if err := a.Relay(t.Context(), transport.Packet{MediaType: list[0].MediaType, Data: list[0].Data}, behind, expires); err != nil {
		t.Fatal(err)
	}
	u := mediator.next(t)
	m := u.Message
	var body struct {
		Next string `json:"next"`
	}
	if err := m.DecodeBody(&body); err != nil || m.Type != forwardType || body.Next != behind || !m.ExpiresTime.Equal(expires) || len(m.Attachments) != 1 {
		t.Errorf("%+v, %v", m, err)
	}
}

// A packet is retried until it expires, and for MaxAge at most.
func TestRelayExpires(t *testing.T) {
	for name, test := range map[string]struct{ expires, want time.Duration }{
		"expiry": {time.Minute, time.Minute},
		"none":   {0, time.Hour},
		"past":   {-time.Minute, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var last time.Time
				n, r := agenttest.NewNet(), new(recorder)
				begin := time.Now()
				a := n.Agent(t, nil, r.option(), agenttest.Configure(func(cfg *agent.Config) { cfg.MaxAge = time.Hour }),
					withSender(func(context.Context, string, transport.Packet) error {
						last = time.Now()
						return &transport.SendError{Retryable: true, Err: errors.New("down")}
					}))
				var expires time.Time
				if test.expires != 0 {
					expires = begin.Add(test.expires)
				}
				if err := a.Relay(t.Context(), transport.Packet{MediaType: transport.MediaTypeEncrypted, Data: []byte("{}")}, "test://peer", expires); err != nil {
					t.Fatal(err)
				}
				time.Sleep(2 * time.Hour) // virtual time
				synctest.Wait()
				if tried := last.Sub(begin); !last.IsZero() && tried >= test.want || last.IsZero() != (test.want == 0) || !last.IsZero() && tried < test.want/4 {
					t.Errorf("tried for %v, want %v", tried, test.want)
				}
				o := r.out[len(r.out)-1]
				if o.State != delivery.Expired || o.To != "test://peer" || r.outNames[len(r.out)-1] != "buried" {
					t.Errorf("%+v", o)
				}
			})
		})
	}
}
