package agent

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/transport"
)

// ServePacket implements transport.Handler. It returns when the message is accepted
// and has its place: a free handler, or one in the lane of its transport.Session.
// handled is closed when the handler has returned and the message is settled. It is
// nil for what no handler gets. Without an error the message is in the inbox, was
// handled, or was dropped. Errors:
//   - *transport.RejectError: the packet cannot be opened, or is not let in. Its
//     Reason does not tell why decryption failed.
//   - *transport.BusyError: there is no room, or the packet cannot be opened or stored
//     now but perhaps later, as when a DID or the database cannot be reached. A packet
//     that names a DID which cannot be reached, and that came by a transport.Session, is
//     parked instead, or dropped where too many are, without an error.
//   - ErrStopped: Run has ended.
//   - any other: as BusyError, where w is a transport.Session whose peer could not be
//     told. The connection has to end.
func (a *Agent) ServePacket(ctx context.Context, w transport.Replier, p transport.Packet) (handled <-chan struct{}, err error) {
	if !a.enter() {
		return nil, ErrStopped
	}
	defer a.leave()
	// A stranger's DID may take long to resolve: the agent does not wait for that
	// longer than for a handler.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(a.life, cancel)()
	u, err := a.cfg.Packer.Unpack(ctx, p.Data)
	if err != nil {
		if id := unreachable(err); id != "" && isSession(w) && a.life.Err() == nil {
			return nil, a.park(ctx, p, id, err)
		}
		return nil, untold(w, refusal(err))
	}
	in := a.inbound(ctx, u)
	in.Packet = p
	return a.accept(ctx, w, in)
}

// accept takes in a message that was opened: see ServePacket.
func (a *Agent) accept(ctx context.Context, w transport.Replier, in *Inbound) (handled <-chan struct{}, err error) {
	if md := &in.Metadata; !md.Encrypted && !in.Authenticated() && !a.cfg.AcceptPlaintext {
		return nil, &transport.RejectError{Reason: "plaintext messages are not accepted"}
	}
	if !a.current(ctx, in) {
		return nil, nil
	}
	switch ignore, err := a.meet(ctx, in); {
	case err != nil:
		return nil, a.busy(ctx, w, in, err)
	case ignore:
		return nil, nil
	}
	a.note(ctx, a.cfg.Trace.Opened, "message opened", in, 0, nil)
	if a.inCustody(in) {
		return nil, a.takeIn(ctx, w, in)
	}
	k, err := a.take(ctx, w, in)
	if err != nil {
		return nil, err
	}
	handed := k == nil
	defer func() {
		if !handed { // a panic, which the transport contains
			a.abandon(ctx, k)
		}
	}()
	// Not before, or a message would be acked by an answer that is lost.
	heard := a.hear(in)
	if k == nil {
		return nil, nil
	}
	a.note(ctx, a.cfg.Trace.Accepted, "message accepted", in, 0, nil)
	a.bind(ctx, w, in)

	// From here on the message is ours: it is handled even if the connection
	// that it came by ends.
	ctx = context.WithoutCancel(ctx)
	if isProblemReport(in.Message) && in.Authenticated() {
		a.problems.count(in)
	}
	if k.request != nil {
		handed = true
		k.request.answer <- in
		(&responder{a: a, w: w, in: in}).acknowledge(ctx)
		return nil, nil
	}
	if isProblemReport(in.Message) && a.cfg.Trace.Problem != nil {
		a.cfg.Trace.Problem(ctx, a.event(in, 0, nil), message.ReadProblem(in.Message.Body))
	}
	if a.cfg.Guest {
		handed = true
		return nil, a.leaveBe(ctx, k, heard)
	}
	transport.TurnOf(ctx).Wait(ctx)
	handled, err = a.place(ctx, w, k)
	handed = true
	return handled, err
}

// abandon lets go of a message that was taken in and has not come to anybody: a
// Request waits on, and what is to be handled comes back from the inbox.
func (a *Agent) abandon(ctx context.Context, k *pending) {
	a.requests.giveBack(k.request)
	a.nak(ctx, k, 0, "")
}

// leaveBe leaves a message to the agent whose guest this one is, unless that
// concerns only what is being sent here.
func (a *Agent) leaveBe(ctx context.Context, k *pending, heard bool) error {
	if heard || isEmpty(k.in.Message) {
		a.settle(ctx, k, nil, nil)
		return nil
	}
	a.note(ctx, a.cfg.Trace.Parked, "message left in the inbox", k.in, 0, errGuest)
	a.nak(ctx, k, 0, "")
	return nil
}

