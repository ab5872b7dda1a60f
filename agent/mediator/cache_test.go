package mediator_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/didcomm-go/didcomm/agent/mediator"
	"github.com/didcomm-go/didcomm/agent/store"
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

// A change by another process holds for forwards within a quarter of a second, and a change by this
// process at once.
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

// paused is a Store whose next Get of an account, once armed, has its result and then waits for the
// gate.
type paused struct {
	store.Store
	armed *atomic.Bool
	gate  chan struct{}
}

func (p paused) Records() store.Records { return pausedRecords{p.Store.Records(), p} }

type pausedRecords struct {
	store.Records
	p paused
}

func (r pausedRecords) Get(ctx context.Context, collection, key string) (store.Record, error) {
	got, err := r.Records.Get(ctx, collection, key)
	if collection == "mediator/account" && r.p.armed.CompareAndSwap(true, false) {
		<-r.p.gate
	}
	return got, err
}

// A forward that has read the account before a block, and goes on after the block, does not make
// others believe what it has read.
func TestBlockDuringAForward(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, gate, armed := memory(), make(chan struct{}), new(atomic.Bool)
		n := newNode(t, back{paused{b.store, armed, gate}, b.mailbox})
		n.runs()
		n.enroll(alice)
		time.Sleep(time.Second + 7*time.Millisecond)
		armed.Store(true)
		done := make(chan error)
		go func() { done <- n.Accept(t.Context(), forward(alice, "1")) }()
		synctest.Wait()
		if err := n.Block(t.Context(), alice); err != nil {
			t.Fatal(err)
		}
		close(gate)
		wantErr(t, "forward before the block", <-done, nil)
		wantErr(t, "forward after the block", n.Accept(t.Context(), forward(alice, "2")), mediator.ErrBlocked)
	})
}

// blind is a Store that does not list accounts, as if all changes were by processes whose clocks
// are far behind.
type blind struct{ store.Store }

func (b blind) Records() store.Records { return blindRecords{b.Store.Records()} }

type blindRecords struct{ store.Records }

func (r blindRecords) List(ctx context.Context, q store.Query) ([]store.Record, error) {
	if q.Collection == "mediator/account" {
		return nil, nil
	}
	return r.Records.List(ctx, q)
}

// A change that is not noticed holds for forwards within half a minute.
func TestChangeThatIsNotNoticed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := memory()
		n, other := newNode(t, back{blind{b.store}, b.mailbox}), newNode(t, b)
		n.runs()
		n.enroll(alice)
		time.Sleep(time.Second + 7*time.Millisecond)
		n.send(alice, "1")
		other.join(alice, bob)
		n.send(alice, "2") // n does not know bob yet
		time.Sleep(30 * time.Second)
		n.send(alice, "3")
		n.wantMail(alice, "1", "2", "3")
		n.wantMail(bob, "3")
	})
}

// An account that loses a DID while it ends, or while a device leaves, does not drop the mail of
// the winner.
func TestLossDuringAnEnd(t *testing.T) {
	for name, end := range map[string]func(n *node) error{
		"leave": func(n *node) error { return errOf(n.Leave(n.t.Context(), thief, thief)) },
		"purge": func(n *node) error { return errOf(n.Purge(n.t.Context(), thief, false)) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b, gate, armed := memory(), make(chan struct{}), new(atomic.Bool)
				n, other := newNode(t, back{paused{b.store, armed, gate}, b.mailbox}), newNode(t, b)
				other.enroll(alice, thief)
				other.register(thief, "did:example:a", false)
				f := forward("did:example:a", "later")
				f.Delay = time.Minute
				wantErr(t, "forward", other.Accept(t.Context(), f), nil)
				armed.Store(true)
				done := make(chan error)
				go func() { done <- end(n) }()
				synctest.Wait()
				other.register(alice, "did:example:a", true)
				close(gate)
				wantErr(t, name, <-done, &mediator.LimitError{Limit: mediator.LimitMoving})
				time.Sleep(2 * time.Minute)
				other.wantMail(thief)
				other.wantMail(alice, "later")
			})
		})
	}
}

// down is a store whose records cannot be written while it is down.
type down struct {
	store.Store
	down *atomic.Bool
}

type downRecords struct {
	store.Records
	down *atomic.Bool
}

func (d down) Records() store.Records { return downRecords{d.Store.Records(), d.down} }

func (r downRecords) Put(ctx context.Context, rec store.Record) (uint64, error) {
	if r.down.Load() {
		return 0, errors.New("down")
	}
	return r.Records.Put(ctx, rec)
}

// A mediator whose store is down when Run begins looks for changes when the store is up again.
func TestRunWithoutStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, isDown := memory(), new(atomic.Bool)
		other := newNode(t, b)
		other.enroll(alice)
		isDown.Store(true)
		n := newNode(t, back{down{b.store, isDown}, b.mailbox})
		n.runs()
		time.Sleep(time.Second + 7*time.Millisecond)
		isDown.Store(false)
		time.Sleep(time.Second)
		box := n.Box(alice)
		if _, err := box.Status(t.Context()); err != nil {
			t.Fatal(err)
		}
		var changed atomic.Bool
		defer box.OnChange(func() { changed.Store(true) })()
		if err := other.Block(t.Context(), alice); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if !changed.Load() {
			t.Error("the block was not noticed")
		}
	})
}
