package mediator_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/didcomm-go/didcomm/agent/mediator"
)

func TestSenders(t *testing.T) {
	const mine = "did:example:a"
	long, short := pair4(t)
	allow := func(ids ...string) mediator.Senders {
		return mediator.Senders{Filter: mediator.Filter{Mode: mediator.Allow}, DIDs: ids}
	}
	block := func(ids ...string) mediator.Senders {
		return mediator.Senders{Filter: mediator.Filter{Mode: mediator.Block}, DIDs: ids}
	}
	only := func(s mediator.Senders, id string) mediator.Senders { s.Recipient = id; return s }
	strict := func(s mediator.Senders) mediator.Senders { s.RefuseAnonymous = true; return s }
	for _, tt := range []struct {
		name       string
		set        []mediator.Senders
		next       string
		sender     string
		capability string // "account", "recipient", "other" or "wrong"
		ok         bool
	}{
		{"no list", nil, mine, "", "", true},
		{"allowed", []mediator.Senders{allow(bob)}, mine, bob, "", true},
		{"allowed, DID URL", []mediator.Senders{allow(bob)}, mine, bob + "#key-1", "", true},
		{"allowed, other form", []mediator.Senders{allow(short)}, mine, long, "", true},
		{"not allowed", []mediator.Senders{allow(bob)}, mine, carol, "", false},
		{"nobody allowed", []mediator.Senders{allow()}, mine, bob, "", false},
		{"anonymous", []mediator.Senders{allow(bob)}, mine, "", "", false},
		{"not allowed, with a capability", []mediator.Senders{allow(bob)}, mine, carol, "account", true},
		{"anonymous, with a capability", []mediator.Senders{allow(bob)}, mine, "", "account", true},
		{"capability for the recipient", []mediator.Senders{allow(bob)}, mine, "", "recipient", true},
		{"capability for another recipient", []mediator.Senders{allow(bob)}, alice, "", "recipient", false},
		{"capability of another account", []mediator.Senders{allow(bob)}, mine, "", "other", false},
		{"no capability", []mediator.Senders{allow(bob)}, mine, "", "wrong", false},
		{"blocked", []mediator.Senders{block(bob)}, mine, bob, "", false},
		{"blocked, with a capability", []mediator.Senders{block(bob)}, mine, bob, "account", false},
		{"not blocked", []mediator.Senders{block(bob)}, mine, carol, "", true},
		{"blocked but anonymous", []mediator.Senders{block(bob)}, mine, "", "", true},
		{"anonymous refused", []mediator.Senders{strict(block(bob))}, mine, "", "", false},
		{"anonymous refused, authenticated", []mediator.Senders{strict(block(bob))}, mine, carol, "", true},
		{"list of the recipient", []mediator.Senders{allow(bob), only(allow(carol), mine)}, mine, carol, "", true},
		{"list of the recipient alone", []mediator.Senders{allow(bob), only(allow(carol), mine)}, mine, bob, "", false},
		{"list of another recipient", []mediator.Senders{allow(bob), only(allow(carol), mine)}, alice, bob, "", true},
		{"open recipient", []mediator.Senders{allow(bob), only(mediator.Senders{Filter: mediator.Filter{Mode: mediator.Open}}, mine)}, mine, "", "", true},
		{"list of the recipient removed", []mediator.Senders{allow(bob), only(allow(carol), mine), only(mediator.Senders{}, mine)}, mine, carol, "", false},
		{"list replaced", []mediator.Senders{allow(bob), allow(carol)}, mine, bob, "", false},
		{"list removed", []mediator.Senders{allow(bob), {}}, mine, carol, "", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ctx, n := t.Context(), newNode(t, memory())
			n.enroll(alice, thief)
			n.register(alice, mine+"#key-1", false)
			for _, s := range tt.set {
				if err := n.SetSenders(ctx, alice, s); err != nil {
					t.Fatal(err)
				}
				got, err := n.Senders(ctx, alice, s.Recipient)
				if err != nil || got.Filter != s.Filter || len(got.DIDs) != len(s.DIDs) {
					t.Errorf("list %+v, %v, want %+v", got, err, s)
				}
			}
			f := forward(tt.next, "hello")
			f.Sender = tt.sender
			owner, recipient := alice, ""
			switch tt.capability {
			case "recipient":
				recipient = mine
			case "other":
				owner = thief
			}
			if tt.capability != "" {
				var err error
				if f.Capability, _, err = n.NewCapability(ctx, owner, recipient, "friend", time.Time{}); err != nil {
					t.Fatal(err)
				}
			}
			if tt.capability == "wrong" {
				f.Capability += "x"
			}
			err := n.Accept(ctx, f)
			if tt.ok && err != nil || !tt.ok && !errors.Is(err, mediator.ErrNotAllowed) {
				t.Errorf("accept: %v", err)
			}
		})
	}
}

