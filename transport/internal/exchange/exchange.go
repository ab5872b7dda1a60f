// Package exchange is shared by the transports that send a packet and get at most one
// reply. A client tracks its calls with [Sends]. A server replies with a [Replier] and
// waits with [Await].
package exchange

import (
	"context"
	"sync"

	"github.com/didcomm-go/didcomm/transport"
	"github.com/didcomm-go/didcomm/transport/internal/endpoint"
)

// Sends tracks the running calls of Send of one client, and holds the Handler for
// replies.
type Sends struct {
	closing context.Context // done once Close was called
	stop    context.CancelFunc

	// guarded by mu
	mu       sync.Mutex
	bound    transport.Handler
	closed   bool
	inflight sync.WaitGroup
}

// NewSends returns Sends without any call.
func NewSends() *Sends {
	s := new(Sends)
	s.closing, s.stop = context.WithCancel(context.Background())
	return s
}

// Bind sets the Handler that Begin returns. It recovers from panics of h.
func (s *Sends) Bind(h transport.Handler) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bound = transport.Contain(h)
}

// Begin begins a call of Send, which lasts until end is called. The context sub is for
// this call. It ends with ctx, and when end or Close is called. The Handler bound is nil
// if none is set. After Close, ok is false and end is nil.
func (s *Sends) Begin(ctx context.Context) (sub context.Context, bound transport.Handler, end func(), ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ctx, nil, nil, false
	}
	s.inflight.Add(1)
	sub, cancel := context.WithCancel(ctx)
	unhook := context.AfterFunc(s.closing, cancel)
	return sub, s.bound, func() {
		unhook()
		cancel()
		s.inflight.Done()
	}, true
}

// Close refuses further calls of Send, cancels the running ones and waits for their end.
// It can be called more than once.
func (s *Sends) Close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.stop()
	s.inflight.Wait()
}

// Replier accepts one reply, until End is called.
type Replier struct {
	// guarded by mu
	mu      sync.Mutex
	write   func(ctx context.Context, p transport.Packet) error // nil after Reply and End
	replied bool
}

var _ transport.Replier = (*Replier)(nil)

// NewReplier returns a Replier that calls write with the reply, whose media type is set.
// write is called at most once, and is not running when End has returned.
func NewReplier(write func(ctx context.Context, p transport.Packet) error) *Replier {
	return &Replier{write: write}
}

// Reply writes p. It returns transport.ErrNoReturnRoute after another reply, or after
// End.
func (r *Replier) Reply(ctx context.Context, p transport.Packet) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	mediaType, err := endpoint.MediaType(p)
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.write == nil {
		return transport.ErrNoReturnRoute
	}
	write := r.write
	r.write, r.replied = nil, true
	return write(ctx, transport.Packet{MediaType: mediaType, Data: p.Data})
}

// End makes the Replier refuse replies. It reports whether Reply has called write.
func (r *Replier) End() (replied bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.write = nil
	return r.replied
}

// Await waits until the channel handled of a transport.Handler is closed. It returns
// false if ctx ends first.
func Await(ctx context.Context, handled <-chan struct{}) bool {
	if handled == nil {
		return true
	}
	select {
	case <-handled:
		return true
	case <-ctx.Done():
	}
	select {
	case <-handled:
		return true
	default:
		return false
	}
}
