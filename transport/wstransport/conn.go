package wstransport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"

	"github.com/didcomm-go/didcomm/transport"
	"github.com/didcomm-go/didcomm/transport/internal/exchange"
)

// closeWait is how long a connection that we close waits for the peer's close
// frame, and for room to write its own.
const closeWait = time.Second

var (
	errEnded = errors.New("connection has ended")
	errBusy  = errors.New("too many writes wait for the connection")
)

// conn is one WebSocket connection, at either end. While it is idle it costs
// one goroutine, the reader; writers write in their own goroutine, one at a
// time, and a timer does the pings.
type conn struct {
	// static after start
	group *group
	ws    *websocket.Conn
	turn  chan struct{} // held by the one who writes
	slots chan struct{} // one held by each running ServePacket
	shut  chan struct{} // closed when the close frame is about to be sent
	done  chan struct{} // closed by the reader when it ends

	waiting   atomic.Int32   // writers in write
	unhandled atomic.Int32   // messages that were read and are not handled yet
	handling  sync.WaitGroup // as many
	kind      atomic.Int32   // frame type to write: the one last read
	used      atomic.Int64   // when a message last went either way, Unix nanoseconds

	inMessage bool            // owned by the reader
	last      *transport.Turn // of the message that was read last; owned by the reader
	failed    bool            // owned by the one who writes: a write has failed

	// guarded by mu
	mu       sync.Mutex
	shutting bool
	ended    bool
	timer    *time.Timer
}

var _ transport.Session = (*conn)(nil)

func newConn(g *group, ws *websocket.Conn) *conn {
	c := &conn{
		group: g,
		ws:    ws,
		turn:  make(chan struct{}, 1),
		slots: make(chan struct{}, g.limits.MaxHandlers),
		shut:  make(chan struct{}),
		done:  make(chan struct{}),
	}
	c.kind.Store(websocket.TextMessage)
	c.used.Store(time.Now().UnixNano())
	ws.SetReadLimit(g.limits.MaxBytes)
	// Any sign of life will do, since a peer that is busy pings and does not
	// answer.
	ws.SetPongHandler(func(string) error { return c.alive() })
	ws.SetPingHandler(func(data string) error {
		// A pong that finds no room is made up for by the next one.
		_ = ws.WriteControl(websocket.PongMessage, []byte(data), time.Now().Add(closeWait))
		return c.alive()
	})
	c.mu.Lock()
	defer c.mu.Unlock()
	c.timer = time.AfterFunc(c.nextTick(), c.tick)
	return c
}

// live tells whether the connection takes more writes, as far as is known.
func (c *conn) live() bool {
	select {
	case <-c.shut:
		return false
	case <-c.done:
		return false
	default:
		return true
	}
}

// Done is closed when the connection has ended.
func (c *conn) Done() <-chan struct{} { return c.done }

// Reply writes p to the peer. It returns transport.ErrNoReturnRoute when the
// connection has ended, failed, or has too many writes waiting.
func (c *conn) Reply(ctx context.Context, p transport.Packet) error {
	if len(p.Data) == 0 {
		return errors.New("empty packet")
	}
	err := c.write(ctx, p.Data)
	if err != nil && ctx.Err() == nil {
		err = fmt.Errorf("%w: %w", transport.ErrNoReturnRoute, err)
	}
	return err
}

