package mediator_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/didcomm-go/didcomm/agent/mediator"
	"github.com/didcomm-go/didcomm/agent/store"
)

func (n *node) join(by, device string) mediator.Change {
	n.t.Helper()
	_, c, err := n.Join(n.t.Context(), by, device, by+device, time.Now().Add(time.Hour))
	if err != nil {
		n.t.Fatalf("%s joins %s: %v", device, by, err)
	}
	return c
}

func (n *node) wantDevices(device string, want ...string) {
	n.t.Helper()
	a, err := n.Account(n.t.Context(), device)
	if err != nil {
		n.t.Fatal(err)
	}
	var got []string
	for _, d := range a.Devices {
		got = append(got, d.DID)
	}
	if !slices.Equal(got, want) {
		n.t.Errorf("devices %q, want %q", got, want)
	}
}

func TestDevices(t *testing.T) {
	onEach(t, func(t *testing.T, b back) {
		ctx, n := t.Context(), newNode(t, b)
		n.enroll(alice)
		n.register(alice, "did:example:a", false)
		n.join(alice, bob)
		n.wantDevices(bob, alice, bob)
		n.send("did:example:a", "one")
		n.send(bob, "two")
		n.wantMail(alice, "one", "two")
		if s, err := n.Box(bob).Status(ctx, "did:example:a"); err != nil || s.Count != 1 {
			t.Errorf("status of bob: %+v, %v", s, err)
		}
		n.register(bob, "did:example:b", false)
		if ids, total, err := n.Recipients(ctx, alice, 0, 10); err != nil || total != 2 || !slices.Equal(ids, []string{"did:example:a", "did:example:b"}) {
			t.Errorf("recipients %q, %d, %v", ids, total, err)
		}

		// A device that leaves loses its mail and its rights; the account keeps what it has registered.
		if c, err := n.Leave(ctx, alice, bob); err != nil || !c.Changed {
			t.Fatal(c, err)
		}
		n.wantDevices(alice, alice)
		wantErr(t, "box of a device that has left", errOf(n.Box(bob).Status(ctx)), mediator.ErrNotEnrolled)
		wantErr(t, "mail for a device that has left", n.Accept(ctx, forward(bob, "x")), mediator.ErrNotEnrolled)
		if c, err := n.Leave(ctx, alice, bob); err != nil || c.Changed {
			t.Error(c, err)
		}
		n.send("did:example:b", "three")
		n.wantMail(alice, "three")
		n.enroll(bob)
		n.wantMail(bob)
		wantErr(t, "a device of another account", errOf(n.Leave(ctx, bob, alice)), nil)
		n.wantDevices(alice, alice)

		// With the last device, the account ends, and everything is free for others.
		if c, err := n.Leave(ctx, alice, alice); err != nil || !c.Changed {
			t.Fatal(c, err)
		}
		wantErr(t, "mail for nobody", n.Accept(ctx, forward("did:example:a", "x")), mediator.ErrNotEnrolled)
		n.register(bob, "did:example:a", false)
		n.enroll(alice)
		n.wantMail(alice)
		if a, err := n.Account(ctx, alice); err != nil || a.Recipients != 0 {
			t.Errorf("new account: %+v, %v", a, err)
		}
	})
}

func errOf[T any](_ T, err error) error { return err }

func TestJoin(t *testing.T) {
	ctx := t.Context()
	n := newNode(t, memory(), func(c *mediator.Config) { c.Limits.MaxDevices = 3 })
	expires := time.Now().Add(time.Hour)
	n.enroll(alice, carol, thief)
	n.register(thief, "did:example:t", false)
	for _, tt := range []struct {
		name, by, device, ticket string
		want                     error
		changed                  bool
	}{
		{"by a stranger", bob, "did:example:x", "0", mediator.ErrNotEnrolled, false},
		{"first", alice, bob, "1", nil, true},
		{"again", alice, bob, "1", nil, false},
		{"ticket that was used", alice, "did:example:x", "1", mediator.ErrDenied, false},
		{"ticket of another account", carol, "did:example:c2", "1", nil, true},
		{"by itself", alice, alice, "2", nil, false},
		{"of an account with recipients", alice, thief, "3", mediator.ErrTaken, false},
		{"of an account with two devices", alice, carol, "3", mediator.ErrTaken, false},
		{"our DID", alice, routing, "3", mediator.ErrRecipient, false},
		{"third", bob, "did:example:a3", "3", nil, true},
		{"too many", bob, "did:example:a4", "4", &mediator.LimitError{Limit: mediator.LimitDevices}, false},
	} {
		_, c, err := n.Join(ctx, tt.by, tt.device, tt.ticket, expires)
		wantErr(t, tt.name, err, tt.want)
		if c.Changed != tt.changed {
			t.Errorf("%s: %+v", tt.name, c)
		}
	}
	n.wantDevices(alice, alice, bob, "did:example:a3")
}

