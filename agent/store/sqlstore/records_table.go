package sqlstore

import (
	"cmp"
	"database/sql"
	"slices"
	"time"

	"github.com/didcomm-go/didcomm/agent/store"
)

// recordTable runs the operations of the records.
type recordTable struct {
	cfg        store.RecordsConfig
	total      *total
	sweepAfter int64 // when to look again for records that have expired
}

// recordKey has the keys of a collection and of a record in it: see key.
type recordKey struct{ collection, name string }

func keyOf(collection, name string) recordKey { return recordKey{key(collection), key(name)} }

func (k recordKey) compare(other recordKey) int {
	return cmp.Or(cmp.Compare(k.collection, other.collection), cmp.Compare(k.name, other.name))
}

// recordRow is a record as the tables have it, and as it will be.
type recordRow struct {
	recordKey
	stored *storedRecord // nil: the tables have no such record
	ended  bool          // the stored record is deleted or replaced
	put    *newRecord    // the record that replaces it, or nil
}

// storedRecord is a row of record.
type storedRecord struct {
	seq, expires, size int64
	names              []byte
}

// now returns the version and the size of a record after the operations so far. Without a
// record, both are 0.
func (r *recordRow) now() (seq, size int64) {
	switch {
	case r.put != nil:
		return r.put.seq, r.put.size
	case r.stored != nil && !r.ended:
		return r.stored.seq, r.stored.size
	}
	return 0, 0
}

// recordBatch is the state that the operations of one transaction share.
type recordBatch struct {
	*recordTable
	t      *tx
	rows   map[recordKey]*recordRow
	has    map[string]int64 // number of records, before, by collection; only where there is a limit
	counts map[string]int64 // change of the number of records, by collection
	all    share            // all records, before
	change share            // of all
	swept  bool             // no other expired record is left
}

func (tab *recordTable) run(t *tx, reqs []*request) error {
	b := &recordBatch{recordTable: tab, t: t, rows: make(map[recordKey]*recordRow), has: make(map[string]int64), counts: make(map[string]int64)}
	var named []recordKey
	var limited []string
	for _, r := range reqs {
		body := r.body.(*changeRecords)
		for i := range body.del {
			named = append(named, body.del[i].recordKey)
		}
		for i := range body.put {
			named = append(named, body.put[i].recordKey)
			if body.put[i].limit > 0 {
				limited = append(limited, body.put[i].collection)
			}
		}
	}
	if err := b.load(named, limited); err != nil {
		return err
	}
	if t.now >= tab.sweepAfter {
		if err := b.sweep(); err != nil {
			return err
		}
	}
	for _, r := range reqs {
		body := r.body.(*changeRecords)
		r.err = b.do(body)
		// Expired records take no room.
		for step := 0; r.err == store.ErrFull && !b.swept && step < maxSweeps; step++ {
			if err := b.sweep(); err != nil {
				return err
			}
			r.err = b.do(body)
		}
	}
	if err := b.flush(); err != nil {
		return err
	}
	b.writeCounts()
	tab.total.add(t, b.change)
	return nil
}

// load reads and locks the named records, always in the same order, and deletes those that
// have expired. Then it reads the number of records of the limited collections.
func (b *recordBatch) load(named []recordKey, limited []string) (err error) {
	if b.all, err = b.total.read(b.t); err != nil {
		return err
	}
	slices.SortFunc(named, recordKey.compare)
	var collections, names []string
	for _, k := range slices.Compact(named) {
		b.rows[k] = &recordRow{recordKey: k}
		collections, names = append(collections, k.collection), append(names, k.name)
	}
	err = b.t.queryRows(func(rows *sql.Rows) error {
		k, stored, err := scanRecord(rows)
		if err != nil {
			return err
		}
		b.t.observe(stored.seq)
		r := b.rows[k]
		if r.stored = stored; stored.expires > 0 && stored.expires <= b.t.now {
			b.become(r, true, nil)
		}
		return nil
	}, `WITH r(collection TEXT, name TEXT) SELECT m.collection, m.name, m.seq, m.expires, m.size, m.names
		FROM r JOIN record m ON m.collection = r.collection AND m.name = r.name ORDER BY m.collection, m.name FOR UPDATE`, cols{collections, names})
	if err != nil {
		return err
	}
	slices.Sort(limited)
	return b.t.queryRows(func(rows *sql.Rows) error {
		var collection string
		var items int64
		err := rows.Scan(&collection, &items)
		b.has[collection] = items
		return err
	}, "WITH r(collection TEXT) SELECT collection, items FROM record_collection WHERE collection IN (SELECT collection FROM r)", cols{slices.Compact(limited)})
}

