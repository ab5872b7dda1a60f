package storetest

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/didcomm-go/didcomm/agent/store"
)

// send deposits packets of a sender into a box. The ID of each begins with the sender.
func send(t *testing.T, m store.Mailbox, box, sender string, numbers ...int) {
	t.Helper()
	for _, n := range numbers {
		p := store.Mail{ID: fmt.Sprint(sender, n), Sender: sender, For: "did:" + sender, Packet: store.Packet{Data: []byte("mail")}, Time: time.Now()}
		check(t, "Deposit", m.Deposit(t.Context(), p, box), nil)
	}
}

// pick asserts which packets are leased, and for which time each is delivered.
func pick(t *testing.T, m store.Mailbox, box string, p store.Pick, d time.Duration, delivery int, want ...string) {
	t.Helper()
	mail, err := m.Lease(t.Context(), box, p, d)
	check(t, "Lease", err, nil)
	var got []string
	for _, p := range mail {
		got = append(got, p.ID)
		if p.Deliveries != delivery {
			t.Errorf("delivery %d of %q, want %d", p.Deliveries, p.ID, delivery)
		}
	}
	if !slices.Equal(got, want) {
		t.Fatalf("leased %q, want %q", got, want)
	}
}

func ack(t *testing.T, m store.Mailbox, box string, ids ...string) {
	t.Helper()
	if n, err := m.Ack(t.Context(), box, ids...); n != len(ids) || err != nil {
		t.Fatalf("Ack(%q) = %d, %v", ids, n, err)
	}
}

func testSendersTakeTurns(t *testing.T, m store.Mailbox) {
	send(t, m, "x", "a", 1, 2, 3, 4, 5)
	send(t, m, "x", "b", 1, 2)
	send(t, m, "x", "", 1)
	send(t, m, "y", "a", 6)
	pick(t, m, "x", store.Pick{N: 9}, long, 1, "a1", "b1", "1", "a2", "b2", "a3", "a4", "a5")
	pick(t, m, "y", store.Pick{N: 9}, long, 1, "a6")
}

// testNewSenderTakesTurn: a sender that comes later is next, behind what was leased, and not
// before the later packets of others for all of its own.
func testNewSenderTakesTurn(t *testing.T, m store.Mailbox) {
	send(t, m, "x", "a", 1, 2, 3, 4, 5, 6)
	pick(t, m, "x", store.Pick{N: 3}, long, 1, "a1", "a2", "a3")
	ack(t, m, "x", "a1", "a2", "a3")
	send(t, m, "x", "b", 1, 2, 3)
	pick(t, m, "x", store.Pick{N: 3}, long, 1, "b1", "a4", "b2")
	ack(t, m, "x", "b1", "b2")
	send(t, m, "x", "c", 1)
	send(t, m, "x", "b", 4)
	pick(t, m, "x", store.Pick{N: 9}, long, 1, "c1", "a5", "b3", "a6", "b4")
}

// testSenderKeepsOrder: packets of a sender come in their order, whatever was acked before.
func testSenderKeepsOrder(t *testing.T, m store.Mailbox) {
	send(t, m, "x", "a", 3, 1, 2)
	ack(t, m, "x", "a2")
	send(t, m, "x", "a", 4)
	pick(t, m, "x", store.Pick{N: 2}, long, 1, "a3", "a1")
	send(t, m, "x", "a", 2)
	check(t, "Nak", m.Nak(t.Context(), "x", "a1"), nil)
	pick(t, m, "x", store.Pick{N: 1}, long, 2, "a1")
	pick(t, m, "x", store.Pick{N: 9}, long, 1, "a4", "a2")
	ack(t, m, "x", "a1", "a2", "a3", "a4")
	send(t, m, "x", "a", 5, 6)
	pick(t, m, "x", store.Pick{N: 9}, long, 1, "a5", "a6")
}

