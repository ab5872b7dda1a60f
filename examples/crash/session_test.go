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

// committed tells how many sessions have committed since a moment, by the server's
// clock, and are idle.
func (s sessions) committed(ctx context.Context, since time.Time) (n int, err error) {
	err = s.db.QueryRowContext(ctx, `SELECT COUNT(*) FROM pg_stat_activity
		WHERE state = 'idle' AND lower(query) = 'commit' AND state_change > $1`, since).Scan(&n)
	return n, err
}

// doubt stops answers at a moment when the server has yet to answer a COMMIT, and
// does.
func (s sessions) doubt(ctx context.Context, stop, resume func()) error {
	for try := 1; try <= 1000; try++ {
		stop()
		held := time.Now() // the server is on this machine
		for range 5 {
			time.Sleep(4 * time.Millisecond)
			if n, err := s.committed(ctx, held); err != nil || n > 0 {
				return err
			}
		}
		resume()
		time.Sleep(time.Duration(10+rand.N(20)) * time.Millisecond)
	}
	return errors.New("no COMMIT was under way")
}

// caught is what catch found.
type caught struct{ tries, blocked int }

func (c caught) String() string {
	return fmt.Sprintf("inside a transaction at try %d, %d sessions waited for that", c.tries, c.blocked)
}

// catch stops a process inside a transaction that is in the way of another: it
// stops it, looks, and lets it go on when that was not so. One that nobody waits
// for will do after many tries.
func (s sessions) catch(ctx context.Context, name string, stop, resume func()) (caught, error) {
	for try := 1; ; try++ {
		stop()
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
		resume()
		if try == 1000 {
			return caught{}, errors.New("never inside a transaction")
		}
		time.Sleep(time.Duration(10+rand.N(20)) * time.Millisecond)
	}
}
