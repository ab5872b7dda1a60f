package wstransport

import (
	"cmp"
	"time"

	"github.com/didcomm-go/didcomm/transport"
)

// Limits bound what one connection may cost. Zero fields take the defaults
// named at each.
type Limits struct {
	// MaxBytes is the largest message that is read (transport.DefaultMaxBytes).
	// A larger one ends the connection with close code 1009 before it is read.
	MaxBytes int64
	// ReadTimeout bounds the time from a message's first byte to its last (30 s).
	ReadTimeout time.Duration
	// WriteTimeout bounds the writing of one message (30 s); a connection that
	// does not take it in time is closed.
	WriteTimeout time.Duration
	// PingInterval is how often a connection is pinged, at least (30 s).
	PingInterval time.Duration
	// PongTimeout is how long after a ping the peer may stay silent before its
	// connection is closed (10 s).
	PongTimeout time.Duration
	// IdleTimeout closes a connection on which no message has gone either way
	// for so long: 5 minutes at a Client; at a Server zero means never, since
	// clients wait on their connections for live delivery.
	IdleTimeout time.Duration
	// HandlerTimeout bounds the context of one ServePacket, and the wait until its
	// packet is handled (60 s).
	HandlerTimeout time.Duration
	// MaxHandlers is how many ServePackets of one connection run at the same
	// time (4). Each has a transport.Turn in the order of arrival. While all are busy the connection is not
	// read: the peer's writes wait, and its pings too. How many accepted messages
	// may wait to be handled is for the Handler to bound.
	MaxHandlers int
	// MaxWriters is how many writes to one connection may be under way or wait
	// for their turn (64). One more is refused at once.
	MaxWriters int
}

func (l Limits) withDefaults() Limits {
	l.MaxBytes = cmp.Or(max(l.MaxBytes, 0), transport.DefaultMaxBytes)
	l.ReadTimeout = cmp.Or(max(l.ReadTimeout, 0), 30*time.Second)
	l.WriteTimeout = cmp.Or(max(l.WriteTimeout, 0), 30*time.Second)
	l.PingInterval = cmp.Or(max(l.PingInterval, 0), 30*time.Second)
	l.PongTimeout = cmp.Or(max(l.PongTimeout, 0), 10*time.Second)
	l.HandlerTimeout = cmp.Or(max(l.HandlerTimeout, 0), 60*time.Second)
	l.MaxHandlers = cmp.Or(max(l.MaxHandlers, 0), 4)
	l.MaxWriters = cmp.Or(max(l.MaxWriters, 0), 64)
	return l
}