// A phone that has enrolled before it joins keeps the mail that has come meanwhile.
func TestJoinWithMail(t *testing.T) {
	onEach(t, func(t *testing.T, b back) {
		n := newNode(t, b)
		n.enroll(alice, bob)
		n.send(bob, "before")
		if c := n.join(alice, bob); !c.Changed {
			t.Error(c)
		}
		n.send(alice, "after")
		n.wantMail(bob, "before", "after")
		n.wantMail(alice, "after")
		if list, next, err := n.Accounts(t.Context(), 0, 10); err != nil || next != 0 || len(list) != 1 || len(list[0].Devices) != 2 {
			t.Errorf("accounts %+v, %d, %v", list, next, err)
		}
	})
}

// A device that rotates its DID loses no mail, and is still reached by its old DID.
func TestRotate(t *testing.T) {
	onEach(t, func(t *testing.T, b back) {
		ctx, n := t.Context(), newNode(t, b)
		n.enroll(alice, carol)
		n.join(alice, bob)
		n.register(alice, "did:example:a", false)
		n.send("did:example:a", "1")
		n.send(alice, "2")
		if err := n.SetSenders(ctx, alice, mediator.Senders{Recipient: alice, Filter: mediator.Filter{Mode: mediator.Block}, DIDs: []string{carol}}); err != nil {
			t.Fatal(err)
		}
		const fresh = "did:example:fresh"
		for i := range 2 {
			if c, err := n.Rotate(ctx, alice, fresh); err != nil || c.Changed != (i == 0) {
				t.Fatalf("rotation: %+v, %v", c, err)
			}
		}
		n.wantDevices(bob, fresh, bob)
		wantErr(t, "old device", errOf(n.Account(ctx, alice)), mediator.ErrNotEnrolled)
		n.send(alice, "3")
		n.send(fresh, "4")
		f := forward(fresh, "5")
		f.Sender = carol
		wantErr(t, "list of the old DID", n.Accept(ctx, f), mediator.ErrNotAllowed)
		n.wantMail(fresh, "1", "2", "3", "4")
		n.wantMail(bob, "1", "2", "3", "4")
		if ids, _, err := n.Recipients(ctx, fresh, 0, 10); err != nil || !slices.Contains(ids, alice) {
			t.Errorf("recipients %q, %v", ids, err)
		}

		for _, tt := range []struct {
			name, from, to string
			want           error
		}{
			{"to a device of another account", fresh, carol, mediator.ErrTaken},
			{"to a device of the account", fresh, bob, mediator.ErrTaken},
			{"of a stranger", "did:example:x", "did:example:y", mediator.ErrNotEnrolled},
			{"of a recipient", "did:example:a", "did:example:y", mediator.ErrNotEnrolled},
			{"to our DID", fresh, routing, mediator.ErrRecipient},
			{"back", fresh, alice, nil},
		} {
			wantErr(t, tt.name, errOf(n.Rotate(ctx, tt.from, tt.to)), tt.want)
		}
		n.wantDevices(alice, alice, bob)
		if c, err := n.Deregister(ctx, alice, fresh); err != nil || !c.Changed {
			t.Error(c, err)
		}
		wantErr(t, "retired DID", n.Accept(ctx, forward(fresh, "x")), mediator.ErrNotEnrolled)
	})
}

// The loser of a DID is told in all of its boxes, with a message for each device.
func TestTell(t *testing.T) {
	onEach(t, func(t *testing.T, b back) {
		n := newNode(t, b)
		n.enroll(alice)
		n.join(alice, bob)
		failed := errors.New("no key")
		tell := func(device string) (store.Packet, error) {
			if device == "did:example:a3" {
				return store.Packet{}, failed
			}
			return store.Packet{MediaType: "text/plain", Data: []byte("for " + device)}, nil
		}
		for range 2 {
			if err := n.Tell(t.Context(), alice, tell); err != nil {
				t.Fatal(err)
			}
		}
		n.join(alice, "did:example:a3")
		if err := n.Tell(t.Context(), bob, tell); !errors.Is(err, failed) {
			t.Error(err)
		}
		n.wantMail(alice, "for "+alice)
		n.wantMail(bob, "for "+bob)
		n.wantMail("did:example:a3")
		wantErr(t, "nobody", n.Tell(t.Context(), carol, tell), mediator.ErrNotEnrolled)
	})
}