func testSuspectsComeLast(t *testing.T, m store.Mailbox) {
	two := store.Pick{N: 9, Tries: 2}
	send(t, m, "x", "a", 1, 2)
	send(t, m, "x", "b", 1)
	pick(t, m, "x", store.Pick{N: 1}, -time.Second, 1, "a1")
	pick(t, m, "x", store.Pick{N: 1}, -time.Second, 2, "a1")
	pick(t, m, "x", store.Pick{N: 1}, -time.Second, 3, "a1")
	pick(t, m, "x", two, -time.Second, 1, "b1", "a2")
	pick(t, m, "x", two, -time.Second, 2, "b1", "a2")
	// All are suspects now: b1 and a2 after two deliveries, a1 after three.
	pick(t, m, "x", two, -time.Second, 3, "b1")
	pick(t, m, "x", two, long, 3, "a2")
	pick(t, m, "x", two, -time.Second, 4, "a1")
	pick(t, m, "x", two, -time.Second, 4, "b1")
	send(t, m, "x", "c", 1)
	pick(t, m, "x", two, long, 1, "c1")
	// Leased suspects come only with Held, which does not change the order.
	held := store.Pick{N: 9, Tries: 3, Held: true}
	pick(t, m, "x", held, long, 2, "c1")
	pick(t, m, "x", held, long, 3, "c1")
	pick(t, m, "x", held, long, 4, "a2")
	// Mail with as many deliveries comes by its turn, which is that of a1.
	pick(t, m, "x", two, long, 5, "a1")
	pick(t, m, "x", store.Pick{N: 9}, long, 5, "b1")
	pick(t, m, "x", store.Pick{N: 9, Tries: 1}, long, 0)
}

func testHeldMail(t *testing.T, m store.Mailbox) {
	held := store.Pick{N: 9, Held: true}
	pick(t, m, "x", held, long, 0)
	send(t, m, "x", "a", 1, 2)
	pick(t, m, "x", held, long, 1, "a1", "a2")
	pick(t, m, "x", store.Pick{N: 9}, long, 0)
	pick(t, m, "x", held, -time.Second, 2, "a1", "a2")
	pick(t, m, "x", store.Pick{N: 1}, long, 3, "a1")
	pick(t, m, "x", store.Pick{N: 1}, long, 3, "a2")
	send(t, m, "x", "b", 1)
	mail, err := m.Lease(t.Context(), "x", store.Pick{N: 2, Held: true}, long)
	if err != nil || len(mail) != 2 || mail[0].ID != "a1" || mail[0].Deliveries != 4 || mail[1].ID != "a2" {
		t.Errorf("leased %+v, %v", mail, err)
	}
	pick(t, m, "x", store.Pick{N: 9}, long, 1, "b1")
	ack(t, m, "x", "a1", "b1")
	pick(t, m, "x", held, long, 5, "a2")
}

func testPickBytes(t *testing.T, m store.Mailbox) {
	for i, n := range []int{10, 5, 5, 1} {
		p := store.Mail{ID: fmt.Sprint(i), Packet: store.Packet{Data: make([]byte, n)}}
		check(t, "Deposit", m.Deposit(t.Context(), p, "x"), nil)
	}
	pick(t, m, "x", store.Pick{Bytes: 100}, long, 0)
	pick(t, m, "x", store.Pick{N: 9, Bytes: 4}, long, 1, "0")
	pick(t, m, "x", store.Pick{N: 9, Bytes: 10}, long, 1, "1", "2")
	pick(t, m, "x", store.Pick{N: 9, Bytes: -1}, long, 1, "3")
}

