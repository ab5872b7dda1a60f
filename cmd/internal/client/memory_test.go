package client_test

import (
	"log/slog"
	"slices"
	"testing"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/contact"
	"github.com/didcomm-go/didcomm/cmd/internal/client"
	"github.com/didcomm-go/didcomm/cmd/internal/home"
	"github.com/didcomm-go/didcomm/protocols/trustping"
)

// A Client knows what the home knows about a party, and tells the home what it has learned.
func TestClientRemembers(t *testing.T) {
	ctx, to := t.Context(), chatty(t)
	cfg := client.Config{
		Home: home.Config{Dir: t.TempDir(), MaxItems: 100, MaxBytes: 1 << 20},
		Peer: to, Logger: slog.New(slog.DiscardHandler),
	}
	h, err := home.Open(ctx, cfg.Home)
	if err != nil {
		t.Fatal(err)
	}
	own, _, err := h.Serve(ctx, "", "http://127.0.0.1:1/")
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	if err := cfg.Home.Remember(ctx, own, to, contact.Dialect{Lacks: []string{trustping.PIURI}}); err != nil {
		t.Fatal(err)
	}
	// The peer answers each message by a text, so that the ping is answered, though not well.
	with := func(f func(c *client.Client)) {
		t.Helper()
		c, err := client.Start(ctx, cfg)
		if err != nil {
			t.Fatal(err)
		}
		f(c)
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
	known := func() contact.Dialect {
		t.Helper()
		h, err := home.OpenOld(ctx, cfg.Home)
		if err != nil {
			t.Fatal(err)
		}
		defer h.Close()
		d, err := h.Dialect(ctx, own, to)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	with(func(c *client.Client) {
		d, err := c.Agent().Contacts().Dialect(ctx, c.Agent().DID(), to)
		if err != nil || !slices.Equal(d.Lacks, []string{trustping.PIURI}) {
			t.Errorf("the client knows %+v, %v", d, err)
		}
		_, _ = trustping.Ping(ctx, c.Agent(), to, agent.Once())
	})
	if d := known(); !slices.Equal(d.Lacks, []string{trustping.PIURI}) || !slices.Equal(d.Speaks, []string{trustping.PIURI1}) {
		t.Errorf("the home knows %+v", d)
	}
}
