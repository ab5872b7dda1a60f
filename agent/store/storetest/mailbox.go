package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/didcomm-go/didcomm/agent/store"
)

// mailboxTests are the clauses of store.Mailbox, one function each.
var mailboxTests = map[string]func(t *testing.T, m store.Mailbox){
	"OldestFirst":       testOldestFirst,
	"LeasedMailIsHeld":  testLeasedMailIsHeld,
	"MailComesBack":     testMailComesBack,
	"MailNak":           testMailNak,
	"BoxesAreApart":     testBoxesAreApart,
	"MailDuplicateID":   testMailDuplicateID,
	"MailExpires":       testMailExpires,
	"MailboxStatus":     testMailboxStatus,
	"MailboxWait":       testMailboxWait,
	"AckOfUnknownMail":  testAckOfUnknownMail,
	"MailboxKeepsMails": testMailboxKeepsMail,
}

// boxTests are the clauses of store.Mailbox about order and shares.
var boxTests = map[string]func(t *testing.T, m store.Mailbox){
	"SendersTakeTurns":   testSendersTakeTurns,
	"NewSenderTakesTurn": testNewSenderTakesTurn,
	"SenderKeepsOrder":   testSenderKeepsOrder,
	"SuspectsComeLast":   testSuspectsComeLast,
	"HeldMail":           testHeldMail,
	"PickBytes":          testPickBytes,
	"PickFor":            testPickFor,
	"MailIsDue":          testMailIsDue,
	"SeveralBoxes":       testSeveralBoxes,
	"MailShares":         testMailShares,
	"StatusOfNames":      testStatusOfNames,
	"NakAll":             testNakAll,
	"Purge":              testPurge,
	"Boxes":              testBoxes,
	"EndedContext":       testMailboxEndedContext,
	"LikeMemory":         testLikeMemory,
}

// TestMailbox tests an implementation of [store.Mailbox]. Each call of open returns an empty
// mailbox.
func TestMailbox(t *testing.T, open func(t *testing.T) store.Mailbox) {
	tests := maps.Clone(mailboxTests)
	maps.Copy(tests, boxTests)
	for name, test := range tests {
		t.Run(name, func(t *testing.T) { test(t, open(t)) })
	}
}

// TestMailboxLimits tests the limits of a mailbox. Each call of open returns an empty mailbox
// with the limits of cfg.
func TestMailboxLimits(t *testing.T, open func(t *testing.T, cfg store.MailboxConfig) store.Mailbox) {
	for name, cfg := range map[string]store.MailboxConfig{"Items": {MaxItems: 2}, "Bytes": {MaxBytes: 2}} {
		t.Run(name, func(t *testing.T) { testExpiredMailMakesRoom(t, open(t, cfg)) })
	}
	t.Run("Limits", func(t *testing.T) {
		testMailboxLimits(t, open(t, store.MailboxConfig{MaxItems: 3, MaxBytes: 100, MaxBoxItems: 2, MaxBoxBytes: 50}))
	})
}

func testMailboxLimits(t *testing.T, m store.Mailbox) {
	put := func(id string, n int, boxes ...string) error {
		return m.Deposit(t.Context(), store.Mail{ID: id, Packet: store.Packet{Data: make([]byte, n)}}, boxes...)
	}
	full(t, put("big", 51, "a"), store.LimitBox)
	check(t, "Deposit", put("1", 20, "a"), nil)
	full(t, put("2", 31, "a"), store.LimitBox)
	check(t, "Deposit", put("2", 20, "a"), nil)
	full(t, put("3", 1, "b", "a"), store.LimitBox)
	check(t, "Deposit", put("1", 40, "b"), nil)
	full(t, put("1", 1, "c"), store.LimitStore)
	ack(t, m, "a", "1", "2")
	check(t, "Deposit", put("1", 50, "c"), nil)
	full(t, put("1", 11, "d"), store.LimitStore)
	full(t, put("1", 5, "d", "e"), store.LimitStore)
	check(t, "Deposit", put("1", 10, "d"), nil)
}

