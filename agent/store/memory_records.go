package store

import (
	"bytes"
	"cmp"
	"context"
	"iter"
	"math"
	"slices"
	"sort"
	"sync"
	"time"
)

// RecordsConfig has the limits of records. Fields of 0 or less take the defaults.
type RecordsConfig struct {
	MaxItems int   // records; default 10,000,000 (in memory 100,000)
	MaxBytes int64 // sum of Record.Bytes; default 16 GiB (in memory 256 MiB)
}

// NewRecords makes Records in memory. A call costs O(log n) in the number n of records.
// List costs more for each record that it returns.
func NewRecords(cfg RecordsConfig) Records { return newRecords(cfg, new(sync.Mutex)) }

func newRecords(cfg RecordsConfig, mu *sync.Mutex) *records {
	cfg.MaxItems = cmp.Or(max(cfg.MaxItems, 0), 100_000)
	cfg.MaxBytes = cmp.Or(max(cfg.MaxBytes, 0), 256<<20)
	return &records{
		cfg:   cfg,
		mu:    mu,
		byKey: make(map[recordKey]*record),
		lists: make(map[listKey]*versions),
	}
}

var _ Records = (*records)(nil)

type records struct {
	cfg RecordsConfig

	mu      *sync.Mutex // guards all below; New shares it with other parts
	version uint64
	all     share
	byKey   map[recordKey]*record
	lists   map[listKey]*versions
	expires indexedHeap[*record] // the records that expire at some time
}

type recordKey struct{ collection, key string }

// listKey names the list for a Query. The index is empty for a whole collection.
type listKey struct{ collection, index string }

// record is a record as it was put. Once it is added, it does not change.
type record struct {
	Record
	index int // in expires, or -1
}

func (r *record) place() *int                { return &r.index }
func (r *record) before(other *record) bool  { return r.Expires.Before(other.Expires) }
func (r *record) expired(now time.Time) bool { return !r.Expires.IsZero() && !now.Before(r.Expires) }

// lists are the keys of the lists that have the record.
func (r *record) lists() []listKey {
	keys := []listKey{{collection: r.Collection}}
	for _, name := range r.Index {
		keys = append(keys, listKey{r.Collection, name})
	}
	return keys
}

// copy is the record as a caller gets it.
func (r *record) copy() Record {
	c := r.Record
	c.Value, c.Index = bytes.Clone(r.Value), slices.Clone(r.Index)
	return c
}

// unversioned is the version of a record that is not added yet. No caller has this version.
const unversioned = math.MaxUint64

func (s *records) Get(ctx context.Context, collection, key string) (Record, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.find(recordKey{collection, key}, time.Now())
	if r == nil {
		return Record{}, ErrNotFound
	}
	return r.copy(), nil
}

func (s *records) Put(ctx context.Context, r Record) (version uint64, err error) {
	put := []Record{r}
	if err := s.commit(ctx, nil, put); err != nil {
		return 0, err
	}
	return put[0].Version, nil
}

func (s *records) Delete(ctx context.Context, collection, key string, version uint64) error {
	return s.commit(ctx, []Record{{Collection: collection, Key: key, Version: version}}, nil)
}

func (s *records) List(ctx context.Context, q Query) ([]Record, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	s.sweep(now)
	l := s.lists[listKey{q.Collection, q.Index}]
	if l == nil {
		return nil, nil
	}
	var list []Record
	for r := range l.after(q.After) {
		if len(list) >= q.N {
			break
		}
		if !r.expired(now) {
			list = append(list, r.copy())
		}
	}
	return list, nil
}

func (s *records) commit(ctx context.Context, del, put []Record) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c, err := s.check(del, put)
	if err == nil {
		s.change(c, put)
	}
	return err
}

// recordChanges are changes that check has passed.
type recordChanges struct {
	records *records
	now     time.Time
	after   map[recordKey]*record // the records as they will be; nil: deleted
	growth  share
	counts  map[string]int // growth of collections
}

