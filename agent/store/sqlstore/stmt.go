package sqlstore

import (
	"context"
	"database/sql"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Statements are written once, in the SQL that both dialects share. Two parts are
// translated:
//
//   - FOR UPDATE, with or without SKIP LOCKED, is left out for SQLite, which has one
//     transaction that writes at a time.
//   - A statement for many rows begins with "WITH r(name TYPE, ...)". The table r has the
//     rows that are given as columns. For PostgreSQL it is unnest($1::type[], ...), for any
//     number of rows in one round trip. For SQLite it is VALUES (?, ...), in chunks.
//
// Other parameters are written as "?", after r. A limit is written as "LIMIT ? + 0", since
// SQLite would make a new plan for each value of a plain "LIMIT ?".

// cols are the columns of r, each a []string, []int64 or [][]byte, all of the same length.
type cols []any

func (c cols) len() int {
	switch col := c[0].(type) {
	case []string:
		return len(col)
	case []int64:
		return len(col)
	case [][]byte:
		return len(col)
	}
	panic(fmt.Sprintf("sqlstore: column of %T", c[0]))
}

// row appends the values of one row to args.
func (c cols) row(args []any, i int) []any {
	for _, col := range c {
		switch col := col.(type) {
		case []string:
			args = append(args, col[i])
		case []int64:
			args = append(args, col[i])
		case [][]byte:
			args = append(args, col[i])
		}
	}
	return args
}

// chunks are the numbers of rows for which SQLite prepares a statement.
var chunks = [...]int{64, 16, 4, 1}

// statements runs statements on one connection or on a pool. It prepares each statement
// once.
type statements struct {
	on interface {
		PrepareContext(ctx context.Context, query string) (*sql.Stmt, error)
	}
	dialect Dialect
	// tries is set for queries outside of transactions. Then the Timeout of the back end
	// bounds the wait for the first row, and a query is tried again on another connection
	// if the first one is dead.
	tries *Backend
	files *files // checked before each query; nil for a connection of the writer

	mu       sync.Mutex // guards all below
	prepared map[prepared]*sql.Stmt
	texts    map[string]string
}

type prepared struct {
	text string
	rows int
}

func (c *statements) stmt(ctx context.Context, text string, rows int) (*sql.Stmt, error) {
	p := prepared{text, rows}
	c.mu.Lock()
	s := c.prepared[p]
	c.mu.Unlock()
	if s != nil {
		return s, nil
	}
	s, err := c.on.PrepareContext(ctx, translate(c.dialect, text, rows)) // without mu: this may take long
	if err != nil {
		return nil, fmt.Errorf("prepare %.60q: %w", text, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if other := c.prepared[p]; other != nil { // another goroutine was faster
		_ = s.Close()
		return other, nil
	}
	if c.prepared == nil {
		c.prepared = make(map[prepared]*sql.Stmt)
	}
	c.prepared[p] = s
	return s, nil
}

// translated returns a statement in the dialect, for any number of rows. It is for
// PostgreSQL.
func (c *statements) translated(text string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.texts == nil {
		c.texts = make(map[string]string)
	}
	t, ok := c.texts[text]
	if !ok {
		t = translate(c.dialect, text, 0)
		c.texts[text] = t
	}
	return t
}

// close closes the statements. SQLite does not close a connection that has open statements.
func (c *statements) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.prepared {
		_ = s.Close()
	}
	c.prepared = nil
}

// exec runs a statement.
func (c *statements) exec(ctx context.Context, text string, args ...any) error {
	s, err := c.stmt(ctx, text, 0)
	if err != nil {
		return err
	}
	return run(ctx, s, text, args)
}

func run(ctx context.Context, s *sql.Stmt, text string, args []any) error {
	if _, err := s.ExecContext(ctx, args...); err != nil {
		return fmt.Errorf("%.60q: %w", text, err)
	}
	return nil
}

// query runs a statement and calls each for every row.
func (c *statements) query(ctx context.Context, each func(*sql.Rows) error, text string, args ...any) error {
	return c.retried(ctx, each, func(ctx context.Context, each func(*sql.Rows) error) error {
		s, err := c.stmt(ctx, text, 0)
		if err != nil {
			return err
		}
		return scan(ctx, s, each, text, args)
	})
}

// maxReads is how often a query is tried.
const maxReads = 2

// retried runs a query, and tries it again if its connection gives no row in time.
func (c *statements) retried(ctx context.Context, each func(*sql.Rows) error, query func(context.Context, func(*sql.Rows) error) error) error {
	if err := c.files.err(); err != nil {
		return err
	}
	if c.tries == nil || c.tries.Timeout == 0 {
		return query(ctx, each)
	}
	for try := 1; ; try++ {
		some, late, err := c.oneRead(ctx, each, query)
		switch lost := err != nil && c.tries.Fault(err) == Lost; {
		case some || !lost && !late || ctx.Err() != nil:
			return err
		case try == maxReads:
			return fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
		if c.tries.Renew != nil {
			c.tries.Renew(nil)
		}
	}
}

// oneRead runs a query. some tells whether the query gave a row, late whether it was
// canceled because no row came in time.
func (c *statements) oneRead(ctx context.Context, each func(*sql.Rows) error, query func(context.Context, func(*sql.Rows) error) error) (some, late bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	limit := time.AfterFunc(c.tries.Timeout, cancel)
	err = query(ctx, func(rows *sql.Rows) error {
		if !some {
			some = true
			limit.Stop()
		}
		return each(rows)
	})
	return some, !limit.Stop() && err != nil, err
}

// execRows and queryRows are exec and query for a statement over rows. They do nothing if
// there are no rows.
func (c *statements) execRows(ctx context.Context, text string, rows cols, args ...any) error {
	return c.chunked(ctx, text, rows, args, func(s *sql.Stmt, args []any) error { return run(ctx, s, text, args) })
}

func (c *statements) queryRows(ctx context.Context, each func(*sql.Rows) error, text string, rows cols, args ...any) error {
	return c.retried(ctx, each, func(ctx context.Context, each func(*sql.Rows) error) error {
		return c.chunked(ctx, text, rows, args, func(s *sql.Stmt, args []any) error {
			return scan(ctx, s, each, text, args)
		})
	})
}

func (c *statements) chunked(ctx context.Context, text string, rows cols, args []any, run func(*sql.Stmt, []any) error) error {
	n := rows.len()
	if n == 0 {
		return nil
	}
	if c.dialect == PostgreSQL {
		s, err := c.stmt(ctx, text, 0)
		if err != nil {
			return err
		}
		return run(s, append(append([]any(nil), rows...), args...))
	}
	all := make([]any, 0, min(n, chunks[0])*len(rows)+len(args))
	for done := 0; done < n; {
		size := 1
		for _, chunk := range chunks {
			if chunk <= n-done {
				size = chunk
				break
			}
		}
		s, err := c.stmt(ctx, text, size)
		if err != nil {
			return err
		}
		all = all[:0]
		for i := range size {
			all = rows.row(all, done+i)
		}
		if err := run(s, append(all, args...)); err != nil {
			return err
		}
		done += size
	}
	return nil
}

func scan(ctx context.Context, s *sql.Stmt, each func(*sql.Rows) error, text string, args []any) error {
	rows, err := s.QueryContext(ctx, args...)
	if err != nil {
		return fmt.Errorf("%.60q: %w", text, err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := each(rows); err != nil {
			return err
		}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("%.60q: %w", text, err)
	}
	return nil
}

// translate translates a statement to a dialect. rows is the number of rows of r for
// SQLite.
func translate(d Dialect, text string, rows int) string {
	var b strings.Builder
	params := 0
	if rest, ok := strings.CutPrefix(text, "WITH r("); ok {
		columns, after, _ := strings.Cut(rest, ")")
		var names, types []string
		for column := range strings.SplitSeq(columns, ",") {
			name, typ, _ := strings.Cut(strings.TrimSpace(column), " ")
			names, types = append(names, name), append(types, typ)
		}
		b.WriteString("WITH r(" + strings.Join(names, ", ") + ") AS (")
		if d == PostgreSQL {
			for i, typ := range types {
				types[i] = "$" + strconv.Itoa(i+1) + "::" + typ + "[]"
			}
			params = len(types)
			b.WriteString("SELECT * FROM unnest(" + strings.Join(types, ", ") + ")")
		} else {
			row := "(?" + strings.Repeat(", ?", len(names)-1) + ")"
			b.WriteString("VALUES " + row + strings.Repeat(", "+row, rows-1))
		}
		b.WriteString(")")
		text = after
	}
	if d == SQLite {
		b.WriteString(strings.NewReplacer(" FOR UPDATE SKIP LOCKED", "", " FOR UPDATE", "").Replace(text))
		return b.String()
	}
	for {
		before, after, found := strings.Cut(text, "?")
		b.WriteString(before)
		if !found {
			return b.String()
		}
		params++
		b.WriteString("$" + strconv.Itoa(params))
		text = after
	}
}
