// Package storetest is the conformance suite of agent/store: every
// implementation of a contract passes the test of that contract.
//
//	func TestOutbox(t *testing.T) {
//		storetest.TestOutbox(t, func(t *testing.T) store.Outbox { return open(t) })
//	}
package storetest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/didcomm-go/didcomm/agent/store"
)

// long is a lease or a delay that does not end within a test, short one that
// does.
const (
	long  = time.Hour
	short = 20 * time.Millisecond
)

// outboxTests are the clauses of store.Outbox, one function each.
var outboxTests = map[string]func(t *testing.T, o store.Outbox){
	"FirstInFirstOut":         testFirstInFirstOut,
	"LeaseWaits":              testLeaseWaits,
	"LeaseEndsWithContext":    testLeaseEndsWithContext,
	"OneLaneInOrder":          testOneLaneInOrder,
	"LanesAreIndependent":     testLanesAreIndependent,
	"NakDelays":               testNakDelays,
	"NakWakesAfterDelay":      testNakWakesAfterDelay,
	"LeaseComesBack":          testLeaseComesBack,
	"LateAckIsLost":           testLateAckIsLost,
	"TermEnds":                testTermEnds,
	"DuplicateID":             testDuplicateID,
	"AllOrNone":               testAllOrNone,
	"KeepsItem":               testKeepsItem,
	"ConcurrentLeasesDisjoin": testConcurrentLeases,
}

// TestOutbox runs the suite on the outboxes that open returns, each of them
// empty.
func TestOutbox(t *testing.T, open func(t *testing.T) store.Outbox) {
	for name, test := range outboxTests {
		t.Run(name, func(t *testing.T) { test(t, open(t)) })
	}
}

func item(id, to, thread string) store.Item {
	now := time.Now().Truncate(time.Second)
	return store.Item{
		ID: id, MessageID: "m-" + id, Thread: thread, From: "did:example:from", To: to,
		Routes:  []store.Route{{Endpoint: "mem:" + to, MediaType: "x/y", Data: []byte("packet of " + id)}},
		Created: now, Deadline: now.Add(long),
	}
}

func enqueue(t *testing.T, o store.Outbox, items ...store.Item) {
	t.Helper()
	if err := o.Enqueue(t.Context(), items...); err != nil {
		t.Fatalf("Enqueue: %v", err)
	}
}

func lease(t *testing.T, o store.Outbox, d time.Duration) *store.Lease {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	l, err := o.Lease(ctx, d)
	if err != nil {
		t.Fatalf("Lease: %v", err)
	}
	return l
}

// nothing asserts that no item can be leased now.
func nothing(t *testing.T, o store.Outbox) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), short)
	defer cancel()
	if l, err := o.Lease(ctx, long); err == nil {
		t.Fatalf("Lease handed out %s, want none", l.Item.ID)
	}
}

func check(t *testing.T, what string, got, want error) {
	t.Helper()
	if got != want {
		t.Fatalf("%s: %v, want %v", what, got, want)
	}
}

func testFirstInFirstOut(t *testing.T, o store.Outbox) {
	for i := range 5 {
		enqueue(t, o, item(fmt.Sprint(i), fmt.Sprint("did:", i), "t"))
	}
	for i := range 5 {
		if l := lease(t, o, long); l.Item.ID != fmt.Sprint(i) {
			t.Fatalf("lease %d is %s", i, l.Item.ID)
		}
	}
}

func testLeaseWaits(t *testing.T, o store.Outbox) {
	got := make(chan *store.Lease)
	go func() {
		l, _ := o.Lease(t.Context(), long)
		got <- l
	}()
	enqueue(t, o, item("a", "did:a", "t"))
	select {
	case l := <-got:
		if l == nil || l.Item.ID != "a" {
			t.Fatalf("got %v", l)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("a waiting Lease missed the item")
	}
}

func testLeaseEndsWithContext(t *testing.T, o store.Outbox) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := o.Lease(ctx, long)
	check(t, "Lease", err, context.Canceled)
}

func testOneLaneInOrder(t *testing.T, o store.Outbox) {
	enqueue(t, o, item("1", "did:a", "t"), item("2", "did:a", "t"))
	l := lease(t, o, long)
	nothing(t, o)
	check(t, "Nak", o.Nak(t.Context(), l, long, "busy"), nil)
	nothing(t, o) // 2 waits for 1, though 1 is not leased
	enqueue(t, o, item("3", "did:b", "t"))
	if l := lease(t, o, long); l.Item.ID != "3" {
		t.Fatalf("leased %s, want 3", l.Item.ID)
	}
}

func testLanesAreIndependent(t *testing.T, o store.Outbox) {
	enqueue(t, o, item("1", "did:a", "t"), item("2", "did:a", "u"), item("3", "did:b", "t"))
	for _, want := range []string{"1", "2", "3"} {
		if l := lease(t, o, long); l.Item.ID != want {
			t.Fatalf("leased %s, want %s", l.Item.ID, want)
		}
	}
}

