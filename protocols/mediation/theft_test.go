package mediation_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/agenttest"
	"github.com/didcomm-go/didcomm/agent/identity"
	"github.com/didcomm-go/didcomm/agent/mediator"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/did"
	"github.com/didcomm-go/didcomm/protocols/mediation"
)

// theft is a thief and the owner of a DID, with the same mediator.
type theft struct {
	*world
	owner, thief *phone
	id           string // the DID of the owner
}

// try makes an update of the thief, and returns its outcome.
func (f *theft) try(t *testing.T, action mediation.Action, id string, opts ...mediation.Option) mediation.Outcome {
	t.Helper()
	if _, err := mediation.Enroll(t.Context(), f.thief.Agent, f.mediator.DID()); err != nil {
		t.Fatal(err)
	}
	got, err := mediation.Update(t.Context(), f.thief.Agent, f.mediator.DID(), []mediation.Change{{RecipientDID: id, Action: action}}, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return got[0].Result
}

func (f *theft) register(t *testing.T) {
	t.Helper()
	if err := f.client(t, f.owner).Register(t.Context(), f.id); err != nil {
		t.Fatal(err)
	}
}

// mail is how many packets wait for an agent.
func (f *theft) mail(t *testing.T, a *agent.Agent) int {
	t.Helper()
	s, err := f.state.Box(a.DID()).Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return s.Count
}

// send sends a message to the owner, as any agent does that has the DID of the owner.
func (f *theft) send(t *testing.T, from *agent.Agent) {
	t.Helper()
	m, err := message.New("https://didcomm.org/basicmessage/2.0/message", map[string]string{"content": "for the owner"})
	if err != nil {
		t.Fatal(err)
	}
	m.To = []string{f.id}
	if err := from.Send(t.Context(), m, agent.AwaitDelivery()); err != nil {
		t.Fatal(err)
	}
}

// Whatever a thief registers, the mail goes to the owner.
func TestTheft(t *testing.T) {
	refused := func(t *testing.T, f *theft, id string, opts ...mediation.Option) {
		t.Helper()
		if got := f.try(t, mediation.Add, id, opts...); got != mediation.ClientError {
			t.Errorf("add %.60s: %s", id, got)
		}
	}
	for _, tt := range []struct {
		name  string
		peer4 bool
		steal func(t *testing.T, f *theft)
	}{
		{"a registered DID", false, func(t *testing.T, f *theft) {
			f.register(t)
			refused(t, f, f.id)
		}},
		{"in other forms", false, func(t *testing.T, f *theft) {
			f.register(t)
			for _, suffix := range []string{"#key-1", "#key-2", "?service=x", "/path", "?versionId=1#key-1"} {
				refused(t, f, f.id+suffix)
			}
		}},
		{"in the short form", true, func(t *testing.T, f *theft) {
			f.register(t)
			refused(t, f, did.Canonical(f.id))
			refused(t, f, f.id)
		}},
		{"the key of the DID", false, func(t *testing.T, f *theft) {
			f.register(t)
			for _, id := range f.names(t) {
				refused(t, f, id)
				refused(t, f, id+"#"+strings.TrimPrefix(id, "did:key:"))
			}
		}},
		{"the DID of the account", false, func(t *testing.T, f *theft) {
			f.id = f.owner.DID()
			if _, err := mediation.Enroll(t.Context(), f.owner.Agent, f.mediator.DID()); err != nil {
				t.Fatal(err)
			}
			refused(t, f, f.id)
		}},
		{"before the owner", false, func(t *testing.T, f *theft) {
			if got := f.try(t, mediation.Add, f.id); got != mediation.Success {
				t.Errorf("add: %s", got)
			}
			f.register(t)
			refused(t, f, f.id)
		}},
		{"before the owner, with mail that waits", false, func(t *testing.T, f *theft) {
			if got := f.try(t, mediation.Add, f.id); got != mediation.Success {
				t.Errorf("add: %s", got)
			}
			f.send(t, f.Agent(t, nil))
			f.register(t)
			if n := f.mail(t, f.owner.Agent); n != 1 {
				t.Errorf("%d packets came to the owner", n)
			}
			if err := drop(t.Context(), f.state, f.owner.DID()); err != nil {
				t.Fatal(err)
			}
		}},
		{"before the account", false, func(t *testing.T, f *theft) {
			f.id = f.owner.DID()
			if got := f.try(t, mediation.Add, f.id); got != mediation.Success {
				t.Errorf("add: %s", got)
			}
			if _, err := mediation.Enroll(t.Context(), f.owner.Agent, f.mediator.DID()); err != nil {
				t.Fatal(err)
			}
			refused(t, f, f.id)
		}},
		{"by a signature of the thief", false, func(t *testing.T, f *theft) {
			f.register(t)
			proof, err := mediation.Prove(t.Context(), f.thief.Packer(), f.thief.DID(), f.thief.DID(), f.mediator.DID(), time.Now())
			if err != nil {
				t.Fatal(err)
			}
			refused(t, f, f.id, mediation.Proofs(proof))
		}},
		{"by a proof that the owner has made for its own account", false, func(t *testing.T, f *theft) {
			f.register(t)
			proof, err := mediation.Prove(t.Context(), f.owner.Packer(), f.id, f.owner.DID(), f.mediator.DID(), time.Now())
			if err != nil {
				t.Fatal(err)
			}
			refused(t, f, f.id, mediation.Proofs(proof))
		}},
		{"by a rotation of the thief", false, func(t *testing.T, f *theft) {
			f.register(t)
			refused(t, f, f.id, mediation.Replaces(f.thief.identity(t, identity.Peer2)))
		}},
		{"by a from_prior that names the DID", false, func(t *testing.T, f *theft) {
			f.register(t)
			fromPrior, err := f.thief.Packer().FromPrior(t.Context(), f.thief.DID(), f.id, time.Now())
			if err != nil {
				t.Fatal(err)
			}
			m, err := message.New(piuri3+"recipient-update", map[string]any{"updates": []mediation.Change{{RecipientDID: f.id, Action: mediation.Add}}})
			if err != nil {
				t.Fatal(err)
			}
			m.To, m.FromPrior = []string{f.mediator.DID()}, fromPrior
			// The message is from the thief, so it does not prove the rotation.
			if in, err := f.thief.Request(t.Context(), m, agent.ReturnRoute("all")); err == nil {
				t.Errorf("answered by %s %s", in.Message.Type, in.Message.Body)
			}
		}},
		{"by removing the DID", false, func(t *testing.T, f *theft) {
			f.register(t)
			if got := f.try(t, mediation.Remove, f.id); got != mediation.NoChange {
				t.Errorf("remove: %s", got)
			}
			refused(t, f, f.id)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, nil)
			f := &theft{world: w, owner: w.newPhone(t, nil), thief: w.newPhone(t, nil)}
			method := identity.Peer2
			if tt.peer4 {
				method = identity.Peer4
			}
			f.id = f.owner.identity(t, method, w.mediator.DID())
			if _, err := mediation.Enroll(t.Context(), f.thief.Agent, w.mediator.DID()); err != nil {
				t.Fatal(err)
			}
			tt.steal(t, f)
			before := f.mail(t, f.thief.Agent) // reports
			if f.id != f.owner.DID() {
				f.send(t, f.Agent(t, nil))
			} else if err := f.state.Accept(t.Context(), mediator.Forward{Next: f.id, Packet: store.Packet{Data: []byte("{}")}}); err != nil {
				t.Fatal(err)
			}
			if n := f.mail(t, f.thief.Agent) - before; n != 0 {
				t.Errorf("%d packets came to the thief", n)
			}
			if n := f.mail(t, f.owner.Agent); n != 1 {
				t.Errorf("%d packets came to the owner", n)
			}
		})
	}
}

