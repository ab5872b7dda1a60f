package senders_test

import (
	"context"
	"errors"
	"log/slog"
	"reflect"
	"testing"
	"time"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/agenttest"
	"github.com/didcomm-go/didcomm/agent/mediator"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/protocols/mediation"
	"github.com/didcomm-go/didcomm/protocols/senders"
)

// forward is the body of a forward that a mediator has got.
type forward struct {
	Next       string `json:"next"`
	Capability string `json:"capability"`
}

// world is a mediator with a client.
type world struct {
	*agenttest.Net
	mediator string
	client   *agent.Agent
	state    *mediator.Mediator
	forwards chan forward
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{Net: agenttest.NewNet(), forwards: make(chan forward, 10)}
	a := w.Agent(t, nil, agenttest.Configure(func(cfg *agent.Config) {
		log := slog.New(slog.NewTextHandler(t.Output(), nil))
		cfg.Store = store.New(store.Config{})
		var err error
		w.state, err = mediator.New(mediator.Config{DID: cfg.DID, Store: cfg.Store, Mailbox: store.NewMailbox(store.MailboxConfig{}), Logger: log})
		if err != nil {
			t.Fatal(err)
		}
		const piuri = "https://didcomm.org/routing/2.0"
		cfg.Handler = agent.NewMux(mediation.Serve(w.state, log), senders.Serve(w.state, log), agent.Handle(agent.Protocol{
			PIURI: piuri,
			Custody: map[string]agent.Handler{piuri + "/forward": agent.HandlerFunc(func(_ context.Context, _ agent.Responder, in *agent.Inbound) error {
				var f forward
				if err := in.Message.DecodeBody(&f); err != nil {
					return err
				}
				w.forwards <- f
				return nil
			})},
		}))
	}))
	w.mediator = a.DID()
	w.client = w.Agent(t, nil, agenttest.Hidden())
	if _, err := mediation.Enroll(t.Context(), w.client, w.mediator); err != nil {
		t.Fatal(err)
	}
	return w
}

// accepts says whether the mediator takes a forward.
func (w *world) accepts(t *testing.T, f mediator.Forward) bool {
	t.Helper()
	f.Next, f.Packet = w.client.DID(), store.Packet{Data: []byte(message.NewID())}
	err := w.state.Accept(t.Context(), f)
	if err != nil && !errors.Is(err, mediator.ErrNotAllowed) {
		t.Fatal(err)
	}
	return err == nil
}

func TestLists(t *testing.T) {
	w := newWorld(t)
	friend, stranger := mediator.Forward{Sender: "did:example:friend"}, mediator.Forward{Sender: "did:example:stranger"}
	for _, tt := range []struct {
		list                        senders.List
		friend, stranger, anonymous bool
	}{
		{senders.List{}, true, true, true},
		{senders.List{Mode: senders.Allow, DIDs: []string{friend.Sender}}, true, false, false},
		{senders.List{Mode: senders.Block, DIDs: []string{friend.Sender}}, false, true, true},
		{senders.List{Mode: senders.Block, DIDs: []string{friend.Sender}, RefuseAnonymous: true}, false, true, false},
		{senders.List{Mode: senders.Open}, true, true, true},
	} {
		if err := senders.Set(t.Context(), w.client, w.mediator, tt.list); err != nil {
			t.Fatal(err)
		}
		got, err := senders.Get(t.Context(), w.client, w.mediator, "")
		if err != nil || !reflect.DeepEqual(got, tt.list) {
			t.Errorf("list %+v, %v, want %+v", got, err, tt.list)
		}
		if f, s, a := w.accepts(t, friend), w.accepts(t, stranger), w.accepts(t, mediator.Forward{}); f != tt.friend || s != tt.stranger || a != tt.anonymous {
			t.Errorf("%+v: friend %t, stranger %t, anonymous %t", tt.list, f, s, a)
		}
	}
}

