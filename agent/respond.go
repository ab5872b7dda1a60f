package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/didcomm-go/didcomm/agent/contact"
	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/transport"
)

// responder answers one message.
type responder struct {
	a  *Agent
	w  transport.Replier
	in *Inbound
	// onlyBack means that replies may only leave by the connection of the message.
	onlyBack bool
	// refusing means that the reply is a report that the message is not accepted.
	refusing bool

	// Of the call of the Handler; zero without such a call.
	pending  *pending
	handling *handling
	attempt  int

	mu      sync.Mutex     // guards all below
	acked   bool           // the acks that the message asks for were taken for a reply
	replies []store.Packet // that left by the connection of the message
	done    bool           // Commit has succeeded
	paid    []*rates       // limits that replies were counted for which were not committed
}

var _ Responder = (*responder)(nil)

// Agent implements [Responder].
func (r *responder) Agent() *Agent { return r.a }

// Attempt implements [Responder].
func (r *responder) Attempt() int { return r.attempt }

// limit returns the limit for a message like m, or nil for no limit. With back, m leaves
// by the connection of the message, and otherwise by the outbox. The response to a POST
// has no limit, since each costs the peer as much as us. Otherwise problem reports have a
// limit, and by the outbox also acks and ping-responses.
func (r *responder) limit(m *message.Message, back bool) *rates {
	_, open := r.w.(transport.Session)
	switch {
	case back && !open:
		return nil
	case isProblemReport(m) && !r.refusing:
		return r.a.reports.of(r.in)
	case isProblemReport(m), !back && (isEmpty(m) || isPong(m)):
		return r.a.answers.of(r.in)
	}
	return nil
}

// errOverLimit is matched by the error of a reply that exceeds a limit.
var errOverLimit = fmt.Errorf("%w: too many", ErrNotReported)

// overLimit logs that m is not sent, and returns the error of reply.
func (r *responder) overLimit(ctx context.Context, m *message.Message) error {
	r.in.log(r.a.cfg.Logger).InfoContext(ctx, "answer not sent, the sender has had too many answers", "answer", m.Type)
	return fmt.Errorf("%w to %s", errOverLimit, r.in.From)
}

// Reply implements Responder.
func (r *responder) Reply(ctx context.Context, reply *message.Message) error {
	return r.ReplyWithin(ctx, reply, 0)
}

// ReplyWithin implements Responder.
func (r *responder) ReplyWithin(ctx context.Context, reply *message.Message, d time.Duration) error {
	err := r.reply(ctx, reply, d)
	if errors.Is(err, errOverLimit) {
		return nil // logged already, and the Handler can do nothing about it
	}
	return retried(err)
}

// retried returns err as a Retry, if another try may succeed.
func retried(err error) error {
	if err == nil || isLasting(err) {
		return err
	}
	return Retry(0, err)
}

// isLasting reports whether an error of Reply would be the same in another try. Errors of a
// store, or of a resolver that cannot reach a DID, need not be the same.
func isLasting(err error) bool {
	return errors.Is(err, ErrUnauthenticated) || errors.Is(err, ErrNoRoute) ||
		errors.Is(err, transport.ErrNoReturnRoute) || errors.Is(err, message.ErrInvalid) ||
		errors.Is(err, envelope.ErrNotForUs) || errors.Is(err, envelope.ErrRefused) || errors.Is(err, contact.ErrEnded) ||
		errors.Is(err, store.ErrIndex) || errors.Is(err, ErrAnswerLimit)
}

