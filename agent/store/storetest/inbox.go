package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/didcomm-go/didcomm/agent/store"
)

// inboxTests are the clauses of store.Inbox, one function each.
var inboxTests = map[string]func(t *testing.T, b store.Inbox){
	"OncePerSenderAndID":      testOncePerSenderAndID,
	"RememberedUntilItsTime":  testRememberedUntilItsTime,
	"RememberedInOrder":       testRememberedInOrder,
	"LongIDs":                 testLongIDs,
	"OneWinner":               testOneWinner,
	"DoneAtOnce":              testDoneAtOnce,
	"KnowsReplies":            testKnowsReplies,
	"InboxNakDelays":          testInboxNakDelays,
	"InboxNakUntried":         testInboxNakUntried,
	"InboxLeaseComesBack":     testInboxLeaseComesBack,
	"InboxLeaseWaits":         testInboxLeaseWaits,
	"Extend":                  testExtend,
	"ExtendLost":              testExtendLost,
	"ExtendOfAll":             testExtendOfAll,
	"SetAside":                testSetAside,
	"InboxKeepsMessage":       testInboxKeepsMessage,
	"InboxLeasesAreDisjoint":  testInboxLeasesAreDisjoint,
	"InboxListInOrder":        testInboxListInOrder,
	"InboxRetryAndDrop":       testInboxRetryAndDrop,
	"PoisonDoesNotBlock":      testPoisonDoesNotBlock,
	"WaitingIsNeverForgotten": testWaitingIsNeverForgotten,
	"InboxKeepsClass":         testInboxKeepsClass,
	"InboxFind":               testInboxFind,
}

// TestInbox tests an implementation of [store.Inbox], and of [store.InboxAdmin] if the inbox
// is one. Each call of open returns an empty inbox.
func TestInbox(t *testing.T, open func(t *testing.T) store.Inbox) {
	for name, test := range inboxTests {
		t.Run(name, func(t *testing.T) { test(t, open(t)) })
	}
	testInboxShares(t, open)
}

func received(sender, id string) store.Received {
	now := time.Now().Truncate(time.Second)
	return store.Received{
		Sender: sender, ID: id, Peer: sender, To: "did:example:us", Type: "https://example.org/p/1.0/m", Thread: "t-" + id,
		Packet: store.Packet{MediaType: "x/y", Data: []byte("packet " + id)},
		Time:   now, Until: now.Add(long),
	}
}

// add adds a message that the inbox does not know yet.
func add(t *testing.T, b store.Inbox, m store.Received, d time.Duration) *store.Lease[store.Received] {
	t.Helper()
	l, known, err := b.Add(t.Context(), m, d)
	if err != nil || known != nil || (l != nil) != (d > 0) {
		t.Fatalf("Add(%q, %.20q) = %v, %v, %v", m.Sender, m.ID, l, known, err)
	}
	return l
}

// known asserts that a message is known in a state.
func known(t *testing.T, b store.Inbox, m store.Received, want store.State) *store.Known {
	t.Helper()
	l, known, err := b.Add(t.Context(), m, long)
	if err != nil || l != nil || known == nil || known.State != want {
		t.Fatalf("Add(%q, %.20q) = %v, %+v, %v, want it known as %s", m.Sender, m.ID, l, known, err, want)
	}
	return known
}

func leaseReceived(t *testing.T, b store.Inbox, d time.Duration) *store.Lease[store.Received] {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	l, err := b.Lease(ctx, d)
	if err != nil {
		t.Fatalf("Lease: %v", err)
	}
	return l
}

func nothingReceived(t *testing.T, b store.Inbox) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), short)
	defer cancel()
	if l, err := b.Lease(ctx, long); err == nil {
		t.Fatalf("Lease handed out %s, want none", l.Item.ID)
	}
}

func remembers(t *testing.T, b store.Inbox, sender, id string, want bool) {
	t.Helper()
	got, err := b.Remembered(t.Context(), sender, []string{id})
	if err != nil || len(got) == 1 != want {
		t.Errorf("Remembered(%q, %.20q) = %.20q, %v, want it %v", sender, id, got, err, want)
	}
}

