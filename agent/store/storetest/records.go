package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/didcomm-go/didcomm/agent/store"
)

// recordsTests are the clauses of store.Records, one function each.
var recordsTests = map[string]func(t *testing.T, r store.Records){
	"KeepsRecord":           testKeepsRecord,
	"AnyNamesAndValues":     testAnyNamesAndValues,
	"PutComparesVersion":    testPutComparesVersion,
	"VersionsGrow":          testVersionsGrow,
	"DeleteComparesVersion": testDeleteComparesVersion,
	"OnePutWins":            testOnePutWins,
	"OneEndsIt":             testOneEndsIt,
	"ListInOrderOfPut":      testListInOrderOfPut,
	"ListByIndex":           testListByIndex,
	"ListInPages":           testListInPages,
	"ListWhileChanged":      testListWhileChanged,
	"MaxIndex":              testMaxIndex,
	"Expired":               testExpired,
	"Expires":               testExpires,
	"Limit":                 testLimit,
	"LimitHoldsAtOnce":      testLimitHoldsAtOnce,
	"RecordsContext":        testRecordsContext,
}

// TestRecords tests an implementation of [store.Records]. Each call of open returns an empty
// one.
func TestRecords(t *testing.T, open func(t *testing.T) store.Records) {
	for name, test := range recordsTests {
		t.Run(name, func(t *testing.T) { test(t, open(t)) })
	}
	for seed := range uint64(4) {
		t.Run(fmt.Sprint("AnyCalls/", seed), func(t *testing.T) { testAnyRecordCalls(t, open(t), seed) })
	}
}

// TestRecordsLimits tests the limits of records. Each call of open returns empty records with
// the limits of cfg.
func TestRecordsLimits(t *testing.T, open func(t *testing.T, cfg store.RecordsConfig) store.Records) {
	t.Run("MaxItems", func(t *testing.T) { testMaxRecords(t, open(t, store.RecordsConfig{MaxItems: 3})) })
	t.Run("MaxBytes", func(t *testing.T) { testMaxRecordBytes(t, open(t, store.RecordsConfig{MaxBytes: 100})) })
	t.Run("ExpiredMakeRoom", func(t *testing.T) { testExpiredMakeRoom(t, open(t, store.RecordsConfig{MaxItems: 300})) })
}

// record is a new record with a value made from the key.
func record(collection, key string, index ...string) store.Record {
	return store.Record{Collection: collection, Key: key, Value: []byte("value of " + key), Index: index}
}

// put stores a record and returns it as it is stored.
func put(t *testing.T, s store.Records, r store.Record) store.Record {
	t.Helper()
	version, err := s.Put(t.Context(), r)
	if err != nil || version == 0 {
		t.Fatalf("Put(%.20q, %.20q) of version %d = %d, %v", r.Collection, r.Key, r.Version, version, err)
	}
	r.Version, r.Limit = version, 0
	return r
}

// get asserts that want is stored under its name.
func get(t *testing.T, s store.Records, want store.Record) {
	t.Helper()
	got, err := s.Get(t.Context(), want.Collection, want.Key)
	if err != nil || !same(got, want) {
		t.Fatalf("Get(%.20q, %.20q) = %.300v, %v\n  want %.300v", want.Collection, want.Key, got, err, want)
	}
}

func gone(t *testing.T, s store.Records, collection, key string) {
	t.Helper()
	if got, err := s.Get(t.Context(), collection, key); !errors.Is(err, store.ErrNotFound) {
		t.Fatalf("Get(%.20q, %.20q) = %.300v, %v, want %v", collection, key, got, err, store.ErrNotFound)
	}
}

func same(a, b store.Record) bool {
	return a.Collection == b.Collection && a.Key == b.Key && a.Version == b.Version && a.Limit == b.Limit &&
		bytes.Equal(a.Value, b.Value) && slices.Equal(a.Index, b.Index) && a.Expires.Equal(b.Expires)
}

// listed asserts the keys that a query lists.
func listed(t *testing.T, s store.Records, q store.Query, want ...string) []store.Record {
	t.Helper()
	list, err := s.List(t.Context(), q)
	var got []string
	for _, r := range list {
		got = append(got, r.Key)
	}
	if err != nil || !slices.Equal(got, want) {
		t.Fatalf("List(%.100v) = %.100q, %v, want %.100q", q, got, err, want)
	}
	return list
}

