package agent

import (
	"context"
	"errors"
	"time"

	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/transport"
)

// busyDelay is the delay after which a peer may send a message again that was not accepted.
const busyDelay = 10 * time.Second

// later returns the error of ServePacket that asks the peer to send the message again
// later.
func later(cause error) error {
	return &transport.BusyError{RetryAfter: busyDelay, Err: cause}
}

// sessionError returns err for a Replier that is not a Session. On a Session, a BusyError
// would not reach a peer that was not told by a message. Therefore sessionError returns
// the cause of a BusyError, which makes the transport end the connection.
func sessionError(w transport.Replier, err error) error {
	var busy *transport.BusyError
	if _, ok := w.(transport.Session); ok && errors.As(err, &busy) {
		return busy.Err
	}
	return err
}

// isSession reports whether w is a Session: it can be used after the message, and gives no
// receipts.
func isSession(w transport.Replier) bool {
	_, ok := w.(transport.Session)
	return ok
}

// isBusyFor reports whether in says that its sender could not accept a message of ours
// now, and that message waits for its ack.
func (a *Agent) isBusyFor(in *Inbound) bool {
	return in.fromPeer() && isBusy(in.Message) && a.delivery.Awaits(in.To, in.From, subject(in.Message))
}

// busy asks the peer to send a message again later, because there is no room or the inbox
// fails. Over HTTP, the returned error does that. On a Session, a problem report does,
// which does not count as a report of the thread. If the report cannot be sent, the
// returned error makes the transport end the connection.
func (a *Agent) busy(ctx context.Context, w transport.Replier, in *Inbound, cause error) error {
	return a.busyFor(ctx, w, in, &transport.BusyError{RetryAfter: busyDelay, Err: cause})
}

// busyFor is busy with an error that has more than a cause.
func (a *Agent) busyFor(ctx context.Context, w transport.Replier, in *Inbound, busy *transport.BusyError) error {
	if _, ok := w.(transport.Session); !ok {
		return busy
	}
	p := message.NewProblem(codeBusy, busy.Err)
	if busy.Reason != "" {
		p.Comment, p.Args = p.Comment+" {1}", []string{busy.Reason}
	}
	if a.tellBack(ctx, w, in, p) {
		return busy
	}
	return sessionError(w, busy)
}

// tellBack reports, by the connection of a message, why the message is not accepted. The
// report does not count as a report of the thread. tellBack returns whether the report was
// sent.
func (a *Agent) tellBack(ctx context.Context, w transport.Replier, in *Inbound, p *message.Problem) bool {
	if !in.fromPeer() || isProblemReport(in.Message) || isEmpty(in.Message) {
		return false
	}
	report, err := ProblemReport(p, in.Message)
	if err != nil {
		return false
	}
	report.Ack = nil // since the message is not accepted
	return (&responder{a: a, w: w, in: in, onlyBack: true, acked: true, refusing: true}).reply(ctx, report, 0) == nil
}
