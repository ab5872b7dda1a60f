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
	"time"

	"github.com/didcomm-go/didcomm/did"
)

// Limits that hold unless the Config says otherwise.
const (
	DefaultTimeout  = 10 * time.Second
	DefaultMaxBytes = 1 << 20
	MaxRedirects    = 3
)

// Config is what a Resolver lives by.
type Config struct {
	// Dial opens every connection, redirects included. It is required, and has
	// to refuse the addresses that a stranger must not make this machine talk
	// to: see Guard.DialContext of package transport/netguard. An error of Dial
	// that has, or wraps one that has, a method AddressRefused() bool which is true
	// becomes did.ErrRefused.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
	// AllowHTTPLoopback lets the hosts localhost and 127.0.0.0/8 be asked, over
	// https first and over plain http where they do not speak https. Dial has
	// to let loopback through as well.
	AllowHTTPLoopback bool
	// RootCAs are the certificate authorities to trust; nil for the system's.
	RootCAs *x509.CertPool
	// Timeout bounds one Resolve from dial to last byte; 0 is DefaultTimeout.
	Timeout time.Duration
	// MaxBytes bounds a document, decompressed; 0 is DefaultMaxBytes.
	MaxBytes int64
}

// Resolver resolves did:web. It keeps no connections and no documents; wrap it
// in a did.Cache. It may be used from several goroutines.
type Resolver struct {
	cfg    Config
	client *http.Client
}

var _ did.Resolver = (*Resolver)(nil)

// NewResolver returns a Resolver, or an error if cfg has no Dial.
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
	r := &Resolver{cfg: cfg}
	r.client = &http.Client{
		// Proxy stays nil: a proxy would dial where Dial does not see it.
		Transport: &http.Transport{
			DialContext:            cfg.Dial,
			TLSClientConfig:        &tls.Config{RootCAs: cfg.RootCAs, MinVersion: tls.VersionTLS12},
			DisableKeepAlives:      true,
			MaxResponseHeaderBytes: 64 << 10,
		},
		CheckRedirect: r.checkRedirect,
	}
	return r, nil
}

// Resolve fetches the document of a did:web. Errors match did.ErrNotFound (the
// server says 404 or 410), did.ErrInvalid (no did:web, no document, too large, or
// the document of another DID), did.ErrMethod (another method), did.ErrRefused
// (Dial refuses the address), or the cause of a failure that may pass: what Dial
// returned else, a TLS error, a deadline, another status.
func (r *Resolver) Resolve(ctx context.Context, id string) (*did.Document, error) {
	if d, err := did.Parse(id); err == nil && d.Method != "web" {
		return nil, fmt.Errorf("%w: %q is no did:web", did.ErrMethod, clip(id))
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

	body, err := r.fetch(ctx, at.url("https"))
	if local && errors.Is(err, http.ErrSchemeMismatch) {
		body, err = r.fetch(ctx, at.url("http"))
	}
	if err != nil {
		return nil, fmt.Errorf("did:web: %w", err)
	}
	doc, err := did.ParseDocument(body)
	if err != nil {
		return nil, fmt.Errorf("did:web: %w", err)
	}
	if doc.ID != id {
		return nil, fmt.Errorf("did:web: %w: document of %q", did.ErrInvalid, clip(doc.ID))
	}
	return doc, nil
}

// fetch gets a document. Its media type is not looked at: servers that know only
// the name did.json say application/json, text/plain or nothing.
func (r *Resolver) fetch(ctx context.Context, url string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", did.ErrInvalid, err)
	}
	req.Header.Set("Accept", "application/did+json, application/did+ld+json, application/json;q=0.9, */*;q=0.1")
	resp, err := r.client.Do(req)
	if err != nil {
		var guard interface{ AddressRefused() bool }
		if errors.As(err, &guard) && guard.AddressRefused() {
			return nil, fmt.Errorf("%w: %w", did.ErrRefused, err)
		}
		return nil, err
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusOK:
	case http.StatusNotFound, http.StatusGone:
		return nil, fmt.Errorf("%w: %s", did.ErrNotFound, resp.Status)
	default:
		return nil, fmt.Errorf("server says %s", resp.Status)
	}
	if resp.ContentLength > r.cfg.MaxBytes {
		return nil, fmt.Errorf("%w: document of %d bytes, more than %d", did.ErrInvalid, resp.ContentLength, r.cfg.MaxBytes)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, r.cfg.MaxBytes+1))
	if err != nil {
		return nil, err
	}
	if int64(len(body)) > r.cfg.MaxBytes {
		return nil, fmt.Errorf("%w: document of more than %d bytes", did.ErrInvalid, r.cfg.MaxBytes)
	}
	return body, nil
}

// checkRedirect lets a redirect lead from https to https only. One that began on
// plain http did so on loopback, and stays there or goes to https.
func (r *Resolver) checkRedirect(req *http.Request, via []*http.Request) error {
	to := location{host: req.URL.Hostname()}
	switch {
	case len(via) > MaxRedirects:
		return fmt.Errorf("more than %d redirects", MaxRedirects)
	case req.URL.User != nil:
		return errors.New("redirect to an address with a user name")
	case req.URL.Scheme == "https":
		return nil
	case req.URL.Scheme == "http" && via[len(via)-1].URL.Scheme == "http" && to.loopback():
		return nil
	}
	return fmt.Errorf("redirect from https to %s", clip(req.URL.Scheme))
}
