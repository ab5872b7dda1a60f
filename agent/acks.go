package agent

import (
	"context"
	"errors"
	"time"

	"github.com/didcomm-go/didcomm/agent/contact"
	"github.com/didcomm-go/didcomm/agent/delivery"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/transport"
)

// acknowledge sends the ack that the message asks for, unless a reply has acked the
// message. Forwards, acks and problem reports are not acked. If the ack cannot be made
// now, for example because our own DID does not resolve, it is sent a little later.
// Otherwise the peer could conclude that we send no acks.
func (r *responder) acknowledge(ctx context.Context) {
	err := r.acknowledgeNow(ctx)
	if errors.As(err, new(*retryError)) {
		r.retryAck(ctx)
	}
}

// acknowledgeNow sends the ack once, if the message asks for one.
func (r *responder) acknowledgeNow(ctx context.Context) error {
	acks := r.takeAcks(ctx)
	if len(acks) == 0 {
		return nil
	}
	m, err := message.New(emptyType, nil)
	if err == nil {
		m.Ack = acks
		err = r.Reply(ctx, m)
	}
	if err != nil {
		r.in.log(r.a.cfg.Logger).InfoContext(ctx, "ack not sent", "error", err)
	}
	return err
}

const (
	// maxLateAcks is how many acks are retried at the same time.
	maxLateAcks = 256
	// lateAckTries is how often an ack is retried. With the default delays, the tries end
	// before the peer stops waiting.
	lateAckTries = 4
)

// retryAck retries to send an ack, in a new goroutine.
func (r *responder) retryAck(ctx context.Context) {
	a := r.a
	if !a.lateAcks.takeFree() {
		return // the peer gets the ack when the message arrives again
	}
	ctx = context.WithoutCancel(ctx)
	a.work.Add(1) // before Run can return, since the work of the caller is not done
	go func() {
		defer a.leave()
		defer a.lateAcks.free()
		for n := range lateAckTries {
			select {
			case <-time.After(a.cfg.backoff().After(n)):
			case <-a.stopping:
				return
			}
			r.restoreAcks()
			ctx, cancel := context.WithTimeout(ctx, a.cfg.SendTimeout)
			err := r.acknowledgeNow(ctx)
			cancel()
			if !errors.As(err, new(*retryError)) {
				return
			}
		}
	}()
}

// settleAcked settles the messages that wait for an ack and that in acknowledges, answers
// or reports a problem about. A message only settles messages to its sender, and only if
// it was sent to us. An ack on the connection w may prove that w leads to its sender.
// A mediator may report a problem about the forward of a message. settleAcked reports whether
// in reports a problem about a message that is being sent.
func (a *Agent) settleAcked(w transport.Replier, in *Inbound) (problem bool) {
	m := in.Message
	if !isDejavu(m) && a.settleForwarded(in) {
		return true
	}
	if !in.fromPeer() || isBusy(m) {
		return false
	}
	h := delivery.Response{Own: in.To, Acks: m.Ack[:min(len(m.Ack), maxAcks)], Thread: m.ThreadID, Session: a.connection(w, in)}
	switch {
	case isDejavu(m): // the peer has the message
		h.About, h.Acks = subject(m), nil
	case isProblemReport(m):
		h.About, h.Problem = subject(m), message.ReadProblem(m.Body)
	}
	for _, h.Peer = range in.senderDIDs() {
		problem = a.delivery.Settle(h) || problem
	}
	return problem
}

// neverAcks reports whether a contact has shown that it acknowledges no messages.
func (a *Agent) neverAcks(ctx context.Context, own, peer string) bool {
	dialect, err := a.cfg.Contacts.Dialect(ctx, own, peer)
	if err != nil {
		a.cfg.Logger.WarnContext(ctx, "not known whether a contact sends acks", "peer", peer, "error", err)
	}
	return dialect.NoAcks
}

// learnedAcks keeps whether a contact acknowledges messages.
func (a *Agent) learnedAcks(ctx context.Context, own, peer string, acks bool) {
	err := a.cfg.Contacts.Learn(ctx, own, peer, func(d *contact.Dialect) { d.NoAcks, d.Acks = !acks, acks })
	if err != nil {
		a.cfg.Logger.WarnContext(ctx, "not stored whether a contact sends acks", "peer", peer, "acks", acks, "error", err)
	}
}
