package agent

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/did"
	"github.com/didcomm-go/didcomm/transport"
)

// parked is the Sender of a parked message in the inbox. It differs from every pairOf.
const parked = "parked"

// IsParked reports whether a message in the inbox is parked: it is not opened, because a
// DID could not be reached. The DID is that of its sender, of its signer, or of the
// issuer of its from_prior. When the message is opened later, it is in the inbox a second
// time, under its own id. In a parked message, only the packet and the times have a
// meaning.
func IsParked(m store.Received) bool { return m.Sender == parked }

// unreachable returns the DID in an error of Unpack that could not be reached, or "".
func unreachable(err error) string {
	var failed *envelope.ResolveError
	if errors.Is(err, envelope.ErrTryLater) && errors.As(err, &failed) {
		return failed.DID
	}
	return ""
}

// park stores a packet in the inbox until the DID id can be reached. The packet came by a
// session, and its sender is not known, so nobody can be asked to send it again.
//
// Anybody can send such packets. Therefore those of one host, and all of them together,
// have a small share of the inbox. A packet beyond this share is dropped.
func (a *Agent) park(ctx context.Context, p transport.Packet, id string, cause error) error {
	sum, now, host := sha256.Sum256(p.Data), a.cfg.Now(), hostOf(id)
	m := store.Received{
		Sender: parked, ID: hex.EncodeToString(sum[:]), Peer: parked + " " + host, Class: store.ClassStranger, Owner: parked,
		PeerShare:  store.Share{Items: a.cfg.MaxParkedPerHost, Bytes: a.cfg.MaxParkedBytes / parkedHosts},
		OwnerShare: store.Share{Items: a.cfg.MaxParked, Bytes: a.cfg.MaxParkedBytes},
		// If the packet is set aside, a person can look at it for ReplayWindow.
		Packet: store.Packet(p), Time: now, Until: now.Add(a.cfg.MaxAge + a.cfg.ReplayWindow),
	}
	log := a.cfg.Logger.With("did", id, "bytes", len(p.Data))
	add, cancel := a.detached(ctx)
	defer cancel()
	lease, known, err := a.inbox.Add(add, m, a.leaseTime())
	switch {
	case errors.Is(err, store.ErrFull):
		log.WarnContext(ctx, "dropped a message that cannot be opened now, too many are parked", "host", host, "error", cause)
		return nil
	case err != nil:
		return fmt.Errorf("inbox: %w", err)
	case known != nil:
		return nil // parked already
	}
	log.WarnContext(ctx, "a message cannot be opened now, and is parked", "error", cause)
	k := leasedMessage(lease)
	a.note(ctx, a.cfg.Trace.Parked, "message to be opened later", k.in, 0, cause)
	a.nak(ctx, k, a.cfg.MinBackoff, "")
	return nil
}

// parkedHosts is the part of MaxParkedBytes that the packets of one host can have: 1 in
// parkedHosts.
const parkedHosts = 8

// hostOf returns the host on which the resolution of a DID depends: the host of a
// did:web, and for any other DID its method.
func hostOf(id string) string {
	d, err := did.Parse(id)
	if err != nil {
		return ""
	}
	return cmp.Or(did.Host(id), "did:"+d.Method)
}

// maxUnparking is how many parked messages are opened at the same time.
const maxUnparking = 8

// maxUnparkDelay is the longest delay of a parked message that finds no free slot.
const maxUnparkDelay = time.Minute

// tryUnpark opens a parked message in a new goroutine, or gives it back to the inbox if
// there is no free slot.
func (a *Agent) tryUnpark(ctx context.Context, k *pending) {
	if !a.unparking.takeFree() {
		a.nak(ctx, k, min(a.unparkDelay(k.held()), maxUnparkDelay), "")
		return
	}
	a.work.Add(1)
	go func() {
		defer a.leave()
		defer a.unparking.free()
		a.unpark(ctx, k)
	}()
}

// unparkDelay returns the delay before the next try to open a parked message. The delay
// grows with the age of the message, since each try may send a request to the host of a
// stranger. The last try is at MaxAge.
func (a *Agent) unparkDelay(l *store.Lease[store.Received]) time.Duration {
	age := a.cfg.Now().Sub(l.Item.Time)
	return max(min(age/2, a.cfg.MaxAge-age), a.cfg.MinBackoff)
}

// unpark opens a parked message, and accepts it as if it arrived now.
func (a *Agent) unpark(ctx context.Context, k *pending) {
	l := k.held()
	if l.Attempts >= a.cfg.MaxTries {
		a.setAside(ctx, k, fmt.Errorf("failed after %d tries: the process ended each time", l.Attempts))
		return
	}
	err := a.acceptParked(ctx, transport.Packet(l.Item.Packet))
	switch {
	case err == nil:
		a.settle(ctx, k, nil, nil)
	case ctx.Err() != nil:
		a.nak(ctx, k, 0, "")
	// An address that the resolver refuses is tried only twice. It will hardly change, and a
	// message that named it was parked so that its sender sees no difference.
	case errors.As(err, new(*transport.RejectError)), errors.Is(err, did.ErrRefused), a.cfg.Now().Sub(l.Item.Time) >= a.cfg.MaxAge:
		a.setAside(ctx, k, fmt.Errorf("not opened: %w", err))
	default:
		a.note(ctx, a.cfg.Trace.Parked, "message to be opened later", k.in, 0, err)
		a.nak(ctx, k, a.unparkDelay(l), "")
	}
}

// acceptParked opens and accepts a parked packet.
func (a *Agent) acceptParked(ctx context.Context, p transport.Packet) (err error) {
	defer a.contain(ctx, &err)
	in, err := a.reopen(ctx, p.Data)
	if err != nil {
		return err
	}
	in.Packet = p
	_, err = a.accept(ctx, transport.NoReply{}, in)
	return err
}

// leasedMessage returns the message of a lease, with only the fields that the inbox has.
func leasedMessage(l *store.Lease[store.Received]) *pending {
	in := &Inbound{Message: &message.Message{ID: l.Item.ID, Type: l.Item.Type}, From: l.Item.Peer, To: l.Item.To, Addressed: true, class: l.Item.Class}
	if IsParked(l.Item) {
		in.From = ""
	}
	return &pending{in: in, key: keyOf(l.Item.Sender, l.Item.ID), lease: l}
}
