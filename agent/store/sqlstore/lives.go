package sqlstore

import (
	"context"
	"database/sql"
	"sync"
	"sync/atomic"
	"time"
)

// Processes that share a database know of each other by the rows of table life. Each
// opening of the store that writes has one, signs it with each transaction, and
// writes the server's time to it twice a second. A row that has not changed for
// deadAfter is marked as dead by the others, and the leases of dead lives, and of
// lives without a row, are given back. A process that pauses for less keeps what it
// has. One that goes on after a longer pause writes to its row, and lives.
//
// The age of a row alone does not prove a death: all rows age while the server is
// away, or when its clock is set. So the others must have seen the row unchanged
// for watchFor, too.
const (
	beatEvery = 500 * time.Millisecond
	beatLimit = 2 * time.Second // for one of them
	deadAfter = 4 * time.Second
	watchFor  = 2 * time.Second
	// lookThrough is how often a process looks for leases of dead lives though it saw
	// none die.
	lookThrough = 5 * time.Second
	// keptFor is how long the row of a dead life is kept: should its process go on, it
	// finds out there what became of its last commit.
	keptFor = time.Hour
)

const (
	serverTime = "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT)"
	// signStatement is at the end of each transaction.
	signStatement = "INSERT INTO life (id, beat, mark) VALUES (?, " + serverTime + ", ?) ON CONFLICT (id) DO UPDATE SET beat = excluded.beat, mark = excluded.mark"
	// beatStatement and deadStatement skip a row that a transaction has signed and not
	// committed yet.
	beatStatement = "UPDATE life SET beat = " + serverTime + " WHERE id IN (SELECT id FROM life WHERE id = ? FOR UPDATE SKIP LOCKED)"
	deadStatement = "UPDATE life SET beat = -" + serverTime + " WHERE id IN (SELECT id FROM life WHERE id = ? AND beat = ? FOR UPDATE SKIP LOCKED) RETURNING id"
	pastStatement = "DELETE FROM life WHERE id IN (SELECT id FROM life WHERE beat < 0 AND beat > ? - " + serverTime + " FOR UPDATE SKIP LOCKED)"
	// lastStatement waits for a transaction that has signed and is not over, also for
	// the first of a life.
	lastStatement = "INSERT INTO life (id, beat, mark) VALUES (?, " + serverTime + ", 0) ON CONFLICT (id) DO UPDATE SET beat = excluded.beat RETURNING mark"
)

// leftBehind is the condition that a lease in a table is of a life that is over.
func leftBehind(table string) string {
	return "NOT EXISTS (SELECT 1 FROM life WHERE life.id = " + table + ".token >> 32 AND life.beat > 0)" // lifeShift
}

// lives keeps the row of this opening, and watches those of the others.
type lives struct {
	w             *writer
	inbox, outbox table
	conn          *statements // on connections of its own
	id            int64

	marks int64 // allotted; only the writer uses it
	begun atomic.Bool
	begin chan struct{} // closed when begun
	// doubt tells that this life may have leases that nobody has in hand.
	doubt atomic.Bool

	// Only watch uses these.
	seen    map[int64]sighting // of others
	last    time.Time          // of the last look at them
	through time.Time          // of the last look for leases without a life
}

// sighting is since when a row is unchanged.
type sighting struct {
	beat  int64
	since time.Time
}

func newLives(w *writer, inbox, outbox table, conn *statements) *lives {
	return &lives{w: w, inbox: inbox, outbox: outbox, conn: conn, id: w.clock.life, begin: make(chan struct{})}
}

// sign has a transaction write the row of this life: others know of the life then,
// and the mark tells whether the transaction was committed.
func (l *lives) sign(t *tx) {
	l.marks++
	t.mark = l.marks
	t.last(signStatement, nil, l.id, t.mark)
	if l.begun.CompareAndSwap(false, true) {
		close(l.begin)
	}
}

// lastCommit is the mark of the last transaction of this life that was committed.
func (l *lives) lastCommit(ctx context.Context, c *statements) (int64, error) {
	return number(ctx, c, lastStatement, l.id)
}

