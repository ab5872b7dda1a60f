package storetest

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/didcomm-go/didcomm/agent/store"
)

// testInboxShares: the bounds in Add hold for the pending messages of a party.
func testInboxShares(t *testing.T, open func(t *testing.T) store.Inbox) {
	for name, end := range inboxEnds {
		t.Run("ShareAfter/"+name, func(t *testing.T) { testInboxShareAfter(t, open(t), end.free, end.end) })
	}
	for name, test := range map[string]func(*testing.T, store.Inbox){
		"Bounds":         testInboxBounds,
		"KeepsOwner":     testInboxKeepsOwner,
		"KnownWhenFull":  testKnownWhenFull,
		"DoneIsNoShare":  testDoneIsNoShare,
		"ForgottenShare": testForgottenShare,
		"ShareAtOnce":    testInboxShareAtOnce,
	} {
		t.Run(name, func(t *testing.T) { test(t, open(t)) })
	}
	for seed := range uint64(4) {
		t.Run(fmt.Sprint("AnyShares/", seed), func(t *testing.T) { testAnyShares(t, open(t), seed) })
	}
}

// tryAdd adds a message that is not known yet. The result must be want.
func tryAdd(t *testing.T, b store.Inbox, m store.Received, want error) *store.Lease[store.Received] {
	t.Helper()
	l, known, err := b.Add(t.Context(), m, long)
	if !errors.Is(err, want) || known != nil || (l != nil) != (want == nil) {
		t.Fatalf("Add(%q, %.20q) = %v, %v, %v, want %v", m.Sender, m.ID, l, known, err, want)
	}
	if want != nil {
		remembers(t, b, m.Sender, m.ID, false)
	}
	return l
}

// testInboxBounds: all cases use one inbox, with different parties.
func testInboxBounds(t *testing.T, b store.Inbox) {
	for name, adds := range inboxBounds {
		t.Run(name, func(t *testing.T) {
			for i, a := range adds {
				m := received("did:sender", fmt.Sprint(name, i))
				m.Peer, m.Owner, m.PeerShare, m.OwnerShare = name+a.peer, a.owner, a.ofPeer, a.ofOwner
				if a.owner != "" {
					m.Owner = name + a.owner
				}
				m.Packet.Data = make([]byte, 10)
				tryAdd(t, b, m, a.want)
			}
		})
	}
}

