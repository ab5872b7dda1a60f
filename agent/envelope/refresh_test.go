package envelope_test

import (
	"context"
	"errors"
	"testing"

	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/did"
)

// TestRefresh: a document that a cache keeps is looked up anew, and only then.
func TestRefresh(t *testing.T) {
	w := newWorld(t)
	var down error
	resolver := did.ResolverFunc(func(ctx context.Context, id string) (*did.Document, error) {
		if down != nil {
			return nil, down
		}
		return w.Resolve(ctx, id)
	})
	p := w.packer(t, w.alice, func(cfg *envelope.Config) { cfg.Resolver = did.NewCache(resolver, did.CacheConfig{}) })
	route := func() string {
		t.Helper()
		routes, err := p.Routes(t.Context(), bobDID)
		if err != nil || len(routes) != 1 {
			t.Fatalf("routes %v, %v", routes, err)
		}
		return routes[0].URI
	}
	w.add(newAgent(t, bobDID, "x25519").serve(t, did.Endpoint{URI: "https://old.example"}))
	if got := route(); got != "https://old.example" {
		t.Fatal(got)
	}
	w.add(newAgent(t, bobDID, "x25519").serve(t, did.Endpoint{URI: "https://new.example"}))
	if got := route(); got != "https://old.example" {
		t.Errorf("before: %s", got)
	}
	if err := p.Refresh(t.Context(), bobDID+"#x25519"); err != nil {
		t.Error(err)
	}
	if got := route(); got != "https://new.example" {
		t.Errorf("after: %s", got)
	}
	checkClass(t, "no DID", p.Refresh(t.Context(), "bob"), envelope.ErrRefused, did.ErrInvalid)
	down = errors.New("down")
	checkClass(t, "down", p.Refresh(t.Context(), bobDID), envelope.ErrTryLater, down)
	if got := route(); got != "https://new.example" {
		t.Errorf("when it could not be looked up: %s", got)
	}
	if err := w.packer(t, w.alice, func(cfg *envelope.Config) { cfg.Resolver = resolver }).Refresh(t.Context(), bobDID); err != nil {
		t.Errorf("a resolver that keeps nothing: %v", err)
	}
}
