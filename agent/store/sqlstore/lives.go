package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/didcomm-go/didcomm/agent/store"
)

// Processes that share a database know of each other by rows of life: each opening
// of the store that leases has one, and writes the server's time to the row every
// second. A row that stands still for deadAfter is struck by those who see that, and
// what a life without a row has leased is given back. That an opening pauses for less
// takes nothing from it.
//
// The age of a row alone does not prove a death: all rows age while the server is
// away, or may when its clock is set. So a process, too, has to see the row stand
// still, for watchFor.
const (
	beatEvery = time.Second
	deadAfter = 4 * beatEvery
	watchFor  = 5 * beatEvery / 2
)

// reclaim asks a desk to give back what is leased: all of it, or what is leased by
// lives that are over.
type reclaim struct{ all bool }

// condition is what the leases in a table are that it asks for.
func (r reclaim) condition(table string) string {
	if r.all {
		return ""
	}
	return " AND NOT EXISTS (SELECT 1 FROM life WHERE life.id = " + table + ".token >> 32)" // lifeShift
}

const (
	serverTime = "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT)"
	// signStatement is the last of each transaction.
	signStatement = "INSERT INTO life (id, beat, mark) VALUES (?, " + serverTime + ", ?) ON CONFLICT (id) DO UPDATE SET beat = excluded.beat, mark = excluded.mark"
	// beatStatement does not wait for a transaction that signs.
	beatStatement = "UPDATE life SET beat = " + serverTime + " WHERE id IN (SELECT id FROM life WHERE id = ? FOR UPDATE SKIP LOCKED)"
	// lastStatement waits for a transaction that has signed and is not over, also for
	// the first of a life.
	lastStatement = "INSERT INTO life (id, beat, mark) VALUES (?, " + serverTime + ", 0) ON CONFLICT (id) DO UPDATE SET beat = excluded.beat RETURNING mark"
)

// lives keeps the row of this opening, and watches those of the others.
type lives struct {
	w             *writer
	inbox, outbox desk
	conn          *statements // any connection: the writer's may be held up
	id            int64

	// Only watch uses these.
	seen    map[int64]sighting // of others
	last    time.Time          // of the last look at the others
	orphans map[int64]bool     // tokens that nobody had in hand in the last round

	marks int64 // allotted; only the writer uses it
	begun atomic.Bool
	begin chan struct{} // closed when begun
}

// sighting is how long a row stands as it does.
type sighting struct {
	beat  int64
	since time.Time
}

