package empty_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/agenttest"
	"github.com/didcomm-go/didcomm/agent/contact"
	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/identity"
	"github.com/didcomm-go/didcomm/agent/keyring"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/did"
	"github.com/didcomm-go/didcomm/did/didpeer"
	"github.com/didcomm-go/didcomm/protocols/empty"
)

const lineType = "https://example.org/chat/1.0/line"

// side is an agent with two DIDs at one endpoint, and what it has got.
type side struct {
	*agent.Agent
	t           *testing.T
	first, next string
	got         chan *agent.Inbound
}

// newSides returns two such agents that have exchanged messages between their first DIDs.
func newSides(t *testing.T, opts []agenttest.Option) (alice, bob *side) {
	t.Helper()
	n, list := agenttest.NewNet(), [2]*side{}
	for i := range list {
		s := &side{t: t, got: make(chan *agent.Inbound, 10)}
		list[i] = s
		configure := agenttest.Configure(func(cfg *agent.Config) {
			routes, err := cfg.Packer.Routes(t.Context(), cfg.DID)
			if err != nil {
				t.Fatal(err)
			}
			keys := keyring.New()
			for _, id := range []*string{&s.first, &s.next} {
				pair, err := identity.Generate(keyring.Ed25519)
				if err != nil {
					t.Fatal(err)
				}
				one, err := identity.Peer2(pair, routes[0].URI)
				if err != nil {
					t.Fatal(err)
				}
				*id = one.DID()
				for kid, key := range map[string]any{*id + "#key-1": pair.Sign, *id + "#key-2": pair.Agree} {
					if err := keys.Add(kid, key); err != nil {
						t.Fatal(err)
					}
				}
			}
			cfg.DID = s.first
			cfg.Packer, err = envelope.New(envelope.Config{Keys: keys, Resolver: did.Methods{"peer": didpeer.NewResolver()}})
			if err != nil {
				t.Fatal(err)
			}
		})
		s.Agent = n.Agent(t, agent.HandlerFunc(func(_ context.Context, _ agent.Responder, in *agent.Inbound) error {
			if in.Message.Type != empty.TypeEmpty || in.Metadata.FromPrior != nil { // over WebSocket, agents send acks and probes
				s.got <- in
			}
			return nil
		}), append(slices.Clip(opts), configure)...)
	}
	alice, bob = list[0], list[1]
	alice.writes(alice.first, bob.first, bob)
	bob.writes(bob.first, alice.first, alice)
	return alice, bob
}

// receives returns the next message.
func (s *side) receives() *agent.Inbound {
	s.t.Helper()
	select {
	case in := <-s.got:
		return in
	case <-time.After(20 * time.Second):
		s.t.Fatal("no message came")
		return nil
	}
}

// writes sends a message that must arrive, and returns it as it has arrived.
func (s *side) writes(from, to string, at *side) *agent.Inbound {
	s.t.Helper()
	m, err := message.New(lineType, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	m.From, m.To = from, []string{to}
	if err := s.Send(s.t.Context(), m); err != nil {
		s.t.Fatal(err)
	}
	in := at.receives()
	if in.Message.ID != m.ID || in.From != from {
		s.t.Errorf("got %v from %s", in.Message, in.From)
	}
	return in
}

// fails checks that a message cannot be sent, since the party has hung up.
func (s *side) fails(from, to string) {
	s.t.Helper()
	m, err := message.New(lineType, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	m.From, m.To = from, []string{to}
	if err := s.Send(s.t.Context(), m); !errors.Is(err, contact.ErrEnded) {
		s.t.Errorf("Send: %v", err)
	}
}

func (s *side) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

func eachTransport(t *testing.T, f func(t *testing.T, alice, bob *side)) {
	for name, opts := range map[string][]agenttest.Option{"HTTP": {agenttest.HTTP()}, "WebSocket": {agenttest.WebSocket()}} {
		t.Run(name, func(t *testing.T) {
			alice, bob := newSides(t, opts)
			f(t, alice, bob)
			f(t, bob, alice) // with the DIDs that are in use then
		})
	}
}

// Both sides rotate, one after the other, and write to the first DIDs of each other.
func TestRotate(t *testing.T) {
	eachTransport(t, func(t *testing.T, alice, bob *side) {
		alice.must(empty.Rotate(t.Context(), alice.Agent, alice.first, alice.next, bob.first))
		in := bob.receives()
		if in.From != alice.next || in.Message.Type != empty.TypeEmpty || in.Metadata.FromPrior == nil || in.Metadata.EncryptedFromKID != alice.next+"#key-2" {
			t.Errorf("got %+v, %+v", in.Message, in.Metadata)
		}
		to := bob.first
		if in := bob.writes(in.To, alice.first, alice); in.To != alice.next {
			t.Errorf("sent to %s", in.To)
		}
		alice.writes(alice.next, to, bob)
	})
}

// After the end nothing is sent, until the side that has hung up sends a message.
func TestHangUp(t *testing.T) {
	eachTransport(t, func(t *testing.T, alice, bob *side) {
		alice.must(empty.HangUp(t.Context(), alice.Agent, alice.first, bob.first))
		if in := bob.receives(); in.From != "" || in.Metadata.Authenticated || in.Metadata.FromPrior == nil || in.Metadata.FromPrior.Sub != "" {
			t.Errorf("got %+v, %+v", in.Message, in.Metadata)
		}
		bob.fails(bob.first, alice.first)
		if now, err := bob.Contacts().Current(t.Context(), bob.next, alice.first); now != alice.first || err != nil {
			t.Errorf("another DID of ours writes to %s, %v", now, err)
		}
		alice.writes(alice.first, bob.first, bob)
		bob.writes(bob.first, alice.first, alice)
	})
}

// The proof needs keys of the prior DID, and a party that has not hung up itself.
func TestAnnounceErrors(t *testing.T) {
	alice, bob := newSides(t, nil)
	for name, err := range map[string]error{
		"Rotate from another": empty.Rotate(t.Context(), alice.Agent, bob.first, alice.next, bob.first),
		"HangUp for another":  empty.HangUp(t.Context(), alice.Agent, bob.first, bob.first),
	} {
		if !errors.Is(err, envelope.ErrNoKey) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := empty.Rotate(t.Context(), alice.Agent, alice.first, alice.first, bob.first); !errors.Is(err, envelope.ErrFromPrior) {
		t.Errorf("Rotate to the same: %v", err)
	}
	bob.must(empty.HangUp(t.Context(), bob.Agent, bob.first, alice.first))
	alice.receives()
	for name, err := range map[string]error{
		"Rotate": empty.Rotate(t.Context(), alice.Agent, alice.first, alice.next, bob.first),
		"HangUp": empty.HangUp(t.Context(), alice.Agent, alice.first, bob.first),
	} {
		if !errors.Is(err, contact.ErrEnded) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
