package wstransport

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"github.com/didcomm-go/didcomm/transport"
	"github.com/didcomm-go/didcomm/transport/internal/endpoint"
)

// Defaults of [ClientConfig].
const (
	DefaultMinBackoff  = 500 * time.Millisecond // of MinBackoff
	DefaultMaxBackoff  = time.Minute            // of MaxBackoff
	DefaultIdleTimeout = 5 * time.Minute        // of Limits.IdleTimeout

	DefaultMaxClientConns = 1000 // of MaxConns
)

// prunePeers is the number of known endpoints above which those without a connection
// or backoff are removed.
const prunePeers = 1000

// ClientConfig configures [NewClient]. Dial is required. A zero in any other field
// means the default.
type ClientConfig struct {
	// Dial opens every connection. It decides which addresses the Client may connect
	// to: use DialContext of a netguard.Guard.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
	// Limits limits each connection. A negative IdleTimeout means no timeout.
	Limits Limits
	// HandshakeTimeout limits the time for Dial and the opening handshake together. The
	// default is DefaultHandshakeTimeout.
	HandshakeTimeout time.Duration
	// MinBackoff is how long the Client does not connect to an endpoint after a failed
	// handshake. The time doubles with each further failure, up to MaxBackoff, and starts
	// again after a success.
	MinBackoff, MaxBackoff time.Duration
	// MaxConns is the largest number of open connections. To open another one, the
	// Client closes the least recently used connection on which no message is being
	// sent or handled. If there is none, the Client exceeds MaxConns, up to twice as many.
	// Then it closes the least recently used one of all.
	MaxConns int
	// Budget limits the memory of all received messages. The Handlers, Servers and Clients
	// of a process should share one. The default is one of its own, of the default size. If
	// the Budget is used up, the connection of a message that arrives slower than others is
	// closed with close code 1013.
	Budget *transport.Budget
	// RootCAs are the trusted certificate authorities. The default is those of the
	// system.
	RootCAs *x509.CertPool
	// Logger logs failed packets. The default discards logs.
	Logger *slog.Logger
}

// Client is a [transport.SessionSender] for ws and wss endpoints. It has one connection
// for each endpoint, which is opened by the first Send. After a connection is lost, only
// the next Send opens it again. A program that waits for packets without sending has to
// observe Done of the Session that SendOn returns. A Client may be used from several
// goroutines. Use [NewClient] to make one.
type Client struct {
	// static after NewClient
	cfg     ClientConfig
	group   *group
	tls     *tls.Config
	buffers *sync.Pool
	closing context.Context // ends when Close is called, and with it all handshakes
	stop    context.CancelFunc

	// guarded by mu
	mu     sync.Mutex
	peers  map[string]*peer
	pruned int // number of peers after the last prune
}

// peer is the state of an endpoint, guarded by Client.mu.
type peer struct {
	conn      *conn     // nil if there is none
	attempt   *attempt  // running handshake, nil if there is none
	failures  int       // failed handshakes since the last success
	notBefore time.Time // end of the backoff
	cause     error     // of the last failure
}

// attempt is a handshake. Its results are set before done is closed.
type attempt struct {
	done chan struct{}
	conn *conn
	err  error
}

var (
	_ transport.SessionSender = (*Client)(nil)
	_ transport.Binder        = (*Client)(nil)
	_ io.Closer               = (*Client)(nil)
)

