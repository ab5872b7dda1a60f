package agent

import (
	"context"
	"errors"
	"net/netip"

	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/transport"
)

// Unopened is a received packet that is encrypted for none of our keys.
type Unopened struct {
	Packet transport.Packet
	// KIDs are the ids of the keys that the packet is encrypted for, as the packet names
	// them: usually DID URLs. There is at least one.
	KIDs []string
	// Address is the address that the packet came from, or the zero Addr.
	Address netip.Addr
}

// unopened returns the packet for Config.Unopened, or nil if there is no such function, or if
// err says something else than that none of our keys opens the packet.
func (a *Agent) unopened(ctx context.Context, p transport.Packet, err error) *Unopened {
	var other *envelope.OthersError
	if a.cfg.Unopened == nil || a.cfg.Guest || !errors.As(err, &other) {
		return nil
	}
	p.MediaType = envelope.MediaTypeEncrypted
	return &Unopened{Packet: p, KIDs: other.KIDs, Address: transport.PeerOf(ctx)}
}

// takeUnopened calls Config.Unopened. Without an error the packet is accepted.
func (a *Agent) takeUnopened(ctx context.Context, w transport.Replier, u *Unopened) error {
	transport.TurnOf(ctx).End(ctx)
	if !a.handlers.take(store.ClassStranger, ctx.Done()) {
		if a.life.Err() != nil {
			return ErrStopped
		}
		return sessionError(w, later(ctx.Err()))
	}
	defer a.handlers.free(store.ClassStranger)
	hctx := newHandling(ctx, a.life, a.cfg.HandlerTimeout, a.cfg.HandlerTimeout)
	defer hctx.close()
	err := a.cfg.Unopened(hctx, u)
	if err == nil {
		return nil
	}
	var problem *message.Problem
	if busy := askAgain(err, &problem); busy != nil {
		return sessionError(w, busy)
	}
	return &transport.RejectError{Reason: "message cannot be opened", Err: err}
}
