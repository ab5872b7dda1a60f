package wstransport

import (
	"cmp"
	"time"

	"github.com/didcomm-go/didcomm/transport"
)

// Limits limits one connection. A zero in a field means the default.
type Limits struct {
	// MaxBytes is the size of the largest message that is read, in bytes. A larger
	// message ends the connection with close code 1009 before it is read. The default
	// is transport.DefaultMaxBytes.
	MaxBytes int64
	// ReadTimeout limits the time from the first to the last byte of a message. The
	// default is 30 seconds.
	ReadTimeout time.Duration
	// WriteTimeout limits the time to write a message. The connection is closed if
	// writing takes longer. The default is 30 seconds.
	WriteTimeout time.Duration
	// PingInterval is the longest time between two pings. The default is 30 seconds.
	PingInterval time.Duration
	// PongTimeout is how long after a ping the peer may send nothing. Then the
	// connection is closed. The default is 10 seconds.
	PongTimeout time.Duration
	// IdleTimeout is how long a connection stays open without a message in either
	// direction. A message that is not handled yet also keeps it open. The default is 5
	// minutes for a Client. The default for a Server is no timeout, because clients wait
	// on their connections for messages.
	IdleTimeout time.Duration
	// HandlerTimeout limits the time from calling the Handler for a packet until the
	// packet is handled. The default is 60 seconds.
	HandlerTimeout time.Duration
	// MaxHandlers is the largest number of packets of a connection that the Handler
	// accepts concurrently. Their order is in their transport.Turn. While that many calls
	// of ServePacket are running, nothing is read from the connection, including pings.
	// The Handler has to limit how many packets are accepted but not handled yet. The
	// default is 4.
	MaxHandlers int
	// MaxWriters is the largest number of writes to a connection that are running or
	// waiting. Further writes fail at once. The default is 64.
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