// run keeps the row and watches the others until ctx ends. It begins with the first
// transaction.
func (l *lives) run(ctx context.Context) {
	select {
	case <-l.begin:
	case <-ctx.Done():
		return
	}
	// The others are watched apart: what they left behind may take the writer long.
	var both sync.WaitGroup
	both.Go(func() {
		l.repeat(ctx, "heartbeat", func(limit context.Context) error { return l.conn.exec(limit, beatStatement, l.id) })
	})
	both.Go(func() {
		l.repeat(ctx, "watch over other processes", func(limit context.Context) error { return l.watch(ctx, limit) })
	})
	both.Wait()
}

// repeat does something again and again until ctx ends, within a limit each time.
func (l *lives) repeat(ctx context.Context, what string, do func(limit context.Context) error) {
	tick := time.NewTicker(beatEvery)
	defer tick.Stop()
	for failed := false; ; {
		limit, cancel := context.WithTimeout(ctx, beatLimit)
		err := do(limit)
		cancel()
		if err != nil && ctx.Err() == nil {
			if !failed { // once for an outage
				l.w.log.Warn("sqlstore: "+what, "database", l.w.db.Name, "error", err)
			}
			if l.w.db.Fault(err) == Lost {
				l.w.db.Renew(nil)
			}
		}
		failed = err != nil
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// watch marks those that are dead, and has the tables give back the leases that no
// living process knows of. The queries are within limit.
func (l *lives) watch(ctx, limit context.Context) error {
	dead, gone, err := l.look(limit)
	if err != nil {
		return err
	}
	for id, beat := range dead {
		err := l.conn.query(limit, func(*sql.Rows) error {
			l.w.log.Warn("sqlstore: another process is dead or cannot reach the database, what it leased is given back", "database", l.w.db.Name, "life", id)
			return nil
		}, deadStatement, id, beat)
		if err != nil {
			return err
		}
	}
	l.w.inHand.forget()
	back := false
	if now := time.Now(); gone || len(dead) > 0 || now.Sub(l.through) >= lookThrough {
		due := now.UnixMicro()
		orphans, err := number(limit, l.conn, "SELECT CASE WHEN EXISTS (SELECT 1 FROM inbox WHERE state = 1 AND due > ? AND "+leftBehind("inbox")+
			") OR EXISTS (SELECT 1 FROM outbox WHERE token <> 0 AND due > ? AND "+leftBehind("outbox")+") THEN 1 ELSE 0 END", due, due)
		if err != nil {
			return err
		}
		if err := l.conn.exec(limit, pastStatement, keptFor.Microseconds()); err != nil {
			return err
		}
		l.through, back = now, orphans != 0
	}
	back = l.doubt.Swap(false) || back
	for _, d := range []table{l.inbox, l.outbox} {
		for more := back; more; {
			r := new(reclaim)
			if err := l.w.do(ctx, d, r); err != nil {
				l.doubt.Store(true)
				return err
			}
			more = r.more
		}
	}
	return nil
}

// look returns the lives whose rows have not changed for too long, with their beats,
// and tells whether others are gone. Sightings from before a time in which this process
// could not look count for nothing.
func (l *lives) look(ctx context.Context) (dead map[int64]int64, gone bool, err error) {
	now := time.Now()
	if now.Sub(l.last) > watchFor {
		l.seen = nil
	}
	dead, seen := make(map[int64]int64), make(map[int64]sighting)
	err = l.conn.query(ctx, func(rows *sql.Rows) error {
		var id, beat, age int64
		err := rows.Scan(&id, &beat, &age)
		s, ok := l.seen[id]
		if !ok || s.beat != beat {
			s = sighting{beat, now}
		}
		seen[id] = s
		watched := now.Sub(s.since)
		if id != l.id && (watched >= deadAfter || watched >= watchFor && age >= deadAfter.Microseconds()) {
			dead[id] = beat
		}
		return err
	}, "SELECT id, beat, "+serverTime+" - beat FROM life WHERE beat > 0")
	if err != nil {
		return nil, false, err
	}
	for id := range l.seen {
		if _, ok := seen[id]; !ok {
			gone = true
		}
	}
	if l.seen == nil {
		gone = true // perhaps
	}
	l.seen, l.last = seen, now
	return dead, gone, nil
}

// end takes the row away: what is still leased may be had by others at once.
func (l *lives) end() {
	if l == nil || !l.begun.Load() {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), beatLimit)
	defer cancel()
	if err := l.conn.exec(ctx, "DELETE FROM life WHERE id = ?", l.id); err != nil {
		l.w.log.Warn("sqlstore: the row of this life is left", "database", l.w.db.Name, "error", err)
	}
}
