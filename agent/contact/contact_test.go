package contact_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/didcomm-go/didcomm/agent/contact"
	"github.com/didcomm-go/didcomm/agent/store"
)

func wantFull(t testing.TB, err error) {
	t.Helper()
	if !errors.Is(err, store.ErrFull) {
		t.Errorf("error %v, want %v", err, store.ErrFull)
	}
}

// A flood of strangers displaces strangers, but no contact.
func TestFlood(t *testing.T) {
	const most = 8
	st := newStore()
	b := checked{t, contact.New(st, contact.Config{MaxStrangers: most})}
	// Contacts that were made in different ways.
	kept, keptShort := peer4(t, "kept")
	b.keep(own, kept)
	met, metShort := peer4(t, "met, then kept")
	b.met(own, met)
	b.keep(own, metShort)
	keptFirst, keptFirstShort := peer4(t, "kept, then met")
	b.keep(own, keptFirstShort)
	b.met(own, keptFirst)
	rotated, rotatedShort := peer4(t, "rotated")
	b.keep(own, party("a"))
	b.rotate(own, party("a"), rotated, 10)
	rotatedFirst, rotatedFirstShort := peer4(t, "rotated, then kept")
	b.rotate(own, party("b"), rotatedFirst, 10)
	b.keep(own, party("b"))
	b.keep(own, party("c"))
	b.rotate(own, party("c"), "", 10)
	b.rotate(own, party("d"), party("e"), 10)
	b.rotate(own, party("f"), party("e"), 10)
	b.keep(own, party("e"))
	if n := count(t, st, "contact/stranger"); n != 2 { // d and f
		t.Errorf("%d strangers before the flood", n)
	}
	for i := range 3 * most {
		long, short := peer4(t, fmt.Sprint(i))
		b.met(own, long)
		b.met(own, long) // which reads it into the cache
		if b.long(short) != long {
			t.Errorf("stranger %d is not known", i)
		}
		b.rotate(own, party(fmt.Sprint("x", i)), party(fmt.Sprint("y", i)), 10)
		if n := count(t, st, "contact/stranger"); n > most {
			t.Fatalf("%d strangers after %d", n, i)
		}
	}
	for _, b := range []checked{b, {t, contact.New(st, contact.Config{})}} {
		for short, long := range map[string]string{keptShort: kept, metShort: met, keptFirstShort: keptFirst, rotatedShort: rotated, rotatedFirstShort: rotatedFirst} {
			if b.long(short) != long {
				t.Errorf("the long form of %s is %q", long, b.long(short))
			}
		}
		for prior, want := range map[string]string{"a": rotated, "b": rotatedFirst, "c": "ended"} {
			if now := b.current(own, party(prior)); now != want || !b.left(own, party(prior)) {
				t.Errorf("%s goes by %s", prior, now)
			}
		}
		if b.current(own, party("d")) != party("d") {
			t.Error("a stranger was not pushed out")
		}
		if _, short := peer4(t, "0"); b.long(short) != "" {
			t.Error("a stranger was not pushed out")
		}
	}
	again, short := peer4(t, "0")
	if b.met(own, again); b.long(short) != again {
		t.Error("a stranger that was pushed out is not known when it comes again")
	}
	strangers, all := count(t, st, "contact/stranger"), count(t, st, "contact")
	if strangers != most || all != most+9 {
		t.Errorf("%d strangers, %d in all", strangers, all)
	}
}

// The record of a stranger is not deleted to make room for that stranger.
func TestFloodOfOne(t *testing.T) {
	for _, most := range []int{1, 2} {
		for i := range 20 {
			b := checked{t, contact.New(newStore(), contact.Config{MaxStrangers: most})}
			for j := range most {
				long, _ := peer4(t, fmt.Sprint(j))
				b.met(own, long)
			}
			long, short := peer4(t, "0")
			holds, room := b.rotate(own, long, party("next"), 10), most > 1
			if holds != room || b.left(own, short) != room {
				t.Fatalf("%d: most %d: holds %v", i, most, holds)
			}
		}
	}
}

