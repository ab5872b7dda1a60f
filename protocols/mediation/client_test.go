package mediation_test

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/agenttest"
	"github.com/didcomm-go/didcomm/agent/identity"
	"github.com/didcomm-go/didcomm/agent/keyring"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/did"
	"github.com/didcomm-go/didcomm/did/didkey"
	"github.com/didcomm-go/didcomm/did/didpeer"
	"github.com/didcomm-go/didcomm/protocols/mediation"
)

// phone is an agent without an address that has several identities.
type phone struct {
	*agent.Agent
	store store.Store
	ring  *keyring.Keyring
	set   *identity.Set
}

// newPhone runs a new phone, or the phone before again.
func (w *world) newPhone(t *testing.T, before *phone) *phone {
	t.Helper()
	p := &phone{store: store.New(store.Config{}), ring: keyring.New()}
	var device string
	if before != nil {
		before.Stop()
		<-before.Done()
		p.store, p.ring, device = before.store, before.ring, before.DID()
	}
	set, err := identity.NewSet(t.Context(), identity.SetConfig{Records: p.store.Records(), Keys: p.ring, Fresh: time.Nanosecond})
	if err != nil {
		t.Fatal(err)
	}
	p.set = set
	if device == "" {
		device = p.identity(t, identity.Peer2)
	}
	p.Agent = w.Agent(t, nil, agenttest.Hidden(), agenttest.Configure(func(cfg *agent.Config) {
		cfg.DID, cfg.Packer, cfg.Store, cfg.Keys = device, nil, p.store, set
		cfg.Resolver = did.Methods{"peer": didpeer.NewResolver(), "key": didkey.Resolver{}}
	}))
	return p
}