// A DID whose document names another mediator is not registered without a proof.
func TestElsewhere(t *testing.T) {
	w := newWorld(t, func(cfg *mediator.Config) { cfg.Documents = agenttest.NewParty(t).Resolver })
	p := w.newPhone(t, nil)
	elsewhere := p.identity(t, identity.Peer2, agenttest.NewParty(t).DID)
	if _, err := mediation.Enroll(t.Context(), p.Agent, w.mediator.DID()); err != nil {
		t.Fatal(err)
	}
	add := []mediation.Change{{RecipientDID: elsewhere, Action: mediation.Add}}
	got, err := mediation.Update(t.Context(), p.Agent, w.mediator.DID(), add)
	if err != nil || got[0].Result != mediation.ClientError {
		t.Errorf("without proof: %v, %v", got, err)
	}
	proof, err := mediation.Prove(t.Context(), p.Packer(), elsewhere, p.DID(), w.mediator.DID(), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	got, err = mediation.Update(t.Context(), p.Agent, w.mediator.DID(), add, mediation.Proofs(proof))
	if err != nil || got[0].Result != mediation.Success {
		t.Errorf("with proof: %v, %v", got, err)
	}
}

// names returns the did:key forms that the owner has registered.
func (f *theft) names(t *testing.T) (keys []string) {
	t.Helper()
	all, err := mediation.Recipients(t.Context(), f.owner.Agent, f.mediator.DID())
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range all {
		if strings.HasPrefix(id, "did:key:") {
			keys = append(keys, id)
		}
	}
	if len(keys) != 1 {
		t.Fatalf("registered keys %q", keys)
	}
	return keys
}

// drop acknowledges the mail of a device.
func drop(ctx context.Context, m *mediator.Mediator, device string) error {
	box := m.Box(device)
	mail, err := box.Lease(ctx, store.Pick{N: 10}, time.Minute)
	if err != nil {
		return err
	}
	for _, p := range mail {
		if _, err := box.Ack(ctx, p.ID); err != nil {
			return err
		}
	}
	return nil
}
