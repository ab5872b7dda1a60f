package storetest

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/didcomm-go/didcomm/agent/store"
)

// full asserts which limit a Deposit has met.
func full(t *testing.T, err error, limit string) {
	t.Helper()
	var e *store.LimitError
	if !errors.Is(err, store.ErrFull) || !errors.As(err, &e) || e.Limit != limit {
		t.Errorf("Deposit: %v, want the limit of the %s", err, limit)
	}
}

// counted asserts the status of a box, or of the packets with some names in the box.
func counted(t *testing.T, m store.Mailbox, box string, count int, bytes int64, names ...string) {
	t.Helper()
	if s, err := m.Status(t.Context(), box, names...); s.Count != count || s.Bytes != bytes || err != nil {
		t.Errorf("status of %s %q: %+v, %v, want %d packets of %d bytes", box, names, s, err, count, bytes)
	}
}

// testSeveralBoxes: a packet comes into all boxes or into none, and each box has it on its own.
func testSeveralBoxes(t *testing.T, m store.Mailbox) {
	put := func(id string, bound store.Share, boxes ...string) error {
		p := store.Mail{ID: id, Packet: store.Packet{MediaType: "x/y", Data: []byte("mail " + id)}, BoxShare: bound}
		return m.Deposit(t.Context(), p, boxes...)
	}
	check(t, "Deposit into nothing", put("1", store.Share{}), store.ErrNoBox)
	check(t, "Deposit", put("1", store.Share{}, "x", "y", "x"), nil)
	counted(t, m, "x", 1, 6)
	counted(t, m, "y", 1, 6)
	check(t, "Deposit again", put("1", store.Share{}, "y", "x"), store.ErrExists)
	pick(t, m, "x", store.Pick{N: 9}, long, 1, "1")
	check(t, "Deposit into one more box", put("1", store.Share{}, "x", "y", "z"), nil)
	pick(t, m, "x", store.Pick{N: 9}, long, 0)
	full(t, put("2", store.Share{Items: 1}, "w", "x", "v"), store.LimitBox)
	for _, box := range []string{"v", "w"} {
		counted(t, m, box, 0, 0)
		pick(t, m, box, store.Pick{N: 9}, long, 0)
	}
	ack(t, m, "x", "1")
	ack(t, m, "z", "1")
	mail, err := m.Lease(t.Context(), "y", store.Pick{N: 9}, long)
	if err != nil || len(mail) != 1 || string(mail[0].Packet.Data) != "mail 1" || mail[0].Packet.MediaType != "x/y" {
		t.Errorf("leased %+v, %v", mail, err)
	}
	check(t, "Deposit into what was acked", put("1", store.Share{}, "x", "y"), nil)
	pick(t, m, "x", store.Pick{N: 9}, long, 1, "1")
	ack(t, m, "y", "1")
	ack(t, m, "x", "1")
	if list, err := m.Boxes(t.Context(), "", 9); len(list) != 0 || err != nil {
		t.Errorf("boxes %+v, %v", list, err)
	}
}

// testMailShares: the bounds of a Deposit count what the box, the sender in the box and the
// sender in all boxes have, and what was acked or purged counts no more.
func testMailShares(t *testing.T, m store.Mailbox) {
	n := 0
	put := func(p store.Mail, boxes ...string) error {
		n++
		p.ID = fmt.Sprint(n)
		p.Packet.Data = make([]byte, 10)
		return m.Deposit(t.Context(), p, boxes...)
	}
	two, bytes := store.Share{Items: 2}, store.Share{Bytes: 29}
	for _, sender := range []string{"", "a"} {
		check(t, "Deposit", put(store.Mail{Sender: sender}, "x"), nil)
		check(t, "Deposit", put(store.Mail{Sender: sender}, "x"), nil)
	}
	for _, s := range []store.Share{two, bytes} {
		for _, sender := range []string{"", "a"} {
			full(t, put(store.Mail{Sender: sender, PairShare: s}, "y", "x"), store.LimitPair)
			full(t, put(store.Mail{Sender: sender, SenderShare: s}, "y"), store.LimitSender)
			full(t, put(store.Mail{Sender: sender, BoxShare: s}, "y", "x"), store.LimitBox)
			full(t, put(store.Mail{Sender: sender, PairShare: s, SenderShare: s, BoxShare: s}, "x"), store.LimitPair)
			full(t, put(store.Mail{Sender: sender, SenderShare: s, BoxShare: s}, "x"), store.LimitSender)
		}
	}
	full(t, put(store.Mail{Sender: "b", SenderShare: two}, "x", "y", "z"), store.LimitSender)
	check(t, "Deposit", put(store.Mail{Sender: "b", SenderShare: two, PairShare: two, BoxShare: store.Share{Items: 5, Bytes: 50}}, "x", "y"), nil)
	counted(t, m, "y", 1, 10)
	ack(t, m, "x", "3")
	check(t, "Deposit after Ack", put(store.Mail{Sender: "a", PairShare: two, SenderShare: two}, "x"), nil)
	full(t, put(store.Mail{Sender: "a", PairShare: two}, "x"), store.LimitPair)
	if n, err := m.Purge(t.Context(), "x"); n != 5 || err != nil {
		t.Errorf("Purge = %d, %v", n, err)
	}
	for range 2 {
		check(t, "Deposit after Purge", put(store.Mail{Sender: "a", PairShare: two, SenderShare: two, BoxShare: two}, "x"), nil)
	}
	full(t, put(store.Mail{Sender: "a", PairShare: two}, "x"), store.LimitPair)
	full(t, put(store.Mail{Sender: "b", SenderShare: store.Share{Items: 1}}, "z"), store.LimitSender)
}

