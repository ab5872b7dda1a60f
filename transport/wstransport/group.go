package wstransport

import (
	"cmp"
	"context"
	"log/slog"
	"net/netip"
	"sync"

	"github.com/gorilla/websocket"

	"github.com/didcomm-go/didcomm/transport"
)

// group holds the connections of one Server or Client, and their common state.
type group struct {
	// static after newGroup
	limits Limits
	max    int // connections, 0 for any number
	budget *transport.Budget
	logger *slog.Logger
	ctx    context.Context // of all handlers
	cancel context.CancelFunc
	wg     sync.WaitGroup // readers, handlers, pings, dials
	idle   func() <-chan struct{}

	// guarded by mu
	mu       sync.Mutex
	bound    transport.Handler
	reserved int // connections that are open or being opened
	conns    map[*conn]func()
	closed   bool
}

func newGroup(limits Limits, budget *transport.Budget, logger *slog.Logger, max int) *group {
	logger = cmp.Or(logger, slog.New(slog.DiscardHandler))
	if budget == nil {
		budget = transport.NewBudget(0)
	}
	g := &group{limits: limits.withDefaults(), budget: budget, logger: logger, max: max, conns: map[*conn]func(){}}
	g.ctx, g.cancel = context.WithCancel(context.Background())
	g.idle = sync.OnceValue(func() <-chan struct{} {
		idle := make(chan struct{})
		go func() {
			g.wg.Wait()
			close(idle)
		}()
		return idle
	})
	return g
}

func (g *group) bind(h transport.Handler) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.bound = transport.Contain(h)
}

func (g *group) handler() transport.Handler {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.bound
}

// reserve reserves one of max connections. The caller then calls start, or release if
// there is no connection. reserve returns false if the group is closed or has max
// connections.
func (g *group) reserve() (ok bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed || g.max > 0 && g.reserved >= g.max {
		return false
	}
	g.reserved++
	g.wg.Add(1)
	return true
}

func (g *group) release() {
	g.mu.Lock()
	g.reserved--
	g.mu.Unlock()
	g.wg.Done()
}

// start runs a connection after reserve. If the group was closed in between, start
// closes ws and returns nil. peer is the address of the other end. onEnd may be nil; it is
// called when the connection has ended.
func (g *group) start(ws *websocket.Conn, peer netip.Addr, onEnd func(*conn)) *conn {
	g.mu.Lock()
	if g.closed {
		g.mu.Unlock()
		sendClose(ws, websocket.CloseGoingAway, "")
		ws.Close()
		g.release()
		return nil
	}
	c := newConn(g, ws, peer)
	g.conns[c] = func() {
		if onEnd != nil {
			onEnd(c)
		}
	}
	g.mu.Unlock()
	go c.read() // calls Done for the Add of reserve
	return c
}

// remove is called by the reader of c before it returns.
func (g *group) remove(c *conn) {
	g.mu.Lock()
	onEnd := g.conns[c]
	delete(g.conns, c)
	g.reserved--
	g.mu.Unlock()
	onEnd()
}

// close waits until the received packets are handled, sends a close frame on each
// connection, and waits until every goroutine has ended. If ctx ends first, close cancels
// the contexts of the handlers, cuts the connections and returns the error of ctx.
func (g *group) close(ctx context.Context) error {
	g.mu.Lock()
	first := !g.closed
	g.closed = true
	if first {
		for c := range g.conns {
			g.wg.Go(func() { c.drain(ctx) })
		}
	}
	g.mu.Unlock()
	defer g.cancel()
	select {
	case <-g.idle():
		return nil
	case <-ctx.Done():
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for c := range g.conns {
		c.ws.Close()
	}
	return ctx.Err()
}
