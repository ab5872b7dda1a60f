package sqlstore

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/didcomm-go/didcomm/agent/store"
)

const (
	maxBatch = 256     // requests in one transaction
	maxBytes = 4 << 20 // bytes of packets in a transaction of more than one request
	maxTries = 5       // of a transaction that fails with a fault that allows another try
	// lookEvery is the time between two tries to look up the outcome of a commit.
	lookEvery = 100 * time.Millisecond
)

// writer runs all transactions that write, in one goroutine. It takes the requests that
// wait, runs them in one transaction, and answers them when the transaction is committed.
// There is no timer for batches: an idle writer commits a request at once, and requests
// that arrive during a commit share the next transaction.
//
// Calls that wait for an item to lease wait in the writer, too. A lease is tried in the
// transaction that has made an item due, or when the next item is due.
type writer struct {
	db     *Backend
	log    *slog.Logger
	clock  *clock
	tables []table // in the order in which a transaction visits them
	wake   chan struct{}
	done   chan struct{}
	// liveness and held are nil if the database is not shared.
	liveness *liveness
	held     *heldLeases
	files    *files
	rescued  bool // the content of lost files was rescued, or cannot be
	rescueAt time.Time
	// changed is called when another process may have written to the database.
	changed  func()
	fallback time.Duration

	conn *statements // nil until there is a connection
	raw  *sql.Conn

	mu           sync.Mutex // guards all below
	queue        []*request
	leasers      map[leaseTable]*leaser
	otherWaiters int // calls that wait for changes by other processes, besides leases
	last         int // requests in the last transaction
	closed       bool
}

// table runs the operations of one kind.
type table interface {
	// run runs the requests, and sets err of the requests that fail by their own checks.
	// It returns an error of the database. Then the transaction is rolled back, and the
	// requests may be run again.
	run(t *tx, reqs []*request) error
}

// leaseTable is a table with items to lease. Requests wait until an item is due.
type leaseTable interface {
	table
	// lease leases an item for each request, beginning with the first request, as long as
	// items are due that the request wants. It serves at most maxBatch requests, moves them
	// to the front, and returns how many they are.
	lease(t *tx, reqs []*request) (int, error)
	// due is when the next item can be leased for any of the requests, or never.
	due(ctx context.Context, c *statements, reqs []*request) (int64, error)
}

const never = 1<<63 - 1

// run is the goroutine of the writer. It ends when the writer is closed and all requests
// are answered.
func (w *writer) run() {
	defer close(w.done)
	for {
		again := w.rescue()
		batch, leases, wait := w.take()
		if len(batch) > 0 || len(leases) > 0 {
			w.commit(batch, leases)
			continue
		}
		if wait < 0 {
			return
		}
		if again > 0 {
			wait = again
		}
		var timer <-chan time.Time
		if wait > 0 {
			timer = time.After(wait)
		}
		select {
		case <-w.wake:
		case <-timer:
			w.poll()
		}
	}
}

// answer ends requests.
func (w *writer) answer(reqs []*request, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, r := range reqs {
		if err != nil {
			r.err = err
		}
		w.end(r)
	}
}

// end ends a request. If a lease was made for the request, it is held now, or an orphan if
// the caller waits no more. The caller of end holds mu.
func (w *writer) end(r *request) {
	defer close(r.done)
	if w.liveness == nil {
		return
	}
	r.each(func(part *request) {
		switch body := part.body.(type) {
		case leasing:
			if token, until := body.leased(); r.err == nil && token != 0 {
				if r.abandoned {
					w.liveness.mayHaveOrphans.Store(true)
				} else {
					w.held.add(token, until)
				}
			}
		case settling:
			if r.err == nil || errors.Is(r.err, store.ErrLease) {
				w.held.remove(body.settled())
			}
		}
	})
}

// leasing is a body that may lease an item. The token is 0 if it has not leased one.
type leasing interface {
	leased() (token int64, until time.Time)
}

// settling is a body that ends a lease.
type settling interface{ settled() int64 }

