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

// Defaults of ClientConfig.
const (
	DefaultMinBackoff  = 500 * time.Millisecond
	DefaultMaxBackoff  = time.Minute
	DefaultIdleTimeout = 5 * time.Minute

	DefaultMaxClientConns = 1000
)

// prunePeers is the number of remembered endpoints from which on those that
// have nothing to remember are looked for.
const prunePeers = 1000

// ClientConfig configures NewClient. Dial is required.
type ClientConfig struct {
	// Dial opens every connection. It is where addresses are refused: hand in
	// DialContext of a netguard.Guard.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
	// Limits bound a connection; IdleTimeout is DefaultIdleTimeout if zero and
	// never if negative.
	Limits Limits
	// HandshakeTimeout bounds dialling and the opening handshake together; 0
	// is DefaultHandshakeTimeout.
	HandshakeTimeout time.Duration
	// MinBackoff and MaxBackoff are how long an endpoint is left alone after
	// its first failed handshake, and at most; the time doubles in between.
	// Zero means the defaults.
	MinBackoff, MaxBackoff time.Duration
	// MaxConns is how many connections are kept; 0 is DefaultMaxClientConns.
	// To open another, the one that was used least recently is closed; one on
	// which a message is under way is not, so that there may be more for a while.
	MaxConns int
	// RootCAs verify servers; nil is the system's.
	RootCAs *x509.CertPool
	// Logger hears of failed packets; nil discards.
	Logger *slog.Logger
}

// Client sends packets to ws and wss endpoints, over one connection for each
// endpoint. A connection is opened by the first Send, and again by the first
// Send after it was lost: a caller that waits for packets without sending any
// watches Done of the Session that they come with.
type Client struct {
	// static after NewClient
	cfg     ClientConfig
	group   *group
	tls     *tls.Config
	buffers *sync.Pool
	closing context.Context // done once Close was called: ends handshakes
	stop    context.CancelFunc

	// guarded by mu
	mu     sync.Mutex
	peers  map[string]*peer
	pruned int // peers that the last prune left
}

// peer is what a Client knows about an endpoint, guarded by Client.mu.
type peer struct {
	conn      *conn    // nil if there is none
	attempt   *attempt // handshake under way, nil if none
	failures  int      // failed handshakes in a row
	notBefore time.Time
	cause     error // of the last one
}

// attempt is one handshake; its results are set before done is closed.
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

// NewClient returns a Client, or an error when cfg has no Dial. Close it.
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
		group:   newGroup(cfg.Limits, cfg.Logger, 0),
		tls:     &tls.Config{RootCAs: cfg.RootCAs, MinVersion: tls.VersionTLS12},
		buffers: &sync.Pool{},
		peers:   map[string]*peer{},
	}
	c.closing, c.stop = context.WithCancel(context.Background())
	return c, nil
}

// Bind names the Handler for packets that come in on the Client's connections;
// its Replier is a transport.Session. Call it before the first Send.
func (c *Client) Bind(h transport.Handler) { c.group.bind(h) }

// Send writes p to the connection to endpoint, which it opens if there is none,
// and returns once it was written; whether the peer took it in, WebSocket does
// not say. Sends to one endpoint are written one after the other; each waits
// for its turn until ctx ends, and is refused at once when Limits.MaxWriters
// wait already.
//
// A failure is a *transport.SendError: retryable for network errors, timeouts,
// a connection that is busy and a closed Client, and for handshakes answered by
// 408, 425, 429 or 5xx. After a failed handshake the endpoint is left alone for
// a time that grows; meanwhile Send fails at once, with the time left as
// RetryAfter. Not retryable are other answers to the handshake, malformed
// endpoints, packets that are no DIDComm and addresses that Dial refuses.
func (c *Client) Send(ctx context.Context, to string, p transport.Packet) error {
	_, err := c.SendOn(ctx, to, p)
	return err
}

// Receipts is false: what was written is lost if the connection ends before the
// peer has read it.
func (c *Client) Receipts() bool { return false }

// SendOn is Send, and returns the connection that p was written to.
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
			// It ended under us before anything was written. Where the peer
			// ended it, the reader is about to notice.
			select {
			case <-conn.done:
			case <-conn.shut:
			case <-ctx.Done():
			}
		default:
			return nil, endpoint.Network(to, err)
		}
	}
}

// connect returns the live connection to url, or makes one. All who ask
// meanwhile wait for the same handshake, which does not end with the context of
// the one who asked first.
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

// lookup returns a live connection, the handshake to wait for, or an error.
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
		e := endpoint.Network(to, fmt.Errorf("left alone after %d failures: %w", p.failures, p.cause))
		e.RetryAfter = wait
		return nil, nil, e
	}
	if !c.group.reserve() {
		return nil, nil, endpoint.Network(to, fmt.Errorf("websocket client: %w", net.ErrClosed))
	}
	a := &attempt{done: make(chan struct{})}
	p.attempt = a
	go c.open(p, a, to, url) // owned by the reservation
	return a, nil, nil
}

// open does the handshake a.
func (c *Client) open(p *peer, a *attempt, to, url string) {
	c.makeRoom()
	ws, err := c.handshake(to, url)
	c.mu.Lock()
	defer c.mu.Unlock()
	defer close(a.done)
	p.attempt = nil
	if err != nil {
		a.err = err
		if err.Retryable {
			p.failures++
			// The caller knows all of RetryAfter; here it would keep p for as long
			// as the server likes.
			p.notBefore = time.Now().Add(max(c.backoff(p.failures), min(err.RetryAfter, c.cfg.MaxBackoff)))
			p.cause = err.Err
		} else if p.conn == nil {
			delete(c.peers, url)
		}
		c.group.release()
		return
	}
	conn := c.group.start(ws, func(ended *conn) { c.forget(url, ended) })
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

// makeRoom closes the connection that was used least recently if there are as
// many as there may be.
func (c *Client) makeRoom() {
	if oldest := c.leastRecent(); oldest != nil {
		oldest.close(websocket.CloseNormalClosure, "idle")
	}
}

// leastRecent is the connection to close for another one, nil if there is room
// or none is at rest.
func (c *Client) leastRecent() (oldest *conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	for _, p := range c.peers {
		if p.conn == nil || !p.conn.live() {
			continue
		}
		n++
		if p.conn.resting() && (oldest == nil || p.conn.used.Load() < oldest.used.Load()) {
			oldest = p.conn
		}
	}
	if n < c.cfg.MaxConns {
		return nil
	}
	return oldest
}

// prune forgets endpoints that were left alone for long enough, so that
// endpoints which others choose do not fill the memory.
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

// backoff is the time to leave an endpoint alone after n failures, less up to
// a quarter, so that clients do not come back all at once.
func (c *Client) backoff(n int) time.Duration {
	d := c.cfg.MaxBackoff
	if n < 20 {
		d = min(d, c.cfg.MinBackoff<<(n-1))
	}
	return d - rand.N(d/4+1)
}

// Close ends handshakes, lets what was received be handled for up to
// DefaultCloseTimeout, closes every connection and waits for all of it. It is
// idempotent; a handler must not call it.
func (c *Client) Close() error {
	c.stop()
	ctx, cancel := context.WithTimeout(context.Background(), DefaultCloseTimeout)
	defer cancel()
	return c.group.close(ctx)
}
