package storetest

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/didcomm-go/didcomm/agent/store"
)

func testAsideIsNak(t *testing.T, o store.Outbox) {
	enqueue(t, o, item("a", "did:a", "t"))
	l := lease(t, o, long)
	check(t, "Aside", o.Aside(t.Context(), l, long, "refused"), nil)
	nothing(t, o)
	check(t, "Ack after Aside", o.Ack(t.Context(), l), store.ErrLease)
	check(t, "Aside again", o.Aside(t.Context(), l, 0, ""), store.ErrLease)
	check(t, "Wake", o.Wake(t.Context(), "did:a"), nil)
	l = lease(t, o, long)
	if l.Attempts != 1 || l.LastError != "refused" {
		t.Errorf("second lease: attempts %d, last error %q", l.Attempts, l.LastError)
	}
	due := time.Now().Add(short)
	check(t, "Aside untried", o.Aside(t.Context(), l, short, ""), nil)
	l = lease(t, o, long)
	if time.Now().Before(due) {
		t.Error("leased before the delay passed")
	}
	if l.Attempts != 1 || l.LastError != "refused" {
		t.Errorf("third lease: attempts %d, last error %q", l.Attempts, l.LastError)
	}
	check(t, "Aside without a lease", o.Aside(t.Context(), &store.Lease[store.Item]{Item: l.Item}, 0, ""), store.ErrLease)
	check(t, "Ack", o.Ack(t.Context(), l), nil)
	nothing(t, o)
}

// testAsideLeavesItsLane: the next items of the lane are leased at once, in order, and the
// item that was set aside does not wait for them.
func testAsideLeavesItsLane(t *testing.T, o store.Outbox) {
	enqueue(t, o, item("1", "did:a", "t"), item("2", "did:a", "t"), item("3", "did:a", "t"), item("4", "did:a", "t"))
	check(t, "Aside", o.Aside(t.Context(), lease(t, o, long), long, "refused"), nil)
	second := lease(t, o, long)
	if second.Item.ID != "2" {
		t.Fatalf("leased %s, want 2", second.Item.ID)
	}
	nothing(t, o)
	// Two items that were set aside do not wait for each other.
	check(t, "Aside", o.Aside(t.Context(), second, long, "refused"), nil)
	third := lease(t, o, long)
	if third.Item.ID != "3" {
		t.Fatalf("leased %s, want 3", third.Item.ID)
	}
	check(t, "Wake", o.Wake(t.Context(), "did:a"), nil)
	seen := []string{lease(t, o, long).Item.ID, lease(t, o, long).Item.ID}
	slices.Sort(seen)
	if !slices.Equal(seen, []string{"1", "2"}) {
		t.Errorf("leased %v, want 1 and 2", seen)
	}
	nothing(t, o)
	check(t, "Ack", o.Ack(t.Context(), third), nil)
	if l := lease(t, o, long); l.Item.ID != "4" {
		t.Errorf("leased %s, want 4", l.Item.ID)
	}
}

// testAsideStaysSo: an item that was set aside never blocks its former lane again, and is
// listed.
func testAsideStaysSo(t *testing.T, o store.Outbox) {
	a := admin(t, o)
	enqueue(t, o, item("1", "did:a", "t"))
	check(t, "Aside", o.Aside(t.Context(), lease(t, o, long), long, "refused"), nil)
	e, err := a.Get(t.Context(), "1")
	if err != nil || e.State != store.Waiting || e.Attempts != 1 || e.LastError != "refused" || e.Item.Thread != "t" || time.Until(e.Due) < long/2 {
		t.Errorf("set aside: %+v, %v", e, err)
	}
	check(t, "Retry", a.Retry(t.Context(), "1", time.Time{}), nil)
	check(t, "Term", o.Term(t.Context(), lease(t, o, long), "gone"), nil)
	enqueue(t, o, item("2", "did:a", "t"), item("3", "did:a", "t"))
	second := lease(t, o, long)
	check(t, "Retry of what is buried", a.Retry(t.Context(), "1", time.Time{}), nil)
	first := lease(t, o, long)
	if first.Item.ID != "1" || first.Attempts != 0 || second.Item.ID != "2" {
		t.Errorf("leased %s and %s, want 2 and 1", second.Item.ID, first.Item.ID)
	}
	nothing(t, o)
	check(t, "Drop", a.Drop(t.Context(), "1"), nil)
	check(t, "Aside of a dropped item", o.Aside(t.Context(), first, 0, ""), store.ErrLease)
	check(t, "Ack", o.Ack(t.Context(), second), nil)
	check(t, "Ack", o.Ack(t.Context(), lease(t, o, long)), nil)
	nothing(t, o)
}

