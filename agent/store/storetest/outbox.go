package storetest

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/didcomm-go/didcomm/agent/store"
)

// outboxTests are the clauses of store.Outbox, one function each.
var outboxTests = map[string]func(t *testing.T, o store.Outbox){
	"FirstInFirstOut":         testFirstInFirstOut,
	"LeaseWaits":              testLeaseWaits,
	"LeaseEndsWithContext":    testLeaseEndsWithContext,
	"OneLaneInOrder":          testOneLaneInOrder,
	"LanesAreIndependent":     testLanesAreIndependent,
	"LaneIsNamed":             testLaneIsNamed,
	"NakDelays":               testNakDelays,
	"NakUntried":              testNakUntried,
	"NakWakesAfterDelay":      testNakWakesAfterDelay,
	"LeaseComesBack":          testLeaseComesBack,
	"LateAckIsLost":           testLateAckIsLost,
	"TermEnds":                testTermEnds,
	"DuplicateID":             testDuplicateID,
	"AllOrNone":               testAllOrNone,
	"KeepsItem":               testKeepsItem,
	"WakeEndsDelays":          testWakeEndsDelays,
	"OnePeerHasAShare":        testOnePeerHasAShare,
	"AsideIsNak":              testAsideIsNak,
	"AsideLeavesItsLane":      testAsideLeavesItsLane,
	"AsideStaysSo":            testAsideStaysSo,
	"AsideIsAShare":           testAsideIsAShare,
	"AwaitHoldsUpItsLane":     testAwaitHoldsUpItsLane,
	"AwaitIsNoShare":          testAwaitIsNoShare,
	"AwaitWakesLease":         testAwaitWakesLease,
	"AwaitEndsWithLease":      testAwaitEndsWithLease,
	"AwaitRunsOut":            testAwaitRunsOut,
	"DropLosesLease":          testDropLosesLease,
	"BuriedIsRetried":         testBuriedIsRetried,
	"ListInOrder":             testListInOrder,
	"ConcurrentLeasesDisjoin": testConcurrentLeases,
	"ClassesApart":            testClassesApart,
	"ClassesWake":             testClassesWake,
	"ClassesHaveLanes":        testClassesHaveLanes,
}

// TestOutbox tests an implementation of [store.Outbox], and of [store.OutboxAdmin] if the
// outbox is one. Each call of open returns an empty outbox.
func TestOutbox(t *testing.T, open func(t *testing.T) store.Outbox) {
	for name, test := range outboxTests {
		t.Run(name, func(t *testing.T) { test(t, open(t)) })
	}
	testOutboxShares(t, open)
}

// TestOutboxLimits tests the limits of an outbox: how many items for one To it leases, and
// the shares of the classes. Each call of open returns an empty outbox with the limits of
// cfg.
func TestOutboxLimits(t *testing.T, open func(t *testing.T, cfg store.OutboxConfig) store.Outbox) {
	for name, end := range awaitEnds {
		t.Run("Awaiting/"+name, func(t *testing.T) {
			testAwaitLimit(t, open(t, store.OutboxConfig{PerPeer: 2, PerPeerAwaiting: 3}), end)
		})
	}
	for seed := range uint64(4) {
		t.Run(fmt.Sprint("AnyCalls/", seed), func(t *testing.T) {
			testAnyCalls(t, open(t, store.OutboxConfig{PerPeer: anyPerPeer, PerPeerAwaiting: anyAwaiting}), seed)
		})
	}
	t.Run("ClassesShareNoPeer", func(t *testing.T) { testClassesShareNoPeer(t, open(t, store.OutboxConfig{PerPeer: anyPerPeer})) })
	t.Run("ClassLimits", func(t *testing.T) { testClassLimits(t, open(t, classLimits)) })
	t.Run("BuriedClasses", func(t *testing.T) { testBuriedClasses(t, open(t, store.OutboxConfig{MaxBuried: 32})) })
	t.Run("Awaiting/RunOut", func(t *testing.T) {
		testAwaitLimitRunsOut(t, open(t, store.OutboxConfig{PerPeerAwaiting: 1}))
	})
}

func item(id, to, thread string) store.Item {
	now := time.Now().Truncate(time.Second)
	return store.Item{
		ID: id, MessageID: "m-" + id, Thread: thread, From: "did:example:from", To: to,
		Direct:    store.Packet{MediaType: "x/y", Data: []byte("packet of " + id)},
		Endpoints: []store.Endpoint{{URI: "mem:" + to}},
		Created:   now, Deadline: now.Add(long),
	}
}

