package mediator_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/didcomm-go/didcomm/agent/mediator"
)

// runs lets a mediator run until the test ends.
func (n *node) runs() {
	ctx, cancel := context.WithCancel(n.t.Context())
	done := make(chan error)
	go func() { done <- n.Run(ctx) }()
	n.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			n.t.Error(err)
		}
	})
}

// What another process changes holds for forwards within a quarter of a second, and what this
// process changes at once.
func TestForwardsAfterAChange(t *testing.T) {
	const id = "did:example:a"
	for _, tt := range []struct {
		name string
		do   func(n *node) error
		want error
	}{
		{"block", func(n *node) error { return n.Block(n.t.Context(), alice) }, mediator.ErrBlocked},
		{"deregister", func(n *node) error { return errOf(n.Deregister(n.t.Context(), alice, id)) }, mediator.ErrNotEnrolled},
		{"purge", func(n *node) error { return errOf(n.Purge(n.t.Context(), alice, false)) }, mediator.ErrNotEnrolled},
		{"list", func(n *node) error {
			return n.SetSenders(n.t.Context(), alice, mediator.Senders{Recipient: id, Filter: mediator.Filter{Mode: mediator.Allow}})
		}, mediator.ErrNotAllowed},
		{"list of the account", func(n *node) error {
			return n.SetSenders(n.t.Context(), alice, mediator.Senders{Filter: mediator.Filter{Mode: mediator.Allow}})
		}, mediator.ErrNotAllowed},
	} {
		for _, by := range []string{"own", "other", "other without Run"} {
			t.Run(tt.name+"/"+by, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					b := memory()
					n := newNode(t, b)
					if by != "other without Run" {
						n.runs()
					}
					n.enroll(alice)
					n.register(alice, id, false)
					time.Sleep(time.Second + 7*time.Millisecond)
					n.send(id, "1")
					n.send(id, "2")
					node, wait := n, time.Duration(0)
					if by != "own" {
						node = newNode(t, b)
					}
					if by == "other" {
						wait = 250 * time.Millisecond
					}
					if err := tt.do(node); err != nil {
						t.Fatal(err)
					}
					time.Sleep(wait)
					wantErr(t, "forward", n.Accept(t.Context(), forward(id, "3")), tt.want)
				})
			})
		}
	}
}

// A forward that begins after a block is refused, whatever other forwards have read meanwhile.
func TestBlockUnderLoad(t *testing.T) {
	n := newNode(t, memory(), fast)
	n.runs()
	n.enroll(alice)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan struct{})
	for g := range 4 {
		go func() {
			defer func() { done <- struct{}{} }()
			for ctx.Err() == nil {
				if err := n.Accept(ctx, forward(alice, fmt.Sprint(g))); err != nil && !errors.Is(err, mediator.ErrBlocked) && ctx.Err() == nil {
					t.Error(err)
				}
			}
		}()
	}
	for range 200 {
		if err := n.Block(ctx, alice); err != nil {
			t.Fatal(err)
		}
		wantErr(t, "blocked", n.Accept(ctx, forward(alice, "x")), mediator.ErrBlocked)
		if err := n.Unblock(ctx, alice); err != nil {
			t.Fatal(err)
		}
		wantErr(t, "unblocked", n.Accept(ctx, forward(alice, "x")), nil)
	}
	cancel()
	for range 4 {
		<-done
	}
}

// The DID moves while another process still knows the loser: what comes there moves, too.
func TestMoveSeenLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := memory()
		n, other := newNode(t, b), newNode(t, b)
		n.runs()
		n.enroll(alice, thief)
		n.register(thief, "did:example:a", false)
		time.Sleep(time.Second + 7*time.Millisecond)
		n.send("did:example:a", "1")
		other.register(alice, "did:example:a", true)
		n.send("did:example:a", "2") // n does not know yet
		n.wantMail(thief)
		n.wantMail(alice, "1", "2")
		time.Sleep(10 * time.Second)
		n.send("did:example:a", "3")
		n.wantMail(thief)
		n.wantMail(alice, "3")
	})
}
