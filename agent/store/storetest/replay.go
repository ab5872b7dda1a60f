package storetest

import (
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/didcomm-go/didcomm/agent/store"
)

// TestReplay runs the suite on the Replays that open returns, each of them
// empty.
func TestReplay(t *testing.T, open func(t *testing.T) store.Replay) {
	add := func(t *testing.T, r store.Replay, sender, id string, until time.Time, want bool) {
		t.Helper()
		got, err := r.Add(t.Context(), sender, id, until)
		if err != nil || got != want {
			t.Errorf("Add(%q, %.20q) = %v, %v, want %v", sender, id, got, err, want)
		}
	}
	has := func(t *testing.T, r store.Replay, sender, id string, want bool) {
		t.Helper()
		got, err := r.Received(t.Context(), sender, []string{id})
		if err != nil || len(got) == 1 != want {
			t.Errorf("Received(%q, %.20q) = %.20q, %v, want it %v", sender, id, got, err, want)
		}
	}
	t.Run("OncePerSenderAndID", func(t *testing.T) {
		r, later := open(t), time.Now().Add(long)
		has(t, r, "did:a", "1", false)
		add(t, r, "did:a", "1", later, true)
		add(t, r, "did:a", "1", later, false)
		has(t, r, "did:a", "1", true)
		add(t, r, "did:b", "1", later, true)
		add(t, r, "did:a", "2", later, true)
		add(t, r, "", "1", later, true)
		// No two pairs may run together.
		add(t, r, "did:a1", "", later, true)
		add(t, r, "did:", "a1", later, true)
	})
	t.Run("UntilItsTime", func(t *testing.T) {
		r := open(t)
		past := time.Now().Add(-time.Second)
		add(t, r, "did:a", "1", past, true)
		has(t, r, "did:a", "1", false)
		add(t, r, "did:a", "1", time.Now().Add(long), true)
		add(t, r, "did:a", "1", time.Now().Add(long), false)
	})
	t.Run("ReceivedInOrder", func(t *testing.T) {
		r, later := open(t), time.Now().Add(long)
		for _, id := range []string{"2", "3", "1"} {
			add(t, r, "did:a", id, later, true)
		}
		add(t, r, "did:b", "4", later, true)
		got, err := r.Received(t.Context(), "did:a", []string{"1", "4", "2", "0", "3"})
		if err != nil || !slices.Equal(got, []string{"2", "3", "1"}) {
			t.Errorf("received %q, %v", got, err)
		}
	})
	t.Run("Forget", func(t *testing.T) {
		r, later := open(t), time.Now().Add(long)
		add(t, r, "did:a", "1", later, true)
		add(t, r, "did:b", "1", later, true)
		for range 2 { // what is not there is forgotten already
			if err := r.Forget(t.Context(), "did:a", "1"); err != nil {
				t.Fatal(err)
			}
			has(t, r, "did:a", "1", false)
		}
		add(t, r, "did:a", "1", later, true)
		add(t, r, "did:b", "1", later, false)
	})
	t.Run("LongIDs", func(t *testing.T) {
		r, id, later := open(t), strings.Repeat("x", 1<<16), time.Now().Add(long)
		add(t, r, "did:a", id, later, true)
		add(t, r, "did:a", id, later, false)
		add(t, r, "did:a", id+"y", later, true)
	})
	t.Run("OneWinner", func(t *testing.T) {
		r := open(t)
		var wg sync.WaitGroup
		wins := make(chan bool, 16)
		for range cap(wins) {
			wg.Go(func() {
				ok, err := r.Add(t.Context(), "did:a", "1", time.Now().Add(long))
				wins <- ok && err == nil
			})
		}
		wg.Wait()
		close(wins)
		n := 0
		for w := range wins {
			if w {
				n++
			}
		}
		if n != 1 {
			t.Errorf("%d of %d concurrent Adds were new", n, cap(wins))
		}
	})
}