func enqueue(t *testing.T, o store.Outbox, items ...store.Item) {
	t.Helper()
	if err := o.Enqueue(t.Context(), items...); err != nil {
		t.Fatalf("Enqueue: %v", err)
	}
}

func lease(t *testing.T, o store.Outbox, d time.Duration) *store.Lease[store.Item] {
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
	got := make(chan *store.Lease[store.Item])
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

// testLaneIsNamed: Lane names the lane of an item, whatever its thread. A Lane and a Thread
// of the same name are one lane.
func testLaneIsNamed(t *testing.T, o store.Outbox) {
	for i, lane := range []struct{ to, name, thread string }{
		{"did:a", "chat", "1"}, {"did:a", "chat", "2"}, {"did:a", "", "chat"},
		{"did:a", "other", "1"}, {"did:a", "", "1"}, {"did:b", "chat", "1"},
	} {
		it := item(fmt.Sprint(i), lane.to, lane.thread)
		it.Lane = lane.name
		enqueue(t, o, it)
	}
	first := lease(t, o, long)
	for _, want := range []string{"3", "4", "5"} {
		if l := lease(t, o, long); l.Item.ID != want {
			t.Fatalf("leased %s, want %s", l.Item.ID, want)
		}
	}
	nothing(t, o)
	check(t, "Term", o.Term(t.Context(), first, "gone"), nil)
	second := lease(t, o, long)
	nothing(t, o)
	check(t, "Ack", o.Ack(t.Context(), second), nil)
	if third := lease(t, o, long); second.Item.ID != "1" || third.Item.ID != "2" {
		t.Errorf("leased %s and %s, want 1 and 2", second.Item.ID, third.Item.ID)
	}
}

func testNakDelays(t *testing.T, o store.Outbox) {
	enqueue(t, o, item("a", "did:a", "t"))
	l := lease(t, o, long)
	if l.Attempts != 0 || l.LastError != "" {
		t.Errorf("first lease: attempts %d, last error %q", l.Attempts, l.LastError)
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
	if l.Attempts != 1 || l.LastError != "connection refused" {
		t.Errorf("second lease: attempts %d, last error %q", l.Attempts, l.LastError)
	}
}

// testNakUntried: a Nak with an empty reason does not count as an attempt.
func testNakUntried(t *testing.T, o store.Outbox) {
	enqueue(t, o, item("a", "did:a", "t"))
	check(t, "Nak", o.Nak(t.Context(), lease(t, o, long), 0, "connection refused"), nil)
	for range 3 {
		l := lease(t, o, long)
		if l.Attempts != 1 || l.LastError != "connection refused" {
			t.Errorf("attempts %d, last error %q", l.Attempts, l.LastError)
		}
		check(t, "Nak", o.Nak(t.Context(), l, 0, ""), nil)
	}
}

func testLeaseComesBack(t *testing.T, o store.Outbox) {
	enqueue(t, o, item("a", "did:a", "t"))
	first := lease(t, o, short)
	second := lease(t, o, long)
	if second.Item.ID != "a" || second.Attempts != 1 {
		t.Errorf("second lease: %s, attempts %d", second.Item.ID, second.Attempts)
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
	for i, proof := range []struct{ confirm, receipt bool }{{}, {confirm: true}, {receipt: true}} {
		want := item(fmt.Sprint(i), "did:a", fmt.Sprint(i))
		want.AskAck, want.NeedsReceipt = proof.confirm, proof.receipt
		keepsItem(t, o, want)
	}
	named := item("named", "did:a", "t")
	named.Lane, named.Expires, named.HidesSender = "lane", time.UnixMicro(4e15), true
	keepsItem(t, o, named)
	for _, class := range store.Classes() {
		routed := item("of "+string(class), "did:a", "routed")
		routed.Class = class
		routed.Endpoints = []store.Endpoint{
			{URI: "https://one", RoutingKeys: []string{"did:example:m#1", "", "\x00\xff"}},
			{URI: "https://two", RoutingKeys: []string{"did:example:m#1"}},
		}
		keepsItem(t, o, routed)
	}
}

func keepsItem(t *testing.T, o store.Outbox, want store.Item) {
	t.Helper()
	want.Endpoints = append(want.Endpoints, store.Endpoint{URI: "wss://b"})
	enqueue(t, o, want)
	got := lease(t, o, long).Item
	if got.ID != want.ID || got.MessageID != want.MessageID || got.Thread != want.Thread || got.Lane != want.Lane || got.From != want.From ||
		got.To != want.To || got.Class != want.Class || got.AskAck != want.AskAck || got.NeedsReceipt != want.NeedsReceipt || got.HidesSender != want.HidesSender || !got.Created.Equal(want.Created) || !got.Deadline.Equal(want.Deadline) ||
		!reflect.DeepEqual(got.Direct, want.Direct) || !sameEndpoints(got.Endpoints, want.Endpoints) || !got.Expires.Equal(want.Expires) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if a, ok := o.(store.OutboxAdmin); ok {
		e, err := a.Get(t.Context(), want.ID)
		list, _ := a.List(t.Context(), e.Seq-1, 1)
		if err != nil || e.Item.Lane != want.Lane || e.Item.Class != want.Class || !sameEndpoints(e.Item.Endpoints, want.Endpoints) ||
			len(list) != 1 || list[0].Item.Lane != want.Lane || list[0].Item.Class != want.Class {
			t.Errorf("shown as %+v, %+v, %v", e, list, err)
		}
	}
}

func sameEndpoints(a, b []store.Endpoint) bool {
	return slices.EqualFunc(a, b, func(a, b store.Endpoint) bool {
		return a.URI == b.URI && slices.Equal(a.RoutingKeys, b.RoutingKeys)
	})
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

func testWakeEndsDelays(t *testing.T, o store.Outbox) {
	enqueue(t, o, item("1", "did:a", "t"), item("2", "did:a", "u"), item("3", "did:b", "t"))
	for range 3 {
		check(t, "Nak", o.Nak(t.Context(), lease(t, o, long), long, "unreachable"), nil)
	}
	nothing(t, o)
	check(t, "Wake", o.Wake(t.Context(), "did:nobody"), nil)
	check(t, "Wake", o.Wake(t.Context(), "did:a"), nil)
	seen := []string{lease(t, o, long).Item.ID, lease(t, o, long).Item.ID}
	slices.Sort(seen)
	if !slices.Equal(seen, []string{"1", "2"}) {
		t.Errorf("leased %v after Wake", seen)
	}
	check(t, "Wake", o.Wake(t.Context(), "did:a"), nil) // changes no lease
	nothing(t, o)
}

// testOnePeerHasAShare: one To does not take all workers. Its other items are leased as its
// leases end, in whatever way.
func testOnePeerHasAShare(t *testing.T, o store.Outbox) {
	const lanes = 100
	for i := range lanes {
		enqueue(t, o, item(fmt.Sprint(i), "did:dead", fmt.Sprint(i)))
	}
	enqueue(t, o, item("live", "did:live", "t"))
	var held []*store.Lease[store.Item]
	for {
		l := lease(t, o, long)
		if l.Item.ID == "live" {
			break
		}
		if held = append(held, l); len(held) == lanes {
			t.Fatal("one peer takes all leases")
		}
	}
	nothing(t, o)
	end := []func(l *store.Lease[store.Item]) error{
		func(l *store.Lease[store.Item]) error { return o.Ack(t.Context(), l) },
		func(l *store.Lease[store.Item]) error { return o.Nak(t.Context(), l, long, "refused") },
		func(l *store.Lease[store.Item]) error { return o.Term(t.Context(), l, "gone") },
	}
	for i := range lanes - len(held) {
		check(t, "end of a lease", end[i%len(end)](held[0]), nil)
		held = append(held[1:], lease(t, o, long))
		if i < 3 {
			nothing(t, o)
		}
	}
}

func admin(t *testing.T, o store.Outbox) store.OutboxAdmin {
	t.Helper()
	a, ok := o.(store.OutboxAdmin)
	if !ok {
		t.Skip("no OutboxAdmin")
	}
	return a
}

func testDropLosesLease(t *testing.T, o store.Outbox) {
	a := admin(t, o)
	enqueue(t, o, item("1", "did:a", "t"), item("2", "did:a", "t"), item("3", "did:a", "t"))
	l := lease(t, o, long)
	check(t, "Drop of a waiting item", a.Drop(t.Context(), "2"), nil)
	check(t, "Drop of a leased item", a.Drop(t.Context(), "1"), nil)
	check(t, "Ack", o.Ack(t.Context(), l), store.ErrLease)
	if l := lease(t, o, long); l.Item.ID != "3" {
		t.Errorf("leased %s, want 3", l.Item.ID)
	}
	for _, err := range []error{a.Drop(t.Context(), "1"), a.Retry(t.Context(), "1", time.Time{})} {
		check(t, "of an unknown item", err, store.ErrNotFound)
	}
	if _, err := a.Get(t.Context(), "1"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("Get of an unknown item: %v", err)
	}
}

func testBuriedIsRetried(t *testing.T, o store.Outbox) {
	a := admin(t, o)
	enqueue(t, o, item("1", "did:a", "t"), item("2", "did:a", "t"))
	check(t, "Nak", o.Nak(t.Context(), lease(t, o, long), 0, "busy"), nil)
	check(t, "Term", o.Term(t.Context(), lease(t, o, long), "gone"), nil)
	e, err := a.Get(t.Context(), "1")
	if err != nil || e.State != store.Buried || e.LastError != "gone" || e.Attempts != 2 || string(e.Item.Direct.Data) != "packet of 1" {
		t.Errorf("buried: %+v, %v", e, err)
	}
	check(t, "Enqueue of a buried ID", o.Enqueue(t.Context(), item("1", "did:a", "t")), store.ErrExists)
	deadline := time.Now().Add(2 * long).Truncate(time.Second)
	check(t, "Retry", a.Retry(t.Context(), "1", deadline), nil)
	second := lease(t, o, long)
	if second.Item.ID != "2" {
		t.Fatalf("leased %s, want 2: the lane went on", second.Item.ID)
	}
	nothing(t, o)
	check(t, "Ack", o.Ack(t.Context(), second), nil)
	l := lease(t, o, long)
	if l.Item.ID != "1" || l.Attempts != 0 || !l.Item.Deadline.Equal(deadline) {
		t.Errorf("retried: %+v", l)
	}
	check(t, "Nak", o.Nak(t.Context(), l, long, "busy"), nil)
	check(t, "Retry of a waiting item", a.Retry(t.Context(), "1", time.Time{}), nil)
	if l = lease(t, o, long); l.Item.ID != "1" || l.Attempts != 1 || !l.Item.Deadline.Equal(deadline) {
		t.Errorf("retried again: %+v", l)
	}
	check(t, "Retry of a leased item", a.Retry(t.Context(), "1", time.Time{}), nil)
	check(t, "Term of the last one", o.Term(t.Context(), l, "gone"), nil)
	nothing(t, o)
	check(t, "Retry of the only one", a.Retry(t.Context(), "1", time.Time{}), nil)
	if l = lease(t, o, long); l.Item.ID != "1" || l.Attempts != 0 || !l.Item.Deadline.Equal(deadline) {
		t.Errorf("retried alone: %+v", l)
	}
	check(t, "Ack", o.Ack(t.Context(), l), nil)
	nothing(t, o)
}

func testListInOrder(t *testing.T, o store.Outbox) {
	a := admin(t, o)
	for i := range 5 {
		enqueue(t, o, item(fmt.Sprint(i), fmt.Sprint("did:", i%2), "t"))
	}
	check(t, "Nak", o.Nak(t.Context(), lease(t, o, long), long, "busy"), nil)
	lease(t, o, long)
	var got []string
	var after uint64
	for {
		list, err := a.List(t.Context(), after, 2)
		if err != nil {
			t.Fatal(err)
		}
		if len(list) == 0 {
			break
		}
		for _, e := range list {
			if e.Seq <= after {
				t.Errorf("seq %d after %d", e.Seq, after)
			}
			after = e.Seq
			if len(e.Item.Direct.Data) > 0 || e.Item.MessageID != "m-"+e.Item.ID {
				t.Errorf("listed %+v", e.Item)
			}
			got = append(got, fmt.Sprint(e.Item.ID, " ", e.State, " ", e.Attempts, " ", e.LastError))
		}
	}
	want := []string{"0 waiting 1 busy", "1 leased 1 ", "2 waiting 0 ", "3 waiting 0 ", "4 waiting 0 "}
	if !slices.Equal(got, want) {
		t.Errorf("listed %q, want %q", got, want)
	}
}
