// Protocol shows how to write a protocol of your own. It runs the protocol of package
// timeservice between two agents, and then ends.
//
//	go run ./examples/protocol
//
// Both agents are in this process and send messages in memory. For HTTP, only the Senders
// and the endpoint would be different: see examples/embed. The test of package timeservice
// shows how to test a protocol with package agenttest.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"time"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/identity"
	"github.com/didcomm-go/didcomm/agent/keyring"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/did"
	"github.com/didcomm-go/didcomm/did/didpeer"
	"github.com/didcomm-go/didcomm/examples/protocol/timeservice"
	"github.com/didcomm-go/didcomm/protocols/trustping"
	"github.com/didcomm-go/didcomm/transport"
	"github.com/didcomm-go/didcomm/transport/memtransport"
	"golang.org/x/sync/errgroup"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Stdout, time.Now); err != nil {
		fmt.Fprintln(os.Stderr, "protocol:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, out io.Writer, now func() time.Time) error {
	ctx, stop := context.WithTimeout(ctx, 30*time.Second)
	defer stop()
	network := memtransport.NewNetwork()

	// The responder supports the new protocol and Trust Ping.
	clock, err := newAgent(network, "mem://clock", agent.NewMux(
		trustping.Handle(),
		timeservice.Handle(timeservice.Handler{Now: now}),
	))
	if err != nil {
		return err
	}
	// The requester supports no protocol, which is not needed for answers to its requests.
	alice, err := newAgent(network, "mem://alice", agent.NewMux())
	if err != nil {
		return err
	}

	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return clock.Run(ctx) })
	g.Go(func() error { return alice.Run(ctx) })
	g.Go(func() error {
		defer stop() // ends both agents
		<-alice.Ready()
		return ask(ctx, out, alice, clock.DID())
	})
	return g.Wait()
}

func ask(ctx context.Context, out io.Writer, alice *agent.Agent, clock string) error {
	for _, offset := range []string{"", "+05:45"} {
		at, err := timeservice.Ask(ctx, alice, clock, offset)
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "the clock says %s\n", at.Format(time.RFC3339))
	}

	// If the responder refuses a request, Ask returns an error with a problem code.
	_, err := timeservice.Ask(ctx, alice, clock, "noon")
	var problem *message.Problem
	if !errors.As(err, &problem) {
		return fmt.Errorf("want a problem report, not %v", err)
	}
	fmt.Fprintf(out, "the clock refuses: %s (%s)\n", problem.Text(), problem.Code)
	return nil
}

// newAgent makes an agent with new keys and a did:peer:2, which receives messages at
// endpoint.
func newAgent(network *memtransport.Network, endpoint string, handler agent.Handler) (*agent.Agent, error) {
	pair, err := identity.Generate(keyring.Ed25519)
	if err != nil {
		return nil, err
	}
	id, err := identity.Peer2(pair, endpoint)
	if err != nil {
		return nil, err
	}
	resolver := did.NewCache(did.Methods{"peer": didpeer.NewResolver()}, did.CacheConfig{})
	packer, err := envelope.New(envelope.Config{Keys: id, Resolver: resolver})
	if err != nil {
		return nil, err
	}
	a, err := agent.New(agent.Config{
		DID:     id.DID(),
		Packer:  packer,
		Handler: handler,
		Senders: map[string]transport.Sender{memtransport.Scheme: network.Sender()},
	})
	if err != nil {
		return nil, err
	}
	return a, network.Handle(endpoint, a)
}
