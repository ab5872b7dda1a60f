package sqlstore

import (
	"bytes"
	"context"
	"database/sql"
	"log/slog"

	"github.com/didcomm-go/didcomm/agent/store"
)

// SealedKeys is a [store.SealedKeys].
type SealedKeys struct {
	w     *writer
	read  *statements
	table *keyTable
}

var _ store.SealedKeys = (*SealedKeys)(nil)

// The operations of a keyTable.
type (
	setWrapping struct{ old, wrapped []byte }
	putKeys     struct{ keys []store.SealedKey }
	deleteKey   struct{ kid string }
)

// Wrapping implements store.SealedKeys.
func (k *SealedKeys) Wrapping(ctx context.Context) ([]byte, error) {
	var wrapped []byte
	err := k.read.query(ctx, func(rows *sql.Rows) error { return rows.Scan(&wrapped) }, selectWrapping)
	if err == nil && wrapped == nil {
		return nil, store.ErrNotFound
	}
	return wrapped, k.w.readError(ctx, err)
}

const selectWrapping = "SELECT wrapped FROM keyring WHERE id = 1"

// SetWrapping implements store.SealedKeys.
func (k *SealedKeys) SetWrapping(ctx context.Context, old, wrapped []byte) error {
	return k.w.do(ctx, k.table, &setWrapping{old, wrapped})
}

// Put implements store.SealedKeys.
func (k *SealedKeys) Put(ctx context.Context, keys ...store.SealedKey) error {
	return k.w.do(ctx, k.table, &putKeys{keys})
}

// Delete implements store.SealedKeys.
func (k *SealedKeys) Delete(ctx context.Context, kid string) error {
	return k.w.do(ctx, k.table, &deleteKey{key(kid)})
}

// All implements store.SealedKeys.
func (k *SealedKeys) All(ctx context.Context) ([]store.SealedKey, error) {
	var all []store.SealedKey
	err := k.read.query(ctx, func(rows *sql.Rows) error {
		var kid []byte
		var one store.SealedKey
		err := rows.Scan(&kid, &one.Sealed)
		one.KID = string(kid)
		all = append(all, one)
		return err
	}, "SELECT kid, sealed FROM sealed_key ORDER BY seq")
	return all, k.w.readError(ctx, err)
}

// keyTable runs the operations of the keyring one by one, since they are few.
type keyTable struct {
	left bool // a former wrapping could not be scrubbed
}

func (tab *keyTable) run(t *tx, reqs []*request) error {
	for _, r := range reqs {
		var err error
		switch body := r.body.(type) {
		case *setWrapping:
			r.err, err = tab.set(t, body)
		case *putKeys:
			r.err, err = tab.put(t, body)
		case *deleteKey:
			r.err = store.ErrNotFound
			err = t.query(func(*sql.Rows) error { r.err = nil; return nil }, "DELETE FROM sealed_key WHERE id = ? RETURNING id", body.kid)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (tab *keyTable) set(t *tx, s *setWrapping) (failed, fault error) {
	var now []byte
	err := t.query(func(rows *sql.Rows) error { return rows.Scan(&now) }, selectWrapping+" FOR UPDATE")
	switch {
	case err != nil:
		return nil, err
	case !bytes.Equal(now, s.old) || (now == nil) != (s.old == nil):
		return store.ErrExists, nil
	case s.wrapped == nil:
		err = t.exec("DELETE FROM keyring WHERE id = 1")
	case now == nil:
		// If another process inserts at the same time, this fails and is tried again.
		err = t.exec("INSERT INTO keyring (id, wrapped) VALUES (1, ?)", s.wrapped)
	default:
		err = t.exec("UPDATE keyring SET wrapped = ? WHERE id = 1", s.wrapped)
	}
	switch {
	case s.old != nil:
		t.onCommit = append(t.onCommit, func() { tab.scrub(t, t.db, t.raw, t.log) })
	case s.wrapped != nil:
		t.onCommit = append(t.onCommit, func() { checkpointKeys(t) })
	}
	return nil, err
}

// scrub removes the remains of former wrapped keys.
func (tab *keyTable) scrub(ctx context.Context, db *Backend, c *sql.Conn, log *slog.Logger) {
	if db.Scrub == nil {
		return
	}
	err := db.Scrub(ctx, c)
	if tab.left = err != nil; tab.left {
		log.Warn("sqlstore: the former wrapped key of the keyring could not be erased from the files yet", "database", db.Name, "error", err)
	}
}

func (tab *keyTable) put(t *tx, p *putKeys) (failed, fault error) {
	// The lock lets one Put wait for another, so that keys become visible in the order of
	// their seqs: the first keys stay the first.
	err := t.query(func(*sql.Rows) error { return nil }, selectWrapping+" FOR UPDATE")
	if err == nil {
		err = t.query(func(rows *sql.Rows) error {
			var last int64
			err := rows.Scan(&last)
			t.observe(last)
			return err
		}, "SELECT COALESCE(MAX(seq), 0) FROM sealed_key")
	}
	if err != nil {
		return nil, err
	}
	var (
		ids          []string
		seqs         []int64
		kids, sealed [][]byte
	)
	taken := make(map[string]bool, len(p.keys))
	for _, k := range p.keys {
		id := key(k.KID)
		if taken[id] {
			return store.ErrExists, nil
		}
		taken[id] = true
		ids, seqs = append(ids, id), append(seqs, t.next())
		kids, sealed = append(kids, []byte(k.KID)), append(sealed, orEmpty(k.Sealed))
	}
	known := false
	err = t.queryRows(func(*sql.Rows) error { known = true; return nil },
		"WITH r(id TEXT) SELECT id FROM sealed_key WHERE id IN (SELECT id FROM r)", cols{ids})
	if known || err != nil {
		return store.ErrExists, err
	}
	err = t.execRows("WITH r(id TEXT, seq BIGINT, kid BYTEA, sealed BYTEA) INSERT INTO sealed_key (id, seq, kid, sealed) SELECT id, seq, kid, sealed FROM r",
		cols{ids, seqs, kids, sealed})
	t.onCommit = append(t.onCommit, func() { checkpointKeys(t) })
	return nil, err
}

// checkpointKeys moves new keys from the log into the file, so that also a copy of the file
// alone has them.
func checkpointKeys(t *tx) {
	if t.db.Scrub == nil {
		return
	}
	if err := t.db.Scrub(t, t.raw); err != nil {
		t.log.Warn("sqlstore: new keys are in the log of the database only, until it is emptied", "database", t.db.Name, "error", err)
	}
}