func testNakDelays(t *testing.T, o store.Outbox) {
	enqueue(t, o, item("a", "did:a", "t"))
	l := lease(t, o, long)
	if l.Item.Attempts != 0 || l.Item.LastError != "" {
		t.Errorf("first lease: attempts %d, last error %q", l.Item.Attempts, l.Item.LastError)
	}
	check(t, "Nak", o.Nak(t.Context(), l, long, "connection refused"), nil)
	nothing(t, o)
	check(t, "Ack after Nak", o.Ack(t.Context(), l), store.ErrLease)
}

func testNakWakesAfterDelay(t *testing.T, o store.Outbox) {
	enqueue(t, o, item("a", "did:a", "t"))
	l := lease(t, o, long)
	due := time.Now().Add(short)
	check(t, "Nak", o.Nak(t.Context(), l, short, "connection refused"), nil)
	l = lease(t, o, long)
	if time.Now().Before(due) {
		t.Error("leased before the delay passed")
	}
	if l.Item.Attempts != 1 || l.Item.LastError != "connection refused" {
		t.Errorf("second lease: attempts %d, last error %q", l.Item.Attempts, l.Item.LastError)
	}
}

func testLeaseComesBack(t *testing.T, o store.Outbox) {
	enqueue(t, o, item("a", "did:a", "t"))
	first := lease(t, o, short)
	second := lease(t, o, long)
	if second.Item.ID != "a" || second.Item.Attempts != 1 {
		t.Errorf("second lease: %s, attempts %d", second.Item.ID, second.Item.Attempts)
	}
	check(t, "Ack of the first lease", o.Ack(t.Context(), first), store.ErrLease)
	check(t, "Nak of the first lease", o.Nak(t.Context(), first, 0, ""), store.ErrLease)
	check(t, "Term of the first lease", o.Term(t.Context(), first, ""), store.ErrLease)
	check(t, "Ack of the second lease", o.Ack(t.Context(), second), nil)
}

func testLateAckIsLost(t *testing.T, o store.Outbox) {
	enqueue(t, o, item("a", "did:a", "t"))
	l := lease(t, o, -time.Second)
	check(t, "Ack of a lease that ran out", o.Ack(t.Context(), l), store.ErrLease)
	check(t, "Ack again", o.Ack(t.Context(), lease(t, o, long)), nil)
}

func testTermEnds(t *testing.T, o store.Outbox) {
	enqueue(t, o, item("1", "did:a", "t"), item("2", "did:a", "t"))
	l := lease(t, o, long)
	check(t, "Term", o.Term(t.Context(), l, "gone"), nil)
	check(t, "Term again", o.Term(t.Context(), l, "gone"), store.ErrLease)
	if l := lease(t, o, long); l.Item.ID != "2" {
		t.Fatalf("leased %s, want 2", l.Item.ID)
	}
}

func testDuplicateID(t *testing.T, o store.Outbox) {
	enqueue(t, o, item("a", "did:a", "t"))
	check(t, "Enqueue", o.Enqueue(t.Context(), item("a", "did:b", "u")), store.ErrExists)
	check(t, "Enqueue", o.Enqueue(t.Context(), item("b", "did:b", "u"), item("b", "did:c", "u")), store.ErrExists)
}

func testAllOrNone(t *testing.T, o store.Outbox) {
	enqueue(t, o, item("a", "did:a", "t"))
	check(t, "Enqueue", o.Enqueue(t.Context(), item("b", "did:b", "t"), item("a", "did:a", "t")), store.ErrExists)
	check(t, "Ack", o.Ack(t.Context(), lease(t, o, long)), nil)
	nothing(t, o)
}

func testKeepsItem(t *testing.T, o store.Outbox) {
	want := item("a", "did:a", "t")
	want.Routes = append(want.Routes, store.Route{Endpoint: "wss://b", MediaType: "x/z", Data: []byte{0, 255}})
	enqueue(t, o, want)
	got := lease(t, o, long).Item
	if got.ID != want.ID || got.MessageID != want.MessageID || got.Thread != want.Thread || got.From != want.From ||
		got.To != want.To || !got.Created.Equal(want.Created) || !got.Deadline.Equal(want.Deadline) ||
		fmt.Sprint(got.Routes) != fmt.Sprint(want.Routes) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func testConcurrentLeases(t *testing.T, o store.Outbox) {
	const items, workers = 200, 8
	for i := range items {
		enqueue(t, o, item(fmt.Sprint(i), fmt.Sprint("did:", i%20), fmt.Sprint(i%50)))
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	acked := make(chan string)
	for range workers {
		go func() {
			for {
				l, err := o.Lease(ctx, long)
				if err != nil {
					return
				}
				if err := o.Ack(ctx, l); err != nil {
					t.Errorf("Ack %s: %v", l.Item.ID, err)
				}
				select {
				case acked <- l.Item.ID:
				case <-ctx.Done():
					return
				}
			}
		}()
	}
	seen := make(map[string]bool)
	for len(seen) < items {
		select {
		case id := <-acked:
			if seen[id] {
				t.Fatalf("%s was leased twice", id)
			}
			seen[id] = true
		case <-time.After(10 * time.Second):
			t.Fatalf("%d of %d items came out", len(seen), items)
		}
	}
}
