package agent

import (
	"context"
	"log/slog"

	"github.com/didcomm-go/didcomm/agent/delivery"
	"github.com/didcomm-go/didcomm/agent/message"
)

// Trace are hooks that are called as messages go their way; those that are nil are
// not. The agent waits for a hook, from many goroutines at the same time. No hook is
// given the content of a message, but for the problem that a report tells.
type Trace struct {
	// Opened is called for a message that was opened and let in.
	Opened func(context.Context, Event)
	// Accepted is called for one that the inbox has, or a Request was waiting for; not
	// for one that its handler takes into custody, which is accepted once Handled.
	Accepted func(context.Context, Event)
	// Parked is called for one that stays in the inbox to be opened, or handled,
	// later; Event.Err is why.
	Parked func(context.Context, Event)
	// Handled is called for one that was handled; Event.Err is what the Handler
	// returned. A message that is set aside for a person to see has an Err, too.
	Handled func(context.Context, Event)
	// Problem is called for a problem report that no Request was waiting for: it names
	// no thread, or that of a message without a Request.
	Problem func(context.Context, Event, *message.Problem)

	// Queued is called for a message that could not be sent and is tried again, or with
	// Once may be by the caller.
	Queued func(context.Context, Outcome)
	// Sent is called for one that has left; Outcome.Awaits tells that its ack is
	// waited for. Outcome.ID is empty for what was pushed, or went as a reply on the
	// connection that its message came by.
	Sent func(context.Context, Outcome)
	// Acknowledged is called for one that its recipient has acknowledged.
	Acknowledged func(context.Context, Outcome)
	// Buried is called for one that was given up, or has expired (but not if the
	// process ends in between).
	Buried func(context.Context, Outcome)
}

// Event is what a Trace learns of a message that came in.
type Event struct {
	ID, Type, Thread string
	// From is the DID that the sender has proven, or empty; To is ours.
	From, To string
	// Deviations are what was tolerated of the message.
	Deviations []message.Deviation
	// Attempt is 1 for a message that is handled for the first time; 0 before that.
	Attempt int
	Err     error
}

// Outcome is what has become of a message to one recipient, so far.
type Outcome = delivery.Outcome

// note tells of a message that came in: the hook, if there is one, and the log at
// debug.
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

func (a *Agent) event(in *Inbound, attempt int, err error) Event {
	return Event{
		ID: in.Message.ID, Type: in.Message.Type, Thread: in.Message.Thread(), From: in.From, To: in.To,
		Deviations: in.Metadata.Deviations, Attempt: attempt, Err: err,
	}
}

// wrote tells of a message that went to a party by a connection at hand, past the
// outbox.
func (a *Agent) wrote(ctx context.Context, m *message.Message, to string) {
	a.became(ctx, Outcome{
		MessageID: m.ID, Thread: foldID(subject(m)), From: m.From, To: to,
		State: delivery.Sent, Way: delivery.ReturnRoute, Attempts: 1,
	})
}

// became tells of a message that was to be sent.
func (a *Agent) became(ctx context.Context, o Outcome) {
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
