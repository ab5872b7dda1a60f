package wstransport

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
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
	mu    sync.Mutex
	peers map[string]*peer
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
	_ transport.Sender = (*Client)(nil)
	_ transport.Binder = (*Client)(nil)
	_ io.Closer        = (*Client)(nil)
)

// NewClient returns a Client, or an error when cfg has no Dial. Close it.
func NewClient(cfg ClientConfig) (*Client, error) {
	if cfg.Dial == nil {
		return nil, errors.New("wstransport: ClientConfig.Dial is required")
	}
	for _, d := range []struct {
		value    *time.Duration
		fallback time.Duration
	}{
		{&cfg.HandshakeTimeout, DefaultHandshakeTimeout},
		{&cfg.MinBackoff, DefaultMinBackoff},
		{&cfg.MaxBackoff, DefaultMaxBackoff},
	} {
		if *d.value <= 0 {
			*d.value = d.fallback
		}
	}
	if cfg.Limits.IdleTimeout == 0 {
		cfg.Limits.IdleTimeout = DefaultIdleTimeout
	}
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
	u, err := endpoint.Parse(to, "ws", "wss")
	if err != nil {
		return err
	}
	if _, err := endpoint.MediaType(p); err != nil {
		return endpoint.Malformed(to, err)
	}
	for again := true; ; again = false {
		conn, err := c.connect(ctx, to, u.String())
		if err != nil {
			return err
		}
		err = conn.write(ctx, p.Data)
		switch {
		case err == nil:
			return nil
		case again && errors.Is(err, errEnded):
			// It ended under us before anything was written. Where the peer
			// ended it, the reader is about to notice.
			select {
			case <-conn.done:
			case <-conn.shut:
			case <-ctx.Done():
			}
		default:
			return endpoint.Network(to, err)
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
	ws, err := c.handshake(to, url)
	c.mu.Lock()
	defer c.mu.Unlock()
	defer close(a.done)
	p.attempt = nil
	if err != nil {
		a.err = err
		if err.Retryable {
			p.failures++
			p.notBefore = time.Now().Add(max(c.backoff(p.failures), err.RetryAfter))
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

// handshake opens a connection within HandshakeTimeout.
func (c *Client) handshake(to, url string) (*websocket.Conn, *transport.SendError) {
	ctx, cancel := context.WithTimeout(c.closing, c.cfg.HandshakeTimeout)
	defer cancel()
	// The dialer looks at the deadline of ctx only; Close must be able to cut
	// a handshake short.
	uncut := func() bool { return true }
	var bounded *handshakeConn
	dialer := websocket.Dialer{
		NetDialContext: func(_ context.Context, network, addr string) (net.Conn, error) {
			nc, err := c.cfg.Dial(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			uncut = context.AfterFunc(ctx, func() { nc.Close() })
			bounded = &handshakeConn{Conn: nc, left: maxHandshakeBytes}
			return bounded, nil
		},
		TLSClientConfig: c.tls,
		ReadBufferSize:  readBufferSize,
		WriteBufferSize: clientWriteBufferSize,
		WriteBufferPool: c.buffers,
	}
	ws, resp, err := dialer.DialContext(ctx, url, http.Header{"User-Agent": {"didcomm-go"}})
	if bounded != nil {
		bounded.left = -1
	}
	switch {
	case errors.Is(err, websocket.ErrBadHandshake) && resp != nil && resp.StatusCode != http.StatusSwitchingProtocols:
		uncut()
		return nil, endpoint.Status(to, resp, time.Now())
	case err != nil:
		uncut()
		return nil, endpoint.Network(to, err)
	case !uncut():
		ws.Close()
		return nil, endpoint.Network(to, context.Cause(ctx))
	}
	return ws, nil
}

// maxHandshakeBytes is what a server may send before the connection is open, its
// TLS handshake included.
const maxHandshakeBytes = 256 << 10

// handshakeConn bounds what is read: the dialer reads a header of any length.
type handshakeConn struct {
	net.Conn
	left int // bytes, negative for any number; owned by the handshake, then by the reader
}

func (c *handshakeConn) Read(b []byte) (int, error) {
	if c.left < 0 {
		return c.Conn.Read(b)
	}
	if c.left == 0 {
		return 0, fmt.Errorf("handshake of more than %d bytes", maxHandshakeBytes)
	}
	n, err := c.Conn.Read(b[:min(len(b), c.left)])
	c.left -= n
	return n, err
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

// prune forgets endpoints that were left alone for long enough, so that
// endpoints which others choose do not fill the memory.
func (c *Client) prune() {
	if len(c.peers) < prunePeers {
		return
	}
	now := time.Now()
	for url, p := range c.peers {
		if p.conn == nil && p.attempt == nil && now.After(p.notBefore) {
			delete(c.peers, url)
		}
	}
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

// Close ends handshakes, lets running handlers finish for up to
// DefaultCloseTimeout, closes every connection and waits for all of it. It is
// idempotent; a handler must not call it.
func (c *Client) Close() error {
	c.stop()
	ctx, cancel := context.WithTimeout(context.Background(), DefaultCloseTimeout)
	defer cancel()
	return c.group.close(ctx)
}