func testOncePerSenderAndID(t *testing.T, b store.Inbox) {
	remembers(t, b, "did:a", "1", false)
	add(t, b, received("did:a", "1"), long)
	known(t, b, received("did:a", "1"), store.Leased)
	remembers(t, b, "did:a", "1", true)
	add(t, b, received("did:b", "1"), long)
	add(t, b, received("did:a", "2"), long)
	add(t, b, received("", "1"), long)
	// Different pairs of sender and id are different messages.
	add(t, b, received("did:a1", ""), long)
	add(t, b, received("did:", "a1"), long)
}

func testRememberedUntilItsTime(t *testing.T, b store.Inbox) {
	old := received("did:a", "1")
	old.Until = time.Now().Add(-time.Second)
	check(t, "Ack", b.Ack(t.Context(), add(t, b, old, long)), nil)
	remembers(t, b, "did:a", "1", false)
	add(t, b, received("did:a", "1"), 0)
	known(t, b, received("did:a", "1"), store.Done)
}

// testWaitingIsNeverForgotten: a pending message is known even after its Until.
func testWaitingIsNeverForgotten(t *testing.T, b store.Inbox) {
	old := received("did:a", "1")
	old.Until = time.Now().Add(-time.Second)
	check(t, "Nak", b.Nak(t.Context(), add(t, b, old, long), long, "busy"), nil)
	known(t, b, old, store.Waiting)
	remembers(t, b, "did:a", "1", true)
}

func testRememberedInOrder(t *testing.T, b store.Inbox) {
	for _, id := range []string{"2", "3", "1"} {
		add(t, b, received("did:a", id), long)
	}
	add(t, b, received("did:b", "4"), long)
	got, err := b.Remembered(t.Context(), "did:a", []string{"1", "4", "2", "0", "3"})
	if err != nil || !slices.Equal(got, []string{"2", "3", "1"}) {
		t.Errorf("remembered %q, %v", got, err)
	}
	if got, err := b.Remembered(t.Context(), "did:a", nil); err != nil || len(got) != 0 {
		t.Errorf("of none: %q, %v", got, err)
	}
}

func testLongIDs(t *testing.T, b store.Inbox) {
	id := strings.Repeat("x", 1<<16)
	add(t, b, received("did:a", id), long)
	known(t, b, received("did:a", id), store.Leased)
	add(t, b, received("did:a", id+"y"), long)
}

func testOneWinner(t *testing.T, b store.Inbox) {
	var wg sync.WaitGroup
	wins := make(chan bool, 16)
	for range cap(wins) {
		wg.Go(func() {
			l, _, err := b.Add(t.Context(), received("did:a", "1"), long)
			wins <- l != nil && err == nil
		})
	}
	wg.Wait()
	close(wins)
	n := 0
	for w := range wins {
		if w {
			n++
		}
	}
	if n != 1 {
		t.Errorf("%d of %d concurrent Adds were new", n, cap(wins))
	}
}

func testDoneAtOnce(t *testing.T, b store.Inbox) {
	add(t, b, received("did:a", "1"), 0)
	nothingReceived(t, b)
	if k := known(t, b, received("did:a", "1"), store.Done); len(k.Replies) != 0 {
		t.Errorf("replies: %v", k.Replies)
	}
}

func testKnowsReplies(t *testing.T, b store.Inbox) {
	l := add(t, b, received("did:a", "1"), long)
	replies := []store.Packet{{MediaType: "x/1", Data: []byte{0, 255}}, {MediaType: "x/2", Data: []byte("2")}}
	check(t, "Ack", b.Ack(t.Context(), l, replies...), nil)
	check(t, "Ack again", b.Ack(t.Context(), l), store.ErrLease)
	k := known(t, b, received("did:a", "1"), store.Done)
	if fmt.Sprint(k.Replies) != fmt.Sprint(replies) {
		t.Errorf("replies: %v", k.Replies)
	}
	nothingReceived(t, b)
}

