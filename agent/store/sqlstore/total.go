package sqlstore

import (
	"context"
	"database/sql"
	"time"
)

// shards is the number of rows of one total.
const shards = 16

// total counts all items of one kind, such as queued items. Each process adds to a shard of
// its own, so that processes do not wait for each other, and reads the sum of all shards
// once a second.
type total struct {
	name  string
	shard int64

	seen  share // the sum when it was last read, plus the changes of this process since
	until int64 // when the sum is read again
}

func (n *total) read(t *tx) (share, error) {
	if t.now < n.until {
		return n.seen, nil
	}
	var all share
	err := t.query(func(rows *sql.Rows) error { return rows.Scan(&all.items, &all.bytes) },
		"SELECT CAST(COALESCE(SUM(items), 0) AS BIGINT), CAST(COALESCE(SUM(bytes), 0) AS BIGINT) FROM total WHERE name = ?", n.name)
	n.seen, n.until = all, t.now+time.Second.Microseconds()
	return all, err
}

// add adds to the total at the end of the transaction.
func (n *total) add(t *tx, d share) {
	if d == (share{}) {
		return
	}
	t.onCommit = append(t.onCommit, func() { n.seen.add(d.items, d.bytes) })
	t.last(`INSERT INTO total (name, shard, items, bytes) VALUES (?, ?, ?, ?)
		ON CONFLICT (name, shard) DO UPDATE SET items = total.items + excluded.items, bytes = total.bytes + excluded.bytes`,
		nil, n.name, n.shard, d.items, d.bytes)
}

// number returns the one number that a statement selects.
func number(ctx context.Context, c *statements, text string, args ...any) (n int64, err error) {
	err = c.query(ctx, func(rows *sql.Rows) error { return rows.Scan(&n) }, text, args...)
	return n, err
}
