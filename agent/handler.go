package agent

import (
	"context"
	"errors"
	"time"

	"github.com/didcomm-go/didcomm/agent/message"
)

// Handler handles messages. An error goes to the log; if it is, or wraps, a
// *message.Problem, that goes to the sender as a problem report, and if a Retry,
// the message is handled again later. The package says when else it is. The context
// ends after Config.HandlerTimeout, unless Responder.Extend moves that, or when the
// agent must stop, not when the connection ends that the message came by.
type Handler interface {
	HandleMessage(ctx context.Context, w Responder, in *Inbound) error
}

// HandlerFunc makes a Handler of a function.
type HandlerFunc func(ctx context.Context, w Responder, in *Inbound) error

// HandleMessage calls f.
func (f HandlerFunc) HandleMessage(ctx context.Context, w Responder, in *Inbound) error {
	return f(ctx, w, in)
}

// Responder answers one message, and is what a Handler knows of the call: it is valid
// until the Handler returns. A Handler around another may hand on one of its own that
// embeds the one that it got.
type Responder interface {
	// Reply sends m to the authenticated sender of the message, by the return
	// route if there is one, else as Send does. It fills what m leaves empty of
	// id, from, created_time, thid and pthid, sets to, and, in the first reply
	// to a message that has please_ack, ack. m itself is not changed. The reply
	// is authcrypted, with the sender protected if the message's was.
	//
	// Errors: ErrUnauthenticated, ErrNoRoute, those of the Packer and the Outbox. One
	// that may not last, as of an Outbox that is full, is a Retry: a Handler that
	// returns it is called again later. There is no error for a problem report, an ack
	// or a ping-response that is left out, and logged, because the sender has had too
	// many (Config.ReportBurst, Config.AnswerBurst).
	Reply(ctx context.Context, m *message.Message) error
	// Commit makes what the Handler has done take effect, all of it or nothing: records
	// change, messages are in the outbox, and the message is handled. It is the last thing
	// that a Handler does; a crash before leaves the message to be handled again, with the
	// records as they were. A message of c.Send without a recipient is a reply, as of
	// Reply; a reply that goes by the connection of the message is stored with the message
	// first and written then.
	//
	// Errors: store.ErrVersion where another changed a record meanwhile, others of the
	// Store, and those of Reply and Agent.Send. All but those that will last are a Retry:
	// a Handler that returns the error is called again.
	Commit(ctx context.Context, c Changes) error
	// Agent is the agent that runs the Handler.
	Agent() *Agent
	// Attempt is 1 when the message is handled for the first time. It counts those
	// that a Retry, or the end of the process, cut short.
	Attempt() int
	// Extend gives the Handler until d from now: the deadline of its context moves
	// there, if that is later, and the message stays with this process as long. A
	// message is handled for Config.MaxHandling at most.
	//
	// Errors: ErrBusy if that is not enough; context.DeadlineExceeded if the deadline
	// has passed, context.Canceled if the agent stops; store.ErrLease if another
	// process has the message by now; those of the Inbox. The deadline then stays.
	Extend(ctx context.Context, d time.Duration) error
	// Connection is the connection that the message came by, if that outlives the
	// message and is that of its authenticated sender as far as anybody can tell;
	// else nil.
	Connection() *Connection
}

// Retry is what a Handler returns when the message may be handled well later: it
// is handled again after a delay, at least after, and set aside when it has
// failed Config.MaxTries times, of which the sender is told. Until then the
// sender hears no more than the ack that it asked for. With after of 0 the delay
// is that of failed deliveries.
func Retry(after time.Duration, err error) error { return &retryError{after, err} }

type retryError struct {
	after time.Duration
	err   error
}

func (e *retryError) Error() string { return e.err.Error() }
func (e *retryError) Unwrap() error { return e.err }

// errForGood is in the cause of a problem that is ours: the message is set aside.
var errForGood = errors.New("handler failed for good")
