package contact_test

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/didcomm-go/didcomm/agent/contact"
	"github.com/didcomm-go/didcomm/agent/store"
)

// told is a fact that a DID of ours is told: a party rotates from one DID to another, or
// to none. Without a prior DID, the fact is a message from a DID, which has a from_prior
// if iat is not 0.
type told struct {
	prior, did string
	iat        int64
	want       bool // the rotation holds
}

func TestRotate(t *testing.T) {
	for name, tt := range map[string]struct {
		told []told
		want map[string]string // the current DID by any DID of the party
	}{
		"rotation": {
			told: []told{{"a", "b", 10, true}},
			want: map[string]string{"a": "b", "b": "b"},
		},
		"told again": {
			told: []told{{"a", "b", 10, true}, {"a", "b", 10, true}, {"a", "b", 9, true}, {"a", "b", 11, true}},
			want: map[string]string{"a": "b"},
		},
		"chain": {
			told: []told{{"a", "b", 10, true}, {"b", "c", 20, true}, {"c", "d", 30, true}},
			want: map[string]string{"a": "d", "b": "d", "c": "d", "d": "d"},
		},
		"chain out of order": {
			told: []told{{"c", "d", 30, true}, {"a", "b", 10, true}, {"b", "c", 20, true}},
			want: map[string]string{"a": "d", "b": "d", "c": "d", "d": "d"},
		},
		"chain within a second": {
			told: []told{{"a", "b", 10, true}, {"b", "c", 10, true}},
			want: map[string]string{"a": "c", "b": "c", "c": "c"},
		},
		"back": {
			told: []told{{"a", "b", 10, true}, {"b", "a", 20, true}},
			want: map[string]string{"a": "a", "b": "a"},
		},
		"back out of order": {
			told: []told{{"b", "a", 20, true}, {"a", "b", 10, false}},
			want: map[string]string{"a": "a", "b": "a"},
		},
		"back by one that is older": {
			told: []told{{"a", "b", 10, true}, {"b", "a", 9, false}},
			want: map[string]string{"a": "b", "b": "b"},
		},
		"back at the same time": {
			told: []told{{"a", "b", 10, true}, {"b", "a", 10, false}},
			want: map[string]string{"a": "b", "b": "b"},
		},
		"in a circle at the same time": {
			told: []told{{"a", "b", 10, true}, {"b", "c", 10, true}, {"c", "a", 10, false}},
			want: map[string]string{"a": "c", "b": "c", "c": "c"},
		},
		"back, and again": {
			told: []told{{"a", "b", 10, true}, {"b", "a", 20, true}, {"a", "b", 10, false}, {"a", "b", 30, true}, {"b", "a", 20, false}},
			want: map[string]string{"a": "b", "b": "b"},
		},
		"back, then away by one that is older than that": {
			told: []told{{"a", "b", 10, true}, {"b", "a", 20, true}, {"a", "c", 15, false}},
			want: map[string]string{"a": "a", "b": "a", "c": "c"},
		},
		"back and forth, and another one": {
			told: []told{{"a", "b", 10, true}, {"", "b", 0, true}, {"b", "a", 20, true}, {"a", "b", 30, true}, {"a", "c", 40, true}},
			want: map[string]string{"a": "c", "b": "b"},
		},
		"back, then away": {
			told: []told{{"a", "b", 10, true}, {"", "b", 0, true}, {"b", "a", 20, true}, {"a", "c", 30, true}},
			want: map[string]string{"a": "c", "b": "c", "c": "c"},
		},
		"older": {
			told: []told{{"a", "b", 10, true}, {"a", "c", 9, false}},
			want: map[string]string{"a": "b", "c": "c"},
		},
		"of the same time": {
			told: []told{{"a", "b", 10, true}, {"a", "c", 10, false}},
			want: map[string]string{"a": "b", "c": "c"},
		},
		"another one before the party knows that we know": {
			told: []told{{"a", "b", 10, true}, {"", "b", 10, true}, {"a", "c", 20, true}},
			want: map[string]string{"a": "c", "b": "b", "c": "c"},
		},
		"another one after": { // perhaps of somebody who has found the key
			told: []told{{"a", "b", 10, true}, {"", "b", 0, true}, {"a", "c", 20, false}, {"a", "b", 30, true}},
			want: map[string]string{"a": "b", "b": "b", "c": "c"},
		},
		"another one after the next": {
			told: []told{{"a", "b", 10, true}, {"b", "d", 20, true}, {"", "d", 0, true}, {"a", "c", 30, false}},
			want: map[string]string{"a": "d", "b": "d", "c": "c"},
		},
		"told again with a later time": {
			told: []told{{"a", "b", 10, true}, {"a", "b", 30, true}, {"b", "a", 20, false}},
			want: map[string]string{"a": "b", "b": "b"},
		},
		"told again with a later time, once the party knows": {
			told: []told{{"a", "b", 10, true}, {"", "b", 0, true}, {"a", "b", 30, true}, {"a", "c", 40, false}},
			want: map[string]string{"a": "b", "b": "b"},
		},
		"an end after": {
			told: []told{{"a", "b", 10, true}, {"", "b", 0, true}, {"a", "", 20, false}},
			want: map[string]string{"a": "b", "b": "b"},
		},
		"before any message, without a rotation": {
			told: []told{{"", "a", 0, true}, {"a", "b", 10, true}, {"a", "c", 20, true}},
			want: map[string]string{"a": "c"},
		},
		"end": {
			told: []told{{"a", "", 10, true}, {"a", "", 20, true}},
			want: map[string]string{"a": "ended"},
		},
		"end of a chain": {
			told: []told{{"a", "b", 10, true}, {"b", "", 20, true}},
			want: map[string]string{"a": "ended", "b": "ended"},
		},
		"end before the rotation to its DID is known": {
			told: []told{{"b", "", 20, true}, {"a", "b", 10, true}},
			want: map[string]string{"a": "ended", "b": "ended"},
		},
		"older rotation after the end": {
			told: []told{{"a", "", 10, true}, {"a", "b", 9, false}, {"a", "b", 10, false}},
			want: map[string]string{"a": "ended", "b": "b"},
		},
		"newer rotation after the end": {
			told: []told{{"a", "", 10, true}, {"a", "b", 11, true}, {"a", "", 10, false}},
			want: map[string]string{"a": "b", "b": "b"},
		},
		"older end": {
			told: []told{{"a", "b", 10, true}, {"a", "", 9, false}, {"a", "", 10, false}},
			want: map[string]string{"a": "b"},
		},
		"rotation to a DID that has ended": {
			told: []told{{"b", "", 10, true}, {"a", "b", 20, true}},
			want: map[string]string{"a": "b", "b": "b"},
		},
		"to itself": {
			told: []told{{"a", "a", 10, false}},
			want: map[string]string{"a": "a"},
		},
		"of two to one": {
			told: []told{{"a", "c", 10, true}, {"b", "c", 20, true}, {"c", "d", 30, true}},
			want: map[string]string{"a": "d", "b": "d"},
		},
		"without a time": {
			told: []told{{"a", "b", none, true}, {"a", "c", none, false}, {"a", "c", 1, true}},
			want: map[string]string{"a": "c"},
		},
		"without a time after one with": {
			told: []told{{"a", "b", 1, true}, {"a", "c", none, false}},
			want: map[string]string{"a": "b"},
		},
		"of a time that no store can write": {
			told: []told{{"a", "b", -1 << 50, true}, {"a", "c", -1, false}, {"a", "c", 1, true}},
			want: map[string]string{"a": "c"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			st := newStore()
			for _, contacts := range []bool{false, true} {
				b, own := checked{t, contact.New(st, contact.Config{})}, fmt.Sprint(own, contacts)
				if contacts {
					b.keep(own, party("a"))
				}
				for i, s := range tt.told {
					if s.prior == "" {
						if left, err := b.Met(t.Context(), own, party(s.did), time.Time{}, s.iat != 0); left || err != nil {
							t.Errorf("%d: %s has left: %v, %v", i, s.did, left, err)
						}
						continue
					}
					r := contact.Rotation{Prior: party(s.prior)}
					if s.did != "" {
						r.DID = party(s.did)
					}
					if s.iat != none {
						r.IssuedAt = at(s.iat)
					}
					if holds, err := b.Rotate(t.Context(), own, r); holds != s.want || err != nil {
						t.Errorf("%d: rotation from %s to %q at %d holds: %v, %v", i, s.prior, s.did, s.iat, holds, err)
					}
				}
				for when, b := range map[string]checked{"": b, " after a restart": {t, eager(st)}} {
					for id, want := range tt.want {
						if want != "ended" {
							want = party(want)
						}
						if now := b.current(own, party(id)); now != want {
							t.Errorf("%s goes by %s, want %s%s", id, now, want, when)
						}
						if left := b.left(own, party(id)); left != (want != party(id)) {
							t.Errorf("%s is left: %v%s", id, left, when)
						}
					}
				}
			}
		})
	}
}