// commit runs requests and leases in one transaction. If this fails, commit runs each
// request in a transaction of its own.
func (w *writer) commit(batch []*request, leases map[leaseTable][]*request) {
	served, err := w.attempt(batch, leases)
	if errors.Is(err, errPart) {
		w.separate(batch, leases)
		return
	}
	if err != nil {
		if w.files.err() == nil {
			w.log.Warn("sqlstore: transaction failed", "database", w.db.Name, "operations", len(batch), "error", err)
		}
		served = nil
	}
	for tab, reqs := range leases {
		n := served[tab]
		w.answer(reqs[:n], nil)
		w.putBack(tab, reqs[n:], err != nil)
	}
	fault := Other
	if err != nil {
		fault = w.db.Fault(err)
	}
	if err == nil || len(batch) == 1 || fault == Lost || fault == Refused || fault == Busy {
		w.answer(batch, err)
		return
	}
	for _, r := range batch {
		w.alone(r)
	}
}

// alone runs one request in a transaction of its own.
func (w *writer) alone(r *request) {
	_, err := w.attempt([]*request{r}, nil)
	if errors.Is(err, errPart) {
		err = nil // r.err is the error of the part
	}
	w.answer([]*request{r}, err)
}

// errPart rolls back a transaction in which some parts of a request have failed by their
// own checks. Other parts of the request may have been done.
var errPart = errors.New("sqlstore: a part of a commit failed")

// judge sets the error of each request of several parts to the first error of its parts.
func judge(batch []*request) (err error) {
	for _, r := range batch {
		for _, part := range r.parts {
			if r.err == nil {
				r.err = part.err
			}
		}
		if r.parts != nil && r.err != nil {
			err = errPart
		}
	}
	return err
}

// separate follows a transaction that was rolled back with errPart. It runs the other
// requests first. Then it runs each request that failed in part alone, because the cause of
// the failure may have been a request that was rolled back, too.
func (w *writer) separate(batch []*request, leases map[leaseTable][]*request) {
	var failed, others []*request
	for _, r := range batch {
		if r.parts != nil && r.err != nil {
			failed = append(failed, r)
		} else {
			others = append(others, r)
		}
	}
	if len(batch) == 1 && len(leases) == 0 {
		w.answer(batch, nil)
		return
	}
	if len(others) > 0 || len(leases) > 0 {
		w.commit(others, leases)
	}
	for _, r := range failed {
		w.alone(r)
	}
}

// putBack makes lease requests wait again that were tried without success. After a failed
// transaction they wait for at least a second.
func (w *writer) putBack(tab leaseTable, reqs []*request, failed bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	l := w.leasers[tab]
	var waiting []*request
	for _, r := range reqs {
		r.begun = false
		if r.withdrawn != nil {
			r.err = r.withdrawn
			w.end(r)
			continue
		}
		waiting = append(waiting, r)
	}
	l.waiting = append(waiting, l.waiting...)
	if failed {
		l.next = w.clock.now() + time.Second.Microseconds()
	}
}

// attempt runs one transaction, with more tries if the fault allows them. It returns how
// many lease requests each table has served.
func (w *writer) attempt(batch []*request, leases map[leaseTable][]*request) (map[leaseTable]int, error) {
	for try := 1; ; try++ {
		t, err := w.once(try, batch, leases)
		if err == nil {
			return t.finish(), nil
		}
		if errors.Is(err, errPart) {
			return nil, err
		}
		fault := w.db.Fault(err)
		if fault == Lost {
			w.disconnect()
		}
		retry := fault == Contended || fault == Busy || fault == Lost || fault == Refused
		if fault == Lost && t != nil && t.committing {
			w.log.Warn("sqlstore: a commit was not answered, looking up whether it took effect", "database", w.db.Name, "operations", len(batch), "error", err)
			switch committed, clear := w.outcome(t.mark); {
			case committed:
				return t.finish(), nil
			case !clear:
				retry = false
			}
		}
		if !retry || try == maxTries || w.isClosed() {
			return nil, w.storeError(err, fault)
		}
		pause := time.Duration(try*try) * time.Millisecond
		if fault == Lost || fault == Refused {
			pause *= 50 // the server may be restarting
		}
		time.Sleep(pause)
		batch = w.wanted(batch)
	}
}

