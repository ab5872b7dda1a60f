package agent

import (
	"context"
	"errors"
	"time"

	"github.com/didcomm-go/didcomm/agent/store"
)

// persist tells a store what became of a lease that ends at until, if that is not
// zero. While the store fails, as one whose disk is full does, it is told again:
// else the lease would keep its item from others until it runs out. Who waits
// meanwhile takes on no more work, which could not be stored either.
//
// A lease that is gone after a try that failed is no error: most likely that try
// took effect, and the failure was in saying so.
func (a *Agent) persist(ctx context.Context, until time.Time, tell func(context.Context) error) error {
	failed := false
	for delay := a.cfg.MinBackoff; ; delay = min(2*delay, 5*time.Second) {
		err := tell(context.WithoutCancel(ctx))
		switch {
		case err == nil, failed && errors.Is(err, store.ErrLease):
			return nil
		case errors.Is(err, store.ErrLease), !until.IsZero() && !time.Now().Add(delay).Before(until):
			return err
		}
		failed = true
		select {
		case <-time.After(delay):
		case <-a.life.Done():
			return err
		}
	}
}
