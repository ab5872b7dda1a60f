package wstransport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/gorilla/websocket"

	"github.com/didcomm-go/didcomm/transport"
	"github.com/didcomm-go/didcomm/transport/internal/exchange"
)

// closeWait limits the time to write a control frame, and the time to wait for the peer's
// close frame.
const closeWait = time.Second

var (
	errEnded = errors.New("connection has ended")
	errBusy  = errors.New("too many writes are waiting for the connection")
)

// conn is one WebSocket connection of a Server or Client. An idle connection costs one
// goroutine, which reads. Messages are written in the goroutines of the callers, one at a
// time. A timer sends the pings.
type conn struct {
	// static after start
	group   *group
	peer    netip.Addr // the zero Addr if it is not known
	ws      *websocket.Conn
	meter   Meter           // nil if there is none
	writing chan struct{}   // semaphore of one: held while a message is written
	slots   chan struct{}   // semaphore of MaxHandlers: held while ServePacket runs
	shut    chan struct{}   // closed before the close frame is sent
	life    context.Context // ends when the reader ends
	end     context.CancelFunc

	waiting   atomic.Int32   // running calls of write
	unhandled atomic.Int32   // messages that are read but not handled yet
	handling  sync.WaitGroup // the same messages
	used      atomic.Int64   // time of the last message in either direction, in Unix nanoseconds

	inMessage bool            // whether a message is being read; owned by the reader
	last      *transport.Turn // of the last message that was read; owned by the reader
	failed    bool            // whether a write has failed; guarded by writing

	// guarded by mu
	mu       sync.Mutex
	shutting bool
	ended    bool
	timer    *time.Timer
}

var _ transport.Session = (*conn)(nil)

func newConn(g *group, ws *websocket.Conn, peer netip.Addr) *conn {
	c := &conn{
		group:   g,
		peer:    peer,
		ws:      ws,
		writing: make(chan struct{}, 1),
		slots:   make(chan struct{}, g.limits.MaxHandlers),
		shut:    make(chan struct{}),
	}
	c.life, c.end = context.WithCancel(context.Background())
	c.meter = meterOf(ws.NetConn())
	c.used.Store(time.Now().UnixNano())
	ws.SetReadLimit(g.limits.MaxBytes)
	// A ping extends the read deadline in the same way as a pong, because a busy peer may
	// send pings without answering ours.
	ws.SetPongHandler(func(string) error { return c.extendDeadline() })
	ws.SetPingHandler(func(data string) error {
		if !c.take() {
			return nil
		}
		// If this pong cannot be written, the next one may be.
		_ = ws.WriteControl(websocket.PongMessage, []byte(data), time.Now().Add(closeWait))
		return c.extendDeadline()
	})
	c.mu.Lock()
	defer c.mu.Unlock()
	c.timer = time.AfterFunc(c.nextTick(), c.tick)
	return c
}

// live reports whether the connection is open and not being closed.
func (c *conn) live() bool {
	select {
	case <-c.shut:
		return false
	case <-c.life.Done():
		return false
	default:
		return true
	}
}

// Done returns a channel that is closed when the connection has ended.
func (c *conn) Done() <-chan struct{} { return c.life.Done() }

// AfterEnd calls f in a goroutine of its own after the connection has ended, as
// context.AfterFunc does.
func (c *conn) AfterEnd(f func()) (stop func() bool) { return context.AfterFunc(c.life, f) }

// Reply writes p to the peer. The error matches transport.ErrNoReturnRoute if the
// connection has ended or failed, or if too many writes are waiting.
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

