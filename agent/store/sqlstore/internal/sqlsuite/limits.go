package sqlsuite

import (
	"fmt"
	"testing"
	"time"

	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/agent/store/sqlstore"
)

func sized(id, to string, n int) store.Item {
	it := item(id, to, id)
	it.Direct.Data, it.Endpoints = make([]byte, n), nil
	return it
}

func testOutboxLimits(t *testing.T, d Database) {
	s := d.Open(t, sqlstore.Config{Outbox: store.OutboxConfig{MaxItems: 4, MaxBytes: 100, MaxPeerItems: 2, MaxPeerBytes: 50}})
	out := s.Outbox()
	put := func(want error, items ...store.Item) {
		t.Helper()
		check(t, "Enqueue "+items[0].ID, out.Enqueue(t.Context(), items...), want)
	}
	put(store.ErrFull, sized("big", "did:a", 51))
	put(nil, sized("1", "did:a", 10), sized("2", "did:a", 10))
	put(store.ErrFull, sized("3", "did:a", 1))
	put(store.ErrFull, sized("4", "did:b", 10), sized("3", "did:a", 1)) // all or none
	put(nil, sized("4", "did:b", 40), sized("5", "did:c", 40))
	put(store.ErrFull, sized("6", "did:d", 1)) // too many in all
	l, err := out.Lease(t.Context(), time.Hour)
	check(t, "Lease", err, nil)
	check(t, "Ack", out.Ack(t.Context(), l), nil)
	put(store.ErrFull, sized("6", "did:d", 11)) // too many bytes in all
	put(nil, sized("6", "did:d", 10))
	l, err = out.Lease(t.Context(), time.Hour)
	check(t, "Lease", err, nil)
	check(t, "Term", out.Term(t.Context(), l, "gone"), nil)
	put(nil, sized("7", "did:e", 10)) // what is buried does not count
}

func testBuriedLimit(t *testing.T, d Database) {
	out := d.Open(t, sqlstore.Config{Outbox: store.OutboxConfig{MaxBuried: 3}}).Outbox()
	for i := range 6 {
		check(t, "Enqueue", out.Enqueue(t.Context(), sized(fmt.Sprint(i), "did:a", 1)), nil)
		l, err := out.Lease(t.Context(), time.Hour)
		check(t, "Lease", err, nil)
		check(t, "Term", out.Term(t.Context(), l, "gone"), nil)
	}
	list, err := out.(store.OutboxAdmin).List(t.Context(), 0, 10)
	if err != nil || len(list) != 3 || list[0].Item.ID != "3" {
		t.Errorf("buried: %v, %v", list, err)
	}
}

func testInboxLimits(t *testing.T, d Database) {
	in := d.Open(t, sqlstore.Config{Inbox: store.InboxConfig{MaxItems: 3, MaxBytes: 100, MaxPeerItems: 2, MaxPeerBytes: 50}}).Inbox()
	add := func(sender, id string, n int, want error) *store.Lease[store.Received] {
		t.Helper()
		m := received(sender, id)
		m.Packet.Data = make([]byte, n)
		l, _, err := in.Add(t.Context(), m, time.Hour)
		check(t, "Add "+id, err, want)
		return l
	}
	add("did:a", "big", 51, store.ErrFull)
	l := add("did:a", "1", 20, nil)
	add("did:a", "2", 31, store.ErrFull)
	add("did:a", "2", 20, nil)
	add("did:a", "3", 1, store.ErrFull)
	add("did:b", "1", 40, nil)
	add("did:c", "1", 1, store.ErrFull)
	check(t, "Ack", in.Ack(t.Context(), l, store.Packet{Data: make([]byte, 1000)}), nil)
	add("did:c", "1", 41, store.ErrFull)
	add("did:c", "1", 40, nil)
	if _, known, err := in.Add(t.Context(), received("did:a", "1"), time.Hour); known == nil || err != nil {
		t.Errorf("what is known counts: %v, %v", known, err)
	}
	if _, _, err := in.Add(t.Context(), received("did:d", "1"), 0); err != nil {
		t.Errorf("what needs no handling counts: %v", err)
	}
}

func testRememberedLimit(t *testing.T, d Database) {
	in := d.Open(t, sqlstore.Config{Inbox: store.InboxConfig{MaxRemembered: 4, MaxKept: 100}}).Inbox()
	for i := range 6 {
		m := received("did:a", fmt.Sprint(i))
		m.Packet.Data, m.Until = make([]byte, 30), m.Until.Add(time.Duration(i)*time.Second)
		l, _, err := in.Add(t.Context(), m, time.Hour)
		check(t, "Add", err, nil)
		check(t, "Ack", in.Ack(t.Context(), l, store.Packet{Data: make([]byte, 20)}), nil)
	}
	known, err := in.Remembered(t.Context(), "did:a", []string{"0", "1", "2", "3", "4", "5"})
	if err != nil || fmt.Sprint(known) != "[2 3 4 5]" {
		t.Errorf("remembered %v, %v", known, err)
	}
	// The packets are removed in steps. That of the first message is removed, that of the
	// last message stays.
	list, err := in.(store.InboxAdmin).List(t.Context(), 0, 10)
	if err != nil || len(list) > 2 {
		t.Errorf("%d messages are kept whole, %v", len(list), err)
	}
}

// testLoweredLimits: entries stay when a limit is lowered below their number.
func testLoweredLimits(t *testing.T, d Database) {
	s := d.Open(t, sqlstore.Config{})
	Fill(t, s)
	check(t, "Close", s.Close(), nil)
	s = d.Open(t, sqlstore.Config{
		Outbox:  store.OutboxConfig{MaxItems: 1, MaxBytes: 1},
		Inbox:   store.InboxConfig{MaxItems: 1, MaxBytes: 1},
		Mailbox: store.MailboxConfig{MaxItems: 1, MaxBytes: 1},
		Records: store.RecordsConfig{MaxItems: 1, MaxBytes: 1},
	})
	check(t, "Enqueue", s.Outbox().Enqueue(t.Context(), item("new", "did:a", "t")), store.ErrFull)
	_, _, err := s.Inbox().Add(t.Context(), received("did:a", "new"), time.Hour)
	check(t, "Add", err, store.ErrFull)
	check(t, "Deposit", s.Mailbox().Deposit(t.Context(), mail("new"), "did:a"), store.ErrFull)
	_, err = s.Records().Put(t.Context(), store.Record{Key: "new"})
	check(t, "Put", err, store.ErrFull)
	check(t, "Close", s.Close(), nil)
	checkFilled(t, d.Open(t, sqlstore.Config{}))
}
