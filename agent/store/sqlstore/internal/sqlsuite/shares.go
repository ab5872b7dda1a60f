package sqlsuite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/agent/store/sqlstore"
)

// CheckShares asserts that the counts in the tables are those of the entries of each party.
// No process may write at the same time.
func CheckShares(t testing.TB, db *sql.DB) {
	t.Helper()
	const inbox = "SELECT peer AS party, size FROM inbox WHERE state < 2 UNION ALL SELECT owner, size FROM inbox WHERE state < 2 AND owner <> ''"
	for what, count := range map[string]struct{ has, counted string }{
		"inbox":  {inbox, "inbox_peer"},
		"peers":  {"SELECT peer AS party, size FROM outbox WHERE place < 2", "outbox_peer"},
		"owners": {"SELECT owner AS party, size FROM outbox WHERE place < 2 AND owner <> ''", "outbox_owner"},
	} {
		party := "peer"
		if what == "owners" {
			party = "owner"
		}
		has := parties(t, db, "SELECT party, COUNT(*), CAST(SUM(size) AS BIGINT) FROM ("+count.has+") l GROUP BY party")
		counted := parties(t, db, "SELECT "+party+", items, bytes FROM "+count.counted)
		if !maps.Equal(has, counted) {
			t.Errorf("%s: counted %v, there are %v", what, counted, has)
		}
	}
	checkMailShares(t, db)
}

// parties returns the shares that a query selects, by party.
func parties(t testing.TB, db *sql.DB, query string) map[string]store.Share {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), query)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	all := make(map[string]store.Share)
	for rows.Next() {
		var party string
		var s store.Share
		if err := rows.Scan(&party, &s.Items, &s.Bytes); err != nil {
			t.Fatal(err)
		}
		all[party] = s
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}

// Churn makes random calls for a few owners and peers until that many rounds are over or ctx
// ends. It returns the first unexpected error.
func Churn(ctx context.Context, s *sqlstore.Store, name string, rounds int) error {
	r := rand.New(rand.NewPCG(uint64(len(name)), uint64(name[len(name)-1])))
	out, in := s.Outbox(), s.Inbox()
	owner := func() string { return []string{"", "did:us:1", "did:us:2", "did:us:3"}[r.IntN(4)] }
	bound := store.Share{Items: 30, Bytes: 2000}
	var messages []*store.Lease[store.Received]
	for i := 0; i < rounds && ctx.Err() == nil; i++ {
		var errs []error
		id := fmt.Sprint(name, " ", i)
		m := received(fmt.Sprint("did:", r.IntN(5)), id)
		m.Owner, m.OwnerShare, m.PeerShare = owner(), bound, bound
		l, _, err := in.Add(ctx, m, time.Hour)
		errs = append(errs, err)
		if l != nil {
			messages = append(messages, l)
		}
		items := func(id string) []store.Item {
			items := make([]store.Item, 1+r.IntN(3))
			for k := range items {
				items[k] = sized(fmt.Sprint(id, " ", k), fmt.Sprint("did:", r.IntN(5)), r.IntN(50))
				items[k].Owner, items[k].OwnerShare = owner(), bound
			}
			return items
		}
		errs = append(errs, out.Enqueue(ctx, items(id)...))
		if n := len(messages); n > 0 && r.IntN(3) > 0 {
			l, messages = messages[n-1], messages[:n-1]
			switch r.IntN(5) {
			case 0:
				err = in.Nak(ctx, l, 0, "busy")
			case 1:
				err = in.Term(ctx, l, "poison")
			case 2, 3:
				err = s.Commit(ctx, &store.Changes{Ack: l, Enqueue: items("answer " + id)})
			default:
				err = in.Ack(ctx, l, store.Packet{Data: make([]byte, 10)})
			}
			errs = append(errs, err)
		}
		errs = append(errs, churnOutbox(ctx, r, out), churnAdmin(ctx, r, s), churnMail(ctx, r, s.Mailbox(), id))
		for _, err := range errs {
			if err != nil && ctx.Err() == nil && !errors.Is(err, store.ErrFull) && !errors.Is(err, store.ErrLease) && !errors.Is(err, store.ErrNotFound) {
				return err
			}
		}
	}
	return nil
}

// churnOutbox leases an item, if one is due soon, and ends the lease.
func churnOutbox(ctx context.Context, r *rand.Rand, out store.Outbox) error {
	soon, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
	defer cancel()
	l, err := out.Lease(soon, time.Hour)
	if err != nil {
		return nil
	}
	switch r.IntN(6) {
	case 0:
		return out.Nak(ctx, l, 0, "busy")
	case 1:
		return out.Aside(ctx, l, 0, "refused")
	case 2:
		return out.Await(ctx, l)
	case 3:
		return out.Term(ctx, l, "gone")
	}
	return out.Ack(ctx, l)
}

// churnAdmin retries or drops an item or a message.
func churnAdmin(ctx context.Context, r *rand.Rand, s *sqlstore.Store) error {
	items, err := s.Outbox().(store.OutboxAdmin).List(ctx, 0, 50)
	if err != nil {
		return err
	}
	messages, err := s.Inbox().(store.InboxAdmin).List(ctx, 0, 50)
	if err != nil || len(items) == 0 || len(messages) == 0 {
		return err
	}
	it, m := items[r.IntN(len(items))].Item, messages[r.IntN(len(messages))]
	switch r.IntN(6) {
	case 0:
		return s.Outbox().(store.OutboxAdmin).Retry(ctx, it.ID, time.Time{})
	case 1:
		return s.Outbox().(store.OutboxAdmin).Drop(ctx, it.ID)
	case 2:
		return s.Inbox().(store.InboxAdmin).Retry(ctx, m.Seq)
	case 3:
		return s.Inbox().(store.InboxAdmin).Drop(ctx, m.Seq)
	}
	return nil
}

