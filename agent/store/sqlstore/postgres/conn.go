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

// newDialer makes connections that find out within some ten seconds that their
// other end is gone, also where nothing is asked of them.
func newDialer(timeout time.Duration) *net.Dialer {
	return &net.Dialer{
		Timeout:         timeout,
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 5 * time.Second, Interval: 2 * time.Second, Count: 3},
		ControlContext:  userTimeout,
	}
}

// generations make a whole pool throw out its connections once one of them was found dead:
// most likely, the others are too, and each would take a time-out to find out. A
// connection belongs to the era in which it was made.
type generations struct {
	mu    sync.Mutex // guards all below
	now   int
	since time.Time
	ended chan struct{} // closed when now ends
}

// minGeneration is how long an era lasts at least: several who find dead connections of the
// last one do not end the next.
const minGeneration = time.Second

// generationKey is where a connection keeps its era.
const generationKey = "generation"

func (e *generations) made(_ context.Context, c *pgx.Conn) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	c.PgConn().CustomData()[generationKey] = e.now
	return nil
}

// check refuses a connection of an era that has ended.
func (e *generations) check(_ context.Context, c *pgx.Conn) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if c.PgConn().CustomData()[generationKey] == e.now {
		return nil
	}
	abort(c)
	return driver.ErrBadConn
}

// renew ends the era, and with it the connection given, which may be nil.
func (e *generations) renew(c *sql.Conn) {
	if c != nil {
		_ = c.Raw(func(conn any) error { abort(conn.(*stdlib.Conn).Conn()); return nil })
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if time.Since(e.since) < minGeneration {
		return
	}
	e.since = time.Now()
	e.now++
	close(e.ended)
	e.ended = make(chan struct{})
}

// context is ctx until the era ends.
func (e *generations) context(ctx context.Context) (context.Context, context.CancelFunc) {
	e.mu.Lock()
	ended := e.ended
	e.mu.Unlock()
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

// cut ends a connection without telling the server, for which a dead one would wait.
// Bytes that were not sent yet must not arrive later, or a transaction that is done again
// would be done twice.
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

// noPing: a connection that is dead is found out by what is asked of it.
func noPing(context.Context, stdlib.ShouldPingParams) bool { return false }