// identity makes an identity of the phone with the given endpoints.
func (p *phone) identity(t *testing.T, method func(identity.Pair, ...string) (*identity.Identity, error), endpoints ...string) string {
	t.Helper()
	pair, err := identity.Generate(keyring.Ed25519)
	if err != nil {
		t.Fatal(err)
	}
	id, err := method(pair, endpoints...)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := id.Keyring()
	if err != nil {
		t.Fatal(err)
	}
	for _, kid := range keys.KIDs() {
		key, err := keys.Key(kid)
		if err == nil {
			err = p.ring.Add(kid, key)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := p.set.Add(t.Context(), id, identity.Settings{}); err != nil {
		t.Fatal(err)
	}
	return id.DID()
}

func (w *world) client(t *testing.T, p *phone) *mediation.Client {
	t.Helper()
	c, err := mediation.NewClient(mediation.ClientConfig{
		Agent: p.Agent, Mediator: w.mediator.DID(), Set: p.set,
		Logger: slog.New(slog.NewTextHandler(t.Output(), nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// registered returns the DIDs that an agent has registered, without the did:key of keys.
func (w *world) registered(t *testing.T, a *agent.Agent) []string {
	t.Helper()
	all, err := mediation.Recipients(t.Context(), a, w.mediator.DID())
	if err != nil {
		t.Fatal(err)
	}
	var dids []string
	for _, id := range all {
		if !strings.HasPrefix(id, "did:key:") {
			dids = append(dids, id)
		}
	}
	slices.Sort(dids)
	return dids
}

func sorted(ids ...string) []string {
	slices.Sort(ids)
	return ids
}

// The list of the mediator follows the identities: those that name the mediator are registered,
// and removed when they have ended. All goes on after a crash of either side.
func TestClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		p := w.newPhone(t, nil)
		p.identity(t, identity.Peer2, "https://elsewhere.example") // is not registered
		one := p.identity(t, identity.Peer2, w.mediator.DID())
		run := func(p *phone) (c *mediation.Client, stop func()) {
			c = w.client(t, p)
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() { ended <- c.Run(ctx) }()
			return c, func() {
				cancel()
				if err := <-ended; err != nil {
					t.Error(err)
				}
			}
		}
		wants := func(when string, want ...string) {
			t.Helper()
			time.Sleep(time.Minute)
			synctest.Wait()
			if got := w.registered(t, p.Agent); !slices.Equal(got, sorted(want...)) {
				t.Errorf("%s: registered\n%q, want\n%q", when, got, want)
			}
		}
		c, stop := run(p)
		wants("at the start", one)
		two := p.identity(t, identity.Peer4, w.mediator.DID())
		wants("a new identity", one, two)
		if err := p.set.Retire(t.Context(), one, time.Now().Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
		wants("a retired one", one, two)
		time.Sleep(time.Hour)
		wants("a retired one that has ended", two)
		stop()

		three := p.identity(t, identity.Peer2, w.mediator.DID())
		if err := c.Register(t.Context(), three); err != nil {
			t.Fatal(err)
		}
		wants("at once", two, three)
		if err := p.set.Remove(t.Context(), two); err != nil {
			t.Fatal(err)
		}

		p = w.newPhone(t, p)
		_, stop = run(p)
		defer stop()
		wants("after a crash of the phone", three)
	})
}

// Requests and answers get lost, and the phone crashes, while identities come and go. In the end
// the list of the mediator is right.
func TestClientAmongFaults(t *testing.T) {
	for seed := range uint64(5) {
		synctest.Test(t, func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 0))
			var faults sync.Mutex
			broken := true
			w := newWorld(t, nil)
			w.fault = func() fault {
				faults.Lock()
				defer faults.Unlock()
				if !broken {
					return handled
				}
				return []fault{handled, handled, lost, unanswered}[r.IntN(4)]
			}
			p := w.newPhone(t, nil)
			var want []string
			for range 6 {
				c := w.client(t, p)
				ctx, crash := context.WithCancel(t.Context())
				ended := make(chan error, 1)
				go func() { ended <- c.Run(ctx) }()
				for range 3 {
					want = append(want, p.identity(t, identity.Peer2, w.mediator.DID()))
					if len(want) > 4 {
						if err := p.set.Retire(t.Context(), want[0], time.Now().Add(time.Minute)); err != nil {
							t.Fatal(err)
						}
						want = want[1:]
					}
					faults.Lock()
					wait := time.Duration(r.IntN(100)) * time.Second
					faults.Unlock()
					time.Sleep(wait)
				}
				crash()
				if err := <-ended; err != nil {
					t.Error(err)
				}
				p = w.newPhone(t, p)
			}
			faults.Lock()
			broken = false
			faults.Unlock()
			time.Sleep(time.Hour)
			if err := w.client(t, p).Reconcile(t.Context()); err != nil {
				t.Fatal(err)
			}
			if got := w.registered(t, p.Agent); !slices.Equal(got, sorted(want...)) {
				t.Errorf("seed %d: registered\n%q, want\n%q", seed, got, want)
			}
		})
	}
}

// A mediator that has lost its records is asked again.
func TestForgotten(t *testing.T) {
	w := newWorld(t, nil)
	p := w.newPhone(t, nil)
	c := w.client(t, p)
	id := p.identity(t, identity.Peer2, w.mediator.DID())
	if err := c.Reconcile(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.forget(t)
	if err := c.Reconcile(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := w.registered(t, p.Agent); !slices.Equal(got, []string{id}) {
		t.Errorf("registered %q", got)
	}
}

// A client whose own DID has been replaced goes on with the account, and cleans up after the
// former DID.
func TestClientRotation(t *testing.T) {
	w := newWorld(t, nil)
	p := w.newPhone(t, nil)
	id := p.identity(t, identity.Peer2, w.mediator.DID())
	if err := w.client(t, p).Register(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	prior := p.DID()
	now := p.identity(t, identity.Peer2)
	c, err := mediation.NewClient(mediation.ClientConfig{Agent: p.Agent, Mediator: w.mediator.DID(), Set: p.set, DID: now, Replaces: prior})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range [][]string{sorted(prior, id), {}} {
		if err := c.Reconcile(t.Context()); err != nil {
			t.Fatal(err)
		}
		got, err := mediation.Recipients(t.Context(), p.Agent, w.mediator.DID(), mediation.As(now))
		if err != nil {
			t.Fatal(err)
		}
		got = slices.DeleteFunc(got, func(id string) bool { return strings.HasPrefix(id, "did:key:") })
		if !slices.Equal(sorted(got...), want) {
			t.Errorf("registered %q, want %q", got, want)
		}
		for _, old := range []string{prior, id} {
			if err := p.set.Retire(t.Context(), old, time.Now()); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// A mediator without proofs, which refuses whatever has an attachment, refuses a DID that is
// taken. All other identities are registered.
func TestTaken(t *testing.T) {
	w := newWorld(t, nil)
	other, p := w.phone(t), w.newPhone(t, nil)
	taken, free := p.identity(t, identity.Peer2, w.mediator.DID()), p.identity(t, identity.Peer2, w.mediator.DID())
	if _, err := mediation.Enroll(t.Context(), other, w.mediator.DID()); err != nil {
		t.Fatal(err)
	}
	if got, err := mediation.Update(t.Context(), other, w.mediator.DID(), []mediation.Change{{RecipientDID: taken, Action: mediation.Add}}); err != nil || got[0].Result != mediation.Success {
		t.Fatal(got, err)
	}
	w.refuse = func(in *agent.Inbound) error {
		if len(in.Message.Attachments) > 0 {
			return &message.Problem{Code: "e.p.msg"}
		}
		return nil
	}
	c := w.client(t, p)
	if err := c.Reconcile(t.Context()); err != nil {
		t.Error(err)
	}
	if err := c.Register(t.Context(), taken); !errors.Is(err, mediation.ErrRefused) {
		t.Errorf("register: %v", err)
	}
	if got := w.registered(t, p.Agent); !slices.Equal(got, []string{free}) {
		t.Errorf("registered %q", got)
	}
}

// What another device of the account has registered stays.
func TestOthers(t *testing.T) {
	w := newWorld(t, nil)
	p := w.newPhone(t, nil)
	c := w.client(t, p)
	ours := p.identity(t, identity.Peer2, w.mediator.DID())
	if err := c.Register(t.Context(), ours); err != nil {
		t.Fatal(err)
	}
	other := agenttest.NewParty(t, w.mediator.DID()).DID
	if _, err := mediation.Update(t.Context(), p.Agent, w.mediator.DID(), []mediation.Change{{RecipientDID: other, Action: mediation.Add}}); err != nil {
		t.Fatal(err)
	}
	if err := c.Reconcile(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := w.registered(t, p.Agent); !slices.Equal(got, sorted(ours, other)) {
		t.Errorf("registered %q", got)
	}
}
