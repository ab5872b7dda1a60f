package storetest

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/didcomm-go/didcomm/agent/store"
)

// ErrFault is the error of every call that Faults made fail.
var ErrFault = errors.New("storetest: injected fault")

// FaultConfig says how often what goes wrong: the parts, from 0 to 1, of all calls
// of a store.
type FaultConfig struct {
	Seed   uint64
	Before float64 // fail without any effect
	After  float64 // fail although they took effect
	Delay  float64 // take up to MaxDelay longer
	Crash  float64 // fail as do all that follow, until Restart

	MaxDelay time.Duration
}

// Faults makes the stores of one process fail, by chance and by a seed, to see
// what those who use them make of it. It wraps any implementation:
//
//	f := storetest.NewFaults(storetest.FaultConfig{Seed: 1, Before: 0.05, After: 0.05, Crash: 0.01})
//	s := f.Store(store.New(store.Config{}))
//	ring, err := keyring.Open(ctx, f.Keys(keys), wrapper)
//
// A crash is what the end of the process is for its stores: a call under way has
// taken effect or not, and no later one has. Whoever waits for Crashed then stops
// what used the stores, calls Restart, and begins anew on the same ones, where
// leases of the time before run out.
//
// With one caller at a time, equal seeds make equal faults; with several, whom
// they hit depends on who comes first.
type Faults struct {
	cfg FaultConfig

	mu      sync.Mutex // guards all below
	rand    *rand.Rand
	crashed chan struct{}
	count   int
}

// NewFaults makes Faults that have not crashed.
func NewFaults(cfg FaultConfig) *Faults {
	return &Faults{cfg: cfg, rand: rand.New(rand.NewPCG(cfg.Seed, cfg.Seed)), crashed: make(chan struct{})}
}

// Outbox wraps an outbox.
func (f *Faults) Outbox(o store.Outbox) store.Outbox { return faultyOutbox{o, f} }

// Inbox wraps an inbox.
func (f *Faults) Inbox(b store.Inbox) store.Inbox { return faultyInbox{b, f} }

// Records wraps records.
func (f *Faults) Records(r store.Records) store.Records { return faultyRecords{r, f} }

// Store wraps a store with all its parts, and what it commits together.
func (f *Faults) Store(s store.Store) store.Store { return faultyStore{s, f} }

// Mailbox wraps a mailbox.
func (f *Faults) Mailbox(m store.Mailbox) store.Mailbox { return faultyMailbox{m, f} }

// Keys wraps a key store.
func (f *Faults) Keys(k store.SealedKeys) store.SealedKeys { return faultyKeys{k, f} }

// Crashed is closed by the next crash, or is so since the last one.
func (f *Faults) Crashed() <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.crashed
}

// Restart ends a crash. Nothing that used the stores before it may do so any more.
func (f *Faults) Restart() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.down() {
		f.crashed = make(chan struct{})
	}
}

// Count is how many calls failed so far by themselves: those that a crash made
// fail count as one.
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

// draw decides what becomes of one call.
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

// call makes one call.
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
	born := f.Crashed()
	err := do()
	select {
	case <-born: // the caller is dead
		return ErrFault
	default:
	}
	if after && err == nil {
		return ErrFault
	}
	return err
}

// ask makes a call that has an answer.
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

// await makes a call that waits: it ends with a crash.
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
