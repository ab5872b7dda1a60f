package agent

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/transport"
)

// replyToDuplicate answers a message that has arrived before, since its sender may not
// have got the first answer. It sends the replies that left by the connection of the
// message again, by the connection that the message arrived by now. If there were no such
// replies, it sends the ack that the message asks for, since the first ack may have been
// over a limit, or else it tells that the message has arrived before. Replies to a message
// that was parked, or kept by a mediator, leave by the outbox. Nothing is sent while the
// Handler runs: after an ack, the sender would not send the message again if a reply were
// lost.
func (a *Agent) replyToDuplicate(ctx context.Context, w transport.Replier, in *Inbound, known *store.Known) error {
	if !in.fromPeer() {
		return nil
	}
	if k := a.pending.get(in.key(in.Message.ID)); k != nil && known.State == store.Leased {
		if s, ok := w.(transport.Session); ok {
			k.setDuplicate(s)
			return nil
		}
		if r := in.Message.ReturnRoute; r == "all" || r == "thread" {
			return later(errors.New("the message is being handled"))
		}
		return nil
	}
	_, open := w.(transport.Session)
	_, none := w.(transport.NoReply)
	if len(known.Replies) == 0 {
		if len(in.Message.PleaseAck) == 0 && !open && !none && known.State == store.Done {
			a.tellDejavu(ctx, w, in)
		} else {
			(&responder{a: a, w: w, in: in}).acknowledge(ctx)
		}
		return nil
	}
	if (open || none) && !a.answers.of(in).take(in) {
		in.log(a.cfg.Logger).InfoContext(ctx, "reply not sent again, the sender has had too many answers")
		return nil
	}
	if none {
		return a.sendReplies(ctx, in, known.Replies)
	}
	for _, p := range known.Replies {
		if err := w.Reply(ctx, transport.Packet(p)); err != nil {
			in.log(a.cfg.Logger).InfoContext(ctx, "reply not sent again", "error", err)
			return nil
		}
	}
	return nil
}

// tellDejavu tells the sender of a message, in the response to its POST, that the message has
// arrived before, if the sender asks for replies there. An agent that gets the report counts its
// message as delivered.
func (a *Agent) tellDejavu(ctx context.Context, w transport.Replier, in *Inbound) {
	if m := in.Message; m.ReturnRoute != "all" || isProblemReport(m) || isEmpty(m) || isForward(m) {
		return
	}
	p := &message.Problem{Code: codeDejavu, Comment: "The message has arrived before."}
	report, err := ProblemReport(p, in.Message)
	if err == nil {
		err = (&responder{a: a, w: w, in: in, onlyBack: true, acked: true}).reply(ctx, report, 0)
	}
	if err != nil {
		in.log(a.cfg.Logger).InfoContext(ctx, "sender not told that the message has arrived before", "error", err)
	}
}

// sendReplies puts replies that left by the connection of their message before into the
// outbox, if the sender has an endpoint.
func (a *Agent) sendReplies(ctx context.Context, in *Inbound, replies []store.Packet) error {
	err := a.queueReplies(ctx, in, replies)
	if err != nil && !isLasting(err) {
		return later(fmt.Errorf("reply not sent again: %w", err))
	}
	if err != nil {
		in.log(a.cfg.Logger).InfoContext(ctx, "reply not sent again", "error", err)
	}
	return nil
}

func (a *Agent) queueReplies(ctx context.Context, in *Inbound, replies []store.Packet) error {
	routes, err := a.routes(ctx, in.replyDID(), in.class)
	if err != nil {
		return err
	}
	var items []store.Item
	for _, p := range replies {
		item := a.newItem(in.To, in.replyDID(), p, routes, in.class, time.Time{})
		item.NeedsReceipt = true // the packet asks for no ack
		item.HidesSender = in.hidesSender()
		items = append(items, item)
	}
	var allowed *allowance
	if in.class == store.ClassStranger {
		allowed = a.allowances.of(in)
	}
	if !allowed.take(sizeOf(items)) {
		return ErrAnswerLimit
	}
	if _, err := a.delivery.Deliver(ctx, nil, items...); err != nil {
		allowed.giveBack(sizeOf(items))
		return fmt.Errorf("outbox: %w", err)
	}
	return nil
}

// replyToLateDuplicate is replyToDuplicate for a message that arrived again while its
// Handler was running.
func (a *Agent) replyToLateDuplicate(ctx context.Context, k *pending, replies []store.Packet) {
	k.mu.Lock()
	s := k.duplicate
	k.mu.Unlock()
	if s != nil {
		_ = a.replyToDuplicate(ctx, s, k.in, &store.Known{State: store.Done, Replies: replies}) // State Done, so the error is nil
	}
}