// A mark without a record, which a store without atomic Commit may leave, has no effect.
func TestMarkLeftOver(t *testing.T) {
	st := newStore()
	b := checked{t, contact.New(st, contact.Config{MaxStrangers: 3})}
	long, short := peer4(t, "contact")
	b.keep(own, long)
	list, err := st.Records().List(t.Context(), store.Query{Collection: "contact", N: 1})
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{list[0].Key, "of nobody", strings.Repeat("A", 43)} {
		if _, err := st.Records().Put(t.Context(), store.Record{Collection: "contact/stranger", Key: key}); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 20 {
		long, short := peer4(t, fmt.Sprint(i))
		if b.met(own, long); b.long(short) != long {
			t.Errorf("stranger %d found no room", i)
		}
	}
	if b.long(short) != long || count(t, st, "contact") != 4 {
		t.Errorf("%d records, long form of the contact %q", count(t, st, "contact"), b.long(short))
	}
}

// There is room for all strangers that arrive at the same time, even if the store is slow.
func TestFloodAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const most, together, each = 150, 32, 20
		st := newStore()
		slow := hooked{st, func(string) error { time.Sleep(time.Millisecond); return nil }}
		books := []checked{{t, contact.New(slow, contact.Config{MaxStrangers: most})}, {t, contact.New(slow, contact.Config{MaxStrangers: most})}}
		long, short := peer4(t, "contact")
		books[0].keep(own, long)
		var all sync.WaitGroup
		for i := range together {
			all.Go(func() {
				for j := range each {
					b, id := books[i%2], fmt.Sprint(i, "-", j)
					if j%2 == 0 {
						if !b.rotate(own, party(id), party(id+"next"), 10) {
							t.Errorf("rotation of %s is not followed", id)
						}
						continue
					}
					long, _ := peer4(t, id)
					if _, err := b.Met(context.Background(), own, long, time.Time{}, false); err != nil {
						t.Errorf("stranger %s: %v", id, err)
					}
				}
			})
		}
		all.Wait()
		strangers, parties := count(t, st, "contact/stranger"), count(t, st, "contact")
		if strangers > most || strangers < most-together || parties != strangers+1 {
			t.Errorf("%d strangers of %d parties", strangers, parties)
		}
		if books[1].long(short) != long {
			t.Error("a contact was pushed out")
		}
	})
}

// A message of a stranger costs a limited number of store calls, and a message of a known
// party costs none.
func TestCost(t *testing.T) {
	const most = 4
	for name, tt := range map[string]struct {
		full bool // of strangers
		do   func(b checked, long, short string)
		want string
	}{
		"no news":            {do: func(b checked, _, _ string) { b.met(own, party("a")) }, want: "1 get"},
		"short form":         {do: func(b checked, _, short string) { b.met(own, short) }, want: "1 get"},
		"unknown short form": {do: func(b checked, _, short string) { b.long(short) }, want: "1 list"},
		"long form":          {do: func(b checked, long, _ string) { b.met(own, long) }, want: "1 get, 1 commit"},
		"long form, full":    {full: true, do: func(b checked, long, _ string) { b.met(own, long) }, want: "4 get, 1 list, 2 commit"},
		"rotation":           {do: func(b checked, long, _ string) { b.rotate(own, party("a"), long, 10) }, want: "2 get, 1 commit"},
		"rotation, full":     {full: true, do: func(b checked, long, _ string) { b.rotate(own, party("a"), long, 10) }, want: "8 get, 1 list, 2 commit"},
		"rotation from a DID that is left": {do: func(b checked, long, _ string) {
			b.rotate(own, party("a"), long, 10)
			b.met(own, long)
			b.rotate(own, party("a"), party("b"), 20)
		}, want: "5 get, 2 commit"},
		"keep": {do: func(b checked, long, _ string) { b.keep(own, long) }, want: "1 get, 1 commit"},
	} {
		t.Run(name, func(t *testing.T) {
			var c calls
			b := checked{t, contact.New(hooked{newStore(), c.hook}, contact.Config{MaxStrangers: most, Fresh: time.Hour})}
			for i := range most {
				if tt.full {
					long, _ := peer4(t, fmt.Sprint("stranger", i))
					b.met(own, long)
				}
			}
			c.take()
			long, short := peer4(t, "one")
			tt.do(b, long, short)
			if took := c.take(); took != tt.want {
				t.Errorf("took %s, want %s", took, tt.want)
			}
		})
	}
	var c calls
	b := checked{t, contact.New(hooked{newStore(), c.hook}, contact.Config{Fresh: time.Hour})}
	long, short := peer4(t, "known")
	for i := range 3 {
		b.keep(own, long)
		b.rotate(own, party("a"), long, 10)
		b.met(own, long)
		b.met(own, short)
		b.met(own, party("b"))
		b.left(own, party("a"))
		b.current(own, party("a"))
		if took := c.take(); i == 2 && took != "" {
			t.Errorf("took %s though all is known", took)
		}
	}
	for i := range 10_000 { // as many as are in memory
		b.met(own, party(fmt.Sprint(i)))
	}
	c.take()
	b.met(own, party("b"))
	if took := c.take(); took != "1 get" {
		t.Errorf("took %s for a party that was not heard of for long", took)
	}
}