// inboxBounds are messages of ten bytes each, in the order in which they are added.
var inboxBounds = map[string][]struct {
	peer, owner     string
	ofPeer, ofOwner store.Share
	want            error
}{
	"PeerItems": {
		{peer: "a", ofPeer: store.Share{Items: 2}}, {peer: "a", ofPeer: store.Share{Items: 2}},
		{peer: "a", ofPeer: store.Share{Items: 2}, want: store.ErrFull},
		{peer: "b", ofPeer: store.Share{Items: 2}},
	},
	"PeerBytes": {
		{peer: "a", ofPeer: store.Share{Bytes: 9}, want: store.ErrFull},
		{peer: "a", ofPeer: store.Share{Bytes: 20}}, {peer: "a", ofPeer: store.Share{Bytes: 20}},
		{peer: "a", ofPeer: store.Share{Bytes: 29}, want: store.ErrFull},
		{peer: "b", ofPeer: store.Share{Bytes: 10}},
	},
	"OwnerItems": {
		{peer: "a", owner: "x", ofOwner: store.Share{Items: 2}}, {peer: "b", owner: "x", ofOwner: store.Share{Items: 2}},
		{peer: "c", owner: "x", ofOwner: store.Share{Items: 2}, want: store.ErrFull},
		{peer: "c", owner: "y", ofOwner: store.Share{Items: 2}},
		{peer: "c", ofOwner: store.Share{Items: 2}},
	},
	"OwnerBytes": {
		{peer: "a", owner: "x", ofOwner: store.Share{Bytes: 9}, want: store.ErrFull},
		{peer: "a", owner: "x", ofOwner: store.Share{Bytes: 20}}, {peer: "b", owner: "x", ofOwner: store.Share{Bytes: 20}},
		{peer: "c", owner: "x", ofOwner: store.Share{Bytes: 29}, want: store.ErrFull},
		{peer: "c", owner: "y", ofOwner: store.Share{Bytes: 10}},
	},
	// The bound of a message holds for the Add of this message only.
	"EachItsBound": {
		{owner: "x"}, {owner: "x", ofOwner: store.Share{Items: 3}},
		{owner: "x", ofOwner: store.Share{Items: 2}, want: store.ErrFull},
		{owner: "x", ofOwner: store.Share{Items: 3}}, {owner: "x"},
		{owner: "x", ofOwner: store.Share{Items: 4, Bytes: 1000}, want: store.ErrFull},
		{owner: "x", ofOwner: store.Share{Items: 5, Bytes: 49}, want: store.ErrFull},
		{owner: "x", ofOwner: store.Share{Items: 5, Bytes: 50}},
	},
	"NoBound": {
		{peer: "a", owner: "x"}, {peer: "a", owner: "x", ofPeer: store.Share{Items: -1, Bytes: -1}, ofOwner: store.Share{Items: -1, Bytes: -1}},
	},
	"NoOwner": {
		{ofOwner: store.Share{Items: 1, Bytes: 1}}, {ofOwner: store.Share{Items: 1, Bytes: 1}},
		{owner: "x", ofOwner: store.Share{Items: 1, Bytes: 10}},
	},
	// An owner and a peer of the same name are two parties.
	"OneName": {
		{peer: "x", owner: "x", ofPeer: store.Share{Items: 2}, ofOwner: store.Share{Items: 2}},
		{peer: "x", owner: "x", ofPeer: store.Share{Items: 2}, ofOwner: store.Share{Items: 2}},
		{peer: "x", ofPeer: store.Share{Items: 2}, want: store.ErrFull},
		{peer: "a", owner: "x", ofOwner: store.Share{Items: 2}, want: store.ErrFull},
		{peer: "a", owner: "b", ofPeer: store.Share{Items: 1}, ofOwner: store.Share{Items: 1}},
	},
	// A refused message takes nothing of any share.
	"OneIsFull": {
		{peer: "a", owner: "x", ofOwner: store.Share{Items: 1}},
		{peer: "b", owner: "x", ofOwner: store.Share{Items: 1}, want: store.ErrFull},
		{peer: "b", owner: "y", ofPeer: store.Share{Items: 1}},
		{peer: "b", owner: "z", ofPeer: store.Share{Items: 1}, want: store.ErrFull},
		{peer: "c", owner: "z", ofOwner: store.Share{Items: 1}},
	},
}

// inboxEnds are the calls that may follow for a message, and whether its shares are free
// after them.
var inboxEnds = map[string]struct {
	free bool
	end  func(t *testing.T, b store.Inbox, l *store.Lease[store.Received])
}{
	"Ack": {true, func(t *testing.T, b store.Inbox, l *store.Lease[store.Received]) {
		check(t, "Ack", b.Ack(t.Context(), l, store.Packet{Data: make([]byte, 100)}), nil)
	}},
	"Term": {true, func(t *testing.T, b store.Inbox, l *store.Lease[store.Received]) {
		check(t, "Term", b.Term(t.Context(), l, "poison"), nil)
	}},
	"Nak": {false, func(t *testing.T, b store.Inbox, l *store.Lease[store.Received]) {
		check(t, "Nak", b.Nak(t.Context(), l, long, "busy"), nil)
	}},
	"RunOut": {false, runOut},
	"RunOutAndAck": {true, func(t *testing.T, b store.Inbox, l *store.Lease[store.Received]) {
		runOut(t, b, l)
		check(t, "Ack of the first lease", b.Ack(t.Context(), l), store.ErrLease)
		check(t, "Ack", b.Ack(t.Context(), leaseReceived(t, b, long)), nil)
	}},
	"DropOfLeased": {true, func(t *testing.T, b store.Inbox, l *store.Lease[store.Received]) {
		check(t, "Drop", inboxAdmin(t, b).Drop(t.Context(), seqOf(t, b, l.Item.ID)), nil)
		check(t, "Ack", b.Ack(t.Context(), l), store.ErrLease)
	}},
	"DropOfWaiting": {true, func(t *testing.T, b store.Inbox, l *store.Lease[store.Received]) {
		check(t, "Nak", b.Nak(t.Context(), l, long, "busy"), nil)
		check(t, "Drop", inboxAdmin(t, b).Drop(t.Context(), seqOf(t, b, l.Item.ID)), nil)
	}},
	"DropOfBuried": {true, func(t *testing.T, b store.Inbox, l *store.Lease[store.Received]) {
		check(t, "Term", b.Term(t.Context(), l, "poison"), nil)
		check(t, "Drop", inboxAdmin(t, b).Drop(t.Context(), seqOf(t, b, l.Item.ID)), nil)
	}},
	"Retry": {false, func(t *testing.T, b store.Inbox, l *store.Lease[store.Received]) {
		check(t, "Nak", b.Nak(t.Context(), l, long, "busy"), nil)
		check(t, "Retry", inboxAdmin(t, b).Retry(t.Context(), seqOf(t, b, l.Item.ID)), nil)
	}},
	"RetryOfBuried": {false, retryBuried},
	"RetryOfBuriedAndAck": {true, func(t *testing.T, b store.Inbox, l *store.Lease[store.Received]) {
		retryBuried(t, b, l)
		check(t, "Ack", b.Ack(t.Context(), leaseReceived(t, b, long)), nil)
	}},
}

