package storetest

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/didcomm-go/didcomm/agent/store"
)

// testOutboxShares: the bounds in Enqueue hold for the queued items of an owner.
func testOutboxShares(t *testing.T, open func(t *testing.T) store.Outbox) {
	for name, end := range outboxEnds {
		t.Run("ShareAfter/"+name, func(t *testing.T) { testOutboxShareAfter(t, open(t), end.free, end.end) })
	}
	for name, test := range map[string]func(*testing.T, store.Outbox){
		"Bounds":       testOutboxBounds,
		"KeepsOwner":   testOutboxKeepsOwner,
		"TakenIDShare": testTakenIDShare,
		"ShareAtOnce":  testOutboxShareAtOnce,
		"NamedAsTo":    testOwnerNamedAsTo,
	} {
		t.Run(name, func(t *testing.T) { test(t, open(t)) })
	}
}

// owned is an item of ten bytes for a To that no other item has.
func owned(id, owner string, bound store.Share) store.Item {
	it := item(id, "did:"+id, id)
	it.Owner, it.OwnerShare = owner, bound
	it.Direct.Data = make([]byte, 10)
	return it
}

type share struct {
	owner string
	bound store.Share
}

// testOutboxBounds: all cases use one outbox, with different owners.
func testOutboxBounds(t *testing.T, o store.Outbox) {
	for name, calls := range outboxBounds {
		t.Run(name, func(t *testing.T) {
			for i, call := range calls {
				items := make([]store.Item, len(call.items))
				for k, of := range call.items {
					owner := of.owner
					if owner != "" {
						owner = name + owner
					}
					items[k] = owned(fmt.Sprint(name, i, k), owner, of.bound)
				}
				check(t, fmt.Sprint("Enqueue ", i), o.Enqueue(t.Context(), items...), call.want)
			}
		})
	}
}

// outboxBounds are calls of Enqueue, in order, with items of ten bytes each.
var outboxBounds = map[string][]struct {
	items []share
	want  error
}{
	"Items": {
		{items: []share{{"x", store.Share{Items: 2}}}}, {items: []share{{"x", store.Share{Items: 2}}}},
		{items: []share{{"x", store.Share{Items: 2}}}, want: store.ErrFull},
		{items: []share{{"y", store.Share{Items: 2}}}},
		{items: []share{{"", store.Share{Items: 2}}}},
	},
	"Bytes": {
		{items: []share{{"x", store.Share{Bytes: 9}}}, want: store.ErrFull},
		{items: []share{{"x", store.Share{Bytes: 20}}}}, {items: []share{{"x", store.Share{Bytes: 20}}}},
		{items: []share{{"x", store.Share{Bytes: 29}}}, want: store.ErrFull},
		{items: []share{{"y", store.Share{Bytes: 10}}}},
	},
	"SeveralInOneCall": {
		{items: []share{{"x", store.Share{Items: 2}}, {"x", store.Share{Items: 2}}, {"x", store.Share{Items: 2}}}, want: store.ErrFull},
		{items: []share{{"x", store.Share{Bytes: 19}}, {"x", store.Share{Bytes: 19}}}, want: store.ErrFull},
		{items: []share{{"x", store.Share{Items: 2, Bytes: 20}}, {"x", store.Share{Items: 2, Bytes: 20}}}},
		{items: []share{{"x", store.Share{Items: 2}}}, want: store.ErrFull},
	},
	// Each bound in a call holds for all items of the call that have this owner.
	"OneBoundOfACall": {
		{items: []share{{"x", store.Share{Items: 1}}, {"x", store.Share{}}}, want: store.ErrFull},
		{items: []share{{"x", store.Share{}}, {"x", store.Share{Items: 1}}}, want: store.ErrFull},
		{items: []share{{"x", store.Share{Bytes: 19}}, {"x", store.Share{Items: 5}}}, want: store.ErrFull},
		{items: []share{{"x", store.Share{Items: 2}}, {"x", store.Share{}}}},
	},
	"AllOrNone": {
		{items: []share{{"x", store.Share{Items: 1}}}},
		{items: []share{{"y", store.Share{Items: 1}}, {"x", store.Share{Items: 1}}}, want: store.ErrFull},
		{items: []share{{"x", store.Share{Items: 1}}, {"y", store.Share{Items: 1}}}, want: store.ErrFull},
		{items: []share{{"y", store.Share{Items: 1}}, {"z", store.Share{Items: 1}}}},
		{items: []share{{"y", store.Share{Items: 1}}}, want: store.ErrFull},
	},
	"EachItsBound": {
		{items: []share{{"x", store.Share{}}}}, {items: []share{{"x", store.Share{Items: -1, Bytes: -1}}}},
		{items: []share{{"x", store.Share{Items: 2}}}, want: store.ErrFull},
		{items: []share{{"x", store.Share{Items: 3}}}}, {items: []share{{"x", store.Share{}}}},
		{items: []share{{"x", store.Share{Items: 9, Bytes: 49}}}, want: store.ErrFull},
		{items: []share{{"x", store.Share{Items: 9, Bytes: 50}}}},
	},
	"NoOwner": {
		{items: []share{{"", store.Share{Items: 1, Bytes: 1}}, {"", store.Share{Items: 1, Bytes: 1}}}},
		{items: []share{{"x", store.Share{Items: 1, Bytes: 10}}}},
	},
}

