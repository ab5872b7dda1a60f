package agent_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/agenttest"
	"github.com/didcomm-go/didcomm/agent/contact"
	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/identity"
	"github.com/didcomm-go/didcomm/agent/keyring"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/did"
	"github.com/didcomm-go/didcomm/did/didpeer"
	"github.com/didcomm-go/didcomm/transport"
)

// forms is an agent whose resolver forgets, and the forms of the DIDs of its peers.
type forms struct {
	*mover
	keys envelope.Keys
	own  bool // the agent makes its own Packer
}

// anew makes the agent anew, with a resolver that has seen no long form, on the same
// store.
func (f *forms) anew() {
	f.t.Helper()
	f.cfg.Contacts = contact.New(f.cfg.Store, contact.Config{MaxStrangers: 10})
	f.cfg.Packer, f.cfg.Keys, f.cfg.Resolver = nil, nil, nil
	if f.own {
		f.cfg.Keys, f.cfg.Resolver = f.keys, did.Methods{"peer": didpeer.NewResolver()}
	} else {
		var err error
		f.cfg.Packer, err = envelope.New(envelope.Config{Keys: f.keys, Resolver: &didpeer.Resolver{LongForm: f.cfg.Contacts.Long}})
		if err != nil {
			f.t.Fatal(err)
		}
	}
	f.restart()
}

// signing4 makes a stranger with a did:peer:4 that has a signing key as well.
func signing4(t *testing.T, n *agenttest.Net, endpoint string) (s *stranger, short string) {
	t.Helper()
	s = newStranger(t, n, endpoint)
	pair, err := identity.Generate(keyring.Ed25519)
	if err != nil {
		t.Fatal(err)
	}
	id, err := identity.Peer4(pair, endpoint)
	if err != nil {
		t.Fatal(err)
	}
	s.DID = id.DID()
	short = did.Canonical(s.DID)
	if _, err := s.Resolver.Resolve(t.Context(), s.DID); err != nil {
		t.Fatal(err)
	}
	ring, err := id.Keyring()
	if err != nil {
		t.Fatal(err)
	}
	for _, kid := range ring.KIDs() {
		key, err := ring.Key(kid)
		if err != nil {
			t.Fatal(err)
		}
		for _, form := range []string{s.DID, short} {
			if err := s.Keys.Add(form+kid[strings.IndexByte(kid, '#'):], key); err != nil {
				t.Fatal(err)
			}
		}
	}
	return s, short
}

// A did:peer:4 that has shown its long form once is known by its short form, to the next
// agent as well. No flood of others takes that away from a contact.
func TestLongForms(t *testing.T) {
	for _, own := range []bool{false, true} {
		t.Run(fmt.Sprint("own Packer ", own), func(t *testing.T) {
			f := &forms{own: own}
			f.mover = newMover(t, func(cfg *agent.Config) {
				p := agenttest.NewParty(t, "mem://agent")
				f.keys, cfg.DID, cfg.Packer = p.Keys, p.DID, p.Packer
			})
			f.anew()
			contacted, contactedShort := peer4(t, f.n, "mem://contacted")
			kept, keptShort := peer4(t, f.n, "mem://kept")
			met, metShort := peer4(t, f.n, "mem://met")
			mixed, mixedShort := peer4(t, f.n, "mem://mixed")
			rotated, rotatedShort := peer4(t, f.n, "mem://rotated")
			says := func(s *stranger, from string, kid string) error {
				e := s.message(t, f.Agent, chatType, func(e *message.Message) { e.From = from })
				_, err := f.ServePacket(t.Context(), transport.NoReply{}, s.pack(t, e, envelope.From(kid)))
				if err == nil {
					if in := f.handled.next(t); in.From != from {
						t.Errorf("from %s", in.From)
					}
				}
				return err
			}
			signed, signedShort := signing4(t, f.n, "mem://signed")
			known := map[string]*stranger{contactedShort: contacted, keptShort: kept, metShort: met, mixedShort: mixed, rotatedShort: rotated, signedShort: signed}
			for short, s := range known {
				if says(s, short, short) == nil {
					t.Error("opened before the long form was shown")
				}
			}
			// Each shows its long form in its way.
			for _, s := range []*stranger{contacted, kept, met} {
				if err := says(s, s.DID, s.DID); err != nil {
					t.Fatal(err)
				}
			}
			if err := says(mixed, mixedShort, mixed.DID); err != nil {
				t.Fatal(err)
			}
			e := signed.message(t, f.Agent, chatType, func(e *message.Message) { e.From = signedShort })
			signed.give(t, f.Agent, new(call), e, envelope.SignBy(signed.DID))
			if in := f.handled.next(t); in.From != signedShort || did.Base(in.Metadata.SignFrom) != signed.DID {
				t.Errorf("from %s, signed by %s", in.From, in.Metadata.SignFrom)
			}
			f.rotate(f.old, rotated)
			f.anew()
			for short, s := range known {
				if err := says(s, short, short); err != nil {
					t.Errorf("after a restart: %v", err)
				}
			}
			// Some are contacts from now on.
			f.sends(contacted, contacted)
			f.sends(f.old, rotated)
			for _, short := range []string{keptShort, mixedShort, signedShort} {
				if err := f.Contacts().Keep(t.Context(), f.DID(), short); err != nil {
					t.Fatal(err)
				}
			}
			for i := range 30 {
				s, _ := peer4(t, f.n, fmt.Sprint("mem://flood-", i))
				if err := says(s, s.DID, s.DID); err != nil {
					t.Fatal(err)
				}
			}
			f.anew()
			for short, s := range known {
				if err := says(s, short, short); err != nil && s != met {
					t.Errorf("after a flood: %v", err)
				}
			}
			f.sends(f.old, rotated)
		})
	}
}
