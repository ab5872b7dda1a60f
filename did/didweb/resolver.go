package didweb

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"time"

	"github.com/didcomm-go/didcomm/did"
)

// Limits of a Resolver.
const (
	DefaultTimeout  = 10 * time.Second // default of Config.Timeout
	DefaultMaxBytes = 1 << 20          // default of Config.MaxBytes
	MaxRedirects    = 3                // redirects that are followed for one document
)

// Config configures a [Resolver].
type Config struct {
	// Dial opens every connection, also after a redirect. It is required, and should
	// refuse addresses that strangers must not make this machine connect to, such as
	// those of the internal network: see netguard.Guard.DialContext of this module. If
	// Dial returns an error with a method AddressRefused() bool that returns true, or
	// an error that wraps such an error, then Resolve returns did.ErrRefused.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
	// AllowHTTPLoopback allows the hosts localhost and 127.0.0.0/8. Resolve then uses
	// plain http if such a host does not support https. Dial has to allow loopback
	// addresses too.
	AllowHTTPLoopback bool
	// RootCAs are the trusted certificate authorities. nil means those of the system.
	RootCAs *x509.CertPool
	// Timeout limits one call of Resolve. 0 means DefaultTimeout.
	Timeout time.Duration
	// MaxBytes limits the size of a document after decompression, in bytes. 0 means
	// DefaultMaxBytes.
	MaxBytes int64
	// Budget reads the documents, and limits the memory of all that are read at the same
	// time. It is usually the *transport.Budget of the process, whose ReadAll says what the
	// parameters mean. nil means no common limit.
	Budget interface {
		ReadAll(r io.Reader, size, limit int64, interrupt func()) (data []byte, release func(), err error)
	}
}

// unlimited is the default of Config.Budget.
type unlimited struct{}

func (unlimited) ReadAll(r io.Reader, _, _ int64, _ func()) (data []byte, release func(), err error) {
	data, err = io.ReadAll(r)
	return data, func() {}, err
}

// Resolver resolves did:web. It keeps neither connections nor documents, so wrap it
// in a did.Cache. It may be used from several goroutines. Use [NewResolver] to make
// one.
type Resolver struct {
	cfg    Config
	client *http.Client
}

var _ did.Resolver = (*Resolver)(nil)

// NewResolver returns a Resolver. It returns an error if cfg has no Dial function.
func NewResolver(cfg Config) (*Resolver, error) {
	if cfg.Dial == nil {
		return nil, errors.New("did:web resolver: no dial function")
	}
	if cfg.Timeout <= 0 {
		cfg.Timeout = DefaultTimeout
	}
	if cfg.MaxBytes <= 0 {
		cfg.MaxBytes = DefaultMaxBytes
	}
	if cfg.Budget == nil {
		cfg.Budget = unlimited{}
	}
	r := &Resolver{cfg: cfg}
	r.client = &http.Client{
		// Proxy stays nil, because Dial cannot check the addresses that a proxy connects
		// to.
		Transport: &http.Transport{
			DialContext:            r.dial,
			TLSClientConfig:        &tls.Config{RootCAs: cfg.RootCAs, MinVersion: tls.VersionTLS12},
			DisableKeepAlives:      true,
			MaxResponseHeaderBytes: 64 << 10,
		},
		CheckRedirect: r.checkRedirect,
	}
	return r, nil
}

