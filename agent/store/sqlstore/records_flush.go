package sqlstore

import (
	"maps"
	"slices"

	"github.com/didcomm-go/didcomm/agent/store"
)

// flush writes what became of the records, in one order.
func (b *recordBatch) flush() error {
	var gone []int64
	var added, changed recordCols
	var left, entered indexCols
	for _, k := range slices.SortedFunc(maps.Keys(b.rows), recordKey.compare) {
		r := b.rows[k]
		if r.stored != nil && r.ended {
			var name store.Record
			if err := decodeRecordNames(r.stored.names, &name); err != nil {
				b.t.unreadable("record", r.stored.seq, err) // rows of its index may stay, which then name nothing
			}
			left.add(k.collection, keysOf(name.Index), r.stored.seq)
			if r.put == nil {
				gone = append(gone, r.stored.seq)
			}
		}
		if r.put == nil {
			continue
		}
		entered.add(k.collection, r.put.index, r.put.seq)
		if r.stored == nil {
			added.add(0, r.put)
		} else {
			changed.add(r.stored.seq, r.put)
		}
	}
	err := b.t.execRows("WITH r(collection TEXT, name TEXT, seq BIGINT) DELETE FROM record_index WHERE (collection, name, seq) IN (SELECT collection, name, seq FROM r)",
		cols{left.collections, left.names, left.seqs})
	if err != nil {
		return err
	}
	if err := b.t.execRows("WITH r(seq BIGINT) DELETE FROM record WHERE seq IN (SELECT seq FROM r)", cols{gone}); err != nil {
		return err
	}
	err = b.t.execRows(`WITH r(old BIGINT, seq BIGINT, expires BIGINT, size BIGINT, names BYTEA, data BYTEA)
		UPDATE record SET seq = r.seq, expires = r.expires, size = r.size, names = r.names, data = r.data FROM r WHERE record.seq = r.old`,
		cols{changed.olds, changed.seqs, changed.expires, changed.sizes, changed.names, changed.data})
	if err != nil {
		return err
	}
	err = b.t.execRows(`WITH r(collection TEXT, name TEXT, seq BIGINT, expires BIGINT, size BIGINT, names BYTEA, data BYTEA)
		INSERT INTO record (collection, name, seq, expires, size, names, data) SELECT collection, name, seq, expires, size, names, data FROM r`,
		cols{added.collections, added.keys, added.seqs, added.expires, added.sizes, added.names, added.data})
	if err != nil {
		return err
	}
	err = b.t.execRows("WITH r(collection TEXT, name TEXT, seq BIGINT) INSERT INTO record_index (collection, name, seq) SELECT collection, name, seq FROM r",
		cols{entered.collections, entered.names, entered.seqs})
	return err
}

// recordCols are records as columns.
type recordCols struct {
	collections, keys          []string
	olds, seqs, expires, sizes []int64
	names, data                [][]byte
}

func (c *recordCols) add(old int64, p *newRecord) {
	c.collections, c.keys = append(c.collections, p.collection), append(c.keys, p.name)
	c.olds, c.seqs, c.expires, c.sizes = append(c.olds, old), append(c.seqs, p.seq), append(c.expires, p.expires), append(c.sizes, p.size)
	c.names, c.data = append(c.names, p.names), append(c.data, p.data)
}

// indexCols are rows of record_index as columns.
type indexCols struct {
	collections, names []string
	seqs               []int64
}

func (c *indexCols) add(collection string, index []string, seq int64) {
	for _, name := range index {
		c.collections, c.names, c.seqs = append(c.collections, collection), append(c.names, name), append(c.seqs, seq)
	}
}

// writeCounts adds to the numbers of the collections, in one order, and forgets those
// that have no records left, at the end of the transaction.
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
