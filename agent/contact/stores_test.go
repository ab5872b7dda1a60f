package contact_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/didcomm-go/didcomm/agent/contact"
	"github.com/didcomm-go/didcomm/agent/store/sqlstore"
	"github.com/didcomm-go/didcomm/agent/store/sqlstore/sqlite"
	"github.com/didcomm-go/didcomm/agent/store/storetest"
)

// open opens the store of one process.
func open(t *testing.T, file string) *sqlstore.Store {
	t.Helper()
	s, err := sqlite.Open(t.Context(), file, sqlstore.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// Two processes share a SQLite file, and a third one has it after them.
func TestSQLite(t *testing.T) {
	const steps, most, flood = 6, 8, 30
	file := filepath.Join(t.TempDir(), "agent.db")
	stores := []*sqlstore.Store{open(t, file), open(t, file)}
	books := make([]*contact.Book, len(stores))
	for i, st := range stores {
		books[i] = contact.New(st, contact.Config{MaxStrangers: most})
	}
	long, short := peer4(t, "contact")
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			random, b := rand.New(rand.NewPCG(uint64(i), 1)), books[i%2]
			for _, step := range random.Perm(steps) {
				prior, next := party(fmt.Sprint(step)), party(fmt.Sprint(step+1))
				_, err := b.Rotate(context.Background(), own, contact.Rotation{Prior: prior, DID: next, IssuedAt: at(int64(step))})
				for _, err := range []error{err, b.Keep(context.Background(), own, prior), b.Keep(context.Background(), own, long)} {
					if err != nil {
						t.Error(err)
					}
				}
			}
			for j := range flood {
				stranger, _ := peer4(t, fmt.Sprint(i, "-", j))
				if _, err := b.Met(context.Background(), own, stranger, time.Time{}, false); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	for _, st := range stores {
		if err := st.Close(); err != nil {
			t.Fatal(err)
		}
	}
	last := open(t, file)
	b := checked{t, contact.New(last, contact.Config{})}
	for step := range steps {
		if id := party(fmt.Sprint(step)); b.current(own, id) != party(fmt.Sprint(steps)) || !b.left(own, id) {
			t.Errorf("%s goes by %s", id, b.current(own, id))
		}
	}
	if b.long(short) != long {
		t.Errorf("long form of the contact is %q", b.long(short))
	}
	strangers, parties := count(t, last, "contact/stranger"), count(t, last, "contact")
	if strangers == 0 || strangers > most || parties != strangers+steps+2 {
		t.Errorf("%d strangers, %d records", strangers, parties)
	}
}

// A store that fails at times, before or after it has changed something, or that ends with
// its process, loses nothing that it has said it keeps.
func TestFaults(t *testing.T) {
	const steps, most = 6, 3
	faults, crashes := 0, 0
	for seed := range uint64(100) {
		f := storetest.NewFaults(storetest.FaultConfig{Seed: seed, Before: 0.05, After: 0.05, Crash: 0.01})
		st := newStore()
		faulty := f.Store(st)
		b := contact.New(faulty, contact.Config{MaxStrangers: most})
		long, short := peer4(t, "contact")
		try := func(do func() error) {
			t.Helper()
			for {
				switch err := do(); {
				case err == nil:
					return
				case !errors.Is(err, storetest.ErrFault):
					t.Fatalf("seed %d: %v", seed, err)
				}
				select {
				case <-f.Crashed():
					crashes++
					f.Restart()
					b = contact.New(faulty, contact.Config{MaxStrangers: most})
				default:
				}
			}
		}
		ctx := context.Background()
		try(func() error { _, err := b.Met(ctx, own, long, time.Time{}, false); return err })
		try(func() error { return b.Keep(ctx, own, short) })
		random := rand.New(rand.NewPCG(seed, seed))
		for _, step := range random.Perm(steps) {
			r := contact.Rotation{Prior: party(fmt.Sprint(step)), DID: party(fmt.Sprint(step + 1)), IssuedAt: at(int64(step))}
			try(func() error { return b.Keep(ctx, own, r.Prior) })
			try(func() error { _, err := b.Rotate(ctx, own, r); return err })
			stranger, _ := peer4(t, fmt.Sprint(step))
			try(func() error { _, err := b.Met(ctx, own, stranger, time.Time{}, false); return err })
		}
		faults += f.Count()
		after := checked{t, eager(st)}
		for step := range steps {
			if id := party(fmt.Sprint(step)); after.current(own, id) != party(fmt.Sprint(steps)) || !after.left(own, id) {
				t.Errorf("seed %d: %s goes by %s", seed, id, after.current(own, id))
			}
		}
		strangers, parties := count(t, st, "contact/stranger"), count(t, st, "contact")
		if after.long(short) != long || strangers != most || parties != strangers+steps+2 {
			t.Errorf("seed %d: %d strangers, %d records, long form %q", seed, strangers, parties, after.long(short))
		}
	}
	if faults < 100 || crashes < 10 {
		t.Errorf("only %d faults and %d crashes", faults, crashes)
	}
}
