package delivery

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/didcomm-go/didcomm/agent/store"
)

// State is the state of an item.
type State string

// The states of an item. All of them are final, except for Queued, and for Sent while
// Outcome.Awaits is true.
const (
	Queued       State = "queued"       // not tried yet, or to be retried
	Sent         State = "sent"         // accepted by Outcome.Way
	Acknowledged State = "acknowledged" // acknowledged by its recipient
	GivenUp      State = "given up"     // failed for good, see Outcome.Err
	Expired      State = "expired"      // not delivered before its deadline
)

// Outcome is the state of an item at some time.
type Outcome struct {
	ID                          string // ID of the store.Item
	MessageID, Thread, From, To string // the same as in the store.Item
	State                       State
	// Awaits reports whether an item with state Sent waits for its ack.
	Awaits bool
	// Way is the endpoint that accepted the item, or ReturnRoute. It is empty if every
	// route failed, even if the recipient has acknowledged the item nevertheless.
	Way string
	// Mediated reports whether Way is the endpoint of a mediator, which is to forward the
	// item. A mediator does not say whether it has done so: that the recipient has the item
	// is unconfirmed.
	Mediated bool
	// Attempts is the number of tries so far.
	Attempts int
	// Err is the reason why the item is queued again or has failed: the last error of
	// each route. For an item that was delivered, Err is the problem that the recipient
	// has reported about it, if any, or that the mediator has reported about its forward.
	Err error
}

// ReturnRoute is the Outcome.Way of an item that was sent on a connection which its
// recipient opened.
const ReturnRoute = "return route"

// Ended reports whether the state is final.
func (o Outcome) Ended() bool { return o.State != Queued && !o.Awaits }

// Arrived reports whether the recipient has the item, as far as this can be known. An item
// that a mediator has counts as arrived: see Mediated.
func (o Outcome) Arrived() bool {
	return o.State == Acknowledged || o.State == Sent && !o.Awaits
}

// String returns the state, the way and the error as text.
func (o Outcome) String() string {
	s := string(o.State)
	if o.Way != "" {
		s += " by " + o.Way
	}
	if o.Mediated {
		s += ", a mediator, unconfirmed"
	}
	if o.Awaits {
		s += ", not acknowledged yet"
	}
	if o.Err != nil {
		s += ": " + o.Err.Error()
	}
	return s
}

// ErrUndelivered is matched by every [Error].
var ErrUndelivered = errors.New("message not delivered")

// Error is the error for an item that was not delivered.
type Error struct{ Outcome Outcome }

// Error returns the cause, or the state if there is no cause.
func (e *Error) Error() string {
	if e.Outcome.Err == nil {
		return fmt.Sprintf("%v: %s", ErrUndelivered, e.Outcome.State)
	}
	return fmt.Sprintf("%v: %v", ErrUndelivered, e.Outcome.Err)
}

// Unwrap returns the cause, Outcome.Err.
func (e *Error) Unwrap() error { return e.Outcome.Err }

// Is reports whether target is ErrUndelivered.
func (e *Error) Is(target error) bool { return target == ErrUndelivered }

// OutcomeOf returns the outcome of an item in an outbox.
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

// outcomeOf returns an Outcome of an item, without state.
func outcomeOf(it *store.Item, attempts int) Outcome {
	return Outcome{ID: it.ID, MessageID: it.MessageID, Thread: it.Thread, From: it.From, To: it.To, Attempts: attempts}
}

// errExpired begins the error text of an expired item. OutcomeOf recognizes an expired
// item by it, because an outbox only stores the text of an error.
var errExpired = errors.New("no further try before its deadline")

// expired returns the error of an expired item, given the last error of its tries.
func expired(err error, last string) error {
	if err == nil && last != "" {
		err = errors.New(last)
	}
	if err == nil {
		return errExpired
	}
	return fmt.Errorf("%w: %w", errExpired, err)
}

// Backoff is an exponential delay between tries.
type Backoff struct {
	Min, Max time.Duration // the first delay, and the longest delay
}

// After returns the delay after a failed try, if attempts tries have failed before it.
// The delay doubles with each try, up to Max. It is reduced by a random part of up to a
// half, so that items that failed together are not retried together.
func (b Backoff) After(attempts int) time.Duration {
	d := b.longest(attempts)
	return d - rand.N(d/2+1)
}

// longest is After without the random reduction.
func (b Backoff) longest(attempts int) time.Duration {
	if b.Min > b.Max>>attempts { // avoids an overflow of b.Min<<attempts
		return b.Max
	}
	return b.Min << attempts
}