func runOut(t *testing.T, b store.Inbox, l *store.Lease[store.Received]) {
	_, err := b.Extend(t.Context(), l, -time.Second)
	check(t, "Extend", err, nil)
}

func retryBuried(t *testing.T, b store.Inbox, l *store.Lease[store.Received]) {
	check(t, "Term", b.Term(t.Context(), l, "poison"), nil)
	check(t, "Retry", inboxAdmin(t, b).Retry(t.Context(), seqOf(t, b, l.Item.ID)), nil)
}

// seqOf finds a message that has its packet.
func seqOf(t *testing.T, b store.Inbox, id string) uint64 {
	t.Helper()
	list, err := inboxAdmin(t, b).List(t.Context(), 0, 1000)
	for _, e := range list {
		if e.Item.ID == id {
			return e.Seq
		}
	}
	t.Fatalf("%s is not listed: %v", id, err)
	return 0
}

func testInboxShareAfter(t *testing.T, b store.Inbox, free bool, end func(*testing.T, store.Inbox, *store.Lease[store.Received])) {
	bound := store.Share{Items: 1, Bytes: 10}
	message := func(id string) store.Received {
		m := received("did:sender", id)
		m.Packet.Data = make([]byte, 10)
		return m
	}
	first, ofPeer, ofOwner := message("1"), message("of the peer"), message("of the owner")
	ofPeer.Peer, ofPeer.PeerShare = "x", bound
	ofOwner.Owner, ofOwner.OwnerShare = "y", bound
	first.Peer, first.Owner = ofPeer.Peer, ofOwner.Owner
	l := tryAdd(t, b, first, nil)
	tryAdd(t, b, ofPeer, store.ErrFull)
	tryAdd(t, b, ofOwner, store.ErrFull)
	end(t, b, l)
	if free {
		tryAdd(t, b, ofPeer, nil)
		tryAdd(t, b, ofOwner, nil)
		ofPeer.ID, ofOwner.ID = "another of the peer", "another of the owner"
	}
	tryAdd(t, b, ofPeer, store.ErrFull)
	tryAdd(t, b, ofOwner, store.ErrFull)
}

func testInboxKeepsOwner(t *testing.T, b store.Inbox) {
	for i, owner := range []string{"did:example:us", "", strings.Repeat("x", 1<<16), "a\x00\xff"} {
		m := received("did:a", fmt.Sprint(i))
		m.Owner, m.PeerShare, m.OwnerShare = owner, store.Share{Items: 10}, store.Share{Items: 1}
		l := add(t, b, m, long)
		items := []store.Received{l.Item}
		check(t, "Nak", b.Nak(t.Context(), l, 0, ""), nil)
		again := leaseReceived(t, b, long)
		items = append(items, again.Item)
		if a, ok := b.(store.InboxAdmin); ok {
			list, err := a.List(t.Context(), seqOf(t, b, m.ID)-1, 1)
			if err != nil || len(list) != 1 {
				t.Fatalf("listed %v, %v", list, err)
			}
			items = append(items, list[0].Item)
		}
		for k, got := range items {
			if got.Owner != owner || got.PeerShare != (store.Share{}) || got.OwnerShare != (store.Share{}) || got.To != m.To {
				t.Errorf("owner %d, way %d: %.20q, bounds %v and %v", i, k, got.Owner, got.PeerShare, got.OwnerShare)
			}
		}
	}
}