// DIDs of a stranger that are too long are not recorded. For a contact they are an error.
func TestTooLong(t *testing.T) {
	st := newStore()
	b := checked{t, contact.New(st, contact.Config{})}
	tooLong, long := party(strings.Repeat("x", 32<<10)), party(strings.Repeat("y", 4<<10))
	if b.rotate(own, party("a"), long, 10) || b.rotate(own, long, party("a"), 10) || b.current(own, party("a")) != party("a") {
		t.Error("long rotation of a stranger is followed")
	}
	b.keep(own, party("a"))
	if b.rotate(own, party("a"), tooLong, 10) || b.current(own, party("a")) != party("a") {
		t.Error("rotation to a DID that is too long is followed")
	}
	if !b.rotate(own, party("a"), long, 10) || b.current(own, party("a")) != long {
		t.Error("long rotation of a contact is not followed")
	}
	if err := b.Keep(t.Context(), own, tooLong); !errors.Is(err, contact.ErrTooLong) {
		t.Errorf("error %v", err)
	}
	if n := count(t, st, "contact"); n != 2 {
		t.Errorf("%d records", n)
	}
}

// After Forget, a party uses the DID again, and there is room for another.
func TestForget(t *testing.T) {
	st := newStore()
	b := checked{t, contact.New(st, contact.Config{})}
	long, short := peer4(t, "one")
	b.met(own, long)
	b.rotate(own, party("a"), party("b"), 10)
	b.keep(own, party("c"))
	b.rotate(own, party("c"), "", 10)
	for _, id := range []string{short, party("a"), party("b"), party("c"), party("unknown"), party("a")} {
		b.must(b.Forget(t.Context(), own, id))
		if b.current(own, id) != id || b.left(own, id) {
			t.Errorf("%s is not forgotten", id)
		}
	}
	if count(t, st, "contact") != 0 || count(t, st, "contact/stranger") != 0 || b.long(short) != "" {
		t.Error("a record has stayed")
	}
	if !b.rotate(own, party("a"), party("b"), 5) {
		t.Error("a rotation is not followed, though an older one was forgotten")
	}
}