// The lists of a DID are those of its account: others neither see nor set them.
func TestSendersOfOthers(t *testing.T) {
	onEach(t, sendersOfOthers)
}

func sendersOfOthers(t *testing.T, b back) {
	ctx, n := t.Context(), newNode(t, b)
	n.enroll(alice, thief)
	n.register(alice, "did:example:a", false)
	list := mediator.Senders{Recipient: "did:example:a", Filter: mediator.Filter{Mode: mediator.Allow}, DIDs: []string{thief}}
	wantErr(t, "set", n.SetSenders(ctx, thief, list), mediator.ErrRecipient)
	wantErr(t, "see", errOf(n.Senders(ctx, thief, list.Recipient)), mediator.ErrRecipient)
	wantErr(t, "capability", func() error { _, _, err := n.NewCapability(ctx, thief, list.Recipient, "", time.Time{}); return err }(), mediator.ErrRecipient)
	wantErr(t, "not enrolled", n.SetSenders(ctx, bob, list), mediator.ErrNotEnrolled)
	wantErr(t, "no DID", n.SetSenders(ctx, alice, mediator.Senders{Filter: list.Filter, DIDs: []string{"bob"}}), mediator.ErrRecipient)
	if n.SetSenders(ctx, alice, mediator.Senders{Filter: mediator.Filter{Mode: "some"}}) == nil {
		t.Error("an unknown mode was set")
	}
	// A recipient that comes back has no list.
	if err := n.SetSenders(ctx, alice, list); err != nil {
		t.Fatal(err)
	}
	if _, err := n.Deregister(ctx, alice, list.Recipient); err != nil {
		t.Fatal(err)
	}
	n.register(alice, list.Recipient, false)
	if s, err := n.Senders(ctx, alice, list.Recipient); err != nil || s.Mode != "" || len(s.DIDs) > 0 {
		t.Errorf("list %+v, %v", s, err)
	}
	n.send(list.Recipient, "hello")
}

func TestCapabilities(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, b := t.Context(), memory()
		n := newNode(t, b)
		n.enroll(alice, thief)
		if err := n.SetSenders(ctx, alice, mediator.Senders{Filter: mediator.Filter{Mode: mediator.Allow}}); err != nil {
			t.Fatal(err)
		}
		text := 0
		send := func(token string) error {
			text++
			f := forward(alice, string(rune('a'+text)))
			f.Capability = token
			return n.Accept(ctx, f)
		}
		short, s, err := n.NewCapability(ctx, alice, "", "short", time.Now().Add(time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		lasting, l, err := n.NewCapability(ctx, alice, "", "lasting", time.Time{})
		if err != nil || lasting == short || len(lasting) < 24 || s.ID == l.ID {
			t.Fatalf("%q, %q, %v", short, lasting, err)
		}
		wantErr(t, "short", send(short), nil)
		wantErr(t, "lasting", send(lasting), nil)
		if list, err := n.Capabilities(ctx, alice); err != nil || len(list) != 2 || list[0].Name != "short" || list[1].ID != l.ID {
			t.Errorf("capabilities %+v, %v", list, err)
		}
		time.Sleep(time.Hour)
		wantErr(t, "expired", send(short), mediator.ErrNotAllowed)
		if list, err := n.Capabilities(ctx, alice); err != nil || len(list) != 1 {
			t.Errorf("capabilities %+v, %v", list, err)
		}
		if err := n.RevokeCapability(ctx, thief, l.ID); err != nil {
			t.Error(err)
		}
		wantErr(t, "revoked by another account", send(lasting), nil)
		for range 2 {
			if err := n.RevokeCapability(ctx, alice, l.ID); err != nil {
				t.Error(err)
			}
		}
		wantErr(t, "revoked", send(lasting), mediator.ErrNotAllowed)
	})
}
