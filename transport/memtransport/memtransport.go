// Package memtransport carries DIDComm packets between agents in one process,
// with no network: for tests, and for a program that runs two agents.
//
// Make a Network, give it the receivers with Handle and send with a Sender.
// Like HTTP it takes one reply for each packet, until the receiver has handled it, and
// lets the sender know what became of the packet (see Sender.Send). It
// implements the transport-neutral part of DIDComm v2.1, Transports.
package memtransport

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"

	"github.com/didcomm-go/didcomm/transport"
	"github.com/didcomm-go/didcomm/transport/internal/endpoint"
	"github.com/didcomm-go/didcomm/transport/internal/exchange"
)

// Scheme is the URI scheme of the endpoints, as in mem://alice.
const Scheme = "mem"

// Network connects Senders to the Handlers of endpoints.
type Network struct {
	mu       sync.RWMutex
	handlers map[string]transport.Handler
}

// NewNetwork returns a Network with no endpoints.
func NewNetwork() *Network {
	return &Network{handlers: map[string]transport.Handler{}}
}

// Handle lets h receive what is sent to to, such as "mem://alice"; nil removes
// it. The error is a *transport.SendError for a malformed endpoint.
func (n *Network) Handle(to string, h transport.Handler) error {
	u, err := endpoint.Parse(to, Scheme)
	if err != nil {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if h == nil {
		delete(n.handlers, u.String())
		return nil
	}
	n.handlers[u.String()] = transport.Contain(h)
	return nil
}

// Sender returns a new Sender, one for each agent.
func (n *Network) Sender() *Sender {
	return &Sender{network: n, sends: exchange.NewSends()}
}

// Sender sends to the endpoints of a Network.
type Sender struct {
	network *Network
	sends   *exchange.Sends
}

var (
	_ transport.Sender = (*Sender)(nil)
	_ transport.Binder = (*Sender)(nil)
	_ io.Closer        = (*Sender)(nil)
)

// Bind names the Handler for replies; its Replier returns
// transport.ErrNoReturnRoute. Call it before the first Send.
func (s *Sender) Bind(h transport.Handler) { s.sends.Bind(h) }

// Send gives a copy of p to the Handler of the endpoint, in the caller's
// goroutine, and waits until it is handled. A reply goes to the bound Handler after
// that, which accepts it before Send returns; if that cannot take it now, Send fails,
// retryably, so that the reply is had by sending p again.
//
// A failure is a *transport.SendError. A *transport.RejectError of the receiver
// is not retryable and shows its Reason, a *transport.BusyError is retryable with
// its RetryAfter, other errors and panics are retryable
// and show nothing, as over HTTP; so is an endpoint that nobody handles. A
// packet over transport.DefaultMaxBytes is transport.ErrTooLarge.
func (s *Sender) Send(ctx context.Context, to string, p transport.Packet) error {
	u, err := endpoint.Parse(to, Scheme)
	if err != nil {
		return err
	}
	mediaType, err := endpoint.MediaType(p)
	if err != nil {
		return endpoint.Malformed(to, err)
	}
	if len(p.Data) > transport.DefaultMaxBytes {
		return endpoint.Malformed(to, transport.ErrTooLarge)
	}
	if err := ctx.Err(); err != nil {
		return endpoint.Network(to, err)
	}
	s.network.mu.RLock()
	h := s.network.handlers[u.String()]
	s.network.mu.RUnlock()
	if h == nil {
		return endpoint.Network(to, errors.New("nobody listens"))
	}
	ctx, bound, end, ok := s.sends.Begin(ctx)
	if !ok {
		return endpoint.Network(to, fmt.Errorf("mem sender: %w", net.ErrClosed))
	}
	defer end()

	var reply transport.Packet
	r := exchange.NewReplier(func(_ context.Context, p transport.Packet) error {
		reply = transport.Packet{MediaType: p.MediaType, Data: bytes.Clone(p.Data)}
		return nil
	})
	if bound == nil {
		r.End()
	}
	handled, err := h.ServePacket(ctx, r, transport.Packet{MediaType: mediaType, Data: bytes.Clone(p.Data)})
	done := exchange.Await(ctx, handled)
	replied := r.End()
	var reject *transport.RejectError
	var busy *transport.BusyError
	switch {
	case replied:
		_, err := bound.ServePacket(ctx, transport.NoReply{}, reply)
		return endpoint.Untaken(to, err)
	case errors.As(err, &reject):
		return endpoint.Malformed(to, errors.New(reject.Reason))
	case errors.As(err, &busy):
		e := endpoint.Network(to, errors.New("the receiver is busy"))
		e.RetryAfter, e.Answered, e.Busy = busy.RetryAfter, true, true
		return e
	case err != nil:
		e := endpoint.Network(to, errors.New("internal error of the receiver"))
		e.Answered = true
		return e
	case !done:
		return endpoint.Network(to, ctx.Err())
	}
	return nil
}

// Receipts is true.
func (s *Sender) Receipts() bool { return true }

// Close ends the contexts of the Sends under way and waits for them. It is
// idempotent; a Handler must not call it.
func (s *Sender) Close() error {
	s.sends.Close()
	return nil
}
