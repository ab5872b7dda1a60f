package agent

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

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
	received, err := r.a.cfg.Inbox.Remembered(ctx, party(in.From), slices.Collect(maps.Keys(asked)))
	if err != nil {
		in.log(r.a.cfg.Logger).WarnContext(ctx, "older messages not acknowledged", "error", err)
	}
	var acks []string
	for _, id := range received {
		acks = append(acks, asked[id])
	}
	return append(acks, m.ID)
}

// takeAcks returns what is to be acknowledged, once.
func (r *responder) takeAcks(ctx context.Context) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.acked {
		return nil
	}
	r.acked = true
	return r.wantedAcks(ctx)
}

// oweAcks is for acks that were taken and did not leave.
func (r *responder) oweAcks() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.acked = false
}

// isAck tells whether a message is nothing but acks.
func isAck(m *message.Message) bool {
	return isEmpty(m) && len(m.Ack) > 0 && len(m.PleaseAck) == 0 && m.ReturnRoute == ""
}
