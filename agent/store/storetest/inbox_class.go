package storetest

import (
	"fmt"
	"strings"
	"testing"

	"github.com/didcomm-go/didcomm/agent/store"
)

// TestInboxLimits tests the shares of parties in an inbox. Each call of open returns an empty
// inbox with the limits of cfg.
func TestInboxLimits(t *testing.T, open func(t *testing.T, cfg store.InboxConfig) store.Inbox) {
	for name, atOnce := range map[string]bool{"DoneAtOnce": true, "Handled": false} {
		t.Run("FloodOfStrangers/"+name, func(t *testing.T) {
			testFloodOfStrangers(t, open(t, store.InboxConfig{MaxRemembered: 64}), atOnce)
		})
	}
	t.Run("FloodOfOne", func(t *testing.T) { testFloodOfOne(t, open(t, store.InboxConfig{MaxRemembered: 64})) })
	t.Run("ManyKnown", func(t *testing.T) { testManyKnown(t, open(t, store.InboxConfig{MaxRemembered: 64})) })
	t.Run("FloodOfReplies", func(t *testing.T) { testFloodOfReplies(t, open(t, store.InboxConfig{MaxKept: 4_000})) })
	t.Run("StrangersShare", func(t *testing.T) {
		testStrangersShare(t, open(t, store.InboxConfig{
			MaxItems: 8, MaxBytes: 800, MaxPeerItems: 8, MaxPeerBytes: 800, Stranger: store.Share{Items: 2, Bytes: 200},
		}))
	})
}

// from is a message of n bytes of a party.
func from(peer, id string, class store.Class, n int) store.Received {
	m := received(peer, id)
	m.Class, m.Packet.Data = class, make([]byte, n)
	return m
}

// handled adds a message and acks it, with a reply of as many bytes.
func handled(t *testing.T, b store.Inbox, m store.Received) {
	t.Helper()
	l := add(t, b, m, long)
	check(t, "Ack", b.Ack(t.Context(), l, store.Packet{Data: make([]byte, len(m.Packet.Data))}), nil)
}

// remembered counts the messages that the inbox remembers of peer0 to peer(peers-1), each
// with the ids 0 to n-1.
func remembered(t *testing.T, b store.Inbox, peer string, peers, n int) (count int) {
	t.Helper()
	var ids []string
	for i := range n {
		ids = append(ids, fmt.Sprint(i))
	}
	for i := range peers {
		list, err := b.Remembered(t.Context(), fmt.Sprint(peer, i), ids)
		check(t, "Remembered", err, nil)
		count += len(list)
	}
	return count
}

// testFloodOfStrangers: strangers, each with a DID of its own, fill the memory of the inbox
// and no more. Messages of known parties are recognised all the same, and so is the last
// message of a stranger.
func testFloodOfStrangers(t *testing.T, b store.Inbox, atOnce bool) {
	for i := range 8 {
		handled(t, b, from("did:known0", fmt.Sprint(i), store.ClassKnown, 10))
		handled(t, b, from("did:own0", fmt.Sprint(i), store.ClassOwn, 10))
	}
	const flood = 160
	for i := range flood {
		m := from(fmt.Sprint("did:stranger", i), "0", store.ClassStranger, 10)
		if i%2 == 0 {
			m.Class = "other"
		}
		if atOnce {
			add(t, b, m, 0)
		} else {
			handled(t, b, m)
		}
	}
	for i := range 8 {
		known(t, b, from("did:known0", fmt.Sprint(i), store.ClassKnown, 10), store.Done)
	}
	if n := remembered(t, b, "did:own", 1, 8); n != 8 {
		t.Errorf("of 8 own messages, %d are remembered", n)
	}
	if n := remembered(t, b, "did:stranger", flood, 1); n != 64-16 {
		t.Errorf("of strangers, %d are remembered, want 48", n)
	}
	remembers(t, b, fmt.Sprint("did:stranger", flood-1), "0", true)
	remembers(t, b, "did:stranger0", "0", false)
}