// NewClient returns a Client. It returns an error if cfg has no Dial function. Call
// [Client.Close] when the Client is not needed anymore.
func NewClient(cfg ClientConfig) (*Client, error) {
	if cfg.Dial == nil {
		return nil, errors.New("wstransport: ClientConfig.Dial is required")
	}
	cfg.HandshakeTimeout = cmp.Or(max(cfg.HandshakeTimeout, 0), DefaultHandshakeTimeout)
	cfg.MinBackoff = cmp.Or(max(cfg.MinBackoff, 0), DefaultMinBackoff)
	cfg.MaxBackoff = cmp.Or(max(cfg.MaxBackoff, 0), DefaultMaxBackoff)
	cfg.MaxConns = cmp.Or(max(cfg.MaxConns, 0), DefaultMaxClientConns)
	cfg.Limits.IdleTimeout = cmp.Or(cfg.Limits.IdleTimeout, DefaultIdleTimeout)
	c := &Client{
		cfg:     cfg,
		group:   newGroup(cfg.Limits, cfg.Budget, cfg.Logger, 0),
		tls:     &tls.Config{RootCAs: cfg.RootCAs, MinVersion: tls.VersionTLS12},
		buffers: &sync.Pool{},
		peers:   map[string]*peer{},
	}
	c.closing, c.stop = context.WithCancel(context.Background())
	return c, nil
}

// Bind sets the Handler for packets from the peers. The Replier of such a packet is a
// [transport.Session]. Call Bind before the first Send.
func (c *Client) Bind(h transport.Handler) { c.group.bind(h) }

// Send writes p to the connection of an endpoint, which is a ws or wss URL, and opens
// the connection if there is none. It returns when p is written. That does not mean that
// the peer has read p. Packets for the same endpoint are written one after the other.
//
// Errors are of type *transport.SendError. These can be retried:
//   - network errors, timeouts, the end of ctx, and a closed Client;
//   - a connection on which Limits.MaxWriters packets are being written already;
//   - status 408, 425, 429 or 5xx of the handshake;
//   - an endpoint whose last handshake failed less than its backoff ago; RetryAfter is
//     the rest of the backoff.
//
// These cannot be retried:
//   - any other status of the handshake;
//   - a malformed endpoint, and an address that Dial refuses;
//   - a packet that is empty or has a media type other than DIDComm's.
func (c *Client) Send(ctx context.Context, to string, p transport.Packet) error {
	_, err := c.SendOn(ctx, to, p)
	return err
}

// Receipts returns false, because a packet is lost if the connection ends before the peer
// has read the packet.
func (c *Client) Receipts() bool { return false }

// SendOn is like [Client.Send], and also returns the connection that p was written to.
func (c *Client) SendOn(ctx context.Context, to string, p transport.Packet) (transport.Session, error) {
	u, err := endpoint.Parse(to, "ws", "wss")
	if err != nil {
		return nil, err
	}
	if _, err := endpoint.MediaType(p); err != nil {
		return nil, endpoint.Malformed(to, err)
	}
	for again := true; ; again = false {
		conn, err := c.connect(ctx, to, u.String())
		if err != nil {
			return nil, err
		}
		err = conn.write(ctx, p.Data)
		switch {
		case err == nil:
			return conn, nil
		case again && errors.Is(err, errEnded):
			// The connection ended before anything was written. If the peer closed it,
			// the reader will end its life in a moment.
			select {
			case <-conn.life.Done():
			case <-conn.shut:
			case <-ctx.Done():
			}
		default:
			return nil, endpoint.Network(to, err)
		}
	}
}

// connect returns the open connection to url, or opens one. Concurrent callers wait for
// the same handshake, which does not end with the context of the first caller.
func (c *Client) connect(ctx context.Context, to, url string) (*conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, endpoint.Network(to, err)
	}
	a, conn, err := c.lookup(to, url)
	if a == nil {
		return conn, err
	}
	select {
	case <-a.done:
		return a.conn, a.err
	case <-ctx.Done():
		return nil, endpoint.Network(to, ctx.Err())
	}
}

// lookup returns an open connection, a handshake to wait for, or an error.
func (c *Client) lookup(to, url string) (*attempt, *conn, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.peers[url]
	if p == nil {
		c.prune()
		p = &peer{}
		c.peers[url] = p
	}
	if p.conn != nil && p.conn.live() {
		return nil, p.conn, nil
	}
	if p.attempt != nil {
		return p.attempt, nil, nil
	}
	if wait := time.Until(p.notBefore); wait > 0 {
		e := endpoint.Network(to, fmt.Errorf("backing off after %d failures: %w", p.failures, p.cause))
		e.RetryAfter = wait
		return nil, nil, e
	}
	if !c.group.reserve() {
		return nil, nil, endpoint.Network(to, fmt.Errorf("websocket client: %w", net.ErrClosed))
	}
	a := &attempt{done: make(chan struct{})}
	p.attempt = a
	go c.open(p, a, to, url) // Close waits for it, because of reserve
	return a, nil, nil
}

