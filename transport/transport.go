// Package transport defines what every DIDComm transport has in common:
// packets of bytes with a media type, a Handler that takes them in, a Replier
// that answers on the connection a packet came by, and a Sender that carries
// them to an endpoint.
//
// A transport knows bytes, never messages: whether a packet opens, who sent it
// and whether it may be answered on the same connection is for the Handler to
// say (agent.Agent implements Handler).
//
// It implements the transport-neutral part of DIDComm v2.1, Transports, and
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

// DefaultMaxBytes is the largest packet that a transport reads unless told
// otherwise: 5 MiB.
const DefaultMaxBytes = 5 << 20

// Errors that users of a transport act on.
var (
	// ErrNoReturnRoute is what a Replier returns when the connection can take
	// no (further) reply: a closed WebSocket, an HTTP response already written.
	ErrNoReturnRoute = errors.New("transport: no return route")
	// ErrMediaType is a media type that is none of DIDComm's.
	ErrMediaType = errors.New("transport: not a didcomm media type")
	// ErrTooLarge is a packet over the limit.
	ErrTooLarge = errors.New("transport: packet too large")
)

// Packet is one DIDComm message as it travels: an envelope, or a plaintext.
type Packet struct {
	// MediaType is one of the MediaType constants, or empty where the sender
	// named none.
	MediaType string
	// Data is the message. The receiver of a Packet may keep it.
	Data []byte
}

// Handler takes packets in.
type Handler interface {
	// ServePacket returns when p is accepted, with a nil error, or is not.
	// A *RejectError names what the peer may be told, a *BusyError asks it to
	// try again later; any other error is an internal failure of which the peer
	// learns nothing but that it happened.
	//
	// An accepted packet need not be handled yet. handled is closed when p has
	// been handled, or when the Handler is not going to do that any more; after
	// that nothing is replied by w unless w is a Session. A nil handled means
	// that there is nothing to wait for; with an error it is always nil.
	//
	// ctx may end once ServePacket has returned: it ends when the transport
	// waits no longer.
	ServePacket(ctx context.Context, w Replier, p Packet) (handled <-chan struct{}, err error)
}

// HandlerFunc makes a Handler of a function that accepts a packet by handling it.
type HandlerFunc func(ctx context.Context, w Replier, p Packet) error

// ServePacket calls f. The packet is handled when f has returned.
func (f HandlerFunc) ServePacket(ctx context.Context, w Replier, p Packet) (handled <-chan struct{}, err error) {
	return nil, f(ctx, w, p)
}

// Replier sends a packet back on the connection that a packet came by. It
// returns ErrNoReturnRoute when that connection takes no more.
type Replier interface {
	Reply(ctx context.Context, p Packet) error
}

// Session is a Replier that outlives the packet that it came with, such as a
// WebSocket connection.
type Session interface {
	Replier
	// Done is closed when the connection has ended.
	Done() <-chan struct{}
}

// Ended tells whether a connection has ended.
func Ended(s Session) bool {
	select {
	case <-s.Done():
		return true
	default:
		return false
	}
}

// Sender carries packets to endpoints of the URI schemes that it was made for.
type Sender interface {
	// Send sends p to endpoint. A failure is a *SendError.
	Send(ctx context.Context, endpoint string, p Packet) error
	// Receipts tells what a nil error of Send means. True: the peer has p, or
	// what keeps p for the peer has it, as with HTTP, in memory and JetStream.
	// False: p was only written, and may be lost on its way, as with WebSocket
	// and core NATS. It is the same for every Send.
	Receipts() bool
}

// SessionSender is a Sender that sends on connections which outlive the packet,
// such as that of WebSocket.
type SessionSender interface {
	Sender
	// SendOn is Send, and returns the connection that the packet was written to.
	SendOn(ctx context.Context, endpoint string, p Packet) (Session, error)
}

// Binder is implemented by a Sender whose peers may answer on the connection
// that it opened. Whoever owns the Sender calls Bind once, before the first
// Send, with the Handler for such answers.
type Binder interface {
	Bind(h Handler)
}

// SendError is a failed Send.
type SendError struct {
	Endpoint string
	// Retryable tells whether the same packet may succeed later at the same
	// endpoint: true for timeouts, refused connections and 5xx, false for a
	// 4xx, a refused address and a malformed endpoint.
	Retryable bool
	// RetryAfter is the delay that the peer asked for, 0 if it asked for none.
	RetryAfter time.Duration
	// Answered tells that the endpoint was reached, and did not take the packet; Busy
	// that it said it may take it later, as with a BusyError, 429 or 503.
	Answered, Busy bool
	Err            error
}

// Error says which endpoint failed and why.
func (e *SendError) Error() string { return fmt.Sprintf("send to %s: %v", e.Endpoint, e.Err) }

// Unwrap returns the cause.
func (e *SendError) Unwrap() error { return e.Err }

// RejectError is a Handler's refusal of a packet.
type RejectError struct {
	// Reason is one plain line that the peer may see.
	Reason string
	// Err is the cause, for the log only.
	Err error
}

// Error joins reason and cause; send Reason, not Error, to a peer.
func (e *RejectError) Error() string {
	if e.Err == nil {
		return e.Reason
	}
	return e.Reason + ": " + e.Err.Error()
}

// Unwrap returns the cause.
func (e *RejectError) Unwrap() error { return e.Err }

// BusyError is a Handler's way to say that it cannot take a packet now, as when it
// has no room or cannot reach what it needs, and kept nothing of it.
type BusyError struct {
	// RetryAfter is when the peer may try again; 0 leaves that to the peer.
	RetryAfter time.Duration
	// Err is the cause, for the log only.
	Err error
}

// Error has the cause; a peer is told no more than that we are busy.
func (e *BusyError) Error() string {
	if e.Err == nil {
		return "busy"
	}
	return "busy: " + e.Err.Error()
}

// Unwrap returns the cause.
func (e *BusyError) Unwrap() error { return e.Err }

// ParseMediaType returns the MediaType constant that a Content-Type stands
// for. It takes parameters, any case, a missing "application/" prefix (DIDComm
// v2.1, IANA Media Types), and the older application/didcomm-envelope-enc and
// application/didcomm+encrypted spellings. An empty one yields "" and no
// error; anything else is ErrMediaType.
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
