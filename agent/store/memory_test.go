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

func TestOutboxLeaseLimits(t *testing.T) {
	storetest.TestOutboxLimits(t, func(_ *testing.T, cfg store.OutboxConfig) store.Outbox { return store.NewOutbox(cfg) })
}

func TestInbox(t *testing.T) {
	storetest.TestInbox(t, func(*testing.T) store.Inbox { return store.NewInbox(store.InboxConfig{}) })
}

func TestInboxShares(t *testing.T) {
	storetest.TestInboxLimits(t, func(_ *testing.T, cfg store.InboxConfig) store.Inbox { return store.NewInbox(cfg) })
}

func TestRecords(t *testing.T) {
	storetest.TestRecords(t, func(*testing.T) store.Records { return store.NewRecords(store.RecordsConfig{}) })
}

func TestRecordsLimits(t *testing.T) {
	storetest.TestRecordsLimits(t, func(_ *testing.T, cfg store.RecordsConfig) store.Records { return store.NewRecords(cfg) })
}

func TestStore(t *testing.T) {
	storetest.TestStore(t, func(_ *testing.T, cfg store.Config) store.Store { return store.New(cfg) })
}

func TestMailbox(t *testing.T) {
	storetest.TestMailbox(t, func(*testing.T) store.Mailbox { return store.NewMailbox(store.MailboxConfig{}) })
}

func TestMailboxLimits(t *testing.T) {
	storetest.TestMailboxLimits(t, func(_ *testing.T, cfg store.MailboxConfig) store.Mailbox { return store.NewMailbox(cfg) })
}

func TestKeys(t *testing.T) {
	storetest.TestKeys(t, func(*testing.T) store.SealedKeys { return store.NewSealedKeys() })
}

// Join commits as a store in memory does if no change fails. If one fails, the earlier
// changes stay.
func TestJoin(t *testing.T) {
	outbox, inbox := store.NewOutbox(store.OutboxConfig{}), store.NewInbox(store.InboxConfig{})
	s := store.Join(outbox, inbox, store.NewRecords(store.RecordsConfig{}))
	if s.Outbox() != outbox || s.Inbox() != inbox {
		t.Error("Join returns other parts than it was given")
	}
	l, _, err := inbox.Add(t.Context(), store.Received{ID: "1", Until: time.Now().Add(time.Hour)}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	c := &store.Changes{
		Put: []store.Record{{Collection: "c", Key: "k"}}, Enqueue: []store.Item{{ID: "1"}},
		Ack: l, Replies: []store.Packet{{Data: []byte("reply")}},
	}
	if err := s.Commit(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	_, known, err := inbox.Add(t.Context(), store.Received{ID: "1"}, time.Hour)
	if err != nil || known == nil || known.State != store.Done || len(known.Replies) != 1 {
		t.Errorf("the message is %+v, %v", known, err)
	}
	if got, err := s.Records().Get(t.Context(), "c", "k"); err != nil || got.Version != c.Put[0].Version {
		t.Errorf("record %+v, %v", got, err)
	}
	for what, tt := range map[string]struct {
		c       store.Changes
		want    error
		records int
		items   int
	}{
		"delete":  {store.Changes{Delete: []store.Record{{Key: "none"}}, Put: []store.Record{{Key: "1"}}}, store.ErrNotFound, 0, 1},
		"put":     {store.Changes{Put: []store.Record{{Key: "2"}, {Key: "2"}}, Enqueue: []store.Item{{ID: "2"}}}, store.ErrVersion, 1, 1},
		"enqueue": {store.Changes{Put: []store.Record{{Key: "3"}}, Enqueue: []store.Item{{ID: "1"}}, Ack: l}, store.ErrExists, 1, 1},
		"ack":     {store.Changes{Put: []store.Record{{Key: "4"}}, Enqueue: []store.Item{{ID: "4"}}, Ack: l}, store.ErrLease, 1, 2},
	} {
		r := store.NewRecords(store.RecordsConfig{})
		o := store.NewOutbox(store.OutboxConfig{})
		if err := o.Enqueue(t.Context(), store.Item{ID: "1"}); err != nil {
			t.Fatal(err)
		}
		if err := store.Join(o, inbox, r).Commit(t.Context(), &tt.c); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", what, err, tt.want)
		}
		records, err := r.List(t.Context(), store.Query{N: 10})
		if err != nil || len(records) != tt.records {
			t.Errorf("%s: records %v, %v", what, records, err)
		}
		items, err := o.(store.OutboxAdmin).List(t.Context(), 0, 10)
		if err != nil || len(items) != tt.items {
			t.Errorf("%s: %d items, %v", what, len(items), err)
		}
	}
}

func TestOutboxLimits(t *testing.T) {
	o := store.NewOutbox(store.OutboxConfig{MaxItems: 2, MaxBytes: 10, MaxPeerItems: 2, MaxPeerBytes: 10})
	item := func(id string, n int) store.Item {
		return store.Item{ID: id, To: "did:a", Thread: id, Direct: store.Packet{Data: make([]byte, n)}}
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

// One peer has at most PerPeer leases. Its other lanes are leased as those leases end,
// also when they run out.
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
		next := func() *store.Lease[store.Item] {
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
			if l := next(); l == nil || l.Attempts != 1 {
				t.Fatalf("a lease that ran out did not come back: %+v", l)
			}
		}
	})
}

