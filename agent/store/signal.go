package store

import (
	"context"
	"time"
)

// signal wakes one waiter. A signal that is sent while there is no waiter is kept for the
// next one.
type signal chan struct{}

func newSignal() signal { return make(signal, 1) }

func (s signal) send() {
	select {
	case s <- struct{}{}:
	default:
	}
}

// await calls take until take returns a result. Between two calls it waits for one of at
// most three signals, or for the time that take returns, if this time is not 0. It returns
// ctx.Err() if ctx ends first.
func await[T any](ctx context.Context, take func() (*T, time.Duration), signals ...signal) (*T, error) {
	var s [3]signal
	copy(s[:], signals)
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
			// This waiter may have consumed signals that another waiter needs.
			for _, s := range signals {
				s.send()
			}
			return nil, ctx.Err()
		case <-s[0]:
		case <-s[1]:
		case <-s[2]:
		case <-due:
		}
	}
}
