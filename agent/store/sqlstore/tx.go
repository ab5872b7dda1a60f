package sqlstore

import (
	"context"
	"database/sql"
	"log/slog"
	"slices"
)

// tx is a transaction of the writer. Where the database is across a network, what
// only writes waits for the next query, or for the commit, and goes there with it.
type tx struct {
	context.Context
	*clock
	db         *Backend
	raw        *sql.Conn
	conn       *statements
	log        *slog.Logger
	inHand     *inHand
	now        int64
	again      bool               // it is not the first try
	mark       int64              // of the transaction, 0 where the back end has none
	committing bool               // the commit is on its way
	served     map[leaseTable]int // how many leases of each table it has made
	pending    []Statement        // what has to run before the next query
	ending     []func() error     // what has to run last
	notices    []string
	onCommit   []func()
}

// finish does what is to be done once the transaction is committed, and returns how
// many leases of each table it has made.
func (t *tx) finish() map[leaseTable]int {
	for _, f := range t.onCommit {
		f()
	}
	return t.served
}

// exec has a statement run.
func (t *tx) exec(text string, args ...any) error {
	if t.db.Pipeline == nil {
		return t.conn.exec(t, text, args...)
	}
	t.pending = append(t.pending, Statement{t.conn.translated(text), args})
	return nil
}

// execRows has a statement over rows run.
func (t *tx) execRows(text string, rows cols, args ...any) error {
	if t.db.Pipeline == nil {
		return t.conn.execRows(t, text, rows, args...)
	}
	if rows.len() > 0 {
		t.pending = append(t.pending, Statement{t.conn.translated(text), append(slices.Clone([]any(rows)), args...)})
	}
	return nil
}

// last has a statement run when all else is done, right before the commit, and
// with it where the database is across a network: it locks rows that all processes
// share. A statement without rows has nil for them.
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

// commit commits, and gives the notices.
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

// unreadable logs that what stands in a row cannot be read. The row is handed out
// all the same, with what could be: it must not hold up the others.
func (t *tx) unreadable(table string, seq int64, err error) {
	t.log.Error("sqlstore: a row cannot be read", "table", table, "seq", seq, "error", err)
}

// orphaned tells whether a lease is of this life and nobody has it in hand.
func (t *tx) orphaned(token int64) bool {
	return t.inHand != nil && token>>lifeShift == t.life && !t.inHand.has(token)
}

// notify gives a notice to other processes, if it commits.
func (t *tx) notify(notice string) {
	if !slices.Contains(t.notices, notice) {
		t.notices = append(t.notices, notice)
	}
}