// A waiting Lease wakes when a lease runs out that began after the wait.
func TestOutboxLeaseRunsOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := store.NewOutbox(store.OutboxConfig{})
		got := make(chan *store.Lease[store.Item], 2)
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
		if first.Item.ID != "a" || second.Item.ID != "a" || second.Attempts != 1 {
			t.Errorf("leases: %+v, %+v", first, second)
		}
	})
}

func TestOutboxPeerLimits(t *testing.T) {
	o := store.NewOutbox(store.OutboxConfig{MaxItems: 4, MaxBytes: 40})
	item := func(id, to string, n int) store.Item {
		return store.Item{ID: id, To: to, Direct: store.Packet{Data: make([]byte, n)}}
	}
	if err := o.Enqueue(t.Context(), item("1", "did:a", 11)); !errors.Is(err, store.ErrFull) {
		t.Errorf("more than a quarter of the bytes: %v", err)
	}
	if err := o.Enqueue(t.Context(), item("1", "did:a", 1), item("2", "did:a", 1)); !errors.Is(err, store.ErrFull) {
		t.Errorf("more than a quarter of the items: %v", err)
	}
	if err := o.Enqueue(t.Context(), item("1", "did:a", 10), item("2", "did:b", 10)); err != nil {
		t.Errorf("one for each of two: %v", err)
	}
}

func TestInboxLimits(t *testing.T) {
	b := store.NewInbox(store.InboxConfig{MaxItems: 2, MaxBytes: 20, MaxPeerItems: 1, MaxPeerBytes: 10, MaxRemembered: 2, MaxKept: 10})
	msg := func(peer, id string, n int) store.Received {
		return store.Received{Sender: peer, ID: id, Peer: peer, Packet: store.Packet{Data: make([]byte, n)}, Until: time.Now().Add(time.Hour)}
	}
	add := func(m store.Received, want error) *store.Lease[store.Received] {
		t.Helper()
		l, _, err := b.Add(t.Context(), m, time.Hour)
		if !errors.Is(err, want) {
			t.Errorf("Add(%s, %s) = %v, want %v", m.Sender, m.ID, err, want)
		}
		return l
	}
	ack := func(l *store.Lease[store.Received]) {
		t.Helper()
		if err := b.Ack(t.Context(), l); err != nil {
			t.Error(err)
		}
	}
	add(msg("did:a", "big", 11), store.ErrFull)
	one := add(msg("did:a", "1", 10), nil)
	add(msg("did:a", "2", 1), store.ErrFull)
	two := add(msg("did:b", "1", 1), nil)
	add(msg("did:c", "1", 1), store.ErrFull)
	ack(one)
	three := add(msg("did:c", "1", 1), nil)
	shown := func(want ...string) {
		t.Helper()
		list, err := b.(store.InboxAdmin).List(t.Context(), 0, 10)
		var got []string
		for _, e := range list {
			got = append(got, e.Item.Sender+" "+e.Item.ID)
		}
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("kept %q, %v, want %q", got, err, want)
		}
	}
	shown("did:a 1", "did:b 1", "did:c 1")
	ack(two) // over MaxKept: the oldest loses its packet
	shown("did:b 1", "did:c 1")
	ack(three) // over MaxRemembered: the oldest is forgotten
	if got, _ := b.Remembered(t.Context(), "did:a", []string{"1"}); len(got) != 0 {
		t.Errorf("%q is remembered", got)
	}
	if got, _ := b.Remembered(t.Context(), "did:b", []string{"1"}); len(got) != 1 {
		t.Error("the second is forgotten")
	}
}

