package storebench

import (
	"fmt"
	"testing"
	"time"

	"github.com/didcomm-go/didcomm/agent/store"
)

// FillMailboxes puts ten packets into each of n boxes.
func FillMailboxes(b *testing.B, d Database, n int) {
	each(10*n, func(i int) {
		check(b, d.Store.Mailbox().Deposit(b.Context(), mail(fmt.Sprint("fill-", i), i), fmt.Sprint("did:example:box", i%n)))
	})
}

func mail(id string, n int) store.Mail {
	return store.Mail{
		ID: id, For: fmt.Sprint("did:example:for", n%10), Sender: fmt.Sprint("did:example:sender", n%7),
		Packet: store.Packet{Data: make([]byte, packet)}, Time: time.Now(), Expires: time.Now().Add(24 * time.Hour),
	}
}

// PickUp deposits a packet into one of the first boxes of FillMailboxes, leases packets of
// this box and acks them.
func PickUp(b *testing.B, d Database, n int) {
	m, box := d.Store.Mailbox(), fmt.Sprint("did:example:box", n%100)
	check(b, m.Deposit(b.Context(), mail(fmt.Sprint("mail-", n), n), box))
	leased, err := m.Lease(b.Context(), box, store.Pick{N: 1}, time.Hour)
	check(b, err)
	for _, p := range leased {
		if k, err := m.Ack(b.Context(), box, p.ID); k != 1 {
			b.Fatal(k, err)
		}
	}
}

// FillBox puts n packets into one box and leases a tenth of them.
func FillBox(b *testing.B, d Database, n int) {
	m := d.Store.Mailbox()
	each(n, func(i int) { check(b, m.Deposit(b.Context(), mail(fmt.Sprint("fill-", i), i), "did:example:full")) })
	for range 100 {
		_, err := m.Lease(b.Context(), "did:example:full", store.Pick{N: n / 1000}, 24*time.Hour)
		check(b, err)
	}
}

// Box measures each call of a mailbox at two numbers of packets in one box, by turns. It reports
// the cost of each call at the large number, and the ratio of this cost to that at the small
// number, which should be about 1.
func Box(b *testing.B, small, large int, open func(*testing.B) Database) {
	var stores []store.Mailbox
	for _, n := range []int{small, large} {
		d := open(b)
		FillBox(b, d, n)
		stores = append(stores, d.Store.Mailbox())
	}
	const box, rare = "did:example:full", "did:example:rare"
	ctx := b.Context()
	var leased []store.Mail
	lease := func(p store.Pick) func(store.Mailbox, int) error {
		return func(m store.Mailbox, _ int) (err error) {
			leased, err = m.Lease(ctx, box, p, time.Hour)
			if err == nil && len(leased) == 0 {
				b.Fatal("nothing leased")
			}
			return err
		}
	}
	calls := []struct {
		name string
		call func(m store.Mailbox, n int) error
	}{
		{"deposit", func(m store.Mailbox, n int) error {
			p := mail(fmt.Sprint("mail-", n), n)
			p.For = rare
			return m.Deposit(ctx, p, box, "did:example:other")
		}},
		{"status", func(m store.Mailbox, n int) error {
			_, err := m.Status(ctx, box)
			return err
		}},
		{"status-for", func(m store.Mailbox, n int) error {
			_, err := m.Status(ctx, box, "did:example:for1", rare)
			return err
		}},
		{"lease-held", lease(store.Pick{N: 1, Held: true, Tries: 5})},
		{"lease-for", lease(store.Pick{N: 1, For: []string{rare}, Tries: 5})},
		{"nak", func(m store.Mailbox, n int) error { return m.Nak(ctx, box, leased[0].ID) }},
		{"lease", lease(store.Pick{N: 1, Tries: 5})},
		{"ack", func(m store.Mailbox, n int) error {
			k, err := m.Ack(ctx, box, leased[0].ID)
			if err == nil && k != 1 {
				err = fmt.Errorf("%d acked", k)
			}
			return err
		}},
	}
	took := make([][2]time.Duration, len(calls))
	n := 0
	for b.Loop() {
		n++
		for i, m := range stores {
			for j, c := range calls {
				began := time.Now()
				check(b, c.call(m, n))
				took[j][i] += time.Since(began)
			}
		}
	}
	for j, c := range calls {
		b.ReportMetric(float64(took[j][1].Microseconds())/float64(n)/1000, "ms-"+c.name)
		b.ReportMetric(float64(took[j][1])/float64(took[j][0]), "ratio-"+c.name)
	}
	b.ReportMetric(0, "ns/op")
}