// testFloodOfOne: a known party that sends much loses what it has above its share. Strangers
// within their share, and other parties, lose nothing.
func testFloodOfOne(t *testing.T, b store.Inbox) {
	for i := range 16 {
		handled(t, b, from("did:known0", fmt.Sprint(i), store.ClassKnown, 1))
	}
	for i := range 4 { // a sixteenth
		handled(t, b, from(fmt.Sprint("did:stranger", i), "0", store.ClassStranger, 1))
	}
	for i := range 100 {
		handled(t, b, from("did:flood0", fmt.Sprint(i), store.ClassKnown, 1))
	}
	for peer, want := range map[string]int{"did:known": 16, "did:stranger": 4, "did:flood": 44} {
		if n := remembered(t, b, peer, 4, 100); n != want {
			t.Errorf("%d messages of %s are remembered, want %d", n, peer, want)
		}
	}
	remembers(t, b, "did:flood0", "99", true)
	// Strangers may have what is left, and yield it before a known party within its share.
	for i := range 100 {
		handled(t, b, from(fmt.Sprint("did:stranger", i), "1", store.ClassStranger, 1))
	}
	for i := range 16 {
		handled(t, b, from("did:known1", fmt.Sprint(i), store.ClassKnown, 1))
	}
	for peer, want := range map[string]int{"did:known": 32, "did:stranger": 10, "did:flood": 22} {
		if n := remembered(t, b, peer, 100, 100); n != want {
			t.Errorf("%d messages of %s are remembered in the end, want %d", n, peer, want)
		}
	}
}

// testManyKnown: when known parties within their shares fill the inbox, the one that has most
// yields, and not the strangers.
func testManyKnown(t *testing.T, b store.Inbox) {
	for i := range 4 {
		handled(t, b, from(fmt.Sprint("did:stranger", i), "0", store.ClassStranger, 1))
	}
	for i := range 16 {
		handled(t, b, from("did:large0", fmt.Sprint(i), store.ClassKnown, 1))
	}
	for i := range 4 * 15 {
		handled(t, b, from(fmt.Sprint("did:small", i%15), fmt.Sprint(i/15), store.ClassKnown, 1))
	}
	strangers, large, small := remembered(t, b, "did:stranger", 4, 1), remembered(t, b, "did:large", 1, 16), remembered(t, b, "did:small", 15, 4)
	if strangers != 4 || large < 2 || large > 5 || large+small != 60 {
		t.Errorf("remembered: %d of strangers, %d of the large one, %d of the small ones", strangers, large, small)
	}
}

// testFloodOfReplies: what is kept with messages is shared as the memory is. A message that
// has lost its replies is still known.
func testFloodOfReplies(t *testing.T, b store.Inbox) {
	replies := func(m store.Received) int { return len(known(t, b, m, store.Done).Replies) }
	quiet := from("did:known0", "quiet", store.ClassKnown, 100)
	handled(t, b, quiet)
	for i := range 80 {
		handled(t, b, from(fmt.Sprint("did:stranger", i), "0", store.ClassStranger, 100))
	}
	if replies(quiet) != 1 {
		t.Error("strangers displace the reply to a known party")
	}
	if replies(from("did:stranger79", "0", store.ClassStranger, 100)) != 1 || replies(from("did:stranger0", "0", store.ClassStranger, 100)) != 0 {
		t.Error("the oldest messages of strangers have lost their replies, and only those")
	}
	for i := range 80 {
		handled(t, b, from("did:flood0", fmt.Sprint(i), store.ClassKnown, 100))
	}
	if replies(quiet) != 1 {
		t.Error("a known party displaces the reply to another one")
	}
	if replies(from("did:stranger79", "0", store.ClassStranger, 100)) != 1 {
		t.Error("a known party displaces replies to strangers within their share")
	}
	if replies(from("did:flood0", "0", store.ClassKnown, 100)) != 0 || replies(from("did:flood0", "79", store.ClassKnown, 100)) != 1 {
		t.Error("the oldest messages of the flood have lost their replies, and only those")
	}
}

