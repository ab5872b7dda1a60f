package client

import (
	"context"
	"sync"

	"github.com/didcomm-go/didcomm/transport"
)

// lastConn has the last connection that a message has left by.
type lastConn struct {
	mu sync.Mutex
	s  transport.Session // guarded by mu
}

// open reports whether there is such a connection, and it has not ended.
func (l *lastConn) open() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.s != nil && !transport.Ended(l.s)
}

// watch makes l know the connections of senders.
func (l *lastConn) watch(senders map[string]transport.Sender) map[string]transport.Sender {
	for scheme, s := range senders {
		if on, ok := s.(transport.SessionSender); ok {
			senders[scheme] = &watched{on, l}
		}
	}
	return senders
}

// watched is a SessionSender that tells a lastConn.
type watched struct {
	transport.SessionSender
	last *lastConn
}

var (
	_ transport.SessionSender = (*watched)(nil)
	_ transport.Binder        = (*watched)(nil)
)

// SendOn implements [transport.SessionSender].
func (w *watched) SendOn(ctx context.Context, endpoint string, p transport.Packet) (transport.Session, error) {
	s, err := w.SessionSender.SendOn(ctx, endpoint, p)
	w.last.mu.Lock()
	defer w.last.mu.Unlock()
	w.last.s = s
	return s, err
}

// Bind implements [transport.Binder].
func (w *watched) Bind(h transport.Handler) {
	if b, ok := w.SessionSender.(transport.Binder); ok {
		b.Bind(h)
	}
}
