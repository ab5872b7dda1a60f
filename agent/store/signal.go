package store

import (
	"context"
	"time"
)

// signal wakes one of those that wait for it. It is kept while nobody does.
type signal chan struct{}

func newSignal() signal { return make(signal, 1) }

func (s signal) send() {
	select {
	case s <- struct{}{}:
	default:
	}
}

// await calls take until that has something, whenever s is sent and after the
// time that take returns, if that is not 0. It returns ctx.Err() when ctx ends
// first.
func await[T any](ctx context.Context, s signal, take func() (*T, time.Duration)) (*T, error) {
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		got, wait := take()
		if got != nil {
			return got, nil
		}
		var due <-chan time.Time
		if wait > 0 {
			due = time.After(wait)
		}
		select {
		case <-ctx.Done():
			// The signal may have been for this waiter; hand it on.
			s.send()
			return nil, ctx.Err()
		case <-s:
		case <-due:
		}
	}
}
