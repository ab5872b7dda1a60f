package cli

import (
	"fmt"
	"io"
	"sync"
	"time"
)

// outlet writes to a terminal, a pipe or a file that may not be read for a long time, such
// as a terminal after Ctrl-S. Write never waits. Lines for which there is no room are
// dropped and counted.
type outlet struct {
	w    io.Writer
	hint string // where the reader finds what was dropped

	mu      sync.Mutex // guards all below; not held during a write to w
	queue   [][]byte
	bytes   int // in queue
	dropped int // lines since the last one that was queued
	closed  bool
	more    chan struct{} // has an element if there is something to write
	done    chan struct{} // closed when run has ended
}

var _ io.Writer = (*outlet)(nil)

// maxOutlet limits the bytes that wait to be written.
const maxOutlet = 1 << 20

// newOutlet returns an outlet to w. Call close at the end.
func newOutlet(w io.Writer, hint string) *outlet {
	o := &outlet{w: w, hint: hint, more: make(chan struct{}, 1), done: make(chan struct{})}
	go o.run()
	return o
}

// Write queues a line, or drops it. There is no error.
func (o *outlet) Write(line []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed || o.bytes+len(line) > maxOutlet {
		o.dropped++
		return len(line), nil
	}
	o.note()
	o.put(append([]byte(nil), line...))
	return len(line), nil
}

// put queues a line. The caller holds mu.
func (o *outlet) put(line []byte) {
	o.queue = append(o.queue, line)
	o.bytes += len(line)
	select {
	case o.more <- struct{}{}:
	default:
	}
}

// note queues a line about the dropped lines, if there are any. The caller holds mu.
func (o *outlet) note() {
	if o.dropped > 0 {
		o.put(fmt.Appendf(nil, "(lines not shown: %d%s)\n", o.dropped, o.hint))
		o.dropped = 0
	}
}

// next takes all queued lines. It returns none after close.
func (o *outlet) next() [][]byte {
	for {
		o.mu.Lock()
		lines, closed := o.queue, o.closed
		o.queue = nil
		if len(lines) == 0 && !closed && o.dropped > 0 {
			o.note()
		}
		o.mu.Unlock()
		if len(lines) > 0 || closed {
			return lines
		}
		<-o.more
	}
}

func (o *outlet) run() {
	defer close(o.done)
	for lines := o.next(); len(lines) > 0; lines = o.next() {
		for _, line := range lines {
			_, _ = o.w.Write(line) // there is nowhere else to say that a line is lost
			o.mu.Lock()
			o.bytes -= len(line)
			o.mu.Unlock()
		}
	}
}

// close writes the queued lines, but does not wait longer than the limit.
func (o *outlet) close(limit time.Duration) {
	o.mu.Lock()
	if !o.closed {
		o.note()
		o.closed = true
		close(o.more)
	}
	o.mu.Unlock()
	select {
	case <-o.done:
	case <-time.After(limit):
	}
}