// testSharesCounted: the share of each party is exact after two processes have written at the
// same time, and after a third process has given back their leases.
func testSharesCounted(t *testing.T, d Database) {
	db := d.SQL(t)
	stores := []*sqlstore.Store{d.Open(t, sqlstore.Config{}), d.Open(t, sqlstore.Config{})}
	var wg sync.WaitGroup
	for i := range 6 {
		wg.Go(func() {
			if err := Churn(t.Context(), stores[i%2], fmt.Sprint("churn ", i), 30); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	CheckShares(t, db)
	for _, s := range stores {
		check(t, "Close", s.Close(), nil)
	}
	CheckShares(t, db)
	s := d.Open(t, sqlstore.Config{Reclaim: true})
	CheckShares(t, db)
	check(t, "Churn", Churn(t.Context(), s, "alone", 30), nil)
	CheckShares(t, db)
	for {
		items, err := s.Outbox().(store.OutboxAdmin).List(t.Context(), 0, 100)
		check(t, "List", err, nil)
		messages, err := s.Inbox().(store.InboxAdmin).List(t.Context(), 0, 100)
		check(t, "List", err, nil)
		if len(items)+len(messages) == 0 {
			break
		}
		for _, e := range items {
			wg.Go(func() { _ = s.Outbox().(store.OutboxAdmin).Drop(t.Context(), e.Item.ID) })
		}
		for _, e := range messages {
			wg.Go(func() { _ = s.Inbox().(store.InboxAdmin).Drop(t.Context(), e.Seq) })
		}
		wg.Wait()
	}
	CheckShares(t, db)
	if all := parties(t, db, "SELECT peer, items, bytes FROM inbox_peer UNION ALL SELECT owner, items, bytes FROM outbox_owner"); len(all) > 0 {
		t.Errorf("nothing is there, and counted is %v", all)
	}
}

// testSmallerBound: of the bounds of the store and of a message, the smaller one holds.
func testSmallerBound(t *testing.T, d Database) {
	in := d.Open(t, sqlstore.Config{Inbox: store.InboxConfig{MaxPeerItems: 2}}).Inbox()
	for i, tt := range []struct {
		items int
		want  error
	}{{3, nil}, {1, store.ErrFull}, {3, nil}, {3, store.ErrFull}, {0, store.ErrFull}} {
		m := received("did:a", fmt.Sprint(i))
		m.PeerShare.Items = tt.items
		_, _, err := in.Add(t.Context(), m, time.Hour)
		check(t, fmt.Sprint("Add ", i), err, tt.want)
	}
}

// testSharesReopen: the shares are the same after the store was opened again.
func testSharesReopen(t *testing.T, d Database) {
	bound := store.Share{Items: 2}
	add := func(s *sqlstore.Store, id string, want error) *store.Lease[store.Received] {
		t.Helper()
		m := received("did:a", id)
		m.Owner, m.OwnerShare = "did:us", bound
		l, _, err := s.Inbox().Add(t.Context(), m, ages)
		check(t, "Add "+id, err, want)
		return l
	}
	enqueue := func(s *sqlstore.Store, id string, want error) {
		t.Helper()
		it := item(id, "did:a", id)
		it.Owner, it.OwnerShare = "did:us", bound
		check(t, "Enqueue "+id, s.Outbox().Enqueue(t.Context(), it), want)
	}
	s := d.Open(t, sqlstore.Config{})
	check(t, "Term", s.Inbox().Term(t.Context(), add(s, "buried", nil), "poison"), nil)
	check(t, "Nak", s.Inbox().Nak(t.Context(), add(s, "waits", nil), ages, "busy"), nil)
	add(s, "leased", nil)
	add(s, "more", store.ErrFull)
	for _, id := range []string{"buried", "leased"} {
		enqueue(s, id, nil)
		l, err := s.Outbox().Lease(t.Context(), ages)
		check(t, "Lease", err, nil)
		if id == "buried" {
			check(t, "Term", s.Outbox().Term(t.Context(), l, "gone"), nil)
		}
	}
	enqueue(s, "waits", nil)
	enqueue(s, "more", store.ErrFull)
	check(t, "Close", s.Close(), nil)

	s = d.Open(t, sqlstore.Config{Reclaim: true})
	in, out := s.Inbox(), s.Outbox()
	add(s, "more", store.ErrFull)
	enqueue(s, "more", store.ErrFull)
	l, err := in.Lease(t.Context(), ages)
	check(t, "Lease", err, nil)
	check(t, "Ack", in.Ack(t.Context(), l), nil)
	it, err := out.Lease(t.Context(), ages)
	check(t, "Lease", err, nil)
	check(t, "Ack", out.Ack(t.Context(), it), nil)
	list, err := in.(store.InboxAdmin).List(t.Context(), 0, 1)
	if err != nil || len(list) != 1 || list[0].Item.ID != "buried" || list[0].Item.Owner != "did:us" {
		t.Fatalf("listed %v, %v", list, err)
	}
	check(t, "Retry", in.(store.InboxAdmin).Retry(t.Context(), list[0].Seq), nil)
	check(t, "Retry", out.(store.OutboxAdmin).Retry(t.Context(), "buried", time.Time{}), nil)
	add(s, "more", store.ErrFull)
	enqueue(s, "more", store.ErrFull)
	check(t, "Drop", in.(store.InboxAdmin).Drop(t.Context(), list[0].Seq), nil)
	check(t, "Drop", out.(store.OutboxAdmin).Drop(t.Context(), "buried"), nil)
	add(s, "more", nil)
	enqueue(s, "more", nil)
	add(s, "most", store.ErrFull)
	enqueue(s, "most", store.ErrFull)
}