func putAgain(s store.Records, r store.Record) error {
	_, err := s.Put(context.Background(), r)
	return err
}

func testKeepsRecord(t *testing.T, s store.Records) {
	r := record("c", "k", "b", "a")
	r.Expires, r.Limit = time.Now().Add(long).Truncate(time.Second), 10
	r = put(t, s, r)
	get(t, s, r)
	list := listed(t, s, store.Query{Collection: "c", N: 10}, "k")
	if !same(list[0], r) {
		t.Errorf("listed %v, want %v", list[0], r)
	}
	// The store shares no memory with its callers.
	given := []byte("given")
	r.Value, r.Index = given, []string{"x"}
	r = put(t, s, r)
	given[0], r.Index[0] = 'X', "y"
	r.Value, r.Index = []byte("given"), []string{"x"}
	get(t, s, r)
	got, err := s.Get(t.Context(), "c", "k")
	check(t, "Get", err, nil)
	got.Value[0], got.Index[0] = 'X', "y"
	get(t, s, r)
	r.Value, r.Index, r.Expires = nil, nil, time.Time{}
	get(t, s, put(t, s, r))
}

func testAnyNamesAndValues(t *testing.T, s store.Records) {
	names := []string{"", "k", "K", "k ", "a\x00b", "\x00", "\xff\xfe", "\x01", "'\"\\%_", "ü", strings.Repeat("ü", 1<<15), strings.Repeat("ü", 1<<15) + "x"}
	var all []store.Record
	for _, name := range names {
		r := record(name, name, name, "also "+name)
		r.Value = []byte(name)
		r = put(t, s, r)
		if name == "" {
			r.Index = r.Index[1:] // an empty name is none
		}
		all = append(all, r)
		check(t, "Put again", putAgain(s, record(name, name)), store.ErrVersion)
		r = put(t, s, record("c", name, name))
		if name == "" {
			r.Index = nil
		}
		all = append(all, r)
	}
	// Different pairs of collection and key are different records.
	all = append(all, put(t, s, record("ka", "b")), put(t, s, record("k", "ab")), put(t, s, record("", "kab")))
	for _, r := range all {
		get(t, s, r)
		for _, name := range r.Index {
			listed(t, s, store.Query{Collection: r.Collection, Index: name, N: 100}, r.Key)
		}
	}
	listed(t, s, store.Query{Collection: "c", N: 100}, names...)
	for _, r := range all {
		check(t, "Delete", s.Delete(t.Context(), r.Collection, r.Key, r.Version), nil)
		gone(t, s, r.Collection, r.Key)
	}
	big := record("c", "big")
	big.Value = bytes.Repeat([]byte{0, 255}, 1<<20)
	get(t, s, put(t, s, big))
}

func testPutComparesVersion(t *testing.T, s store.Records) {
	first := put(t, s, record("c", "k"))
	second := first
	second.Value = []byte("second")
	second = put(t, s, second)
	other := put(t, s, record("c", "other"))
	for what, version := range map[string]uint64{
		"none": 0, "a former": first.Version, "that of another record": other.Version, "a later": second.Version + 1, "the highest": 1<<64 - 1,
	} {
		r := second
		r.Version = version
		check(t, "Put with "+what+" version", putAgain(s, r), store.ErrVersion)
		r.Key = "absent"
		if version != 0 {
			check(t, "Put of an absent record with "+what+" version", putAgain(s, r), store.ErrVersion)
		}
	}
	get(t, s, second)
	gone(t, s, "c", "absent")
	check(t, "Delete", s.Delete(t.Context(), "c", "k", 0), nil)
	check(t, "Put of what is gone", putAgain(s, second), store.ErrVersion)
	again := put(t, s, record("c", "k"))
	check(t, "Put of what was gone", putAgain(s, second), store.ErrVersion)
	get(t, s, again)
}

