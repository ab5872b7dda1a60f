package agent_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"

	"github.com/didcomm-go/didcomm/transport"
)

// wires are connections in memory like WebSockets: they carry packets both ways, in order
// and without receipts. They end at random, and lose the packets that are in transit.
type wires struct {
	cut float64 // the probability that a packet ends its connection

	mu        sync.Mutex // guards all below
	rand      *rand.Rand
	listeners map[string]transport.Handler
	senders   map[string]*wireSender // by endpoint
	cuts      int
}

func newWires(seed uint64, cut float64) *wires {
	return &wires{
		cut: cut, rand: rand.New(rand.NewPCG(seed, 7)),
		listeners: make(map[string]transport.Handler), senders: make(map[string]*wireSender),
	}
}

func (w *wires) listen(endpoint string, h transport.Handler) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.listeners[endpoint] = h
}

// fate decides whether a packet arrives, and whether its connection stays open.
func (w *wires) fate() (arrives, lives bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.rand.Float64() >= w.cut {
		return true, true
	}
	w.cuts++
	return w.rand.IntN(2) == 0, false
}

// sender returns the sender of the agent that receives packets at an endpoint. Its close
// ends all connections of the agent.
func (w *wires) sender(endpoint string) *wireSender {
	s := &wireSender{wires: w, conns: make(map[string]*wireConn)}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.senders[endpoint] = s
	return s
}

type wireSender struct {
	wires *wires
	bound transport.Handler

	mu     sync.Mutex // guards all below
	conns  map[string]*wireConn
	taken  []*wireConn // that other agents opened
	closed bool
}

var (
	_ transport.SessionSender = (*wireSender)(nil)
	_ transport.Binder        = (*wireSender)(nil)
)

func (s *wireSender) Bind(h transport.Handler) { s.bound = h }

func (s *wireSender) Receipts() bool { return false }

func (s *wireSender) Send(ctx context.Context, endpoint string, p transport.Packet) error {
	_, err := s.SendOn(ctx, endpoint, p)
	return err
}

func (s *wireSender) SendOn(ctx context.Context, endpoint string, p transport.Packet) (transport.Session, error) {
	c, err := s.connect(endpoint)
	if err == nil {
		err = c.near.Reply(ctx, p)
	}
	if err != nil {
		return nil, &transport.SendError{Endpoint: endpoint, Retryable: true, Err: err}
	}
	return c.near, nil
}

func (s *wireSender) connect(endpoint string) (*wireConn, error) {
	s.wires.mu.Lock()
	h, far := s.wires.listeners[endpoint], s.wires.senders[endpoint]
	s.wires.mu.Unlock()
	s.mu.Lock()
	c := s.conns[endpoint]
	switch {
	case s.closed:
		s.mu.Unlock()
		return nil, errors.New("closed")
	case c != nil && !c.ended():
		s.mu.Unlock()
		return c, nil
	case h == nil:
		s.mu.Unlock()
		return nil, errors.New("nobody listens")
	}
	c = newWireConn(s.wires, s.bound, h)
	s.conns[endpoint] = c
	s.mu.Unlock()
	far.take(c) // two agents may connect to each other at the same time
	return c, nil
}

func (s *wireSender) take(c *wireConn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		c.end()
		return
	}
	s.taken = append(s.taken, c)
}

func (s *wireSender) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for _, c := range s.conns {
		c.end()
	}
	for _, c := range s.taken {
		c.end()
	}
}

// wireConn is a connection. Each end gives received packets to its handler.
type wireConn struct {
	wires     *wires
	near, far *wireEnd
	done      chan struct{}
	once      sync.Once
}

func newWireConn(w *wires, near, far transport.Handler) *wireConn {
	c := &wireConn{wires: w, done: make(chan struct{})}
	c.near = &wireEnd{conn: c, in: make(chan transport.Packet, 100)}
	c.far = &wireEnd{conn: c, in: make(chan transport.Packet, 100)}
	c.near.peer, c.far.peer = c.far, c.near
	go c.near.read(near)
	go c.far.read(far)
	return c
}

func (c *wireConn) end() { c.once.Do(func() { close(c.done) }) }

func (c *wireConn) ended() bool {
	select {
	case <-c.done:
		return true
	default:
		return false
	}
}

// wireEnd is a transport.Session.
type wireEnd struct {
	conn *wireConn
	peer *wireEnd
	in   chan transport.Packet
}

func (e *wireEnd) Done() <-chan struct{} { return e.conn.done }

func (e *wireEnd) Reply(ctx context.Context, p transport.Packet) error {
	if e.conn.ended() {
		return transport.ErrNoReturnRoute
	}
	arrives, lives := e.conn.wires.fate()
	if arrives {
		select {
		case e.peer.in <- p:
		case <-e.conn.done:
			return transport.ErrNoReturnRoute
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if !lives {
		e.conn.end()
	}
	return nil
}

// read calls the handler for each packet, in a goroutine. An error of the handler ends
// the connection, as with a WebSocket.
func (e *wireEnd) read(h transport.Handler) {
	for {
		select {
		case p := <-e.in:
			go func() {
				_, err := h.ServePacket(context.Background(), e, p)
				var busy *transport.BusyError
				var reject *transport.RejectError
				if err != nil && !errors.As(err, &busy) && !errors.As(err, &reject) {
					e.conn.end()
				}
			}()
		case <-e.conn.done:
			return
		}
	}
}
