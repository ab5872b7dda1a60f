package sqlstore

import (
	"context"
	"log/slog"
	"slices"
)

// tx is a transaction of the writer.
type tx struct {
	context.Context
	*statements
	*clock
	log      *slog.Logger
	now      int64
	again    bool // it is not the first try
	notices  []string
	onCommit []func()
}

// unreadable logs that what stands in a row cannot be read. The row is handed out
// all the same, with what could be: it must not hold up the others.
func (t *tx) unreadable(table string, seq int64, err error) {
	t.log.Error("sqlstore: a row cannot be read", "table", table, "seq", seq, "error", err)
}

// notify gives a notice to other processes, if it commits.
func (t *tx) notify(notice string) {
	if !slices.Contains(t.notices, notice) {
		t.notices = append(t.notices, notice)
	}
}