// Resolve fetches the document of a did:web. The error matches
//   - did.ErrNotFound if the server answers with status 404 or 410;
//   - did.ErrInvalid if the DID or the document is malformed, if the document is too
//     large, or if its id is not the DID;
//   - did.ErrMethod if the DID has another method;
//   - did.ErrRefused if Dial refuses the address.
//
// Any other error may be temporary, for example a failed connection, a TLS error, a
// deadline or another status.
func (r *Resolver) Resolve(ctx context.Context, id string) (*did.Document, error) {
	if d, err := did.Parse(id); err == nil && d.Method != "web" {
		return nil, fmt.Errorf("%w: %q is not a did:web", did.ErrMethod, clip(id))
	}
	at, err := locate(id)
	if err != nil {
		return nil, err
	}
	local := at.loopback() && r.cfg.AllowHTTPLoopback
	if _, err := netip.ParseAddr(at.host); err == nil && !local {
		return nil, fmt.Errorf("%w: did:web host %s is an ip address", did.ErrInvalid, at.host)
	}
	ctx, cancel := context.WithTimeout(ctx, r.cfg.Timeout)
	defer cancel()
	end, _ := ctx.Deadline()
	ctx = context.WithValue(ctx, endKey{}, end)

	body, release, err := r.fetch(ctx, at.url("https"))
	if local && errors.Is(err, http.ErrSchemeMismatch) {
		body, release, err = r.fetch(ctx, at.url("http"))
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = fmt.Errorf("%w: %w", context.DeadlineExceeded, err) // the end that dial has set
	}
	if err != nil {
		return nil, fmt.Errorf("did:web: %w", err)
	}
	defer release()
	doc, err := did.ParseDocument(body)
	if err != nil {
		return nil, fmt.Errorf("did:web: %w", err)
	}
	if doc.ID != id {
		return nil, fmt.Errorf("did:web: %w: document has the id %q", did.ErrInvalid, clip(doc.ID))
	}
	return doc, nil
}

// endKey is the key of the time when a call of Resolve ends.
type endKey struct{}

// dial opens a connection that ends when the call of Resolve ends. The http.Transport does not
// pass the end of a request on: it would go on with a TLS handshake that never ends.
func (r *Resolver) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	end, _ := ctx.Value(endKey{}).(time.Time)
	ctx, cancel := context.WithDeadline(ctx, end)
	defer cancel()
	conn, err := r.cfg.Dial(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	if err := conn.SetDeadline(end); err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

// fetch fetches a document. It ignores the media type, because servers that serve
// did.json as a plain file send application/json, text/plain or none. The caller calls
// release when the document is parsed.
func (r *Resolver) fetch(ctx context.Context, url string) (body []byte, release func(), err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", did.ErrInvalid, err)
	}
	req.Header.Set("Accept", "application/did+json, application/did+ld+json, application/json;q=0.9, */*;q=0.1")
	resp, err := r.client.Do(req)
	if err != nil {
		var guard interface{ AddressRefused() bool }
		if errors.As(err, &guard) && guard.AddressRefused() {
			return nil, nil, fmt.Errorf("%w: %w", did.ErrRefused, err)
		}
		return nil, nil, err
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusOK:
	case http.StatusNotFound, http.StatusGone:
		return nil, nil, fmt.Errorf("%w: %s", did.ErrNotFound, resp.Status)
	default:
		return nil, nil, fmt.Errorf("server answered %s", resp.Status)
	}
	if resp.ContentLength > r.cfg.MaxBytes {
		return nil, nil, fmt.Errorf("%w: document of %d bytes, more than %d", did.ErrInvalid, resp.ContentLength, r.cfg.MaxBytes)
	}
	// One byte more shows that the document is too large.
	most := r.cfg.MaxBytes + 1
	body, release, err = r.cfg.Budget.ReadAll(io.LimitReader(resp.Body, most), resp.ContentLength, most, cancel)
	if err != nil {
		return nil, nil, err
	}
	if int64(len(body)) > r.cfg.MaxBytes {
		release()
		return nil, nil, fmt.Errorf("%w: document of more than %d bytes", did.ErrInvalid, r.cfg.MaxBytes)
	}
	return body, release, nil
}

// checkRedirect allows redirects to https. A redirect to http is allowed only from
// http to a loopback host, which implies that the first request was to loopback.
func (r *Resolver) checkRedirect(req *http.Request, via []*http.Request) error {
	to := location{host: req.URL.Hostname()}
	switch {
	case len(via) > MaxRedirects:
		return fmt.Errorf("more than %d redirects", MaxRedirects)
	case req.URL.User != nil:
		return errors.New("redirect to a url with a user name")
	case req.URL.Scheme == "https":
		return nil
	case req.URL.Scheme == "http" && via[len(via)-1].URL.Scheme == "http" && to.loopback():
		return nil
	}
	return fmt.Errorf("redirect from https to %s", clip(req.URL.Scheme))
}
