package sqlstore

import (
	"maps"
	"slices"

	"github.com/didcomm-go/didcomm/agent/store"
)

// flush writes the changes to the tables, always in the same order.
func (b *recordBatch) flush() error {
	var added, changed recordCols
	var gone, left, entered indexCols
	for _, k := range slices.SortedFunc(maps.Keys(b.rows), recordKey.compare) {
		r := b.rows[k]
		if r.stored != nil && r.ended {
			var name store.Record
			if err := decodeRecordNames(r.stored.names, &name); err != nil {
				b.t.unreadable("record", r.stored.seq, err) // rows of record_index may be left; they lead nowhere
			}
			left.add(k.collection, r.stored.seq, keysOf(name.Index)...)
			if r.put == nil {
				gone.add(k.collection, r.stored.seq, k.name)
			}
		}
		switch {
		case r.put == nil:
			continue
		case r.stored == nil:
			added.add(r.put)
		default:
			changed.add(r.put)
		}
		entered.add(k.collection, r.put.seq, r.put.index...)
	}
	err := b.t.execRows("WITH r(collection TEXT, name TEXT, seq BIGINT) DELETE FROM record_index WHERE (collection, name, seq) IN (SELECT collection, name, seq FROM r)", left.cols())
	if err != nil {
		return err
	}
	err = b.t.execRows("WITH r(collection TEXT, name TEXT, seq BIGINT) DELETE FROM record WHERE (collection, name) IN (SELECT collection, name FROM r)", gone.cols())
	if err != nil {
		return err
	}
	err = b.t.execRows(recordRows+`UPDATE record SET seq = r.seq, expires = r.expires, size = r.size, names = r.names, data = r.data
		FROM r WHERE record.collection = r.collection AND record.name = r.name`, changed.cols())
	if err != nil {
		return err
	}
	err = b.t.execRows(recordRows+`INSERT INTO record (collection, name, seq, expires, size, names, data)
		SELECT collection, name, seq, expires, size, names, data FROM r`, added.cols())
	if err != nil {
		return err
	}
	err = b.t.execRows("WITH r(collection TEXT, name TEXT, seq BIGINT) INSERT INTO record_index (collection, name, seq) SELECT collection, name, seq FROM r", entered.cols())
	return err
}

// recordRows is the beginning of a statement over the rows of recordCols.
const recordRows = "WITH r(collection TEXT, name TEXT, seq BIGINT, expires BIGINT, size BIGINT, names BYTEA, data BYTEA) "

// recordCols are records as columns.
type recordCols struct {
	collections, keys    []string
	seqs, expires, sizes []int64
	names, data          [][]byte
}

func (c *recordCols) add(p *newRecord) {
	c.collections, c.keys = append(c.collections, p.collection), append(c.keys, p.name)
	c.seqs, c.expires, c.sizes = append(c.seqs, p.seq), append(c.expires, p.expires), append(c.sizes, p.size)
	c.names, c.data = append(c.names, p.names), append(c.data, p.data)
}

func (c *recordCols) cols() cols {
	return cols{c.collections, c.keys, c.seqs, c.expires, c.sizes, c.names, c.data}
}

// indexCols are rows of record_index, or names with a version, as columns.
type indexCols struct {
	collections, names []string
	seqs               []int64
}

func (c *indexCols) add(collection string, seq int64, names ...string) {
	for _, name := range names {
		c.collections, c.names, c.seqs = append(c.collections, collection), append(c.names, name), append(c.seqs, seq)
	}
}

func (c *indexCols) cols() cols { return cols{c.collections, c.names, c.seqs} }

// writeCounts adds to the numbers of records of the collections at the end of the
// transaction, always in the same order, and deletes the rows of empty collections.
func (b *recordBatch) writeCounts() {
	var collections []string
	var items []int64
	for _, name := range slices.Sorted(maps.Keys(b.counts)) {
		if n := b.counts[name]; n != 0 {
			collections, items = append(collections, name), append(items, n)
		}
	}
	if len(collections) == 0 {
		return
	}
	b.t.last(`WITH r(collection TEXT, items BIGINT) INSERT INTO record_collection (collection, items)
		SELECT collection, items FROM r WHERE true ON CONFLICT (collection) DO UPDATE SET items = record_collection.items + excluded.items`, cols{collections, items})
	b.t.last("WITH r(collection TEXT) DELETE FROM record_collection WHERE items <= 0 AND collection IN (SELECT collection FROM r)", cols{collections})
}
