package interop_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/agenttest"
	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/identity"
	"github.com/didcomm-go/didcomm/agent/keyring"
	"github.com/didcomm-go/didcomm/examples/interop/internal/credolike"
	"github.com/didcomm-go/didcomm/protocols/empty"
	"github.com/didcomm-go/didcomm/protocols/trustping"
)

// The agent finds the connection of a rotation and of a hangup by the DIDs in the message, as
// they are written there: by the first DID in to, and by iss.
func TestCredoLikeIsTold(t *testing.T) {
	for _, scheme := range []string{"http", "ws"} {
		for name, numalgo := range map[string]int{"did:peer:2": 2, "did:peer:4": 4} {
			t.Run(name+" over "+scheme, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				them, err := credolike.Start(credolike.Config{Schemes: []string{scheme}, Numalgo: numalgo, Delay: credoDelay})
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(them.Close)
				us, first, next := withTwoDIDs(t, scheme, numalgo)

				theirs := pingedBy(ctx, t, them, first)
				if err := empty.Rotate(ctx, us, first, next, theirs); err != nil {
					t.Fatal(err)
				}
				tellsOf(ctx, t, them, 1)
				if again := pingedBy(ctx, t, them, next); again != theirs {
					t.Errorf("after our rotation, the agent has another connection: %s", again)
				}
				if err := empty.HangUp(ctx, us, next, theirs); err != nil {
					t.Fatal(err)
				}
				tellsOf(ctx, t, them, 2)
				if again := pingedBy(ctx, t, them, next); again == theirs {
					t.Error("the agent goes on with the connection that we have ended")
				}
				if failed := errors.Join(them.Failures()...); failed != nil {
					t.Error(failed)
				}
			})
		}
	}
}

// withTwoDIDs starts an agent of two DIDs with the same endpoint.
func withTwoDIDs(t *testing.T, scheme string, numalgo int) (us *agent.Agent, first, next string) {
	t.Helper()
	fatal := func(err error) {
		if err != nil {
			t.Helper()
			t.Fatal(err)
		}
	}
	way := map[string]agenttest.Option{"http": agenttest.HTTP(), "ws": agenttest.WebSocket()}[scheme]
	of := map[int]func(identity.Pair, ...string) (*identity.Identity, error){2: identity.Peer2, 4: identity.Peer4}[numalgo]
	us = agenttest.NewNet().Agent(t, agent.NewMux(trustping.Handle()), way, agenttest.Configure(func(cfg *agent.Config) {
		routes, err := cfg.Packer.Routes(t.Context(), cfg.DID)
		fatal(err)
		keys := keyring.New()
		for _, id := range []*string{&first, &next} {
			pair, err := identity.Generate(keyring.Ed25519)
			fatal(err)
			made, err := of(pair, routes[0].URI)
			fatal(err)
			for _, h := range made.Handles() {
				key := any(pair.Sign)
				if h.Use == identity.ToAgree {
					key = pair.Agree
				}
				fatal(keys.Add(h.KID, key))
			}
			*id = made.DID()
		}
		cfg.DID = first
		cfg.Packer, err = envelope.New(envelope.Config{Keys: keys, Resolver: byMethod})
		fatal(err)
	}))
	return us, first, next
}

// pingedBy makes the agent ping a DID of ours, and returns the agent's DID in the response.
func pingedBy(ctx context.Context, t *testing.T, them *credolike.Agent, us string) string {
	t.Helper()
	id, err := them.Ping(ctx, us)
	if err != nil {
		t.Fatal(err)
	}
	m, err := them.Wait(ctx, on(credolike.TypePingResponse, id))
	if err != nil {
		t.Fatal(err)
	}
	if m.From != us || len(m.To) != 1 {
		t.Fatalf("the response is from %s to %q", m.From, m.To)
	}
	return m.To[0]
}

// tellsOf waits until the agent has got that many messages with from_prior.
func tellsOf(ctx context.Context, t *testing.T, them *credolike.Agent, want int) {
	t.Helper()
	if err := until(ctx, func() error {
		n := 0
		for _, m := range them.Received() {
			if m.FromPrior != "" {
				n++
			}
		}
		if n != want {
			return fmt.Errorf("the agent has got %d messages with from_prior, want %d", n, want)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}
