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
	maxBatch = 256     // operations in one transaction
	maxBytes = 4 << 20 // of packets in one transaction, if it is more than one operation
	maxTries = 5       // of a transaction that was contended or lost
	// lookEvery is how often an unclear commit is looked up.
	lookEvery = 100 * time.Millisecond
)

// writer does all that writes, in one goroutine: it takes the operations that
// wait, runs them in one transaction and answers when that is committed. There is
// no timer: when it is idle, an operation is committed at once, and while it
// commits, others gather.
//
// Who waits for something to lease waits at the writer too. A lease is tried in
// the transaction that made something due, or when the time comes.
type writer struct {
	db     *Backend
	log    *slog.Logger
	clock  *clock
	tables []table // in the order in which a transaction visits them
	wake   chan struct{}
	done   chan struct{}
	// lives and inHand are nil where the database is not shared.
	lives  *lives
	inHand *inHand
	// changed is called when another process may have written.
	changed  func()
	fallback time.Duration

	conn *statements // nil until there is a connection
	raw  *sql.Conn

	mu      sync.Mutex // guards all below
	queue   []*request
	leasers map[leaseTable]*leaser
	watched int // how many wait otherwise for changes by other processes
	last    int // operations in the last transaction
	closed  bool
}

// table runs the operations of one kind.
type table interface {
	// run does the requests, and sets err of those that fail by their own
	// checks. A fault of the database is returned: then nothing of what was done
	// holds, and the requests are run again.
	run(t *tx, reqs []*request) error
}

// leaseTable is a table where requests wait until there is something to lease.
type leaseTable interface {
	table
	// lease serves the requests, as far as there is something due, from the
	// front, and returns how many it served.
	lease(t *tx, reqs []*request) (int, error)
	// due is when there is next something to lease, or never.
	due(ctx context.Context, c *statements) (int64, error)
}

const never = 1<<63 - 1

