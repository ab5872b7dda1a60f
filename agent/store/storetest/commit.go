package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/didcomm-go/didcomm/agent/store"
)

// storeTests are the clauses of store.Store, one function each.
var storeTests = map[string]func(t *testing.T, s store.Store){
	"CommitsAll":       testCommitsAll,
	"CommitsSome":      testCommitsSome,
	"CommitsInOrder":   testCommitsInOrder,
	"CommitContext":    testCommitContext,
	"CommitWakesLease": testCommitWakesLease,
	"CommitsAtOnce":    testCommitsAtOnce,
}

// TestStore tests the Commit of an implementation of [store.Store]. Each call of open returns
// an empty store with the limits of cfg. The parts of the store have tests of their own.
func TestStore(t *testing.T, open func(t *testing.T, cfg store.Config) store.Store) {
	for name, test := range storeTests {
		t.Run(name, func(t *testing.T) { test(t, open(t, store.Config{})) })
	}
	for name, fail := range commitFailures {
		t.Run("AllOrNothing/"+name, func(t *testing.T) {
			testAllOrNothing(t, open(t, store.Config{
				Outbox:  store.OutboxConfig{MaxItems: 4, MaxPeerItems: 2, Stranger: store.Share{Items: 1}},
				Records: store.RecordsConfig{MaxItems: 5},
			}), fail.change, fail.want)
		})
	}
}

// commit asserts what Commit returns.
func commit(t *testing.T, what string, s store.Store, c *store.Changes, want error) {
	t.Helper()
	check(t, "Commit of "+what, s.Commit(t.Context(), c), want)
}

func testCommitsAll(t *testing.T, s store.Store) {
	old, kept := put(t, s.Records(), record("c", "old", "name")), put(t, s.Records(), record("c", "kept", "name"))
	m := received("did:a", "1")
	kept.Value = []byte("kept, and changed")
	c := &store.Changes{
		Delete:  []store.Record{{Collection: "c", Key: "old", Version: old.Version}},
		Put:     []store.Record{kept, record("c", "new", "name"), record("d", "new")},
		Enqueue: []store.Item{item("1", "did:a", "t"), item("2", "did:a", "t"), item("3", "did:b", "t")},
		Ack:     add(t, s.Inbox(), m, long),
		Replies: []store.Packet{{MediaType: "x/y", Data: []byte("reply")}, {Data: []byte{0, 255}}},
	}
	commit(t, "all", s, c, nil)
	gone(t, s.Records(), "c", "old")
	last := kept.Version
	for _, r := range c.Put {
		if r.Version <= last {
			t.Errorf("%s has version %d after %d", r.Key, r.Version, last)
		}
		last = r.Version
		get(t, s.Records(), r)
	}
	listed(t, s.Records(), store.Query{Collection: "c", Index: "name", N: 10}, "kept", "new")
	first := lease(t, s.Outbox(), long)
	other := lease(t, s.Outbox(), long)
	if first.Item.ID != "1" || other.Item.ID != "3" || string(first.Item.Direct.Data) != "packet of 1" {
		t.Errorf("leased %v and %v", first.Item, other.Item)
	}
	nothing(t, s.Outbox())
	check(t, "Ack", s.Outbox().Ack(t.Context(), first), nil)
	if second := lease(t, s.Outbox(), long); second.Item.ID != "2" {
		t.Errorf("leased %v", second.Item)
	}
	if k := known(t, s.Inbox(), m, store.Done); len(k.Replies) != 2 || string(k.Replies[0].Data) != "reply" || k.Replies[0].MediaType != "x/y" || string(k.Replies[1].Data) != "\x00\xff" {
		t.Errorf("replies %v", k.Replies)
	}
	check(t, "Ack again", s.Inbox().Ack(t.Context(), c.Ack), store.ErrLease)
	// The versions that Commit has set are valid.
	commit(t, "the same records", s, &store.Changes{Put: c.Put[:1], Delete: c.Put[1:]}, nil)
	listed(t, s.Records(), store.Query{Collection: "c", N: 10}, "kept")
}

