package agent

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/did"
	"github.com/didcomm-go/didcomm/transport"
)

// parked is the Sender of a message in the inbox that could not be opened yet. No pair of
// DIDs is named so.
const parked = "parked"

// IsParked reports whether a message of an inbox is kept as it came, since the DID of its
// sender, of its signer or of the issuer of its from_prior could not be reached. Such a
// message is opened later, and is then in the inbox again under its own id. Of a parked
// message only the packet and the times mean something.
func IsParked(m store.Received) bool { return m.Sender == parked }

// unreachable returns the DID that could not be resolved, for now, in an error of Unpack,
// or the empty string.
func unreachable(err error) string {
	var failed *envelope.ResolveError
	if errors.Is(err, envelope.ErrTryLater) && errors.As(err, &failed) {
		return failed.DID
	}
	return ""
}

// park keeps a packet that came by a connection without receipts, whose peer cannot be
// told to come again, until a DID can be reached. Anybody can send such packets, so those
// that name one host, and all together, have a small share of the inbox; beyond that they
// are dropped.
func (a *Agent) park(ctx context.Context, p transport.Packet, id string, cause error) error {
	sum, now, host := sha256.Sum256(p.Data), a.cfg.Now(), hostOf(id)
	m := store.Received{
		Sender: parked, ID: hex.EncodeToString(sum[:]), Peer: parked + " " + host, Owner: parked,
		PeerShare:  store.Share{Items: a.cfg.MaxParkedPerHost, Bytes: a.cfg.MaxParkedBytes / parkedHosts},
		OwnerShare: store.Share{Items: a.cfg.MaxParked, Bytes: a.cfg.MaxParkedBytes},
		// Once set aside, it stays for a person to see.
		Packet: store.Packet(p), Time: now, Until: now.Add(a.cfg.MaxAge + a.cfg.ReplayWindow),
	}
	log := a.cfg.Logger.With("did", id, "bytes", len(p.Data))
	add, cancel := a.lasting(ctx)
	defer cancel()
	lease, known, err := a.inbox.Add(add, m, a.leaseTime())
	switch {
	case errors.Is(err, store.ErrFull):
		log.WarnContext(ctx, "dropped a message that cannot be opened now, too many of them wait", "host", host, "error", cause)
		return nil
	case err != nil:
		return fmt.Errorf("inbox: %w", err)
	case known != nil:
		return nil // it waits already
	}
	log.WarnContext(ctx, "a message cannot be opened now, and is tried again", "error", cause)
	k := leftOver(lease)
	a.note(ctx, a.cfg.Trace.Parked, "message to be opened later", k.in, 0, cause)
	a.nak(ctx, k, a.cfg.MinBackoff, "")
	return nil
}

// parkedHosts is into how many parts the bytes of parked messages are divided, of which
// those that name one host have one.
const parkedHosts = 8

// hostOf is the host whose failure keeps a DID from being resolved: that of a did:web, and
// of any other DID its method.
func hostOf(id string) string {
	d, err := did.Parse(id)
	if err != nil {
		return ""
	}
	if d.Method != "web" {
		return "did:" + d.Method
	}
	host, _, _ := strings.Cut(d.ID, ":")
	host, _, _ = strings.Cut(strings.ToLower(host), "%3a") // a port is no other host
	return host
}

// maxUnparking bounds the parked messages that are being opened.
const maxUnparking = 8

// maxUnparkDelay bounds how long a parked message waits for others that are being opened.
const maxUnparkDelay = time.Minute

// unparkSoon opens a parked message without its caller, or gives it back for a while.
func (a *Agent) unparkSoon(ctx context.Context, k *pending) {
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

// unparkDelay is when a parked message is tried again that could not be opened: each try
// may cost a stranger's host a request, so there are few, and the last is at MaxAge.
func (a *Agent) unparkDelay(l *store.Lease[store.Received]) time.Duration {
	age := a.cfg.Now().Sub(l.Item.Time)
	return max(min(age/2, a.cfg.MaxAge-age), a.cfg.MinBackoff)
}

// unpark opens a parked message, and takes it in as if it came now.
func (a *Agent) unpark(ctx context.Context, k *pending) {
	l := k.held()
	if l.Attempts >= a.cfg.MaxTries {
		a.setAside(ctx, k, fmt.Errorf("given up: the process ended each time, %d times", l.Attempts))
		return
	}
	err := a.takeParked(ctx, transport.Packet(l.Item.Packet))
	switch {
	case err == nil:
		a.settle(ctx, k, nil, nil)
	case ctx.Err() != nil:
		a.nak(ctx, k, 0, "")
	case errors.As(err, new(*transport.RejectError)), a.cfg.Now().Sub(l.Item.Time) >= a.cfg.MaxAge:
		a.setAside(ctx, k, fmt.Errorf("not opened: %w", err))
	default:
		a.note(ctx, a.cfg.Trace.Parked, "message to be opened later", k.in, 0, err)
		a.nak(ctx, k, a.unparkDelay(l), "")
	}
}

// takeParked takes in what was parked.
func (a *Agent) takeParked(ctx context.Context, p transport.Packet) (err error) {
	defer a.contain(ctx, &err)
	in, err := a.reopen(ctx, p.Data)
	if err != nil {
		return err
	}
	in.Packet = p
	_, err = a.accept(ctx, transport.NoReply{}, in)
	return err
}

// leftOver is the message of a lease, of which no more is known than the inbox tells.
func leftOver(l *store.Lease[store.Received]) *pending {
	in := &Inbound{Message: &message.Message{ID: l.Item.ID, Type: l.Item.Type}, From: l.Item.Peer, To: l.Item.To}
	if IsParked(l.Item) {
		in.From = ""
	}
	return &pending{in: in, key: keyOf(l.Item.Sender, l.Item.ID), lease: l}
}
