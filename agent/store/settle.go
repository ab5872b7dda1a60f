package store

import (
	"context"
	"errors"
	"time"
)

// Settle ends a lease by calling settle, which acks, nacks or terminates the leased item.
// If settle fails, Settle calls it again, so that a store that fails for a time, such as
// on a full disk, does not keep the item leased. The caller should take on no more work
// meanwhile, since the store could not record that work either.
//
// The first delay between two calls is first. Each later delay is twice as long, up to
// 5 s. Each call gets a context with the values of ctx that never ends. Settle gives up,
// and returns the last error of settle, in these cases:
//
//   - The next call would come after until, the end of the lease. A zero until sets no
//     such limit.
//   - stop is closed.
//   - The error is ErrLease, in the first call.
//
// If the error is ErrLease in a later call, Settle returns nil: most likely an earlier
// call took effect although it returned an error.
func Settle(ctx context.Context, until time.Time, first time.Duration, stop <-chan struct{}, settle func(context.Context) error) error {
	failed := false
	for delay := first; ; delay = min(2*delay, 5*time.Second) {
		err := settle(context.WithoutCancel(ctx))
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
