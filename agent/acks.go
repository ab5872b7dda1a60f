package agent

import (
	"context"
	"errors"
	"time"

	"github.com/didcomm-go/didcomm/agent/delivery"
	"github.com/didcomm-go/didcomm/agent/message"
)

// acknowledge sends the ack that the message asked for, unless a reply carried the
// ack. No forward is acked, no ack (ACKs) and no problem report. An ack that cannot be
// made now, as while our own DID does not resolve, is sent a little later, or its peer
// would take us for a party that gives none.
func (r *responder) acknowledge(ctx context.Context) {
	err := r.acknowledgeNow(ctx)
	if errors.As(err, new(*retryError)) {
		r.acknowledgeLater(ctx)
	}
}

// acknowledgeNow sends the ack, if one is owed.
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
		r.in.log(r.a.cfg.Logger).InfoContext(ctx, "could not acknowledge", "error", err)
	}
	return err
}

const (
	// maxLateAcks bounds the acks that are tried again at the same time.
	maxLateAcks = 256
	// lateAckTries is how often each of them is, within the time that its peer waits.
	lateAckTries = 4
)

// acknowledgeLater tries again to send an ack, without its caller.
func (r *responder) acknowledgeLater(ctx context.Context) {
	a := r.a
	if !a.lateAcks.takeFree() {
		return // the peer gets it when the message comes again
	}
	ctx = context.WithoutCancel(ctx)
	a.work.Add(1) // in time, since the caller's own entry still counts
	go func() {
		defer a.leave()
		defer a.lateAcks.free()
		for n := range lateAckTries {
			select {
			case <-time.After(a.cfg.backoff().After(n)):
			case <-a.stopping:
				return
			}
			r.oweAcks()
			ctx, cancel := context.WithTimeout(ctx, a.cfg.SendTimeout)
			err := r.acknowledgeNow(ctx)
			cancel()
			if !errors.As(err, new(*retryError)) {
				return
			}
		}
	}()
}

// hear tells those that wait for an ack what a message says of them: only what its
// sender was sent, and only if the message is meant for us. It reports whether the
// message tells of a problem with one that is being sent.
func (a *Agent) hear(in *Inbound) (problem bool) {
	m := in.Message
	if !in.Authenticated() || !in.addressed() || isBusy(m) {
		return false
	}
	h := delivery.Response{Own: in.To, Acks: m.Ack[:min(len(m.Ack), maxAcks)], Thread: m.ThreadID}
	if isProblemReport(m) {
		h.About, h.Problem = subject(m), message.ReadProblem(m.Body)
	}
	for _, h.Peer = range in.senderDIDs() {
		problem = a.delivery.Settle(h) || problem
	}
	return problem
}