// If a call of the store fails, before or after it took effect, the error is that of the
// store. When the party sends its message again, all records are right. This also holds
// for a store that makes changes one by one.
func TestStoreFails(t *testing.T) {
	long, short := peer4(t, "one")
	const most = 3
	ops := map[string]struct {
		do    func(b *contact.Book) error
		check func(b checked) bool
	}{
		"met": {
			func(b *contact.Book) error {
				_, err := b.Met(context.Background(), own, long, time.Time{}, false)
				return err
			},
			func(b checked) bool { return b.long(short) == long },
		},
		"rotation": {
			func(b *contact.Book) error {
				_, err := b.Rotate(context.Background(), own, contact.Rotation{Prior: party("a"), DID: long, IssuedAt: at(10)})
				return err
			},
			func(b checked) bool {
				return b.current(own, party("a")) == long && b.left(own, party("a")) && !b.left(own, short)
			},
		},
		"rotation back": {
			func(b *contact.Book) error {
				for _, r := range []contact.Rotation{{party("a"), party("b"), at(10)}, {party("b"), party("a"), at(20)}} {
					if _, err := b.Rotate(context.Background(), own, r); err != nil {
						return err
					}
				}
				return nil
			},
			func(b checked) bool { return b.current(own, party("b")) == party("a") && !b.left(own, party("a")) },
		},
		"keep": {
			func(b *contact.Book) error { return b.Keep(context.Background(), own, long) },
			func(b checked) bool { return b.long(short) == long },
		},
		"keep a stranger": {
			func(b *contact.Book) error {
				if _, err := b.Met(context.Background(), own, long, time.Time{}, false); err != nil {
					return err
				}
				return b.Keep(context.Background(), own, short)
			},
			func(b checked) bool { return b.long(short) == long },
		},
		"forget": {
			func(b *contact.Book) error {
				if _, err := b.Met(context.Background(), own, long, time.Time{}, false); err != nil {
					return err
				}
				return b.Forget(context.Background(), own, long)
			},
			func(b checked) bool { return b.long(short) == "" },
		},
		"current": {
			func(b *contact.Book) error { _, err := b.Current(context.Background(), own, party("a")); return err },
			func(checked) bool { return true },
		},
		"long": {
			func(b *contact.Book) error { _, err := b.Long(context.Background(), short); return err },
			func(checked) bool { return true },
		},
	}
	for name, op := range ops {
		for _, joined := range []bool{false, true} {
			for _, fault := range []error{errBefore, errAfter} {
				for _, full := range []bool{false, true} {
					t.Run(fmt.Sprintf("%s, joined %v, %v, full %v", name, joined, fault, full), func(t *testing.T) {
						for n := 0; ; n++ {
							calls, failing := 0, false
							hook := func(call string) error {
								if calls++; failing && calls > n {
									failing = false
									return fault
								}
								return nil
							}
							st := newStore()
							faulty := store.Store(hooked{st, hook})
							if joined {
								faulty = store.Join(st.Outbox(), st.Inbox(), faulty.Records())
							}
							b := checked{t, contact.New(faulty, contact.Config{MaxStrangers: most})}
							for i := range most {
								if full {
									long, _ := peer4(t, fmt.Sprint(i))
									b.met(own, long)
								}
							}
							calls, failing = 0, true
							err := op.do(b.Book)
							if failing { // no such call
								failing = false
								if n == 0 || err != nil || !op.check(b) {
									t.Errorf("%d calls, error %v, or not done", n, err)
								}
								return
							}
							if !errors.Is(err, fault) && err != nil {
								t.Fatalf("call %d: error %v", n, err)
							}
							if err := op.do(b.Book); err != nil {
								t.Fatalf("again, after call %d failed: %v", n, err)
							}
							if !op.check(b) || !op.check(checked{t, eager(st)}) {
								t.Errorf("not done, after call %d failed", n)
							}
							if n := count(t, st, "contact/stranger"); n > most {
								t.Errorf("%d strangers", n)
							}
						}
					})
				}
			}
		}
	}
}

// A damaged record is an error.
func TestDamage(t *testing.T) {
	st := newStore()
	long, short := peer4(t, "one")
	checked{t, contact.New(st, contact.Config{})}.keep(own, long)
	list, err := st.Records().List(t.Context(), store.Query{Collection: "contact", N: 1})
	if err != nil {
		t.Fatal(err)
	}
	list[0].Value = []byte("{")
	if _, err := st.Records().Put(t.Context(), list[0]); err != nil {
		t.Fatal(err)
	}
	b := eager(st)
	_, metErr := b.Met(t.Context(), own, long, time.Time{}, false)
	_, rotateErr := b.Rotate(t.Context(), own, contact.Rotation{Prior: party("a"), DID: long, IssuedAt: at(10)})
	_, longErr := b.Long(t.Context(), short)
	_, currentErr := b.Current(t.Context(), own, short)
	for i, err := range []error{metErr, rotateErr, longErr, currentErr, b.Keep(t.Context(), own, short)} {
		if err == nil {
			t.Errorf("%d: no error", i)
		}
	}
}