// write returns once the message was written. It waits for its turn until ctx
// ends; a message that is being written is not abandoned, so that write may
// outlast ctx by WriteTimeout. errEnded, errBusy and the error of ctx mean that
// nothing of it was written.
func (c *conn) write(ctx context.Context, data []byte) error {
	if c.waiting.Add(1) > int32(c.group.limits.MaxWriters) {
		c.waiting.Add(-1)
		return errBusy
	}
	defer c.waiting.Add(-1)
	select {
	case c.turn <- struct{}{}:
		defer func() { <-c.turn }()
	case <-c.done:
		return errEnded
	case <-ctx.Done():
		return ctx.Err()
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if c.failed || !c.live() {
		return errEnded
	}
	_ = c.ws.SetWriteDeadline(time.Now().Add(c.group.limits.WriteTimeout))
	err := c.ws.WriteMessage(int(c.kind.Load()), data)
	switch {
	case errors.Is(err, websocket.ErrCloseSent):
		return errEnded
	case err != nil:
		c.failed = true
		c.ws.Close() // half a message may be out; the reader ends
		return fmt.Errorf("write: %w", err)
	}
	c.used.Store(time.Now().UnixNano())
	return nil
}

// read is the reader goroutine.
func (c *conn) read() {
	defer c.group.wg.Done()
	err := c.messages()
	c.mu.Lock()
	c.ended = true
	c.timer.Stop()
	c.mu.Unlock()
	c.ws.Close()
	close(c.done)
	c.group.remove(c)
	c.group.logger.Debug("websocket ended", "error", err)
}

// messages hands each message to a handler until the connection fails.
func (c *conn) messages() error {
	for {
		if err := c.alive(); err != nil {
			return err
		}
		kind, r, err := c.ws.NextReader()
		if err != nil {
			return err
		}
		// From here on pongs do not extend the deadline, so that a peer
		// cannot trickle a message for ever.
		c.readBy(c.group.limits.ReadTimeout)
		c.inMessage = true
		data, err := io.ReadAll(r)
		c.inMessage = false
		if err != nil {
			return err
		}
		if len(data) == 0 {
			continue // an application's keep-alive
		}
		c.kind.Store(int32(kind))
		c.used.Store(time.Now().UnixNano())
		select {
		case c.slots <- struct{}{}:
			c.group.wg.Add(1)
			c.unhandled.Add(1)
			c.handling.Add(1)
			c.last = c.last.Next()
			go c.handle(data, c.last)
		case <-c.shut: // dropped; read on to the peer's close frame
		}
	}
}

// handle gives one message to the Handler, frees the slot for the next when the
// Handler has accepted it, and waits until it is handled. The end of the connection
// does not end its context: the peer takes the message for delivered.
func (c *conn) handle(data []byte, turn *transport.Turn) {
	defer c.group.wg.Done()
	defer c.handling.Done()
	defer c.unhandled.Add(-1)
	ctx, cancel := context.WithTimeout(c.group.ctx, c.group.limits.HandlerTimeout)
	defer cancel()
	handled := c.accept(transport.WithTurn(ctx, turn), data)
	turn.End(ctx)
	<-c.slots
	exchange.Await(ctx, handled)
}

// accept gives one message to the Handler, and tells when it is handled.
func (c *conn) accept(ctx context.Context, data []byte) <-chan struct{} {
	h := c.group.handler()
	if h == nil {
		c.group.logger.Warn("websocket message dropped: no handler bound")
		return nil
	}
	handled, err := h.ServePacket(ctx, c, transport.Packet{Data: data})
	var reject *transport.RejectError
	var busy *transport.BusyError
	var p *transport.PanicError
	switch {
	case err == nil:
	case errors.As(err, &busy):
		c.group.logger.Warn("packet refused for now", "remote", c.ws.RemoteAddr().String(), "error", err)
	case errors.As(err, &p):
		c.group.logger.Error("packet handler panicked", "remote", c.ws.RemoteAddr().String(), "panic", p.Value, "stack", string(p.Stack))
		c.close(websocket.CloseInternalServerErr, "internal error")
	case errors.As(err, &reject):
		c.group.logger.Info("packet rejected", "remote", c.ws.RemoteAddr().String(), "error", err)
	default:
		// The peer must not take for delivered what is lost: the end of the
		// connection is all that WebSocket has to say so.
		c.group.logger.Error("packet failed", "remote", c.ws.RemoteAddr().String(), "error", err)
		c.close(websocket.CloseInternalServerErr, "internal error")
	}
	return handled
}

// alive gives the peer until after the next ping, unless a message or the end
// has set a deadline of its own.
func (c *conn) alive() error {
	if c.inMessage {
		return nil
	}
	return c.readBy(c.group.limits.PingInterval + c.group.limits.PongTimeout)
}

func (c *conn) readBy(d time.Duration) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.shutting {
		return nil
	}
	return c.ws.SetReadDeadline(time.Now().Add(d))
}

// tick pings, or closes a connection that was idle for too long.
func (c *conn) tick() {
	c.mu.Lock()
	if c.ended {
		c.mu.Unlock()
		return
	}
	c.group.wg.Add(1) // the reader still holds one, so that nobody has stopped waiting
	c.mu.Unlock()
	defer c.group.wg.Done()

	if idle := c.group.limits.IdleTimeout; idle > 0 && c.idleFor() >= idle && c.resting() {
		c.close(websocket.CloseNormalClosure, "idle")
		return
	}
	// A ping that finds no room is missed by the peer's pong: the read
	// deadline judges.
	_ = c.ws.WriteControl(websocket.PingMessage, nil, time.Now().Add(closeWait))
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.ended {
		c.timer.Reset(c.nextTick())
	}
}

// resting tells whether no message is being written or handled.
func (c *conn) resting() bool {
	return len(c.slots) == 0 && c.unhandled.Load() == 0 && c.waiting.Load() == 0
}

func (c *conn) idleFor() time.Duration {
	return time.Duration(time.Now().UnixNano() - c.used.Load())
}

// nextTick is the time to the next ping, or to when the idle time is over. Up
// to a quarter is taken off the interval, so that connections made at once are
// not all pinged at once.
func (c *conn) nextTick() time.Duration {
	next := c.group.limits.PingInterval
	next -= rand.N(next/4 + 1)
	if idle := c.group.limits.IdleTimeout; idle > 0 {
		if left := idle - c.idleFor(); left > 0 {
			next = min(next, left)
		}
	}
	return next
}

// drain keeps new messages from the Handler and waits until those that the Handler
// has are handled; then it closes the connection.
func (c *conn) drain(ctx context.Context) {
	for range cap(c.slots) {
		select {
		case c.slots <- struct{}{}:
		case <-c.done:
			return
		case <-ctx.Done():
			return
		}
	}
	c.handling.Wait()
	c.close(websocket.CloseGoingAway, "")
}

// close sends a close frame and leaves the reader closeWait to hear the
// peer's. It returns without waiting for that.
func (c *conn) close(code int, text string) {
	c.mu.Lock()
	if c.shutting || c.ended {
		c.mu.Unlock()
		return
	}
	c.shutting = true
	close(c.shut)
	_ = c.ws.SetReadDeadline(time.Now().Add(2 * closeWait))
	c.mu.Unlock()
	goodbye(c.ws, code, text)
}

func goodbye(ws *websocket.Conn, code int, text string) {
	_ = ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(code, text), time.Now().Add(closeWait))
}
