package mediator_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/didcomm-go/didcomm/agent/mediator"
	"github.com/didcomm-go/didcomm/agent/store"
)

// A block holds at once for all that an account could do, and keeps what it has.
func TestBlock(t *testing.T) {
	onEach(t, func(t *testing.T, b back) {
		ctx, n := t.Context(), newNode(t, b)
		n.enroll(alice, bob)
		n.join(alice, carol)
		n.register(alice, "did:example:a", false)
		n.send("did:example:a", "before")
		box := n.Box(carol)
		if _, err := box.Status(ctx); err != nil {
			t.Fatal(err)
		}
		changed := make(chan struct{}, 10)
		stop := box.OnChange(func() { changed <- struct{}{} })
		defer stop()
		wantErr(t, "nobody", n.Block(ctx, thief), mediator.ErrNotEnrolled)
		if err := n.Block(ctx, "did:example:a#key-1"); err != nil {
			t.Fatal(err)
		}
		select {
		case <-changed:
		default:
			t.Error("the open box was not told")
		}
		f := forward("did:example:a", "x")
		for what, err := range map[string]error{
			"accept":   n.Accept(ctx, f),
			"status":   errOf(box.Status(ctx)),
			"lease":    errOf(box.Lease(ctx, store.Pick{N: 1}, time.Minute)),
			"ack":      errOf(box.Ack(ctx, "id")),
			"nak":      box.Nak(ctx),
			"wait":     box.Wait(ctx),
			"enroll":   errOf(n.Enroll(ctx, alice, "")),
			"register": errOf(n.Register(ctx, alice, "did:example:b", true)),
			"remove":   errOf(n.Deregister(ctx, alice, "did:example:a")),
			"list":     func() error { _, _, err := n.Recipients(ctx, alice, 0, 1); return err }(),
			"join": func() error {
				_, _, err := n.Join(ctx, alice, "did:example:c", "t", time.Now().Add(time.Hour))
				return err
			}(),
			"joins":   func() error { _, _, err := n.Join(ctx, bob, alice, "t", time.Now().Add(time.Hour)); return err }(),
			"leave":   errOf(n.Leave(ctx, alice, alice)),
			"rotate":  errOf(n.Rotate(ctx, alice, "did:example:c")),
			"senders": n.SetSenders(ctx, alice, mediator.Senders{}),
		} {
			wantErr(t, what, err, mediator.ErrBlocked)
		}
		wantErr(t, "register for another", errOf(n.Register(ctx, bob, "did:example:a", false)), mediator.ErrTaken)
		if err := n.Unblock(ctx, alice); err != nil {
			t.Fatal(err)
		}
		n.send("did:example:a", "after")
		n.wantMail(alice, "before", "after")
		n.wantMail(carol, "before", "after")
	})
}

// Another process on the same store blocks, and the open box is told within a quarter of a second.
func TestBlockByAnotherProcess(t *testing.T) {
	onEach(t, func(t *testing.T, b back) {
		ctx, n := t.Context(), newNode(t, b)
		n.enroll(alice, bob)
		ctx, cancel := context.WithCancel(ctx)
		done := make(chan error)
		defer func() {
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
		}()
		told := map[string]chan struct{}{alice: make(chan struct{}, 10), bob: make(chan struct{}, 10)}
		for device, told := range told {
			box := n.Box(device)
			if _, err := box.Status(ctx); err != nil {
				t.Fatal(err)
			}
			defer box.OnChange(func() { told <- struct{}{} })()
		}
		go func() { done <- n.Run(ctx) }()
		<-told[alice] // Run has begun, and tells everybody
		<-told[bob]
		other := newNode(t, b)
		for _, do := range []func(context.Context, string) error{other.Block, other.Unblock} {
			if err := do(ctx, alice); err != nil {
				t.Fatal(err)
			}
			<-told[alice]
		}
		if _, err := other.Leave(ctx, bob, bob); err != nil {
			t.Fatal(err)
		}
		<-told[bob]
		wantErr(t, "account that has ended", errOf(n.Box(bob).Status(ctx)), mediator.ErrNotEnrolled)
	})
}

func TestPurge(t *testing.T) {
	onEach(t, func(t *testing.T, b back) {
		ctx, n := t.Context(), newNode(t, b)
		n.enroll(alice, thief)
		n.join(alice, bob)
		n.register(alice, "did:example:a", false)
		n.register(thief, "did:example:t", false)
		if err := n.SetSenders(ctx, alice, mediator.Senders{Filter: mediator.Filter{Mode: mediator.Block}, DIDs: []string{thief}}); err != nil {
			t.Fatal(err)
		}
		token, _, err := n.NewCapability(ctx, alice, "", "", time.Time{})
		if err != nil {
			t.Fatal(err)
		}
		n.send("did:example:a", "12345")
		n.send("did:example:t", "6")
		want := mediator.Purged{Account: alice, Devices: 2, Recipients: 1, Packets: 2, Bytes: 10}
		for _, dry := range []bool{true, true, false} {
			if p, err := n.Purge(ctx, bob, dry); err != nil || p != want {
				t.Fatalf("purge: %+v, %v", p, err)
			}
		}
		for _, id := range []string{alice, bob, "did:example:a"} {
			f := forward(id, "x")
			f.Capability = token
			wantErr(t, id, n.Accept(ctx, f), mediator.ErrNotEnrolled)
			wantErr(t, id, errOf(n.Show(ctx, id)), mediator.ErrNotEnrolled)
		}
		n.enroll(alice)
		n.wantMail(alice)
		if list, err := n.Capabilities(ctx, alice); err != nil || len(list) != 0 {
			t.Error(list, err)
		}
		n.wantMail(thief, "6")

		// A blocked account stays blocked.
		n.send("did:example:t", "7")
		if err := n.Block(ctx, thief); err != nil {
			t.Fatal(err)
		}
		if p, err := n.Purge(ctx, thief, false); err != nil || p.Packets != 1 || p.Recipients != 1 {
			t.Errorf("purge: %+v, %v", p, err)
		}
		wantErr(t, "blocked", errOf(n.Enroll(ctx, thief, "")), mediator.ErrBlocked)
		n.register(alice, "did:example:t", false)
		if d, err := n.Show(ctx, thief); err != nil || d.Recipients != 0 || len(d.Registered) != 0 || d.Boxes[0].Count != 0 {
			t.Errorf("show: %+v, %v", d, err)
		}
		if err := n.Unblock(ctx, thief); err != nil {
			t.Fatal(err)
		}
		n.wantMail(thief)
	})
}

