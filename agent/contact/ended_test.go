package contact_test

import (
	"context"
	"testing"
	"time"

	"github.com/didcomm-go/didcomm/agent/contact"
)

// says tells the Book of a message that was sent at a time.
func (b checked) says(own, peer string, sent time.Time) {
	b.Helper()
	if left, err := b.Met(context.Background(), own, peer, sent, false); left || err != nil {
		b.Errorf("left: %t, %v", left, err)
	}
}

// reopens tells the Book of a message of a party that has left.
func (b checked) reopens(own, peer string, sent time.Time) bool {
	b.Helper()
	reopened, err := b.Reopen(context.Background(), own, peer, sent)
	b.must(err)
	return reopened
}

// An end is followed if it is not older than the last message of the contact.
func TestEndAfterMessage(t *testing.T) {
	a, now := party("a"), int64(1_800_000_000)
	for name, tt := range map[string]struct {
		heard []time.Time // of messages
		iat   int64
		ended bool
	}{
		"no message":                   {nil, now, true},
		"later":                        {[]time.Time{at(now)}, now + 1, true},
		"in the same second":           {[]time.Time{at(now).Add(999 * time.Millisecond)}, now, true},
		"earlier":                      {[]time.Time{at(now)}, now - 1, false},
		"earlier than one of two":      {[]time.Time{at(now - 10), at(now)}, now - 1, false},
		"messages in another order":    {[]time.Time{at(now), at(now - 10)}, now - 1, false},
		"a message passed on, earlier": {[]time.Time{{}}, now - 1, true},
	} {
		t.Run(name, func(t *testing.T) {
			st := newStore()
			b := checked{t, contact.New(st, contact.Config{})}
			b.keep(own, a)
			b.keep(other, a)
			for _, sent := range tt.heard {
				b.says(own, a, sent)
			}
			if holds := b.rotate(own, a, "", tt.iat); holds != tt.ended {
				t.Errorf("followed: %t", holds)
			}
			for name, b := range map[string]checked{"the Book": b, "another": {t, eager(st)}} {
				if got := b.current(own, a) == "ended"; got != tt.ended {
					t.Errorf("%s: ended %t", name, got)
				}
			}
			if b.current(other, a) != a {
				t.Error("ended for another DID of ours")
			}
		})
	}
}

// A later message opens the relationship again, and the same end has no effect then.
func TestReopen(t *testing.T) {
	for name, known := range map[string]bool{"contact": true, "stranger": false} {
		t.Run(name, func(t *testing.T) {
			a, b := party("a"), checked{t, eager(newStore())}
			if known {
				b.keep(own, a)
			}
			if b.reopens(own, a, at(90)) {
				t.Error("reopened what was open")
			}
			b.rotate(own, a, "", 100)
			if b.reopens(own, a, at(99)) || b.reopens(own, a, time.Time{}) || b.reopens(other, a, at(101)) || b.current(own, a) != "ended" {
				t.Error("reopened by an earlier message, or one to another DID of ours")
			}
			if !b.left(own, a) || !b.reopens(own, a, at(100)) || b.left(own, a) || b.current(own, a) != a {
				t.Error("not reopened")
			}
			if b.rotate(own, a, "", 100) || b.current(own, a) != a {
				t.Error("ended by the same from_prior again")
			}
			if !b.rotate(own, a, "", 101) || b.current(own, a) != "ended" {
				t.Error("not ended again")
			}
		})
	}
	// A party that has gone to another DID does not return to the first one.
	b := checked{t, eager(newStore())}
	b.rotate(own, party("a"), party("b"), 100)
	if b.reopens(own, party("a"), at(200)) || b.current(own, party("a")) != party("b") {
		t.Error("a message undoes a rotation")
	}
}

// Another process, or the same one after its restart, knows the last message to the minute.
func TestHeardElsewhere(t *testing.T) {
	a, now := party("a"), int64(1_800_000_000)
	st := newStore()
	b := checked{t, contact.New(st, contact.Config{})}
	b.keep(own, a)
	for n := range int64(150) {
		b.says(own, a, at(now+n))
	}
	if checked := (checked{t, eager(st)}); checked.rotate(own, a, "", now+119) || checked.current(own, a) != a {
		t.Error("an old end is followed elsewhere")
	}
	if b.rotate(own, a, "", now+148) || b.current(own, a) != a {
		t.Error("an old end is followed")
	}
}

// Messages of contacts cost a write at most once a minute, those of strangers none.
func TestHeardIsSeldomStored(t *testing.T) {
	a, now := party("a"), int64(1_800_000_000)
	var c calls
	b := checked{t, contact.New(hooked{newStore(), c.hook}, contact.Config{Fresh: time.Hour})}
	b.says(own, party("stranger"), at(now))
	b.keep(own, a)
	c.take()
	for n := range int64(600) {
		b.says(own, a, at(now+n))
		b.says(own, party("stranger"), at(now+n))
	}
	if took := c.take(); took != "11 get, 10 commit" {
		t.Errorf("600 messages in ten minutes took %s", took)
	}
}

// A message is not refused because its time cannot be stored.
func TestHeardNotStored(t *testing.T) {
	a, down := party("a"), false
	b := checked{t, contact.New(hooked{newStore(), func(call string) error {
		if down && call == "commit" {
			return errBefore
		}
		return nil
	}}, contact.Config{})}
	b.keep(own, a)
	down = true
	b.says(own, a, at(1000))
	down = false
	if b.rotate(own, a, "", 999) {
		t.Error("the time of the message is lost")
	}
	if _, err := b.Reopen(t.Context(), own, a, at(1000)); err != nil {
		t.Error(err)
	}
}
