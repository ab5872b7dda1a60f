package gate

import (
	"container/list"
	"context"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/didcomm-go/didcomm/transport"
)

// Listener returns a listener whose connections are bounded by the Gate. The closing of the
// listener closes l.
func (g *Gate) Listener(l net.Listener) net.Listener { return &listener{l, g} }

type listener struct {
	net.Listener
	gate *Gate
}

// Accept returns the next connection that may be served.
func (l *listener) Accept() (net.Conn, error) {
	for {
		nc, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if c := l.gate.admit(nc); c != nil {
			return c, nil
		}
		nc.Close()
	}
}

// conn is a connection that the Gate has accepted.
type conn struct {
	net.Conn
	gate *Gate

	// static after admit
	parties []*party    // none for a trusted proxy
	refused string      // kind of the refusal of all requests, or empty
	expiry  *time.Timer // closes a connection that is refused

	closeOnce sync.Once
	closeErr  error

	// guarded by the mutex of the Gate
	gone bool            // no longer counted
	idle []*list.Element // places in the lists of the Gate and of the parties, while idle
}

// Close closes the connection, which then no longer counts.
func (c *conn) Close() error {
	c.closeOnce.Do(func() {
		c.closeErr = c.Conn.Close()
		c.gate.mu.Lock()
		defer c.gate.mu.Unlock()
		c.gate.forget(c)
	})
	return c.closeErr
}

// admit returns nc as a connection that is served. It returns nil if nc has to be closed.
func (g *Gate) admit(nc net.Conn) *conn {
	c := &conn{Conn: nc, gate: g}
	addr, now := transport.AddrOf(nc.RemoteAddr().String()), time.Now()
	var idle []*conn // closed outside the mutex
	defer func() {
		for _, c := range idle {
			c.Close()
		}
	}()
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.trusted(addr) {
		c.parties = g.parties.find(addr, now)
	}
	if c.refused = overConnects(c.parties, now); c.refused == "" {
		c.refused, idle = g.room(c.parties)
	}
	if c.refused != "" {
		g.refuse(c.refused, now)
		if !g.mayRefuse(c.parties, now) {
			return nil
		}
		g.refusing++
		for _, p := range c.parties {
			p.refusing++
		}
		c.expiry = time.AfterFunc(refuseTime, func() { c.Close() })
		return c
	}
	g.open++
	for _, p := range c.parties {
		p.conns++
	}
	return c
}

// overConnects returns the kind of refusal of a new connection, or "", and counts the attempt.
func overConnects(ps []*party, now time.Time) string {
	for _, p := range ps {
		if !p.connects.AllowN(now, 1) {
			return tooManyConnects
		}
	}
	return ""
}

// room makes room for a connection by closing idle ones, which the caller has to do. It
// returns the kind of refusal if there is no room.
func (g *Gate) room(ps []*party) (refused string, idle []*conn) {
	for _, p := range ps {
		if p.conns >= p.maxConns {
			if p.idle.Len() == 0 {
				return tooManyConns, idle
			}
			idle = append(idle, g.evict(&p.idle))
		}
	}
	if g.open >= g.cfg.MaxConns {
		if g.idle.Len() == 0 {
			return noRoom, idle
		}
		idle = append(idle, g.evict(&g.idle))
	}
	return "", idle
}

// mayRefuse reports whether a connection over the limits may be accepted for a refusal.
func (g *Gate) mayRefuse(ps []*party, now time.Time) bool {
	if g.refusing >= min(maxRefusing, g.cfg.MaxConns) {
		return false
	}
	for _, p := range ps {
		if p.refusing >= maxRefusing/4 || !p.refusals.AllowN(now, 1) {
			return false
		}
	}
	return true
}

// evict takes the first connection out of a list of idle ones, and counts it no longer. The
// caller closes the connection.
func (g *Gate) evict(idle *list.List) *conn {
	c := idle.Front().Value.(*conn)
	g.forget(c)
	return c
}

// forget no longer counts a connection. The caller holds mu.
func (g *Gate) forget(c *conn) {
	if c.gone {
		return
	}
	c.gone = true
	g.notIdle(c)
	if c.refused != "" {
		c.expiry.Stop()
		g.refusing--
		for _, p := range c.parties {
			p.refusing--
		}
		return
	}
	g.open--
	for _, p := range c.parties {
		p.conns--
	}
}

// setIdle notes whether a connection waits for its next request.
func (g *Gate) setIdle(c *conn, idle bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.notIdle(c)
	if !idle || c.gone {
		return
	}
	c.idle = append(c.idle, g.idle.PushBack(c))
	for _, p := range c.parties {
		c.idle = append(c.idle, p.idle.PushBack(c))
	}
}

func (g *Gate) notIdle(c *conn) {
	for i, e := range c.idle {
		if i == 0 {
			g.idle.Remove(e)
		} else {
			c.parties[i-1].idle.Remove(e)
		}
	}
	c.idle = nil
}

type connKey struct{}

// withConn returns a ConnContext that adds the connection of the Gate to that of next.
func withConn(next func(context.Context, net.Conn) context.Context) func(context.Context, net.Conn) context.Context {
	return func(ctx context.Context, nc net.Conn) context.Context {
		if next != nil {
			ctx = next(ctx, nc)
		}
		return context.WithValue(ctx, connKey{}, connOf(nc))
	}
}

// connOf returns the connection of the Gate below nc, or nil.
func connOf(nc net.Conn) *conn {
	if over, ok := nc.(interface{ NetConn() net.Conn }); ok { // TLS
		nc = over.NetConn()
	}
	c, _ := nc.(*conn)
	return c
}

// isRefused returns the kind of refusal of the connection of r, or "".
func isRefused(r *http.Request) string {
	if c, _ := r.Context().Value(connKey{}).(*conn); c != nil {
		return c.refused
	}
	return ""
}