// none stands for a from_prior without iat.
const none = -1 << 60

// The rotations of a party are followed to the last, in whatever order they are told,
// even if each is told several times and to several processes.
func TestHistories(t *testing.T) {
	for seed := range uint64(300) {
		random := rand.New(rand.NewPCG(seed, seed))
		var history []told
		now, seen := 0, map[int]bool{0: true}
		for i := range 1 + random.IntN(12) {
			next := random.IntN(6)
			if next == now {
				continue
			}
			history = append(history, told{prior: fmt.Sprint(now), did: fmt.Sprint(next), iat: int64(10 * (i + 1))})
			now = next
			seen[now] = true
		}
		ends := random.IntN(4) == 0
		if ends {
			history = append(history, told{prior: fmt.Sprint(now), iat: 1000})
		}
		st := newStore()
		books := []checked{{t, contact.New(st, contact.Config{})}, {t, contact.New(st, contact.Config{})}, {t, eager(st)}}
		tell := func(s told) {
			r := contact.Rotation{Prior: party(s.prior), IssuedAt: at(s.iat)}
			if s.did != "" {
				r.DID = party(s.did)
			}
			_, err := books[random.IntN(len(books))].Rotate(t.Context(), own, r)
			if err != nil {
				t.Fatal(err)
			}
		}
		order := append(append([]told(nil), history...), history...)
		random.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
		for _, s := range order {
			tell(s)
		}
		want := party(fmt.Sprint(now))
		if ends {
			want = "ended"
		}
		b := checked{t, eager(st)}
		for id := range seen {
			id := party(fmt.Sprint(id))
			if got := b.current(own, id); got != want {
				t.Errorf("seed %d: %s goes by %s, want %s: %v", seed, id, got, want, order)
			}
			if left := b.left(own, id); left != (id != want) {
				t.Errorf("seed %d: %s is left: %v: %v", seed, id, left, order)
			}
		}
	}
}

