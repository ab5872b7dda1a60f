package sqlstore

import (
	"context"
	"runtime"
	"slices"
	"time"
)

// request is one operation of a table, or several of which all are done or none. From
// when the writer has begun it until done is closed, a request belongs to the writer.
type request struct {
	table table
	body  any        // the table's
	parts []*request // in place of table and body; the first error of a part is that of the request
	err   error
	done  chan struct{}

	// Guarded by the writer's mu.
	begun     bool
	withdrawn error // why its caller would rather not have it
	abandoned bool  // its caller does not wait for it any more
}

// each calls f for the operations of a request.
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

// leaser is what waits at a table.
type leaser struct {
	waiting []*request
	next    int64 // when to try again
	again   bool  // something may have become due since the last try began
}

func (w *writer) signal() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// do has a request done. An error of ctx means that it was not.
func (w *writer) do(ctx context.Context, d table, body any) error {
	return w.await(ctx, w.patience(), &request{table: d, body: body, done: make(chan struct{})}, func(r *request) { w.queue = append(w.queue, r) })
}

// together has operations done in one transaction, all or none.
func (w *writer) together(ctx context.Context, parts []*request) error {
	if len(parts) == 1 {
		return w.do(ctx, parts[0].table, parts[0].body)
	}
	return w.await(ctx, w.patience(), &request{parts: parts, done: make(chan struct{})}, func(r *request) { w.queue = append(w.queue, r) })
}

// patience is sent to when a caller has waited long enough; nil is never.
func (w *writer) patience() <-chan time.Time {
	if w.db.Patience <= 0 {
		return nil
	}
	return time.After(w.db.Patience)
}

// lease waits until d has something for a request.
func (w *writer) lease(ctx context.Context, d leaseTable, body any) error {
	return w.await(ctx, nil, &request{table: d, body: body, done: make(chan struct{})}, func(r *request) {
		l := w.leasers[d]
		l.waiting = append(l.waiting, r)
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
	// It is being done.
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

// abandon ends the wait for a request that has begun: it may be done or not.
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

// withdraw takes back a request that has not begun. A lease that is being tried
// is taken back if nothing comes of it.
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

// look makes leases of all tables be tried again.
func (w *writer) look() {
	w.mu.Lock()
	for _, l := range w.leasers {
		l.next, l.again = 0, true
	}
	w.mu.Unlock()
	w.signal()
}

// pollEvery is how often a back end without notices is asked for changes while
// somebody waits.
const pollEvery = 250 * time.Millisecond

// take begins what is to be done: requests, and leases to try. When there is
// nothing it returns how long to sleep; 0 is until woken, less is for good.
func (w *writer) take() (batch []*request, leases map[leaseTable][]*request, sleep time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	// Those whom the last commit answered come back in a moment: it is better to
	// let them in than to commit the first alone. This only yields the processor,
	// and only while it helps.
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
	for d, l := range w.leasers {
		if touched[d] {
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
		case l.next <= now:
			k := min(len(l.waiting), maxBatch)
			if leases == nil {
				leases = make(map[leaseTable][]*request)
			}
			leases[d] = slices.Clone(l.waiting[:k])
			l.waiting = slices.Delete(l.waiting, 0, k)
			l.again = false
			for _, r := range leases[d] {
				r.begun = true
			}
		default:
			next = min(next, l.next, now+w.pollTime().Microseconds())
		}
	}
	if w.watched > 0 && w.db.Changed != nil {
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

// fit is how many requests of the queue share a transaction.
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

// watch counts who waits for what other processes do, besides for leases.
func (w *writer) watch(n int) {
	w.mu.Lock()
	w.watched += n
	first := w.watched == 1 && n > 0
	w.mu.Unlock()
	if first {
		w.signal()
	}
}