// open does the handshake a.
func (c *Client) open(p *peer, a *attempt, to, url string) {
	c.evict()
	ws, err := c.handshake(to, url)
	c.mu.Lock()
	defer c.mu.Unlock()
	defer close(a.done)
	p.attempt = nil
	if err != nil {
		a.err = err
		if err.Retryable {
			p.failures++
			// The caller of Send gets the whole RetryAfter. Here it is bounded, so that a
			// server cannot keep p in memory as long as it likes.
			p.notBefore = time.Now().Add(max(c.backoff(p.failures), min(err.RetryAfter, c.cfg.MaxBackoff)))
			p.cause = err.Err
		} else if p.conn == nil {
			delete(c.peers, url)
		}
		c.group.release()
		return
	}
	conn := c.group.start(ws, transport.AddrOf(ws.RemoteAddr().String()), func(ended *conn) { c.forget(url, ended) })
	if conn == nil {
		a.err = endpoint.Network(to, fmt.Errorf("websocket client: %w", net.ErrClosed))
		return
	}
	*p = peer{conn: conn}
	a.conn = conn
}

// forget is called when a connection has ended.
func (c *Client) forget(url string, ended *conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.peers[url]
	if p == nil || p.conn != ended {
		return
	}
	p.conn = nil
	if p.attempt == nil {
		delete(c.peers, url)
	}
}

// evict closes the least recently used connection if there are MaxConns of them.
func (c *Client) evict() {
	if oldest := c.leastRecentlyUsed(); oldest != nil {
		oldest.close(websocket.CloseNormalClosure, "idle")
	}
}

// leastRecentlyUsed returns the connection to evict. It returns nil if there are fewer
// than MaxConns connections, or fewer than twice as many of which none is quiet.
func (c *Client) leastRecentlyUsed() (oldest *conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	var busy *conn // the least recently used one that is not quiet
	for _, p := range c.peers {
		if p.conn == nil || !p.conn.live() {
			continue
		}
		n++
		first := &oldest
		if !p.conn.quiet() {
			first = &busy
		}
		if *first == nil || p.conn.used.Load() < (*first).used.Load() {
			*first = p.conn
		}
	}
	switch {
	case n < c.cfg.MaxConns:
		return nil
	case oldest == nil && n >= 2*c.cfg.MaxConns:
		return busy
	}
	return oldest
}

// prune removes endpoints whose backoff is over, so that endpoints that strangers choose
// do not fill the memory.
func (c *Client) prune() {
	if len(c.peers) < max(prunePeers, 2*c.pruned) {
		return
	}
	now := time.Now()
	for url, p := range c.peers {
		if p.conn == nil && p.attempt == nil && now.After(p.notBefore) {
			delete(c.peers, url)
		}
	}
	c.pruned = len(c.peers)
}

// backoff returns the time to wait after n failures. It is reduced by a random part of up
// to a quarter, so that clients do not reconnect all at once.
func (c *Client) backoff(n int) time.Duration {
	d := c.cfg.MaxBackoff
	if n < 20 {
		d = min(d, c.cfg.MinBackoff<<(n-1))
	}
	return d - rand.N(d/4+1)
}

// Close ends all handshakes, waits until the received packets are handled, and closes all
// connections. After [DefaultCloseTimeout] it cancels the contexts of the Handler, cuts
// the connections, and returns context.DeadlineExceeded. It can be called more than once,
// but not by the Handler.
func (c *Client) Close() error {
	c.stop()
	ctx, cancel := context.WithTimeout(context.Background(), DefaultCloseTimeout)
	defer cancel()
	return c.group.close(ctx)
}
