package sqlsuite

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/agent/store/sqlstore"
)

// Fill puts entries of every kind and state into an empty store.
func Fill(t testing.TB, s *sqlstore.Store) {
	t.Helper()
	ctx, out, in, box, keys := t.Context(), s.Outbox(), s.Inbox(), s.Mailbox(), s.SealedKeys()
	lease := func(id string) *store.Lease[store.Item] {
		t.Helper()
		check(t, "Enqueue", out.Enqueue(ctx, item(id, "did:example:a", id)), nil)
		l, err := out.Lease(ctx, ages)
		if err != nil || l.Item.ID != id {
			t.Fatalf("leased %v, %v, want %s", l, err, id)
		}
		return l
	}
	lease("leased")
	check(t, "Term", out.Term(ctx, lease("buried"), "gone"), nil)
	check(t, "Nak", out.Nak(ctx, lease("later"), ages, "busy"), nil)
	check(t, "Enqueue", out.Enqueue(ctx, item("waiting", "did:example:b", "t"), item("behind", "did:example:b", "t")), nil)

	add := func(id string, d time.Duration) *store.Lease[store.Received] {
		t.Helper()
		m := received("did:example:a", id)
		if d == 0 {
			m.Packet.Data = nil
		}
		l, known, err := in.Add(ctx, m, d)
		if err != nil || known != nil {
			t.Fatalf("Add(%s) = %v, %v", id, known, err)
		}
		return l
	}
	check(t, "Ack", in.Ack(ctx, add("done", ages), store.Packet{MediaType: "x/y", Data: []byte("reply")}), nil)
	check(t, "Term", in.Term(ctx, add("aside", ages), "poison"), nil)
	check(t, "Nak", in.Nak(ctx, add("later", ages), ages, "busy"), nil)
	add("leased", ages)
	add("bare", 0)

	for _, id := range []string{"1", "2", "3"} {
		m := mail(id)
		if id == "3" {
			m.Expires = time.UnixMicro(4e15)
		}
		check(t, "Deposit", box.Deposit(ctx, m, "did:example:box"), nil)
	}
	if m, err := box.Lease(ctx, "did:example:box", store.Pick{N: 1}, ages); err != nil || len(m) != 1 {
		t.Fatal(m, err)
	}
	for _, r := range filledRecords() {
		if _, err := s.Records().Put(ctx, r); err != nil {
			t.Fatal(err)
		}
	}
	check(t, "SetWrapping", keys.SetWrapping(ctx, nil, []byte{0, 1, 255}), nil)
	check(t, "Put", keys.Put(ctx, store.SealedKey{KID: "did:example:us#2", Sealed: []byte{0, 2}}, store.SealedKey{KID: "did:example:us#1", Sealed: []byte{0, 1}}), nil)
}

func filledRecords() []store.Record {
	return []store.Record{
		{Collection: "contacts", Key: "did:example:b", Value: []byte{0, 255}, Index: []string{"known", "did:example:old"}},
		{Collection: "contacts", Key: "did:example:a", Index: []string{"known"}, Expires: time.UnixMicro(4e15)},
		{Collection: "exchanges", Key: "1", Value: []byte("state")},
	}
}

// checkFilled asserts that a store has the entries of Fill, and can work with them. If the
// back end has heartbeats, the leases of Fill may have been given back, since its process is
// gone.
func checkFilled(t testing.TB, s *sqlstore.Store) {
	t.Helper()
	checkOutbox(t, s.Outbox().(*sqlstore.Outbox))
	checkInbox(t, s.Inbox().(*sqlstore.Inbox))
	checkMailbox(t, s.Mailbox())
	checkRecords(t, s.Records())
	keys := s.SealedKeys()
	if w, err := keys.Wrapping(t.Context()); err != nil || !bytes.Equal(w, []byte{0, 1, 255}) {
		t.Errorf("wrapping %x, %v", w, err)
	}
	all, err := keys.All(t.Context())
	if got, want := fmt.Sprint(all), "[{did:example:us#2 [0 2]} {did:example:us#1 [0 1]}]"; got != want || err != nil {
		t.Errorf("keys %s, %v, want %s", got, err, want)
	}
}

