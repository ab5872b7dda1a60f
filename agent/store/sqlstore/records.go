package sqlstore

import (
	"context"
	"database/sql"
	"time"

	"github.com/didcomm-go/didcomm/agent/store"
)

// Records is a [store.Records].
type Records struct {
	w     *writer
	read  *statements
	table *recordTable
}

var _ store.Records = (*Records)(nil)

// changeRecords is the operation of a recordTable. All of its changes are made, or none.
type changeRecords struct {
	del []oldRecord
	put []newRecord
}

// oldRecord is a record to delete. A seq of 0 stands for any version.
type oldRecord struct {
	recordKey
	seq int64
}

// newRecord is a record as the tables store it.
type newRecord struct {
	recordKey
	old           int64 // the version to replace, 0 for a new record
	seq           int64 // the new version: the answer
	index         []string
	invalid       error
	expires, size int64
	limit         int
	names, data   []byte
}

func newChanges(del, put []store.Record) *changeRecords {
	c := &changeRecords{del: make([]oldRecord, len(del)), put: make([]newRecord, len(put))}
	for i := range del {
		r := &del[i]
		c.del[i] = oldRecord{keyOf(r.Collection, r.Key), versionOf(r.Version)}
	}
	for i := range put {
		r, n := put[i], &c.put[i]
		r.Index, n.invalid = r.Names()
		n.recordKey, n.old, n.index = keyOf(r.Collection, r.Key), versionOf(r.Version), keysOf(r.Index)
		n.expires, n.size, n.limit = toMicros(r.Expires), r.Bytes(), r.Limit
		n.names, n.data = encodeRecordNames(&r), orEmpty(r.Value)
	}
	return c
}

// versionOf is the seq of a version. No record has a version that is too high for a seq.
func versionOf(version uint64) int64 { return int64(min(version, never)) }

func (c *changeRecords) bytes() (n int) {
	for i := range c.put {
		n += int(c.put[i].size)
	}
	return n
}

// Get implements store.Records.
func (s *Records) Get(ctx context.Context, collection, name string) (store.Record, error) {
	list, err := s.list(ctx, "SELECT seq, expires, names, data FROM record WHERE collection = ? AND name = ? AND (expires = 0 OR expires > ?)",
		key(collection), key(name), time.Now().UnixMicro())
	if err == nil && len(list) == 0 {
		err = store.ErrNotFound
	}
	if err != nil {
		return store.Record{}, err
	}
	return list[0], nil
}

// Put implements store.Records.
func (s *Records) Put(ctx context.Context, r store.Record) (uint64, error) {
	c := newChanges(nil, []store.Record{r})
	if err := s.w.do(ctx, s.table, c); err != nil {
		return 0, err
	}
	return uint64(c.put[0].seq), nil
}

// Delete implements store.Records.
func (s *Records) Delete(ctx context.Context, collection, name string, version uint64) error {
	return s.w.do(ctx, s.table, &changeRecords{del: []oldRecord{{keyOf(collection, name), versionOf(version)}}})
}

// List implements store.Records.
func (s *Records) List(ctx context.Context, q store.Query) ([]store.Record, error) {
	after, n, now := versionOf(q.After), max(q.N, 0), time.Now().UnixMicro()
	if q.Index == "" {
		return s.list(ctx, "SELECT seq, expires, names, data FROM record WHERE collection = ? AND seq > ? AND (expires = 0 OR expires > ?) ORDER BY seq LIMIT ? + 0",
			key(q.Collection), after, now, n)
	}
	return s.list(ctx, `SELECT r.seq, r.expires, r.names, r.data FROM record_index i JOIN record r ON r.collection = i.collection AND r.seq = i.seq
		WHERE i.collection = ? AND i.name = ? AND i.seq > ? AND (r.expires = 0 OR r.expires > ?) ORDER BY i.seq LIMIT ? + 0`,
		key(q.Collection), key(q.Index), after, now, n)
}

func (s *Records) list(ctx context.Context, text string, args ...any) ([]store.Record, error) {
	var list []store.Record
	err := s.read.query(ctx, func(rows *sql.Rows) error {
		var (
			r            store.Record
			seq, expires int64
			names        []byte
		)
		if err := rows.Scan(&seq, &expires, &names, &r.Value); err != nil {
			return err
		}
		r.Version, r.Expires = uint64(seq), fromMicros(expires)
		err := decodeRecordNames(names, &r)
		list = append(list, r)
		return err
	}, text, args...)
	if err != nil {
		return nil, s.w.readError(ctx, err)
	}
	return list, nil
}
