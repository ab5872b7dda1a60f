package contact_test

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/didcomm-go/didcomm/agent/contact"
)

func TestDialect(t *testing.T) {
	st := newStore()
	b := contact.New(st, contact.Config{})
	learn := func(own, peer string, f func(*contact.Dialect)) {
		t.Helper()
		if err := b.Learn(t.Context(), own, peer, f); err != nil {
			t.Fatal(err)
		}
	}
	want := func(own, peer string, want contact.Dialect) {
		t.Helper()
		for _, book := range []*contact.Book{b, contact.New(st, contact.Config{})} { // from memory and from the store
			d, err := book.Dialect(t.Context(), own, peer)
			if err != nil {
				t.Fatal(err)
			}
			if d.Asked, d.Disclosed = "", ""; !reflect.DeepEqual(d, want) {
				t.Errorf("dialect of %s: %+v, want %+v", peer, d, want)
			}
		}
	}
	speaks := func(d *contact.Dialect) { d.Lacked("a/2.0"); d.Spoke("a/1.0"); d.NoAcks = true }

	// A stranger has no dialect, and leaves no record.
	learn(own, party("stranger"), speaks)
	want(own, party("stranger"), contact.Dialect{})
	if n := count(t, st, "contact"); n != 0 {
		t.Errorf("%d records of a stranger", n)
	}

	if err := b.Keep(t.Context(), own, party("a")); err != nil {
		t.Fatal(err)
	}
	learn(own, party("a"), speaks)
	full := contact.Dialect{Speaks: []string{"a/1.0"}, Lacks: []string{"a/2.0"}, NoAcks: true}
	want(own, party("a"), full)
	want(other, party("a"), contact.Dialect{})

	// A form that is lacked now may be spoken later.
	learn(own, party("a"), func(d *contact.Dialect) { d.Spoke("a/2.0"); d.Spoke("a/1.0") })
	want(own, party("a"), contact.Dialect{Speaks: []string{"a/1.0", "a/2.0"}, NoAcks: true})

	// The dialect moves with the contact.
	if _, err := b.Rotate(t.Context(), own, contact.Rotation{Prior: party("a"), DID: party("b"), IssuedAt: at(10)}); err != nil {
		t.Fatal(err)
	}
	learn(own, party("a"), speaks)
	for _, id := range []string{party("a"), party("b")} {
		want(own, id, full)
	}

	// Other queries say nothing about a change. The same queries do, but a capability stays.
	full.Capability = "secret"
	learn(own, party("b"), func(d *contact.Dialect) { d.Capability = "secret" })
	for _, tt := range []struct{ queries, answer string }{{"*", "x"}, {"*", "x"}, {"y", "z"}} {
		learn(own, party("b"), func(d *contact.Dialect) { d.Disclose(tt.queries, tt.answer) })
		want(own, party("b"), full)
	}
	learn(own, party("b"), func(d *contact.Dialect) { d.Disclose("y", "changed") })
	want(own, party("b"), contact.Dialect{Capability: "secret"})
}

func TestDialectIsBounded(t *testing.T) {
	b := contact.New(newStore(), contact.Config{})
	if err := b.Keep(t.Context(), own, party("a")); err != nil {
		t.Fatal(err)
	}
	var newest []string
	if err := b.Learn(t.Context(), own, party("a"), func(d *contact.Dialect) {
		for i := range 1000 {
			d.Spoke(fmt.Sprint(i))
			newest = append(newest, fmt.Sprint(i))
		}
		d.Spoke(strings.Repeat("x", 10_000))
		d.Lacked("")
	}); err != nil {
		t.Fatal(err)
	}
	d, err := b.Dialect(t.Context(), own, party("a"))
	if n := len(d.Speaks); err != nil || n == 0 || n > 16 || !slices.Equal(d.Speaks, newest[len(newest)-n:]) || d.Lacks != nil {
		t.Errorf("%+v, %v", d, err)
	}
}
