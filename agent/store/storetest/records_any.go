package storetest

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/didcomm-go/didcomm/agent/store"
)

// testAnyRecordCalls: after any calls, in any order, the records are those of a simple
// model.
func testAnyRecordCalls(t *testing.T, s store.Records, seed uint64) {
	m := &recordsModel{t: t, s: s, rand: rand.New(rand.NewPCG(seed, seed)), records: make(map[[2]string]store.Record)}
	for range 300 {
		m.step()
	}
}

// recordsModel is a model of records.
type recordsModel struct {
	t       *testing.T
	s       store.Records
	rand    *rand.Rand
	records map[[2]string]store.Record
}

func (m *recordsModel) step() {
	collection, key := fmt.Sprint("c", m.rand.IntN(2)), fmt.Sprint("k", m.rand.IntN(8))
	name := [2]string{collection, key}
	now, known := m.records[name]
	// Most calls name the version that there is, some another.
	version := now.Version
	if m.rand.IntN(4) == 0 {
		version = []uint64{0, 1, now.Version + 1}[m.rand.IntN(3)]
	}
	switch n := m.rand.IntN(10); {
	case n < 5:
		m.put(name, version, now)
	case n < 7:
		want := error(nil)
		switch {
		case !known:
			want = store.ErrNotFound
		case version != 0 && version != now.Version:
			want = store.ErrVersion
		}
		check(m.t, fmt.Sprint("Delete ", name, version), m.s.Delete(m.t.Context(), collection, key, version), want)
		if want == nil {
			delete(m.records, name)
		}
	case known:
		get(m.t, m.s, now)
	default:
		gone(m.t, m.s, collection, key)
	}
	m.list(collection)
}

func (m *recordsModel) put(name [2]string, version uint64, now store.Record) {
	r := record(name[0], name[1])
	r.Version = version
	for i := range 3 {
		if m.rand.IntN(2) == 0 {
			r.Index = append(r.Index, fmt.Sprint("name ", i))
		}
	}
	r.Value = fmt.Append(nil, m.rand.Uint64())
	switch m.rand.IntN(6) {
	case 0:
		r.Expires = time.Now().Add(long).Truncate(time.Second)
	case 1:
		r.Expires = time.Now().Add(-time.Second)
	}
	if version != now.Version {
		check(m.t, fmt.Sprint("Put ", name, version), putAgain(m.s, r), store.ErrVersion)
		return
	}
	r = put(m.t, m.s, r)
	if r.Expires.IsZero() || r.Expires.After(time.Now()) {
		m.records[name] = r
	} else {
		delete(m.records, name)
	}
}

// list compares the pages of a list.
func (m *recordsModel) list(collection string) {
	q := store.Query{Collection: collection, Index: []string{"", "name 0", "name 1"}[m.rand.IntN(3)], N: 1 + m.rand.IntN(4)}
	var want []store.Record
	for name, r := range m.records {
		if name[0] == collection && (q.Index == "" || slices.Contains(r.Index, q.Index)) {
			want = append(want, r)
		}
	}
	slices.SortFunc(want, func(a, b store.Record) int { return cmp.Compare(a.Version, b.Version) })
	for {
		page, err := m.s.List(m.t.Context(), q)
		if n := min(q.N, len(want)); err != nil || !slices.EqualFunc(page, want[:n], same) {
			m.t.Fatalf("List(%v) = %v, %v\n  want %v", q, page, err, want[:n])
		}
		if len(page) == 0 {
			return
		}
		want, q.After = want[len(page):], page[len(page)-1].Version
	}
}
