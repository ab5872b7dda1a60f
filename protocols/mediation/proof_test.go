package mediation_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/agenttest"
	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/identity"
	"github.com/didcomm-go/didcomm/agent/mediator"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/protocols/mediation"
)

// statement makes the attachment of a proof, changed by change.
func statement(t *testing.T, by *agenttest.Party, account, to string, change func(*message.Message), opts ...envelope.PackOption) message.Attachment {
	t.Helper()
	m, err := message.New(mediation.TypeProof, map[string]string{"account": account})
	if err != nil {
		t.Fatal(err)
	}
	m.From, m.To, m.ExpiresTime = by.DID, []string{to}, time.Now().Add(5*time.Minute)
	if change != nil {
		change(m)
	}
	if opts == nil {
		opts = []envelope.PackOption{envelope.SignBy(by.DID), envelope.Signed()}
	}
	packed, err := by.Packer.Pack(t.Context(), m, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return message.JSONAttachment("proof", envelope.MediaTypeSigned, packed[0].Data)
}

// A DID that another account has registered passes to those who prove it, and to nobody else.
func TestProofs(t *testing.T) {
	w := newWorld(t, nil)
	first, second := w.phone(t), w.phone(t)
	for _, a := range []*agent.Agent{first, second} {
		if _, err := mediation.Enroll(t.Context(), a, w.mediator.DID()); err != nil {
			t.Fatal(err)
		}
	}
	mine, theirs := second.DID(), first.DID()
	for _, tt := range []struct {
		name  string
		proof func(owner *agenttest.Party) []message.Attachment
		want  mediation.Outcome
	}{
		{"none", func(*agenttest.Party) []message.Attachment { return nil }, mediation.ClientError},
		{"a proof", func(o *agenttest.Party) []message.Attachment {
			att, err := mediation.Prove(t.Context(), o.Packer, o.DID, mine, w.mediator.DID(), time.Now())
			if err != nil {
				t.Fatal(err)
			}
			return []message.Attachment{att}
		}, mediation.Success},
		{"the second attachment", func(o *agenttest.Party) []message.Attachment {
			return []message.Attachment{message.Base64Attachment("x", envelope.MediaTypeSigned, []byte("{")), statement(t, o, mine, w.mediator.DID(), nil)}
		}, mediation.Success},
		{"of somebody else", func(o *agenttest.Party) []message.Attachment {
			return []message.Attachment{statement(t, agenttest.NewParty(t), mine, w.mediator.DID(), nil)}
		}, mediation.ClientError},
		{"for another account", func(o *agenttest.Party) []message.Attachment {
			return []message.Attachment{statement(t, o, theirs, w.mediator.DID(), nil)}
		}, mediation.ClientError},
		{"for no account", func(o *agenttest.Party) []message.Attachment {
			return []message.Attachment{statement(t, o, "", w.mediator.DID(), nil)}
		}, mediation.ClientError},
		{"for another mediator", func(o *agenttest.Party) []message.Attachment {
			return []message.Attachment{statement(t, o, mine, "did:example:mediator", nil)}
		}, mediation.ClientError},
		{"for no mediator", func(o *agenttest.Party) []message.Attachment {
			return []message.Attachment{statement(t, o, mine, "", func(m *message.Message) { m.To = nil })}
		}, mediation.ClientError},
		{"of another type", func(o *agenttest.Party) []message.Attachment {
			return []message.Attachment{statement(t, o, mine, w.mediator.DID(), func(m *message.Message) { m.Type = "https://didcomm.org/basicmessage/2.0/message" })}
		}, mediation.ClientError},
		{"expired", func(o *agenttest.Party) []message.Attachment {
			return []message.Attachment{statement(t, o, mine, w.mediator.DID(), func(m *message.Message) { m.ExpiresTime = time.Now().Add(-time.Second) })}
		}, mediation.ClientError},
		{"for ever", func(o *agenttest.Party) []message.Attachment {
			return []message.Attachment{statement(t, o, mine, w.mediator.DID(), func(m *message.Message) { m.ExpiresTime = time.Time{} })}
		}, mediation.ClientError},
		{"for a year", func(o *agenttest.Party) []message.Attachment {
			return []message.Attachment{statement(t, o, mine, w.mediator.DID(), func(m *message.Message) { m.ExpiresTime = time.Now().AddDate(1, 0, 0) })}
		}, mediation.ClientError},
		{"not signed", func(o *agenttest.Party) []message.Attachment {
			return []message.Attachment{statement(t, o, mine, w.mediator.DID(), nil, envelope.Plain())}
		}, mediation.ClientError},
		{"encrypted instead", func(o *agenttest.Party) []message.Attachment {
			return []message.Attachment{statement(t, o, mine, w.mediator.DID(), nil, envelope.From(o.DID))}
		}, mediation.ClientError},
		{"from_prior of somebody who names the DID", func(o *agenttest.Party) []message.Attachment {
			thief := agenttest.NewParty(t)
			return []message.Attachment{statement(t, o, mine, w.mediator.DID(), func(m *message.Message) {
				var err error
				if m.FromPrior, err = thief.Packer.FromPrior(t.Context(), thief.DID, o.DID, time.Now()); err != nil {
					t.Fatal(err)
				}
				m.From = o.DID
			}, envelope.Plain())}
		}, mediation.ClientError},
	} {
		t.Run(tt.name, func(t *testing.T) {
			owner := agenttest.NewParty(t, w.mediator.DID())
			add := []mediation.Change{{RecipientDID: owner.DID, Action: mediation.Add}}
			if got, err := mediation.Update(t.Context(), first, w.mediator.DID(), add); err != nil || got[0].Result != mediation.Success {
				t.Fatal(got, err)
			}
			got, err := mediation.Update(t.Context(), second, w.mediator.DID(), add, mediation.Proofs(tt.proof(owner)...))
			if err != nil || got[0].Result != tt.want {
				t.Errorf("%v, %v, want %s", got, err, tt.want)
			}
			want := first.DID()
			if tt.want == mediation.Success {
				want = second.DID()
			}
			if a, err := w.state.Owner(t.Context(), owner.DID); err != nil || a.ID != mediator.Name(want) {
				t.Errorf("owner %v, %v", a, err)
			}
		})
	}
}

// A client that has rotated its DID registers the former one, which another account has
// registered. from_prior is the proof.
func TestProofByRotation(t *testing.T) {
	w := newWorld(t, nil)
	thief, p := w.phone(t), w.newPhone(t, nil)
	for _, a := range []*agent.Agent{thief, p.Agent} {
		if _, err := mediation.Enroll(t.Context(), a, w.mediator.DID()); err != nil {
			t.Fatal(err)
		}
	}
	prior := p.identity(t, identity.Peer2, w.mediator.DID())
	add := []mediation.Change{{RecipientDID: prior, Action: mediation.Add}}
	if got, err := mediation.Update(t.Context(), thief, w.mediator.DID(), add); err != nil || got[0].Result != mediation.Success {
		t.Fatal(got, err)
	}
	if got, err := mediation.Update(t.Context(), p.Agent, w.mediator.DID(), add, mediation.Replaces(prior)); err != nil || got[0].Result != mediation.Success {
		t.Errorf("%v, %v", got, err)
	}
}

// The account that loses a DID is told, in its box.
func TestTold(t *testing.T) {
	w := newWorld(t, nil)
	thief, p := w.newPhone(t, nil), w.newPhone(t, nil)
	if _, err := mediation.Enroll(t.Context(), thief.Agent, w.mediator.DID()); err != nil {
		t.Fatal(err)
	}
	registered, device := p.identity(t, identity.Peer2, w.mediator.DID()), p.DID()
	for _, id := range []string{registered, device} { // device is not enrolled yet
		got, err := mediation.Update(t.Context(), thief.Agent, w.mediator.DID(), []mediation.Change{{RecipientDID: id, Action: mediation.Add}})
		if err != nil || got[0].Result != mediation.Success {
			t.Fatal(got, err)
		}
	}
	if err := w.client(t, p).Register(t.Context(), registered); err != nil {
		t.Fatal(err)
	}
	mail, err := w.state.Box(thief.DID()).Lease(t.Context(), store.Pick{N: 10}, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	var lost []string
	for _, m := range mail {
		u, err := thief.Packer().Unpack(t.Context(), m.Packet.Data)
		if err != nil {
			t.Fatal(err)
		}
		problem := message.ReadProblem(u.Message.Body)
		if u.Sender() != w.mediator.DID() || !message.IsProblemReport(u.Message.Type) || problem.Code != mediation.CodeRecipientLost || len(problem.Args) != 1 {
			t.Errorf("%s from %s: %+v", u.Message.Type, u.Sender(), problem)
			continue
		}
		lost = append(lost, problem.Args[0])
	}
	if !slices.Equal(sorted(lost...), sorted(registered, device)) {
		t.Errorf("lost %q", lost)
	}
	if got := w.registered(t, thief.Agent); len(got) != 0 {
		t.Errorf("the thief still has %q", got)
	}
}

// A client that rotates its own DID keeps its account, its recipients and its mail, whatever
// message it sends first.
func TestRotation(t *testing.T) {
	for name, first := range map[string]func(*testing.T, *agent.Agent, string, string, string){
		"mediate-request": func(t *testing.T, a *agent.Agent, m, prior, now string) {
			if _, err := mediation.Enroll(t.Context(), a, m, mediation.As(now), mediation.Replaces(prior)); err != nil {
				t.Fatal(err)
			}
		},
		"recipient-query": func(t *testing.T, a *agent.Agent, m, prior, now string) {
			if _, err := mediation.Recipients(t.Context(), a, m, mediation.As(now), mediation.Replaces(prior)); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, nil)
			p := w.newPhone(t, nil)
			id := p.identity(t, identity.Peer2, w.mediator.DID())
			if err := w.client(t, p).Register(t.Context(), id); err != nil {
				t.Fatal(err)
			}
			if err := w.state.Accept(t.Context(), mediator.Forward{Next: id, Packet: store.Packet{Data: []byte("{}")}}); err != nil {
				t.Fatal(err)
			}
			now := p.identity(t, identity.Peer2)
			first(t, p.Agent, w.mediator.DID(), p.DID(), now)
			a, err := w.state.Owner(t.Context(), id)
			if err != nil || len(a.Devices) != 1 || a.Devices[0].DID != now {
				t.Errorf("account %+v, %v", a, err)
			}
			if s, err := w.state.Box(now).Status(t.Context()); err != nil || s.Count != 1 {
				t.Errorf("box %+v, %v", s, err)
			}
			if _, err := w.state.Account(t.Context(), p.DID()); !errors.Is(err, mediator.ErrNotEnrolled) {
				t.Errorf("the former DID: %v", err)
			}
		})
	}
}

func TestTooManyProofs(t *testing.T) {
	w := newWorld(t, nil)
	a := w.phone(t)
	if _, err := mediation.Enroll(t.Context(), a, w.mediator.DID()); err != nil {
		t.Fatal(err)
	}
	owner := agenttest.NewParty(t)
	proofs := make([]message.Attachment, mediation.MaxProofs+1)
	for i := range proofs {
		proofs[i] = statement(t, owner, a.DID(), w.mediator.DID(), nil)
	}
	_, err := mediation.Update(t.Context(), a, w.mediator.DID(), nil, mediation.Proofs(proofs...))
	wantProblem(t, err, "e.p.me.res.proofs")
}