// prepare returns a complete reply, and whether it may leave by the connection of the
// message. If acks is true, the reply has the acks that the message asks for. If such a
// reply cannot be sent, or there is an error, the caller must call r.restoreAcks.
func (r *responder) prepare(ctx context.Context, reply *message.Message) (m *message.Message, o *sendOptions, back returnRoute, acks bool, err error) {
	in, out := r.in, *reply
	m = &out
	m.To = []string{in.replyDID()}
	if m.From == "" {
		m.From = cmp.Or(in.named, in.To)
	}
	if !isProblemReport(m) || m.ParentThreadID == "" {
		if m.ThreadID == "" {
			m.ThreadID = in.Message.Thread()
		}
		if m.ParentThreadID == "" && m.ThreadID == in.Message.Thread() {
			m.ParentThreadID = in.Message.ParentThreadID
		}
	}
	if in.linked() {
		m.Ack = nil // as wantedAcks
	} else if len(m.Ack) == 0 || slices.Equal(m.Ack, []string{in.Message.ID}) {
		if ids := r.takeAcks(ctx); len(ids) > 0 {
			m.Ack, acks = ids, true
		}
	}
	o = optionsOf()
	o.from = m.From
	o.protect = in.hidesSender()
	r.a.complete(m, o)
	in.nameKeys(o)
	in.nameLongUnused(ctx, r.a, m, o)
	if !r.refusing { // that goes back in any case, even if nothing can be looked up
		peer := in.From
		if !in.linked() { // otherwise From could find out where a third party has rotated to
			if err := r.a.address(ctx, m); err != nil {
				return nil, nil, 0, acks, err
			}
			peer = m.To[0]
		}
		if err := r.classify(ctx, m.From, peer, o); err != nil {
			return nil, nil, 0, acks, err
		}
	}
	back = in.asksReturn(m)
	if back == returnUnspecified {
		// A sender without an endpoint can only be answered on the connection.
		if _, err := r.a.routes(ctx, m.To[0], o.class); errors.Is(err, ErrNoRoute) {
			back = returnYes
		}
	}
	if in.linked() && back != returnYes { // on the connection, From would see that a third party has ended the relationship
		if _, err := r.a.cfg.Contacts.Current(ctx, m.From, m.To[0]); err != nil {
			return nil, nil, 0, acks, err
		}
	}
	return m, o, back, acks, nil
}

// classify sets the class of a message from our DID own to the sender of the received
// message, which now uses the DID peer. It also sets the allowance if the peer is a stranger.
func (r *responder) classify(ctx context.Context, own, peer string, o *sendOptions) (err error) {
	o.class, err = r.a.classOf(ctx, own, peer)
	if o.class == store.ClassStranger && own != r.in.To { // perhaps the DID that was written to knows the peer
		o.class, err = r.a.classOf(ctx, r.in.To, r.in.From)
	}
	if o.class == store.ClassStranger {
		o.allowance = r.a.allowances.of(r.in)
	}
	return err
}

// packed returns the packet of a reply.
func (r *responder) packed(ctx context.Context, m *message.Message, o *sendOptions) (store.Packet, error) {
	e, err := r.a.pack(ctx, m, m.To[0], o)
	return store.Packet{MediaType: e.MediaType, Data: e.Data}, err
}

// reply is ReplyWithin, but its errors are not Retries and may match errOverLimit.
func (r *responder) reply(ctx context.Context, reply *message.Message, wait time.Duration) (err error) {
	if !r.in.Authenticated() {
		return ErrUnauthenticated
	}
	m, o, back, acks, err := r.prepare(ctx, reply)
	defer func() {
		if err != nil && acks {
			r.restoreAcks()
		}
	}()
	if err != nil {
		return err
	}
	if back != returnYes && r.onlyBack {
		return transport.ErrNoReturnRoute
	}
	var unsent *store.Packet
	var paid *rates
	if back == returnYes {
		if paid = r.limit(m, true); paid != nil && !paid.take(r.in) {
			return r.overLimit(ctx, m)
		}
		p, err := r.packed(ctx, m, o)
		if err != nil {
			return err
		}
		if !o.allowance.take(int64(len(p.Data))) {
			return fmt.Errorf("%w to %s", ErrAnswerLimit, m.To[0])
		}
		err = r.w.Reply(ctx, transport.Packet(p))
		if err == nil {
			r.keep(p)
			r.a.traceWritten(ctx, m, m.To[0])
			return nil
		}
		if r.onlyBack {
			return err
		}
		unsent = &p
		o.allowance.giveBack(int64(len(p.Data)))
	}
	if l := r.limit(m, false); l != nil && l != paid && !l.take(r.in) {
		return r.overLimit(ctx, m)
	}
	err = r.sendWithin(ctx, m, o, wait)
	if o.class == store.ClassStranger && errors.Is(err, store.ErrFull) && r.limit(m, false) != nil {
		r.in.log(r.a.cfg.Logger).InfoContext(ctx, "answer not sent, the outbox has no more room for strangers", "answer", m.Type)
		return fmt.Errorf("%w to strangers: %w", errOverLimit, err)
	}
	if unsent != nil && errors.Is(err, ErrNoRoute) && len(r.kept()) == 0 {
		// The connection has ended. The reply is sent when the message arrives again
		// by another connection.
		r.keep(*unsent)
		return nil
	}
	return err
}