func testVersionsGrow(t *testing.T, s store.Records) {
	last := uint64(0)
	for i := range 20 {
		r := record("c", fmt.Sprint(i%3))
		if i >= 3 {
			old, err := s.Get(t.Context(), "c", r.Key)
			check(t, "Get", err, nil)
			r.Version = old.Version
		}
		if i%2 == 1 && i >= 3 { // a new record, too, has a higher version
			check(t, "Delete", s.Delete(t.Context(), "c", r.Key, r.Version), nil)
			r.Version = 0
		}
		if r = put(t, s, r); r.Version <= last {
			t.Fatalf("version %d after %d", r.Version, last)
		}
		last = r.Version
	}
}

func testDeleteComparesVersion(t *testing.T, s store.Records) {
	ctx := t.Context()
	check(t, "Delete of none", s.Delete(ctx, "c", "k", 0), store.ErrNotFound)
	check(t, "Delete of none with a version", s.Delete(ctx, "c", "k", 7), store.ErrNotFound)
	first := put(t, s, record("c", "k", "name"))
	second := put(t, s, first)
	check(t, "Delete of a former version", s.Delete(ctx, "c", "k", first.Version), store.ErrVersion)
	check(t, "Delete of a later version", s.Delete(ctx, "c", "k", second.Version+1), store.ErrVersion)
	check(t, "Delete in another collection", s.Delete(ctx, "d", "k", second.Version), store.ErrNotFound)
	get(t, s, second)
	check(t, "Delete", s.Delete(ctx, "c", "k", second.Version), nil)
	gone(t, s, "c", "k")
	listed(t, s, store.Query{Collection: "c", N: 10})
	listed(t, s, store.Query{Collection: "c", Index: "name", N: 10})
	put(t, s, record("c", "k"))
	check(t, "Delete of any version", s.Delete(ctx, "c", "k", 0), nil)
	gone(t, s, "c", "k")
}

// testOnePutWins: of many calls that replace one version at the same time, one succeeds.
func testOnePutWins(t *testing.T, s store.Records) {
	const rounds, writers = 10, 16
	r := record("c", "k")
	for range rounds {
		won := make(chan store.Record, writers)
		var wg sync.WaitGroup
		for i := range writers {
			wg.Go(func() {
				mine := r
				mine.Value = []byte(fmt.Sprint("writer ", i))
				version, err := s.Put(t.Context(), mine)
				switch {
				case err == nil:
					mine.Version = version
					won <- mine
				case !errors.Is(err, store.ErrVersion):
					t.Errorf("Put: %v", err)
				}
			})
		}
		wg.Wait()
		if len(won) != 1 {
			t.Fatalf("%d have put version %d", len(won), r.Version)
		}
		r = <-won
		get(t, s, r)
	}
}

// testOneEndsIt: of many calls that delete or replace one version at the same time, exactly
// one succeeds.
func testOneEndsIt(t *testing.T, s store.Records) {
	for range 10 {
		r := put(t, s, record("c", "k", "name"))
		ended := make(chan string, 16)
		var wg sync.WaitGroup
		for i := range cap(ended) {
			wg.Go(func() {
				what, err := "Put", error(nil)
				if i%2 == 0 {
					err = putAgain(s, r)
				} else {
					what, err = "Delete", s.Delete(t.Context(), "c", "k", r.Version)
				}
				switch {
				case err == nil:
					ended <- what
				case !errors.Is(err, store.ErrVersion) && (what == "Put" || !errors.Is(err, store.ErrNotFound)):
					t.Errorf("%s: %v", what, err)
				}
			})
		}
		wg.Wait()
		if len(ended) != 1 {
			t.Fatalf("%d calls have ended version %d", len(ended), r.Version)
		}
		if <-ended == "Put" {
			listed(t, s, store.Query{Collection: "c", Index: "name", N: 10}, "k")
			check(t, "Delete", s.Delete(t.Context(), "c", "k", 0), nil)
		}
		gone(t, s, "c", "k")
		listed(t, s, store.Query{Collection: "c", Index: "name", N: 10})
	}
}

