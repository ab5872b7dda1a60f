// Package memtransport sends DIDComm packets between agents in the same process,
// without a network. It is meant for tests, and for programs that run several agents.
//
// Call [NewNetwork], register the receivers with [Network.Handle], and send with the
// Sender that [Network.Sender] returns. Each packet can have one reply, until the
// receiver has handled the packet, as over HTTP.
//
// The package implements the transport-neutral part of DIDComm v2.1, Transports.
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

// Scheme is the URI scheme of endpoints, for example in mem://alice.
const Scheme = "mem"

// Network connects Senders to the Handlers of endpoints. It may be used from several
// goroutines.
type Network struct {
	mu       sync.RWMutex
	handlers map[string]transport.Handler
}

// NewNetwork returns a Network without endpoints.
func NewNetwork() *Network {
	return &Network{handlers: map[string]transport.Handler{}}
}

// Handle registers h as the receiver of packets for an endpoint, for example
// "mem://alice". A nil h removes the endpoint. The error is a *transport.SendError if
// the endpoint is malformed.
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

// Sender returns a new Sender. Each agent needs its own.
func (n *Network) Sender() *Sender {
	return &Sender{network: n, sends: exchange.NewSends()}
}

// Sender is a [transport.Sender] for the endpoints of a Network. Use [Network.Sender]
// to make one.
type Sender struct {
	network *Network
	sends   *exchange.Sends
}

var (
	_ transport.Sender = (*Sender)(nil)
	_ transport.Binder = (*Sender)(nil)
	_ io.Closer        = (*Sender)(nil)
)

// Bind sets the Handler for replies. The Replier of a reply is [transport.NoReply].
// Without a bound Handler, the receivers of packets cannot reply. Call Bind before the
// first Send.
func (s *Sender) Bind(h transport.Handler) { s.sends.Bind(h) }

// Send passes a copy of p to the Handler of an endpoint, in the goroutine of the caller,
// and waits until that Handler has handled the packet. If there is a reply, Send then
// passes the reply to the bound Handler, and returns when the bound Handler has accepted
// the reply.
//
// Errors are of type *transport.SendError. These can be retried:
//   - an endpoint without a Handler, the end of ctx, and a closed Sender;
//   - a *transport.BusyError of the receiver; RetryAfter is copied;
//   - any other error or panic of the receiver, whose cause is not shown, as over HTTP;
//   - a reply that the bound Handler cannot accept now; another Send gets it again.
//
// These cannot be retried:
//   - a *transport.RejectError of the receiver; its Reason is shown;
//   - a malformed endpoint;
//   - a packet that is empty, has a media type other than DIDComm's, or is larger than
//     [transport.DefaultMaxBytes] (transport.ErrTooLarge).
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
		return endpoint.Network(to, errors.New("endpoint has no handler"))
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
		return endpoint.NotAccepted(to, err)
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

// Receipts returns true, because Send returns after the receiver has accepted the
// packet.
func (s *Sender) Receipts() bool { return true }

// Close cancels all calls of Send and waits until they have returned. It always returns
// nil. It can be called more than once, but not by a Handler.
func (s *Sender) Close() error {
	s.sends.Close()
	return nil
}
