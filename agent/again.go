package agent

import (
	"context"
	"errors"

	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/transport"
)

// replyAgain answers a message that came again, since the peer did not hear of us. The
// replies that went by its connection are sent again, by the connection that the message
// came by now. If there were none, the peer gets the ack that it asks for; the first may
// have been over the limit. While the handler runs it is too early: a peer that had the
// ack would not send the message again for a reply that is lost.
func (a *Agent) replyAgain(ctx context.Context, w transport.Replier, in *Inbound, known *store.Known) error {
	if !in.Authenticated() || !in.addressed() {
		return nil
	}
	if k := a.pending.get(in.key(in.Message.ID)); k != nil && known.State == store.Leased {
		if s, ok := w.(transport.Session); ok {
			k.cameAgain(s)
			return nil
		}
		if r := in.Message.ReturnRoute; r == "all" || r == "thread" {
			return later(errors.New("the message is being handled"))
		}
		return nil
	}
	if len(known.Replies) == 0 {
		(&responder{a: a, w: w, in: in}).acknowledge(ctx)
		return nil
	}
	if _, ok := w.(transport.Session); ok && !a.answers.take(in) {
		in.log(a.cfg.Logger).InfoContext(ctx, "not replied again, the sender has had too many answers")
		return nil
	}
	for _, p := range known.Replies {
		if err := w.Reply(ctx, transport.Packet(p)); err != nil {
			in.log(a.cfg.Logger).InfoContext(ctx, "not replied again", "error", err)
			return nil
		}
	}
	return nil
}

// replyLate is replyAgain for a message that came again while its handler ran.
func (a *Agent) replyLate(ctx context.Context, k *pending, replies []store.Packet) {
	k.mu.Lock()
	s := k.again
	k.mu.Unlock()
	if s != nil {
		_ = a.replyAgain(ctx, s, k.in, &store.Known{State: store.Done, Replies: replies}) // it is not busy any more
	}
}