func testListInOrderOfPut(t *testing.T, s store.Records) {
	all := store.Query{Collection: "c", N: 10}
	listed(t, s, all)
	b := put(t, s, record("c", "b"))
	put(t, s, record("c", "a"))
	put(t, s, record("d", "x"))
	put(t, s, record("c", "c"))
	listed(t, s, all, "b", "a", "c")
	put(t, s, b)
	listed(t, s, all, "a", "c", "b")
	check(t, "Delete", s.Delete(t.Context(), "c", "c", 0), nil)
	listed(t, s, all, "a", "b")
	listed(t, s, store.Query{Collection: "d", N: 10}, "x")
	listed(t, s, store.Query{Collection: "", N: 10})
}

func testListByIndex(t *testing.T, s store.Records) {
	by := func(name string) store.Query { return store.Query{Collection: "c", Index: name, N: 10} }
	a := put(t, s, record("c", "a", "x", "y", "x", ""))
	a.Index = []string{"x", "y"}
	get(t, s, a)
	put(t, s, record("c", "b", "y"))
	put(t, s, record("c", "c"))
	put(t, s, record("d", "d", "x", "y"))
	listed(t, s, by("x"), "a")
	listed(t, s, by("y"), "a", "b")
	listed(t, s, by("z"))
	listed(t, s, by("X"))
	a.Index = []string{"z", "y"}
	a = put(t, s, a)
	listed(t, s, by("x"))
	listed(t, s, by("y"), "b", "a")
	list := listed(t, s, by("z"), "a")
	if !same(list[0], a) {
		t.Errorf("listed %v, want %v", list[0], a)
	}
	a.Index = nil
	put(t, s, a)
	listed(t, s, by("y"), "b")
	listed(t, s, by("z"))
}

func testListInPages(t *testing.T, s store.Records) {
	const n = 300
	var want []string
	for i := range n {
		key := fmt.Sprint(i)
		put(t, s, record("c", key, "all", fmt.Sprint("mod ", i%3)))
		want = append(want, key)
	}
	// Records that are gone leave no gaps in the pages, wherever they stood.
	for i := 0; i < n; i++ {
		if i < 100 || i%4 == 0 {
			check(t, "Delete", s.Delete(t.Context(), "c", fmt.Sprint(i), 0), nil)
			want[i] = ""
		}
	}
	want = slices.DeleteFunc(want, func(key string) bool { return key == "" })
	for _, index := range []string{"", "all"} {
		for _, size := range []int{1, 7, n} {
			q, from := store.Query{Collection: "c", Index: index, N: size}, 0
			for from < len(want) {
				page := listed(t, s, q, want[from:min(from+size, len(want))]...)
				from += len(page)
				q.After = page[len(page)-1].Version
			}
			listed(t, s, q)
		}
	}
	listed(t, s, store.Query{Collection: "c", Index: "mod 2", N: 2}, "101", "107")
	listed(t, s, store.Query{Collection: "c"})
	listed(t, s, store.Query{Collection: "c", N: -1})
	listed(t, s, store.Query{Collection: "c", After: 1<<64 - 1, N: 10})
}

