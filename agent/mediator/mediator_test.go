package mediator_test

import (
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/didcomm-go/didcomm/agent/mediator"
	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/agent/store/sqlstore"
	"github.com/didcomm-go/didcomm/agent/store/sqlstore/sqlite"
	"github.com/didcomm-go/didcomm/did/didkey"
)

const (
	routing = "did:example:mediator"
	alice   = "did:example:alice"
	bob     = "did:example:bob"
	carol   = "did:example:carol"
)

// back is a back end that any number of mediators share.
type back struct {
	store   store.Store
	mailbox store.Mailbox
}

// onEach runs f on each back end.
func onEach(t *testing.T, f func(t *testing.T, b back)) {
	t.Run("memory", func(t *testing.T) { f(t, memory()) })
	t.Run("sqlite", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "store")
		f(t, open(t, path))
	})
}

func memory() back { return back{store.New(store.Config{}), store.NewMailbox(store.MailboxConfig{})} }

func open(t testing.TB, path string) back {
	t.Helper()
	s, err := sqlite.Open(t.Context(), path, sqlstore.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return back{s, s.Mailbox()}
}

// node is a mediator in a test.
type node struct {
	*mediator.Mediator
	t testing.TB
}

func newNode(t testing.TB, b back, edit ...func(*mediator.Config)) *node {
	t.Helper()
	cfg := mediator.Config{DID: routing, Store: b.store, Mailbox: b.mailbox}
	for _, f := range edit {
		f(&cfg)
	}
	m, err := mediator.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return &node{m, t}
}

func (n *node) enroll(ids ...string) {
	n.t.Helper()
	for _, id := range ids {
		if _, err := n.Enroll(n.t.Context(), id, ""); err != nil {
			n.t.Fatalf("enroll %s: %v", id, err)
		}
	}
}

func (n *node) register(device, id string, proven bool) {
	n.t.Helper()
	if c, err := n.Register(n.t.Context(), device, id, proven); err != nil || !c.Changed {
		n.t.Fatalf("register %s for %s: %+v, %v", id, device, c, err)
	}
}

// send sends a text to a recipient.
func (n *node) send(next, text string) {
	n.t.Helper()
	if err := n.Accept(n.t.Context(), forward(next, text)); err != nil {
		n.t.Fatalf("send to %s: %v", next, err)
	}
}

func forward(next, text string) mediator.Forward {
	return mediator.Forward{Next: next, Packet: store.Packet{MediaType: "text/plain", Data: []byte(text)}}
}

// wantMail collects all mail of a device.
func (n *node) wantMail(device string, want ...string) {
	n.t.Helper()
	ctx, box := n.t.Context(), n.Box(device)
	var got []string
	for {
		list, err := box.Lease(ctx, store.Pick{N: 10, Held: true}, time.Minute)
		if err != nil {
			n.t.Fatalf("mail of %s: %v", device, err)
		}
		if len(list) == 0 {
			break
		}
		for _, mail := range list {
			got = append(got, string(mail.Packet.Data))
			if k, err := box.Ack(ctx, mail.ID); k != 1 || err != nil {
				n.t.Fatalf("ack: %d, %v", k, err)
			}
		}
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		n.t.Errorf("%s has got %q, want %q", device, got, want)
	}
}

// wantErr checks the class of an error.
func wantErr(t testing.TB, what string, got, want error) {
	t.Helper()
	var limit, wantLimit *mediator.LimitError
	if errors.As(want, &wantLimit) {
		if !errors.As(got, &limit) || limit.Limit != wantLimit.Limit {
			t.Errorf("%s: %v, want limit %s", what, got, wantLimit.Limit)
		}
		return
	}
	if !errors.Is(got, want) {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

// keyPair returns the did:key of an Ed25519 key, and that of its image.
func keyPair(t testing.TB) (ed, x string) {
	t.Helper()
	pub, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	image, err := didkey.KeyAgreement(pub)
	if err != nil {
		t.Fatal(err)
	}
	return mustKey(t, pub), mustKey(t, image)
}

func mustKey(t testing.TB, key any) string {
	t.Helper()
	id, err := didkey.New(key)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func x25519Key(t testing.TB) string {
	t.Helper()
	key, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return mustKey(t, key.PublicKey())
}

func TestMail(t *testing.T) {
	onEach(t, func(t *testing.T, b back) {
		n := newNode(t, b)
		n.enroll(alice)
		n.register(alice, "did:example:a1", false)
		n.send("did:example:a1", "one")
		n.send("did:example:a1", "one")
		n.send(alice, "two")
		wantErr(t, "to nobody", n.Accept(t.Context(), forward(bob, "x")), mediator.ErrNotEnrolled)
		if s, err := n.Box(alice).Status(t.Context(), "did:example:a1#key-1"); err != nil || s.Count != 1 {
			t.Errorf("status %+v, %v", s, err)
		}
		n.wantMail(alice, "one", "two")
		n.wantMail(alice)
	})
}
