package agent

import (
	"context"
	"fmt"
	"time"

	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/transport"
)

// maxAhead is how far in the future the created_time of a message may be. It allows for
// peers that take their local time for UTC.
const maxAhead = 24 * time.Hour

// codeCreated is the code of the problem report about a message that checkAge refuses.
const codeCreated = "e.p.msg.created-time"

// checkAge refuses a message whose created_time is so old that the inbox may have forgotten
// the message, or so far in the future that the inbox would forget the message too early.
// Otherwise the message could be handled again. A message that is not remembered, such as an
// ack, is not refused, nor is the answer to a Request, which cannot be handled twice.
func (a *Agent) checkAge(ctx context.Context, w transport.Replier, in *Inbound) error {
	created, window := createdTime(in.Message), a.cfg.ReplayWindow
	if created.IsZero() || isAck(in.Message) || a.inCustody(in) || a.requests.waitFor(in) {
		return nil
	}
	if in.mail {
		window = a.cfg.MailWindow
	}
	reason := ""
	switch age := a.cfg.Now().Sub(created); {
	case age >= window:
		reason = fmt.Sprintf("message too old: its created_time is more than %v ago", window)
	case age < -maxAhead:
		reason = fmt.Sprintf("the created_time of the message is more than %v in the future", maxAhead)
	default:
		return nil
	}
	if isSession(w) { // gives no receipts
		a.tellBack(ctx, w, in, &message.Problem{Code: codeCreated, Comment: reason})
	}
	return &transport.RejectError{Reason: reason}
}

// rememberUntil returns when the inbox may forget a message that arrives now. checkAge
// refuses the message from then on. If mail is taken, a message that has arrived directly
// may arrive as mail once more.
func (a *Agent) rememberUntil(now time.Time, m *message.Message) time.Time {
	if created := createdTime(m); created.After(now) {
		now = created
	}
	return now.Add(max(a.cfg.ReplayWindow, a.cfg.MailWindow))
}

// createdTime returns the created_time of a message, or a zero time if there is none. Some
// libraries write 0 for none.
func createdTime(m *message.Message) time.Time {
	if m.CreatedTime.Unix() == 0 {
		return time.Time{}
	}
	return m.CreatedTime
}