func TestRefused(t *testing.T) {
	w := newWorld(t)
	other := w.Agent(t, nil, agenttest.Hidden())
	if _, err := senders.Get(t.Context(), other, w.mediator, ""); !errors.Is(err, senders.ErrNotEnrolled) {
		t.Errorf("get without an account: %v", err)
	}
	for _, l := range []senders.List{
		{Mode: senders.Allow, DIDs: []string{"no DID"}},
		{Recipient: "did:example:of-others", Mode: senders.Block},
	} {
		if err := senders.Set(t.Context(), w.client, w.mediator, l); !errors.Is(err, senders.ErrRecipient) {
			t.Errorf("set %+v: %v", l, err)
		}
	}
	for typ, bodies := range map[string][]string{
		senders.TypeSet:              {`{"mode":"closed"}`, `{"mode":1}`, `{"dids":"did:example:a"}`, `{"dids":[null,1]}`},
		senders.TypeGet:              {`{"recipient_did":[]}`},
		senders.TypeMakeCapability:   {`{"expires_time":"soon"}`, `{"expires_time":-1}`, `{"expires_time":4611686018427387904}`, `{"name":{}}`},
		senders.TypeRevokeCapability: {`{"id":7}`},
	} {
		for _, body := range bodies {
			_, err := w.client.Request(t.Context(), &message.Message{ID: message.NewID(), Type: typ, To: []string{w.mediator}, Body: []byte(body)}, agent.ReturnRoute("all"))
			var p *message.Problem
			if !errors.As(err, &p) || p.Code != "e.p.msg" {
				t.Errorf("%s %s: %v", typ, body, err)
			}
		}
	}
}

// A sender that was given a capability sends it with its forwards, and the mediator takes them
// until the capability is revoked.
func TestCapability(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	if err := senders.Set(ctx, w.client, w.mediator, senders.List{Mode: senders.Allow}); err != nil {
		t.Fatal(err)
	}
	expires := time.Now().Add(time.Hour).Truncate(time.Second)
	c, err := senders.MakeCapability(ctx, w.client, w.mediator, senders.Capability{Name: "bob", Expires: expires})
	if err != nil || c.Token == "" || c.ID == "" || c.Name != "bob" || !c.Expires.Equal(expires) {
		t.Fatalf("%+v, %v", c, err)
	}
	list, err := senders.Capabilities(ctx, w.client, w.mediator)
	if err != nil || len(list) != 1 || list[0].ID != c.ID || list[0].Token != "" {
		t.Errorf("capabilities %+v, %v", list, err)
	}
	with := mediator.Forward{Capability: c.Token}
	if !w.accepts(t, with) || w.accepts(t, mediator.Forward{}) || w.accepts(t, mediator.Forward{Capability: c.ID}) {
		t.Error("not the capability alone lets a forward in")
	}
	if err := senders.RevokeCapability(ctx, w.client, w.mediator, c.ID); err != nil {
		t.Fatal(err)
	}
	if w.accepts(t, with) {
		t.Error("a revoked capability lets a forward in")
	}
}

func TestGive(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	kept := make(chan struct{}, 1)
	bob := w.Agent(t, agent.NewMux(senders.Handle(), agent.Wrap(func(next agent.Handler) agent.Handler {
		return agent.HandlerFunc(func(ctx context.Context, w agent.Responder, in *agent.Inbound) error {
			defer func() { kept <- struct{}{} }()
			return next.HandleMessage(ctx, w, in)
		})
	})))
	mediated := w.Agent(t, nil, agenttest.Configure(func(cfg *agent.Config) {
		p := agenttest.NewParty(t, w.mediator)
		cfg.DID, cfg.Packer = p.DID, p.Packer
	}))
	hello := func() string {
		t.Helper()
		m, err := message.New("https://didcomm.org/basicmessage/2.0/message", map[string]string{"content": "hello"})
		if err != nil {
			t.Fatal(err)
		}
		m.To = []string{mediated.DID()}
		if err := bob.Send(ctx, m, agent.AwaitDelivery()); err != nil {
			t.Fatal(err)
		}
		f := <-w.forwards
		if f.Next != mediated.DID() {
			t.Errorf("next %s", f.Next)
		}
		return f.Capability
	}
	if got := hello(); got != "" {
		t.Errorf("capability %q, and none was given", got)
	}
	for _, token := range []string{"secret", "another", ""} {
		if err := senders.Give(ctx, mediated, bob.DID(), senders.Capability{Token: token}, agent.AwaitDelivery()); err != nil {
			t.Fatal(err)
		}
		<-kept
		if got := hello(); got != token {
			t.Errorf("capability %q, want %q", got, token)
		}
	}
}
