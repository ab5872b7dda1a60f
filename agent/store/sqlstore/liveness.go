package sqlstore

import (
	"context"
	"database/sql"
	"sync"
	"sync/atomic"
	"time"
)

// An instance is one opening of the store by a process. Instances that share a database
// know of each other by the rows of table life. An instance that writes has a row there:
//
//   - Each transaction of the instance writes its mark, a growing number, to the row.
//   - A heartbeat writes the time of the server to the row twice a second.
//
// If a row has not changed for deadAfter, another instance marks the row as dead. The
// leases of dead instances, and of instances without a row, are given back. An instance
// that pauses for a shorter time keeps its leases. An instance that continues after a
// longer pause writes to its row, which makes the row alive again.
//
// The age of a row alone does not prove that its instance is dead, since all rows age while
// the server is down, or when its clock is set. So the instance that marks the row must
// also have seen the row unchanged for observeFor.
const (
	heartbeatInterval = 500 * time.Millisecond
	heartbeatTimeout  = 2 * time.Second // of one heartbeat
	deadAfter         = 4 * time.Second
	observeFor        = 2 * time.Second
	// orphanCheckInterval is how often an instance looks for leases of dead instances even
	// if it has seen no instance die.
	orphanCheckInterval = 5 * time.Second
	// deadRowTTL is how long the row of a dead instance is kept. If the instance continues,
	// it finds there the outcome of its last commit.
	deadRowTTL = time.Hour
)

const (
	serverTime = "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT)"
	// signStatement is run at the end of each transaction.
	signStatement = "INSERT INTO life (id, beat, mark) VALUES (?, " + serverTime + ", ?) ON CONFLICT (id) DO UPDATE SET beat = excluded.beat, mark = excluded.mark"
	// heartbeatStatement and deadStatement skip a row that a transaction has written and
	// not committed yet.
	heartbeatStatement = "UPDATE life SET beat = " + serverTime + " WHERE id IN (SELECT id FROM life WHERE id = ? FOR UPDATE SKIP LOCKED)"
	deadStatement      = "UPDATE life SET beat = -" + serverTime + " WHERE id IN (SELECT id FROM life WHERE id = ? AND beat = ? FOR UPDATE SKIP LOCKED) RETURNING id"
	forgetStatement    = "DELETE FROM life WHERE id IN (SELECT id FROM life WHERE beat < 0 AND beat > ? - " + serverTime + " FOR UPDATE SKIP LOCKED)"
	// lastMarkStatement waits for a transaction that has written the row and has not ended.
	// The insert makes it wait for the first transaction of the instance, too.
	lastMarkStatement = "INSERT INTO life (id, beat, mark) VALUES (?, " + serverTime + ", 0) ON CONFLICT (id) DO UPDATE SET beat = excluded.beat RETURNING mark"
)

// withoutInstance is the condition that the instance of a lease in a table is dead or has
// no row.
func withoutInstance(table string) string {
	return "NOT EXISTS (SELECT 1 FROM life WHERE life.id = " + table + ".token >> 32 AND life.beat > 0)" // instanceShift
}

// liveness keeps the row of this instance alive, and looks for other instances that died.
type liveness struct {
	w             *writer
	inbox, outbox table
	conn          *statements // on connections that only liveness uses
	id            int64       // of this instance

	marks int64         // the last mark; only the writer uses it
	begun atomic.Bool   // a transaction has written the row
	begin chan struct{} // closed when begun is set
	// mayHaveOrphans tells that this instance may have leases that no caller knows of.
	mayHaveOrphans atomic.Bool

	// Only checkOthers uses these.
	seen            map[int64]sighting // by instance
	lastLook        time.Time          // when the rows were last read
	lastOrphanCheck time.Time          // when leases of dead instances were last looked for
}

// sighting is a beat of a row, and since when the row has it.
type sighting struct {
	beat  int64
	since time.Time
}

func newLiveness(w *writer, inbox, outbox table, conn *statements) *liveness {
	return &liveness{w: w, inbox: inbox, outbox: outbox, conn: conn, id: w.clock.instance, begin: make(chan struct{})}
}

// sign makes a transaction write its mark to the row of this instance. The row makes the
// instance known to others. The mark tells later whether the transaction was committed.
func (l *liveness) sign(t *tx) {
	l.marks++
	t.mark = l.marks
	t.last(signStatement, nil, l.id, t.mark)
	if l.begun.CompareAndSwap(false, true) {
		close(l.begin)
	}
}