// Of the inbox's bound and that of a message, the smaller one counts.
func TestInboxSmallerBound(t *testing.T) {
	b := store.NewInbox(store.InboxConfig{MaxPeerItems: 2})
	for i, tt := range []struct {
		items int
		want  error
	}{{3, nil}, {1, store.ErrFull}, {3, nil}, {3, store.ErrFull}, {0, store.ErrFull}} {
		m := store.Received{ID: fmt.Sprint(i), Peer: "did:a", PeerShare: store.Share{Items: tt.items}}
		if _, _, err := b.Add(t.Context(), m, time.Hour); !errors.Is(err, tt.want) {
			t.Errorf("Add %d: %v, want %v", i, err, tt.want)
		}
	}
}

// A message that is dropped after its Until is forgotten at once, and is subtracted from
// MaxKept once, not twice.
func TestInboxDropAfterItsTime(t *testing.T) {
	b := store.NewInbox(store.InboxConfig{MaxKept: 100})
	add := func(id string, until time.Time, d time.Duration) *store.Lease[store.Received] {
		t.Helper()
		l, known, err := b.Add(t.Context(), store.Received{ID: id, Packet: store.Packet{Data: make([]byte, 40)}, Until: until}, d)
		if known != nil || err != nil {
			t.Fatal(known, err)
		}
		return l
	}
	admin := b.(store.InboxAdmin)
	list := func() []store.Entry[store.Received] {
		t.Helper()
		all, err := admin.List(t.Context(), 0, 10)
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	for i := range 3 {
		l := add(fmt.Sprint("old ", i), time.Now().Add(-time.Second), time.Hour)
		if err := admin.Drop(t.Context(), list()[0].Seq); err != nil {
			t.Fatal(err)
		}
		if err := b.Ack(t.Context(), l); !errors.Is(err, store.ErrLease) {
			t.Errorf("Ack of what was dropped: %v", err)
		}
	}
	for i := range 5 {
		add(fmt.Sprint(i), time.Now().Add(time.Hour), 0)
	}
	if all := list(); len(all) != 2 || all[0].Item.ID != "3" {
		t.Errorf("%d messages are kept whole", len(all))
	}
}

// The cost of a message must not grow with the queue.
func BenchmarkOutbox(b *testing.B) {
	for _, queued := range []int{0, 100_000} {
		b.Run(fmt.Sprintf("queued=%d", queued), func(b *testing.B) {
			o := store.NewOutbox(store.OutboxConfig{MaxItems: queued + 1, MaxPeerItems: queued + 1, PerPeer: queued + 1})
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

// The cost of a record must not grow with the collection, but for the garbage collector:
// run it with GOGC=off.
func BenchmarkRecords(b *testing.B) {
	for _, stored := range []int{1000, 100_000} {
		b.Run(fmt.Sprintf("stored=%d", stored), func(b *testing.B) {
			s := store.NewRecords(store.RecordsConfig{MaxItems: stored + 1, MaxBytes: 1 << 40})
			for i := range stored {
				r := store.Record{Collection: "c", Key: fmt.Sprint(i), Index: []string{"all"}, Expires: time.Now().Add(time.Hour)}
				if _, err := s.Put(b.Context(), r); err != nil {
					b.Fatal(err)
				}
			}
			for n := 0; b.Loop(); n++ {
				r, err := s.Get(b.Context(), "c", fmt.Sprint(n*7919%stored))
				if err != nil {
					b.Fatal(err)
				}
				if r.Version, err = s.Put(b.Context(), r); err != nil {
					b.Fatal(err)
				}
				page := store.Query{Collection: "c", Index: "all", After: r.Version - uint64(stored/2), N: 20}
				if list, err := s.List(b.Context(), page); err != nil || len(list) != 20 {
					b.Fatal(len(list), err)
				}
			}
		})
	}
}
