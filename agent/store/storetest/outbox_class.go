package storetest

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/didcomm-go/didcomm/agent/store"
)

func classed(id, to string, class store.Class) store.Item {
	it := item(id, to, "t")
	it.Class = class
	return it
}

// leaseOf leases an item of the classes, and returns its ID.
func leaseOf(t *testing.T, o store.Outbox, classes ...store.Class) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	l, err := o.Lease(ctx, long, classes...)
	if err != nil {
		t.Fatalf("Lease of %q: %v", classes, err)
	}
	return l.Item.ID
}

// nothingOf asserts that no item of the classes can be leased now.
func nothingOf(t *testing.T, o store.Outbox, classes ...store.Class) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), short)
	defer cancel()
	if l, err := o.Lease(ctx, long, classes...); err == nil {
		t.Fatalf("Lease of %q handed out %s, want none", classes, l.Item.ID)
	}
}

// testClassesApart: a Lease gets items of its classes only, in the order in which they became
// due. An unknown class is that of strangers.
func testClassesApart(t *testing.T, o store.Outbox) {
	for i := range 20 {
		enqueue(t, o, classed(fmt.Sprint("s", i), fmt.Sprint("did:s", i), store.ClassStranger))
	}
	nothingOf(t, o, store.ClassOwn, store.ClassKnown)
	enqueue(t, o, classed("k1", "did:k1", store.ClassKnown))
	enqueue(t, o, classed("o1", "did:o1", store.ClassOwn))
	enqueue(t, o, classed("k2", "did:k2", store.ClassKnown))
	enqueue(t, o, classed("o2", "did:o2", store.ClassOwn))
	for _, want := range []struct {
		id      string
		classes []store.Class
	}{
		{"o1", []store.Class{store.ClassOwn}},
		{"k1", []store.Class{store.ClassOwn, store.ClassKnown}},
		{"k2", []store.Class{store.ClassKnown, store.ClassOwn}},
		{"o2", []store.Class{store.ClassKnown, store.ClassOwn}},
		{"s0", []store.Class{store.ClassStranger}},
		{"s1", []store.Class{"other"}},
		{"s2", store.Classes()},
		{"s3", nil},
	} {
		if got := leaseOf(t, o, want.classes...); got != want.id {
			t.Fatalf("Lease of %q handed out %s, want %s", want.classes, got, want.id)
		}
	}
	nothingOf(t, o, store.ClassOwn, store.ClassKnown)
	if got := leaseOf(t, o, store.ClassStranger); got != "s4" {
		t.Errorf("leased %s, want s4", got)
	}
}

// testClassesWake: an item wakes a Lease of its class, and no Lease of another class takes
// the signal away.
func testClassesWake(t *testing.T, o store.Outbox) {
	for round := range 10 {
		got := make(map[store.Class]chan string)
		for _, class := range store.Classes() {
			got[class] = make(chan string, 4)
			for range 4 {
				go func() {
					l, err := o.Lease(t.Context(), long, class)
					if err != nil {
						return // the test has ended
					}
					_ = o.Ack(t.Context(), l)
					got[class] <- l.Item.ID
				}()
			}
		}
		var items []store.Item
		for i := range 4 {
			for _, class := range slices.Backward(store.Classes()) {
				items = append(items, classed(fmt.Sprint(class, round, i), fmt.Sprint("did:", i), class))
			}
		}
		for _, it := range items {
			enqueue(t, o, it)
		}
		for _, class := range store.Classes() {
			for range 4 {
				select {
				case <-got[class]:
				case <-time.After(10 * time.Second):
					t.Fatalf("a Lease of %q missed an item", class)
				}
			}
		}
	}
}

// testClassesHaveLanes: items of two classes for one To and one thread do not wait for each
// other, whatever becomes of them. Wake is for all of them.
func testClassesHaveLanes(t *testing.T, o store.Outbox) {
	for _, class := range slices.Backward(store.Classes()) {
		enqueue(t, o, classed("1"+string(class), "did:a", class), classed("2"+string(class), "did:a", class))
	}
	for _, class := range store.Classes() {
		l := lease(t, o, long)
		check(t, "Nak", o.Nak(t.Context(), l, long, "refused"), nil)
		nothingOf(t, o, l.Item.Class)
		if l.Item.ID != "1"+string(l.Item.Class) {
			t.Errorf("leased %s first, round of %q", l.Item.ID, class)
		}
	}
	nothing(t, o)
	check(t, "Wake", o.Wake(t.Context(), "did:a"), nil)
	for _, class := range store.Classes() {
		if got := leaseOf(t, o, class); got != "1"+string(class) {
			t.Errorf("leased %s of %q after Wake", got, class)
		}
	}
	nothing(t, o)
}

// testClassesShareNoPeer: the leases of one class for a To leave those of another class.
func testClassesShareNoPeer(t *testing.T, o store.Outbox) {
	for i := range 2 * anyPerPeer {
		it := classed(fmt.Sprint("s", i), "did:a", store.ClassStranger)
		it.Thread = fmt.Sprint(i)
		enqueue(t, o, it)
	}
	for range anyPerPeer {
		leaseOf(t, o, store.ClassStranger)
	}
	nothing(t, o)
	enqueue(t, o, classed("o", "did:a", store.ClassOwn))
	if got := leaseOf(t, o); got != "o" {
		t.Errorf("leased %s, want o", got)
	}
}

