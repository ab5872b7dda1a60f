package agent

import (
	"context"
	"errors"
	"sync"

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

	mu      sync.Mutex // guards all below
	acked   bool       // the acks asked for are on their way
	replies []store.Packet
}

var _ Responder = (*responder)(nil)

// takeAcks returns what is to be acknowledged, once.
func (r *responder) takeAcks(ctx context.Context) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.acked {
		return nil
	}
	r.acked = true
	return r.a.wantedAcks(ctx, r.in)
}

// Reply implements Responder.
func (r *responder) Reply(ctx context.Context, reply *message.Message) error {
	err := r.reply(ctx, reply)
	if err != nil && !isLasting(err) {
		return Retry(0, err)
	}
	return err
}

// isLasting tells whether an error of Reply would be the same the next time. That
// of a store, or of a resolver that reached nobody, need not be.
func isLasting(err error) bool {
	return errors.Is(err, ErrUnauthenticated) || errors.Is(err, ErrNoRoute) ||
		errors.Is(err, transport.ErrNoReturnRoute) || errors.Is(err, message.ErrInvalid) || isEnvelopeFault(err)
}

func (r *responder) reply(ctx context.Context, reply *message.Message) error {
	in := r.in
	if !in.Authenticated() {
		return ErrUnauthenticated
	}
	m := *reply
	m.To = []string{in.From}
	if m.From == "" {
		m.From = in.To
	}
	if !isProblemReport(&m) || m.ParentThreadID == "" {
		if m.ThreadID == "" {
			m.ThreadID = in.Message.Thread()
		}
		if m.ParentThreadID == "" && m.ThreadID == in.Message.Thread() {
			m.ParentThreadID = in.Message.ParentThreadID
		}
	}
	if len(m.Ack) == 0 {
		m.Ack = r.takeAcks(ctx)
	}
	o := r.a.sendOptions()
	o.from = m.From
	o.protect = in.Metadata.AnonymousSender && in.Metadata.EncryptedFromKID != ""
	r.a.complete(&m, o)
	if n := in.aliases; n != nil && m.From == in.To {
		// Who names keys otherwise than by their ids would not find them by those.
		o.from, o.toKeys = n.ours, []string{n.theirs}
	}

	how := in.asksReturn(&m)
	if how == returnUnsaid {
		// A sender without an endpoint of its own can be answered here or
		// nowhere, though it has not asked.
		if _, err := r.a.routes(ctx, in.From); errors.Is(err, ErrNoRoute) {
			how = returnYes
		}
	}
	if how != returnYes && r.here {
		return transport.ErrNoReturnRoute
	}
	if how == returnYes {
		e, err := r.a.pack(ctx, &m, in.From, o)
		if err != nil {
			return err
		}
		p := store.Packet{MediaType: e.MediaType, Data: e.Data}
		err = r.w.Reply(ctx, packet(p))
		if err == nil {
			r.keep(p)
			return nil
		}
		if r.here {
			return err
		}
		_, err = r.a.send(ctx, &m, o)
		if errors.Is(err, ErrNoRoute) && len(r.kept()) == 0 {
			// The connection is gone. When the message comes again, by another,
			// it is answered there.
			r.keep(p)
			return nil
		}
		return err
	}
	_, err := r.a.send(ctx, &m, o)
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

// What a message says of the connection that it came by.
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
