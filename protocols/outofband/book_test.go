package outofband_test

import (
	"context"
	"errors"
	"log/slog"
	"sync"
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
	"github.com/didcomm-go/didcomm/protocols/outofband"
	"github.com/didcomm-go/didcomm/protocols/trustping"
	"github.com/didcomm-go/didcomm/transport"
	"github.com/didcomm-go/didcomm/transport/memtransport"
)

// inviter is an agent with two DIDs, and its invitations.
type inviter struct {
	agent *agent.Agent
	book  *outofband.Book
	own   string // the other DID, besides that of the agent
	seen  chan *outofband.Kept
}

func twoDIDs(t *testing.T, endpoint string) (keys *keyring.Keyring, dids []string) {
	t.Helper()
	keys = keyring.New()
	for range 2 {
		p := agenttest.NewParty(t, endpoint)
		dids = append(dids, p.DID)
		for _, kid := range p.Keys.KIDs() {
			key, err := p.Keys.Key(kid)
			if err == nil {
				err = keys.Add(kid, key)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	return keys, dids
}

func newInviter(t *testing.T, n *agenttest.Net) *inviter {
	t.Helper()
	const endpoint = "mem://inviter"
	st := store.New(store.Config{})
	i := &inviter{book: outofband.NewBook(st.Records()), seen: make(chan *outofband.Kept, 100)}
	keys, dids := twoDIDs(t, endpoint)
	i.own = dids[1]
	sender := n.Mem.Sender()
	t.Cleanup(func() { sender.Close() })
	var err error
	i.agent, err = agent.Start(t.Context(), agent.Config{
		DID: dids[0], Keys: keys, Resolver: agenttest.NewParty(t).Resolver, Store: st,
		Handler: agent.NewMux(i.book.Serve(nil), trustping.Handle(), agent.Wrap(func(next agent.Handler) agent.Handler {
			return agent.HandlerFunc(func(ctx context.Context, w agent.Responder, in *agent.Inbound) error {
				i.seen <- outofband.Of(ctx)
				return next.HandleMessage(ctx, w, in)
			})
		})),
		Senders: map[string]transport.Sender{memtransport.Scheme: sender},
		Logger:  slog.New(slog.NewTextHandler(t.Output(), nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { i.agent.Stop() })
	if err := n.Mem.Handle(endpoint, i.agent); err != nil {
		t.Fatal(err)
	}
	return i
}

// invite keeps an invitation of one of the DIDs.
func (i *inviter) invite(t *testing.T, from string, edit func(*outofband.Kept)) *outofband.Invitation {
	t.Helper()
	k := &outofband.Kept{Invitation: outofband.New(from)}
	edit(k)
	if err := i.book.Keep(t.Context(), k); err != nil {
		t.Fatal(err)
	}
	return k.Invitation
}

// ping answers an invitation by a ping, with pthid or without, and returns the code of the
// problem that the inviter reports, or "".
func ping(t *testing.T, a *agent.Agent, i *outofband.Invitation, opts ...agent.SendOption) string {
	t.Helper()
	_, err := trustping.Ping(t.Context(), a, i.From, opts...)
	var p *message.Problem
	if errors.As(err, &p) {
		return p.Code
	}
	if err != nil {
		t.Error(err)
	}
	return ""
}

func wantCode(t *testing.T, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("problem %q, want %q", got, want)
	}
}

func TestManyUses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := agenttest.NewNet()
		i := newInviter(t, n)
		inv := i.invite(t, i.agent.DID(), func(k *outofband.Kept) { k.Invitation.Expires = time.Now().Add(time.Hour) })
		alice, bob := n.Agent(t, nil), n.Agent(t, nil)
		for _, a := range []*agent.Agent{alice, bob, alice} {
			wantCode(t, ping(t, a, inv, agent.Parent(inv.ID)), "")
			if k := <-i.seen; k == nil || k.Invitation.ID != inv.ID || k.UsedBy != "" {
				t.Errorf("invitation %+v", k)
			}
		}
		// Messages that name no invitation, or another one, belong to none.
		for _, parent := range []string{"", "another"} {
			wantCode(t, ping(t, alice, inv, agent.Parent(parent)), "")
			if k := <-i.seen; k != nil {
				t.Errorf("invitation %+v", k)
			}
		}
		// An invitation of another DID of ours is not found by its id.
		other := i.invite(t, i.own, func(k *outofband.Kept) { k.SingleUse = true })
		wantCode(t, ping(t, alice, inv, agent.Parent(other.ID)), "")
		if k := <-i.seen; k != nil {
			t.Errorf("invitation %+v", k)
		}
		if err := i.agent.Contacts().Keep(t.Context(), i.agent.DID(), bob.DID()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		wantCode(t, ping(t, alice, inv, agent.Parent(inv.ID)), outofband.CodeExpired)
		wantCode(t, ping(t, bob, inv, agent.Parent(inv.ID)), "") // a contact
		time.Sleep(outofband.ForgetAfter + time.Hour)
		if _, err := i.book.Get(t.Context(), inv.ID); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("error %v", err)
		}
	})
}

func TestSingleUse(t *testing.T) {
	for name, pairwise := range map[string]bool{"by pthid": false, "by the DID": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := agenttest.NewNet()
				i := newInviter(t, n)
				inv := i.invite(t, i.own, func(k *outofband.Kept) {
					k.SingleUse, k.Pairwise = !pairwise, pairwise
					k.Invitation.Expires = time.Now().Add(time.Hour)
				})
				parent := agent.Parent(inv.ID)
				if pairwise {
					parent = agent.Parent("") // as Credo does
				}
				alice, bob := n.Agent(t, nil), n.Agent(t, nil)

				// An anonymous message does not use up the invitation.
				m := &message.Message{Type: trustping.TypePing, To: []string{inv.From}}
				if err := bob.Send(t.Context(), m, agent.Anonymous(), parent); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				wantCode(t, ping(t, alice, inv, parent), "")
				wantCode(t, ping(t, bob, inv, parent), outofband.CodeUsed)
				wantCode(t, ping(t, alice, inv, parent), "")

				k, err := i.book.Get(t.Context(), inv.ID)
				if err != nil || k.UsedBy != did.Canonical(alice.DID()) || k.Used.IsZero() || !k.SingleUse {
					t.Errorf("%+v, %v", k, err)
				}
				if known, err := i.agent.Contacts().IsContact(t.Context(), i.own, alice.DID()); !known || err != nil {
					t.Errorf("contact %v, %v", known, err)
				}
				// The end of the invitation is not the end of the relationship.
				time.Sleep(2 * time.Hour)
				wantCode(t, ping(t, alice, inv, parent), "")
				wantCode(t, ping(t, bob, inv, parent), outofband.CodeUsed)
				// The invitation was not for the other DID.
				wantCode(t, ping(t, bob, &outofband.Invitation{From: i.agent.DID()}), "")
			})
		})
	}
}

func TestUnusedExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := agenttest.NewNet()
		i := newInviter(t, n)
		inv := i.invite(t, i.own, func(k *outofband.Kept) {
			k.Pairwise, k.Invitation.Expires = true, time.Now().Add(time.Hour)
		})
		time.Sleep(time.Hour)
		alice := n.Agent(t, nil)
		wantCode(t, ping(t, alice, inv, agent.Parent(inv.ID)), outofband.CodeExpired)
		time.Sleep(2 * outofband.ForgetAfter)
		wantCode(t, ping(t, alice, inv), outofband.CodeExpired) // for as long as the DID lives
		if _, err := outofband.Accept(t.Context(), alice, alice.DID(), inv); !errors.Is(err, outofband.ErrExpired) {
			t.Errorf("accept: %v", err)
		}
	})
}

// Of many parties that use an invitation at the same time, exactly one does.
func TestSingleUseRaced(t *testing.T) {
	n := agenttest.NewNet()
	i := newInviter(t, n)
	inv := i.invite(t, i.own, func(k *outofband.Kept) { k.Pairwise = true })
	codes := make(chan string, 8)
	var all sync.WaitGroup
	for range cap(codes) {
		a := n.Agent(t, nil)
		all.Go(func() { codes <- ping(t, a, inv, agent.Parent(inv.ID)) })
	}
	all.Wait()
	close(codes)
	count := map[string]int{}
	for code := range codes {
		count[code]++
	}
	if count[""] != 1 || count[outofband.CodeUsed] != cap(codes)-1 {
		t.Errorf("answers %v", count)
	}
}