func checkOutbox(t testing.TB, out *sqlstore.Outbox) {
	t.Helper()
	ctx := t.Context()
	list, err := out.List(ctx, 0, 10)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range list {
		got = append(got, fmt.Sprint(e.Item.ID, " ", leasedBefore(e.Item.ID, e.State), " ", e.Attempts, " ", e.LastError))
	}
	if want := []string{"leased leased 1 ", "buried buried 1 gone", "later waiting 1 busy", "waiting waiting 0 ", "behind waiting 0 "}; !slices.Equal(got, want) {
		t.Errorf("outbox %q, want %q", got, want)
	}
	lease := func() *store.Lease[store.Item] {
		for {
			l, err := out.Lease(ctx, time.Hour)
			if err != nil {
				t.Fatal(err)
			}
			if l.Item.ID != "leased" {
				return l
			}
		}
	}
	for _, id := range []string{"waiting", "behind"} {
		l := lease()
		if got, want := fmt.Sprint(l.Item), fmt.Sprint(item(id, "did:example:b", "t")); got != want {
			t.Errorf("leased %s\n  want %s", got, want)
		}
		check(t, "Ack", out.Ack(ctx, l), nil)
	}
	check(t, "Retry", out.Retry(ctx, "buried", time.Time{}), nil)
	check(t, "Wake", out.Wake(ctx, "did:example:a"), nil)
	for range 2 {
		l := lease()
		if got, want := fmt.Sprint(l.Item), fmt.Sprint(item(l.Item.ID, "did:example:a", l.Item.ID)); got != want {
			t.Errorf("leased %s\n  want %s", got, want)
		}
		check(t, "Ack", out.Ack(ctx, l), nil)
	}
	check(t, "Drop", out.Drop(ctx, "leased"), nil)
	if list, err := out.List(ctx, 0, 10); err != nil || len(list) != 0 {
		t.Errorf("left: %v, %v", list, err)
	}
}

// leasedBefore is the state of an item, or the state in which Fill has left it.
func leasedBefore(id string, now store.State) store.State {
	if id == "leased" && now == store.Waiting {
		return store.Leased
	}
	return now
}

func checkInbox(t testing.TB, in *sqlstore.Inbox) {
	t.Helper()
	ctx := t.Context()
	got, err := in.Remembered(ctx, "did:example:a", []string{"bare", "leased", "later", "aside", "done", "none"})
	if want := []string{"done", "aside", "later", "leased", "bare"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("remembered %q, %v, want %q", got, err, want)
	}
	list, err := in.List(ctx, 0, 10)
	if err != nil {
		t.Fatal(err)
	}
	var states []string
	for _, e := range list {
		states = append(states, fmt.Sprint(e.Item.ID, " ", leasedBefore(e.Item.ID, e.State), " ", e.Attempts, " ", e.LastError))
		if got, want := fmt.Sprint(e.Item), fmt.Sprint(received("did:example:a", e.Item.ID)); got != want {
			t.Errorf("listed %s\n  want %s", got, want)
		}
	}
	if want := []string{"done done 1 ", "aside buried 1 poison", "later waiting 1 busy", "leased leased 1 "}; !slices.Equal(states, want) {
		t.Errorf("inbox %q, want %q", states, want)
	}
	_, known, err := in.Add(ctx, received("did:example:a", "done"), time.Hour)
	if err != nil || known == nil || known.State != store.Done || len(known.Replies) != 1 || string(known.Replies[0].Data) != "reply" {
		t.Errorf("known %+v, %v", known, err)
	}
	check(t, "Retry", in.Retry(ctx, list[1].Seq), nil)
	l, err := in.Lease(ctx, time.Hour)
	if err == nil && l.Item.ID == "leased" {
		l, err = in.Lease(ctx, time.Hour)
	}
	if err != nil || l.Item.ID != "aside" || l.Attempts != 0 {
		t.Fatalf("leased %v, %v", l, err)
	}
	check(t, "Ack", in.Ack(ctx, l), nil)
}

func checkMailbox(t testing.TB, box *sqlstore.Mailbox) {
	t.Helper()
	ctx := t.Context()
	if s, err := box.Status(ctx, "did:example:box"); err != nil || s.Count != 3 || s.Bytes != 18 || !s.Oldest.Equal(time.UnixMicro(1e15)) {
		t.Errorf("status %+v, %v", s, err)
	}
	m, err := box.Lease(ctx, "did:example:box", store.Pick{N: 10}, time.Hour)
	if err != nil || len(m) != 2 || m[0].ID != "2" || m[1].ID != "3" || !m[1].Expires.Equal(time.UnixMicro(4e15)) || string(m[1].Packet.Data) != "mail 3" {
		t.Errorf("mail %+v, %v", m, err)
	}
	if n, err := box.Ack(ctx, "did:example:box", "1", "2", "3"); n != 3 || err != nil {
		t.Errorf("acked %d, %v", n, err)
	}
}

