package storetest

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/didcomm-go/didcomm/agent/store"
)

// testLikeMemory: after any calls, a mailbox answers as the one in memory does.
func testLikeMemory(t *testing.T, m store.Mailbox) {
	const calls = 400
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, seed))
	memory := store.NewMailbox(store.MailboxConfig{})
	name := func(kind string) string { return fmt.Sprint(kind, r.IntN(3)) }
	names := func(kind string) (list []string) {
		for range max(0, r.IntN(5)-2) {
			list = append(list, name(kind))
		}
		return list
	}
	share := func() store.Share { return store.Share{Items: r.IntN(60), Bytes: int64(r.IntN(2000))} }
	expire := r.IntN(2) == 0 // expired mail in other boxes may count for its sender for a while
	start := time.Now().Truncate(time.Second)
	for i := range calls {
		var what string
		var call func(m store.Mailbox) (any, error)
		box := name("box")
		switch r.IntN(10) {
		case 0, 1, 2, 3:
			p := store.Mail{
				ID: fmt.Sprint(r.IntN(calls / 4)), Sender: name("sender"), For: name("for"),
				Packet: store.Packet{Data: make([]byte, r.IntN(40))}, Time: start.Add(time.Duration(i) * time.Second),
				BoxShare: share(), PairShare: share(),
			}
			if !expire {
				p.SenderShare = share()
			}
			switch r.IntN(8) {
			case 0:
				if expire {
					p.Expires = start.Add(-time.Second)
				}
			case 1:
				p.Expires = start.Add(long)
			case 2:
				p.Due = start.Add(long)
			}
			boxes := append(names("box"), box)
			what = fmt.Sprintf("Deposit(%s of %s for %s into %q, due %v, expires %v)", p.ID, p.Sender, p.For, boxes, p.Due, p.Expires)
			call = func(m store.Mailbox) (any, error) { return nil, m.Deposit(t.Context(), p, boxes...) }
		case 4, 5, 6:
			p := store.Pick{N: r.IntN(6), Bytes: int64(r.IntN(3) * 40), For: names("for"), Held: r.IntN(2) == 0, Tries: r.IntN(4)}
			d := []time.Duration{long, -time.Second}[r.IntN(2)]
			what = fmt.Sprintf("Lease(%s, %+v, %v)", box, p, d)
			call = func(m store.Mailbox) (any, error) {
				mail, err := m.Lease(t.Context(), box, p, d)
				var ids []string
				for _, p := range mail {
					ids = append(ids, fmt.Sprintf("%s of %s for %s, delivery %d, %d bytes", p.ID, p.Sender, p.For, p.Deliveries, len(p.Packet.Data)))
				}
				return ids, err
			}
		case 7:
			ids := []string{fmt.Sprint(r.IntN(calls / 4)), fmt.Sprint(r.IntN(calls / 4)), fmt.Sprint(r.IntN(calls / 4))}
			what = fmt.Sprintf("Ack(%s, %q)", box, ids)
			call = func(m store.Mailbox) (any, error) { return m.Ack(t.Context(), box, ids...) }
		case 8:
			var ids []string
			for range r.IntN(3) {
				ids = append(ids, fmt.Sprint(r.IntN(calls/4)))
			}
			what = fmt.Sprintf("Nak(%s, %q)", box, ids)
			call = func(m store.Mailbox) (any, error) { return nil, m.Nak(t.Context(), box, ids...) }
		default:
			if r.IntN(8) > 0 {
				continue
			}
			of := names("for")
			what = fmt.Sprintf("Purge(%s, %q)", box, of)
			call = func(m store.Mailbox) (any, error) { return m.Purge(t.Context(), box, of...) }
		}
		got, gotErr := call(m)
		want, wantErr := call(memory)
		if !reflect.DeepEqual(got, want) || fmt.Sprint(gotErr) != fmt.Sprint(wantErr) {
			t.Fatalf("seed %d, call %d: %s = %v, %v, in memory %v, %v", seed, i, what, got, gotErr, want, wantErr)
		}
		of := names("for")
		status := func(m store.Mailbox) []string {
			one, err := m.Status(t.Context(), box, of...)
			all, err2 := m.Boxes(t.Context(), "", 9)
			if err != nil || err2 != nil {
				t.Fatal(err, err2)
			}
			var list []string
			for _, s := range slices.Concat([]store.BoxStatus{{Box: box, MailboxStatus: one}}, all) {
				list = append(list, fmt.Sprint(s.Box, s.Count, s.Bytes, s.Leased, s.Oldest.Unix(), s.Newest.Unix()))
			}
			return list
		}
		if got, want := status(m), status(memory); !slices.Equal(got, want) {
			t.Fatalf("seed %d, after call %d, %s: status of %s for %q and boxes\n%q, in memory\n%q", seed, i, what, box, of, got, want)
		}
	}
}
