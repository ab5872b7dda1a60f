package storetest

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/didcomm-go/didcomm/agent/store"
)

// ErrFault is the error of every call that [Faults] makes fail.
var ErrFault = errors.New("storetest: injected fault")

// FaultConfig has the probability of each fault in a call of a store, from 0 to 1. With the
// zero value, nothing fails.
type FaultConfig struct {
	Seed   uint64
	Before float64 // the call fails, and has no effect
	After  float64 // the call fails although it has taken effect
	Delay  float64 // the call takes up to MaxDelay longer
	Crash  float64 // the call fails, and so do all later calls until Restart

	MaxDelay time.Duration
}

// Faults makes the calls of the stores of one process fail by chance, from a seed, to test
// how the users of the stores deal with failures. It wraps any implementation:
//
//	f := storetest.NewFaults(storetest.FaultConfig{Seed: 1, Before: 0.05, After: 0.05, Crash: 0.01})
//	s := f.Store(store.New(store.Config{}))
//	ring, err := keyring.Open(ctx, f.Keys(keys), wrapper)
//
// A crash stands for the end of the process. Calls that had begun may or may not have taken
// effect, and later calls have no effect. The test waits for [Faults.Crashed], stops all
// code that uses the stores, calls [Faults.Restart], and starts the code again on the same
// stores. Leases from before the crash are not ended: they run out.
//
// With one caller at a time, equal seeds make equal faults. With several callers, the order
// of their calls decides which call gets which fault.
type Faults struct {
	cfg FaultConfig

	mu      sync.Mutex // guards all below
	rand    *rand.Rand
	crashed chan struct{}
	count   int
}

// NewFaults makes Faults for cfg, without a crash so far.
func NewFaults(cfg FaultConfig) *Faults {
	return &Faults{cfg: cfg, rand: rand.New(rand.NewPCG(cfg.Seed, cfg.Seed)), crashed: make(chan struct{})}
}

// Outbox returns o with faults.
func (f *Faults) Outbox(o store.Outbox) store.Outbox { return faultyOutbox{o, f} }

// Inbox returns b with faults.
func (f *Faults) Inbox(b store.Inbox) store.Inbox { return faultyInbox{b, f} }

// Records returns r with faults.
func (f *Faults) Records(r store.Records) store.Records { return faultyRecords{r, f} }

// Store returns s with faults in Commit and in all parts of s.
func (f *Faults) Store(s store.Store) store.Store { return faultyStore{s, f} }

// Mailbox returns m with faults.
func (f *Faults) Mailbox(m store.Mailbox) store.Mailbox { return faultyMailbox{m, f} }

// Keys returns k with faults.
func (f *Faults) Keys(k store.SealedKeys) store.SealedKeys { return faultyKeys{k, f} }

// Crashed returns a channel that the next crash closes. After a crash and before Restart,
// the channel is closed already.
func (f *Faults) Crashed() <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.crashed
}

// Restart ends a crash. Code that used the stores before the crash must not use them any
// more.
func (f *Faults) Restart() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.down() {
		f.crashed = make(chan struct{})
	}
}

// Count is the number of faults so far that made calls fail. A crash counts as one fault,
// however many calls fail after it.
func (f *Faults) Count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.count
}

// down tells whether there was a crash. The caller holds mu.
func (f *Faults) down() bool {
	select {
	case <-f.crashed:
		return true
	default:
		return false
	}
}

// draw chooses the faults of one call.
func (f *Faults) draw() (before, after bool, delay time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.down() {
		return true, false, 0
	}
	before, after = f.rand.Float64() < f.cfg.Before, f.rand.Float64() < f.cfg.After
	if f.rand.Float64() < f.cfg.Delay && f.cfg.MaxDelay > 0 {
		delay = time.Duration(f.rand.Int64N(int64(f.cfg.MaxDelay)))
	}
	if f.rand.Float64() < f.cfg.Crash {
		close(f.crashed)
		before = f.rand.IntN(2) == 0
		after = !before
	}
	if before || after {
		f.count++
	}
	return before, after, delay
}

// call makes one call, with faults.
func (f *Faults) call(ctx context.Context, do func() error) error {
	before, after, delay := f.draw()
	if delay > 0 {
		select {
		case <-time.After(delay):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if before {
		return ErrFault
	}
	crashed := f.Crashed()
	err := do()
	select {
	case <-crashed: // during the call
		return ErrFault
	default:
	}
	if after && err == nil {
		return ErrFault
	}
	return err
}

// ask makes a call that has a result.
func ask[T any](f *Faults, ctx context.Context, do func() (T, error)) (T, error) {
	var answer, none T
	err := f.call(ctx, func() (err error) {
		answer, err = do()
		return err
	})
	if err != nil {
		return none, err
	}
	return answer, nil
}

// await makes a call that may wait. A crash ends the wait.
func await[T any](f *Faults, ctx context.Context, do func(context.Context) (T, error)) (T, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	crashed, ended := f.Crashed(), make(chan struct{})
	go func() {
		defer close(ended)
		select {
		case <-crashed:
			cancel()
		case <-ctx.Done():
		}
	}()
	defer func() { <-ended }()
	defer cancel()
	return ask(f, ctx, func() (T, error) { return do(ctx) })
}
