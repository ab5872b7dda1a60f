package envelope_test

import (
	"context"
	"errors"
	"testing"
	"time"

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

// TestChangedKeys: a message of a peer that has changed its keys since its document was
// fetched opens after one refresh. Unpack says that it is to be tried later while the document
// cannot be refreshed. It is final once the refresh has changed nothing.
func TestChangedKeys(t *testing.T) {
	const id = "did:web:alice.example"
	w := newWorld(t)
	fromAlice := func(opts ...envelope.PackOption) func(*testing.T, *agent) []byte {
		return func(t *testing.T, a *agent) []byte {
			return pack1(t, w.packer(t, a), newMessage(t, a, w.bob), opts...).Data
		}
	}
	fromSuccessor := func(t *testing.T, prior *agent) []byte { // of the DID id
		m := newMessage(t, w.alice, w.bob)
		var err error
		if m.FromPrior, err = w.packer(t, prior).FromPrior(t.Context(), id, aliceDID, now); err != nil {
			t.Fatal(err)
		}
		return pack1(t, w.packer(t, w.alice), m, envelope.From(aliceDID)).Data
	}
	for name, test := range map[string]struct {
		renamed bool // the new keys have new key ids
		pack    func(*testing.T, *agent) []byte
		rule    error // of a message that no refresh helps
	}{
		"sender, new kid":  {true, fromAlice(envelope.From(id)), envelope.ErrSenderMismatch},
		"sender, same kid": {false, fromAlice(envelope.From(id)), envelope.ErrDecrypt},
		"signer, new kid":  {true, fromAlice(envelope.SignBy(id), envelope.Signed()), envelope.ErrSignerMismatch},
		"signer, same kid": {false, fromAlice(envelope.SignBy(id), envelope.Signed()), envelope.ErrSignature},
		"issuer, new kid":  {true, fromSuccessor, envelope.ErrFromPrior},
		"issuer, same kid": {false, fromSuccessor, envelope.ErrFromPrior},
	} {
		t.Run(name, func(t *testing.T) {
			generation := func(n string) (*agent, []byte) {
				names := []string{"x25519", "ed25519"}
				if test.renamed {
					names = []string{"x25519-" + n, "ed25519-" + n}
				}
				a := newAgent(t, id, names...)
				w.add(a)
				return a, test.pack(t, a)
			}
			_, forged := generation("3")
			changed, renewed := generation("2")
			_, old := generation("1")
			at := now
			var down error
			fetched := 0
			cache := did.NewCache(did.ResolverFunc(func(ctx context.Context, id string) (*did.Document, error) {
				if did.Host(id) != "" {
					fetched++
					if down != nil {
						return nil, down
					}
				}
				return w.Resolve(ctx, id)
			}), did.CacheConfig{Now: func() time.Time { return at }})
			bob := w.packer(t, w.bob, func(cfg *envelope.Config) { cfg.Resolver = cache })
			fetches := func(what string, want int, f func()) {
				t.Helper()
				before := fetched
				f()
				if got := fetched - before; got != want {
					t.Errorf("%s: %d fetches, want %d", what, got, want)
				}
			}
			open := func(what string, data []byte, want ...error) {
				t.Helper()
				_, err := bob.Unpack(t.Context(), data)
				if want == nil && err != nil {
					t.Errorf("%s: %v", what, err)
				}
				if want != nil {
					checkClass(t, what, err, want[0], want[1])
				}
			}
			unpack(t, bob, old)
			w.add(changed)
			fetches("at once", 0, func() { open("at once", renewed, envelope.ErrTryLater, did.ErrBusy) })
			at = at.Add(10 * time.Second)
			down = errors.New("down")
			fetches("down", 1, func() { open("down", renewed, envelope.ErrTryLater, down) })
			down = nil
			at = at.Add(10 * time.Second)
			fetches("changed", 1, func() { open("changed", renewed) })
			fetches("the revoked key, at once", 0, func() { open("revoked", old, envelope.ErrTryLater, did.ErrBusy) })
			at = at.Add(10 * time.Second)
			fetches("the revoked key", 1, func() { open("revoked", old, envelope.ErrRefused, test.rule) })
			at = at.Add(10 * time.Second)
			fetches("forged", 1, func() { open("forged", forged, envelope.ErrRefused, test.rule) })
			fetches("still", 0, func() { open("still", renewed) })
		})
	}
}