// testCommitsSome: each kind of change may be absent.
func testCommitsSome(t *testing.T, s store.Store) {
	commit(t, "nothing", s, new(store.Changes), nil)
	m := received("did:a", "1")
	commit(t, "an Ack", s, &store.Changes{Ack: add(t, s.Inbox(), m, long)}, nil)
	known(t, s.Inbox(), m, store.Done)
	commit(t, "an item", s, &store.Changes{Enqueue: []store.Item{item("1", "did:a", "t")}}, nil)
	check(t, "Ack", s.Outbox().Ack(t.Context(), lease(t, s.Outbox(), long)), nil)
	commit(t, "a record", s, &store.Changes{Put: []store.Record{record("c", "k")}}, nil)
	commit(t, "no record", s, &store.Changes{Delete: []store.Record{record("c", "k")}}, nil)
	gone(t, s.Records(), "c", "k")
	m.ID = "2"
	c := &store.Changes{Enqueue: []store.Item{item("2", "did:a", "t")}, Ack: add(t, s.Inbox(), m, long)}
	commit(t, "an item and an Ack", s, c, nil)
	known(t, s.Inbox(), m, store.Done)
	check(t, "Ack", s.Outbox().Ack(t.Context(), lease(t, s.Outbox(), long)), nil)
}

// testCommitsInOrder: changes count as made in the order of the fields of Changes.
func testCommitsInOrder(t *testing.T, s store.Store) {
	old := put(t, s.Records(), record("c", "k", "old name"))
	anew := &store.Changes{Delete: []store.Record{old}, Put: []store.Record{record("c", "k", "new name")}}
	commit(t, "a record anew", s, anew, nil)
	get(t, s.Records(), anew.Put[0])
	listed(t, s.Records(), store.Query{Collection: "c", Index: "old name", N: 10})
	k := anew.Put[0]
	for what, c := range map[string]struct {
		store.Changes
		want error
	}{
		"a record put twice":            {store.Changes{Put: []store.Record{k, k}}, store.ErrVersion},
		"a new record put twice":        {store.Changes{Put: []store.Record{record("c", "n"), record("c", "n")}}, store.ErrVersion},
		"a record deleted twice":        {store.Changes{Delete: []store.Record{k, k}}, store.ErrNotFound},
		"a record deleted and replaced": {store.Changes{Delete: []store.Record{k}, Put: []store.Record{k}}, store.ErrVersion},
		"a delete that fails first":     {store.Changes{Delete: []store.Record{record("c", "none")}, Put: []store.Record{{Collection: "c", Key: "n", Version: 7}}}, store.ErrNotFound},
		"a put that fails first":        {store.Changes{Put: []store.Record{record("c", "k")}, Enqueue: []store.Item{item("1", "did:a", "t"), item("1", "did:a", "t")}}, store.ErrVersion},
		"an item that fails first":      {store.Changes{Put: []store.Record{record("c", "n")}, Enqueue: []store.Item{item("1", "did:a", "t"), item("1", "did:a", "t")}, Ack: new(store.Lease[store.Received])}, store.ErrExists},
		"a lease that fails":            {store.Changes{Put: []store.Record{record("c", "n")}, Enqueue: []store.Item{item("1", "did:a", "t")}, Ack: new(store.Lease[store.Received])}, store.ErrLease},
	} {
		commit(t, what, s, &c.Changes, c.want)
	}
	get(t, s.Records(), k)
	gone(t, s.Records(), "c", "n")
	nothing(t, s.Outbox())
}

func testCommitContext(t *testing.T, s store.Store) {
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	m := received("did:a", "1")
	c := &store.Changes{Put: []store.Record{record("c", "k")}, Enqueue: []store.Item{item("1", "did:a", "t")}, Ack: add(t, s.Inbox(), m, long)}
	check(t, "Commit", s.Commit(ended, c), context.Canceled)
	gone(t, s.Records(), "c", "k")
	nothing(t, s.Outbox())
	known(t, s.Inbox(), m, store.Leased)
}