// lastCommit is the mark of the last transaction of this instance that was committed.
func (l *liveness) lastCommit(ctx context.Context, c *statements) (int64, error) {
	return number(ctx, c, lastMarkStatement, l.id)
}

// run sends heartbeats and checks the other instances until ctx ends. It begins with the
// first transaction.
func (l *liveness) run(ctx context.Context) {
	select {
	case <-l.begin:
	case <-ctx.Done():
		return
	}
	// The check has a goroutine of its own, since to give back many leases may take long.
	var both sync.WaitGroup
	both.Go(func() {
		l.repeat(ctx, "heartbeat", func(limit context.Context) error { return l.conn.exec(limit, heartbeatStatement, l.id) })
	})
	both.Go(func() {
		l.repeat(ctx, "check of other processes", func(limit context.Context) error { return l.checkOthers(ctx, limit) })
	})
	both.Wait()
}

// repeat calls do every heartbeatInterval until ctx ends. limit ends after
// heartbeatTimeout.
func (l *liveness) repeat(ctx context.Context, what string, do func(limit context.Context) error) {
	tick := time.NewTicker(heartbeatInterval)
	defer tick.Stop()
	for failed := false; ; {
		limit, cancel := context.WithTimeout(ctx, heartbeatTimeout)
		err := do(limit)
		cancel()
		if err != nil && ctx.Err() == nil {
			if !failed { // log once per outage
				l.w.log.Warn("sqlstore: "+what+" failed", "database", l.w.db.Name, "error", err)
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

// checkOthers marks dead instances, and makes the tables give back orphaned leases. Its
// queries end with limit.
func (l *liveness) checkOthers(ctx, limit context.Context) error {
	dead, gone, err := l.findDead(limit)
	if err != nil {
		return err
	}
	for id, beat := range dead {
		err := l.conn.query(limit, func(*sql.Rows) error {
			l.w.log.Warn("sqlstore: another process is dead or cannot reach the database, its leases are given back", "database", l.w.db.Name, "instance", id)
			return nil
		}, deadStatement, id, beat)
		if err != nil {
			return err
		}
	}
	l.w.held.forget()
	back := false
	if now := time.Now(); gone || len(dead) > 0 || now.Sub(l.lastOrphanCheck) >= orphanCheckInterval {
		due := now.UnixMicro()
		orphans, err := number(limit, l.conn, "SELECT CASE WHEN EXISTS (SELECT 1 FROM inbox WHERE state = 1 AND due > ? AND "+withoutInstance("inbox")+
			") OR EXISTS (SELECT 1 FROM outbox WHERE token <> 0 AND due > ? AND "+withoutInstance("outbox")+") THEN 1 ELSE 0 END", due, due)
		if err != nil {
			return err
		}
		if err := l.conn.exec(limit, forgetStatement, deadRowTTL.Microseconds()); err != nil {
			return err
		}
		l.lastOrphanCheck, back = now, orphans != 0
	}
	back = l.mayHaveOrphans.Swap(false) || back
	for _, tab := range []table{l.inbox, l.outbox} {
		for more := back; more; {
			r := new(reclaim)
			if err := l.w.do(ctx, tab, r); err != nil {
				l.mayHaveOrphans.Store(true)
				return err
			}
			more = r.more
		}
	}
	return nil
}

// findDead returns the instances whose rows have not changed for too long, with their
// beats. gone tells whether the row of another instance may have been removed. If the last
// look is longer ago than observeFor, earlier sightings are discarded.
func (l *liveness) findDead(ctx context.Context) (dead map[int64]int64, gone bool, err error) {
	now := time.Now()
	if now.Sub(l.lastLook) > observeFor {
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
		unchanged := now.Sub(s.since)
		if id != l.id && (unchanged >= deadAfter || unchanged >= observeFor && age >= deadAfter.Microseconds()) {
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
		gone = true // unknown
	}
	l.seen, l.lastLook = seen, now
	return dead, gone, nil
}

// remove deletes the row of this instance, so that its leases are given back at once.
func (l *liveness) remove() {
	if l == nil || !l.begun.Load() {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), heartbeatTimeout)
	defer cancel()
	if err := l.conn.exec(ctx, "DELETE FROM life WHERE id = ?", l.id); err != nil {
		l.w.log.Warn("sqlstore: this process could not be signed off, its leases are given back when it counts as dead", "database", l.w.db.Name, "error", err)
	}
}
