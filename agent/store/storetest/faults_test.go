package storetest_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/agent/store/storetest"
)

func enqueue(o store.Outbox, id string) error {
	return o.Enqueue(context.Background(), store.Item{ID: id, To: "did:a", Thread: id, Deadline: time.Now().Add(time.Hour)})
}

// Without faults, a wrapped store works as the store that it wraps.
func TestFaultless(t *testing.T) {
	f := storetest.NewFaults(storetest.FaultConfig{})
	storetest.TestOutbox(t, func(*testing.T) store.Outbox { return f.Outbox(store.NewOutbox(store.OutboxConfig{})) })
	storetest.TestOutboxLimits(t, func(_ *testing.T, cfg store.OutboxConfig) store.Outbox { return f.Outbox(store.NewOutbox(cfg)) })
	storetest.TestInbox(t, func(*testing.T) store.Inbox { return f.Inbox(store.NewInbox(store.InboxConfig{})) })
	storetest.TestRecords(t, func(*testing.T) store.Records { return f.Records(store.NewRecords(store.RecordsConfig{})) })
	storetest.TestStore(t, func(_ *testing.T, cfg store.Config) store.Store { return f.Store(store.New(cfg)) })
}

// A fault makes all of a commit fail: either nothing of it took effect, or all.
func TestFaultsOfCommit(t *testing.T) {
	seen := make(map[bool]int) // failures, by whether they took effect
	inner := store.New(store.Config{})
	s := storetest.NewFaults(storetest.FaultConfig{Seed: 1, Before: 0.3, After: 0.3}).Store(inner)
	for i := range 100 {
		id := fmt.Sprint(i)
		l, _, err := inner.Inbox().Add(t.Context(), store.Received{ID: id}, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		c := &store.Changes{Put: []store.Record{{Collection: "c", Key: id}}, Enqueue: []store.Item{{ID: id}}, Ack: l}
		failed := s.Commit(t.Context(), c)
		_, get := inner.Records().Get(t.Context(), "c", id)
		_, find := inner.Outbox().(store.OutboxAdmin).Get(t.Context(), id)
		ack := inner.Inbox().Ack(t.Context(), l)
		done := get == nil
		if done != (find == nil) || done != errors.Is(ack, store.ErrLease) || failed == nil && !done || failed != nil && !errors.Is(failed, storetest.ErrFault) {
			t.Errorf("Commit: %v; record: %v; item: %v; ack: %v", failed, get, find, ack)
		}
		if told := c.Put[0].Version > 0; told != (failed == nil) {
			t.Errorf("Commit: %v; the version was told: %v", failed, told)
		}
		if failed != nil {
			seen[done]++
		}
	}
	if seen[true] == 0 || seen[false] == 0 {
		t.Errorf("%d commits failed and took effect, %d without", seen[true], seen[false])
	}
}

// Every call on a lease can fail.
func TestFaultsOfLeases(t *testing.T) {
	f := storetest.NewFaults(storetest.FaultConfig{Before: 1})
	outbox, inbox := store.NewOutbox(store.OutboxConfig{}), store.NewInbox(store.InboxConfig{})
	o, b, ctx := f.Outbox(outbox), f.Inbox(inbox), t.Context()
	if err := enqueue(outbox, "1"); err != nil {
		t.Fatal(err)
	}
	sent, err := outbox.Lease(ctx, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	taken, _, err := inbox.Add(ctx, store.Received{ID: "1"}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	_, extend := b.Extend(ctx, taken, time.Hour)
	for what, err := range map[string]error{
		"Outbox.Await": o.Await(ctx, sent), "Outbox.Ack": o.Ack(ctx, sent), "Outbox.Nak": o.Nak(ctx, sent, 0, ""),
		"Outbox.Aside": o.Aside(ctx, sent, 0, ""), "Outbox.Term": o.Term(ctx, sent, ""),
		"Inbox.Extend": extend, "Inbox.Ack": b.Ack(ctx, taken), "Inbox.Nak": b.Nak(ctx, taken, 0, ""), "Inbox.Term": b.Term(ctx, taken, ""),
	} {
		if !errors.Is(err, storetest.ErrFault) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := errors.Join(outbox.Ack(ctx, sent), inbox.Ack(ctx, taken)); err != nil {
		t.Errorf("a call that failed before took effect: %v", err)
	}
}

// Which calls fail, and which of those took effect.
func TestFaults(t *testing.T) {
	for name, test := range map[string]struct {
		cfg    storetest.FaultConfig
		failed bool
		stored bool
	}{
		"none":   {storetest.FaultConfig{}, false, true},
		"before": {storetest.FaultConfig{Before: 1}, true, false},
		"after":  {storetest.FaultConfig{After: 1}, true, true},
		"delay":  {storetest.FaultConfig{Delay: 1, MaxDelay: time.Hour}, false, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				inner := store.NewOutbox(store.OutboxConfig{})
				f := storetest.NewFaults(test.cfg)
				start := time.Now()
				err := enqueue(f.Outbox(inner), "1")
				if errors.Is(err, storetest.ErrFault) != test.failed || f.Count() > 0 != test.failed {
					t.Errorf("error %v, %d faults", err, f.Count())
				}
				if took := time.Since(start); took > 0 != (test.cfg.Delay > 0) {
					t.Errorf("took %v", took)
				}
				if err := enqueue(inner, "1"); errors.Is(err, store.ErrExists) != test.stored {
					t.Errorf("stored is not %v: %v", test.stored, err)
				}
			})
		})
	}
}

// After a crash and before a restart, every call fails, and so does a waiting Lease.
func TestFaultsCrash(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner, inbox := store.NewOutbox(store.OutboxConfig{}), store.NewInbox(store.InboxConfig{})
		mailbox, keys := store.NewMailbox(store.MailboxConfig{}), store.NewSealedKeys()
		records := store.NewRecords(store.RecordsConfig{})
		f := storetest.NewFaults(storetest.FaultConfig{Seed: 1, Crash: 0.1})
		o, b, m, k := f.Outbox(inner), f.Inbox(inbox), f.Mailbox(mailbox), f.Keys(keys)
		r := f.Store(store.Join(inner, inbox, records)).Records()
		ended := make(chan error, 2)
		go func() {
			_, err := b.Lease(t.Context(), time.Minute)
			ended <- err
		}()
		go func() { ended <- m.Wait(t.Context(), "box") }()
		stored, n := 0, 0
		for ; n < 1000; n++ {
			if enqueue(o, fmt.Sprint(n)) != nil {
				break
			}
			stored++
		}
		<-f.Crashed()
		for range cap(ended) {
			if err := <-ended; err == nil {
				t.Error("something came after the crash")
			}
		}
		for i := range 10 {
			if err := enqueue(o, fmt.Sprint("later", i)); !errors.Is(err, storetest.ErrFault) {
				t.Errorf("after the crash: %v", err)
			}
			if _, _, err := b.Add(t.Context(), store.Received{ID: fmt.Sprint(i)}, time.Minute); !errors.Is(err, storetest.ErrFault) {
				t.Errorf("after the crash: %v", err)
			}
			if err := m.Deposit(t.Context(), store.Mail{ID: fmt.Sprint(i)}, "box"); !errors.Is(err, storetest.ErrFault) {
				t.Errorf("after the crash: %v", err)
			}
			_, leased := m.Lease(t.Context(), "box", store.Pick{N: 1}, time.Minute)
			_, acked := m.Ack(t.Context(), "box", "1")
			_, counted := m.Status(t.Context(), "box")
			_, listed := m.Boxes(t.Context(), "", 1)
			_, purged := m.Purge(t.Context(), "box")
			for _, err := range []error{leased, acked, m.Nak(t.Context(), "box"), counted, listed, purged} {
				if !errors.Is(err, storetest.ErrFault) {
					t.Errorf("after the crash: %v", err)
				}
			}
			if err := k.Put(t.Context(), store.SealedKey{KID: fmt.Sprint(i)}); !errors.Is(err, storetest.ErrFault) {
				t.Errorf("after the crash: %v", err)
			}
			if _, err := r.Put(t.Context(), store.Record{Key: fmt.Sprint(i)}); !errors.Is(err, storetest.ErrFault) {
				t.Errorf("after the crash: %v", err)
			}
		}
		if all, err := records.List(t.Context(), store.Query{N: 10}); len(all) > 0 || err != nil {
			t.Errorf("%d records were stored after the crash, %v", len(all), err)
		}
		if all, err := keys.All(t.Context()); len(all) > 0 || err != nil {
			t.Errorf("%d keys were stored after the crash, %v", len(all), err)
		}
		list, err := inner.(store.OutboxAdmin).List(t.Context(), 0, 2000)
		if err != nil || len(list) != stored && len(list) != stored+1 || f.Count() != 1 {
			t.Errorf("%d are stored of %d, and perhaps the one that crashed; %d faults; %v", len(list), stored, f.Count(), err)
		}
		worked := 0
		for i := range 20 {
			f.Restart() // it may crash again
			if enqueue(o, fmt.Sprint("new", i)) == nil {
				worked++
			}
		}
		if worked == 0 {
			t.Error("nothing works after a restart")
		}
	})
}