// outboxEnds are the calls that may follow for an item, and whether its share is free after
// them.
var outboxEnds = map[string]struct {
	free bool
	end  func(t *testing.T, o store.Outbox)
}{
	"Ack": {true, func(t *testing.T, o store.Outbox) { check(t, "Ack", o.Ack(t.Context(), lease(t, o, long)), nil) }},
	"Term": {true, func(t *testing.T, o store.Outbox) {
		check(t, "Term", o.Term(t.Context(), lease(t, o, long), "gone"), nil)
	}},
	"Nak": {false, func(t *testing.T, o store.Outbox) {
		check(t, "Nak", o.Nak(t.Context(), lease(t, o, long), long, "busy"), nil)
	}},
	"Aside": {false, func(t *testing.T, o store.Outbox) {
		check(t, "Aside", o.Aside(t.Context(), lease(t, o, long), 0, "refused"), nil)
	}},
	"AsideAndAck": {true, func(t *testing.T, o store.Outbox) {
		check(t, "Aside", o.Aside(t.Context(), lease(t, o, long), 0, "refused"), nil)
		check(t, "Ack", o.Ack(t.Context(), lease(t, o, long)), nil)
	}},
	"Await": {false, func(t *testing.T, o store.Outbox) { check(t, "Await", o.Await(t.Context(), lease(t, o, long)), nil) }},
	"AwaitAndAck": {true, func(t *testing.T, o store.Outbox) {
		l := lease(t, o, long)
		check(t, "Await", o.Await(t.Context(), l), nil)
		check(t, "Ack", o.Ack(t.Context(), l), nil)
	}},
	"RunOut": {false, func(t *testing.T, o store.Outbox) {
		check(t, "Ack of a lease that ran out", o.Ack(t.Context(), lease(t, o, -time.Second)), store.ErrLease)
	}},
	"RunOutAndAck": {true, func(t *testing.T, o store.Outbox) {
		lease(t, o, -time.Second)
		check(t, "Ack", o.Ack(t.Context(), lease(t, o, long)), nil)
	}},
	"DropOfWaiting": {true, func(t *testing.T, o store.Outbox) { check(t, "Drop", admin(t, o).Drop(t.Context(), "1"), nil) }},
	"DropOfLeased": {true, func(t *testing.T, o store.Outbox) {
		lease(t, o, long)
		check(t, "Drop", admin(t, o).Drop(t.Context(), "1"), nil)
	}},
	"DropOfBuried": {true, func(t *testing.T, o store.Outbox) {
		check(t, "Term", o.Term(t.Context(), lease(t, o, long), "gone"), nil)
		check(t, "Drop", admin(t, o).Drop(t.Context(), "1"), nil)
	}},
	"Retry": {false, func(t *testing.T, o store.Outbox) {
		check(t, "Retry", admin(t, o).Retry(t.Context(), "1", time.Time{}), nil)
	}},
	"RetryOfBuried": {false, func(t *testing.T, o store.Outbox) {
		check(t, "Term", o.Term(t.Context(), lease(t, o, long), "gone"), nil)
		check(t, "Retry", admin(t, o).Retry(t.Context(), "1", time.Time{}), nil)
	}},
	"RetryOfBuriedAndAck": {true, func(t *testing.T, o store.Outbox) {
		check(t, "Term", o.Term(t.Context(), lease(t, o, long), "gone"), nil)
		check(t, "Retry", admin(t, o).Retry(t.Context(), "1", time.Time{}), nil)
		check(t, "Ack", o.Ack(t.Context(), lease(t, o, long)), nil)
	}},
}