// The party that has used an invitation may move to another DID.
func TestUsedByRotated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := agenttest.NewNet()
		i := newInviter(t, n)
		inv := i.invite(t, i.own, func(k *outofband.Kept) { k.Pairwise = true })
		alice, other := newMover(t, n)
		wantCode(t, ping(t, alice, inv), "")
		jwt, err := alice.Packer().FromPrior(t.Context(), alice.DID(), other, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		for _, prior := range []string{jwt, ""} {
			m := &message.Message{Type: trustping.TypePing, From: other, To: []string{inv.From}, FromPrior: prior}
			in, err := alice.Request(t.Context(), m)
			if err != nil || !message.Is(in.Message, trustping.TypePingResponse) {
				t.Errorf("after the rotation: %v", err)
			}
		}
	})
}

// newMover returns an agent with another DID, which the agent can move to.
func newMover(t *testing.T, n *agenttest.Net) (a *agent.Agent, other string) {
	t.Helper()
	const endpoint = "mem://mover"
	keys, dids := twoDIDs(t, endpoint)
	resolver := agenttest.NewParty(t).Resolver
	packer, err := envelope.New(envelope.Config{Keys: keys, Resolver: resolver})
	if err != nil {
		t.Fatal(err)
	}
	a = n.Agent(t, nil, agenttest.Configure(func(cfg *agent.Config) { cfg.DID, cfg.Packer = dids[0], packer }))
	if err := n.Mem.Handle(endpoint, a); err != nil {
		t.Fatal(err)
	}
	return a, dids[1]
}

func TestKeep(t *testing.T) {
	book := outofband.NewBook(store.NewRecords(store.RecordsConfig{}))
	k := &outofband.Kept{Invitation: outofband.New("did:example:alice"), Pairwise: true}
	k.Invitation.Goal = "to test"
	if err := book.Keep(t.Context(), k); err != nil {
		t.Fatal(err)
	}
	got, err := book.Get(t.Context(), k.Invitation.ID)
	if err != nil || !got.Pairwise || !got.SingleUse || got.Invitation.Goal != "to test" || got.Created.IsZero() {
		t.Errorf("%+v, %v", got, err)
	}
	if err := book.Keep(t.Context(), &outofband.Kept{Invitation: k.Invitation}); !errors.Is(err, store.ErrVersion) {
		t.Errorf("twice: %v", err)
	}
	if err := book.Keep(t.Context(), &outofband.Kept{Invitation: &outofband.Invitation{ID: "1"}}); !errors.Is(err, outofband.ErrInvalid) {
		t.Errorf("invalid: %v", err)
	}
	if _, err := book.Get(t.Context(), "another"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("another: %v", err)
	}
}

// Accepting makes a contact, and an attached message is answered on its own thread, with the
// invitation as the parent.
func TestAccept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := agenttest.NewNet()
		i := newInviter(t, n)
		attached, err := message.New(trustping.TypePing, nil)
		if err != nil {
			t.Fatal(err)
		}
		inv := i.invite(t, i.agent.DID(), func(k *outofband.Kept) { err = k.Invitation.Attach(attached) })
		if err != nil {
			t.Fatal(err)
		}
		text, err := inv.URL("https://example.com")
		if err != nil {
			t.Fatal(err)
		}
		if inv, err = outofband.Parse(text); err != nil {
			t.Fatal(err)
		}
		alice := n.Agent(t, nil)
		all, err := outofband.Accept(t.Context(), alice, alice.DID(), inv)
		if err != nil || len(all) != 1 {
			t.Fatalf("%+v, %v", all, err)
		}
		if known, err := alice.Contacts().IsContact(t.Context(), alice.DID(), inv.From); !known || err != nil {
			t.Errorf("contact %v, %v", known, err)
		}
		m, err := message.New(trustping.TypePingResponse, nil)
		if err != nil {
			t.Fatal(err)
		}
		inv.Answer(m, all[0].Message)
		if err := alice.Send(t.Context(), m); err != nil {
			t.Fatal(err)
		}
		if k := <-i.seen; k == nil || k.Invitation.ID != inv.ID || m.ThreadID != attached.ID || m.ParentThreadID != inv.ID {
			t.Errorf("invitation %+v, answer %+v", k, m)
		}
	})
}