// Goroutines of two processes record the same party for one DID of ours, and keep it.
func TestTogether(t *testing.T) {
	for _, joined := range []bool{false, true} {
		for round := range 20 {
			st := newStore()
			if joined {
				st = store.Join(st.Outbox(), st.Inbox(), st.Records())
			}
			books := []*contact.Book{contact.New(st, contact.Config{}), contact.New(st, contact.Config{}), eager(st)}
			var all sync.WaitGroup
			const steps = 8
			for i := range 32 {
				all.Go(func() {
					random, b := rand.New(rand.NewPCG(uint64(round), uint64(i))), books[i%len(books)]
					for _, step := range random.Perm(steps) {
						prior, next := party(fmt.Sprint(step)), party(fmt.Sprint(step+1))
						var err error
						switch i % 4 {
						case 0, 1:
							_, err = b.Rotate(context.Background(), own, contact.Rotation{Prior: prior, DID: next, IssuedAt: at(int64(step))})
						case 2:
							err = b.Keep(context.Background(), own, prior)
						case 3:
							_, err = b.Met(context.Background(), own, next, time.Time{}, true)
						}
						if err != nil {
							t.Error(err)
						}
						if _, err := b.Current(context.Background(), own, prior); err != nil {
							t.Error(err)
						}
					}
				})
			}
			all.Wait()
			b := checked{t, eager(st)}
			for step := range steps {
				if id := party(fmt.Sprint(step)); b.current(own, id) != party(fmt.Sprint(steps)) || !b.left(own, id) {
					t.Errorf("joined %v: %s goes by %s", joined, id, b.current(own, id))
				}
			}
			if n := count(t, st, "contact/stranger"); n != 0 && !joined {
				t.Errorf("%d strangers", n)
			}
			if n := count(t, st, "contact"); n != steps+1 {
				t.Errorf("joined %v: %d records", joined, n)
			}
		}
	}
}

// If one process records a rotation while another one makes the party a contact, neither
// change is lost.
func TestTwoProcesses(t *testing.T) {
	for range 200 {
		st := newStore()
		one, two := contact.New(st, contact.Config{}), contact.New(st, contact.Config{})
		for _, b := range []*contact.Book{one, two} { // which then hold that nothing is known
			checked{t, b}.met(own, party("a"))
		}
		var both sync.WaitGroup
		both.Go(func() { checked{t, one}.rotate(own, party("a"), party("b"), 10) })
		both.Go(func() { checked{t, two}.keep(own, party("a")) })
		both.Wait()
		b := checked{t, eager(st)}
		if b.current(own, party("a")) != party("b") || count(t, st, "contact/stranger") > 1 {
			t.Fatal("a rotation is lost")
		}
		b.keep(own, party("a"))
		if count(t, st, "contact/stranger") != 0 || count(t, st, "contact") != 2 {
			t.Fatal("records are left over")
		}
	}
}

// Another process uses the records that it has read for Fresh, and does not overwrite
// newer ones.
func TestFresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const fresh = time.Minute
		st := newStore()
		one, two := checked{t, contact.New(st, contact.Config{Fresh: fresh})}, checked{t, contact.New(st, contact.Config{Fresh: fresh})}
		if two.current(own, party("a")) != party("a") {
			t.Fatal("rotated before")
		}
		one.rotate(own, party("a"), party("b"), 10)
		if one.current(own, party("a")) != party("b") {
			t.Error("the process that is told has to know at once")
		}
		time.Sleep(fresh - 1)
		if two.current(own, party("a")) != party("a") {
			t.Error("read anew before the time")
		}
		if two.rotate(own, party("a"), party("c"), 9) {
			t.Error("an older rotation is followed by one that does not know of the newer")
		}
		two.keep(own, party("a"))
		if now := two.current(own, party("a")); now != party("b") {
			t.Errorf("goes by %s", now)
		}
		one.rotate(own, party("b"), party("c"), 20)
		time.Sleep(fresh)
		if now := two.current(own, party("a")); now != party("c") {
			t.Errorf("goes by %s, after the time", now)
		}
	})
}

