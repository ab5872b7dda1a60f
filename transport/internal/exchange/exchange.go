// Package exchange is what the transports share that carry a packet one way and at
// most one reply back: a client keeps its Sends, a server answers by a Replier and
// waits with Await.
package exchange

import (
	"context"
	"sync"

	"github.com/didcomm-go/didcomm/transport"
	"github.com/didcomm-go/didcomm/transport/internal/endpoint"
)

// Sends are the Sends of one client that are under way, and the Handler of what
// comes back.
type Sends struct {
	closing context.Context // done once Close was called
	stop    context.CancelFunc

	// guarded by mu
	mu       sync.Mutex
	bound    transport.Handler
	closed   bool
	inflight sync.WaitGroup
}

// NewSends returns Sends of which none is under way.
func NewSends() *Sends {
	s := new(Sends)
	s.closing, s.stop = context.WithCancel(context.Background())
	return s
}

// Bind names the Handler that Begin returns, contained.
func (s *Sends) Bind(h transport.Handler) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bound = transport.Contain(h)
}

// Begin begins a Send, which goes on until end is called. Its context is sub, which
// ends with ctx, with end and with Close. bound is nil if no Handler was named; ok is
// false, and end nil, after Close.
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

// Close ends the contexts of the Sends under way, waits for them and lets no other
// begin. It is idempotent.
func (s *Sends) Close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.stop()
	s.inflight.Wait()
}

// Replier takes one reply, until End.
type Replier struct {
	// guarded by mu
	mu      sync.Mutex
	write   func(ctx context.Context, p transport.Packet) error // nil once it takes no reply
	replied bool
}

var _ transport.Replier = (*Replier)(nil)

// NewReplier returns a Replier that calls write with its reply, under the media type
// to send it as. write is called once at most, and does not run any more once End
// has returned.
func NewReplier(write func(ctx context.Context, p transport.Packet) error) *Replier {
	return &Replier{write: write}
}

// Reply writes p. It returns transport.ErrNoReturnRoute if there was a reply, or
// after End.
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

// End ends the return route, and tells whether a reply was begun.
func (r *Replier) End() (replied bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.write = nil
	return r.replied
}

// Await waits until handled, as transport.Handler returns it, is closed. It
// reports false when ctx ends first.
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
