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

// ServePacket implements transport.Handler. Without an error, the message is in the
// inbox, was handled, or was dropped. ServePacket returns when a Handler can be called
// for the message, or when the message has its place in its lane. The channel handled is closed when
// the Handler has returned and the inbox has the result. It is nil if no Handler is
// called.
//
// A packet from a transport.Session that cannot be opened because a DID cannot be reached
// is parked (see Config.MaxParked). If too many are parked it is dropped. There is no
// error in either case.
//
// Errors:
//   - *transport.RejectError if the packet cannot be opened, or the message is refused. The
//     Reason does not say why decryption failed.
//   - *transport.BusyError if there is no room, or if the packet cannot be opened or stored
//     now, for example because a DID or a database cannot be reached.
//   - [ErrStopped] if Run has ended, or is about to end.
//   - Any other error if w is a transport.Session whose peer could not be asked to send the
//     message again. The transport must end the connection.
func (a *Agent) ServePacket(ctx context.Context, w transport.Replier, p transport.Packet) (handled <-chan struct{}, err error) {
	return a.receive(ctx, w, p, false)
}

// ServeMail is ServePacket for a packet that a mediator of ours has kept, for example while
// this agent was off. The message in it may be as old as Config.MailWindow. Replies do not
// leave by the connection to the mediator.
//
// Errors are those of ServePacket, and an error if Config.MailWindow is not set. After a
// *transport.RejectError the mediator need not keep the packet any longer. After any other
// error it must.
func (a *Agent) ServeMail(ctx context.Context, p transport.Packet) (handled <-chan struct{}, err error) {
	if a.cfg.MailWindow == 0 {
		return nil, errors.New("agent: Config.MailWindow is not set")
	}
	return a.receive(ctx, transport.NoReply{}, p, true)
}

// Packet is a transport.Packet, for packages that know no transports.
type Packet = transport.Packet

// Refused reports whether an error of [Agent.ServeMail] says that the packet is refused for
// good, and why: the error is a *transport.RejectError.
func Refused(err error) (reason string, ok bool) {
	var reject *transport.RejectError
	if !errors.As(err, &reject) {
		return "", false
	}
	return reject.Reason, true
}

// receive opens and accepts a packet.
func (a *Agent) receive(ctx context.Context, w transport.Replier, p transport.Packet, mail bool) (handled <-chan struct{}, err error) {
	if !a.enter() {
		return nil, ErrStopped
	}
	defer a.leave()
	// The DID of a stranger may take long to resolve, but must not delay the end of Run.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(a.life, cancel)()
	u, err := a.cfg.Packer.Unpack(ctx, p.Data)
	if err != nil {
		if id := unreachable(err); id != "" && isSession(w) && a.life.Err() == nil {
			return nil, a.park(ctx, p, id, err)
		}
		if unopened := a.unopened(ctx, p, err); unopened != nil && !mail {
			return nil, a.takeUnopened(ctx, w, unopened)
		}
		return nil, sessionError(w, refusal(err))
	}
	in, err := a.inbound(ctx, u)
	if err != nil {
		return nil, sessionError(w, refusal(err))
	}
	in.Packet, in.Address, in.mail = p, transport.PeerOf(ctx), mail
	return a.accept(ctx, w, in)
}

// accept accepts an opened message, as ServePacket describes.
func (a *Agent) accept(ctx context.Context, w transport.Replier, in *Inbound) (handled <-chan struct{}, err error) {
	if md := &in.Metadata; !md.Encrypted && !in.Authenticated() && !a.cfg.AcceptPlaintext {
		return nil, &transport.RejectError{Reason: "plaintext messages are not accepted"}
	}
	if in.linked() && party(in.replyDID()) == party(in.To) { // replies would come back to us, without end
		return nil, refusal(fmt.Errorf("%w: the new DID is ours", envelope.ErrFromPrior))
	}
	a.classify(ctx, in)
	if err := a.checkForms(ctx, w, in); err != nil {
		return nil, err
	}
	if !a.current(ctx, in) {
		return nil, nil
	}
	if err := a.checkAge(ctx, w, in); err != nil {
		return nil, err
	}
	switch ignore, err := a.updateContacts(ctx, in); {
	case err != nil:
		return nil, a.busy(ctx, w, in, err)
	case ignore:
		return nil, nil
	case in.prior != "": // a contact may have rotated to a DID that was a stranger
		a.classify(ctx, in)
	}
	a.learnFrom(ctx, in)
	a.note(ctx, a.cfg.Trace.Opened, "message opened", in, 0, nil)
	if a.inCustody(in) {
		return nil, a.takeCustody(ctx, w, in)
	}
	k, err := a.addToInbox(ctx, w, in)
	if err != nil {
		return nil, err
	}
	handed := k == nil
	defer func() {
		if !handed { // after a panic, from which the transport recovers
			a.abandon(ctx, k)
		}
	}()
	// Only now: an answer that is lost must not ack a message.
	problem := a.settleAcked(w, in)
	if k == nil {
		return nil, nil
	}
	a.note(ctx, a.cfg.Trace.Accepted, "message accepted", in, 0, nil)
	a.bind(ctx, w, in)

	// From here on, the message is handled even if its connection ends.
	ctx = context.WithoutCancel(ctx)
	if isProblemReport(in.Message) && in.fromPeer() {
		a.problems.of(in).count(in)
	}
	if k.request != nil {
		handed = true
		k.request.answer <- in
		(&responder{a: a, w: w, in: in}).acknowledge(ctx)
		return nil, nil
	}
	if isProblemReport(in.Message) && in.Addressed && a.cfg.Trace.Problem != nil {
		a.cfg.Trace.Problem(ctx, a.event(in, 0, nil), message.ReadProblem(in.Message.Body))
	}
	if a.cfg.Guest {
		handed = true
		return nil, a.leaveToHost(ctx, k, problem)
	}
	transport.TurnOf(ctx).Wait(ctx)
	handled, err = a.schedule(ctx, w, k)
	handed = true
	return handled, err
}

