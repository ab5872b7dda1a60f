// Embed puts DIDComm into a wallet backend that has an HTTP server of its own:
// the agent is one more route on its net/http mux, and messages are sent with one
// call. Two such backends run here and talk to each other over real HTTP, on
// loopback; the program ends by itself.
//
//	go run ./examples/embed
//
// File backend.go is what you would take over into your own program.
package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"time"

	"github.com/didcomm-go/didcomm/protocols/basicmessage"
	"github.com/didcomm-go/didcomm/protocols/trustping"
	"golang.org/x/sync/errgroup"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "embed:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, out io.Writer) error {
	ctx, stop := context.WithTimeout(ctx, 30*time.Second)
	defer stop()
	logger := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))

	// The endpoint is part of a did:peer:2, so the port comes before the agent.
	var backends [2]*backend
	for i := range backends {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		defer listener.Close()
		if backends[i], err = newBackend(listener, logger); err != nil {
			return err
		}
	}
	alice, bob := backends[0], backends[1]

	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return alice.run(ctx) })
	g.Go(func() error { return bob.run(ctx) })
	g.Go(func() error {
		defer stop() // both backends end when the talk is over
		<-alice.agent.Ready()
		<-bob.agent.Ready()
		return talk(ctx, out, alice, bob)
	})
	return g.Wait()
}

// talk is what your business logic would do with the agent.
func talk(ctx context.Context, out io.Writer, alice, bob *backend) error {
	rtt, err := trustping.Ping(ctx, alice.agent, bob.agent.DID())
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "alice pinged bob: answer after %s\n", rtt.Round(time.Microsecond))

	// Send returns when the message is in the outbox; the agent delivers it from
	// there, and tries again where it must.
	if err := basicmessage.Send(ctx, alice.agent, bob.agent.DID(), "hello, Bob"); err != nil {
		return err
	}
	got, err := bob.receive(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "bob got %q, from alice: %t\n", got.content, got.from == alice.agent.DID())

	// From is proven, so it is safe to answer to.
	if err := basicmessage.Send(ctx, bob.agent, got.from, "hello, Alice"); err != nil {
		return err
	}
	if got, err = alice.receive(ctx); err != nil {
		return err
	}
	fmt.Fprintf(out, "alice got %q, from bob: %t\n", got.content, got.from == bob.agent.DID())
	return nil
}