// A rotation that one DID of ours is told changes nothing for another DID of ours.
func TestOwnDIDsAreApart(t *testing.T) {
	b := checked{t, contact.New(newStore(), contact.Config{})}
	b.rotate(own, party("a"), party("b"), 10)
	b.rotate(own, party("c"), "", 10)
	for _, id := range []string{party("a"), party("c")} {
		if now := b.current(other, id); now != id || b.left(other, id) || !b.left(own, id) {
			t.Errorf("%s goes by %s for the other", id, now)
		}
	}
	b.rotate(other, party("a"), party("z"), 5)
	if b.current(other, party("a")) != party("z") || b.current(own, party("a")) != party("b") {
		t.Error("a rotation that another DID of ours was told of has changed what is known")
	}
}

// The long and the short form of a did:peer:4 are one DID.
func TestForms(t *testing.T) {
	ctx := t.Context()
	st := newStore()
	b := checked{t, contact.New(st, contact.Config{})}
	long, short := peer4(t, "one")
	next, nextShort := peer4(t, "two")
	unknown, unknownShort := peer4(t, "three")
	b.met(own, short) // proves nothing that the DID does not tell
	b.met(own, party("a"))
	b.met(own, unknown+"x") // has another hash
	if n := count(t, st, "contact"); n != 0 || b.long(short) != "" {
		t.Errorf("%d records", n)
	}
	b.met(own, long)
	if got := b.long(short); got != long {
		t.Errorf("long form is %q", got)
	}
	b.met(own, short)
	if got := b.current(own, short); b.long(short) != long || got != short {
		t.Errorf("goes by %s, long form %q", got, b.long(short))
	}
	b.met(own, next)
	if !b.rotate(own, short, nextShort, 10) || !b.left(own, long) || !b.left(own, short) {
		t.Error("the long form has not left with the short form")
	}
	if b.current(own, long) != next || b.current(own, short) != next || b.long(nextShort) != next || b.long(short) != long {
		t.Errorf("goes by %s; long forms %q and %q", b.current(own, long), b.long(nextShort), b.long(short))
	}
	if !b.rotate(own, long, next, 10) || b.current(own, short) != next {
		t.Errorf("goes by %s", b.current(own, short))
	}
	// The short form is kept first, and the long form learned later.
	b.keep(own, unknownShort)
	if b.long(unknownShort) != "" {
		t.Error("long form known from nowhere")
	}
	b.met(own, unknown)
	if b.long(unknownShort) != unknown {
		t.Errorf("long form is %q", b.long(unknownShort))
	}
	last, lastShort := peer4(t, "four")
	b.keep(own, lastShort)
	b.keep(own, last)
	b.keep(own, lastShort)
	if b.long(lastShort) != last {
		t.Errorf("long form is %q", b.long(lastShort))
	}
	b.met(own, nextShort) // which confirms the rotation
	if b.long(nextShort) != next {
		t.Errorf("long form is %q after the short form was met", b.long(nextShort))
	}
	b.must(b.Forget(ctx, own, next))
	if now := b.current(own, short); now != next {
		t.Errorf("goes by %s, with a form that does not resolve", now)
	}
	// A rotation has long forms too.
	from, fromShort := peer4(t, "from")
	to, toShort := peer4(t, "to")
	b.keep(own, fromShort)
	b.keep(own, toShort)
	b.rotate(own, from, to, 10)
	if b.long(fromShort) != from || b.long(toShort) != to {
		t.Errorf("long forms %q and %q", b.long(fromShort), b.long(toShort))
	}
	// It is found for every DID of ours.
	if left, err := b.Met(ctx, other, fromShort, time.Time{}, false); left || err != nil || b.long(fromShort) != from {
		t.Errorf("left %v, %v", left, err)
	}
}

