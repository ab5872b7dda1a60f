package agent

import (
	"context"
	"log/slog"

	"github.com/didcomm-go/didcomm/agent/delivery"
	"github.com/didcomm-go/didcomm/agent/message"
)

// Trace has functions that an Agent calls when the state of a message changes, for
// example to count messages. A function that is nil is not called. The functions may be
// called from several goroutines, and the Agent waits until they return. They do not get
// the content of messages, except for the problem in a problem report.
type Trace struct {
	// Opened is called when a received message is opened, and is not dropped or refused.
	Opened func(context.Context, Event)
	// Dropped is called when a received message is opened, and is neither handled nor
	// refused. Event.Err is the reason, for example contact.ErrLeft.
	Dropped func(context.Context, Event)
	// Accepted is called when a received message is stored in the inbox, or is the answer
	// to a Request. It is not called for a message in custody (Protocol.Custody).
	Accepted func(context.Context, Event)
	// Parked is called when a received message stays in the inbox, to be opened or handled
	// later. Event.Err is the reason.
	Parked func(context.Context, Event)
	// Handled is called when a received message is handled, or is set aside for a person to
	// look at. Event.Err is the error of the Handler, or the reason.
	Handled func(context.Context, Event)
	// Problem is called for a received problem report that does not answer a Request.
	Problem func(context.Context, Event, *message.Problem)

	// Queued is called when a message could not be sent. The Agent retries, except for a
	// message that was sent with the option [Once].
	Queued func(context.Context, Outcome)
	// Sent is called when a transport has accepted a message. Outcome.Awaits reports
	// whether its ack is waited for. Outcome.ID is empty for a message that was written to
	// a connection without the outbox, by Push or as a reply.
	Sent func(context.Context, Outcome)
	// Acknowledged is called when the recipient of a message has acknowledged it.
	Acknowledged func(context.Context, Outcome)
	// Buried is called when delivery of a message has failed for good, or the message has
	// expired. The call is missing if the process ends at that moment.
	Buried func(context.Context, Outcome)
}

// Event describes a received message to a [Trace].
type Event struct {
	ID, Type string
	// Thread is the thid of the message, or its id if it has no thid.
	Thread string
	// From is the DID that the sender has proven, or empty. To is the DID of ours that the
	// message was sent to.
	From, To string
	// Addressed reports whether the message was sent to us: see Inbound.Addressed.
	Addressed bool
	// Deviations are the deviations from the specification that were accepted.
	Deviations []message.Deviation
	// Attempt is 1 when the message is handled for the first time, and 0 before that.
	Attempt int
	// Err is the error that the field of Trace describes, or nil.
	Err error
}

// Outcome is the state of a message to one recipient.
type Outcome = delivery.Outcome

// note calls a hook of Trace, if it is not nil, and logs a received message at debug level.
func (a *Agent) note(ctx context.Context, hook func(context.Context, Event), what string, in *Inbound, attempt int, err error) {
	if hook == nil && !a.cfg.Logger.Enabled(ctx, slog.LevelDebug) {
		return
	}
	e := a.event(in, attempt, err)
	log := in.log(a.cfg.Logger)
	if len(e.Deviations) > 0 {
		log = log.With("deviations", e.Deviations)
	}
	if attempt > 0 {
		log = log.With("attempt", attempt)
	}
	if err != nil {
		log = log.With("error", err)
	}
	log.DebugContext(ctx, what)
	if hook != nil {
		hook(ctx, e)
	}
}

// event returns the Event of a message.
func (a *Agent) event(in *Inbound, attempt int, err error) Event {
	return Event{
		ID: in.Message.ID, Type: in.Message.Type, Thread: in.Message.Thread(), From: in.From, To: in.To,
		Addressed: in.Addressed, Deviations: in.Metadata.Deviations, Attempt: attempt, Err: err,
	}
}

// traceWritten reports to Trace and to the log that a message was written to a connection,
// without the outbox.
func (a *Agent) traceWritten(ctx context.Context, m *message.Message, to string) {
	a.traceOutcome(ctx, Outcome{
		MessageID: m.ID, Thread: foldID(subject(m)), From: m.From, To: to,
		State: delivery.Sent, Way: delivery.ReturnRoute, Attempts: 1,
	})
}

// traceOutcome reports the outcome of a message to Trace and to the log.
func (a *Agent) traceOutcome(ctx context.Context, o Outcome) {
	if a.cfg.Logger.Enabled(ctx, slog.LevelDebug) {
		a.cfg.Logger.DebugContext(ctx, "outgoing message "+string(o.State), "id", o.MessageID, "to", o.To, "by", o.Way,
			"attempts", o.Attempts, "awaits", o.Awaits, "error", o.Err)
	}
	hook := a.cfg.Trace.Buried
	switch o.State {
	case delivery.Queued:
		hook = a.cfg.Trace.Queued
	case delivery.Sent:
		hook = a.cfg.Trace.Sent
	case delivery.Acknowledged:
		hook = a.cfg.Trace.Acknowledged
	}
	if hook != nil {
		hook(ctx, o)
	}
}
