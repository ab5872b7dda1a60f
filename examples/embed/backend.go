package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/identity"
	"github.com/didcomm-go/didcomm/agent/keyring"
	"github.com/didcomm-go/didcomm/did"
	"github.com/didcomm-go/didcomm/did/didkey"
	"github.com/didcomm-go/didcomm/did/didpeer"
	"github.com/didcomm-go/didcomm/protocols/basicmessage"
	"github.com/didcomm-go/didcomm/protocols/trustping"
	"github.com/didcomm-go/didcomm/transport"
	"github.com/didcomm-go/didcomm/transport/httptransport"
	"github.com/didcomm-go/didcomm/transport/netguard"
	"golang.org/x/sync/errgroup"
)

// backend is a wallet backend: an HTTP server with routes of its own, and an
// agent.
type backend struct {
	listener net.Listener
	server   *http.Server
	client   *httptransport.Client
	agent    *agent.Agent
	inbox    chan text
}

// text is a basic message that came in.
type text struct{ from, content string }

func newBackend(listener net.Listener, logger *slog.Logger) (*backend, error) {
	b := &backend{listener: listener, inbox: make(chan text, 16)}

	// New keys, and the did:peer:2 of them. Yours shall outlive the program: take them
	// from your KMS (see examples/seal), or seal them in a store (keyring.Sealed).
	pair, err := identity.Generate(keyring.Ed25519)
	if err != nil {
		return nil, err
	}
	id, err := identity.Peer2(pair, "http://"+listener.Addr().String()+"/didcomm")
	if err != nil {
		return nil, err
	}
	resolver := did.NewCache(did.Methods{
		"key":  didkey.Resolver{},
		"peer": didpeer.NewResolver(),
	}, did.CacheConfig{})
	packer, err := envelope.New(envelope.Config{Keys: id, Resolver: resolver})
	if err != nil {
		return nil, err
	}

	// Peers choose the addresses that the agent connects to. The guard refuses
	// this machine and private networks; here everybody is on this machine, on
	// the open Internet leave AllowLoopback false.
	guard := &netguard.Guard{AllowLoopback: true}
	b.client, err = httptransport.NewClient(httptransport.ClientConfig{Dial: guard.DialContext, Logger: logger})
	if err != nil {
		return nil, err
	}
	b.agent, err = agent.New(agent.Config{
		DID:     id.DID(),
		Packer:  packer,
		Handler: agent.NewMux(trustping.Handle(), basicmessage.Handle(b.keep)),
		Senders: map[string]transport.Sender{"http": b.client, "https": b.client},
		Logger:  logger,
	})
	if err != nil {
		return nil, err
	}

	router := http.NewServeMux()
	router.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	router.Handle("/didcomm", httptransport.NewHandler(b.agent, httptransport.HandlerConfig{Logger: logger}))
	b.server = httptransport.NewServer(router) // with timeouts; an http.Server of yours does as well
	return b, nil
}

// run serves until ctx ends, and returns when everything has stopped.
func (b *backend) run(ctx context.Context) error {
	defer b.client.Close()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return b.agent.Run(ctx) })
	g.Go(func() error {
		if err := b.server.Serve(b.listener); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	g.Go(func() error {
		<-ctx.Done()
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		return b.server.Shutdown(grace)
	})
	return g.Wait()
}

// keep is called for each basic message, from many goroutines. What it returns
// as an error goes to the log, and a *message.Problem to the sender as well.
func (b *backend) keep(ctx context.Context, _ agent.Responder, in *agent.Inbound, body basicmessage.Body) error {
	// in.From is proven, or empty; in.Message.From is only what the message says.
	if !in.Authenticated() {
		return errors.New("a message from nobody")
	}
	select {
	case b.inbox <- text{in.From, body.Content}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (b *backend) receive(ctx context.Context) (text, error) {
	select {
	case t := <-b.inbox:
		return t, nil
	case <-ctx.Done():
		return text{}, fmt.Errorf("wait for a message: %w", ctx.Err())
	}
}