func testInboxNakDelays(t *testing.T, b store.Inbox) {
	l := add(t, b, received("did:a", "1"), long)
	if l.Attempts != 0 || l.LastError != "" {
		t.Errorf("first lease: %+v", l)
	}
	check(t, "Nak", b.Nak(t.Context(), l, long, "busy"), nil)
	nothingReceived(t, b)
	check(t, "Ack after Nak", b.Ack(t.Context(), l), store.ErrLease)
	l = add(t, b, received("did:a", "2"), long)
	check(t, "Nak", b.Nak(t.Context(), l, short, "busy"), nil)
	l = leaseReceived(t, b, long)
	if l.Item.ID != "2" || l.Attempts != 1 || l.LastError != "busy" {
		t.Errorf("second lease: %+v", l)
	}
	check(t, "Ack", b.Ack(t.Context(), l), nil)
}

// testInboxNakUntried: a Nak with an empty reason does not count as an attempt.
func testInboxNakUntried(t *testing.T, b store.Inbox) {
	check(t, "Nak", b.Nak(t.Context(), add(t, b, received("did:a", "1"), long), 0, ""), nil)
	for i, reason := range []string{"", "busy", "", ""} {
		l := leaseReceived(t, b, long)
		if i < 2 && (l.Attempts != 0 || l.LastError != "") || i >= 2 && (l.Attempts != 1 || l.LastError != "busy") {
			t.Errorf("lease %d: attempts %d, last error %q", i, l.Attempts, l.LastError)
		}
		check(t, "Nak", b.Nak(t.Context(), l, 0, reason), nil)
	}
}

func testInboxLeaseComesBack(t *testing.T, b store.Inbox) {
	first := add(t, b, received("did:a", "1"), short)
	second := leaseReceived(t, b, long)
	if second.Item.ID != "1" || second.Attempts != 1 {
		t.Errorf("second lease: %+v", second)
	}
	check(t, "Ack of the first lease", b.Ack(t.Context(), first), store.ErrLease)
	check(t, "Nak of the first lease", b.Nak(t.Context(), first, 0, ""), store.ErrLease)
	check(t, "Term of the first lease", b.Term(t.Context(), first, ""), store.ErrLease)
	check(t, "Ack of the second lease", b.Ack(t.Context(), second), nil)
}

func testInboxLeaseWaits(t *testing.T, b store.Inbox) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := b.Lease(ctx, long)
	check(t, "Lease", err, context.Canceled)
	got := make(chan *store.Lease[store.Received])
	go func() {
		l, _ := b.Lease(t.Context(), long)
		got <- l
	}()
	check(t, "Nak", b.Nak(t.Context(), add(t, b, received("did:a", "1"), long), 0, "busy"), nil)
	select {
	case l := <-got:
		if l == nil || l.Item.ID != "1" {
			t.Fatalf("got %v", l)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("a waiting Lease missed the message")
	}
}

// testExtend: an extended lease ends at its new time, and not before.
func testExtend(t *testing.T, b store.Inbox) {
	old := add(t, b, received("did:a", "1"), long)
	before := time.Now()
	l, err := b.Extend(t.Context(), old, 2*long)
	check(t, "Extend", err, nil)
	if l.Token != old.Token || fmt.Sprint(l.Item) != fmt.Sprint(old.Item) || l.Attempts != old.Attempts || l.LastError != old.LastError {
		t.Errorf("extended: %+v, was %+v", l, old)
	}
	if until := l.Until.Sub(before); until < 2*long-time.Second || until > 2*long+10*time.Second {
		t.Errorf("extended until %v from then", until)
	}
	known(t, b, received("did:a", "1"), store.Leased)
	nothingReceived(t, b)
	again, err := b.Extend(t.Context(), old, short) // which makes it end sooner
	check(t, "Extend", err, nil)
	second := leaseReceived(t, b, long)
	if second.Item.ID != "1" || second.Attempts != 1 || time.Now().Before(again.Until) {
		t.Errorf("second lease: %+v", second)
	}
	check(t, "Ack of the first lease", b.Ack(t.Context(), l), store.ErrLease)
	third, err := b.Extend(t.Context(), second, long)
	check(t, "Extend of a lease by Lease", err, nil)
	if third.Attempts != 1 || string(third.Item.Packet.Data) != "packet 1" {
		t.Errorf("extended: %+v", third)
	}
	check(t, "Ack", b.Ack(t.Context(), third), nil)
	nothingReceived(t, b)
}

