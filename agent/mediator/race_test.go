package mediator_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/didcomm-go/didcomm/agent/mediator"
	"github.com/didcomm-go/didcomm/agent/store"
)

// onTwo runs f with two mediators on one SQLite file, as two processes have it. Their clock goes on
// by a microsecond with each look, so that all happens within a second.
func onTwo(t *testing.T, f func(t *testing.T, nodes [2]*node)) {
	path, start, looks := filepath.Join(t.TempDir(), "store"), time.Now(), new(atomic.Int64)
	clock := func(c *mediator.Config) {
		c.Now = func() time.Time { return start.Add(time.Duration(looks.Add(1)) * time.Microsecond) }
	}
	f(t, [2]*node{newNode(t, open(t, path), fast, clock), newNode(t, open(t, path), fast, clock)})
}

func fast(c *mediator.Config) {
	c.Limits.ChangesPerMinute, c.Limits.EnrolmentsPerHour, c.Limits.AddressPerMinute, c.Limits.SenderPerMinute = -1, -1, -1, -1
}

// together calls f for 0 to n-1 at a time, and returns the errors.
func together(n int, f func(i int) error) []error {
	errs := make([]error, n)
	var wg sync.WaitGroup
	start := make(chan struct{})
	for i := range n {
		wg.Go(func() { <-start; errs[i] = f(i) })
	}
	close(start)
	wg.Wait()
	return errs
}

// Of several accounts that register a DID at a time in two processes, one gets it.
func TestRegisterRace(t *testing.T) {
	onTwo(t, func(t *testing.T, nodes [2]*node) {
		const n = 6
		for i := range n {
			nodes[0].enroll(fmt.Sprintf("did:example:device%d", i))
		}
		for round := range 5 {
			id, won := fmt.Sprintf("did:example:%d", round), 0
			for i, err := range together(n, func(i int) error {
				return errOf(nodes[i%2].Register(t.Context(), fmt.Sprintf("did:example:device%d", i), id, false))
			}) {
				switch {
				case err == nil:
					won++
				case !errors.Is(err, mediator.ErrTaken):
					t.Errorf("account %d: %v", i, err)
				}
			}
			if won != 1 {
				t.Errorf("%d accounts have registered %s", won, id)
			}
		}
	})
}

// A DID that enrolls while others register it ends as a device, whoever was first.
func TestEnrollRace(t *testing.T) {
	onTwo(t, func(t *testing.T, nodes [2]*node) {
		ctx := t.Context()
		nodes[0].enroll(thief)
		for round := range 5 {
			id := fmt.Sprintf("did:example:%d", round)
			for i, err := range together(4, func(i int) error {
				if i < 2 {
					return errOf(nodes[i].Register(ctx, thief, id, false))
				}
				return errOf(nodes[i%2].Enroll(ctx, id, ""))
			}) {
				if err != nil && (i >= 2 || !errors.Is(err, mediator.ErrTaken)) {
					t.Errorf("%d: %v", i, err)
				}
			}
			nodes[0].send(id, "hello")
			nodes[1].wantMail(id, "hello")
			nodes[1].wantMail(thief)
			if a, err := nodes[0].Show(ctx, thief); err != nil || a.Recipients != 0 || len(a.Registered) != 0 {
				t.Errorf("thief: %+v, %v", a, err)
			}
		}
		if s, err := nodes[1].Stats(ctx); err != nil || s.Accounts != 6 || s.Devices != 6 {
			t.Errorf("%+v, %v", s, err)
		}
	})
}

// Changes of one account in two processes all hold, and are counted.
func TestAccountRace(t *testing.T) {
	onTwo(t, func(t *testing.T, nodes [2]*node) {
		ctx := t.Context()
		nodes[0].enroll(alice)
		const n = 24
		for i, err := range together(n, func(i int) error {
			if i%4 == 3 {
				_, _, err := nodes[i/4%2].Join(ctx, alice, fmt.Sprintf("did:example:%d", i), fmt.Sprint(i), time.Now().Add(time.Hour))
				return err
			}
			return errOf(nodes[i%2].Register(ctx, alice, fmt.Sprintf("did:example:%d", i), i%3 == 0))
		}) {
			wantErr(t, fmt.Sprint(i), err, nil)
		}
		d, err := nodes[0].Show(ctx, alice)
		if err != nil || len(d.Devices) != 1+n/4 || d.Recipients != n-n/4 || len(d.Registered) != d.Recipients {
			t.Errorf("%+v, %v", d, err)
		}
		// The others may not be known to all processes yet.
		wantErr(t, "leave", errOf(nodes[0].Leave(ctx, alice, alice)), &mediator.LimitError{Limit: mediator.LimitDevices})
	})
}

