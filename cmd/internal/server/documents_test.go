package server_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/didcomm-go/didcomm/agent/identity"
	"github.com/didcomm-go/didcomm/agent/keyring"
	"github.com/didcomm-go/didcomm/cmd/internal/home"
	"github.com/didcomm-go/didcomm/cmd/internal/server"
	"github.com/didcomm-go/didcomm/did/didweb"
)

// A server publishes the documents of its hosts, each at the path that the DID names and
// for the host that was asked, and no others.
func TestDocuments(t *testing.T) {
	ctx := t.Context()
	cfg := home.Config{Dir: t.TempDir(), MaxItems: 10, MaxBytes: 1 << 20}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at := listener.Addr().String()
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	h, err := home.Open(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	for _, domain := range []string{
		"agent.example", "agent.example/bob", "web.example/bob", "web.example/a b/carol",
		"other.example/dave", at + "/erin", "localhost/erin",
	} {
		id, err := didweb.New(domain)
		if err != nil {
			t.Fatal(err)
		}
		pair, err := identity.Generate(keyring.P256)
		if err != nil {
			t.Fatal(err)
		}
		made, err := identity.Web(id, pair)
		if err != nil {
			t.Fatal(err)
		}
		if err := h.Keep(ctx, made); err != nil {
			t.Fatal(err)
		}
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	s, err := server.Listen(ctx, server.Config{
		Home: cfg, Listen: at, PublicURL: "https://Agent.example:443/didcomm", DID: "did:web:web.example:serve",
		MaxBytes: 1 << 20, ReadTimeout: time.Second, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	defer func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	for _, tt := range []struct{ method, host, path, want string }{
		{"GET", "web.example", "/serve/did.json", "did:web:web.example:serve"},
		{"GET", at, "/serve/did.json", "did:web:web.example:serve"}, // from a proxy that names this server
		{"GET", "agent.example", "/.well-known/did.json", "did:web:agent.example"},
		{"GET", "agent.example", "/bob/did.json", "did:web:agent.example:bob"},
		{"GET", "WEB.example", "/bob/did.json", "did:web:web.example:bob"},
		{"GET", "web.example", "/a%20b/carol/did.json", "did:web:web.example:a%20b:carol"},
		{"HEAD", "web.example", "/a%20b/carol/did.json", ""},
		{"GET", "other.example", "/dave/did.json", ""}, // another host, see TestHosts
		{"GET", "localhost", "/erin/did.json", ""},     // others than this machine reach the agent
		{"GET", at, "/erin/did.json", ""},
		{"GET", "web.example", "/nobody/did.json", ""},
		{"GET", "web.example", "/a%20b:carol/did.json", ""},
		{"GET", "web.example", "//bob/did.json", ""},
		{"GET", "agent.example", "/did.json", ""},
		{"GET", "agent.example", "/.well-known/x", ""},
		{"GET", "agent.example", "/", ""},
		{"POST", "web.example", "/bob/did.json", ""},
	} {
		req, err := http.NewRequestWithContext(ctx, tt.method, "http://"+at+tt.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = tt.host
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		var doc struct{ ID string }
		if tt.want != "" {
			err = json.NewDecoder(resp.Body).Decode(&doc)
		}
		resp.Body.Close()
		missing := http.StatusNotFound
		if tt.host == "other.example" {
			missing = http.StatusMisdirectedRequest
		}
		if found := tt.want != "" || tt.method == "HEAD"; err != nil || found != (resp.StatusCode == http.StatusOK) || !found && resp.StatusCode != missing || doc.ID != tt.want {
			t.Errorf("%s %s of %s: %s, %s, %v, want %s", tt.method, tt.path, tt.host, resp.Status, doc.ID, err, tt.want)
		}
	}
}