// A party cannot make an unlimited number of contacts by rotation, or a long chain of
// rotations.
func TestManyRotations(t *testing.T) {
	const most = 1000
	st, log := newStore(), new(journal)
	b := checked{t, contact.New(st, contact.Config{Logger: log.logger()})}
	b.keep(own, party("0"))
	for i := range most {
		if !b.rotate(own, party(fmt.Sprint(i)), party(fmt.Sprint(i+1)), int64(i)) {
			t.Fatalf("rotation %d is not followed", i)
		}
		b.met(own, party(fmt.Sprint(i+1)))
	}
	if b.rotate(own, party(fmt.Sprint(most)), party("more"), most) || log.count(slog.LevelWarn) != 1 {
		t.Errorf("one rotation too many is followed, or not logged once: %d", log.count(slog.LevelWarn))
	}
	if n := count(t, st, "contact"); n != most+1 {
		t.Errorf("%d records", n)
	}
	end := party(fmt.Sprint(most))
	var c calls
	fresh := checked{t, contact.New(hooked{st, c.hook}, contact.Config{})}
	if now := fresh.current(own, party("0")); now != end {
		t.Errorf("goes by %s", now)
	}
	fresh.keep(own, party("0"))
	c.take()
	fresh = checked{t, contact.New(hooked{st, c.hook}, contact.Config{})}
	if now, took := fresh.current(own, party("0")), c.take(); now != end || took != "2 get" {
		t.Errorf("goes by %s, after %s", now, took)
	}
	// DIDs that are skipped still count as left.
	if !fresh.left(own, party("500")) || fresh.current(own, party("500")) != end {
		t.Error("a DID in between is not left")
	}
	if fresh.rotate(own, party("0"), party("thief"), most+1) {
		t.Error("a DID that was left long ago rotates")
	}
	// A shortened chain is as firm as before.
	b.keep(own, party("a"))
	b.rotate(own, party("a"), party("b"), 10)
	b.met(own, party("b"))
	b.rotate(own, party("b"), party("c"), 20)
	b.keep(own, party("a"))
	if b.rotate(own, party("a"), party("thief"), 30) {
		t.Error("a DID that was left rotates")
	}
}

// A rotation of a contact is followed even if there are too many contacts.
func TestRotationOfFullBook(t *testing.T) {
	st := newStore()
	b := checked{t, contact.New(st, contact.Config{MaxContacts: 3, MaxStrangers: 2})}
	for i := range 5 {
		b.keep(own, party(fmt.Sprint(i)))
	}
	wantFull(t, b.Keep(t.Context(), own, party("5")))
	if !b.rotate(own, party("0"), party("new"), 10) || b.current(own, party("0")) != party("new") {
		t.Error("not followed")
	}
	// There is no room for the stranger, but its messages are not refused.
	long, short := peer4(t, "stranger")
	b.met(own, long)
	if b.long(short) != "" || b.rotate(own, party("stranger"), party("strange"), 10) {
		t.Error("a stranger found room")
	}
	if b.current(own, party("stranger")) != party("stranger") {
		t.Error("half of a rotation is noted")
	}
	if _, err := b.Rotate(context.Background(), own, contact.Rotation{Prior: party("new"), DID: party("newer"), IssuedAt: time.Now()}); err != nil {
		t.Error(err)
	}
}

// If the store is full, the rotation of a contact is an error, so that it is told again.
// The rotations of strangers are not recorded.
func TestFullStore(t *testing.T) {
	st := store.New(store.Config{Records: store.RecordsConfig{MaxItems: 2}})
	b := checked{t, contact.New(st, contact.Config{})}
	b.keep(own, party("a"))
	b.keep(own, party("b"))
	wantFull(t, b.Keep(t.Context(), own, party("c")))
	_, err := b.Rotate(t.Context(), own, contact.Rotation{Prior: party("a"), DID: party("c"), IssuedAt: at(10)})
	wantFull(t, err)
	long, short := peer4(t, "stranger")
	b.met(own, long)
	if b.long(short) != "" || b.rotate(own, party("stranger"), party("strange"), 10) || b.rotate(own, party("stranger"), "", 10) {
		t.Error("a stranger found room")
	}
	if !b.rotate(own, party("a"), party("b"), 10) {
		t.Error("a rotation that needs no room is not followed")
	}
}