// check judges changes one after the other.
func (s *records) check(del, put []Record) (*recordChanges, error) {
	c := &recordChanges{records: s, now: time.Now(), after: make(map[recordKey]*record), counts: make(map[string]int)}
	s.sweep(c.now)
	for i := range del {
		if err := c.delete(&del[i]); err != nil {
			return nil, err
		}
	}
	for i := range put {
		if err := c.put(&put[i]); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// at is a record as it is after the changes so far. It is nil if there is no such record.
func (c *recordChanges) at(k recordKey) *record {
	if r, ok := c.after[k]; ok {
		return r
	}
	return c.records.find(k, c.now)
}

func (c *recordChanges) delete(d *Record) error {
	k := recordKey{d.Collection, d.Key}
	r := c.at(k)
	switch {
	case r == nil:
		return ErrNotFound
	case d.Version != 0 && d.Version != r.Version:
		return ErrVersion
	}
	c.count(r, -1)
	c.after[k] = nil
	return nil
}

func (c *recordChanges) put(p *Record) error {
	k := recordKey{p.Collection, p.Key}
	old := c.at(k)
	switch {
	case old == nil && p.Version != 0, old != nil && p.Version != old.Version, p.Version == unversioned:
		return ErrVersion
	}
	names, err := p.Names()
	if err != nil {
		return err
	}
	r := &record{Record: *p, index: -1}
	r.Value, r.Index, r.Version, r.Limit = bytes.Clone(p.Value), names, unversioned, 0
	if old != nil {
		c.count(old, -1)
	}
	c.count(r, 1)
	for c.full(p, old == nil) {
		if !c.records.sweep(c.now) {
			return ErrFull
		}
	}
	c.after[k] = r
	return nil
}

func (c *recordChanges) count(r *record, sign int) {
	c.growth.items, c.growth.bytes = c.growth.items+sign, c.growth.bytes+int64(sign)*r.Bytes()
	c.counts[r.Collection] += sign
}

// full tells whether there is no room for the records that were counted, p the last of
// them. added tells whether p is a new record.
func (c *recordChanges) full(p *Record, added bool) bool {
	s := c.records
	if s.all.items+c.growth.items > s.cfg.MaxItems && added || s.all.bytes+c.growth.bytes > s.cfg.MaxBytes {
		return true
	}
	if !added || p.Limit <= 0 {
		return false
	}
	n := c.counts[p.Collection]
	if l := s.lists[listKey{collection: p.Collection}]; l != nil {
		n += l.n
	}
	return n > p.Limit
}

// change makes changes, and sets the versions in put.
func (s *records) change(c *recordChanges, put []Record) {
	for k := range c.after {
		if old := s.byKey[k]; old != nil {
			s.remove(old)
		}
	}
	for i := range put {
		r := c.after[recordKey{put[i].Collection, put[i].Key}]
		s.version++
		r.Version, put[i].Version = s.version, s.version
		s.add(r)
	}
}

func (s *records) find(k recordKey, now time.Time) *record {
	if r := s.byKey[k]; r != nil && !r.expired(now) {
		return r
	}
	return nil
}

func (s *records) add(r *record) {
	s.byKey[recordKey{r.Collection, r.Key}] = r
	s.all.items, s.all.bytes = s.all.items+1, s.all.bytes+r.Bytes()
	for _, k := range r.lists() {
		l := s.lists[k]
		if l == nil {
			l = new(versions)
			s.lists[k] = l
		}
		l.add(r)
	}
	if !r.Expires.IsZero() {
		s.expires.add(r)
	}
}

func (s *records) remove(r *record) {
	delete(s.byKey, recordKey{r.Collection, r.Key})
	s.all.items, s.all.bytes = s.all.items-1, s.all.bytes-r.Bytes()
	for _, k := range r.lists() {
		l := s.lists[k]
		if l.remove(r); l.n == 0 {
			delete(s.lists, k)
		}
	}
	if r.index >= 0 {
		s.expires.remove(r)
	}
}

// sweepStep is how many expired records a call removes, unless the call needs more room.
const sweepStep = 64

// sweep removes some of the expired records, and tells whether there were any.
func (s *records) sweep(now time.Time) bool {
	n := 0
	for ; n < sweepStep && len(s.expires) > 0 && s.expires[0].expired(now); n++ {
		s.remove(s.expires[0])
	}
	return n > 0
}

// versions are records in the order of their versions, in chunks. No chunk is empty. A
// record that is added must have the highest version. To find a record takes O(log n)
// steps. To remove the last record of a chunk moves the pointers to the later chunks.
type versions struct {
	n      int
	chunks [][]*record
}

const chunkSize = 256

func (l *versions) add(r *record) {
	l.n++
	if last := len(l.chunks) - 1; last >= 0 && len(l.chunks[last]) < chunkSize {
		l.chunks[last] = append(l.chunks[last], r)
		return
	}
	l.chunks = append(l.chunks, []*record{r})
}

func (l *versions) remove(r *record) {
	l.n--
	i, k := l.find(r.Version)
	if l.chunks[i] = slices.Delete(l.chunks[i], k, k+1); len(l.chunks[i]) == 0 {
		l.chunks = slices.Delete(l.chunks, i, i+1)
	}
}

// find is the place of the first record whose version is at least version.
func (l *versions) find(version uint64) (i, k int) {
	i = sort.Search(len(l.chunks), func(i int) bool {
		c := l.chunks[i]
		return c[len(c)-1].Version >= version
	})
	if i < len(l.chunks) {
		c := l.chunks[i]
		k = sort.Search(len(c), func(k int) bool { return c[k].Version >= version })
	}
	return i, k
}

// after are the records with higher versions.
func (l *versions) after(version uint64) iter.Seq[*record] {
	return func(yield func(*record) bool) {
		if version == math.MaxUint64 {
			return
		}
		i, k := l.find(version + 1)
		for ; i < len(l.chunks); i, k = i+1, 0 {
			for _, r := range l.chunks[i][k:] {
				if !yield(r) {
					return
				}
			}
		}
	}
}
