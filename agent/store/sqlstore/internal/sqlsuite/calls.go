package sqlsuite

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/agent/store/sqlstore"
)

// testAnyNames: names come from peers, and may be any bytes.
func testAnyNames(t *testing.T, d Database) {
	s := d.Open(t, sqlstore.Config{})
	names := []string{"", "a\x00b", "\xff\xfe", "\x01", "'\"\\%", strings.Repeat("ü", 20_000), strings.Repeat("ü", 20_000) + "x"}
	for i, name := range names {
		it := item(name, name, name)
		it.MessageID, it.From, it.Lane, it.Owner = name, name, name, name
		check(t, "Enqueue", s.Outbox().Enqueue(t.Context(), it), nil)
		check(t, "Enqueue again", s.Outbox().Enqueue(t.Context(), it), store.ErrExists)
		l, err := s.Outbox().Lease(t.Context(), time.Hour)
		if err != nil || fmt.Sprint(l.Item) != fmt.Sprint(it) {
			t.Fatalf("name %d: %.100v, %v", i, l, err)
		}
		check(t, "Nak", s.Outbox().Nak(t.Context(), l, 0, "x"+name), nil)
		l, err = s.Outbox().Lease(t.Context(), time.Hour)
		check(t, "Lease", err, nil)
		check(t, "Ack", s.Outbox().Ack(t.Context(), l), nil)

		m := received(name, name)
		m.To, m.Type, m.Thread, m.Packet.MediaType, m.Owner = name, name, name, name, name
		first, _, err := s.Inbox().Add(t.Context(), m, time.Hour)
		check(t, "Add", err, nil)
		check(t, "Nak", s.Inbox().Nak(t.Context(), first, 0, "x"+name), nil)
		again, err := s.Inbox().Lease(t.Context(), time.Hour)
		if err != nil || fmt.Sprint(again.Item) != fmt.Sprint(m) {
			t.Fatalf("name %d: %.100v, %v", i, again, err)
		}
		check(t, "Term", s.Inbox().Term(t.Context(), again, name), nil)

		p := mail(name)
		p.For, p.Sender, p.Packet.MediaType = name, name, name
		check(t, "Deposit", s.Mailbox().Deposit(t.Context(), p, name), nil)
		all, err := s.Mailbox().Lease(t.Context(), name, store.Pick{N: 10}, time.Hour)
		p.Deliveries = 1
		if err != nil || len(all) != 1 || fmt.Sprint(all[0]) != fmt.Sprint(p) {
			t.Fatalf("name %d: %.100v, %v", i, all, err)
		}
		if s, err := s.Mailbox().Status(t.Context(), name, name); err != nil || s.Count != 1 {
			t.Fatalf("name %d: %+v, %v", i, s, err)
		}
		r := store.Record{Collection: name, Key: name, Value: []byte(name), Index: []string{"x" + name}}
		r.Version, err = s.Records().Put(t.Context(), r)
		check(t, "Put", err, nil)
		found, err := s.Records().List(t.Context(), store.Query{Collection: name, Index: "x" + name, N: 10})
		if err != nil || len(found) != 1 || fmt.Sprint(found[0]) != fmt.Sprint(r) {
			t.Fatalf("name %d: %.100v, %v", i, found, err)
		}
		check(t, "Put", s.SealedKeys().Put(t.Context(), store.SealedKey{KID: name, Sealed: []byte(name)}), nil)
	}
	keys, err := s.SealedKeys().All(t.Context())
	if err != nil || len(keys) != len(names) {
		t.Fatalf("%d keys, %v", len(keys), err)
	}
	for i, k := range keys {
		if k.KID != names[i] || string(k.Sealed) != names[i] {
			t.Errorf("key %d is another", i)
		}
	}
	boxes := map[string]bool{"": true}
	for after := ""; ; {
		list, err := s.Mailbox().Boxes(t.Context(), after, 2)
		check(t, "Boxes", err, nil)
		if len(list) == 0 {
			break
		}
		for _, b := range list {
			after, boxes[b.Box] = b.Box, true
		}
	}
	for i, name := range names {
		if !boxes[name] || len(boxes) != len(names) {
			t.Errorf("box %d is not among the %d boxes", i, len(boxes))
		}
	}
}

