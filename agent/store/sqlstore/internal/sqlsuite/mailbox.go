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

// checkMailShares asserts that the counts in the tables of the mailboxes are those of the mail,
// and that there is a packet for each mail and no other.
func checkMailShares(t testing.TB, db *sql.DB) {
	t.Helper()
	const ofParties = "SELECT party, COUNT(*), CAST(SUM(size) AS BIGINT) FROM " +
		"(SELECT box || ' s' || sender AS party, size FROM mail UNION ALL SELECT box || ' r' || recipient, size FROM mail) l GROUP BY party"
	for what, count := range map[string]struct{ has, counted string }{
		"boxes":   {"SELECT box, COUNT(*), CAST(SUM(size) AS BIGINT) FROM mail GROUP BY box", "SELECT box, items, bytes FROM mailbox"},
		"parties": {ofParties, "SELECT box || ' ' || party, items, bytes FROM mail_party"},
		"senders": {"SELECT sender, COUNT(*), CAST(SUM(size) AS BIGINT) FROM mail GROUP BY sender", "SELECT sender, items, bytes FROM mail_sender"},
		"leased":  {"SELECT box, COUNT(*), 0 FROM mail WHERE deliveries > 0 GROUP BY box", "SELECT box, tried, 0 FROM mailbox WHERE tried <> 0"},
		"leased of recipients": {
			"SELECT box || ' r' || recipient, COUNT(*), 0 FROM mail WHERE deliveries > 0 GROUP BY box, recipient",
			"SELECT box || ' ' || party, tried, 0 FROM mail_party WHERE tried <> 0",
		},
		"packets": {"SELECT CAST(seq AS TEXT), 1, size FROM mail GROUP BY seq, size", "SELECT CAST(seq AS TEXT), 1, LENGTH(data) FROM mail_packet"},
		"total":   {"SELECT '', COUNT(*), CAST(COALESCE(SUM(size), 0) AS BIGINT) FROM mail", "SELECT '', CAST(COALESCE(SUM(items), 0) AS BIGINT), CAST(COALESCE(SUM(bytes), 0) AS BIGINT) FROM total WHERE name = 'mail'"},
	} {
		if has, counted := parties(t, db, count.has), parties(t, db, count.counted); !maps.Equal(has, counted) {
			t.Errorf("mail, %s: counted %v, there are %v", what, counted, has)
		}
	}
}

// churnMail deposits mail and makes one call for a box.
func churnMail(ctx context.Context, r *rand.Rand, m store.Mailbox, id string) error {
	name := func(kind string) string { return fmt.Sprint("did:", kind, r.IntN(3)) }
	bound := store.Share{Items: 30, Bytes: 2000}
	p := store.Mail{
		ID: id, Sender: name("sender"), For: name("for"), Packet: store.Packet{Data: make([]byte, r.IntN(50))}, Time: time.Now(),
		BoxShare: bound, PairShare: bound, SenderShare: bound,
	}
	switch r.IntN(4) {
	case 0:
		p.Expires = time.Now().Add(time.Duration(r.IntN(5)) * time.Millisecond)
	case 1:
		p.Due = time.Now().Add(time.Duration(r.IntN(5)) * time.Millisecond)
	}
	boxes := []string{name("box"), name("box"), name("box")}
	if err := m.Deposit(ctx, p, boxes[:1+r.IntN(3)]...); err != nil && !errors.Is(err, store.ErrFull) {
		return err
	}
	box := name("box")
	mail, err := m.Lease(ctx, box, store.Pick{N: 1 + r.IntN(4), Held: r.IntN(2) == 0, Tries: r.IntN(3)}, time.Millisecond)
	if err != nil {
		return err
	}
	switch r.IntN(8) {
	case 0:
		return m.Nak(ctx, box)
	case 1:
		_, err = m.Purge(ctx, box, name("for"))
		return err
	case 2, 3, 4, 5, 6:
		for _, p := range mail {
			if _, err := m.Ack(ctx, box, p.ID); err != nil {
				return err
			}
		}
	}
	return nil
}

