// Package transport defines the types that all DIDComm transports share:
//   - a [Packet] is a message as bytes, with a media type;
//   - a [Sender] sends packets to endpoints;
//   - a [Handler] receives packets;
//   - a [Replier] sends a packet back on the connection of a received packet.
//
// To send and receive packets, use a package that implements a transport, such as
// httptransport or wstransport. In an agent, agent.Agent is the Handler. All transports of a
// process share one [Budget], which limits the memory of what they receive.
//
// A transport does not open messages. The Handler decides whether a packet is a valid
// message, who sent it, and whether the connection may carry the answer.
//
// The package implements the transport-neutral part of DIDComm v2.1, Transports, and
// the media types of DIDComm v2.1, IANA Media Types.
package transport

import (
	"context"
	"errors"
	"fmt"
	"mime"
	"strings"
	"time"
)

// Media types of DIDComm v2.1, IANA Media Types.
const (
	MediaTypePlain     = "application/didcomm-plain+json"
	MediaTypeSigned    = "application/didcomm-signed+json"
	MediaTypeEncrypted = "application/didcomm-encrypted+json"
)

// DefaultMaxBytes is the default of the largest packet that a transport reads: 5 MiB.
const DefaultMaxBytes = 5 << 20

// Errors of transports; match them with errors.Is.
var (
	// ErrNoReturnRoute means that a connection cannot carry a reply, for example
	// because a WebSocket is closed or an HTTP response is already written.
	ErrNoReturnRoute = errors.New("transport: no return route")
	// ErrMediaType means that a media type is not a DIDComm media type.
	ErrMediaType = errors.New("transport: not a didcomm media type")
	// ErrTooLarge means that a packet is larger than the limit.
	ErrTooLarge = errors.New("transport: packet too large")
	// ErrBudget means that a packet was not read because its Budget is used up.
	ErrBudget = errors.New("transport: too many unread bytes")
)

// Packet is one DIDComm message as a transport carries it: an encrypted, signed or
// plaintext message.
type Packet struct {
	// MediaType is one of the MediaType constants, or empty if it is not known.
	MediaType string
	// Data is the message in JSON. It belongs to the receiver of the Packet.
	Data []byte
}

// Handler receives packets. It may be called from several goroutines.
//
// Two events matter to a transport. A packet is accepted when the Handler has taken
// responsibility for it, for example by storing it. The packet is handled when the
// Handler has finished its work, such as sending a reply.
type Handler interface {
	// ServePacket returns a nil error when p is accepted. If p is not accepted, it
	// returns
	//   - a *RejectError to refuse p for good, with a reason that the peer may see;
	//   - a *BusyError to ask the peer to try again later;
	//   - any other error for an internal failure. The peer does not see the error.
	//
	// The channel handled is closed when p is handled, or when the Handler has given up
	// handling p. A nil channel means that p is already handled. The channel is nil if
	// there is an error. After the channel is closed, the Handler does not use w
	// anymore, unless w is a [Session].
	//
	// The transport may cancel ctx when it no longer waits for handled.
	ServePacket(ctx context.Context, w Replier, p Packet) (handled <-chan struct{}, err error)
}

// HandlerFunc is a function that is a [Handler]. A packet is both accepted and handled
// when the function returns nil.
type HandlerFunc func(ctx context.Context, w Replier, p Packet) error

// ServePacket calls f and returns a nil channel.
func (f HandlerFunc) ServePacket(ctx context.Context, w Replier, p Packet) (handled <-chan struct{}, err error) {
	return nil, f(ctx, w, p)
}

// Replier sends packets back on the connection of a received packet.
type Replier interface {
	// Reply sends p. The error matches ErrNoReturnRoute if the connection cannot carry
	// another reply.
	Reply(ctx context.Context, p Packet) error
}

// Session is a Replier that can be used after the packet is handled, for example a
// WebSocket connection.
type Session interface {
	Replier
	// Done returns a channel that is closed when the connection has ended.
	Done() <-chan struct{}
}

// Ended reports whether the connection of a Session has ended.
func Ended(s Session) bool {
	select {
	case <-s.Done():
		return true
	default:
		return false
	}
}

// Sender sends packets to endpoints. Each Sender supports certain URI schemes. It may
// be used from several goroutines.
type Sender interface {
	// Send sends p to the URI endpoint. Errors are of type *SendError.
	Send(ctx context.Context, endpoint string, p Packet) error
	// Receipts reports what a nil error of Send means, for all packets:
	//   - true means that the peer has p, or a server that keeps p for the peer. This
	//     is the case for HTTP and memtransport.
	//   - false means that p was written, but may be lost on its way. This is the case
	//     for WebSocket.
	Receipts() bool
}