// classLimits are limits of an outbox for testClassLimits: 8 items, 4 of known parties, 2 of
// strangers and 1 of a stranger.
var classLimits = store.OutboxConfig{
	MaxItems: 8, MaxPeerItems: 8, MaxBytes: 8000, MaxPeerBytes: 8000,
	Known: store.Share{Items: 4, Bytes: 4000}, Stranger: store.Share{Items: 2, Bytes: 2000},
	StrangerPeer: store.Share{Items: 1, Bytes: 1000},
}

// weighed is an item of n bytes.
func weighed(id, to string, class store.Class, n int) store.Item {
	it := classed(id, to, class)
	it.Direct.Data, it.Endpoints = make([]byte, n), nil
	return it
}

// testClassLimits: strangers and known parties fill their shares, and leave room for the
// items of the owner. A call with items of several classes is all or none.
func testClassLimits(t *testing.T, o store.Outbox) {
	put := func(want error, items ...store.Item) {
		t.Helper()
		check(t, "Enqueue "+items[0].ID, o.Enqueue(t.Context(), items...), want)
	}
	stranger, known, own := store.ClassStranger, store.ClassKnown, store.ClassOwn
	put(store.ErrFull, weighed("s1", "did:1", stranger, 1001))
	put(store.ErrFull, weighed("s1", "did:1", stranger, 1), weighed("s2", "did:1", stranger, 1))
	put(nil, weighed("s1", "did:1", stranger, 1))
	put(store.ErrFull, weighed("s2", "did:1", stranger, 1))
	put(nil, weighed("o1", "did:1", own, 1)) // another class has its own share of a To
	put(store.ErrFull, weighed("o2", "did:2", own, 1), weighed("s2", "did:2", stranger, 1), weighed("s3", "did:3", "other", 1))
	put(nil, weighed("s2", "did:2", stranger, 1))
	put(store.ErrFull, weighed("s3", "did:3", stranger, 1))
	for i := range 4 {
		put(nil, weighed(fmt.Sprint("k", i), "did:1", known, 1000))
	}
	put(store.ErrFull, weighed("k5", "did:2", known, 0))
	put(nil, weighed("o2", "did:2", own, 1))
	put(store.ErrFull, weighed("o3", "did:2", own, 1)) // all are 8
	leaseAck := func(class store.Class) {
		t.Helper()
		l, err := o.Lease(t.Context(), long, class)
		check(t, "Lease", err, nil)
		check(t, "Ack", o.Ack(t.Context(), l), nil)
	}
	leaseAck(stranger)
	put(store.ErrFull, weighed("s3", "did:2", stranger, 1)) // did:2 has one
	put(nil, weighed("s3", "did:3", stranger, 1000))
	leaseAck(known)
	put(store.ErrFull, weighed("k5", "did:2", known, 1001))
	put(nil, weighed("k5", "did:2", known, 1000))
}

// testBuriedClasses: buried items of strangers displace buried items of strangers only.
func testBuriedClasses(t *testing.T, o store.Outbox) {
	a := admin(t, o)
	bury := func(id string, class store.Class) {
		t.Helper()
		enqueue(t, o, classed(id, "did:a", class))
		l, err := o.Lease(t.Context(), long, class)
		check(t, "Lease", err, nil)
		check(t, "Term", o.Term(t.Context(), l, "gone"), nil)
	}
	shown := func() (ids []string) {
		list, err := a.List(t.Context(), 0, 100)
		check(t, "List", err, nil)
		for _, e := range list {
			ids = append(ids, e.Item.ID)
		}
		return ids
	}
	bury("o1", store.ClassOwn)
	bury("k1", store.ClassKnown)
	for i := range 40 {
		bury(fmt.Sprint("s", i), store.ClassStranger)
	}
	if got, want := shown(), []string{"o1", "k1", "s38", "s39"}; !slices.Equal(got, want) {
		t.Errorf("after a flood of strangers: %v, want %v", got, want)
	}
	for i := range 40 {
		bury(fmt.Sprint("k", 10+i), store.ClassKnown)
	}
	if got := shown(); len(got) != 1+16+2 || got[0] != "o1" || got[1] != "s38" {
		t.Errorf("after many known ones: %v", got)
	}
	for i := range 40 {
		bury(fmt.Sprint("o", 10+i), store.ClassOwn)
	}
	got := shown()
	if len(got) != 32 || got[0] != "s38" || got[2] != "k34" || got[18] != "o36" {
		t.Errorf("after many own ones: %v", got)
	}
	check(t, "Drop", a.Drop(t.Context(), "s38"), nil)
	check(t, "Retry", a.Retry(t.Context(), "s39", time.Time{}), nil)
	bury("o60", store.ClassOwn)
	bury("o61", store.ClassOwn)
	if got := shown(); slices.Contains(got, "s38") || !slices.Contains(got, "o36") {
		t.Errorf("after strangers made room: %v", got)
	}
}