func checkRecords(t testing.TB, s store.Records) {
	t.Helper()
	ctx, want := t.Context(), filledRecords()
	list, err := s.List(ctx, store.Query{Collection: "contacts", Index: "known", N: 10})
	if err != nil || len(list) != 2 {
		t.Fatalf("listed %v, %v", list, err)
	}
	one, err := s.Get(ctx, "exchanges", "1")
	check(t, "Get", err, nil)
	last := uint64(0)
	for i, r := range append(list, one) {
		if r.Version <= last {
			t.Errorf("version %d of %s after %d", r.Version, r.Key, last)
		}
		last, r.Version = r.Version, 0
		if got, want := fmt.Sprint(r), fmt.Sprint(want[i]); got != want {
			t.Errorf("record %s, want %s", got, want)
		}
	}
	one.Limit = 1 // the numbers of the collections are kept, too
	version, err := s.Put(ctx, one)
	if err != nil || version <= last {
		t.Errorf("Put = %d, %v, want more than %d", version, err, last)
	}
	_, err = s.Put(ctx, store.Record{Collection: "exchanges", Key: "2", Limit: 1})
	check(t, "Put", err, store.ErrFull)
	for _, r := range append(list, one) {
		check(t, "Delete", s.Delete(ctx, r.Collection, r.Key, 0), nil)
	}
	_, err = s.Put(ctx, store.Record{Collection: "exchanges", Key: "2", Limit: 1})
	check(t, "Put", err, nil)
}

func testReopen(t *testing.T, d Database) {
	s := d.Open(t, sqlstore.Config{})
	Fill(t, s)
	check(t, "Close", s.Close(), nil)
	checkFilled(t, d.Open(t, sqlstore.Config{}))
}

// testReclaim: with Reclaim, items that a dead process had leased are due at once.
func testReclaim(t *testing.T, d Database) {
	s := d.Open(t, sqlstore.Config{})
	Fill(t, s)
	check(t, "Close", s.Close(), nil)
	s = d.Open(t, sqlstore.Config{Reclaim: true})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	got := make(map[string]bool)
	for range 2 {
		l, err := s.Outbox().Lease(ctx, ages)
		if err != nil {
			t.Fatal(err)
		}
		got[l.Item.ID] = true
	}
	if !got["leased"] || !got["waiting"] {
		t.Errorf("leased %v", got)
	}
	if l, err := s.Inbox().Lease(ctx, ages); err != nil || l.Item.ID != "leased" || l.Attempts != 1 {
		t.Errorf("leased %v, %v", l, err)
	}
	if m, err := s.Mailbox().Lease(ctx, "did:example:box", store.Pick{N: 10}, ages); err != nil || len(m) != 3 || m[0].ID != "1" {
		t.Errorf("leased %v, %v", m, err)
	}
}

// testReclaimAwaiting: with Reclaim, an awaiting item of a dead process is due, and counts as
// a leased item when it is leased. An item that was set aside stays out of its lane.
func testReclaimAwaiting(t *testing.T, d Database) {
	cfg := sqlstore.Config{Outbox: store.OutboxConfig{PerPeer: 1, PerPeerAwaiting: 1}, Reclaim: true}
	s := d.Open(t, cfg)
	out, ctx := s.Outbox(), t.Context()
	lease := func(want string) *store.Lease[store.Item] {
		t.Helper()
		ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		l, err := out.Lease(ctx, ages)
		if err != nil || l.Item.ID != want {
			t.Fatalf("leased %v, %v, want %s", l, err, want)
		}
		return l
	}
	check(t, "Enqueue", out.Enqueue(ctx, item("1", "did:a", "t"), item("2", "did:a", "t"), item("3", "did:a", "u")), nil)
	check(t, "Aside", out.Aside(ctx, lease("1"), ages, "refused"), nil)
	check(t, "Await", out.Await(ctx, lease("3")), nil)
	check(t, "Await", out.Await(ctx, lease("2")), store.ErrFull)
	check(t, "Close", s.Close(), nil)

	s = d.Open(t, cfg)
	out = s.Outbox()
	// Both items are due since the store was opened. Item 2 was queued first.
	second := lease("2")
	short, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
	defer cancel()
	if l, err := out.Lease(short, ages); err == nil {
		t.Fatalf("leased %s, too", l.Item.ID)
	}
	check(t, "Await", out.Await(ctx, second), nil)
	third := lease("3")
	check(t, "Ack", out.Ack(ctx, third), nil)
	check(t, "Wake", out.Wake(ctx, "did:a"), nil)
	check(t, "Ack", out.Ack(ctx, lease("1")), nil) // 2 is still leased
	check(t, "Ack", out.Ack(ctx, second), nil)
}
