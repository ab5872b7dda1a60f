package client_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/delivery"
	"github.com/didcomm-go/didcomm/agent/identity"
	"github.com/didcomm-go/didcomm/agent/keyring"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/cmd/internal/client"
	"github.com/didcomm-go/didcomm/cmd/internal/home"
	"github.com/didcomm-go/didcomm/cmd/internal/network"
	"github.com/didcomm-go/didcomm/cmd/internal/server"
	"github.com/didcomm-go/didcomm/did"
	"github.com/didcomm-go/didcomm/protocols/basicmessage"
	"github.com/didcomm-go/didcomm/transport/httptransport"
	"github.com/didcomm-go/didcomm/transport/wstransport"
)

// newPeer is a did:peer of new keys.
func newPeer(t *testing.T, endpoint string) *identity.Identity {
	t.Helper()
	pair, err := identity.Generate(keyring.Ed25519)
	if err != nil {
		t.Fatal(err)
	}
	id, err := identity.Peer2(pair, endpoint)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// chatty is an agent that answers a text with another one, and returns its DID.
func chatty(t *testing.T) string {
	t.Helper()
	mux := httptest.NewUnstartedServer(nil)
	id := newPeer(t, "http://"+mux.Listener.Addr().String()+"/didcomm")
	resolver, err := network.Reach{Loopback: true}.Resolver(did.CacheConfig{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	echo := agent.HandlerFunc(func(ctx context.Context, w agent.Responder, in *agent.Inbound) error {
		m, err := basicmessage.New("and you?", "")
		if err != nil {
			return err
		}
		return w.Reply(ctx, m)
	})
	a, err := agent.New(agent.Config{DID: id.DID(), Keys: id, Resolver: resolver, Handler: echo})
	if err != nil {
		t.Fatal(err)
	}
	ws := wstransport.NewServer(a, wstransport.ServerConfig{})
	mux.Config.Handler = httptransport.NewHandler(a, httptransport.HandlerConfig{WebSocket: ws})
	mux.Start()
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	t.Cleanup(func() {
		if err := ws.Close(t.Context()); err != nil && t.Context().Err() == nil {
			t.Error(err)
		}
		stop()
		mux.Close()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return id.DID()
}

// What a peer says on the connection of a command that sends, and ends, is kept
// for the agent that serves the home next.
func TestPostKeepsWhatComesBack(t *testing.T) {
	ctx := t.Context()
	to := chatty(t)
	db := home.Config{Dir: t.TempDir(), MaxItems: 100, MaxBytes: 1 << 20}
	logger := slog.New(slog.DiscardHandler)
	m, err := basicmessage.New("hello", "")
	if err != nil {
		t.Fatal(err)
	}
	m.ID, m.To = message.NewID(), []string{to}
	posted, err := client.Post(ctx, client.PostConfig{
		Config:  client.Config{Home: db, WebSocket: true, Logger: logger},
		Timeout: 10 * time.Second,
	}, m)
	if err != nil || posted.Outcome.State != delivery.Acknowledged {
		t.Fatalf("%+v, %v", posted, err)
	}

	box, err := home.OpenInbox(ctx, db)
	if err != nil {
		t.Fatal(err)
	}
	letters, err := box.Letters(ctx, network.Reach{Loopback: true})
	if err != nil {
		t.Fatal(err)
	}
	var texts []string
	err = letters.Each(ctx, func(l home.Letter) error {
		var body basicmessage.Body
		if l.Err != nil || l.State != store.Waiting {
			t.Errorf("%s, %s, %v", l.State, l.LastError, l.Err)
			return nil
		}
		err := l.Message.DecodeBody(&body)
		texts = append(texts, body.Content)
		return err
	})
	if err != nil || len(texts) != 1 || texts[0] != "and you?" {
		t.Errorf("texts %q, %v", texts, err)
	}
	if err := box.Close(); err != nil {
		t.Error(err)
	}

	said := make(chan string, 1)
	s, err := server.Listen(ctx, server.Config{
		Home: db, Listen: "127.0.0.1:0", MaxBytes: 1 << 20, ReadTimeout: time.Second, Logger: logger,
		OnMessage: func(from, to, text string) { said <- from + " " + text },
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	select {
	case got := <-said:
		if got != to+" and you?" {
			t.Errorf("said %q", got)
		}
	case err := <-ended:
		ended <- err
		t.Error("ended")
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// A command that sends one message leaves the others in the outbox alone, and puts its
// own there only if that fails for now.
func TestPostLeavesTheOutbox(t *testing.T) {
	ctx := t.Context()
	gone := httptest.NewServer(nil)
	away := newPeer(t, gone.URL)
	gone.Close()
	cfg := client.PostConfig{
		Config: client.Config{
			Home:   home.Config{Dir: t.TempDir(), MaxItems: 100, MaxBytes: 1 << 20},
			Logger: slog.New(slog.DiscardHandler),
		},
		Timeout: 10 * time.Second,
	}
	here := chatty(t)
	for _, tt := range []struct {
		to      string
		noQueue bool
		want    delivery.State // empty for an error
		outbox  int            // messages in it afterwards
	}{
		{away.DID(), true, "", 0},
		{away.DID(), false, delivery.Queued, 1},
		{here, false, delivery.Sent, 1},
		{here, true, delivery.Sent, 1},
		{away.DID(), false, delivery.Queued, 2},
	} {
		m, err := basicmessage.New("hello", "")
		if err != nil {
			t.Fatal(err)
		}
		m.ID, m.To = message.NewID(), []string{tt.to}
		cfg.NoQueue = tt.noQueue
		posted, err := client.Post(ctx, cfg, m)
		if o := posted.Outcome; o.State != tt.want || (err != nil) != (tt.want == "") || (o.Err != nil) != (tt.want == delivery.Queued) {
			t.Errorf("%+v: became %q, %v, error %v", tt, o.State, o.Err, err)
		}
		box, err := home.OpenOutbox(ctx, cfg.Home)
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		err = box.Each(ctx, func(e store.Entry[store.Item]) error {
			n++
			if e.Attempts != 0 || e.State != store.Waiting {
				t.Errorf("%+v: an entry is %s after %d tries", tt, e.State, e.Attempts)
			}
			return nil
		})
		if err = errors.Join(err, box.Close()); err != nil || n != tt.outbox {
			t.Errorf("%+v: %d messages in the outbox, want %d, %v", tt, n, tt.outbox, err)
		}
	}
}
