package contact_test

import (
	"testing"

	"github.com/didcomm-go/didcomm/agent/contact"
)

// A rotation that only the prior DID has proven waits for a message of the new DID.
func TestAnnounce(t *testing.T) {
	const iat = 10
	announce := func(b checked, prior, next string, iat int64) {
		t.Helper()
		b.must(b.Announce(t.Context(), own, contact.Rotation{Prior: prior, DID: next, IssuedAt: at(iat)}))
	}
	for _, tt := range []struct {
		name   string
		before func(b checked)
		then   func(b checked)
		want   string // the DID of party a afterwards
	}{
		{"nothing came from the new DID", nil, nil, party("a")},
		{"a message of the new DID", nil, func(b checked) { b.says(own, party("b"), at(iat)) }, party("b")},
		{"an ack of the new DID", nil, func(b checked) { b.met(own, party("b")) }, party("a")},
		{"a message of the new DID after an ack", nil, func(b checked) {
			b.met(own, party("b"))
			b.says(own, party("b"), at(iat))
		}, party("b")},
		{"the new DID is a contact since", nil, func(b checked) {
			b.keep(own, party("b"))
			b.says(own, party("b"), at(iat))
		}, party("a")},
		{"a message of the new DID that may have been passed on", nil, func(b checked) { b.left(own, party("b")) }, party("a")},
		{"a message of the new DID to another DID of ours", nil, func(b checked) { b.says(other, party("b"), at(iat)) }, party("a")},
		{"a message of another party", nil, func(b checked) { b.says(own, party("c"), at(iat)) }, party("a")},
		{"a message of the prior DID", nil, func(b checked) { b.says(own, party("a"), at(iat)) }, party("a")},
		{"the new DID was a contact before", func(b checked) { b.keep(own, party("b")) }, func(b checked) { b.says(own, party("b"), at(iat)) }, party("a")},
		{"the new DID was announced by another party before", func(b checked) {
			b.keep(own, party("c"))
			announce(b, party("c"), party("b"), iat)
		}, func(b checked) { b.says(own, party("b"), at(iat)) }, party("a")},
		{"announced twice", func(b checked) { announce(b, party("a"), party("b"), iat-1) }, func(b checked) { b.says(own, party("b"), at(iat)) }, party("b")},
		{"another rotation is newer", nil, func(b checked) {
			b.rotate(own, party("a"), party("c"), iat+1)
			b.says(own, party("b"), at(iat))
		}, party("c")},
		{"the relationship has ended since", nil, func(b checked) {
			b.rotate(own, party("a"), "", iat+1)
			b.says(own, party("b"), at(iat))
		}, "ended"},
		{"the prior DID was left before", func(b checked) { b.rotate(own, party("a"), party("c"), iat-1) }, func(b checked) { b.says(own, party("b"), at(iat)) }, party("c")},
		{"the new DID has ended the relationship", nil, func(b checked) { b.rotate(own, party("b"), "", iat) }, "ended"},
		{"the new DID had ended the relationship before the announcement", nil, func(b checked) { b.rotate(own, party("b"), "", iat-1) }, "ended"},
		{"an end before the last message of the prior DID", func(b checked) { b.says(own, party("a"), at(iat+2)) },
			func(b checked) { b.rotate(own, party("b"), "", iat+1) }, party("a")},
		{"an end of another party", nil, func(b checked) { b.rotate(own, party("c"), "", iat) }, party("a")},
		{"with its from_prior", nil, func(b checked) { b.rotate(own, party("a"), party("b"), iat) }, party("b")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			st := newStore()
			b := checked{t, contact.New(st, contact.Config{})}
			b.keep(own, party("a"))
			if tt.before != nil {
				tt.before(b)
			}
			announce(b, party("a"), party("b"), iat)
			if tt.then != nil {
				tt.then(b)
			}
			for _, book := range []checked{b, {t, eager(st)}} {
				if got := book.current(own, party("a")); got != tt.want {
					t.Errorf("current %s, want %s", got, tt.want)
				}
			}
		})
	}
	t.Run("by a stranger", func(t *testing.T) {
		st := newStore()
		b := checked{t, contact.New(st, contact.Config{})}
		announce(b, party("a"), party("b"), iat)
		if n := count(t, st, "contact"); n != 0 {
			t.Errorf("%d records", n)
		}
	})
	t.Run("of many DIDs", func(t *testing.T) {
		st := newStore()
		b := checked{t, contact.New(st, contact.Config{MaxStrangers: 4})}
		b.keep(own, party("a"))
		for _, name := range []string{"b", "c", "d", "e", "f", "g", "h"} {
			announce(b, party("a"), party(name), iat)
		}
		if n := count(t, st, "contact"); n > 5 {
			t.Errorf("%d records", n)
		}
	})
}

// A party that announces the DID of another does not choose how messages to that DID are sent.
func TestAnnouncedDialect(t *testing.T) {
	for name, proven := range map[string]bool{"announced": false, "proven by both": true} {
		t.Run(name, func(t *testing.T) {
			b := checked{t, eager(newStore())}
			b.keep(own, party("a"))
			b.must(b.Learn(t.Context(), own, party("a"), func(d *contact.Dialect) { d.NoAcks = true }))
			if proven {
				b.rotate(own, party("a"), party("b"), 10)
			} else {
				b.must(b.Announce(t.Context(), own, contact.Rotation{Prior: party("a"), DID: party("b"), IssuedAt: at(10)}))
				b.says(own, party("b"), at(10))
			}
			d, err := b.Dialect(t.Context(), own, party("a"))
			b.must(err)
			if b.current(own, party("a")) != party("b") || d.NoAcks != proven {
				t.Errorf("dialect %+v", d)
			}
		})
	}
}