// wanted returns the requests whose callers still wait, for another try.
func (w *writer) wanted(batch []*request) (wanted []*request) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, r := range batch {
		if r.abandoned {
			r.err = ErrUnavailable
		} else {
			wanted = append(wanted, r)
		}
	}
	return wanted
}

// outcome looks up whether a transaction was committed, after its commit was not answered.
// It tries until the database answers. The outcome stays unclear if the back end has no
// marks, or if the writer is closed meanwhile.
func (w *writer) outcome(mark int64) (committed, clear bool) {
	if w.liveness == nil {
		return false, false
	}
	defer w.liveness.mayHaveOrphans.Store(true) // in case the answer is wrong
	for ; ; time.Sleep(lookEvery) {
		last, err := w.lastCommit()
		switch {
		case err == nil:
			return last == mark, true
		case w.db.Fault(err) == Lost:
			w.disconnect()
		case w.db.Fault(err) == Other:
			w.log.Error("sqlstore: cannot look up whether a commit took effect", "database", w.db.Name, "error", err)
			return false, false
		}
		if w.isClosed() {
			return false, false
		}
	}
}

func (w *writer) lastCommit() (mark int64, err error) {
	ctx, cancel := w.tryContext()
	defer cancel()
	if err := w.connect(ctx); err != nil {
		return 0, err
	}
	return w.liveness.lastCommit(ctx, w.conn)
}

// tryContext returns a context that ends after the Timeout of the back end.
func (w *writer) tryContext() (context.Context, context.CancelFunc) {
	if w.db.Timeout > 0 {
		return context.WithTimeout(context.Background(), w.db.Timeout)
	}
	return context.Background(), func() {}
}

// giveUp closes the writer, so that no transaction is tried again.
func (w *writer) giveUp() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
}

func (w *writer) isClosed() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.closed
}

// storeError turns an error of the database into ErrFull or ErrCorrupt, if it is one of
// these, and adds the name of the database.
func (w *writer) storeError(err error, f Fault) error {
	switch f {
	case Full:
		return fmt.Errorf("%w: %s: %w", store.ErrFull, w.db.Name, err)
	case Corrupt:
		return fmt.Errorf("%w: %s: %w", ErrCorrupt, w.db.Name, err)
	}
	return fmt.Errorf("%s: %w", w.db.Name, err)
}

// once runs one transaction. If it returns an error, and t.committing is set, the database
// may have committed the transaction.
func (w *writer) once(try int, batch []*request, leases map[leaseTable][]*request) (t *tx, err error) {
	if err := w.files.err(); err != nil {
		return nil, err
	}
	ctx, cancel := w.tryContext()
	defer cancel()
	if err := w.connect(ctx); err != nil {
		return nil, err
	}
	t = &tx{Context: ctx, clock: w.clock, db: w.db, raw: w.raw, conn: w.conn, log: w.log, held: w.held, again: try > 1}
	if len(batch) == 0 {
		if leases, err = w.promising(ctx, leases); err != nil || len(leases) == 0 {
			return t, err
		}
	}
	for _, r := range batch {
		r.err = nil
		r.each(func(part *request) { part.err = nil })
	}
	begin := w.db.Begin
	if len(batch) == 0 {
		begin = w.db.BeginLease
	}
	if _, err := w.raw.ExecContext(ctx, begin); err != nil {
		return t, fmt.Errorf("begin: %w", err)
	}
	if w.liveness != nil {
		w.liveness.sign(t)
	}
	t.served, err = w.visit(t, batch, leases)
	if err == nil {
		err = judge(batch)
	}
	if err != nil || len(batch) == 0 && len(t.served) == 0 {
		w.rollback(err)
		t.onCommit = nil
		return t, err
	}
	if err := t.commit(); err != nil {
		w.rollback(err)
		return t, fmt.Errorf("commit: %w", err)
	}
	return t, w.files.verify()
}