// testListWhileChanged: a record that does not change is on exactly one page, while
// others are put, put again and deleted.
func testListWhileChanged(t *testing.T, s store.Records) {
	const stay, move = 60, 30
	for i := range stay {
		put(t, s, record("c", fmt.Sprint("stays ", i), "name"))
		if i < move {
			put(t, s, record("c", fmt.Sprint("moves ", i), "name"))
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	for i := range move {
		wg.Go(func() {
			r := record("c", fmt.Sprint("moves ", i), "name")
			for n := 0; ctx.Err() == nil; n++ {
				now, err := s.Get(t.Context(), r.Collection, r.Key)
				if err == nil && n%3 == 2 {
					err = s.Delete(t.Context(), r.Collection, r.Key, now.Version)
				} else {
					r.Version = now.Version // 0 if it is gone
					err = putAgain(s, r)
				}
				if err != nil {
					t.Errorf("%s: %v", r.Key, err)
					return
				}
			}
		})
	}
	for _, index := range []string{"", "name"} {
		seen := make(map[string]int)
		for q := (store.Query{Collection: "c", Index: index, N: 5}); len(seen) < stay; {
			page, err := s.List(t.Context(), q)
			if err != nil || len(page) == 0 {
				t.Fatalf("index %q: %d of %d were listed, %v", index, len(seen), stay, err)
			}
			for _, r := range page {
				if r.Version <= q.After {
					t.Fatalf("index %q: version %d behind %d", index, r.Version, q.After)
				}
				q.After = r.Version
				if strings.HasPrefix(r.Key, "stays") {
					seen[r.Key]++
				}
			}
		}
		for key, n := range seen {
			if n != 1 {
				t.Errorf("index %q: %s was listed %d times", index, key, n)
			}
		}
	}
}

func testMaxIndex(t *testing.T, s store.Records) {
	r := record("c", "k")
	for i := range store.MaxIndex {
		r.Index = append(r.Index, fmt.Sprint(i), fmt.Sprint(i), "")
	}
	stored := put(t, s, r)
	for i := range store.MaxIndex {
		listed(t, s, store.Query{Collection: "c", Index: fmt.Sprint(i), N: 10}, "k")
	}
	more := stored
	more.Index = append(slices.Clone(r.Index), "one more")
	check(t, "Put with too many names", putAgain(s, more), store.ErrIndex)
	more.Key, more.Version = "new", 0
	check(t, "Put with too many names", putAgain(s, more), store.ErrIndex)
	stored.Index = []string{"0", "1", "2", "3", "4", "5", "6", "7"}
	get(t, s, stored)
	gone(t, s, "c", "new")
}

// testExpired: a record that has expired is gone.
func testExpired(t *testing.T, s store.Records) {
	old := record("c", "old", "name")
	old.Expires = time.Now().Add(-time.Second)
	old = put(t, s, old)
	young := record("c", "young", "name")
	young.Expires = time.Now().Add(long).Truncate(time.Second)
	young = put(t, s, young)
	gone(t, s, "c", "old")
	get(t, s, young)
	listed(t, s, store.Query{Collection: "c", N: 10}, "young")
	listed(t, s, store.Query{Collection: "c", Index: "name", N: 10}, "young")
	check(t, "Put of its version", putAgain(s, old), store.ErrVersion)
	check(t, "Delete", s.Delete(t.Context(), "c", "old", 0), store.ErrNotFound)
	check(t, "Delete of its version", s.Delete(t.Context(), "c", "old", old.Version), store.ErrNotFound)
	// A new one takes its place, and is the only one.
	get(t, s, put(t, s, record("c", "old", "new name")))
	listed(t, s, store.Query{Collection: "c", N: 10}, "young", "old")
	listed(t, s, store.Query{Collection: "c", Index: "name", N: 10}, "young")
	// Put gives a record more time, or less.
	young.Expires = time.Time{}
	young = put(t, s, young)
	get(t, s, young)
	young.Expires = time.Now().Add(-time.Second)
	put(t, s, young)
	gone(t, s, "c", "young")
}

// testExpires: a record is gone after its Expires.
func testExpires(t *testing.T, s store.Records) {
	expires := time.Now().Add(short)
	r := record("c", "k", "name")
	r.Expires = expires
	r = put(t, s, r)
	for {
		_, err := s.Get(t.Context(), "c", "k")
		if now := time.Now(); err != nil && now.Before(expires.Truncate(time.Microsecond)) || err == nil && now.After(expires.Add(10*time.Second)) {
			t.Fatalf("%v from its end, Get: %v", now.Sub(expires), err)
		}
		if err != nil {
			check(t, "Get", err, store.ErrNotFound)
			break
		}
	}
	listed(t, s, store.Query{Collection: "c", Index: "name", N: 10})
	check(t, "Put", putAgain(s, r), store.ErrVersion)
	get(t, s, put(t, s, record("c", "k")))
}

func testLimit(t *testing.T, s store.Records) {
	limited := func(key string) store.Record {
		r := record("c", key)
		r.Limit = 2
		return r
	}
	old := limited("old")
	old.Expires = time.Now().Add(-time.Second)
	put(t, s, old) // does not count
	one := put(t, s, limited("1"))
	put(t, s, record("d", "1"))
	put(t, s, record("d", "2"))
	put(t, s, limited("2"))
	check(t, "Put above the limit", putAgain(s, limited("3")), store.ErrFull)
	check(t, "Put of a known one", putAgain(s, limited("1")), store.ErrVersion)
	one.Limit = 2
	one = put(t, s, one)
	get(t, s, one)
	put(t, s, record("c", "free")) // has no limit
	check(t, "Put above the limit", putAgain(s, limited("3")), store.ErrFull)
	check(t, "Delete", s.Delete(t.Context(), "c", "free", 0), nil)
	check(t, "Put at the limit", putAgain(s, limited("3")), store.ErrFull)
	check(t, "Delete", s.Delete(t.Context(), "c", "1", one.Version), nil)
	put(t, s, limited("3"))
	check(t, "Put at the limit", putAgain(s, limited("4")), store.ErrFull)
	listed(t, s, store.Query{Collection: "c", N: 10}, "2", "3")
}

func testLimitHoldsAtOnce(t *testing.T, s store.Records) {
	var wg sync.WaitGroup
	stored := make(chan bool, 32)
	for i := range cap(stored) {
		wg.Go(func() {
			r := record("c", fmt.Sprint(i))
			r.Limit = 5
			switch err := putAgain(s, r); {
			case err == nil:
				stored <- true
			case !errors.Is(err, store.ErrFull):
				t.Errorf("Put: %v", err)
			}
		})
	}
	wg.Wait()
	if list, err := s.List(t.Context(), store.Query{Collection: "c", N: 100}); err != nil || len(list) != 5 || len(stored) != 5 {
		t.Errorf("%d were put and %d are there, %v", len(stored), len(list), err)
	}
}

func testRecordsContext(t *testing.T, s store.Records) {
	put(t, s, record("c", "k"))
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := s.Put(ended, record("c", "new"))
	check(t, "Put", err, context.Canceled)
	check(t, "Delete", s.Delete(ended, "c", "k", 0), context.Canceled)
	listed(t, s, store.Query{Collection: "c", N: 10}, "k")
}

func testMaxRecords(t *testing.T, s store.Records) {
	one := put(t, s, record("a", "1"))
	put(t, s, record("b", "1"))
	put(t, s, record("c", "1"))
	check(t, "Put of one too many", putAgain(s, record("d", "1")), store.ErrFull)
	gone(t, s, "d", "1")
	one = put(t, s, one)
	check(t, "Delete", s.Delete(t.Context(), "a", "1", one.Version), nil)
	put(t, s, record("d", "1"))
	check(t, "Put of one too many", putAgain(s, record("a", "1")), store.ErrFull)
}

func testMaxRecordBytes(t *testing.T, s store.Records) {
	sized := func(key string, n int, index ...string) store.Record {
		return store.Record{Collection: "c", Key: key, Value: make([]byte, n), Index: index}
	}
	check(t, "Put of too much", putAgain(s, sized("1", 99)), store.ErrFull)
	one := put(t, s, sized("1", 98))
	check(t, "Put of more", putAgain(s, sized("2", 0)), store.ErrFull)
	one.Value = make([]byte, 99)
	check(t, "Put of a larger value", putAgain(s, one), store.ErrFull)
	one.Value = make([]byte, 40)
	one = put(t, s, one)
	check(t, "Put with a long name", putAgain(s, sized("2", 0, strings.Repeat("x", 57))), store.ErrFull)
	put(t, s, sized("2", 0, strings.Repeat("x", 50), "12345"))
	check(t, "Delete", s.Delete(t.Context(), "c", "1", 0), nil)
	put(t, s, sized("1", 41))
}

// testExpiredMakeRoom: expired records take no room, even if all of them expire at once.
func testExpiredMakeRoom(t *testing.T, s store.Records) {
	for range 3 {
		for i := range 300 {
			r := record("c", fmt.Sprint(i), "name")
			r.Expires, r.Limit = time.Now().Add(-time.Second), 300
			put(t, s, r)
		}
	}
	for i := range 300 {
		r := record("c", fmt.Sprint("new ", i))
		r.Limit = 300
		put(t, s, r)
	}
	check(t, "Put of one too many", putAgain(s, record("c", "more")), store.ErrFull)
}
