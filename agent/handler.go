package agent

import (
	"context"
	"errors"
	"time"

	"github.com/didcomm-go/didcomm/agent/message"
)

// Handler handles received messages. It may be called from several goroutines.
//
// HandleMessage returns one of these:
//   - nil: the message is handled;
//   - an error that is or wraps a *message.Problem: the message is handled, and the sender
//     gets a problem report, within the limits that the package documentation describes;
//   - a [Retry]: HandleMessage is called again later;
//   - any other error: the message is set aside for a person to look at.
//
// Every error is logged.
//
// The context ends after Config.HandlerTimeout, unless Responder.Extend moves the deadline.
// It also ends when the Agent stops. It does not end when the connection of the message
// ends.
type Handler interface {
	HandleMessage(ctx context.Context, w Responder, in *Inbound) error
}

// HandlerFunc is a function that is a [Handler].
type HandlerFunc func(ctx context.Context, w Responder, in *Inbound) error

// HandleMessage calls f.
func (f HandlerFunc) HandleMessage(ctx context.Context, w Responder, in *Inbound) error {
	return f(ctx, w, in)
}

// Responder answers the message that a [Handler] is called for. It is valid until the
// Handler returns. A Handler that calls another Handler may pass it a Responder of its own,
// which embeds the Responder that it got.
type Responder interface {
	// Reply sends m to the authenticated sender of the message. The reply leaves by the
	// connection of the message if the message asks for that (return_route), or if the
	// sender has no endpoint. Otherwise it leaves as with [Agent.Send]. The reply is
	// authcrypted, and its sender is protected if that of the message was.
	//
	// If the sender has rotated to another DID after the message, the reply is sent to that
	// DID.
	//
	// In the reply, Reply sets to, and it sets id, typ, from, created_time, thid and pthid
	// if they are empty. In the first reply to a message that has please_ack, it sets ack.
	// It does not change m. from is the DID that the message was sent to, or the DID that its to
	// header names instead, after a rotation of ours.
	//
	// Errors are [ErrUnauthenticated] if the message has no authenticated sender,
	// [ErrAnswerLimit] if the sender is a stranger and the answers are too long,
	// [ErrNoRoute], contact.ErrEnded if the sender has ended the relationship, and errors
	// of the Packer and of the Store. An error that may not last, for example of a full
	// outbox, is a [Retry], so that a Handler which returns the error is called again.
	//
	// A problem report, an ack or a ping response is not sent if the sender has had too many
	// of them (Config.ReportBurst, Config.AnswerBurst), or if the sender is a stranger and
	// the outbox has no more room for strangers. The Agent then logs this, and Reply returns
	// nil.
	Reply(ctx context.Context, m *message.Message) error
	// ReplyWithin is Reply. If the reply leaves as with [Agent.Send], ReplyWithin also waits
	// until the first try to deliver the reply has ended, for d at most. So a peer that gets
	// an answer to its POST has the reply already, in most cases. The result of the try is
	// not in the error: delivery goes on.
	ReplyWithin(ctx context.Context, m *message.Message, d time.Duration) error
	// Commit makes the results of the Handler durable, all of them or none: the changed
	// records, the messages to send, and that the message is handled. Call Commit last. If
	// the process ends before Commit, the records are unchanged and the message is handled
	// again. An error that the Handler returns after Commit does not undo these results.
	//
	// A message in c.Send that has no recipient is a reply, as with Reply. A reply that
	// leaves by the connection of the message is stored with the message, and is then
	// written to the connection. Do not call Reply before Commit: a Handler that is called
	// again would send the reply again.
	//
	// Errors are store.ErrVersion if a record has changed since it was read, other errors
	// of the Store, and errors of Reply and [Agent.Send]. An error that may not last is a
	// [Retry], so that a Handler which returns the error is called again. After
	// store.ErrVersion the Handler is called again at once.
	Commit(ctx context.Context, c Changes) error
	// Agent returns the Agent that calls the Handler.
	Agent() *Agent
	// Attempt returns 1 when the message is handled for the first time. Each earlier try
	// that ended with a [Retry], or because the process ended, adds 1.
	Attempt() int
	// Extend moves the deadline of the Handler's context to d from now, if that is later
	// than the current deadline. A message can be handled for Config.MaxHandling at most.
	//
	// After an error the deadline stays as it was. The error matches
	//   - [ErrBusy] if the new deadline would exceed Config.MaxHandling;
	//   - context.DeadlineExceeded if the deadline has passed;
	//   - context.Canceled if the Agent stops;
	//   - store.ErrLease if another process handles the message now;
	//   - errors of the inbox.
	Extend(ctx context.Context, d time.Duration) error
	// Connection returns the connection that the message arrived by. It returns nil if
	// the connection ends with the message, as in HTTP, or if the connection may belong to
	// another party than the authenticated sender of the message.
	Connection() *Connection
}

// Retry returns the error of a [Handler] that could not handle a message, but may be able
// to later. The Handler is called again after a delay, which begins with Config.MinBackoff,
// doubles with each try up to Config.MaxBackoff, and is never shorter than after.
//
// Until then the sender gets the ack that it has asked for, and nothing else. After
// Config.MaxTries tries the message is set aside, and the sender gets a problem report.
//
// The error wraps err, and has its text.
func Retry(after time.Duration, err error) error { return &retryError{after: after, err: err} }

// RetryLimit is Retry for a message that is over a limit, for a Handler that has custody of the
// message (Protocol.Custody). The sender is told the name of the limit. Over HTTP, the status is
// 429 for a rate, which is a limit of messages in a time, and otherwise 503.
func RetryLimit(after time.Duration, limit string, rate bool, err error) error {
	return &retryError{after, err, limit, rate}
}

type retryError struct {
	after time.Duration
	err   error
	limit string // that the sender is told; empty if the message is not over a limit
	rate  bool
}

func (e *retryError) Error() string { return e.err.Error() }
func (e *retryError) Unwrap() error { return e.err }

// errForGood is wrapped by the Problem of a message that is set aside, because its Handler
// panicked or has failed Config.MaxTries times.
var errForGood = errors.New("handler failed for good")