// testStrangersShare: all strangers together have a share of the pending messages.
func testStrangersShare(t *testing.T, b store.Inbox) {
	tryAdd(t, b, from("did:s1", "1", store.ClassStranger, 201), store.ErrFull)
	first := tryAdd(t, b, from("did:s1", "1", store.ClassStranger, 100), nil)
	second := tryAdd(t, b, from("did:s2", "1", "other", 50), nil)
	tryAdd(t, b, from("did:s3", "1", store.ClassStranger, 1), store.ErrFull)
	for i := range 6 {
		tryAdd(t, b, from("did:k", fmt.Sprint(i), store.ClassKnown, 100), nil)
	}
	tryAdd(t, b, from("did:k", "6", store.ClassKnown, 1), store.ErrFull) // all are 8
	check(t, "Nak", b.Nak(t.Context(), second, long, "busy"), nil)
	tryAdd(t, b, from("did:s3", "1", store.ClassStranger, 1), store.ErrFull)
	check(t, "Ack", b.Ack(t.Context(), first), nil)
	tryAdd(t, b, from("did:s3", "1", store.ClassStranger, 151), store.ErrFull)
	third := tryAdd(t, b, from("did:s3", "1", store.ClassStranger, 150), nil)
	check(t, "Term", b.Term(t.Context(), third, "gone"), nil)
	add(t, b, from("did:s4", "1", store.ClassStranger, 100), 0) // only remembered
	tryAdd(t, b, from("did:s5", "1", store.ClassStranger, 150), nil)
}

// testInboxKeepsClass: the class of a message is kept. An unknown class is that of strangers.
func testInboxKeepsClass(t *testing.T, b store.Inbox) {
	for i, class := range append(store.Classes(), "other") {
		want := class
		if class == "other" {
			want = store.ClassStranger
		}
		id := fmt.Sprint(i)
		l := add(t, b, from("did:a", id, class, 1), long)
		check(t, "Nak", b.Nak(t.Context(), l, 0, "busy"), nil)
		again := leaseReceived(t, b, long)
		classes := []store.Class{l.Item.Class, again.Item.Class}
		if a, ok := b.(store.InboxAdmin); ok {
			found, err := a.Find(t.Context(), id)
			if err != nil || len(found) != 1 {
				t.Fatalf("found %v, %v", found, err)
			}
			classes = append(classes, found[0].Item.Class)
		}
		for way, got := range classes {
			if got != want {
				t.Errorf("class %q is %q, way %d", class, got, way)
			}
		}
	}
}

// testInboxFind: Find returns all messages of an ID that have a packet, and no others.
func testInboxFind(t *testing.T, b store.Inbox) {
	a, ok := b.(store.InboxAdmin)
	if !ok {
		t.Skip("no InboxAdmin")
	}
	odd := strings.Repeat("x", 1<<12) + "\x00\xff"
	for _, id := range []string{"1", "", odd} {
		add(t, b, received("did:a", id), long)
		handled(t, b, received("did:b", id))
		add(t, b, received("did:c", id+"other"), long)
		add(t, b, from("did:d", id, store.ClassKnown, 0), 0)
		list, err := a.Find(t.Context(), id)
		if err != nil || len(list) != 2 || list[0].Item.Sender != "did:a" || list[1].Item.Sender != "did:b" ||
			list[0].Seq >= list[1].Seq || list[0].State != store.Leased || list[1].State != store.Done || string(list[0].Item.Packet.Data) != "packet "+id {
			t.Fatalf("found %d of %.20q, %v", len(list), id, err)
		}
		check(t, "Drop", a.Drop(t.Context(), list[0].Seq), nil)
		check(t, "Retry of a done message", a.Retry(t.Context(), list[1].Seq), store.ErrNotFound)
		if list, err := a.Find(t.Context(), id); err != nil || len(list) != 1 || list[0].Item.Sender != "did:b" {
			t.Errorf("found %d of %.20q after Drop, %v", len(list), id, err)
		}
	}
	if list, err := a.Find(t.Context(), "2"); err != nil || len(list) != 0 {
		t.Errorf("found %v, %v", list, err)
	}
}
