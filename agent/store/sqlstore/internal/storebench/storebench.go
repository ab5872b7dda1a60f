// Package storebench has benchmarks of a sqlstore. They compare the store with bare SQL on
// the same database, or a small store with a large one, in one run, so that the ratios do
// not depend on the machine.
package storebench

import (
	"database/sql"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/agent/store/sqlstore"
)

// Database is a new database with a store.
type Database struct {
	Store *sqlstore.Store
	// Bare is another connection to the database, with the settings of the store.
	Bare *sql.DB
	// Begin is the statement that begins a transaction that writes. Param returns the nth
	// parameter of a statement.
	Begin string
	Param func(n int) string
}

// packet has the size of a short encrypted message.
const packet = 1500

// writers is the number of goroutines that write at the same time. batch is the number of
// inserts of the bare loop in one transaction.
const (
	writers = 64
	batch   = 64
	peers   = 1000
	rounds  = 10 // of all writers, in one iteration
)

func item(id string, n int) store.Item {
	return store.Item{
		ID: id, MessageID: id, Thread: id, From: "did:example:from", To: fmt.Sprint("did:example:peer", n%peers),
		Direct:    store.Packet{MediaType: "application/didcomm-encrypted+json", Data: make([]byte, packet)},
		Endpoints: []store.Endpoint{{URI: "https://example.org/"}},
		Created:   time.Now(), Deadline: time.Now().Add(time.Hour),
	}
}

// bare inserts the rows that Enqueue inserts, without its other statements.
type bare struct {
	conn          *sql.Conn
	begin         string
	item, packets *sql.Stmt
	n             int
}

func newBare(b *testing.B, d Database) *bare {
	conn, err := d.Bare.Conn(b.Context())
	check(b, err)
	b.Cleanup(func() { _ = conn.Close() })
	prepare := func(table string, columns int) *sql.Stmt {
		params := make([]string, columns)
		for i := range params {
			params[i] = d.Param(i + 1)
		}
		s, err := conn.PrepareContext(b.Context(), "INSERT INTO "+table+" VALUES ("+strings.Join(params, ", ")+")")
		check(b, err)
		return s
	}
	return &bare{conn: conn, begin: d.Begin, item: prepare("outbox", 15), packets: prepare("outbox_packet", 3)}
}

// commit runs one transaction with n inserts.
func (w *bare) commit(b *testing.B, n int) {
	ctx := b.Context()
	_, err := w.conn.ExecContext(ctx, w.begin)
	check(b, err)
	for range n {
		w.n++
		now := time.Now().UnixMicro()
		id := fmt.Sprint("bare-", w.n, "-0123456789abcdef")
		_, err = w.item.ExecContext(ctx, id, int64(w.n), fmt.Sprint("did:example:bare", w.n%peers), id, 1, now, 0, 0, 0, "", now, now, packet, "", 0)
		check(b, err)
		_, err = w.packets.ExecContext(ctx, int64(w.n), make([]byte, 200), make([]byte, packet))
		check(b, err)
	}
	_, err = w.conn.ExecContext(ctx, "COMMIT")
	check(b, err)
}

// GroupCommit measures the rate at which 64 goroutines enqueue items. It reports the rate
// divided by that of the bare loop, which makes the same inserts in batches of 64.
func GroupCommit(b *testing.B, d Database) {
	loop, out := newBare(b, d), d.Store.Outbox()
	var ours, theirs time.Duration
	n := 0
	for b.Loop() {
		began := time.Now()
		var wg sync.WaitGroup
		for i := range writers {
			wg.Go(func() {
				for j := range rounds {
					k := n + j*writers + i
					if err := out.Enqueue(b.Context(), item(fmt.Sprint("item-", k, "-0123456789abcdef"), k)); err != nil {
						b.Error(err)
					}
				}
			})
		}
		wg.Wait()
		n += writers * rounds
		ours += time.Since(began)
		began = time.Now()
		for range writers * rounds / batch {
			loop.commit(b, batch)
		}
		theirs += time.Since(began)
	}
	b.ReportMetric(float64(theirs)/float64(ours), "ratio")
	b.ReportMetric(float64(ours.Microseconds())/float64(n), "µs/item")
	b.ReportMetric(float64(theirs.Microseconds())/float64(n), "µs/bare-item")
	b.ReportMetric(0, "ns/op")
}