// fill queues items for one To, each in a thread of its own, leases as many as the outbox
// allows, and returns the leases.
func fill(t *testing.T, o store.Outbox, to string, items int) (held []*store.Lease[store.Item]) {
	t.Helper()
	for i := range items {
		enqueue(t, o, item(fmt.Sprint(to, " ", i), to, fmt.Sprint(i)))
	}
	enqueue(t, o, item("last of "+to, "did:last", "t"))
	for {
		l := lease(t, o, long)
		if l.Item.To == "did:last" {
			check(t, "Ack", o.Ack(t.Context(), l), nil)
			nothing(t, o)
			return held
		}
		if held = append(held, l); len(held) == items {
			t.Fatal("one peer takes all leases")
		}
	}
}

// testAsideIsAShare: items that were set aside take no more leases than others.
func testAsideIsAShare(t *testing.T, o store.Outbox) {
	held := fill(t, o, "did:a", 100)
	for range 20 {
		check(t, "Aside", o.Aside(t.Context(), held[0], 0, "refused"), nil)
		held = append(held[1:], lease(t, o, long))
		nothing(t, o)
	}
}

func testAwaitHoldsUpItsLane(t *testing.T, o store.Outbox) {
	enqueue(t, o, item("1", "did:a", "t"), item("2", "did:a", "t"))
	l := lease(t, o, long)
	check(t, "Await", o.Await(t.Context(), l), nil)
	check(t, "Await again", o.Await(t.Context(), l), nil)
	nothing(t, o)
	check(t, "Wake", o.Wake(t.Context(), "did:a"), nil) // changes no lease
	nothing(t, o)
	if a, ok := o.(store.OutboxAdmin); ok {
		check(t, "Retry", a.Retry(t.Context(), "1", time.Time{}), nil)
		nothing(t, o)
		if e, err := a.Get(t.Context(), "1"); err != nil || e.State != store.Leased || e.Attempts != 1 {
			t.Errorf("awaiting: %+v, %v", e, err)
		}
	}
	check(t, "Ack", o.Ack(t.Context(), l), nil)
	check(t, "Await after Ack", o.Await(t.Context(), l), store.ErrLease)
	l = lease(t, o, -time.Second)
	if l.Item.ID != "2" {
		t.Errorf("leased %s, want 2", l.Item.ID)
	}
	check(t, "Await of a lease that ran out", o.Await(t.Context(), l), store.ErrLease)
}

// testAwaitIsNoShare: each item that awaits lets another item be leased. The end of the
// lease of an awaiting item does not.
func testAwaitIsNoShare(t *testing.T, o store.Outbox) {
	const items = 60
	held := fill(t, o, "did:a", items)
	n := len(held)
	for i := range items - n {
		check(t, "Await", o.Await(t.Context(), held[i]), nil)
		held = append(held, lease(t, o, long))
		if i < 3 {
			nothing(t, o)
		}
	}
	enqueue(t, o, item("more", "did:a", "more"))
	for _, l := range held[:items-n] {
		check(t, "Ack of an item that awaits", o.Ack(t.Context(), l), nil)
	}
	nothing(t, o)
	check(t, "Ack", o.Ack(t.Context(), held[items-n]), nil)
	if l := lease(t, o, long); l.Item.ID != "more" {
		t.Errorf("leased %s, want more", l.Item.ID)
	}
}

func testAwaitWakesLease(t *testing.T, o store.Outbox) {
	held := fill(t, o, "did:a", 20)
	got := make(chan error)
	go func() {
		_, err := o.Lease(t.Context(), long)
		got <- err
	}()
	check(t, "Await", o.Await(t.Context(), held[0]), nil)
	check(t, "Lease", within(t, got), nil)
}

// testAwaitEndsWithLease: an awaiting item that was nacked counts as a leased item when it is
// leased again.
func testAwaitEndsWithLease(t *testing.T, o store.Outbox) {
	for name, end := range map[string]func(l *store.Lease[store.Item]) error{
		"Nak":   func(l *store.Lease[store.Item]) error { return o.Nak(t.Context(), l, 0, "refused") },
		"Aside": func(l *store.Lease[store.Item]) error { return o.Aside(t.Context(), l, 0, "refused") },
	} {
		held := fill(t, o, "did:"+name, 20)
		first := held[0]
		check(t, "Await", o.Await(t.Context(), first), nil)
		held = append(held[1:], lease(t, o, long))
		check(t, name, end(first), nil)
		nothing(t, o)
		for again := held[0]; again.Item.ID != first.Item.ID; {
			check(t, "Ack", o.Ack(t.Context(), held[0]), nil)
			again = lease(t, o, long)
			held = append(held[1:], again)
		}
		nothing(t, o)
	}
}

