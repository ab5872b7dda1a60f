package store_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/agent/store/storetest"
)

func TestOutbox(t *testing.T) {
	storetest.TestOutbox(t, func(*testing.T) store.Outbox { return store.NewOutbox(store.OutboxConfig{}) })
}

func TestReplay(t *testing.T) {
	storetest.TestReplay(t, func(*testing.T) store.Replay { return store.NewReplay(0) })
}

func TestOutboxLimits(t *testing.T) {
	o := store.NewOutbox(store.OutboxConfig{MaxItems: 2, MaxBytes: 10})
	item := func(id string, n int) store.Item {
		return store.Item{ID: id, To: "did:a", Thread: id, Routes: []store.Route{{Data: make([]byte, n)}}}
	}
	if err := o.Enqueue(t.Context(), item("big", 11)); !errors.Is(err, store.ErrFull) {
		t.Errorf("too many bytes: %v", err)
	}
	if err := o.Enqueue(t.Context(), item("1", 4), item("2", 4)); err != nil {
		t.Fatal(err)
	}
	if err := o.Enqueue(t.Context(), item("3", 1)); !errors.Is(err, store.ErrFull) {
		t.Errorf("too many items: %v", err)
	}
	l, err := o.Lease(t.Context(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if err := o.Ack(t.Context(), l); err != nil {
		t.Fatal(err)
	}
	if err := o.Enqueue(t.Context(), item("3", 6)); err != nil {
		t.Errorf("room was not given back: %v", err)
	}
}

// One peer takes at most PerPeer leases, and its other lanes come as those
// end, also when they end by running out.
func TestOutboxPerPeer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := store.NewOutbox(store.OutboxConfig{PerPeer: 2})
		for i := range 5 {
			it := store.Item{ID: fmt.Sprint(i), To: "did:dead", Thread: fmt.Sprint(i)}
			if err := o.Enqueue(t.Context(), it); err != nil {
				t.Fatal(err)
			}
		}
		if err := o.Enqueue(t.Context(), store.Item{ID: "live", To: "did:live"}); err != nil {
			t.Fatal(err)
		}
		next := func() *store.Lease {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			l, _ := o.Lease(ctx, time.Minute)
			return l
		}
		a, b := next(), next()
		if l := next(); l == nil || l.Item.ID != "live" {
			t.Fatalf("third lease is %+v, want that of the live peer", l)
		}
		if l := next(); l != nil {
			t.Fatalf("a third item of one peer was leased: %s", l.Item.ID)
		}
		if err := o.Nak(t.Context(), a, time.Hour, "refused"); err != nil {
			t.Fatal(err)
		}
		if l := next(); l == nil || l.Item.ID != "2" {
			t.Fatalf("after a nak: %+v, want 2", l)
		}
		time.Sleep(time.Minute) // the leases run out, in the bubble's time
		if err := o.Ack(t.Context(), b); !errors.Is(err, store.ErrLease) {
			t.Errorf("late ack: %v", err)
		}
		for range 3 { // 1, 2 and live again
			if l := next(); l == nil || l.Item.Attempts != 1 {
				t.Fatalf("a lease that ran out did not come back: %+v", l)
			}
		}
	})
}

// A Lease that waits wakes when a lease taken after it began to wait runs out.
func TestOutboxWatchesLeases(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := store.NewOutbox(store.OutboxConfig{})
		got := make(chan *store.Lease, 2)
		for range 2 {
			go func() {
				l, _ := o.Lease(t.Context(), time.Minute)
				got <- l
			}()
		}
		synctest.Wait()
		if err := o.Enqueue(t.Context(), store.Item{ID: "a", To: "did:a"}); err != nil {
			t.Fatal(err)
		}
		first := <-got
		second := <-got
		if first.Item.ID != "a" || second.Item.ID != "a" || second.Item.Attempts != 1 {
			t.Errorf("leases: %+v, %+v", first, second)
		}
	})
}

func TestReplayForgetsOldest(t *testing.T) {
	r, later := store.NewReplay(2), time.Now().Add(time.Hour)
	for _, id := range []string{"1", "2", "3"} {
		if ok, _ := r.Add(t.Context(), "did:a", id, later); !ok {
			t.Fatalf("%s is not new", id)
		}
	}
	if got, _ := r.Received(t.Context(), "did:a", []string{"1", "2", "3"}); !slices.Equal(got, []string{"2", "3"}) {
		t.Errorf("%q are remembered, want 2 and 3", got)
	}
}

// The cost of a message must not grow with the queue.
func BenchmarkOutbox(b *testing.B) {
	for _, queued := range []int{0, 100_000} {
		b.Run(fmt.Sprintf("queued=%d", queued), func(b *testing.B) {
			o := store.NewOutbox(store.OutboxConfig{MaxItems: queued + 1, PerPeer: queued + 1})
			for i := range queued {
				if err := o.Enqueue(b.Context(), store.Item{ID: fmt.Sprint("q", i), To: fmt.Sprint(i)}); err != nil {
					b.Fatal(err)
				}
				if l, err := o.Lease(b.Context(), time.Hour); err != nil {
					b.Fatal(err)
				} else if err := o.Nak(b.Context(), l, time.Hour, ""); err != nil {
					b.Fatal(err)
				}
			}
			for b.Loop() {
				if err := o.Enqueue(b.Context(), store.Item{ID: "x", To: "did:x"}); err != nil {
					b.Fatal(err)
				}
				l, err := o.Lease(b.Context(), time.Hour)
				if err != nil {
					b.Fatal(err)
				}
				if err := o.Ack(b.Context(), l); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