func testOutboxShareAfter(t *testing.T, o store.Outbox, free bool, end func(*testing.T, store.Outbox)) {
	bound := store.Share{Items: 1, Bytes: 10}
	enqueue(t, o, owned("1", "x", bound))
	check(t, "Enqueue 2", o.Enqueue(t.Context(), owned("2", "x", bound)), store.ErrFull)
	end(t, o)
	if free {
		enqueue(t, o, owned("3", "x", bound))
	}
	check(t, "Enqueue 4", o.Enqueue(t.Context(), owned("4", "x", bound)), store.ErrFull)
}

func testOutboxKeepsOwner(t *testing.T, o store.Outbox) {
	for i, owner := range []string{"did:example:us", "", strings.Repeat("x", 1<<16), "a\x00\xff"} {
		want := owned(fmt.Sprint(i), owner, store.Share{Items: 1})
		want.Lane = "lane"
		enqueue(t, o, want)
		items := []store.Item{lease(t, o, long).Item}
		if a, ok := o.(store.OutboxAdmin); ok {
			e, err := a.Get(t.Context(), want.ID)
			check(t, "Get", err, nil)
			list, err := a.List(t.Context(), e.Seq-1, 1)
			if err != nil || len(list) != 1 {
				t.Fatalf("listed %v, %v", list, err)
			}
			items = append(items, e.Item, list[0].Item)
		}
		for k, got := range items {
			if got.Owner != owner || got.OwnerShare != (store.Share{}) || got.Lane != want.Lane || got.From != want.From {
				t.Errorf("owner %d, way %d: %.20q, bound %v", i, k, got.Owner, got.OwnerShare)
			}
		}
	}
}

// testOwnerNamedAsTo: an owner and a To of the same name are two parties.
func testOwnerNamedAsTo(t *testing.T, o store.Outbox) {
	first, second := owned("1", "x", store.Share{}), owned("2", "did:1", store.Share{Items: 1})
	enqueue(t, o, first, second)
	check(t, "Enqueue", o.Enqueue(t.Context(), owned("3", "did:1", store.Share{Items: 1})), store.ErrFull)
}

// testTakenIDShare: a call that fails because an ID is taken takes nothing of a share.
func testTakenIDShare(t *testing.T, o store.Outbox) {
	bound := store.Share{Items: 1}
	enqueue(t, o, owned("taken", "", bound))
	for range 2 {
		check(t, "Enqueue", o.Enqueue(t.Context(), owned("1", "x", bound), owned("taken", "y", bound)), store.ErrExists)
	}
	enqueue(t, o, owned("1", "x", bound), owned("2", "y", bound))
	check(t, "Enqueue", o.Enqueue(t.Context(), owned("3", "x", bound)), store.ErrFull)
}

// testOutboxShareAtOnce: of many items that are queued at the same time, as many find room as
// a share allows, and again as many after those were acked.
func testOutboxShareAtOnce(t *testing.T, o store.Outbox) {
	const each = 48
	bounds := map[string]store.Share{"few": {Items: 7}, "bytes": {Bytes: 110}, "many": {Items: 30, Bytes: 300}, "all": {}}
	want := map[string]int{"few": 7, "bytes": 11, "many": 30, "all": each}
	for round := range 2 {
		var mu sync.Mutex
		got, all := make(map[string]int), 0
		var wg sync.WaitGroup
		for owner, bound := range bounds {
			for i := range each {
				wg.Go(func() {
					err := o.Enqueue(t.Context(), owned(fmt.Sprint(owner, round, i), owner, bound))
					switch {
					case err == nil:
						mu.Lock()
						defer mu.Unlock()
						got[owner]++
						all++
					case !errors.Is(err, store.ErrFull):
						t.Errorf("Enqueue: %v", err)
					}
				})
			}
		}
		wg.Wait()
		for owner, n := range want {
			if got[owner] != n {
				t.Errorf("round %d: %d items of %q found room, want %d", round, got[owner], owner, n)
			}
		}
		for range all {
			l := lease(t, o, long)
			wg.Go(func() {
				if err := o.Ack(t.Context(), l); err != nil {
					t.Errorf("Ack: %v", err)
				}
			})
		}
		wg.Wait()
	}
}
