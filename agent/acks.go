package agent

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/didcomm-go/didcomm/agent/message"
)

// acknowledge sends the ack that the message asked for, unless a reply carried
// it. A mediator never acks a forward, an ack is never answered by another (ACKs), and
// a problem report by nothing. An ack that cannot be made now, as while our own DID does
// not resolve, is sent a little later: its peer would else take us for a party that
// gives none.
func (a *Agent) acknowledge(ctx context.Context, r *responder) {
	err := a.acked(ctx, r)
	if errors.As(err, new(*retryError)) {
		a.acknowledgeLater(ctx, r)
	}
}

// acked sends the ack, if one is owed.
func (a *Agent) acked(ctx context.Context, r *responder) error {
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
		r.in.log(a.cfg.Logger).InfoContext(ctx, "could not acknowledge", "error", err)
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
func (a *Agent) acknowledgeLater(ctx context.Context, r *responder) {
	select {
	case a.lateAcks <- struct{}{}:
	default: // the peer gets it when the message comes again
		return
	}
	ctx = context.WithoutCancel(ctx)
	a.work.Add(1) // in time, since the caller's own entry still counts
	go func() {
		defer a.leave()
		defer func() { <-a.lateAcks }()
		for n := range lateAckTries {
			select {
			case <-time.After(a.cfg.backoff().After(n)):
			case <-a.stopping:
				return
			}
			r.oweAcks()
			ctx, cancel := context.WithTimeout(ctx, a.cfg.SendTimeout)
			err := a.acked(ctx, r)
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
func (a *Agent) wantedAcks(ctx context.Context, in *Inbound) []string {
	m := in.Message
	if !in.Authenticated() || len(m.PleaseAck) == 0 || isForward(m) || isProblemReport(m) || isEmpty(m) && len(m.Ack) > 0 {
		return nil
	}
	asked := make(map[string]string) // by the folded id
	for _, id := range m.PleaseAck[:min(len(m.PleaseAck), maxAcks)] {
		if id != "" && foldID(id) != foldID(m.ID) {
			asked[foldID(id)] = id
		}
	}
	received, err := a.cfg.Inbox.Remembered(ctx, party(in.From), slices.Collect(maps.Keys(asked)))
	if err != nil {
		in.log(a.cfg.Logger).WarnContext(ctx, "older messages not acknowledged", "error", err)
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
	return r.a.wantedAcks(ctx, r.in)
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
