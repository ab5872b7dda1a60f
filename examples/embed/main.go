// Embed puts DIDComm into a wallet backend that has an HTTP server and tenants of its own.
// Two such backends run here and talk to each other over HTTP and WebSocket, on loopback.
// The program ends by itself.
//
//	go run ./examples/embed
//
// Copy these files into a program of your own: backend.go makes, starts and stops the agent,
// tenants.go adds and retires tenants, and metrics.go counts messages. The file kms.go
// replaces a KMS. The other files run the demonstration.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"time"

	"github.com/didcomm-go/didcomm/protocols/trustping"
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
	ctx, stop := context.WithTimeout(ctx, time.Minute)
	defer stop()
	dir, err := os.MkdirTemp("", "embed")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)

	acme, err := newSite(ctx, filepath.Join(dir, "acme.db"))
	if err != nil {
		return err
	}
	defer acme.close()
	beta, err := newSite(ctx, filepath.Join(dir, "beta.db"))
	if err != nil {
		return err
	}
	defer beta.close()
	return talk(ctx, out, acme, beta)
}

// talk plays the part of the business logic of two backends, which uses their agents.
func talk(ctx context.Context, out io.Writer, acme, beta *site) error {
	if _, err := trustping.Ping(ctx, beta.agent, acme.agent.DID()); err != nil {
		return err
	}
	fmt.Fprintln(out, "beta pinged the did:web of acme")

	alice, err := acme.addTenant(ctx, "alice")
	if err != nil {
		return err
	}
	bob, err := beta.addTenant(ctx, "bob")
	if err != nil {
		return err
	}
	if err := beta.send(ctx, "bob", alice, "hello, Alice"); err != nil {
		return err
	}
	got, err := acme.receive(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%s got %q, from bob: %t\n", got.tenant, got.content, got.from == bob)

	// Tenants come and go while the agent runs.
	carol, err := acme.addTenant(ctx, "carol")
	if err != nil {
		return err
	}
	if err := acme.retireTenant(ctx, "carol", time.Hour); err != nil {
		return err
	}
	if err := beta.send(ctx, "bob", carol, "hello, Carol"); err != nil {
		return err
	}
	if got, err = acme.receive(ctx); err != nil {
		return err
	}
	fmt.Fprintf(out, "%s has left, and got %q, which was under way\n", got.tenant, got.content)

	// A message that cannot be delivered stays in the store, also when its sender stops.
	if err := beta.stop(); err != nil {
		return err
	}
	if err := acme.send(ctx, "alice", bob, "hello, Bob"); err != nil {
		return err
	}
	if err := acme.stop(); err != nil {
		return err
	}
	fmt.Fprintln(out, "both backends have stopped, with a message for bob on its way")

	if err := acme.start(ctx); err != nil {
		return err
	}
	if err := beta.start(ctx); err != nil {
		return err
	}
	if got, err = beta.receive(ctx); err != nil {
		return err
	}
	again, err := acme.did("alice")
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%s got %q after the restart, from the same did of alice: %t\n", got.tenant, got.content, got.from == again && again == alice)

	if err := errors.Join(acme.stop(), beta.stop()); err != nil {
		return err
	}
	fmt.Fprintf(out, "messages of acme: %s\nmessages of beta: %s\n", acme.cfg.counts, beta.cfg.counts)
	return nil
}
