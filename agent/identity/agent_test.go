package identity_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/agenttest"
	"github.com/didcomm-go/didcomm/agent/identity"
	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/did"
	"github.com/didcomm-go/didcomm/did/didpeer"
	"github.com/didcomm-go/didcomm/protocols/basicmessage"
	"github.com/didcomm-go/didcomm/protocols/trustping"
	"github.com/didcomm-go/didcomm/transport"
	"github.com/didcomm-go/didcomm/transport/memtransport"
)

// One agent answers for tenants that come and go while it runs, each by the DID that was
// asked.
func TestAgent(t *testing.T) {
	const endpoint = "mem://tenants"
	h, n := newHost(), agenttest.NewNet()
	st := store.New(store.Config{})
	h.records = st.Records()
	s := h.start(t)
	tenant := func() *identity.Identity {
		id, err := identity.Peer2(software(t, "Ed25519"), endpoint)
		id = h.made(t, id, err)
		if err := s.Add(t.Context(), id, identity.Settings{Party: id.DID(), Shares: store.Shares{Inbox: store.Share{Items: 10}}}); err != nil {
			t.Fatal(err)
		}
		return id
	}
	alice, bob := tenant(), tenant()

	type text struct{ to, content string }
	got := make(chan text, 10)
	mux := agent.NewMux(trustping.Handle(), basicmessage.Handle(func(_ context.Context, _ agent.Responder, in *agent.Inbound, body basicmessage.Body) error {
		got <- text{in.To, body.Content}
		return nil
	}))
	ctx, stop := context.WithCancel(context.Background())
	sender := n.Mem.Sender()
	ours, err := agent.New(agent.Config{
		DID: alice.DID(), Keys: s, Resolver: identity.Before(s, did.Methods{"peer": didpeer.NewResolver()}),
		Handler: mux, Store: st, Senders: map[string]transport.Sender{memtransport.Scheme: sender},
		Shares: s.Shares,
		Logger: slog.New(slog.NewTextHandler(t.Output(), nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- ours.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := errors.Join(<-ended, sender.Close()); err != nil {
			t.Error(err)
		}
	})
	<-ours.Ready()
	if err := n.Mem.Handle(endpoint, ours); err != nil {
		t.Fatal(err)
	}

	peer := n.Agent(t, nil)
	carol := tenant() // while the agent runs
	for _, id := range []*identity.Identity{alice, bob, carol} {
		m, err := basicmessage.New("to "+id.DID(), "en")
		if err != nil {
			t.Fatal(err)
		}
		m.To = []string{id.DID()}
		if err := peer.Send(t.Context(), m); err != nil {
			t.Fatal(err)
		}
		if in := <-got; in.to != id.DID() || in.content != "to "+id.DID() {
			t.Errorf("%s got %q", in.to, in.content)
		}
		if _, err := trustping.Ping(t.Context(), peer, id.DID()); err != nil {
			t.Errorf("ping %s: %v", id.DID(), err)
		}
	}

	// A retired one answers for its time, and no longer.
	if err := s.Retire(t.Context(), bob.DID(), h.clock.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if _, err := trustping.Ping(t.Context(), peer, bob.DID()); err != nil {
		t.Errorf("ping a retired tenant: %v", err)
	}
	h.clock.pass(time.Hour)
	m, err := basicmessage.New("too late", "en")
	if err != nil {
		t.Fatal(err)
	}
	m.To = []string{bob.DID()}
	if err := peer.Send(t.Context(), m, agent.Once(), agent.AwaitDelivery()); err == nil {
		t.Error("a message for a tenant that has ended was taken")
	}
	if _, err := trustping.Ping(t.Context(), peer, carol.DID()); err != nil {
		t.Errorf("ping another tenant: %v", err)
	}
}
