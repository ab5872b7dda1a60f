package main

import (
	"bytes"
	"context"
	"errors"
	"expvar"
	"log/slog"
	"net"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/agenttest"
	"github.com/didcomm-go/didcomm/protocols/basicmessage"
	"github.com/didcomm-go/didcomm/protocols/empty"
	"github.com/didcomm-go/didcomm/protocols/trustping"
	"github.com/didcomm-go/didcomm/transport/netguard"
)

func TestRun(t *testing.T) {
	var out bytes.Buffer
	if err := run(t.Context(), &out); err != nil {
		t.Fatal(err)
	}
	want := regexp.MustCompile(`^beta pinged the did:web of acme
alice got "hello, Alice", from bob: true
carol has left, and got "hello, Carol", which was under way
both backends have stopped, with a message for bob on its way
bob got "hello, Bob" after the restart, from the same did of alice: true
messages of acme: \{"handled": \d+,.*\}
messages of beta: \{"handled": \d+,.*\}
$`)
	if got := out.Bytes(); !want.Match(got) {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}

// serve runs a backend until the test ends, or until stop is called. The result of run is in
// ended.
func serve(t *testing.T, onText func(context.Context, text) error) (b *backend, stop func(), ended chan error) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b, err = newBackend(t.Context(), config{
		path:   filepath.Join(t.TempDir(), "backend.db"),
		url:    "http://" + listener.Addr().String(),
		keys:   newKMS(),
		guard:  &netguard.Guard{AllowLoopback: true},
		counts: new(expvar.Map),
		logger: slog.New(slog.NewTextHandler(t.Output(), nil)),
		onText: onText,
	})
	if err != nil {
		listener.Close()
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended = make(chan error, 1)
	go func() {
		defer close(ended)
		if err := b.run(ctx, listener); err != nil {
			ended <- err
		}
	}()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return b, stop, ended
}

func add(t *testing.T, b *backend, tenant string) string {
	t.Helper()
	id, err := b.addTenant(t.Context(), tenant)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// An agent of agenttest and each tenant of a backend send each other texts.
func TestTenants(t *testing.T) {
	for name, transport := range map[string]agenttest.Option{"http": agenttest.HTTP(), "websocket": agenttest.WebSocket()} {
		t.Run(name, func(t *testing.T) {
			got := make(chan text, 1)
			b, _, _ := serve(t, func(_ context.Context, in text) error {
				got <- in
				return nil
			})
			answers := make(chan string, 1)
			peer := agenttest.NewNet().Agent(t, agent.NewMux(empty.Handle(), basicmessage.Handle(
				func(_ context.Context, _ agent.Responder, in *agent.Inbound, _ basicmessage.Body) error {
					answers <- in.From
					return nil
				})), transport)

			for _, tenant := range []string{"alice", "bob"} {
				id := add(t, b, tenant)
				if again := add(t, b, tenant); again != id {
					t.Errorf("%s has %s and %s", tenant, id, again)
				}
				if _, err := trustping.Ping(t.Context(), peer, id); err != nil {
					t.Errorf("ping %s: %v", tenant, err)
				}
				// A text of an unknown sender is not for the tenant.
				if err := basicmessage.Send(t.Context(), peer, id, "boo", agent.Anonymous(), agent.AwaitDelivery()); err != nil {
					t.Fatal(err)
				}
				if err := basicmessage.Send(t.Context(), peer, id, "hello"); err != nil {
					t.Fatal(err)
				}
				if in, want := <-got, (text{tenant, peer.DID(), "hello"}); in != want {
					t.Errorf("got %v, want %v", in, want)
				}
				if err := b.send(t.Context(), tenant, peer.DID(), "hello"); err != nil {
					t.Fatal(err)
				}
				if from := <-answers; from != id {
					t.Errorf("answer from %s, want %s", from, id)
				}
			}
		})
	}
}

// A tenant that has left gets and sends nothing. The others stay.
func TestRetireTenant(t *testing.T) {
	b, _, _ := serve(t, func(_ context.Context, in text) error {
		t.Errorf("got %v", in)
		return nil
	})
	httpOnly := agenttest.Configure(func(cfg *agent.Config) { delete(cfg.Senders, "ws") }) // a WebSocket has no receipts
	peer := agenttest.NewNet().Agent(t, nil, agenttest.HTTP(), httpOnly)
	alice, bob := add(t, b, "alice"), add(t, b, "bob")
	if err := b.retireTenant(t.Context(), "alice", 0); err != nil {
		t.Fatal(err)
	}
	if err := basicmessage.Send(t.Context(), peer, alice, "hello", agent.Once()); !errors.Is(err, agent.ErrUndelivered) {
		t.Errorf("send to a tenant that has left: %v", err)
	}
	if err := b.send(t.Context(), "alice", peer.DID(), "hello"); err == nil {
		t.Error("a tenant that has left can send")
	}
	if _, err := trustping.Ping(t.Context(), peer, bob); err != nil {
		t.Errorf("ping bob: %v", err)
	}
}

// A backend that stops lets a Handler end before it closes the store.
func TestStop(t *testing.T) {
	begun, release := make(chan struct{}), make(chan struct{})
	b, stop, ended := serve(t, func(ctx context.Context, _ text) error {
		close(begun)
		select {
		case <-release:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	})
	alice := add(t, b, "alice")
	peer := agenttest.NewNet().Agent(t, nil, agenttest.HTTP())
	if err := basicmessage.Send(t.Context(), peer, alice, "hello"); err != nil {
		t.Fatal(err)
	}
	<-begun
	stopping := make(chan struct{})
	b.server.RegisterOnShutdown(func() { close(stopping) })
	stop()
	<-stopping
	select {
	case <-ended:
		t.Error("stopped while a text was handled")
	default:
	}
	close(release)
	<-ended
	if n := b.cfg.counts.Get("handled"); n == nil || n.String() != "1" {
		t.Errorf("handled: %v", n)
	}
}