// testExpiredMailMakesRoom: expired mail takes no room, even if its box is not used again.
func testExpiredMailMakesRoom(t *testing.T, m store.Mailbox) {
	put := func(box string, expires time.Time) error {
		return m.Deposit(t.Context(), store.Mail{ID: "1", Packet: store.Packet{Data: []byte("x")}, Time: time.Now(), Expires: expires}, box)
	}
	soon := func(box string, expires time.Time) {
		t.Helper()
		err := put(box, expires)
		for began := time.Now(); errors.Is(err, store.ErrFull) && time.Since(began) < 10*time.Second; err = put(box, expires) {
			<-time.After(short)
		}
		check(t, "Deposit into "+box, err, nil)
	}
	for i := range 5 {
		soon(fmt.Sprint("gone ", i), time.Now().Add(-time.Second))
	}
	soon("a", time.Time{})
	soon("b", time.Now().Add(long))
	full(t, put("c", time.Time{}), store.LimitStore)
	for _, box := range []string{"a", "b"} {
		check(t, "Deposit again into "+box, put(box, time.Time{}), store.ErrExists)
	}
	leaseMail(t, m, "a", 9, long, "1")
	leaseMail(t, m, "b", 9, long, "1")
}

func deposit(t *testing.T, m store.Mailbox, box string, ids ...string) {
	t.Helper()
	for _, id := range ids {
		p := store.Mail{ID: id, For: "did:" + box, Packet: store.Packet{MediaType: "x/y", Data: []byte("mail " + id)}, Time: time.Now()}
		if err := m.Deposit(t.Context(), p, box); err != nil {
			t.Fatalf("Deposit: %v", err)
		}
	}
}

// leaseMail asserts which packets are leased.
func leaseMail(t *testing.T, m store.Mailbox, box string, n int, d time.Duration, want ...string) {
	t.Helper()
	mail, err := m.Lease(t.Context(), box, store.Pick{N: n}, d)
	if err != nil {
		t.Fatalf("Lease: %v", err)
	}
	var got []string
	for _, p := range mail {
		got = append(got, p.ID)
	}
	if !slices.Equal(got, want) {
		t.Fatalf("leased %q, want %q", got, want)
	}
}

func testOldestFirst(t *testing.T, m store.Mailbox) {
	leaseMail(t, m, "a", 5, long)
	deposit(t, m, "a", "3", "1", "2")
	leaseMail(t, m, "a", 2, long, "3", "1")
	leaseMail(t, m, "a", 2, long, "2")
}

func testLeasedMailIsHeld(t *testing.T, m store.Mailbox) {
	deposit(t, m, "a", "1", "2", "3")
	leaseMail(t, m, "a", 2, long, "1", "2")
	n, err := m.Ack(t.Context(), "a", "1", "3") // 3 is not leased
	if n != 2 || err != nil {
		t.Errorf("Ack = %d, %v", n, err)
	}
	leaseMail(t, m, "a", 9, long)
}

func testMailComesBack(t *testing.T, m store.Mailbox) {
	deposit(t, m, "a", "1", "2")
	leaseMail(t, m, "a", 1, -time.Second, "1")
	leaseMail(t, m, "a", 9, long, "1", "2")
}

func testMailNak(t *testing.T, m store.Mailbox) {
	deposit(t, m, "a", "1", "2", "3")
	leaseMail(t, m, "a", 9, long, "1", "2", "3")
	check(t, "Nak", m.Nak(t.Context(), "a", "2", "1", "none"), nil)
	leaseMail(t, m, "a", 9, long, "1", "2")
}

func testBoxesAreApart(t *testing.T, m store.Mailbox) {
	deposit(t, m, "a", "1", "2")
	deposit(t, m, "b", "1")
	if n, err := m.Ack(t.Context(), "b", "1", "2"); n != 1 || err != nil {
		t.Errorf("Ack = %d, %v", n, err)
	}
	leaseMail(t, m, "b", 9, long)
	leaseMail(t, m, "a", 9, long, "1", "2")
}

func testMailDuplicateID(t *testing.T, m store.Mailbox) {
	deposit(t, m, "a", "1")
	check(t, "Deposit", m.Deposit(t.Context(), store.Mail{ID: "1", Time: time.Now()}, "a"), store.ErrExists)
}

