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

// Defaults of [ClientConfig].
const (
	DefaultTimeout       = 60 * time.Second // of Timeout
	DefaultDialTimeout   = 10 * time.Second // of DialTimeout
	DefaultHeaderTimeout = 30 * time.Second // of HeaderTimeout
	DefaultIdleTimeout   = 90 * time.Second // of IdleTimeout
	DefaultMaxIdle       = 100              // of MaxIdle
)

const (
	maxRedirects = 3
	// maxDrain is how many bytes of an unread body are read, and drainTime for how long, so
	// that the connection can be used again.
	maxDrain  = 64 << 10
	drainTime = time.Second
)

// ClientConfig configures [NewClient]. Dial is required. A zero in any other field
// means the default.
type ClientConfig struct {
	// Dial opens every connection, also after a redirect. It decides which addresses
	// the Client may connect to: use DialContext of a netguard.Guard.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
	// MaxBytes limits the body of a response, in bytes. The default is
	// transport.DefaultMaxBytes.
	MaxBytes int64
	// Budget limits the memory of all bodies. The Handlers, Servers and Clients of a
	// process should share one. The default is one of its own, of the default size.
	Budget *transport.Budget
	// Timeout limits one Send, from dialling to the last byte of the response, without the
	// time of the bound Handler.
	Timeout time.Duration
	// DialTimeout limits one call of Dial, and one TLS handshake. An HTTP/2 connection
	// that is silent for this time is pinged, and closed if there is no answer within
	// the same time.
	DialTimeout time.Duration
	// HeaderTimeout limits the time from the end of a request to the header of its
	// response.
	HeaderTimeout time.Duration
	// IdleTimeout is how long an idle connection is kept open.
	IdleTimeout time.Duration
	// MaxIdle is the largest number of idle connections. The default is 100.
	MaxIdle int
	// RootCAs are the trusted certificate authorities. The default is those of the
	// system.
	RootCAs *x509.CertPool
	// Logger logs responses that could not be handled. The default discards logs.
	Logger *slog.Logger
}

// Client is a [transport.Sender] for http and https endpoints. It keeps connections
// open for further requests, uses no proxy, and keeps no cookies. It may be used from
// several goroutines. Use [NewClient] to make one.
type Client struct {
	cfg   ClientConfig
	http  *http.Client
	pool  *http.Transport
	sends *exchange.Sends
	types *mediaTypes
}

var (
	_ transport.Sender = (*Client)(nil)
	_ transport.Binder = (*Client)(nil)
	_ io.Closer        = (*Client)(nil)
)

// NewClient returns a Client. It returns an error if cfg has no Dial function. Call
// [Client.Close] when the Client is not needed anymore.
func NewClient(cfg ClientConfig) (*Client, error) {
	if cfg.Dial == nil {
		return nil, errors.New("httptransport: ClientConfig.Dial is required")
	}
	cfg.MaxBytes = cmp.Or(max(cfg.MaxBytes, 0), transport.DefaultMaxBytes)
	cfg.Timeout = cmp.Or(max(cfg.Timeout, 0), DefaultTimeout)
	cfg.DialTimeout = cmp.Or(max(cfg.DialTimeout, 0), DefaultDialTimeout)
	cfg.HeaderTimeout = cmp.Or(max(cfg.HeaderTimeout, 0), DefaultHeaderTimeout)
	cfg.IdleTimeout = cmp.Or(max(cfg.IdleTimeout, 0), DefaultIdleTimeout)
	cfg.MaxIdle = cmp.Or(max(cfg.MaxIdle, 0), DefaultMaxIdle)
	cfg.Logger = cmp.Or(cfg.Logger, slog.New(slog.DiscardHandler))
	if cfg.Budget == nil {
		cfg.Budget = transport.NewBudget(0)
	}
	c := &Client{cfg: cfg, sends: exchange.NewSends(), types: newMediaTypes()}
	c.pool = &http.Transport{
		DialContext:            c.dial,
		TLSClientConfig:        &tls.Config{RootCAs: cfg.RootCAs, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    cfg.DialTimeout,
		ResponseHeaderTimeout:  cfg.HeaderTimeout,
		IdleConnTimeout:        cfg.IdleTimeout,
		MaxIdleConns:           cfg.MaxIdle,
		MaxIdleConnsPerHost:    8,
		MaxResponseHeaderBytes: 64 << 10,
		ForceAttemptHTTP2:      true,
		// All requests to a host share one HTTP/2 connection. Without pings they would
		// all fail if the connection is lost without a reset.
		// net/http keeps what was received and not read yet, which the Budget does not count.
		HTTP2: &http.HTTP2Config{
			SendPingTimeout: cfg.DialTimeout, PingTimeout: cfg.DialTimeout,
			MaxReceiveBufferPerStream: 256 << 10, MaxReceiveBufferPerConnection: 1 << 20,
		},
		// The size of a compressed response is only known after decompression.
		DisableCompression: true,
	}
	c.http = &http.Client{Transport: c.pool, CheckRedirect: checkRedirect}
	return c, nil
}

// Bind sets the Handler for packets in the bodies of responses. The Replier of such a
// packet is [transport.NoReply]. Call Bind before the first Send.
func (c *Client) Bind(h transport.Handler) { c.sends.Bind(h) }

// Send sends p by POST to an endpoint, which is an http or https URL. It returns nil if
// the status is 2xx. If the body of the response is a DIDComm packet, Send passes the
// packet to the bound Handler and returns when the Handler has accepted it.
//
// Some agents know encrypted messages only by an older media type,
// application/didcomm-envelope-enc. If an endpoint answers an encrypted packet with status
// 415, Send repeats the request once with the other one of the two media types. The Client
// remembers for a day which one an endpoint takes. In that time, it repeats at most two
// requests to an endpoint, and at most two requests with a packet.
//
// Errors are of type *transport.SendError. These can be retried:
//   - network errors, timeouts, and a closed Client;
//   - status 408, 425, 429 and 5xx; RetryAfter is that of the response header;
//   - a response whose body is incomplete or given up by the Budget (transport.ErrBudget), or
//     whose packet the bound Handler cannot accept now; the peer has p, but only another Send
//     gets its reply (Taken).
//
// These cannot be retried:
//   - any other status, and redirects that are not followed;
//   - a malformed endpoint, and an address that Dial refuses;
//   - a packet that is empty or has a media type other than DIDComm's.
//
// A packet in a response does not make Send fail if it is too large, if the Handler
// refuses it, if the Handler panics, or if no Handler is bound. Such a packet is logged and
// dropped.
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

	reply, release, err := c.post(ctx, to, u.String(), mediaType, p.Data)
	if err != nil {
		return err
	}
	defer release()
	if len(reply.Data) == 0 {
		return nil
	}
	if bound == nil {
		c.cfg.Logger.WarnContext(ctx, "response body dropped: no handler bound", "endpoint", to)
		return nil
	}
	if _, err := bound.ServePacket(ctx, transport.NoReply{}, reply); err != nil {
		c.cfg.Logger.WarnContext(ctx, "response body not handled", "endpoint", to, "error", err)
		return endpoint.NotAccepted(to, err)
	}
	return nil
}