// testKnownWhenFull: Add of a known message returns what is known even if its shares are
// full, and takes nothing of them.
func testKnownWhenFull(t *testing.T, b store.Inbox) {
	m := received("did:a", "1")
	m.Owner, m.OwnerShare, m.PeerShare = "x", store.Share{Items: 2}, store.Share{Items: 2}
	l := add(t, b, m, long)
	for range 3 {
		known(t, b, m, store.Leased)
	}
	m.ID = "2"
	add(t, b, m, long)
	check(t, "Ack", b.Ack(t.Context(), l), nil)
	m.ID = "1"
	known(t, b, m, store.Done)
	m.ID = "3"
	add(t, b, m, long)
	m.ID = "4"
	tryAdd(t, b, m, store.ErrFull)
}

// testDoneIsNoShare: a message that is done at once takes no share, and needs no room in one.
func testDoneIsNoShare(t *testing.T, b store.Inbox) {
	m := received("did:a", "1")
	m.Owner, m.OwnerShare, m.PeerShare = "x", store.Share{Items: 1}, store.Share{Items: 1}
	add(t, b, m, 0)
	m.ID = "2"
	add(t, b, m, long)
	m.ID = "3"
	add(t, b, m, 0)
	m.ID = "4"
	tryAdd(t, b, m, store.ErrFull)
}

// testForgottenShare: a message that arrives again after its Until takes a share again, of
// the owner that it has now.
func testForgottenShare(t *testing.T, b store.Inbox) {
	m := received("did:a", "1")
	m.Owner, m.OwnerShare, m.Until = "x", store.Share{Items: 1}, time.Now().Add(-time.Second)
	check(t, "Ack", b.Ack(t.Context(), add(t, b, m, long)), nil)
	m.Owner = "y"
	l := add(t, b, m, long)
	m.ID = "2"
	tryAdd(t, b, m, store.ErrFull)
	m.Owner = "x"
	add(t, b, m, long)
	m.ID = "3"
	tryAdd(t, b, m, store.ErrFull)
	check(t, "Ack", b.Ack(t.Context(), l), nil)
	tryAdd(t, b, m, store.ErrFull)
	m.Owner = "y"
	add(t, b, m, long)
}

// testInboxShareAtOnce: of many messages that are added at the same time, as many find room
// as a share allows, and again as many after those were acked.
func testInboxShareAtOnce(t *testing.T, b store.Inbox) {
	const each = 48
	bounds := map[string]store.Share{"few": {Items: 7}, "bytes": {Bytes: 110}, "many": {Items: 30, Bytes: 300}, "all": {}}
	want := map[string]int{"few": 7, "bytes": 11, "many": 30, "all": each}
	for round := range 2 {
		var mu sync.Mutex
		leases := make(map[string][]*store.Lease[store.Received])
		var wg sync.WaitGroup
		for owner, bound := range bounds {
			for i := range each {
				wg.Go(func() {
					m := received(fmt.Sprint("did:", i%5), fmt.Sprint(owner, round, i))
					m.Owner, m.OwnerShare, m.Packet.Data = owner, bound, make([]byte, 10)
					l, known, err := b.Add(t.Context(), m, long)
					if known != nil || err != nil && !errors.Is(err, store.ErrFull) {
						t.Errorf("Add = %v, %v", known, err)
					}
					if l != nil {
						mu.Lock()
						defer mu.Unlock()
						leases[owner] = append(leases[owner], l)
					}
				})
			}
		}
		wg.Wait()
		for owner, n := range want {
			if len(leases[owner]) != n {
				t.Errorf("round %d: %d messages of %q found room, want %d", round, len(leases[owner]), owner, n)
			}
			for _, l := range leases[owner] {
				wg.Go(func() {
					if err := b.Ack(t.Context(), l); err != nil {
						t.Errorf("Ack: %v", err)
					}
				})
			}
		}
		wg.Wait()
	}
}