func scanRecord(rows *sql.Rows) (k recordKey, stored *storedRecord, err error) {
	stored = new(storedRecord)
	err = rows.Scan(&k.collection, &k.name, &stored.seq, &stored.expires, &stored.size, &stored.names)
	return k, stored, err
}

// Each transaction removes up to sweepStep expired records. If it needs more room, it does
// so up to maxSweeps more times.
const (
	sweepStep = 2 * maxBatch
	maxSweeps = 8
)

// sweep removes expired records. If it finds fewer than it may remove, the next sweep is a
// second later.
func (b *recordBatch) sweep() error {
	n, most := 0, sweepStep+len(b.rows)
	err := b.t.query(func(rows *sql.Rows) error {
		n++
		k, stored, err := scanRecord(rows)
		if err != nil || b.rows[k] != nil {
			return err
		}
		r := &recordRow{recordKey: k, stored: stored}
		b.rows[k] = r
		b.become(r, true, nil)
		return nil
	}, "SELECT collection, name, seq, expires, size, names FROM record WHERE expires > 0 AND expires <= ? ORDER BY expires LIMIT ? + 0 FOR UPDATE SKIP LOCKED", b.t.now, most)
	if n < most && err == nil {
		b.swept = true
		again := b.t.now + time.Second.Microseconds()
		b.t.onCommit = append(b.t.onCommit, func() { b.sweepAfter = again })
	}
	return err
}

// do makes changes, all or none.
func (b *recordBatch) do(c *changeRecords) (err error) {
	var before []recordRow
	for i := range c.del {
		r := b.rows[c.del[i].recordKey]
		before = append(before, *r)
		if err = b.delete(r, &c.del[i]); err != nil {
			break
		}
	}
	for i := 0; i < len(c.put) && err == nil; i++ {
		r := b.rows[c.put[i].recordKey]
		before = append(before, *r)
		err = b.put(r, &c.put[i])
	}
	if err != nil {
		for _, was := range slices.Backward(before) {
			b.become(b.rows[was.recordKey], was.ended, was.put)
		}
	}
	return err
}

func (b *recordBatch) delete(r *recordRow, d *oldRecord) error {
	switch seq, _ := r.now(); {
	case seq == 0:
		return store.ErrNotFound
	case d.seq != 0 && d.seq != seq:
		return store.ErrVersion
	}
	b.become(r, true, nil)
	return nil
}

func (b *recordBatch) put(r *recordRow, p *newRecord) error {
	seq, size := r.now()
	switch {
	case seq != p.old:
		return store.ErrVersion
	case p.invalid != nil:
		return p.invalid
	}
	p.seq = b.t.next()
	b.become(r, true, p)
	switch {
	case seq == 0 && b.all.items+b.change.items > int64(b.cfg.MaxItems),
		seq == 0 && p.limit > 0 && b.has[p.collection]+b.counts[p.collection] > int64(p.limit),
		p.size > size && b.all.bytes+b.change.bytes > b.cfg.MaxBytes:
		return store.ErrFull
	}
	return nil
}

// become sets the future state of a record, and adjusts the counts.
func (b *recordBatch) become(r *recordRow, ended bool, put *newRecord) {
	b.count(r, -1)
	r.ended, r.put = ended, put
	b.count(r, 1)
}

func (b *recordBatch) count(r *recordRow, sign int64) {
	if seq, size := r.now(); seq != 0 {
		b.counts[r.collection] += sign
		b.change.add(sign, sign*size)
	}
}