// A record that changes while it is read is not cached.
func TestReadWhileChanged(t *testing.T) {
	var b checked
	read := func() {}
	b = checked{t, contact.New(slowRead{newStore(), func() { read() }}, contact.Config{Fresh: time.Hour})}
	read = func() {
		read = func() {}
		b.rotate(own, party("a"), party("b"), 10)
	}
	if now := b.current(own, party("a")); now != party("a") {
		t.Errorf("goes by %s, as nobody knew when it was read", now)
	}
	if now := b.current(own, party("a")); now != party("b") {
		t.Errorf("goes by %s: an old record was cached", now)
	}
}

// slowRead is a store that calls read after a record is read and before it is returned.
type slowRead struct {
	store.Store
	read func()
}

func (s slowRead) Records() store.Records { return slowRecords{s.Store.Records(), s.read} }

type slowRecords struct {
	store.Records
	read func()
}

func (s slowRecords) Get(ctx context.Context, collection, key string) (store.Record, error) {
	r, err := s.Records.Get(ctx, collection, key)
	s.read()
	return r, err
}

// A record does not keep the message in memory that a DID was part of.
func TestMemory(t *testing.T) {
	const parties, message = 200, 1 << 20
	st := newStore()
	b := checked{t, contact.New(st, contact.Config{})}
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	for i := range parties {
		long, short := peer4(t, fmt.Sprint(i))
		text := strings.Repeat(" ", message) + long + short
		long, short = text[message:message+len(long)], text[message+len(long):]
		switch i % 3 {
		case 0:
			b.met(own, long)
			b.met(other, short)
		case 1:
			b.rotate(own, short, party("a"), int64(i))
		case 2:
			b.keep(own, long)
		}
	}
	if grown := int64(heap()) - int64(before); grown > parties*message/10 {
		t.Errorf("%d bytes for %d parties", grown, parties)
	}
	runtime.KeepAlive(b)
	runtime.KeepAlive(st)
}

// Each rotation that is followed or refused is logged once.
func TestLog(t *testing.T) {
	log := new(journal)
	b := checked{t, contact.New(newStore(), contact.Config{Logger: log.logger()})}
	for i := range int64(2) {
		b.rotate(own, party("a"), party("b"), 10+i)
		b.rotate(own, party("c"), "", 10)
		b.rotate(own, party("a"), party("z"), 5)
	}
	if info, warn := log.count(slog.LevelInfo), log.count(slog.LevelWarn); info != 2 || warn != 0 {
		t.Errorf("%d and %d lines", info, warn)
	}
	b.met(own, party("b"))
	b.rotate(own, party("a"), party("z"), 15)
	if warn := log.count(slog.LevelWarn); warn != 1 {
		t.Errorf("%d warnings", warn)
	}
}

func TestIsContact(t *testing.T) {
	ctx, b := t.Context(), contact.New(newStore(), contact.Config{})
	if _, err := b.Met(ctx, own, party("stranger"), time.Time{}, false); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"contact", "prior"} {
		if err := b.Keep(ctx, own, party(id)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := b.Rotate(ctx, own, contact.Rotation{Prior: party("prior"), DID: party("next"), IssuedAt: at(1)}); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		own, peer string
		want      bool
	}{
		{own, party("contact"), true},
		{own, party("next"), true}, // the contact has rotated
		{own, party("stranger"), false},
		{own, party("nobody"), false},
		{other, party("contact"), false},
	} {
		if got, err := b.IsContact(ctx, tt.own, tt.peer); got != tt.want || err != nil {
			t.Errorf("%s of %s is a contact: %t, %v", tt.peer, tt.own, got, err)
		}
	}
}
