package mediator_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/didcomm-go/didcomm/agent/mediator"
	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/did"
	"github.com/didcomm-go/didcomm/did/didkey"
)

const thief = "did:example:thief"

// documents has one DID with a document for each service.
var documents = did.ResolverFunc(func(ctx context.Context, id string) (*did.Document, error) {
	if strings.HasPrefix(id, "did:key:") {
		return didkey.Resolver{}.Resolve(ctx, id)
	}
	if id == "did:example:silent" {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	if id == "did:example:busy" {
		return nil, did.ErrBusy
	}
	uri, ok := strings.CutPrefix(id, "did:example:at-")
	if !ok {
		return nil, did.ErrNotFound
	}
	doc := &did.Document{ID: id}
	for i, hop := range strings.Split(uri, ".") {
		s := did.NewDIDCommService("#s"+string(rune('0'+i)), "did:example:"+hop)
		switch {
		case hop == "http":
			s = did.NewDIDCommService("#s"+string(rune('0'+i)), "https://example.com")
		case strings.HasPrefix(hop, "key-"):
			s = did.NewDIDCommService("#s"+string(rune('0'+i)), "https://example.com", "did:example:"+hop[4:]+"#key-1")
		}
		doc.Service = append(doc.Service, s)
	}
	return doc, doc.Index()
})

// Every way to get the mail of others that the rules name. The mail that the owner should get is
// sent after the attempt.
func TestTheft(t *testing.T) {
	ed, x := keyPair(t)
	long, short := pair4(t)
	type act struct {
		device, id string
		proven     bool
		want       error
	}
	for _, tt := range []struct {
		name  string
		acts  []act  // registrations one after the other
		next  string // of a message, sent last
		owner string // who gets the message
		loser string // who has lost the DID by the last act
	}{
		{"first come", []act{{alice, "did:example:a", false, nil}, {thief, "did:example:a", false, mediator.ErrTaken}}, "did:example:a", alice, ""},
		{"proof beats first come", []act{{thief, "did:example:a", false, nil}, {alice, "did:example:a", true, nil}}, "did:example:a", alice, thief},
		{"first come after a proof", []act{{alice, "did:example:a", true, nil}, {thief, "did:example:a", false, mediator.ErrTaken}}, "did:example:a", alice, ""},
		{"proof after a proof", []act{{bob, "did:example:a", true, nil}, {alice, "did:example:a", true, nil}}, "did:example:a", alice, bob},
		{"proof later", []act{{alice, "did:example:a", false, nil}, {alice, "did:example:a", true, nil}, {thief, "did:example:a", false, mediator.ErrTaken}}, "did:example:a", alice, ""},
		{"device", []act{{thief, alice, false, mediator.ErrTaken}}, alice, alice, ""},
		{"device with a proof", []act{{thief, alice, true, mediator.ErrTaken}}, alice, alice, ""},
		{"device that is registered", []act{{alice, alice, false, nil}, {thief, alice, false, mediator.ErrTaken}}, alice, alice, ""},
		{"DID URL", []act{{alice, "did:example:a", false, nil}, {thief, "did:example:a/path?query#key-1", false, mediator.ErrTaken}}, "did:example:a#key-1", alice, ""},
		{"key id first", []act{{alice, x + "#" + x[8:], false, nil}, {thief, x, false, mediator.ErrTaken}}, x, alice, ""},
		{"key id last", []act{{alice, x, false, nil}, {thief, x + "#" + x[8:], false, mediator.ErrTaken}}, x, alice, ""},
		{"X25519 of Ed25519", []act{{alice, ed, false, nil}, {thief, x, false, mediator.ErrTaken}}, x, alice, ""},
		{"Ed25519 of X25519", []act{{alice, x, false, nil}, {thief, ed, false, mediator.ErrTaken}}, ed, alice, ""},
		{"short form", []act{{alice, long, false, nil}, {thief, short, false, mediator.ErrTaken}}, short, alice, ""},
		{"long form", []act{{alice, short, false, nil}, {thief, long, false, mediator.ErrTaken}}, long, alice, ""},
		{"long form of a device with a wrong hash", []act{{thief, long + "z", false, mediator.ErrRecipient}}, "", "", ""},
		{"client of another mediator", []act{{thief, "did:example:at-other", false, mediator.ErrRecipient}}, "", "", ""},
		{"client of another mediator, by key", []act{{thief, "did:example:at-key-other", false, mediator.ErrRecipient}}, "", "", ""},
		{"client of another mediator that moves", []act{{alice, "did:example:at-other", true, nil}}, "did:example:at-other", alice, ""},
		{"our client", []act{{alice, "did:example:at-mediator", false, nil}}, "did:example:at-mediator", alice, ""},
		{"our client, by key", []act{{alice, "did:example:at-key-mediator", false, nil}}, "did:example:at-key-mediator", alice, ""},
		{"our client and that of another", []act{{alice, "did:example:at-other.mediator", false, nil}}, "did:example:at-other.mediator", alice, ""},
		{"with an address of its own", []act{{alice, "did:example:at-http", false, nil}}, "did:example:at-http", alice, ""},
		{"does not resolve", []act{{alice, "did:example:none", false, nil}}, "did:example:none", alice, ""},
		{"no room to resolve", []act{{alice, "did:example:busy", false, &mediator.LimitError{Limit: mediator.LimitDocuments}}}, "", "", ""},
		{"our DID", []act{{thief, routing, true, mediator.ErrRecipient}}, "", "", ""},
		{"our DID URL", []act{{thief, routing + "#key-1", true, mediator.ErrRecipient}}, "", "", ""},
		{"another DID of ours", []act{{thief, "did:example:ours#key-1", true, mediator.ErrRecipient}}, "", "", ""},
		{"no DID", []act{{thief, "alice", true, mediator.ErrRecipient}}, "", "", ""},
		{"empty", []act{{thief, "", true, mediator.ErrRecipient}}, "", "", ""},
		{"no DID URL", []act{{thief, "did:example:a#\x00", true, mediator.ErrRecipient}}, "", "", ""},
		{"too long", []act{{thief, "did:example:" + strings.Repeat("a", 4096), true, mediator.ErrRecipient}}, "", "", ""},
		{"not enrolled", []act{{carol, "did:example:a", true, mediator.ErrNotEnrolled}}, "", "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n := newNode(t, memory(), func(c *mediator.Config) {
				c.Documents = documents
				c.Ours = func(_ context.Context, id string) bool { return id == "did:example:ours" }
			})
			n.enroll(alice, bob, thief)
			var last mediator.Change
			for _, a := range tt.acts {
				c, err := n.Register(t.Context(), a.device, a.id, a.proven)
				wantErr(t, a.id, err, a.want)
				last = c
			}
			if last.Loser != tt.loser {
				t.Errorf("loser %q, want %q", last.Loser, tt.loser)
			}
			if tt.next == "" {
				return
			}
			n.send(tt.next, "hello")
			for _, device := range []string{alice, bob, thief} {
				if device == tt.owner {
					n.wantMail(device, "hello")
				} else {
					n.wantMail(device)
				}
			}
		})
	}
}