func testExtendLost(t *testing.T, b store.Inbox) {
	lost := func(what string, l *store.Lease[store.Received]) {
		t.Helper()
		if l, err := b.Extend(t.Context(), l, long); l != nil || !errors.Is(err, store.ErrLease) {
			t.Errorf("Extend of %s: %+v, %v", what, l, err)
		}
	}
	lost("nothing", &store.Lease[store.Received]{Item: received("did:a", "0"), Token: 1})
	l := add(t, b, received("did:a", "1"), long)
	lost("no lease", &store.Lease[store.Received]{Item: l.Item})
	check(t, "Ack", b.Ack(t.Context(), l), nil)
	lost("what is done", l)
	l = add(t, b, received("did:a", "2"), long)
	check(t, "Nak", b.Nak(t.Context(), l, long, "busy"), nil)
	lost("what waits", l)
	l = add(t, b, received("did:a", "3"), short)
	second := leaseReceived(t, b, long)
	lost("a lease that ran out", l)
	check(t, "Ack", b.Ack(t.Context(), second), nil)
	nothingReceived(t, b)
}

// testExtendOfAll: a waiting Lease gets a message although all other leases were extended.
func testExtendOfAll(t *testing.T, b store.Inbox) {
	for i := range 3 {
		l := add(t, b, received("did:a", fmt.Sprint(i)), long)
		l, err := b.Extend(t.Context(), l, 2*long)
		check(t, "Extend", err, nil)
		if i == 1 {
			_, err := b.Extend(t.Context(), l, -time.Second)
			check(t, "Extend", err, nil)
		}
	}
	if l := leaseReceived(t, b, long); l.Item.ID != "1" {
		t.Errorf("leased %s, want 1", l.Item.ID)
	}
	nothingReceived(t, b)
}

func testSetAside(t *testing.T, b store.Inbox) {
	check(t, "Term", b.Term(t.Context(), add(t, b, received("did:a", "1"), long), "poison"), nil)
	nothingReceived(t, b)
	known(t, b, received("did:a", "1"), store.Buried)
}

func testInboxKeepsMessage(t *testing.T, b store.Inbox) {
	want := received("did:a", "1")
	want.Packet.Data = []byte{0, 255, '"'}
	for i, l := range []*store.Lease[store.Received]{add(t, b, want, short), leaseReceived(t, b, long)} {
		got := l.Item
		if !got.Time.Equal(want.Time) || !got.Until.Equal(want.Until) {
			t.Errorf("lease %d: times %v, %v", i, got.Time, got.Until)
		}
		got.Time, got.Until = want.Time, want.Until
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("lease %d: got  %+v\nwant %+v", i, got, want)
		}
	}
}