// testCommitWakesLease: a Lease that waits gets an item that is committed, and no other.
func testCommitWakesLease(t *testing.T, s store.Store) {
	got := make(chan *store.Lease[store.Item], 1)
	go func() {
		l, err := s.Outbox().Lease(t.Context(), long)
		if err != nil {
			t.Errorf("Lease: %v", err)
		}
		got <- l
	}()
	k := put(t, s.Records(), record("c", "k"))
	commit(t, "a former record", s, &store.Changes{Put: []store.Record{record("c", "k")}, Enqueue: []store.Item{item("none", "did:a", "t")}}, store.ErrVersion)
	commit(t, "an item", s, &store.Changes{Put: []store.Record{k}, Enqueue: []store.Item{item("1", "did:a", "t")}}, nil)
	select {
	case l := <-got:
		if l == nil || l.Item.ID != "1" {
			t.Errorf("leased %v", l)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("nobody woke it")
	}
}

// commitFailures are the ways in which a part of Changes can fail. change makes changes fail
// that would succeed. The store has four records, of at most five, among them "old" in
// collection c and "1" in collection d. It has one item for did:full, of at most two, with
// the ID "taken".
var commitFailures = map[string]struct {
	change func(t *testing.T, s store.Store, c *store.Changes)
	want   error
}{
	"PutFormer": {func(t *testing.T, s store.Store, c *store.Changes) {
		old, err := s.Records().Get(t.Context(), "c", "old")
		check(t, "Get", err, nil)
		put(t, s.Records(), old)
		c.Put = append(c.Put, old)
	}, store.ErrVersion},
	"PutKnown": {func(_ *testing.T, _ store.Store, c *store.Changes) {
		c.Put = append(c.Put, record("c", "old"))
	}, store.ErrVersion},
	"PutGone": {func(t *testing.T, s store.Store, c *store.Changes) {
		old, err := s.Records().Get(t.Context(), "c", "old")
		check(t, "Get", err, nil)
		check(t, "Delete", s.Records().Delete(t.Context(), "c", "old", 0), nil)
		c.Put = append(c.Put, old)
	}, store.ErrVersion},
	"PutExpired": {func(t *testing.T, s store.Store, c *store.Changes) {
		old, err := s.Records().Get(t.Context(), "c", "old")
		check(t, "Get", err, nil)
		old.Expires = time.Now().Add(-time.Second)
		c.Put = append(c.Put, put(t, s.Records(), old))
	}, store.ErrVersion},
	"PutManyNames": {func(_ *testing.T, _ store.Store, c *store.Changes) {
		c.Put = append(c.Put, record("c", "names", "1", "2", "3", "4", "5", "6", "7", "8", "9"))
	}, store.ErrIndex},
	"PutAboveLimit": {func(_ *testing.T, _ store.Store, c *store.Changes) {
		r := record("d", "2")
		r.Limit = 1
		c.Put = append(c.Put, r)
	}, store.ErrFull},
	"EnqueueOfFullClass": {func(_ *testing.T, _ store.Store, c *store.Changes) {
		for i := range 2 {
			c.Enqueue = append(c.Enqueue, classed(fmt.Sprint("stranger ", i), fmt.Sprint("did:", i), store.ClassStranger))
		}
	}, store.ErrFull},
	"PutTooMany": {func(_ *testing.T, _ store.Store, c *store.Changes) {
		c.Put = append(c.Put, record("e", "1"), record("e", "2"))
	}, store.ErrFull},
	"DeleteGone": {func(_ *testing.T, _ store.Store, c *store.Changes) {
		c.Delete = append(c.Delete, record("c", "none"))
	}, store.ErrNotFound},
	"DeleteFormer": {func(t *testing.T, s store.Store, c *store.Changes) {
		old, err := s.Records().Get(t.Context(), "c", "old")
		check(t, "Get", err, nil)
		put(t, s.Records(), old)
		c.Delete = append(c.Delete, old)
	}, store.ErrVersion},
	"EnqueueTaken": {func(_ *testing.T, _ store.Store, c *store.Changes) {
		c.Enqueue = append(c.Enqueue, item("taken", "did:new", "t"))
	}, store.ErrExists},
	"EnqueueTwice": {func(_ *testing.T, _ store.Store, c *store.Changes) {
		c.Enqueue = append(c.Enqueue, item("twice", "did:new", "t"), item("twice", "did:other", "t"))
	}, store.ErrExists},
	"EnqueueTooMany": {func(_ *testing.T, _ store.Store, c *store.Changes) {
		c.Enqueue = append(c.Enqueue, item("2", "did:new", "t"), item("3", "did:newer", "t"), item("4", "did:newest", "t"))
	}, store.ErrFull},
	"EnqueueTooManyForOne": {func(_ *testing.T, _ store.Store, c *store.Changes) {
		c.Enqueue = append(c.Enqueue, item("2", "did:full", "t"), item("3", "did:full", "t"))
	}, store.ErrFull},
	"AckLost": {func(t *testing.T, s store.Store, c *store.Changes) {
		lost := *c.Ack
		lost.Token++
		c.Ack = &lost
	}, store.ErrLease},
	"AckNever": {func(t *testing.T, s store.Store, c *store.Changes) {
		c.Ack = &store.Lease[store.Received]{Item: c.Ack.Item}
	}, store.ErrLease},
	"AckUnknown": {func(t *testing.T, s store.Store, c *store.Changes) {
		c.Ack = &store.Lease[store.Received]{Item: received("did:a", "unknown"), Token: c.Ack.Token + 1}
	}, store.ErrLease},
	"AckDone": {func(t *testing.T, s store.Store, c *store.Changes) {
		c.Ack = add(t, s.Inbox(), received("did:a", "done"), long)
		check(t, "Ack", s.Inbox().Ack(t.Context(), c.Ack), nil)
	}, store.ErrLease},
	"AckGivenBack": {func(t *testing.T, s store.Store, c *store.Changes) {
		c.Ack = add(t, s.Inbox(), received("did:a", "back"), long)
		check(t, "Nak", s.Inbox().Nak(t.Context(), c.Ack, long, "busy"), nil)
	}, store.ErrLease},
	"AckTooLate": {func(t *testing.T, s store.Store, c *store.Changes) {
		c.Ack = add(t, s.Inbox(), received("did:a", "late"), time.Nanosecond)
	}, store.ErrLease},
}

// testAllOrNothing: if one part of the changes fails, no other part is done.
func testAllOrNothing(t *testing.T, s store.Store, change func(*testing.T, store.Store, *store.Changes), want error) {
	ctx, records := t.Context(), s.Records()
	put(t, records, record("c", "old"))
	changed, deleted := put(t, records, record("c", "changed", "name")), put(t, records, record("d", "deleted", "name"))
	put(t, records, record("d", "1"))
	enqueue(t, s.Outbox(), item("taken", "did:full", "t"))
	taken := lease(t, s.Outbox(), long)
	m := received("did:a", "1")
	held := add(t, s.Inbox(), m, long)
	again := changed
	again.Value, again.Index = []byte("changed"), []string{"new name"}
	good := store.Changes{
		Delete:  []store.Record{deleted},
		Put:     []store.Record{again, record("c", "new", "new name")},
		Enqueue: []store.Item{item("1", "did:b", "t")},
		Ack:     held,
		Replies: []store.Packet{{Data: []byte("reply")}},
	}
	bad := good
	change(t, s, &bad)
	for range 2 { // the second attempt would find changes of the first
		commit(t, "what fails", s, &bad, want)
	}
	get(t, records, changed)
	get(t, records, deleted)
	gone(t, records, "c", "new")
	listed(t, records, store.Query{Collection: "c", Index: "name", N: 10}, "changed")
	listed(t, records, store.Query{Collection: "c", Index: "new name", N: 10})
	nothing(t, s.Outbox())
	if bad.Put[0].Version != changed.Version || bad.Put[1].Version != 0 {
		t.Errorf("versions were set: %d, %d", bad.Put[0].Version, bad.Put[1].Version)
	}
	known(t, s.Inbox(), m, store.Leased)
	// The failed changes take no room.
	commit(t, "the rest", s, &good, nil)
	get(t, records, good.Put[0])
	gone(t, records, "d", "deleted")
	known(t, s.Inbox(), m, store.Done)
	check(t, "Ack", s.Outbox().Ack(ctx, lease(t, s.Outbox(), long)), nil)
	check(t, "Ack", s.Outbox().Ack(ctx, taken), nil)
	enqueue(t, s.Outbox(), item("2", "did:full", "t"), item("3", "did:full", "t"))
}

// testCommitsAtOnce: many handlers count in one record at the same time, each for a
// message of its own, and answer with the number. Each message is counted once and has
// one answer, however the handlers collide with each other and with other calls.
func testCommitsAtOnce(t *testing.T, s store.Store) {
	const handlers, others = 24, 24
	put(t, s.Records(), store.Record{Collection: "c", Key: "count", Value: []byte("0")})
	var wg sync.WaitGroup
	for i := range handlers {
		wg.Go(func() {
			m := received("did:a", fmt.Sprint(i))
			l, _, err := s.Inbox().Add(t.Context(), m, long)
			for err == nil {
				var r store.Record
				if r, err = s.Records().Get(t.Context(), "c", "count"); err != nil {
					break
				}
				var n int
				if _, err = fmt.Sscan(string(r.Value), &n); err != nil {
					break
				}
				r.Value = fmt.Append(nil, n+1)
				err = s.Commit(t.Context(), &store.Changes{
					Put:     []store.Record{r, {Collection: "answers", Key: fmt.Sprint(n + 1), Value: []byte(m.ID)}},
					Enqueue: []store.Item{item(fmt.Sprint("answer ", n+1), "did:"+m.ID, "t")},
					Ack:     l,
				})
				if err == nil {
					return
				}
				if errors.Is(err, store.ErrVersion) {
					err = nil
				}
			}
			t.Errorf("message %s: %v", m.ID, err)
		})
	}
	for i := range others {
		wg.Go(func() {
			id := fmt.Sprint("other ", i)
			if err := s.Outbox().Enqueue(t.Context(), item(id, "did:"+id, "t")); err != nil {
				t.Errorf("Enqueue: %v", err)
			}
			_, err := s.Records().Put(t.Context(), record("others", id))
			if err != nil {
				t.Errorf("Put: %v", err)
			}
			if err := putAgain(s.Records(), record("others", id)); !errors.Is(err, store.ErrVersion) {
				t.Errorf("Put again: %v", err)
			}
		})
	}
	wg.Wait()
	r, err := s.Records().Get(t.Context(), "c", "count")
	if err != nil || string(r.Value) != fmt.Sprint(handlers) {
		t.Errorf("counted %s, %v, want %d", r.Value, err, handlers)
	}
	answers, err := s.Records().List(t.Context(), store.Query{Collection: "answers", N: 2 * handlers})
	to := make(map[string]string)
	for i, a := range answers {
		if a.Key != fmt.Sprint(i+1) {
			t.Errorf("answer %d is %s", i+1, a.Key)
		}
		to["answer "+a.Key] = "did:" + string(a.Value)
		known(t, s.Inbox(), received("did:a", string(a.Value)), store.Done)
	}
	if err != nil || len(to) != handlers {
		t.Errorf("%d answers, %v, want %d", len(to), err, handlers)
	}
	for range handlers + others {
		it := lease(t, s.Outbox(), long).Item
		if want, ok := to[it.ID]; ok && it.To != want {
			t.Errorf("%s goes to %s, want %s", it.ID, it.To, want)
		}
		delete(to, it.ID)
	}
	nothing(t, s.Outbox())
	if len(to) > 0 {
		t.Errorf("answers without an item: %v", to)
	}
	if list, err := s.Records().List(t.Context(), store.Query{Collection: "others", N: 2 * others}); err != nil || len(list) != others {
		t.Errorf("%d others, %v, want %d", len(list), err, others)
	}
}