// testStatusOfNames: Status counts all packets of a box, or those for some names.
func testStatusOfNames(t *testing.T, m store.Mailbox) {
	start := time.Now().Add(-time.Hour).Truncate(time.Second)
	for i, name := range []string{"a", "b", "a", "c", "b"} {
		check(t, "Deposit", m.Deposit(t.Context(), store.Mail{
			ID: fmt.Sprint(i), For: name, Packet: store.Packet{Data: make([]byte, 1+i)}, Time: start.Add(time.Duration(i) * time.Minute),
		}, "x"), nil)
	}
	gone := store.Mail{ID: "gone", For: "a", Packet: store.Packet{Data: make([]byte, 100)}, Time: start.Add(-time.Minute), Expires: start}
	check(t, "Deposit", m.Deposit(t.Context(), gone, "x"), nil)
	pick(t, m, "x", store.Pick{N: 2}, long, 1, "0", "1")
	check(t, "Nak", m.Nak(t.Context(), "x", "1"), nil)
	for _, tt := range []struct {
		names          []string
		count, leased  int
		bytes          int64
		oldest, newest time.Duration // in minutes after start
	}{
		{nil, 5, 2, 15, 0, 4},
		{[]string{"a"}, 2, 1, 4, 0, 2},
		{[]string{"c", "b", "c"}, 3, 1, 11, 1, 4},
		{[]string{"c"}, 1, 0, 4, 3, 3},
	} {
		want := store.MailboxStatus{
			Count: tt.count, Leased: tt.leased, Bytes: tt.bytes,
			Oldest: start.Add(tt.oldest * time.Minute), Newest: start.Add(tt.newest * time.Minute),
		}
		s, err := m.Status(t.Context(), "x", tt.names...)
		if !s.Oldest.Equal(want.Oldest) || !s.Newest.Equal(want.Newest) {
			t.Errorf("status of %q from %v to %v", tt.names, s.Oldest, s.Newest)
		}
		s.Oldest, s.Newest = want.Oldest, want.Newest
		if s != want || err != nil {
			t.Errorf("status of %q: %+v, %v, want %+v", tt.names, s, err, want)
		}
	}
	if s, err := m.Status(t.Context(), "x", "d"); s != (store.MailboxStatus{}) || err != nil {
		t.Errorf("status of no name: %+v, %v", s, err)
	}
	ack(t, m, "x", "0")
	if s, err := m.Status(t.Context(), "x", "a"); s.Count != 1 || s.Leased != 0 || err != nil {
		t.Errorf("status after Ack: %+v, %v", s, err)
	}
}

// testPurge: Purge removes packets, leased or not, and leaves other names and boxes. Several
// steps of the back end make one Purge.
func testPurge(t *testing.T, m store.Mailbox) {
	purge := func(want int, box string, names ...string) {
		t.Helper()
		if n, err := m.Purge(t.Context(), box, names...); n != want || err != nil {
			t.Errorf("Purge of %s %q = %d, %v, want %d", box, names, n, err, want)
		}
	}
	purge(0, "x")
	for i := range 6 {
		p := store.Mail{ID: fmt.Sprint(i), For: fmt.Sprint(i % 3), Packet: store.Packet{Data: []byte("mail")}}
		check(t, "Deposit", m.Deposit(t.Context(), p, "x", "y"), nil)
	}
	pick(t, m, "x", store.Pick{N: 1}, long, 1, "0")
	purge(2, "x", "0", "3", "0")
	counted(t, m, "x", 4, 16)
	pick(t, m, "x", store.Pick{N: 9}, long, 1, "1", "2", "4", "5")
	purge(4, "x")
	counted(t, m, "x", 0, 0)
	pick(t, m, "y", store.Pick{N: 9}, long, 1, "0", "1", "2", "3", "4", "5")
	purge(4, "y", "1", "2")
	counted(t, m, "y", 2, 8)
	purge(2, "y")
	const many = 3000
	done := make(chan error)
	for i := range many {
		go func() {
			done <- m.Deposit(t.Context(), store.Mail{ID: fmt.Sprint(i), For: fmt.Sprint(i % 2), Packet: store.Packet{Data: []byte("x")}}, "x")
		}()
	}
	for range many {
		check(t, "Deposit", <-done, nil)
	}
	purge(many/2, "x", "1")
	counted(t, m, "x", many/2, many/2)
	purge(many/2, "x")
	check(t, "Deposit", m.Deposit(t.Context(), store.Mail{ID: "0"}, "x"), nil)
	counted(t, m, "x", 1, 0)
}

func testBoxes(t *testing.T, m store.Mailbox) {
	list := func(after string, n int, want ...string) {
		t.Helper()
		boxes, err := m.Boxes(t.Context(), after, n)
		check(t, "Boxes", err, nil)
		var got []string
		for _, b := range boxes {
			got = append(got, b.Box)
			if s, err := m.Status(t.Context(), b.Box); s != b.MailboxStatus || err != nil {
				t.Errorf("status %+v, %v, in the list %+v", s, err, b.MailboxStatus)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%d boxes after %q: %q, want %q", n, after, got, want)
		}
	}
	list("", 9)
	for _, box := range []string{"d", "b", "c", "a"} {
		send(t, m, box, "s", 1, 2)
	}
	check(t, "Deposit", m.Deposit(t.Context(), store.Mail{ID: "gone", Expires: time.Now().Add(-time.Second)}, "aa"), nil)
	pick(t, m, "b", store.Pick{N: 1}, long, 1, "s1")
	list("", 0)
	list("", 2, "a", "b")
	list("a", 1, "b")
	list("bb", 9, "c", "d")
	list("d", 9)
	ack(t, m, "c", "s1", "s2")
	list("", 9, "a", "b", "d")
}