// awaiting leases the first item that is due for a short time, and calls Await.
func awaiting(t *testing.T, o store.Outbox) *store.Lease[store.Item] {
	t.Helper()
	for d := short; ; d *= 2 { // until the lease does not run out before Await
		l := lease(t, o, d)
		err := o.Await(t.Context(), l)
		if err == nil {
			return l
		}
		check(t, "Await", err, store.ErrLease)
	}
}

// testAwaitRunsOut: an awaiting item is due again when its lease runs out.
func testAwaitRunsOut(t *testing.T, o store.Outbox) {
	enqueue(t, o, item("1", "did:a", "t"), item("2", "did:a", "t"))
	first := awaiting(t, o)
	second := lease(t, o, long)
	if second.Item.ID != "1" || second.Attempts != first.Attempts+1 || time.Now().Before(first.Until) {
		t.Errorf("leased %s, attempts %d", second.Item.ID, second.Attempts)
	}
	check(t, "Ack of the first lease", o.Ack(t.Context(), first), store.ErrLease)
	check(t, "Ack of the second lease", o.Ack(t.Context(), second), nil)
}

// awaitEnds are the ways in which an item stops awaiting, apart from the end of its lease by
// time.
var awaitEnds = map[string]func(t *testing.T, o store.Outbox, l *store.Lease[store.Item]) error{
	"Ack": func(t *testing.T, o store.Outbox, l *store.Lease[store.Item]) error { return o.Ack(t.Context(), l) },
	"Nak": func(t *testing.T, o store.Outbox, l *store.Lease[store.Item]) error {
		return o.Nak(t.Context(), l, long, "refused")
	},
	"Aside": func(t *testing.T, o store.Outbox, l *store.Lease[store.Item]) error {
		return o.Aside(t.Context(), l, long, "refused")
	},
	"Term": func(t *testing.T, o store.Outbox, l *store.Lease[store.Item]) error {
		return o.Term(t.Context(), l, "gone")
	},
	"Drop": func(t *testing.T, o store.Outbox, l *store.Lease[store.Item]) error {
		return admin(t, o).Drop(t.Context(), l.Item.ID)
	},
}

// testAwaitLimit: with limits of two leased and three awaiting items, neither limit is
// exceeded, and an item that Await refuses still counts as leased. An awaiting item that
// ends makes room.
func testAwaitLimit(t *testing.T, o store.Outbox, end func(*testing.T, store.Outbox, *store.Lease[store.Item]) error) {
	held := fill(t, o, "did:a", 20)
	for i := range 3 {
		check(t, "Await", o.Await(t.Context(), held[i]), nil)
		held = append(held, lease(t, o, long))
		nothing(t, o)
	}
	check(t, "Await of one too many", o.Await(t.Context(), held[3]), store.ErrFull)
	check(t, "Await of one that does", o.Await(t.Context(), held[0]), nil)
	nothing(t, o)
	enqueue(t, o, item("other", "did:b", "t"))
	check(t, "Await for another peer", o.Await(t.Context(), lease(t, o, long)), nil)
	check(t, "end of the first", end(t, o, held[0]), nil)
	check(t, "Await in its place", o.Await(t.Context(), held[3]), nil)
	check(t, "Await of one too many", o.Await(t.Context(), held[4]), store.ErrFull)
	held = append(held, lease(t, o, long))
	nothing(t, o)
	for _, l := range held[1:] {
		check(t, "Ack", o.Ack(t.Context(), l), nil)
	}
}

// testAwaitLimitRunsOut: a lease that has run out makes room, even if its item is not leased
// again.
func testAwaitLimitRunsOut(t *testing.T, o store.Outbox) {
	enqueue(t, o, item("1", "did:a", "1"), item("2", "did:a", "2"))
	second := lease(t, o, long)
	first := awaiting(t, o)
	err := o.Await(t.Context(), second)
	for began := time.Now(); errors.Is(err, store.ErrFull) && time.Since(began) < 10*time.Second; err = o.Await(t.Context(), second) {
		<-time.After(short)
	}
	check(t, "Await", err, nil)
	if time.Now().Before(first.Until) {
		t.Error("two await")
	}
}
