package postgres

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"net"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
)

// newDialer makes connections that find out within about ten seconds that the other end is
// gone, even while they are idle.
func newDialer(timeout time.Duration) *net.Dialer {
	return &net.Dialer{
		Timeout:         timeout,
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 5 * time.Second, Interval: 2 * time.Second, Count: 3},
		ControlContext:  userTimeout,
	}
}

// generations gives each connection of the pools the generation in which it was made. When
// a connection is found dead, a new generation begins, and connections of earlier
// generations are not used again. Most likely they are dead too, and each of them would
// take a timeout to find out.
type generations struct {
	mu    sync.Mutex // guards all below
	now   int
	since time.Time
	ended chan struct{} // closed when now ends
}

// minGeneration is the shortest time of a generation. Several goroutines that find dead
// connections of one generation must not end the next one.
const minGeneration = time.Second

// generationKey is the key of the generation in the CustomData of a connection.
const generationKey = "generation"

// assign gives a new connection the current generation.
func (g *generations) assign(_ context.Context, c *pgx.Conn) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	c.PgConn().CustomData()[generationKey] = g.now
	return nil
}

// check refuses a connection of an earlier generation.
func (g *generations) check(_ context.Context, c *pgx.Conn) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if c.PgConn().CustomData()[generationKey] == g.now {
		return nil
	}
	abort(c)
	return driver.ErrBadConn
}

// renew closes c, if it is not nil, and begins a new generation, unless the current
// generation is younger than minGeneration.
func (g *generations) renew(c *sql.Conn) {
	if c != nil {
		_ = c.Raw(func(conn any) error { abort(conn.(*stdlib.Conn).Conn()); return nil })
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if time.Since(g.since) < minGeneration {
		return
	}
	g.since = time.Now()
	g.now++
	close(g.ended)
	g.ended = make(chan struct{})
}

// context returns a context that ends with ctx or with the current generation.
func (g *generations) context(ctx context.Context) (context.Context, context.CancelFunc) {
	g.mu.Lock()
	ended := g.ended
	g.mu.Unlock()
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		select {
		case <-ended:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}

// abort closes a connection without a message to the server, because a dead connection
// would block it. On TCP it resets the connection: bytes that were not sent yet must not
// arrive later, or a transaction that is tried again would be done twice.
func abort(c *pgx.Conn) {
	conn := c.PgConn().Conn()
	if over, ok := conn.(interface{ NetConn() net.Conn }); ok { // TLS
		conn = over.NetConn()
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}

// noPing prevents pings before a connection is used, since the next statement finds a dead
// connection as well.
func noPing(context.Context, stdlib.ShouldPingParams) bool { return false }