// The keys of the routing DID cannot be registered either.
func TestOwnKeys(t *testing.T) {
	ed, x := keyPair(t)
	n := newNode(t, memory(), func(c *mediator.Config) { c.DID, c.Documents = ed, documents })
	n.enroll(thief)
	for _, id := range []string{ed, x, x + "#" + x[8:]} {
		if _, err := n.Register(t.Context(), thief, id, true); !errors.Is(err, mediator.ErrRecipient) {
			t.Errorf("%s: %v", id, err)
		}
		if _, err := n.Enroll(t.Context(), id, ""); !errors.Is(err, mediator.ErrRecipient) {
			t.Errorf("enroll %s: %v", id, err)
		}
	}
}

// All mail that waits goes to the winner, also mail that a device of the loser holds, and the mail
// for other recipients stays.
func TestMailOfTheLoser(t *testing.T) {
	for _, win := range []struct {
		name string
		do   func(n *node) (mediator.Change, error)
		by   string
	}{
		{"proof", func(n *node) (mediator.Change, error) {
			return n.Register(n.t.Context(), alice, "did:example:a", true)
		}, alice},
		{"enrolment", func(n *node) (mediator.Change, error) {
			_, c, err := n.Admit(n.t.Context(), mediator.Enrolment{ID: "did:example:a"})
			return c, err
		}, "did:example:a"},
		{"join", func(n *node) (mediator.Change, error) {
			_, c, err := n.Join(n.t.Context(), alice, "did:example:a", "ticket", time.Now().Add(time.Hour))
			return c, err
		}, "did:example:a"},
		{"rotation", func(n *node) (mediator.Change, error) {
			return n.Rotate(n.t.Context(), alice, "did:example:a")
		}, "did:example:a"},
	} {
		t.Run(win.name, func(t *testing.T) {
			onEach(t, func(t *testing.T, b back) {
				ctx := t.Context()
				n := newNode(t, b)
				n.enroll(alice, thief)
				if _, _, err := n.Join(ctx, thief, bob, "t", time.Now().Add(time.Hour)); err != nil {
					t.Fatal(err)
				}
				n.register(thief, "did:example:a", false)
				for _, text := range []string{"1", "2", "3"} {
					n.send("did:example:a", text)
				}
				n.send(thief, "own")
				held, err := n.Box(thief).Lease(ctx, store.Pick{N: 2}, time.Hour)
				if err != nil || len(held) != 2 {
					t.Fatal(held, err)
				}
				if c, err := win.do(n); err != nil || !c.Changed || c.Loser != thief {
					t.Fatalf("%+v, %v", c, err)
				}
				for _, mail := range held {
					if k, err := n.Box(thief).Ack(ctx, mail.ID); k != 0 || err != nil {
						t.Errorf("ack: %d, %v", k, err)
					}
				}
				if s, err := n.Box(thief).Status(ctx); err != nil || s.Count != 1 {
					t.Errorf("status of the loser: %+v, %v", s, err)
				}
				n.send("did:example:a", "4")
				n.wantMail(win.by, "1", "2", "3", "4")
				n.wantMail(thief, "own")
				n.wantMail(bob, "own")
				if _, total, err := n.Recipients(ctx, thief, 0, 10); err != nil || total != 0 {
					t.Errorf("recipients of the loser: %d, %v", total, err)
				}
				if d, err := n.Show(ctx, thief); err != nil || d.Recipients != 0 {
					t.Errorf("loser: %+v, %v", d, err)
				}
			})
		})
	}
}
