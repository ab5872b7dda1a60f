package sqlstore

import (
	"context"
	"runtime"
	"slices"
	"time"
)

// request is one operation of a table, or several parts that are all done or none. From
// the time when begun is set until done is closed, only the writer uses the request, except
// for the fields that mu guards.
type request struct {
	table table
	body  any        // the operation; only table knows its type
	parts []*request // instead of table and body, for several operations
	err   error
	done  chan struct{}

	// Guarded by the writer's mu.
	begun     bool
	withdrawn error // the error for a caller that wants the request back after it has begun
	abandoned bool  // the caller waits no more
}

// each calls f for each part of a request, or for the request if it has no parts.
func (r *request) each(f func(*request)) {
	if r.parts == nil {
		f(r)
	}
	for _, part := range r.parts {
		f(part)
	}
}

// bytes is the size of the packets and records of a request.
func (r *request) bytes() (n int) {
	r.each(func(part *request) {
		if body, ok := part.body.(interface{ bytes() int }); ok {
			n += body.bytes()
		}
	})
	return n
}

// leaser has the lease requests that wait for an item of one table.
type leaser struct {
	waiting []*request
	next    int64    // when to try next
	tried   classSet // the classes for which next was found
	again   bool     // an item may have become due since the last try began
}

func (w *writer) signal() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// do runs a request and waits until it is done. If it returns the error of ctx, the request
// was not run.
func (w *writer) do(ctx context.Context, tab table, body any) error {
	return w.enqueue(ctx, &request{table: tab, body: body, done: make(chan struct{})})
}

// together runs several operations in one transaction, all or none.
func (w *writer) together(ctx context.Context, parts []*request) error {
	if len(parts) == 1 {
		return w.do(ctx, parts[0].table, parts[0].body)
	}
	return w.enqueue(ctx, &request{parts: parts, done: make(chan struct{})})
}

func (w *writer) enqueue(ctx context.Context, r *request) error {
	if err := w.files.err(); err != nil { // at once, also while the writer rescues the content
		return w.storeError(err, Other)
	}
	return w.await(ctx, w.patience(), r, func(r *request) { w.queue = append(w.queue, r) })
}

// patience returns a channel that gets a value after the Patience of the back end. The
// channel is nil if there is no such bound.
func (w *writer) patience() <-chan time.Time {
	if w.db.Patience <= 0 {
		return nil
	}
	return time.After(w.db.Patience)
}

// lease waits until tab has leased an item for a request.
func (w *writer) lease(ctx context.Context, tab leaseTable, body any) error {
	return w.await(ctx, nil, &request{table: tab, body: body, done: make(chan struct{})}, func(r *request) {
		l := w.leasers[tab]
		l.waiting = append(l.waiting, r)
		if r.body.(wanting).wants()&^l.tried != 0 {
			l.next = 0
		}
	})
}

func (w *writer) await(ctx context.Context, late <-chan time.Time, r *request, enter func(*request)) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	w.mu.Lock()
	if w.closed {
		w.mu.Unlock()
		return ErrClosed
	}
	enter(r)
	w.mu.Unlock()
	w.signal()
	cause := error(ErrUnavailable)
	select {
	case <-r.done:
		return r.err
	case <-late:
		if !w.withdraw(r, cause) {
			return w.abandon(r)
		}
		return cause
	case <-ctx.Done():
		cause = ctx.Err()
	}
	if w.withdraw(r, cause) {
		return cause
	}
	// The request has begun.
	if late == nil {
		late = w.patience()
	}
	select {
	case <-r.done:
		return r.err
	case <-late:
		return w.abandon(r)
	}
}

// abandon ends the wait for a request that has begun. The request may still be done.
func (w *writer) abandon(r *request) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	select {
	case <-r.done:
		return r.err
	default:
		r.abandoned = true
		return ErrUnavailable
	}
}

// withdraw removes a request that has not begun, and tells whether it did. A lease request
// that has begun is ended with cause when no item was due for it.
func (w *writer) withdraw(r *request, cause error) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if r.begun {
		r.withdrawn = cause
		return false
	}
	other := func(o *request) bool { return o == r }
	w.queue = slices.DeleteFunc(w.queue, other)
	for _, l := range w.leasers {
		l.waiting = slices.DeleteFunc(l.waiting, other)
	}
	return true
}

// look makes the writer try the waiting lease requests of all tables.
func (w *writer) look() {
	w.mu.Lock()
	for _, l := range w.leasers {
		l.next, l.again = 0, true
	}
	w.mu.Unlock()
	w.signal()
}

// pollEvery is how often the writer polls a back end without notices for changes while a
// call waits.
const pollEvery = 250 * time.Millisecond

// take begins the next requests, and the lease requests to try. If there are none, it
// returns how long to sleep: 0 means until woken, and a negative time means to end.
func (w *writer) take() (batch []*request, leases map[leaseTable][]*request, sleep time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	// The callers that the last commit has answered often make their next call at once. It
	// is better to wait for them than to commit the first call alone. So yield the
	// processor while more calls arrive.
	all := min(len(w.queue)+w.last, maxBatch)
	for vain := 0; vain < 4 && len(w.queue) > 0 && len(w.queue) < all; vain++ {
		n := len(w.queue)
		w.mu.Unlock()
		runtime.Gosched()
		w.mu.Lock()
		if len(w.queue) > n {
			vain = 0
		}
	}
	n := w.fit()
	batch = slices.Clone(w.queue[:n])
	w.queue = slices.Delete(w.queue, 0, n)
	if n > 0 {
		w.last = n
	}
	touched := make(map[table]bool)
	for _, r := range batch {
		r.begun = true
		r.each(func(part *request) { touched[part.table] = true })
	}
	now := w.clock.now()
	next := int64(never)
	gone := w.files.err() != nil
	for tab, l := range w.leasers {
		if touched[tab] {
			l.next = 0
		}
		switch {
		case len(l.waiting) == 0:
		case w.closed:
			for _, r := range l.waiting {
				r.err = ErrClosed
				w.end(r)
			}
			l.waiting = nil
		case gone: // they wait until the store is closed
		case l.next <= now:
			if leases == nil {
				leases = make(map[leaseTable][]*request)
			}
			leases[tab], l.waiting = l.waiting, nil
			l.again = false
			for _, r := range leases[tab] {
				r.begun = true
			}
		default:
			next = min(next, l.next, now+w.pollTime().Microseconds())
		}
	}
	if w.otherWaiters > 0 && !gone && w.db.Changed != nil {
		next = min(next, now+pollEvery.Microseconds())
	}
	switch {
	case w.closed && n == 0:
		return nil, nil, -1
	case next < never:
		return batch, leases, time.Duration(max(next-now, 1)) * time.Microsecond
	}
	return batch, leases, 0
}

// fit is how many requests of the queue go into the next transaction.
func (w *writer) fit() int {
	size := 0
	for n, r := range w.queue {
		size += r.bytes()
		if n == maxBatch || n > 0 && size > maxBytes {
			return n
		}
	}
	return len(w.queue)
}

func (w *writer) pollTime() time.Duration {
	if w.db.Changed != nil {
		return pollEvery
	}
	return w.fallback
}

// addWaiters counts the calls that wait for changes by other processes, besides leases.
func (w *writer) addWaiters(n int) {
	w.mu.Lock()
	w.otherWaiters += n
	first := w.otherWaiters == 1 && n > 0
	w.mu.Unlock()
	if first {
		w.signal()
	}
}
