package httptransport

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/didcomm-go/didcomm/transport"
	"github.com/didcomm-go/didcomm/transport/internal/endpoint"
	"github.com/didcomm-go/didcomm/transport/internal/exchange"
)

// Defaults of ClientConfig.
const (
	DefaultTimeout       = 60 * time.Second
	DefaultDialTimeout   = 10 * time.Second
	DefaultHeaderTimeout = 30 * time.Second
	DefaultIdleTimeout   = 90 * time.Second
)

const (
	maxRedirects = 3
	// maxDrain is how much of a body that nobody wants is read to keep its
	// connection.
	maxDrain = 64 << 10
)

// ClientConfig configures NewClient. Dial is required; zero elsewhere means
// the default.
type ClientConfig struct {
	// Dial opens every connection, those of redirects too. It is where
	// addresses are refused: hand in DialContext of a netguard.Guard.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
	// MaxBytes bounds the body of a response; 0 is transport.DefaultMaxBytes.
	MaxBytes int64
	// Timeout bounds one exchange, from dialling to the response's last byte.
	Timeout time.Duration
	// DialTimeout bounds one Dial, one TLS handshake, and twice over the silence of
	// an HTTP/2 connection.
	DialTimeout time.Duration
	// HeaderTimeout is how long a response may take to begin.
	HeaderTimeout time.Duration
	// IdleTimeout is how long an idle connection is kept.
	IdleTimeout time.Duration
	// RootCAs verify servers; nil is the system's.
	RootCAs *x509.CertPool
	// Logger hears of answers that could not be handled; nil discards.
	Logger *slog.Logger
}

// Client sends packets to http and https endpoints over pooled connections. It
// uses no proxy and keeps no cookies.
type Client struct {
	cfg   ClientConfig
	http  *http.Client
	pool  *http.Transport
	sends *exchange.Sends
}

var (
	_ transport.Sender = (*Client)(nil)
	_ transport.Binder = (*Client)(nil)
	_ io.Closer        = (*Client)(nil)
)

// NewClient returns a Client, or an error when cfg has no Dial. Close it.
func NewClient(cfg ClientConfig) (*Client, error) {
	if cfg.Dial == nil {
		return nil, errors.New("httptransport: ClientConfig.Dial is required")
	}
	cfg.MaxBytes = cmp.Or(max(cfg.MaxBytes, 0), transport.DefaultMaxBytes)
	cfg.Timeout = cmp.Or(max(cfg.Timeout, 0), DefaultTimeout)
	cfg.DialTimeout = cmp.Or(max(cfg.DialTimeout, 0), DefaultDialTimeout)
	cfg.HeaderTimeout = cmp.Or(max(cfg.HeaderTimeout, 0), DefaultHeaderTimeout)
	cfg.IdleTimeout = cmp.Or(max(cfg.IdleTimeout, 0), DefaultIdleTimeout)
	cfg.Logger = cmp.Or(cfg.Logger, slog.New(slog.DiscardHandler))
	c := &Client{cfg: cfg, sends: exchange.NewSends()}
	c.pool = &http.Transport{
		DialContext:            c.dial,
		TLSClientConfig:        &tls.Config{RootCAs: cfg.RootCAs, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    cfg.DialTimeout,
		ResponseHeaderTimeout:  cfg.HeaderTimeout,
		IdleConnTimeout:        cfg.IdleTimeout,
		MaxIdleConns:           100,
		MaxIdleConnsPerHost:    8,
		MaxResponseHeaderBytes: 64 << 10,
		ForceAttemptHTTP2:      true,
		// A connection that died without a word must not take all that is sent to
		// its host: one that is silent for as long as a dial may take is pinged, and
		// given up after the same time.
		HTTP2: &http.HTTP2Config{SendPingTimeout: cfg.DialTimeout, PingTimeout: cfg.DialTimeout},
		// A compressed answer would have to be inflated before its size is
		// known.
		DisableCompression: true,
	}
	c.http = &http.Client{Transport: c.pool, CheckRedirect: checkRedirect}
	return c, nil
}

// Bind names the Handler for packets that come in response bodies. Its Replier
// always returns transport.ErrNoReturnRoute. Call it before the first Send.
func (c *Client) Bind(h transport.Handler) { c.sends.Bind(h) }

// Send POSTs p to endpoint and returns nil on any 2xx. A packet in the body of
// the response goes to the bound Handler, which accepts it before Send returns. If that
// cannot take it now, or the body breaks off, Send fails, retryably: the peer has
// accepted p, but its answer is had by sending p again. An answer that the Handler
// refuses, or panics at, or that is too large, does not change the outcome and goes
// to the log.
//
// A failure is a *transport.SendError: retryable for network errors, timeouts, an
// answer that was not taken and a closed Client, 408, 425, 429 and 5xx (RetryAfter
// from the header of that name); not for other statuses, malformed endpoints, unsuitable
// redirects, packets that are no DIDComm and addresses that Dial refuses.
func (c *Client) Send(ctx context.Context, to string, p transport.Packet) error {
	u, err := endpoint.Parse(to, "http", "https")
	if err != nil {
		return err
	}
	mediaType, err := endpoint.MediaType(p)
	if err != nil {
		return endpoint.Malformed(to, err)
	}
	ctx, bound, end, ok := c.sends.Begin(ctx)
	if !ok {
		return endpoint.Network(to, fmt.Errorf("http client: %w", net.ErrClosed))
	}
	defer end()

	reply, err := c.exchange(ctx, to, u.String(), mediaType, p.Data)
	if err != nil {
		return err
	}
	if len(reply.Data) == 0 {
		return nil
	}
	if bound == nil {
		c.cfg.Logger.WarnContext(ctx, "response body dropped: no handler bound", "endpoint", to)
		return nil
	}
	if _, err := bound.ServePacket(ctx, transport.NoReply{}, reply); err != nil {
		c.cfg.Logger.WarnContext(ctx, "response body not handled", "endpoint", to, "error", err)
		return endpoint.Untaken(to, err)
	}
	return nil
}

// Receipts is true: a 2xx says that the peer has the packet.
func (c *Client) Receipts() bool { return true }

// exchange returns the packet of the response, empty if there is none.
func (c *Client) exchange(ctx context.Context, to, url, mediaType string, data []byte) (transport.Packet, error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	none := transport.Packet{}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(data))
	if err != nil {
		return none, endpoint.Malformed(to, err)
	}
	req.Header.Set("Content-Type", mediaType)
	req.Header.Set("User-Agent", "didcomm-go")
	// Lets net/http try again on a fresh connection when the server closed the
	// pooled one under it; the empty value is not sent. Receivers drop the
	// second copy of a message by its id.
	req.Header["X-Idempotency-Key"] = nil

	resp, err := c.http.Do(req)
	if err != nil {
		if resp != nil {
			resp.Body.Close()
		}
		if errors.Is(err, errRedirect) {
			e := endpoint.Network(to, err)
			e.Retryable = false
			return none, e
		}
		return none, endpoint.Network(to, err)
	}
	defer func() {
		_, _ = io.CopyN(io.Discard, resp.Body, maxDrain)
		resp.Body.Close()
	}()
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		e := endpoint.Status(to, resp, time.Now())
		e.Answered = true
		return none, e
	}
	reply, err := c.read(resp)
	if err != nil {
		if !errors.Is(err, transport.ErrTooLarge) { // the peer gives it once more
			return none, endpoint.Network(to, err)
		}
		c.cfg.Logger.WarnContext(ctx, "response body dropped", "endpoint", to, "error", err)
		return none, nil
	}
	return reply, nil
}