// testSharedMailbox: of two processes that share boxes, exactly one leases each packet of a box,
// the packets of a sender come in order, and the last Ack of a packet removes its bytes.
func testSharedMailbox(t *testing.T, d Database) {
	const packets, senders = 40, 3
	boxes := []string{"did:x", "did:y"}
	stores := []*sqlstore.Store{d.Open(t, sqlstore.Config{}), d.Open(t, sqlstore.Config{})}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var wg sync.WaitGroup
	for sender := range senders {
		wg.Go(func() {
			for n := range packets {
				p := store.Mail{ID: fmt.Sprint(sender, " ", n), Sender: fmt.Sprint(sender), Packet: store.Packet{Data: []byte("mail")}}
				if err := stores[n%2].Mailbox().Deposit(ctx, p, boxes...); err != nil {
					t.Errorf("Deposit: %v", err)
				}
			}
		})
	}
	for _, box := range boxes {
		var mu sync.Mutex // one lease at a time, so that the order shows
		next := make(map[int]int)
		left := packets * senders
		for _, s := range stores {
			wg.Go(func() {
				for {
					mu.Lock()
					done := left == 0
					mail, err := s.Mailbox().Lease(ctx, box, store.Pick{N: 3}, time.Hour)
					for _, p := range mail {
						var sender, n int
						if _, err := fmt.Sscan(p.ID, &sender, &n); err != nil || n != next[sender] || p.Deliveries != 1 {
							t.Errorf("%s: leased %+v, %v, want number %d", box, p, err, next[sender])
						}
						next[sender]++
						left--
					}
					mu.Unlock()
					if err != nil || done {
						if err != nil {
							t.Errorf("Lease: %v", err)
						}
						return
					}
					for _, p := range mail {
						if n, err := s.Mailbox().Ack(ctx, box, p.ID); n != 1 || err != nil {
							t.Errorf("Ack = %d, %v", n, err)
						}
					}
				}
			})
		}
	}
	wg.Wait()
	db := d.SQL(t)
	checkMailShares(t, db)
	for _, table := range []string{"mail", "mail_packet", "mailbox", "mail_party", "mail_sender"} {
		var n int
		if err := db.QueryRowContext(t.Context(), "SELECT COUNT(*) FROM "+table).Scan(&n); n != 0 || err != nil {
			t.Errorf("%d rows are left in %s, %v", n, table, err)
		}
	}
}

// testMailOfDeadProcess: a packet that a dead process had leased comes back when the lease runs
// out, or with a Nak of all, and its deliveries stay counted.
func testMailOfDeadProcess(t *testing.T, d Database) {
	s := d.Open(t, sqlstore.Config{})
	for _, id := range []string{"1", "2"} {
		check(t, "Deposit", s.Mailbox().Deposit(t.Context(), mail(id), id), nil)
	}
	for box, lease := range map[string]time.Duration{"1": 50 * time.Millisecond, "2": time.Hour} {
		for range 2 {
			if m, err := s.Mailbox().Lease(t.Context(), box, store.Pick{N: 1, Held: true}, lease); len(m) != 1 || err != nil {
				t.Fatal(m, err)
			}
		}
	}
	check(t, "Close", s.Close(), nil)
	s = d.Open(t, sqlstore.Config{})
	check(t, "Wait", s.Mailbox().Wait(t.Context(), "1"), nil)
	if m, err := s.Mailbox().Lease(t.Context(), "2", store.Pick{N: 1}, time.Hour); len(m) != 0 || err != nil {
		t.Errorf("leased %+v, %v", m, err)
	}
	check(t, "Nak", s.Mailbox().Nak(t.Context(), "2"), nil)
	for _, box := range []string{"1", "2"} {
		m, err := s.Mailbox().Lease(t.Context(), box, store.Pick{N: 1}, time.Hour)
		if err != nil || len(m) != 1 || m[0].Deliveries != 3 {
			t.Errorf("leased %+v, %v", m, err)
		}
	}
}

// testClockSetBack: leases and delays from before the clock was set back by a day end at once.
// In the database, this is as if a day had been added to the times.
func testClockSetBack(t *testing.T, d Database) {
	s, db := d.Open(t, sqlstore.Config{}), d.SQL(t)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	fill := func(box string) {
		t.Helper()
		later := mail("later")
		later.Due = time.Now().Add(time.Hour)
		check(t, "Deposit", s.Mailbox().Deposit(ctx, mail("leased"), box), nil)
		check(t, "Deposit", s.Mailbox().Deposit(ctx, later, box), nil)
		if m, err := s.Mailbox().Lease(ctx, box, store.Pick{N: 9}, time.Hour); len(m) != 1 || err != nil {
			t.Fatal(m, err)
		}
	}
	const setBack = `UPDATE mail SET due = due + 86400000000 WHERE due > 0 AND box <> 'new';
		UPDATE mailbox SET written = written + 86400000000 WHERE box <> 'new'`
	fill("old")
	fill("waits")
	fill("new")
	if _, err := db.ExecContext(ctx, setBack); err != nil {
		t.Fatal(err)
	}
	check(t, "Wait", s.Mailbox().Wait(ctx, "waits"), nil)
	for box, want := range map[string]int{"old": 2, "waits": 2, "new": 0} {
		for _, n := range []int{want, 0} { // new leases last
			if m, err := s.Mailbox().Lease(ctx, box, store.Pick{N: 9}, time.Hour); len(m) != n || err != nil {
				t.Errorf("leased %d of %s, %v, want %d", len(m), box, err, n)
			}
		}
	}
	late, end := context.WithTimeout(ctx, 20*time.Millisecond)
	defer end()
	check(t, "Wait", s.Mailbox().Wait(late, "waits"), context.DeadlineExceeded)
}
