package agent

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

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
	// here means that nothing leaves but by the connection that the message came
	// by.
	here bool
	// busy means that the reply says that we are.
	busy bool

	// Of the call of the Handler, if there is one.
	pending  *pending
	handling *handling
	attempt  int

	mu      sync.Mutex // guards all below
	acked   bool       // the acks asked for are on their way
	replies []store.Packet
}

var _ Responder = (*responder)(nil)

// Agent implements Responder.
func (r *responder) Agent() *Agent { return r.a }

// Attempt implements Responder.
func (r *responder) Attempt() int { return r.attempt }

// limit bounds how many messages like m the peer is sent, by the connection that its
// message came by, if back, else by the outbox; nil for no limit. The response to a
// POST is free, since the peer pays as much for each. On connections that stay open
// only what the peer asked for is.
func (r *responder) limit(m *message.Message, back bool) *rates {
	_, open := r.w.(transport.Session)
	switch {
	case back && !open:
		return nil
	case isProblemReport(m) && !r.busy:
		return &r.a.reports
	case isProblemReport(m), !back && (isEmpty(m) || isPong(m)):
		return &r.a.answers
	}
	return nil
}

// errOverLimit is in the outcome of a reply that is over the limit.
var errOverLimit = fmt.Errorf("%w: too many", ErrNotReported)

func (r *responder) overLimit(ctx context.Context, m *message.Message) error {
	r.in.log(r.a.cfg.Logger).InfoContext(ctx, "not answered, the sender has had too many answers", "answer", m.Type)
	return fmt.Errorf("%w to %s", errOverLimit, r.in.From)
}

// Reply implements Responder.
func (r *responder) Reply(ctx context.Context, reply *message.Message) error {
	err := r.reply(ctx, reply)
	if errors.Is(err, errOverLimit) {
		return nil // the Handler can do no more about that than the log
	}
	return retried(err)
}

// retried is an error of a Responder, as a Retry if the error need not be the same the
// next time.
func retried(err error) error {
	if err == nil || isLasting(err) {
		return err
	}
	return Retry(0, err)
}

// isLasting tells whether an error of Reply would be the same the next time. That
// of a store, or of a resolver that reached nobody, need not be.
func isLasting(err error) bool {
	return errors.Is(err, ErrUnauthenticated) || errors.Is(err, ErrNoRoute) ||
		errors.Is(err, transport.ErrNoReturnRoute) || errors.Is(err, message.ErrInvalid) ||
		errors.Is(err, envelope.ErrNotForUs) || errors.Is(err, envelope.ErrRefused) || errors.Is(err, contact.ErrEnded)
}

// prepare completes a reply, and tells how it may go back by the connection that the
// message came by. After an error, of prepare or of what follows, the caller calls
// r.oweAcks if acks is true: the reply had taken the acks that the message asks for.
func (r *responder) prepare(ctx context.Context, reply *message.Message) (m *message.Message, o *sendOptions, back returnRoute, acks bool, err error) {
	in, out := r.in, *reply
	m = &out
	m.To = []string{in.From}
	if m.From == "" {
		m.From = in.To
	}
	if !isProblemReport(m) || m.ParentThreadID == "" {
		if m.ThreadID == "" {
			m.ThreadID = in.Message.Thread()
		}
		if m.ParentThreadID == "" && m.ThreadID == in.Message.Thread() {
			m.ParentThreadID = in.Message.ParentThreadID
		}
	}
	if len(m.Ack) == 0 || slices.Equal(m.Ack, []string{in.Message.ID}) {
		if ids := r.takeAcks(ctx); len(ids) > 0 {
			m.Ack, acks = ids, true
		}
	}
	o = optionsOf()
	o.from = m.From
	o.protect = in.Metadata.AnonymousSender && in.Metadata.EncryptedFromKID != ""
	r.a.complete(m, o)
	in.nameKeys(o)
	if !r.busy { // that goes back in any case, even if nothing can be looked up
		if err := r.a.address(ctx, m); err != nil {
			return nil, nil, 0, acks, err
		}
	}
	back = in.asksReturn(m)
	if back == returnUnsaid {
		// A sender without an endpoint of its own can be answered here or
		// nowhere, though it has not asked.
		if _, err := r.a.routes(ctx, m.To[0]); errors.Is(err, ErrNoRoute) {
			back = returnYes
		}
	}
	return m, o, back, acks, nil
}

// packed is a reply as it goes back by the connection.
func (r *responder) packed(ctx context.Context, m *message.Message, o *sendOptions) (store.Packet, error) {
	e, err := r.a.pack(ctx, m, m.To[0], o)
	return store.Packet{MediaType: e.MediaType, Data: e.Data}, err
}

// reply is Reply with errOverLimit.
func (r *responder) reply(ctx context.Context, reply *message.Message) (err error) {
	if !r.in.Authenticated() {
		return ErrUnauthenticated
	}
	m, o, back, acks, err := r.prepare(ctx, reply)
	defer func() {
		if err != nil && acks {
			r.oweAcks()
		}
	}()
	if err != nil {
		return err
	}
	if back != returnYes && r.here {
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
		err = r.w.Reply(ctx, transport.Packet(p))
		if err == nil {
			r.keep(p)
			r.a.wrote(ctx, m, m.To[0])
			return nil
		}
		if r.here {
			return err
		}
		unsent = &p
	}
	if l := r.limit(m, false); l != nil && l != paid && !l.take(r.in) {
		return r.overLimit(ctx, m)
	}
	_, err = r.a.send(ctx, m, o) // nobody follows what becomes of a reply
	if unsent != nil && errors.Is(err, ErrNoRoute) && len(r.kept()) == 0 {
		// The connection is gone. When the message comes again, by another, it is
		// answered there.
		r.keep(*unsent)
		return nil
	}
	return err
}

// keep remembers a reply until the message is settled.
func (r *responder) keep(p store.Packet) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.replies = append(r.replies, p)
}

func (r *responder) kept() []store.Packet {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.replies
}

// returnRoute is what a message says of the connection that it came by.
type returnRoute int

const (
	returnUnsaid returnRoute = iota
	returnYes
	returnNo
)

// asksReturn tells whether m may go back on the connection that in came by
// (return_route header). A message that was not written to us may have come by
// somebody else's.
func (in *Inbound) asksReturn(m *message.Message) returnRoute {
	if !in.addressed() {
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
		return returnUnsaid
	}
	return returnNo
}

// returnThread is the thread that a return_route of "thread" is for.
func (in *Inbound) returnThread() string {
	if t := in.Message.ReturnRouteThread; t != "" {
		return t
	}
	return in.Message.Thread()
}

// takeAcks returns what is to be acknowledged, once.
func (r *responder) takeAcks(ctx context.Context) []string {
	r.mu.Lock()
	taken := r.acked
	r.acked = true
	r.mu.Unlock()
	if taken {
		return nil
	}
	return r.wantedAcks(ctx) // which asks the inbox
}

// oweAcks is for acks that were taken and did not leave.
func (r *responder) oweAcks() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.acked = false
}

// maxAcks bounds the ids that one message may ask to be acknowledged.
const maxAcks = 100

// wantedAcks are the ids to acknowledge: those listed that came from this
// sender, in the order in which they did, and the message itself last, as the
// youngest. Each is written as the sender wrote it.
func (r *responder) wantedAcks(ctx context.Context) []string {
	in, m := r.in, r.in.Message
	if !in.Authenticated() || len(m.PleaseAck) == 0 || isForward(m) || isProblemReport(m) || isEmpty(m) && len(m.Ack) > 0 {
		return nil
	}
	asked := make(map[string]string) // by the folded id
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