// SessionSender is a Sender whose connections stay open after a packet is sent, for
// example those of WebSocket.
type SessionSender interface {
	Sender
	// SendOn is like Send, and also returns the connection on which p was sent.
	SendOn(ctx context.Context, endpoint string, p Packet) (Session, error)
}

// Binder is an optional interface of a Sender. It is for transports whose peers can
// send packets back on a connection that the Sender opened.
type Binder interface {
	// Bind sets the Handler for packets that come back. Call it once, before the first
	// Send.
	Bind(h Handler)
}

// SendError is the error of a failed [Sender.Send].
type SendError struct {
	// Endpoint is the URI that Send was called with.
	Endpoint string
	// Retryable reports whether sending the same packet to the same endpoint may
	// succeed later. It is true for timeouts, refused connections and HTTP status 5xx.
	// It is false for most of 4xx, an address that is refused by netguard, and a
	// malformed endpoint.
	Retryable bool
	// RetryAfter is the delay that the peer asked for, or 0.
	RetryAfter time.Duration
	// Status is the HTTP status of the answer, or 0 without one.
	Status int
	// Answered reports whether the endpoint was reached and did not accept the packet.
	Answered bool
	// Busy reports whether the endpoint may accept the packet later, as after a
	// BusyError of its Handler or HTTP status 429 or 503.
	Busy bool
	// Taken reports whether the peer has the packet, and only its reply was lost: the reply
	// broke off, or our own Handler could not accept it. Another Send makes a peer repeat its
	// reply.
	Taken bool
	// Err is the cause.
	Err error
}

// Error returns the endpoint and the cause.
func (e *SendError) Error() string { return fmt.Sprintf("send to %s: %v", e.Endpoint, e.Err) }

// Unwrap returns the cause.
func (e *SendError) Unwrap() error { return e.Err }

// RejectError is the error of a [Handler] that refuses a packet for good.
type RejectError struct {
	// Reason is one line of plain text that the peer may see.
	Reason string
	// Err is the cause, which only goes to the log. It may be nil.
	Err error
}

// Error returns the reason and the cause. Send only Reason to a peer.
func (e *RejectError) Error() string {
	if e.Err == nil {
		return e.Reason
	}
	return e.Reason + ": " + e.Err.Error()
}

// Unwrap returns the cause.
func (e *RejectError) Unwrap() error { return e.Err }

// BusyError is the error of a [Handler] that cannot accept a packet now, for example
// because its store is full or a DID cannot be resolved. The Handler has not kept the
// packet.
type BusyError struct {
	// RetryAfter is the delay after which the peer may try again. 0 leaves the delay to
	// the peer.
	RetryAfter time.Duration
	// Reason is one line of plain text that the peer may see, or empty.
	Reason string
	// Rate reports whether the peer has sent too many packets in a time. Over HTTP the
	// status is then 429.
	Rate bool
	// Err is the cause, which only goes to the log. It may be nil.
	Err error
}

// Error returns "busy" and the cause. Send only Reason to a peer.
func (e *BusyError) Error() string {
	if e.Err == nil {
		return "busy"
	}
	return "busy: " + e.Err.Error()
}

// Unwrap returns the cause.
func (e *BusyError) Unwrap() error { return e.Err }

// ParseMediaType returns the MediaType constant for the value of a Content-Type
// header. It ignores parameters and case, and accepts
//   - a missing "application/" prefix (DIDComm v2.1, IANA Media Types);
//   - the older names application/didcomm-envelope-enc and
//     application/didcomm+encrypted;
//   - an empty value, for which it returns "" and no error.
//
// The error matches ErrMediaType for any other value.
func ParseMediaType(s string) (string, error) {
	if strings.TrimSpace(s) == "" {
		return "", nil
	}
	t, _, err := mime.ParseMediaType(s)
	if err != nil && t == "" {
		return "", fmt.Errorf("%w: %q", ErrMediaType, s)
	}
	if !strings.Contains(t, "/") {
		t = "application/" + t
	}
	switch t {
	case MediaTypePlain, MediaTypeSigned, MediaTypeEncrypted:
		return t, nil
	case "application/didcomm+encrypted", "application/didcomm-envelope-enc":
		return MediaTypeEncrypted, nil
	}
	return "", fmt.Errorf("%w: %q", ErrMediaType, s)
}
