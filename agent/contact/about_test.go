package contact_test

import (
	"reflect"
	"testing"
	"time"

	"github.com/didcomm-go/didcomm/agent/contact"
	"github.com/didcomm-go/didcomm/agent/store"
)

// About tells contacts, strangers and unknown parties apart, and follows rotations.
func TestAbout(t *testing.T) {
	const own, other = "did:example:own", "did:example:other"
	ctx, at := t.Context(), time.Unix(1_700_000_000, 0).UTC()
	b := contact.New(store.New(store.Config{}), contact.Config{})
	rotate := func(prior, id string, at time.Time) {
		t.Helper()
		if holds, err := b.Rotate(ctx, own, contact.Rotation{Prior: prior, DID: id, IssuedAt: at}); err != nil || !holds {
			t.Fatal(holds, err)
		}
	}
	keep := func(id string) {
		t.Helper()
		if err := b.Keep(ctx, own, id); err != nil {
			t.Fatal(err)
		}
	}
	keep("did:example:kept")
	keep("did:example:moved")
	rotate("did:example:moved", "did:example:new", at)
	keep("did:example:gone")
	rotate("did:example:gone", "", at)
	rotate("did:example:stranger", "did:example:strange", time.Time{})
	if err := b.Learn(ctx, own, "did:example:moved", func(d *contact.Dialect) { d.NoAcks = true }); err != nil {
		t.Fatal(err)
	}
	for id, want := range map[string]contact.Party{
		"did:example:kept":     {Own: own, DID: "did:example:kept", Contact: true},
		"did:example:moved":    {Own: own, DID: "did:example:new", Contact: true, Since: at, Dialect: contact.Dialect{NoAcks: true}},
		"did:example:new":      {Own: own, DID: "did:example:new", Contact: true, Since: at, Dialect: contact.Dialect{NoAcks: true}},
		"did:example:gone":     {Own: own, DID: "did:example:gone", Contact: true, Ended: true, Since: at},
		"did:example:stranger": {Own: own, DID: "did:example:strange"},
	} {
		got, known, err := b.About(ctx, own, id)
		if got.Since = got.Since.UTC(); got.Since.IsZero() {
			got.Since = time.Time{}
		}
		if err != nil || !known || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, %v, %v, want %+v", id, got, known, err, want)
		}
		if got, known, err := b.About(ctx, other, id); err != nil || known {
			t.Errorf("%s: another DID of ours knows %+v, %v", id, got, err)
		}
	}
	if got, known, err := b.About(ctx, own, "did:example:nobody"); err != nil || known {
		t.Errorf("%+v, %v", got, err)
	}
}