func testPickFor(t *testing.T, m store.Mailbox) {
	send(t, m, "x", "a", 1, 2, 3)
	send(t, m, "x", "b", 1)
	send(t, m, "x", "c", 1)
	pick(t, m, "x", store.Pick{N: 9, For: []string{"did:B", "did:"}}, long, 0)
	pick(t, m, "x", store.Pick{N: 9, For: []string{"did:c", "did:b", "did:c"}}, long, 1, "b1", "c1")
	pick(t, m, "x", store.Pick{N: 2, For: []string{"did:a"}}, -time.Second, 1, "a1", "a2")
	pick(t, m, "x", store.Pick{N: 9, For: []string{"did:a"}, Tries: 1}, long, 1, "a3")
	pick(t, m, "x", store.Pick{N: 9, For: []string{"did:b", "did:a"}, Tries: 1}, long, 2, "a1")
	pick(t, m, "x", store.Pick{N: 9, For: []string{"did:b"}, Held: true}, long, 2, "b1")
	pick(t, m, "x", store.Pick{N: 9}, long, 2, "a2")
}

// testMailIsDue: a packet is leased when it is due, and not before. It does not hold up others.
func testMailIsDue(t *testing.T, m store.Mailbox) {
	put := func(id string, due time.Time) {
		t.Helper()
		check(t, "Deposit", m.Deposit(t.Context(), store.Mail{ID: id, Due: due}, "x"), nil)
	}
	put("later", time.Now().Add(long))
	put("now", time.Now().Add(-time.Second))
	for _, id := range []string{"later", ""} {
		if id == "" {
			check(t, "Nak of all", m.Nak(t.Context(), "x"), nil)
		} else {
			check(t, "Nak", m.Nak(t.Context(), "x", id), nil)
		}
	}
	pick(t, m, "x", store.Pick{N: 9, Held: true}, long, 1, "now")
	if s, err := m.Status(t.Context(), "x"); s.Count != 2 || s.Leased != 1 || err != nil {
		t.Errorf("status %+v, %v", s, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), short)
	defer cancel()
	check(t, "Wait", m.Wait(ctx, "x"), context.DeadlineExceeded)
	put("soon", time.Now().Add(short))
	check(t, "Wait", m.Wait(t.Context(), "x"), nil)
	pick(t, m, "x", store.Pick{N: 9}, long, 1, "soon")
	ack(t, m, "x", "later", "now", "soon")
}

func testNakAll(t *testing.T, m store.Mailbox) {
	send(t, m, "x", "a", 1, 2)
	send(t, m, "y", "b", 1)
	pick(t, m, "x", store.Pick{N: 9}, long, 1, "a1", "a2")
	pick(t, m, "y", store.Pick{N: 9}, long, 1, "b1")
	woken := make(chan error)
	go func() { woken <- m.Wait(t.Context(), "x") }()
	check(t, "Nak", m.Nak(t.Context(), "x"), nil)
	check(t, "Wait", within(t, woken), nil)
	pick(t, m, "x", store.Pick{N: 9}, long, 2, "a1", "a2")
	pick(t, m, "y", store.Pick{N: 9}, long, 0)
	check(t, "Nak of no box", m.Nak(t.Context(), "z"), nil)
}

func testMailboxEndedContext(t *testing.T, m store.Mailbox) {
	send(t, m, "x", "a", 1)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	check(t, "Deposit", m.Deposit(ctx, store.Mail{ID: "2"}, "x"), context.Canceled)
	_, err := m.Lease(ctx, "x", store.Pick{N: 1}, long)
	check(t, "Lease", err, context.Canceled)
	_, err = m.Ack(ctx, "x", "a1")
	check(t, "Ack", err, context.Canceled)
	check(t, "Nak", m.Nak(ctx, "x"), context.Canceled)
	_, err = m.Status(ctx, "x")
	check(t, "Status", err, context.Canceled)
	_, err = m.Boxes(ctx, "", 1)
	check(t, "Boxes", err, context.Canceled)
	_, err = m.Purge(ctx, "x")
	check(t, "Purge", err, context.Canceled)
	check(t, "Wait", m.Wait(ctx, "x"), context.Canceled)
	pick(t, m, "x", store.Pick{N: 9}, long, 1, "a1")
}