func TestAccountsAndStats(t *testing.T) {
	onEach(t, func(t *testing.T, b back) {
		ctx := t.Context()
		figures := make(chan mediator.Stats, 1)
		n := newNode(t, b, func(c *mediator.Config) {
			c.Limits.EnrolmentsPerHour = -1
			c.Trace = &mediator.Trace{Figures: func(_ context.Context, s mediator.Stats) { figures <- s }}
		})
		start := time.Now()
		var ids []string
		for i := range 7 {
			ids = append(ids, fmt.Sprintf("did:example:%d", i))
			n.enroll(ids[i])
			n.send(ids[i], "hello")
		}
		n.join(ids[6], alice)
		n.register(alice, "did:example:a", false)
		n.send(alice, "12345")
		if err := n.Block(ctx, ids[0]); err != nil {
			t.Fatal(err)
		}
		if list, err := n.Box(ids[1]).Lease(ctx, store.Pick{N: 1}, time.Minute); err != nil || len(list) != 1 {
			t.Fatal(list, err)
		}
		if _, err := n.Purge(ctx, ids[2], false); err != nil {
			t.Fatal(err)
		}
		var got []string
		for after := uint64(0); ; {
			list, next, err := n.Accounts(ctx, after, 2)
			if err != nil || len(list) > 2 {
				t.Fatal(list, err)
			}
			for _, a := range list {
				got = append(got, a.ID)
			}
			if after = next; next == 0 {
				break
			}
		}
		slices.Sort(got)
		if want := slices.Delete(slices.Clone(ids), 2, 3); !slices.Equal(got, want) {
			t.Errorf("accounts %q, want %q", got, want)
		}
		s, err := n.Stats(ctx)
		oldest := s.Oldest
		if s.Oldest = (time.Time{}); err != nil || s != (mediator.Stats{
			Accounts: 6, Blocked: 1, Devices: 7, Recipients: 1, Boxes: 7, Packets: 8, Bytes: 40, Delivered: 1,
		}) {
			t.Errorf("stats %+v, %v", s, err)
		}
		if oldest.Before(start.Add(-time.Second)) || oldest.After(time.Now()) {
			t.Errorf("oldest %s", oldest)
		}
		ctx, cancel := context.WithCancel(ctx)
		done := make(chan error)
		go func() { done <- n.Run(ctx) }()
		if f := <-figures; f.Packets != 8 {
			t.Errorf("figures %+v", f)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// A box is not told of other accounts, and not after stop. A box that was not used yet is told of
// all.
func TestOnChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, n := t.Context(), newNode(t, memory())
		n.enroll(alice, bob)
		var used, fresh int
		box := n.Box(alice)
		if _, err := box.Status(ctx); err != nil {
			t.Fatal(err)
		}
		stop := box.OnChange(func() { used++ })
		defer n.Box(alice).OnChange(func() { fresh++ })()
		n.register(bob, "did:example:b", false)
		n.register(alice, "did:example:a", false)
		if used != 1 || fresh != 2 {
			t.Errorf("told %d and %d times, want 1 and 2", used, fresh)
		}
		stop()
		stop()
		n.register(alice, "did:example:c", false)
		if used != 1 {
			t.Error("told after stop")
		}
	})
}

// The mail of a Trace has no contents.
func TestTrace(t *testing.T) {
	var events []string
	note := func(name string) func(context.Context, mediator.Event) {
		return func(_ context.Context, e mediator.Event) {
			events = append(events, fmt.Sprintf("%s %s %s %s %d %d %s", name, e.Account, e.Recipient, e.Device, e.Packets, e.Bytes, e.Sender))
		}
	}
	n := newNode(t, memory(), func(c *mediator.Config) {
		c.Trace = &mediator.Trace{Accepted: note("accepted"), Refused: note("refused"), Delivered: note("delivered"), Collected: note("collected")}
	})
	n.enroll(alice)
	f := from(forward(alice, "hello"), "", "192.0.2.1")
	for range 2 {
		if err := n.Accept(t.Context(), f); err != nil {
			t.Fatal(err)
		}
	}
	n.wantMail(alice, "hello")
	wantErr(t, "nobody", n.Accept(t.Context(), from(forward(bob, "hello"), carol, "")), mediator.ErrNotEnrolled)
	want := []string{
		"accepted did:example:alice did:example:alice  1 5 addr",
		"delivered did:example:alice  did:example:alice 1 5 ",
		"collected did:example:alice  did:example:alice 1 0 ",
		"refused  did:example:bob  1 5 did",
	}
	if !slices.Equal(events, want) {
		t.Errorf("events %q, want %q", events, want)
	}
}