// write writes a message. Until ctx ends, it waits for other writes to finish. The end of
// ctx does not interrupt the write itself, so write may return up to WriteTimeout later.
// errEnded, errBusy and the error of ctx mean that nothing was written.
func (c *conn) write(ctx context.Context, data []byte) error {
	if c.waiting.Add(1) > int32(c.group.limits.MaxWriters) {
		c.waiting.Add(-1)
		return errBusy
	}
	defer c.waiting.Add(-1)
	select {
	case c.writing <- struct{}{}:
		defer func() { <-c.writing }()
	case <-c.life.Done():
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
	kind := websocket.TextMessage
	if !utf8.Valid(data) { // a peer must close the connection after such a text
		kind = websocket.BinaryMessage
	}
	err := c.ws.WriteMessage(kind, data)
	switch {
	case errors.Is(err, websocket.ErrCloseSent):
		return errEnded
	case err != nil:
		c.failed = true
		c.ws.Close() // a part of the message may be sent; Close also ends the reader
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
	c.end()
	c.group.remove(c)
	c.group.logger.Debug("websocket ended", "error", err)
}

// messages reads messages and passes them to handle, until the connection fails.
func (c *conn) messages() error {
	for {
		if err := c.extendDeadline(); err != nil {
			return err
		}
		_, r, err := c.ws.NextReader()
		if err != nil {
			return err
		}
		if !c.take() {
			continue // until the peer's close frame
		}
		// Inside of a message, pongs do not extend the deadline, so that a peer cannot
		// send a message slowly for ever.
		c.readBy(c.group.limits.ReadTimeout)
		c.inMessage = true
		data, release, err := c.group.budget.ReadAll(r, -1, c.group.limits.MaxBytes, c.interrupt)
		c.inMessage = false
		if err != nil {
			if errors.Is(err, transport.ErrBudget) {
				c.group.logger.Warn("packet refused for now", "remote", c.ws.RemoteAddr().String(), "error", err)
				c.giveUp()
			}
			return err
		}
		if len(data) == 0 {
			release()
			continue // some peers send empty messages to keep the connection open
		}
		c.used.Store(time.Now().UnixNano())
		select {
		case c.slots <- struct{}{}:
			c.group.wg.Add(1)
			c.unhandled.Add(1)
			c.handling.Add(1)
			c.last = c.last.Next()
			go c.handle(data, release, c.last)
		case <-c.shut: // drop the message, and read until the peer's close frame
			release()
		}
	}
}

// meterOf returns the Meter that nc is, or that is below nc and its TLS, or nil.
func meterOf(nc net.Conn) Meter {
	for {
		if m, ok := nc.(Meter); ok {
			return m
		}
		over, ok := nc.(interface{ NetConn() net.Conn }) // such as a tls.Conn
		if !ok {
			return nil
		}
		nc = over.NetConn()
	}
}

// take counts a message or a ping. It returns false, and closes the connection, if there were
// too many.
func (c *conn) take() bool {
	if c.meter == nil || c.meter.Take() {
		return true
	}
	c.close(websocket.CloseTryAgainLater, "too many messages")
	return false
}

// interrupt ends a running read of a message, and all later ones.
func (c *conn) interrupt() { _ = c.ws.SetReadDeadline(time.Unix(1, 0)) }

// giveUp closes the connection because of a message that is not read further. It then
// discards what the peer still sends for a short time, because a connection that is closed
// before is reset, and the peer may not get the close frame.
func (c *conn) giveUp() {
	c.close(websocket.CloseTryAgainLater, "too many unread bytes")
	_, _ = io.CopyN(io.Discard, c.ws.NetConn(), c.group.limits.MaxBytes)
}

// handle passes a message to the Handler, releases the slot when the Handler has accepted
// the message, and waits until the message is handled. The context does not end with the
// connection, because the peer regards the message as delivered.
func (c *conn) handle(data []byte, release func(), turn *transport.Turn) {
	defer c.group.wg.Done()
	defer c.handling.Done()
	defer c.unhandled.Add(-1)
	ctx, cancel := context.WithTimeout(c.group.ctx, c.group.limits.HandlerTimeout)
	defer cancel()
	handled := c.accept(transport.WithPeer(transport.WithTurn(ctx, turn), c.peer), data)
	release()
	turn.End(ctx)
	<-c.slots
	exchange.Await(ctx, handled)
}

// accept passes a message to the Handler. The channel that it returns is closed when the
// message is handled.
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
		if c.meter != nil {
			c.meter.Fail()
		}
		c.group.logger.Info("packet rejected", "remote", c.ws.RemoteAddr().String(), "error", err)
	default:
		// The message is lost, and the peer must not regard it as delivered. WebSocket can
		// only tell that by closing the connection.
		c.group.logger.Error("packet failed", "remote", c.ws.RemoteAddr().String(), "error", err)
		c.close(websocket.CloseInternalServerErr, "internal error")
	}
	return handled
}

// extendDeadline sets the read deadline after the next ping and its pong. It does not
// change the deadline of a message that is being read, or of a connection that is being
// closed.
func (c *conn) extendDeadline() error {
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

// tick sends a ping, or closes a connection after IdleTimeout.
func (c *conn) tick() {
	c.mu.Lock()
	if c.ended {
		c.mu.Unlock()
		return
	}
	c.group.wg.Add(1) // safe during Wait, because the reader still counts
	c.mu.Unlock()
	defer c.group.wg.Done()

	if idle := c.group.limits.IdleTimeout; idle > 0 && c.idleFor() >= idle && c.quiet() {
		c.close(websocket.CloseNormalClosure, "idle")
		return
	}
	// If the ping cannot be written, there is no pong, and the read deadline ends the
	// connection.
	_ = c.ws.WriteControl(websocket.PingMessage, nil, time.Now().Add(closeWait))
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.ended {
		c.timer.Reset(c.nextTick())
	}
}

// quiet reports whether no message is being written or handled.
func (c *conn) quiet() bool {
	return len(c.slots) == 0 && c.unhandled.Load() == 0 && c.waiting.Load() == 0
}

func (c *conn) idleFor() time.Duration {
	return time.Duration(time.Now().UnixNano() - c.used.Load())
}

// nextTick returns the time until the next ping, or until IdleTimeout is over. The
// interval is reduced by a random part of up to a quarter, so that connections that were
// opened together are not pinged together.
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

// drain takes all slots, so that no further message goes to the Handler, waits until all
// messages are handled, and closes the connection.
func (c *conn) drain(ctx context.Context) {
	for range cap(c.slots) {
		select {
		case c.slots <- struct{}{}:
		case <-c.life.Done():
			return
		case <-ctx.Done():
			return
		}
	}
	c.handling.Wait()
	c.close(websocket.CloseGoingAway, "")
}

// close sends a close frame, and lets the reader wait a short time for the peer's close
// frame. It does not wait for the reader.
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
	sendClose(c.ws, code, text)
}

func sendClose(ws *websocket.Conn, code int, text string) {
	_ = ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(code, text), time.Now().Add(closeWait))
}