// read returns the packet in a 2xx response. A body of another media type,
// such as a server's "OK", is none.
func (c *Client) read(resp *http.Response) (transport.Packet, error) {
	mediaType, err := transport.ParseMediaType(resp.Header.Get("Content-Type"))
	if err != nil {
		return transport.Packet{}, nil
	}
	if resp.ContentLength > c.cfg.MaxBytes {
		return transport.Packet{}, transport.ErrTooLarge
	}
	data, err := io.ReadAll(io.LimitReader(resp.Body, c.cfg.MaxBytes+1))
	if err != nil {
		return transport.Packet{}, fmt.Errorf("read response: %w", err)
	}
	if int64(len(data)) > c.cfg.MaxBytes {
		return transport.Packet{}, transport.ErrTooLarge
	}
	return transport.Packet{MediaType: mediaType, Data: data}, nil
}

// Close ends the Sends under way, waits for them and for their Handlers to have
// accepted what came back, and closes the pooled connections. It is idempotent; a
// Handler must not call it.
func (c *Client) Close() error {
	c.sends.Close()
	c.pool.CloseIdleConnections()
	return nil
}

func (c *Client) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.DialTimeout)
	defer cancel()
	return c.cfg.Dial(ctx, network, addr)
}

var errRedirect = errors.New("redirect not followed")

// checkRedirect follows 307 (DIDComm v2.1, Transports, HTTPS) and 308. The
// other redirects turn a POST into a GET; their response is returned as it is.
func checkRedirect(req *http.Request, via []*http.Request) error {
	switch {
	case req.Method != http.MethodPost:
		return http.ErrUseLastResponse
	case len(via) > maxRedirects:
		return fmt.Errorf("%w: more than %d", errRedirect, maxRedirects)
	case req.URL.Scheme != "https" && (req.URL.Scheme != "http" || via[len(via)-1].URL.Scheme == "https"):
		return fmt.Errorf("%w: from %s to %s", errRedirect, via[len(via)-1].URL.Scheme, req.URL.Scheme)
	case req.URL.User != nil:
		return fmt.Errorf("%w: user information", errRedirect)
	}
	req.Header.Del("Referer")
	return nil
}
