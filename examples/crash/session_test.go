//go:build crash && unix

package crash_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

// sessions tells what the sessions of a PostgreSQL server do.
type sessions struct{ db *sql.DB }

// inside tells whether a session of that name has a transaction open that has
// written or locked something, while the server waits for its next statement, and
// for how many sessions that is in the way.
func (s sessions) inside(ctx context.Context, name string) (yes bool, blocked int, err error) {
	var pid int
	err = s.db.QueryRowContext(ctx, `SELECT pid FROM pg_stat_activity
		WHERE application_name = $1 AND state = 'idle in transaction' AND backend_xid IS NOT NULL`, name).Scan(&pid)
	if errors.Is(err, sql.ErrNoRows) {
		return false, 0, nil
	}
	if err == nil {
		err = s.db.QueryRowContext(ctx, `SELECT COUNT(*) FROM pg_stat_activity WHERE $1 = ANY (pg_blocking_pids(pid))`, pid).Scan(&blocked)
	}
	return err == nil, blocked, err
}

// caught is what catch found.
type caught struct{ tries, blocked int }

func (c caught) String() string {
	return fmt.Sprintf("inside a transaction at try %d, %d sessions waited for that", c.tries, c.blocked)
}

// catch stops a process inside a transaction that is in the way of another: it
// stops it, looks, and lets it go on when that was not so. One that nobody waits
// for will do after many tries.
func (s sessions) catch(ctx context.Context, name string, stop, resume func() error) (caught, error) {
	for try := 1; ; try++ {
		if err := stop(); err != nil {
			return caught{}, err
		}
		// The server may have statements to run yet.
		for looks := 1; ; looks++ {
			inside, blocked, err := s.inside(ctx, name)
			if err != nil {
				return caught{}, err
			}
			if inside && (blocked > 0 || looks == 25 && try > 200) {
				return caught{try, blocked}, nil
			}
			if !inside && looks == 2 || looks == 25 {
				break
			}
			time.Sleep(4 * time.Millisecond)
		}
		if err := resume(); err != nil {
			return caught{}, err
		}
		if try == 1000 {
			return caught{}, errors.New("never inside a transaction")
		}
		time.Sleep(time.Duration(10+rand.N(20)) * time.Millisecond)
	}
}
