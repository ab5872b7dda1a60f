package delivery

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/didcomm-go/didcomm/agent/store"
)

// State is what has become of an item.
type State string

// The states of an item. Queued, and Sent with Outcome.Awaits, are not the last.
const (
	Queued       State = "queued"       // not tried yet, or to be tried again
	Sent         State = "sent"         // by Outcome.Way
	Acknowledged State = "acknowledged" // by its recipient
	GivenUp      State = "given up"     // for good, see Outcome.Err
	Expired      State = "expired"      // its deadline has passed, or comes before another try
)

// Outcome is what has become of one item, so far.
type Outcome struct {
	ID                          string // of the item
	MessageID, Thread, From, To string // as of store.Item
	State                       State
	// Awaits tells of an item that was sent that its ack is waited for.
	Awaits bool
	// Way is what the item went by: an endpoint, or ReturnRoute. It is empty where each
	// way failed, though the recipient has acknowledged the item.
	Way string
	// Attempts counts the tries so far.
	Attempts int
	// Err is why the item is queued again, or was given up: the last error of each
	// way. Of an item that arrived, Err is the problem that the recipient has
	// reported with it, if any.
	Err error
}

// ReturnRoute is the Way of an item that went by a connection which its recipient
// made.
const ReturnRoute = "return route"

// Ended tells whether nothing more becomes of the item by itself.
func (o Outcome) Ended() bool { return o.State != Queued && !o.Awaits }

// Arrived tells whether the recipient has the item, as far as can be known.
func (o Outcome) Arrived() bool {
	return o.State == Acknowledged || o.State == Sent && !o.Awaits
}

// String is one line for people.
func (o Outcome) String() string {
	s := string(o.State)
	if o.Way != "" {
		s += " by " + o.Way
	}
	if o.Awaits {
		s += ", not acknowledged yet"
	}
	if o.Err != nil {
		s += ": " + o.Err.Error()
	}
	return s
}

// ErrUndelivered matches each Error.
var ErrUndelivered = errors.New("message not delivered")

// Error is the Outcome of an item that did not arrive.
type Error struct{ Outcome Outcome }

// Error says what became of the item, and why.
func (e *Error) Error() string {
	if e.Outcome.Err == nil {
		return fmt.Sprintf("%v: %s", ErrUndelivered, e.Outcome.State)
	}
	return fmt.Sprintf("%v: %v", ErrUndelivered, e.Outcome.Err)
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Outcome.Err }

// Is makes every Error match ErrUndelivered.
func (e *Error) Is(target error) bool { return target == ErrUndelivered }

// OutcomeOf is what an outbox tells of an item.
func OutcomeOf(e store.Entry[store.Item]) Outcome {
	o := outcomeOf(&e.Item, e.Attempts)
	o.State = Queued
	if e.LastError != "" {
		o.Err = errors.New(e.LastError)
	}
	if e.State == store.Buried {
		o.State = GivenUp
		if strings.HasPrefix(e.LastError, errExpired.Error()) {
			o.State = Expired
		}
	}
	return o
}

// outcomeOf names an item.
func outcomeOf(it *store.Item, attempts int) Outcome {
	return Outcome{ID: it.ID, MessageID: it.MessageID, Thread: it.Thread, From: it.From, To: it.To, Attempts: attempts}
}

// errExpired begins the reason of an item that has expired: an outbox keeps no more
// of an outcome than its text.
var errExpired = errors.New("no further try before its deadline")

// expired is why an item ends at its deadline, given the last error of its tries.
func expired(err error, last string) error {
	if err == nil && last != "" {
		err = errors.New(last)
	}
	if err == nil {
		return errExpired
	}
	return fmt.Errorf("%w: %w", errExpired, err)
}

// Backoff is the delay between tries.
type Backoff struct {
	Min, Max time.Duration // the first delay, and the longest
}

// After is the delay after a failed attempt, attempts having failed before: doubling,
// and with up to half of it taken off at random, so that items that failed together do
// not return together.
func (b Backoff) After(attempts int) time.Duration {
	d := b.longest(attempts)
	return d - rand.N(d/2+1)
}

// longest is After with nothing taken off.
func (b Backoff) longest(attempts int) time.Duration {
	if b.Min > b.Max>>attempts { // the product may run over
		return b.Max
	}
	return b.Min << attempts
}