// sendWithin puts a reply into the outbox, and waits until the first try to deliver the reply
// has ended, for wait at most.
func (r *responder) sendWithin(ctx context.Context, m *message.Message, o *sendOptions, wait time.Duration) error {
	tried := make(chan struct{})
	if wait > 0 {
		var once sync.Once
		o.outcomes = func(Outcome) { once.Do(func() { close(tried) }) }
	}
	sent, err := r.a.send(ctx, m, o)
	if err != nil {
		return err
	}
	defer sent.forget()
	if wait <= 0 {
		return nil
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-tried:
	case <-timer.C:
	case <-ctx.Done():
	}
	return nil
}

// keep adds a reply to those that the inbox keeps with the message.
func (r *responder) keep(p store.Packet) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.replies = append(r.replies, p)
}

// kept returns the replies of keep.
func (r *responder) kept() []store.Packet {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.replies
}

func (r *responder) setDone() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.done = true
}

// isDone reports whether Commit has succeeded.
func (r *responder) isDone() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.done
}

// returnRoute says whether a message may be sent back on the connection of another message.
type returnRoute int

const (
	returnUnspecified returnRoute = iota // only if there is no other way
	returnYes
	returnNo
)

// asksReturn returns whether the return_route of in asks for m on the connection of in. A
// message that was not sent to us may have arrived by the connection of somebody else.
func (in *Inbound) asksReturn(m *message.Message) returnRoute {
	if !in.Addressed {
		return returnNo
	}
	switch in.Message.ReturnRoute {
	case "all":
		return returnYes
	case "thread":
		if foldID(in.returnThread()) == foldID(subject(m)) {
			return returnYes
		}
		return returnNo
	case "":
		return returnUnspecified
	}
	return returnNo
}

// returnThread returns the thread that return_route "thread" refers to.
func (in *Inbound) returnThread() string {
	if t := in.Message.ReturnRouteThread; t != "" {
		return t
	}
	return in.Message.Thread()
}

// takeAcks returns the ids to acknowledge. A second call returns none.
func (r *responder) takeAcks(ctx context.Context) []string {
	r.mu.Lock()
	taken := r.acked
	r.acked = true
	r.mu.Unlock()
	if taken {
		return nil
	}
	return r.wantedAcks(ctx) // without mu, since it calls the inbox
}

// restoreAcks makes takeAcks return the ids again, since the reply that had them was not
// sent.
func (r *responder) restoreAcks() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.acked = false
}

// maxAcks is how many ids of a please_ack or an ack are looked at.
const maxAcks = 100

// wantedAcks returns the ids that the message asks to acknowledge: those of earlier
// messages of its sender in order of receipt, and last the id of the message itself. An
// id keeps the case in which the sender wrote it. There are none if replies may go to a third
// party: it would take them for acks of its own messages.
func (r *responder) wantedAcks(ctx context.Context) []string {
	in, m := r.in, r.in.Message
	if !in.fromPeer() || in.linked() || len(m.PleaseAck) == 0 || isForward(m) || isProblemReport(m) || isEmpty(m) && len(m.Ack) > 0 {
		return nil
	}
	asked := make(map[string]string) // key: foldID
	for _, id := range m.PleaseAck[:min(len(m.PleaseAck), maxAcks)] {
		if id != "" && foldID(id) != foldID(m.ID) {
			asked[foldID(id)] = id
		}
	}
	received, err := r.a.inbox.Remembered(ctx, in.pair(), slices.Collect(maps.Keys(asked)))
	if err != nil {
		in.log(r.a.cfg.Logger).WarnContext(ctx, "older messages not acknowledged", "error", err)
	}
	var acks []string
	for _, id := range received {
		acks = append(acks, asked[id])
	}
	return append(acks, m.ID)
}