// Mail that is sent while the DID changes hands ends at the winner, each once or more, and never at
// the loser after the change.
func TestMailWhileTheDIDMoves(t *testing.T) {
	onTwo(t, func(t *testing.T, nodes [2]*node) {
		ctx := t.Context()
		nodes[0].enroll(alice, thief)
		nodes[0].register(thief, "did:example:a", false)
		const n = 60
		moved := make(chan struct{})
		errs := together(4, func(i int) error {
			if i == 3 {
				defer close(moved)
				return errOf(nodes[1].Register(ctx, alice, "did:example:a", true))
			}
			for k := range n {
				if err := nodes[i%2].Accept(ctx, forward("did:example:a", fmt.Sprint(i, k))); err != nil {
					return err
				}
			}
			return nil
		})
		if err := errors.Join(errs...); err != nil {
			t.Fatal(err)
		}
		<-moved
		nodes[0].wantMail(thief)
		got := map[string]bool{}
		for {
			list, err := nodes[0].Box(alice).Lease(ctx, store.Pick{N: 100}, time.Hour)
			if err != nil {
				t.Fatal(err)
			}
			if len(list) == 0 {
				break
			}
			for _, mail := range list {
				got[string(mail.Packet.Data)] = true
			}
		}
		if len(got) != 3*n {
			t.Errorf("alice has got %d of %d", len(got), 3*n)
		}
	})
}

// slow is a Mailbox whose deposits wait for a signal.
type slow struct {
	store.Mailbox
	gate chan struct{}
}

func (s slow) Deposit(ctx context.Context, m store.Mail, boxes ...string) error {
	<-s.gate
	return s.Mailbox.Deposit(ctx, m, boxes...)
}

// Mail that a process accepted for the loser, and stores only after the change, moves as well: soon
// after, when the loser collects, or long after, when the process goes on.
func TestLateMail(t *testing.T) {
	for _, delay := range []time.Duration{time.Second, time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			b := memory()
			n := newNode(t, b)
			gate := make(chan struct{})
			late := newNode(t, back{b.store, slow{b.mailbox, gate}})
			n.enroll(alice, thief)
			n.register(thief, "did:example:a", false)
			done := make(chan error)
			go func() { done <- late.Accept(t.Context(), forward("did:example:a", "late")) }()
			synctest.Wait() // the process has looked up who has the DID
			n.register(alice, "did:example:a", true)
			time.Sleep(delay)
			if delay > time.Minute {
				n.settle()
			}
			close(gate)
			if err := <-done; err != nil {
				t.Fatal(err)
			}
			n.wantMail(thief)
			n.wantMail(alice, "late")
		})
	}
}

// settle lets Run do its work once.
func (n *node) settle() {
	n.t.Helper()
	ctx, cancel := context.WithTimeout(n.t.Context(), 15*time.Second)
	defer cancel()
	if err := n.Run(ctx); err != nil {
		n.t.Fatal(err)
	}
}

// Mail that cannot move yet, since it is not due or the box of the winner is full, is hidden from
// the loser, and moves later. Nothing is dropped meanwhile.
func TestMailThatMovesLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, b := t.Context(), back{store.New(store.Config{}), store.NewMailbox(store.MailboxConfig{MaxBoxItems: 2})}
		n := newNode(t, b)
		const accomplice = "did:example:accomplice"
		n.enroll(alice, thief, accomplice)
		n.register(thief, "did:example:a", false)
		n.send(alice, "own 1")
		n.send(alice, "own 2")
		n.send("did:example:a", "1")
		f := forward("did:example:a", "2")
		f.Delay = 10 * time.Minute
		if err := n.Accept(ctx, f); err != nil {
			t.Fatal(err)
		}
		n.register(alice, "did:example:a", true)
		n.wantMail(thief)
		time.Sleep(2 * time.Minute)
		n.settle()
		n.wantMail(thief)
		var limit *mediator.LimitError
		if _, err := n.Leave(ctx, thief, thief); !errors.As(err, &limit) {
			t.Errorf("leave: %v", err)
		}
		if _, err := n.Purge(ctx, thief, false); !errors.As(err, &limit) {
			t.Errorf("purge: %v", err)
		}
		_, _, err := n.Join(ctx, accomplice, thief, "ticket", time.Now().Add(time.Hour))
		wantErr(t, "join", err, &mediator.LimitError{Limit: mediator.LimitMoving})
		n.wantMail(alice, "own 1", "own 2")
		time.Sleep(2 * time.Minute)
		n.settle()
		n.wantMail(alice, "1")
		_, err = n.Leave(ctx, thief, thief)
		wantErr(t, "leave", err, &mediator.LimitError{Limit: mediator.LimitMoving})
		time.Sleep(10 * time.Minute)
		n.settle()
		n.wantMail(alice, "2")
		n.wantMail(thief)
		wantErr(t, "leave", errOf(n.Leave(ctx, thief, thief)), nil)
	})
}

// With a clock that is set back, mail is neither lost nor hidden.
func TestClockSetBack(t *testing.T) {
	onEach(t, func(t *testing.T, b back) {
		ctx, back := t.Context(), time.Duration(0)
		n := newNode(t, b, func(c *mediator.Config) { c.Now = func() time.Time { return time.Now().Add(-back) } })
		n.enroll(alice, thief)
		n.register(thief, "did:example:a", false)
		n.send("did:example:a", "1")
		back = 48 * time.Hour
		n.send("did:example:a", "2")
		n.register(alice, "did:example:a", true)
		n.send("did:example:a", "3")
		n.wantMail(thief)
		n.wantMail(alice, "1", "2", "3")
		if _, _, err := n.NewCapability(ctx, alice, "", "", time.Time{}); err != nil {
			t.Error(err)
		}
		if err := n.Block(ctx, thief); err != nil {
			t.Error(err)
		}
		wantErr(t, "blocked", errOf(n.Box(thief).Status(ctx)), mediator.ErrBlocked)
	})
}