// LoneWriter enqueues one item at a time. It reports the milliseconds that this takes longer
// than a bare transaction with the same inserts.
func LoneWriter(b *testing.B, d Database) {
	loop, out := newBare(b, d), d.Store.Outbox()
	var ours, theirs time.Duration
	n := 0
	for b.Loop() {
		began := time.Now()
		check(b, out.Enqueue(b.Context(), item(fmt.Sprint("item-", n, "-0123456789abcdef"), n)))
		ours += time.Since(began)
		began = time.Now()
		loop.commit(b, 1)
		theirs += time.Since(began)
		n++
	}
	b.ReportMetric(float64((ours-theirs).Microseconds())/float64(n)/1000, "ms-added")
	b.ReportMetric(float64(theirs.Microseconds())/float64(n)/1000, "ms-bare")
	b.ReportMetric(0, "ns/op")
}

// FillOutbox queues n items for n/10 peers. All items are due.
func FillOutbox(b *testing.B, d Database, n int) {
	const step = 500
	each(n/step, func(i int) {
		items := make([]store.Item, step)
		for j := range items {
			k := i*step + j
			items[j] = item(fmt.Sprint("fill-", k), k)
			items[j].To = fmt.Sprint("did:example:fill", k%max(1, n/10))
		}
		check(b, d.Store.Outbox().Enqueue(b.Context(), items...))
	})
}

// each calls f for 0 to n-1, in many goroutines.
func each(n int, f func(int)) {
	var next atomic.Int64
	var wg sync.WaitGroup
	for range 4 * writers {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				f(i)
			}
		})
	}
	wg.Wait()
}

// Ends measures the cost of step at two sizes of a store, by turns, so that both costs are
// measured under the same load. It reports both costs and their ratio, which should be about
// 1.
func Ends(b *testing.B, small, large int, open func(*testing.B) Database, fill func(*testing.B, Database, int), step func(*testing.B, Database, int)) {
	sizes := []int{small, large}
	var stores []Database
	for _, n := range sizes {
		d := open(b)
		fill(b, d, n)
		stores = append(stores, d)
	}
	var took [2]time.Duration
	n := 0
	for b.Loop() {
		n++
		for i, d := range stores {
			began := time.Now()
			step(b, d, n)
			took[i] += time.Since(began)
		}
	}
	for i, size := range sizes {
		b.ReportMetric(float64(took[i].Microseconds())/float64(n)/1000, fmt.Sprint("ms-at-", size))
	}
	b.ReportMetric(float64(took[1])/float64(took[0]), "ratio")
	b.ReportMetric(0, "ns/op")
}

// Send enqueues an item, leases one and acks it.
func Send(b *testing.B, d Database, n int) {
	out := d.Store.Outbox()
	check(b, out.Enqueue(b.Context(), item(fmt.Sprint("item-", n, "-0123456789abcdef"), n)))
	l, err := out.Lease(b.Context(), time.Hour)
	check(b, err)
	check(b, out.Ack(b.Context(), l))
}

// FillInbox adds n messages that the inbox only remembers.
func FillInbox(b *testing.B, d Database, n int) {
	each(n, func(i int) {
		_, _, err := d.Store.Inbox().Add(b.Context(), message(fmt.Sprint("fill-", i), i), 0)
		check(b, err)
	})
}

func message(id string, n int) store.Received {
	peer := fmt.Sprint("did:example:peer", n%peers)
	return store.Received{
		Sender: peer, ID: id, Peer: peer, To: "did:example:us", Type: "https://example.org/p/1.0/m", Thread: id,
		Packet: store.Packet{MediaType: "application/didcomm-encrypted+json", Data: make([]byte, packet)},
		Time:   time.Now(), Until: time.Now().Add(time.Hour),
	}
}

// Receive adds a message and acks it.
func Receive(b *testing.B, d Database, n int) {
	in := d.Store.Inbox()
	l, _, err := in.Add(b.Context(), message(fmt.Sprint("message-", n), n), time.Hour)
	check(b, err)
	check(b, in.Ack(b.Context(), l))
}

func check(b testing.TB, err error) {
	b.Helper()
	if err != nil {
		b.Error(err)
	}
}

// Config returns limits that have room for the largest benchmark.
func Config() sqlstore.Config {
	return sqlstore.Config{
		Outbox:  store.OutboxConfig{MaxItems: 1 << 30, MaxBytes: 1 << 50},
		Mailbox: store.MailboxConfig{MaxItems: 1 << 30, MaxBytes: 1 << 50, MaxBoxItems: 1 << 30, MaxBoxBytes: 1 << 50},
		Records: store.RecordsConfig{MaxItems: 1 << 30, MaxBytes: 1 << 50},
	}
}