func testMailExpires(t *testing.T, m store.Mailbox) {
	p := store.Mail{ID: "old", Packet: store.Packet{Data: []byte("x")}, Time: time.Now(), Expires: time.Now().Add(-time.Second)}
	check(t, "Deposit", m.Deposit(t.Context(), p, "a"), nil)
	p.ID, p.Expires = "new", time.Now().Add(long)
	check(t, "Deposit", m.Deposit(t.Context(), p, "a"), nil)
	leaseMail(t, m, "a", 9, long, "new")
	if s, err := m.Status(t.Context(), "a"); s.Count != 1 || s.Bytes != 1 || err != nil {
		t.Errorf("status %+v, %v", s, err)
	}
}

func testMailboxStatus(t *testing.T, m store.Mailbox) {
	if s, err := m.Status(t.Context(), "a"); s != (store.MailboxStatus{}) || err != nil {
		t.Errorf("of no box: %+v, %v", s, err)
	}
	first := time.Now().Add(-time.Minute).Truncate(time.Second)
	for i := range 3 {
		check(t, "Deposit", m.Deposit(t.Context(), store.Mail{
			ID: fmt.Sprint(i), Packet: store.Packet{Data: make([]byte, i+1)}, Time: first.Add(time.Duration(i) * time.Second),
		}, "a"), nil)
	}
	leaseMail(t, m, "a", 1, long, "0")
	s, err := m.Status(t.Context(), "a")
	if err != nil || s.Count != 3 || s.Bytes != 6 || !s.Oldest.Equal(first) || !s.Newest.Equal(first.Add(2*time.Second)) {
		t.Errorf("status %+v, %v", s, err)
	}
	if _, err := m.Ack(t.Context(), "a", "0", "1", "2"); err != nil {
		t.Fatal(err)
	}
	if s, err := m.Status(t.Context(), "a"); s != (store.MailboxStatus{}) || err != nil {
		t.Errorf("of an empty box: %+v, %v", s, err)
	}
}

func testMailboxWait(t *testing.T, m store.Mailbox) {
	ctx, cancel := context.WithTimeout(t.Context(), short)
	defer cancel()
	deposit(t, m, "b", "1")
	check(t, "Wait for nothing", m.Wait(ctx, "a"), context.DeadlineExceeded)
	woken := make(chan error)
	go func() { woken <- m.Wait(t.Context(), "a") }()
	deposit(t, m, "a", "1")
	if err := within(t, woken); err != nil {
		t.Errorf("Wait: %v", err)
	}
	leaseMail(t, m, "a", 1, short, "1")
	check(t, "Wait for a lease to end", m.Wait(t.Context(), "a"), nil)
	leaseMail(t, m, "a", 1, long, "1")
	go func() { woken <- m.Wait(t.Context(), "a") }()
	check(t, "Nak", m.Nak(t.Context(), "a", "1"), nil)
	if err := within(t, woken); err != nil {
		t.Errorf("Wait after Nak: %v", err)
	}
}

func within(t *testing.T, c <-chan error) error {
	t.Helper()
	select {
	case err := <-c:
		return err
	case <-time.After(10 * time.Second):
		t.Fatal("nothing within 10 s")
		return nil
	}
}

func testAckOfUnknownMail(t *testing.T, m store.Mailbox) {
	if n, err := m.Ack(t.Context(), "a", "1"); n != 0 || err != nil {
		t.Errorf("Ack = %d, %v", n, err)
	}
	check(t, "Nak", m.Nak(t.Context(), "a", "1"), nil)
}

func testMailboxKeepsMail(t *testing.T, m store.Mailbox) {
	want := store.Mail{
		ID: "1", For: "did:a#key", Packet: store.Packet{MediaType: "x/y", Data: []byte{0, 255}},
		Time: time.Now().Truncate(time.Second), Expires: time.Now().Add(long).Truncate(time.Second),
	}
	check(t, "Deposit", m.Deposit(t.Context(), want, "a"), nil)
	mail, err := m.Lease(t.Context(), "a", store.Pick{N: 1}, long)
	if err != nil || len(mail) != 1 {
		t.Fatal(mail, err)
	}
	got := mail[0]
	if got.ID != want.ID || got.For != want.For || got.Packet.MediaType != want.Packet.MediaType || !bytes.Equal(got.Packet.Data, want.Packet.Data) ||
		!got.Time.Equal(want.Time) || !got.Expires.Equal(want.Expires) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}