// testPartFailsAlone: a Commit that fails in part does not affect the calls that share its
// transaction, and its error holds after the transaction was rolled back.
func testPartFailsAlone(t *testing.T, d Database) {
	const n = 160
	s := d.Open(t, sqlstore.Config{Outbox: store.OutboxConfig{MaxPeerItems: n / 8}})
	ctx := t.Context()
	check(t, "Enqueue", s.Outbox().Enqueue(ctx, item("taken", "did:first", "t")), nil)
	var wg sync.WaitGroup
	done := make(chan string, n)
	for i := range n {
		id := fmt.Sprint(i)
		l, _, err := s.Inbox().Add(ctx, received("did:a", id), time.Hour)
		check(t, "Add", err, nil)
		wg.Go(func() {
			c := &store.Changes{Put: []store.Record{{Collection: "c", Key: id}}, Enqueue: []store.Item{item(id, "did:"+id, "t")}, Ack: l}
			want := error(nil)
			switch i % 4 {
			case 1: // pairs want the same record
				c.Put[0].Key, want = fmt.Sprint("pair ", i/8), store.ErrVersion
			case 2: // there is room for half of them, with two items each
				c.Enqueue = []store.Item{item(id, "did:many", id), item("also "+id, "did:many", "t")}
				want = store.ErrFull
			case 3:
				c.Enqueue[0].ID, want = "taken", store.ErrExists
			}
			err := s.Commit(ctx, c)
			if err == nil {
				done <- id
			} else if !errors.Is(err, want) {
				t.Errorf("Commit %d: %v, want %v", i, err, want)
			}
			// The lease is settled exactly if the commit was done.
			if ack := s.Inbox().Ack(ctx, l); (ack == nil) == (err == nil) {
				t.Errorf("Commit %d: %v, then Ack: %v", i, err, ack)
			}
		})
	}
	wg.Wait()
	close(done)
	counts, items := make(map[int]int), 1
	for id := range done {
		var i int
		fmt.Sscan(id, &i)
		counts[i%4]++
		items++
		if i%4 == 2 {
			items++
		}
	}
	if want := map[int]int{0: n / 4, 1: n / 8, 2: n / 16}; !maps.Equal(counts, want) {
		t.Errorf("so many were done: %v, want %v", counts, want)
	}
	list, err := s.Outbox().(store.OutboxAdmin).List(ctx, 0, 2*n)
	records, err2 := s.Records().List(ctx, store.Query{Collection: "c", N: 2 * n})
	if err != nil || err2 != nil || len(list) != items || len(records) != n/4+n/8+n/16 {
		t.Errorf("%d items, want %d, and %d records; %v, %v", len(list), items, len(records), err, err2)
	}
}

// testOneFailsAlone: calls that fail do not affect the calls that share their transaction.
func testOneFailsAlone(t *testing.T, d Database) {
	const n = 200
	s := d.Open(t, sqlstore.Config{Outbox: store.OutboxConfig{MaxPeerItems: n / 4}})
	check(t, "Enqueue", s.Outbox().Enqueue(t.Context(), item("taken", "did:first", "t")), nil)
	lost := &store.Lease[store.Item]{Item: item("taken", "did:first", "t"), Token: 1}
	var wg sync.WaitGroup
	full := make(chan bool, n)
	for i := range n {
		wg.Go(func() {
			ctx := t.Context()
			switch i % 4 {
			case 0:
				if err := s.Outbox().Enqueue(ctx, item(fmt.Sprint(i), "did:many", fmt.Sprint(i)), item("also "+fmt.Sprint(i), "did:many", "t")); err != nil {
					if !errors.Is(err, store.ErrFull) {
						t.Errorf("Enqueue: %v", err)
					}
					full <- true
				}
			case 1:
				if err := s.Outbox().Enqueue(ctx, item("new "+fmt.Sprint(i), "did:one", "t"), item("taken", "did:one", "t")); !errors.Is(err, store.ErrExists) {
					t.Errorf("Enqueue of a taken ID: %v", err)
				}
			case 2:
				if err := s.Outbox().Ack(ctx, lost); !errors.Is(err, store.ErrLease) {
					t.Errorf("Ack of a lost lease: %v", err)
				}
			case 3:
				if _, _, err := s.Inbox().Add(ctx, received("did:a", fmt.Sprint(i)), time.Hour); err != nil {
					t.Errorf("Add: %v", err)
				}
			}
		})
	}
	wg.Wait()
	list, err := s.Outbox().(store.OutboxAdmin).List(t.Context(), 0, 2*n)
	if err != nil || len(list) != 1+n/4 || len(full) != n/8 {
		t.Errorf("%d items (%v), %d refused", len(list), err, len(full))
	}
}