// abandon gives up a message that was stored, and then given neither to a Request nor to a
// Handler. The Request keeps waiting, and the inbox has the message again.
func (a *Agent) abandon(ctx context.Context, k *pending) {
	a.requests.giveBack(k.request)
	a.nak(ctx, k, 0, "")
}

// leaveToHost leaves a message in the inbox to the host of this guest, unless the message
// is empty or reports a problem about a message of the guest.
func (a *Agent) leaveToHost(ctx context.Context, k *pending, problem bool) error {
	if problem || isEmpty(k.in.Message) {
		a.settle(ctx, k, nil, nil)
		return nil
	}
	a.note(ctx, a.cfg.Trace.Parked, "message left in the inbox", k.in, 0, errGuest)
	a.nak(ctx, k, 0, "")
	return nil
}

var errGuest = errors.New("left to the host of this guest")

// refusal returns the error of ServePacket for an error of Unpack. All failures of
// cryptography have the same reason. For a failure of our own, or one that may not last,
// it returns a *transport.BusyError, so that the peer tries again.
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

// malformed returns the reason for ErrMalformed: which limit the envelope exceeds, if any.
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

// current reports whether a message has to be handled. It does not if the message has
// expired, or if its thread has too many problem reports and the message is not the
// answer to a Request. The peer is not told.
func (a *Agent) current(ctx context.Context, in *Inbound) bool {
	m := in.Message
	if !m.ExpiresTime.IsZero() && a.cfg.Now().After(m.ExpiresTime) {
		in.log(a.cfg.Logger).WarnContext(ctx, "dropped an expired message", "expires_time", m.ExpiresTime)
		a.note(ctx, a.cfg.Trace.Dropped, "message dropped", in, 0, errExpired)
		return false
	}
	if in.fromPeer() && a.problems.of(in).over(in) && !a.requests.waitFor(in) {
		in.log(a.cfg.Logger).WarnContext(ctx, "dropped a message of a thread with too many problems", "thid", m.Thread())
		a.note(ctx, a.cfg.Trace.Dropped, "message dropped", in, 0, errTooManyProblems)
		return false
	}
	if !in.Addressed {
		// It must not be refused (DIDComm v2.1, Message Headers, to).
		in.log(a.cfg.Logger).WarnContext(ctx, "a message was not sent to us, and may have been passed on by its recipient", "recipients", len(m.To))
	}
	return true
}

// The reasons to drop a message, for Trace.
var (
	errExpired         = errors.New("the message has expired")
	errTooManyProblems = errors.New("the thread has too many problem reports")
)

// addToInbox adds a message to the inbox, so that it is handled even if this process
// ends. It returns nil if the message needs no handling, for example because it has
// arrived before.
func (a *Agent) addToInbox(ctx context.Context, w transport.Replier, in *Inbound) (*pending, error) {
	if isDejavu(in.Message) {
		in.log(a.cfg.Logger).DebugContext(ctx, "the peer has got a message before", "thread", subject(in.Message))
		return nil, nil
	}
	now := a.cfg.Now()
	source := in.source()
	k := &pending{in: in, key: keyOf(source, in.Message.ID), request: a.requests.claim(in)}
	if isAck(in.Message) {
		return k, nil // not stored, since an ack can be handled twice
	}
	m := store.Received{
		Sender: source, ID: foldID(in.Message.ID), Class: in.class,
		To: in.To, Type: in.Message.Type, Thread: in.Message.Thread(),
		Time: now, Until: a.rememberUntil(now, in.Message),
	}
	if in.fromPeer() { // otherwise it takes the share of all anonymous messages
		m.Peer = party(in.From)
	}
	if s := a.cfg.Shares(in.To).Inbox; s != (store.Share{}) {
		m.Owner, m.OwnerShare = party(in.To), s
	}
	hold, busy := time.Duration(0), k.request == nil && a.isBusyFor(in)
	if k.request == nil && !busy {
		m.Packet, hold = store.Packet(in.Packet), a.leaseTime()
	}
	// If the connection ended during Add, the message could be in the inbox with a lease
	// that nobody has.
	add, cancel := a.detached(ctx)
	defer cancel()
	lease, known, err := a.inbox.Add(add, m, hold)
	switch {
	case known != nil:
		a.requests.giveBack(k.request)
		in.log(a.cfg.Logger).InfoContext(ctx, "dropped a message that has arrived before", "state", known.State)
		return nil, a.replyToDuplicate(ctx, w, in, known)
	case err != nil && k.request != nil:
		// The Request gets the answer. If it arrives again, it counts as new.
		in.log(a.cfg.Logger).ErrorContext(ctx, "answer to a request not stored in the inbox", "error", err)
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

// detached returns a context with the values of ctx that ends with the Agent, and not
// with ctx.
func (a *Agent) detached(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(a.life, cancel)
	return ctx, func() { stop(); cancel() }
}