// visit makes each table run its part of a transaction.
func (w *writer) visit(t *tx, batch []*request, leases map[leaseTable][]*request) (map[leaseTable]int, error) {
	served := make(map[leaseTable]int)
	for _, tab := range w.tables {
		var reqs []*request
		for _, r := range batch {
			r.each(func(part *request) {
				if part.table == tab {
					reqs = append(reqs, part)
				}
			})
		}
		t.now = t.clock.now()
		if len(reqs) > 0 {
			if err := tab.run(t, reqs); err != nil {
				return nil, err
			}
		}
		lt, ok := tab.(leaseTable)
		if !ok || len(leases[lt]) == 0 {
			continue
		}
		t.now = t.clock.now()
		n, err := lt.lease(t, leases[lt])
		if err != nil {
			return nil, err
		}
		next, rest := int64(0), leases[lt][n:]
		if len(rest) > 0 && n < maxBatch {
			if err := t.flush(); err != nil {
				return nil, err
			}
			if next, err = lt.due(t, t.conn, rest); err != nil {
				return nil, err
			}
			// An item that is due and could not be leased is locked by another process.
			next = max(next, t.now+10*time.Millisecond.Microseconds())
		}
		if n > 0 {
			served[lt] = n
		}
		w.setNext(lt, next, rest)
	}
	return served, nil
}

// setNext sets when the requests that were tried in vain are tried next.
func (w *writer) setNext(tab leaseTable, next int64, tried []*request) {
	w.mu.Lock()
	defer w.mu.Unlock()
	l := w.leasers[tab]
	l.tried = wants(tried)
	if l.again || wants(l.waiting)&^l.tried != 0 {
		l.next = 0
	} else {
		l.next = next
	}
}

// promising returns the lease requests for which an item is due.
func (w *writer) promising(ctx context.Context, leases map[leaseTable][]*request) (map[leaseTable][]*request, error) {
	worth := make(map[leaseTable][]*request)
	for tab, reqs := range leases {
		due, err := tab.due(ctx, w.conn, reqs)
		if err != nil {
			return nil, err
		}
		if due <= w.clock.now() {
			worth[tab] = reqs
		} else {
			w.setNext(tab, due, reqs)
		}
	}
	return worth, nil
}

func (w *writer) connect(ctx context.Context) error {
	if w.raw != nil {
		return nil
	}
	raw, err := w.db.Write.Conn(ctx)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	w.raw, w.conn = raw, &statements{on: raw, dialect: w.db.Dialect}
	return nil
}

// rollback rolls back a transaction. err is the error of the transaction, if any. If the
// rollback fails, rollback gives up the connection.
func (w *writer) rollback(err error) {
	if err != nil && w.db.Fault(err) == Lost {
		return // disconnect follows
	}
	ctx, cancel := w.tryContext()
	defer cancel()
	if _, err := w.raw.ExecContext(ctx, "ROLLBACK"); err != nil {
		w.disconnect()
	}
}

// disconnect gives up the connection, and makes the pool renew its other connections.
func (w *writer) disconnect() {
	if w.raw == nil {
		return
	}
	if w.db.Renew != nil {
		w.db.Renew(w.raw)
	}
	w.conn.close()
	_ = w.raw.Raw(func(any) error { return driver.ErrBadConn })
	_ = w.raw.Close()
	w.raw, w.conn = nil, nil
}

// poll asks a back end without notices whether another process has written.
func (w *writer) poll() {
	if w.db.Changed == nil {
		w.look()
		return
	}
	if w.files.verify() != nil {
		return
	}
	ctx, cancel := w.tryContext()
	defer cancel()
	if w.connect(ctx) != nil {
		return
	}
	if changed, err := w.db.Changed(ctx, w.raw); changed || err != nil {
		w.look()
		w.changed()
	}
}

// close refuses new requests, waits for the requests that were made before, and returns the
// connection to the pool.
func (w *writer) close() {
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	w.signal()
	<-w.done
	w.release()
}

func (w *writer) release() {
	if w.raw == nil {
		return
	}
	w.conn.close()
	_ = w.raw.Close()
	w.raw, w.conn = nil, nil
}