func newLives(w *writer, inbox, outbox desk, conn *statements) *lives {
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

// run keeps the row and watches the others until ctx ends.
func (l *lives) run(ctx context.Context) {
	select {
	case <-l.begin:
	case <-ctx.Done():
		return
	}
	// The others are watched apart: what they left behind may take the writer long.
	var both sync.WaitGroup
	both.Go(func() {
		l.everySecond(ctx, "heartbeat", func(ctx context.Context) error {
			ctx, cancel := l.limit(ctx)
			defer cancel()
			return l.conn.exec(ctx, beatStatement, l.id)
		})
	})
	both.Go(func() {
		l.everySecond(ctx, "watch over other processes", func(ctx context.Context) error {
			err := l.watch(ctx)
			if err != nil {
				l.seen = nil // what stands still may be our sight
			}
			return err
		})
	})
	both.Wait()
}

// everySecond does something again and again until ctx ends.
func (l *lives) everySecond(ctx context.Context, what string, do func(context.Context) error) {
	tick := time.NewTicker(beatEvery)
	defer tick.Stop()
	for {
		if err := do(ctx); err != nil && ctx.Err() == nil {
			l.w.log.Warn("sqlstore: "+what, "database", l.w.db.Name, "error", err)
			if l.w.db.Fault(err) == Lost && l.w.db.Renew != nil {
				l.w.db.Renew(nil)
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// limit bounds the queries of a second.
func (l *lives) limit(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, min(3*beatEvery/2, l.w.db.Timeout))
}

// watch strikes the rows of those that are dead, and gives back what nobody alive
// has in hand.
func (l *lives) watch(ctx context.Context) error {
	limit, cancel := l.limit(ctx)
	defer cancel()
	dead, err := l.look(limit)
	if err != nil {
		return err
	}
	for id, beat := range dead {
		if err := l.conn.exec(limit, "DELETE FROM life WHERE id IN (SELECT id FROM life WHERE id = ? AND beat = ? FOR UPDATE SKIP LOCKED)", id, beat); err != nil {
			return err
		}
		delete(l.seen, id)
		l.w.log.Warn("sqlstore: another process shows no sign of life, what it leased is given back", "database", l.w.db.Name, "life", id)
	}
	todo, err := l.orphaned(limit)
	if err != nil {
		return err
	}
	now := time.Now().UnixMicro()
	left, err := number(limit, l.conn, `SELECT CASE WHEN EXISTS (SELECT 1 FROM inbox WHERE state = 1 AND due > ?`+reclaim{}.condition("inbox")+`)
		OR EXISTS (SELECT 1 FROM outbox WHERE token <> 0 AND due > ?`+reclaim{}.condition("outbox")+`) THEN 1 ELSE 0 END`,
		now, now)
	if err != nil {
		return err
	}
	if left != 0 {
		todo = append(todo, &request{desk: l.inbox, body: reclaim{}}, &request{desk: l.outbox, body: reclaim{}})
	}
	for _, r := range todo {
		if err := l.w.do(ctx, r.desk, r.body); err != nil && !errors.Is(err, store.ErrLease) {
			return err
		}
	}
	return nil
}

// orphaned returns what gives back the leases of this life that nobody has in hand,
// now and in the round before: a lease comes in hand a moment after its commit.
func (l *lives) orphaned(ctx context.Context) (back []*request, err error) {
	orphans := make(map[int64]bool)
	from, to := l.w.clock.tokens()
	now := time.Now().UnixMicro() // the clock is the writer's
	err = l.conn.query(ctx, func(rows *sql.Rows) error {
		var id, peer string
		var token int64
		err := rows.Scan(&id, &peer, &token)
		switch {
		case err != nil || l.w.inHand.has(token):
			return err
		case !l.orphans[token]:
			orphans[token] = true
			return nil
		case peer == "":
			back = append(back, &request{desk: l.inbox, body: giveBackMessage(id, token)})
		default:
			back = append(back, &request{desk: l.outbox, body: giveBackItem(id, peer, token)})
		}
		l.w.log.Warn("sqlstore: what nobody has in hand is given back", "database", l.w.db.Name, "key", id)
		return nil
	}, `SELECT id, '', token FROM inbox WHERE state = 1 AND due > ? AND token >= ? AND token < ?
		UNION ALL SELECT id, peer, token FROM outbox WHERE token <> 0 AND due > ? AND token >= ? AND token < ?`,
		now, from, to, now, from, to)
	l.orphans = orphans
	return back, err
}

// look returns the rows that have stood still for too long, with their beats. What
// is not looked at for a while, as by a process that was stopped, counts for
// nothing.
func (l *lives) look(ctx context.Context) (dead map[int64]int64, err error) {
	now := time.Now()
	if now.Sub(l.last) > 3*beatEvery {
		l.seen = nil
	}
	l.last = now
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
	}, "SELECT id, beat, "+serverTime+" - beat FROM life")
	l.seen = seen
	return dead, err
}

// end takes the row away: what is still leased may be had by others at once.
func (l *lives) end() {
	if l == nil || !l.begun.Load() {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), beatEvery)
	defer cancel()
	if err := l.conn.exec(ctx, "DELETE FROM life WHERE id = ?", l.id); err != nil {
		l.w.log.Warn("sqlstore: the heartbeat stops", "database", l.w.db.Name, "error", err)
	}
}
