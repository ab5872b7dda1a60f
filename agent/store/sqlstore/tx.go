package sqlstore

import (
	"context"
	"database/sql"
	"log/slog"
	"slices"
)

// tx is a transaction of the writer. If the database has a Pipeline, a statement that
// returns no rows is sent together with the next query or with the commit.
type tx struct {
	context.Context
	*clock
	db         *Backend
	raw        *sql.Conn
	conn       *statements
	log        *slog.Logger
	held       *heldLeases
	now        int64
	again      bool               // not the first try
	mark       int64              // number of the transaction, 0 if the back end has no marks
	committing bool               // the commit was sent
	served     map[leaseTable]int // number of leases made, by table
	pending    []Statement        // to run before the next query
	ending     []func() error     // to run last
	notices    []string
	onCommit   []func()
}

// finish runs onCommit after the transaction was committed, and returns the number of
// leases that it has made, by table.
func (t *tx) finish() map[leaseTable]int {
	for _, f := range t.onCommit {
		f()
	}
	return t.served
}

// exec runs a statement, or adds it to pending.
func (t *tx) exec(text string, args ...any) error {
	if t.db.Pipeline == nil {
		return t.conn.exec(t, text, args...)
	}
	t.pending = append(t.pending, Statement{t.conn.translated(text), args})
	return nil
}

// execRows runs a statement over rows, or adds it to pending.
func (t *tx) execRows(text string, rows cols, args ...any) error {
	if t.db.Pipeline == nil {
		return t.conn.execRows(t, text, rows, args...)
	}
	if rows.len() > 0 {
		t.pending = append(t.pending, Statement{t.conn.translated(text), append(slices.Clone([]any(rows)), args...)})
	}
	return nil
}

// last runs a statement after all others, right before the commit. It is for statements
// that lock rows that all processes share. rows is nil for a statement without rows.
func (t *tx) last(text string, rows cols, args ...any) {
	t.ending = append(t.ending, func() error {
		if rows == nil {
			return t.exec(text, args...)
		}
		return t.execRows(text, rows, args...)
	})
}

// query runs a statement and calls each for every row.
func (t *tx) query(each func(*sql.Rows) error, text string, args ...any) error {
	if err := t.flush(); err != nil {
		return err
	}
	return t.conn.query(t, each, text, args...)
}

// queryRows runs a statement over rows and calls each for every row.
func (t *tx) queryRows(each func(*sql.Rows) error, text string, rows cols, args ...any) error {
	if rows.len() == 0 {
		return nil
	}
	if err := t.flush(); err != nil {
		return err
	}
	return t.conn.queryRows(t, each, text, rows, args...)
}

// flush runs what is pending.
func (t *tx) flush() error {
	if len(t.pending) == 0 {
		return nil
	}
	pending := t.pending
	t.pending = nil
	return t.db.Pipeline(t, t.raw, pending)
}

// commit runs the last statements, sends the notices and commits.
func (t *tx) commit() error {
	for _, run := range t.ending {
		if err := run(); err != nil {
			return err
		}
	}
	t.committing = true
	if t.db.Pipeline == nil {
		_, err := t.raw.ExecContext(t, "COMMIT")
		return err
	}
	for _, notice := range t.notices {
		t.pending = append(t.pending, t.db.Notify(notice))
	}
	t.pending = append(t.pending, Statement{Text: "COMMIT"})
	return t.flush()
}

// unreadable logs that the content of a row cannot be decoded. The row is leased all the
// same, with the fields that could be decoded, so that it does not block other rows.
func (t *tx) unreadable(table string, seq int64, err error) {
	t.log.Error("sqlstore: a row cannot be decoded", "table", table, "seq", seq, "error", err)
}

// orphaned tells whether a lease is of this instance and no caller knows of it.
func (t *tx) orphaned(token int64) bool {
	return t.held != nil && token>>instanceShift == t.instance && !t.held.has(token)
}

// notify sends a notice to other processes if the transaction is committed.
func (t *tx) notify(notice string) {
	if !slices.Contains(t.notices, notice) {
		t.notices = append(t.notices, notice)
	}
}