// Receipts returns true, because status 2xx means that the peer has the packet.
func (c *Client) Receipts() bool { return true }

// post sends the packet, with another media type if the endpoint refuses the first. The
// results are those of exchange.
func (c *Client) post(ctx context.Context, to, url, mediaType string, data []byte) (reply transport.Packet, release func(), err error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	if mediaType != transport.MediaTypeEncrypted {
		return c.exchange(ctx, to, url, mediaType, data)
	}
	mediaType = c.types.of(url)
	reply, release, err = c.exchange(ctx, to, url, mediaType, data)
	if !errors.Is(err, transport.ErrMediaType) {
		return reply, release, err
	}
	other := c.types.refused(url, mediaType, data)
	if other == "" {
		return reply, release, err
	}
	c.cfg.Logger.InfoContext(ctx, "media type refused, another is tried", "endpoint", to, "refused", mediaType, "tried", other)
	reply, release, err = c.exchange(ctx, to, url, other, data)
	if errors.Is(err, transport.ErrMediaType) {
		c.types.refusedBoth(url, mediaType)
	}
	return reply, release, err
}

// exchange sends the request, and returns the packet in the response, which is empty if
// there is none. Call release when the packet is not needed anymore.
func (c *Client) exchange(ctx context.Context, to, url, mediaType string, data []byte) (reply transport.Packet, release func(), err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	none := transport.Packet{}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(data))
	if err != nil {
		return none, nil, endpoint.Malformed(to, err)
	}
	req.Header.Set("Content-Type", mediaType)
	req.Header.Set("User-Agent", "didcomm-go")
	// With this header, net/http sends the request again on a new connection if the
	// server has closed the idle one. The header itself is not sent, because it has no
	// value. Receivers recognize a second copy of a message by its id.
	req.Header["X-Idempotency-Key"] = nil

	resp, err := c.http.Do(req)
	if err != nil {
		if resp != nil {
			resp.Body.Close()
		}
		if errors.Is(err, errRedirect) {
			e := endpoint.Network(to, err)
			e.Retryable = false
			return none, nil, e
		}
		return none, nil, endpoint.Network(to, err)
	}
	defer func() {
		defer time.AfterFunc(drainTime, cancel).Stop()
		_, _ = io.CopyN(io.Discard, resp.Body, maxDrain)
		resp.Body.Close()
	}()
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		defer time.AfterFunc(drainTime, cancel).Stop() // also for the reason in the body
		e := endpoint.Status(to, resp, time.Now())
		e.Answered = true
		return none, nil, e
	}
	reply, release, err = c.read(resp, cancel)
	if err != nil {
		if !errors.Is(err, transport.ErrTooLarge) { // the peer repeats its reply
			e := endpoint.Network(to, err)
			e.Taken = true
			return none, nil, e
		}
		c.cfg.Logger.WarnContext(ctx, "response body dropped", "endpoint", to, "error", err)
		return none, func() {}, nil
	}
	return reply, release, nil
}

// read returns the packet in a response with status 2xx. It ignores a body of another
// media type, such as the text "OK".
func (c *Client) read(resp *http.Response, cancel func()) (reply transport.Packet, release func(), err error) {
	mediaType, err := transport.ParseMediaType(resp.Header.Get("Content-Type"))
	if err != nil {
		return transport.Packet{}, func() {}, nil
	}
	if resp.ContentLength > c.cfg.MaxBytes {
		return transport.Packet{}, nil, transport.ErrTooLarge
	}
	data, release, err := c.cfg.Budget.ReadAll(resp.Body, resp.ContentLength, c.cfg.MaxBytes, cancel)
	if err != nil {
		return transport.Packet{}, nil, fmt.Errorf("read response: %w", err)
	}
	return transport.Packet{MediaType: mediaType, Data: data}, release, nil
}

// Close cancels all calls of Send, waits until they have returned, and closes the idle
// connections. It always returns nil. It can be called more than once, but not by the
// bound Handler.
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

// checkRedirect follows status 307 (DIDComm v2.1, Transports, HTTPS) and 308. Other
// redirects turn a POST into a GET; they are not followed, so that Send sees their
// status.
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