// run is the writer's goroutine. It ends when the writer is closed and all that
// was asked for is done.
func (w *writer) run() {
	defer close(w.done)
	for {
		batch, leases, wait := w.take()
		if len(batch) > 0 || len(leases) > 0 {
			w.commit(batch, leases)
			continue
		}
		if wait < 0 {
			return
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

// end ends a request. Its caller knows of a lease that was made for it then, unless
// that waits no more. The caller of end holds mu.
func (w *writer) end(r *request) {
	defer close(r.done)
	if w.lives == nil {
		return
	}
	r.each(func(part *request) {
		switch body := part.body.(type) {
		case leasing:
			if token, until := body.leased(); r.err == nil && token != 0 {
				if r.abandoned {
					w.lives.doubt.Store(true)
				} else {
					w.inHand.add(token, until)
				}
			}
		case settling:
			if r.err == nil || errors.Is(r.err, store.ErrLease) {
				w.inHand.remove(body.settled())
			}
		}
	})
}

// leasing is a body that may lease something; the token is 0 if it did not.
type leasing interface {
	leased() (token int64, until time.Time)
}

// settling is a body that ends a lease.
type settling interface{ settled() int64 }

// commit does requests and leases in one transaction, or, when that fails, each
// request in one of its own.
func (w *writer) commit(batch []*request, leases map[leaseTable][]*request) {
	served, err := w.attempt(batch, leases)
	if errors.Is(err, errPart) {
		w.separate(batch, leases)
		return
	}
	if err != nil {
		w.log.Warn("sqlstore: transaction failed", "database", w.db.Name, "operations", len(batch), "error", err)
		served = nil
	}
	for d, reqs := range leases {
		n := served[d]
		w.answer(reqs[:n], nil)
		w.putBack(d, reqs[n:], err != nil)
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

// alone does one request in a transaction of its own.
func (w *writer) alone(r *request) {
	_, err := w.attempt([]*request{r}, nil)
	if errors.Is(err, errPart) {
		err = nil // r has its own
	}
	w.answer([]*request{r}, err)
}

// errPart ends a transaction in which some operations of a request failed by their own
// checks, and others may have been done.
var errPart = errors.New("sqlstore: a part failed")

// judge gives each request of several operations the first of their errors.
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

// separate follows a transaction that was rolled back, since requests failed in part. It
// does the other requests first, and then each of those alone: the reason of the failure
// may have been an operation that was rolled back, too.
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

// putBack lets leases wait on that were tried in vain. After a failure they are
// not tried at once.
func (w *writer) putBack(d leaseTable, reqs []*request, failed bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	l := w.leasers[d]
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

// attempt runs one transaction, again when the database asks for that. It returns
// how many leases each table served.
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
			w.log.Warn("sqlstore: a commit was not answered, its outcome is looked up", "database", w.db.Name, "operations", len(batch), "error", err)
			switch committed, clear := w.outcome(t.mark); {
			case committed:
				return t.finish(), nil
			case !clear:
				retry = false
			}
		}
		if !retry || try == maxTries || w.isClosed() {
			return nil, w.explain(err, fault)
		}
		pause := time.Duration(try*try) * time.Millisecond
		if fault == Lost || fault == Refused {
			pause *= 50 // a server may be starting again
		}
		time.Sleep(pause)
		batch = w.wanted(batch)
	}
}

// wanted leaves out, for another try, the requests whose callers wait no more.
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

// outcome looks up whether a transaction was committed whose commit was not
// answered, until that is clear. It stays unclear where the back end has no marks, or
// if the writer is closed meanwhile.
func (w *writer) outcome(mark int64) (committed, clear bool) {
	if w.lives == nil {
		return false, false
	}
	defer w.lives.doubt.Store(true) // should the answer be wrong
	for ; ; time.Sleep(lookEvery) {
		last, err := w.lastCommit()
		switch {
		case err == nil:
			return last == mark, true
		case w.db.Fault(err) == Lost:
			w.disconnect()
		case w.db.Fault(err) == Other:
			w.log.Error("sqlstore: the outcome of a commit cannot be looked up", "database", w.db.Name, "error", err)
			return false, false
		}
		if w.isClosed() {
			return false, false
		}
	}
}

func (w *writer) lastCommit() (mark int64, err error) {
	ctx, cancel := w.tryTime()
	defer cancel()
	if err := w.connect(ctx); err != nil {
		return 0, err
	}
	return w.lives.lastCommit(ctx, w.conn)
}

// tryTime bounds one try of something.
func (w *writer) tryTime() (context.Context, context.CancelFunc) {
	if w.db.Timeout > 0 {
		return context.WithTimeout(context.Background(), w.db.Timeout)
	}
	return context.Background(), func() {}
}

// giveUp makes the writer try nothing again.
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

// explain makes an error of the database one of store's, where there is one.
func (w *writer) explain(err error, f Fault) error {
	switch f {
	case Full:
		return fmt.Errorf("%w: %s: %w", store.ErrFull, w.db.Name, err)
	case Corrupt:
		return fmt.Errorf("%w: %s: %w", ErrCorrupt, w.db.Name, err)
	}
	return fmt.Errorf("%s: %w", w.db.Name, err)
}

// once runs one transaction. The transaction that it returns with an error is
// committing if the database may have committed it.
func (w *writer) once(try int, batch []*request, leases map[leaseTable][]*request) (t *tx, err error) {
	ctx, cancel := w.tryTime()
	defer cancel()
	if err := w.connect(ctx); err != nil {
		return nil, err
	}
	t = &tx{Context: ctx, clock: w.clock, db: w.db, raw: w.raw, conn: w.conn, log: w.log, inHand: w.inHand, again: try > 1}
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
	if w.lives != nil {
		w.lives.sign(t)
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
	return t, nil
}

// visit has each table do its part of a transaction.
func (w *writer) visit(t *tx, batch []*request, leases map[leaseTable][]*request) (map[leaseTable]int, error) {
	served := make(map[leaseTable]int)
	for _, d := range w.tables {
		var reqs []*request
		for _, r := range batch {
			r.each(func(part *request) {
				if part.table == d {
					reqs = append(reqs, part)
				}
			})
		}
		t.now = t.clock.now()
		if len(reqs) > 0 {
			if err := d.run(t, reqs); err != nil {
				return nil, err
			}
		}
		ld, ok := d.(leaseTable)
		if !ok || len(leases[ld]) == 0 {
			continue
		}
		t.now = t.clock.now()
		n, err := ld.lease(t, leases[ld])
		if err != nil {
			return nil, err
		}
		next := int64(0)
		if n < len(leases[ld]) {
			if err := t.flush(); err != nil {
				return nil, err
			}
			if next, err = ld.due(t, t.conn); err != nil {
				return nil, err
			}
			// What is due and was not to be had is locked by another process.
			next = max(next, t.now+10*time.Millisecond.Microseconds())
		}
		if n > 0 {
			served[ld] = n
		}
		w.setNext(ld, next)
	}
	return served, nil
}

func (w *writer) setNext(d leaseTable, next int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if l := w.leasers[d]; l.again {
		l.next = 0
	} else {
		l.next = next
	}
}

// promising returns the leases that are worth a transaction.
func (w *writer) promising(ctx context.Context, leases map[leaseTable][]*request) (map[leaseTable][]*request, error) {
	worth := make(map[leaseTable][]*request)
	for d, reqs := range leases {
		due, err := d.due(ctx, w.conn)
		if err != nil {
			return nil, err
		}
		if due <= w.clock.now() {
			worth[d] = reqs
		} else {
			w.setNext(d, due)
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

// rollback ends a transaction that failed with err, if any; where that fails too,
// the connection is given up.
func (w *writer) rollback(err error) {
	if err != nil && w.db.Fault(err) == Lost {
		return // disconnect follows
	}
	ctx, cancel := w.tryTime()
	defer cancel()
	if _, err := w.raw.ExecContext(ctx, "ROLLBACK"); err != nil {
		w.disconnect()
	}
}

// disconnect gives up the connection, and those like it that are idle.
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

// poll asks a back end without notices whether another process wrote.
func (w *writer) poll() {
	if w.db.Changed == nil {
		w.look()
		return
	}
	ctx, cancel := w.tryTime()
	defer cancel()
	if w.connect(ctx) != nil {
		return
	}
	if changed, err := w.db.Changed(ctx, w.raw); changed || err != nil {
		w.look()
		w.changed()
	}
}

// close refuses new requests, waits for those that there are, and gives the
// connection back.
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
