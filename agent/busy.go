package agent

import (
	"context"
	"errors"
	"time"

	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/transport"
)

// busyDelay is when a peer may come again whose message could not be taken.
const busyDelay = 10 * time.Second

// later asks the peer to come again.
func later(cause error) error {
	return &transport.BusyError{RetryAfter: busyDelay, Err: cause}
}

// untold is err for a connection that has no words for "later": a session whose
// peer was not told so by a message has to end, which an error of no class does.
func untold(w transport.Replier, err error) error {
	var busy *transport.BusyError
	if _, ok := w.(transport.Session); ok && errors.As(err, &busy) {
		return busy.Err
	}
	return err
}

// isSession tells whether what comes by w comes by a connection that lives on, and gives
// no receipt.
func isSession(w transport.Replier) bool {
	_, ok := w.(transport.Session)
	return ok
}

// isBusyFor tells whether a message says that its sender was too busy to take one of
// ours that waits for its ack.
func (a *Agent) isBusyFor(in *Inbound) bool {
	return in.Authenticated() && in.addressed() && isBusy(in.Message) && a.delivery.Awaits(in.To, in.From, subject(in.Message))
}

// busy tells the peer to try again, for there is no room or the inbox fails: by
// HTTP with the error that it returns, on other connections with a problem report,
// which does not count towards the thread's problems. A peer that cannot be told so is
// told by the end of the connection.
func (a *Agent) busy(ctx context.Context, w transport.Replier, in *Inbound, cause error) error {
	return a.busyFor(ctx, w, in, busyDelay, cause)
}

// busyFor is busy for a while.
func (a *Agent) busyFor(ctx context.Context, w transport.Replier, in *Inbound, delay time.Duration, cause error) error {
	var busy error = &transport.BusyError{RetryAfter: delay, Err: cause}
	if _, ok := w.(transport.Session); !ok {
		return busy
	}
	if in.Authenticated() && !isProblemReport(in.Message) && !isEmpty(in.Message) {
		report, err := ProblemReport(message.NewProblem(codeBusy, cause), in.Message)
		if err == nil {
			report.Ack = nil // since we do not have it
			err = (&responder{a: a, w: w, in: in, here: true, acked: true, busy: true}).reply(ctx, report)
		}
		if err == nil {
			return busy
		}
	}
	return untold(w, busy)
}