var errGuest = errors.New("left to the agent whose guest this one is")

// refusal is what the peer learns of an Unpack that failed: everything that the
// cryptography says reads the same. A failure of our own, or of the moment, is not
// a refusal but a *transport.BusyError, so that the peer tries again.
func refusal(err error) error {
	reason := "message cannot be opened" // ErrNotForUs, ErrRefused
	switch {
	case errors.Is(err, envelope.ErrTryLater), errors.Is(err, envelope.ErrInternal):
		return later(fmt.Errorf("unpack: %w", err))
	case errors.Is(err, envelope.ErrMalformed):
		reason = malformed(err)
	}
	return &transport.RejectError{Reason: reason, Err: err}
}

// malformed tells a peer which limit its envelope passes, if one.
func malformed(err error) string {
	switch {
	case errors.Is(err, message.ErrInvalid):
	case errors.Is(err, envelope.ErrTooLarge):
		return "message too large"
	case errors.Is(err, envelope.ErrTooDeep):
		return "message too deeply nested"
	case errors.Is(err, envelope.ErrTooManyRecipients):
		return "too many recipients"
	case errors.Is(err, envelope.ErrTooManySignatures):
		return "too many signatures"
	}
	return "malformed message"
}

// current drops, silently towards the peer, what has expired, or belongs to a thread
// that failed too often and is no answer to a Request.
func (a *Agent) current(ctx context.Context, in *Inbound) bool {
	m := in.Message
	if !m.ExpiresTime.IsZero() && a.cfg.Now().After(m.ExpiresTime) {
		in.log(a.cfg.Logger).WarnContext(ctx, "dropped an expired message", "expires_time", m.ExpiresTime)
		return false
	}
	if in.Authenticated() && a.problems.over(in) && !a.requests.waitFor(in) {
		in.log(a.cfg.Logger).WarnContext(ctx, "dropped a message of a thread with too many problems", "thid", m.Thread())
		return false
	}
	if len(m.To) > 0 && !in.addressed() {
		// Perhaps passed on by its recipient. It must not be refused for that
		// (Message Headers, to).
		in.log(a.cfg.Logger).WarnContext(ctx, "a message names other recipients only", "recipients", len(m.To))
	}
	return true
}

// take stores a message, so that it is handled whatever happens to this process.
// It returns nil if there is nothing to do, as for one that was here before.
func (a *Agent) take(ctx context.Context, w transport.Replier, in *Inbound) (*pending, error) {
	now := a.cfg.Now()
	k := &pending{in: in, key: in.key(in.Message.ID), request: a.requests.claim(in)}
	if isAck(in.Message) {
		return k, nil // a second one changes nothing
	}
	m := store.Received{
		Sender: in.pair(), ID: foldID(in.Message.ID), Peer: party(in.From),
		To: in.To, Type: in.Message.Type, Thread: in.Message.Thread(),
		Time: now, Until: now.Add(a.cfg.ReplayWindow),
	}
	if s := a.cfg.Shares(in.To).Inbox; s != (store.Share{}) {
		m.Owner, m.OwnerShare = party(in.To), s
	}
	hold, busy := time.Duration(0), k.request == nil && a.isBusyFor(in)
	if k.request == nil && !busy {
		m.Packet, hold = store.Packet(in.Packet), a.leaseTime()
	}
	// If the connection ends meanwhile, the message must not stay behind in the
	// inbox with a lease that nobody knows of.
	add, cancel := a.lasting(ctx)
	defer cancel()
	lease, known, err := a.inbox.Add(add, m, hold)
	switch {
	case known != nil:
		a.requests.giveBack(k.request)
		in.log(a.cfg.Logger).InfoContext(ctx, "dropped a message that was here before", "state", known.State)
		return nil, a.replyAgain(ctx, w, in, known)
	case err != nil && k.request != nil:
		// The Request gets it. Should it come again, it is taken for new.
		in.log(a.cfg.Logger).ErrorContext(ctx, "an answer was not remembered", "error", err)
	case err != nil:
		return nil, a.busy(ctx, w, in, fmt.Errorf("inbox: %w", err))
	case busy:
		a.delivery.Busy(in.To, in.From, subject(in.Message))
		return nil, nil
	}
	if k.lease = lease; lease != nil {
		a.pending.add(k)
	}
	return k, nil
}

// lasting is ctx without its end; it ends with the agent.
func (a *Agent) lasting(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(a.life, cancel)
	return ctx, func() { stop(); cancel() }
}
