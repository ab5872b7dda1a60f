package sqlsuite

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/agent/store/sqlstore"
)

// testDeadProcess: items that a dead process had leased are due when the leases run out, or
// earlier if the back end has heartbeats.
func testDeadProcess(t *testing.T, d Database) {
	a, b := d.Open(t, sqlstore.Config{}), d.Open(t, sqlstore.Config{})
	check(t, "Enqueue", a.Outbox().Enqueue(t.Context(), item("1", "did:a", "t")), nil)
	if _, err := a.Outbox().Lease(t.Context(), 50*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	if _, _, err := a.Inbox().Add(t.Context(), received("did:a", "1"), 50*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	check(t, "Close", a.Close(), nil)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if l, err := b.Outbox().Lease(ctx, time.Hour); err != nil || l.Attempts != 1 {
		t.Errorf("leased %v, %v", l, err)
	}
	if l, err := b.Inbox().Lease(ctx, time.Hour); err != nil || l.Attempts != 1 {
		t.Errorf("leased %v, %v", l, err)
	}
}

// testSharedOutbox: of two processes that share an outbox, exactly one gets each item. The
// items of a lane are leased in order, whichever process has queued them.
func testSharedOutbox(t *testing.T, d Database) {
	const items, lanes, workers = 300, 12, 3
	stores := []*sqlstore.Store{d.Open(t, sqlstore.Config{}), d.Open(t, sqlstore.Config{})}
	type got struct{ lane, n int }
	out := make(chan got)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	for _, s := range stores {
		for range workers {
			wg.Go(func() {
				for {
					l, err := s.Outbox().Lease(ctx, time.Hour)
					if err != nil {
						return
					}
					var g got
					if _, err := fmt.Sscan(l.Item.ID, &g.lane, &g.n); err != nil {
						t.Error(err)
					}
					select {
					case out <- g:
					case <-ctx.Done():
						return
					}
					if err := s.Outbox().Ack(ctx, l); err != nil && ctx.Err() == nil {
						t.Errorf("Ack %s: %v", l.Item.ID, err)
					}
				}
			})
		}
	}
	for lane := range lanes {
		wg.Go(func() {
			for n := range items / lanes {
				it := item(fmt.Sprint(lane, " ", n), fmt.Sprint("did:", lane%3), fmt.Sprint(lane))
				if err := stores[n%2].Outbox().Enqueue(t.Context(), it); err != nil {
					t.Errorf("Enqueue: %v", err)
				}
			}
		})
	}
	next := make(map[int]int)
	for range items {
		select {
		case g := <-out:
			if g.n != next[g.lane] {
				t.Fatalf("lane %d: item %d, want %d", g.lane, g.n, next[g.lane])
			}
			next[g.lane]++
		case <-time.After(time.Minute):
			t.Fatalf("so many of each lane came out: %v", next)
		}
	}
}

// testSharedInbox: a message that two processes add at the same time is new to one of them.
func testSharedInbox(t *testing.T, d Database) {
	const messages = 100
	stores := []*sqlstore.Store{d.Open(t, sqlstore.Config{}), d.Open(t, sqlstore.Config{})}
	var mu sync.Mutex
	won := make(map[string]int)
	var wg sync.WaitGroup
	for _, s := range stores {
		for i := range messages {
			wg.Go(func() {
				id := fmt.Sprint(i)
				l, known, err := s.Inbox().Add(t.Context(), received("did:a", id), time.Hour)
				if err != nil || (l == nil) == (known == nil) {
					t.Errorf("Add = %v, %v, %v", l, known, err)
				}
				if l != nil {
					mu.Lock()
					won[id]++
					mu.Unlock()
				}
			})
		}
	}
	wg.Wait()
	for i := range messages {
		if n := won[fmt.Sprint(i)]; n != 1 {
			t.Errorf("message %d was new to %d", i, n)
		}
	}
}

// testSharedRecords: several processes change one record. Each change is made once, with
// everything that its Commit has.
func testSharedRecords(t *testing.T, d Database) {
	const writers, rounds = 4, 10
	stores := []*sqlstore.Store{d.Open(t, sqlstore.Config{}), d.Open(t, sqlstore.Config{}), d.Open(t, sqlstore.Config{})}
	var wg sync.WaitGroup
	for i, s := range stores {
		for k := range writers {
			wg.Go(func() {
				for n := 0; n < rounds; {
					r, err := s.Records().Get(t.Context(), "c", "count")
					if err != nil && !errors.Is(err, store.ErrNotFound) {
						t.Errorf("Get: %v", err)
						return
					}
					r.Collection, r.Key, r.Value = "c", "count", append(r.Value, 'x')
					id := fmt.Sprint(i, " ", k, " ", n)
					c := &store.Changes{
						Put:     []store.Record{r, {Collection: "numbers", Key: fmt.Sprint(len(r.Value)), Index: []string{"all"}, Limit: 1000}},
						Enqueue: []store.Item{item(id, "did:a", "t")},
					}
					switch err := s.Commit(t.Context(), c); {
					case err == nil:
						if c.Put[0].Version <= r.Version {
							t.Errorf("version %d after %d", c.Put[0].Version, r.Version)
						}
						n++
					case !errors.Is(err, store.ErrVersion):
						t.Errorf("Commit: %v", err)
						return
					}
				}
			})
		}
	}
	wg.Wait()
	const all = writers * rounds * 3
	r, err := stores[0].Records().Get(t.Context(), "c", "count")
	if err != nil || len(r.Value) != all {
		t.Errorf("counted %d, %v, want %d", len(r.Value), err, all)
	}
	numbers, err := stores[1].Records().List(t.Context(), store.Query{Collection: "numbers", Index: "all", N: 2 * all})
	if err != nil || len(numbers) != all {
		t.Errorf("%d numbers, %v, want %d", len(numbers), err, all)
	}
	items, err := stores[2].Outbox().(store.OutboxAdmin).List(t.Context(), 0, 2*all)
	if err != nil || len(items) != all {
		t.Errorf("%d items, %v, want %d", len(items), err, all)
	}
	_, err = stores[2].Records().Put(t.Context(), store.Record{Collection: "numbers", Key: "more", Limit: all})
	check(t, "Put", err, store.ErrFull)
}

// testSharedKeys: several processes put keys at the same time, and all see the keys in the
// same order.
func testSharedKeys(t *testing.T, d Database) {
	const rounds = 25
	stores := []*sqlstore.Store{d.Open(t, sqlstore.Config{}), d.Open(t, sqlstore.Config{}), d.Open(t, sqlstore.Config{})}
	check(t, "SetWrapping", stores[0].SealedKeys().SetWrapping(t.Context(), nil, []byte("w")), nil)
	list := func(k *sqlstore.SealedKeys) []string {
		all, err := k.All(t.Context())
		if err != nil {
			t.Error(err)
		}
		kids := make([]string, len(all))
		for i, key := range all {
			kids[i] = key.KID
		}
		return kids
	}
	seen := make([][][]string, len(stores))
	var wg sync.WaitGroup
	for i, s := range stores {
		wg.Go(func() {
			for n := range rounds {
				k := s.SealedKeys()
				check(t, "Put", k.Put(t.Context(), store.SealedKey{KID: fmt.Sprint(i, "/", n)}), nil)
				seen[i] = append(seen[i], list(k))
			}
		})
	}
	wg.Wait()
	all := list(stores[0].SealedKeys())
	for i := range stores {
		for n, before := range seen[i] {
			if !slices.Equal(before, all[:len(before)]) {
				t.Fatalf("process %d saw after key %d:\n%q\nin the end it is\n%q", i, n, before, all)
			}
		}
	}
}

// testWakesOthers: a change by one process wakes a waiting call in another. If the back end
// has notices, the call wakes before it would poll. In the first rounds the call may not
// wait yet, or the notices may not be received yet.
func testWakesOthers(t *testing.T, d Database) {
	const rounds = 10
	a, b := d.Open(t, sqlstore.Config{Fallback: time.Hour}), d.Open(t, sqlstore.Config{})
	for i := range rounds {
		id, box := fmt.Sprint(i), fmt.Sprint("did:box:", i)
		done := make(chan error, 3)
		go func() {
			_, err := a.Outbox().Lease(t.Context(), time.Hour)
			done <- err
		}()
		go func() {
			_, err := a.Inbox().Lease(t.Context(), time.Hour)
			done <- err
		}()
		go func() { done <- a.Mailbox().Wait(t.Context(), box) }()
		l, _, err := b.Inbox().Add(t.Context(), received("did:a", id), time.Hour)
		check(t, "Add", err, nil)
		check(t, "Nak", b.Inbox().Nak(t.Context(), l, 0, "busy"), nil)
		commit := &store.Changes{Put: []store.Record{{Key: id}}, Enqueue: []store.Item{item(id, "did:"+id, id)}}
		check(t, "Commit", b.Commit(t.Context(), commit), nil)
		check(t, "Deposit", b.Mailbox().Deposit(t.Context(), store.Mail{ID: id}, box), nil)
		for range cap(done) {
			select {
			case err := <-done:
				check(t, "waiting", err, nil)
			case <-time.After(30 * time.Second):
				t.Fatalf("round %d: nobody woke it", i)
			}
		}
	}
}

// testLeaseWakesOthers: a waiting Lease wakes when another process ends a lease early, or
// calls Await so that another item can be leased.
func testLeaseWakesOthers(t *testing.T, d Database) {
	const rounds = 5
	cfg := sqlstore.Config{Outbox: store.OutboxConfig{PerPeer: 1}, Fallback: time.Hour}
	a, b := d.Open(t, cfg), d.Open(t, cfg)
	for i := range rounds {
		to := fmt.Sprint("did:", i)
		check(t, "Enqueue", b.Outbox().Enqueue(t.Context(), item(to+" 1", to, "1"), item(to+" 2", to, "2")), nil)
		sent, err := b.Outbox().Lease(t.Context(), time.Hour)
		check(t, "Lease", err, nil)
		taken, _, err := b.Inbox().Add(t.Context(), received(to, "1"), time.Hour)
		check(t, "Add", err, nil)
		done := make(chan error, 2)
		go func() {
			_, err := a.Outbox().Lease(t.Context(), time.Hour)
			done <- err
		}()
		go func() {
			_, err := a.Inbox().Lease(t.Context(), time.Hour)
			done <- err
		}()
		check(t, "Await", b.Outbox().Await(t.Context(), sent), nil)
		_, err = b.Inbox().Extend(t.Context(), taken, time.Millisecond)
		check(t, "Extend", err, nil)
		for range cap(done) {
			select {
			case err := <-done:
				check(t, "waiting", err, nil)
			case <-time.After(30 * time.Second):
				t.Fatalf("round %d: nobody woke it", i)
			}
		}
	}
}
