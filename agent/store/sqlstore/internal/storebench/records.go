package storebench

import (
	"fmt"
	"testing"
	"time"

	"github.com/didcomm-go/didcomm/agent/store"
)

const (
	value   = 500 // bytes, as of the state of an exchange
	page    = 20  // records that are listed at once
	perName = 100 // records with one name of the index
)

// recordOf is the kth of n records in a collection. No record has a name of the index to
// itself, and all have the name "all".
func recordOf(k, n int) store.Record {
	return store.Record{
		Collection: "large", Key: fmt.Sprint("did:example:", k), Value: make([]byte, value),
		Index: []string{fmt.Sprint("index ", k%max(1, n/perName)), "all"}, Expires: time.Now().Add(24 * time.Hour),
	}
}

// fillRecords puts n records into one collection.
func fillRecords(b *testing.B, d Database, n int) {
	const step = 100
	each(n/step, func(i int) {
		c := new(store.Changes)
		for j := range step {
			c.Put = append(c.Put, recordOf(i*step+j, n))
		}
		check(b, d.Store.Commit(b.Context(), c))
	})
}

// recordSteps are the operations that Records measures: do is called for the nth time, on
// a collection of that size. The steps use 1,000 records from all over the collection, so
// that both sizes find them in memory, except those called "any". The last steps move
// records to the end.
var recordSteps = []struct {
	name string
	do   func(b *testing.B, s store.Records, n, size int)
}{
	{"get", func(b *testing.B, s store.Records, n, size int) { getRecord(b, s, some(n, size)) }},
	{"get-any", func(b *testing.B, s store.Records, n, size int) { getRecord(b, s, n*7919%size) }},
	{"list-by-name", func(b *testing.B, s store.Records, n, size int) {
		listRecords(b, s, store.Query{Index: fmt.Sprint("index ", some(n, size)%(size/perName))})
	}},
	{"list-from-middle", func(b *testing.B, s store.Records, n, size int) {
		listRecords(b, s, store.Query{After: getRecord(b, s, size/2).Version})
	}},
	{"list-by-name-from-middle", func(b *testing.B, s store.Records, n, size int) {
		listRecords(b, s, store.Query{Index: "all", After: getRecord(b, s, size/2).Version})
	}},
	{"put", func(b *testing.B, s store.Records, n, size int) { putRecord(b, s, some(n, size)) }},
	{"put-any", func(b *testing.B, s store.Records, n, size int) { putRecord(b, s, n*7919%size) }},
	{"put-and-delete", func(b *testing.B, s store.Records, n, size int) {
		r := recordOf(size+n, size)
		r.Limit = 2 * size
		version, err := s.Put(b.Context(), r)
		check(b, err)
		check(b, s.Delete(b.Context(), r.Collection, r.Key, version))
	}},
}

// some are 1,000 of the numbers below size.
func some(n, size int) int { return n * 7919 % 1000 * (size / 1000) }

func getRecord(b *testing.B, s store.Records, k int) store.Record {
	r, err := s.Get(b.Context(), "large", fmt.Sprint("did:example:", k))
	check(b, err)
	return r
}

func putRecord(b *testing.B, s store.Records, k int) {
	_, err := s.Put(b.Context(), getRecord(b, s, k))
	check(b, err)
}

func listRecords(b *testing.B, s store.Records, q store.Query) {
	q.Collection, q.N = "large", page
	list, err := s.List(b.Context(), q)
	check(b, err)
	if len(list) != page {
		b.Errorf("%d records are listed", len(list))
	}
}

// Records measures operations on records in collections of two sizes, by turns. It reports
// the costs at both sizes and their ratio, which should be about 1.
func Records(b *testing.B, small, large int, open func(*testing.B) Database) {
	sizes := []int{small, large}
	var stores []store.Records
	for _, n := range sizes {
		d := open(b)
		fillRecords(b, d, n)
		stores = append(stores, d.Store.Records())
	}
	for _, step := range recordSteps {
		b.Run(step.name, func(b *testing.B) {
			var took [2]time.Duration
			n := 0
			for b.Loop() {
				n++
				for i, s := range stores {
					began := time.Now()
					step.do(b, s, n, sizes[i])
					took[i] += time.Since(began)
				}
			}
			for i, size := range sizes {
				b.ReportMetric(float64(took[i].Nanoseconds())/float64(n)/1000, fmt.Sprint("µs-at-", size))
			}
			b.ReportMetric(float64(took[1])/float64(took[0]), "ratio")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// Commit puts a record, queues an item and acks a message, by one Commit and by three
// calls in turn, and reports the costs of both ways and their ratio.
func Commit(b *testing.B, d Database) {
	s := d.Store
	var took [2]time.Duration
	n := 0
	for b.Loop() {
		for i := range took {
			id := fmt.Sprint("commit-", n, "-0123456789abcdef-", i)
			l, _, err := s.Inbox().Add(b.Context(), message(id, n), time.Hour)
			check(b, err)
			r, it := recordOf(2*n+i, perName), item(id, n)
			began := time.Now()
			if i == 0 {
				check(b, s.Commit(b.Context(), &store.Changes{Put: []store.Record{r}, Enqueue: []store.Item{it}, Ack: l}))
			} else {
				_, err := s.Records().Put(b.Context(), r)
				check(b, err)
				check(b, s.Outbox().Enqueue(b.Context(), it))
				check(b, s.Inbox().Ack(b.Context(), l))
			}
			took[i] += time.Since(began)
		}
		n++
	}
	b.ReportMetric(float64(took[0].Microseconds())/float64(n), "µs-commit")
	b.ReportMetric(float64(took[1].Microseconds())/float64(n), "µs-three-calls")
	b.ReportMetric(float64(took[0])/float64(took[1]), "ratio")
	b.ReportMetric(0, "ns/op")
}