func testInboxLeasesAreDisjoint(t *testing.T, b store.Inbox) {
	const n = 100
	for i := range n {
		l := add(t, b, received(fmt.Sprint("did:", i%7), fmt.Sprint(i)), long)
		check(t, "Nak", b.Nak(t.Context(), l, 0, ""), nil)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	got := make(chan string)
	for range 8 {
		go func() {
			for {
				l, err := b.Lease(ctx, long)
				if err != nil {
					return
				}
				if err := b.Ack(ctx, l); err != nil {
					t.Errorf("Ack %s: %v", l.Item.ID, err)
				}
				select {
				case got <- l.Item.ID:
				case <-ctx.Done():
					return
				}
			}
		}()
	}
	seen := make(map[string]bool)
	for len(seen) < n {
		select {
		case id := <-got:
			if seen[id] {
				t.Fatalf("%s was leased twice", id)
			}
			seen[id] = true
		case <-time.After(10 * time.Second):
			t.Fatalf("%d of %d came out", len(seen), n)
		}
	}
}

// testPoisonDoesNotBlock: a message that always fails does not block later messages.
func testPoisonDoesNotBlock(t *testing.T, b store.Inbox) {
	for _, id := range []string{"poison", "1", "2"} {
		check(t, "Nak", b.Nak(t.Context(), add(t, b, received("did:a", id), long), 0, ""), nil)
	}
	check(t, "Nak", b.Nak(t.Context(), leaseReceived(t, b, long), long, "fails"), nil)
	for _, want := range []string{"1", "2"} {
		if l := leaseReceived(t, b, long); l.Item.ID != want {
			t.Errorf("leased %s, want %s", l.Item.ID, want)
		}
	}
}

func inboxAdmin(t *testing.T, b store.Inbox) store.InboxAdmin {
	t.Helper()
	a, ok := b.(store.InboxAdmin)
	if !ok {
		t.Skip("no InboxAdmin")
	}
	return a
}

func testInboxListInOrder(t *testing.T, b store.Inbox) {
	a := inboxAdmin(t, b)
	bare := received("did:a", "bare")
	bare.Packet.Data = nil
	add(t, b, bare, 0)
	check(t, "Ack", b.Ack(t.Context(), add(t, b, received("did:a", "done"), long)), nil)
	check(t, "Term", b.Term(t.Context(), add(t, b, received("did:a", "aside"), long), "poison"), nil)
	check(t, "Nak", b.Nak(t.Context(), add(t, b, received("did:a", "later"), long), long, "busy"), nil)
	add(t, b, received("did:a", "now"), long)
	var got []string
	var after uint64
	for {
		list, err := a.List(t.Context(), after, 3)
		if err != nil {
			t.Fatal(err)
		}
		if len(list) == 0 {
			break
		}
		for _, e := range list {
			if e.Seq <= after {
				t.Errorf("seq %d after %d", e.Seq, after)
			}
			after = e.Seq
			got = append(got, fmt.Sprint(string(e.Item.Packet.Data), " ", e.State, " ", e.Attempts, " ", e.LastError))
		}
	}
	want := []string{"packet done done 1 ", "packet aside buried 1 poison", "packet later waiting 1 busy", "packet now leased 1 "}
	if !slices.Equal(got, want) {
		t.Errorf("listed %q, want %q", got, want)
	}
}

func testInboxRetryAndDrop(t *testing.T, b store.Inbox) {
	a := inboxAdmin(t, b)
	check(t, "Term", b.Term(t.Context(), add(t, b, received("did:a", "1"), long), "poison"), nil)
	check(t, "Nak", b.Nak(t.Context(), add(t, b, received("did:a", "2"), long), long, "busy"), nil)
	list, err := a.List(t.Context(), 0, 10)
	if err != nil || len(list) != 2 {
		t.Fatalf("listed %v, %v", list, err)
	}
	for _, e := range list {
		check(t, "Retry", a.Retry(t.Context(), e.Seq), nil)
	}
	leases := map[string]*store.Lease[store.Received]{}
	for range 2 {
		l := leaseReceived(t, b, long)
		leases[l.Item.ID] = l
		if l.Attempts != 0 {
			t.Errorf("retried with %d attempts", l.Attempts)
		}
	}
	check(t, "Ack", b.Ack(t.Context(), leases["1"]), nil)
	for _, e := range list {
		check(t, "Drop", a.Drop(t.Context(), e.Seq), nil)
		check(t, "Drop again", a.Drop(t.Context(), e.Seq), store.ErrNotFound)
	}
	check(t, "Ack of what was dropped", b.Ack(t.Context(), leases["2"]), store.ErrLease)
	remembers(t, b, "did:a", "1", true)
	remembers(t, b, "did:a", "2", true)
	nothingReceived(t, b)
	if list, err := a.List(t.Context(), 0, 10); err != nil || len(list) != 0 {
		t.Errorf("listed %v, %v", list, err)
	}
	if err := a.Retry(t.Context(), 1<<62); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("Retry of nothing: %v", err)
	}
}
