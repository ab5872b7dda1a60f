package mediation_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"testing"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/agenttest"
	"github.com/didcomm-go/didcomm/agent/mediator"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/protocols/mediation"
	"github.com/didcomm-go/didcomm/protocols/routing"
)

// world is a mediator among agents.
type world struct {
	*agenttest.Net
	mediator *agent.Agent
	state    *mediator.Mediator
	store    store.Store
	fault    func() fault // nil for none
	refuse   func(*agent.Inbound) error
}

// fault is what happens to a request to the mediator.
type fault int

const (
	handled fault = iota
	lost          // before it was handled
	unanswered
)

// silent is a Responder that loses the answer.
type silent struct{ agent.Responder }

func (silent) Reply(context.Context, *message.Message) error { return nil }

func (w *world) faulty(next agent.Handler) agent.Handler {
	return agent.HandlerFunc(func(ctx context.Context, r agent.Responder, in *agent.Inbound) error {
		if w.refuse != nil {
			if err := w.refuse(in); err != nil {
				return err
			}
		}
		if w.fault != nil {
			switch w.fault() {
			case lost:
				return nil
			case unanswered:
				r = silent{r}
			}
		}
		return next.HandleMessage(ctx, r, in)
	})
}

// newWorld runs a mediator. configure may be nil.
func newWorld(t *testing.T, configure func(*mediator.Config), opts ...agenttest.Option) *world {
	t.Helper()
	w := &world{Net: agenttest.NewNet(), store: store.New(store.Config{})}
	w.mediator = w.Agent(t, nil, append(opts, agenttest.Configure(func(cfg *agent.Config) {
		log := slog.New(slog.NewTextHandler(t.Output(), nil))
		mc := mediator.Config{DID: cfg.DID, Store: w.store, Mailbox: store.NewMailbox(store.MailboxConfig{}), Logger: log}
		if configure != nil {
			configure(&mc)
		}
		var err error
		if w.state, err = mediator.New(mc); err != nil {
			t.Fatal(err)
		}
		cfg.Store = w.store
		cfg.Handler = agent.NewMux(agent.Wrap(w.faulty), mediation.Serve(w.state, log), routing.Serve(w.state))
	}))...)
	return w
}

// phone is an agent without an address.
func (w *world) phone(t *testing.T) *agent.Agent {
	return w.Agent(t, nil, agenttest.Hidden())
}

// forget removes what the mediator knows.
func (w *world) forget(t *testing.T) {
	t.Helper()
	for _, collection := range []string{"mediator/account", "mediator/device", "mediator/recipient"} {
		list, err := w.store.Records().List(t.Context(), store.Query{Collection: collection, N: 100})
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range list {
			if err := w.store.Records().Delete(t.Context(), collection, r.Key, 0); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestEnroll(t *testing.T) {
	w := newWorld(t, nil)
	a, ctx := w.phone(t), t.Context()
	g, err := mediation.Enroll(ctx, a, w.mediator.DID())
	if err != nil {
		t.Fatal(err)
	}
	if g.PIURI != mediation.PIURI3 || g.RoutingDID() != w.mediator.DID() {
		t.Errorf("grant %+v", g)
	}
	id := agenttest.NewParty(t, g.RoutingDID()).DID
	change := []mediation.Change{{id, mediation.Add}}
	got, err := mediation.Update(ctx, a, w.mediator.DID(), change)
	if err != nil || len(got) != 1 || got[0].Result != mediation.Success {
		t.Fatal(got, err)
	}
	list, err := mediation.Recipients(ctx, a, w.mediator.DID())
	if err != nil || !slices.Equal(list, []string{id}) {
		t.Error(list, err)
	}
	_, err = mediation.Recipients(ctx, w.phone(t), w.mediator.DID())
	if !errors.Is(err, mediation.ErrNotEnrolled) {
		t.Error(err)
	}
}

func wantProblem(t *testing.T, err error, code string) {
	t.Helper()
	var p *message.Problem
	if !errors.As(err, &p) || p.Code != code {
		t.Errorf("error %v, want a problem with code %s", err, code)
	}
}