// testContextEnds: a call whose context has ended does nothing.
func testContextEnds(t *testing.T, d Database) {
	s := d.Open(t, sqlstore.Config{})
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	check(t, "Enqueue", s.Outbox().Enqueue(ended, item("1", "did:a", "t")), context.Canceled)
	_, _, err := s.Inbox().Add(ended, received("did:a", "1"), 0)
	check(t, "Add", err, context.Canceled)
	check(t, "Wait", s.Mailbox().Wait(ended, "box"), context.Canceled)
	if list, err := s.Outbox().(store.OutboxAdmin).List(t.Context(), 0, 10); err != nil || len(list) != 0 {
		t.Errorf("listed %v, %v", list, err)
	}
	// A Lease whose context has ended leases nothing.
	var wg sync.WaitGroup
	for range 20 {
		ctx, cancel := context.WithCancel(t.Context())
		wg.Go(func() {
			if l, err := s.Outbox().Lease(ctx, time.Hour); err == nil {
				if err := s.Outbox().Nak(t.Context(), l, 0, ""); err != nil {
					t.Error(err)
				}
			}
		})
		wg.Go(cancel)
	}
	check(t, "Enqueue", s.Outbox().Enqueue(t.Context(), item("2", "did:a", "t")), nil)
	wg.Wait()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if l, err := s.Outbox().Lease(ctx, time.Hour); err != nil || l.Attempts != 0 {
		t.Errorf("leased %v, %v", l, err)
	}
}

// testClose: Close ends waiting calls, and later calls fail.
func testClose(t *testing.T, d Database) {
	s := d.Open(t, sqlstore.Config{})
	done := make(chan error, 3)
	go func() {
		_, err := s.Outbox().Lease(t.Context(), time.Hour)
		done <- err
	}()
	go func() {
		_, err := s.Inbox().Lease(t.Context(), time.Hour)
		done <- err
	}()
	go func() { done <- s.Mailbox().Wait(t.Context(), "box") }()
	check(t, "Enqueue", s.Outbox().Enqueue(t.Context(), item("1", "did:a", "t")), nil)
	l := <-done // the item's
	check(t, "Lease", l, nil)
	changes := &store.Changes{Put: []store.Record{{Key: "k"}}, Enqueue: []store.Item{item("2", "did:a", "t")}}
	check(t, "Close", s.Close(), nil)
	check(t, "Commit", s.Commit(t.Context(), changes), sqlstore.ErrClosed)
	_, err := s.Records().Put(t.Context(), store.Record{Key: "k"})
	check(t, "Put", err, sqlstore.ErrClosed)
	for range 2 {
		check(t, "waiting", <-done, sqlstore.ErrClosed)
	}
	check(t, "Close again", s.Close(), nil)
	check(t, "Enqueue", s.Outbox().Enqueue(t.Context(), item("2", "did:a", "t")), sqlstore.ErrClosed)
	check(t, "Wait", s.Mailbox().Wait(t.Context(), "box"), sqlstore.ErrClosed)
}
