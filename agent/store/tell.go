package store

import (
	"context"
	"errors"
	"time"
)

// Tell calls tell, which tells a store what became of a lease that ends at until, if
// that is not zero. While the store fails, as one whose disk is full does, tell is
// called again after a delay that begins with first, until stop is closed: else the
// lease would keep its item from others until it runs out. The caller takes on no more
// work meanwhile, which could not be stored either.
//
// ErrLease after a call that failed is no error: most likely that call took effect,
// and the failure was in saying so.
func Tell(ctx context.Context, until time.Time, first time.Duration, stop <-chan struct{}, tell func(context.Context) error) error {
	failed := false
	for delay := first; ; delay = min(2*delay, 5*time.Second) {
		err := tell(context.WithoutCancel(ctx))
		switch {
		case err == nil, failed && errors.Is(err, ErrLease):
			return nil
		case errors.Is(err, ErrLease), !until.IsZero() && !time.Now().Add(delay).Before(until):
			return err
		}
		failed = true
		select {
		case <-time.After(delay):
		case <-stop:
			return err
		}
	}
}
